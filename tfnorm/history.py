"""The journal of a training: one line of JSON for each epoch. A line that a crash has torn is cut off."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfnorm.errors import RunError

SCHEMA_VERSION = 1


def read_history(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the records of a history file, one dict an epoch, in the order of the file.

    A last line that was cut off while it was written is left out. Values that were not finite come back as NaN.

    Args:
        path: The file that `HistoryRecorder` wrote.

    Raises:
        RunError: If a whole line is damaged or was written by a newer version.
        FileNotFoundError: If there is no such file.
    """
    path = Path(path)
    whole = path.read_bytes().split(b"\n")[:-1]  # a crash has torn what follows the last line feed
    return [_decode(line, number, path) for number, line in enumerate(whole, start=1)]


def _decode(line: bytes, number: int, path: Path) -> dict[str, Any]:
    """Return the record of one line of the file."""
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("epoch"), int) or "schema_version" not in record:
        raise RunError(
            f"Line {number} of {path} is damaged: a JSON object with 'schema_version' and 'epoch' was expected. "
            "Restore the file, or delete that line and all after it: a run goes on from its last checkpoint before "
            "that, and from the beginning if there is none."
        )
    if record["schema_version"] != SCHEMA_VERSION:
        raise RunError(
            f"Line {number} of {path} has schema_version {record['schema_version']!r}, but this version of tfnorm "
            f"reads {SCHEMA_VERSION}. Upgrade tfnorm."
        )
    for key in record.pop("nonfinite", []):
        value = record.get(key)
        record[key] = [math.nan if v is None else v for v in value] if isinstance(value, list) else math.nan
    return record


def encode_record(record: Mapping[str, Any]) -> bytes:
    """Return a record as one line of JSON. JSON has no NaN, so such a value is null and its key is in "nonfinite"."""
    plain, nonfinite = dict(record), []
    for key, value in record.items():
        if isinstance(value, float) and not math.isfinite(value):
            plain[key] = None
        elif isinstance(value, list) and not np.all(np.isfinite(value)):
            plain[key] = [v if math.isfinite(v) else None for v in value]
        else:
            continue
        nonfinite.append(key)
    if nonfinite:
        plain["nonfinite"] = nonfinite
    return json.dumps(plain, allow_nan=False).encode() + b"\n"


def append_line(path: Path, line: bytes) -> None:
    """Append a line to a file and wait until it is on the disk. A torn tail is cut off first."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            if file.read(1) not in (b"", b"\n"):
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise explain(error, path) from error


def explain(error: OSError, path: Path) -> OSError:
    """Return the same error with a sentence that names the history file."""
    reason = error.strerror or str(error)
    return OSError(error.errno, f"Cannot write the history of the training ({reason})", str(path))
