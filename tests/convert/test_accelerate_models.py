"""Acceleration: nested, shared, sequential and other models, their state and files."""

import keras
import numpy as np
import pytest
from accelerating import (
    WIDE,
    advanced,
    assert_accelerated,
    assert_close,
    assert_same_variables,
    batch,
    call,
    compiled,
    network,
    randomize,
)
from backends import tensorflow_only
from facts import says
from keras import layers
from tiny import array, images, one_layer, runs

from tfnorm import layers as ours
from tfnorm.convert import accelerate, to_keras
from tfnorm.errors import TfnormError


@pytest.mark.parametrize("start", ["input", "call"])
def test_sequential(start, seeded):
    parts = [layers.Conv2D(8, 3), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.5), layers.Dense(2)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *parts] if start == "input" else parts, name="chain")
    x = images(seeded, 2, 8, 8, 3)
    expected = call(model, x)
    fast = accelerate(model)
    assert_accelerated(fast, model)
    assert_close(fast(x), expected)
    assert to_keras(fast).get_config() == model.get_config()


def test_nested_models_and_shared_layers(seeded):
    inside = keras.Input((8, 8, 8), name="inside")
    shared = layers.BatchNormalization(name="shared")
    block = keras.Model(inside, layers.ReLU(name="relu")(shared(inside)), name="block")
    tail = keras.Sequential([keras.Input((8, 8, 8)), layers.GroupNormalization(4), layers.Dense(2)], name="tail")
    inputs = keras.Input((8, 8, 3), name="images")
    x = layers.Conv2D(8, 3, padding="same", name="conv")(inputs)
    x = shared(block(block(x)) + 1.0)
    model = randomize(keras.Model({"images": inputs}, [tail(x), x], name="all"), seeded)
    fast = accelerate(model)
    assert_accelerated(fast, model)
    assert fast.get_layer("shared") is fast.get_layer("block").get_layer("shared")
    assert [op.name for op in fast.operations] == [op.name for op in model.operations]
    pictures = {"images": images(seeded, 4, 8, 8, 3)}
    for out, same in zip(fast(pictures), model(pictures), strict=True):
        assert_close(out, same)
    for out, same in zip(fast(pictures, training=True), model(pictures, training=True), strict=True):
        assert_close(out, same)
    for weight, same in zip(fast.weights, model.weights, strict=True):  # a shared norm counts each use
        assert_close(weight, same)
    assert to_keras(fast).get_config() == model.get_config()


def test_part_of_a_model(seeded):
    whole = randomize(network(), seeded)
    part = keras.Model(whole.get_layer("relu1").output, whole.get_layer("relu3").output)
    fast = accelerate(part)
    assert_accelerated(fast, part)
    x = images(seeded, 2, 10, 10, 8)
    assert_close(fast(x), part(x))


def test_one_model_for_every_frame(seeded):
    frame = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(8, 3), layers.BatchNormalization(), layers.ReLU()])
    inputs = keras.Input((5, 8, 8, 3))
    x = layers.TimeDistributed(layers.LayerNormalization(), name="each")(layers.TimeDistributed(frame)(inputs))
    model = randomize(keras.Model(inputs, x), seeded)
    fast = accelerate(model)
    assert_accelerated(fast, model)
    assert type(fast.get_layer("each").layer) is ours.LayerNormalization
    x = images(seeded, 2, 5, 8, 8, 3)
    for training in (False, True):
        assert_close(fast(x, training=training), model(x, training=training))
    assert to_keras(fast).get_config() == model.get_config()


def test_masks(seeded):
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 6, mask_zero=True)(inputs)
    x = layers.Dropout(0.5)(layers.LayerNormalization()(layers.BatchNormalization()(x)))
    model = keras.Model(inputs, layers.LSTM(3)(x))
    fast = accelerate(model)
    assert_accelerated(fast, model)
    words = seeded.integers(0, 7, (4, 5))
    assert_close(fast(words), model(words))
    without = [keras.Model(m.input, m.layers[2].output) for m in (fast, model)]
    assert_close(*(m(words, training=True) for m in without))
    assert_close(fast.layers[2].moving_variance, model.layers[2].moving_variance)


def test_whole_numbers(seeded):
    inputs = keras.Input((6,), dtype="uint8")
    model = randomize(keras.Model(inputs, layers.BatchNormalization()(inputs)), seeded)
    fast = accelerate(model)
    assert_accelerated(fast, model)
    x = seeded.integers(0, 256, (4, 6)).astype("uint8")
    for training in (False, True):
        assert_close(fast(x, training=training), model(x, training=training))


def test_optional_input(seeded):
    class Sum(layers.Layer):
        def call(self, x, y=None):
            return x if y is None else x + y

    inputs = [keras.Input((6,), name="a"), keras.Input((6,), name="b", optional=True)]
    model = keras.Model(inputs, layers.BatchNormalization()(Sum()(*inputs)))
    fast = accelerate(model)
    x = images(seeded, 4, 6)
    assert_close(fast([x, x]), model([x, x]))
    if runs(lambda: model([x, None])):  # not with every Keras
        assert_close(fast([x, None]), model([x, None]))


