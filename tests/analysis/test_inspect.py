"""Networks by name and by file."""

import math
import re
import zipfile

import keras
import pytest
from facts import says

from tfnorm import build
from tfnorm.analysis import summary
from tfnorm.analysis.inspect import inspect_architecture, inspect_file
from tfnorm.errors import ArchitectureError, TfnormError


def test_an_architecture_by_name():
    table = inspect_architecture("mnist_7k", "ln+l1=1e-4", input_shape="32x32x3", num_classes=7, batch_size=8)
    assert table.title == "mnist_7k, ln+l1=1e-4"
    assert table["image"].shape == (32, 32, 3) and table[-1].shape == (7,)
    assert table.batch_size == 8


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file(suffix, tmp_path):
    model = build("cifar_residual", norm="gn:4", compile=False)
    path = str(tmp_path / f"model{suffix}")
    model.save(path)
    table, expected = inspect_file(path, batch_size=2), summary(model, batch_size=2)
    assert table.title == f"cifar_residual ({path})"
    assert str(table).splitlines()[1:] == str(expected).splitlines()[1:]


def test_a_file_with_an_open_input(tmp_path):
    image = keras.Input((None, None, 3))
    path = str(tmp_path / "model.keras")
    keras.Model(image, keras.layers.Conv2D(4, 3)(image)).save(path)
    assert inspect_file(path, input_shape="10x12x3").multiply_adds == 8 * 10 * 27 * 4
    assert inspect_file(path).multiply_adds == 0


@pytest.mark.parametrize(
    ("open_shape", "given", "axes", "fields"),
    [
        ((None, 16), "128x16", ("steps",), [(1,), (3,), (128,)]),
        pytest.param(
            (None, None, 3),
            "24x32x3",
            ("height", "width"),
            [(1, 1), (3, 3), (24, 32)],
            marks=pytest.mark.matrix,
        ),
        ((None, None, None, 1), "16x24x32X1", ("depth", "height", "width"), [(1, 1, 1), (3, 3, 3), (16, 24, 32)]),
    ],
)
def test_files_of_every_number_of_axes(open_shape, given, axes, fields, tmp_path):
    rank = len(axes)
    image = keras.Input(open_shape)
    tensor = getattr(keras.layers, f"Conv{rank}D")(4, 3)(image)
    path = str(tmp_path / "model.keras")
    keras.Model(image, getattr(keras.layers, f"GlobalAveragePooling{rank}D")()(tensor)).save(path)
    table = inspect_file(path, input_shape=given)
    assert table.axes == axes and [row.receptive_field for row in table] == fields and not table.notes
    sides = [int(side) for side in given.lower().split("x")]
    assert table.multiply_adds == math.prod(side - 2 for side in sides[:-1]) * 3**rank * sides[-1] * 4
    opened = inspect_file(path)
    assert opened[1].receptive_field == fields[1] and "input_shape" in opened.notes[0]
    for wrong in ("28x28x28x28x1", "7"):
        with pytest.raises(TfnormError, match=re.escape(str(open_shape))):
            inspect_file(path, input_shape=wrong)
    for wrong in ("axb", "0x16", "12x", "-3x16", "2.5x16"):
        with pytest.raises(ArchitectureError, match=f"128x16.*{wrong}"):
            inspect_file(path, input_shape=wrong)


@pytest.mark.parametrize(
    ("make", "facts"),
    [
        (
            lambda folder: inspect_architecture("mnist_7k", input_shape="28x28"),
            ("28x28x1", "'28x28'"),
        ),
        (
            lambda folder: inspect_architecture("mnist_7k", batch_size=0),
            ("at least 1", "batch_size=0"),
        ),
        (
            lambda folder: inspect_file("nowhere.keras"),
            ("'nowhere.keras'", ".keras file", "architecture"),
        ),
    ],
)
def test_refused(make, facts, tmp_path):
    with pytest.raises(TfnormError) as caught:
        make(tmp_path)
    says(caught, *facts)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], None])
def test_an_archive_that_is_no_model(damage, tmp_path):
    path = tmp_path / "model.keras"
    if damage is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "no model")
    else:
        build("mnist_7k", compile=False).save(path)
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArchitectureError, match=f"{path.name}.* Keras model"):
        inspect_file(str(path))


def test_a_file_that_is_no_model(tmp_path):
    path = tmp_path / "x.h5"
    path.write_text("nothing")
    with pytest.raises(ArchitectureError, match=f"{path.name}.* Keras model"):
        inspect_file(str(path))
