"""The file of a teacher: a trained network whose answers another one learns. Imports no Keras.

Knowledge distillation, arXiv 1503.02531, without labels and with the teacher looking at the same augmented image as the
network that learns, as in arXiv 2106.05237: in each step the network is moved towards the teacher's probabilities, both
at the recipe's temperature. A small network that has no room for its training set often gains more by it than by any
other change of its recipe.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

from tfnorm.errors import RunError, TfnormError
from tfnorm.training.folder import RunFolder, read_json

MODEL = "model.keras"


def teacher_file(path: Path) -> Path:
    """Return the ``.keras`` file that a teacher is given by.

    Args:
        path: That file, or the folder of a finished run.

    Raises:
        TfnormError: If there is no such file, or the run has not finished well.
    """
    try:
        path = path.expanduser()
    except RuntimeError as error:
        raise TfnormError(f"There is no teacher at {path}: {error}") from None
    if path.is_dir():
        folder = RunFolder(path)
        status = read_json(folder.result_path).get("status") if folder.finished else "not finished"
        if status != "finished":
            found = "a run that diverged" if status == "diverged" else "a folder without a finished run"
            raise TfnormError(
                f"A teacher is a trained network. Received: teacher={str(path)!r}, {found}. "
                f"Give the folder of a finished run, which has a {MODEL}, or a .keras file."
            )
        path = path / MODEL
        if not path.is_file():
            raise TfnormError(f"The run in {path.parent} is finished, but its {MODEL} is gone. Train it again.")
    if not path.is_file():
        raise TfnormError(f"There is no teacher at {path}. Give a .keras file, or the folder of a finished run.")
    return path


def check_holdout(path: Path, *, dataset: str, holdout: float) -> None:
    """Raise a `TfnormError` if images are held out that a teacher was trained on, as far as its run tells.

    Args:
        path: Its file.
        dataset: Of the network that learns.
        holdout: The share of it that is held out.
    """
    record = RunFolder(path.parent).config_path
    if not holdout or path.name not in (MODEL, "best.keras") or not record.exists():
        return
    asked = read_json(record, {"asked": {"dataset": str, "holdout": (int, float)}})["asked"]
    same = asked["dataset"] == dataset or Path(asked["dataset"]).resolve() == Path(dataset).resolve()
    if same and asked["holdout"] != holdout:
        raise TfnormError(
            f"The teacher {path} was trained with holdout={asked['holdout']}, so that it has seen images that "
            f"holdout={holdout} holds out. Train one with the same holdout."
        )


def teacher_fingerprint(path: Path) -> str:
    """Return a hash of the network in a ``.keras`` file and of its weights: of what it computes, not of the file."""
    try:
        status = path.stat()
        return _fingerprint(path, status.st_mtime_ns, status.st_size)
    except (OSError, LookupError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise RunError(
            f"The teacher {path} cannot be read as a .keras file: {error}. Give one that model.save(...) wrote."
        ) from None


@functools.lru_cache(maxsize=32)
def _fingerprint(path: Path, changed: int, size: int) -> str:
    import h5py

    digest = hashlib.sha256()

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer/"):
            digest.update(f"{name} {item.dtype} {item.shape}".encode())
            digest.update(item[()].tobytes())

    with zipfile.ZipFile(path) as archive:
        network = json.loads(archive.read("config.json"))["config"]
        digest.update(json.dumps(_lasting(network), sort_keys=True).encode())
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
            weights.visititems(add)
    return digest.hexdigest()[:16]


def _lasting(config: Any) -> Any:
    """Return a configuration without the addresses in memory that Keras writes into it."""
    if isinstance(config, dict):
        return {key: _lasting(value) for key, value in config.items() if key != "shared_object_id"}
    return [_lasting(value) for value in config] if isinstance(config, list) else config
