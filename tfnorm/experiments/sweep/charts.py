"""What the charts on the page of a sweep are drawn from: curves against each axis of numbers, and heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.colors import to_hex

from tfnorm.experiments.sweep.combination import SHORT, Combination
from tfnorm.reporting.palette import colour
from tfnorm.reporting.pictures.axis import NAMES, RATIO_FOR_LOG
from tfnorm.reporting.pictures.heat import STATES, ordered, values_of
from tfnorm.spec import parse
from tfnorm.text import format_value

NUMBERS = ("batch_size", "groups", "l1", "l2", "l2norm", "learning_rate", "dropout", "epochs")
STOPS = 17  # of the colour scale


def curves(
    combinations: Sequence[Combination], axes: Sequence[str], colours: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the curves against each axis of numbers that has several of them, given the colour of each norm.

    Returns:
        For each axis: its ``name``; the ``type`` of its scale, of plotly.js; its values with their texts as ``ticks``;
        the ``others``, with their values, that tell the curves of a norm apart; and the ``curves``: norm, colour,
        number ``at`` each of the others, and ``points`` of (number of the tick, mean, low, high).
    """
    ended = [each for each in combinations if each.finite]
    found = []
    for axis in NUMBERS:
        if axis not in ("groups", *axes):
            continue
        places: list[Any] = [parse(each.spec).groups if axis == "groups" else each.values[axis] for each in ended]
        placed = [(each, x) for each, x in zip(ended, places, strict=True) if x is not None]
        ticks = ordered([x for _, x in placed])
        if len(ticks) < 2:
            continue
        others = [key for key in axes if key not in ("norm", axis)]
        values = {key: ordered([each.values[key] for each, _ in placed]) for key in others}
        lines: dict[tuple[Any, ...], dict[str, Any]] = {}
        for each, x in sorted(placed, key=lambda pair: pair[1]):
            norm = each.norm.replace(f":{x}", "") if axis == "groups" else each.norm
            at = [values[key].index(each.values[key]) for key in others]
            line = {"norm": norm, "colour": colours.get(norm, colour(norm)), "at": at, "points": []}
            point = [ticks.index(x), each.measures[each.metric.last], *each.interval]
            lines.setdefault((norm, *at), line)["points"].append(point)
        # No logarithm reaches zero, and on a linear axis all but the last numbers would fall together.
        log = ticks[0] > 0 and ticks[-1] / ticks[0] >= RATIO_FOR_LOG
        words = {key: ["default" if v is None else format_value(v) for v in values[key]] for key in others}
        found.append(
            {
                "name": NAMES.get(axis, axis),
                "type": "log" if log else "category" if ticks[0] <= 0 and len(ticks) > 2 else "linear",
                "ticks": [[x, format_value(x)] for x in ticks],
                "others": [{"name": SHORT.get(key, key), "values": words[key]} for key in others],
                "curves": list(lines.values()),
            }
        )
    return found


def heat(combinations: Sequence[Combination], axes: Sequence[str], images: str) -> dict[str, Any] | None:
    """Return what the heat maps are drawn from, or None if fewer than two axes have several values."""
    keys = [key for key in axes if len({each.values[key] for each in combinations}) > 1]
    if len(keys) < 2:
        return None
    metric = combinations[0].metric
    known = {key for each in combinations for key in each.known}
    measures = {key: each for key, each in values_of(metric).items() if key in (metric.last, *known)}
    values = {key: ordered([e.values[key] for e in combinations if e.values[key] is not None]) for key in keys}
    first = ("l1", "l2") if {"l1", "l2"} <= set(keys) else ("batch_size", "norm")
    x, y = first if set(first) <= set(keys) else (keys[1], keys[0])
    return {
        "axes": [{"key": k, "name": NAMES.get(k, k), "values": [format_value(v) for v in values[k]]} for k in keys],
        "x": x,
        "y": y,
        "measures": [
            {"key": key, "name": name.replace("test", images), "more": more, "digits": digits}
            for key, (name, more, digits) in measures.items()
        ],
        "states": {state: text.replace("\n", " ") for state, text in STATES.items()},
        "scale": [to_hex(colormaps["cividis"](i / (STOPS - 1))) for i in range(STOPS)],
        "rows": [
            {
                "at": [None if each.values[k] is None else values[k].index(each.values[k]) for k in keys],
                "measures": [each.measures.get(k) for k in measures],
                "std": each.measures.get(f"{metric.last}_std"),
                "seeds": len(each.runs),
                "planned": each.planned,
                "diverged": each.measures.get("diverged", 0),
                "status": each.status,
                "label": each.label,
            }
            for each in combinations
        ],
    }
