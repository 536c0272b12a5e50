"""A network's logits averaged over views: what the views are, what is averaged, and what is kept."""

import keras
import numpy as np
import pytest

from tfnorm.datasets import load
from tfnorm.datasets.augment.create import layers as augment_layers
from tfnorm.errors import RunError, TfnormError
from tfnorm.training import predict
from tfnorm.training.folder import read_json, write_json
from tfnorm.training.predict import VIEWS, Views, moved, predict_logits, recorded_views, views_accuracy
from tfnorm.training.runs import Run
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
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="symmetric")
    return padded[:, 1 - down : 1 - down + height, 1 - right : 1 - right + width]


SHIFTS = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]


def test_without_views_logits_are_the_network_s(weighing, images):
    np.testing.assert_array_equal(predict_logits(weighing, images), weighing.predict_on_batch(images))


@pytest.mark.parametrize("name", VIEWS)
def test_logits_are_the_mean_over_the_views_that_are_described(weighing, images, name):
    flipped, nudged = "flip" in name, "nudge" in name
    of = [shifted(images, *shift) for shift in (SHIFTS if nudged else SHIFTS[:1])]
    of += [shifted(images[:, :, ::-1], *shift) for shift in (SHIFTS if nudged else SHIFTS[:1])] if flipped else []
    assert len(VIEWS[name]) == len(of)
    assert ("mirror" in VIEWS[name].description) is flipped and ("moved" in VIEWS[name].description) is nudged
    found = predict_logits(weighing, images, name)
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, by_hand(weighing, *of), rtol=1e-4)


def test_mirror_images_have_the_same_logits_over_mirrored_views(weighing, images):
    mirrored = images[:, :, ::-1]
    for name in ("flip", "flip_nudge"):
        found = predict_logits(weighing, images, name)
        np.testing.assert_allclose(found, predict_logits(weighing, mirrored, name), rtol=1e-4)
    nudged = predict_logits(weighing, images, "nudge")
    assert not np.allclose(nudged, predict_logits(weighing, mirrored, "nudge"), rtol=0.1)


def test_edges_are_filled_as_the_augmentation_fills_them(images):
    layer = augment_layers.RandomShift(translation=0.5, fill_mode="reflect", seed=0)
    several = np.repeat(images[:1], 300, axis=0)
    seen = {np.asarray(image).astype("uint8").tobytes() for image in layer(several, training=True)}
    assert seen == {moved(images[:1], down, right).tobytes() for down in range(-2, 3) for right in range(-2, 3)}


def test_what_cannot_be_used_is_refused_in_a_sentence(weighing, images):
    with pytest.raises(TfnormError, match="set of views.*flip_nudge"):
        predict_logits(weighing, images, "flips")
    for wrong in (images[:0], images[0], images[..., 0], []):
        with pytest.raises(TfnormError, match="one image or more.*Received: shape"):
            predict_logits(weighing, wrong, "flip")
    np.testing.assert_array_equal(predict_logits(weighing, images.tolist()), predict_logits(weighing, images))


@pytest.fixture(scope="module")
def data():
    return load("digits", image_size=(28, 28))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train("gn:2", dataset="digits", epochs=1, precision="bfloat16", out=tmp_path_factory.mktemp("runs") / "gn")


def refused(*_):
    raise AssertionError("the network was opened")


def test_the_opened_network_predicts_what_the_run_recorded(trained, data):
    np.testing.assert_array_equal(predict_logits(trained.load_model(), data.x_test), trained.logits)


@pytest.mark.matrix
def test_the_accuracy_over_views_is_that_of_their_logits_and_is_kept(trained, data, monkeypatch):
    assert recorded_views(trained, "nudge") is None
    found = views_accuracy(trained, "nudge", data)
    of = [trained.load_model().predict_on_batch(shifted(data.x_test, *shift)).astype("float64") for shift in SHIFTS]
    assert found == pytest.approx(100 * np.mean(np.mean(of, axis=0).argmax(-1) == data.y_test))
    flipped = views_accuracy(trained, "flip", data)
    assert flipped != found
    monkeypatch.setattr(Run, "load_model", refused)
    for name, accuracy in (("nudge", found), ("flip", flipped)):
        kept = recorded_views(trained, name)
        assert views_accuracy(trained, name, data) == kept["accuracy"] == accuracy
        assert kept["versions"] == trained.config["versions"]
        assert kept["machine"]["processor"] == trained.config["machine"]["processor"]
        assert kept["started"] >= trained.config["started"]


@pytest.mark.matrix
def test_what_was_kept_of_other_views_is_computed_again(trained, data, monkeypatch):
    before = views_accuracy(trained, "flip", data)
    monkeypatch.setitem(predict.VIEWS._items, "flip", Views("the image, moved down", shifts=((1, 0),)))
    assert recorded_views(trained, "flip") is None
    assert views_accuracy(trained, "flip", data) != before


@pytest.mark.matrix
@pytest.mark.parametrize("content", ["{", '{"schema_version": 1}', '{"schema_version": 0, "predictions": ""}'])
def test_a_damaged_record_is_written_again(trained, data, content):
    found = views_accuracy(trained, "nudge", data)
    (trained.path / "views.json").write_text(content)
    assert recorded_views(trained, "nudge") is None
    assert views_accuracy(trained, "nudge", data) == found
    assert read_json(trained.path / "views.json")["views"]["nudge"]["accuracy"] == found


@pytest.mark.matrix
def test_what_was_kept_of_a_network_before_it_was_trained_again_is_none_of_its_own(trained, data, tmp_path):
    run = train("ln", dataset="digits", epochs=1, out=tmp_path / "ln")
    views_accuracy(run, "nudge", data)
    write_json(trained.path / "views.json", read_json(run.path / "views.json"))
    assert recorded_views(run, "nudge") is not None and recorded_views(trained, "nudge") is None
    (trained.path / "views.json").unlink()


@pytest.mark.matrix
def test_other_data_unknown_views_and_diverged_runs_are_refused(trained, data, monkeypatch):
    monkeypatch.setattr(Run, "load_model", refused)
    with pytest.raises(RunError, match="trained on other data"):
        views_accuracy(trained, "flip", data.hold_out(0.1))
    with pytest.raises(TfnormError, match="set of views"):
        views_accuracy(trained, "every", data)
    monkeypatch.setitem(trained.result, "status", "diverged")
    with pytest.raises(RunError, match="is diverged"):
        views_accuracy(trained, "flip", data)
