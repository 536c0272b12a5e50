"""Layers of a model of one's own that are not trained, for good or in the first epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras

from tfnorm.convert.graph import Network
from tfnorm.errors import ArchitectureError, nearest


@dataclass(frozen=True, eq=False)
class Frozen:
    """The layers up to one of them, and what of them was trainable before.

    A frozen batch norm uses its moving statistics in training, too, and updates none: Keras has it so for each batch
    norm with ``trainable=False``.

    Args:
        until: The last one, after the names of the models that it is in: "backbone/conv5".
        layers: All of them, but for models, whose layers are there one by one.
        epochs: The number of epochs at the beginning in which they are frozen, or None for all.
    """

    until: str
    layers: tuple[Any, ...]
    epochs: int | None = None

    def __post_init__(self) -> None:
        # Layers before what is inside them, because a layer sets its own value for those.
        parts = [part for layer in self.layers for part in layer._flatten_layers()]
        variables = [variable for layer in self.layers for variable in layer.weights]
        object.__setattr__(self, "_before", [(each, each.trainable) for each in (*parts, *variables)])

    def freeze(self) -> None:
        """Make the layers not trainable."""
        for layer in self.layers:
            layer.trainable = False

    def thaw(self) -> None:
        """Make trainable again what was trainable before."""
        for each, trainable in self._before:  # type: ignore[attr-defined]
            each.trainable = trainable

    def record(self) -> dict[str, Any]:
        """Return what is frozen, for ``config.json``."""
        weighty = [layer for layer in self.layers if layer.weights]
        return {"until": self.until, "layers": len(weighty), "parameters": self._parameters, "epochs": self.epochs}

    def __str__(self) -> str:
        known = self.record()
        epochs = (
            "" if self.epochs is None else f" in the first {self.epochs} epochs" if self.epochs > 1 else " at first"
        )
        layers = f"{known['layers']} layer{'s' * (known['layers'] > 1)} with {known['parameters']:,} parameters"
        return f"frozen{epochs} up to {self.until}: {layers}"

    @property
    def _parameters(self) -> int:
        weights = {id(weight): weight for layer in self.layers for weight in layer.weights}
        return int(sum(math.prod(weight.shape) for weight in weights.values()))


def freeze_until(model: keras.Model, until: str, name: str, *, epochs: int | None = None) -> Frozen:
    """Return the layers of a model up to and including one, in the order of the graph.

    That is the order of ``model.layers``, with the layers of a model inside it in the place of that model. A layer that
    is called several times stands where it is called first. Without ``epochs`` they are frozen now.

    Args:
        model: A functional or sequential model.
        until: The name of a layer or of a model inside, all of which is meant then. Where two layers have the same
            name, after the names of the models that it is in: "backbone/conv5".
        name: What errors call the model.
        epochs: See `Frozen`.

    Raises:
        ArchitectureError: If there is no such layer, or if nothing or everything would be frozen.
    """
    network = Network(model)
    paths = [network.path(layer) for layer in network.layers]
    found = [path for path in paths if path == until] or [path for path in paths if path.endswith(f"/{until}")]
    if not found:
        raise ArchitectureError(f"{name} has no layer {until!r} to freeze up to.{_hint(network, paths, until)}")
    if len(found) > 1:
        raise ArchitectureError(f"{name} has several layers {until!r}. Name one: {', '.join(found)}.")
    models = {path.rpartition("/")[0] for path in paths}
    last = max(place for place, path in enumerate(paths) if f"{path}/".startswith(f"{found[0]}/"))
    chosen = [
        layer
        for layer, path in zip(network.layers[: last + 1], paths, strict=False)
        if isinstance(layer, keras.Layer) and path not in models
    ]
    frozen = Frozen(found[0], tuple(chosen), epochs)
    if not any(layer.weights for layer in chosen):
        raise ArchitectureError(f"No layer of {name} up to {until!r} has weights to freeze. Name a later one.")
    frozen.freeze()
    if not model.trainable_variables:
        raise ArchitectureError(
            f"Nothing of {name} is left to train if all up to {until!r} is frozen. Name an earlier one."
        )
    if epochs is not None:
        frozen.thaw()
    return frozen


def _hint(network: Network, paths: list[str], until: str) -> str:
    """Return what may be meant by the name of a layer that is not in the graph."""
    holders = [network.holder(part) for part in network.everything if until in (part.name, network.path(part))]
    if holders:
        return f" It is inside the layer {network.path(holders[0])!r}, which is frozen as a whole: name that one."
    names = {name: path for path in paths for name in (path.rpartition("/")[2], path)}
    guess = nearest(until, names)
    near = f" Did you mean {names[guess]!r}?" if guess else ""
    return f"{near} `tfnorm inspect` shows the layers; name one that no spec removes, such as a convolution."
