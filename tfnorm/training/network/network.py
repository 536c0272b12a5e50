"""The network of a run: one of tfnorm's architectures, or a model of one's own under a spec."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfnorm.convert.variants.variant import Variant, make_variant
from tfnorm.datasets import Dataset
from tfnorm.errors import ArchitectureError, TfnormError
from tfnorm.models.builder import build
from tfnorm.models.imports import own_error
from tfnorm.models.saved import own_objects
from tfnorm.training.config import TrainConfig
from tfnorm.training.network.heads import Head, own_loss, read_head


@dataclass(frozen=True, eq=False)
class Network:
    """A network that is ready to be trained.

    Args:
        model: From raw pixels (batch, height, width, channels) to its outputs.
        head: What the outputs mean.
        variant: What the spec changed; None for an architecture of tfnorm.
        compiled: Whether the model came with an optimizer and a loss of its own.
    """

    model: keras.Model
    head: Head
    variant: Variant | None = None
    compiled: bool = False

    def record(self) -> dict[str, Any]:
        """Return what the spec changed, for ``config.json``; nothing for an architecture of tfnorm."""
        if self.variant is None:
            return {}
        return {"network": {**self.variant.record(), "output": self.head.activation, "compiled": self.compiled}}

    def training(self, config: TrainConfig, steps: int) -> dict[str, Any]:
        """Return the arguments of `compile` for a model that passes on the outputs of this one.

        Args:
            config: The settings of the run, resolved.
            steps: Steps of an epoch.
        """
        recipe, name = config.recipe, config.arch
        if recipe.optimizer == "own" and self.compiled:
            values = own_loss(self.model, self.head, name)
            settings = self.model.optimizer.get_config()
            if recipe.learning_rate is not None:
                settings["learning_rate"] = recipe.learning_rate
            with own_objects(config.model.imports):
                optimizer = type(self.model.optimizer).from_config(settings)
            data_loss = keras.metrics.MeanMetricWrapper(values, name="data_loss")
            return {"optimizer": optimizer, "loss": values, "metrics": [self.head.accuracy(), data_loss]}
        loss, data_loss = self.head.losses(recipe.label_smoothing)
        optimizer = recipe.make_optimizer(steps, config.epochs or 1)
        return {"optimizer": optimizer, "loss": loss, "metrics": [self.head.accuracy(), data_loss]}


def make_network(config: TrainConfig, data: Dataset) -> Network:
    """Return the network of a run.

    Args:
        config: The settings of the run, resolved.
        data: What it is trained on.

    Raises:
        TfnormError: If the network does not fit the spec or the data.
    """
    if config.model is None:
        model = build(
            config.arch, norm=config.norm, dropout=config.dropout, regularize=config.regularize,
            input_shape=data.input_shape, num_classes=data.num_classes, mean=data.mean, std=data.std, seed=config.seed,
            convention=config.recipe.convention, kernel_initializer=config.recipe.kernel_initializer,
            precision=config.precision, compile=False,
        )  # fmt: skip
        return Network(model, Head(data.num_classes, "linear"))
    variant = make_variant(
        config.model, config.norm, seed=config.seed, regularize=config.regularize, num_classes=data.num_classes,
        input_shape=data.input_shape,
    )  # fmt: skip
    model = variant.model
    compiled = model.compiled and model.optimizer is not None
    if config.recipe.optimizer == "own" and not compiled and config.model.was_compiled:
        raise ArchitectureError(
            f"{config.arch} is compiled with a loss, a metric or an optimizer that is not known here. Name the file "
            "that defines it with --import (`imports` in Python), or choose a recipe, such as default."
        )
    return Network(model, read_head(model, data.num_classes, config.arch), variant, compiled)


def check_networks(configs: Iterable[TrainConfig], data: Dataset) -> dict[str, Network]:
    """Return the network of each spec, made with the first seed, if all of them can be trained on the data.

    Args:
        configs: Settings of runs of one model, resolved. Architectures of tfnorm are not made.
        data: What they are trained on.

    Raises:
        TfnormError: With a sentence for each network that cannot be made, that does not fit the data, or whose outputs
            are no numbers.
    """
    found: dict[str, Network] = {}
    problems: list[str] = []
    for config in configs:
        if config.model is None or config.norm in found:
            continue
        try:
            found[config.norm] = network = make_network(config, data)
            _check_outputs(network, config, data)
        except TfnormError as error:
            problems.append(str(error))
    if problems:
        raise TfnormError("\n".join(dict.fromkeys(problems)))
    return found


def _check_outputs(network: Network, config: TrainConfig, data: Dataset) -> None:
    outputs = network.model.predict_on_batch(data.x_test[:2])
    if not np.isfinite(outputs).all():
        raise ArchitectureError(
            f"The outputs of {config.arch} under {config.norm!r} are not finite for the first test images, before any "
            "training. Check its initial weights, and how it scales pixels from 0 to 255."
        )
    loss = network.training(config, 1)["loss"]
    try:
        loss(data.y_test[:2, None], keras.ops.convert_to_tensor(outputs))
    except Exception as raised:
        raise own_error(f"The loss of {config.arch}", raised, ArchitectureError) from None


@functools.lru_cache(maxsize=8)
def input_size(model: Any) -> tuple[int, int] | None:
    """Return the (height, width) that a model of one's own takes, or None if it takes any.

    Args:
        model: A `tfnorm.models.sources.Source`.
    """
    norm = None if model.has_own_norm else lambda name=None, axis=-1: keras.layers.Identity(name=name)
    try:
        made = model.make(seed=0, norm=norm)
    except ArchitectureError:
        return None  # it needs to know the images, or training says what is wrong
    shape = made.input_shape if made.built and isinstance(made.input_shape, tuple) else ()
    return (shape[1], shape[2]) if len(shape) == 4 and shape[1] and shape[2] else None
