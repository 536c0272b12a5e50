"""The convolution of the networks that `tfnorm.build` makes."""

from __future__ import annotations

import keras
from keras import ops

from tfnorm._keras import portable
from tfnorm.ops import computes_natively


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
        """Convolve ``inputs`` with ``kernel``."""
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        if computes_natively(dtype):
            return super().convolution_op(inputs, kernel)
        wide = super().convolution_op(ops.cast(inputs, "float32"), ops.cast(kernel, "float32"))
        return ops.cast(wide, dtype)

    def get_config(self):
        """Return the arguments."""
        return portable(super().get_config())
