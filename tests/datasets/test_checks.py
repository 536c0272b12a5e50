import zipfile

import numpy as np
import pytest

from tfnorm.datasets import load
from tfnorm.errors import DataError

# Most of these images have one colour.
pytestmark = pytest.mark.filterwarnings("ignore::tfnorm.datasets.DataWarning")

BASE = {
    "x_train": np.zeros((4, 3, 3), "uint8"),
    "y_train": np.array([0, 1, 0, 1]),
    "x_test": np.zeros((2, 3, 3), "uint8"),
    "y_test": np.array([0, 1]),
}


def floats(value, shape=(4, 3, 3)):
    x = np.zeros(shape, "float32")
    x[2, 1, 1] = value
    return x


CASES = {
    "ndim": (
        {"x_train": np.zeros((4, 9), "uint8")},
        "x_train must have shape (images, height, width) or (images, height, width, channels). "
        "Received: shape (4, 9). Reshape it.",
    ),
    "scalar": (
        {"x_test": np.zeros((), "uint8")},
        "x_test must have shape (images, height, width) or (images, height, width, channels). "
        "Received: shape (). Reshape it.",
    ),
    "bool": (
        {"x_train": np.zeros((4, 3, 3), bool)},
        "x_train must hold numbers, uint8 in 0..255. Received: dtype bool. Convert it with x_train.astype('uint8').",
    ),
    "complex": (
        {"x_test": np.zeros((2, 3, 3), complex)},
        "x_test must hold numbers, uint8 in 0..255. Received: dtype complex128. "
        "Convert it with x_test.astype('uint8').",
    ),
    "nan": (
        {"x_train": floats(np.nan)},
        "x_train must hold finite pixels. Received NaN or infinity. Replace or remove those images.",
    ),
    "infinity": (
        {"x_train": floats(np.inf)},
        "x_train must hold finite pixels. Received NaN or infinity. Replace or remove those images.",
    ),
    "normalized": (
        {"x_train": floats(-1.5)},
        "pixels must lie in 0..255, or be floats in 0..1. Received: x_train in -1.5..0. "
        "Undo the normalization and save the images as uint8.",
    ),
    "wide": (
        {"x_train": floats(300).astype("uint16")},
        "pixels must lie in 0..255, or be floats in 0..1. Received: x_train in 0..300. "
        "Undo the normalization and save the images as uint8.",
    ),
    "fractions": (
        {"x_train": floats(12.5)},
        "float pixels must be whole numbers in 0..255, or all lie in 0..1. Received: 12.5 in x_train, whose values "
        "reach 12.5. Round the images to uint8.",
    ),
    "one set of fractions": (
        {"x_train": floats(0.5)},
        "float pixels must be whole numbers in 0..255, or all lie in 0..1. Received: 0.5 in x_train, whose values "
        "reach 0.5. Round the images to uint8.",
    ),
    "no images": (
        {"x_test": np.zeros((0, 3, 3), "uint8"), "y_test": np.zeros(0, int)},
        "x_test must hold at least one image. Received: shape (0, 3, 3). Add images.",
    ),
    "channels first": (
        {"x_train": np.zeros((4, 3, 32, 32), "uint8")},
        "x_train must have its channels last. Received: shape (4, 3, 32, 32), which looks like (images, channels, "
        "height, width). Transpose it with x_train.transpose(0, 2, 3, 1).",
    ),
    "no pixels": (
        {"x_train": np.zeros((4, 0, 3), "uint8")},
        "the images of x_train must have at least one pixel. Received: shape (4, 0, 3). Save the images again.",
    ),
    "lengths": (
        {"y_train": np.array([0, 1, 0])},
        "x_train and y_train must have the same length. Received: 4 images and 3 labels. Give one label an image.",
    ),
    "test lengths": (
        {"y_test": np.array([0, 1, 0])},
        "x_test and y_test must have the same length. Received: 2 images and 3 labels. Give one label an image.",
    ),
    "shapes": (
        {"x_test": np.zeros((2, 3, 4, 3), "uint8")},
        "training and test images must have one shape (height, width, channels). Received: (3, 3, 1) and (3, 4, 3). "
        "Resize or convert one of them.",
    ),
    "one-hot": (
        {"y_train": np.eye(2)[[0, 1, 0, 1]]},
        "y_train must have shape (images,). Received: shape (4, 2), which looks one-hot. Pass y_train.argmax(axis=1).",
    ),
    "label ndim": (
        {"y_train": np.zeros((4, 1, 1), int)},
        "y_train must have shape (images,). Received: shape (4, 1, 1). Give one label an image.",
    ),
    "strings": (
        {"y_train": np.array(["a", "b", "a", "b"])},
        "y_train must hold integers 0..K-1. Received: dtype <U1. "
        "Number the classes, and put their names in an array class_names.",
    ),
    "label fractions": (
        {"y_train": np.array([0, 1, 0.5, 1])},
        "y_train must hold whole numbers. Received: 0.5. Number the classes 0..K-1.",
    ),
    "label nan": (
        {"y_test": np.array([0, np.nan])},
        "y_test must hold finite labels. Received NaN or infinity. Remove those images.",
    ),
    "negative": (
        {"y_train": np.array([0, 1, -1, 1])},
        "y_train must hold labels 0..K-1. Received: -1. Number the classes from 0.",
    ),
    "huge": (
        {"y_train": np.array([0, 1, 1e30, 1])},
        "y_train must hold labels 0..K-1. Received: 1e+30. Number the classes from 0.",
    ),
    "empty class": (
        {"y_train": np.array([0, 2, 0, 3])},
        "every class 0..3 must have a training image. Received none of class 1. "
        "Number the classes 0..K-1 without gaps.",
    ),
    "from one": (
        {"y_train": np.array([1, 2, 1, 2])},
        "every class 0..2 must have a training image. Received none of class 0. "
        "Number the classes 0..K-1 without gaps.",
    ),
    "huge gap": (
        {"y_train": np.array([0, 1, 0, 10**12])},
        "every class 0..1000000000000 must have a training image. Received none of class 2. "
        "Number the classes 0..K-1 without gaps.",
    ),
    "one class": (
        {"y_train": np.zeros(4, int), "y_test": np.zeros(2, int)},
        "there must be at least two classes. Received: 1. Add images of another class.",
    ),
    "test label": (
        {"y_test": np.array([0, 5])},
        "test labels must be among the 2 training classes, 0..1. Received: 5 in y_test. "
        "Remove those images or add the class to the training set.",
    ),
    "few names": (
        {"class_names": np.array(["cat"])},
        "class_names must name every class. Received: 1 names and the label 1. Add the missing names.",
    ),
    "many names": (
        {"class_names": np.array(["cat", "dog", "cow"])},
        "every class 0..2 must have a training image. Received none of class 2. "
        "Number the classes 0..K-1 without gaps.",
    ),
    "names that are numbers": (
        {"class_names": np.array([1, 2])},
        "class_names must be a list of strings. Received: dtype int64, shape (2,). Save numpy.array([...names...]).",
    ),
    "pickled images": (
        {"x_train": np.array([None] * 4)},
        "x_train must be a plain array. Received pickled Python objects, which can run code when loaded and are "
        "refused. Save x_train as numbers of one shape.",
    ),
    "pickled names": (
        {"class_names": np.array(["cat", "dog"], object)},
        "class_names must be a plain array. Received pickled Python objects, which can run code when loaded and are "
        "refused. Save class_names as numbers of one shape.",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_broken_rule_has_its_sentence(tmp_path, case):
    changes, sentence = CASES[case]
    path = tmp_path / "data.npz"
    np.savez(path, **{**BASE, **changes})
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {sentence}"


SHAPES = {
    "looks like channels first": [
        (3, 32, 48),
        (1, 28, 20),
        (1, 28, 28),
        (3, 5, 5),
        (4, 64, 32),
        (2, 16, 8),
        (3, 224, 224),
    ],
    "channels last, or either": [
        (32, 48, 3),
        (28, 28, 1),
        (3, 3, 1),
        (4, 4, 4),
        (3, 3, 200),
        (1, 128, 6),
        (16, 32, 48),
    ],
}


@pytest.mark.parametrize("shape", SHAPES["looks like channels first"])
@pytest.mark.parametrize("part", ["x_train", "x_test"])
def test_channels_that_come_first_are_refused_whatever_the_sides(tmp_path, part, shape):
    other = "x_test" if part == "x_train" else "x_train"
    images = {part: shape, other: (*shape[1:], shape[0])}
    arrays = {key: np.zeros((len(BASE[key]), *sides), "uint8") for key, sides in images.items()}
    np.savez(tmp_path / "a.npz", **{**BASE, **arrays})
    text = refusal(tmp_path / "a.npz")
    assert f"{part}.transpose(0, 2, 3, 1)" in text and str((len(BASE[part]), *shape)) in text


@pytest.mark.parametrize("shape", SHAPES["channels last, or either"])
def test_what_may_be_channels_last_is_taken_as_such(tmp_path, shape):
    arrays = {key: np.zeros((len(BASE[key]), *shape), "uint8") for key in ("x_train", "x_test")}
    np.savez(tmp_path / "a.npz", **{**BASE, **arrays})
    data = load(tmp_path / "a.npz")
    assert data.input_shape == shape and f"{shape[2]} channel" in data.reading.summary


def test_a_part_that_was_scaled_alone_is_said(tmp_path):
    x_test = np.eye(3)[None].repeat(2, 0)
    np.savez(tmp_path / "a.npz", **{**BASE, "x_train": floats(255), "x_test": x_test})
    assert any(
        "training images is 255" in note and "test images 1" in note for note in load(tmp_path / "a.npz").reading.notes
    )


def test_base_case_is_accepted(tmp_path):
    np.savez(tmp_path / "data.npz", **BASE)
    assert load(tmp_path / "data.npz").num_classes == 2


def test_missing_arrays_are_named(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, images=np.zeros(3), y_train=np.zeros(3))
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path} must hold the arrays x_train, y_train, x_test, y_test. Received: images, y_train; missing: x_train, "
        "x_test, y_test. Save it with numpy.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)."
    )


