"""A run's folder on disk.

::

    config.json       what was really trained, read back from the built model
    history.jsonl     one line an epoch
    checkpoint/       the state after the last epochs: weights, optimizer, random seeds; the weights of the best epochs
    model.keras       the trained network, without augmentation
    best.keras        the network after the epoch of the highest test accuracy
    predictions.npz   logits of the test set
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

from tfnorm.datasets import list_datasets
from tfnorm.errors import RunError
from tfnorm.files import write_text, write_whole
from tfnorm.history import read_history
from tfnorm.training.recipe.recipes import complete

if TYPE_CHECKING:
    import numpy as np

SCHEMA_VERSION = 1
KEPT_CHECKPOINTS = 2
# Settings that decide which data a run has and nothing else: what the data are called, then how they are read.
SPELLING = ("dataset", "image_size", "skip_damaged")
CONFIG_NAME = "config.json"
# What each file must have: key to type, or to what the mapping there must have.
Needed = Mapping[str, Any]
ASKED: Needed = {"asked": {"norm": str, "seed": int, "recipe": {}}}
# What tells whether a run is the one that is asked for.
IDENTITY: Needed = {"asked": {}, "data": {"fingerprint": str, "class_names": [str]}}
CONFIG: Needed = {
    "asked": {"norm": str, "seed": int, "arch": str, "dataset": str, "epochs": int, "recipe": {"name": str}},
    "trainable_parameters": int,
    "layers": [{"name": str, "class": str, "shape": list}],
    "regularized": {},
    "initial_kernels": str,
    "data": {
        "name": str, "fingerprint": str, "train_images": int, "test_images": int, "input_shape": list,
        "num_classes": int, "class_names": [str],
    },
    "versions": {"tfnorm": str, "keras": str, "backend": str, "numpy": str, "python": str},
    "machine": {"processor": str, "cores": (int, type(None))},
    "started": str,
}  # fmt: skip
RESULT: Needed = {"status": str, "best_epoch": (int, type(None)), "misclassified": (int, type(None))}
# What an epoch's line must have.
MEASURES = (
    "data_loss", "accuracy", "val_data_loss", "val_accuracy", "penalty", "seconds", "images_per_second",
)  # fmt: skip


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with the schema's version, whole or not at all."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **content}, indent=2, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path, needed: Needed | None = None) -> dict[str, Any]:
    """Read a JSON object written by `write_json`.

    Args:
        path: The file.
        needed: The keys that it must have, each with its type or what is needed within.

    Raises:
        RunError: If it cannot be read, or lacks a key; the sentence says how little will mend it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RunError(f"The file {path} cannot be read: {error.strerror or error}. {mend(path, error)}") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"The file {path} is damaged: {error}. {mend(path)}") from None
    if not isinstance(content, dict) or "schema_version" not in content:
        if path.name == CONFIG_NAME:
            raise RunError(f"The file {path} is none that tfnorm wrote. Choose another folder.")
        raise RunError(f"The file {path} is damaged: it has no 'schema_version'. {mend(path)}")
    if content["schema_version"] != SCHEMA_VERSION:
        raise RunError(
            f"The file {path} has schema version {content['schema_version']}, and this tfnorm reads {SCHEMA_VERSION}. "
            "Use the tfnorm that wrote it, or choose another folder."
        )
    wrong = lacking(content, needed or {})
    if wrong:
        raise RunError(f"The file {path} is damaged: {wrong}. {mend(path)}")
    return content


def lacking(content: Mapping[str, Any], needed: Needed, within: str = "") -> str:
    """Return what a mapping lacks, in words, or "" if it has all that is needed."""
    for key, kind in needed.items():
        name = f"{within}{key}"
        if key not in content:
            return f"it has no {name!r}"
        value = content[key]
        if isinstance(kind, Mapping) and isinstance(value, dict):
            if found := lacking(value, kind, f"{name}."):
                return found
        elif isinstance(kind, Mapping):
            return f"{name!r} is {value!r:.40}"
        elif isinstance(kind, list) and isinstance(value, list):
            for item in value:
                if found := lacking({"": item}, {"": kind[0]}, name):
                    return found
        elif isinstance(kind, list):
            return f"{name!r} is {value!r:.40}"
        elif not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            return f"{name!r} is {value!r:.40}"
    return ""


