"""A record of what was read as a data set, and remarks on what may be a mistake in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


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
    """

    path: str = ""
    summary: str = ""
    formats: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    skipped: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def sentences(self) -> list[str]:
        """The summary and the notes."""
        return [*([self.summary] if self.summary else []), *self.notes]

    def describe(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def readable(name: Any) -> str:
    r"""Return a name, such as that of a class, as text that every file and picture can hold.

    Bytes are read as UTF-8, and so are folder names that the system could not read. Parts that
    are not UTF-8 are escaped.

    Example:
        >>> readable(b"caf\xc3\xa9"), readable(b"caf\xe9"), readable("caf\udce9"), readable(3)
        ('café', 'caf\\xe9', 'caf\\xe9', '3')
    """
    if isinstance(name, bytes):
        raw = name
    else:
        try:
            raw = str(name).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half of a character, which no system writes
            raw = str(name).encode("utf-8", "backslashreplace")
    return raw.decode("utf-8", "backslashreplace")


def plural(count: int, word: str) -> str:
    """Return a number with its word.

    Example:
        >>> plural(1, "picture"), plural(1200, "picture")
        ('1 picture', '1,200 pictures')
    """
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def counted(counts: Mapping[str, int]) -> str:
    """Return counts with their words, the largest first.

    Example:
        >>> counted({"PNG": 3, "JPEG": 1200})
        '1,200 JPEG, 3 PNG'
    """
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {word}" for word, count in ordered)


def remarks(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], name_of: Callable[[str, int], str]
) -> list[str]:
    """Return a sentence for each kind of probable mistake: images of one colour, repeated images, different ranges.

    Args:
        train: Images (images, height, width, channels) and labels.
        test: The same of the test set.
        name_of: Returns the name of an image, given "train" or "test" and its index.

    Example:
        >>> x, y = np.zeros((2, 4, 4, 1), "uint8"), np.array([0, 1])
        >>> remarks((x, y), (x[:0], y[:0]), lambda part, index: f"x_{part}[{index}]")[0]
        'Images of one colour, with nothing to learn from: 2 of 2, such as x_train[0].'
    """
    seen: dict[bytes, tuple[str, int, int]] = {}
    constant: list[str] = []
    twins: list[tuple[str, str]] = []
    leaked = contradictory = 0
    for part, (images, labels) in (("train", train), ("test", test)):
        for index, image in enumerate(images):
            pixels = image.reshape(-1, image.shape[-1])
            if (pixels == pixels[0]).all():
                constant.append(name_of(part, index))
            digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
            earlier = seen.setdefault(digest, (part, index, labels[index]))
            if earlier[:2] != (part, index):
                twins.append((name_of(*earlier[:2]), name_of(part, index)))
                leaked += part == "test" and earlier[0] == "train"
                contradictory += labels[index] != earlier[2]
    total = len(train[0]) + len(test[0])
    found = []
    if constant:
        found.append(
            f"Images of one colour, with nothing to learn from: {len(constant):,} of {total:,}, such as {constant[0]}."
        )
    if twins:
        first, second = twins[0]
        found.append(
            f"Images that are the same as an earlier one: {len(twins):,} of {total:,}, such as {second}, which is the "
            f"same as {first}."
            + (f" Test images that are training images too: {leaked:,}. They raise the accuracy." if leaked else "")
            + (f" In another class than the earlier one: {contradictory:,}." if contradictory else "")
        )
    highest = [int(images.max(initial=0)) for images, _ in (train, test)]
    if total > len(train[0]) and min(highest) <= 1 < max(highest):
        found.append(
            f"The highest value of the training images is {highest[0]}, and that of the test images {highest[1]}. "
            "Probably only one of them was divided by 255. Save both in 0..255."
        )
    return found
