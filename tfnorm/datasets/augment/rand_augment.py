"""RandAugment, drawn for each image. Each operation is computed for its own images alone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tfnorm.datasets.augment.base import RandomImageLayer, change_where, to_gray, within
from tfnorm.datasets.augment.geometry import transform_images
from tfnorm.errors import DataError, whole_number

OPERATIONS = (
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color", "contrast",
    "sharpness", "posterize", "solarize", "auto_contrast", "equalize",
)  # fmt: skip
_CODE = {name: code for code, name in enumerate(OPERATIONS)}
# The magnitude at which every operation is strongest.
_LEVELS = 30


@keras.saving.register_keras_serializable("tfnorm")
class RandAugment(RandomImageLayer):
    """RandAugment on a random share of the images.

    Each chosen image passes through ``operations`` operations, each drawn for it alone and evenly from the 14 of
    ``OPERATIONS``, all at one magnitude and, where there are two directions, with a random sign. The strengths at
    magnitude m are torchvision's, with r = m/30: shear 0.3 r, shift 150/331 r of the side, rotation 30 r degrees,
    brightness, colour, contrast and sharpness 1 ± 0.9 r, posterize to 8 - round(4 r) bits, solarize above 255 (1 - r).
    Unlike there, shears are about the centre, and shifts may be fractions of a pixel. What moves in is black.

    Keras's own ``RandAugment`` computes every operation for every image, and draws one pair a batch. Here the images
    are sorted by what they drew, and each operation sees its own alone.

    Args:
        operations: Operations in a row, 1 or more.
        magnitude: Strength, 0..30.
        probability: Probability that an image is changed, 0..1.

    References:
        Cubuk et al., RandAugment: Practical automated data augmentation with a reduced search space, arXiv 1909.13719.
    """

    settings = ("operations", "magnitude", "probability")

    def __init__(
        self, *, operations: int = 2, magnitude: float = 9, probability: float = 1.0, seed: int, **kwargs: Any
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        self.operations = whole_number("operations", operations, error=DataError)
        self.magnitude = within("magnitude", magnitude, _LEVELS)
        self.probability = within("probability", probability, 1)

    def augment(self, images: Any) -> Any:
        """Return the images, a share of them augmented."""
        draws = self.uniform(ops.shape(images)[0], 1 + 2 * self.operations)
        return change_where(images, draws[:, 0] < self.probability, self._change, draws)

    def _change(self, images: Any, draws: Any) -> Any:
        for index in range(self.operations):
            code = ops.cast(ops.floor(draws[:, 1 + 2 * index] * len(OPERATIONS)), "int32")
            sign = ops.where(draws[:, 2 + 2 * index] < 0.5, -1.0, 1.0)
            images = apply_operations(images, code, sign, self.magnitude)
        return images


def apply_operations(images: Any, code: Any, sign: Any, magnitude: float) -> Any:
    """Return each image after the operation ``code``, int32 (batch,), in the direction ``sign``, -1 or 1 (batch,)."""
    level = magnitude / _LEVELS
    geometric = ops.logical_and(code >= _CODE["shear_x"], code <= _CODE["rotate"])
    images = change_where(images, geometric, lambda part, code, sign: _move(part, code, sign, level), code, sign)
    blended = ops.logical_and(code >= _CODE["brightness"], code <= _CODE["sharpness"])
    images = change_where(images, blended, lambda part, code, sign: _blend(part, code, sign, level), code, sign)
    step = 2.0 ** round(4 * level)
    for name, function in (
        ("posterize", lambda part: ops.floor(part / step) * step),
        ("solarize", lambda part: ops.where(part >= 255 * (1 - level), 255 - part, part)),
        ("auto_contrast", auto_contrast),
        ("equalize", equalize),
    ):
        images = change_where(images, code == _CODE[name], function)
    return images


def _move(images: Any, code: Any, sign: Any, level: float) -> Any:
    shape = ops.shape(images)

    def strength(name: str, most: float) -> Any:
        return ops.where(code == _CODE[name], sign * (most * level), 0.0)

    angle = strength("rotate", np.pi / 6)
    cos, sin = ops.cos(angle), ops.sin(angle)
    return transform_images(
        images,
        (cos, sin + strength("shear_x", 0.3), strength("shear_y", 0.3) - sin, cos),
        strength("translate_x", 150 / 331) * ops.cast(shape[2], "float32"),
        strength("translate_y", 150 / 331) * ops.cast(shape[1], "float32"),
    )


def _blend(images: Any, code: Any, sign: Any, level: float) -> Any:
    """Return images + strength·(images - base), where the base is the image without what is strengthened."""
    code = code[:, None, None, None]
    gray = to_gray(images)
    base = ops.where(code == _CODE["color"], gray, ops.zeros_like(images))
    base = ops.where(code == _CODE["contrast"], ops.mean(gray, axis=(1, 2), keepdims=True), base)
    base = ops.where(code == _CODE["sharpness"], smooth(images), base)
    strength = (sign * (0.9 * level))[:, None, None, None]
    return ops.clip(images + strength * (images - base), 0.0, 255.0)


def smooth(images: Any) -> Any:
    """Return ``images`` smoothed by the kernel [[1,1,1],[1,5,1],[1,1,1]]/13; the border stays as it is."""
    rows = images[:, :-2] + images[:, 1:-1] + images[:, 2:]
    inner = images[:, 1:-1, 1:-1]
    smoothed = (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * inner) / 13
    middle = ops.concatenate([images[:, 1:-1, :1], smoothed, images[:, 1:-1, -1:]], axis=2)
    return ops.concatenate([images[:, :1], middle, images[:, -1:]], axis=1)


def auto_contrast(images: Any) -> Any:
    """Return ``images`` with each channel stretched to 0..255; a channel of one value stays as it is."""
    # Keras refuses the minimum of no images at all unless told where to start.
    low = ops.min(images, axis=(1, 2), keepdims=True, initial=255.0)
    span = ops.max(images, axis=(1, 2), keepdims=True, initial=0.0) - low
    flat = span < 1e-3
    return ops.where(flat, images, ops.clip((images - low) * (255 / ops.where(flat, 1.0, span)), 0.0, 255.0))


def equalize(images: Any) -> Any:
    """Return ``images`` with the histogram of each channel made even, as Pillow does; values are rounded first."""
    batch, height, width, channels = ops.shape(images)
    planes = batch * channels
    pixels = ops.cast(ops.round(images), "int32")
    plane = ops.arange(batch)[:, None, None, None] * channels + ops.arange(channels)[None, None, None, :]
    index = ops.reshape(pixels + 256 * ops.cast(plane, "int32"), (-1,))
    counts = ops.segment_sum(ops.ones_like(index), index, num_segments=planes * 256)
    counts = ops.reshape(counts, (planes, 256))
    below = ops.cumsum(counts, axis=1)
    # Pillow leaves the brightest pixels out of the step: below[last - 1] is everything but the last filled bin.
    brightest = ops.max(ops.where(counts > 0, ops.arange(256, dtype="int32"), 0), axis=1, keepdims=True, initial=0)
    last = ops.take_along_axis(counts, brightest, axis=1)
    step = (height * width - last) // 255
    safe = ops.maximum(step, 1)
    table = ops.clip((below - counts + safe // 2) // safe, 0, 255)
    table = ops.where(step == 0, ops.arange(256, dtype="int32")[None, :], table)
    return ops.reshape(ops.cast(ops.take(ops.reshape(table, (-1,)), index), "float32"), ops.shape(images))
