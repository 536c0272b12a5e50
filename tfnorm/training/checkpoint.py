"""The states that a run goes on from, and the weights of its best epochs, as files in its folder ``checkpoint``.

Each file is named for its kind, its number of epochs and a hash of its content, so that a damaged one is recognized.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfnorm.files import write_whole
from tfnorm.metrics.metric import ACCURACY, Metric

KEPT_CHECKPOINTS = 2


# Number of epochs done, the state, and the weights after the best of these epochs if a value is a number.
Checkpoint = tuple[int, dict[str, np.ndarray], dict[str, np.ndarray] | None]


class Checkpoints:
    """The checkpoints of a run, in a folder that need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self._files("epoch"))

    def save(self, epochs: int, state: Mapping[str, np.ndarray]) -> None:
        """Save the state after ``epochs`` epochs, and delete all but the last few."""
        self._save("epoch", epochs, state)

    def save_best(self, epochs: int, weights: Mapping[str, np.ndarray]) -> None:
        """Save the weights after ``epochs`` epochs, the best so far; call it before `save`.

        As many as checkpoints are kept, so that each checkpoint has the best weights of its time.
        """
        self._save("best", epochs, weights)

    def load(self, records: Sequence[Mapping[str, Any]], metric: Metric = ACCURACY) -> Checkpoint | None:
        """Return the newest checkpoint that a run about a metric can go on from, or None if there is none.

        A checkpoint is passed over if it or its best weights are damaged, or if the history lacks one of its epochs.
        """
        recorded = next((i for i, record in enumerate(records) if record["epoch"] != i), len(records))
        for epochs, state in self._undamaged("epoch"):
            if epochs <= recorded:
                best = best_epoch(records[:epochs], metric)
                weights = None if best is None else self.load_best(best + 1)
                if best is None or weights is not None:
                    return epochs, state, weights
        return None

    def load_best(self, epochs: int) -> dict[str, np.ndarray] | None:
        """Return the weights after ``epochs`` epochs if they were the best, or None."""
        return next((weights for _, weights in self._undamaged("best", epochs)), None)

    def forget_after(self, epochs: int) -> None:
        """Delete the states and the best weights of later epochs, which are about to be trained again."""
        for path in [*self._files("epoch"), *self._files("best")]:
            if _epochs_of(path) > epochs:
                path.unlink()

    def _save(self, kind: str, epochs: int, arrays: Mapping[str, np.ndarray]) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        content = buffer.getvalue()
        write_whole(self.path / f"{kind}-{epochs:05d}-{_digest(content)}.npz", content)
        for old in self._files(kind)[:-KEPT_CHECKPOINTS]:
            old.unlink(missing_ok=True)

    def _undamaged(self, kind: str, epochs: int | None = None) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Yield number of epochs and arrays of the files of a kind, the newest first."""
        for path in reversed(self._files(kind)):
            if epochs not in (None, _epochs_of(path)):
                continue
            content = path.read_bytes()
            if path.stem.endswith(_digest(content)):
                with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                    yield _epochs_of(path), {name: arrays[name] for name in arrays.files}

    def _files(self, kind: str) -> list[Path]:
        return sorted(self.path.glob(f"{kind}-{'[0-9]' * 5}-*.npz"))


def best_epoch(records: Sequence[Mapping[str, Any]], metric: Metric = ACCURACY) -> int | None:
    """Return the first epoch of the best test accuracy, or other metric, or None if no value is a number.

    Example:
        >>> best_epoch([{"epoch": 0, "val_accuracy": 0.5}, {"epoch": 1, "val_accuracy": 0.5}])
        0
    """
    numbers = [record for record in records if math.isfinite(record.get(metric.key, math.nan))]
    return max(numbers, key=lambda record: metric.sign * record[metric.key])["epoch"] if numbers else None


def _epochs_of(path: Path) -> int:
    return int(path.stem.split("-")[1])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