def damaged(path, error):
    return (
        f"{path} must be a NumPy .npz archive. It is damaged, cut short or of another kind ({error}). "
        "Copy or save it again."
    )


def refusal(path):
    with pytest.raises(DataError) as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"\x80\x04N."])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    assert refusal(path) == damaged(path, "File is not a zip file")


@pytest.mark.parametrize("writer", [np.savez, np.savez_compressed])
def test_a_file_cut_anywhere_is_refused(tmp_path, writer):
    path = tmp_path / "data.npz"
    writer(path, **BASE)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        assert refusal(path) == damaged(path, "File is not a zip file")


def test_flipped_bytes_fail_the_checksum(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, **BASE)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("x_train.npy")
    content[entry.header_offset + 30 + len("x_train.npy") + entry.file_size - 1 + 20] ^= 1
    path.write_bytes(content)
    assert refusal(path) == damaged(path, "Bad CRC-32 for file 'x_train.npy'")


def test_a_header_that_claims_too_much_allocates_nothing(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, **BASE)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    header, claim = b"(4, 3, 3), }", b"(4000000000000, 3, 3), }"
    padding = b" " * (len(claim) - len(header))
    claimed = entries["x_train.npy"].replace(header + padding, claim)
    assert len(claimed) == len(entries["x_train.npy"])
    entries["x_train.npy"] = claimed
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    assert refusal(path) == damaged(path, "x_train holds 36 bytes, which is not its shape (4000000000000, 3, 3)")
