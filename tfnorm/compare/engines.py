"""Where the runs of a sweep are trained: processes on this machine; `tfnorm.compare.ray_engine` is a cluster."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tfnorm.compare.grid import PlannedRun
from tfnorm.compare.live import SweepProgress
from tfnorm.errors import FailedRunsError, RunError, TfnormError, unknown
from tfnorm.training.config import TrainConfig
from tfnorm.training.runs import RunFolder
from tfnorm.training.tracking import catch_up

ENGINES = ("local", "ray")
MOST_TRIES = 3
SECONDS_TO_STOP = 5.0
BYTES_A_WORKER = 1.5 * 2**30
LOG_NAME = "workers.log"


def default_jobs(threads: int = 1) -> int:
    """Return how many processes of ``threads`` threads this machine has cores and free memory for, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = cores // threads
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
        jobs = min(jobs, int(free / BYTES_A_WORKER))
    except (OSError, StopIteration):
        pass
    return max(1, jobs)


def whole_number(name: str, value: Any) -> int:
    """Return ``value``, or raise a TfnormError unless it is a whole number of at least 1."""
    if type(value) is not int or value < 1:
        raise TfnormError(f"`{name}` must be a whole number of at least 1. Received: {name}={value!r}.")
    return value


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
        TfnormError: If a number is out of range, or a folder holds another run, before anything starts.
    """
    jobs = default_jobs(whole_number("threads", threads)) if jobs is None else whole_number("jobs", jobs)
    out, progress = Path(out), progress or SweepProgress()
    todo = prepared(runs, out, threads, trackers, progress)
    if before is not None:
        before()
    if not todo:
        return {}
    return _Pool(todo, out, min(jobs, len(todo)), threads, trackers, progress).train()


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
    runs: Iterable[PlannedRun], out: Path, threads: int, trackers: Sequence[str], progress: SweepProgress
) -> list[PlannedRun]:
    """Return the runs that are not finished, once all is checked, and tell how many there are."""
    whole_number("threads", threads)
    runs = list(runs)
    todo = unfinished(runs, out)
    for run in runs:
        if run not in todo:
            catch_up(out / run.folder, trackers)
    progress.planned(len(todo), len(runs) - len(todo), sum(run.config.resolved().epochs or 0 for run in todo))
    return todo


def unfinished(runs: Sequence[PlannedRun], out: Path) -> list[PlannedRun]:
    """Return the runs that are not finished; raises if folders hold other runs, with a sentence for each."""
    problems = []
    for run in runs:
        try:
            RunFolder(out / run.folder).check(run.config.asked())
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
        worker = _Worker(threads, nowhere, queue.Queue())
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


class _Log:
    """The file that workers write their errors to, deleted at the end if it is empty."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG_NAME

    def __enter__(self) -> IO[bytes]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(self.path, "ab")  # noqa: SIM115 - closed by __exit__
        return self.file

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if not self.path.stat().st_size:
            self.path.unlink()


class _Worker:
    """A process of `tfnorm.compare.worker`, whose events arrive in a queue; an empty event says that it ended."""

    def __init__(self, threads: int, log: IO[bytes], events: queue.Queue[tuple[_Worker, dict[str, Any]]]) -> None:
        self.events = events
        self.run: PlannedRun | None = None
        self.kind = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tfnorm.compare.worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment(threads),
            text=True,
            encoding="utf-8",
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            try:
                event = json.loads(line)
            except ValueError:
                break  # killed while it wrote
            self.events.put((self, event))
        self.events.put((self, {}))

    def send(self, task: Mapping[str, Any]) -> None:
        """Give it something to do."""
        if self.process.stdin is None:
            return
        with suppress(OSError):  # it ended, which it says by itself
            self.process.stdin.write(json.dumps(task) + "\n")
            self.process.stdin.flush()

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.process.terminate()
        self.wait()

    def wait(self) -> int:
        """Return the exit code of the process, which is about to end and is killed if it does not."""
        try:
            code = self.process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if self.process.stdin is not None:
            with suppress(OSError):  # what could not be sent
                self.process.stdin.close()
        return code


def environment(threads: int) -> dict[str, str]:
    """Return the environment in which TensorFlow computes with ``threads`` threads."""
    return {**os.environ, **thread_settings(threads)}


