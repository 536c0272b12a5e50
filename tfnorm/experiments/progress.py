"""What whoever watches many runs is told."""

from __future__ import annotations

from pathlib import Path

from tfnorm.training.progress import Progress


class SweepProgress(Progress):
    """What a sweep tells whoever watches it; this one says nothing."""

    def planned(self, waiting: int, finished: int, epochs: int) -> None:
        """Tell how many runs wait, how many are finished already, and the epochs of those that wait."""

    def sent(self, run: Path, pid: int) -> None:
        """Tell that a process begins a run."""

    def interrupted(self, run: Path, sentence: str) -> None:
        """Tell that a run waits again, and why."""

    def failed(self, run: Path, sentence: str) -> None:
        """Tell that a run failed, and why."""
