"""Who makes and who reads each tensor of a model, nested models included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import keras

from tfnorm.analysis.graph import computes_its_graph
from tfnorm.convert.clone import check_cloneable
from tfnorm.convert.report import Change
from tfnorm.errors import TfnormError, nearest

Where = str | Iterable[str] | Callable[[Any], bool] | None


class Graph:
    """The calls in one functional or sequential model, in an order in which they can be made.

    Args:
        model: The model, built.
        caller: What is called where the model is nested: itself, the default, or a layer around it.
    """

    def __init__(self, model: keras.Model, caller: Any = None) -> None:
        self.model = model
        self.caller = model if caller is None else caller
        self.functional: Any = model._functional if isinstance(model, keras.Sequential) else model
        if self.functional is None:
            raise TfnormError(
                f"The layers of the sequential model {model.name!r} cannot be followed. "
                "Build it with keras.Input as its first layer."
            )
        by_depth = self.functional._nodes_by_depth
        self.calls = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]
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
        """Return the calls that take ``tensor``, one that takes it twice two times."""
        return self._readers.get(id(tensor), [])

    def gives_out(self, tensor: Any) -> bool:
        """Return whether ``tensor`` is an output of the model."""
        return id(tensor) in self._outputs


class Network:
    """The graphs of a model and of the models nested in it, each once, from the outside in.

    ``layers`` are all layers and operations that are called in a graph, ``everything`` also those inside other layers,
    both in the order of the graph.

    Args:
        model: A functional or sequential model, built.

    Raises:
        TfnormError: For another model.
    """

    def __init__(self, model: keras.Model) -> None:
        check_cloneable(model)
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

    def readers(self, layer: Any) -> Iterator[Any]:
        """Return the calls that take an output of ``layer``, in the graphs that it is called in."""
        for graph, node in self.calls(layer):
            for tensor in node.outputs:
                yield from graph.readers(tensor)

    def names(self) -> set[str]:
        """Return the names of all layers and operations."""
        return {operation.name for graph in self.graphs for operation in graph.functional.operations}

    def change(self, layer: Any, after: str = "", **options: Any) -> Change:
        """Return what became of ``layer``, for a `Report`."""
        return Change(self.path(layer), type(layer).__name__, after, **options)

    def inside(self, layer: Any) -> str:
        """Return a note that ``layer`` is inside another layer, or ""."""
        holder = self.holder(layer)
        return "" if holder is None else f"inside the layer {holder.name!r} ({type(holder).__name__})"

    def choose(self, layers: list[Any], where: Where, kind: str) -> list[Any]:
        """Return those of ``layers`` that ``where`` means.

        Args:
            layers: The layers to choose from.
            where: Names, with or without the models a layer is in, in which * stands for any letters; or a function
                that is true of a layer; or None for all.
            kind: What the layers are, in a message.

        Raises:
            TfnormError: For a name or a function that fits none.
        """
        if where is None:
            return layers
        if callable(where):
            chosen = [layer for layer in layers if where(layer)]
            if not chosen:
                raise TfnormError(
                    f"`where` must be true of at least one {kind} layer. Received: a function that is false for all "
                    f"{len(layers)} of the model {self.model.name!r}."
                )
            return chosen
        patterns = [where] if isinstance(where, str) else list(where) if isinstance(where, Iterable) else []
        if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
            raise TfnormError(
                f"`where` must be a name, several of them, or a function that is true of a layer. Received: {where!r}."
            )
        fitting: dict[int, Any] = {}
        for pattern in patterns:
            found = [layer for layer in layers if self._fits(layer, pattern)]
            if not found:
                guess = nearest(pattern, [self.path(layer) for layer in layers])
                hint = f" Did you mean {guess!r}?" if guess else ""
                raise TfnormError(
                    f"The model {self.model.name!r} has no {kind} layer called {pattern!r}.{hint} "
                    "Write names, patterns such as 'conv2_*', or a function that is true of a layer."
                )
            fitting.update((id(layer), layer) for layer in found)
        return [layer for layer in layers if id(layer) in fitting]

    def _fits(self, layer: Any, pattern: str) -> bool:
        return any(fnmatchcase(name, pattern) for name in (layer.name, self.path(layer)))
