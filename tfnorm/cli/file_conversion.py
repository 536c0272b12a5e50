"""Conversions and exports from file to file; what can be checked without Keras is checked first."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from tfnorm import convert
from tfnorm.convert.runtimes.formats import ENDINGS_TEXT, check_export, export_format
from tfnorm.datasets import DATASETS, load
from tfnorm.datasets.folder import load_pictures
from tfnorm.errors import DataError, TfnormError
from tfnorm.files import whole_file
from tfnorm.models.saved import check_imports, keras_version, open_model, own_objects
from tfnorm.spec import NormSpec, parse_norm

if TYPE_CHECKING:
    import keras

# Pictures that an export is fitted to and checked with.
_MOST_PICTURES = 200


@dataclass(frozen=True)
class FileConversion:
    """A conversion whose arguments have been checked.

    Args:
        source: The file to read.
        target: The file to write; of an export, with the ending that names its format.
        kind: "to", "insert", "fold" or "from-tfa"; "export" if nothing else is done.
        spec: The norm, for "to" and "insert".
        where: Names of layers, for the same.
        calibrate: A .npy file with a batch of inputs, for the same.
        model: A description of the model, for "from-tfa" and weights alone.
        stock: Whether to write Keras's own layers.
        imports: Modules and Python files with layers of one's own in the file.
        allow_lambda: Whether to run the code of Lambda layers in the file.
        force: Whether to write over what is there.
        batch_size: Of an export, or None for any.
        quantize: Of an export to LiteRT, or None.
        representative: A file, folder or data set with inputs for an export, or None.
        check: Whether to compare an export with Keras.
    """

    source: Path
    target: str
    kind: str
    spec: NormSpec | None = None
    where: tuple[str, ...] | None = None
    calibrate: Path | None = None
    model: Path | None = None
    stock: bool = False
    imports: tuple[str, ...] = ()
    allow_lambda: bool = False
    force: bool = False
    batch_size: int | None = None
    quantize: str | None = None
    representative: str | None = None
    check: bool = True
    data_dir: Path | None = None

    def run(self) -> tuple[convert.Report, convert.Exported | None]:
        """Read, convert and write; return what was done to the norms, and what an export wrote."""
        with own_objects(self.imports):
            return self._run()

    def _opened(self) -> keras.Model:
        # Keras 3 would open some layers of Keras 2 as ones that compute something else.
        if keras_version(self.source).startswith("2"):
            return convert.load_tfa_model(self.source, safe_mode=not self.allow_lambda)
        return open_model(self.source, imports=self.imports, allow_lambda=self.allow_lambda)

    def _run(self) -> tuple[convert.Report, convert.Exported | None]:
        report = convert.Report(())
        if self.kind == "export":
            model = self._opened()
        elif self.kind == "from-tfa":
            model = convert.load_tfa_model(self.source, model=self.model, safe_mode=not self.allow_lambda)
        else:
            batch = None if self.calibrate is None else read_batch(self.calibrate)
            old = self._opened()
            if self.kind == "fold":
                model, report = convert.fold_batch_norm(old, return_report=True)
            else:
                change = convert.replace_norms if self.kind == "to" else convert.insert_norms
                model, report = change(
                    old, cast(NormSpec, self.spec), where=self.where, calibrate=batch, return_report=True
                )
        if self.stock:
            model = convert.to_keras(model)
        if export_format(self.target):
            given = None if self.representative is None else read_inputs(self.representative, model, self.data_dir)
            exported = convert.export(
                model, self.target, batch_size=self.batch_size, quantize=self.quantize, representative=given,
                overwrite=self.force, check=self.check,
            )  # fmt: skip
            return report, exported
        with whole_file(self.target) as temporary:
            model.save(temporary)
        return report, None


def file_conversion(
    source: Path,
    target: str | Path,
    *,
    to: str | None = None,
    insert: str | None = None,
    fold: bool = False,
    from_tfa: bool = False,
    where: Sequence[str] = (),
    calibrate: Path | None = None,
    model: Path | None = None,
    stock: bool = False,
    force: bool = False,
    imports: Sequence[str] = (),
    allow_lambda: bool = False,
    batch_size: str = "open",
    quantize: str | None = None,
    representative: str | None = None,
    check: bool = True,
    data_dir: Path | None = None,
) -> FileConversion:
    """Return the conversion that is asked for, without importing Keras.

    Args:
        source: A .keras or .h5 file.
        target: The .keras file to write, or what to export to: a .tflite or .onnx file, or a folder that ends in "/".
        to: Spec of the norm that takes the place of the others.
        insert: Spec of the norm that is put after convolutions.
        fold: Whether to fold batch norms.
        from_tfa: Whether ``source`` was written with tensorflow-addons.
        where: Names of the layers, for ``to`` and ``insert``; default all.
        calibrate: A .npy file with a batch of inputs, for ``to`` and ``insert``.
        model: The model as JSON, for ``from_tfa`` and a file of weights alone.
        stock: Whether to write Keras's own layers, which open without tfnorm.
        force: Whether to write over a file, or a SavedModel.
        imports: Modules and Python files with layers of one's own in the file.
        allow_lambda: Whether to run the code of Lambda layers in the file.
        batch_size: "open", or how many inputs an export takes at a time.
        quantize: How a LiteRT file is made smaller.
        representative: Inputs for an export: a .npy or .npz file, a folder of pictures or a known data set.
        check: Whether to compare an export with Keras.
        data_dir: A folder in which the known data set is looked for first.
    """
    target = str(target)
    export = export_format(target) is not None
    kinds = {"to": to is not None, "insert": insert is not None, "fold": fold, "from-tfa": from_tfa}
    chosen = [kind for kind, given in kinds.items() if given]
    if len(chosen) > 1 or not (chosen or export):
        received = " and ".join(f"--{kind}" for kind in chosen) or "none of them"
        exports = "" if chosen else f" To export the model as it is, let the new name end in {ENDINGS_TEXT}."
        raise TfnormError(f"One of --to, --insert, --fold and --from-tfa is needed. Received: {received}.{exports}")
    kind = chosen[0] if chosen else "export"
    text = to if to is not None else insert
    spec = None if text is None else parse_norm(text)
    for word, given in (("where", bool(where)), ("calibrate", calibrate is not None)):
        if given and spec is None:
            raise TfnormError(f"--{word} belongs to --to and --insert. Received: --{word} {_with(kind)}.")
    if model is not None and not from_tfa:
        raise TfnormError(f"--model belongs to --from-tfa. Received: --model {_with(kind)}.")
    of_exports: dict[str, object] = {
        "batch-size": batch_size != "open",
        "quantize": quantize,
        "representative": representative,
    }
    of_exports["data-dir"] = data_dir
    for word in (word for word, given in {**of_exports, "no-check": not check}.items() if given and not export):
        raise TfnormError(f"--{word} belongs to an export, whose name ends in {ENDINGS_TEXT}. Received: {target!r}.")
    if not source.is_file():
        raise DataError(f"There is no file {str(source)!r}. Give a saved Keras model.")
    if export_format(source):
        raise DataError(
            f"The file {str(source)!r} is for inference alone. Give the saved Keras model that it was made of."
        )
    for word, file in (("model", model), ("calibrate", calibrate)):
        if file is not None and not file.is_file():
            raise DataError(
                f"There is no file {str(file)!r} for --{word}. Give the name of one, or leave --{word} out."
            )
    if data_dir is not None and not (representative is not None and _is_dataset(representative)):
        raise DataError(
            f"--data-dir belongs to --representative with one of the data sets {', '.join(DATASETS)}. "
            f"Received: --data-dir with {'no --representative' if representative is None else repr(representative)}."
        )
    check_imports(imports)
    size = None if batch_size == "open" else _batch_size(batch_size)
    if export:
        if representative is not None:
            _check_inputs(representative)
        check_export(
            target, batch_size=size, quantize=quantize, calibrated=representative is not None, overwrite=force
        )  # fmt: skip
    else:
        _check_target(Path(target), force)
    return FileConversion(
        source, target, kind, spec, tuple(where) or None, calibrate, model, stock, tuple(imports), allow_lambda,
        force, size, quantize, representative, check, data_dir,
    )  # fmt: skip


def _with(kind: str) -> str:
    return "for an export alone" if kind == "export" else f"with --{kind}"


def _check_target(target: Path, force: bool) -> None:
    if target.suffix != ".keras":
        raise DataError(
            f"The name of the new file must end in .keras, or, to export it, in {ENDINGS_TEXT}. "
            f"Received: {str(target)!r}."
        )
    if target.is_dir():
        raise DataError(f"The new file {str(target)!r} is a folder. Give another name.")
    if target.exists() and not force:
        raise DataError(f"The file {str(target)!r} exists. Give another name, or --force to write over it.")


def _batch_size(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise TfnormError(f"--batch-size must be open, or a number of inputs such as 1. Received: {text!r}.")
    return int(text)


def _is_dataset(name: str) -> bool:
    """Return whether inputs are a known data set; a folder of that name comes first."""
    return name in DATASETS and not Path(name).is_dir()


def _check_inputs(name: str) -> None:
    """Raise a `DataError` unless ``name`` is something that `read_inputs` reads."""
    path = Path(name)
    arrays = path.is_file() and path.suffix in (".npy", ".npz")
    if not (arrays or path.is_dir() or name in DATASETS):
        raise DataError(
            f"--representative must be a .npy or .npz file with inputs as the model takes them, a folder of pictures, "
            f"or one of the data sets {', '.join(DATASETS)}. Received: {name!r}."
        )


def read_inputs(name: str, model: keras.Model, data_dir: Path | None = None) -> np.ndarray | dict[str, np.ndarray]:
    """Return inputs for an export.

    Args:
        name: A .npy or .npz file, whose arrays are taken as they are, a folder of pictures or a data set, whose pixels
            are 0 to 255.
        model: It tells the size of the images.
        data_dir: A folder in which the data set is looked for first.
    """
    if name.endswith(".npy"):
        return read_batch(Path(name))
    if name.endswith(".npz"):
        try:
            with np.load(name, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(
                f"The file {name!r} holds no arrays that NumPy can read ({error}). Write it with np.savez."
            ) from None
        images = next((arrays[key] for key in ("x_train", "x") if key in arrays), None)
        return arrays if images is None or len(getattr(model, "inputs", None) or [None]) > 1 else images
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:] or shape[3] not in (1, 3):
        raise DataError(
            f"{name!r} holds images, and the model takes {shape}. Give inputs as the model takes them in a .npy file."
        )
    height, width, channels = shape[1:]
    if not _is_dataset(name):
        return load_pictures(Path(name), (height, width), channels, most=_MOST_PICTURES)
    return load(name, data_dir=data_dir, image_size=(height, width)).x_train[:_MOST_PICTURES]


def read_batch(path: Path) -> np.ndarray:
    """Return the array in a .npy file."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(
            f"The file {str(path)!r} is no array that NumPy can read ({error}). Write one with np.save."
        ) from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"The file {str(path)!r} holds several arrays. Write one with np.save.")
    return array
