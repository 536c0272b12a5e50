"""The graph of a Keras model: its calls, who makes and who reads each tensor, and a walk through all of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import keras

from tfnorm._keras import Functional
from tfnorm.convert.report import Change
from tfnorm.errors import TfnormError, check_keras_3, nearest

Where = str | Iterable[str] | Callable[[Any], bool] | None


def computes_its_graph(layer: Any) -> bool:
    """Return whether a layer is a functional or sequential model whose class has no `call` of its own."""
    base = keras.Sequential if isinstance(layer, keras.Sequential) else Functional
    kind = type(layer)
    return isinstance(layer, base) and kind.call is base.call and kind.__call__ is base.__call__


def graph_of(layer: Any) -> Functional | None:
    """Return the functional model that a layer is or holds; None if it is another layer."""
    if not computes_its_graph(layer):
        return None
    return layer._functional if isinstance(layer, keras.Sequential) else layer


def check_graph(model: Any) -> None:
    """Raise a `TfnormError` unless ``model`` is a functional or sequential model with weights."""
    if isinstance(model, str | os.PathLike):
        raise TfnormError(f"A model is needed. Received: {str(model)!r}. Open a file with keras.models.load_model.")
    check_keras_3(model)
    if not computes_its_graph(model):
        name = f" {model.name!r}" if hasattr(model, "name") else ""
        if isinstance(model, Functional | keras.Sequential) and getattr(model, "inputs", None):
            raise TfnormError(
                f"The class {type(model).__name__} of the model{name} has a `call` or `__call__` of its own beside "
                "its graph. If you want the graph alone, pass keras.Model(model.inputs, model.outputs)."
            )
        raise TfnormError(
            f"Only functional and sequential models have a graph. Received: {type(model).__name__}{name}. "
            "Build it with keras.Input and keras.Model(inputs, outputs)."
        )
    check_built(model)


def check_built(model: keras.Layer) -> None:
    """Raise a `TfnormError` unless ``model`` has its weights."""
    if not model.built:
        raise TfnormError(
            f"The model {model.name!r} has no weights yet. Build it with keras.Input, or call it on a batch first."
        )


class Graph:
    """The calls in one built functional or sequential model, in an order in which they can be made.

    ``caller`` is what is called where the model is nested: the model itself, or a layer around it.
    """

    def __init__(self, model: keras.Model, caller: Any = None) -> None:
        self.model = model
        self.caller = model if caller is None else caller
        self.functional: Any = graph_of(model)
        if self.functional is None:
            raise TfnormError(
                f"The layers of the sequential model {model.name!r} cannot be followed. Begin it with keras.Input."
            )
        by_depth = self.functional._nodes_by_depth
        order = {id(operation): number for number, operation in enumerate(self.functional.operations)}
        self.calls = [
            node
            for depth in sorted(by_depth, reverse=True)
            for node in sorted(by_depth[depth], key=lambda node: order[id(node.operation)])
            if not node.is_input
        ]
        self._makers = {id(tensor): node for node in self.calls for tensor in node.outputs}
        self._readers: dict[int, list[Any]] = {}
        for node in self.calls:
            for tensor in node.input_tensors:
                self._readers.setdefault(id(tensor), []).append(node)
        self._outputs = {id(tensor) for tensor in self.functional.outputs}

    def maker(self, tensor: Any) -> Any:
        """Return the call that made ``tensor``, or None for an input of the model."""
        return self._makers.get(id(tensor))

    def readers(self, tensor: Any) -> list[Any]:
        """Return the calls that take ``tensor``. A call that takes it twice is there twice."""
        return self._readers.get(id(tensor), [])

    def gives_out(self, tensor: Any) -> bool:
        """Return whether ``tensor`` is an output of the model."""
        return id(tensor) in self._outputs


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer or operation, as `walk` shows it."""

    name: str  # after those of the models around it: "backbone/conv1"; "conv1 (2)" at the second call
    operation: Any
    node: Any  # Keras's record of the call: symbolic arguments and outputs
    args: tuple[Any, ...]  # with the values at hand in place of Keras's tensors
    kwargs: dict[str, Any]  # likewise
    inputs: list[Any]  # the values among the arguments
    first: bool  # whether it is the first call of the layer


def in_order(given: Any, model: Any) -> list[Any]:
    """Return what a functional model is called with, in the order of its inputs; a missing name is a KeyError."""
    if isinstance(given, Mapping) and not isinstance(model._inputs_struct, Mapping):
        return [given[tensor.name] for tensor in model.inputs]  # flattened, they would be in the order of their names
    return list(keras.tree.flatten(given))


def walk(
    model: Any,
    values: Sequence[Any],
    visit: Callable[[Call], Sequence[Any]],
    enter: Callable[[Any, Any], list[Any]] = in_order,
) -> list[Any]:
    """Pass values through a model and the models nested in it, and return those at its outputs.

    ``values`` are in the order of ``model.inputs``, and what ``visit`` returns in that of ``call.node.outputs``.
    ``enter`` returns the values at the inputs of a nested functional model, from what it is called with. A value is
    let go after its last reader.
    """
    counts: Counter[int] = Counter()

    def through(graph: Graph, values: Sequence[Any], path: str) -> list[Any]:
        known = {id(tensor): value for tensor, value in zip(graph.functional.inputs, values, strict=True)}
        uses = Counter(id(tensor) for node in graph.calls for tensor in node.input_tensors)
        uses.update(id(tensor) for tensor in graph.functional.outputs)
        for node in graph.calls:
            operation, name = node.operation, f"{path}{node.operation.name}"
            args, kwargs = node.arguments.fill_in(known)
            inner = graph_of(operation)
            if inner is not None:
                given = args[0] if args else kwargs["inputs"]
                outputs: Sequence[Any] = through(Graph(operation), enter(given, inner), f"{name}/")
            else:
                counts[id(operation)] += 1
                number = counts[id(operation)]
                name += f" ({number})" * (number > 1)
                inputs = [known[id(tensor)] for tensor in node.input_tensors]
                outputs = visit(Call(name, operation, node, args, kwargs, inputs, number == 1))
            known |= {id(tensor): value for tensor, value in zip(node.outputs, outputs, strict=True)}
            for tensor in node.input_tensors:
                uses[id(tensor)] -= 1
                if not uses[id(tensor)]:
                    del known[id(tensor)]
        return [known[id(tensor)] for tensor in graph.functional.outputs]

    return through(Graph(model), values, "")


