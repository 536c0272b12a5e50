"""Which statistics batch normalization takes and keeps: moving ones, under masks, and of all replicas."""

import keras
import numpy as np
import pytest
from backends import BACKEND, array, tensor, tensorflow_only, value_and_gradients
from facts import says
from references import SHAPE, batch_norm_inference

from tfnorm.errors import TfnormError
from tfnorm.layers import BatchNormalization


def running(batches, momentum, unbiased):
    """Return PyTorch's running mean and variance: running = (1 - 0.1) * running + 0.1 * new for momentum 0.9 here."""
    mean, variance = np.zeros(4), np.ones(4)
    for batch in batches:
        count = batch.size // 4
        batch = batch.astype("float64").reshape(-1, 4)
        new = ((batch - batch.mean(0)) ** 2).sum(0) / (count - 1 if unbiased else count)
        mean = momentum * mean + (1 - momentum) * batch.mean(0)
        variance = momentum * variance + (1 - momentum) * new
    return mean, variance


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("synchronized", [False, pytest.param(True, marks=tensorflow_only)])
@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("momentum", [0.9, 0.99, 0.0, 1.0])
def test_moving_statistics(momentum, unbiased, synchronized, axis, seeded):
    layer = BatchNormalization(
        axis=axis, momentum=momentum, unbiased_moving_variance=unbiased, synchronized=synchronized
    )
    batches = [seeded.normal(3.0, 2.0, (size, 2, 2, 4)).astype("float32") for size in (4, 2, 3)]
    for batch in batches:
        layer(batch if axis == -1 else batch.transpose(0, 3, 1, 2), training=True)
    mean, variance = running(batches, momentum, unbiased)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-5)


def test_biased_and_unbiased_differ_by_n_over_n_minus_1(seeded):
    x = seeded.normal(size=(4, 1, 1, 4)).astype("float32")
    layers = [BatchNormalization(momentum=0.0, unbiased_moving_variance=unbiased) for unbiased in (False, True)]
    outputs = [layer(x, training=True) for layer in layers]
    np.testing.assert_array_equal(*outputs)  # the outputs take the biased variance in both conventions
    np.testing.assert_allclose(layers[1].moving_variance, layers[0].moving_variance * 4 / 3, rtol=1e-6)


def test_unbiased_variance_of_a_single_value_is_finite():
    layer = BatchNormalization(momentum=0.9, unbiased_moving_variance=True)
    out = layer(np.full((1, 1, 1, 4), 7.0, "float32"), training=True)
    np.testing.assert_array_equal(out, np.zeros((1, 1, 1, 4)))
    np.testing.assert_allclose(layer.moving_variance, np.full(4, 0.9), rtol=1e-6)


@pytest.mark.parametrize("shape", [(0, 4, 4, 3), (0, 3), (2, 0, 4, 3)])
def test_a_batch_without_numbers_leaves_the_moving_statistics(shape):
    layer = BatchNormalization()
    assert layer(np.zeros(shape, "float32"), training=True).shape == shape
    np.testing.assert_array_equal([layer.moving_mean, layer.moving_variance], [np.zeros(3), np.ones(3)])
    if BACKEND != "tensorflow":  # the others know all sizes when they trace
        return
    import tensorflow as tf

    train = tf.function(
        lambda x: layer(x, training=True), input_signature=[tf.TensorSpec([None] * (len(shape) - 1) + [3])]
    )
    assert train(np.zeros(shape, "float32")).shape == shape
    np.testing.assert_array_equal([layer.moving_mean, layer.moving_variance], [np.zeros(3), np.ones(3)])
    train(np.ones((2, *shape[1:]), "float32") if shape[1] else np.ones((2, 1, *shape[2:]), "float32"))
    np.testing.assert_allclose(layer.moving_mean, np.full(3, 0.01), rtol=1e-5)


