"""Networks whose function takes a factory of norms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras

from tfnorm.convert.clone import clone_with, copy_value, remake
from tfnorm.convert.graph import Network, check_graph
from tfnorm.convert.neighbours import convolutions_before, units_after
from tfnorm.convert.norms import fit, make_norm, of_statistics
from tfnorm.convert.report import Change, Report
from tfnorm.errors import ArchitectureError, TfnormError
from tfnorm.layers import WeightStandardizedConv2D
from tfnorm.models.sources import Source
from tfnorm.spec import NormSpec


class NormPlace(keras.layers.Layer):
    """Stands where a norm will be, and notes the shapes of its inputs."""

    def __init__(self, axis: int, name: str | None) -> None:
        super().__init__(name=name)
        self.axis = axis
        self.shapes: tuple[tuple[Any, ...], ...] = ()

    def call(self, inputs):
        """Return the input."""
        self._note(inputs.shape)
        return inputs

    def compute_output_shape(self, input_shape):
        """Return the shape of the input. Keras asks for it in place of a call with a symbolic tensor."""
        self._note(input_shape)
        return input_shape

    def _note(self, shape: Any) -> None:
        known = (None, *shape[1:])
        if known not in self.shapes:
            self.shapes = (*self.shapes, known)  # a list would be one of Keras's, which takes nothing once it is built


@dataclass
class _Factory:
    """What the function gets as ``norm``. It makes a layer at each call and remembers all."""

    make: Callable[[str | None, int], Any]
    made: list[Any] = field(default_factory=list)

    def __call__(self, name: str | None = None, axis: int = -1) -> Any:
        """Return the layer of one norm, with a name and the axis of its channels."""
        layer = self.make(name, axis)
        self.made.append(layer)
        return layer


def made_with_norms(source: Source, spec: NormSpec, *, seed: int, **sizes: Any) -> tuple[keras.Model, Report]:
    """Return the model of a function that takes ``norm``, with norms of ``spec``, and what it got at each place.

    The function is called twice. The first time, layers without weights stand where the norms will be: they tell the
    shapes, and the weights of that model are the initial weights of the others, whatever a norm draws.

    Raises:
        ArchitectureError: If the function never calls ``norm``, calls it another number of times at its second call, or
            has no default for the spec ``keep``.
    """
    factory = _Factory(lambda name, axis: NormPlace(axis, name))
    reference = source.make(seed=seed, norm=factory, **sizes)
    check_model(source, reference)
    places = factory.made
    if not places:
        raise ArchitectureError(
            f"{source.name} takes `norm` and never calls it. Put norm(name=...) where a norm goes, or leave the "
            "parameter out."
        )
    if spec.info.of_the_model:
        if not source.has_own_norm:
            raise ArchitectureError(
                f"'{spec}' needs norms that {source.name} has itself, and its parameter `norm` has no default. "
                "Give it one, or leave the spec out."
            )
        model = source.make(seed=seed, **sizes)
        _copy_weights(reference, model)
        return model, Report(())
    changes: list[Change] = []
    kept: list[Change] = []
    waiting = iter([_fitted(place, spec) for place in places])

    def make(name: str | None, axis: int) -> Any:
        found = next(waiting, None)
        if found is None:  # a call too many, which is told below
            return keras.layers.Identity(name=name)
        layer, change = _norm_at(found, name)
        (changes if change.after else kept).append(change)
        return layer

    second = _Factory(make)
    model = source.make(seed=seed, norm=second, **sizes)
    if len(second.made) != len(places):
        raise ArchitectureError(
            f"{source.name} calls `norm` {len(places)} times, and {len(second.made)} times at its second call. Let it "
            "make the same network each time."
        )
    _copy_weights(reference, model)
    if spec.info.thresholded or spec.weight_standardization:
        model, more = _with_neighbours(model, second.made, spec)
        changes += more
    return model, Report(tuple(changes), tuple(kept))


@dataclass(frozen=True)
class _Fitted:
    """The norm of one place: its spec with groups that fit, or None, the shape of its inputs, and a note."""

    spec: NormSpec | None
    shape: tuple[Any, ...]
    axis: int
    note: str


def _fitted(place: NormPlace, spec: NormSpec) -> _Fitted:
    shapes = list(place.shapes) or [(None,) * 4]
    axis = place.axis % len(shapes[0])
    if not spec.info.layer or shapes[0][axis] is None:
        return _Fitted(spec, shapes[0], axis, "")
    fitting, note = fit(spec, shapes, axis, place.name)
    return _Fitted(fitting, shapes[0], axis, note)


def _norm_at(found: _Fitted, name: str | None) -> tuple[Any, Change]:
    """Return the layer for one place, and what it is."""
    spec, channels = found.spec, found.shape[found.axis]
    if spec is None or not spec.info.layer:
        layer = keras.layers.Identity(name=name)
        return layer, Change(layer.name, "norm(...)", "" if spec is None else "Identity", note=found.note)
    layer = make_norm(spec, name, found.shape, found.axis)
    groups = spec.groups_of(channels) if channels is not None and spec.info.groups else None
    note = ", ".join(filter(None, (found.note, of_statistics(layer, fresh=bool(spec.info.moving)))))
    return layer, Change(layer.name, "norm(...)", type(layer).__name__, groups, note)


def _copy_weights(reference: keras.Model, model: keras.Model) -> None:
    """Give ``model`` the weights of ``reference``, a model of the same function with places in place of norms."""
    for variable, twin in _twins(reference, model):
        if variable.name != twin.name or variable.shape != twin.shape:
            raise ArchitectureError(
                f"The function makes {variable.path} of {tuple(variable.shape)} with one norm, and in its place "
                f"{twin.path} of {tuple(twin.shape)} with another. Let it make the same network whatever `norm` is."
            )
        copy_value(variable, twin)


def _twins(layer: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the variables of a layer, those of norms left out, each with its twin at the same place in another one.

    The names that Keras gives would do only if no norm had layers of its own, whose names shift those of others.
    """
    parts, others = list(layer._layers), list(other._layers)
    if len(parts) == len(others):
        yield from zip(_own_state(layer), _own_state(other), strict=False)
        for part, twin in zip(parts, others, strict=True):
            if not isinstance(part, NormPlace):
                yield from _twins(part, twin)
        return
    known: dict[tuple[Any, ...], list[Any]] = defaultdict(list)  # a norm is nothing here, or no layer
    for variable in layer.variables:
        known[variable.path, tuple(variable.shape)].append(variable)
    for variable in other.variables:
        if same := known.get((variable.path, tuple(variable.shape))):
            yield same.pop(0), variable


