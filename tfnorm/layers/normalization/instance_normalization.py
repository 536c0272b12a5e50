"""Instance normalization."""

from __future__ import annotations

import keras

from tfnorm.layers.normalization.group_normalization import GroupNormalization


@keras.saving.register_keras_serializable("tfnorm")
class InstanceNormalization(GroupNormalization):
    r"""Normalize each channel of each sample over its pixels.

    .. math:: y_c = \gamma_c \frac{x_c - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}} + \beta_c

    with mean and biased variance over height and width: group normalization with one channel a group.
    `keras.layers.GroupNormalization(groups=-1)` with the same weights gives the same outputs. Where there is a
    single pixel the output is beta.

    Args:
        axis: The channel axis, default -1.
        epsilon: Added to the variance, inside the root; default 1e-3 as in Keras (PyTorch: 1e-5).
        **kwargs: The other arguments of `keras.layers.GroupNormalization`; PyTorch's default has no gamma and beta
            (``center=False, scale=False``).

    Input and output shape:
        Any rank from 3, such as (batch, height, width, channels).

    References:
        Ulyanov, Vedaldi and Lempitsky, 2016, arXiv 1607.08022.
    """

    def __init__(self, axis=-1, epsilon=1e-3, **kwargs):
        super().__init__(groups=-1, axis=axis, epsilon=epsilon, **kwargs)

    def get_config(self):
        """Return the arguments; there are no groups among them."""
        config = super().get_config()
        del config["groups"]
        return config
