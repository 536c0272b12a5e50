"""What a folder remembers of the verdicts on its runs: each look that more seeds were added after."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tfnorm.errors import RunError
from tfnorm.experiments.statistics import Look
from tfnorm.training.records import read_json
from tfnorm.training.runs import Run

RECORD = "comparison.json"
# In the folder of a sweep.
LOOKS = "looks.json"


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
    places = dict.fromkeys([folder, *(parent for run in runs for parent in list(run.path.parents)[:2])])
    return [look for place in places for look in looks_on_record(place / RECORD)]


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
