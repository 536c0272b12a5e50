"""Progress events of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Progress:
    """Receives progress events of runs. This class ignores them; subclasses show them."""

    def read(self, sentences: Sequence[str]) -> None:
        """Receive sentences about the data that were read, and about possible mistakes in them."""

    def skipped(self, run: Path, epochs: int) -> None:
        """Receive the number of epochs that were on disk already."""

    def started(self, run: Path, epochs: int, steps: int) -> None:
        """Receive the start of the training: epochs in all, and steps per epoch."""

    def stepped(self, run: Path, epoch: int, step: int) -> None:
        """Receive the number of steps that are done in an epoch, which is counted from 0."""

    def epoch_ended(self, run: Path, record: Mapping[str, Any]) -> None:
        """Receive the history record of an epoch."""

    def finished(self, run: Path, result: Mapping[str, Any]) -> None:
        """Receive the result, with the metric after the last epoch, such as ``val_accuracy``."""

    def looked(self, states: Sequence[str], runs: int, epochs: int) -> None:
        """Receive a line for each pair of specs after a round of seeds, and how many runs and epochs come next."""
