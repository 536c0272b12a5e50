"""Runs in processes of this machine, several at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tfnorm.datasets.memory import available_memory
from tfnorm.errors import whole_number
from tfnorm.experiments.engines.attempts import Attempts
from tfnorm.experiments.engines.memory import worker_bytes
from tfnorm.experiments.engines.processes import WorkerPool
from tfnorm.experiments.plan import PlannedRun, prepared
from tfnorm.experiments.progress import SweepProgress
from tfnorm.keras_settings import check_keras_settings
from tfnorm.training.data import fingerprints


def default_jobs(threads: int = 1, runs: Iterable[PlannedRun] = ()) -> int:
    """Return how many processes this machine has cores and free memory for, at least 1.

    Args:
        threads: How many threads each process computes with.
        runs: What they train. `tfnorm.experiments.engines.memory.worker_bytes` estimates the memory for it.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    free = available_memory()
    fitting = math.inf if free is None else free / worker_bytes(run.config for run in runs)
    return max(1, int(min(cores // threads, fitting)))


def run_local(
    runs: Iterable[PlannedRun],
    out: str | Path,
    *,
    jobs: int | None = None,
    threads: int = 1,
    trackers: Sequence[str] = (),
    progress: SweepProgress | None = None,
    before: Callable[[], None] | None = None,
) -> dict[Path, str]:
    """Train runs in processes of this machine, several at a time.

    TensorFlow adds up in an order that depends on its number of threads. Each process therefore has ``threads`` of them
    whatever ``jobs`` is, so ``jobs`` has no influence on any result. A process trains one run after another. It prefers
    runs that differ from its last one in the seed only. If a process is killed, another one goes on with its run. This
    happens at most two times for each run.

    Args:
        runs: What to train. Finished runs are left alone.
        out: The folder of the sweep. The standard error of the processes is kept there, in ``workers.log``.
        jobs: The number of processes. Defaults to as many as there are cores and memory for.
        threads: How many threads each process computes with.
        trackers: The names of the trackers that follow each run, see `tfnorm.training.tracking`.
        progress: Receives progress events.
        before: Called once after all checks, before the first run.

    Returns:
        The folder of each failed run with the reason. All other runs are finished.

    Raises:
        TfnormError: If a number is out of range, a folder holds another run or one on other data, or Keras cannot be
            imported with its settings, before anything starts.
    """
    check_keras_settings()
    if jobs is not None:
        whole_number("jobs", jobs)
    attempts = Attempts(Path(out), trackers, progress or SweepProgress())
    todo = prepared(runs, attempts.out, threads, trackers, attempts.progress, fingerprints())
    if before is not None:
        before()
    if todo:
        jobs = default_jobs(threads, todo) if jobs is None else jobs
        WorkerPool(todo, min(jobs, len(todo)), threads, attempts).train()
    return attempts.failures
