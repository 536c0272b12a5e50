"""The network of a run: one of tfnorm's architectures, or a model of one's own under a spec."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from tfnorm.analysis import summary
from tfnorm.checks.run import warn_of
from tfnorm.convert.clone import own_methods
from tfnorm.convert.variants.variant import Variant, make_variant, warn_of_untrained
from tfnorm.datasets import Dataset
from tfnorm.errors import ArchitectureError, TfnormError
from tfnorm.metrics.metric import ACCURACY, Metric
from tfnorm.models.builder import build
from tfnorm.models.saved import own_objects
from tfnorm.own_code.imports import own_error
from tfnorm.spec import parse
from tfnorm.training.config import TrainConfig
from tfnorm.training.network.freeze import Frozen, freeze_until
from tfnorm.training.network.heads import Head, own_loss, own_optimizer, read_head
from tfnorm.training.network.metrics import WeightedLoss, choose_metric

# Methods with which a class of models decides how it is trained.
_OF_TRAINING = {"train_step", "test_step", "compute_loss", "compute_metrics", "make_train_function"}


@dataclass(frozen=True, eq=False)
class Network:
    """A network that is ready to be trained.

    Args:
        model: From raw pixels (batch, height, width, channels) to its outputs.
        head: What the outputs mean.
        variant: What the spec changed; None for an architecture of tfnorm.
        compiled: Whether the model came with an optimizer and a loss of its own.
        metric: What the run is about.
        measure: How Keras measures it, if it is a metric of the model's own.
        frozen: Which layers are not trained; None if none was named.
    """

    model: keras.Model
    head: Head
    variant: Variant | None = None
    compiled: bool = False
    metric: Metric = ACCURACY
    measure: keras.metrics.Metric | None = None
    frozen: Frozen | None = None

    def record(self) -> dict[str, Any]:
        """Return what the spec changed, for ``config.json``; nothing for an architecture of tfnorm."""
        if self.variant is None:
            return {}
        frozen = {} if self.frozen is None else {"frozen": self.frozen.record()}
        return {
            "network": {**self.variant.record(), "output": self.head.activation, "compiled": self.compiled, **frozen}
        }

    def training(self, config: TrainConfig, steps: int, epochs: int = 1, *, weighted: bool = False) -> dict[str, Any]:
        """Return the arguments of `compile` for a model that passes on the outputs of this one.

        Args:
            config: The settings of the run, resolved.
            steps: Steps of an epoch.
            epochs: Epochs of the schedule.
            weighted: Whether images have weights.
        """
        recipe, name = config.recipe, config.arch
        metrics = [*self.head.accuracy(), *filter(None, [self.measure])]
        if recipe.optimizer == "own" and self.compiled:
            values = own_loss(self.model, self.head, name)
            with own_objects(config.model.imports):
                optimizer = own_optimizer(self.model, recipe.learning_rate, name)
            loss, data_loss = values, keras.metrics.MeanMetricWrapper(values, name="data_loss")
        else:
            loss, data_loss = self.head.losses(recipe.label_smoothing)
            values, optimizer = loss.call, recipe.make_optimizer(steps, epochs)
        compiled = {"optimizer": optimizer, "loss": loss}
        if weighted:
            return {**compiled, "metrics": metrics, "weighted_metrics": [WeightedLoss(values)]}
        return {**compiled, "metrics": [*metrics, data_loss]}


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
            precision=config.precision, zero_gamma=config.zero_gamma, compile=False,
        )  # fmt: skip
        head = Head(data.num_classes, "linear", data.multi_label)
        return Network(model, head, metric=choose_metric(config, head, data)[0])
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
    if lost := sorted(_OF_TRAINING.intersection(own_methods(type(model)))):
        raise ArchitectureError(
            f"The class {type(model).__name__} of {config.arch} has its own {', '.join(lost)}, which would not be used "
            "here. Train it in a loop of your own with tfnorm.Study. If you want its network alone, return "
            "keras.Model(model.inputs, model.outputs)."
        )
    head = read_head(model, data.num_classes, config.arch, data.multi_label)
    frozen = None
    if config.freeze_until is not None:
        name = f"{config.arch} under {config.norm!r}"
        frozen = freeze_until(model, config.freeze_until, name, epochs=config.freeze_epochs)
        variant = replace(variant, notes=(*variant.notes, str(frozen)))
    own = model if compiled and config.recipe.optimizer == "own" else None
    metric, measure = choose_metric(config, head, data, own)
    return Network(model, head, variant, compiled, metric, measure, frozen)


def check_networks(configs: Iterable[TrainConfig], data: Dataset) -> dict[str, Network]:
    """Return the network of each spec, made with the first seed, if all of them can be trained on the data.

    Args:
        configs: Settings of runs of one model, resolved. Architectures of tfnorm are not made, only their metric is
            looked at.
        data: What they are trained on.

    It warns of what `tfnorm.check` finds in a network of one's own without data.

    Raises:
        TfnormError: With a sentence for each network that cannot be made, that does not fit the data or the metric, or
            whose outputs are no numbers.
    """
    found: dict[str, Network] = {}
    problems: list[str] = []
    told: set[str] = set()
    for config in configs:
        if config.norm in found:
            continue
        try:
            if config.model is None:
                if parse(config.norm).variant.startswith("frozen") and config.norm not in told:
                    told.add(config.norm)
                    warn_of_untrained(config.norm, config.arch)
                choose_metric(config, Head(data.num_classes, "linear", data.multi_label), data)
                continue
            found[config.norm] = network = make_network(config, data)
            _check_outputs(network, config, data)
            _warn(network, config, data)
        except TfnormError as error:
            problems.append(str(error))
    if problems:
        raise TfnormError("\n".join(dict.fromkeys(problems)))
    return found


def _warn(network: Network, config: TrainConfig, data: Dataset) -> None:
    """Warn of what is wrong with the norms and penalties of a network of one's own."""
    batch_size, epochs = config.batch_size or config.recipe.batch_size, config.epochs or config.recipe.epochs
    steps = None if config.recipe.recalibrate else epochs * -(-len(data.x_train) // batch_size)
    # The loss is the recipe's, or was looked at by `own_loss`.
    warn_of(
        network.model,
        f"{config.arch} under {config.norm!r}",
        batch_size=batch_size,
        steps=steps,
        ignore="loss-mismatch",
    )


def _check_outputs(network: Network, config: TrainConfig, data: Dataset) -> None:
    (outputs,) = keras.tree.flatten(network.model.predict_on_batch(data.x_test[:2]))
    if not np.isfinite(outputs).all():
        raise ArchitectureError(
            f"The outputs of {config.arch} under {config.norm!r} are not finite for the first test images, before any "
            "training. Check its initial weights, and how it scales pixels from 0 to 255."
        )
    if network.head.logits and (outputs >= 0).all() and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3):
        raise ArchitectureError(
            f"The outputs of {config.arch} are probabilities: they add up to 1 for each image. No softmax is found at "
            "its end, so they would be taken for logits. End with keras.layers.Softmax(), or give logits."
        )
    loss = network.training(config, 1)["loss"]
    try:
        # As Keras passes labels on: class numbers in a column of their own.
        labels = data.y_test[:2] if data.multi_label else data.y_test[:2, None]
        loss(labels, keras.ops.convert_to_tensor(outputs))
    except Exception as raised:
        raise own_error(f"The loss of {config.arch}", raised, ArchitectureError) from None


