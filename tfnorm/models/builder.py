"""Builds a compiled Keras model from an architecture and a norm spec."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from tfnorm._keras import keras
from tfnorm.errors import ArchitectureError, unknown
from tfnorm.keras_settings import standard_settings
from tfnorm.layers.create import CONVENTIONS
from tfnorm.layers.image_classifier import ImageClassifier
from tfnorm.models.architectures import ArchSpec
from tfnorm.models.make import LayerSettings, make_layer
from tfnorm.models.planner import NetworkPlan, plan
from tfnorm.spec import NormSpec, parse, with_penalties


def build(
    arch: str | ArchSpec = "mnist_7k",
    *,
    norm: str | NormSpec = "bn",
    groups: int | None = None,
    group_size: int | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    l2norm: float = 0.0,
    regularize: str = "all",
    dropout: float | None = None,
    input_shape: Sequence[int] | None = None,
    num_classes: int = 10,
    compile: bool = True,
    name: str | None = None,
    seed: int | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    pixel_max: float = 255.0,
    convention: str = "keras",
    epsilon: float | None = None,
    momentum: float | None = None,
    kernel_initializer: str | None = None,
    precision: str | None = None,
    zero_gamma: bool = False,
) -> keras.Model:
    """Build a convolutional network with one normalization and one regularization.

    Args:
        arch: A name from `tfnorm.list_architectures()` or an `ArchSpec`.
        norm: A norm spec such as "bn", "gn:4", "ln+l1=1e-4".
        groups: Number of groups, for ``norm="gn"``.
        group_size: Channels per group, for ``norm="gn"``.
        l1: Factor of the penalty l1 * sum(abs(w)).
        l2: Factor of the penalty l2 * sum(w ** 2).
        l2norm: Factor of the penalty l2norm * sqrt(sum(w ** 2)), for each tensor.
        regularize: Whether penalties reach "all" trainable variables, or only the "kernels" of convolutions and dense
            layers. Defaults to "all".
        dropout: Dropout rate from 0 to below 1. Defaults to the architecture's.
        input_shape: (height, width, channels) of the images. Defaults to the architecture's.
        num_classes: Number of logits. If it is 1, the logit is that of class 1 against class 0. Defaults to 10.
        compile: Whether to compile with Adam 1e-3, cross-entropy from logits and accuracy: sparse cross-entropy for
            labels 0, 1, 2, ..., or binary cross-entropy for a single logit and labels 0 and 1.
        name: The model's name. Defaults to the architecture's.
        seed: Seed of initial weights and dropout. Kernels depend on the seed and the layer's name alone, so they are
            the same whatever the norm. By default the seed is drawn from Python's ``random``, which
            `keras.utils.set_random_seed` seeds.
        mean: Mean of the pixels, one number or one a channel, in the pixels' unit. Defaults to that of the data set
            that the architecture is for.
        std: Standard deviation of the pixels, likewise.
        pixel_max: The largest pixel value: 255 for raw images, 1 if they were divided by 255 already. If the first
            images that the model gets do not fit, it warns.
        convention: "keras" or "torch": epsilon, momentum, which variance the moving variance takes, and the
            initialization of kernels.
        epsilon: The epsilon of the norms. Defaults to the convention's.
        momentum: The momentum of moving statistics. Defaults to the convention's.
        kernel_initializer: A Keras initializer's name. Defaults to "he_normal" (arXiv 1502.01852), and for
            ``convention="torch"`` to the uniform distribution in +-1/sqrt(fan in), as in PyTorch.
        precision: "float32", "bfloat16" or "float16" for activations; weights, statistics and logits stay float32.
            Defaults to the precision of Keras's global policy; a policy of float64 makes all of the network float64.
            With "float16", `compile` scales the loss (`keras.optimizers.LossScaleOptimizer`), whichever optimizer it
            gets. If you make the network a part of a model of your own, wrap the optimizer of that model yourself.
        zero_gamma: If `True`, the gamma of the last norm of each residual unit starts with 0, so that the unit starts
            as its shortcut (arXiv 1706.02677, section 5.1). Defaults to `False`.

    Returns:
        A functional `keras.Model` from raw pixels (batch, height, width, channels) to logits (batch, num_classes). The
        network is the same whatever Keras's global settings are (``image_data_format``, ``floatx``, ``epsilon``).

    Raises:
        SpecError: For a spec that cannot be read, or groups that do not divide a layer's channels.
        ArchitectureError: For an unknown architecture, or an input too small for it.

    Example:
        >>> model = build(norm="gn", groups=2)
        >>> model.output_shape, model.count_params()
        ((None, 10), 6986)
    """
    spec = with_penalties(parse(norm, groups=groups, group_size=group_size), l1=l1, l2=l2, l2norm=l2norm)
    if regularize not in ("all", "kernels"):
        raise ArchitectureError(unknown("value of `regularize`", regularize, ("all", "kernels")))
    network = plan(arch, spec, input_shape=input_shape, num_classes=num_classes, dropout=dropout, zero_gamma=zero_gamma)
    initializer = CONVENTIONS[convention].kernel_initializer
    settings = LayerSettings(
        spec=spec,
        everything=regularize == "all",
        seed=random.randrange(2**31) if seed is None else seed,
        norm={"convention": convention, "epsilon": epsilon, "momentum": momentum},
        kernel_initializer=kernel_initializer or initializer,
        pixels=_pixel_statistics(network, mean, std, pixel_max),
    )
    policy = _policy(precision)
    with standard_settings(policy):
        model = _assemble(network, settings, policy, name or network.arch.name)
        if compile:
            model.compile(optimizer=keras.optimizers.Adam(1e-3), **loss_and_accuracy(num_classes))
    return model


PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def _policy(precision: str | None):
    if precision is None:
        policy = keras.config.dtype_policy()
        # A policy of 16 bits alone would keep weights and statistics in them.
        return keras.dtype_policies.get(PRECISIONS.get(policy.name, policy))
    if precision not in PRECISIONS:
        raise ArchitectureError(unknown("precision", precision, PRECISIONS))
    return keras.dtype_policies.get(PRECISIONS[precision])


def loss_and_accuracy(num_classes: int) -> dict[str, Any]:
    """Return loss and metrics for `compile`.

    The metric is float32 by name: Keras would count images in its ``floatx``, and float16 ends at 65504.
    """
    if num_classes == 1:
        loss: Any = keras.losses.BinaryCrossentropy(from_logits=True)
        accuracy: Any = keras.metrics.BinaryAccuracy("accuracy", dtype="float32", threshold=0.0)
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy", dtype="float32")
    return {"loss": loss, "metrics": [accuracy]}


def _assemble(network: NetworkPlan, settings: LayerSettings, policy, name: str) -> keras.Model:
    """Return the functional model of a plan. Its last layer with a kernel, and the layers after it, are float32."""
    kernels = [index for index, layer in enumerate(network.layers) if layer.kind in ("conv", "dense")]
    tensors: dict[str, Any] = {}
    for index, layer in enumerate(network.layers):
        keras.config.set_dtype_policy(policy.variable_dtype if index >= kernels[-1] else policy)
        inputs = [tensors[source] for source in layer.inputs]
        if layer.kind == "input":
            tensors[layer.name] = keras.Input(layer.shape, name=layer.name, dtype=policy.variable_dtype)
        else:
            made = make_layer(layer, settings)
            tensors[layer.name] = made(inputs if len(inputs) > 1 else inputs[0])
            if layer.options.get("zero_gamma"):  # assigned, because Keras's RMS normalization takes no initializer
                gains = [weight for weight in made.weights if weight.name in ("gamma", "scale")]
                for gain in gains:
                    gain.assign(keras.ops.zeros_like(gain))
    return ImageClassifier(tensors["image"], tensors[network.layers[-1].name], name=name)


def _pixel_statistics(network: NetworkPlan, mean, std, pixel_max: float) -> dict[str, list[float]]:
    """Return mean and variance for the layer that normalizes pixels."""
    channels = network.input_shape[2]
    if not pixel_max > 0:
        raise ArchitectureError(f"`pixel_max` must be positive: 255 or 1. Received: pixel_max={pixel_max!r}.")
    statistics = {}
    for word, given, default in (("mean", mean, network.arch.mean), ("std", std, network.arch.std)):
        if given is None:
            values = [value * pixel_max for value in default]
            if len(values) not in (1, channels):
                values = [sum(values) / len(values)]  # colour statistics on another number of channels: their mean
        else:
            values = [float(value) for value in (given if hasattr(given, "__len__") else [given])]
        if len(values) == 1:
            values *= channels
        if len(values) != channels:
            raise ArchitectureError(
                f"`{word}` must be one number or one a channel. Received: {len(values)} for {channels} channels."
            )
        statistics[word] = values
    if not all(value > 0 for value in statistics["std"]):
        raise ArchitectureError(f"`std` must be positive. Received: std={statistics['std']}.")
    return {"mean": statistics["mean"], "variance": [value**2 for value in statistics["std"]]}
