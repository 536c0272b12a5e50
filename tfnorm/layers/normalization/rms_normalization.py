"""Root mean square normalization."""

from __future__ import annotations

import keras
from keras import ops

from tfnorm.layers.checks import axis_from_front, known_sizes, positive_epsilon
from tfnorm.ops import kernels_for


@keras.saving.register_keras_serializable("tfnorm")
class RMSNormalization(keras.layers.RMSNormalization):
    r"""Divide each sample by its root mean square over ``axis``.

    .. math:: y = s \frac{x}{\sqrt{\mathrm{mean}(x^2) + \epsilon}}

    No mean is subtracted and there is no offset. `keras.layers.RMSNormalization` with the same weights gives the
    same outputs.

    Args:
        axis: The axis or axes of the mean and of ``scale``. Defaults to -1, the channels of each pixel.
        epsilon: Added to the mean square, inside the root. Defaults to 1e-6 as in Keras.
        scale_regularizer: Penalty on ``scale``, which Keras's own layer does not have. Defaults to None.
        **kwargs: Name, dtype and the other arguments of a Keras layer.

    Input and output shape:
        Any rank, such as (batch, height, width, channels).

    References:
        Zhang and Sennrich, 2019, arXiv 1910.07467.
    """

    def __init__(self, axis=-1, epsilon=1e-6, *, scale_regularizer=None, **kwargs):
        # Keras wants a list, which is also what a loaded configuration has.
        axis = list(axis) if isinstance(axis, (list, tuple)) else axis
        super().__init__(axis=axis, epsilon=positive_epsilon(epsilon), **kwargs)
        self.scale_regularizer = keras.regularizers.get(scale_regularizer)
        self.autocast = False  # statistics are taken of the input as it is

    @classmethod
    def from_spec(cls, spec, settings):
        return cls(axis=settings.axis, **settings.arguments("scale"))

    def build(self, input_shape):
        self.scale = self.add_weight(
            name="scale",
            shape=known_sizes(input_shape, self._axes(len(input_shape)), self.name),
            initializer="ones",
            regularizer=self.scale_regularizer,
            autocast=False,
        )
        self.built = True

    def _axes(self, rank):
        axes = self.axis if isinstance(self.axis, (list, tuple)) else [self.axis]
        return sorted(axis_from_front(axis, rank, self.name) for axis in axes)

    def call(self, inputs):
        outputs = kernels_for(self, inputs).rms_norm(
            inputs, self.scale, axes=self._axes(len(inputs.shape)), epsilon=self.epsilon
        )
        return ops.cast(outputs, self.compute_dtype)

    def get_config(self):
        """Return the arguments. ``scale_regularizer`` is left out if it is None, since Keras's own layer has none."""
        config = super().get_config()
        if self.scale_regularizer is not None:
            config["scale_regularizer"] = keras.regularizers.serialize(self.scale_regularizer)
        return config
