"""The data of a run, loaded without Keras."""

from __future__ import annotations

from collections.abc import Callable

from tfnorm.datasets import Dataset, load
from tfnorm.datasets.load import is_here
from tfnorm.errors import TfnormError
from tfnorm.training.config import TrainConfig


def place_of(config: TrainConfig) -> tuple[object, ...]:
    """Return what decides which data `load_data` returns, so that configurations that share them can do so."""
    arch = config.dataset == "digits" and config.arch
    return config.dataset, config.data_dir, config.image_size, arch, config.holdout, config.skip_damaged


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
        data = load(config.dataset, data_dir=config.data_dir, image_size=size, skip_damaged=config.skip_damaged)
    return data.hold_out(config.holdout) if config.holdout else data


def fingerprints() -> Callable[[TrainConfig], str | None]:
    """Return a function of a configuration that returns the fingerprint of its data, or None if they are not here.

    Each data set is loaded once, and none is downloaded.
    """
    known: dict[tuple[object, ...], str | None] = {}

    def fingerprint(config: TrainConfig) -> str | None:
        config = config.resolved()
        place = place_of(config)
        if place not in known:
            known[place] = None
            try:
                if is_here(config.dataset, data_dir=config.data_dir):
                    known[place] = load_data(config).fingerprint
            except (TfnormError, OSError):
                pass  # whoever trains on them says what is wrong
        return known[place]

    return fingerprint
