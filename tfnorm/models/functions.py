"""Functions that make models: what a file defines, what they take, and how another process finds them. Runs none."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import tokenize
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfnorm.errors import ArchitectureError, nearest
from tfnorm.models.imports import own_error


def defined_in(path: Path, shown: str) -> tuple[dict[str, str], bool]:
    """Return the names that a file defines, each with its kind, and whether these are all; nothing is run."""
    if not path.is_file():
        raise ArchitectureError(f"There is no file {shown!r}. Give the name of a Python file.")
    try:
        with tokenize.open(path) as file:
            tree = ast.parse(file.read(), filename=str(path))
    except SyntaxError as raised:
        raise own_error(shown, raised, ArchitectureError) from None
    except ValueError:  # null bytes, or not UTF-8
        raise ArchitectureError(f"The file {shown!r} is no text that Python can read. Give a Python file.") from None
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


def check_defined(name: str, names: Mapping[str, str], complete: bool, where: str) -> None:
    """Raise an `ArchitectureError` unless ``name`` may be a function among ``names``."""
    first = name.partition(".")[0]
    kind = names.get(first)
    if kind is None and complete:
        functions = [each for each, what in names.items() if what in ("function", "class") and each[0] != "_"]
        guess = nearest(first, functions)
        hint = f" Did you mean {guess!r}?" if guess else ""
        has = f" It has: {', '.join(functions)}." if functions else " It has none."
        raise ArchitectureError(f"{where} has no function {name!r}.{hint}{has}")
    if kind not in (None, "function", "class", "import", "value"):
        raise ArchitectureError(
            f"{where} must have a function {name!r} that makes the model. It has {kind} of that name."
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
