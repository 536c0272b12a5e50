"""Layers and activations of Keras 2 and its add-ons that are found in old files and that Keras 3 does not have."""

from __future__ import annotations

from typing import Any

import keras
from keras import constraints, initializers, ops, regularizers

from tfnorm.layers.checks import add_gamma_beta, axis_from_front, known_sizes, positive_epsilon


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


class _Norm(keras.layers.Layer):
    """What both norms have: a gamma and a beta with their settings."""

    def __init__(
        self,
        axis,
        epsilon,
        *,
        center=True,
        scale=True,
        beta_initializer="zeros",
        gamma_initializer="ones",
        beta_regularizer=None,
        gamma_regularizer=None,
        beta_constraint=None,
        gamma_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.axis = axis
        self.epsilon = positive_epsilon(epsilon)
        self.center, self.scale = bool(center), bool(scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.supports_masking = True
        self.autocast = False  # statistics are taken of the input as it is

    def _channel_axis(self, rank: int) -> int:
        axis = axis_from_front(self.axis, rank, self.name)
        if axis == 0:
            raise ValueError(f"`axis` must be the channel axis, not the batch axis 0. Received: axis={self.axis}.")
        return axis

    def _finished(self, normalized: Any, shape: list[int]) -> Any:
        """Return ``normalized`` times gamma plus beta, which are broadcast from ``shape``."""
        if self.gamma is not None:
            normalized = normalized * ops.reshape(ops.cast(self.gamma, normalized.dtype), shape)
        if self.beta is not None:
            normalized = normalized + ops.reshape(ops.cast(self.beta, normalized.dtype), shape)
        return normalized

    def compute_output_shape(self, input_shape):
        """Return the input shape."""
        return input_shape

    def get_config(self):
        """Return the arguments."""
        return {
            **super().get_config(),
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializers.serialize(self.beta_initializer),
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
            "beta_regularizer": regularizers.serialize(self.beta_regularizer),
            "gamma_regularizer": regularizers.serialize(self.gamma_regularizer),
            "beta_constraint": constraints.serialize(self.beta_constraint),
            "gamma_constraint": constraints.serialize(self.gamma_constraint),
        }


def _in_float32(inputs: Any) -> Any:
    """Return ``inputs`` in float32, or in float64 if that is what they are."""
    return ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))


