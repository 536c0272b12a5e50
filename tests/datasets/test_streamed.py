"""Pictures that are decoded when they are needed give the same numbers as those in memory."""

import shutil

import numpy as np
import pytest
from facts import says
from PIL import Image

from tfnorm.datasets import load
from tfnorm.datasets.decoded import decoded_file
from tfnorm.datasets.images import StreamedImages, digest_of
from tfnorm.datasets.memory import bytes_of
from tfnorm.errors import DataError

SIZE = 12
pytestmark = pytest.mark.filterwarnings("ignore::tfnorm.datasets.DataWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of two classes of 40 pictures: lossless, lossy, of other sizes, and one that is transparent."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for label in "ab":
        (root / label).mkdir()
        for number in range(40):
            kind, width = (("png", 12), ("jpg", 20))[number % 2]
            pixels = rng.integers(0, 256, (12, width, 3 + (number == 0))).astype("uint8")
            Image.fromarray(pixels).save(root / label / f"{number}.{kind}")
    return root


def same(one, other):
    """Assert that two data sets are the same, bit for bit, and say the same of themselves."""
    assert (one.fingerprint, one.class_names, one.input_shape) == (
        other.fingerprint,
        other.class_names,
        other.input_shape,
    )
    assert (one.mean == other.mean).all() and (one.std == other.std).all()
    assert one.reading.notes == other.reading.notes
    for part in ("train", "test"):
        x, y = getattr(one, f"x_{part}"), getattr(other, f"x_{part}")
        assert x.shape == y.shape and (x[:] == y[:]).all() and (x[[2, 0, 2]] == y[[2, 0, 2]]).all()
        assert (x[-1] == y[-1]).all() and (x[3:9:2] == y[3:9:2]).all()
        assert (getattr(one, f"y_{part}") == getattr(other, f"y_{part}")).all()


def test_streamed_pictures_are_those_in_memory(folder):
    kept, streamed = load(folder, image_size=SIZE), load(folder, image_size=SIZE, memory="1 kB")
    assert isinstance(kept.x_train, np.ndarray) and isinstance(streamed.x_train, StreamedImages)
    same(kept, streamed)
    same(kept.hold_out(0.25), streamed.hold_out(0.25))
    same(kept.resize(8), streamed.resize(8))
    says(streamed.reading.summary, "64", "16", "when they are needed")
    cut = [load(folder, image_size=SIZE, resize=16, memory=memory) for memory in (None, 1)]
    same(*cut)
    assert cut[1].x_train.shape[1:3] == (16, 16)


def test_streamed_pictures_do_not_become_an_array_by_accident(folder):
    with pytest.raises(DataError) as caught:
        np.asarray(load(folder, image_size=SIZE, memory=1).x_train)
    says(caught, "64 images", "x[:100]")


def test_a_picture_that_is_gone_is_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "pictures")
    streamed = load(tmp_path / "pictures", image_size=SIZE, memory=1)
    (tmp_path / "pictures/a/5.jpg").unlink()
    with pytest.raises(DataError) as caught:
        for images in (streamed.x_train, streamed.x_test):
            images[:]
    says(caught, "5.jpg", "could be read at first")


def decoding(monkeypatch):
    """Return a list that grows by each picture that is decoded."""
    from tfnorm.datasets.folder import loading

    decoded, function = [], loading.decode
    monkeypatch.setattr(loading, "decode", lambda file, *how: decoded.append(file.name) or function(file, *how))
    return decoded


def test_a_cache_decodes_each_picture_once_and_heeds_what_has_changed(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "pictures")
    pictures, how = tmp_path / "pictures", {"image_size": SIZE, "cache": tmp_path / "cache"}
    decoded, plain = decoding(monkeypatch), load(folder, image_size=SIZE)
    decoded.clear()
    for memory in (1, None, 1):
        same(load(pictures, memory=memory, **how), plain)
    assert len(decoded) == 80
    load(pictures, **{**how, "image_size": 8})
    assert len(decoded) == 160  # another size is another file
    Image.fromarray(np.zeros((12, 12, 3), "uint8")).save(pictures / "a/2.png")
    assert load(pictures, **how).fingerprint == load(pictures, image_size=SIZE).fingerprint != plain.fingerprint