@pytest.mark.parametrize("unbiased", [False, True])
def test_inference_takes_the_moving_statistics(unbiased, seeded):
    layer = BatchNormalization(unbiased_moving_variance=unbiased)
    x = seeded.normal(3.0, 2.0, SHAPE).astype("float32")
    layer.build(SHAPE)
    values = [seeded.uniform(0.5, 1.5, 4).astype("float32") for _ in range(4)]
    layer.set_weights(values)
    expected = batch_norm_inference(*[value.astype("float64") for value in (x, *values)])
    for options in ({}, {"training": False}):
        np.testing.assert_allclose(layer(x, **options), expected, rtol=1e-5, atol=1e-5)
    for weight, value in zip(layer.weights, values, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_frozen_batch_norm_takes_the_moving_statistics(seeded):
    layer = BatchNormalization()
    x = seeded.normal(3.0, 2.0, SHAPE).astype("float32")
    layer(x, training=True)
    before = layer.get_weights()
    layer.trainable = False
    assert layer.trainable_weights == []
    np.testing.assert_array_equal(layer(x, training=True), layer(x, training=False))
    for weight, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    layer.trainable = True
    assert np.abs(array(layer(x, training=True)) - array(layer(x, training=False))).max() > 0.1


@pytest.mark.parametrize("options", [{"mask": True}, {"renorm": True}])
def test_masks_and_renormalization_are_those_of_keras(options, seeded):
    if "renorm" in options and not hasattr(keras.layers.BatchNormalization(), "renorm"):
        with pytest.raises(TfnormError, match=r"Keras 3\.14.*renorm=True"):
            BatchNormalization(**options)
        return
    x = seeded.normal(3.0, 2.0, (5, 6, 4)).astype("float32")
    mask = {"mask": tensor(seeded.random((5, 6)) < 0.5)} if options.pop("mask", False) else {}
    ours, theirs = BatchNormalization(**options), keras.layers.BatchNormalization(**options)
    np.testing.assert_allclose(ours(x, training=True, **mask), theirs(x, training=True, **mask), rtol=1e-6, atol=1e-6)
    for weight, same in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(weight, same, rtol=1e-6)


def test_unbiased_variance_under_a_mask(seeded):
    x = seeded.normal(3.0, 2.0, (5, 6, 4)).astype("float32")
    layers = {}
    for name, seen in (("none", None), ("all", np.ones((5, 6), bool)), ("some", seeded.random((5, 6)) < 0.5)):
        layer = layers[name] = BatchNormalization(momentum=0.25, unbiased_moving_variance=True)
        stock = keras.layers.BatchNormalization(momentum=0.25)
        mask = None if seen is None else tensor(seen)
        outputs = layer(x, training=True, mask=mask)
        np.testing.assert_allclose(outputs, stock(x, training=True, mask=mask), rtol=1e-5, atol=1e-5)
        values = x.astype("float64")[np.ones((5, 6), bool) if seen is None else seen]
        np.testing.assert_allclose(layer.moving_mean, 0.75 * values.mean(0), rtol=1e-5)
        np.testing.assert_allclose(layer.moving_variance, 0.25 + 0.75 * values.var(0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(layers["all"].moving_variance, layers["none"].moving_variance, rtol=1e-6)
    assert np.abs(array(layers["some"].moving_variance) - array(layers["all"].moving_variance)).max() > 0.01


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=tensorflow_only)])
def test_gradients_under_a_mask_are_those_of_keras(compiled, seeded):
    x, weights = seeded.normal(3.0, 2.0, (5, 6, 4)).astype("float32"), seeded.normal(size=(5, 6, 4))
    seen, found = tensor(seeded.random((5, 6)) < 0.5), []
    for layer in (BatchNormalization(unbiased_moving_variance=True), keras.layers.BatchNormalization()):
        layer.build(x.shape)

        def call(x, layer=layer):
            return layer(x, training=True, mask=seen)

        if compiled:
            import tensorflow as tf

            call = tf.function(call)
        found.append(value_and_gradients(call, [x], weights, [layer.gamma, layer.beta])[1])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_masks_of_the_first_axes_count_by_channel(training, seeded):
    x = seeded.normal(3.0, 2.0, (5, 4, 6)).astype("float32")
    seen = np.arange(5)[:, None] > np.arange(4)  # 4, 3, 2 and 1 of the samples of a channel
    layer = BatchNormalization(axis=1, momentum=0.0, unbiased_moving_variance=True)
    stock = keras.layers.BatchNormalization(axis=1, momentum=0.0)
    for norm in (layer, stock):
        norm.build(x.shape)
    outputs = layer(x, training=training, mask=tensor(seen))
    np.testing.assert_allclose(outputs, stock(x, training=training, mask=tensor(seen)), rtol=1e-5, atol=1e-5)
    expected = [x[seen[:, c], c].astype("float64").var(ddof=1) for c in range(4)] if training else np.ones(4)
    np.testing.assert_allclose(layer.moving_variance, expected, rtol=1e-5)


@pytest.mark.parametrize("seen", [0, 1])
def test_unbiased_variance_of_hardly_any_value_is_finite(seen, seeded):
    x = seeded.normal(3.0, 2.0, (1, 6, 1)).astype("float32")
    layer = BatchNormalization(momentum=0.9, unbiased_moving_variance=True)
    assert np.isfinite(array(layer(x, training=True, mask=tensor([[n < seen for n in range(6)]])))).all()
    np.testing.assert_allclose(layer.moving_variance, [0.9], rtol=1e-5)


def test_a_mask_of_too_many_axes():
    with pytest.raises(ValueError) as caught:
        BatchNormalization(name="norm")(np.ones((5, 6, 4), "float32"), mask=tensor(np.ones((5, 6, 4), "bool")))
    says(caught, "`mask`", "mask of shape (5, 6, 4)", "inputs of shape (5, 6, 4)", "'norm'")


REPLICAS = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfnorm.layers import BatchNormalization
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    layer = BatchNormalization(momentum=0.0, synchronized=True, unbiased_moving_variance=True)
    layer.build((None, 4))
x = np.random.default_rng(0).normal(1e4, 1.0, (6, 4)).astype("float32")
halves = strategy.experimental_distribute_values_from_function(
    lambda context: tf.constant(np.split(x, 2)[context.replica_id_in_sync_group])
)
run = tf.function(lambda half: layer(half, training=True))
outputs = np.concatenate(strategy.experimental_local_results(strategy.run(run, args=(halves,))))
wide = x.astype("float64")
np.testing.assert_allclose(outputs, (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-3), atol=1e-2)
np.testing.assert_allclose(layer.moving_mean, wide.mean(0), rtol=1e-6)
np.testing.assert_allclose(layer.moving_variance, wide.var(0, ddof=1), rtol=1e-2)
print("same")
"""


@tensorflow_only
def test_synchronized_statistics_are_those_of_all_replicas(run_python):
    assert run_python(REPLICAS).splitlines()[-1] == "same"
