"""What a conversion did, layer by layer."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Change:
    """What became of one layer.

    Args:
        layer: Its name, after those of the models that it is in: "block/bn1".
        before: Its class.
        after: What stands in its place, the layer that takes over a norm which is folded, or "" if it stays.
        groups: Number of groups of a group normalization.
        note: What is unexpected about it, or why it stays.
    """

    layer: str
    before: str
    after: str = ""
    groups: int | None = None
    note: str = ""

    def __str__(self) -> str:
        groups = f"({self.groups} groups)" if self.groups else ""
        line = f"{self.layer}: {self.before} -> {self.after}{groups}" if self.after else f"{self.layer}: {self.before}"
        return f"{line}, {self.note}" if self.note else line


@dataclass(frozen=True)
class Report:
    """What a conversion did.

    Args:
        changes: The layers that were changed, in the order of the graph.
        kept: The layers that stay although you may expect a change, with the reason.
        difference: Difference of the outputs from those of the old model on the batch of ``calibrate``, before and
            after calibration: the root of the mean of its square, as a share of that of the old outputs.
    """

    changes: tuple[Change, ...]
    kept: tuple[Change, ...] = ()
    difference: tuple[float, float] | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return a row a layer: layer, before, after, groups, note."""
        import pandas as pd  # start-up

        rows = [vars(change) for change in (*self.changes, *self.kept)]
        frame = pd.DataFrame(rows, columns=list(Change.__dataclass_fields__))
        return frame.astype({"groups": "Int64"})

    def __str__(self) -> str:
        lines = [str(change) for change in self.changes]
        lines += [f"stays: {change}" for change in self.kept]
        if self.difference:
            before, after = self.difference
            lines.append(f"difference of the outputs: {before:.3g}, after calibration {after:.3g}")
        return "\n".join(lines)


def grouped(kept: Iterable[Change]) -> str:
    """Return why layers stay: of those with the same reason only the first, and the number of the others.

    Example:
        >>> grouped([Change("bn1", "Norm", note="after 'relu1'"), Change("bn2", "Norm", note="after 'relu2'")])
        "bn1: Norm, after 'relu1' (and 1 more like it)."
    """
    alike: dict[str, list[Change]] = {}
    for change in kept:
        alike.setdefault(re.sub(r"'[^']*'", "", change.note), []).append(change)
    more = [(first, f" (and {len(others)} more like it)" if others else "") for first, *others in alike.values()]
    return " ".join(f"{change}{others}." for change, others in more)


def warn_of_no_change(function: str, model: str, kept: Iterable[Change], lacks: str) -> None:
    """Warn that a conversion changed nothing: for what reasons layers stay, or what the model does not have."""
    why = grouped(kept) or f"The model {model!r} has {lacks}."
    warnings.warn(f"{function} changed nothing. {why}", stacklevel=3)