class Network:
    """The graphs of a model and of the models nested in it, each once, from the outside in.

    ``layers`` are all layers and operations that are called in a graph, ``everything`` also those inside other layers,
    both in the order of the graph.
    """

    def __init__(self, model: keras.Model) -> None:
        check_graph(model)
        self.model = model
        self.graphs: list[Graph] = []
        self.layers: list[Any] = []
        self.everything: list[Any] = []
        self._paths: dict[int, str] = {}
        self._holders: dict[int, Any] = {}
        self._calls: dict[int, list[tuple[Graph, Any]]] = {}
        self._walk(model, model, "")

    def _walk(self, model: keras.Model, caller: Any, prefix: str) -> None:
        graph = Graph(model, caller)
        self.graphs.append(graph)
        for node in graph.calls:
            layer = node.operation
            self._calls.setdefault(id(layer), []).append((graph, node))
            if id(layer) in self._paths:
                continue
            path = self._paths[id(layer)] = prefix + layer.name
            self.layers.append(layer)
            self.everything.append(layer)
            inner = layer.layer if type(layer) is keras.layers.TimeDistributed else layer
            if computes_its_graph(inner):
                self._walk(inner, layer, f"{path}/")
            elif isinstance(layer, keras.Layer):
                for part in layer._flatten_layers(include_self=False):
                    if id(part) not in self._paths:
                        self._paths[id(part)] = f"{path}/{part.name}"
                        self._holders[id(part)] = layer
                        self.everything.append(part)

    def path(self, layer: Any) -> str:
        """Return the name of ``layer`` after those of the models and layers that it is in."""
        return self._paths[id(layer)]

    def calls(self, layer: Any) -> list[tuple[Graph, Any]]:
        """Return every call of ``layer`` with its graph: none for a layer that is inside another layer."""
        return self._calls.get(id(layer), [])

    def in_training(self, graph: Graph, node: Any) -> bool:
        """Return whether a call, or one of a model that it is made in, says training=True."""
        if node.arguments.kwargs.get("training"):  # which Keras takes by name alone
            return True
        return any(self.in_training(*outer) for outer in self.calls(graph.caller))

    def holder(self, layer: Any) -> Any:
        """Return the layer that ``layer`` is inside, or None where it is called in a graph."""
        return None if id(layer) in self._calls else self._holders.get(id(layer))

    def input_shapes(self, layer: Any) -> list[tuple[Any, ...]]:
        """Return the different shapes of the first input of ``layer``, in the order of its calls."""
        shapes = dict.fromkeys(tuple(node.input_tensors[0].shape) for _, node in self.calls(layer))
        return list(shapes) or [tuple(layer.get_build_config()["input_shape"])]

    def output_shapes(self, layer: Any) -> list[tuple[Any, ...]]:
        """Return the different shapes of the output of ``layer``, in the order of its calls."""
        return list(dict.fromkeys(tuple(node.outputs[0].shape) for _, node in self.calls(layer)))

    def change(self, layer: Any, after: str = "", **options: Any) -> Change:
        """Return what became of ``layer``, for a `Report`."""
        return Change(self.path(layer), type(layer).__name__, after, **options)

    def inside(self, layer: Any) -> str:
        """Return a note that ``layer`` is inside another layer, or ""."""
        holder = self.holder(layer)
        return "" if holder is None else f"inside the layer {holder.name!r} ({type(holder).__name__})"

    def choose(self, layers: list[Any], where: Where, kind: str) -> list[Any]:
        """Return those of ``layers``, which messages call ``kind``, that ``where`` means.

        ``where`` is as in `replace_norms`. If it or one of its names fits no layer, a `TfnormError` says so.
        """
        if where is None:
            return layers
        if callable(where):
            if chosen := [layer for layer in layers if where(layer)]:
                return chosen
            raise TfnormError(
                f"`where` must be true of at least one {kind} layer. Received: a function that is false for all "
                f"{len(layers)} of the model {self.model.name!r}."
            )
        patterns = [where] if isinstance(where, str) else list(where) if isinstance(where, Iterable) else []
        if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
            raise TfnormError(
                f"`where` must be a name, several of them, or a function that is true of a layer. Received: {where!r}."
            )
        fitting: set[int] = set()
        names = {id(layer): (layer.name, self.path(layer)) for layer in layers}
        for pattern in patterns:
            found = {key for key, pair in names.items() if any(fnmatchcase(name, pattern) for name in pair)}
            if not found:
                guess = nearest(pattern, [path for _, path in names.values()])
                hint = f" Did you mean {guess!r}?" if guess else ""
                raise TfnormError(
                    f"The model {self.model.name!r} has no {kind} layer called {pattern!r}.{hint} "
                    "Write names, patterns such as 'conv2_*', or a function that is true of a layer."
                )
            fitting |= found
        return [layer for layer in layers if id(layer) in fitting]
