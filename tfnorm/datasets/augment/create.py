"""Augmentations as data: which layers change the training images, and how. The layers are made on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tfnorm.errors import DataError, whole_number
from tfnorm.ops.arrays import to_array
from tfnorm.registry import Registry

if TYPE_CHECKING:
    import keras

# Stand for the mean of the data, and for the size that networks take, in the table below.
_MEAN, _SIZE = "mean", "size"


@dataclass(frozen=True)
class Preset:
    """An augmentation: one line that describes it, and its layers in order: the arguments of each class."""

    description: str
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the description."""
        return self.description

    @property
    def crops(self) -> bool:
        """Whether it cuts images, so that they may be larger than what a network takes."""
        return any(_SIZE in arguments.values() for arguments in self.layers.values())


_REFLECT = {"fill_mode": "reflect"}
_CUTOUT = {"size": 16, "probability": 0.5, "fill_value": _MEAN}

# fmt: off
#: Every augmentation by its name.
AUGMENTATIONS = Registry("augmentation", DataError, {
    "none": Preset("no augmentation"),
    "shift": Preset(
        "rotation ±10°, shift ±6 %, zoom ±8 %: gentle, for small grey images",
        {"RandomAffine": {"rotation": 10.0, "translation": 0.06, "zoom": 0.08}},
    ),
    "nudge": Preset(
        "rotation ±5°, shift ±4 %, zoom ±4 %: for small networks that underfit with 'shift'",
        {"RandomAffine": {"rotation": 5.0, "translation": 0.04, "zoom": 0.04}},
    ),
    "A": Preset("rotation ±5°, horizontal shear ±5°", {"RandomAffine": {"rotation": 5.0, "shear": 5.0}}),
    "B": Preset(
        "flip p 0.2; shift 10 %, scale 10 %, rotation 15° together p 0.25; 16x16 cutout p 0.5; to grey p 0.15",
        {
            "RandomFlip": {"probability": 0.2},
            "RandomAffine": {"translation": 0.1, "zoom": 0.1, "rotation": 15.0, "probability": 0.25, **_REFLECT},
            "Cutout": _CUTOUT,
            "RandomGray": {"probability": 0.15},
        },
    ),
    "C": Preset(
        "flip p 0.5; shift 10 %; 16x16 cutout p 0.5",
        {"RandomFlip": {"probability": 0.5}, "RandomShift": {"translation": 0.1, **_REFLECT}, "Cutout": _CUTOUT},
    ),
    "D": Preset("rotation ±7°", {"RandomAffine": {"rotation": 7.0}}),
    "E": Preset(
        "RandAugment (2 operations of magnitude 9) p 0.25",
        {"RandAugment": {"operations": 2, "magnitude": 9, "probability": 0.25}},
    ),
    "flip_shift": Preset(
        "flip p 0.5; shift by up to 1/8 of the side in whole pixels: the custom for CIFAR",
        {"RandomFlip": {"probability": 0.5}, "RandomShift": {"translation": 0.125, "fill_value": _MEAN}},
    ),
    "flip": Preset("flip p 0.5", {"RandomFlip": {"probability": 0.5}}),
    "flip_nudge": Preset(
        "flip p 0.5; shift by up to 1/16 of the side in whole pixels, mirrored: for small networks that underfit",
        {"RandomFlip": {"probability": 0.5}, "RandomShift": {"translation": 0.0625, **_REFLECT}},
    ),
    "crop_flip": Preset(
        "a random part of 8 % to 100 % of the area, resized; flip p 0.5: the custom for 96 to 224 pixels",
        {"RandomResizedCrop": {"size": _SIZE}, "RandomFlip": {"probability": 0.5}},
    ),
})
# fmt: on


def augmentation(
    name: str,
    *,
    seed: int,
    mean: float | Sequence[float] | np.ndarray | None = None,
    switch: bool = False,
    size: tuple[int, int] | None = None,
) -> keras.layers.Layer | None:
    """Return the layer that augments training images, to stand at the head of the training model.

    It takes raw pixels 0..255 (batch, height, width, channels), any dtype, and returns float32 of the same shape, but
    for ``size``. When called with ``training=False``, it does nothing else than to cut images to it. Its random state
    is saved with the model's weights, so that a resumed run draws what the uninterrupted one would have drawn.

    Args:
        name: A name of ``AUGMENTATIONS``.
        seed: Seed of the random draws, 0 or more; the same seed gives the same images.
        mean: Mean of the data in pixel units, one value or one a channel: fills cutouts, and the border that
            ``flip_shift`` moves in. Defaults to 127.5, mid-grey.
        switch: Whether ``turn(False)`` of the layer stops it, also while a model trains.
        size: (height, width) that ``crop_flip`` cuts larger images to, at inference from their middle. Defaults to the
            size of the images.

    Returns:
        The layer, or None for ``"none"``.

    Raises:
        DataError: If the name is unknown or an argument out of range.
    """
    preset = AUGMENTATIONS[name]
    seed = whole_number("seed", seed, 0, error=DataError)
    fill = _check_mean(mean)
    if not preset.layers:
        return None
    from tfnorm.datasets.augment import layers as augment_layers  # start-up

    layers = []
    for index, (kind, arguments) in enumerate(preset.layers.items()):
        # Seeds of neighbouring runs and layers must not give related streams.
        state = int(np.random.SeedSequence([int(seed), index]).generate_state(1)[0] >> 1)
        stands = {_MEAN: fill, _SIZE: size}
        filled = {
            key: stands.get(value, value) if isinstance(value, str) else value for key, value in arguments.items()
        }
        layers.append(getattr(augment_layers, kind)(seed=state, **filled))
    return augment_layers.Augmentation(layers, switch=switch, name=f"augmentation_{name}")


def _check_mean(mean: float | Sequence[float] | np.ndarray | None) -> float | list[float]:
    try:
        values = to_array(127.5 if mean is None else mean).astype(np.float64)
        valid = values.ndim < 2 and values.size > 0 and bool(((values >= 0) & (values <= 255)).all())
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise DataError(
            f"`mean` must be in pixel units 0..255, one value or one a channel. Received: mean={mean!r}. "
            "Pass the data set's mean."
        )
    return values.tolist()
