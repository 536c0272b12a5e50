"""Reading the model files of Keras 2 without running or unpacking anything in them."""

from __future__ import annotations

import json
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from tfnorm.convert.tfa.hdf5 import MAGIC, Hdf5, OtherFormError
from tfnorm.errors import TfnormError

ZIP_MAGIC = b"PK\x03\x04"
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
LAYERS, LAYERS_2_13 = "layers", "_layer_checkpoint_dependencies"  # where an archive keeps the layers of a model
# Keras does not pack the entries of an archive. One that someone packed may unpack to this many times its size.
MOST_EXPANSION = 100
SMALL = 1 << 20  # bytes that an entry may unpack to in any case


@dataclass(frozen=True)
class SavedFile:
    """What a file holds: ``groups`` if it is ordered by layers (.h5), ``arrays`` if by attributes (.keras)."""

    where: str  # its path, for messages
    config: dict[str, Any] | None  # the description of the model, None in a file of weights alone
    version: str | None  # of the Keras that wrote it, None if it does not say so
    # The name and the weights, by name, of each layer that has any.
    groups: list[tuple[str, list[tuple[str, np.ndarray]]]] | None = None
    arrays: dict[str, np.ndarray] | None = None  # the weights by path
    doubled: bool = False  # whether `arrays` counts layers with weights twice, as Keras 2.12 and 2.13 do


def read_file(path: str | os.PathLike[str]) -> SavedFile:
    """Return the description and the weights in a file of Keras 2, or raise a `TfnormError`."""
    path = Path(path)
    where = str(path)
    if path.is_dir():
        raise TfnormError(
            f"{where} must be an .h5 or .keras file. Received a folder, such as TensorFlow's SavedModel, which is "
            "code. Load it where it was written and save it again with model.save('model.h5')."
        )
    with _reading(where):
        with open(path, "rb") as file:
            magic = file.read(len(MAGIC))
        if magic == MAGIC:
            return _read_h5(where, Hdf5(path))
        if magic.startswith(ZIP_MAGIC):
            with zipfile.ZipFile(path) as archive:
                return _read_keras(where, archive, path.stat().st_size)
    raise TfnormError(
        f"{where} must be an .h5 or .keras file. It begins with the bytes {magic!r}, which are those of neither. "
        "Load the model where it was written and save it again with model.save('model.h5')."
    )


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the description of a model that `model.to_json` wrote to a file, with the version that wrote it."""
    with _reading(str(path)):
        config = _parsed(Path(path).read_bytes())
    _check_writer(str(path), config.get("keras_version"), config.get("backend"))
    return config


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turn what a damaged file raises, which may be an exception of nearly any class, into one sentence."""
    try:
        yield
    except TfnormError:
        raise
    except FileNotFoundError:
        raise TfnormError(f"There is no file {where}. Check the path.") from None
    except PermissionError as error:
        raise TfnormError(f"{where} cannot be opened: permission denied. Change its permissions.") from error
    except OtherFormError as error:
        raise _refused(where, error) from error
    except Exception as error:
        raise TfnormError(f"{where} is damaged or cut short ({reason(error)}). Copy or save it again.") from error


def reason(error: Exception) -> str:
    """Return the line of an error that says what is wrong."""
    lines = re.sub(r"\x1b\[\d*m", "", str(error)).split("\n")
    told = (line.strip() for line in lines if line.strip() and not line.startswith("Exception encountered"))
    return next(told, type(error).__name__)


def _refused(where: str, what: object) -> TfnormError:
    return TfnormError(
        f"{where} is not read, since Keras writes no such file: {what}. If you trust it, load the model where it was "
        "written and save it again with model.save('model.h5')."
    )


def _parsed(text: bytes | str) -> dict[str, Any]:
    config = json.loads(text)
    if not isinstance(config, dict):
        raise ValueError("the description of the model is no JSON object")
    return config


