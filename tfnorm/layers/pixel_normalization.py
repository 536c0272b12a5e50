"""The layer that normalizes pixels."""

from __future__ import annotations

import keras

from tfnorm.ops import records_gradients


@keras.saving.register_keras_serializable("tfnorm")
class Normalization(keras.layers.Normalization):
    r"""Keras's `keras.layers.Normalization`, whose statistics are constants of an exported network.

    .. math:: y = \frac{x - \mu}{\sigma}

    Arguments, shapes and results are the parent's. The parent keeps its statistics as tensors, which an ONNX file would
    have as further inputs.

    Args:
        **kwargs: The arguments of `keras.layers.Normalization`.

    Example:
        >>> Normalization(mean=[127.5], variance=[63.75**2])(np.array([[255.0]], "float32")).numpy().tolist()
        [[2.0]]
    """

    def convert_weight(self, weight):
        """Return a statistic as the backend computes with it: a constant wherever no gradient is recorded.

        In training it stays a tensor. TensorFlow would turn the division by a constant into a product, which rounds
        differently.
        """
        weight = super().convert_weight(weight)
        if records_gradients() or not hasattr(weight, "numpy"):
            return weight
        return weight.numpy()
