"""JSON files with a schema version, and what to do about those that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfnorm.errors import RunError
from tfnorm.files import write_text

SCHEMA_VERSION = 1
CONFIG_NAME = "config.json"
# The keys that a file must have, each with its type, or with what its own content must have.
Needed = Mapping[str, Any]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with the schema version, whole or not at all."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **content}, indent=2, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path, needed: Needed | None = None) -> dict[str, Any]:
    """Read a JSON object written by `write_json`.

    Raises:
        RunError: If the file cannot be read, or lacks a ``needed`` key. The sentence says how to mend it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RunError(f"The file {path} cannot be read: {error.strerror or error}. {mend(path, error)}") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"The file {path} is damaged: {error}. {mend(path)}") from None
    if not isinstance(content, dict) or "schema_version" not in content:
        if path.name == CONFIG_NAME:
            raise RunError(f"The file {path} was not written by tfnorm. Choose another folder.")
        raise RunError(f"The file {path} is damaged: it has no 'schema_version'. {mend(path)}")
    if content["schema_version"] != SCHEMA_VERSION:
        raise RunError(
            f"The file {path} has schema version {content['schema_version']}, and this tfnorm reads {SCHEMA_VERSION}. "
            "Use the tfnorm that wrote it, or choose another folder."
        )
    wrong = lacking(content, needed or {})
    if wrong:
        raise RunError(f"The file {path} is damaged or from an older tfnorm: {wrong}. {mend(path)}")
    return content


def lacking(content: Mapping[str, Any], needed: Needed, within: str = "") -> str:
    """Return what a mapping lacks, in words, or "" if it has all that is needed."""
    for key, kind in needed.items():
        name = f"{within}{key}"
        if key not in content:
            return f"it has no {name!r}"
        value, found = content[key], ""
        if isinstance(kind, Mapping) and isinstance(value, dict):
            found = lacking(value, kind, f"{name}.")
        elif isinstance(kind, list) and isinstance(value, list):
            found = next(filter(None, (lacking({"": item}, {"": kind[0]}, name) for item in value)), "")
        elif isinstance(kind, Mapping | list) or isinstance(value, bool) or not isinstance(value, kind):
            found = f"{name!r} is {value!r:.40}"
        if found:
            return found
    return ""


def mend(path: Path, error: OSError | None = None) -> str:
    """Return the smallest step that helps where a file of a run cannot be read, given the system's error if any.

    Example:
        >>> mend(Path("bn/seed-0/result.json"))
        'Delete this file alone. The trained weights stay, and the command that began the run writes it again.'
    """
    if isinstance(error, PermissionError):
        return f"Nothing is lost. Ask its owner for the right to read it, or, if it is yours: chmod u+rX {path}"
    if isinstance(error, IsADirectoryError):
        then = mend(path) if path.name == CONFIG_NAME else "Then give the command that began the run again."
        return f"A folder is in its place. Move that folder elsewhere. {then}"
    if error is not None and not isinstance(error, FileNotFoundError):
        return "Check the disk or the connection to it. Nothing needs to be deleted."
    if path.name == CONFIG_NAME:
        return (
            "Only this file says what was trained. Restore it from a copy. If there is none, move the folder "
            f"{path.parent} elsewhere, which deletes nothing, and give the command again."
        )
    if path.name == "record.json":
        return (
            f"Restore it from a copy. If there is none, delete the folder {path.parent}, and the study offers that run "
            "again."
        )
    if path.name == "study.json":
        return "Restore it from a copy. If there is none, delete this file alone, and open the study as before."
    if path.name == "seeds.json":
        return (
            "Restore it from a copy. If there is none, delete this file alone: the next look then counts as the first "
            "of these specs."
        )
    if path.name in ("result.json", "sweep.json"):
        what, began = ("trained weights", "run") if path.name == "result.json" else ("runs", "sweep")
        return f"Delete this file alone. The {what} stay, and the command that began the {began} writes it again."
    return "Delete this file alone. It is written again, and no training is lost."