def thread_settings(threads: int) -> dict[str, str]:
    """Return the environment variables with which TensorFlow computes with ``threads`` threads and shares a GPU."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    # Several processes may share a GPU, whose memory the first would take whole.
    growth = os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    return {"TF_FORCE_GPU_ALLOW_GROWTH": growth, **dict.fromkeys(names, str(threads))}


def pass_on(progress: SweepProgress, place: Path, event: Mapping[str, Any]) -> None:
    """Tell ``progress`` what the run in ``place`` does."""
    match event["event"]:
        case "skipped":
            progress.skipped(place, event["epochs"])
        case "started":
            progress.started(place, event["epochs"], event["steps"])
        case "stepped":
            progress.stepped(place, event["epoch"], event["step"])
        case "epoch_ended":
            progress.epoch_ended(place, event["record"])


class _Pool:
    """Runs that wait, and processes that train them."""

    def __init__(
        self,
        runs: Sequence[PlannedRun],
        out: Path,
        jobs: int,
        threads: int,
        trackers: Sequence[str],
        progress: SweepProgress,
    ) -> None:
        self.out, self.jobs, self.threads, self.progress = out, jobs, threads, progress
        self.trackers = list(trackers)
        self.waiting: dict[str, deque[PlannedRun]] = {}
        for run in runs:
            self.waiting.setdefault(_kind(run), deque()).append(run)
        self.tries: dict[Path, int] = {}
        self.failures: dict[Path, str] = {}
        self.events: queue.Queue[tuple[_Worker, dict[str, Any]]] = queue.Queue()
        self.workers: list[_Worker] = []

    def train(self) -> dict[Path, str]:
        """Train all runs; return the sentences of those that failed."""
        with _Log(self.out) as self.log:
            try:
                for _ in range(self.jobs):
                    self.hire()
                while self.workers:
                    worker, event = self.events.get()
                    if worker in self.workers:
                        self.take(worker, event)
            finally:
                for worker in self.workers:
                    worker.process.terminate()
                for worker in self.workers:
                    worker.stop()
        return self.failures

    def hire(self) -> None:
        """Start a process if there is something to do for it."""
        if any(self.waiting.values()):
            worker = _Worker(self.threads, self.log, self.events)
            self.workers.append(worker)
            self.employ(worker)

    def employ(self, worker: _Worker) -> None:
        """Give a process the next run, or let it go."""
        run = self.next_for(worker)
        worker.run = run
        if run is None:
            self.workers.remove(worker)
            worker.stop()
            return
        worker.kind = _kind(run)
        place = self.out / run.folder
        self.tries[run.folder] = self.tries.get(run.folder, 0) + 1
        self.progress.sent(place, worker.process.pid)
        task = {"kind": "train", "task": self.tries[run.folder], "config": run.config.model_dump(mode="json")}
        worker.send({**task, "folder": str(place), "trackers": self.trackers})

    def next_for(self, worker: _Worker) -> PlannedRun | None:
        """Return a run whose graph the process has, or one that no other is at work on the likes of, or any."""
        kinds = [kind for kind, runs in self.waiting.items() if runs]
        if not kinds:
            return None
        at_work = {other.kind for other in self.workers if other is not worker and other.run}
        fresh = [kind for kind in kinds if kind not in at_work]
        kind = worker.kind if worker.kind in kinds else (fresh or sorted(kinds, key=lambda k: -len(self.waiting[k])))[0]
        return self.waiting[kind].popleft()

    def take(self, worker: _Worker, event: Mapping[str, Any]) -> None:
        """Pass an event on, and see to what follows from it."""
        run = worker.run
        if run is None:
            return
        place = self.out / run.folder
        match event.get("event"):
            case "finished":
                self.progress.finished(place, event["result"])
                self.employ(worker)
            case "failed":
                self.fail(run, event["sentence"])
                self.employ(worker)
            case None:
                self.bury(worker, run)
            case _:
                pass_on(self.progress, place, event)

    def bury(self, worker: _Worker, run: PlannedRun) -> None:
        """Replace a process that ended in the middle of a run."""
        code = worker.wait()
        self.workers.remove(worker)
        how = f"was killed by {_signal(-code)}" if code < 0 else f"ended with exit code {code}"
        if self.tries[run.folder] < MOST_TRIES:
            self.progress.interrupted(self.out / run.folder, f"Its process {how}; it goes on in another one.")
            self.waiting[_kind(run)].appendleft(run)
        else:
            hint = " Perhaps memory ran out: use fewer jobs." if _signal(-code) == "SIGKILL" else ""
            self.fail(run, f"Its process {how}, in the last of {MOST_TRIES} tries.{hint} See {self.out / LOG_NAME}.")
        self.hire()

    def fail(self, run: PlannedRun, sentence: str) -> None:
        self.failures[run.folder] = sentence
        self.progress.failed(self.out / run.folder, sentence)


def _kind(run: PlannedRun) -> str:
    """Return what runs have in common that share a graph: all but the seed."""
    return run.config.model_dump_json(exclude={"seed"})


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
