"""What is shown while the runs of a sweep are trained."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tfnorm.cli.run_progress import SECONDS_WITHOUT_A_LINE, Lines, epoch_line, time_left
from tfnorm.experiments.progress import SweepProgress


@dataclass
class _AtWork:
    epochs: int = 0
    steps: int = 0
    epoch: int = 0
    step: int = 0
    accuracy: float = math.nan
    state: str = "starting"
    since: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> float:
        """Epochs done, with the part of the one at work."""
        return self.epoch + (self.step / self.steps if self.steps else 0)


class SweepDisplay(SweepProgress):
    """One table of the runs at work, with what waits, is finished and failed.

    Without a terminal it is lines: one when a run ends, and one at a start or an epoch ten seconds after the last.

    Args:
        console: Where to draw.
        root: The sweep's folder, which names of runs leave out.
        images: Word for the images that are evaluated on, see `tfnorm.training.runs.evaluated_on`.
    """

    def __init__(self, console: Console, root: Path, images: str = "test") -> None:
        self.console, self.root, self.images = console, root, images
        self._lines = Lines(console)
        self.at_work: dict[Path, _AtWork] = {}
        self.waiting = self.finished_runs = self.failed_runs = 0
        self.best: tuple[float, str] | None = None
        self.epochs_left = 0
        self._epochs_done = 0
        self._read: set[str] = set()
        self._began = time.monotonic()
        self._live = Live(
            get_renderable=self.render, console=console, transient=True, refresh_per_second=4, auto_refresh=True
        )

    def __enter__(self) -> SweepDisplay:
        if not self._lines.needed:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError, ValueError):  # the terminal is gone
            self._live.stop()

    def render(self) -> Group:
        """Return the counts and the table as they stand."""
        best = f"; best so far {self.best[1]}: {self.best[0]:.2f} %" if self.best else ""
        counts = (
            f"{len(self.at_work)} at work, {self.waiting} waiting, {self.finished_runs} finished, "
            f"{self.failed_runs} failed{best}{self._time_left()}"
        )
        table = Table()
        for heading in ("run", "epoch", "", f"{self.images} accuracy %", "seconds"):
            right = "%" in heading or heading == "seconds"
            # Names are folded: cut, those of two runs could look the same.
            table.add_column(heading, justify="right" if right else "left", overflow="fold")
        for path, run in list(self.at_work.items()):
            epoch = f"{min(run.epoch + 1, run.epochs)} of {run.epochs}" if run.epochs else run.state
            accuracy = "" if math.isnan(run.accuracy) else f"{run.accuracy:.2f}"
            bar = ProgressBar(total=run.epochs or 1, completed=run.done, width=24 if self.console.width >= 100 else 6)
            table.add_row(self._name(path), epoch, bar, accuracy, f"{time.monotonic() - run.since:.0f}")
        return Group(Text(counts, no_wrap=True, overflow="ellipsis"), table)

    def _time_left(self) -> str:
        return time_left(self._began, self._epochs_done, self.epochs_left)

    def _counts(self) -> str:
        return f"; {len(self.at_work)} at work, {self.waiting} waiting, {self.finished_runs} finished"

    def _name(self, run: Path) -> str:
        return str(run.relative_to(self.root)) if run.is_relative_to(self.root) else str(run)

    def read(self, sentences: Sequence[str]) -> None:
        """Tell what was read as data, and what may be a mistake there; each process tells it, and it is said once."""
        for sentence in sentences:
            if sentence not in self._read:
                self._read.add(sentence)
                self.console.print(sentence, soft_wrap=True, highlight=False, markup=False)

    def planned(self, waiting: int, finished: int, epochs: int) -> None:
        """Tell how many runs wait, how many are finished already, and the epochs of those that wait."""
        self.waiting, self.finished_runs, self.epochs_left = waiting, finished, epochs
        self.best, self._epochs_done, self._began = None, 0, time.monotonic()
        if finished:
            self._lines.say(f"{finished} of {waiting + finished} runs are finished already")

    def sent(self, run: Path, pid: int) -> None:
        """Tell that a process begins a run."""
        self.waiting -= 1
        self.at_work[run] = _AtWork()

    def skipped(self, run: Path, epochs: int) -> None:
        """Tell that ``epochs`` epochs were on disk already."""
        self.at_work[run].epoch = epochs
        self.epochs_left -= epochs

    def started(self, run: Path, epochs: int, steps: int) -> None:
        """Tell that training starts or goes on."""
        self.at_work[run].epochs, self.at_work[run].steps = epochs, steps
        if self._lines.due():
            self._lines.say(f"{self._name(run)}: training starts, {epochs} epochs of {steps} steps")

    def stepped(self, run: Path, epoch: int, step: int) -> None:
        """Tell that ``step`` steps of ``epoch`` are done."""
        self.at_work[run].epoch, self.at_work[run].step = epoch, step
        if self._lines.due(SECONDS_WITHOUT_A_LINE):
            at_work = self.at_work[run]
            self._lines.say(f"{self._name(run)}: epoch {epoch + 1} of {at_work.epochs}, step {step} of {at_work.steps}")

    def epoch_ended(self, run: Path, record: Mapping[str, Any]) -> None:
        """Tell the history record of an epoch."""
        self.at_work[run].epoch, self.at_work[run].step = record["epoch"] + 1, 0
        self.at_work[run].accuracy = 100 * record.get("val_accuracy", math.nan)
        self.epochs_left -= 1
        self._epochs_done += 1
        if self._lines.due():
            left = self._counts() + self._time_left()
            self._lines.say(epoch_line(self._name(run), self.at_work[run].epochs, record, self.images, left))

    def finished(self, run: Path, result: Mapping[str, Any]) -> None:
        """Tell the result."""
        stopped = self.at_work.pop(run)
        self.epochs_left -= stopped.epochs - stopped.epoch  # those that early stopping saved
        self.finished_runs += 1
        accuracy = 100 * result["val_accuracy"]
        if accuracy > (self.best[0] if self.best else -1):
            self.best = accuracy, self._name(run)
        if self._lines.needed:
            total = self.waiting + len(self.at_work) + self.finished_runs + self.failed_runs
            said = f"{self.images} accuracy {accuracy:.2f} %" if result["status"] == "finished" else result["status"]
            self._lines.say(f"{self.finished_runs} of {total} finished: {self._name(run)}, {said}")

    def interrupted(self, run: Path, sentence: str) -> None:
        """Tell that a run waits again, and why."""
        stopped = self.at_work.pop(run)
        self.epochs_left += stopped.epoch
        self.waiting += 1
        self._lines.say(f"interrupted: {self._name(run)}. {sentence}")

    def failed(self, run: Path, sentence: str) -> None:
        """Tell that a run failed, and why."""
        stopped = self.at_work.pop(run)
        self.epochs_left -= stopped.epochs - stopped.epoch
        self.failed_runs += 1
        self._lines.say(f"failed: {self._name(run)}. {sentence}")
