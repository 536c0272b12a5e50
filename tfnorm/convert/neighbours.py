"""What is beside a norm: layers that change with it, what stays in its place, and which axis has the channels."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from typing import Any

import keras

from tfnorm.convert.clone import Chain
from tfnorm.convert.graph import Network
from tfnorm.convert.kinds import ALL_CONVOLUTIONS, MAXIMA, MEANS, can_standardize, is_relu
from tfnorm.layers import TLU


def units_after(network: Network, axes: Mapping[int, int]) -> dict[int, Chain]:
    """Return thresholded units, by the id of each ReLU that comes right after chosen layers wherever it is called.

    They start as the ReLU. ``axes`` has the channel axis of each chosen layer by its id.
    """
    found = {}
    for relu in filter(is_relu, network.layers):
        makers = [graph.maker(node.input_tensors[0]) for graph, node in network.calls(relu)]
        if all(maker is not None and id(maker.operation) in axes for maker in makers):
            axis = axes[id(makers[0].operation)]
            unit = TLU(axis=axis, activity_regularizer=relu.activity_regularizer, name=relu.name)
            found[id(relu)] = Chain((unit,))
    return found


def convolutions_before(network: Network, norms: Collection[int]) -> set[int]:
    """Return the ids of 2D convolutions whose outputs go right into norms, given by their ids, and nowhere else."""
    found = set()
    for layer in filter(can_standardize, network.layers):
        outputs = [(graph, node.outputs[0]) for graph, node in network.calls(layer)]
        given_out = any(graph.gives_out(tensor) for graph, tensor in outputs)
        readers = [node.operation for graph, tensor in outputs for node in graph.readers(tensor)]
        if not given_out and all(id(reader) in norms for reader in readers):
            found.add(id(layer))
    return found


def removal(network: Network, layer: Any, removed: set[int]) -> Chain:
    """Return what stands for a layer that is removed: nothing, or `keras.layers.Identity` where one is needed.

    One keeps the name of an output of the model, one what penalizes activities, and one stays where a model or a
    wrapper would be left empty.
    """
    needed = not network.calls(layer) or layer.activity_regularizer is not None
    for graph, node in network.calls(layer):
        named = graph is network.graphs[0] and graph.functional is graph.model
        emptied = all(id(call.operation) in removed for call in graph.calls)
        needed |= graph.gives_out(node.outputs[0]) and (named or emptied)
    if not needed:
        return Chain(())
    return Chain((keras.layers.Identity(activity_regularizer=layer.activity_regularizer, name=layer.name),))


def channels_first(network: Network, layer: Any) -> bool | None:
    """Return whether the convolution or pooling nearest to ``layer`` has the channels first, or None if none tells."""
    calls, seen = deque(network.calls(layer)), set()
    while calls:
        graph, node = calls.popleft()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if _data_format(node.operation):
            return bool(_data_format(node.operation) == "channels_first")
        beside = [graph.maker(tensor) for tensor in node.input_tensors]
        beside += [reader for tensor in node.outputs for reader in graph.readers(tensor)]
        calls.extend((graph, other) for other in beside if other is not None)
    # There is none in its own graph.
    formats = set(filter(None, map(_data_format, network.everything)))
    return formats == {"channels_first"} if len(formats) == 1 else None


def _data_format(layer: Any) -> Any:
    return getattr(layer, "data_format", None) if isinstance(layer, (*ALL_CONVOLUTIONS, *MEANS, *MAXIMA)) else None
