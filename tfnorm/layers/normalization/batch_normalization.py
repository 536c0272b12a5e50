"""Batch normalization."""

from __future__ import annotations

import keras
from keras import ops

from tfnorm._keras import known_settings, portable, renorms
from tfnorm.errors import SpecError
from tfnorm.layers.checks import axis_from_front, known_sizes, positive_epsilon
from tfnorm.ops import kernels, kernels_for, on_tensorflow, records_gradients, sum_over_replicas


@keras.saving.register_keras_serializable("tfnorm")
class BatchNormalization(keras.layers.BatchNormalization):
    r"""Normalize each channel with the statistics of the batch.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    In training, :math:`\mu` and :math:`\sigma^2` are mean and biased variance over every axis but ``axis``. At
    inference they are the moving statistics. `keras.layers.BatchNormalization` with the same weights gives the same
    outputs, and each layer takes the weights and the configuration of the other.

    Conventions: Keras has epsilon 1e-3 and momentum 0.99 (the share of the old value that is kept), PyTorch 1e-5 and
    0.9 (written 0.1 there, the share of the new value). The moving variance takes the biased batch variance in Keras
    3, the unbiased one in PyTorch and in fused kernels.

    Args:
        axis: The channel axis. Defaults to -1.
        momentum: The share of the moving statistics that is kept at each step, from 0 to 1. Defaults to 0.99.
        epsilon: Added to the variance, inside the root. Defaults to 1e-3.
        unbiased_moving_variance: Whether the moving variance takes n / (n - 1) times the batch variance, as in
            PyTorch. With a mask, n counts the numbers that are not masked. Defaults to False, as in Keras.
        frozen: Whether training uses the moving statistics too, and updates none. Gamma and beta are trained. Keras
            has no such setting: its layers with ``trainable=False`` train neither. Defaults to False.
        synchronized: Whether statistics are shared over all replicas at each step (TensorFlow backend).
        **kwargs: The other arguments of `keras.layers.BatchNormalization`.

    Input and output shape:
        Any rank from 2 to 5, such as (batch, height, width, channels). Statistics are over batch, height and width.

    Example:
        >>> layer = BatchNormalization()
        >>> layer(np.ones((2, 4, 4, 3), "float32"), training=True).shape
        TensorShape([2, 4, 4, 3])

    References:
        Ioffe and Szegedy, 2015, arXiv 1502.03167.
    """

    def __init__(self, axis=-1, momentum=0.99, epsilon=1e-3, *, unbiased_moving_variance=False, frozen=False, **kwargs):
        if kwargs.get("synchronized") and (backend := keras.backend.backend()) != "tensorflow":
            raise SpecError(
                "Batch normalization over all replicas ('bn:sync', synchronized=True) needs Keras's TensorFlow "
                f"backend. Received: backend={backend!r}. Leave it out, or set KERAS_BACKEND=tensorflow."
            )
        super().__init__(axis=axis, momentum=momentum, epsilon=positive_epsilon(epsilon), **known_settings(kwargs))
        if not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must be from 0 to 1. Received: momentum={momentum}.")
        self.unbiased_moving_variance, self.frozen = bool(unbiased_moving_variance), bool(frozen)
        self.autocast = False  # statistics are taken of the input as it is

    @classmethod
    def from_spec(cls, spec, settings):
        return cls(
            axis=settings.axis,
            momentum=settings.momentum,
            unbiased_moving_variance=settings.unbiased_moving_variance,
            # On JAX the statistics span the whole batch, on however many devices it lies.
            synchronized=spec.variant == "sync" and on_tensorflow(),
            frozen=spec.variant.startswith("frozen"),
            trainable=spec.variant != "frozen=all",
            **settings.arguments("gamma", "beta"),
        )

    def build(self, input_shape):
        axis = axis_from_front(self.axis, len(input_shape), self.name)
        known_sizes(input_shape, [axis], self.name)
        super().build(input_shape)

    def call(self, inputs, training=None, mask=None):
        """Normalize ``inputs``. With ``training=True``, also update the moving statistics, unless they are frozen."""
        training = training and not self.frozen
        if renorms(self):
            return super().call(inputs, training=training, mask=mask)
        if mask is not None and len(mask.shape) != len(inputs.shape) - 1:
            raise ValueError(
                "`mask` must have one axis less than the inputs. "
                f"Received: mask of shape {tuple(mask.shape)}, inputs of shape {tuple(inputs.shape)} "
                f"at layer {self.name!r}."
            )
        axis = self.axis % len(inputs.shape)
        # A batch without images has no statistics. A synchronized norm takes part all the same: other replicas wait.
        empty = 0 in inputs.shape and not self.synchronized
        if empty or not (training and self.trainable):
            # This is one fused operation, which can be exported as it is. Only its gradient is compiled.
            module = kernels_for(self, inputs) if records_gradients() else kernels()
            outputs = module.batch_norm_inference(
                inputs, self.gamma, self.beta, self.moving_mean, self.moving_variance, axis=axis, epsilon=self.epsilon
            )
        elif mask is not None or self.synchronized:
            wide = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
            moments = self._synchronized_moments(wide) if mask is None else self._moments(wide, mask)
            mean, variance = (ops.reshape(moment, (inputs.shape[axis],)) for moment in moments)
            outputs = kernels_for(self, inputs).batch_norm_inference(
                wide, self.gamma, self.beta, mean, variance, axis=axis, epsilon=self.epsilon
            )
            self._update(mean, variance, inputs, mask)
        else:
            outputs, mean, variance = kernels_for(self, inputs).batch_norm(
                inputs, self.gamma, self.beta, axis=axis, epsilon=self.epsilon
            )
            self._update(mean, variance, inputs)
        return ops.cast(outputs, self.compute_dtype)

    def _synchronized_moments(self, wide):
        """Return mean and biased variance over all replicas, in two passes: Keras's variance cancels."""
        mean, _ = ops.moments(wide, axes=self._reduction_axes, keepdims=True, synchronized=True)
        variance, _ = ops.moments(ops.square(wide - mean), axes=self._reduction_axes, synchronized=True)
        return mean, variance

    def _update(self, mean, variance, inputs, mask=None):
        if self.unbiased_moving_variance:
            count = ops.cast(self.count(inputs, mask), variance.dtype)
            variance = variance * count / ops.maximum(count - 1.0, 1.0)
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            old = ops.cast(moving, new.dtype)
            moved = old * self.momentum + new * (1.0 - self.momentum)
            if None in inputs.shape:  # perhaps no number at all
                moved = ops.where(ops.size(inputs) > 0, moved, old)
            moving.assign(moved)

    def count(self, inputs, mask=None):
        """Return how many numbers of a channel the statistics are taken over. With a mask, those of one replica."""
        if mask is None:
            count = ops.size(inputs) // inputs.shape[self.axis]
            return sum_over_replicas(ops.cast(count, "float32")) if self.synchronized else count
        seen = ops.broadcast_to(ops.expand_dims(ops.cast(mask, "bool"), -1), ops.shape(inputs))
        return ops.sum(ops.cast(seen, "int32"), self._reduction_axes)

    def get_config(self):
        """Return the arguments. One that Keras's own layer does not have is left out if it is the default."""
        config = portable(super().get_config())
        for name in ("unbiased_moving_variance", "frozen"):
            if getattr(self, name):
                config[name] = True
        return config


def takes_batch_statistics(layer) -> bool:
    """Return whether ``layer`` is a batch norm that normalizes by the batch in training, and updates its statistics."""
    frozen = getattr(layer, "frozen", False)
    return isinstance(layer, keras.layers.BatchNormalization) and layer.trainable and not frozen
