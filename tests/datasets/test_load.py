import gzip
import json
import os
import pickle
import subprocess
import sys
import tarfile
import tracemalloc
import urllib.error
from pathlib import Path

import keras
import numpy as np
import pytest
from facts import says
from PIL import Image

from tfnorm.datasets import DATASETS, Batches, Dataset, DataWarning, list_datasets, load
from tfnorm.datasets import load as load_function
from tfnorm.datasets.images import StreamedImages
from tfnorm.datasets.memory import available_memory
from tfnorm.errors import DataError


def arrays(n=6, test=4, shape=(4, 5), classes=2, dtype="uint8"):
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (n, *shape)).astype(dtype),
        "y_train": np.arange(n) % classes,
        "x_test": rng.integers(0, 256, (test, *shape)).astype(dtype),
        "y_test": np.arange(test) % classes,
    }


def save(path, **changes):
    np.savez(path, **{**arrays(), **changes})
    return path


@pytest.fixture
def no_keras_cache(monkeypatch, tmp_path):
    home = tmp_path / "keras_home"
    home.mkdir()
    monkeypatch.setenv("KERAS_HOME", str(home))
    monkeypatch.setattr(keras.src.utils.file_utils.config, "keras_home", lambda: str(home))

    def refuse(origin, target, progress=None):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(keras.src.utils.file_utils, "urlretrieve", refuse)
    monkeypatch.setattr(keras.src.utils.file_utils, "validate_file", lambda *args, **kwargs: True)
    return home


def message(*args, **kwargs):
    with pytest.raises(DataError) as caught:
        load_function(*args, **kwargs)
    return str(caught.value)


def test_names():
    assert list_datasets() == ["digits", "mnist", "fashion_mnist", "cifar10", "cifar100"] == list(DATASETS)


