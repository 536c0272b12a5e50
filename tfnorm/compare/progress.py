"""What the command line shows while runs go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from tfnorm.training.progress import Progress


class LiveProgress(Progress):
    """Two bars: all epochs of all runs with the time left, and the steps of the epoch at work.

    Args:
        console: Where to draw; one that is no terminal stays quiet.
        epochs: Epochs of all runs together.
        images: Word for the images that are evaluated on, see `tfnorm.training.runs.evaluated_on`.
    """

    def __init__(self, console: Console, epochs: int, images: str = "test") -> None:
        self._images = images
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._all = self._bars.add_task("epochs of all runs", total=epochs, note="")
        self._one = self._bars.add_task("starting", total=None, note="")
        self._epochs = 0

    def __enter__(self) -> LiveProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def read(self, sentences: Sequence[str]) -> None:
        """Tell what was read as data, and what may be a mistake there."""
        for sentence in sentences:
            self._bars.console.print(sentence, soft_wrap=True, highlight=False, markup=False)

    def skipped(self, run: Path, epochs: int) -> None:
        """Tell that ``epochs`` epochs were on disk already."""
        self._bars.advance(self._all, epochs)

    def finished(self, run: Path, result: Mapping[str, Any]) -> None:
        """Tell the result; epochs that early stopping saved are done with."""
        self._bars.advance(self._all, self._epochs - result["epochs"])

    def started(self, run: Path, epochs: int, steps: int) -> None:
        """Tell that training starts or goes on."""
        self._epochs = epochs
        name = f"{run.parent.name} {run.name}"
        self._bars.reset(self._one, total=steps, description=name, note="building the graph")

    def stepped(self, run: Path, epoch: int, step: int) -> None:
        """Tell that ``step`` steps of ``epoch`` are done."""
        self._bars.update(self._one, completed=step, note=f"epoch {epoch + 1}")

    def epoch_ended(self, run: Path, record: Mapping[str, Any]) -> None:
        """Tell the history record of an epoch."""
        self._bars.advance(self._all)
        accuracy = 100 * record.get("val_accuracy", float("nan"))
        self._bars.update(self._all, note=f"{self._images} accuracy {accuracy:.2f} %")