@keras.saving.register_keras_serializable("tfnorm")
class BandNormalization(_Norm):
    r"""Group normalization as keras-contrib and tensorflow-addons up to 0.6 computed it.

    .. math:: y_{g} = \gamma \frac{x_g - \mathrm{mean}(x_g)}{\sqrt{\mathrm{var}(x_g) + \epsilon}} + \beta

    The groups were meant to be groups of channels. The input was reshaped to (batch, groups, ..., channels / groups)
    and not transposed, so that with the channels last a group is a band of the picture: the first rows with all of
    their channels, then the next. Gamma and beta belong to the group and to the place in the reshaped channels. With
    the channels first it is the group normalization of the paper.

    Networks that were trained with it compute the right outputs with this layer only. Take `GroupNormalization` for
    new ones.

    Args:
        groups: Number of groups, a divisor of the number of channels; -1 for one a channel. Defaults to 32.
        axis: The channel axis. Defaults to -1.
        epsilon: Added to the variance, inside the root. Defaults to 1e-5.
        center: Whether there is a beta. Defaults to True.
        scale: Whether there is a gamma. Defaults to True.
        beta_initializer: Defaults to "zeros".
        gamma_initializer: Defaults to "ones".
        beta_regularizer: Defaults to None.
        gamma_regularizer: Defaults to None.
        beta_constraint: Defaults to None.
        gamma_constraint: Defaults to None.
        **kwargs: Name, dtype and the other arguments of a Keras layer.

    Input and output shape:
        Any rank from 2, such as (batch, height, width, channels). A mask is passed on.
    """

    def __init__(self, groups=32, axis=-1, epsilon=1e-5, **kwargs):
        super().__init__(axis, epsilon, **kwargs)
        self.groups = groups

    def build(self, input_shape):
        """Create gamma and beta."""
        axis = self._channel_axis(len(input_shape))
        sizes = known_sizes(input_shape, [axis], self.name)
        if sizes[0] % self._groups(sizes[0]):
            raise ValueError(
                f"`groups` must divide the number of channels. Received: groups={self.groups}, channels={sizes[0]} at "
                f"layer {self.name!r}."
            )
        self.input_spec = keras.InputSpec(ndim=len(input_shape), axes={axis: sizes[0]})
        add_gamma_beta(self, sizes, scale=self.scale, center=self.center)
        self.built = True

    def call(self, inputs):
        """Normalize ``inputs``."""
        axis = self._channel_axis(len(inputs.shape))
        channels = inputs.shape[axis]
        groups = self._groups(channels)
        shape, weights = list(ops.shape(inputs)), [1] * len(inputs.shape)
        shape[axis] = weights[axis] = channels // groups
        shape.insert(1, groups)
        weights.insert(1, groups)
        x = ops.reshape(_in_float32(inputs), shape)
        mean, variance = ops.moments(x, list(range(2, len(shape))), keepdims=True)
        outputs = self._finished((x - mean) * ops.rsqrt(variance + self.epsilon), weights)
        return ops.cast(ops.reshape(outputs, ops.shape(inputs)), self.compute_dtype)

    def _groups(self, channels: int) -> int:
        return channels if self.groups == -1 else self.groups

    def get_config(self):
        """Return the arguments."""
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable("tfnorm")
class ContribInstanceNormalization(_Norm):
    r"""Instance normalization of keras-contrib, with epsilon outside the root.

    .. math:: y_c = \gamma_c \frac{x_c - \mathrm{mean}(x_c)}{\sqrt{\mathrm{var}(x_c)} + \epsilon} + \beta_c

    Args:
        axis: The channel axis, or None for one mean and variance over the whole sample, with a gamma and a beta of
            one number. Defaults to None, as in keras-contrib.
        epsilon: Added to the standard deviation. Defaults to 1e-3.
        center: Whether there is a beta. Defaults to True.
        scale: Whether there is a gamma. Defaults to True.
        beta_initializer: Defaults to "zeros".
        gamma_initializer: Defaults to "ones".
        beta_regularizer: Defaults to None.
        gamma_regularizer: Defaults to None.
        beta_constraint: Defaults to None.
        gamma_constraint: Defaults to None.
        **kwargs: Name, dtype and the other arguments of a Keras layer.

    Input and output shape:
        Any rank from 2, from 3 with an axis, such as (batch, height, width, channels). A mask is passed on.
    """

    def __init__(self, axis=None, epsilon=1e-3, **kwargs):
        super().__init__(axis, epsilon, **kwargs)

    def build(self, input_shape):
        """Create gamma and beta."""
        sizes: tuple[int, ...] = (1,)
        if self.axis is not None:
            sizes = known_sizes(input_shape, [self._channel_axis(len(input_shape))], self.name)
        self.input_spec = keras.InputSpec(ndim=len(input_shape))
        add_gamma_beta(self, sizes, scale=self.scale, center=self.center)
        self.built = True

    def call(self, inputs):
        """Normalize ``inputs``."""
        rank = len(inputs.shape)
        axes, weights = list(range(1, rank)), [1] * rank
        if self.axis is not None:
            axis = self._channel_axis(rank)
            axes.remove(axis)
            weights[axis] = inputs.shape[axis]
        x = _in_float32(inputs)
        mean, variance = ops.moments(x, axes, keepdims=True)
        outputs = self._finished((x - mean) / (ops.sqrt(variance) + self.epsilon), weights)
        return ops.cast(outputs, self.compute_dtype)
