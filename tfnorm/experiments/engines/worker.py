"""A process that trains one run after another.

It reads one task a line from its standard input and writes one event a line to its standard output, all of it JSON.
What TensorFlow prints, and tracebacks, go to its standard error. It ends when its input ends, also when its parent is
killed.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tfnorm.datasets import Dataset, DataWarning
from tfnorm.errors import TfnormError, disk_sentence
from tfnorm.ops import start_quietly
from tfnorm.training.config import TrainConfig, checked
from tfnorm.training.data import load_data, place_of
from tfnorm.training.progress import Progress

SECONDS_BETWEEN_STEPS = 0.2
MEASURED_STEPS = 16
MEASURED_TESTS = 512


class Reporter(Progress):
    """Writes the events of a run as lines of JSON."""

    def __init__(self, channel: IO[str]) -> None:
        self._channel = channel
        self._last_step = 0.0

    def send(self, event: str, *values: Any) -> None:
        """Write an event, see `tfnorm.experiments.engines.attempts.Attempts`."""
        self._channel.write(json.dumps({"event": event, "values": values}, default=float) + "\n")
        self._channel.flush()

    def read(self, sentences: Sequence[str]) -> None:
        """Send what was read as data."""
        self.send("read", list(sentences))

    def skipped(self, run: Path, epochs: int) -> None:
        """Send how many epochs were on disk already."""
        self.send("skipped", epochs)

    def started(self, run: Path, epochs: int, steps: int) -> None:
        """Send that training starts or goes on."""
        self.send("started", epochs, steps)

    def stepped(self, run: Path, epoch: int, step: int) -> None:
        """Send how many steps of an epoch are done, a few times a second."""
        now = time.monotonic()
        if now - self._last_step > SECONDS_BETWEEN_STEPS:
            self._last_step = now
            self.send("stepped", epoch, step)

    def epoch_ended(self, run: Path, record: Mapping[str, Any]) -> None:
        """Send the history record of an epoch."""
        self.send("epoch_ended", dict(record))


def with_decoded(config: TrainConfig, folder: str | None) -> TrainConfig:
    """Return a configuration whose decoded pictures are kept in a folder of this machine, unless it has its own."""
    if config.cache is not None or folder is None:
        return config
    return config.model_copy(update={"cache": Path(folder) / socket.gethostname()})


class Worker:
    """Does tasks, and keeps the data of the last one."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self._data: tuple[object, Dataset] | None = None
        self._kind = ""

    def do(self, task: Mapping[str, Any]) -> None:
        """Do one task. Whatever goes wrong is reported, and the next task can be done."""
        try:
            config = with_decoded(checked(TrainConfig, task["config"]), task.get("decoded"))
            self.free_graphs(config)
            if task["kind"] == "measure":
                self.reporter.send("measured", *self.measure(config))
            else:
                self.train(config.resolved(), task["folder"], task["trackers"])
        except TfnormError as error:
            self.reporter.send("failed", str(error))
        except OSError as error:
            self.reporter.send("failed", disk_sentence(error))
        except Exception as error:
            traceback.print_exc()
            self._kind = ""
            first = (str(error).strip().splitlines() or [""])[0]
            self.reporter.send("failed", f"{type(error).__name__}: {first}".rstrip(": "))

    def free_graphs(self, config: TrainConfig) -> None:
        """Free the graphs of other kinds of runs. Otherwise a long sweep fills the memory."""
        if config.kind != self._kind:
            import keras  # start-up

            from tfnorm.training.trainer import forget_graph  # start-up

            forget_graph()
            keras.backend.clear_session()
            gc.collect()
            self._kind = config.kind

    def data(self, config: TrainConfig) -> Dataset:
        """Return the data of ``config``."""
        key = place_of(config)
        if self._data is None or self._data[0] != key:
            self._data = None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)  # the same sentences are sent
                data = load_data(config)
            self.reporter.read(data.sentences)
            self._data = key, data
        return self._data[1]

    def train(self, config: TrainConfig, folder: str, trackers: Sequence[str]) -> None:
        """Train one run."""
        from tfnorm.training.trainer import train_on  # start-up

        run = train_on(self.data(config), config, Path(folder), progress=self.reporter, trackers=trackers)
        self.reporter.send("finished", {**run.result, run.metric.key: run.history[run.metric.key].iloc[-1]})

    def measure(self, config: TrainConfig) -> tuple[float, float]:
        """Return what a run of ``config`` costs, in seconds: to get ready, and an epoch.

        Two epochs of a few steps are trained on a part of the data, and the second one is scaled up.
        """
        from tfnorm.training.trainer import train_on  # start-up

        data = self.data(config)
        part = data.part(MEASURED_STEPS, config.settled(data).batch_size or 1, MEASURED_TESTS)
        images, tests = len(part.x_train), len(part.x_test)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            history = train_on(part, config.model_copy(update={"epochs": 2}).resolved(), Path(folder) / "run").history
        wall = time.perf_counter() - start
        training, whole = history["train_seconds"].iloc[1], history["seconds"].iloc[1]
        epoch = training * len(data.x_train) / images + (whole - training) * len(data.x_test) / tests
        return wall - 2 * whole, epoch


def main() -> None:
    """Do the tasks of the standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # only events may reach the parent
    tasks: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            tasks.put(line)
        os._exit(0)  # the parent has closed the input or has ended, and nobody waits for this run any more

    threading.Thread(target=listen, daemon=True).start()
    start_quietly()
    worker = Worker(Reporter(channel))
    while True:
        worker.do(json.loads(tasks.get()))


if __name__ == "__main__":
    main()
