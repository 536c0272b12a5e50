"""The engines by name: "local" for processes of this machine, "ray" for a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tfnorm.errors import FailedRunsError
from tfnorm.experiments.engines.local import run_local
from tfnorm.experiments.plan import Plan
from tfnorm.experiments.progress import SweepProgress


def run_on(
    plan: Plan, *, progress: SweepProgress | None = None, before: Callable[[], None] | None = None
) -> dict[Path, str]:
    """Train the runs of a plan with its engine; see `run_local` and `run_ray`."""
    if plan.engine == "local":
        return run_local(plan, progress=progress, before=before)
    from tfnorm.experiments.engines.ray_cluster import run_ray  # start-up

    return run_ray(plan, progress=progress, before=before)


def check_models(plan: Plan) -> None:
    """Raise a TfnormError if a model of one's own or a metric does not fit the data, before a process trains it."""
    from tfnorm.training.data import load_data  # start-up
    from tfnorm.training.network.network import check_networks  # start-up

    if todo := plan.todo:
        check_networks((run.config for run in todo), load_data(todo[0].config))


def check_failures(failures: Mapping[Path, str]) -> None:
    """Raise a FailedRunsError with a line for each run that failed, if any did."""
    if failures:
        raise FailedRunsError("\n".join(f"{place}: {sentence}" for place, sentence in failures.items()))
