"""The test images that any of several runs gets wrong, packed for a page: predictions exact, pictures within a size."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tfnorm.datasets.dataset import resize_images
from tfnorm.datasets.images import Images
from tfnorm.mistakes import predictions

PAGE_BYTES = 12_000_000
# Of base64 text; a page with more opens slowly.
PICTURE_BYTES = 6_500_000
LARGEST_SIDE = 96
A_SHEET = 256
SHEET_COLUMNS = 16
PNG = {"format": "png", "optimize": True}
WEBP = tuple({"format": "webp", "quality": quality, "method": 4} for quality in (85, 60))
# WebP codes colours in blocks of so many pixels, so that pictures of other sizes would bleed into each other.
BLOCK = 16


@dataclass(frozen=True, eq=False)
class Mistakes:
    """What several runs say of the images that at least one of them gets wrong.

    Attributes:
        index: Position of each image in the test set, int64 (images,); the most confident mistake of any run first.
        true: Its class, int64 (images,).
        predicted: Its class according to each run, int64 (runs, images); -1 where the logits are not numbers.
        confidence: Softmax probability of that class, float64 (runs, images), 0 where there is none.
    """

    index: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray

    def packed(self) -> dict[str, Any]:
        """Return the arrays as base64 of little-endian integers, confidences in thousandths, 65535 for no class."""
        return {
            "index": _packed(self.index, "<u4"),
            "true": _packed(self.true, "<u2"),
            "predicted": [_packed(row, "<u2") for row in self.predicted],
            "confidence": [_packed(np.rint(1000 * row), "<u2") for row in self.confidence],
        }


def _packed(values: np.ndarray, kind: str) -> str:
    # By way of int64, so that -1 wraps to the largest number.
    return base64.b64encode(values.astype(np.int64).astype(kind).tobytes()).decode()


def mistakes_data(labels: np.ndarray, logits: Sequence[np.ndarray]) -> Mistakes:
    """Return the images that any run gets wrong, and what each run says of them, given its logits (images, classes).

    A row with a NaN predicts no class and is wrong.
    """
    found = [predictions(run) for run in logits]
    predicted = np.stack([classes for classes, _ in found])
    confidence = np.nan_to_num(np.stack([probability for _, probability in found]))
    wrong = predicted != labels
    union = np.flatnonzero(wrong.any(axis=0))
    most = np.where(wrong, confidence, -1.0).max(axis=0)[union]
    union = union[np.argsort(-most, kind="stable")]
    return Mistakes(union, labels[union], predicted[:, union], confidence[:, union])


def picture_budget(rest: int) -> int:
    """Return how many bytes of pictures keep a page under 12 MB that has ``rest`` without them; 0 if there is no room.

    Example:
        >>> picture_budget(3_000_000), picture_budget(8_000_000), picture_budget(13_000_000)
        (6500000, 3990000, 0)
    """
    return max(0, min(PICTURE_BYTES, PAGE_BYTES - 10_000 - rest))  # so much is around the pictures


def picture_sheets(images: Images, *, budget: int = PICTURE_BYTES) -> dict[str, Any]:
    """Return as many of the images as fit, from the first on, side by side in larger pictures, row by row.

    Grey images of up to 32 pixels are kept exactly, as PNG; others are WebP, coarser where that lets all of them in.
    Sides above 96 pixels are reduced to 96.

    Args:
        images: uint8 (images, height, width, channels), an array or streamed.
        budget: The most bytes of base64 text.

    Returns:
        ``sheets``, each an address ``data:image/...``; ``count``, how many images they hold together; ``size``, height
        and width of one in pixels; ``cell``, those of its place in a sheet; ``columns`` and ``perSheet``, how many
        stand in a row and in a sheet.
    """
    height, width, channels = _reduced(images[:1]).shape[1:]
    exact = channels == 1 and max(height, width) <= 32
    block = 1 if exact else BLOCK
    cell = (-(-height // block) * block, -(-width // block) * block)
    for options in (PNG,) if exact else WEBP:
        best: list[str] = []
        for start in range(0, len(images), A_SHEET):
            text = _encoded(_sheet(_reduced(images[start : start + A_SHEET]), cell), **options)
            if sum(map(len, best)) + len(text) > budget:
                break
            best.append(text)
        if len(best) * A_SHEET >= len(images):
            break
    count = min(len(images), len(best) * A_SHEET)
    grid = {"columns": SHEET_COLUMNS, "perSheet": A_SHEET}
    return {"sheets": best, "count": count, "size": (height, width), "cell": cell, **grid}


def _reduced(images: np.ndarray) -> np.ndarray:
    """Return images of grey or colour, with no side above the largest."""
    images = images[..., : 3 if images.shape[-1] >= 3 else 1]
    side = max(images.shape[1:3])
    if side <= LARGEST_SIDE:
        return images
    height, width = (max(1, round(length * LARGEST_SIDE / side)) for length in images.shape[1:3])
    return resize_images(images, (height, width))


def _sheet(images: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    """Return images beside each other, each padded by its own edge."""
    count, height, width, channels = images.shape
    rows = -(-count // SHEET_COLUMNS)
    sheet = np.zeros((rows * SHEET_COLUMNS, *cell, channels), np.uint8)
    sheet[:count] = np.pad(images, ((0, 0), (0, cell[0] - height), (0, cell[1] - width), (0, 0)), mode="edge")
    parts = sheet.reshape(rows, SHEET_COLUMNS, *cell, channels).transpose(0, 2, 1, 3, 4)
    return parts.reshape(rows * cell[0], SHEET_COLUMNS * cell[1], channels)


def _encoded(sheet: np.ndarray, **options: Any) -> str:
    buffer = io.BytesIO()
    Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet).save(buffer, **options)
    return f"data:image/{options['format']};base64,{base64.b64encode(buffer.getvalue()).decode()}"
