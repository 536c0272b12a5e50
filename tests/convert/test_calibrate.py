"""Calibration: least squares against NumPy's, and outputs that come closer on any graph."""

import keras
import numpy as np
import pytest
from facts import says
from keras import layers
from tiny import array, functional, images

from tfnorm import build
from tfnorm.convert import insert_norms, replace_norms
from tfnorm.errors import TfnormError

pytestmark = pytest.mark.usefixtures("not_compiled")


def randomize(model, rng):
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            for weight in layer.weights:
                weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


def difference(new, model, x):
    pairs = list(zip(*([array(y) for y in keras.tree.flatten(m(x))] for m in (new, model)), strict=True))
    return np.sqrt(sum(((a - b) ** 2).sum() for a, b in pairs) / sum((b**2).sum() for _, b in pairs))


def unit(layer, x):
    """Return what ``layer`` computes with gamma 1 and beta 0."""
    copy = type(layer).from_config(layer.get_config())
    return array(copy(x))


def assert_reported(new, model, x, report):
    before, after = report.difference
    assert after == pytest.approx(difference(new, model, x), rel=1e-3, abs=1e-6)
    return before, after


@pytest.mark.parametrize("spec", ["gn:3", "in", "ln:channel", "ln", "frn", "rms"])
def test_one_norm_is_fitted_by_least_squares(spec, seeded):
    model = randomize(functional((4, 5, 12), layers.BatchNormalization(name="norm")), seeded)
    x = images(seeded, 6, 4, 5, 12)
    new, report = replace_norms(model, spec, calibrate=x, return_report=True)
    before, after = assert_reported(new, model, x, report)
    assert after < before
    layer = new.get_layer("norm")
    z, y = unit(layer, x).reshape(-1, 12), array(model(x)).reshape(-1, 12)
    for channel in range(12):
        columns = [z[:, channel]] if spec == "rms" else [z[:, channel], np.ones(len(z))]
        expected = np.linalg.lstsq(np.stack(columns, axis=1), y[:, channel], rcond=None)[0]
        weights = [array(weight)[..., channel] for weight in layer.weights]
        for weight, number in zip(weights, expected, strict=True):
            np.testing.assert_allclose(weight, number, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{"scale": False}, {"center": False}, {"scale": False, "center": False}])
def test_a_norm_without_gamma_or_beta(settings, seeded):
    model = randomize(functional((4, 5, 12), layers.BatchNormalization(name="norm", **settings)), seeded)
    x = images(seeded, 6, 4, 5, 12)
    new, report = replace_norms(model, "gn:3", calibrate=x, return_report=True)
    before, after = assert_reported(new, model, x, report)
    layer = new.get_layer("norm")
    z, y = unit(layer, x).reshape(-1, 12), array(model(x)).reshape(-1, 12)
    if layer.center:
        np.testing.assert_allclose(array(layer.beta), (y - z).mean(axis=0), rtol=1e-4, atol=1e-5)
    elif layer.scale:
        np.testing.assert_allclose(array(layer.gamma), (y * z).sum(axis=0) / (z * z).sum(axis=0), rtol=1e-4)
    else:
        assert after == before


