"""The data of a run, loaded without Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tfnorm.datasets import AUGMENTATIONS, Dataset, load
from tfnorm.datasets.checks import check_image_array
from tfnorm.datasets.given.own import OwnData
from tfnorm.datasets.given.pipeline import Pipeline
from tfnorm.datasets.memory import bytes_of
from tfnorm.datasets.sources import is_here
from tfnorm.errors import DataError, TfnormError
from tfnorm.training.config import TrainConfig
from tfnorm.training.folder import READING


def place_of(config: TrainConfig) -> tuple[object, ...]:
    """Return a key that is the same for configurations for which `load_data` returns the same data."""
    arch = config.dataset == "digits" and config.arch
    data = config.dataset.key if isinstance(config.dataset, OwnData) else config.dataset
    return (
        data, config.data_dir, config.image_size, arch, config.holdout, config.holdout_part,
        *reading_settings(config).values(),
    )  # fmt: skip


def reading_settings(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that say how data are read, as arguments of `load`."""
    return {name: getattr(config, name) for name in READING}


def load_data(config: TrainConfig, data: Dataset | None = None) -> Dataset:
    """Return the data that a run of ``config`` is trained and evaluated on.

    Digits are resized to the network's input. With ``holdout``, a part of the training images replaces the test set.

    Raises:
        DataError: If the data cannot be read, or if those that are given are not uint8 with channels last.
    """
    if data is not None:
        _check_given(data, config)
        for name, value in reading_settings(config).items():
            if value not in (None, False, "resize"):
                raise DataError(
                    f"`{name}` says how data are read, and these are in memory. Received: {name}={value!s} with data "
                    f"{data.name!r}. Give it to tfnorm.datasets.load."
                )
    elif isinstance(config.dataset, OwnData):
        data = _own(config.dataset, config)
    else:
        size: int | tuple[int, int] | None = config.image_size
        if size is None and config.dataset == "digits":
            size = _network_size(config)
        data = load(
            config.dataset,
            data_dir=config.data_dir,
            image_size=size,
            memory=config.memory,
            cache=config.cache,
            training_only=bool(config.holdout),
            **reading_settings(config),
        )
    return data.hold_out(config.holdout, config.holdout_part) if config.holdout else data


def _own(own: OwnData, config: TrainConfig) -> Dataset:
    """Return data of a person's own, which may be a `Pipeline`."""
    data = own.load(config.seed, memory=None if config.memory is None else bytes_of(config.memory))
    if isinstance(data, Pipeline) and config.batch_size is not None:
        raise DataError(
            f"The batch size is that of your pipeline {own.name}, {data.batch_size} images. Received: "
            f"batch_size={config.batch_size}. Set it in the pipeline, and leave it out here (--batch-size)."
        )
    _check_given(data, config)
    if config.resize is not None:
        raise DataError(
            f"`resize` is for pictures that tfnorm reads. Received: resize={config.resize} with {own.name}. Resize "
            "them there, and leave it out."
        )
    return data if config.image_size is None else data.resize(config.image_size)


def check_seeds(configs: Iterable[TrainConfig]) -> None:
    """Raise a DataError if a function of a person's own gives other data for the seed of some run."""
    for config in configs:
        if isinstance(config.dataset, OwnData):
            load_data(config)


def _network_size(config: TrainConfig) -> tuple[int, int] | None:
    """Return the (height, width) of the images that a network takes, None for any."""
    planned = config.plan()
    if planned is not None:
        return planned.arch.input_shape[:2]
    from tfnorm.training.network.network import input_size  # start-up

    return input_size(config.model)


def _check_given(data: Dataset, config: TrainConfig) -> None:
    """Raise a DataError if a network cannot be trained on the images of a `Dataset` that was made by hand."""
    for name in ("x_train", "x_test"):
        images = getattr(data, name)
        check_image_array(f"data {data.name!r}", name, images.shape, images.dtype)
        if images.dtype != "uint8" or images.ndim != 4:
            raise DataError(
                f"data {data.name!r}: {name} must be uint8 of shape (images, height, width, channels). Received: "
                f"{images.dtype} of shape {images.shape}. Save the arrays with numpy.savez and load that file with "
                "tfnorm.datasets.load, which converts them."
            )
    sizes = [getattr(data, name).shape[1:] for name in ("x_train", "x_test")]
    if sizes[0] != sizes[1] and not AUGMENTATIONS[config.resolved().augmentation or "none"].crops:
        raise DataError(
            f"data {data.name!r}: training and test images must have one shape, unless an augmentation cuts the "
            f"training images. Received: {sizes[0]} and {sizes[1]} with the augmentation {config.augmentation!r}. Use "
            "crop_flip, or images of one shape."
        )


def fingerprints() -> Callable[[TrainConfig], str | None]:
    """Return a function of a configuration that returns the fingerprint of its data, or None if they are not here.

    Each data set is loaded once, and none is downloaded.
    """
    known: dict[tuple[object, ...], str | None] = {}

    def fingerprint(config: TrainConfig) -> str | None:
        place = place_of(config)
        if place not in known:
            known[place] = None
            try:
                if isinstance(config.dataset, OwnData) or is_here(config.dataset, data_dir=config.data_dir):
                    known[place] = load_data(config).fingerprint
            except (TfnormError, OSError):
                pass  # training says what is wrong
        return known[place]

    return fingerprint
