"""How much memory a process is thought to need, and how many therefore run."""

import keras
import numpy as np
import pytest
from networks import SOON_OVER
from PIL import Image

from tfnorm.datasets.sources import load, stored_shape
from tfnorm.experiments.engines import local as engines
from tfnorm.experiments.engines.memory import BYTES_OF_A_PROCESS, worker_bytes
from tfnorm.experiments.sweep.grid import plan_grid
from tfnorm.training.config import TrainConfig

GIB = 2**30


def more_than_a_process(**settings):
    """Return what the data and the activations of a run take."""
    return worker_bytes([TrainConfig(norm="bn", **settings)]) - BYTES_OF_A_PROCESS


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Return a folder of pictures and an archive, 8 images of 40 x 30."""
    place = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for label in "ab":
            folder = place / "folder" / part / label
            folder.mkdir(parents=True)
            for number in range(2):
                pixels = rng.integers(0, 256, (40, 30, 3)).astype("uint8")
                Image.fromarray(pixels).save(folder / f"{number}.png")
    images = rng.integers(0, 256, (4, 40, 30, 3)).astype("uint8")
    np.savez(place / "archive.npz", x_train=images, y_train=[0, 1, 0, 1], x_test=images, y_test=[0, 1, 0, 1])
    return place


@pytest.mark.parametrize("name", ["folder", "archive.npz"])
def test_the_size_of_data_is_known_from_their_headers(name, places):
    assert stored_shape(places / name) == (8, 40, 30, 3)
    assert stored_shape(name, data_dir=places) == (8, 40, 30, 3)


def test_the_size_of_the_digits_is_theirs():
    digits = load("digits")
    assert stored_shape("digits") == (len(digits.x_train) + len(digits.x_test), *digits.input_shape)


def test_grey_images_have_one_channel(tmp_path):
    images = np.zeros((3, 9, 7), "uint8")
    np.savez(tmp_path / "a.npz", x_train=images, y_train=[0, 1, 0], x_test=images, y_test=[0, 1, 0])
    assert stored_shape(tmp_path / "a.npz") == (6, 9, 7, 1)


def test_activations_of_a_model_of_ones_own_are_counted(places):
    tiny = more_than_a_process(**SOON_OVER)
    assert tiny < 2e6  # two bytes a pixel of 1797 images of 64, and 3 x 359 times some 220 activations
    small = more_than_a_process(model=open_size, dataset=str(places / "folder"), image_size=32, batch_size=16)
    large = more_than_a_process(model=open_size, dataset=str(places / "folder"), image_size=64, batch_size=16)
    assert large == pytest.approx(4 * small, rel=0.05) and large > 3 * 16 * 4 * 64 * 64 * 8


def open_size():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, padding="same")(inputs))
    return keras.Model(inputs, keras.layers.Dense(2)(x))


def test_memory_grows_with_data_images_and_batch(places):
    folder = {"dataset": str(places / "folder"), "arch": "cifar_plain"}
    small = more_than_a_process(**folder, image_size=32, batch_size=16)
    assert more_than_a_process(**folder, image_size=64, batch_size=16) == pytest.approx(4 * small, rel=0.05)
    assert more_than_a_process(**folder, image_size=32, batch_size=32) == pytest.approx(2 * small, rel=0.05)
    mnist, digits = (more_than_a_process(dataset=name, batch_size=16) for name in ("mnist", "digits"))
    assert mnist - digits == 2 * 28 * 28 * (70_000 - 1_797)


def test_data_that_cannot_be_read_count_as_none(tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"nothing")
    (tmp_path / "folder").mkdir()
    for name in ("broken.npz", "folder"):
        assert more_than_a_process(dataset=str(tmp_path / name), arch="cifar_plain", batch_size=16) > 0


def test_the_largest_run_counts():
    sizes = [TrainConfig(norm="bn", batch_size=size) for size in (16, 1024, 64)]
    assert worker_bytes(sizes) == worker_bytes(sizes[1:2]) > worker_bytes(sizes[:1])
    assert worker_bytes([]) == BYTES_OF_A_PROCESS


@pytest.mark.parametrize(("free", "jobs"), [(0, 1), (GIB, 1), (3 * GIB, 2), (1000 * GIB, 8)])
def test_jobs_fit_in_the_memory(free, jobs, monkeypatch):
    monkeypatch.setattr(engines, "available_memory", lambda: free)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    runs = plan_grid({"settings": {"batch_size": 32}, "grid": {"norm": ["bn"], "seeds": 1}})
    assert engines.default_jobs(1, runs) == jobs


def test_large_images_get_fewer_jobs(monkeypatch, places):
    monkeypatch.setattr(engines, "available_memory", lambda: 16 * GIB)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    settings = {"dataset": str(places / "folder"), "arch": "cifar_plain", "batch_size": 256}
    few, many = (
        engines.default_jobs(1, plan_grid({"settings": {**settings, "image_size": side}, "grid": {"norm": ["bn"]}}))
        for side in (224, 32)
    )
    assert 1 <= few < many == 8


def test_a_system_that_does_not_tell_its_memory_decides_by_cores(monkeypatch):
    monkeypatch.setattr(engines, "available_memory", lambda: None)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(3))
    assert engines.default_jobs() == 3
