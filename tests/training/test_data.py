"""Data that were put into a Dataset by hand."""

import numpy as np
import pytest
from facts import says
from PIL import Image
from stopping import StopAfter

from tfnorm.datasets import Dataset
from tfnorm.errors import DataError, TfnormError
from tfnorm.training.config import TrainConfig, plan_run
from tfnorm.training.data import load_data, place_of
from tfnorm.training.folder import READING
from tfnorm.training.runs import outcome
from tfnorm.training.trainer import train


@pytest.mark.parametrize(
    ("part", "images", "facts"),
    [
        ("x_train", np.zeros((4, 3, 32, 48), "uint8"), ["channels last", "x_train.transpose(0, 2, 3, 1)"]),
        ("x_test", np.zeros((4, 1, 28, 28), "uint8"), ["channels last", "x_test.transpose(0, 2, 3, 1)"]),
        ("x_train", np.zeros((4, 28, 28, 1), "float32"), ["uint8", "float32", "numpy.savez"]),
        ("x_test", np.full((4, 28, 28, 1), 300, "int32"), ["uint8", "int32", "numpy.savez"]),
        ("x_train", np.zeros((4, 28, 28), "uint8"), ["(images, height, width, channels)", "(4, 28, 28)"]),
        ("x_test", np.zeros((0, 28, 28, 1), "uint8"), ["at least one image"]),
    ],
)
def test_images_that_no_network_is_trained_on_are_refused(part, images, facts):
    sound, labels = np.zeros((4, 28, 28, 1), "uint8"), np.arange(4) % 2
    arrays = {"x_train": sound, "y_train": labels, "x_test": sound, "y_test": labels, part: images}
    with pytest.raises(DataError) as caught:
        load_data(TrainConfig(norm="bn"), Dataset("mine", **arrays, class_names=("a", "b")))
    assert "'mine'" in str(caught.value) and all(fact in str(caught.value) for fact in facts)


def data_of(train, test):
    labels = np.arange(4) % 2
    arrays = {"x_train": np.zeros((4, *train, 1), "uint8"), "x_test": np.zeros((4, *test, 1), "uint8")}
    return Dataset("mine", **arrays, y_train=labels, y_test=labels, class_names=("a", "b"))


def test_training_images_are_larger_only_where_they_are_cut():
    data = data_of((32, 32), (28, 28))
    with pytest.raises(DataError) as caught:
        load_data(TrainConfig(norm="bn", augmentation="flip"), data)
    says(caught, "'mine'", "(32, 32, 1)", "(28, 28, 1)", "'flip'", "crop_flip")
    assert load_data(TrainConfig(norm="bn", augmentation="crop_flip"), data) is data


def test_settings_of_reading_are_refused_for_data_in_memory(tmp_path):
    (tmp_path / "photos").mkdir()
    config = TrainConfig(norm="bn", dataset=str(tmp_path / "photos"), test_share=0.3)
    with pytest.raises(DataError) as caught:
        load_data(config, data_of((28, 28), (28, 28)))
    says(caught, "`test_share`", "test_share=0.3", "'mine'", "tfnorm.datasets.load")


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"test_share": 0.2}, ("`test_share`", "folder of pictures")),
        ({"fit": "pad"}, ("`fit`", "folder of pictures")),
        ({"fit": "fill"}, ("`fit`", "'resize', 'crop' or 'pad'", "'fill'")),
        ({"groups": "nowhere.csv"}, ("`groups`", "nowhere.csv")),
        ({"resize": 32}, ("`resize`", "resize=32", "image_size=None")),
        ({"resize": 32, "image_size": 48}, ("`resize`", "resize=32", "image_size=48")),
        ({"resize": 32, "image_size": 28}, ("`resize`", "cuts none", "crop_flip")),
        ({"resize": 32, "image_size": 28, "augmentation": "flip"}, ("'flip'", "cuts none", "crop_flip")),
        ({"zero_gamma": True}, ("zero_gamma=True", "mnist_7k")),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_loaded(settings, facts):
    with pytest.raises(TfnormError) as caught:
        plan_run("bn", **settings)
    says(caught, *facts)


def test_settings_of_reading_are_recorded_only_where_they_are_set(tmp_path):
    (tmp_path / "photos").mkdir()
    plain = TrainConfig(norm="bn", dataset=str(tmp_path / "photos"))
    assert not set(READING) & set(plain.asked())
    file = tmp_path / "groups.csv"
    file.touch()
    given = {"test_share": 0.3, "fit": "crop", "groups": file, "follow_links": True, "skip_damaged": True}
    more = {"resize": 40, "image_size": 32, "augmentation": "crop_flip"}
    asked = plain.model_copy(update=given).asked()
    assert {key: asked[key] for key in given} == {**given, "groups": str(file)}
    assert TrainConfig(norm="bn", **more).asked()["resize"] == 40
    assert place_of(plain) != place_of(plain.model_copy(update={"fit": "pad"}))


@pytest.mark.filterwarnings("ignore::tfnorm.datasets.DataWarning")
def test_a_folder_of_photographs_is_cut_divided_and_found_again(tmp_path, tiny):
    from PIL import Image

    from tfnorm import train
    from tfnorm.experiments.comparison.predictions import images_of

    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 256, (40 + number, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    names = [f"{label}/{number}.png,{number // 2}" for label in ("cat", "dog") for number in range(10)]
    (tmp_path / "groups.csv").write_text("\n".join(["file,group", *names]))
    settings = {"dataset": tmp_path / "photos", "image_size": 28, "resize": 32, "fit": "crop", "test_share": 0.4}
    run = train(
        "bn", arch="tiny", epochs=2, augmentation="crop_flip", groups=tmp_path / "groups.csv", out=tmp_path / "run",
        **settings,
    )  # fmt: skip
    record = run.config["data"]
    assert record["input_shape"] == [28, 28, 3] and record["train_size"] == [32, 32]
    division = record["reading"]["division"]
    assert (division["test_share"], division["train"], division["test"]) == (0.4, 12, 8)
    images, why = images_of(run)
    assert why == "" and images.shape == (8, 28, 28, 3)
    assert run.status == "finished" and len(run.history) == 2


def test_streamed_pictures_train_to_the_same_bits(tmp_path):
    pictures, rng = tmp_path / "pictures", np.random.default_rng(0)
    for label in "ab":
        (pictures / label).mkdir(parents=True)
        for number in range(30):
            pixels = rng.integers(0, 256, (28, 28)).astype("uint8")
            Image.fromarray(pixels).save(pictures / label / f"{number}.png")
    settings = {
        "norm": "bn", "arch": "tiny", "dataset": str(pictures), "epochs": 2, "batch_size": 16, "augmentation": "nudge",
    }  # fmt: skip
    whole = train(**settings, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(**settings, memory=1, out=tmp_path / "streamed", progress=StopAfter(0))
    resumed = train(**settings, memory="1kB", cache=tmp_path / "cache", out=tmp_path / "streamed")
    assert outcome(resumed.path) == outcome(whole.path)
