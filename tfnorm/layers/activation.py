"""The rectified linear unit, computed in one pass with the norm before it."""

from __future__ import annotations

import keras

from tfnorm.ops import kernels


@keras.saving.register_keras_serializable("tfnorm")
class ReLU(keras.layers.ReLU):
    """Keras's `keras.layers.ReLU`, written in one pass with a norm of tfnorm before it.

    Arguments, shapes and results are the parent's. In training on TensorFlow, in a graph, max(x, 0) of a norm's output
    is computed from the norm's input and statistics. The norm's own output is written only if something else reads it.

    Args:
        max_value: The largest output. Defaults to None, without bound.
        negative_slope: The slope below 0. Defaults to 0.
        threshold: The value below which outputs are 0. Defaults to 0.
        **kwargs: Name, dtype and the other arguments of a Keras layer.

    Example:
        >>> ReLU()(np.array([-1.0, 2.0], "float32")).numpy().tolist()
        [0.0, 2.0]
    """

    def call(self, inputs):
        if self.max_value is None and not self.negative_slope and not self.threshold:
            return kernels().relu(inputs)
        return super().call(inputs)


@keras.saving.register_keras_serializable("tfnorm")
class Activation(keras.layers.Activation):
    """Keras's `keras.layers.Activation`, whose "relu" joins the norm before it as `ReLU` does.

    Args:
        activation: Name of an activation, or a function.
        **kwargs: Name, dtype and the other arguments of a Keras layer.

    Example:
        >>> Activation("relu")(np.array([-1.0, 2.0], "float32")).numpy().tolist()
        [0.0, 2.0]
    """

    def call(self, inputs):
        if self.activation is keras.activations.relu:
            return kernels().relu(inputs)
        return super().call(inputs)
