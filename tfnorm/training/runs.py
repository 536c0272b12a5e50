"""A finished run, read from its folder."""

from __future__ import annotations

import functools
import hashlib
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfnorm.errors import RunError
from tfnorm.metrics.known import recorded_metric
from tfnorm.metrics.metric import ACCURACY, Metric
from tfnorm.models.saved import open_model, own_objects
from tfnorm.training.folder import CONFIG, RESULT, RunFolder
from tfnorm.training.records import mend, read_json

if TYPE_CHECKING:
    import pandas as pd

CLOCKS = ("seconds", "train_seconds", "images_per_second")


class Run:
    """A finished run, read from its folder ``path``."""

    def __init__(self, path: str | Path) -> None:
        self.folder = RunFolder(path)
        self.path = self.folder.path
        self.folder.check_config()
        if not self.folder.config_path.exists():
            raise RunError(f"There is no run in {self.path}. Give the folder of one, which has a config.json.")
        if not self.folder.finished:
            raise RunError(f"The run in {self.path} is not finished. The command that began it goes on with it.")
        self.config = self.folder.read_config(CONFIG)
        if "metric" in self.config:  # not in folders of earlier versions, which are about accuracy
            self.folder.read_config({"metric": {"name": str, "direction": str}})
        self.result = read_json(self.folder.result_path, RESULT)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.label}, seed {self.seed}, {self.status})"

    @property
    def label(self) -> str:
        """The norm spec."""
        return self.config["asked"]["norm"]

    @property
    def seed(self) -> int:
        """The seed."""
        return self.config["asked"]["seed"]

    @property
    def images(self) -> str:
        """Word for the images that were evaluated on: "test", or "held-out" for those held out from training."""
        return evaluated_on(self.config["asked"]["holdout"])

    @property
    def multi_label(self) -> bool:
        """Whether the images have several labels each, or none, in place of one class."""
        return bool(self.config["data"].get("multi_label"))

    @property
    def metric(self) -> Metric:
        """What the run is about."""
        return recorded_metric(self.config.get("metric"))

    @property
    def status(self) -> str:
        """The word "finished", or "diverged" where the loss, or an output at the end, stopped being a number."""
        return self.result["status"]

    @functools.cached_property
    def history(self) -> pd.DataFrame:
        """One row per epoch: losses, accuracies, learning rate, seconds.

        Raises:
            RunError: If epochs are missing.
        """
        import pandas as pd  # start-up

        needed = {self.metric.key, *(() if self.multi_label else ("accuracy", "val_accuracy"))}
        records, epochs = self.folder.read_measures(*sorted(needed)), self.result["epochs"]
        if len(records) != epochs:
            raise RunError(
                f"The history of the {self.status} run in {self.path} has {len(records)} of its {epochs} epochs. "
                f"Restore {self.folder.history_path.name} from a copy. Without one, delete result.json in that folder: "
                "the command that began the run trains the missing epochs again, from the last checkpoint before them "
                "or from the beginning."
            )
        return pd.DataFrame(records).set_index("epoch")

    @property
    def logits(self) -> np.ndarray:
        """Logits of the test set, float32 of shape (images, classes).

        Raises:
            RunError: If the file cannot be read.
        """
        return self._predictions[0]

    @property
    def labels(self) -> np.ndarray:
        """True classes of the test set, (images,), or 0 and 1 of several labels, (images, classes).

        Raises the same errors as `logits`.
        """
        return self._predictions[1]

    @property
    def _predictions(self) -> tuple[np.ndarray, np.ndarray]:
        path = self.folder.predictions_path
        try:
            with np.load(path, allow_pickle=False) as arrays:
                logits, labels = arrays["logits"], arrays["y_true"]
            expected = logits.shape if self.multi_label else logits.shape[:1]
            if logits.ndim == 2 and labels.shape == expected and np.issubdtype(labels.dtype, np.integer):
                return logits, labels
            reason = f"its logits are {logits.shape} and its classes {labels.shape} {labels.dtype}"
        except PermissionError as error:
            raise RunError(f"The file {path} cannot be read: {error.strerror}. {mend(path, error)}") from None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            reason = str(error)
        moved = "Move the folder in its place elsewhere, and delete" if path.is_dir() else "Delete"
        raise RunError(
            f"The file {path} cannot be read: {reason}. {moved} result.json in that folder to write it again. The "
            "trained weights stay."
        )

    @property
    def record(self) -> str:
        """Where everything about the run is: its page at Weights & Biases if it has one, else its folder."""
        try:
            url = read_json(self.path / "tracking.json", {"url": str})["url"]
        except RunError:  # not there, damaged, or without a page: the folder is a record too
            url = ""
        return url or str(self.path)

    def load_model(self, *, best: bool = False, imports: Sequence[str] = (), allow_lambda: bool = False) -> Any:
        """Return the trained `keras.Model`.

        Args:
            best: If `True`, the model after the epoch of the best metric, by default the highest test accuracy. If
                `False`, after the last epoch.
            imports: Modules and Python files that define layers of your own.
            allow_lambda: Whether to run the code of Lambda layers.

        Raises:
            RunError: If the file does not exist or cannot be opened. A run that diverged in its first epoch has no best
                model.
        """
        path = self.path / ("best.keras" if best else "model.keras")
        if not path.exists():
            raise RunError(f"There is no {path.name} in {self.path}, whose run is {self.status}.")
        with own_objects(imports):
            return open_model(path, imports=imports, allow_lambda=allow_lambda, error=RunError)


