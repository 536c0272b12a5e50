"""The data of a run, loaded without Keras."""

from __future__ import annotations

from tfnorm.datasets import Dataset, load
from tfnorm.training.config import TrainConfig


def place_of(config: TrainConfig) -> tuple[object, ...]:
    """Return what decides which data `load_data` returns, so that configurations that share them can do so."""
    arch = config.dataset == "digits" and config.arch
    return config.dataset, config.data_dir, config.image_size, arch, config.holdout


def load_data(config: TrainConfig, data: Dataset | None = None) -> Dataset:
    """Return what a run of ``config`` is trained and evaluated on.

    Digits are resized to the network's input, and a part of the training images takes the place of the test set if one
    is held out.

    Args:
        config: The configuration.
        data: The data, if it is loaded already, with images of the right size.
    """
    if data is None:
        side = config.image_size
        size = (side, side) if side else None
        if size is None and config.dataset == "digits":
            size = config.plan().arch.input_shape[:2]
        data = load(config.dataset, data_dir=config.data_dir, image_size=size)
    return data.hold_out(config.holdout) if config.holdout else data
