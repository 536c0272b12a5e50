"""Putting norms after the convolutions of a model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import keras
from keras import layers

from tfnorm import layers as ours
from tfnorm.convert.calibrate import calibrate_norms, check_batch
from tfnorm.convert.clone import Chain, clone_with, output_names, remake
from tfnorm.convert.graph import Graph, Network, Where
from tfnorm.convert.kinds import ALL_CONVOLUTIONS, axis_of_channels, can_standardize, is_idle, is_linear, norm_kinds
from tfnorm.convert.neighbours import units_after
from tfnorm.convert.norms import Place, find_places, make_norm, of_statistics
from tfnorm.convert.report import Report, grouped
from tfnorm.errors import SpecError, TfnormError
from tfnorm.norms import NORMS
from tfnorm.spec import NormSpec, parse_norm

# Activations of logits and pictures rather than of hidden layers.
OF_OUTPUTS = {"linear", "softmax", "log_softmax", "sigmoid", "hard_sigmoid", "log_sigmoid", "tanh"}
# Layers and operations that are activations of hidden layers, in small letters.
HIDDEN = {"relu", "relu6", "leakyrelu", "prelu", "elu", "celu", "selu", "gelu", "silu", "softplus", "softsign"}
HIDDEN |= {"hardsilu", "mish", "squareplus", "tlu"}


def insert_norms(
    model: keras.Model,
    spec: str | NormSpec,
    *,
    where: Where = None,
    calibrate: Any = None,
    return_report: bool = False,
) -> keras.Model | tuple[keras.Model, Report]:
    """Return the same network with a norm after each convolution, before its activation.

    The convolution "conv1" is followed by the norm "conv1_norm". If it has an activation, that becomes the layer
    "conv1_activation" after the norm. Its activity regularizer moves to the last of these layers. All old weights are
    bit for bit the same. A compiled model stays compiled, but its optimizer starts afresh. All kinds of convolutions
    count, in nested models too; the norm of a shared convolution is shared. If you choose the layer "logits" and it
    gives an output, Keras calls that, its losses and its metrics "logits_norm".

    Without ``where`` no norm comes after dense layers, after a convolution that a norm follows already, or after one
    that gives the model's outputs: only layers without weights, and no activation but softmax, sigmoid and tanh, lead
    from it to an output.

    Groups that do not divide the channels, ``+ws``, ``frn`` and ``calibrate`` are as in `replace_norms`. Gammas and
    betas are fitted to the outputs that each convolution had before, which a batch norm can give exactly.

    Args:
        model: A functional or sequential model, built; it is not changed.
        spec: A norm spec without penalties, such as "bn", "gn:8"; not "none".
        where: Names of convolutions or dense layers, in which * stands for any letters; or a function that is true of
            the chosen ones.
        calibrate: A batch of inputs as the model takes them; 16 to 64 are enough as a rule.
        return_report: Whether to return the report too.

    Returns:
        A new model; with ``return_report`` the pair (model, `Report`).

    Raises:
        SpecError: For a spec that cannot be read, has penalties or does not fit.
        TfnormError: If the model has no graph or a `call` of its own, is not built, or has no place for a norm.

    Example:
        >>> old = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=10)
        >>> model = insert_norms(old, "bn")
        >>> [layer.name for layer in model.layers[1:4]]
        ['block1_conv1', 'block1_conv1_norm', 'block1_conv1_activation']
    """
    spec = parse_norm(spec)
    if spec.kind == "none":
        names = [f"{name}:GROUPS" if info.groups else name for name, info in NORMS.items() if info.layer]
        raise SpecError(f"A norm is needed to be inserted. Received: 'none'. Use one of {', '.join(names)}.")
    network = Network(model)
    candidates, kind = places_after(network, where), "convolution or dense"
    places, kept = find_places(network, spec, where, candidates, kind, network.output_shapes, axis_of_channels)
    if not places:
        reasons = f" {grouped(kept)}" if kept else ""
        raise TfnormError(
            f"The model {model.name!r} has no convolution to put a norm after.{reasons} Choose layers with `where`, "
            "or make the model in a function with a parameter `norm`."
        )
    batch = check_batch(model, calibrate)
    linear = {key: place.axis for key, place in places.items() if is_linear(place.layer)}
    units = units_after(network, linear) if spec.info.thresholded else {}
    taken = {operation.name for graph in network.graphs for operation in graph.functional.operations}

    def make(layer):
        if id(layer) in places:
            return _normalized(places[id(layer)], taken)
        return units.get(id(layer)) or remake(layer)

    new_model, made = clone_with(model, make)
    changes = []
    renamed = {old: new for old, new in output_names(model, new_model).items() if old != new}
    for key, place in places.items():
        inserted = made[key][1].layers
        classes = " + ".join(type(layer).__name__ for layer in inserted)
        output = renamed.get(place.layer.name) == inserted[-1].name
        statistics = of_statistics(inserted[1], fresh=bool(spec.info.moving) and batch is None)
        called = f"the output {place.layer.name!r} is called {inserted[-1].name!r} now" if output else ""
        note = ", ".join(filter(None, (place.note, statistics, called)))
        changes.append(network.change(place.layer, classes, groups=place.groups, note=note))
    changes += [network.change(layer, "TLU") for layer in network.layers if id(layer) in units]
    norms = [(made[key][1].layers[1], place.axis) for key, place in places.items()]
    difference = calibrate_norms(model, made, batch, norms)
    report = Report(tuple(changes), tuple(kept), difference)
    return (new_model, report) if return_report else new_model


def places_after(network: Network, where: Where = None) -> Iterator[tuple[Any, str]]:
    """Yield each layer that a norm may follow, with the reason why none does, or ""."""
    kinds = ALL_CONVOLUTIONS if where is None else (*ALL_CONVOLUTIONS, layers.Dense)
    for layer in network.everything:
        if type(layer) in kinds:
            reason = network.inside(layer)
            if not reason and isinstance(layer.activation, keras.Layer):
                reason = "its activation is a layer"
            yield layer, reason or (_left_out(network, layer) if where is None else "")


def _normalized(place: Place, taken: set[str]) -> Chain:
    """Return a convolution with a norm and its activation after it, as layers of their own."""
    standardized = place.spec.weight_standardization and can_standardize(place.layer)
    twin = remake(place.layer, ours.WeightStandardizedConv2D if standardized else None)
    norm = make_norm(place.spec, _unused(f"{twin.name}_norm", taken), place.shape, place.axis)
    parts = [twin, norm]
    if not is_linear(place.layer):
        twin.activation = keras.activations.linear
        name, activation = _unused(f"{twin.name}_activation", taken), place.layer.activation
        relu = place.spec.info.thresholded and activation is keras.activations.relu
        parts.append(ours.TLU(axis=place.axis, name=name) if relu else ours.Activation(activation, name=name))
    parts[-1].activity_regularizer, twin.activity_regularizer = twin.activity_regularizer, None
    return Chain(tuple(parts), twin=twin)


def _unused(name: str, taken: set[str]) -> str:
    """Return ``name``, or with a number if it is taken, and take it."""
    free = next(new for number in count() if (new := f"{name}_{number}" if number else name) not in taken)
    taken.add(free)
    return free


def _left_out(network: Network, layer: Any) -> str:
    """Return why a convolution gets no norm unless it is chosen, or ""."""
    for graph, node in network.calls(layer):
        if norm := _norm_after(graph, node):
            return f"the norm {norm.name!r} comes after it"
        if not _is_hidden(layer.activation) and _reaches_output(network, graph, node.outputs[0]):
            return "it gives an output of the model"
    return ""


def _norm_after(graph: Graph, node: Any) -> Any:
    """Return a norm that reads the outputs of a call, if there is one."""
    for reader in graph.readers(node.outputs[0]):
        if isinstance(reader.operation, norm_kinds()):
            return reader.operation
        if is_idle(reader.operation) and (found := _norm_after(graph, reader)):
            return found
    return None


def _is_hidden(activation: Any) -> bool:
    """Return whether an activation is one of hidden layers, such as relu."""
    return activation is not None and getattr(activation, "__name__", "") not in OF_OUTPUTS


def _reaches_output(network: Network, graph: Graph, tensor: Any) -> bool:
    """Return whether only layers without weights and activations of outputs lead from a tensor to an output."""
    if graph.gives_out(tensor):
        if graph is network.graphs[0]:
            return True
        place = [id(output) for output in graph.functional.outputs].index(id(tensor))
        calls = network.calls(graph.caller)
        if any(_reaches_output(network, outer, node.outputs[place]) for outer, node in calls):
            return True
    for node in graph.readers(tensor):
        layer = node.operation
        stops = type(layer).__name__.lower().replace("_", "") in HIDDEN
        if isinstance(layer, keras.Layer):
            stops = stops or layer.weights or _is_hidden(getattr(layer, "activation", None))
        if not stops and any(_reaches_output(network, graph, output) for output in node.outputs):
            return True
    return False
