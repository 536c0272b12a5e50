"""What models with folded batch norms are checked with."""

import keras
import numpy as np
import pytest
from keras import layers
from tiny import all_layers, array, channels_first_runs, images

from tfnorm import layers as ours
from tfnorm.convert import fold_batch_norm

BATCH_NORMS = (layers.BatchNormalization, ours.BatchNormalization)

needs_channels_first = pytest.mark.skipif(
    not channels_first_runs(), reason="TensorFlow convolves images with channels first on some processors only"
)


def randomize(model, rng):
    """Give the batch norms weights of their own, negative scales among them, and the others biases."""
    for layer in all_layers(model):
        if isinstance(layer, BATCH_NORMS):
            for weight in layer.weights:
                sign = rng.choice([-1, 1], weight.shape) if weight.name == "gamma" else 1
                weight.assign(rng.uniform(0.5, 1.5, weight.shape) * sign)
        elif getattr(layer, "use_bias", False):
            layer.bias.assign(rng.normal(size=layer.bias.shape))
    return model


def batch(model, rng, size=3):
    return images(rng, size, *(side or 7 for side in model.input_shape[1:]))


def assert_same_outputs(folded, model, rng, tolerance=1e-5):
    x = batch(model, rng)
    for out, same in zip(*(keras.tree.flatten(m(x)) for m in (folded, model)), strict=True):
        expected = array(same)
        np.testing.assert_allclose(array(out), expected, rtol=0, atol=tolerance * np.abs(expected).max())


def fold(model, rng, tolerance=1e-5):
    """Fold, check the outputs, and return the model, the folded norms with their layers, and the reasons of others."""
    folded, report = fold_batch_norm(randomize(model, rng), return_report=True)
    assert_same_outputs(folded, model, rng, tolerance)
    assert len(report.changes) + len(report.kept) == sum(isinstance(layer, BATCH_NORMS) for layer in all_layers(model))
    assert len(report.kept) == sum(isinstance(layer, BATCH_NORMS) for layer in all_layers(folded))
    assert {change.before for change in (*report.changes, *report.kept)} <= {"BatchNormalization", "OwnNorm"}
    return folded, {c.layer: c.after for c in report.changes}, {c.layer: c.note for c in report.kept}


def chain(shape, *parts):
    return keras.Sequential([keras.Input(shape), *parts])


def bn(name="bn", **settings):
    return layers.BatchNormalization(name=name, **settings)
