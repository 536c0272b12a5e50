"""Instance normalization."""

from __future__ import annotations

import keras

from tfnorm.layers.normalization.group_normalization import GroupNormalization


@keras.saving.register_keras_serializable("tfnorm")
class InstanceNormalization(GroupNormalization):
    r"""Normalize each channel of each sample over its pixels.

    .. math:: y_c = \gamma_c \frac{x_c - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}} + \beta_c

    with mean and biased variance over height and width. It is group normalization with one channel a group, and
    `keras.layers.GroupNormalization(groups=-1)` with the same weights gives the same outputs. If images have a single
    pixel, the output is beta.

    Args:
        axis: The channel axis. Defaults to -1.
        epsilon: Added to the variance, inside the root. Defaults to 1e-3 as in Keras (PyTorch: 1e-5).
        **kwargs: The other arguments of `keras.layers.GroupNormalization`. PyTorch's default has no gamma and beta
            (``center=False, scale=False``).

    Input and output shape:
        Any rank from 3, such as (batch, height, width, channels).

    References:
        Ulyanov, Vedaldi and Lempitsky, 2016, arXiv 1607.08022.
    """

    def __init__(self, axis=-1, epsilon=1e-3, **kwargs):
        super().__init__(groups=-1, axis=axis, epsilon=epsilon, **kwargs)

    @classmethod
    def from_spec(cls, spec, settings):
        return cls(axis=settings.axis, **settings.arguments("gamma", "beta"))

    def get_config(self):
        config = super().get_config()
        del config["groups"]
        return config