def test_a_class_with_its_own_training_step(seeded):
    class Own(keras.Model):
        def train_step(self, data):
            return {"loss": keras.ops.zeros(()) + 7.0}

    inputs = keras.Input((6,))
    model = Own(inputs, layers.BatchNormalization()(inputs))
    model.compile("sgd", "mse")
    fast = accelerate(model)
    assert_accelerated(fast, model)
    assert fast.train_on_batch(np.ones((2, 6)), np.ones((2, 6)), return_dict=True)["loss"] == 7


# State that is no weight, and layers made with functions.


def test_statistics_of_normalization_layers(seeded):
    layer = layers.Normalization()
    layer.adapt(images(seeded, 50, 6))
    model = one_layer(layer, (6,))
    x = images(seeded, 4, 6)
    np.testing.assert_array_equal(call(accelerate(model), x), call(model, x))


@tensorflow_only  # has tensors of strings
def test_vocabularies():
    layer = layers.StringLookup()
    layer.adapt(["a", "b", "c", "a"])
    inputs = keras.Input((1,), dtype="string")
    model = keras.Model(inputs, layer(inputs))
    words = keras.ops.convert_to_tensor([["c"], ["a"], ["x"]], dtype="string")
    np.testing.assert_array_equal(call(accelerate(model), words), call(model, words))


def test_functions_of_ones_own(seeded):
    factor = 3.0

    def triple(x):
        return factor * x

    inputs = keras.Input((6,))
    x = layers.Lambda(triple)(layers.Lambda(lambda x: np.float32(factor) * x)(inputs))
    x = layers.Dense(6, activation=triple)(layers.Activation(triple)(x))
    settings = {"beta_regularizer": triple}
    if not runs(lambda: layers.BatchNormalization(**settings)(np.ones((2, 6)))):  # older versions take no function
        settings = {}
    model = keras.Model(inputs, layers.BatchNormalization(**settings)(x))
    fast = accelerate(model)
    assert_accelerated(fast, model)
    x = images(seeded, 4, 6)
    assert_close(fast(x), model(x))


def test_seeds_of_all_layers(seeded):
    inputs = keras.Input((6, 6))
    x = layers.MultiHeadAttention(2, 3, dropout=0.5, seed=1)(layers.GaussianNoise(1.0, seed=2)(inputs), inputs)
    model = keras.Model(inputs, layers.LSTM(3, dropout=0.5, seed=3)(x))
    x = images(seeded, 4, 6, 6)
    model(x, training=True)
    np.testing.assert_array_equal(call(accelerate(model), x, training=True), call(model, x, training=True))


def test_a_dropout_that_was_switched_off(seeded):
    model = keras.Sequential([keras.Input((6,)), layers.BatchNormalization(), layers.Dropout(0.5, name="drop")])
    model.get_layer("drop").rate = 0.0
    x = images(seeded, 4, 6)
    np.testing.assert_allclose(accelerate(model)(x, training=True), model(x, training=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_precision(policy, seeded):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = compiled(network())
    finally:
        keras.config.set_dtype_policy(before)
    fast = accelerate(advanced(model, seeded))
    assert_accelerated(fast, model)
    assert_same_variables(fast.optimizer.variables, model.optimizer.variables)
    assert type(fast.optimizer) is type(model.optimizer)
    x, _ = batch(seeded)
    assert_close(fast(x), model(x), 10 * WIDE[policy])


# Files, and the model that was given.


def test_saved_and_loaded(tmp_path, seeded):
    fast = accelerate(randomize(compiled(network(rate=0.5)), seeded))
    x, _ = batch(seeded)
    fast.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in fast.layers]
    np.testing.assert_array_equal(call(loaded, x), call(fast, x))
    assert_same_variables(loaded.weights, fast.weights)  # Keras's files have no random seeds
    # The weights alone open in the stock model as well.
    fast.save_weights(tmp_path / "fast.weights.h5")
    stock = network(rate=0.5)
    stock.load_weights(tmp_path / "fast.weights.h5")
    assert_close(fast(x), stock(x))


def test_the_inverse(seeded):
    model = advanced(compiled(network(rate=0.5)), seeded)
    stock = to_keras(accelerate(model))
    assert [type(layer) for layer in stock.layers] == [type(layer) for layer in model.layers]
    assert stock.get_config() == model.get_config()
    assert stock.get_compile_config() == model.get_compile_config()
    assert_same_variables(stock.variables, model.variables)
    assert_same_variables(stock.optimizer.variables, model.optimizer.variables)
    x, _ = batch(seeded)
    for training in (False, True):
        np.testing.assert_array_equal(call(stock, x, training=training), call(model, x, training=training))


def test_the_model_is_not_changed(seeded):
    model = advanced(compiled(network(rate=0.5)), seeded)
    x, _ = batch(seeded)
    config, weights = model.get_config(), model.get_weights()
    state = [array(variable) for variable in model.optimizer.variables]
    fast = accelerate(model)
    fast(x, training=True)
    for variable in fast.variables + fast.optimizer.variables:
        variable.assign(keras.ops.zeros_like(variable))
    assert model.get_config() == config
    for variable, same in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(variable, same)
    for variable, same in zip(model.optimizer.variables, state, strict=True):
        np.testing.assert_array_equal(array(variable), same)


# What is refused.


def test_a_model_without_weights_yet_is_refused():
    with pytest.raises(TfnormError) as caught:
        accelerate(keras.Sequential([layers.BatchNormalization()], name="mine"))
    says(caught, "'mine'", "keras.Input")
