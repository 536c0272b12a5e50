"""The confirmation: settings that the search found against the present one, on images and seeds that it never saw."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tfnorm.datasets import Dataset
from tfnorm.datasets.dataset import Part
from tfnorm.experiments.engines.choose import check_failures, run_on
from tfnorm.experiments.findings import usual_margin
from tfnorm.experiments.plan import Plan, PlannedRun
from tfnorm.experiments.recommend.plan import CONFIRMATION_SEEDS, TEST_SEEDS, YOURS, RecommendPlan
from tfnorm.experiments.recommend.state import RecommendProgress, State
from tfnorm.experiments.rows import one_image, value_of
from tfnorm.experiments.sequential import FIRST_LOOK, Race, race
from tfnorm.experiments.statistics import Look
from tfnorm.experiments.verdict import states
from tfnorm.metrics.metric import Metric
from tfnorm.training.data import load_data
from tfnorm.training.folder import RunFolder
from tfnorm.training.provenance import threads
from tfnorm.training.runs import Run, shared_metric

CONFIRMATION, TEST = "confirmation", "test"


@dataclass(frozen=True)
class Contest:
    """Settings against each other, each by its name, and how their runs are scored.

    Args:
        plan: What they belong to.
        settings: Name to setting, `YOURS` first.
        part: "confirmation", or None for the test images.
    """

    plan: RecommendPlan
    settings: Mapping[str, Mapping[str, Any]]
    part: Part | None = "confirmation"

    def run(self, name: str, seed: int) -> PlannedRun:
        """Return a run of a setting."""
        place = Path(CONFIRMATION if self.part else TEST) / name / f"seed-{seed}"
        return PlannedRun(place, self.plan.config(self.settings[name], self.part, seed), {})

    @property
    def runs(self) -> dict[str, list[Run]]:
        """The finished runs of each setting, by ascending seed."""
        found: dict[str, list[Run]] = {}
        for name in self.settings:
            folder = self.plan.folder / (CONFIRMATION if self.part else TEST) / name
            found[name] = [Run(p) for p in sorted(folder.glob("seed-*")) if RunFolder(p).finished]
        return found

    @property
    def every(self) -> list[Run]:
        """All finished runs."""
        return [run for runs in self.runs.values() for run in runs]

    @property
    def metric(self) -> Metric:
        """What they are about."""
        return shared_metric(self.every)

    def values(self) -> Look:
        """Return the value of each seed of each setting.

        A run that diverged counts as the least there can be, 0 % of accuracy; where there is no such value, its setting
        is out.
        """
        metric = self.metric
        worst = metric.ends[0] if metric.sign > 0 else metric.ends[1]
        lost = worst if math.isfinite(worst) else math.nan

        def of(run: Run) -> float:
            value = value_of(run, metric)
            return value if math.isfinite(value) else lost

        return {name: {run.seed: of(run) for run in runs} for name, runs in self.runs.items()}

    @property
    def margin(self) -> float:
        """The largest difference that does not matter."""
        usual = usual_margin(self.metric, one_image(self.every, self.metric))
        return usual if self.plan.margin is None else self.plan.margin

    def race(self) -> Race:
        """Return how far the race is, from what is on disk."""
        most = self.plan.confirmed_runs
        return race(
            self.values(), self.margin, seeds=CONFIRMATION_SEEDS,
            most_runs=None if most is None else max(most, FIRST_LOOK * len(self.settings)),
            resolution=one_image(self.every, self.metric), lower_is_better=self.metric.sign < 0,
        )  # fmt: skip


def confirm(contest: Contest, state: State, progress: RecommendProgress) -> None:
    """Train round after round until each pair is decided, or the budget is used; the first look is always taken."""
    progress.part(CONFIRMATION, state, 0)
    with _Trainer(contest.plan, progress) as trainer:
        while todo := (found := contest.race()).todo:
            if found.looked and state.left < time_of_test(contest):
                return
            if found.looked:
                progress.looked(states({"": found.decisions}, contest.metric), 0, 0)
            trainer.train([contest.run(name, seed) for name, seed in todo])
            state.save()


def score_on_test(contest: Contest, state: State, progress: RecommendProgress) -> None:
    """Train settings on all training images, and score them on the test images, which nothing has seen before."""
    progress.part(TEST, state, 0)
    with _Trainer(contest.plan, progress) as trainer:
        trainer.train([contest.run(name, seed) for name in contest.settings for seed in TEST_SEEDS])


def time_of_test(contest: Contest) -> float:
    """Return about how many seconds the test will take, with all training images."""
    seconds = [run.history["seconds"].sum() for run in contest.every]
    trained_on = 1 - 2 * contest.plan.share
    return 2 * len(TEST_SEEDS) * max(seconds, default=0.0) / trained_on / (contest.plan.jobs or 1)


class _Trainer:
    """Trains runs on the same data, those that are not finished, here or in processes; it keeps data and graphs."""

    def __init__(self, plan: RecommendPlan, progress: RecommendProgress) -> None:
        self.plan, self.progress = plan, progress
        self.data: Dataset | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.data is not None:
            from tfnorm.training.trainer import forget_graph  # start-up

            forget_graph()

    def train(self, runs: Sequence[PlannedRun]) -> None:
        """Train the runs that are not finished."""
        if self.plan.jobs is not None:
            check_failures(run_on(Plan(self.plan.folder, runs, jobs=self.plan.jobs), progress=self.progress))
            return
        from tfnorm.training.trainer import train_on  # start-up

        todo = Plan(self.plan.folder, runs, here=True, threads=threads(), data=self.plan.data).todo
        self.progress.planned(len(todo), len(runs) - len(todo), sum(run.config.epochs or 0 for run in todo))
        for run in todo:
            if self.data is None:
                self.data = load_data(run.config, self.plan.data)
            place = self.plan.folder / run.folder
            self.progress.sent(place, os.getpid())
            train_on(self.data, run.config, place, progress=self.progress)


def names_of(candidates: Sequence[Mapping[str, Any]], yours: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the settings of a contest by name."""
    return {YOURS: yours, **{f"candidate-{number}": each for number, each in enumerate(candidates, start=1)}}
