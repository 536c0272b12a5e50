"""Where the runs of a sweep are trained: processes on this machine; `tfnorm.compare.ray_engine` is a cluster."""

from __future__ import annotations

import math
import os
import queue
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfnorm.compare.grid import PlannedRun
from tfnorm.compare.live import SweepProgress
from tfnorm.compare.memory import worker_bytes
from tfnorm.compare.processes import Pool, WorkerProcess
from tfnorm.datasets.memory import available_memory
from tfnorm.errors import FailedRunsError, RunError, TfnormError, unknown, whole_number
from tfnorm.keras_settings import check_keras_settings
from tfnorm.training.config import TrainConfig
from tfnorm.training.folder import RunFolder, check_place
from tfnorm.training.tracking import catch_up

ENGINES = ("local", "ray")


def default_jobs(threads: int = 1, runs: Iterable[PlannedRun] = ()) -> int:
    """Return how many processes this machine has cores and free memory for, at least 1.

    Args:
        threads: Of each process.
        runs: What they are to train; `tfnorm.compare.memory.worker_bytes` says how much memory that takes.
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
    from tfnorm.training.data import fingerprints

    check_keras_settings()
    whole_number("threads", threads)
    if jobs is not None:
        whole_number("jobs", jobs)
    out, progress = Path(out), progress or SweepProgress()
    todo = prepared(runs, out, threads, trackers, progress, fingerprints())
    if before is not None:
        before()
    if not todo:
        return {}
    jobs = default_jobs(threads, todo) if jobs is None else jobs
    return Pool(todo, out, min(jobs, len(todo)), threads, trackers, progress).train()


def check_engine(engine: str, *, address: str | None = None, gpus: float = 0.0) -> None:
    """Raise a TfnormError if there is no such engine, or if it has no use for an address or GPUs."""
    if engine not in ENGINES:
        raise TfnormError(unknown("engine", engine, ENGINES))
    if engine == "ray":
        from tfnorm.compare.ray_engine import check_ray

        check_ray()
    elif address is not None or gpus:
        raise TfnormError("An address and a number of GPUs belong to the engine 'ray'. Received: engine='local'.")


def run_on(
    engine: str,
    runs: Iterable[PlannedRun],
    out: str | Path,
    *,
    address: str | None = None,
    gpus: float = 0.0,
    **options: Any,
) -> dict[Path, str]:
    """Train runs with an engine, "local" for `run_local` or "ray" for `tfnorm.compare.ray_engine.run_ray`."""
    check_engine(engine, address=address, gpus=gpus)
    if engine == "local":
        return run_local(runs, out, **options)
    from tfnorm.compare.ray_engine import run_ray

    return run_ray(runs, out, address=address, gpus=gpus, **options)


def check_failures(failures: Mapping[Path, str]) -> None:
    """Raise a FailedRunsError with a line for each run that failed, if any did."""
    if failures:
        raise FailedRunsError("\n".join(f"{place}: {sentence}" for place, sentence in failures.items()))


def prepared(
    runs: Iterable[PlannedRun],
    out: Path,
    threads: int,
    trackers: Sequence[str],
    progress: SweepProgress,
    data: Callable[[TrainConfig], str | None] | None = None,
) -> list[PlannedRun]:
    """Return the runs that are not finished, once all is checked, and tell how many there are."""
    whole_number("threads", threads)
    runs = list(runs)
    todo = unfinished(runs, out, threads, data)
    for run in runs:
        if run not in todo:
            catch_up(out / run.folder, trackers)
    progress.planned(len(todo), len(runs) - len(todo), sum(run.config.resolved().epochs or 0 for run in todo))
    return todo


def unfinished(
    runs: Sequence[PlannedRun],
    out: Path,
    threads: int | None,
    data: Callable[[TrainConfig], str | None] | None = None,
) -> list[PlannedRun]:
    """Return the runs that are not finished.

    Args:
        runs: All of them.
        out: The folder that theirs are in.
        threads: How many threads they are to be trained with; None is as many as there are cores.
        data: Returns the fingerprint of a configuration's data, see `tfnorm.training.data.fingerprints`; asked only
            about folders that hold a run. None leaves the data to a later call, or to whoever trains.

    Raises:
        RunError: If a file is in the place of ``out``; with a sentence for each folder that holds another run, one on
            other data, or one of another number of threads.
    """
    check_place(out)
    problems = []
    for run in runs:
        folder = RunFolder(out / run.folder)
        try:
            found = data(run.config) if data is not None and folder.config_path.exists() else None
            folder.check(run.config.asked(), found, early=data is None)
            folder.check_threads(threads)
        except RunError as error:
            problems.append(str(error))
    if problems:
        raise RunError("\n".join(problems))
    return [run for run in runs if not RunFolder(out / run.folder).finished]


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