@functools.lru_cache(maxsize=8)
def input_size(model: Any) -> tuple[int, int] | None:
    """Return the (height, width) that a model of one's own takes, or None if it takes any.

    Args:
        model: A `tfnorm.models.sources.Source`.
    """
    made = _made(model)
    shape = made.input_shape if made is not None and made.built and isinstance(made.input_shape, tuple) else ()
    return (shape[1], shape[2]) if len(shape) == 4 and shape[1] and shape[2] else None


@functools.lru_cache(maxsize=8)
def activation_bytes(model: Any, input_shape: tuple[int, int, int]) -> int | None:
    """Return the bytes of the activations that training keeps for an image, or None if they are not known.

    Args:
        model: A `tfnorm.models.sources.Source`.
        input_shape: (height, width, channels) of the images, for a model that takes any size.
    """
    size = input_size(model)
    made = _made(model, (*(size or input_shape[:2]), input_shape[2]))
    try:
        return None if made is None else summary(made, input_shape=None if size else input_shape).activation_bytes
    except TfnormError:
        return None


def _made(model: Any, input_shape: tuple[int, ...] | None = None) -> keras.Model | None:
    """Return a model of one's own, or None if it cannot be made; training says what is wrong."""
    norm = None if model.has_own_norm else lambda name=None, axis=-1: keras.layers.Identity(name=name)
    try:
        return model.make(seed=0, norm=norm, input_shape=input_shape)
    except ArchitectureError:
        return None  # it needs to know the images
