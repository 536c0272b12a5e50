"""The combinations of a sweep, finished or not, with what their runs' records say."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfnorm.experiments.rows import run_measures
from tfnorm.experiments.sweep.best import Combination
from tfnorm.experiments.sweep.grid import PENALTIES
from tfnorm.spec import FACTORS, format, parse
from tfnorm.text import format_value
from tfnorm.training.runs import Run

if TYPE_CHECKING:
    from tfnorm.experiments.plan import PlannedRun
    from tfnorm.experiments.sweep.result import Sweep

# Short names of axes; others are their own.
SHORT = {"batch_size": "batch size", "learning_rate": "learning rate", "l1": "L1", "l2": "L2", "l2norm": "L2 norm"}


@dataclass(frozen=True)
class CombinationRow:
    """A combination.

    Args:
        values: Axis to value: norm without penalties, the factors of the penalties, and the other axes.
        spec: The norm with its penalties.
        combination: Its accuracies by seed.
        measures: As in `Sweep.table`, with ``gap``; empty without a finished run.
        ended: The finished runs.
        status: "finished" if it has any, else "failed" or "waiting".
        folder: Relative to the sweep's.
    """

    values: Mapping[str, Any]
    spec: str
    combination: Combination
    measures: Mapping[str, Any]
    ended: Sequence[Run]
    status: str
    folder: str


def sweep_rows(sweep: Sweep) -> list[CombinationRow]:
    """Return the combinations of a sweep, in the order of the grid."""
    known: dict[str, Any] = {row["folder"]: row for row in sweep.table.to_dict("records")}
    finished: dict[str, list[Run]] = {}
    for run in sweep.runs:
        finished.setdefault(run.path.parent.relative_to(sweep.path).as_posix(), []).append(run)
    planned: dict[str, list[PlannedRun]] = {}
    for intended in sweep.planned:
        planned.setdefault(intended.folder.parent.as_posix(), []).append(intended)
    values = {place: _values(sweep, group[0]) for place, group in planned.items()}
    axes = varied(list(values.values()))
    return [_row(sweep, place, group, values[place], axes, known, finished) for place, group in planned.items()]


def varied(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return norm, and the other axes that have several values."""
    return [
        key for key in (values[0] if values else ()) if key == "norm" or len({each.get(key) for each in values}) > 1
    ]


def _values(sweep: Sweep, planned: PlannedRun) -> dict[str, Any]:
    spec = parse(planned.config.norm)
    others = {key: value for key, value in sweep.values(planned).items() if key not in ("norm", *PENALTIES)}
    factors = {factor: getattr(spec, factor) for factor in FACTORS}
    return {"norm": format(dataclasses.replace(spec, l1=0.0, l2=0.0, l2norm=0.0)), **factors, **others}


def _row(
    sweep: Sweep,
    place: str,
    group: Sequence[PlannedRun],
    values: Mapping[str, Any],
    axes: Sequence[str],
    known: Mapping[str, Mapping[str, Any]],
    finished: Mapping[str, Sequence[Run]],
) -> CombinationRow:
    ended = finished.get(place, [])
    spec = group[0].config.norm
    label = ", ".join([spec, *axis_words(values, [key for key in axes if key not in ("norm", *FACTORS)])])
    each = {run: run_measures(run) for run in ended}
    accuracies = {r.seed: m["last_accuracy"] if r.status == "finished" else math.nan for r, m in each.items()}
    gaps = [m["gap"] for run, m in each.items() if run.status == "finished"]
    measures = {**known[place], "gap": math.fsum(gaps) / len(gaps) if gaps else math.nan} if ended else {}
    failed = any(run.folder in sweep.failures for run in group)
    status = "finished" if ended else "failed" if failed else "waiting"
    combination = Combination(str(values["norm"]), label, accuracies, len(group), ended)
    return CombinationRow(values, spec, combination, measures, ended, status, place)


def axis_words(values: Mapping[str, Any], axes: Sequence[str]) -> list[str]:
    """Return values in words, such as "batch size 64"."""
    return [f"{SHORT.get(key, key)} {format_value(values[key])}" for key in axes if values[key] is not None]
