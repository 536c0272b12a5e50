"""Layers that move the pixels of images: affine transforms, flips, shifts by whole pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfnorm.datasets.augment.base import RandomImageLayer, SomeImagesLayer, change_where, check_fill_value, within
from tfnorm.errors import DataError, unknown, whole_number


@keras.saving.register_keras_serializable("tfnorm")
class RandomAffine(RandomImageLayer):
    """Rotation, shear, zoom and translation, drawn for each image and done in one resampling.

    Keras has a layer for each. In a row they interpolate the image again and again, which blurs it, and each costs a
    pass over the batch; here the matrices are multiplied and the image is resampled once (bilinear).

    With probability ``probability`` an image is transformed by

        p' = c + t + R(a) · H(s) · (1 + z) · (p - c)

    about its centre c, where a, s, z and t are uniform in ± the given limits; H shears along x (``x += tan(s)·y``).

    Args:
        rotation: Largest angle, degrees, 0..180.
        shear: Largest shear angle along x, degrees, 0..80.
        translation: Largest shift, as a fraction of the height and of the width, 0..1.
        zoom: Largest change of scale, a fraction, 0..0.99.
        probability: Probability that an image is transformed, 0..1.
        fill_mode: What lies outside the image: "constant", "nearest", "reflect" or "wrap".
        fill_value: For "constant": the value, in pixel units.
    """

    settings = ("rotation", "shear", "translation", "zoom", "probability", "fill_mode", "fill_value")

    def __init__(
        self,
        *,
        rotation: float = 0.0,
        shear: float = 0.0,
        translation: float = 0.0,
        zoom: float = 0.0,
        probability: float = 1.0,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        self.rotation = within("rotation", rotation, 180)
        self.shear = within("shear", shear, 80)
        self.translation = within("translation", translation, 1)
        self.zoom = within("zoom", zoom, 0.99)
        self.probability = within("probability", probability, 1)
        self.fill_mode = _check_fill_mode(fill_mode, ("constant", "nearest", "reflect", "wrap"))
        self.fill_value = within("fill_value", fill_value, 255)

    def augment(self, images: Any) -> Any:
        """Return the images, each transformed by parameters of its own."""
        draws = self.uniform(ops.shape(images)[0], 6)
        if self.probability == 1:
            return self._transform(images, draws)
        return change_where(images, draws[:, 0] < self.probability, self._transform, draws)

    def _transform(self, images: Any, draws: Any) -> Any:
        shape = ops.shape(images)

        def signed(index: int, limit: float) -> Any:
            return (2 * draws[:, index] - 1) * limit

        angle = signed(1, np.pi / 180 * self.rotation)
        slant = ops.tan(signed(2, np.pi / 180 * self.shear))
        scale = 1 + signed(3, self.zoom)
        cos, sin = scale * ops.cos(angle), scale * ops.sin(angle)
        # y points down, so that a positive angle turns counter-clockwise.
        forward = (cos, cos * slant + sin, -sin, cos - sin * slant)
        shift_x = signed(4, self.translation) * ops.cast(shape[2], "float32")
        shift_y = signed(5, self.translation) * ops.cast(shape[1], "float32")
        return transform_images(images, forward, shift_x, shift_y, self.fill_mode, self.fill_value)


def transform_images(
    images: Any,
    forward: tuple[Any, Any, Any, Any],
    shift_x: Any,
    shift_y: Any,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
) -> Any:
    """Return each image moved by p' = c + shift + F·(p - c) about its centre c, bilinear.

    ``forward`` holds the elements xx, xy, yx, yy of F. These and the shifts, in pixels to the right and downwards, are
    (batch,). ``fill_mode`` is that of ``keras.ops.image.affine_transform``.
    """
    shape = ops.shape(images)
    center_y = (ops.cast(shape[1], "float32") - 1) / 2
    center_x = (ops.cast(shape[2], "float32") - 1) / 2
    xx, xy, yx, yy = forward
    determinant = xx * yy - xy * yx
    # The kernel wants the way back, from a pixel of the result to its origin.
    xx, xy, yx, yy = yy / determinant, -xy / determinant, -yx / determinant, xx / determinant
    back_x, back_y = center_x + shift_x, center_y + shift_y
    zero = ops.zeros_like(xx)
    offset_x = center_x - xx * back_x - xy * back_y
    offset_y = center_y - yx * back_x - yy * back_y
    if keras.backend.backend() == "torch":  # where Keras's own goes through one image after another
        rows, columns = (ops.cast(ops.arange(side), "float32") for side in shape[1:3])

        def origins(of_x: Any, of_y: Any, offset: Any) -> Any:
            across, down = of_x[:, None, None] * columns, of_y[:, None, None] * rows[:, None]
            return across + down + offset[:, None, None]

        return resample(images, origins(yx, yy, offset_y), origins(xx, xy, offset_x), fill_mode, fill_value)
    return ops.image.affine_transform(
        images,
        ops.stack([xx, xy, offset_x, yx, yy, offset_y, zero, zero], axis=1),
        interpolation="bilinear",
        fill_mode=fill_mode,
        fill_value=fill_value,
        data_format="channels_last",
    )


def resample(images: Any, y: Any, x: Any, fill_mode: str, fill_value: float) -> Any:
    """Return what lies at the rows ``y`` and columns ``x``, (batch, new height, new width), of each image, bilinear."""
    batch, height, width, channels = ops.shape(images)
    pixels = ops.reshape(images, (-1, channels))
    first = ops.arange(batch, dtype="int32")[:, None, None] * (height * width)

    def taps(place: Any, side: int) -> list[tuple[Any, Any, Any]]:
        """Return position, weight and whether it is inside, of the pixels before and behind each place."""
        low = ops.floor(place)
        share, low = place - low, ops.cast(low, "int32")
        found = []
        for index, weight in ((low, 1 - share), (low + 1, share)):
            inside = ops.logical_and(index >= 0, index < side)
            if fill_mode == "wrap":
                index = ops.mod(index, side)
            elif fill_mode == "reflect":
                index = ops.mod(index, 2 * side)
                index = ops.minimum(index, 2 * side - 1 - index)
            found.append((ops.clip(index, 0, side - 1), weight, inside))
        return found

    total = 0.0
    for row, down, row_inside in taps(y, height):
        for column, across, column_inside in taps(x, width):
            values = ops.take(pixels, first + row * width + column, axis=0)
            if fill_mode == "constant":
                inside = ops.logical_and(row_inside, column_inside)
                values = ops.where(inside[..., None], values, fill_value)
            total = total + (down * across)[..., None] * values
    return total


@keras.saving.register_keras_serializable("tfnorm")
class RandomFlip(SomeImagesLayer):
    """Some images are mirrored left to right."""

    def change(self, images: Any) -> Any:
        """Return mirrored ``images``."""
        return ops.flip(images, axis=2)


@keras.saving.register_keras_serializable("tfnorm")
class RandomShift(RandomImageLayer):
    """Each image is moved by whole pixels, which needs no interpolation.

    Every shift of -m..m pixels is as likely, m = round(translation · side); both directions are drawn apart. This is
    what "pad by m and crop at random" does.

    Args:
        translation: Largest shift, as a fraction of the height and of the width, 0..1.
        fill_mode: What moves in: "constant", "nearest" or "reflect" (which repeats the edge: cba|abc|cba).
        fill_value: For "constant": one value, or one a channel, in pixel units.
    """

    settings = ("translation", "fill_mode", "fill_value")

    def __init__(
        self,
        *,
        translation: float = 0.125,
        fill_mode: str = "constant",
        fill_value: float | Sequence[float] = 0.0,
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        self.translation = within("translation", translation, 1)
        self.fill_mode = _check_fill_mode(fill_mode, ("constant", "nearest", "reflect"))
        self.fill_value = fill_value

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Check the fill value against the number of channels."""
        check_fill_value(self.fill_value, input_shape[-1])
        self.built = True

    def augment(self, images: Any) -> Any:
        """Return the images, each moved by a shift of its own."""
        batch, height, width, channels = ops.shape(images)
        draws = self.uniform(2, batch, 1)
        row, row_inside = self._origin(draws[0], height)
        column, column_inside = self._origin(draws[1], width)
        first = ops.arange(batch, dtype="int32")[:, None] * (height * width)
        index = (first + row * width)[:, :, None] + column[:, None, :]
        pixels = ops.reshape(images, (-1, channels))
        if self.fill_mode == "constant":
            # What lies outside is looked up in one pixel more, behind the last.
            fill = ops.convert_to_tensor(np.reshape(np.asarray(self.fill_value, np.float32), (1, -1)))
            pixels = ops.concatenate([pixels, ops.broadcast_to(fill, (1, channels))], axis=0)
            inside = row_inside[:, :, None] * column_inside[:, None, :]
            index = inside * index + (1 - inside) * (batch * height * width)
        moved = ops.take(pixels, ops.reshape(index, (-1,)), axis=0)
        return ops.reshape(moved, (batch, height, width, channels))

    def _origin(self, draw: Any, side: Any) -> tuple[Any, Any]:
        """Return where each row (or column) of the result comes from, and 1 where that was inside the image."""
        most = ops.round(self.translation * ops.cast(side, "float32"))
        shift = ops.cast(ops.floor(draw * (2 * most + 1)) - most, "int32")
        place = ops.arange(side, dtype="int32")[None, :] + shift
        inside = ops.cast(ops.logical_and(place >= 0, place < side), "int32")
        if self.fill_mode == "reflect":
            place = ops.where(place < 0, -place - 1, place)
            place = ops.where(place >= side, 2 * side - 1 - place, place)
        return ops.clip(place, 0, side - 1), inside


