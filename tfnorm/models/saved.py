"""Opening saved Keras models, with the layers of your own that are in them."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

from tfnorm.errors import DataError, TfnormError, first_line
from tfnorm.own_code.imports import import_named

if TYPE_CHECKING:
    import keras

# What Keras's errors say where a class is not known, in a .keras and in an .h5 file, and where a file holds code.
UNKNOWN = re.compile(r"Could not locate (?:class|function) '[^']*'|Unknown [\w ]+: '[^']*'")
UNSAFE = "safe_mode=False"


@contextmanager
def own_objects(names: Sequence[str]) -> Iterator[None]:
    """Import modules, so that files which hold their classes and functions open within this context.

    ``names`` are those of modules, or paths of Python files. Importing a module registers what it registers. Its other
    classes and functions are known by their names, unless Keras has something of that name.
    """
    modules = [import_named(name) for name in names]
    if not modules:
        yield
        return
    import keras  # start-up

    spaces = [vars(space) for name, space in vars(keras).items() if isinstance(space, ModuleType) and name[0] != "_"]
    found = {
        key: value
        for module in modules
        for key, value in vars(module).items()
        if isinstance(value, type | FunctionType) and value.__module__ == module.__name__
    }
    objects = {key: value for key, value in found.items() if not any(key in space for space in spaces)}
    with keras.saving.custom_object_scope(objects):
        yield


def open_model(
    path: str | os.PathLike[str],
    *,
    imports: Sequence[str] = (),
    allow_lambda: bool = False,
    compiled: bool = True,
    error: type[TfnormError] = DataError,
) -> keras.Model:
    """Return a saved model, of a .keras or .h5 file.

    Args:
        path: The file.
        imports: What has been imported for it with `own_objects`.
        allow_lambda: Whether to run the code of Lambda layers in the file.
        compiled: Whether to compile it as it was, if its loss and metrics are known.
        error: The class of the error if it cannot be opened.
    """
    import keras  # start-up

    for registering in ("tfnorm.layers", "tfnorm.regularizers"):
        importlib.import_module(registering)
    why = Exception()
    with tempfile.TemporaryDirectory() as folder:
        for file in _forms_of(path, Path(folder)):
            for with_loss in (True, False) if compiled else (False,):
                try:
                    return keras.models.load_model(file, compile=with_loss, safe_mode=not allow_lambda)
                except Exception as raised:  # a file may be wrong in any way
                    why = raised
    raise error(_why_not_opened(str(path), why, imports))


def _forms_of(path: str | os.PathLike[str], folder: Path) -> Iterator[str | os.PathLike[str]]:
    """Yield a file, then a copy without unused settings of later versions of Keras, if it is a .keras file with any."""
    from tfnorm._keras import portable  # start-up

    yield path
    copy = folder / "copy.keras"
    try:
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
            config = json.loads(source.read("config.json"))
            smaller = portable({"model": config})["model"]
            for entry in source.infolist() if smaller != config else ():
                own = entry.filename == "config.json"
                target.writestr(entry, json.dumps(smaller) if own else source.read(entry))
    except Exception:  # a file may be wrong in any way
        return
    if smaller != config:
        yield copy


def _why_not_opened(path: str, raised: Exception, imports: Sequence[str]) -> str:
    text = re.sub(r"\x1b\[\d*m", "", str(raised))
    # Keras names a layer, with its whole configuration, and then the error that was raised for it.
    cause = first_line(Exception(text.rpartition("Exception encountered: ")[2] or type(raised).__name__))
    if called := re.match(r"Exception encountered when calling .*\n+(.*)", text):
        cause = called[1].rstrip(".")
    opening = f"tfnorm convert {shlex.quote(path)} OUT.keras --from-tfa"
    unknown, version = UNKNOWN.search(cause), keras_version(path)
    if unknown and imports:
        cause, remedy = unknown[0], f"Register it in {' or '.join(imports)} under the name that it was saved with."
    elif unknown:
        cause = unknown[0]
        remedy = "Name the module or the Python file that defines it with --import, or `imports` in Python."
    elif UNSAFE in text:
        cause = "it holds a Lambda layer with Python code"
        remedy = "If you trust the file, run that code with --allow-lambda, or `allow_lambda=True` in Python."
    elif "calling Lambda.call()" in text:
        first: BaseException = raised
        while earlier := first.__cause__ or first.__context__:  # which Keras hides
            first = earlier
        cause = f"the code of a Lambda layer in it fails: {type(first).__name__}: {first}"
        remedy = "Save the model with a registered function in its place, and name its module with --import."
    elif version.startswith("3"):
        remedy = "It was saved by Keras 3: keras.models.load_model shows the whole error."
    elif version:
        remedy = f"It was saved by Keras {version}, whose files `{opening}` opens."
    else:
        if path.endswith(".keras") and not zipfile.is_zipfile(path):
            cause = "it is no zip archive, as .keras files are"
        remedy = f"Give a model saved by Keras. One of Keras 2 or tensorflow-addons may open with `{opening}`."
    return f"The file {path!r} is no Keras model that can be opened ({cause}). {remedy}"


def was_compiled(path: str | os.PathLike[str]) -> bool:
    """Return whether the model in a .keras file has an optimizer and a loss."""
    with zipfile.ZipFile(path) as archive:
        return bool(json.loads(archive.read("config.json")).get("compile_config"))


def keras_version(path: str | os.PathLike[str]) -> str:
    """Return the version of Keras that a file says wrote it, or ""."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return str(json.loads(archive.read("metadata.json"))["keras_version"])
        import h5py  # start-up

        with h5py.File(path) as file:
            version = file.attrs["keras_version"]
            return version.decode() if isinstance(version, bytes) else str(version)
    except Exception:  # a file may be wrong in any way
        return ""
