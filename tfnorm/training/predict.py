"""Logits of a trained network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tfnorm.datasets.images import Images, StreamedImages
from tfnorm.errors import TfnormError
from tfnorm.ops.arrays import to_array

if TYPE_CHECKING:
    import keras

EVALUATION_BATCH = 256


def evaluation_batch(images: int, pixels: int = 0, devices: int = 1) -> int:
    """Return a batch size that divides ``images`` into nearly equal batches, since each new size costs a compilation.

    Images of more than 64x64 pixels come in smaller batches, so that evaluation needs no more memory than training. Of
    several devices, each gets an image of the last batch too.

    Example:
        >>> evaluation_batch(450), evaluation_batch(10_000), evaluation_batch(450, pixels=224 * 224)
        (225, 250, 20)
    """
    most = max(devices, min(EVALUATION_BATCH, EVALUATION_BATCH * 64 * 64 // max(pixels, 1)))
    size = -(-images // -(-images // most))
    while 0 < images % size < devices:
        size += 1
    return size


def predict_logits(model: keras.Model, images: Images) -> np.ndarray:
    """Return the logits of a network for images.

    They are computed by a compiled graph. Operations outside a graph round differently in 16 bits.

    Args:
        model: A model that returns logits of shape (batch, classes).
        images: Pixels from 0 to 255, of shape (images, height, width, channels).

    Returns:
        Logits, float32 of shape (images, classes).

    Raises:
        TfnormError: If the images have another shape.

    Example:
        >>> predict_logits(tfnorm.build(norm="gn:2"), np.zeros((3, 28, 28, 1), "uint8")).shape
        (3, 10)
    """
    images = images if isinstance(images, StreamedImages) else to_array(images)
    if images.ndim != 4 or not len(images):
        raise TfnormError(
            f"`images` must be one image or more, (images, height, width, channels). Received: shape {images.shape}."
        )
    size = evaluation_batch(len(images), math.prod(images.shape[1:3]))
    batches = (images[i : i + size] for i in range(0, len(images), size))
    # Each of TensorFlow's devices predicts the whole batch, and Keras returns all of their outputs, one after another.
    logits = [model.predict_on_batch(batch)[: len(batch)] for batch in batches]
    return np.concatenate(logits).astype("float32")
