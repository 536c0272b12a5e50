"""A record of what was read as a data set, and its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


class DataWarning(UserWarning):
    """A warning about data that are used nevertheless."""


@dataclass(frozen=True)
class Reading:
    """What was read from a file or a folder.

    Args:
        path: The absolute path, or "".
        summary: How many images of which size, in a sentence.
        formats: How many pictures were read of each file format.
        left_out: How many files were not read, by their extension or by where they are.
        skipped: Names of damaged pictures that were left out because that was asked for.
        notes: Sentences about what may be a mistake.
        division: How the pictures of a folder were divided into those to train and to test on, and by which groups.
        on_both_sides: Names of test images that are training images too; the record has the first 100.
    """

    path: str = ""
    summary: str = ""
    formats: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    skipped: Sequence[str] = ()
    notes: Sequence[str] = ()
    division: Mapping[str, Any] = field(default_factory=dict)
    on_both_sides: Sequence[str] = ()

    def describe(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        found = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        for key in ("division", "on_both_sides"):
            if not found[key]:
                del found[key]
        return found | ({"on_both_sides": found["on_both_sides"][:100]} if self.on_both_sides else {})


def readable(name: Any) -> str:
    r"""Return a name, such as that of a class, as text that every file and picture can hold.

    Bytes are read as UTF-8, and so are folder names that the system could not read. What is not UTF-8 is escaped.

    Example:
        >>> readable(b"caf\xc3\xa9"), readable(b"caf\xe9"), readable("caf\udce9"), readable(3)
        ('café', 'caf\\xe9', 'caf\\xe9', '3')
    """
    if not isinstance(name, bytes):
        name = str(name).encode("utf-8", "surrogateescape")
    return name.decode("utf-8", "backslashreplace")


def tally(counts: Mapping[str, int]) -> str:
    """Return counts with their words, the largest first.

    Example:
        >>> tally({"PNG": 3, "JPEG": 1200})
        '1,200 JPEG, 3 PNG'
    """
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {word}" for word, count in ordered)
