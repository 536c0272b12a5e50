"""Layers and activations of Keras 2 and its add-ons that old files hold and Keras 3 does not have."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfnorm.layers.checks import known_sizes
from tfnorm.layers.normalization.base import AffineNormalization, add_weights


@keras.saving.register_keras_serializable("tfnorm")
def hard_sigmoid_of_keras_2(x):
    """Return 0.2 x + 0.5, cut off at 0 and 1. The hard sigmoid of Keras 3 has the slope 1/6.

    Example:
        >>> hard_sigmoid_of_keras_2(np.array([-3.0, 1.0, 3.0])).numpy().tolist()
        [0.0, 0.7, 1.0]
    """
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


@keras.saving.register_keras_serializable("tfnorm")
def gelu_of_tensorflow_addons(x):
    """Return the tanh approximation of the GELU, which is the default of tensorflow-addons.

    Example:
        >>> round(float(gelu_of_tensorflow_addons(np.float32(1.0))), 5)
        0.84119
    """
    return ops.gelu(x, approximate=True)


def _in_float32(inputs: Any) -> Any:
    """Return ``inputs`` in float32, or in float64 if that is what they are."""
    return ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))


@keras.saving.register_keras_serializable("tfnorm")
class BandNormalization(AffineNormalization):
    r"""Group normalization as keras-contrib and tensorflow-addons up to 0.6 computed it.

    .. math:: y_{g} = \gamma \frac{x_g - \mathrm{mean}(x_g)}{\sqrt{\mathrm{var}(x_g) + \epsilon}} + \beta

    The groups were meant to be groups of channels. The input was reshaped to (batch, groups, ..., channels / groups)
    and not transposed, so that with the channels last a group is a band of the picture: the first rows with all of
    their channels, then the next. Gamma and beta belong to the group and to the place in the reshaped channels. With
    the channels first it is the group normalization of the paper.

    Networks that were trained with it compute the right outputs with this layer only. Take `GroupNormalization` for
    new ones.

    Args:
        groups: Number of groups, a divisor of the number of channels, or -1 for one group a channel. Defaults to 32.
        axis: The channel axis. Defaults to -1.
        epsilon: Added to the variance, inside the root. Defaults to 1e-5.
        **kwargs: Those of gamma, beta and a Keras layer, as `AffineNormalization` has them.

    Input and output shape:
        Any rank from 2, such as (batch, height, width, channels). A mask is passed on.
    """

    def __init__(self, groups=32, axis=-1, epsilon=1e-5, **kwargs):
        super().__init__(axis, epsilon, **kwargs)
        self.groups = groups

    def build(self, input_shape):
        axis = self.channel_axis(len(input_shape))
        sizes = known_sizes(input_shape, [axis], self.name)
        if sizes[0] % self._groups(sizes[0]):
            raise ValueError(
                f"`groups` must divide the number of channels. Received: groups={self.groups}, channels={sizes[0]} at "
                f"layer {self.name!r}."
            )
        super().build(input_shape)

    def call(self, inputs):
        axis = self.channel_axis(len(inputs.shape))
        channels = inputs.shape[axis]
        groups = self._groups(channels)
        shape, weights = list(ops.shape(inputs)), [1] * len(inputs.shape)
        shape[axis] = weights[axis] = channels // groups
        shape.insert(1, groups)
        weights.insert(1, groups)
        x = ops.reshape(_in_float32(inputs), shape)
        mean, variance = ops.moments(x, list(range(2, len(shape))), keepdims=True)
        outputs = self.scaled((x - mean) * ops.rsqrt(variance + self.epsilon), weights)
        return ops.cast(ops.reshape(outputs, ops.shape(inputs)), self.compute_dtype)

    def _groups(self, channels: int) -> int:
        return channels if self.groups == -1 else self.groups

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable("tfnorm")
class ContribInstanceNormalization(AffineNormalization):
    r"""Instance normalization of keras-contrib, with epsilon outside the root.

    .. math:: y_c = \gamma_c \frac{x_c - \mathrm{mean}(x_c)}{\sqrt{\mathrm{var}(x_c)} + \epsilon} + \beta_c

    Args:
        axis: The channel axis, or None for one mean and variance over the whole sample, with a gamma and a beta of
            one number. Defaults to None, as in keras-contrib.
        epsilon: Added to the standard deviation. Defaults to 1e-3.
        **kwargs: Those of gamma, beta and a Keras layer, as `AffineNormalization` has them.

    Input and output shape:
        Any rank from 2, from 3 with an axis, such as (batch, height, width, channels). A mask is passed on.
    """

    def __init__(self, axis=None, epsilon=1e-3, **kwargs):
        super().__init__(axis, epsilon, **kwargs)

    def build(self, input_shape):
        axes = [] if self.axis is None else [self.channel_axis(len(input_shape))]
        sizes = known_sizes(input_shape, axes, self.name) or (1,)
        self.input_spec = keras.InputSpec(ndim=len(input_shape))
        add_weights(self, sizes, gamma=self.scale, beta=self.center)
        self.built = True

    def call(self, inputs):
        rank = len(inputs.shape)
        axes, weights = list(range(1, rank)), [1] * rank
        if self.axis is not None:
            axis = self.channel_axis(rank)
            axes.remove(axis)
            weights[axis] = inputs.shape[axis]
        x = _in_float32(inputs)
        mean, variance = ops.moments(x, axes, keepdims=True)
        outputs = self.scaled((x - mean) / (ops.sqrt(variance) + self.epsilon), weights)
        return ops.cast(outputs, self.compute_dtype)
