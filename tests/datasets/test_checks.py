import zipfile

import numpy as np
import pytest
from facts import says

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
        ("x_train", "(images, height, width)", "shape (4, 9)", "Reshape"),
    ),
    "scalar": (
        {"x_test": np.zeros((), "uint8")},
        ("x_test", "(images, height, width)", "shape ()", "Reshape"),
    ),
    "bool": (
        {"x_train": np.zeros((4, 3, 3), bool)},
        ("x_train", "bool", "x_train.astype('uint8')"),
    ),
    "complex": (
        {"x_test": np.zeros((2, 3, 3), complex)},
        ("x_test", "complex128", "x_test.astype('uint8')"),
    ),
    "nan": (
        {"x_train": floats(np.nan)},
        ("x_train", "NaN or infinity", "Replace or remove"),
    ),
    "infinity": (
        {"x_train": floats(np.inf)},
        ("x_train", "NaN or infinity", "Replace or remove"),
    ),
    "normalized": (
        {"x_train": floats(-1.5)},
        ("0..255", "x_train", "-1.5..0", "Undo the normalization"),
    ),
    "wide": (
        {"x_train": floats(300).astype("uint16")},
        ("0..255", "x_train", "0..300", "Undo the normalization"),
    ),
    "fractions": (
        {"x_train": floats(12.5)},
        ("0..255", "12.5", "x_train", "Round"),
    ),
    "one set of fractions": (
        {"x_train": floats(0.5)},
        ("0..255", "0.5", "x_train", "Round"),
    ),
    "no images": (
        {"x_test": np.zeros((0, 3, 3), "uint8"), "y_test": np.zeros(0, int)},
        ("x_test", "at least one image", "(0, 3, 3)", "Add images"),
    ),
    "channels first": (
        {"x_train": np.zeros((4, 3, 32, 32), "uint8")},
        ("x_train", "channels last", "(4, 3, 32, 32)", "x_train.transpose(0, 2, 3, 1)"),
    ),
    "no pixels": (
        {"x_train": np.zeros((4, 0, 3), "uint8")},
        ("x_train", "pixel", "(4, 0, 3)", "Save the images again"),
    ),
    "lengths": (
        {"y_train": np.array([0, 1, 0])},
        ("x_train and y_train", "4 images", "3 labels", "one label an image"),
    ),
    "test lengths": (
        {"y_test": np.array([0, 1, 0])},
        ("x_test and y_test", "2 images", "3 labels", "one label an image"),
    ),
    "shapes": (
        {"x_test": np.zeros((2, 3, 4, 3), "uint8")},
        ("training", "test", "(3, 3, 1)", "(3, 4, 3)", "Resize or convert"),
    ),
    "one-hot": (
        {"y_train": np.eye(2)[[0, 1, 0, 1]]},
        ("y_train and y_test", "(4, 2)", "(2,)", "same columns"),
    ),
    "label ndim": (
        {"y_train": np.zeros((4, 1, 1), int)},
        ("y_train", "(images,)", "(4, 1, 1)", "one label an image"),
    ),
    "strings": (
        {"y_train": np.array(["a", "b", "a", "b"])},
        ("y_train", "<U1", "class_names"),
    ),
    "label fractions": (
        {"y_train": np.array([0, 1, 0.5, 1])},
        ("y_train", "0.5", "0..K-1"),
    ),
    "label nan": (
        {"y_test": np.array([0, np.nan])},
        ("y_test", "NaN or infinity", "Remove"),
    ),
    "negative": (
        {"y_train": np.array([0, 1, -1, 1])},
        ("y_train", "-1", "from 0"),
    ),
    "huge": (
        {"y_train": np.array([0, 1, 1e30, 1])},
        ("y_train", "1e+30", "from 0"),
    ),
    "empty class": (
        {"y_train": np.array([0, 2, 0, 3])},
        ("0..3", "class 1", "without gaps"),
    ),
    "from one": (
        {"y_train": np.array([1, 2, 1, 2])},
        ("0..2", "class 0", "without gaps"),
    ),
    "huge gap": (
        {"y_train": np.array([0, 1, 0, 10**12])},
        ("0..1000000000000", "class 2", "without gaps"),
    ),
    "one class": (
        {"y_train": np.zeros(4, int), "y_test": np.zeros(2, int)},
        ("two classes", "1", "Add images"),
    ),
    "test label": (
        {"y_test": np.array([0, 5])},
        ("0..1", "5", "y_test", "Remove", "add the class"),
    ),
    "few names": (
        {"class_names": np.array(["cat"])},
        ("class_names", "1 names", "label 1", "missing names"),
    ),
    "many names": (
        {"class_names": np.array(["cat", "dog", "cow"])},
        ("0..2", "class 2", "without gaps"),
    ),
    "names that are numbers": (
        {"class_names": np.array([1, 2])},
        ("class_names", "int64", "(2,)", "numpy.array([...names...])"),
    ),
    "pickled images": (
        {"x_train": np.array([None] * 4)},
        ("x_train", "pickled", "numbers"),
    ),
    "pickled names": (
        {"class_names": np.array(["cat", "dog"], object)},
        ("class_names", "pickled", "numbers"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_broken_rule_has_its_sentence(tmp_path, case):
    changes, facts = CASES[case]
    path = tmp_path / "data.npz"
    np.savez(path, **{**BASE, **changes})
    with pytest.raises(DataError) as caught:
        load(path)
    says(caught, path, *facts)


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
    says(
        caught,
        path,
        "images, y_train",
        "x_train, x_test, y_test",
        "numpy.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)",
    )


def refusal(path):
    with pytest.raises(DataError) as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"\x80\x04N."])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    says(refusal(path), path, ".npz", "damaged", "File is not a zip file", "Copy or save")


@pytest.mark.parametrize("writer", [np.savez, np.savez_compressed])
def test_a_file_cut_anywhere_is_refused(tmp_path, writer):
    path = tmp_path / "data.npz"
    writer(path, **BASE)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        says(refusal(path), path, ".npz", "damaged", "File is not a zip file", "Copy or save")


def test_flipped_bytes_fail_the_checksum(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, **BASE)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("x_train.npy")
    content[entry.header_offset + 30 + len("x_train.npy") + entry.file_size - 1 + 20] ^= 1
    path.write_bytes(content)
    says(refusal(path), path, ".npz", "damaged", "Bad CRC-32 for file 'x_train.npy'", "Copy or save")


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
    says(refusal(path), path, ".npz", "damaged", "x_train", "36 bytes", "(4000000000000, 3, 3)", "Copy or save")
