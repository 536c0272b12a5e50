"""Conversions from file to file; what can be checked without Keras is checked first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfnorm.errors import DataError, TfnormError
from tfnorm.files import whole_file
from tfnorm.model_file import check_imports, keras_version, open_model, own_objects
from tfnorm.spec import NormSpec, parse_norm

if TYPE_CHECKING:
    import keras
    import numpy as np

    from tfnorm.convert import Report


@dataclass(frozen=True)
class FileConversion:
    """A conversion whose arguments have been checked.

    Args:
        source: The file to read.
        target: The file to write.
        kind: "to", "insert", "fold" or "from-tfa".
        spec: The norm, for "to" and "insert".
        where: Names of layers, for the same.
        calibrate: A .npy file with a batch of inputs, for the same.
        model: A description of the model, for "from-tfa" and weights alone.
        stock: Whether to write Keras's own layers.
        imports: Modules and Python files with layers of one's own in the file.
        allow_lambda: Whether to run the code of Lambda layers in the file.
    """

    source: Path
    target: Path
    kind: str
    spec: NormSpec | None = None
    where: tuple[str, ...] | None = None
    calibrate: Path | None = None
    model: Path | None = None
    stock: bool = False
    imports: tuple[str, ...] = ()
    allow_lambda: bool = False

    def run(self) -> Report:
        """Read, convert and write; return what was done."""
        with own_objects(self.imports):
            return self._run()

    def _opened(self) -> keras.Model:
        from tfnorm.convert import load_tfa_model

        # Keras 3 would open some layers of Keras 2 as ones that compute something else.
        if keras_version(self.source).startswith("2"):
            return load_tfa_model(self.source, safe_mode=not self.allow_lambda)
        return open_model(self.source, imports=self.imports, allow_lambda=self.allow_lambda)

    def _run(self) -> Report:
        from tfnorm import convert

        report = convert.Report(())
        if self.kind == "from-tfa":
            model = convert.load_tfa_model(self.source, model=self.model, safe_mode=not self.allow_lambda)
        else:
            batch = None if self.calibrate is None else read_batch(self.calibrate)
            old = self._opened()
            if self.kind == "fold":
                model, report = convert.fold_batch_norm(old, return_report=True)
            else:
                change = convert.replace_norms if self.kind == "to" else convert.insert_norms
                model, report = change(old, self.spec, where=self.where, calibrate=batch, return_report=True)
        if self.stock:
            model = convert.to_keras(model)
        with whole_file(self.target) as temporary:
            model.save(temporary)
        return report


def file_conversion(
    source: Path,
    target: Path,
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
) -> FileConversion:
    """Return the conversion that is asked for, without importing Keras.

    Args:
        source: A .keras or .h5 file.
        target: The .keras file to write.
        to: Spec of the norm that takes the place of the others.
        insert: Spec of the norm that is put after convolutions.
        fold: Whether to fold batch norms.
        from_tfa: Whether ``source`` was written with tensorflow-addons.
        where: Names of the layers, for ``to`` and ``insert``; default all.
        calibrate: A .npy file with a batch of inputs, for ``to`` and ``insert``.
        model: The model as JSON, for ``from_tfa`` and a file of weights alone.
        stock: Whether to write Keras's own layers, which open without tfnorm.
        force: Whether to write over a file.
        imports: Modules and Python files with layers of one's own in the file.
        allow_lambda: Whether to run the code of Lambda layers in the file.
    """
    kinds = {"to": to is not None, "insert": insert is not None, "fold": fold, "from-tfa": from_tfa}
    chosen = [kind for kind, given in kinds.items() if given]
    if len(chosen) != 1:
        received = " and ".join(f"--{kind}" for kind in chosen) or "none of them"
        raise TfnormError(f"One of --to, --insert, --fold and --from-tfa is needed. Received: {received}.")
    (kind,) = chosen
    text = to if to is not None else insert
    spec = None if text is None else parse_norm(text)
    for word, given in (("where", bool(where)), ("calibrate", calibrate is not None)):
        if given and spec is None:
            raise TfnormError(f"--{word} belongs to --to and --insert. Received: --{word} with --{kind}.")
    if model is not None and not from_tfa:
        raise TfnormError(f"--model belongs to --from-tfa. Received: --model with --{kind}.")
    if not source.is_file():
        raise DataError(f"There is no file {str(source)!r}. Give a saved Keras model.")
    for word, file in (("model", model), ("calibrate", calibrate)):
        if file is not None and not file.is_file():
            raise DataError(
                f"There is no file {str(file)!r} for --{word}. Give the name of one, or leave --{word} out."
            )
    check_imports(imports)
    if target.suffix != ".keras":
        raise DataError(f"The name of the new file must end in .keras. Received: {str(target)!r}.")
    if target.is_dir():
        raise DataError(f"The new file {str(target)!r} is a folder. Give another name.")
    if target.exists() and not force:
        raise DataError(f"The file {str(target)!r} exists. Give another name, or --force to write over it.")
    return FileConversion(
        source, target, kind, spec, tuple(where) or None, calibrate, model, stock, tuple(imports), allow_lambda
    )


def read_batch(path: Path) -> np.ndarray:
    """Return the array in a .npy file."""
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(
            f"The file {str(path)!r} is no array that NumPy can read ({error}). Write one with np.save."
        ) from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"The file {str(path)!r} holds several arrays. Write one with np.save.")
    return array
