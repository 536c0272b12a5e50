"""Processes of this machine that train runs, one run after another each."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tfnorm.experiments.engines.attempts import Attempts
from tfnorm.experiments.plan import PlannedRun

# A process is replaced after it has trained this many kinds of runs: TensorFlow never frees a few MB of each graph.
MOST_KINDS = 20
SECONDS_TO_STOP = 5.0
LOG_NAME = "workers.log"


@contextmanager
def worker_log(folder: Path) -> Iterator[IO[bytes]]:
    """Open the file that workers write their errors to. It is deleted at the end if it is empty."""
    path = folder / LOG_NAME
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "ab") as file:
            yield file
    finally:
        # Another command in the same folder may have deleted it.
        with suppress(FileNotFoundError):
            if not path.stat().st_size:
                path.unlink()


class WorkerProcess:
    """A process that runs `tfnorm.experiments.engines.worker` with so many threads. Its standard error goes to a log.

    ``events`` receives ``(self, event)`` for each event. The event is empty when the process has ended.
    """

    def __init__(self, threads: int, log: IO[bytes], events: queue.Queue[tuple[WorkerProcess, dict[str, Any]]]) -> None:
        self.events = events
        self.kind = ""
        self.kinds = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tfnorm.experiments.engines.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **thread_settings(threads), "MPLBACKEND": "agg"},  # pictures need no screen
            text=True,
            encoding="utf-8",
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        # The last line is cut off if the process was killed while it wrote.
        with suppress(ValueError):
            for line in self.process.stdout or ():
                self.events.put((self, json.loads(line)))
        self.events.put((self, {}))

    def send(self, task: Mapping[str, Any]) -> None:
        """Give the process a task."""
        if self.process.stdin is not None:
            with suppress(OSError):  # the process has ended, and an empty event says so
                self.process.stdin.write(json.dumps(task) + "\n")
                self.process.stdin.flush()

    def close(self) -> None:
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


def thread_settings(threads: int) -> dict[str, str]:
    """Return the environment variables with which a backend computes with ``threads`` threads and shares a GPU.

    TensorFlow reads the first two, JAX's XLA the third, PyTorch and others the last.
    """
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC", "OMP_NUM_THREADS")
    # Otherwise TensorFlow and JAX take the whole memory of a GPU, and a second process gets none.
    sharing = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    sharing = {name: os.environ.get(name, value) for name, value in sharing.items()}
    return {**sharing, **dict.fromkeys(names, str(threads))}


class WorkerPool:
    """Processes that train runs until all are finished or failed."""

    def __init__(self, runs: Sequence[PlannedRun], jobs: int, threads: int, attempts: Attempts) -> None:
        self.jobs, self.threads, self.attempts = jobs, threads, attempts
        self.waiting: dict[str, deque[PlannedRun]] = {}
        self.add(runs)
        self.idle: list[WorkerProcess] = []  # those that wait for the next round of seeds
        self.running: dict[WorkerProcess, PlannedRun] = {}
        self.events: queue.Queue[tuple[WorkerProcess, dict[str, Any]]] = queue.Queue()

    def add(self, runs: Sequence[PlannedRun]) -> None:
        """Let runs wait for a process."""
        for run in runs:
            self.waiting.setdefault(run.config.kind, deque()).append(run)

    def train(self) -> None:
        """Train all runs, and those of the rounds that follow."""
        with worker_log(self.attempts.out) as self.log:
            try:
                while any(self.waiting.values()):
                    for _ in range(self.jobs):
                        self.start()
                    self.train_waiting()
                    self.add(self.attempts.more())
            finally:
                workers = [*self.running, *self.idle]
                for worker in workers:
                    worker.process.terminate()
                for worker in workers:
                    worker.close()

    def train_waiting(self) -> None:
        """Train the runs that wait."""
        while self.running:
            worker, event = self.events.get()
            run = self.running.get(worker)
            if run and not event:
                self.replace(worker, run)
            elif run and self.attempts.receive(run, event):
                self.submit(worker)
            elif not event and worker in self.idle:
                self.idle.remove(worker)
                worker.wait()

    def start(self) -> None:
        """Start a process if a run waits, or give the run to one that is idle."""
        if any(self.waiting.values()):
            self.submit(self.idle.pop() if self.idle else WorkerProcess(self.threads, self.log, self.events))

    def submit(self, worker: WorkerProcess) -> None:
        """Give a process the next run. Close it if no run will wait or if it has trained too many kinds of runs."""
        self.running.pop(worker, None)
        kind = self.next_kind(worker)
        if kind is None and self.attempts.plan.auto is not None:
            self.idle.append(worker)
            return
        if kind is None or (kind != worker.kind and worker.kinds == MOST_KINDS):
            worker.close()
            self.start()
            return
        worker.kinds += kind != worker.kind
        worker.kind = kind
        run = self.running[worker] = self.waiting[kind].popleft()
        task = self.attempts.next_task(run)
        self.attempts.receive(run, {"event": "sent", "values": [worker.process.pid]})
        worker.send(task)

    def next_kind(self, worker: WorkerProcess) -> str | None:
        """Return the kind of run that a process trains next: its last one, else one that no other process trains."""
        kinds = [kind for kind, runs in self.waiting.items() if runs]
        if worker.kind in kinds:
            return worker.kind
        taken = {other.kind for other in self.running}
        most = max(kinds, key=lambda kind: len(self.waiting[kind]), default=None)
        return next((kind for kind in kinds if kind not in taken), most)

    def replace(self, worker: WorkerProcess, run: PlannedRun) -> None:
        """Replace a process that ended in the middle of a run."""
        code = worker.wait()
        del self.running[worker]
        name = {each.value: each.name for each in signal.Signals}.get(-code, f"signal {-code}")
        how = f"was killed by {name}" if code < 0 else f"ended with exit code {code}"
        hint = " Perhaps memory ran out: use fewer jobs." if name in ("SIGKILL", "SIGABRT") else ""
        if self.attempts.retry(run, f"Its process {how}", f"{hint} See {self.attempts.out / LOG_NAME}."):
            self.waiting[run.config.kind].appendleft(run)
        self.start()
