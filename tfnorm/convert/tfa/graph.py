"""Making a model of Keras 3 from its description in a file of Keras 2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras

from tfnorm.convert.tfa.files import reason
from tfnorm.convert.tfa.layers import SPECIAL, Recipe, described, read_layer
from tfnorm.convert.tfa.ops import V1, called_function, node_function
from tfnorm.convert.tfa.settings import Notes, class_name
from tfnorm.convert.tfa.weights import Part
from tfnorm.errors import TfnormError

CONSTANT = "_CONSTANT_VALUE"  # stands in place of a layer's name where a call takes a number
FUNCTIONS, NODE = ("TFOpLambda", "SlicingOpLambda"), "TensorFlowOpLayer"
MODELS = ("Functional", "Model", "Sequential")


class NotReady(Exception):
    """The layer that a call reads from has not been called yet."""


class NotCalledError(Exception):
    """Keras has no counterpart of a function as it is called in the file; the message is what it is called."""


def read_model(entry: dict[str, Any], notes: Notes) -> Recipe:
    """Return the recipe of a model from its description; what cannot be made is noted."""
    if class_name(entry) not in MODELS:
        raise TfnormError(
            f"Only functional and sequential models can be converted. Received: {class_name(entry)}. Build it in "
            "Keras 3, and pass it as `model` with a file of the weights."
        )
    return read_layer(entry, notes)


def _model_recipe(kind: str, make: Callable[[], keras.Model], config: dict[str, Any], recipes: list[Recipe]) -> Recipe:
    """Return the recipe of a model whose layers have ``recipes``."""

    def frozen() -> keras.Model:
        model = make()
        # The setter would reach into the layers, which have settings of their own.
        model._trainable = bool(config.get("trainable", True))
        return model

    def part(model: keras.Model, _: str) -> Part:
        return Part(model.name, kind, layers=[recipe.part for recipe in recipes], trainable=model._trainable)

    return Recipe(kind, frozen, part)


def _read_input(name: str, config: dict[str, Any], notes: Notes) -> Recipe:
    for key in ("sparse", "ragged"):
        if config.get(key):
            notes.refuse(f"InputLayer ({name!r}) with {key}=True")
    shape = config.get("batch_input_shape", config.get("batch_shape"))
    return Recipe(
        "input_layer",
        lambda: keras.Input(batch_shape=shape, dtype=config.get("dtype"), name=config["name"]),
        lambda *_: Part(name, "input_layer"),
    )


# Sequential models.


def _read_sequential(name: str, config: dict[str, Any], notes: Notes) -> Recipe:
    entries = list(config["layers"])
    first = entries[0]["config"]
    if class_name(entries[0]) == "InputLayer":
        del entries[0]
    elif not first.get("batch_input_shape"):
        first = {"batch_input_shape": config.get("build_input_shape")}
    recipes = [read_layer(entry, notes) for entry in entries]

    def make() -> keras.Model:
        if first.get("batch_input_shape") is None:
            raise TfnormError(
                f"The model {name!r} was saved before it had weights. Call it on a batch before you save it."
            )
        start = keras.Input(batch_shape=first["batch_input_shape"], dtype=first.get("dtype"))
        return keras.Sequential([start, *(recipe.layer for recipe in recipes)], name=config["name"])

    return _model_recipe("sequential", make, config, recipes)


# Functional models.


@dataclass
class Step:
    """A layer or function of a functional model, and what it is called on."""

    name: str  # in the file, by which others refer to it
    calls: list[Any]  # the inputs of each call, as described
    recipe: Recipe | None = None  # how to make a layer
    first: int = 0  # the number of the first call: a model has been called on its own input before
    function: Callable[..., Any] | None = None
    label: str = ""  # what a function is called in messages


def _read_functional(name: str, config: dict[str, Any], notes: Notes) -> Recipe:
    steps = [_read_step(entry, notes) for entry in config["layers"]]
    recipes = [step.recipe for step in steps if step.recipe]

    def make() -> keras.Model:
        made = _run(steps)
        inputs, outputs = (_one(_resolve(config[key], made)) for key in ("input_layers", "output_layers"))
        # Operations that Keras made for masks may have the name of a layer in the file.
        names = {step.name for step in steps}
        for count, operation in enumerate(_operations_before(keras.tree.flatten(outputs), set())):
            if not isinstance(operation, keras.Layer) and operation.name in names:
                operation.name = f"{operation.name}_of_masks_{count}"
        return keras.Model(inputs, outputs, name=config["name"])

    return _model_recipe("functional", make, config, recipes)


def _read_step(entry: dict[str, Any], notes: Notes) -> Step:
    kind, name, calls = class_name(entry), entry["name"], list(entry["inbound_nodes"])
    config = described(entry)
    if kind in FUNCTIONS or kind == NODE:
        called = config["node_def"]["op"] if kind == NODE else config["function"]
        function = node_function(config) if kind == NODE else called_function(called)
        label = f"tf.{called if called.startswith(V1 + 'image') else called.removeprefix(V1)} ({name!r})"
        if function is None:
            notes.refuse(label)
        return Step(name, calls, function=function, label=label)
    starts = kind in MODELS and (kind != "Sequential" or class_name(config["layers"][0]) == "InputLayer")
    return Step(name, calls, read_layer(entry, notes), int(starts))


def _run(steps: list[Step]) -> dict[str, dict[int, list[Any]]]:
    """Call all layers and functions, and return the outputs by name, number of the call and number of the output."""
    outputs: dict[str, dict[int, list[Any]]] = {step.name: {} for step in steps}
    waiting: list[tuple[Step, int, Any]] = []
    for step in steps:
        if step.recipe and not step.calls:
            made = step.recipe.layer
            if isinstance(made, keras.KerasTensor):
                outputs[step.name][0] = [made]
        waiting += [(step, step.first + index, call) for index, call in enumerate(step.calls)]
    while waiting:
        left = []
        for step, number, call in waiting:
            try:
                # The calls of a layer are made in their order, which is that of the calls of the old one.
                if number > step.first and number - 1 not in outputs[step.name]:
                    raise NotReady
                outputs[step.name][number] = keras.tree.flatten(_called(step, call, outputs))
            except NotReady:
                left.append((step, number, call))
        if len(left) == len(waiting):
            names = ", ".join(sorted({step.name for step, _, _ in left}))
            raise ValueError(f"the layers {names} are called on outputs that nothing makes")
        waiting = left
    return outputs


def _called(step: Step, call: Any, outputs: dict[str, dict[int, list[Any]]]) -> Any:
    """Return the result of one call."""
    # Further arguments are with each input, all the same.
    arguments = next((atom[3] for atom in _atoms(call) if len(atom) == 4), {})
    inputs = _resolve(call, outputs)
    given = {key: _resolve(value, outputs) for key, value in arguments.items() if key != "name" and value is not None}
    if step.recipe:
        layer = step.recipe.layer
        try:
            return layer(_one(inputs), **given)
        except Exception as error:
            raise ValueError(f"{step.name}: {reason(error)}") from error
    try:
        result = step.function(inputs, **given)  # type: ignore[misc]
    except Exception as error:
        named = ", ".join(f"{key}={value!r}" for key, value in given.items()) or "no arguments"
        raise NotCalledError(f"{step.label} with {named} ({reason(error)})") from error
    # The names of the operations that a function is made of may be those of layers.
    known = set(map(id, keras.tree.flatten([inputs, given])))
    name = step.name.replace("/", "_")
    for count, operation in enumerate(_operations_before(keras.tree.flatten(result), known)):
        operation.name = f"{name}_part{count}" if count else name
    return result


def _operations_before(tensors: list[Any], known: set[int]) -> Iterator[Any]:
    """Yield the operations that tensors come from, each once, up to the tensors whose ids are ``known``."""
    waiting, seen = list(tensors), set()
    while waiting:
        tensor = waiting.pop()
        operation = tensor._keras_history.operation
        if id(tensor) not in known and id(operation) not in seen:
            seen.add(id(operation))
            yield operation
            waiting += [tensor for node in operation._inbound_nodes for tensor in node.input_tensors]


def _one(value: Any) -> Any:
    """Return the item of a list of one, or else the value itself."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _is_atom(value: Any) -> bool:
    """Return whether ``value`` refers to a tensor, or is a number in the place of one."""
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and type(value[1]) is int
        and (value[0] == CONSTANT or type(value[2]) is int)
    )


def _atoms(value: Any) -> Iterator[list[Any]]:
    if _is_atom(value):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _atoms(item)


def _resolve(value: Any, outputs: dict[str, dict[int, list[Any]]]) -> Any:
    """Return ``value`` with tensors in place of what refers to them."""
    if _is_atom(value):
        name, call, index = value[:3]
        if name == CONSTANT:
            return index
        if name not in outputs:
            raise ValueError(f"there is no layer {name!r}")
        if call not in outputs[name]:
            raise NotReady
        return outputs[name][call][index]
    if isinstance(value, list):
        return [_resolve(item, outputs) for item in value]
    if isinstance(value, dict):
        return {key: _resolve(item, outputs) for key, item in value.items()}
    return value


SPECIAL.update(Functional=_read_functional, Model=_read_functional, Sequential=_read_sequential, InputLayer=_read_input)
