"""Runs in processes of this machine, several at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

from tfnorm.datasets.memory import available_cores, available_memory
from tfnorm.experiments.engines.attempts import Attempts
from tfnorm.experiments.engines.memory import worker_bytes
from tfnorm.experiments.engines.processes import WorkerPool
from tfnorm.experiments.plan import Plan, PlannedRun
from tfnorm.experiments.progress import SweepProgress
from tfnorm.keras_settings import check_keras_settings
from tfnorm.training.data import fingerprints


def default_jobs(threads: int = 1, runs: Iterable[PlannedRun] = ()) -> int:
    """Return how many processes of so many threads this machine has cores and free memory for, at least 1."""
    free = available_memory()
    fitting = math.inf if free is None else free / worker_bytes(run.config for run in runs)
    return max(1, int(min(available_cores() // threads, fitting)))


def run_local(
    plan: Plan, *, progress: SweepProgress | None = None, before: Callable[[], None] | None = None
) -> dict[Path, str]:
    """Train runs in processes of this machine, several at a time.

    TensorFlow adds up in an order that depends on its number of threads. Each process has ``plan.threads`` of them,
    so the jobs have no influence on any result. If a process is killed, another one goes on with its run, at most two
    times. The standard error of the processes is kept in the plan's folder, in ``workers.log``.

    Args:
        plan: The runs. Finished ones are left alone.
        progress: Receives progress events.
        before: Called once after all checks, before the first run.

    Returns:
        The folder of each failed run with the reason. All other runs are finished.

    Raises:
        TfnormError: If a folder holds a run on other data, or Keras cannot be imported with its settings, before
            anything starts.
    """
    check_keras_settings()
    attempts = Attempts(plan, progress or SweepProgress())
    todo = plan.begin(attempts.progress, fingerprints())
    if before is not None:
        before()
    if todo:
        threads = plan.threads or 1
        WorkerPool(todo, min(plan.jobs or default_jobs(threads, todo), len(plan.runs)), threads, attempts).train()
    return attempts.failures
