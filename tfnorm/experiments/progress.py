"""The progress events of many runs."""

from __future__ import annotations

from pathlib import Path

from tfnorm.training.progress import Progress


class SweepProgress(Progress):
    """Receives the progress events of a sweep. This one ignores them."""

    def planned(self, waiting: int, finished: int, epochs: int) -> None:
        """Receive how many runs wait, how many are finished already, and the epochs of those that wait."""

    def sent(self, run: Path, pid: int) -> None:
        """Receive that a process begins a run."""

    def interrupted(self, run: Path, sentence: str) -> None:
        """Receive that a run waits again, and the reason."""

    def failed(self, run: Path, sentence: str) -> None:
        """Receive that a run failed, and the reason."""
