"""Conversions and exports from file to file; what can be checked without Keras is checked first."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfnorm import convert
from tfnorm.convert.runtimes.formats import ENDINGS_TEXT, check_export, export_format
from tfnorm.datasets import DATASETS, load
from tfnorm.datasets.folder.loading import load_pictures
from tfnorm.errors import DataError, TfnormError
from tfnorm.files import whole_file
from tfnorm.models.saved import keras_version, open_model, own_objects
from tfnorm.own_code.imports import check_imports
from tfnorm.spec import NormSpec, parse_norm

if TYPE_CHECKING:
    import keras

# Pictures that an export is fitted to and checked with.
_MOST_PICTURES = 200


@dataclass(frozen=True)
class FileConversion:
    """A conversion or an export, checked when it is made, without Keras. `tfnorm convert --help` explains the options.

    Raises:
        TfnormError: If the options do not fit together, or if a file is missing or in the way.
    """

    source: Path
    target: str | Path
    to: str | None = None
    insert: str | None = None
    fold: bool = False
    from_tfa: bool = False
    where: Sequence[str] | None = None
    calibrate: Path | None = None
    architecture: Path | None = None
    stock: bool = False
    imports: Sequence[str] = ()
    allow_lambda: bool = False
    force: bool = False
    batch_size: str = "open"
    quantize: str | None = None
    representative: str | None = None
    data_dir: Path | None = None
    no_check: bool = False

    def __post_init__(self) -> None:
        self._check_options()
        self._check_source()
        check_imports(self.imports)
        if not export_format(self.target):
            self._check_target()
            return
        if self.representative is not None:
            _check_inputs(self.representative)
        check_export(
            self.target, batch_size=self._batch_size(), quantize=self.quantize,
            calibrated=self.representative is not None, overwrite=self.force,
        )  # fmt: skip

    def _check_options(self) -> None:
        """Raise a `TfnormError` if nothing or too much is asked for, or if an option belongs to something else."""
        changes = {"--to": self.to, "--insert": self.insert, "--fold": self.fold, "--from-tfa": self.from_tfa}
        chosen = [option for option, given in changes.items() if given not in (None, False)]
        exports = export_format(self.target) is not None
        if len(chosen) > 1 or not (chosen or exports):
            received = " and ".join(chosen) or "none of them"
            how = "" if chosen else f" To export the model as it is, let the new name end in {ENDINGS_TEXT}."
            raise TfnormError(f"One of --to, --insert, --fold and --from-tfa is needed. Received: {received}.{how}")
        beside = f"with {chosen[0]}" if chosen else "for an export alone"
        if self._norm is None:
            _refuse({"where": self.where, "calibrate": self.calibrate}, "--to and --insert", beside)
        if not self.from_tfa:
            _refuse({"architecture": self.architecture}, "--from-tfa", beside)
        if not exports:
            options = {
                "batch-size": self.batch_size != "open", "quantize": self.quantize, "no-check": self.no_check,
                "representative": self.representative, "data-dir": self.data_dir,
            }  # fmt: skip
            _refuse(options, f"an export, whose name ends in {ENDINGS_TEXT}", f"for {str(self.target)!r}")

    def _check_source(self) -> None:
        """Raise a `DataError` if something that is to be read is not there, or of no use."""
        if not self.source.is_file():
            raise DataError(f"There is no file {str(self.source)!r}. Give a saved Keras model.")
        if export_format(self.source):
            raise DataError(
                f"The file {str(self.source)!r} is for inference alone. Give the saved Keras model that it was made of."
            )
        for option, file in (("architecture", self.architecture), ("calibrate", self.calibrate)):
            if file is not None and not file.is_file():
                raise DataError(
                    f"There is no file {str(file)!r} for --{option}. Give the name of one, or leave --{option} out."
                )
        if self.data_dir is not None and not _is_dataset(self.representative):
            received = "no --representative" if self.representative is None else repr(self.representative)
            raise DataError(
                f"--data-dir belongs to --representative with one of the data sets {', '.join(DATASETS)}. "
                f"Received: --data-dir with {received}."
            )

    def _check_target(self) -> None:
        """Raise a `DataError` if a .keras file cannot be written there."""
        target = Path(self.target)
        if target.suffix != ".keras":
            raise DataError(
                f"The name of the new file must end in .keras, or, to export it, in {ENDINGS_TEXT}. "
                f"Received: {str(target)!r}."
            )
        if target.is_dir():
            raise DataError(f"The new file {str(target)!r} is a folder. Give another name.")
        if target.exists() and not self.force:
            raise DataError(f"The file {str(target)!r} exists. Give another name, or --force to write over it.")

    @property
    def _norm(self) -> NormSpec | None:
        text = self.insert if self.to is None else self.to
        return None if text is None else parse_norm(text)

    def _batch_size(self) -> int | None:
        if self.batch_size == "open":
            return None
        if not self.batch_size.isdecimal() or not int(self.batch_size):
            raise TfnormError(
                f"--batch-size must be open, or a number of inputs such as 1. Received: {self.batch_size!r}."
            )
        return int(self.batch_size)

    def run(self) -> tuple[convert.Report, convert.Exported | None]:
        """Read, convert and write; return what was done to the norms, and what an export wrote."""
        with own_objects(self.imports):
            model, report = self._converted()
            if self.stock:
                model = convert.to_keras(model)
            if not export_format(self.target):
                with whole_file(self.target) as temporary:
                    model.save(temporary)
                return report, None
            given = None if self.representative is None else _read_inputs(self.representative, model, self.data_dir)
            return report, convert.export(
                model, self.target, batch_size=self._batch_size(), quantize=self.quantize, representative=given,
                overwrite=self.force, check=not self.no_check,
            )  # fmt: skip

    def _converted(self) -> tuple[keras.Model, convert.Report]:
        """Return the model with other norms, and what was done to them."""
        safe, spec = not self.allow_lambda, self._norm
        if self.from_tfa:
            return convert.load_tfa_model(self.source, model=self.architecture, safe_mode=safe), convert.Report(())
        batch = None if self.calibrate is None else _read_batch(self.calibrate)
        # Keras 3 would open some layers of Keras 2 as ones that compute something else.
        if keras_version(self.source).startswith("2"):
            model = convert.load_tfa_model(self.source, safe_mode=safe)
        else:
            model = open_model(self.source, imports=self.imports, allow_lambda=self.allow_lambda)
        if self.fold:
            return convert.fold_batch_norm(model, return_report=True)
        if spec is None:
            return model, convert.Report(())
        change = convert.insert_norms if self.to is None else convert.replace_norms
        return change(model, spec, where=self.where or None, calibrate=batch, return_report=True)


def _refuse(options: Mapping[str, object], owner: str, beside: str) -> None:
    """Raise a `TfnormError` about the first option that is given, because it belongs to something else."""
    for option, given in options.items():
        if given:
            raise TfnormError(f"--{option} belongs to {owner}. Received: --{option} {beside}.")


def _is_dataset(name: str | None) -> bool:
    """Return whether inputs are a known data set; a folder of that name comes first."""
    return name is not None and name in DATASETS and not Path(name).is_dir()


def _check_inputs(name: str) -> None:
    """Raise a `DataError` unless ``name`` is something that `_read_inputs` reads."""
    path = Path(name)
    arrays = path.is_file() and path.suffix in (".npy", ".npz")
    if not (arrays or path.is_dir() or name in DATASETS):
        raise DataError(
            f"--representative must be a .npy or .npz file with inputs as the model takes them, a folder of pictures, "
            f"or one of the data sets {', '.join(DATASETS)}. Received: {name!r}."
        )


def _read_inputs(name: str, model: keras.Model, data_dir: Path | None) -> np.ndarray | dict[str, np.ndarray]:
    """Return inputs for an export: arrays as they are, or pictures from 0 to 255 of the size that the model takes."""
    if name.endswith((".npy", ".npz")):
        arrays = _read_arrays(Path(name))
        if isinstance(arrays, np.ndarray) or len(getattr(model, "inputs", None) or [None]) > 1:
            return arrays
        return next((arrays[key] for key in ("x_train", "x") if key in arrays), arrays)
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:] or shape[3] not in (1, 3):
        raise DataError(
            f"{name!r} holds images, and the model takes {shape}. Give inputs as the model takes them in a .npy file."
        )
    height, width, channels = shape[1:]
    if not _is_dataset(name):
        return load_pictures(Path(name), (height, width), channels, most=_MOST_PICTURES)
    return load(name, data_dir=data_dir, image_size=(height, width)).x_train[:_MOST_PICTURES]


def _read_batch(path: Path) -> np.ndarray:
    array = _read_arrays(path)
    if not isinstance(array, np.ndarray):
        raise DataError(f"The file {str(path)!r} holds several arrays. Write one with np.save.")
    return array


def _read_arrays(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """Return the array in a .npy file, or the arrays in a .npz file by their names."""
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            return {key: found[key] for key in found.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"The file {str(path)!r} is no array that NumPy can read ({error}). Write one with np.save."
        ) from None
