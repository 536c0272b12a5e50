"""Runs in processes of this machine, several at a time."""

from __future__ import annotations

import math
import os
import queue
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tfnorm.datasets.memory import available_memory
from tfnorm.experiments.engines.memory import worker_bytes
from tfnorm.experiments.engines.processes import Pool, WorkerProcess
from tfnorm.experiments.plan import Plan, PlannedRun
from tfnorm.experiments.progress import SweepProgress
from tfnorm.keras_settings import check_keras_settings
from tfnorm.training.config import TrainConfig
from tfnorm.training.data import fingerprints


def default_jobs(threads: int = 1, runs: Iterable[PlannedRun] = ()) -> int:
    """Return how many processes this machine has cores and free memory for, at least 1.

    Args:
        threads: Of each process.
        runs: What they are to train; `tfnorm.experiments.engines.memory.worker_bytes` says how much memory that takes.
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
    whatever ``jobs`` is, so that ``jobs`` has no part in any result. A process trains one run after another, those
    first that differ from its last by the seed alone. One that is killed is replaced, and its run goes on, two times.

    Args:
        runs: What to train; those that are finished are left alone.
        out: The sweep's folder. What the processes write to their standard error is kept there, in ``workers.log``.
        jobs: How many processes; default as many as there are cores and memory for.
        threads: How many threads each of them computes with.
        trackers: What follows each run, see `tfnorm.training.tracking`.
        progress: Is told what happens.
        before: Is called once all is checked, before the first run.

    Returns:
        Folder to sentence, for each run that failed; the others are finished.

    Raises:
        TfnormError: If a number is out of range, a folder holds another run or one on other data, or Keras cannot be
            imported with its settings, before anything starts.
    """
    check_keras_settings()
    out, progress = Path(out), progress or SweepProgress()
    plan = Plan(out, list(runs), jobs=jobs, threads=threads, trackers=trackers)
    todo = plan.begin(progress, fingerprints())
    if before is not None:
        before()
    if not todo:
        return {}
    jobs = default_jobs(threads, todo) if jobs is None else jobs
    return Pool(todo, out, min(jobs, len(todo)), threads, trackers, progress).train()


def measure(configs: Sequence[TrainConfig], *, threads: int = 1) -> list[tuple[float, float] | None]:
    """Return the seconds that each configuration needs to get ready and for an epoch, None where it cannot be trained.

    They are measured one after another in a process of its own, as `run_local` would train them.

    Args:
        configs: What to measure.
        threads: How many threads to compute with.
    """
    found: list[tuple[float, float] | None] = []
    with open(os.devnull, "wb") as nowhere:
        worker = WorkerProcess(threads, nowhere, queue.Queue())
        try:
            for number, config in enumerate(configs):
                worker.send({"kind": "measure", "task": number, "config": config.model_dump(mode="json")})
                answer: dict[str, Any] = {"event": "sent"}
                while answer and answer["event"] not in ("measured", "failed"):
                    _, answer = worker.events.get()
                if not answer:
                    break
                found.append((answer["ready"], answer["epoch"]) if answer["event"] == "measured" else None)
        finally:
            worker.stop()
    return found + [None] * (len(configs) - len(found))
