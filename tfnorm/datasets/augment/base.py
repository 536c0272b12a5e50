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
    """Return ``images`` with those of ``mask`` passed through ``function``, which computes no others.

    Args:
        images: (batch, height, width, channels).
        mask: Which images to change, boolean (batch,).
        function: Takes images and their rows of ``arguments``; called once with the images to change, perhaps none.
        *arguments: Tensors with one row an image.
    """
    if keras.backend.backend() != "tensorflow":
        # Other backends have no shapes that depend on data.
        return ops.where(mask[:, None, None, None], function(images, *arguments), images)
    rows = ops.cast(ops.nonzero(mask)[0], "int32")
    changed = function(*(ops.take(tensor, rows, axis=0) for tensor in (images, *arguments)))
    return ops.scatter_update(images, rows[:, None], changed)


class RandomImageLayer(keras.layers.Layer):
    """Base of the random layers: float32 images, identity at inference, random state saved with the weights.

    Subclasses implement ``augment(images)``, draw from ``self.generator`` and list their arguments in ``settings``.

    Args:
        seed: Seed of the draws, an integer of 0 or more.
        **kwargs: ``name`` and the other arguments of a Keras layer. The dtype is float32 unless given, whatever the
            policy: pixels keep their full precision.
    """

    settings: tuple[str, ...] = ()

    def __init__(self, *, seed: int, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(trainable=kwargs.pop("trainable", False), **kwargs)
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

    def compute_output_spec(self, images: Any, training: bool | None = None) -> keras.KerasTensor:
        """Return float32 of the input's shape."""
        return keras.KerasTensor(images.shape, dtype="float32")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return input_shape

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
