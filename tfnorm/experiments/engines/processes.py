"""Processes that train runs on this machine, one run after another each, and what they tell while they do."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tfnorm.experiments.plan import PlannedRun
from tfnorm.experiments.progress import SweepProgress

MOST_TRIES = 3
# A process is replaced after so many kinds of graphs: TensorFlow keeps a few MB of each for good.
MOST_KINDS = 20
SECONDS_TO_STOP = 5.0
LOG_NAME = "workers.log"


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
        # Another command in the same folder may have deleted it.
        with suppress(FileNotFoundError):
            if not self.path.stat().st_size:
                self.path.unlink()


class WorkerProcess:
    """A process that runs `engines.worker`, whose events arrive in a queue; an empty event says that it ended."""

    def __init__(self, threads: int, log: IO[bytes], events: queue.Queue[tuple[WorkerProcess, dict[str, Any]]]) -> None:
        self.events = events
        self.run: PlannedRun | None = None
        self.kind = ""
        self.kinds = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tfnorm.experiments.engines.worker", str(os.getpid())],
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
    """Return the environment in which a backend computes with ``threads`` threads, and pictures need no screen."""
    return {**os.environ, **thread_settings(threads), "MPLBACKEND": "agg"}


def thread_settings(threads: int) -> dict[str, str]:
    """Return the environment variables with which a backend computes with ``threads`` threads and shares a GPU.

    TensorFlow reads the first two, JAX's XLA the third, PyTorch and others the last.
    """
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC", "OMP_NUM_THREADS")
    # Several processes may share a GPU, whose memory the first would take whole: TensorFlow's and JAX's word for that.
    sharing = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    sharing = {name: os.environ.get(name, value) for name, value in sharing.items()}
    return {**sharing, **dict.fromkeys(names, str(threads))}


def pass_on(progress: SweepProgress, place: Path, event: Mapping[str, Any]) -> None:
    """Tell ``progress`` what the run in ``place`` does."""
    match event["event"]:
        case "read":
            progress.read(event["sentences"])
        case "skipped":
            progress.skipped(place, event["epochs"])
        case "started":
            progress.started(place, event["epochs"], event["steps"])
        case "stepped":
            progress.stepped(place, event["epoch"], event["step"])
        case "epoch_ended":
            progress.epoch_ended(place, event["record"])


class Pool:
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
        self.events: queue.Queue[tuple[WorkerProcess, dict[str, Any]]] = queue.Queue()
        self.workers: list[WorkerProcess] = []

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
            worker = WorkerProcess(self.threads, self.log, self.events)
            self.workers.append(worker)
            self.employ(worker)

    def employ(self, worker: WorkerProcess) -> None:
        """Give a process the next run, or let it go."""
        run = self.next_for(worker)
        if run is not None and _kind(run) != worker.kind and worker.kinds == MOST_KINDS:
            self.waiting[_kind(run)].appendleft(run)
            self.replace(worker)
            return
        worker.run = run
        if run is None:
            self.workers.remove(worker)
            worker.stop()
            return
        worker.kinds += _kind(run) != worker.kind
        worker.kind = _kind(run)
        place = self.out / run.folder
        self.tries[run.folder] = self.tries.get(run.folder, 0) + 1
        self.progress.sent(place, worker.process.pid)
        task = {"kind": "train", "task": self.tries[run.folder], "config": run.config.model_dump(mode="json")}
        worker.send({**task, "folder": str(place), "trackers": self.trackers})

    def replace(self, worker: WorkerProcess) -> None:
        """Let a process go that has nothing to do, and start another."""
        self.workers.remove(worker)
        worker.stop()
        self.hire()

    def next_for(self, worker: WorkerProcess) -> PlannedRun | None:
        """Return a run whose graph the process has, or one that no other is at work on the likes of, or any."""
        kinds = [kind for kind, runs in self.waiting.items() if runs]
        if not kinds:
            return None
        at_work = {other.kind for other in self.workers if other is not worker and other.run}
        fresh = [kind for kind in kinds if kind not in at_work]
        kind = worker.kind if worker.kind in kinds else (fresh or sorted(kinds, key=lambda k: -len(self.waiting[k])))[0]
        return self.waiting[kind].popleft()

    def take(self, worker: WorkerProcess, event: Mapping[str, Any]) -> None:
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

    def bury(self, worker: WorkerProcess, run: PlannedRun) -> None:
        """Replace a process that ended in the middle of a run."""
        code = worker.wait()
        self.workers.remove(worker)
        how = f"was killed by {_signal(-code)}" if code < 0 else f"ended with exit code {code}"
        if self.tries[run.folder] < MOST_TRIES:
            self.progress.interrupted(self.out / run.folder, f"Its process {how}; it goes on in another one.")
            self.waiting[_kind(run)].appendleft(run)
        else:
            hint = " Perhaps memory ran out: use fewer jobs." if _signal(-code) in ("SIGKILL", "SIGABRT") else ""
            self.fail(run, f"Its process {how}, in the last of {MOST_TRIES} tries.{hint} See {self.out / LOG_NAME}.")
        self.hire()

    def fail(self, run: PlannedRun, sentence: str) -> None:
        """Keep and tell why a run could not be trained."""
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
