"""Convolutions whose kernels are standardized."""

import keras
import numpy as np
from backends import value_and_gradients
from references import EPSILON, standardize_kernel

from tfnorm.layers import WeightStandardizedConv2D


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
    layer.build(x.shape)
    _, (_, gradient) = value_and_gradients(lambda x: keras.ops.square(layer(x)), [x], variables=[layer.kernel])
    assert np.abs(gradient).max() > 0
    # Adding a constant to a filter changes nothing, and so has no gradient.
    np.testing.assert_allclose(gradient.sum((0, 1, 2)), np.zeros(5), atol=1e-3 * np.abs(gradient).max())


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