def test_batch_norm_takes_the_statistics_of_the_batch_and_is_exact(seeded):
    model = functional((4, 5, 12), layers.GroupNormalization(4, name="norm"))
    x = images(seeded, 6, 4, 5, 12) + 1e3
    new, report = replace_norms(model, "bn", calibrate=x, return_report=True)
    assert report.changes[0].note == ""
    norm = new.get_layer("norm")
    np.testing.assert_allclose(array(norm.moving_mean), x.astype("float64").mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(array(norm.moving_variance), x.astype("float64").var((0, 1, 2)), rtol=1e-3)
    again = randomize(functional((4, 5, 12), layers.BatchNormalization()), seeded)
    x = images(seeded, 6, 4, 5, 12)
    assert difference(replace_norms(again, "bn", calibrate=x), again, x) < 1e-6


def test_a_channel_without_variance_keeps_its_gamma(seeded):
    model = randomize(functional((4, 5, 6), layers.BatchNormalization(name="norm")), seeded)
    x = images(seeded, 6, 4, 5, 6)
    x[..., 2] = 3.0
    new = replace_norms(model, "in", calibrate=x)
    assert new.get_layer("norm").gamma[2] == model.get_layer("norm").gamma[2]
    np.testing.assert_allclose(array(new(x))[..., 2], array(model(x))[..., 2], rtol=1e-5)


def test_a_shared_norm_is_fitted_to_all_its_calls(seeded):
    norm = layers.BatchNormalization(name="norm")
    model = functional((4, 5, 6), lambda x: [norm(x), norm(3.0 * x[:, :2] + 1.0)])
    randomize(model, seeded)
    x = images(seeded, 6, 4, 5, 6)
    new = replace_norms(model, "in", calibrate=x)
    layer = new.get_layer("norm")
    z = np.concatenate([unit(layer, part).reshape(-1, 6) for part in (x, 3 * x[:, :2] + 1)])
    y = np.concatenate([array(part).reshape(-1, 6) for part in model(x)])
    gamma = [np.polyfit(z[:, channel], y[:, channel], 1) for channel in range(6)]
    np.testing.assert_allclose(np.stack([array(layer.gamma), array(layer.beta)], axis=1), gamma, rtol=1e-4, atol=1e-4)


def test_channels_first_and_layer_norm(seeded):
    model = randomize(functional((6, 4, 5), layers.BatchNormalization(axis=1, name="norm")), seeded)
    x = images(seeded, 8, 6, 4, 5)
    new, report = replace_norms(model, "ln", calibrate=x, return_report=True)
    before, after = assert_reported(new, model, x, report)
    assert after < before
    gamma = array(new.get_layer("norm").gamma)
    np.testing.assert_array_equal(gamma, np.broadcast_to(gamma[:, :1, :1], gamma.shape))


def two_inputs(rng):
    block = functional((4, 4, 6), lambda x: layers.ReLU()(layers.BatchNormalization(name="norm")(x)), name="block")
    tail = keras.Sequential([keras.Input((4, 4, 6)), layers.BatchNormalization(), layers.Dense(3)], name="tail")
    rows = layers.TimeDistributed(layers.BatchNormalization(), name="rows")
    inputs = {name: keras.Input((4, 4, 3), name=name) for name in ("b", "a")}
    x = layers.Add()([layers.Conv2D(6, 1)(inputs["a"]), layers.Conv2D(6, 1)(inputs["b"])])
    x = layers.Dropout(0.5)(block(block(x)))
    return randomize(keras.Model(inputs, {"y": tail(rows(x)), "x": x}), rng)


def test_any_graph(seeded):
    model = two_inputs(seeded)
    x = {"a": images(seeded, 16, 4, 4, 3), "b": images(seeded, 16, 4, 4, 3)}
    statistics = [array(weight) for weight in model.non_trainable_weights]
    new, report = replace_norms(model, "gn:2", calibrate=x, return_report=True)
    before, after = assert_reported(new, model, x, report)
    assert after < before
    says(str(report).splitlines()[-1], f"{before:.3g}", f"calibration {after:.3g}")
    for weight, same in zip(model.non_trainable_weights, statistics, strict=True):
        np.testing.assert_array_equal(array(weight), same)


def test_layers_that_are_random_in_training_are_calm(seeded):
    model = functional((8, 8, 3), lambda x: layers.BatchNormalization()(layers.RandomContrast(0.9)(x)))
    x = images(seeded, 8, 8, 8, 3)
    new, report = replace_norms(model, "gn:1", calibrate=x, return_report=True)
    assert report.difference[1] == pytest.approx(difference(new, lambda x: model(x, training=False), x), rel=1)


def test_a_network(seeded):
    model = randomize(build(norm="bn", seed=1, compile=False), seeded)
    x = seeded.integers(0, 256, (16, 28, 28, 1)).astype("float32")
    for spec in ("gn:2", "ln", "gn:2+ws"):
        new, report = replace_norms(model, spec, calibrate=x, return_report=True)
        before, after = assert_reported(new, model, x, report)
        assert after < before / 2
        assert difference(replace_norms(model, spec), model, x) == pytest.approx(before, rel=1e-3)


def test_worse_weights_are_not_kept(seeded):
    # Both norms are off by the same, and only one of them can be fitted.
    def make(x):
        fixed = layers.BatchNormalization(center=False, scale=False)
        return x + layers.Subtract()([fixed(x), layers.BatchNormalization(name="norm")(x)])

    x = images(seeded, 4, 4, 5, 6)
    new, report = replace_norms(functional((4, 5, 6), make), "gn:3", calibrate=x, return_report=True)
    assert report.difference == (0, 0)
    np.testing.assert_array_equal(array(new.get_layer("norm").gamma), np.ones(6))
    np.testing.assert_array_equal(array(new.get_layer("norm").beta), np.zeros(6))


def test_an_inserted_batch_norm_changes_nothing(seeded):
    model = build("resnet20", norm="none", seed=1, compile=False)
    x = seeded.integers(0, 256, (8, 32, 32, 3)).astype("float32")
    new, report = insert_norms(model, "bn", calibrate=x, return_report=True)
    before, after = assert_reported(new, model, x, report)
    assert before > 1e-3 and after < 1e-5


@pytest.mark.parametrize("spec", ["gn:2", "gn:2+ws", "frn"])
def test_inserted_norms_with_split_activations(spec, seeded):
    def make(x):
        for number in range(3):
            x = layers.Conv2D(6, 3, activation="relu", name=f"conv{number}")(x)
        return layers.Dense(4)(layers.Flatten()(x))

    model = functional((10, 10, 3), make)
    x = images(seeded, 16, 10, 10, 3)
    new, report = insert_norms(model, spec, calibrate=x, return_report=True)
    before, after = assert_reported(new, model, x, report)
    assert after < before


def test_batches_that_do_not_fit():
    model = keras.Model(inputs := keras.Input((4, 4, 6), name="x"), layers.BatchNormalization()(inputs), name="net")
    with pytest.raises(TfnormError) as caught:
        replace_norms(model, "gn:2", calibrate=np.ones((2, 5, 5, 6)))
    says(caught, "`calibrate`", "'net'", "(None, 4, 4, 6) for 'x'", "(2, 5, 5, 6)")
    with pytest.raises(TfnormError, match="`calibrate`.*'net'.*Invalid input"):
        replace_norms(model, "gn:2", calibrate=np.ones((2, 5)))
    for batch, facts in (
        (np.ones((2, 4, 4, 6)).tolist(), ("`calibrate`", "array", "list")),
        (np.ones((0, 4, 4, 6)), ("`calibrate`", "at least one image", "none")),
    ):
        with pytest.raises(TfnormError) as caught:
            replace_norms(model, "gn:2", calibrate=batch)
        says(caught, *facts)


def test_removed_norms_have_nothing_to_calibrate():
    with pytest.raises(TfnormError) as caught:
        replace_norms(functional((4, 4, 6), layers.BatchNormalization()), "none", calibrate=np.ones((2, 4, 4, 6)))
    says(caught, "`calibrate`", "'none'")
