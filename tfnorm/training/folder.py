"""A run's folder on disk.

::

    config.json       what was trained, read back from the built model
    history.jsonl     one line per epoch
    checkpoint/       the state after the last epochs: weights, optimizer, random seeds; the weights of the best epochs
    model.keras       the trained network, without augmentation
    best.keras        the network after the epoch of the highest test accuracy, or the best value of another metric
    predictions.npz   logits of the test set
    misclassified.png
    result.json       written last: a run that has it is finished

Files are written whole to a temporary name, flushed to disk and renamed, so that none is ever half there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfnorm.datasets import list_datasets
from tfnorm.errors import RunError
from tfnorm.history import read_history
from tfnorm.training.checkpoint import Checkpoints
from tfnorm.training.records import CONFIG_NAME, Needed, mend, read_json

# Settings that say how data are read: arguments of `tfnorm.datasets.load`.
READING = ("resize", "fit", "test_share", "groups", "follow_links", "skip_damaged")
# Settings that only decide which data a run has: what the data are called, then how they are read.
SPELLING = ("dataset", "image_size", *READING)
# Settings that a pipeline decides unless they are given; its fingerprint has them.
OF_DATA = ("batch_size", "augmentation")
ASKED: Needed = {"asked": {"norm": str, "seed": int, "recipe": {}}}
# What tells whether a run is the one that is asked for.
IDENTITY: Needed = {"asked": {"recipe": {}}, "data": {"fingerprint": str, "class_names": [str]}}
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
    "keras_settings": {},
    "started": str,
}  # fmt: skip
RESULT: Needed = {"status": str, "epochs": int, "best_epoch": (int, type(None)), "misclassified": (int, type(None))}
# What the line of an epoch must have.
MEASURES = ("data_loss", "val_data_loss", "penalty", "seconds", "images_per_second")


def check_place(folder: str | Path) -> None:
    """Raise a `RunError` if a folder cannot be made because a file is in its place."""
    for path in (Path(folder), *Path(folder).parents):
        if path.exists():
            if not path.is_dir():
                raise RunError(f"Results need a folder. Received: {path}, which is a file. Choose another place.")
            return


class RunFolder:
    """The files of one run, in a folder that need not exist yet."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_path = self.path / CONFIG_NAME
        self.history_path = self.path / "history.jsonl"
        self.result_path = self.path / "result.json"
        self.predictions_path = self.path / "predictions.npz"
        self.checkpoints = Checkpoints(self.path / "checkpoint")

    @property
    def finished(self) -> bool:
        """If `True`, the run has ended, diverged ones included."""
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
            data: The fingerprint of the data, or None if they cannot be loaded.
            classes: The names of their classes, if they are loaded.
            early: If `True`, the data are not loaded yet, and those in files and folders are not compared.
        """
        self.check_config()
        if not self.config_path.exists():
            return
        config = self.read_config(IDENTITY)
        if self.finished:  # now, and not after hours of other runs
            read_json(self.result_path, RESULT)
        there, now = flat_settings(config["asked"]), flat_settings(asked)
        for what, key, mark in (("model", "arch", "model_hash"), ("data", "dataset", "data_hash")):
            if there.get(key) == now.get(key) and there.pop(mark, None) != now.pop(mark, None):
                raise RunError(
                    f"The files of the {what} {now[key]} have changed since the run in {self.path} began. Restore them "
                    "as they were, or choose another output folder."
                )
        for key in OF_DATA:
            if now.get(key, "") is None:
                there.pop(key, None)
                now.pop(key)
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
        """Return the content of ``config.json``, of which ``asked`` and its ``recipe`` are needed.

        Raises:
            RunError: If the file cannot be read, or if the run learned from a teacher, which tfnorm no longer supports.
        """
        config = read_json(self.config_path, needed)
        if "teacher" in config["asked"]:
            raise RunError(
                f"The run in {self.path} was trained with a teacher, which this tfnorm does not have. Choose another "
                "folder."
            )
        config["asked"]["recipe"].pop("temperature", None)  # it had no effect without a teacher
        return config

    def check_config(self) -> None:
        """Raise a `RunError` if something was trained here, and no file says what."""
        if not self.config_path.exists() and (self.finished or self.checkpoints):
            raise RunError(
                f"The folder {self.path} holds a run, but its {CONFIG_NAME} is not there. {mend(self.config_path)}"
            )

    def check_threads(self, threads: int | None) -> None:
        """Raise a `RunError` if the run was begun with another number of threads; None stands for all cores."""
        if not self.config_path.exists():
            return
        there = read_json(self.config_path, {"machine": {}})["machine"].get("threads")
        if there != threads:
            words = {None: "all threads, without `jobs`", 1: "one thread each, with `jobs`"}
            was, now = (words.get(count, f"{count} threads") for count in (there, threads))
            raise RunError(
                f"The run in {self.path} was trained with {was}, and now it would be {now}, which changes last "
                "digits. Do as before, or choose another output folder."
            )

    def tidy(self) -> None:
        """Delete files that a killed process left half written."""
        for leftover in [*self.path.glob(".*.tmp*"), *self.checkpoints.path.glob(".*.tmp*")]:
            leftover.unlink(missing_ok=True)

    def read_history(self) -> list[dict[str, Any]]:
        """Return the records of the epochs, none if the file is gone."""
        try:
            return read_history(self.history_path)
        except FileNotFoundError:
            return []
        except OSError as error:
            reason = f"{error.strerror or error}. {mend(self.history_path, error)}"
            raise RunError(f"The file {self.history_path} cannot be read: {reason}") from None

    def read_measures(self, *others: str) -> list[dict[str, Any]]:
        """Return the records of the epochs, or raise a `RunError` if one lacks a number of `MEASURES` or ``others``."""
        records = self.read_history()
        for number, record in enumerate(records, start=1):
            for key in (*MEASURES, *others):
                if not isinstance(record.get(key), int | float):
                    raise RunError(
                        f"Line {number} of {self.history_path} is damaged: {key!r} is {record.get(key)!r:.40}. Restore "
                        "the file from a copy. Without one, delete that line and all after it, and result.json: their "
                        "epochs are trained again from the checkpoint before them, or from the beginning if there is "
                        "none."
                    )
        return records


def flat_settings(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the recipe's settings beside it, each once. The recipe's title is left out."""
    recipe = {f"recipe {key}": value for key, value in asked["recipe"].items() if key not in ("title", *asked)}
    return {**recipe, **asked, "recipe": None}
