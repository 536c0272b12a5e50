"""Acceleration: any Keras model with our layers in place of Keras's own, measured against the model itself."""

import keras
import numpy as np
import pytest
from accelerating import KINDS, WIDE, assert_accelerated, assert_close, assert_same_variables, call, randomize
from backends import BACKEND, not_on_torch, tensorflow_only, value_and_gradients
from facts import says
from keras import layers
from tiny import array, images, one_layer

from tfnorm import build
from tfnorm import layers as ours
from tfnorm.convert import accelerate, to_keras
from tfnorm.errors import TfnormError

NORMS = [kind for kind in KINDS if kind.__name__.endswith("Normalization")]


def step(model, x, upstream):
    """Return the output in training, inside a graph as `fit` makes it, and the gradients of input and variables."""

    def run(x):
        return model(x, training=True)

    if BACKEND == "tensorflow":
        import tensorflow as tf

        run = tf.function(run)
    found = value_and_gradients(run, [x], upstream, model.trainable_variables)
    if BACKEND == "jax":  # where the statistics are not kept while it differentiates
        run(x)
    return found


# Each class, with settings that ours has too.

SERVED = [
    (layers.BatchNormalization, {}, (4, 4, 6)),
    (layers.BatchNormalization, {"axis": 1, "momentum": 0.5, "epsilon": 1e-2}, (6, 4, 4)),
    (layers.BatchNormalization, {"center": False, "scale": False}, (6,)),
    pytest.param(layers.BatchNormalization, {"synchronized": True}, (4, 4, 6), marks=tensorflow_only),
    (layers.BatchNormalization, {"gamma_regularizer": "l1", "beta_constraint": "max_norm"}, (None, None, 6)),
    (layers.LayerNormalization, {}, (4, 4, 6)),
    (layers.LayerNormalization, {"axis": (1, 2, 3)}, (4, 5, 6)),
    (layers.LayerNormalization, {"axis": [-2, -1], "center": False}, (4, 5, 6)),
    pytest.param(layers.LayerNormalization, {"axis": 1, "scale": False}, (4, 5, 6), marks=not_on_torch),
    (layers.LayerNormalization, {"center": False, "scale": False}, (None, None, 6)),
    (layers.GroupNormalization, {"groups": 3}, (4, 4, 6)),
    (layers.GroupNormalization, {"groups": -1}, (4, 4, 6)),
    (layers.GroupNormalization, {"groups": 2, "axis": 1}, (6, 4, 4)),
    (layers.GroupNormalization, {"groups": 2, "axis": -2, "scale": False}, (4, 6, 4)),
    (layers.RMSNormalization, {}, (4, 4, 6)),
    (layers.RMSNormalization, {"axis": [-2, -1]}, (4, 5, 6)),
    (layers.Dropout, {"rate": 0.5, "noise_shape": (None, 1, 1, 6)}, (4, 4, 6)),
    (layers.Dropout, {"rate": 0}, (4, 4, 6)),
    (layers.ReLU, {}, (4, 4, 6)),
    (layers.Activation, {"activation": "relu"}, (4, 4, 6)),
    *[(kind, {"dtype": "mixed_bfloat16"}, (4, 4, 32)) for kind in NORMS],
    (layers.Conv2D, {"filters": 4, "kernel_size": 3, "dtype": "mixed_bfloat16"}, (6, 6, 3)),
]


@pytest.mark.parametrize(("kind", "settings", "shape"), SERVED)
def test_a_layer(kind, settings, shape, seeded, request):
    if settings not in ({}, {"groups": 3}):  # one of each class is compiled
        request.getfixturevalue("not_compiled")
    model = randomize(one_layer(kind(name="one", **settings), shape), seeded)
    fast = accelerate(model)
    assert_accelerated(fast, model)
    assert type(fast.get_layer("one")) is KINDS[kind]
    tolerance = WIDE.get(settings.get("dtype"), 1e-5)
    x = images(seeded, 4, *(size or 5 for size in shape))
    assert_close(fast(x), model(x), tolerance)
    (y, gradients), (expected, stock) = (step(m, x, np.sin(call(model, x))) for m in (fast, model))
    assert_close(y, expected, tolerance)
    for gradient, same in zip(gradients, stock, strict=True):
        assert_close(gradient, same, 10 * tolerance)
    for weight, same in zip(fast.weights, model.weights, strict=True):  # moving statistics
        assert_close(weight, same, tolerance)
    assert to_keras(fast).get_config() == model.get_config()


def test_dropout(seeded):
    model = one_layer(layers.Dropout(0.25, seed=3), (32, 32, 8))
    x = np.ones((4, 32, 32, 8), "float32")
    model(x, training=True)
    fast, again = accelerate(model), accelerate(model)
    assert type(fast.layers[1]) is ours.Dropout
    assert fast.layers[1].seed == 3
    np.testing.assert_array_equal(array(fast.layers[1].seed_generator.state), [3, 1])
    np.testing.assert_array_equal(call(fast, x), x)
    out = call(fast, x, training=True)
    np.testing.assert_array_equal(call(again, x, training=True), out)
    assert set(np.unique(out)) == {0.0, np.float64(np.float32(1 / 0.75))}
    assert abs((out == 0).mean() - 0.25) < 0.01
    np.testing.assert_array_equal(array(to_keras(fast).layers[1].seed_generator.state), [3, 2])


# Layers that stay.


