"""Importing a person's own Python files and modules; what they raise is told as their error. Imports no Keras."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from tfnorm.errors import DataError, TfnormError

# The attribute of a module that `import_file` made with the hash of the file as it was run.
_HASH = "__tfnorm_hash__"


def check_imports(names: Sequence[str]) -> tuple[Path, ...]:
    """Return the Python files that will be imported, without importing any.

    Args:
        names: Modules, or paths of Python files.

    Raises:
        DataError: If one is not there.
    """
    files = []
    for name in names:
        if is_file_name(name):
            if not Path(name).is_file():
                raise DataError(f"There is no file {name!r} for --import. Give a Python file, or the name of a module.")
            files.append(Path(name).resolve())
            continue
        found = _find_module(name)
        if found is None and name not in sys.modules:
            raise DataError(
                f"There is no module {name!r} for --import. Give the name of an installed one, or of a Python file."
            )
        files += [path for path in (_python_file(found),) if path is not None]
    return tuple(files)


def import_named(name: str) -> ModuleType:
    """Return a module or file that --import names, imported."""
    check_imports([name])
    try:
        return import_file(name) if is_file_name(name) else import_module(name)
    except (Exception, SystemExit) as raised:
        raise own_error(f"--import {name}", raised, DataError) from None


def is_file_name(name: str) -> bool:
    """Return whether ``name`` means a file rather than a module."""
    return name.endswith(".py") or "/" in name or os.sep in name


def is_missing(module: str, raised: BaseException) -> bool:
    """Return whether an error says that ``module``, or a package that it is in, is not there."""
    return isinstance(raised, ModuleNotFoundError) and f"{module}.".startswith(f"{raised.name}.")


def import_module(name: str) -> ModuleType:
    """Return a module, imported from the folder that the command runs in or from where Python finds it."""
    _search_first(Path.cwd())
    return importlib.import_module(name)


def import_file(name: str | os.PathLike[str]) -> ModuleType:
    """Return the module of a Python file. It runs once, and again if the file has changed since."""
    path = Path(name).resolve()
    _search_first(path.parent)
    key, now = path.stem, file_hash(path)
    for module in (sys.modules.get(key), sys.modules.get(_other_key(path))):
        if module is not None and _file_of(module) == path and getattr(module, _HASH, now) == now:
            return module  # running it twice would register its classes twice
    known = sys.modules.get(key)
    name = key if known is None else _other_key(path)
    place = importlib.util.spec_from_file_location(name, path, loader=_Uncached(name, str(path)))
    if place is None or place.loader is None:
        raise ImportError("this is no Python file")
    module = importlib.util.module_from_spec(place)
    setattr(module, _HASH, now)
    earlier = sys.modules.get(place.name)
    sys.modules[place.name] = module
    try:
        place.loader.exec_module(module)
    except BaseException:
        if earlier is None:
            del sys.modules[place.name]
        else:
            sys.modules[place.name] = earlier
        raise
    return module


class _Uncached(SourceFileLoader):
    """Compiles a file anew each time: Python takes bytecode of a file that changed within a second for that of now."""

    def get_code(self, fullname: str) -> Any:
        """Return the code of the file as it is."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _other_key(path: Path) -> str:
    """Return a name for a file whose own name another module has."""
    return f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file).resolve()


def _search_first(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))  # as `python FILE.py` and `python -m MODULE` do


def find_module_file(name: str) -> Path | None:
    """Return the Python file of a module, without importing it or a package around it; None if none is found."""
    return _python_file(_find_module(name))


def _python_file(found: ModuleSpec | None) -> Path | None:
    origin = None if found is None else found.origin
    return Path(origin) if origin and origin.endswith(".py") and Path(origin).is_file() else None


def _find_module(name: str) -> ModuleSpec | None:
    """Return where a module is, without importing it or a package around it; None if it is not found."""
    first, *others = name.split(".")
    found = PathFinder.find_spec(first, [str(Path.cwd()), *sys.path])
    if found is None:
        with suppress(ValueError):  # of a module that was made without a place
            found = importlib.util.find_spec(first)  # as an editable installation places it
    for part in others:
        folders = None if found is None else found.submodule_search_locations
        found = None if folders is None else PathFinder.find_spec(part, list(folders))
    return found


def file_hash(*paths: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of the bytes of a file, or of several together, in hexadecimal digits; "" of none."""
    hashes = []
    for path in paths:
        with open(path, "rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashlib.sha256("".join(hashes).encode()).hexdigest() if hashes[1:] else "".join(hashes)


def check_unchanged(name: str, files: Sequence[Path], fingerprint: str, error: type[TfnormError]) -> None:
    """Raise an error if files have another hash than when ``name``, which needs them, was checked."""
    if files and fingerprint != file_hash(*files):
        one = "The file" if len(files) == 1 else "One of the files"
        raise error(
            f"{one} {', '.join(map(str, files))} has changed since {name} was checked. Start again with the new file, "
            "or restore the old one."
        )


def own_error(what: str, raised: BaseException, error: type[TfnormError]) -> TfnormError:
    """Return the error that says what a person's own code raised, in which file and line."""
    return error(f"{what} fails with an error of its own: {what_it_says(raised)} ({_place(raised)}). Mend it there.")


def what_it_says(raised: BaseException) -> str:
    """Return the class and the first line of an error, or the line that Keras quotes of an error within a layer."""
    text = re.sub(r"\x1b\[[\d;]*m", "", str(raised)).strip()
    if called := re.match(r"Exception encountered when calling .*\n+(.*)", text):
        text = called[1]
    if inferred := re.match(r"Could not automatically infer .*Error encountered:\s*(.*)", text, re.DOTALL):
        text = inferred[1]
    line = text.splitlines()[0].rstrip(".") if text else ""
    return f"{type(raised).__name__}: {line}" if line else type(raised).__name__


def _place(raised: BaseException) -> str:
    """Return the file and line of an error, the last one that neither tfnorm nor an installed library wrote."""
    if isinstance(raised, SyntaxError) and raised.filename:
        return f"{raised.filename}, line {raised.lineno}"
    ours = str(Path(__file__).parents[1])
    libraries = (*{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}, "<frozen", ours)
    frames = traceback.extract_tb(raised.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(libraries)] or list(frames)
    return f"{own[-1].filename}, line {own[-1].lineno}"