def test_a_damaged_cache_is_noticed(folder, tmp_path, monkeypatch):
    how = {"image_size": SIZE, "memory": 1, "cache": tmp_path}
    plain, decoded = load(folder, **how), decoding(monkeypatch)
    (pixels,) = tmp_path.glob("*/pixels.uint8")
    content = bytearray(pixels.read_bytes())
    content[SIZE * SIZE * 3 * 7] ^= 1  # of the eighth picture
    pixels.write_bytes(content)
    load(folder, **how)
    assert len(decoded) == 1
    same(load(folder, **how), plain)
    pixels.write_bytes(content[:-1])
    decoded.clear()
    load(folder, **how)
    assert len(decoded) == 80


def test_a_cache_that_was_broken_off_counts_for_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), decoded_file(tmp_path, "key", (2, 1, 1, 1)) as writer:
        writer.add(np.zeros((1, 1, 1), "uint8"), False)
        raise KeyboardInterrupt
    assert not list(tmp_path.glob("*/*"))


def test_a_cache_stays_below_its_most_bytes_and_drops_what_was_used_the_longest_ago(tmp_path, monkeypatch):
    monkeypatch.setattr("tfnorm.datasets.decoded.MOST_BYTES", 25)

    def use(key, images=1):
        with decoded_file(tmp_path, key, (images, 1, 10, 1)) as file:
            if file is None or not hasattr(file, "add"):
                return file is not None
            for _ in range(images):
                file.add(np.zeros((1, 10, 1), "uint8"), False)
            file.keep((images, 1, 10, 1), [digest_of(np.zeros((1, 10, 1), "uint8"))] * images)
            return "written"

    assert use("a") == use("b") == "written" and use("a") is True
    assert use("c") == "written"  # in place of b
    assert use("a") is True and use("b") == "written"
    assert use("large", 3) is False


def test_sizes_as_people_write_them():
    assert [bytes_of(text) for text in ("500MB", "1.5 GiB", "2g", 300, "10 k")] == [
        500_000_000, 1_610_612_736, 2_000_000_000, 300, 10_000,
    ]  # fmt: skip
    for wrong in ("many", "-1MB", "0", "1.2.3GB", "5 apples", True, ""):
        with pytest.raises(DataError, match="500MB"):
            bytes_of(wrong)


TRAINED = """
import sys
from tfnorm.datasets import load
data = load(sys.argv[1], image_size=64, memory="20MB")
for start in range(0, len(data.x_train), 256):
    data.x_train[start : start + 256]
"""


@pytest.mark.matrix
def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path, measure_python):
    peaks = []
    for count in (1_000, 30_000):
        folder = tmp_path / str(count)
        for label in "ab":
            (folder / label).mkdir(parents=True)
            for number in range(count // 2):
                pixels = np.random.default_rng([number % 50, ord(label)]).integers(0, 256, (7, 7, 3)).astype("uint8")
                if number < 50:
                    Image.fromarray(pixels).resize((224, 224)).save(folder / label / f"{number}.jpg")
                else:
                    (folder / label / f"{number}.jpg").hardlink_to(folder / label / f"{number % 50}.jpg")
        peaks.append(measure_python(TRAINED, folder)[1])
    assert peaks[1] - peaks[0] < 100e6


# As typed, but that an epoch ends after 50 steps.
CUT = """
import sys
from tfnorm.datasets.batches import Batches
whole = Batches.__len__
Batches.__len__ = lambda batches: min(50, whole(batches))
from tfnorm.cli import main
sys.argv[0] = "tfnorm"
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""


@pytest.mark.matrix
def test_training_on_thirty_times_the_pictures_takes_no_more_memory(tmp_path, measure_python):
    rng = np.random.default_rng(0)
    bases = [Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).resize((300, 300)) for _ in range(40)]
    peaks = []
    for count in (1_000, 30_000):
        folder = tmp_path / str(count)
        for number in range(count):
            place = folder / ("test" if number < 100 else "train") / "ab"[number % 2] / f"{number}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            left, top = divmod(number // len(bases), 75)  # another cut of the same picture each time
            bases[number % len(bases)].crop((left, top, left + 224, top + 224)).save(place)
        settings = ("--arch", "resnet18", "--image-size", "128", "--memory", "500MB", "--epochs", "2")
        out = ("--batch-size", "16", "--out", str(tmp_path / f"run-{count}"))
        printed, peak = measure_python(CUT, "train", "gn:8", "--dataset", folder, *settings, *out)
        assert "finished after 2 epochs" in printed
        peaks.append(peak)
    print(*(f"{peak / 1e6:.0f} MB" for peak in peaks))
    assert peaks[1] - peaks[0] < 100e6
