"""A person's own functions: which a file defines, what they take, and how another process finds them."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import sys
import tokenize
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfnorm.errors import TfnormError, is_memory_error, nearest
from tfnorm.own_code.imports import (
    check_unchanged,
    file_hash,
    find_module_file,
    import_file,
    import_module,
    is_missing,
    own_error,
)


@dataclass(frozen=True)
class Purpose:
    """What a function is for, in the words of messages.

    Args:
        noun: What it makes, such as "model".
        parameters: What it may take, by these names.
        forms: What may be given in its place.
        error: The class of errors about it.
    """

    noun: str
    parameters: tuple[str, ...]
    forms: str
    error: type[TfnormError]


@dataclass(frozen=True)
class OwnFunction:
    """A function of a person's own, which nothing runs before it is called. `function_of` returns one.

    Args:
        name: What messages call it.
        text: What `function_of` takes in another process to find it; None where there is no such text.
        why_no_text: Why there is none, as a sentence; "" if there is one.
        fingerprint: The hash of its file.
        files: The file that is imported. It must not change until then.
        purpose: What it is for.
    """

    name: str
    text: str | None
    why_no_text: str
    fingerprint: str
    files: tuple[Path, ...]
    purpose: Purpose
    _load: Callable[[], Callable[..., Any]] = field(repr=False, compare=False)

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Return what it takes. Imports its file."""
        return parameters_of(self.load())

    def load(self) -> Callable[..., Any]:
        """Return the function itself, imported."""
        check_unchanged(self.name, self.files, self.fingerprint, self.purpose.error)
        return self._load()

    def call(self, values: Mapping[str, Any]) -> Any:
        """Return what it makes of those of ``values`` that it takes and that are not None.

        Raises:
            TfnormError: If it needs others, if it fails, or if it returns None.
        """
        error, function, all_names = self.purpose.error, self.load(), self.purpose.parameters
        known = parameters_of(function)
        by_name = {name for name, each in known.items() if each.kind is not each.POSITIONAL_ONLY}
        given = {key: value for key, value in values.items() if key in by_name and value is not None}
        needed = [name for name, each in known.items() if is_needed(each) and name not in given]
        if needed:
            ours = [name for name in needed if name in all_names]
            how = (
                f"Say its {' and '.join(ours)}."
                if ours == needed
                else f"Give them defaults: it gets {', '.join(all_names[:-1])} and {all_names[-1]} alone, by name."
            )
            raise error(f"{self.name} needs the arguments {', '.join(needed)}, which it does not get. {how}")
        try:
            made = function(**given)
        except (Exception, SystemExit) as raised:
            if is_memory_error(raised):
                raise
            raise own_error(self.name, raised, error) from None
        if made is None:
            raise error(f"{self.name} returns None. End it with `return {self.purpose.noun}`.")
        return made


def names_a_function(text: str) -> bool:
    """Return whether a text is FILE.py:FUNCTION or package.module:FUNCTION by its form, or a Python file alone.

    Example:
        >>> [names_a_function(text) for text in ("nets.py:make", "pack.nets:make", "nets.py", "photos", "hf:a")]
        [True, True, True, False, True]
    """
    before, colon, name = text.rpartition(":")
    if text.endswith(".py") or (colon and before.endswith(".py")):
        return True
    return bool(re.fullmatch(r"[^\W\d]\w*(\.\w+)*:[^\W\d]\w*(\.\w+)*", text)) and len(before) > 1


def function_of(given: str | Callable[..., Any], purpose: Purpose) -> OwnFunction:
    """Return a function, given itself or as a text of which `names_a_function`, checked without running anything.

    Raises:
        TfnormError: If the text names no file, module or function.
    """
    if not isinstance(given, str):
        text, why = text_of(given)
        path = file_of(given)
        fingerprint = code_hash(given) if path is None else file_hash(path)
        name = text or getattr(given, "__qualname__", None) or type(given).__name__
        return OwnFunction(name, text, why, fingerprint, (), purpose, lambda: given)
    where, _, name = given.rpartition(":")
    noun, error = purpose.noun, purpose.error
    if given.endswith(".py"):
        functions = [each for each, kind in defined_in(Path(given), given, purpose)[0].items() if kind == "function"]
        example = f", such as {given}:{functions[0]}" if functions else ""
        raise error(f"Say which function of {given!r} makes the {noun}{example}.")
    in_file = where.endswith(".py")
    if in_file and Path(where).is_dir():
        raise error(f"{where!r} is a folder. As a {noun}, give {purpose.forms}.")
    if in_file and not Path(where).is_file():
        raise error(f"There is no file {where!r}. Give the Python file that has the function {name!r}.")
    path = Path(where).resolve() if in_file else find_module_file(where)
    if path is None and where not in sys.modules:
        raise error(f"There is no module {where!r}, which the {noun} {given!r} needs. Give {purpose.forms}.")
    if path is not None:
        names, complete = defined_in(path, where, purpose)
        _check_defined(name, names, complete, f"The {'file' if in_file else 'module'} {where!r}", purpose)
    files = () if path is None else (path,)

    def load() -> Callable[..., Any]:
        try:
            module = import_file(files[0]) if in_file else import_module(where)
        except (Exception, SystemExit) as raised:
            if is_memory_error(raised):
                raise
            if is_missing(where, raised):
                raise error(f"There is no module {where!r}, which the {noun} {given!r} needs.") from None
            raise own_error(where, raised, error) from None
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part, None)
        if not callable(found):
            kind = "no such name" if found is None else f"{type(found).__name__} of that name"
            raise error(f"{where!r} must have a function {name!r} that makes the {noun}. It has {kind}.")
        return found

    return OwnFunction(given, given, "", file_hash(*files), files, purpose, load)


