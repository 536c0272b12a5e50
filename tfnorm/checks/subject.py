"""The model that is checked, as rules see it: its norms, what is before and after each call, its variables."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import keras
from keras import layers

from tfnorm import layers as ours
from tfnorm.analysis.outputs import Outputs, outputs_of
from tfnorm.checks.data import Data, Seen
from tfnorm.convert.graph import Call, Network, walk
from tfnorm.convert.kinds import ALL_CONVOLUTIONS, BATCH_NORMS, is_idle, is_linear, norm_kinds
from tfnorm.convert.norms import axes_of
from tfnorm.errors import TfnormError

KERNELS = (*ALL_CONVOLUTIONS, layers.Dense, layers.EinsumDense)


@dataclass(frozen=True, eq=False)
class Norm:
    """A call of a norm.

    Args:
        call: The call.
        name: Of the layer, after those of the models around it.
        shape: Of its input, the batch included; sides that are open are None.
        axes: The axes that each of its statistics is taken over, without that of the channels within a group.
        grouped: How many channels share a statistic beside those in ``axes``.
        centers: Whether it subtracts a mean.
        per_channel: Whether no statistic mixes channels.
    """

    call: Call
    name: str
    shape: tuple[Any, ...]
    axes: tuple[int, ...]
    grouped: int
    centers: bool
    per_channel: bool

    @property
    def layer(self) -> Any:
        """The layer."""
        return self.call.operation

    @property
    def over_batch(self) -> bool:
        """Whether its statistics are over the batch, too."""
        return 0 in self.axes

    @property
    def seen(self) -> int | None:
        """How many numbers of one image each statistic is taken over; None where the size of images is open."""
        count = self.grouped
        for axis in self.axes:
            if axis:
                if self.shape[axis] is None:
                    return None
                count *= self.shape[axis]
        return count


def norm_of(call: Call) -> Norm | None:
    """Return what a call normalizes over, or None if its layer is no norm that is known."""
    layer, shape = call.operation, tuple(call.node.input_tensors[0].shape) if call.node.input_tensors else ()
    rank = len(shape)
    if not isinstance(layer, norm_kinds()) or rank < 2:
        return None
    name = call.name.partition(" (")[0]
    inner = tuple(range(1, rank))
    if isinstance(layer, layers.BatchNormalization):
        axes = tuple(place for place in range(rank) if place != layer.axis % rank)
        return Norm(call, name, shape, axes, 1, True, True)
    if isinstance(layer, layers.GroupNormalization):
        channel = layer.axis % rank
        groups = layer.groups_of(shape[channel]) if hasattr(layer, "groups_of") else layer.groups
        size = shape[channel] // groups if shape[channel] and groups > 0 else 1
        axes = tuple(place for place in inner if place != channel)
        return Norm(call, name, shape, axes, size, True, size == 1)
    if isinstance(layer, layers.LayerNormalization):
        axes = tuple(axes_of(layer, rank))
        return Norm(call, name, shape, axes, 1, not getattr(layer, "rms_scaling", False), rank - 1 not in axes)
    if isinstance(layer, layers.RMSNormalization):
        return Norm(call, name, shape, tuple(axes_of(layer, rank)), 1, False, False)
    if isinstance(layer, ours.FilterResponseNormalization):
        return Norm(call, name, shape, tuple(p for p in inner if p != layer.channel_axis(rank)), 1, False, True)
    return None


class Subject:
    """A model and what is known about its training.

    Args:
        model: The model.
        data: Some batches of its inputs, or None.
        batch_size: Images a training step on each device, or None.
        steps: Steps that its training will take, or None.
        optimizer: Of its training; by default the one that it is compiled with.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        data: Data | None = None,
        batch_size: int | None = None,
        steps: int | None = None,
        optimizer: Any = None,
    ) -> None:
        self.model, self.data, self.batch_size, self.steps = model, data, batch_size, steps
        optimizer = getattr(model, "optimizer", None) if optimizer is None else optimizer
        self.optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        self.left_out: list[str] = []
        self.calls: list[Call] = []
        self.outputs: list[Any] = []  # what gives them: calls, or inputs of the model
        self._ignored: tuple[str, ...] = ()
        try:
            self.network: Network | None = Network(model)
            self.outputs = walk(model, model.inputs, self._visit)
        except TfnormError as error:
            self.network = None
            self.left_out.append(f"How the layers follow each other. {error}")
        self._readers: dict[int, list[Call]] = {}
        for call in self.calls:
            for source in call.inputs:
                self._readers.setdefault(id(source), []).append(call)

    def _visit(self, call: Call) -> list[Call]:
        self.calls.append(call)
        return [call] * len(call.node.outputs)

    def without(self, patterns: Iterable[str]) -> Subject:
        """Return the same without the layers of these names, in which * stands for any letters."""
        other = copy.copy(self)
        other._ignored = tuple(patterns)
        return other

    def counts(self, name: str) -> bool:
        """Return whether a layer of this name is looked at."""
        return not any(fnmatchcase(word, each) for each in self._ignored for word in (name, name.rpartition("/")[2]))

    @property
    def layers(self) -> Iterator[tuple[str, Any]]:
        """All layers with weights, or that norms, with their names."""
        if self.network is not None:
            found = [(self.network.path(layer), layer) for layer in self.network.everything]
        else:
            found = [(layer.name, layer) for layer in self.model._flatten_layers(include_self=False)]
        return ((name, layer) for name, layer in found if isinstance(layer, keras.Layer) and self.counts(name))

    @property
    def norms(self) -> list[Norm]:
        """The calls of norms in the graph, in its order."""
        found = (norm_of(call) for call in self.calls)
        return [norm for norm in found if norm is not None and self.counts(norm.name)]

    @property
    def batch_norms(self) -> list[tuple[str, Any]]:
        """Batch norms with their names, those within other layers too."""
        return [(name, layer) for name, layer in self.layers if isinstance(layer, BATCH_NORMS)]

    @property
    def weights(self) -> Iterator[tuple[str, Any]]:
        """The trained variables with the names of their layers."""
        for name, layer in self.layers:
            for variable in layer._trainable_variables if layer.trainable else ():
                if variable.trainable:
                    yield name, variable

    @functools.cached_property
    def ending(self) -> Outputs:
        """What the graph and the compiled loss tell of the outputs."""
        return outputs_of(self.model)

    @property
    def seen(self) -> list[Seen]:
        """What the calls gave for the first batch of the data."""
        found = [] if self.data is None or self.network is None else self.data.seen
        return [each for each in found if self.counts(each.call.name)]

    @functools.cached_property
    def learned(self) -> bool:
        """Whether the model knows the labels of the data already: twice as many as by chance."""
        if self.data is None or self.data.labels is None:
            return False
        reached = self.data.accuracy(self.data.outputs, self.ending.ending == "logits")
        return reached is not None and reached > 2 / max(self.data.outputs.shape[-1], 2.5)

    def readers(self, call: Any) -> list[Call]:
        """Return the calls that take the output of a call, or an input of the model."""
        return self._readers.get(id(call), [])

    def gives_out(self, call: Any) -> bool:
        """Return whether a call gives an output of the model."""
        return any(output is call for output in self.outputs)

    def before(self, call: Call) -> Call | None:
        """Return the call that gives the first input, without layers that do nothing at inference."""
        source = call.inputs[0] if call.inputs else None
        while isinstance(source, Call) and idle(source.operation):
            source = source.inputs[0]
        return source if isinstance(source, Call) else None

    @property
    def normed(self) -> Iterator[tuple[Norm, Call]]:
        """The norms with the call of a convolution or a dense layer that nothing but them gets the output of."""
        for norm in self.norms:
            before = self.before(norm.call)
            if before is not None and has_kernel(before) and self.counts(before.name) and self.alone(before, norm.call):
                yield norm, before

    def alone(self, first: Call, last: Call) -> bool:
        """Return whether nothing but ``last`` gets what ``first`` gives."""
        if self.gives_out(first):
            return False
        readers = self.readers(first)
        return all(each is last or (idle(each.operation) and self.alone(each, last)) for each in readers)


def idle(operation: Any) -> bool:
    """Return whether an operation gives its input at inference."""
    return isinstance(operation, keras.Layer) and is_idle(operation)


def has_kernel(call: Call | None) -> bool:
    """Return whether a call is a convolution or a dense layer without an activation."""
    return call is not None and isinstance(call.operation, KERNELS) and is_linear(call.operation)


def size(weight: Any) -> int:
    """Return how many numbers a variable holds."""
    return math.prod(weight.shape)


def where(names: Sequence[str]) -> str:
    """Return names as a remedy writes them: one, or a list of the first few."""
    shown = [repr(name) for name in names[:3]] + ["..."] * (len(names) > 3)
    return f"[{', '.join(shown)}]"
