"""What accelerated models are checked with."""

import keras
import numpy as np
from keras import layers
from tiny import all_layers, array, images

from tfnorm import layers as ours

KINDS = {
    getattr(layers, name): getattr(ours, name)
    for name in (
        "Activation",
        "BatchNormalization",
        "Conv2D",
        "Dropout",
        "GroupNormalization",
        "LayerNormalization",
        "ReLU",
        "RMSNormalization",
    )
}
WIDE = {"mixed_bfloat16": 2e-2, "mixed_float16": 3e-3}


def call(model, x, **options):
    return array(model(x, **options))


def randomize(model, rng):
    for variable in model.weights:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def assert_close(actual, expected, tolerance=1e-5):
    """Check within ``tolerance`` of the largest number that is expected."""
    expected = array(expected)
    np.testing.assert_allclose(array(actual), expected, rtol=0, atol=tolerance * max(np.abs(expected).max(), 1e-30))


def assert_same_variables(variables, expected):
    for variable, same in zip(variables, expected, strict=True):
        assert variable is not same
        assert variable.name == same.name
        assert variable.dtype == same.dtype
        np.testing.assert_array_equal(array(variable), array(same))


def assert_accelerated(fast, model):
    """Check that each layer is the one that is promised, with the same name and state."""
    for layer, old in zip(all_layers(fast), all_layers(model), strict=True):
        assert layer.name == old.name
        assert layer.trainable == old.trainable
        assert layer.dtype_policy == old.dtype_policy
        kind = KINDS.get(type(old), type(old))
        stays = isinstance(old, layers.Conv2D) and old.compute_dtype == "float32"
        stays |= isinstance(old, layers.ReLU) and old.max_value is not None
        stays |= isinstance(old, layers.Activation) and old.activation is not keras.activations.relu
        assert type(layer) is (type(old) if stays else kind)
    assert type(fast) is type(model)
    assert fast.name == model.name
    assert_same_variables(fast.variables, model.variables)
    assert [w.path for w in fast.weights] == [w.path for w in model.weights]


def network(rate=0.0):
    """Return a small network that has every class."""
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, name="conv1")(inputs)
    x = layers.ReLU(name="relu1")(layers.BatchNormalization(name="bn1")(x))
    y = layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv2")(x)
    y = layers.BatchNormalization(name="bn2")(y)
    x = layers.Activation("relu", name="relu2")(layers.Add(name="add")([x, y]))
    x = layers.Conv2D(16, 3, strides=2, name="conv3")(layers.Dropout(rate, seed=1, name="drop")(x))
    x = layers.Activation("relu", name="relu3")(layers.GroupNormalization(4, name="gn")(x))
    x = layers.Dense(32, name="dense1")(layers.LayerNormalization(name="ln")(layers.Flatten(name="flat")(x)))
    x = layers.Dense(4, name="dense2")(layers.RMSNormalization(name="rms")(x))
    return keras.Model(inputs, x, name="small")


def compiled(model, optimizer=None):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metrics = ["accuracy", keras.metrics.SparseCategoricalAccuracy(name="own")]
    model.compile(optimizer or keras.optimizers.SGD(0.05, momentum=0.9), loss, metrics=metrics)
    return model


def batch(rng):
    return images(rng, 8, 12, 12, 3), rng.integers(0, 4, 8)


def advanced(model, rng):
    """Give the optimizer of a compiled model a state, as if it had trained."""
    model.optimizer.build(model.trainable_variables)
    for variable in model.optimizer.variables:
        variable.assign(rng.uniform(1, 9, variable.shape).astype(variable.dtype))
    return model
