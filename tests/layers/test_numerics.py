"""Values and gradients against NumPy in float64, and what goes wrong at the edges of the number formats.

The references share nothing with the code under test, and their gradients are central differences. Tests of the
mathematics take the implementation as a parameter.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
from backends import BACKEND, array, dtype_of, tensor, value_and_gradients
from references import (
    EPSILON,
    SHAPE,
    batch_norm,
    batch_norm_inference,
    filter_response_norm,
    group_norm,
    layer_norm_image,
    layer_norm_pixel,
    rms_norm_image,
    rms_norm_pixel,
    standardize_kernel,
    threshold,
)

from tfnorm.layers import (
    TLU,
    BatchNormalization,
    FilterResponseNormalization,
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
    RMSNormalization,
)
from tfnorm.ops import generic, kernels

# Modules with the functions of `tfnorm.ops.generic`.
IMPLEMENTATIONS = [generic, kernels()] if BACKEND == "tensorflow" else [generic]


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
# Layers of these take TensorFlow's implementation below, with gradients; here that is for the matrix.
IN_LAYERS = ("group_norm 1", "group_norm 4", "layer_norm image")
of_each_implementation = pytest.mark.parametrize(
    ("operation", "implementation"),
    [
        pytest.param(
            operation,
            module,
            marks=pytest.mark.matrix if module is not generic and operation in IN_LAYERS else [],
            id=f"{operation}-{module.__name__.rpartition('.')[2]}",
        )
        for operation in OPERATIONS
        for module in IMPLEMENTATIONS
    ],
)


def weights_of(operation, rng):
    return [rng.uniform(0.5, 1.5, shape).astype("float32") for shape in OPERATIONS[operation].shapes]


def check(function, reference, arguments, rng, tolerance):
    weights = rng.normal(size=SHAPE).astype("float32")
    value, gradients = value_and_gradients(function, arguments, weights)
    exact = [argument.astype("float64") for argument in arguments]
    np.testing.assert_allclose(value, reference(*exact), rtol=tolerance, atol=tolerance)
    for index, gradient in enumerate(gradients):
        expected = differences(reference, exact, index, weights)
        np.testing.assert_allclose(gradient, expected, rtol=tolerance, atol=tolerance, err_msg=f"argument {index}")


@of_each_implementation
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
        out = FIRST[operation](implementation, keras.ops.transpose(x, (0, 3, 1, 2)), *weights)
        return keras.ops.transpose(out, (0, 2, 3, 1))

    check(function, OPERATIONS[operation].reference, [x, *weights_of(operation, seeded)], seeded, 1e-4)


@of_each_implementation
@pytest.mark.parametrize("mean", [1e4, -1e4])
def test_large_mean(implementation, operation, mean, seeded):
    """E[x^2] - E[x]^2 would be off by about 10 here."""
    x = (mean + seeded.normal(size=SHAPE)).astype("float32")
    weights = weights_of(operation, seeded)
    if operation == "batch_norm_inference":
        weights[2] = np.full(4, mean, "float32")
    case = OPERATIONS[operation]
    check(lambda *arguments: case.call(implementation, *arguments), case.reference, [x, *weights], seeded, 1e-2)


@of_each_implementation
@pytest.mark.parametrize("level", [0.0, 1e-30, 0.1, -3.0, 12345.678, 1e10])
def test_constant_input(implementation, operation, level, seeded):
    x = np.full(SHAPE, level, "float32")
    case = OPERATIONS[operation]
    arguments = [x, *weights_of(operation, seeded)]
    value, gradients = value_and_gradients(
        lambda *arguments: case.call(implementation, *arguments), arguments, np.ones(SHAPE, "float32")
    )
    for found in (value, *gradients):
        assert np.isfinite(found).all()
    if level in (0.0, 0.1, -3.0):
        expected = case.reference(*[argument.astype("float64") for argument in arguments])
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)


@of_each_implementation
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
    for found in (value, *gradients):
        assert np.isfinite(found).all()
    expected = case.reference(*[argument.astype("float64") for argument in (x, *weights)])
    np.testing.assert_allclose(value.astype("float64"), expected, rtol=2e-3, atol=2e-3)


@of_each_implementation
def test_keeps_the_dtype(implementation, operation, seeded):
    x = seeded.normal(size=SHAPE)
    # JAX has no float64 unless a person switches it on.
    for dtype in ("float16", "bfloat16", "float32", *(() if BACKEND == "jax" else ("float64",))):
        weights = map(tensor, weights_of(operation, seeded))
        out = OPERATIONS[operation].call(implementation, tensor(x, dtype), *weights)
        assert dtype_of(out) == dtype


@implementations
def test_without_weights(implementation, seeded):
    x = tensor(seeded.normal(size=SHAPE).astype("float32"))
    one, zero = np.ones(4), np.zeros(4)
    exact = array(x).astype("float64")
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
            implementation.batch_norm_inference(x, None, None, tensor(one), tensor(one), axis=3, epsilon=EPSILON),
            batch_norm_inference(exact, one, zero, one, one),
        ),
    ):
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


@implementations
@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "standardize_kernel"])
def test_whole_numbers(implementation, operation, seeded):
    x = seeded.integers(0, 256, SHAPE).astype("uint8")
    weights = weights_of(operation, seeded)
    out = OPERATIONS[operation].call(implementation, tensor(x), *map(tensor, weights))
    assert dtype_of(out) == "float32"
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
    _, mean, variance = implementation.batch_norm(tensor(x), None, None, axis=3, epsilon=EPSILON)
    assert tuple(mean.shape) == tuple(variance.shape) == (4,)
    np.testing.assert_allclose(mean, x.astype("float64").mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(variance, x.astype("float64").var((0, 1, 2)), rtol=1e-3)
    _, mean, variance = implementation.batch_norm(tensor(x, "float16"), None, None, axis=3, epsilon=EPSILON)
    assert dtype_of(mean) == dtype_of(variance) == "float32"


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
@pytest.mark.parametrize("name", [name for name in LAYERS if BACKEND == "tensorflow" or name != "bn:sync"])
def test_layer(name, mean, tolerance, seeded):
    layer, reference = LAYERS[name][0](), LAYERS[name][1]
    x = seeded.normal(mean, 1.0, SHAPE).astype("float32")
    layer.build(SHAPE)
    values = [seeded.uniform(0.5, 1.5, weight.shape).astype("float32") for weight in layer.trainable_weights]
    for weight, value in zip(layer.trainable_weights, values, strict=True):
        weight.assign(value)
    options = {"training": True} if name.startswith("bn") else {}
    weights = seeded.normal(size=SHAPE).astype("float32")
    out, gradients = value_and_gradients(lambda x: layer(x, **options), [x], weights, layer.trainable_weights)
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
    _, (_, gradient) = value_and_gradients(lambda x: keras.ops.square(layer(x)), [x], variables=[layer.learned])
    assert gradient > 0  # from below zero, a smaller abs makes outputs larger


def test_layer_and_group_normalization_share_statistics(seeded):
    x = seeded.normal(2.0, 3.0, SHAPE).astype("float32")
    layer, group = LayerNormalization(axis=(1, 2, 3)), GroupNormalization(1)
    np.testing.assert_allclose(layer(x), group(x), rtol=1e-5, atol=1e-5)
    assert layer.gamma.shape == SHAPE[1:] and group.gamma.shape == (4,)
    out = array(group(x))
    np.testing.assert_allclose(out.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(out.var((1, 2, 3)), 1, atol=1e-3)


def test_instance_normalization_is_group_normalization_of_single_channels(seeded):
    x = seeded.normal(2.0, 3.0, SHAPE).astype("float32")
    expected = InstanceNormalization()(x)
    for group in (GroupNormalization(4), GroupNormalization(-1), GroupNormalization(group_size=1)):
        np.testing.assert_array_equal(group(x), expected)


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
