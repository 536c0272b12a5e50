"""Terminals, pipes and encodings that the command line writes to."""

from __future__ import annotations

import codecs
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

PACKAGE = Path(__file__).parents[1]
LEAST_COLUMNS = 20
_PLAIN = {"±": "+/-", "−": "-", "–": "-", "—": "-", "×": "x", "·": "-", "…": "...", "→": "->", "≥": ">=", "≤": "<="}


@contextmanager
def any_surroundings() -> Iterator[None]:
    """Keep encodings, closed streams and settings of notebooks from ending a command after hours of training."""
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="tfnorm.plain")
    columns = os.environ.get("COLUMNS", "")
    if columns and not (columns.isdecimal() and len(columns) < 5 and int(columns) >= LEAST_COLUMNS):
        del os.environ["COLUMNS"]  # in which no text fits
    os.environ["MPLBACKEND"] = "agg"  # a notebook's, which commands inherit, may not even be installed here
    with warnings.catch_warnings():
        warnings.showwarning = _sentences(warnings.showwarning)
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                _flush(stream)


def say(text: str) -> None:
    """Write an error to the standard error, if it is still open."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return


def _flush(stream: TextIO) -> None:
    """Flush a stream. If nobody reads it any more, drop its content, so that Python does not complain."""
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except ValueError:  # it is closed
        return


def _open_standard_streams() -> None:
    """Open the null device in place of each standard stream that was closed.

    Otherwise the next file that is opened takes its number, and receives what is meant for the screen.
    """
    for number, mode, name in ((0, "r", "stdin"), (1, "w", "stdout"), (2, "w", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))


def _plain(error: UnicodeError) -> tuple[bytes, int]:
    """Return replacements for characters that an encoding does not have. Names of files keep their own bytes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = "".join(_PLAIN.get(each, each) for each in error.object[error.start : error.end])
    return b"".join(_byte(each) for each in text), error.end


codecs.register_error("tfnorm.plain", _plain)


def _byte(character: str) -> bytes:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that Python could not decode, such as one of a file's name
        return bytes([code - 0xDC00])
    return character.encode("ascii", "replace")


def _sentences(otherwise: Callable[..., None]) -> Callable[..., None]:
    """Return a function that shows a warning of tfnorm as a sentence, and calls ``otherwise`` for all others."""

    def show(message: Warning | str, category: type[Warning], filename: str, *place: Any, **more: Any) -> None:
        if issubclass(category, UserWarning) and Path(filename).is_relative_to(PACKAGE):
            say(f"tfnorm: {message}")
        else:
            otherwise(message, category, filename, *place, **more)

    return show
