"""What a folder remembers of the verdicts on its runs: each look that more seeds were added after."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfnorm.errors import RunError
from tfnorm.experiments.sequential import enrolled
from tfnorm.experiments.statistics import Look
from tfnorm.training.lock import run_lock
from tfnorm.training.records import read_json, write_json
from tfnorm.training.runs import Run

RECORD = "comparison.json"
# In the folder of a sweep.
LOOKS = "looks.json"
# In the folder of what is trained until it is decided: which specs were looked at, see `sequential.enrolled`.
SEEDS = "seeds.json"
# How long to wait for another process that writes it, in seconds.
PATIENCE = 60.0
# The families of the specs that are compared, by the other axes of a sweep; "" in a comparison.
Families = Mapping[str, Sequence[Sequence[str]]]


def looks_json(looks: Iterable[Look]) -> list[dict[str, dict[str, float]]]:
    """Return looks as JSON has them: the accuracies that are numbers, and each look once."""
    found: list[dict[str, dict[str, float]]] = []
    for look in looks:
        plain = {label: {str(s): v for s, v in seeds.items() if math.isfinite(v)} for label, seeds in look.items()}
        if plain not in found:
            found.append(plain)
    return found


def earlier_looks(folder: Path, runs: Sequence[Run]) -> list[Look]:
    """Return the looks on record in a folder and in those of the comparisons that runs belong to, the oldest first."""
    return [look for place in places_of(folder, runs) for look in looks_on_record(place / RECORD)]


def places_of(folder: Path, runs: Sequence[Run]) -> list[Path]:
    """Return a folder and those of the comparisons that runs belong to, each once."""
    return list(dict.fromkeys([folder, *(parent for run in runs for parent in list(run.path.parents)[:2])]))


def looks_on_record(path: Path) -> list[Look]:
    """Return the looks that a file remembers, none where it is not there or damaged."""
    try:
        content: Any = read_json(path).get("looks", [])
        return [
            {str(label): {int(seed): float(value) for seed, value in seeds.items()} for label, seeds in look.items()}
            for look in content
        ]
    except (RunError, AttributeError, TypeError, ValueError):  # not there, or damaged: it is written anew
        return []


def margin_on_record(places: Iterable[Path]) -> float | None:
    """Return the margin that the first of some folders was looked at with, None if none has one."""
    for place in places:
        try:
            margin = read_json(place / RECORD).get("margin")
        except RunError:  # not there, or damaged: it is written anew
            continue
        if isinstance(margin, int | float):
            return float(margin)
    return None


def families_on_record(places: Iterable[Path]) -> Families | None:
    """Return which specs were looked at until it was decided, of the first folder that knows; None if none does.

    Raises:
        RunError: If the record cannot be read.
    """
    for place in places:
        if (place / SEEDS).exists():
            families: Families = read_json(place / SEEDS, {"families": {}})["families"]
            return families
    return None


def remember_families(folder: Path, looked_at: Mapping[str, Iterable[str]], before: Families | None = None) -> None:
    """Keep in a folder that its specs are compared until it is decided, and those of them that were looked at.

    Args:
        folder: Of a comparison, a sweep or a study.
        looked_at: The specs, by the other axes of a sweep; those that are on record already stay as they are.
        before: What was looked at elsewhere, if there is no record in the folder.
    """

    def joined(known: Families) -> Families:
        return {**known, **{name: enrolled(known.get(name, ()), specs) for name, specs in looked_at.items()}}

    known = families_on_record([folder])
    if known is not None and joined(known) == known:
        return
    with run_lock(folder, wait=PATIENCE):
        known = families_on_record([folder])
        write_json(folder / SEEDS, {"families": joined((before or {}) if known is None else known)})
