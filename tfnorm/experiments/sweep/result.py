"""What the runs of a grid reached: their table, and the best combination of each norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from tfnorm.experiments.findings import usual_margin
from tfnorm.experiments.looks import LOOKS, families_on_record, looks_on_record
from tfnorm.experiments.plan import PlannedRun
from tfnorm.experiments.rows import one_image
from tfnorm.experiments.sequential import Decisions, decide
from tfnorm.experiments.statistics import Look
from tfnorm.experiments.sweep.best import Best, best_of_each
from tfnorm.experiments.sweep.combination import Combination, combinations_of
from tfnorm.experiments.sweep.grid import axes_of, axis_values
from tfnorm.metrics.metric import ACCURACY, Metric
from tfnorm.table import frame_of
from tfnorm.training.data import reading_settings
from tfnorm.training.folder import RunFolder
from tfnorm.training.runs import Run, check_same_data, evaluated_on


class SweepResult:
    """The numbers of the runs of a grid; see `tfnorm.Sweep` for the arguments."""

    def __init__(
        self,
        planned: Sequence[PlannedRun],
        path: str | Path,
        *,
        threads: int = 1,
        failures: Mapping[Path, str] | None = None,
        out: str | Path | None = None,
        auto: bool = False,
        margin: float | None = None,
    ) -> None:
        self._all, self.path, self.threads = list(planned), Path(path), threads
        self.failures, self.out = dict(failures or {}), Path(out or path)
        self.auto, self.margin = auto, margin

    @cached_property
    def planned(self) -> list[PlannedRun]:
        """All runs; where seeds are added until it is decided, those that were trained or failed, if any were."""
        begun = [run for run in self._all if run.folder in self.failures or RunFolder(self.path / run.folder).finished]
        return begun if self.auto and begun else self._all

    @cached_property
    def axes(self) -> list[str]:
        """Norm, and the other axes that have several values."""
        return axes_of(run.point for run in self.planned)

    @property
    def images(self) -> str:
        """Word for the images that were evaluated on: "test", or "held-out" for those held out from training."""
        return evaluated_on(self.planned[0].config.holdout)

    @cached_property
    def _groups(self) -> list[tuple[PlannedRun, Combination]]:
        groups = combinations_of(self.planned, self.axes, self.path, self.failures)
        alike: dict[object, list[Run]] = {}
        for planned, combination in groups:
            config = planned.config
            arch = config.dataset == "digits" and config.arch
            kind = config.image_size, arch, *reading_settings(config).values()
            alike.setdefault(kind, []).extend(combination.runs)
        for runs in alike.values():
            check_same_data(runs)
        return groups

    @property
    def combinations(self) -> list[Combination]:
        """The combinations, finished or not, in the order of the grid.

        Raises:
            RunError: If runs were trained on different data.
        """
        return [combination for _, combination in self._groups]

    @property
    def metric(self) -> Metric:
        """What the runs are about, with as many decimals as its values need."""
        return self.combinations[0].metric if self.combinations else ACCURACY

    @property
    def runs(self) -> list[Run]:
        """The finished runs, in the order of the grid."""
        return [run for combination in self.combinations for run in combination.runs]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a combination that has a finished run: its axes, then as in `Comparison.table`, then its folder."""
        rows = []
        for planned, combination in self._groups:
            if combination.runs:
                measures = {key: value for key, value in combination.measures.items() if key != "gap"}
                place = combination.folder.as_posix()
                rows.append({**axis_values(planned, self.axes), **measures, "folder": place})
        return frame_of(rows, () if rows else [*self.axes, "folder"])

    @cached_property
    def looks(self) -> list[Look]:
        """The accuracies of earlier looks on record, by the labels of combinations, the oldest first."""
        return looks_on_record(self.path / LOOKS)

    @property
    def one_image(self) -> float:
        """One test image in percent, the step in which accuracies move; 0 for a metric that moves in none."""
        return one_image(self.runs, self.metric)

    @cached_property
    def decisions(self) -> Mapping[str, Decisions] | None:
        """What is decided between the specs of each setting of the other axes; None for a fixed number of seeds."""
        if not self.auto:
            return None
        families = families_on_record([self.path]) or {}
        groups: dict[tuple[str, str], dict[str, Mapping[int, float]]] = {}
        for each in self.combinations:
            setting = each.label.partition(", ")[2], "/".join(each.folder.parts[1:])
            groups.setdefault(setting, {})[each.spec] = each.accuracies
        how: Any = {"resolution": self.one_image, "lower_is_better": self.metric.sign < 0}
        return {
            words: decide(values, self._margin, families=families.get(name, ()), **how)
            for (words, name), values in groups.items()
        }

    @property
    def _margin(self) -> float:
        if self.margin is None:
            return usual_margin(self.metric, self.one_image) if self.auto else 0.0
        return self.margin

    @cached_property
    def best(self) -> Best:
        """The best combination of each norm, and what is known of the differences between them."""
        how: Any = {"resolution": self.one_image, "looks": self.looks, "margin": self._margin, "auto": self.auto}
        return best_of_each(self.combinations, **how)
