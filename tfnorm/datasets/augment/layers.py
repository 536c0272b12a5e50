"""The augmentation layers. Import this module to load a saved model that holds any of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfnorm.datasets.augment.base import (
    ImageLayer,
    RandomImageLayer,
    SomeImagesLayer,
    check_fill_value,
    to_gray,
    within,
)
from tfnorm.datasets.augment.geometry import (
    RandomAffine,
    RandomFlip,
    RandomResizedCrop,
    RandomShift,
)
from tfnorm.datasets.augment.rand_augment import RandAugment
from tfnorm.errors import DataError, whole_number

__all__ = [
    "Augmentation", "Cutout", "RandAugment", "RandomAffine", "RandomFlip", "RandomGray", "RandomResizedCrop",
    "RandomShift",
]  # fmt: skip


@keras.saving.register_keras_serializable("tfnorm")
class Cutout(RandomImageLayer):
    """A square of each image, at a random place, is filled with one colour.

    The square lies wholly inside the image, so that exactly size·size pixels are lost (the original lets it hang over
    the edge, which loses fewer).

    Args:
        size: Side of the square in pixels, 1 or more and less than the image's sides.
        probability: Probability that an image loses a square, 0..1.
        fill_value: One value, or one a channel, in pixel units.

    References:
        DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, arXiv 1708.04552.
    """

    settings = ("size", "probability", "fill_value")

    def __init__(
        self,
        *,
        size: int = 16,
        probability: float = 0.5,
        fill_value: float | Sequence[float] = 127.5,
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        self.size = whole_number("size", size, error=DataError)
        self.probability = within("probability", probability, 1)
        self.fill_value = fill_value

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Check that the square fits and that the fill value has the right number of channels."""
        height, width, channels = input_shape[1:]
        check_fill_value(self.fill_value, channels)
        if any(side is not None and self.size >= side for side in (height, width)):
            raise DataError(
                f"A cutout must be smaller than the images. Received: size={self.size}, images of {height}x{width}. "
                "Use larger images (image_size), or an augmentation without cutout such as 'shift'."
            )
        self.built = True

    def augment(self, images: Any) -> Any:
        """Return the images with their squares filled."""
        batch, height, width, channels = ops.shape(images)
        draws = self.uniform(3, batch, 1)

        def inside(draw: Any, side: Any) -> Any:
            start = ops.floor(draw * ops.cast(side - self.size + 1, "float32"))
            offset = ops.cast(ops.arange(side), "float32")[None, :] - start
            return ops.logical_and(offset >= 0, offset < self.size)

        rows = ops.logical_and(inside(draws[1], height), draws[0] < self.probability)
        columns = ops.repeat(inside(draws[2], width), channels, axis=1)
        # TensorFlow selects several times faster where nothing is left to broadcast.
        hole = ops.logical_and(rows[:, :, None], columns[:, None, :])
        flat = ops.reshape(images, ops.shape(hole))
        fill = ops.broadcast_to(ops.convert_to_tensor(np.asarray(self.fill_value, np.float32)), (width, channels))
        fill = ops.broadcast_to(ops.reshape(fill, (1, 1, -1)), ops.shape(hole))
        return ops.reshape(ops.where(hole, fill, flat), (batch, height, width, channels))


@keras.saving.register_keras_serializable("tfnorm")
class RandomGray(SomeImagesLayer):
    """Some images lose their colour: every channel becomes the brightness 0.2989 R + 0.587 G + 0.114 B."""

    def change(self, images: Any) -> Any:
        """Return grey ``images``."""
        return ops.broadcast_to(to_gray(images), ops.shape(images))


@keras.saving.register_keras_serializable("tfnorm")
class Augmentation(ImageLayer):
    """Random layers one after another. At inference, images pass unchanged.

    Args:
        layers: The layers, in order.
        switch: Whether ``turn`` turns it on and off while a model trains. Off, the layers still draw.
        **kwargs: Arguments of a Keras layer.
    """

    def __init__(self, layers: Sequence[RandomImageLayer], *, switch: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layers = list(layers)
        self.on = self.add_weight(shape=(), initializer="ones", trainable=False, name="on") if switch else None
        self.supports_jit = all(layer.supports_jit for layer in self.layers)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the layers."""
        if len(input_shape) != 4:
            raise DataError(
                "Augmentation takes images (batch, height, width, channels). "
                f"Received: shape {tuple(input_shape)}. Add the missing axes."
            )
        for layer in self.layers:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)
        self.built = True

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of what the last layer returns."""
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Return the images as float32, augmented if ``training``."""
        plain = images = ops.cast(images, "float32")
        for layer in self.layers:
            images = layer(images, training=training)
        if self.on is None:
            return images
        for layer in self.layers:  # those that cut take the middle
            plain = layer(plain, training=False)
        # Both are computed: a branch must not change the random state where JAX compiles.
        return ops.where(self.on > 0.5, images, plain)

    def turn(self, on: bool) -> None:
        """Turn a layer with a ``switch`` on or off.

        Raises:
            DataError: If it was made without.
        """
        if self.on is None:
            raise DataError("This augmentation cannot be turned on or off. Make it with switch=True.")
        self.on.assign(float(on))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return {**super().get_config(), "layers": layers, "switch": self.on is not None}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Augmentation:
        """Return the layer that ``get_config`` describes."""
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config.pop("layers")]
        return cls(layers, **config)
