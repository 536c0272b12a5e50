"""Pixels of a person's own batches as uint8."""

from __future__ import annotations

import numpy as np

from tfnorm.datasets.checks import check_image_array
from tfnorm.errors import DataError


class Pixels:
    """Turns batches of images into uint8, 0..255. The first batch decides the scale, and the others must have it.

    Integers and floats in 0..255 keep their values, floats rounded to whole numbers. Floats in 0..1 are multiplied by
    255 and rounded.

    Args:
        where: What messages call the images.
        name: Their name in these messages, such as "x_train".

    Attributes:
        scale: 255 for floats in 0..1, otherwise 1; None before the first batch.
        shape: (height, width, channels), None before the first batch.
        rounded: Whether a pixel was no whole number.

    Example:
        >>> pixels = Pixels("photos", "x_train")
        >>> pixels(np.full((1, 2, 2), 0.5)).tolist(), pixels.scale
        ([[[[128], [128]], [[128], [128]]]], 255)
    """

    def __init__(self, where: str, name: str) -> None:
        self.where, self.name = where, name
        self.scale: int | None = None
        self.shape: tuple[int, int, int] | None = None
        self.rounded = False

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the next batch, uint8 (images, height, width, channels), or raise a DataError."""
        check_image_array(self.where, self.name, images.shape, images.dtype)
        images = images.reshape(*images.shape[:3], -1)
        height, width, channels = images.shape[1:]
        if self.shape not in (None, (height, width, channels)):
            raise DataError(
                f"{self.where}: all images of {self.name} must have one shape (height, width, channels). Received: "
                f"{self.shape} and {images.shape[1:]}. Resize them in the pipeline."
            )
        self.shape = height, width, channels
        if images.dtype == np.uint8:
            self.scale = self.scale or 1
            return images
        low, high = float(images.min()), float(images.max())
        if self.scale is None:
            self.scale = 255 if images.dtype.kind == "f" and high <= 1 else 1
        if not (low >= 0 and high <= 255 // self.scale):
            raise DataError(
                f"{self.where}: pixels must lie in 0..255, or be floats in 0..1 in all batches. Received: {self.name} "
                f"in {low:g}..{high:g}{' after floats in 0..1' if self.scale == 255 else ''}. Clip them, and leave "
                "standardization to the network."
            )
        if self.scale == 1 and images.dtype.kind == "f" and 1 < high < 2:
            raise DataError(
                f"{self.where}: pixels must lie in 0..255, or be floats in 0..1. Received: {self.name} in "
                f"{low:g}..{high:g}, which is neither. Clip them to 0..1, or multiply them by 255."
            )
        values = images * self.scale
        whole = np.rint(values)
        self.rounded = self.rounded or bool((values != whole).any())
        return whole.astype(np.uint8)
