"""Accuracy against each axis of numbers of a sweep, as its page draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfnorm.experiments.sweep.rows import SHORT, CombinationRow
from tfnorm.spec import parse
from tfnorm.text import cut, format_value

NUMBERS = ("batch_size", "groups", "l1", "l2", "l2norm", "learning_rate", "dropout", "epochs")


def curves(rows: Sequence[CombinationRow], axes: Sequence[str], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the curves against each axis of numbers that has several of them.

    Args:
        rows: The combinations.
        axes: Those that have several values.
        colours: Of each norm.

    Returns:
        For each axis: its ``name``; the ``type`` of its scale, of plotly.js; its values with their texts as ``ticks``;
        the ``others``, with their values, that tell the curves of a norm apart; and the ``curves``: norm, colour,
        number ``at`` each of the others, and ``points`` of (number of the tick, mean, low, high).
    """
    from tfnorm.reporting import colour
    from tfnorm.reporting.pictures.axis import NAMES, RATIO_FOR_LOG
    from tfnorm.reporting.pictures.heat import ordered

    ended = [row for row in rows if row.combination.finite]
    found = []
    for axis in NUMBERS:
        placed = [(row, _place(row, axis)) for row in ended if axis in ("groups", *axes)]
        placed = [(row, x) for row, x in placed if x is not None]
        ticks = ordered([x for _, x in placed])
        if len(ticks) < 2:
            continue
        others = [key for key in axes if key not in ("norm", axis)]
        values = {key: ordered([row.values[key] for row, _ in placed]) for key in others}
        lines: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row, x in sorted(placed, key=lambda pair: pair[1]):
            norm = str(row.values["norm"])
            norm = norm.replace(f":{x}", "") if axis == "groups" else norm
            at = [values[key].index(row.values[key]) for key in others]
            line = {"norm": norm, "colour": colours.get(norm, colour(norm)), "at": at, "points": []}
            mean, *ends = (float(row.measures[f"last_accuracy{end}"]) for end in ("", "_low", "_high"))
            point = [ticks.index(x), mean, *cut(*ends)]
            lines.setdefault((norm, *at), line)["points"].append(point)
        # No logarithm reaches zero, and on a linear axis all but the last numbers would fall together.
        log = ticks[0] > 0 and ticks[-1] / ticks[0] >= RATIO_FOR_LOG
        found.append(
            {
                "name": NAMES.get(axis, axis),
                "type": "log" if log else "category" if ticks[0] <= 0 and len(ticks) > 2 else "linear",
                "ticks": [[x, format_value(x)] for x in ticks],
                "others": [
                    {
                        "name": SHORT.get(key, key),
                        "values": ["default" if v is None else format_value(v) for v in values[key]],
                    }
                    for key in others
                ],
                "curves": list(lines.values()),
            }
        )
    return found


def _place(row: CombinationRow, axis: str) -> Any:
    """Return where a combination stands on an axis, None for nowhere."""
    return parse(row.spec).groups if axis == "groups" else row.values[axis]
