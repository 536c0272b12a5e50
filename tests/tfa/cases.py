"""Opening the archives that write_fixtures.py writes, and changing what is in them."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from tfnorm.convert import load_tfa_model
from tfnorm.errors import TfnormError

HERE = Path(__file__).parent
FIXTURES = HERE / "fixtures"
# The weights alone come with the description of the model.
FILES = {"model.h5": None, "model.keras": None, "old.h5": "model.json", "new.weights.h5": "model.json"}


def found(folder=FIXTURES):
    """Return the names of the cases in a folder, those of older versions with the name of their folder."""
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.zip"))


def files(case, folder=FIXTURES):
    """Return the files of a case that hold a model or weights."""
    with zipfile.ZipFile(folder / f"{case}.zip") as archive:
        return [name for name in FILES if name in archive.namelist()]


def unpack(case, target, folder=FIXTURES):
    """Unpack a case into an empty folder and return that."""
    with zipfile.ZipFile(folder / f"{case}.zip") as archive:
        archive.extractall(target)
    return target


def load(folder, file, **options):
    """Return the model of a file of an unpacked case."""
    described = FILES[file] and folder / FILES[file]
    return load_tfa_model(folder / file, model=described, **options)


def arrays(folder, letter):
    """Return the inputs (x) or the outputs (y) of an unpacked case."""
    with np.load(folder / "arrays.npz") as stored:
        found = {name[2:]: stored[name] for name in stored.files if name.startswith(f"{letter}_")}
    if not next(iter(found)).isdigit():
        return found
    values = [found[str(index)] for index in range(len(found))]
    return values[0] if len(values) == 1 else values


def largest_difference(model, folder):
    """Return how far the outputs are from the real ones, relative to the largest number or 1."""
    expected = keras.tree.flatten(arrays(folder, "y"))
    outputs = keras.tree.flatten(model(arrays(folder, "x"), training=False))
    assert [output.shape for output in outputs] == [array.shape for array in expected]
    return max(
        float(np.abs(keras.ops.convert_to_numpy(output) - array).max() / max(1, np.abs(array).max()))
        for output, array in zip(outputs, expected, strict=True)
    )


def entries(path):
    """Return name to content of what a .keras file holds."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, held):
    """Write a .keras file that holds name to content, and return its path."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in held.items():
            archive.writestr(name, content)
    return path


def changed(path, change):
    """Rewrite a .keras file with its description changed."""
    held = entries(path)
    config = json.loads(held["config.json"])
    change(config["config"]["layers"])
    return write(path, {**held, "config.json": json.dumps(config).encode()})


def sentence(path, **options):
    """Return the error that opening a file ends with."""
    with pytest.raises(TfnormError) as caught:
        load_tfa_model(path, **options)
    return str(caught.value)
