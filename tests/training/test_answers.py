"""A network's answers averaged over views: what the views are, what is averaged, and what is kept."""

import keras
import numpy as np
import pytest

from tfnorm.datasets import augment_layers, load
from tfnorm.errors import RunError, TfnormError
from tfnorm.training.answers import VIEWS, accuracy_of_views, answers, moved, recorded_accuracies
from tfnorm.training.folder import read_json, write_json
from tfnorm.training.trainer import train


@pytest.fixture(scope="module")
def weighing():
    """A model whose logits weigh each pixel of a 4 x 5 image apart, so that no two views give the same."""
    image = keras.Input((4, 5, 1))
    logits = keras.layers.Dense(3, use_bias=False)(keras.layers.Flatten()(image))
    model = keras.Model(image, logits)
    model.set_weights([np.random.default_rng(0).normal(size=(20, 3)).astype("float32")])
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (7, 4, 5, 1)).astype("uint8")


def by_hand(model, *views):
    weights = model.get_weights()[0].astype("float64")
    return np.mean([view.reshape(len(view), -1) @ weights for view in views], axis=0)


def shifted(images, down, right):
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="symmetric")
    return padded[:, 1 - down : 5 - down, 1 - right : 6 - right]


SHIFTS = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]


def test_without_views_an_answer_is_the_network_s(weighing, images):
    np.testing.assert_array_equal(answers(weighing, images), weighing.predict_on_batch(images))


@pytest.mark.parametrize("name", VIEWS)
def test_answers_are_the_mean_over_the_views_that_are_described(weighing, images, name):
    flipped, nudged = "flip" in name, "nudge" in name
    of = [shifted(images, *shift) for shift in (SHIFTS if nudged else SHIFTS[:1])]
    of += [shifted(images[:, :, ::-1], *shift) for shift in (SHIFTS if nudged else SHIFTS[:1])] if flipped else []
    assert len(VIEWS[name]) == len(of)
    assert ("mirror" in VIEWS[name].description) is flipped and ("moved" in VIEWS[name].description) is nudged
    found = answers(weighing, images, name)
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, by_hand(weighing, *of), rtol=1e-4)


def test_mirror_images_get_the_same_answer_of_mirrored_views(weighing, images):
    for name in ("flip", "flip_nudge"):
        np.testing.assert_allclose(
            answers(weighing, images, name), answers(weighing, images[:, :, ::-1], name), rtol=1e-4
        )
    assert not np.allclose(answers(weighing, images, "nudge"), answers(weighing, images[:, :, ::-1], "nudge"), rtol=0.1)


def test_images_are_moved_as_the_augmentation_moves_them(images):
    layer = augment_layers.RandomShift(translation=0.5, fill_mode="reflect", seed=0)
    several = np.repeat(images[:1], 300, axis=0)
    seen = {np.asarray(image).astype("uint8").tobytes() for image in layer(several, training=True)}
    all_moves = {moved(images[:1], down, right).tobytes() for down in range(-2, 3) for right in range(-2, 3)}
    assert seen == all_moves


def test_unknown_views_are_refused_with_those_that_there_are(weighing, images):
    with pytest.raises(TfnormError, match="set of views.*flip_nudge"):
        answers(weighing, images, "flips")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train("gn:2", dataset="digits", epochs=1, out=tmp_path_factory.mktemp("runs") / "gn")


def test_the_accuracy_of_views_is_that_of_their_answers_and_is_kept(trained, monkeypatch):
    data = load("digits", image_size=(28, 28))
    assert recorded_accuracies(trained) == {}
    found = accuracy_of_views(trained, "nudge", data)
    of = [trained.load_model().predict_on_batch(shifted_large(data.x_test, *shift)) for shift in SHIFTS]
    assert found == pytest.approx(100 * np.mean(np.mean(of, axis=0).argmax(-1) == data.y_test))
    accuracy_of_views(trained, "flip", data)
    assert set(recorded_accuracies(trained)) == {"nudge", "flip"}
    monkeypatch.setattr(type(trained), "load_model", None)
    assert accuracy_of_views(trained, "nudge", data) == found


def shifted_large(images, down, right):
    side = images.shape[1]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="symmetric")
    return padded[:, 1 - down : 1 - down + side, 1 - right : 1 - right + side]


def test_what_was_kept_of_another_network_is_computed_again(trained):
    data = load("digits", image_size=(28, 28))
    found = accuracy_of_views(trained, "flip", data)
    write_json(trained.path / "views.json", {"predictions": "of another", "accuracy": {"flip": 1.0}})
    assert recorded_accuracies(trained) == {}
    assert accuracy_of_views(trained, "flip", data) == found
    assert read_json(trained.path / "views.json")["accuracy"] == {"flip": found}


def test_other_data_and_unknown_views_are_refused_before_anything_is_computed(trained, monkeypatch):
    monkeypatch.setattr(type(trained), "load_model", None)
    with pytest.raises(RunError, match="trained on other data"):
        accuracy_of_views(trained, "flip", load("digits", image_size=(28, 28)).hold_out(0.1))
    with pytest.raises(TfnormError, match="set of views"):
        accuracy_of_views(trained, "every", load("digits", image_size=(28, 28)))
