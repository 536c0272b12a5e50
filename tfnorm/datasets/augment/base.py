"""The base class of the random augmentation layers, and functions that change some images of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfnorm.errors import DataError, whole_number

_LUMINANCE = (0.2989, 0.587, 0.114)


def to_gray(images: Any) -> Any:
    """Return the brightness (batch, height, width, 1): ITU-R 601 weights for three channels, else their mean."""
    channels = images.shape[-1]
    weights = _LUMINANCE if channels == 3 else (1 / channels,) * channels
    return sum(weight * images[..., index : index + 1] for index, weight in enumerate(weights))


def change_where(images: Any, mask: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return ``images`` with those of ``mask`` (batch,) passed through ``function``, which computes no others.

    ``function`` is called once, with the images to change, perhaps none, and with their rows of ``arguments``.
    """
    if keras.backend.backend() != "tensorflow":
        # Other backends have no shapes that depend on data.
        return ops.where(mask[:, None, None, None], function(images, *arguments), images)
    rows = ops.cast(ops.nonzero(mask)[0], "int32")
    changed = function(*(ops.take(tensor, rows, axis=0) for tensor in (images, *arguments)))
    return ops.scatter_update(images, rows[:, None], changed)


class ImageLayer(keras.layers.Layer):
    """Takes images (batch, height, width, channels) of pixels 0..255, and returns float32 of the same shape."""

    def __init__(self, **kwargs: Any) -> None:
        # Whatever the policy, pixels keep their full precision.
        super().__init__(**{"dtype": "float32", "trainable": False, **kwargs})

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return input_shape


class RandomImageLayer(ImageLayer):
    """Base of the random layers: identity at inference, random state saved with the weights.

    Subclasses implement ``augment(images)``, draw with ``uniform`` and list their arguments in ``settings``.

    Args:
        seed: Seed of the draws, an integer of 0 or more.
        **kwargs: ``name`` and the other arguments of a Keras layer.
    """

    settings: tuple[str, ...] = ()

    def __init__(self, *, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = whole_number("seed", seed, 0, error=DataError)
        self.generator = keras.random.SeedGenerator(self.seed)
        # TensorFlow's image transform has no XLA kernel; without compilation JAX would go through each layer by itself.
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Return the images as float32, augmented if ``training``."""
        images = ops.cast(images, "float32")
        return self.augment(images) if training else images

    def augment(self, images: Any) -> Any:
        """Return augmented float32 ``images`` (batch, height, width, channels)."""
        raise NotImplementedError

    def uniform(self, *shape: Any) -> Any:
        """Return numbers in [0, 1) from the layer's own random state."""
        return keras.random.uniform(shape, dtype="float32", seed=self.generator)

    # Keras saves a layer's weights but not its seed generator: a resumed run would repeat the first epoch's draws.
    def save_own_variables(self, store: Any) -> None:
        """Save the random state."""
        store["random_state"] = self.generator.state.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Restore the random state."""
        self.generator.state.assign(np.asarray(store["random_state"]))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        settings = {name: getattr(self, name) for name in self.settings}
        return {**super().get_config(), "seed": self.seed, **settings}


class SomeImagesLayer(RandomImageLayer):
    """Passes each image through ``change(images)``, of the subclass, with a probability, 0..1."""

    settings = ("probability",)

    def __init__(self, *, probability: float, seed: int, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        self.probability = within("probability", probability, 1)

    def augment(self, images: Any) -> Any:
        """Return the images, some of them changed."""
        chosen = self.uniform(ops.shape(images)[0]) < self.probability
        return change_where(images, chosen, self.change)


def check_fill_value(value: float | Sequence[float], channels: int | None) -> None:
    """Raise DataError unless ``value`` is one number or one a channel."""
    if np.ndim(value) and channels is not None and np.size(value) not in (1, channels):
        raise DataError(
            f"The fill must be one value or one a channel. Received: {np.size(value)} values for {channels} channels. "
            "Pass the mean of this data set."
        )


def within(name: str, value: float, most: float) -> float:
    """Return ``value`` as a float, or raise DataError unless it lies in 0..``most``."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 <= value <= most:
        raise DataError(f"`{name}` must lie in 0..{most}. Received: {name}={value!r}. Use a number in that range.")
    return float(value)