class OwnNorm(layers.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


class OwnBlock(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.BatchNormalization(name="inside")
        self.drop = layers.Dropout(0.5, seed=1, name="drop")

    def build(self, shape):
        self.norm.build(shape)

    def call(self, inputs, training=None):
        return self.drop(self.norm(inputs, training=training), training=training)


KEPT = [
    (OwnNorm, {}),
    (layers.BatchNormalization, {"epsilon": 0.0}),
    *([(layers.BatchNormalization, {"renorm": True})] if hasattr(layers.BatchNormalization(), "renorm") else []),
    (layers.LayerNormalization, {"epsilon": 0.0}),
    (layers.LayerNormalization, {"axis": [-1, 1]}),  # its weights are (channels, height)
    (layers.GroupNormalization, {"groups": 2, "epsilon": 0.0}),
    (layers.RMSNormalization, {"axis": 1}),  # its scale is applied to the channels
    (layers.ReLU, {"max_value": 6}),
    (layers.ReLU, {"negative_slope": 0.1}),
    (layers.ReLU, {"threshold": 0.1}),
    (layers.Activation, {"activation": "gelu"}),
    (layers.LeakyReLU, {}),
    (layers.SpatialDropout2D, {"rate": 0.5, "seed": 1}),
]


@pytest.mark.parametrize(("kind", "settings"), KEPT)
def test_a_layer_that_ours_does_not_serve_stays(kind, settings, seeded):
    model = randomize(one_layer(kind(**settings), (6, 6, 6)), seeded)
    fast = accelerate(model)
    assert type(fast.layers[1]) is kind
    assert fast.get_config() == model.get_config()
    assert_same_variables(fast.variables, model.variables)
    x = images(seeded, 4, 6, 6, 6)
    for training in (False, True):
        np.testing.assert_array_equal(call(fast, x, training=training), call(model, x, training=training))


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`")
def test_rms_scaling_stays(seeded):
    model = randomize(one_layer(layers.LayerNormalization(rms_scaling=True), (4, 6)), seeded)
    fast = accelerate(model)
    assert type(fast.layers[1]) is layers.LayerNormalization
    x = images(seeded, 4, 4, 6)
    np.testing.assert_array_equal(call(fast, x), call(model, x))


def test_axis_of_the_batch_stays(seeded):
    inputs = keras.Input(batch_shape=(4, 4))
    for layer in (layers.LayerNormalization(axis=0), layers.GroupNormalization(2, axis=0)):
        model = keras.Model(inputs, layer(inputs))
        assert type(accelerate(model).layers[1]) is type(layer)


def test_layers_inside_own_layers_stay(seeded):
    model = randomize(one_layer(OwnBlock(), (4, 4, 6)), seeded)
    x = images(seeded, 4, 4, 4, 6)
    model(x, training=True)
    fast = accelerate(model)
    assert type(fast.layers[1].norm) is layers.BatchNormalization
    assert_same_variables(fast.variables, model.variables)
    np.testing.assert_array_equal(call(fast, x, training=True), call(model, x, training=True))


def test_nothing_to_change_gives_a_copy(seeded):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, activation="relu"), layers.Dense(2)])
    copy = accelerate(model)
    assert copy is not model
    assert copy.get_config() == model.get_config()
    assert_same_variables(copy.weights, model.weights)
    copy.layers[0].kernel.assign_add(keras.ops.ones((6, 4)))
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(array(copy.layers[0].kernel), array(model.layers[0].kernel))
    fast = build(norm="bn", compile=False)
    assert accelerate(fast).get_config() == fast.get_config()


# Networks that others use. Without a top, so that no dropout differs.

APPLICATIONS = {
    "ResNet50": lambda **kwargs: keras.applications.ResNet50(**kwargs),
    "MobileNetV2": lambda **kwargs: keras.applications.MobileNetV2(alpha=0.35, **kwargs),
    "EfficientNetB0": lambda **kwargs: keras.applications.EfficientNetB0(**kwargs),
}


@pytest.mark.matrix
@pytest.mark.parametrize("name", APPLICATIONS)
def test_applications(name, seeded):
    model = APPLICATIONS[name](weights=None, include_top=False, pooling="avg", input_shape=(48, 48, 3))
    fast = accelerate(model)
    assert_accelerated(fast, model)
    changed = [type(layer) for layer in fast.layers if type(layer).__module__.startswith("tfnorm.")]
    assert changed.count(ours.BatchNormalization) == sum(
        type(layer) is layers.BatchNormalization for layer in model.layers
    )
    assert (ours.Activation in changed) == (name == "ResNet50")
    x = seeded.integers(0, 256, (4, 48, 48, 3)).astype("float32")
    assert_close(fast(x), model(x))
    # Batch norm over few pixels of a random network amplifies rounding from layer to layer.
    assert_close(fast(x, training=True), model(x, training=True), 1e-3)
    for weight, same in zip(fast.weights, model.weights, strict=True):
        assert_close(array(weight) + 1, array(same) + 1, 1e-3)  # means of 0 are noise


# Layers that cannot be made again.


class NoConfig(layers.Layer):
    def __init__(self):
        super().__init__()


class NoGetConfig(layers.Layer):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function


@pytest.mark.parametrize("convert", [accelerate, to_keras])
@pytest.mark.parametrize("layer", [NoConfig(), NoGetConfig(object())])
def test_a_layer_that_cannot_be_made_again_is_refused(layer, convert):
    layer.name = "odd"
    with pytest.raises(TfnormError) as caught:
        convert(keras.Sequential([keras.Input((4,)), layer]))
    says(caught, f"{type(layer).__name__} 'odd'", "get_config", "__init__", "**kwargs")
