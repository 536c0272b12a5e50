"""The file of a teacher: a trained network whose answers another one learns. Imports no Keras.

Knowledge distillation, arXiv 1503.02531, without labels and with the teacher looking at the same augmented image as the
network that learns, as in arXiv 2106.05237: in each step the network is moved towards the teacher's probabilities, both
at the recipe's temperature. A small network that has no room for its training set often gains more by it than by any
other change of its recipe.
"""

from __future__ import annotations

import functools
import hashlib
import zipfile
from pathlib import Path

from tfnorm.errors import RunError, TfnormError

MODEL = "model.keras"
# The files in a .keras file that say what is computed; the third has the time at which it was saved.
PARTS = ("config.json", "model.weights.h5")


def teacher_file(path: Path) -> Path:
    """Return the ``.keras`` file that a teacher is given by.

    Args:
        path: That file, or the folder of a finished run.

    Raises:
        TfnormError: If there is no such file.
    """
    path = path.expanduser()
    if path.is_dir():
        if not (path / "result.json").exists():
            raise TfnormError(
                f"A teacher is a trained network. Received: teacher={str(path)!r}, a folder without a finished run. "
                f"Give the folder of one, which has a {MODEL}, or a .keras file."
            )
        path = path / MODEL
    if not path.is_file():
        raise TfnormError(f"There is no teacher at {path}. Give a .keras file, or the folder of a finished run.")
    return path


def teacher_fingerprint(path: Path) -> str:
    """Return a hash of the network in a ``.keras`` file and of its weights, whenever it was saved."""
    try:
        status = path.stat()
        return _fingerprint(path, status.st_mtime_ns, status.st_size)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise RunError(
            f"The teacher {path} cannot be read as a .keras file: {error}. Give one that model.save(...) wrote."
        ) from None


@functools.lru_cache(maxsize=32)
def _fingerprint(path: Path, changed: int, size: int) -> str:
    digest = hashlib.sha256()
    with zipfile.ZipFile(path) as archive:
        for part in PARTS:
            digest.update(archive.read(part))
    return digest.hexdigest()[:16]
