"""One combination of the values of a grid, and what its seeds reached."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tfnorm.experiments.guessing import Learned, learned
from tfnorm.experiments.plan import PlannedRun
from tfnorm.experiments.rows import accuracies_of, mean, run_measures, summary_row, value_of
from tfnorm.experiments.sweep.grid import PENALTIES, axis_values, varied
from tfnorm.metrics.known import metric_shown
from tfnorm.metrics.metric import ACCURACY, Metric
from tfnorm.spec import FACTORS, format, parse
from tfnorm.text import format_value
from tfnorm.training.folder import RunFolder
from tfnorm.training.runs import Run, shared_metric

# The short names of axes that are not called by their own.
SHORT = {"batch_size": "batch size", "learning_rate": "learning rate", "l1": "L1", "l2": "L2", "l2norm": "L2 norm"}


@dataclass(frozen=True, eq=False)
class Combination:
    """What the seeds of one combination of a grid reached."""

    norm: str  # the spec without penalties
    label: str  # the spec and the other axes, in words
    accuracies: Mapping[int, float]  # seed to metric in the unit of tables after the last epoch, NaN if it diverged
    planned: int  # the number of seeds, finished or not
    runs: Sequence[Run] = ()  # the finished ones
    values: Mapping[str, Any] = field(default_factory=dict)  # norm without penalties, their factors, the other axes
    spec: str = ""  # the norm with its penalties
    folder: Path = Path()  # relative to the folder of the sweep
    failed: bool = False  # whether a run failed
    metric: Metric = ACCURACY  # what the runs are about

    @property
    def status(self) -> str:
        """The word "finished" if a run is, else "failed" or "waiting"."""
        return "finished" if self.runs else "failed" if self.failed else "waiting"

    @cached_property
    def learned(self) -> Learned | None:
        """What the predictions say besides their accuracy, None without any."""
        return learned(self.runs)

    @property
    def guesses(self) -> bool:
        """Whether it is not shown to have learned anything."""
        return self.learned is not None and self.learned.nothing

    @property
    def finite(self) -> list[float]:
        """The accuracies of the runs that did not diverge."""
        return [value for value in self.accuracies.values() if math.isfinite(value)]

    @property
    def mean(self) -> float:
        """The mean of the accuracies of the runs that did not diverge, NaN for none."""
        return mean(self.finite)

    @property
    def complete(self) -> bool:
        """Whether all seeds ended with a number."""
        return len(self.finite) == self.planned

    @cached_property
    def measures(self) -> dict[str, Any]:
        """The `summary_row` of the finished runs, with their mean gap. Empty if no run is finished."""
        if not self.runs:
            return {}
        gaps = [run_measures(run, self.metric).get("gap", math.nan) for run in self.runs if run.status == "finished"]
        return {**summary_row(self.runs, self.metric), "gap": mean(gaps)}

    @property
    def known(self) -> list[str]:
        """The keys of the measures that are known."""
        return [key for key, value in self.measures.items() if value is not None and value == value]

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 95 % interval of the metric, cut at what there can be; NaN for one seed."""
        low, high = (float(self.measures[f"{self.metric.last}_{end}"]) for end in ("low", "high"))
        return self.metric.cut(low, high)


def combinations_of(
    planned: Sequence[PlannedRun], axes: Sequence[str], path: Path, failures: Mapping[Path, str]
) -> list[tuple[PlannedRun, Combination]]:
    """Return the combinations of a sweep in the order of the grid, finished or not, each with its first planned run."""
    groups: dict[Path, list[PlannedRun]] = {}
    for run in planned:
        groups.setdefault(run.folder.parent, []).append(run)
    values = {place: _values(group[0], axes) for place, group in groups.items()}
    ended = {
        place: [Run(path / run.folder) for run in group if RunFolder(path / run.folder).finished]
        for place, group in groups.items()
    }
    all_runs = [run for runs in ended.values() for run in runs]
    metric = shared_metric(all_runs) if all_runs else metric_shown(planned[0].config.metric, {})
    metric = metric.fitted(value_of(run, metric) for run in all_runs)
    named = [axis for axis in varied(list(values.values())) if axis not in ("norm", *FACTORS)]
    found = []
    for place, group in groups.items():
        at, spec = values[place], group[0].config.norm
        runs = ended[place]
        words = [f"{SHORT.get(axis, axis)} {format_value(at[axis])}" for axis in named if at[axis] is not None]
        failed = any(run.folder in failures for run in group)
        label = ", ".join([spec, *words])
        values_by_seed = accuracies_of(runs, metric)
        combination = Combination(
            at["norm"], label, values_by_seed, len(group), runs, at, spec, place, failed, metric
        )  # fmt: skip
        found.append((group[0], combination))
    return found


def _values(run: PlannedRun, axes: Sequence[str]) -> dict[str, Any]:
    """Return the values of `Combination.values` of a run."""
    spec = parse(run.config.norm)
    factors = {factor: getattr(spec, factor) for factor in FACTORS}
    others = {axis: value for axis, value in axis_values(run, axes).items() if axis not in ("norm", *PENALTIES)}
    return {"norm": format(dataclasses.replace(spec, l1=0.0, l2=0.0, l2norm=0.0)), **factors, **others}