def _check_writer(where: str, version: object, backend: object = None) -> None:
    """Raise a `TfnormError` unless Keras 2 wrote a file, with TensorFlow."""
    if str(version).startswith("3"):
        raise TfnormError(f"{where} was written by Keras {version}. Open it with keras.saving.load_model.")
    if str(version).startswith(("0", "1")):
        raise TfnormError(
            f"{where} was written by Keras {version}, whose settings and weights are in another order. Only files of "
            "Keras 2 are read. Open it with Keras 2.2 and save it again with model.save('model.h5')."
        )
    if backend not in (None, "tensorflow"):
        raise TfnormError(
            f"{where} was written by Keras with {backend}, which convolves and pads in another way. Open it with Keras "
            "2.2 and TensorFlow and save it again with model.save('model.h5')."
        )


# The archive of Keras 2.13 to 2.15.


def _read_keras(where: str, archive: zipfile.ZipFile, size: int) -> SavedFile:
    for entry in archive.infolist():
        parts = entry.filename.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise _refused(where, f"the entry {entry.filename!r} leads outside of it")
    names = archive.namelist()
    if missing := [name for name in (CONFIG, WEIGHTS) if name not in names]:
        raise TfnormError(
            f"{where} must hold {CONFIG} and {WEIGHTS}. Missing: {', '.join(missing)}. "
            "Load the model where it was written and save it again with model.save('model.keras')."
        )

    def entry(name: str) -> bytes:
        info = archive.getinfo(name)
        if info.file_size > max(MOST_EXPANSION * min(info.compress_size, size), SMALL):
            raise _refused(where, f"the entry {name} claims {info.file_size} bytes and stores {info.compress_size}")
        return archive.read(info)

    version = _parsed(entry(METADATA)).get("keras_version") if METADATA in names else None
    _check_writer(where, version)
    config = _parsed(entry(CONFIG))
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, WEIGHTS)
        weights.write_bytes(entry(WEIGHTS))
        return _by_attributes(where, Hdf5(weights), config, version)


# HDF5.


def _read_h5(where: str, file: Hdf5) -> SavedFile:
    version, described = _text(file, "keras_version"), _text(file, "model_config")
    config = None if described is None else _parsed(described)
    if config is not None and version is None:
        version = config.get("keras_version", "1.1 or older")
    _check_writer(where, version, _text(file, "backend"))
    root = "" if config is None else "model_weights"
    if (names := _texts(file, root, "layer_names")) is not None:
        groups = []
        for layer in names:
            group = f"{root}/{layer}" if root else layer
            if weights := _texts(file, group, "weight_names"):
                groups.append((layer, [(name, file.array(f"{group}/{name}")) for name in weights]))
        return SavedFile(where, config, version, groups=groups)
    if config is None and (LAYERS in file.found or LAYERS_2_13 in file.found):
        return _by_attributes(where, file, None, version)
    held = [path for path in file.found if path and "/" not in path]
    raise TfnormError(
        f"{where} must hold a model or the weights of one, as Keras 2 saves them. Received an HDF5 file with "
        f"{', '.join(held[:5]) or 'nothing'} in it. Give the file that model.save or model.save_weights wrote."
    )


def _by_attributes(where: str, file: Hdf5, config: dict[str, Any] | None, version: str | None) -> SavedFile:
    """Return a file that is ordered by attributes, without the weights of optimizer and metrics."""
    doubled = LAYERS_2_13 in file.found
    stored = file.arrays(LAYERS_2_13 if doubled else LAYERS)
    arrays = {f"{LAYERS}/{path.replace(LAYERS_2_13, LAYERS)}": array for path, array in stored}
    return SavedFile(where, config, version, arrays=arrays, doubled=doubled)


def _text(file: Hdf5, name: str) -> str | None:
    """Return a string among the attributes of the file, or None."""
    return next(iter(file.texts("").get(name, [])), None)


def _texts(file: Hdf5, group: str, name: str) -> list[str] | None:
    """Return a list of strings among the attributes of a group, or None. A long list is in pieces with numbers."""
    texts = file.texts(group)
    pieces = [texts[each] for each in (name, *(f"{name}{index}" for index in range(len(texts)))) if each in texts]
    return list(chain(*pieces)) if pieces else None
