"""A run's folder on disk.

::

    config.json       what was really trained, read back from the built model
    history.jsonl     one line an epoch
    checkpoint/       the state after the last epochs: weights, optimizer, random seeds; the weights of the best epochs
    model.keras       the trained network, without augmentation
    best.keras        the network after the epoch of the highest test accuracy
    predictions.npz   logits of the test set
    views.json        accuracy over several views of each image, where it was asked for
    misclassified.png
    result.json       written last: a run that has it is finished

Files are written whole to a temporary name, flushed to disk and renamed, so that none is ever half there.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfnorm.errors import RunError
from tfnorm.files import write_text, write_whole
from tfnorm.history import read_history
from tfnorm.training.recipes import complete

if TYPE_CHECKING:
    import numpy as np

SCHEMA_VERSION = 1
KEPT_CHECKPOINTS = 2
# Without these a run is nothing.
NEEDED = ("config.json", "result.json")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with the schema's version, whole or not at all."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **content}, indent=2, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object written by `write_json`."""
    mend = "delete its folder to run again" if path.name in NEEDED else "delete that file"
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise RunError(f"The file {path} cannot be read: {error}. {mend.capitalize()}.") from None
    if not isinstance(content, dict) or "schema_version" not in content:
        raise RunError(f"The file {path} is none that tfnorm wrote. Choose another folder.")
    if content["schema_version"] != SCHEMA_VERSION:
        raise RunError(
            f"The file {path} has schema version {content['schema_version']}, and this tfnorm reads {SCHEMA_VERSION}. "
            f"Use the tfnorm that wrote it, or {mend}."
        )
    return content


def check_place(folder: str | Path) -> None:
    """Raise a `RunError` if a folder cannot be made because a file is in its place."""
    for path in (Path(folder), *Path(folder).parents):
        if path.exists():
            if not path.is_dir():
                raise RunError(f"Results need a folder. Received: {path}, which is a file. Choose another place.")
            return


