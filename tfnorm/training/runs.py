"""A run's folder on disk.

::

    config.json       what was really trained, read back from the built model
    history.jsonl     one line an epoch
    checkpoint/       the state after the last epochs: weights, optimizer, random seeds
    model.keras       the trained network, without augmentation
    predictions.npz   logits of the test set
    misclassified.png
    result.json       written last: a run that has it is finished

Files are written whole to a temporary name, flushed to disk and renamed, so that none is ever half there.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfnorm.errors import RunError
from tfnorm.files import write_whole
from tfnorm.history import read_history

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SCHEMA_VERSION = 1
KEPT_CHECKPOINTS = 2


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with the schema's version, whole or not at all."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **content}, indent=2, allow_nan=False)
    write_whole(path, (text + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object written by `write_json`."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"The file {path} cannot be read: {error}. Delete its folder to run again.") from None
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
        version = content.get("schema_version") if isinstance(content, dict) else None
        raise RunError(
            f"The file {path} has schema version {version}, and this tfnorm reads {SCHEMA_VERSION}. "
            "Use the tfnorm that wrote it, or delete its folder to run again."
        )
    return content


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
        there, now = _settings(config.get("asked", {})), _settings(asked)
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

    def sweep(self) -> None:
        """Delete files that a killed process left half written."""
        for leftover in [*self.path.glob(".*.tmp*"), *self.path.glob("checkpoint/.*.tmp")]:
            leftover.unlink(missing_ok=True)

    def save_checkpoint(self, epochs: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Save the state after ``epochs`` epochs and delete all but the last few.

        Args:
            epochs: Epochs done.
            arrays: The state by name.
        """
        import numpy as np

        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()[:16]
        write_whole(self.path / "checkpoint" / f"epoch-{epochs:05d}-{digest}.npz", content)
        for old in self._checkpoints()[:-KEPT_CHECKPOINTS]:
            old.unlink(missing_ok=True)

    def load_checkpoint(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """Return epochs done and state of the newest checkpoint to go on from, or None if there is none.

        Those that are damaged are passed over, and those that the history does not reach, which would have a gap.

        Raises:
            RunError: If the history is damaged.
        """
        import numpy as np

        recorded = self._epochs_recorded()
        for path in reversed(self._checkpoints()):
            _, epochs, digest = path.stem.split("-")
            if int(epochs) > recorded:
                continue
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest()[:16] == digest:
                with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                    return int(epochs), {name: arrays[name] for name in arrays.files}
        return None

    def _epochs_recorded(self) -> int:
        """Return how many epochs from the first on are in the history."""
        if not self.history_path.exists():
            return 0
        epochs = [record["epoch"] for record in read_history(self.history_path)]
        return next((i for i, epoch in enumerate(epochs) if epoch != i), len(epochs))

    def _checkpoints(self) -> list[Path]:
        return sorted((self.path / "checkpoint").glob("epoch-*-*.npz"))


def _settings(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the recipe's settings beside it, each once."""
    recipe = asked.get("recipe", {})
    return {**{f"recipe {key}": value for key, value in recipe.items() if key not in asked}, **asked, "recipe": None}


class Run:
    """A finished run, read from its folder.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.folder = RunFolder(path)
        self.path = self.folder.path
        self.config = read_json(self.folder.config_path)
        self.result = read_json(self.folder.result_path)

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
    def status(self) -> str:
        """The word "finished", or "diverged" where the loss stopped being a number."""
        return self.result["status"]

    @property
    def history(self) -> pd.DataFrame:
        """One row an epoch: losses, accuracies, learning rate, seconds.

        Raises:
            RunError: If epochs are missing.
        """
        import pandas as pd

        records = read_history(self.folder.history_path)
        epochs = self.config["asked"]["epochs"]
        if self.status == "finished" and len(records) != epochs:
            raise RunError(
                f"The history of the finished run in {self.path} has {len(records)} of its {epochs} epochs. "
                "Delete result.json in that folder to train the missing ones again."
            )
        return pd.DataFrame(records).set_index("epoch")

    @property
    def logits(self) -> np.ndarray:
        """Logits of the test set, (images, classes) float32."""
        return self._predictions("logits")

    @property
    def labels(self) -> np.ndarray:
        """True classes of the test set, (images,)."""
        return self._predictions("y_true")

    def _predictions(self, name: str) -> np.ndarray:
        import numpy as np

        with np.load(self.folder.predictions_path, allow_pickle=False) as arrays:
            return arrays[name]

    def load_model(self) -> Any:
        """Return the trained `keras.Model`."""
        import keras

        import tfnorm.layers
        import tfnorm.regularizers  # noqa: F401 - registers the classes in the file

        return keras.models.load_model(self.path / "model.keras")


def slug(text: str) -> str:
    """Return ``text`` as a file name that shells leave alone.

    Example:
        >>> slug("gn:2+l1=5e-4")
        'gn-2_l1-5e-4'
    """
    return "".join(c if c.isalnum() or c in "-_." else {"+": "_"}.get(c, "-") for c in text)


def fingerprint(arrays: Sequence[np.ndarray]) -> str:
    """Return a short hash of arrays, their shapes and types."""
    import numpy as np

    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
