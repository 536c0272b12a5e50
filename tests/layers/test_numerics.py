"""Values and gradients against NumPy in float64, and what goes wrong at the edges of the number formats.

The references are written sample by sample and channel by channel, and their gradients are central differences, so that
they share nothing with the code under test. Tests of the mathematics take the implementation as a parameter.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfnorm.layers import (
    TLU,
    BatchNormalization,
    FilterResponseNormalization,
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
    RMSNormalization,
    WeightStandardizedConv2D,
)
from tfnorm.ops import generic, tensorflow

IMPLEMENTATIONS = [generic, tensorflow]  # modules with the functions of `tfnorm.ops.generic`

SHAPE = (3, 3, 2, 4)  # batch, height, width, channels
EPSILON = 1e-3


# References: x (batch, height, width, channels) in float64, weights likewise.


def _standardized(part, epsilon):
    return (part - part.mean()) / np.sqrt(part.var() + epsilon)


def _scaled(part, epsilon):
    return part / np.sqrt((part**2).mean() + epsilon)


def batch_norm(x, gamma, beta, epsilon=EPSILON):
    out = np.empty_like(x)
    for c in range(x.shape[3]):
        out[..., c] = gamma[c] * _standardized(x[..., c], epsilon) + beta[c]
    return out


def batch_norm_inference(x, gamma, beta, mean, variance, epsilon=EPSILON):
    out = np.empty_like(x)
    for c in range(x.shape[3]):
        out[..., c] = gamma[c] * (x[..., c] - mean[c]) / np.sqrt(variance[c] + epsilon) + beta[c]
    return out


def layer_norm_image(x, gamma, beta, epsilon=EPSILON):
    return np.stack([gamma * _standardized(sample, epsilon) + beta for sample in x])


def layer_norm_pixel(x, gamma, beta, epsilon=EPSILON):
    out = np.empty_like(x)
    for place in np.ndindex(x.shape[:3]):
        out[place] = gamma * _standardized(x[place], epsilon) + beta
    return out


def group_norm(x, gamma, beta, groups, epsilon=EPSILON):
    out = np.empty_like(x)
    size = x.shape[3] // groups
    for n in range(x.shape[0]):
        for start in range(0, x.shape[3], size):
            group = slice(start, start + size)
            out[n, ..., group] = gamma[group] * _standardized(x[n, ..., group], epsilon) + beta[group]
    return out


def rms_norm_pixel(x, scale, epsilon=EPSILON):
    out = np.empty_like(x)
    for place in np.ndindex(x.shape[:3]):
        out[place] = scale * _scaled(x[place], epsilon)
    return out


def rms_norm_image(x, scale, epsilon=EPSILON):
    return np.stack([scale * _scaled(sample, epsilon) for sample in x])


def filter_response_norm(x, gamma, beta, epsilon=EPSILON):
    out = np.empty_like(x)
    for n in range(x.shape[0]):
        for c in range(x.shape[3]):
            out[n, ..., c] = gamma[c] * _scaled(x[n, ..., c], epsilon) + beta[c]
    return out


def threshold(x, tau, alpha=0.0):
    other = alpha * x + tau
    return np.where(x > other, x, other)


def standardize_kernel(kernel, epsilon=EPSILON):
    return np.stack([_standardized(kernel[..., o], epsilon) for o in range(kernel.shape[3])], axis=-1)


def differences(function, arguments, index, weights):
    """Return the gradient of sum(weights * function(*arguments)) to arguments[index], by central differences."""
    arguments = [np.array(argument, "float64") for argument in arguments]
    argument = arguments[index]
    gradient = np.empty_like(argument)
    for place in np.ndindex(argument.shape):
        middle, sides = argument[place], []
        step = 1e-5 * max(1.0, abs(middle) * 1e-2)
        for sign in (1, -1):
            argument[place] = middle + sign * step
            sides.append((weights * function(*arguments)).sum())
        argument[place] = middle
        gradient[place] = (sides[0] - sides[1]) / (2 * step)
    return gradient


@dataclass(frozen=True)
class Operation:
    """A function under test, its reference and the shapes of its weights."""

    reference: Any
    call: Any  # (implementation, x, *weights) -> output
    shapes: tuple = ((4,), (4,))


OPERATIONS = {
    "batch_norm": Operation(batch_norm, lambda i, x, g, b: i.batch_norm(x, g, b, axis=3, epsilon=EPSILON)[0]),
    "batch_norm_inference": Operation(
        batch_norm_inference,
        lambda i, x, g, b, m, v: i.batch_norm_inference(x, g, b, m, v, axis=3, epsilon=EPSILON),
        ((4,), (4,), (4,), (4,)),
    ),
    "layer_norm image": Operation(
        layer_norm_image,
        lambda i, x, g, b: i.layer_norm(x, g, b, axes=[1, 2, 3], epsilon=EPSILON),
        (SHAPE[1:], SHAPE[1:]),
    ),
    "layer_norm pixel": Operation(
        layer_norm_pixel, lambda i, x, g, b: i.layer_norm(x, g, b, axes=[3], epsilon=EPSILON)
    ),
    **{
        f"group_norm {groups}": Operation(
            lambda x, g, b, groups=groups: group_norm(x, g, b, groups),
            lambda i, x, g, b, groups=groups: i.group_norm(x, g, b, groups=groups, axis=3, epsilon=EPSILON),
        )
        for groups in (1, 2, 4)
    },
    "rms_norm pixel": Operation(rms_norm_pixel, lambda i, x, s: i.rms_norm(x, s, axes=[3], epsilon=EPSILON), ((4,),)),
    "rms_norm image": Operation(
        rms_norm_image,
        lambda i, x, s: i.rms_norm(x, s, axes=[1, 2, 3], epsilon=EPSILON),
        (SHAPE[1:],),
    ),
    "filter_response_norm": Operation(
        filter_response_norm,
        lambda i, x, g, b: i.filter_response_norm(x, g, b, axis=3, epsilon=EPSILON),
    ),
    "threshold": Operation(threshold, lambda i, x, t: i.threshold(x, t, axis=3), ((4,),)),
    "threshold affine": Operation(threshold, lambda i, x, t, a: i.threshold(x, t, a, axis=3), ((4,), (4,))),
    "threshold element": Operation(
        threshold, lambda i, x, t, a: i.threshold(x, t, a, axis=None), (SHAPE[1:], SHAPE[1:])
    ),
    "standardize_kernel": Operation(
        standardize_kernel, lambda i, x: i.standardize_kernel(x, epsilon=EPSILON), shapes=()
    ),
}

# The same with the channels on axis 1.
FIRST = {
    "batch_norm": lambda i, x, g, b: i.batch_norm(x, g, b, axis=1, epsilon=EPSILON)[0],
    "batch_norm_inference": lambda i, x, g, b, m, v: i.batch_norm_inference(x, g, b, m, v, axis=1, epsilon=EPSILON),
    "layer_norm pixel": lambda i, x, g, b: i.layer_norm(x, g, b, axes=[1], epsilon=EPSILON),
    "group_norm 2": lambda i, x, g, b: i.group_norm(x, g, b, groups=2, axis=1, epsilon=EPSILON),
    "rms_norm pixel": lambda i, x, s: i.rms_norm(x, s, axes=[1], epsilon=EPSILON),
    "filter_response_norm": lambda i, x, g, b: i.filter_response_norm(x, g, b, axis=1, epsilon=EPSILON),
    "threshold": lambda i, x, t: i.threshold(x, t, axis=1),
}

implementations = pytest.mark.parametrize(
    "implementation", IMPLEMENTATIONS, ids=lambda module: module.__name__.rpartition(".")[2]
)
operations = pytest.mark.parametrize("operation", OPERATIONS)


def weights_of(operation, rng):
    return [rng.uniform(0.5, 1.5, shape).astype("float32") for shape in OPERATIONS[operation].shapes]


def value_and_gradients(function, arguments, weights):
    """Return function(*arguments) and the gradients of sum(weights * it) to each argument."""
    tensors = [tf.constant(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        for tensor in tensors:
            tape.watch(tensor)
        out = function(*tensors)
        total = tf.reduce_sum(tf.cast(out, "float32") * weights)
    gradients = tape.gradient(total, tensors)
    assert None not in gradients
    return out.numpy(), [gradient.numpy() for gradient in gradients]


def check(function, reference, arguments, rng, tolerance):
    weights = rng.normal(size=SHAPE).astype("float32")
    value, gradients = value_and_gradients(function, arguments, weights)
    exact = [argument.astype("float64") for argument in arguments]
    np.testing.assert_allclose(value, reference(*exact), rtol=tolerance, atol=tolerance)
    for index, gradient in enumerate(gradients):
        expected = differences(reference, exact, index, weights)
        np.testing.assert_allclose(gradient, expected, rtol=tolerance, atol=tolerance, err_msg=f"argument {index}")


@implementations
@operations
def test_value_and_gradients(implementation, operation, seeded):
    x = seeded.normal(0.7, 1.5, SHAPE).astype("float32")
    case = OPERATIONS[operation]
    check(
        lambda *arguments: case.call(implementation, *arguments),
        case.reference,
        [x, *weights_of(operation, seeded)],
        seeded,
        1e-4,
    )


@implementations
@pytest.mark.parametrize("operation", FIRST)
def test_value_and_gradients_with_channels_first(implementation, operation, seeded):
    x = seeded.normal(0.7, 1.5, SHAPE).astype("float32")

    def function(x, *weights):
        out = FIRST[operation](implementation, tf.transpose(x, (0, 3, 1, 2)), *weights)
        return tf.transpose(out, (0, 2, 3, 1))

    check(function, OPERATIONS[operation].reference, [x, *weights_of(operation, seeded)], seeded, 1e-4)


@implementations
@operations
@pytest.mark.parametrize("mean", [1e4, -1e4])
def test_large_mean(implementation, operation, mean, seeded):
    """E[x^2] - E[x]^2 would be off by about 10 here."""
    x = (mean + seeded.normal(size=SHAPE)).astype("float32")
    weights = weights_of(operation, seeded)
    if operation == "batch_norm_inference":
        weights[2] = np.full(4, mean, "float32")
    case = OPERATIONS[operation]
    check(lambda *arguments: case.call(implementation, *arguments), case.reference, [x, *weights], seeded, 1e-2)


@implementations
@operations
@pytest.mark.parametrize("level", [0.0, 1e-30, 0.1, -3.0, 12345.678, 1e10])
def test_constant_input(implementation, operation, level, seeded):
    x = np.full(SHAPE, level, "float32")
    case = OPERATIONS[operation]
    arguments = [x, *weights_of(operation, seeded)]
    value, gradients = value_and_gradients(
        lambda *arguments: case.call(implementation, *arguments), arguments, np.ones(SHAPE, "float32")
    )
    for array in (value, *gradients):
        assert np.isfinite(array).all()
    if level in (0.0, 0.1, -3.0):
        expected = case.reference(*[argument.astype("float64") for argument in arguments])
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)


@implementations
@operations
@pytest.mark.parametrize("signs", ["one", "both"])
def test_float16_near_overflow(implementation, operation, signs, seeded):
    """The largest float16 is 65504; squares and sums of such values are beyond it."""
    x = seeded.uniform(5e4, 6.5e4, SHAPE)
    if signs == "both":
        x *= seeded.choice([-1, 1], SHAPE)
    x = x.astype("float16")
    case = OPERATIONS[operation]
    weights = weights_of(operation, seeded)
    if operation == "batch_norm_inference":
        weights[3] = np.full(4, 1e9, "float32")  # its statistics are given: of such values
    if operation in ("threshold affine", "threshold element"):
        weights[1] *= 0.5  # a slope above 1 is beyond it by itself
    value, gradients = value_and_gradients(
        lambda *arguments: case.call(implementation, *arguments), [x, *weights], np.ones(SHAPE, "float32")
    )
    assert value.dtype == "float16"
    for array in (value, *gradients):
        assert np.isfinite(array).all()
    expected = case.reference(*[argument.astype("float64") for argument in (x, *weights)])
    np.testing.assert_allclose(value.astype("float64"), expected, rtol=2e-3, atol=2e-3)


@implementations
@operations
def test_keeps_the_dtype(implementation, operation, seeded):
    x = seeded.normal(size=SHAPE)
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        out = OPERATIONS[operation].call(implementation, tf.cast(x, dtype), *weights_of(operation, seeded))
        assert out.dtype.name == dtype


@implementations
def test_without_weights(implementation, seeded):
    x = seeded.normal(size=SHAPE).astype("float32")
    one, zero = np.ones(4), np.zeros(4)
    exact = x.astype("float64")
    for out, expected in (
        (implementation.batch_norm(x, None, None, axis=3, epsilon=EPSILON)[0], batch_norm(exact, one, zero)),
        (implementation.layer_norm(x, None, None, axes=[3], epsilon=EPSILON), layer_norm_pixel(exact, one, zero)),
        (
            implementation.group_norm(x, None, None, groups=2, axis=3, epsilon=EPSILON),
            group_norm(exact, one, zero, 2),
        ),
        (implementation.rms_norm(x, None, axes=[3], epsilon=EPSILON), rms_norm_pixel(exact, one)),
        (
            implementation.filter_response_norm(x, None, None, axis=3, epsilon=EPSILON),
            filter_response_norm(exact, one, zero),
        ),
        (
            implementation.batch_norm_inference(x, None, None, one, one, axis=3, epsilon=EPSILON),
            batch_norm_inference(exact, one, zero, one, one),
        ),
    ):
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


@implementations
@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "standardize_kernel"])
def test_whole_numbers(implementation, operation, seeded):
    x = seeded.integers(0, 256, SHAPE).astype("uint8")
    weights = weights_of(operation, seeded)
    out = OPERATIONS[operation].call(implementation, tf.constant(x), *map(tf.constant, weights))
    assert out.dtype == tf.float32
    expected = OPERATIONS[operation].reference(*(part.astype("float64") for part in (x, *weights)))
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`")
def test_whole_numbers_with_rms_scaling(seeded):
    x = seeded.integers(0, 256, SHAPE).astype("uint8")
    layer = LayerNormalization(rms_scaling=True)
    np.testing.assert_allclose(layer(x), x / np.sqrt(x.var(-1, keepdims=True) + EPSILON), rtol=1e-5)


@implementations
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_batch_norm_returns_the_statistics(implementation, offset, seeded):
    x = (offset + seeded.normal(size=SHAPE)).astype("float32")
    _, mean, variance = implementation.batch_norm(x, None, None, axis=3, epsilon=EPSILON)
    assert mean.shape == variance.shape == (4,)
    np.testing.assert_allclose(mean, x.astype("float64").mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(variance, x.astype("float64").var((0, 1, 2)), rtol=1e-3)
    _, mean, variance = implementation.batch_norm(tf.cast(x, "float16"), None, None, axis=3, epsilon=EPSILON)
    assert mean.dtype.name == variance.dtype.name == "float32"


# Through the layers.

LAYERS = {
    "bn": (lambda: BatchNormalization(), batch_norm),
    "bn:sync": (lambda: BatchNormalization(synchronized=True), batch_norm),
    "ln": (lambda: LayerNormalization(axis=(1, 2, 3)), layer_norm_image),
    "ln:channel": (lambda: LayerNormalization(), layer_norm_pixel),
    "gn:1": (lambda: GroupNormalization(1), lambda x, g, b: group_norm(x, g, b, 1)),
    "gn:2": (lambda: GroupNormalization(2), lambda x, g, b: group_norm(x, g, b, 2)),
    "gn:size=1": (lambda: GroupNormalization(group_size=1), lambda x, g, b: group_norm(x, g, b, 4)),
    "in": (lambda: InstanceNormalization(), lambda x, g, b: group_norm(x, g, b, 4)),
    "rms": (lambda: RMSNormalization(epsilon=EPSILON), rms_norm_pixel),
    "rms image": (lambda: RMSNormalization(axis=(1, 2, 3), epsilon=EPSILON), rms_norm_image),
    "frn": (lambda: FilterResponseNormalization(epsilon=EPSILON), filter_response_norm),
    "frn learned": (
        lambda: FilterResponseNormalization(epsilon=EPSILON, learned_epsilon=True),
        lambda x, g, b, learned: filter_response_norm(x, g, b, EPSILON + np.abs(learned)),
    ),
    "tlu": (lambda: TLU(), threshold),
    "tlu affine": (lambda: TLU(affine=True), threshold),
    "tlu element": (lambda: TLU(axis=None), threshold),
}


@pytest.mark.parametrize(("mean", "tolerance"), [(0.7, 1e-4), (1e4, 1e-2)])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, mean, tolerance, seeded):
    layer, reference = LAYERS[name][0](), LAYERS[name][1]
    x = seeded.normal(mean, 1.0, SHAPE).astype("float32")
    layer.build(SHAPE)
    values = [seeded.uniform(0.5, 1.5, weight.shape).astype("float32") for weight in layer.trainable_weights]
    for weight, value in zip(layer.trainable_weights, values, strict=True):
        weight.assign(value)
    options = {"training": True} if name.startswith("bn") else {}
    weights = seeded.normal(size=SHAPE).astype("float32")
    with tf.GradientTape() as tape:
        tensor = tf.constant(x)
        tape.watch(tensor)
        out = layer(tensor, **options)
        total = tf.reduce_sum(out * weights)
    gradients = tape.gradient(total, [tensor, *(weight.value for weight in layer.trainable_weights)])
    exact = [x.astype("float64"), *(value.astype("float64") for value in values)]
    np.testing.assert_allclose(out, reference(*exact), rtol=tolerance, atol=tolerance)
    for index, gradient in enumerate(gradients):
        expected = differences(reference, exact, index, weights)
        np.testing.assert_allclose(gradient, expected, rtol=tolerance, atol=tolerance, err_msg=f"argument {index}")


def test_learned_epsilon(seeded):
    layer = FilterResponseNormalization(epsilon=1e-6, learned_epsilon=True)
    x = seeded.normal(0, 0.01, SHAPE).astype("float32")
    layer(x)
    assert float(layer.learned) == pytest.approx(1e-4)  # as the paper starts it
    for learned in (1e-4, 0.02, -0.02):
        layer.learned.assign(learned)
        expected = filter_response_norm(x.astype("float64"), np.ones(4), np.zeros(4), 1e-6 + abs(learned))
        np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-6)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.square(layer(x)))
    assert float(tape.gradient(total, layer.learned.value)) > 0  # from below zero, a smaller abs makes outputs larger


def test_layer_and_group_normalization_share_statistics(seeded):
    x = seeded.normal(2.0, 3.0, SHAPE).astype("float32")
    layer, group = LayerNormalization(axis=(1, 2, 3)), GroupNormalization(1)
    np.testing.assert_allclose(layer(x), group(x), rtol=1e-5, atol=1e-5)
    assert layer.gamma.shape == SHAPE[1:] and group.gamma.shape == (4,)
    np.testing.assert_allclose(np.mean(group(x), (1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(np.var(group(x), (1, 2, 3)), 1, atol=1e-3)


def test_instance_normalization_is_group_normalization_of_single_channels(seeded):
    x = seeded.normal(2.0, 3.0, SHAPE).astype("float32")
    expected = InstanceNormalization()(x)
    for group in (GroupNormalization(4), GroupNormalization(-1), GroupNormalization(group_size=1)):
        np.testing.assert_array_equal(group(x), expected)


# Moving statistics.


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
@pytest.mark.parametrize("synchronized", [False, True])
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
    assert np.abs(layer(x, training=True) - layer(x, training=False)).max() > 0.1


@pytest.mark.parametrize("options", [{"mask": True}, {"renorm": True}])
def test_masks_and_renormalization_are_those_of_keras(options, seeded):
    x = seeded.normal(3.0, 2.0, (5, 6, 4)).astype("float32")
    mask = {"mask": tf.constant(seeded.random((5, 6)) < 0.5)} if options.pop("mask", False) else {}
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
        mask = None if seen is None else tf.constant(seen)
        outputs = layer(x, training=True, mask=mask)
        np.testing.assert_allclose(outputs, stock(x, training=True, mask=mask), rtol=1e-5, atol=1e-5)
        values = x.astype("float64")[np.ones((5, 6), bool) if seen is None else seen]
        np.testing.assert_allclose(layer.moving_mean, 0.75 * values.mean(0), rtol=1e-5)
        np.testing.assert_allclose(layer.moving_variance, 0.25 + 0.75 * values.var(0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(layers["all"].moving_variance, layers["none"].moving_variance, rtol=1e-6)
    assert np.abs(layers["some"].moving_variance - layers["all"].moving_variance).max() > 0.01


@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_under_a_mask_are_those_of_keras(compiled, seeded):
    x = tf.constant(seeded.normal(3.0, 2.0, (5, 6, 4)).astype("float32"))
    weights, seen = tf.constant(seeded.normal(size=x.shape), "float32"), tf.constant(seeded.random((5, 6)) < 0.5)
    found = []
    for layer in (BatchNormalization(unbiased_moving_variance=True), keras.layers.BatchNormalization()):
        layer.build(x.shape)

        def gradients(x, seen, layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(x)
                total = tf.reduce_sum(layer(x, training=True, mask=seen) * weights)
            return tape.gradient(total, [x, layer.gamma.value, layer.beta.value])

        run = tf.function(gradients) if compiled else gradients
        found.append(run(x, seen))
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
    outputs = layer(x, training=training, mask=tf.constant(seen))
    np.testing.assert_allclose(outputs, stock(x, training=training, mask=tf.constant(seen)), rtol=1e-5, atol=1e-5)
    expected = [x[seen[:, c], c].astype("float64").var(ddof=1) for c in range(4)] if training else np.ones(4)
    np.testing.assert_allclose(layer.moving_variance, expected, rtol=1e-5)


@pytest.mark.parametrize("seen", [0, 1])
def test_unbiased_variance_of_hardly_any_value_is_finite(seen, seeded):
    x = seeded.normal(3.0, 2.0, (1, 6, 1)).astype("float32")
    layer = BatchNormalization(momentum=0.9, unbiased_moving_variance=True)
    assert np.isfinite(layer(x, training=True, mask=tf.constant([[n < seen for n in range(6)]]))).all()
    np.testing.assert_allclose(layer.moving_variance, [0.9], rtol=1e-5)


def test_a_mask_of_too_many_axes():
    with pytest.raises(ValueError) as caught:
        BatchNormalization(name="norm")(np.ones((5, 6, 4), "float32"), mask=tf.ones((5, 6, 4), "bool"))
    assert (
        "`mask` must have one axis less than the inputs. Received: mask of shape (5, 6, 4), inputs of shape (5, 6, 4) "
        "at layer 'norm'."
    ) in str(caught.value)


# Weight standardization.


def test_standardized_kernel_has_mean_0_and_variance_1(seeded):
    layer = WeightStandardizedConv2D(5, 3)
    layer.build((None, 8, 8, 4))
    layer.kernel.assign(seeded.normal(0.3, 2.0, layer.kernel.shape))
    kernel = keras.ops.convert_to_numpy(layer.standardized_kernel())
    assert kernel.shape == (3, 3, 4, 5)
    np.testing.assert_allclose(kernel.mean((0, 1, 2)), np.zeros(5), atol=1e-6)
    np.testing.assert_allclose(kernel.var((0, 1, 2)), np.ones(5), rtol=1e-4)


def test_weight_standardized_convolution(seeded):
    layer = WeightStandardizedConv2D(5, 2, epsilon=EPSILON)
    x = seeded.normal(size=(2, 4, 4, 3)).astype("float32")
    layer(x)
    layer.set_weights([seeded.normal(0.3, 2.0, (2, 2, 3, 5)), seeded.normal(size=5)])
    kernel, bias = (weight.astype("float64") for weight in layer.get_weights())
    standardized = standardize_kernel(kernel)
    expected = np.empty((2, 3, 3, 5))
    for n, row, column in np.ndindex(2, 3, 3):
        window = x[n, row : row + 2, column : column + 2].astype("float64")
        expected[n, row, column] = np.tensordot(window, standardized, 3) + bias
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_gradients_flow_through_weight_standardization(seeded):
    layer = WeightStandardizedConv2D(5, 3)
    x = seeded.normal(size=(2, 6, 6, 4)).astype("float32")
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.square(layer(x)))
    gradient = tape.gradient(total, layer.kernel.value).numpy()
    assert np.abs(gradient).max() > 0
    # Adding a constant to a filter changes nothing, and so has no gradient.
    np.testing.assert_allclose(gradient.sum((0, 1, 2)), np.zeros(5), atol=1e-3 * np.abs(gradient).max())


def test_layers_near_overflow_in_float16(seeded):
    x = seeded.uniform(5e4, 6.5e4, (2, 3, 3, 8)).astype("float16")
    for layer in (
        BatchNormalization(dtype="mixed_float16"),
        LayerNormalization(axis=(1, 2, 3), dtype="mixed_float16"),
        GroupNormalization(4, dtype="mixed_float16"),
        InstanceNormalization(dtype="mixed_float16"),
        RMSNormalization(dtype="mixed_float16"),
        FilterResponseNormalization(dtype="mixed_float16"),
    ):
        options = {"training": True} if isinstance(layer, BatchNormalization) else {}
        out = keras.ops.convert_to_numpy(layer(x, **options))
        assert out.dtype == "float16"
        assert np.isfinite(out).all()
        assert 0.1 < out.astype("float32").std() < 2 or out.astype("float32").mean() > 0.5
        for weight in layer.weights:
            assert np.isfinite(weight).all()


def test_zeros_in_give_beta_out():
    x = np.zeros(SHAPE, "float32")
    for layer in (
        BatchNormalization(beta_initializer="ones"),
        LayerNormalization(beta_initializer="ones"),
        GroupNormalization(2, beta_initializer="ones"),
        InstanceNormalization(beta_initializer="ones"),
        FilterResponseNormalization(beta_initializer="ones"),
    ):
        np.testing.assert_array_equal(layer(x), np.ones(SHAPE))
    np.testing.assert_array_equal(RMSNormalization()(x), x)


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


def test_synchronized_statistics_are_those_of_all_replicas(run_python):
    assert run_python(REPLICAS).splitlines()[-1] == "same"


def test_weight_standardization_keeps_its_digits_in_bfloat16():
    kernel = np.random.default_rng(0).normal(100.0, 1.0, (3, 3, 4, 8)).astype("float32")
    x = np.random.default_rng(1).normal(size=(2, 6, 6, 4)).astype("float32")
    outputs = {}
    for policy in ("float32", "mixed_bfloat16"):
        layer = WeightStandardizedConv2D(8, 3, use_bias=False, dtype=policy)
        layer.build(x.shape)
        layer.set_weights([kernel])
        outputs[policy] = keras.ops.convert_to_numpy(keras.ops.cast(layer(x), "float32"))
    # bfloat16 has 8 bits; a kernel rounded before its mean of 100 is taken away would be off by about 0.2 of its std.
    assert np.abs(outputs["mixed_bfloat16"] - outputs["float32"]).max() < 0.04 * outputs["float32"].std()
