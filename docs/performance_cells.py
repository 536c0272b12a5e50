"""Cells, tables and origins of docs/performance.md, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from tfnorm.training.provenance import machine_words

NAMES = {"keras": "Keras", "tfnorm": "tfnorm", "torch": "PyTorch", "tensorflow": "TensorFlow", "numpy": "NumPy"}
DIRECTIONS = {"forward": "forward", "both": "forward and backward"}

Record = dict[str, Any]


def number(value: float | None) -> str:
    """Return three figures, or a dash for None."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def time(times: dict[str, dict[str, float]], case: str | None) -> str:
    """Return the median of a case in milliseconds with its spread, or a dash."""
    if case not in times:
        return "–"
    return f"{number(times[case]['median_ms'])} ± {times[case]['spread']:.0%}"


def percent(value: float | None) -> str:
    """Return a share as whole percents, or a dash."""
    return "–" if value is None else f"{value:.0%}"


def table(titles: Iterable[str], rows: Iterable[Iterable[str]], left: int = 1) -> list[str]:
    """Return a Markdown table whose columns after the first ``left`` are set right."""
    titles = list(titles)
    rule = ["---"] * left + ["---:"] * (len(titles) - left)
    return [f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows)] + [""]


def origin(record: Record) -> list[str]:
    """Return where, when and with what a file was measured."""
    machine, settings = record["machine"], record["settings"]
    versions = ", ".join(f"{NAMES.get(name, name)} {version}" for name, version in record["versions"].items())
    load = "" if machine.get("load") is None else f", load {machine['load']:.1f} at the end"
    counts = ", ".join(
        f"{settings[key]} {words}"
        for key, words in (
            ("rounds", "rounds"),
            ("calls", "timed calls a round"),
            ("repeats", "processes of each library"),
            ("windows", "peaks a process"),
            ("steps", "steps a peak"),
            ("seeds", "seeds"),
            ("epochs", "epochs"),
            ("images", "images"),
        )
        if key in settings
    )
    when = record["time"].split("T")[0]
    return [
        f"Measured on {when} on {machine_words(machine)} ({machine['system']}{load}) with {versions}; {counts}.",
        "",
    ]


def shape(sizes: Iterable[int] | str) -> str:
    """Return sizes as 64x32x32x32."""
    return sizes if isinstance(sizes, str) else "x".join(map(str, sizes))


def spans(values: list[float]) -> list[str]:
    """Return least, median and most, or dashes."""
    return [number(f(values)) for f in (min, statistics.median, max)] if values else ["–"] * 3


def place(row: Record) -> list[str]:
    """Return the cells that name a network, its norm and the batch."""
    return [f"`{row['arch']}`", f"`{row['norm']}`", str(row["batch"])]
