"""A process that trains one run after another for `tfnorm.experiments.engines.choose`.

It reads a task a line from its standard input and writes what happens to its standard output, all of it JSON; what
TensorFlow and tracebacks say goes to its standard error. It ends when its input does, and with its parent.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import queue
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tfnorm.datasets import DataWarning
from tfnorm.errors import TfnormError, disk_sentence
from tfnorm.ops import start_quietly
from tfnorm.training.config import TrainConfig, checked
from tfnorm.training.data import load_data, place_of
from tfnorm.training.progress import Progress

SECONDS_BETWEEN_STEPS = 0.2
MEASURED_STEPS = 16
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


class Reporter(Progress):
    """Writes what a run tells, as lines of JSON.

    Args:
        channel: Where to.
    """

    def __init__(self, channel: IO[str]) -> None:
        self._channel = channel
        self._last_step = 0.0
        self.task = -1

    def send(self, event: str, **values: Any) -> None:
        """Write an event of the task at work."""
        self._channel.write(json.dumps({"event": event, "task": self.task, **values}, default=float) + "\n")
        self._channel.flush()

    def read(self, sentences: Sequence[str]) -> None:
        """Tell what was read as data, and what may be a mistake there."""
        self.send("read", sentences=list(sentences))

    def skipped(self, run: Path, epochs: int) -> None:
        """Tell that ``epochs`` epochs were on disk already."""
        self.send("skipped", epochs=epochs)

    def started(self, run: Path, epochs: int, steps: int) -> None:
        """Tell that training starts or goes on."""
        self.send("started", epochs=epochs, steps=steps)

    def stepped(self, run: Path, epoch: int, step: int) -> None:
        """Tell that ``step`` steps of ``epoch`` are done, a few times a second."""
        now = time.monotonic()
        if now - self._last_step > SECONDS_BETWEEN_STEPS:
            self._last_step = now
            self.send("stepped", epoch=epoch, step=step)

    def epoch_ended(self, run: Path, record: Mapping[str, Any]) -> None:
        """Tell the history record of an epoch."""
        self.send("epoch_ended", record=dict(record))


class Worker:
    """Does tasks, and keeps the data of the last one.

    Args:
        reporter: Is told what happens.
    """

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self._data: tuple[object, Any] | None = None
        self._kind = ""

    def do(self, task: Mapping[str, Any]) -> None:
        """Do one task; whatever goes wrong is reported, and the next task can be done."""
        self.reporter.task = task["task"]
        try:
            config = checked(TrainConfig, task["config"])
            self.tidy(config)
            if task["kind"] == "measure":
                self.reporter.send("measured", **self.measure(config))
            else:
                self.train(config.resolved(), task["folder"], task["trackers"])
        except TfnormError as error:
            self.reporter.send("failed", sentence=str(error))
        except OSError as error:
            self.reporter.send("failed", sentence=disk_sentence(error))
        except Exception as error:
            traceback.print_exc()
            self._kind = ""
            first = (str(error).strip().splitlines() or [""])[0]
            self.reporter.send("failed", sentence=f"{type(error).__name__}: {first}".rstrip(": "))

    def tidy(self, config: TrainConfig) -> None:
        """Let go of the graphs of other kinds of runs, or a long sweep would fill the memory."""
        kind = config.model_dump_json(exclude={"seed"})
        if kind != self._kind:
            import keras

            from tfnorm.training.trainer import forget_graph

            forget_graph()
            keras.backend.clear_session()
            gc.collect()
            self._kind = kind

    def data(self, config: TrainConfig) -> Any:
        """Return the data of ``config``."""
        key = place_of(config)
        if self._data is None or self._data[0] != key:
            self._data = None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)  # the same sentences are told
                data = load_data(config)
            self.reporter.read(data.sentences)
            self._data = key, data
        return self._data[1]

    def train(self, config: TrainConfig, folder: str, trackers: Sequence[str]) -> None:
        """Train one run."""
        from tfnorm.training.trainer import train_on

        run = train_on(self.data(config), config, Path(folder), progress=self.reporter, trackers=trackers)
        accuracy = run.history["val_accuracy"].iloc[-1]
        self.reporter.send("finished", result={**run.result, "val_accuracy": accuracy})

    def measure(self, config: TrainConfig) -> dict[str, float]:
        """Return what a run of ``config`` costs, in seconds: to get ready, and an epoch.

        Two epochs of a few steps are trained on a part of the data, and the second one is scaled up.
        """
        from tfnorm.datasets import Dataset
        from tfnorm.training.trainer import train_on

        data = self.data(config)
        images = min(len(data.x_train), MEASURED_STEPS * (config.batch_size or 1))
        tests = min(len(data.x_test), 512)
        part = Dataset(
            data.name, data.x_train[:images], data.y_train[:images], data.x_test[:tests], data.y_test[:tests],
            data.class_names,
        )  # fmt: skip
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            run = train_on(part, config.model_copy(update={"epochs": 2}).resolved(), Path(folder) / "run")
            history = run.history
        wall = time.perf_counter() - start
        training, whole = history["train_seconds"].iloc[1], history["seconds"].iloc[1]
        epoch = training * len(data.x_train) / images + (whole - training) * len(data.x_test) / tests
        return {"ready": wall - 2 * whole, "epoch": epoch}


def die_with_parent(parent: int) -> None:
    """Have the system end this process when its parent ends, where it can; the end of the input does it elsewhere."""
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        except (OSError, AttributeError):
            return
        if os.getppid() != parent:  # it ended before that call
            os._exit(1)


def main() -> None:
    """Do what the lines of the standard input say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    die_with_parent(int(sys.argv[1]))
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing but events may reach the parent
    tasks: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            tasks.put(line)
        os._exit(0)  # the parent has no more to do, or is no more

    threading.Thread(target=listen, daemon=True).start()
    start_quietly()
    worker = Worker(Reporter(channel))
    while True:
        worker.do(json.loads(tasks.get()))


if __name__ == "__main__":
    main()