def outcome(path: str | Path) -> dict[str, str]:
    """Return text or hash of each part of a run that must be the same whenever it is trained on the same machine."""
    run = Run(path)
    records = run.folder.read_history()
    history = [{key: value for key, value in record.items() if key not in CLOCKS} for record in records]
    _, state, weights = run.folder.checkpoints.load(records, run.metric) or (0, {}, None)
    # Arrays are hashed in their order without their names, because Keras goes on counting in the names of variables.
    return {
        "history": json.dumps(history, sort_keys=True),
        "result": json.dumps(run.result, sort_keys=True),
        "state": fingerprint(list(state.values())),
        "best": fingerprint(list((weights or {}).values())),
        "predictions": fingerprint([run.logits, run.labels]),
    }


def check_same_data(runs: Sequence[Run]) -> None:
    """Raise a RunError unless all runs were trained on the same data."""
    for run in runs[1:]:
        if run.config["data"]["fingerprint"] != runs[0].config["data"]["fingerprint"]:
            raise RunError(
                f"The runs in {runs[0].path} and {run.path} were trained on different data. "
                "Move one of them elsewhere to train it again."
            )


def shared_metric(runs: Sequence[Run]) -> Metric:
    """Return the metric that all runs are about, or raise a RunError if they are about several."""
    for run in runs[1:]:
        if run.metric != runs[0].metric:
            raise RunError(
                f"Runs are compared by one metric. Received: {runs[0].metric.column} in {runs[0].path}, and "
                f"{run.metric.column} in {run.path}. Give runs with the same metric."
            )
    return runs[0].metric if runs else ACCURACY


def slug(text: str) -> str:
    """Return ``text`` as a file name without characters that shells treat specially.

    Example:
        >>> slug("gn:2+l1=5e-4")
        'gn-2_l1-5e-4'
    """
    return "".join(c if c.isalnum() or c in "-_." else {"+": "_"}.get(c, "-") for c in text)


def evaluated_on(holdout: float) -> str:
    """Return the word for the images that a run is evaluated on: "test", or "held-out" for a part of the training set.

    Example:
        >>> evaluated_on(0.1)
        'held-out'
    """
    return "held-out" if holdout else "test"


def fingerprint(arrays: Sequence[np.ndarray]) -> str:
    """Return a short hash of arrays, their shapes and types."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