def test_importing_the_package_imports_no_heavy_module():
    code = (
        "import sys, tfnorm.datasets as d; d.list_datasets(); list(d.AUGMENTATIONS);"
        "print([m for m in ('keras', 'tensorflow', 'sklearn', 'PIL', 'pandas') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_digits_is_the_stated_split_and_scale():
    from sklearn.datasets import load_digits

    data = load("digits")
    assert data.x_train.shape == (1347, 8, 8, 1) and data.x_test.shape == (450, 8, 8, 1)
    assert data.x_train.dtype == np.uint8 and data.y_train.dtype == np.int64
    assert data.num_classes == 10 and data.input_shape == (8, 8, 1) and data.class_names == tuple("0123456789")
    originals = {
        (np.floor(i * 255 / 16 + 0.5).astype("uint8").tobytes(), t)
        for i, t in zip(*load_digits(return_X_y=True), strict=True)
    }
    loaded = [(x.tobytes(), y) for x, y in zip(data.x_train, data.y_train, strict=True)]
    loaded += [(x.tobytes(), y) for x, y in zip(data.x_test, data.y_test, strict=True)]
    assert set(loaded) == originals and len(loaded) == 1797
    # Stratified: each class has its quarter in the test set.
    assert np.abs(np.bincount(data.y_test) - np.bincount(load_digits().target) / 4).max() < 1
    assert load("digits").fingerprint == data.fingerprint
    assert data.fingerprint == "48b10b5a72439912cc6003c93be393eade153becbd9a0b9703d9f98db793b6dc"


def test_npz_keeps_uint8_and_adds_the_channel(tmp_path):
    expected = arrays()
    data = load(save(tmp_path / "my set.npz"))
    assert data.name == "my set" and data.input_shape == (4, 5, 1)
    assert np.array_equal(data.x_train[..., 0], expected["x_train"])
    assert np.array_equal(data.y_test, expected["y_test"]) and data.class_names == ("0", "1")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("writer", [np.savez, np.savez_compressed])
def test_npz_channels_and_compression(tmp_path, channels, writer):
    stored = arrays(shape=(4, 5, channels))
    writer(tmp_path / "a.npz", class_names=np.array(["cat", "dog"]), **stored)
    data = load(str(tmp_path / "a.npz"))
    assert np.array_equal(data.x_train, stored["x_train"]) and data.class_names == ("cat", "dog")


def test_npz_in_fortran_order_and_in_many_chunks(tmp_path):
    stored = arrays(n=50, shape=(200, 300, 3))
    stored["x_test"] = np.asfortranarray(stored["x_test"])
    np.savez(tmp_path / "a.npz", **stored)
    data = load(tmp_path / "a.npz")
    assert np.array_equal(data.x_train, stored["x_train"]) and np.array_equal(data.x_test, stored["x_test"])
    assert data.x_test.flags.c_contiguous


@pytest.mark.parametrize("dtype", ["int8", "int16", ">i4", "int64", "uint16", "float16", "float32", "float64"])
def test_npz_whole_numbers_of_any_type_become_uint8(tmp_path, dtype):
    stored = {key: value % 128 for key, value in arrays().items()}
    changed = {key: stored[key].astype(dtype) for key in ("x_train", "x_test")}
    data = load(save(tmp_path / "a.npz", **changed))
    assert data.x_train.dtype == np.uint8 and np.array_equal(data.x_train[..., 0], stored["x_train"])


def test_npz_floats_in_0_1_are_scaled_with_a_warning(tmp_path):
    stored = arrays()
    unit = {key: (stored[key] / 255).astype("float32") for key in ("x_train", "x_test")}
    path = save(tmp_path / "a.npz", **unit)
    with pytest.warns(UserWarning) as caught:
        data = load(path)
    (warning,) = caught
    says(warning.message, path, "x_train and x_test", "0..1", "255", "uint8")
    assert np.array_equal(data.x_train[..., 0], stored["x_train"])
    assert np.array_equal(data.x_test[..., 0], stored["x_test"])


@pytest.mark.parametrize(
    ("names", "read"),
    [
        (np.array(["café".encode(), b"dog"]), ("café", "dog")),
        (np.array([b"caf\xe9", b"dog"]), ("caf\\xe9", "dog")),
        (np.array(["日本", "a$b_{$"]), ("日本", "a$b_{$")),
    ],
)
def test_npz_class_names_in_bytes_are_utf8_and_never_in_the_way(tmp_path, names, read):
    data = load(save(tmp_path / "a.npz", class_names=names))
    assert data.class_names == read and json.loads(json.dumps(data.describe()))["class_names"] == list(read)
    "".join(data.class_names).encode()


def test_class_names_given_to_python_are_text_too():
    x, y = np.zeros((2, 2, 2, 1), "uint8"), np.array([0, 1])
    assert Dataset("a", x, y, x, y, (b"caf\xc3\xa9", 7)).class_names == ("café", "7")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not text")
def test_a_folder_whose_name_is_not_utf8_is_a_class_all_the_same(tmp_path):
    for part in ("train", "test"):
        for label in (b"caf\xe9", "thé".encode()):
            place = os.path.join(os.fsencode(tmp_path), part.encode(), label)
            os.makedirs(place)
            seed = len(part + str(label))
            Image.fromarray(np.random.default_rng(seed).integers(0, 256, (3, 4), np.uint8)).save(
                os.path.join(os.fsdecode(place), "1.png")
            )
    data = load(tmp_path)
    assert data.class_names == ("caf\\xe9", "thé")
    json.dumps(data.describe(), ensure_ascii=False).encode()


@pytest.mark.parametrize("how", ["cwd", "data_dir"])
def test_a_known_name_is_taken_over_a_folder_and_that_is_said(tmp_path, monkeypatch, how):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.warns(DataWarning, match="digits'.*data set that tfnorm knows") as caught:
        data = load("digits", data_dir=tmp_path if how == "data_dir" else None)
    other = tmp_path / "digits" if how == "data_dir" else "./digits"
    assert f"write {other}." in str(caught[0].message) and data.name == "digits" and len(data.x_test) == 450
    with pytest.raises(DataError, match="one folder of pictures a class"):
        load("./digits")


def test_images_that_do_not_fit_into_memory_are_refused_before_they_are_read_or_streamed(tmp_path, monkeypatch):
    path = save(tmp_path / "a.npz")
    monkeypatch.setattr("tfnorm.datasets.memory.available_memory", lambda: 50)
    assert "10 images of 4x5 need" in message(path) and "are free" in message(path)
    for part in ("train", "test"):
        for label in "ab":
            (tmp_path / "f" / part / label).mkdir(parents=True)
            Image.new("L", (224, 224)).save(tmp_path / "f" / part / label / "1.png")
    monkeypatch.setattr("tfnorm.datasets.memory.available_memory", lambda: 50_000)
    assert isinstance(load(tmp_path / "f").x_train, StreamedImages)  # pictures are read when they are needed
    monkeypatch.setattr("tfnorm.datasets.memory.available_memory", lambda: None)
    assert isinstance(load(tmp_path / "f").x_train, np.ndarray), "a system that does not tell has room"


def test_what_a_container_may_use_counts_and_what_it_keeps_of_files_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr("tfnorm.datasets.memory._CONTAINERS", [(tmp_path, "memory.max", "memory.current")])
    everything = available_memory()
    for name, content in (("max", "1000"), ("current", "900"), ("stat", "anon 7\ninactive_file 200\nactive_file 30\n")):
        (tmp_path / f"memory.{name}").write_text(content)
    assert available_memory() == 330
    (tmp_path / "memory.max").write_text("max\n")
    assert (available_memory() is None) == (everything is None)


@pytest.mark.skipif(sys.platform != "linux", reason="others do not tell")
def test_what_ulimit_leaves_counts(run_python):
    code = (
        "import resource; from tfnorm.datasets.memory import available_memory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, resource.RLIM_INFINITY)); print(available_memory())"
    )
    assert 0 < int(run_python(code)) < 2 * 2**30


@pytest.mark.parametrize("reader", ["load_npz", "load_folder"])
def test_memory_that_runs_out_while_images_are_read_is_one_sentence(tmp_path, monkeypatch, reader):
    def full(*_, **__):
        raise MemoryError("Unable to allocate 4.21 GiB")

    monkeypatch.setattr(sys.modules["tfnorm.datasets.sources"], reader, full)
    text = message(tmp_path if reader == "load_folder" else save(tmp_path / "a.npz"))
    assert "Unable to allocate 4.21 GiB" in text and "--image-size" in text


def test_npz_labels_in_a_column_and_as_whole_floats(tmp_path):
    data = load(save(tmp_path / "a.npz", y_train=np.arange(6.0)[:, None] % 2))
    assert data.y_train.tolist() == [0, 1, 0, 1, 0, 1] and data.y_train.dtype == np.int64


def test_mean_and_std_are_exact_and_never_zero(tmp_path):
    stored = arrays(n=40, shape=(9, 7, 3))
    stored["x_train"][..., 1] = 200
    data = load(save(tmp_path / "a.npz", **stored))
    pixels = stored["x_train"].reshape(-1, 3).astype("float64")
    assert data.mean == pytest.approx(pixels.mean(0), rel=1e-14)
    assert data.std == pytest.approx([pixels[:, 0].std(), 1.0, pixels[:, 2].std()], rel=1e-14)


def test_fingerprint_sees_every_array_shape_and_dtype(tmp_path):
    base = load(save(tmp_path / "a.npz"))
    stored = arrays()
    prints = {base.fingerprint}
    for key in stored:
        changed = {**stored, key: stored[key].copy()}
        changed[key][-1] = 1 - (changed[key][-1] % 2)
        prints.add(load(save(tmp_path / f"{key}.npz", **changed)).fingerprint)
    reshaped = {key: stored[key].reshape(-1, 5, 4) for key in ("x_train", "x_test")}
    prints.add(load(save(tmp_path / "b.npz", **reshaped)).fingerprint)
    assert len(prints) == 6
    assert load(save(tmp_path / "c.npz")).fingerprint == base.fingerprint and len(base.fingerprint) == 64


def test_resize_is_pillows_and_copies_nothing_without_need():
    from PIL import Image

    data = load("digits")
    assert data.resize((8, 8)) is data and data.resize(8) is data
    bigger = data.resize((12, 10))
    assert bigger.input_shape == (12, 10, 1) and bigger.y_train.base is not None
    expected = np.asarray(Image.fromarray(data.x_train[3, ..., 0]).resize((10, 12), Image.Resampling.BILINEAR))
    assert np.array_equal(bigger.x_train[3, ..., 0], expected)
    assert np.array_equal(load("digits", image_size=(12, 10)).x_train, bigger.x_train)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_resize_treats_channels_apart(channels):
    x = np.random.default_rng(0).integers(0, 256, (2, 6, 6, channels)).astype("uint8")
    y = np.array([0, 1])
    together = Dataset("a", x, y, x, y, ("0", "1")).resize((3, 9)).x_train
    for c in range(channels):
        alone = Dataset("a", x[..., c : c + 1], y, x[..., c : c + 1], y, ("0", "1")).resize((3, 9)).x_train
        assert np.array_equal(together[..., c], alone[..., 0])


def test_describe_is_json():
    data = load("digits")
    described = json.loads(json.dumps(data.describe()))
    assert described["train_images"] == 1347 and described["input_shape"] == [8, 8, 1]
    assert described["fingerprint"] == data.fingerprint and described["mean"] == data.mean.tolist()
    assert repr(data) == "Dataset('digits', train=1347, test=450, input_shape=(8, 8, 1), num_classes=10)"


def test_arrays_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        load("digits").x_train[0] = 0


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_memory_stays_within_one_and_a_half_times_the_uint8_data(tmp_path, dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (10_000, 32, 32, 4), dtype=np.uint8)
    y = np.arange(10_000) % 10
    np.savez(tmp_path / "a.npz", x_train=x.astype(dtype), y_train=y, x_test=x[:500].astype(dtype), y_test=y[:500])
    size = x.nbytes + x[:500].nbytes
    del x
    tracemalloc.start()
    try:
        data = load(tmp_path / "a.npz")
        data.describe()
        seen = sum(len(images) for images, _ in Batches(data.x_train, data.y_train, 64, seed=0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen == 10_000
    assert peak < 1.5 * size, f"{peak / size:.2f}"


# Keras's data sets


def test_data_dir_file_is_preferred_and_gets_class_names(tmp_path, no_keras_cache):
    np.savez(tmp_path / "cifar10.npz", **arrays(n=20, shape=(32, 32, 3), classes=10))
    data = load("cifar10", data_dir=tmp_path)
    assert data.name == "cifar10" and data.class_names[:2] == ("airplane", "automobile")


def test_data_dir_folder(tmp_path, no_keras_cache):
    from PIL import Image

    for part in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / "mnist" / part / label).mkdir(parents=True)
            Image.new("L", (3, 2)).save(tmp_path / "mnist" / part / label / "1.png")
    data = load("mnist", data_dir=str(tmp_path))
    assert data.name == "mnist" and data.class_names == ("a", "b") and data.input_shape == (2, 3, 1)


def test_relative_path_is_found_in_data_dir(tmp_path):
    save(tmp_path / "mine.npz")
    assert load("mine.npz", data_dir=tmp_path).name == "mine"


def test_mnist_comes_from_keras_cache(no_keras_cache, tmp_path):
    (no_keras_cache / "datasets").mkdir()
    save(no_keras_cache / "datasets" / "mnist.npz", **arrays(n=20, shape=(28, 28), classes=10))
    (tmp_path / "elsewhere").mkdir()
    for data_dir in (None, tmp_path / "elsewhere"):
        data = load("mnist", data_dir=data_dir)
        assert data.input_shape == (28, 28, 1) and data.num_classes == 10


def test_fashion_mnist_comes_from_keras_cache(no_keras_cache):
    folder = no_keras_cache / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    for prefix, n in (("train", 20), ("t10k", 10)):
        with gzip.open(folder / f"{prefix}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(bytes(8) + bytes(i % 10 for i in range(n)))
        with gzip.open(folder / f"{prefix}-images-idx3-ubyte.gz", "wb") as file:
            file.write(bytes(16) + bytes(n * 784))
    data = load("fashion_mnist")
    assert data.x_test.shape == (10, 28, 28, 1) and data.class_names[-1] == "Ankle boot"


def test_cifar100_comes_from_keras_cache(no_keras_cache, tmp_path):
    rng = np.random.default_rng(0)
    stored = {}
    archive = no_keras_cache / "datasets" / "cifar-100-python-target_archive"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        for part, n in (("train", 200), ("test", 100)):
            stored[part] = rng.integers(0, 256, (n, 3072), dtype=np.uint8)
            content = {b"data": stored[part], b"fine_labels": [i % 100 for i in range(n)]}
            (tmp_path / part).write_bytes(pickle.dumps(content, protocol=3))
            tar.add(tmp_path / part, f"cifar-100-python/{part}")
    data = load("cifar100")
    assert data.class_names[0] == "apple" and data.class_names[99] == "worm" and len(set(data.class_names)) == 100
    assert data.x_train.flags.c_contiguous
    assert np.array_equal(data.x_train, stored["train"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def test_failed_download_says_what_to_put_where(no_keras_cache):
    says(
        message("mnist"),
        "mnist",
        "no network",
        "mnist.npz",
        "x_train, y_train, x_test, y_test",
        "data_dir=DIR",
        "--data-dir DIR",
        f"{no_keras_cache}/datasets/mnist.npz",
    )


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
@pytest.mark.parametrize("error", [TimeoutError("timed out"), OSError("disk full"), Exception("")])
def test_whatever_the_loader_raises_becomes_one_sentence(monkeypatch, name, error):
    def fail():
        raise error

    monkeypatch.setattr(f"keras.datasets.{name}.load_data", fail)
    reason = str(error) or "Exception"
    sentence = message(name)
    says(sentence, name, reason, f"{name}.npz")
    assert "\n" not in sentence


def test_missing_in_data_dir_names_it_and_downloads_nothing(no_keras_cache, tmp_path, monkeypatch):
    monkeypatch.setattr("keras.datasets.mnist.load_data", lambda: pytest.fail("must not download"))
    folder = tmp_path / "d"
    folder.mkdir()
    says(
        message("mnist", data_dir=folder),
        folder,
        "mnist.npz",
        "x_train, y_train, x_test, y_test",
        "mnist/",
        "train/CLASS/*",
        "test/CLASS/*",
        f"{no_keras_cache}/datasets/mnist.npz",
        "`data_dir`",
    )


def test_data_dir_must_be_a_folder(tmp_path):
    says(
        message("mnist", data_dir=tmp_path / "no"), "`data_dir`", f"{tmp_path}/no", "exist", "Create it or name another"
    )
    (tmp_path / "file").touch()
    says(message("mnist", data_dir=tmp_path / "file"), "`data_dir`", f"{tmp_path}/file", "not a folder", "name another")


def test_unknown_names_and_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = "digits, mnist, fashion_mnist, cifar10, cifar100"
    says(message("mnst"), "'mnst'", "'mnist'", names, ".npz")
    says(message("no.npz"), "no.npz", names)
    Path("data.csv").touch()
    says(message("data.csv"), "data.csv", ".npz", "x_train, y_train, x_test, y_test", "numpy.savez")
    for bad in (None, "", 3):
        says(message(bad), f"{bad!r}", names)


@pytest.mark.parametrize("size", [0, -1, (3,), (3, 4, 5), (3, 0), 2.5, "32", True, (True, 3)])
def test_image_size_must_be_a_pair(size):
    says(message("digits", image_size=size), "`image_size`", f"image_size={size!r}", "(32, 24)")
