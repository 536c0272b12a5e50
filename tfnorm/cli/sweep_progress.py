"""What the command line shows while the runs of a sweep are trained in other processes."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tfnorm.cli.run_progress import Display, Lines
from tfnorm.experiments.progress import SweepProgress
from tfnorm.metrics.known import metric_shown


@dataclass
class _Running:
    """How far a run is."""

    epochs: int = 0
    steps: int = 0
    epoch: int = 0
    step: int = 0
    record: Mapping[str, Any] = field(default_factory=dict)  # of its last epoch
    since: float = field(default_factory=time.monotonic)


class SweepDisplay(Display, SweepProgress):
    """Shows a table of the running runs, and how many wait, are finished and failed.

    Without a terminal it writes lines: one when a run ends, and others if the last one is ten seconds old.

    Args:
        console: Where to draw.
        root: The folder of the sweep. The names of runs are relative to it.
        images: The word for the images that runs are evaluated on, see `tfnorm.training.runs.evaluated_on`.
        metric: The setting of that name.
    """

    def __init__(self, console: Console, root: Path, images: str = "test", metric: str | None = None) -> None:
        self.console, self.root = console, root
        self._lines = Lines(console, images, metric=metric)
        self.running: dict[Path, _Running] = {}
        self.waiting = self.finished_runs = self.failed_runs = 0
        self.best: tuple[str, str] | None = None  # what it reached, and its name
        self._most = -math.inf
        self._read = set()
        self._drawn = Live(get_renderable=self.render, console=console, transient=True)

    def render(self) -> Group:
        """Return the counts and the table as they are now."""
        metric = metric_shown(
            self._lines.metric, next((each.record for each in self.running.values() if each.record), {})
        )
        best = f"; best so far {self.best[1]}: {self.best[0]}" if self.best else ""
        counts = f"{self._counts()}, {self.failed_runs} failed{best}{self._lines.time_left()}"
        table = Table()
        reached = metric.heading(self._lines.images)
        for heading in ("run", "epoch", "", reached, "seconds"):
            right = heading in (reached, "seconds")
            # Names are folded: the ends of two names could be all that differs.
            table.add_column(heading, justify="right" if right else "left", overflow="fold")
        for path, run in list(self.running.items()):
            epoch = f"{min(run.epoch + 1, run.epochs)} of {run.epochs}" if run.epochs else "starting"
            value = metric.number(metric.scale * run.record[metric.key]) if metric.key in run.record else ""
            done, width = run.epoch + run.step / max(run.steps, 1), 24 if self.console.width >= 100 else 6
            bar = ProgressBar(total=run.epochs or 1, completed=done, width=width)
            table.add_row(self._name(path), epoch, bar, value, f"{time.monotonic() - run.since:.0f}")
        states = [self.drawn_states()] if self._states else []
        return Group(*states, Text(counts, no_wrap=True, overflow="ellipsis"), table)

    def _counts(self) -> str:
        return f"{len(self.running)} at work, {self.waiting} waiting, {self.finished_runs} finished"

    def _name(self, run: Path) -> str:
        return str(run.relative_to(self.root)) if run.is_relative_to(self.root) else str(run)

    def planned(self, waiting: int, finished: int, epochs: int) -> None:
        """Show how many runs wait, how many are finished already, and the time that the others take."""
        self.waiting, self.finished_runs, self.best, self._most = waiting, finished, None, -math.inf
        self._lines.begin(epochs)
        if finished:
            self._lines.write(f"{finished} of {waiting + finished} runs are finished already")

    def looked(self, states: Sequence[str], runs: int, epochs: int) -> None:
        """Show the state of each pair of specs, and count the runs that come next."""
        super().looked(states, runs, epochs)
        self.waiting += runs

    def sent(self, run: Path, pid: int) -> None:
        """Show that a process begins a run."""
        self.waiting -= 1
        self.running[run] = _Running()

    def skipped(self, run: Path, epochs: int) -> None:
        """Count epochs that were on disk already."""
        self.running[run].epoch = epochs
        self._lines.left -= epochs

    def started(self, run: Path, epochs: int, steps: int) -> None:
        """Show that training starts or goes on."""
        self.running[run].epochs, self.running[run].steps = epochs, steps
        self._lines.write_start(self._name(run), epochs, steps)

    def stepped(self, run: Path, epoch: int, step: int) -> None:
        """Show how many steps of an epoch are done."""
        now = self.running[run]
        now.epoch, now.step = epoch, step
        self._lines.write_step(self._name(run), epoch, now.epochs, step, now.steps)

    def epoch_ended(self, run: Path, record: Mapping[str, Any]) -> None:
        """Show the history record of an epoch."""
        now = self.running[run]
        now.epoch, now.step, now.record = record["epoch"] + 1, 0, record
        self._lines.left -= 1
        self._lines.done += 1
        self._lines.write_epoch(self._name(run), now.epochs, record, f"; {self._counts()}")

    def finished(self, run: Path, result: Mapping[str, Any]) -> None:
        """Show the result."""
        self._end(run)
        self.finished_runs += 1
        metric = metric_shown(self._lines.metric, result)
        merit = metric.sign * result.get(metric.key, math.nan)
        if merit > self._most:
            self._most, self.best = merit, (metric.text(metric.scale * result[metric.key]), self._name(run))
        if self._lines.needed:
            total = self.waiting + len(self.running) + self.finished_runs + self.failed_runs
            ended = result["status"]
            if ended == "finished":
                ended = self._lines.reached(result)
            self._lines.write(f"{self.finished_runs} of {total} finished: {self._name(run)}, {ended}")

    def interrupted(self, run: Path, sentence: str) -> None:
        """Show that a run waits again, and the reason."""
        self._lines.left += self.running.pop(run).epoch
        self.waiting += 1
        self._lines.write(f"interrupted: {self._name(run)}. {sentence}")

    def failed(self, run: Path, sentence: str) -> None:
        """Show that a run failed, and the reason."""
        self._end(run)
        self.failed_runs += 1
        self._lines.write(f"failed: {self._name(run)}. {sentence}")

    def _end(self, run: Path) -> None:
        """Forget a run, and the epochs that it does not train any more."""
        ended = self.running.pop(run)
        self._lines.left -= ended.epochs - ended.epoch
