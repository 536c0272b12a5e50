"""Who is told what a run does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Progress:
    """What a run tells whoever watches it; this one says nothing."""

    def read(self, sentences: Sequence[str]) -> None:
        """Tell what was read as data, and what may be a mistake there."""

    def skipped(self, run: Path, epochs: int) -> None:
        """Tell that ``epochs`` epochs were on disk already."""

    def started(self, run: Path, epochs: int, steps: int) -> None:
        """Tell that training starts or goes on: epochs in all, and steps an epoch."""

    def stepped(self, run: Path, epoch: int, step: int) -> None:
        """Tell that ``step`` steps of ``epoch``, counted from 0, are done."""

    def epoch_ended(self, run: Path, record: Mapping[str, Any]) -> None:
        """Tell the history record of an epoch."""

    def finished(self, run: Path, result: Mapping[str, Any]) -> None:
        """Tell the result, and the accuracy of the last epoch as ``val_accuracy``."""