def defined_in(path: Path, shown: str, purpose: Purpose) -> tuple[dict[str, str], bool]:
    """Return the names that a file defines, each with its kind, and whether these are all; nothing is run."""
    error = purpose.error
    if not path.is_file():
        raise error(f"There is no file {shown!r}. Give the name of a Python file.")
    try:
        with tokenize.open(path) as file:
            tree = ast.parse(file.read(), filename=str(path))
    except SyntaxError as raised:
        raise own_error(shown, raised, error) from None
    except ValueError:  # null bytes, or not UTF-8
        raise error(f"The file {shown!r} is no text that Python can read. Give a Python file.") from None
    names: dict[str, str] = {}
    complete = True
    waiting: list[ast.AST] = list(reversed(tree.body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef):
            names[node.name] = "function"
        elif isinstance(node, ast.ClassDef):
            names[node.name] = "class"
        elif isinstance(node, ast.AsyncFunctionDef):
            names[node.name] = "async function"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0]: "import" for alias in node.names}
            complete &= all(alias.name != "*" for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            kind = type(node.value.value).__name__ if isinstance(node.value, ast.Constant) else "value"
            names |= {each.id: kind for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
        else:  # statements that hold others, such as `if` and `try`
            inner = [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.stmt | ast.excepthandler)]
            waiting += reversed(inner)
    return names, complete and "__getattr__" not in names


def _check_defined(name: str, names: Mapping[str, str], complete: bool, where: str, purpose: Purpose) -> None:
    """Raise an error unless ``name`` may be a function among ``names``."""
    first = name.partition(".")[0]
    kind = names.get(first)
    if kind is None and complete:
        functions = [each for each, what in names.items() if what in ("function", "class") and each[0] != "_"]
        guess = nearest(first, functions)
        hint = f" Did you mean {guess!r}?" if guess else ""
        has = f" It has: {', '.join(functions)}." if functions else " It has none."
        raise purpose.error(f"{where} has no function {name!r}.{hint}{has}")
    if kind not in (None, "function", "class", "import", "value"):
        raise purpose.error(
            f"{where} must have a function {name!r} that makes the {purpose.noun}. It has {kind} of that name."
        )


def file_of(model: Any) -> Path | None:
    """Return the Python file that defines a function or class, or None."""
    try:
        path = Path(inspect.getsourcefile(inspect.unwrap(getattr(model, "func", model))) or "")
    except TypeError:  # of an object with a `__call__`
        try:
            path = Path(inspect.getsourcefile(type(model)) or "")
        except TypeError:
            return None
    return path.resolve() if path.is_file() else None


def code_hash(model: Any) -> str:
    """Return the hash of the source of a function without a file, such as one of a notebook, or of its code."""
    try:
        code = inspect.getsource(model).encode()
    except (OSError, TypeError):
        made = getattr(model, "__code__", None)
        code = b"" if made is None else made.co_code + repr((made.co_consts, made.co_names)).encode()
    return hashlib.sha256(code).hexdigest()


def text_of(model: Any) -> tuple[str | None, str]:
    """Return the text that names a function for another process, or None and why there is none."""
    name, module = getattr(model, "__qualname__", None), getattr(model, "__module__", None)
    if name is None or module is None:
        return None, f"{type(model).__name__} has no name that another process could import. Give a function."
    if "<" in name:
        return None, (
            f"{name} is defined inside a function, so that no other process can import it. "
            "Move it to the top of a file."
        )
    path = file_of(model)
    if path is None:
        return None, f"{name} is in no Python file, so that no other process can import it. Move it to a file."
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not model:
        return None, f"{name} is not the {name} of {path.name}, so that another process would import something else."
    if module == "__main__" and _works_when_imported(path):
        return None, (
            f"{path.name} starts work when it is imported, so that another process cannot import {name} alone. "
            'Put that work under `if __name__ == "__main__":`.'
        )
    return f"{path}:{name}", ""


def _works_when_imported(path: Path) -> bool:
    """Return whether a script calls something at its top that is not under `if __name__ == "__main__"`."""
    statements = ast.parse(path.read_text()).body
    work = (ast.Expr, ast.For, ast.While, ast.With)
    return any(isinstance(node, work) and any(isinstance(n, ast.Call) for n in ast.walk(node)) for node in statements)


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function, or of a class of models, whose own signature Keras hides."""
    try:
        if isinstance(function, type):
            parameters = dict(list(inspect.signature(function.__init__).parameters.items())[1:])  # type: ignore[misc]
        else:
            parameters = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # of a function that is not written in Python
        return {}
    return {name: each for name, each in parameters.items() if each.kind is not each.POSITIONAL_ONLY or is_needed(each)}


def is_needed(parameter: inspect.Parameter) -> bool:
    """Return whether a function cannot be called without this argument."""
    several = (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and parameter.kind not in several
