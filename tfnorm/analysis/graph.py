"""A Keras model's graph, call by call, nested models and shared layers included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tfnorm._keras import Functional
from tfnorm.errors import TfnormError, check_keras_3


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer or operation.

    Attributes:
        name: Its name after those of the models around it: "backbone/conv1"; "conv1 (2)" at the second call.
        operation: The layer or operation.
        node: Keras's record of the call: symbolic arguments and outputs.
        args: Positional arguments, with the values at hand in place of Keras's tensors.
        kwargs: Keyword arguments, likewise.
        inputs: The values among the arguments.
        first: Whether it is the first call of the layer.
    """

    name: str
    operation: Any
    node: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: list[Any]
    first: bool


def check_graph(model: Any) -> None:
    """Raise a `TfnormError` unless ``model`` is a functional or sequential model that is built."""
    check_keras_3(model)
    if graph_of(model) is not None:
        return
    if type(model) is keras.Sequential:
        raise TfnormError(
            f"The model {model.name!r} is not built yet. Begin it with keras.Input, or call it on a batch first."
        )
    name = f" {model.name!r}" if hasattr(model, "name") else ""
    raise TfnormError(
        f"Only functional and sequential models have a graph to follow. Received: {type(model).__name__}{name}. "
        "Build the model with keras.Input and keras.Model(inputs, outputs)."
    )


def graph_of(layer: Any) -> Functional | None:
    """Return the functional model that a layer is or holds; None if it is another layer."""
    if not computes_its_graph(layer):
        return None
    return layer._functional if isinstance(layer, keras.Sequential) else layer


def computes_its_graph(layer: Any) -> bool:
    """Return whether a layer is a functional or sequential model whose class does not compute something else."""
    base = keras.Sequential if isinstance(layer, keras.Sequential) else Functional
    kind = type(layer)
    return isinstance(layer, base) and kind.call is base.call and kind.__call__ is base.__call__


def has_known_call(layer: Any) -> bool:
    """Return whether a layer computes what Keras or tfnorm wrote, not what a subclass of theirs makes of it."""
    kinds = type(layer).__mro__
    definers = [next(kind for kind in kinds if name in vars(kind)) for name in ("call", "__call__")]
    return all(kind.__module__.split(".")[0] in ("keras", "tfnorm") for kind in definers)


def in_order(given: Any, model: Any) -> list[Any]:
    """Return what a functional model is called with in the order of its inputs, to which Keras assigns it.

    Raises:
        KeyError: If it is a dictionary that lacks the name of an input.
    """
    if isinstance(given, Mapping) and not isinstance(model._inputs_struct, Mapping):
        return [given[tensor.name] for tensor in model.inputs]  # flattened, they would be in the order of their names
    return list(keras.tree.flatten(given))


def walk(model: Any, values: Sequence[Any], visit: Callable[[Call], Sequence[Any]]) -> list[Any]:
    """Pass values through a model, and return those at its outputs.

    Args:
        model: A functional or sequential model; see `check_graph`.
        values: One for each input of the model, in the order of ``model.inputs``.
        visit: Returns the values of a call's outputs, in the order of ``call.node.outputs``.
    """
    calls: dict[int, int] = {}
    return _walk(graph_of(model), values, visit, "", calls)


def _walk(graph: Any, values: Sequence[Any], visit: Callable[..., Any], path: str, calls: dict[int, int]) -> list[Any]:
    known = {id(tensor): value for tensor, value in zip(graph.inputs, values, strict=True)}
    order = {id(operation): number for number, operation in enumerate(graph.operations)}
    nodes = [
        node
        for depth in sorted(graph._nodes_by_depth, reverse=True)
        for node in sorted(graph._nodes_by_depth[depth], key=lambda node: order[id(node.operation)])
        if not node.is_input
    ]
    uses = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    uses.update(id(tensor) for tensor in graph.outputs)
    for node in nodes:
        operation = node.operation
        args, kwargs = node.arguments.fill_in(known)
        name = f"{path}{operation.name}"
        inner = graph_of(operation)
        if inner is not None:
            given = in_order(args[0] if args else kwargs["inputs"], inner)
            outputs = _walk(inner, given, visit, f"{name}/", calls)
        else:
            inputs = [known[id(tensor)] for tensor in node.input_tensors]
            number = calls[id(operation)] = calls.get(id(operation), 0) + 1
            name += f" ({number})" * (number > 1)
            outputs = visit(Call(name, operation, node, args, kwargs, inputs, number == 1))
        known |= {id(tensor): value for tensor, value in zip(node.outputs, outputs, strict=True)}
        for tensor in node.input_tensors:  # values may be large: each is kept for as long as it is used
            uses[id(tensor)] -= 1
            if not uses[id(tensor)]:
                del known[id(tensor)]
    return [known[id(tensor)] for tensor in graph.outputs]
