"""Finding the weights of new layers in a file of Keras 2."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tfnorm.convert.tfa.files import LAYERS, SavedFile
from tfnorm.errors import TfnormError


@dataclass(eq=False)
class Slot:
    """One weight of a layer as Keras 2 saves it."""

    name: str  # the last part of it
    shape: tuple[int, ...]  # in the file
    trainable: bool = True  # whether the layer made it trainable
    variable: Any = None  # the new layer's weight, if it has one; the same numbers, maybe in another shape
    value: np.ndarray | None = None  # what the file holds, once found


@dataclass(eq=False)
class Part:
    """A layer as Keras 2 saves it."""

    name: str  # for messages
    kind: str  # its class in Keras 2, in snake case, which is its name in an archive
    own: list[Slot] = field(default_factory=list)  # its own weights, those that it made trainable first
    inside: dict[str, Part] = field(default_factory=dict)  # the layers inside it by attribute, in the order made
    layers: list[Part] | None = None  # of a model; None otherwise
    trainable: bool = True  # False if it was frozen
    fold: Callable[[], None] | None = None  # changes the values that were found before they are set

    def walk(self) -> Iterator[Part]:
        """Yield this layer and all inside it."""
        yield self
        for part in [*self.inside.values(), *(self.layers or [])]:
            yield from part.walk()

    def slots(self) -> list[Slot]:
        """Return the weights in the order of an .h5 file: the trainable ones, then the others, each once."""
        trainable, other = self._split()
        return list(dict.fromkeys(trainable + other))

    def _split(self) -> tuple[list[Slot], list[Slot]]:
        halves = [part._split() for part in (*self.inside.values(), *(self.layers or ()))]
        trainable = [slot for slot in self.own if slot.trainable] + [slot for half in halves for slot in half[0]]
        other = [slot for slot in self.own if not slot.trainable] + [slot for half in halves for slot in half[1]]
        if self.trainable:
            return trainable, other
        if self.layers is not None:
            return [], trainable + other
        # A frozen layer, other than a frozen model, keeps the weights of each layer inside together.
        return [], self.own + [slot for half in halves for slot in (*half[0], *half[1])]


def plain_part(layer: Any, kind: str = "") -> Part:
    """Return the weights of a layer that has the same in Keras 2 and 3. By default ``kind`` is that of its class."""
    made = {id(inner) for inner in layer._layers}
    attributes = {**vars(layer), **vars(layer).get("_modules", {})}  # PyTorch keeps layers apart
    own = [Slot(v.name, tuple(v.shape), True, v) for v in layer._trainable_variables]
    own += [Slot(v.name, tuple(v.shape), False, v) for v in layer._non_trainable_variables]
    inside = {attribute: plain_part(inner) for attribute, inner in attributes.items() if id(inner) in made}
    return Part(layer.name, kind or snake_case(type(layer).__name__), own, inside, trainable=layer.trainable)


def snake_case(name: str) -> str:
    """Return the name that Keras 2 gives a layer of a class, such as ``batch_normalization``.

    Example:
        >>> snake_case("GlobalAveragePooling2D"), snake_case("ConvLSTM2D"), snake_case("PReLU")
        ('global_average_pooling2d', 'conv_lstm2d', 'p_re_lu')
    """
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def find_values(model: Part, file: SavedFile) -> None:
    """Give every weight of a model its value from the file; raise a `TfnormError` if they do not fit."""
    if file.groups is not None:
        _find_in_groups(model, file.groups, file.where)
        return
    rest = dict(file.arrays or {})
    _find_in_arrays(model, "", rest, file, set())
    # Floats that are left belong to a layer that the model lacks; the states of random seeds are whole numbers.
    if strange := [path for path, array in rest.items() if array.dtype.kind == "f"]:
        raise TfnormError(
            f"{file.where} holds weights that the model has no place for: {_listed(strange)}. "
            "Give the model that the file was written from."
        )


def assign_values(part: Part, model: keras.Model) -> None:
    """Set the weights of a model, described by ``part``, to the values that were found."""
    parts = list(dict.fromkeys(part.walk()))
    for part in parts:
        if part.fold:
            part.fold()
    for part in parts:
        for slot in part.own:
            if slot.variable is not None and slot.value is not None:
                slot.variable.assign(np.array(slot.value).reshape(slot.variable.shape))
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # its mean is a constant, taken from the weights


def _find_in_groups(model: Part, groups: list[Any], where: str) -> None:
    parts = [part for part in model.layers or [] if part.slots()]
    if len(parts) != len(groups):
        raise TfnormError(
            f"{where} must hold weights for the {len(parts)} layers of the model that have any: "
            f"{_listed([part.name for part in parts])}. It has weights of {len(groups)}: "
            f"{_listed([name for name, _ in groups])}. Give the model that the file was written from."
        )
    for part, (layer, weights) in zip(parts, groups, strict=True):
        slots = part.slots()
        names = {slot.name for slot in slots}
        found = [(re.sub(r"(_\d+)?:\d+$", "", name.rsplit("/", 1)[-1]), array) for name, array in weights]
        # A name says nothing if it is that of no weight of the layer: Keras 3 has renamed some.
        if len(slots) != len(found) or any(
            slot.shape != array.shape or (name != slot.name and name in names)
            for slot, (name, array) in zip(slots, found, strict=True)
        ):
            raise _misfit(where, layer, slots, [f"{name} {array.shape}" for name, array in found])
        for slot, (_, array) in zip(slots, found, strict=True):
            slot.value = array


def _find_in_arrays(part: Part, path: str, arrays: dict[str, np.ndarray], file: SavedFile, seen: set[int]) -> None:
    """Move the values for a layer and those inside it out of ``arrays``; one that was seen is in the file once."""
    seen.add(id(part))
    own = f"{path}/vars/" if path else "vars/"
    values = [arrays.get(f"{own}{index}") for index in range(len(part.own))]
    if any(value is None or value.shape != slot.shape for value, slot in zip(values, part.own, strict=True)):
        held = [f"{name} {array.shape}" for name, array in arrays.items() if name.startswith(own)]
        raise _misfit(file.where, part.name, part.own, held)
    for index, (slot, value) in enumerate(zip(part.own, values, strict=True)):
        slot.value = value
        del arrays[f"{own}{index}"]
    for attribute, inner in part.inside.items():
        _find_in_arrays(inner, f"{path}/{attribute}", arrays, file, seen)
    inners = part.layers or []
    if not file.doubled:  # it did not count a layer that it had in another model before
        inners = [inner for inner in inners if id(inner) not in seen]
    for inner, name in zip(inners, numbered(inners, file.doubled), strict=True):
        if id(inner) not in seen:
            _find_in_arrays(inner, f"{path}/{LAYERS}/{name}" if path else f"{LAYERS}/{name}", arrays, file, seen)


def numbered(parts: list[Part], doubled: bool) -> list[str]:
    """Return the names of layers in an archive: their kinds, with numbers; ``doubled`` counts weights twice."""
    used: Counter[str] = Counter()
    names = []
    for part in parts:
        names.append(f"{part.kind}_{used[part.kind]}" if used[part.kind] else part.kind)
        used[part.kind] += 2 if doubled and part.slots() else 1
    return names


def _misfit(where: str, layer: str, slots: list[Slot], held: list[str]) -> TfnormError:
    wanted = _listed([f"{slot.name} {slot.shape}" for slot in slots])
    return TfnormError(
        f"{where}: the layer {layer!r} must have {wanted}. The file has {_listed(held)}. "
        "Give the model that the file was written from."
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"