def mend(path: Path, error: OSError | None = None) -> str:
    """Return the least that helps where a file of a run cannot be read.

    Args:
        path: The file.
        error: What the system said, if it is not its content.

    Example:
        >>> mend(Path("bn/seed-0/result.json"))
        'Delete this file alone. The trained weights stay, and the command that began the run writes it again.'
    """
    if isinstance(error, PermissionError):
        return f"Nothing is lost. Ask its owner for the right to read it, or, if it is yours: chmod u+rX {path}"
    if isinstance(error, IsADirectoryError):
        then = mend(path) if path.name == CONFIG_NAME else "Then give the command that began the run again."
        return f"A folder is in its place. Move that folder elsewhere. {then}"
    if error is not None and not isinstance(error, FileNotFoundError):
        return "Check the disk or the connection to it. Nothing needs to be deleted."
    if path.name == CONFIG_NAME:
        return (
            "Only this file says what was trained. Restore it from a copy. If there is none, move the folder "
            f"{path.parent} elsewhere, which deletes nothing, and give the command again."
        )
    if path.name in ("result.json", "sweep.json"):
        what = "trained weights stay" if path.name == "result.json" else "runs stay"
        began = "run" if path.name == "result.json" else "sweep"
        return f"Delete this file alone. The {what}, and the command that began the {began} writes it again."
    return "Delete this file alone. It is written again, and no training is lost."


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
        return self.path / CONFIG_NAME

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

    def check(
        self,
        asked: Mapping[str, Any],
        data: str | None = None,
        classes: Sequence[str] | None = None,
        *,
        early: bool = False,
    ) -> None:
        """Raise a `RunError` if the folder holds a run of another configuration, or on other data.

        Data are the same if their fingerprints are, whatever they are called and wherever they lie.

        Args:
            asked: The configuration.
            data: The fingerprint of the data, if they are loaded.
            classes: The names of their classes, if they are loaded.
            early: If `True`, whether the data are the same is left for when they are loaded, as far as files and
                folders are concerned.
        """
        self.check_config()
        if not self.config_path.exists():
            return
        config = self.read_config(IDENTITY)
        if self.finished:  # now, and not after hours of other runs
            read_json(self.result_path, RESULT)
        there, now = flat_settings(config["asked"]), flat_settings(asked)
        fingerprint = config["data"]["fingerprint"]
        if data is not None:
            there["fingerprint of the data"], now["fingerprint of the data"] = fingerprint, data
        if early or data == fingerprint:
            known = early and all(name in list_datasets() for name in (there.get("dataset"), now.get("dataset")))
            for key in SPELLING[1:] if known else SPELLING:
                there.pop(key, None)
                now.pop(key, None)
        for number, (was, named) in enumerate(zip(config["data"]["class_names"], classes or (), strict=False)):
            there[f"class {number}"], now[f"class {number}"] = was, named
        differing = [
            f"{key} is {there.get(key)!r} there and {now.get(key)!r} now"
            for key in sorted({*there, *now})
            if there.get(key) != now.get(key)
        ]
        if differing:
            raise RunError(
                f"The folder {self.path} holds a run with another configuration: {'; '.join(differing)}. "
                "Choose another output folder."
            )

    def read_config(self, needed: Needed) -> dict[str, Any]:
        """Return what ``config.json`` has, without a setting that earlier versions had.

        Args:
            needed: See `read_json`; ``asked`` is part of it.

        Raises:
            RunError: If the file cannot be read, or the run learned from a teacher, as earlier versions let it.
        """
        config = read_json(self.config_path, needed)
        asked = config["asked"]
        if "teacher" in asked:
            raise RunError(
                f"The run in {self.path} was trained with a teacher, which this tfnorm does not have: choose another "
                "folder."
            )
        if isinstance(asked.get("recipe"), dict):
            asked["recipe"].pop("temperature", None)  # without a teacher it did nothing
        return config

    def check_config(self) -> None:
        """Raise a `RunError` if something was trained here, and nothing says what."""
        if not self.config_path.exists() and (self.finished or self._checkpoints("epoch")):
            raise RunError(
                f"The folder {self.path} holds a run, but its {CONFIG_NAME} is not there. {mend(self.config_path)}"
            )

    def check_threads(self, threads: int | None) -> None:
        """Raise a `RunError` if the run was begun with another number of threads, which changes last digits.

        Args:
            threads: That of now; None is as many as there are cores.
        """
        if not self.config_path.exists():
            return
        there = read_json(self.config_path, {"machine": {}})["machine"].get("threads")
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
        records = self.read_history()
        recorded = next((i for i, record in enumerate(records) if record["epoch"] != i), len(records))
        for done, state in self._undamaged("epoch"):
            best = best_epoch(records[:done])
            if done <= recorded and (best is None or self.load_best(best + 1) is not None):
                return done, state
        return None

    def read_history(self) -> list[dict[str, Any]]:
        """Return the records of the epochs, none if the file is gone.

        Raises:
            RunError: If it cannot be read.
        """
        try:
            return read_history(self.history_path)
        except FileNotFoundError:
            return []
        except OSError as error:
            reason = f"{error.strerror or error}. {mend(self.history_path, error)}"
            raise RunError(f"The file {self.history_path} cannot be read: {reason}") from None

    def read_measures(self) -> list[dict[str, Any]]:
        """Return the records of the epochs, each with all `MEASURES`.

        Raises:
            RunError: If the history cannot be read, or a line lacks a measure.
        """
        path, records = self.history_path, self.read_history()
        for number, record in enumerate(records, start=1):
            odd = [key for key in MEASURES if not isinstance(record.get(key), int | float)]
            if odd:
                raise RunError(
                    f"Line {number} of {path} is damaged: {odd[0]!r} is {record.get(odd[0])!r:.40}. Restore the file "
                    "from a copy. Without one, delete that line and all after it, and result.json: their epochs are "
                    "trained again from the checkpoint before them, or from the beginning if there is none."
                )
        return records

    def _undamaged(self, kind: str) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Yield epochs done and arrays of the files of a kind, the newest first."""
        import numpy as np

        for path in reversed(self._checkpoints(kind)):
            content = path.read_bytes()
            if path.stem.endswith(_digest(content)):
                with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                    yield _epochs_of(path), {name: arrays[name] for name in arrays.files}

    def _checkpoints(self, kind: str) -> list[Path]:
        return sorted((self.path / "checkpoint").glob(f"{kind}-{'[0-9]' * 5}-*.npz"))


def _epochs_of(path: Path) -> int:
    return int(path.stem.split("-")[1])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def flat_settings(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the recipe's settings beside it, each once; its title decides nothing."""
    recipe = asked.get("recipe", {})
    recipe = complete(recipe if isinstance(recipe, Mapping) else {})
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
