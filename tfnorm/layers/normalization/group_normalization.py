"""Group normalization."""

from __future__ import annotations

import keras
from keras import ops

from tfnorm.layers.checks import axis_from_front, known_sizes, positive_epsilon
from tfnorm.layers.normalization.base import add_weights
from tfnorm.ops import kernels_for
from tfnorm.spec import check_groups


@keras.saving.register_keras_serializable("tfnorm")
class GroupNormalization(keras.layers.GroupNormalization):
    r"""Normalize each sample over the pixels and the channels of each group.

    .. math:: y_c = \gamma_c \frac{x_c - \mu_g}{\sqrt{\sigma_g^2 + \epsilon}} + \beta_c

    with mean and biased variance over all axes but the batch, within the group g of neighbouring channels that holds
    channel c. `keras.layers.GroupNormalization` with the same weights gives the same outputs.

    Args:
        groups: Number of groups, a divisor of the channels, or -1 for one channel a group. Defaults to 32 as in Keras,
            unless ``group_size`` is given.
        axis: The channel axis. Defaults to -1.
        epsilon: Added to the variance, inside the root. Defaults to 1e-3 as in Keras (PyTorch: 1e-5).
        group_size: Channels per group, in place of ``groups``. Defaults to None.
        **kwargs: The other arguments of `keras.layers.GroupNormalization`.

    Input and output shape:
        Any rank from 2, such as (batch, height, width, channels).

    Example:
        >>> GroupNormalization(group_size=2)(np.ones((1, 4, 4, 8), "float32")).shape
        TensorShape([1, 4, 4, 8])

    References:
        Wu and He, 2018, arXiv 1803.08494.
    """

    def __init__(self, groups=None, axis=-1, epsilon=1e-3, *, group_size=None, **kwargs):
        if groups is not None and group_size is not None:
            raise ValueError(
                "`groups` and `group_size` exclude each other. "
                f"Received: groups={groups}, group_size={group_size}. Leave one out."
            )
        if group_size is not None and (type(group_size) is not int or group_size < 1):
            raise ValueError(f"`group_size` must be a positive whole number. Received: group_size={group_size!r}.")
        if groups is not None and (type(groups) is not int or groups < -1 or groups == 0):
            raise ValueError(
                f"`groups` must be a positive whole number, or -1 for one channel a group. Received: groups={groups!r}."
            )
        self.group_size = group_size
        if groups is None:
            groups = 32 if group_size is None else -1
        super().__init__(groups=groups, axis=axis, epsilon=positive_epsilon(epsilon), **kwargs)
        self.autocast = False  # statistics are taken of the input as it is

    @classmethod
    def from_spec(cls, spec, settings):
        weights = settings.arguments("gamma", "beta")
        return cls(spec.groups, axis=settings.axis, group_size=spec.group_size, **weights)

    def build(self, input_shape):
        axis = axis_from_front(self.axis, len(input_shape), self.name)
        if axis == 0:
            raise ValueError(f"`axis` must be the channel axis, not the batch axis 0. Received: axis={self.axis}.")
        (channels,) = known_sizes(input_shape, [axis], self.name)
        check_groups(self, channels, self.name)
        self.input_spec = keras.InputSpec(ndim=len(input_shape), axes={axis: channels})
        add_weights(self, (channels,), gamma=self.scale, beta=self.center)
        self.built = True

    def groups_of(self, channels):
        """Return the number of groups for ``channels`` channels."""
        if self.group_size is not None:
            return channels // self.group_size
        return channels if self.groups == -1 else self.groups

    def call(self, inputs):
        axis = self.axis % len(inputs.shape)
        groups = self.groups_of(inputs.shape[axis])
        outputs = kernels_for(self, inputs).group_norm(
            inputs, self.gamma, self.beta, groups=groups, axis=axis, epsilon=self.epsilon
        )
        return ops.cast(outputs, self.compute_dtype)

    def get_config(self):
        """Return the arguments. If ``group_size`` was given, it replaces ``groups``."""
        config = super().get_config()
        if self.group_size is not None:
            del config["groups"]
            config["group_size"] = self.group_size
        return config
