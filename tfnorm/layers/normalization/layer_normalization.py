"""Layer normalization."""

from __future__ import annotations

import keras
from keras import ops

from tfnorm.layers.checks import axis_from_front, known_sizes, positive_epsilon
from tfnorm.layers.normalization.base import add_weights
from tfnorm.ops import kernels_for


@keras.saving.register_keras_serializable("tfnorm")
class LayerNormalization(keras.layers.LayerNormalization):
    r"""Normalize each sample over ``axis``.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    with mean and biased variance over the axes in ``axis``, and one gamma and beta for each of their elements.
    Three things go by this name on images (batch, height, width, channels):

    - ``axis=(1, 2, 3)``, the spec ``ln``: statistics over the whole sample, weights per element, as PyTorch's
      ``LayerNorm((C, H, W))``;
    - ``GroupNormalization(groups=1)``, the spec ``gn:1``: the same statistics, weights per channel;
    - ``axis=-1``, the default here as in Keras, the spec ``ln:channel``: statistics per pixel, weights per channel.

    `keras.layers.LayerNormalization` with the same weights gives the same outputs.

    Args:
        axis: The axis or axes. Their sizes must be known if there is a gamma or beta. Defaults to -1.
        epsilon: Added to the variance, inside the root. Defaults to 1e-3 as in Keras (PyTorch: 1e-5).
        **kwargs: The other arguments of `keras.layers.LayerNormalization`.

    Input and output shape:
        Any rank, such as (batch, height, width, channels).

    References:
        Ba, Kiros and Hinton, 2016, arXiv 1607.06450.
    """

    def __init__(self, axis=-1, epsilon=1e-3, **kwargs):
        super().__init__(axis=axis, epsilon=positive_epsilon(epsilon), **kwargs)

    @classmethod
    def from_spec(cls, spec, settings):
        axis = settings.axis if spec.variant == "channel" else tuple(range(1, settings.rank))
        return cls(axis=axis, **settings.arguments("gamma", "beta"))

    def build(self, input_shape):
        axes = self._axes(len(input_shape))
        if 0 in axes:
            raise ValueError(
                f"`axis` must not hold the batch axis 0. Received: axis={self.axis} at layer {self.name!r}. "
                "Use BatchNormalization for statistics over the batch."
            )
        # Keras's deprecated rms_scaling has a gamma, whatever scale says, and no beta.
        scale, center = self.scale or self.rms_scaling, self.center and not self.rms_scaling
        shape = known_sizes(input_shape, axes, self.name) if scale or center else ()
        add_weights(self, shape, gamma=scale, beta=center)
        self.built = True

    def _axes(self, rank):
        axes = self.axis if isinstance(self.axis, (list, tuple)) else [self.axis]
        return sorted(axis_from_front(axis, rank, self.name) for axis in axes)

    def call(self, inputs):
        if self.rms_scaling:  # Keras returns the input's dtype, and would cut whole numbers
            return super().call(ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32")))
        outputs = kernels_for(self, inputs).layer_norm(
            inputs, self.gamma, self.beta, axes=self._axes(len(inputs.shape)), epsilon=self.epsilon
        )
        return ops.cast(outputs, self.compute_dtype)