@keras.saving.register_keras_serializable("tfnorm")
class RandomResizedCrop(RandomImageLayer):
    """A rectangle of each image, of a random area, shape and place, becomes the whole image.

    The area is uniform in ``area`` times that of the image, and the logarithm of width / height uniform between those
    of ``ratio``. Of ten draws, the first that fits into the image is taken; if none does, the largest rectangle in the
    middle whose ratio is allowed. Sides and places are whole pixels. The rectangle is resampled once: bilinear, with
    antialiasing where it shrinks, as Pillow does it. At inference, the middle of the image is taken as it is.

    Args:
        size: (height, width) of the result; None for the size of the images.
        area: The smallest and the largest area, as fractions of the image's.
        ratio: The smallest and the largest width / height.

    References:
        Szegedy et al., Going deeper with convolutions, arXiv 1409.4842, section 6.
    """

    settings = ("size", "area", "ratio")
    _DRAWS = 10

    def __init__(
        self,
        *,
        size: Sequence[int] | None = None,
        area: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        self.size = None if size is None else [whole_number("size", side, error=DataError) for side in size]
        self.area, self.ratio = list(map(float, area)), list(map(float, ratio))
        for name, (low, high), most in (("area", self.area, 1.0), ("ratio", self.ratio, np.inf)):
            if not 0 < low <= high <= most:
                raise DataError(f"`{name}` must be a smaller and a larger number above 0. Received: {(low, high)}.")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Check that the images are not smaller than the result."""
        if any(side is not None and side < new for side, new in zip(input_shape[1:3], self.size or (), strict=False)):
            raise DataError(
                f"Images must not be smaller than what is cut from them. Received: images of "
                f"{input_shape[1]}x{input_shape[2]} and size={tuple(self.size or ())}. Use a larger `resize`."
            )
        self.built = True

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape with the height and the width of the result."""
        return input_shape if self.size is None else (input_shape[0], *self.size, input_shape[3])

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Return a random part of each image if ``training``, else the middle."""
        images = super().call(images, training)
        if training or self.size is None:
            return images
        top, left = ((side - new) // 2 for side, new in zip(ops.shape(images)[1:3], self.size, strict=True))
        return images[:, top : top + self.size[0], left : left + self.size[1]]

    def augment(self, images: Any) -> Any:
        """Return the images, each a part of its own."""
        batch, height, width, _ = ops.shape(images)
        new_height, new_width = self.size or (height, width)
        top, left, tall, wide = self._rectangles(batch, height, width)
        rows = _resampling(top, tall, height, new_height)
        columns = _resampling(left, wide, width, new_width)
        resized = ops.einsum("bxw,bywc->byxc", columns, ops.einsum("byh,bhwc->bywc", rows, images))
        return ops.clip(resized, 0.0, 255.0)  # weights sum to 1 but for their rounding

    def _rectangles(self, batch: Any, height: Any, width: Any) -> tuple[Any, Any, Any, Any]:
        """Return top, left, height and width of a rectangle in each image, whole pixels as float32 (batch,)."""
        draws = self.uniform(4, batch, self._DRAWS)
        sides = ops.cast(height, "float32"), ops.cast(width, "float32")
        low, high = np.log(self.ratio)
        area = (self.area[0] + draws[0] * (self.area[1] - self.area[0])) * sides[0] * sides[1]
        ratio = ops.exp(low + draws[1] * (high - low))
        tall, wide = ops.round(ops.sqrt(area / ratio)), ops.round(ops.sqrt(area * ratio))
        tall, wide = ops.maximum(tall, 1.0), ops.maximum(wide, 1.0)
        fits = ops.logical_and(tall <= sides[0], wide <= sides[1])
        first = ops.argmax(ops.cast(fits, "int32"), axis=1)[:, None]

        def chosen(values: Any) -> Any:
            return ops.take_along_axis(values, first, axis=1)[:, 0]

        # If none fits, take the whole image, cut to the nearest ratio that is allowed.
        shape = sides[1] / sides[0]
        middle = (
            ops.where(shape < self.ratio[0], ops.round(sides[1] / self.ratio[0]), sides[0]),
            ops.where(shape > self.ratio[1], ops.round(sides[0] * self.ratio[1]), sides[1]),
        )
        any_fits = ops.any(fits, axis=1)
        tall, wide = (
            ops.where(any_fits, chosen(drawn), other) for drawn, other in zip((tall, wide), middle, strict=True)
        )
        top, left = (
            ops.where(any_fits, ops.floor(chosen(draw) * (side - length + 1)), ops.floor((side - length) / 2))
            for draw, side, length in zip((draws[2], draws[3]), sides, (tall, wide), strict=True)
        )
        return top, left, tall, wide


def _resampling(start: Any, length: Any, side: Any, new: Any) -> Any:
    """Return how much each pixel counts for each of the result along one axis: (batch, new, side), rows of sum 1.

    The triangle filter of Pillow: as wide as the pixels of the result, where these are larger than the old ones, and
    only over the pixels from ``start`` on, ``length`` of them.
    """
    scale = length / ops.cast(new, "float32")
    support = ops.maximum(scale, 1.0)
    centers = start[:, None] + (ops.cast(ops.arange(new), "float32") + 0.5) * scale[:, None]
    pixels = ops.cast(ops.arange(side), "float32")
    weights = 1 - ops.abs(pixels + 0.5 - centers[:, :, None]) / support[:, None, None]
    inside = ops.logical_and(pixels >= start[:, None], pixels < (start + length)[:, None])
    weights = ops.where(inside[:, None, :], ops.maximum(weights, 0.0), 0.0)
    return weights / ops.sum(weights, axis=2, keepdims=True)


def _check_fill_mode(mode: str, modes: Sequence[str]) -> str:
    if mode not in modes:
        raise DataError(unknown("fill_mode", mode, modes))
    return mode
