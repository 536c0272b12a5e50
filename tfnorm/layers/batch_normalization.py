"""Batch normalization."""

from __future__ import annotations

import keras
from keras import ops

from tfnorm.layers._checks import axis_from_front, known_sizes, positive_epsilon
from tfnorm.ops import kernels, replicas_in_step


@keras.saving.register_keras_serializable("tfnorm")
class BatchNormalization(keras.layers.BatchNormalization):
    r"""Normalize each channel with the statistics of the batch.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    In training, :math:`\mu` and :math:`\sigma^2` are mean and biased variance over every axis but ``axis``; at
    inference they are the moving statistics. `keras.layers.BatchNormalization` with the same weights gives the same
    outputs; weights and configuration move either way.

    Conventions: Keras has epsilon 1e-3 and momentum 0.99 (the share of the old value that is kept), PyTorch 1e-5 and
    0.9 (written 0.1 there, the share of the new value). The moving variance takes the biased batch variance in Keras
    3, the unbiased one in PyTorch and in fused kernels.

    Args:
        axis: The channel axis, default -1.
        momentum: Share of the moving statistics kept at each step, from 0 to 1, default 0.99.
        epsilon: Added to the variance, inside the root; default 1e-3.
        unbiased_moving_variance: Whether the moving variance takes n / (n - 1) times the batch variance, as in
            PyTorch; default False, as in Keras.
        synchronized: Whether statistics are shared over all replicas at each step (TensorFlow backend).
        **kwargs: The other arguments of `keras.layers.BatchNormalization`.

    Input and output shape:
        Any rank from 2 to 5, such as (batch, height, width, channels); statistics over batch, height and width.

    Example:
        >>> layer = BatchNormalization()
        >>> layer(np.ones((2, 4, 4, 3), "float32"), training=True).shape
        TensorShape([2, 4, 4, 3])

    References:
        Ioffe and Szegedy, 2015, arXiv 1502.03167.
    """

    def __init__(self, axis=-1, momentum=0.99, epsilon=1e-3, *, unbiased_moving_variance=False, **kwargs):
        super().__init__(axis=axis, momentum=momentum, epsilon=positive_epsilon(epsilon), **kwargs)
        if not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must be from 0 to 1. Received: momentum={momentum}.")
        self.unbiased_moving_variance = bool(unbiased_moving_variance)

    def build(self, input_shape):
        """Create gamma, beta and the moving statistics."""
        axis = axis_from_front(self.axis, len(input_shape), self.name)
        known_sizes(input_shape, [axis], self.name)
        super().build(input_shape)

    def call(self, inputs, training=None, mask=None):
        """Normalize ``inputs``; with ``training=True`` also update the moving statistics."""
        if mask is not None or self.renorm:
            return super().call(inputs, training=training, mask=mask)
        axis = self.axis % len(inputs.shape)
        if not (training and self.trainable):
            outputs = kernels().batch_norm_inference(
                inputs, self.gamma, self.beta, self.moving_mean, self.moving_variance, axis=axis, epsilon=self.epsilon
            )
        elif self.synchronized:
            wide = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
            mean, variance = self._synchronized_moments(wide, axis)
            outputs = kernels().batch_norm_inference(
                wide, self.gamma, self.beta, mean, variance, axis=axis, epsilon=self.epsilon
            )
            self._update(mean, variance, inputs)
        else:
            outputs, mean, variance = kernels().batch_norm(
                inputs, self.gamma, self.beta, axis=axis, epsilon=self.epsilon
            )
            self._update(mean, variance, inputs)
        return ops.cast(outputs, self.compute_dtype)

    def _synchronized_moments(self, wide, axis):
        """Return mean and biased variance over all replicas, in two passes: Keras's variance cancels."""
        mean, _ = ops.moments(wide, axes=self._reduction_axes, keepdims=True, synchronized=True)
        variance, _ = ops.moments(ops.square(wide - mean), axes=self._reduction_axes, synchronized=True)
        return ops.reshape(mean, (wide.shape[axis],)), variance

    def _update(self, mean, variance, inputs):
        if self.unbiased_moving_variance:
            count = ops.cast(ops.size(inputs) // inputs.shape[self.axis], variance.dtype)
            if self.synchronized:
                count = count * replicas_in_step()
            variance = variance * count / ops.maximum(count - 1.0, 1.0)
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            old = ops.cast(moving, new.dtype)
            moving.assign(old * self.momentum + new * (1.0 - self.momentum))

    def get_config(self):
        """Return the arguments, with those that Keras's own layer does not have only where they are not the default."""
        config = super().get_config()
        if self.unbiased_moving_variance:
            config["unbiased_moving_variance"] = True
        return config
