"""What the command line shows while runs are trained in this process."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from tfnorm.metrics.known import metric_shown
from tfnorm.training.progress import Progress

SECONDS_BETWEEN_LINES = 10.0
SECONDS_WITHOUT_A_LINE = 60.0


class Lines:
    """Lines about runs, for a log file or a pipe, where nothing can be drawn over."""

    def __init__(self, console: Console, images: str = "test", epochs: int = 0, metric: str | None = None) -> None:
        self.console, self.images, self.metric = console, images, metric
        # A notebook's terminal cannot move the cursor up, and a dumb one cannot move it at all.
        moves = console.is_terminal and not console.is_dumb_terminal and "JPY_PARENT_PID" not in os.environ
        self.needed = not moves
        self._last = -math.inf
        self.begin(epochs)

    def begin(self, epochs: int) -> None:
        """Count the time from now on, with so many epochs left."""
        self.began, self.done, self.left = time.monotonic(), 0, epochs

    def write(self, text: str) -> None:
        """Write a line at once. Training goes on if nobody can read it any more."""
        self._last = time.monotonic()
        # The console's own print ends the process when nobody reads.
        with suppress(OSError, ValueError):
            print(text, file=self.console.file, flush=True)

    def write_if_due(self, text: str, seconds: float = SECONDS_BETWEEN_LINES) -> None:
        """Write a line if lines are needed and the last one is at least ``seconds`` old."""
        if self.needed and time.monotonic() - self._last >= seconds:
            self.write(text)

    def write_start(self, name: str, epochs: int, steps: int) -> None:
        """Write that training starts or goes on, if a line is due."""
        self.write_if_due(f"{name}: training starts, {epochs} epochs of {steps} steps")

    def write_step(self, name: str, epoch: int, epochs: int, step: int, steps: int) -> None:
        """Write how many steps of an epoch are done, if no line was written for a minute."""
        self.write_if_due(f"{name}: epoch {epoch + 1} of {epochs}, step {step} of {steps}", SECONDS_WITHOUT_A_LINE)

    def write_epoch(self, name: str, epochs: int, record: Mapping[str, Any], counts: str = "") -> None:
        """Write the history record of an epoch that ended, if a line is due."""
        loss = record.get("loss", math.nan)
        self.write_if_due(
            f"{name}: epoch {record['epoch'] + 1} of {epochs}, loss {loss:.4f}, {self.reached(record)}{counts}"
            f"{self.time_left()}"
        )

    def reached(self, record: Mapping[str, Any]) -> str:
        """Return the metric in the record of an epoch or of a run, in words."""
        metric = metric_shown(self.metric, record)
        return f"{metric.title(self.images)} {metric.text(metric.scale * record.get(metric.key, math.nan))}"

    def time_left(self) -> str:
        """Return how long the epochs that are left take, or "" if it is not known."""
        if not self.done or self.left <= 0:
            return ""
        minutes, seconds = divmod(round((time.monotonic() - self.began) / self.done * self.left), 60)
        return f"; about {minutes}:{seconds:02d} minutes left"


class Display:
    """Draws on a terminal while it is entered. Elsewhere it draws nothing, and writes lines."""

    _lines: Lines
    _drawn: Live
    _read: set[str]
    _states: Sequence[str] = ()  # of the pairs of specs, a line each

    def __enter__(self) -> Self:
        if not self._lines.needed:
            self._drawn.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._lines.needed:  # bars that are not drawn end with an empty line in Rich before 14
            return
        with suppress(OSError, ValueError):  # the terminal is gone
            self._drawn.stop()

    def read(self, sentences: Sequence[str]) -> None:
        """Write once, above what is drawn and without folding, what was read as data, and possible mistakes there."""
        for sentence in sentences:
            if sentence not in self._read:
                self._lines.console.print(sentence, soft_wrap=True, highlight=False, markup=False)
                self._read.add(sentence)

    def looked(self, states: Sequence[str], runs: int, epochs: int) -> None:
        """Show the state of each pair of specs."""
        news = [state for state in states if state not in self._states]
        self._states = states
        self._lines.left += epochs
        if self._lines.needed and news:
            self._lines.write("\n".join(news))

    def drawn_states(self) -> Text:
        """Return the state of each pair of specs as it is drawn."""
        return Text("\n".join(self._states), no_wrap=True, overflow="ellipsis")


class LiveProgress(Display, Progress):
    """Shows two bars: all epochs of all runs with the time left, and the steps of the current epoch.

    Without a terminal it writes lines: one when a run ends, and others if the last one is ten seconds old.

    Args:
        console: Where to draw.
        epochs: The number of epochs of all runs together.
        images: The word for the images that runs are evaluated on, see `tfnorm.training.runs.evaluated_on`.
        metric: The setting of that name.
    """

    def __init__(self, console: Console, epochs: int, images: str = "test", metric: str | None = None) -> None:
        self._lines = Lines(console, images, epochs, metric)
        self._bars = Bars(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"), console=console, auto_refresh=False,
        )  # fmt: skip
        self._drawn = Live(get_renderable=self.render, console=console, transient=True, refresh_per_second=10)
        self._all = self._bars.add_task("epochs of all runs", total=epochs, note="")
        self._one = self._bars.add_task("starting", total=None, note="")
        self._epochs = self._steps = 0
        self._read = set()

    def render(self) -> Group:
        """Return the bars, below the state of each pair of specs where seeds are added."""
        bars = self._bars.get_renderable()
        return Group(self.drawn_states(), bars) if self._states else Group(bars)

    def looked(self, states: Sequence[str], runs: int, epochs: int) -> None:
        """Show the state of each pair of specs, and count the epochs that come next."""
        super().looked(states, runs, epochs)
        total = self._bars.tasks[self._all].total or 0
        self._bars.update(self._all, total=total + epochs)

    def skipped(self, run: Path, epochs: int) -> None:
        """Count epochs that were on disk already."""
        self._lines.left -= epochs
        self._bars.advance(self._all, epochs)

    def started(self, run: Path, epochs: int, steps: int) -> None:
        """Show that training starts or goes on."""
        self._epochs, self._steps = epochs, steps
        self._bars.reset(self._one, total=steps, description=f"{run.parent.name} {run.name}", note="building the graph")
        self._lines.write_start(_name(run), epochs, steps)

    def stepped(self, run: Path, epoch: int, step: int) -> None:
        """Show how many steps of an epoch are done."""
        self._bars.update(self._one, completed=step, note=f"epoch {epoch + 1}")
        self._lines.write_step(_name(run), epoch, self._epochs, step, self._steps)

    def epoch_ended(self, run: Path, record: Mapping[str, Any]) -> None:
        """Show the history record of an epoch."""
        self._lines.done += 1
        self._lines.left -= 1
        self._bars.advance(self._all)
        self._bars.update(self._all, note=self._lines.reached(record))
        self._lines.write_epoch(_name(run), self._epochs, record)

    def finished(self, run: Path, result: Mapping[str, Any]) -> None:
        """Show the result. Epochs that early stopping saved count as done."""
        saved = self._epochs - result["epochs"]
        self._lines.left -= saved
        self._bars.advance(self._all, saved)
        if self._lines.needed:
            ended = f"{_name(run)}: {result['status']} after {result['epochs']} epochs"
            self._lines.write(f"{ended}, {self._lines.reached(result)}{self._lines.time_left()}")


def _name(run: Path) -> str:
    """Return the name of a run in lines: spec and seed."""
    return f"{run.parent.name}/{run.name}"
