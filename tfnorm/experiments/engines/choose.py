"""The engines by name: "local" for processes of this machine, "ray" for a cluster."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tfnorm.datasets.given.own import OwnData
from tfnorm.errors import FailedRunsError, TfnormError
from tfnorm.experiments.engines.attempts import DECODED
from tfnorm.experiments.engines.local import run_local
from tfnorm.experiments.engines.worker import with_decoded
from tfnorm.experiments.plan import Plan
from tfnorm.experiments.progress import SweepProgress
from tfnorm.ops import start_quietly
from tfnorm.training.config import TrainConfig
from tfnorm.training.data import check_seeds, load_data, place_of


def run_on(
    plan: Plan, *, progress: SweepProgress | None = None, before: Callable[[], None] | None = None
) -> dict[Path, str]:
    """Train the runs of a plan with its engine; see `run_local` and `run_ray`."""
    decoded = plan.folder / DECODED
    try:
        if own := [run.config for run in plan.todo if isinstance(run.config.dataset, OwnData)]:
            start_quietly()
            check_seeds(own)
        check_models(with_decoded(run.config, str(decoded.resolve())) for run in plan.todo)
        if plan.engine == "local":
            return run_local(plan, progress=progress, before=before)
        from tfnorm.experiments.engines.ray_cluster import run_ray  # start-up

        return run_ray(plan, progress=progress, before=before)
    finally:
        shutil.rmtree(decoded, ignore_errors=True)


def check_models(configs: Iterable[TrainConfig]) -> None:
    """Make each model of one's own once under each spec, here, and look at the metric, before a process trains it.

    Raises:
        TfnormError: With a sentence for each that does not fit its spec, its data or its metric.
    """
    groups: dict[tuple[Any, ...], list[TrainConfig]] = {}
    for config in configs:
        if config.model is not None or config.metric is not None:
            alike = (
                place_of(config), config.arch, config.model_hash, config.weights, config.regularize, config.metric,
                config.freeze_until,
            )  # fmt: skip
            groups.setdefault((*alike, config.recipe.name, config.recipe.optimizer), []).append(config)
    if not groups:
        return
    start_quietly()
    from tfnorm.training.network.network import check_networks  # start-up

    problems: list[str] = []
    place, data = None, None
    for alike, group in groups.items():
        if data is None or place != alike[0]:
            place, data = alike[0], load_data(group[0])
        try:
            check_networks(group, data)
        except TfnormError as error:
            problems += str(error).splitlines()
    if problems:
        raise TfnormError("\n".join(dict.fromkeys(problems)))


def check_failures(failures: Mapping[Path, str]) -> None:
    """Raise a FailedRunsError with a line for each run that failed, if any did."""
    if failures:
        raise FailedRunsError("\n".join(f"{place}: {sentence}" for place, sentence in failures.items()))