class RunFolder:
    """The files of one run.

    Args:
        path: The folder; it need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def config_path(self) -> Path:
        """Where ``config.json`` is."""
        return self.path / "config.json"

    @property
    def history_path(self) -> Path:
        """Where ``history.jsonl`` is."""
        return self.path / "history.jsonl"

    @property
    def result_path(self) -> Path:
        """Where ``result.json`` is."""
        return self.path / "result.json"

    @property
    def predictions_path(self) -> Path:
        """Where ``predictions.npz`` is."""
        return self.path / "predictions.npz"

    @property
    def finished(self) -> bool:
        """Whether the run has ended, well or diverged."""
        return self.result_path.exists()

    def check(self, asked: Mapping[str, Any], data: str | None = None) -> None:
        """Raise a `RunError` if the folder holds a run of another configuration, or on other data.

        Args:
            asked: The configuration.
            data: The fingerprint of the data, if they are loaded.
        """
        if not self.config_path.exists():
            return
        config = read_json(self.config_path)
        there, now = flat_settings(config.get("asked", {})), flat_settings(asked)
        if data is not None:
            there["fingerprint of the data"], now["fingerprint of the data"] = config["data"]["fingerprint"], data
        differing = [
            f"{key} is {there.get(key)!r} there and {now.get(key)!r} now"
            for key in sorted({*there, *now})
            if there.get(key) != now.get(key)
        ]
        if differing:
            raise RunError(
                f"The folder {self.path} holds a run with another configuration: {'; '.join(differing)}. "
                "Choose another output folder, or delete that one."
            )

    def check_threads(self, threads: int | None) -> None:
        """Raise a `RunError` if the run was begun with another number of threads, which changes last digits.

        Args:
            threads: That of now; None is as many as there are cores.
        """
        if not self.config_path.exists():
            return
        there = read_json(self.config_path)["machine"].get("threads")
        if there != threads:
            was, now = (
                {None: "all threads, without `jobs`", 1: "one thread each, with `jobs`"}.get(count, f"{count} threads")
                for count in (there, threads)
            )
            raise RunError(
                f"The run in {self.path} was trained with {was}, and now it would be {now}, which changes last "
                "digits. Do as before, or choose another output folder."
            )

    def sweep(self) -> None:
        """Delete files that a killed process left half written."""
        for leftover in [*self.path.glob(".*.tmp*"), *self.path.glob("checkpoint/.*.tmp*")]:
            leftover.unlink(missing_ok=True)

    def save_checkpoint(self, epochs: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Save the state after ``epochs`` epochs and delete all but the last few.

        Args:
            epochs: Epochs done.
            arrays: The state by name.
        """
        self._save("epoch", epochs, arrays)

    def save_best(self, epochs: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Save the weights after ``epochs`` epochs, the best so far, before the checkpoint of that epoch.

        As many as checkpoints are kept, so that each checkpoint has the best of its time.
        """
        self._save("best", epochs, arrays)

    def load_best(self, epochs: int) -> dict[str, np.ndarray] | None:
        """Return the weights after ``epochs`` epochs if they were the best, or None."""
        return next((arrays for done, arrays in self._undamaged("best") if done == epochs), None)

    def forget_after(self, epochs: int) -> None:
        """Delete the states and the best weights of epochs after ``epochs``, which are about to be trained again."""
        for path in [*self._checkpoints("epoch"), *self._checkpoints("best")]:
            if _epochs_of(path) > epochs:
                path.unlink()

    def _save(self, kind: str, epochs: int, arrays: Mapping[str, np.ndarray]) -> None:
        import numpy as np

        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        content = buffer.getvalue()
        write_whole(self.path / "checkpoint" / f"{kind}-{epochs:05d}-{_digest(content)}.npz", content)
        for old in self._checkpoints(kind)[:-KEPT_CHECKPOINTS]:
            old.unlink(missing_ok=True)

    def load_checkpoint(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """Return epochs done and state of the newest checkpoint to go on from, or None if there is none.

        Those that are damaged are passed over, those whose best weights are, and those that the history does not reach,
        which would have a gap.

        Raises:
            RunError: If the history is damaged.
        """
        records = read_history(self.history_path) if self.history_path.exists() else []
        recorded = next((i for i, record in enumerate(records) if record["epoch"] != i), len(records))
        for done, state in self._undamaged("epoch"):
            best = best_epoch(records[:done])
            if done <= recorded and (best is None or self.load_best(best + 1) is not None):
                return done, state
        return None

    def _undamaged(self, kind: str) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Yield epochs done and arrays of the files of a kind, the newest first."""
        import numpy as np

        for path in reversed(self._checkpoints(kind)):
            content = path.read_bytes()
            if path.stem.endswith(_digest(content)):
                with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                    yield _epochs_of(path), {name: arrays[name] for name in arrays.files}

    def _checkpoints(self, kind: str) -> list[Path]:
        return sorted((self.path / "checkpoint").glob(f"{kind}-*-*.npz"))


def _epochs_of(path: Path) -> int:
    return int(path.stem.split("-")[1])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def flat_settings(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the recipe's settings beside it, each once; its title decides nothing."""
    recipe = complete(asked.get("recipe", {}))
    recipe.pop("title", None)
    return {**{f"recipe {key}": value for key, value in recipe.items() if key not in asked}, **asked, "recipe": None}


def best_epoch(records: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the first epoch of the highest test accuracy; None if no accuracy is a number.

    Example:
        >>> best_epoch([{"epoch": 0, "val_accuracy": 0.5}, {"epoch": 1, "val_accuracy": 0.5}])
        0
    """
    numbers = [record for record in records if math.isfinite(record.get("val_accuracy", math.nan))]
    return max(numbers, key=lambda record: record["val_accuracy"])["epoch"] if numbers else None