def _own_state(layer: Any) -> list[Any]:
    """Return the variables of a layer without those of layers inside."""
    variables = layer._trainable_variables + layer._non_trainable_variables
    return [*variables, *(generator.state for generator in layer._seed_generators)]


def _with_neighbours(model: keras.Model, norms: list[Any], spec: NormSpec) -> tuple[keras.Model, list[Change]]:
    """Return a copy of ``model`` with thresholded units after its norms, or standardized convolutions before them."""
    network = Network(model)
    called = [layer for layer in norms if network.calls(layer)]
    axes = {id(layer): _axis(layer) % len(network.input_shapes(layer)[0]) for layer in called}
    units = units_after(network, axes) if spec.info.thresholded else {}
    convolutions = convolutions_before(network, axes) if spec.weight_standardization else set()

    def make(layer: Any) -> Any:
        return units.get(id(layer)) or remake(layer, WeightStandardizedConv2D if id(layer) in convolutions else None)

    new, _ = clone_with(model, make)
    changes = [
        network.change(layer, "WeightStandardizedConv2D") for layer in network.layers if id(layer) in convolutions
    ]
    return new, changes + [network.change(layer, "TLU") for layer in network.layers if id(layer) in units]


def _axis(norm: Any) -> int:
    axis = getattr(norm, "axis", -1)
    return axis if isinstance(axis, int) else max(axis)


def check_model(source: Source, model: keras.Model) -> None:
    """Raise an `ArchitectureError` unless the model of a source has a graph and weights."""
    try:
        check_graph(model)
    except TfnormError as error:
        raise ArchitectureError(f"{source.name} returns a model that cannot be changed. {error}") from None
