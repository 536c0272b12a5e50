"""The convolutions of the networks that `tfnorm.build` makes."""

from __future__ import annotations

import math

import keras
from keras import ops

from tfnorm._keras import portable
from tfnorm.layers.checks import positive_epsilon
from tfnorm.ops import computes_natively, kernels_for


@keras.saving.register_keras_serializable("tfnorm")
class Conv2D(keras.layers.Conv2D):
    """Keras's `keras.layers.Conv2D`, which computes in float32 where the processor has no 16-bit arithmetic.

    Arguments, weights, shapes and results are the parent's. A processor without instructions for bfloat16 or float16
    widens each number every time it uses it. That takes twice as long as widening all numbers once. Sums are float32
    either way. Float32 layers, and devices with such instructions, compute as the parent does.

    Args:
        filters: Number of output channels.
        kernel_size: Side or (height, width) of the kernel, in pixels.
        **kwargs: The other arguments of `keras.layers.Conv2D`.

    Example:
        >>> Conv2D(4, 3, dtype="mixed_bfloat16")(np.ones((1, 8, 8, 3), "float32")).dtype
        tf.bfloat16
    """

    def convolution_op(self, inputs, kernel):
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        if computes_natively(dtype):
            return super().convolution_op(inputs, kernel)
        wide = super().convolution_op(ops.cast(inputs, "float32"), ops.cast(kernel, "float32"))
        return ops.cast(wide, dtype)

    def get_config(self):
        return portable(super().get_config())


@keras.saving.register_keras_serializable("tfnorm")
class WeightStandardizedConv2D(Conv2D):
    r"""A 2D convolution whose filters are standardized before they are applied.

    .. math:: \hat W_o = \frac{W_o - \mathrm{mean}(W_o)}{\sqrt{\mathrm{var}(W_o) + \epsilon}}

    with mean and biased variance over (kernel height, kernel width, input channels) of each filter o. The stored and
    regularized kernel is W, and gradients flow through the standardization. The layer is meant for use before group
    normalization, which sets the scale. Keras has no such layer. A `keras.layers.Conv2D` with the kernel
    `standardized_kernel()` gives the same outputs.

    Args:
        filters: Number of output channels.
        kernel_size: Side or (height, width) of the kernel, in pixels.
        epsilon: Added to the variance, inside the root. Defaults to 1e-5.
        **kwargs: The other arguments of `keras.layers.Conv2D`.

    Input shape:
        (batch, height, width, channels), or channels first as in Keras.

    References:
        Qiao, Wang, Liu, Shen and Yuille, 2019, arXiv 1903.10520.
    """

    def __init__(self, filters, kernel_size, *, epsilon=1e-5, **kwargs):
        super().__init__(filters, kernel_size, **kwargs)
        self.epsilon = positive_epsilon(epsilon)

    def build(self, input_shape):
        """Create kernel and bias. A filter of a single weight is refused, since it would always become zero."""
        super().build(input_shape)
        # Standardized before it is cast: in bfloat16 its mean and variance would lose their digits.
        self._kernel._autocast = False
        if math.prod(self._kernel.shape[:-1]) < 2:
            raise ValueError(
                "Weight standardization needs at least 2 weights a filter. "
                f"Received: kernel shape {tuple(self._kernel.shape)} at layer {self.name!r}. "
                "Use keras.layers.Conv2D there."
            )

    def convolution_op(self, inputs, kernel):
        standardized = kernels_for(self, kernel).standardize_kernel(kernel, epsilon=self.epsilon)
        return super().convolution_op(inputs, ops.cast(standardized, inputs.dtype))

    def standardized_kernel(self):
        """Return the kernel that is applied, (height, width, in, out)."""
        return kernels_for(self, self.kernel).standardize_kernel(self.kernel, epsilon=self.epsilon)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
