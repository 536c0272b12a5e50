"""What the command line shows while runs go on."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from tfnorm.training.progress import Progress

SECONDS_BETWEEN_LINES = 10.0
SECONDS_WITHOUT_A_LINE = 60.0


class Lines:
    """Lines about runs, for a log file or a pipe, where nothing can be drawn over.

    Args:
        console: Where to write.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        # A notebook's terminal cannot move the cursor up, and a dumb one not at all.
        moves = console.is_terminal and not console.is_dumb_terminal and "JPY_PARENT_PID" not in os.environ
        self.needed = not moves
        self._last = -math.inf

    def say(self, text: str) -> None:
        """Write a line at once; that nobody can read it any more ends no training."""
        self._last = time.monotonic()
        # Not by the console's own print, which ends the process when nobody reads.
        with suppress(OSError, ValueError):
            print(text, file=self.console.file, flush=True)

    def due(self, seconds: float = SECONDS_BETWEEN_LINES) -> bool:
        """Return whether lines are needed and the last one is ``seconds`` ago."""
        return self.needed and time.monotonic() - self._last >= seconds


def epoch_line(name: str, epochs: int, record: Mapping[str, Any], images: str, left: str) -> str:
    """Return what a line says of an epoch that ended.

    Args:
        name: Of the run.
        epochs: That it has in all.
        record: The history record.
        images: Word for the images that are evaluated on.
        left: Of the time, as `time_left` says it.

    Example:
        >>> epoch_line("bn/seed-0", 4, {"epoch": 1, "loss": 0.5, "val_accuracy": 0.9}, "test", "")
        'bn/seed-0: epoch 2 of 4, loss 0.5000, test accuracy 90.00 %'
    """
    loss, accuracy = record.get("loss", math.nan), 100 * record.get("val_accuracy", math.nan)
    return f"{name}: epoch {record['epoch'] + 1} of {epochs}, loss {loss:.4f}, {images} accuracy {accuracy:.2f} %{left}"


def time_left(began: float, done: int, left: int) -> str:
    """Return how long ``left`` epochs take if ``done`` took the time since ``began``, or nothing if none is done.

    Args:
        began: By `time.monotonic`.
        done: Epochs since then.
        left: Epochs that wait.
    """
    if not done or left <= 0:
        return ""
    minutes, seconds = divmod(round((time.monotonic() - began) / done * left), 60)
    return f"; about {minutes}:{seconds:02d} minutes left"


class LiveProgress(Progress):
    """Two bars: all epochs of all runs with the time left, and the steps of the epoch at work.

    Without a terminal they are lines: one when a run ends, and one at a start or an epoch ten seconds after the last.

    Args:
        console: Where to draw.
        epochs: Epochs of all runs together.
        images: Word for the images that are evaluated on, see `tfnorm.training.runs.evaluated_on`.
    """

    def __init__(self, console: Console, epochs: int, images: str = "test") -> None:
        self._images = images
        self._lines = Lines(console)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=self._lines.needed,
            transient=True,
        )
        self._all = self._bars.add_task("epochs of all runs", total=epochs, note="")
        self._one = self._bars.add_task("starting", total=None, note="")
        self._epochs = self._steps = 0
        self._left, self._done, self._began = epochs, 0, time.monotonic()

    def __enter__(self) -> LiveProgress:
        if not self._lines.needed:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lines.needed:  # bars that are not drawn end with an empty line in Rich before 14
            return
        with suppress(OSError, ValueError):  # the terminal is gone
            self._bars.stop()

    def read(self, sentences: Sequence[str]) -> None:
        """Tell what was read as data, and what may be a mistake there."""
        for sentence in sentences:
            self._bars.console.print(sentence, soft_wrap=True, highlight=False, markup=False)

    def skipped(self, run: Path, epochs: int) -> None:
        """Tell that ``epochs`` epochs were on disk already."""
        self._left -= epochs
        self._bars.advance(self._all, epochs)

    def finished(self, run: Path, result: Mapping[str, Any]) -> None:
        """Tell the result; epochs that early stopping saved are done with."""
        saved = self._epochs - result["epochs"]
        self._left -= saved
        self._bars.advance(self._all, saved)
        if self._lines.needed:
            left = time_left(self._began, self._done, self._left)
            said = f"{self._images} accuracy {100 * result['val_accuracy']:.2f} %"
            self._lines.say(f"{_name(run)}: {result['status']} after {result['epochs']} epochs, {said}{left}")

    def started(self, run: Path, epochs: int, steps: int) -> None:
        """Tell that training starts or goes on."""
        self._epochs, self._steps = epochs, steps
        self._bars.reset(self._one, total=steps, description=f"{run.parent.name} {run.name}", note="building the graph")
        if self._lines.due():
            self._lines.say(f"{_name(run)}: training starts, {epochs} epochs of {steps} steps")

    def stepped(self, run: Path, epoch: int, step: int) -> None:
        """Tell that ``step`` steps of ``epoch`` are done."""
        self._bars.update(self._one, completed=step, note=f"epoch {epoch + 1}")
        if self._lines.due(SECONDS_WITHOUT_A_LINE):
            self._lines.say(f"{_name(run)}: epoch {epoch + 1} of {self._epochs}, step {step} of {self._steps}")

    def epoch_ended(self, run: Path, record: Mapping[str, Any]) -> None:
        """Tell the history record of an epoch."""
        self._done, self._left = self._done + 1, self._left - 1
        accuracy = 100 * record.get("val_accuracy", math.nan)
        self._bars.advance(self._all)
        self._bars.update(self._all, note=f"{self._images} accuracy {accuracy:.2f} %")
        if self._lines.due():
            left = time_left(self._began, self._done, self._left)
            self._lines.say(epoch_line(_name(run), self._epochs, record, self._images, left))


def _name(run: Path) -> str:
    """Return what lines call a run: spec and seed."""
    return f"{run.parent.name}/{run.name}"
