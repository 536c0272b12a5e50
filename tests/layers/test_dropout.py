"""The dropout layer: which elements it drops, how often, and that it can be repeated and resumed."""

import json

import keras
import numpy as np
import pytest
from backends import BACKEND, tensorflow_only

from tfnorm.layers.dropout import Dropout

ONES = np.ones((64, 32, 32), "float32")
POLICIES = ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16"]
if BACKEND != "jax":  # which draws other numbers once it computes in float64
    POLICIES.append("float64")


def as_array(x):
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float32"))


def drop(layer, x=ONES):
    return as_array(layer(x, training=True))


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5, 0.9])
def test_rate_scale_and_mean(rate):
    out = drop(Dropout(rate, seed=1))
    spread = np.sqrt(rate * (1 - rate) / out.size)
    assert abs((out == 0).mean() - rate) < 4 * spread
    assert set(np.unique(out)) == {np.float32(0), np.float32(1) / np.float32(1 - rate)}
    assert abs(out.mean() - 1) < 4 * spread / (1 - rate)


def test_no_place_is_favoured():
    layer = Dropout(0.5, seed=3)
    x = np.ones((1, 64, 64), "float32")
    dropped = np.stack([drop(layer, x)[0] == 0 for _ in range(200)]).astype("float64")
    spread = np.sqrt(0.25 / 200)
    places = dropped.mean(0)
    assert abs(places - 0.5).max() < 5.5 * spread
    assert abs(places.std() / spread - 1) < 0.05
    # Neighbours, and the same place at successive steps, are independent.
    signs = 2 * dropped - 1
    limit = 4.5 / np.sqrt(signs.size)
    for product in (signs[1:] * signs[:-1], signs[:, 1:] * signs[:, :-1], signs[..., 1:] * signs[..., :-1]):
        assert abs(product.mean()) < limit


def test_seed_and_steps():
    first, second, other = Dropout(0.5, seed=1), Dropout(0.5, seed=1), Dropout(0.5, seed=2)
    a, b = drop(first), drop(first)
    np.testing.assert_array_equal(a, drop(second))
    np.testing.assert_array_equal(b, drop(second))
    for unlike in (b, drop(other)):
        assert 0.49 < (a != unlike).mean() < 0.51


def test_large_and_negative_seeds():
    wide = (-1, 2**40, 2**40 + 1) if BACKEND == "tensorflow" else ()  # Keras takes them there alone
    masks = [drop(Dropout(0.5, seed=seed)) for seed in (0, 1, 2**31 - 1, *wide)]
    assert all((a != b).mean() > 0.49 for i, a in enumerate(masks) for b in masks[:i])


def test_state_moves_as_keras_does_and_resumes():
    layer, parent = Dropout(0.3, seed=5), keras.layers.Dropout(0.3, seed=5)
    for _ in range(3):
        drop(layer)
        parent(ONES, training=True)
    state = np.asarray(layer.variables[0])
    np.testing.assert_array_equal(state, np.asarray(parent.variables[0]))
    expected = drop(layer)
    resumed = Dropout(0.3, seed=99)
    resumed.variables[0].assign(state)
    np.testing.assert_array_equal(drop(resumed), expected)
    layer(ONES, training=False)
    np.testing.assert_array_equal(np.asarray(layer.variables[0]), state + [0, 1])


def test_inference_and_rate_zero_change_nothing():
    for layer, training in ((Dropout(0.5), False), (Dropout(0), True), (Dropout(0), False)):
        np.testing.assert_array_equal(as_array(layer(ONES, training=training)), ONES)


def test_rate_one_and_noise_shape_are_the_parents():
    assert not drop(Dropout(1.0)).any()
    ours, parent = Dropout(0.5, noise_shape=(None, 1, None), seed=1), keras.layers.Dropout(0.5, (None, 1, None), seed=1)
    np.testing.assert_array_equal(drop(ours), as_array(parent(ONES, training=True)))


@pytest.mark.parametrize("policy", POLICIES)
def test_dtypes_drop_the_same(policy):
    layer = Dropout(0.25, seed=1, dtype=policy)
    out = layer(ONES, training=True)
    assert keras.backend.standardize_dtype(out.dtype) == layer.compute_dtype
    out = as_array(out)
    np.testing.assert_array_equal(out == 0, drop(Dropout(0.25, seed=1)) == 0)
    assert np.allclose(out[out != 0], 4 / 3, rtol=4e-3)


def test_configuration():
    layer = Dropout(0.25, noise_shape=(None, 1), seed=7, name="drop")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    assert config["registered_name"] == "tfnorm>Dropout"
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again, Dropout)
    assert again.get_config() == layer.get_config()
    assert layer.get_config().keys() == keras.layers.Dropout(0.25).get_config().keys()


def test_restored_models_continue():
    def make(seed):
        inputs = keras.Input((8, 4))
        return keras.Model(inputs, Dropout(0.5, seed=seed)(inputs))

    x = np.ones((4, 8, 4), "float32")
    model, again = make(1), make(2)
    model(x, training=True)
    for variable, value in zip(again.variables, model.variables, strict=True):
        variable.assign(value)
    np.testing.assert_array_equal(as_array(again(x, training=True)), as_array(model(x, training=True)))


@tensorflow_only
def test_gradient_is_the_mask_to_any_order():
    import tensorflow as tf

    layer = Dropout(0.5, seed=1)
    x = tf.constant(np.random.default_rng(0).normal(size=(16, 32)), tf.float32)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(y**3)
        first = inner.gradient(loss, x)
    second = outer.gradient(first, x)
    scaled = np.where(as_array(y) == 0, 0, 2.0)
    assert 0.4 < (scaled == 0).mean() < 0.6
    np.testing.assert_allclose(first, 3 * as_array(x) ** 2 * scaled**3, rtol=1e-6)
    np.testing.assert_allclose(second, 6 * as_array(x) * scaled**3, rtol=1e-6)


@tensorflow_only
def test_graphs_compilation_and_unknown_sizes_drop_the_same():
    import tensorflow as tf

    expected = drop(Dropout(0.5, seed=1))
    for compiled in (False, True):
        layer = Dropout(0.5, seed=1)

        @tf.function(input_signature=[tf.TensorSpec([None, None, 32])], jit_compile=compiled)
        def call(x, layer=layer):
            y = layer(x, training=True)
            assert y.shape.as_list() == [None, None, 32]
            return y

        np.testing.assert_array_equal(call(ONES), expected)
        assert (as_array(call(ONES)) != expected).any()


@tensorflow_only
def test_without_xla_it_is_the_parents(monkeypatch):
    from tfnorm.ops.tensorflow import compile as _tf_compile

    monkeypatch.setattr(_tf_compile, "compiles", lambda: False)
    np.testing.assert_array_equal(
        drop(Dropout(0.5, seed=1)), as_array(keras.layers.Dropout(0.5, seed=1)(ONES, training=True))
    )
