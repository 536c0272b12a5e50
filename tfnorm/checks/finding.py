"""One thing that a rule has found in a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tfnorm.text import counted


class Found(NamedTuple):
    """What a rule yields: all of a `Finding` but the name of the rule."""

    layers: Sequence[str]
    message: str
    remedy: str
    evidence: Mapping[str, Any] = {}
    severity: str = ""  # "note" where this case of a warning costs nothing


def several(found: Sized, word: str) -> str:
    """Return how many things were found, with their word.

    Example:
        >>> several(["conv1", "conv2"], "layer")
        '2 layers'
    """
    return counted([len(found)], word)


@dataclass(frozen=True)
class Finding:
    """One thing that a rule has found in a model.

    Args:
        rule: The name of the rule, of `tfnorm.checks.RULES`.
        severity: "warning" for what was measured to cost accuracy, "note" for what is worth knowing.
        layers: The names of the layers, after those of the models that they are in: "block/bn1". () for the model.
        message: What was found, in words, with its numbers.
        remedy: One line that mends it.
        evidence: The numbers by name.
        paper: The arXiv number of the paper that says why, or "".
    """

    rule: str
    severity: str
    layers: tuple[str, ...]
    message: str
    remedy: str
    evidence: dict[str, Any] = field(default_factory=dict)
    paper: str = ""

    def __str__(self) -> str:
        paper = f" (arXiv {self.paper})" if self.paper else ""
        return f"{self.severity}: {self.rule}: {self.message}{paper}\n  {self.remedy}"
