"""Copying a Keras model layer by layer, with other layers in place of some."""

from __future__ import annotations

import functools
import inspect
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import keras
import numpy as np

from tfnorm._keras import Functional, SafeModeScope, functional_like_constructor, input_config
from tfnorm.convert.graph import check_graph, computes_its_graph
from tfnorm.errors import TfnormError

# What the configuration of a functional model says about its graph; the rest are arguments of its class.
_OF_THE_GRAPH = {"name", "trainable", "layers", "input_layers", "output_layers"}
# Methods that only make a model of the class, or tell how.
_OF_MAKING = {"build", "get_config"}

# Old and new objects by the id of the old ones.
Made = dict[int, tuple[Any, Any]]


@dataclass(frozen=True)
class Chain:
    """Layers that are called one after the other in place of one layer. Without any, its input is passed on."""

    layers: tuple[Any, ...]  # they get the precision of the old one
    # The one that takes over the weights and the state of the old layer. The caller sets the weights of the others.
    twin: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the layers make of a call of the old one."""
        value = args[0] if args else kwargs.pop("inputs")
        if self.layers:
            known = inspect.signature(self.layers[0].call).parameters  # others are lost
            value = self.layers[0](value, *args[1:], **{key: kwargs[key] for key in kwargs if key in known})
        for layer in self.layers[1:]:
            value = layer(value)
        return value


def clone_with(
    model: keras.Model,
    make: Callable[[Any], Any],
    weights_of: Callable[[Any], list] = lambda layer: layer.get_weights(),
    *,
    compiles: Callable[[keras.Model], bool] = lambda model: True,
    class_of: Callable[[keras.Model], type] = type,
) -> tuple[keras.Model, Made]:
    """Return a copy of ``model`` whose layers ``make`` made, with all of its state, and what was made of what.

    Weights, what is trainable, random seeds and, if the model was compiled, its settings and the optimizer with its
    state are carried over. With a `Chain` the optimizer starts afresh.

    Args:
        model: A functional or sequential model; it is not changed.
        make: Returns the new layer of an old one, with the same name, or a `Chain` of layers.
        weights_of: Returns the weights for the new layer of an old one, in the order of `get_weights`.
        compiles: Whether the copy of a compiled model is compiled too.
        class_of: Returns the class for the copy of a functional model.
    """
    check_graph(model)
    scaled = [layer.name for layer in model._flatten_layers() if layer.dtype_policy.name.startswith("float8_")]
    if scaled:
        raise TfnormError(
            f"Layers quantized to float8 cannot be made again: {', '.join(scaled)}. Convert first, then call quantize."
        )
    made: Made = {}
    copy = _copied(model, make, made, class_of)
    twins: dict[int, Any] = {}
    same_weights = True
    for old, new in made.values():
        if isinstance(new, Chain):
            same_weights = False
            new = new.twin
        if not isinstance(old, keras.Layer) or new is None:
            continue
        parts = [(old, new)]
        if is_container(old):
            for variable, twin in zip(*_own_variables(old, new), strict=True):
                copy_value(variable, twin)
                twins[id(variable)] = twin
        else:
            if old.weights:
                new.set_weights(weights_of(old))
            parts = list(zip(old._flatten_layers(), new._flatten_layers(), strict=True))
            if type(old).__module__.partition(".")[0] not in ("keras", "tfnorm"):
                _check_settings(old, parts)
            twins.update((id(variable), twin) for variable, twin in zip(old.weights, new.weights, strict=True))
        for part, new_part in parts:
            _carry_state(part, new_part)
    for old, new in made.values():
        if isinstance(old, keras.Model) and old.compiled and computes_its_graph(old) and compiles(old):
            _compile_like(old, new, twins, with_state=same_weights)
    _warn_of_what_is_lost([(old, new) for old, new in made.values() if computes_its_graph(old)], class_of)
    return copy, made


def remake(layer, kind: type | None = None, config: dict[str, Any] | None = None):
    """Return a new layer, operation or metric of a layer's class and configuration, or of others, without weights."""
    config = config_of(layer) if config is None else config
    functions = {key: value for key, value in vars(layer).items() if isinstance(value, FunctionType)}
    if functions.get("activation", remake).__name__ == "<lambda>":
        config = {**config, "activation": None}  # which Keras writes, but cannot read
    # Functions are in the configuration by name only and lambdas as code, without the module they are from.
    known = {function.__name__: function for function in functions.values()}
    try:
        with keras.saving.custom_object_scope(known), SafeModeScope(False):
            new = (kind or type(layer)).from_config(config)
    except TypeError as error:
        raise _not_remade(layer) from error
    for key, function in functions.items():
        if function.__name__ == "<lambda>":
            setattr(new, key, function)
    if hasattr(layer, "save_assets"):  # such as the vocabulary of a text layer, which is not a weight
        with tempfile.TemporaryDirectory() as folder:
            layer.save_assets(folder)
            new.load_assets(folder)
    return new


def _check_settings(layer: Any, parts: Iterable[tuple[Any, Any]]) -> None:
    """Raise a `TfnormError` if the copy of a person's own layer, or of a part of it, lacks one of its settings.

    A ``get_config`` that leaves an argument out makes another layer without a word. So does a number that is set, or
    drawn, after the layer was made.
    """
    plain = vars(keras.Layer())
    for old, new in parts:
        for key, value in vars(old).items():
            if key not in plain and not _is_same(value, vars(new).get(key)):
                raise TfnormError(
                    f"A copy of {type(layer).__name__} {layer.name!r} made from its configuration is another layer: "
                    f"`{key}` of {old.name!r} is {value!r:.60}, and {vars(new).get(key)!r:.60} in the copy. Let its "
                    "get_config return all arguments of its __init__, and let it set or draw nothing else."
                )


def _is_same(old: Any, new: Any) -> bool:
    """Return whether a setting is the same, or of a kind that cannot be compared, such as a layer."""
    if isinstance(old, np.ndarray) or keras.ops.is_tensor(old):
        return np.array_equal(keras.ops.convert_to_numpy(old), keras.ops.convert_to_numpy(new))
    if isinstance(old, (list, tuple)):
        return isinstance(new, (list, tuple)) and len(old) == len(new) and all(map(_is_same, old, new))
    return not isinstance(old, (bool, int, float, str)) or old == new or old != old  # NaN


def arguments_of(kind: type) -> set[str]:
    """Return the names of the arguments of a class, those that it hands to its parents among them."""
    names: set[str] = set()
    for parent in kind.__mro__:
        if "__init__" in vars(parent):
            parameters = inspect.signature(vars(parent)["__init__"]).parameters
            names |= set(parameters)
            if parent is keras.Layer or all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
                break
    return names


def config_of(layer) -> dict[str, Any]:
    """Return the configuration of ``layer``, or raise a `TfnormError` that says what it needs."""
    try:
        return layer.get_config()
    except NotImplementedError as error:
        raise _not_remade(layer) from error


def _not_remade(layer: Any) -> TfnormError:
    return TfnormError(
        f"{type(layer).__name__} {layer.name!r} cannot be made again from its configuration. Give the class a "
        "get_config that returns the arguments of its __init__, and the __init__ **kwargs that it passes on."
    )


def _of_class(kind: Any, model: Any, *graph: Any) -> Any:
    """Return a model of a graph like ``model``, of a class if its __init__ takes a graph, or else of Keras's own."""
    if isinstance(model, keras.Sequential):
        own = kind if kind.__init__ is keras.Sequential.__init__ else keras.Sequential
        return own(*graph, name=model.name)
    config = {} if kind.get_config is Functional.get_config else config_of(model)
    settings = {key: value for key, value in config.items() if key not in _OF_THE_GRAPH}
    # Keras does not look at arguments that are given by name alone, which the configuration must have.
    lost = not settings and inspect.getfullargspec(kind.__init__).kwonlyargs
    if functional_like_constructor(kind) and not lost:
        try:
            made = kind(*graph, name=model.name, **settings)
        except Exception:  # an __init__ that takes something else by *args
            made = None
        if isinstance(made, Functional) and list(map(id, made.outputs)) == list(map(id, keras.tree.flatten(graph[1]))):
            return made
    return keras.Model(*graph, name=model.name)


def _warn_of_what_is_lost(pairs: list[tuple[Any, Any]], class_of: Callable[[keras.Model], type]) -> None:
    """Say what models have that their copies have not: their class, and weights that belong to no layer."""
    plain = [old for old, new in pairs if not isinstance(new, class_of(old))]
    if plain:
        methods = sorted({name for model in plain for name in own_methods(type(model))})
        lost = f" These methods of the class are left out: {', '.join(methods)}." if methods else ""
        warnings.warn(
            "The class of these models is not kept, because its __init__ takes other arguments than Keras's: "
            f"{_named(plain)}. They become plain models with the same graph and the same weights.{lost}",
            stacklevel=4,
        )
    poorer = [old for old, new in pairs if len(_own(old)) > len(_own(new))]
    if poorer:
        warnings.warn(
            f"These models have weights that belong to none of their layers: {_named(poorer)}. Those weights are left "
            "out. Give them to a layer that the model calls, to keep them.",
            stacklevel=4,
        )


def _named(models: list[Any]) -> str:
    return ", ".join(f"{model.name!r} ({type(model).__name__})" for model in models)


def own_methods(kind: type) -> Iterator[str]:
    """Yield the names of Keras's methods of models that a class has replaced by its own."""
    base = keras.Sequential if issubclass(kind, keras.Sequential) else Functional
    for name in dir(base):
        own, given = (inspect.getattr_static(each, name) for each in (kind, base))
        if not name.startswith("_") and isinstance(given, FunctionType) and own is not given and name not in _OF_MAKING:
            yield name


def output_names(old: keras.Model, new: keras.Model) -> dict[str, str]:
    """Return the names of the outputs of a copy by those of ``old``, if its outputs have names."""
    if not isinstance(old, Functional) or isinstance(old._outputs_struct, dict):
        return {}
    return dict(zip(old.output_names, new.output_names, strict=True))


def is_container(layer) -> bool:
    """Return whether the layers inside ``layer`` are copied one by one, rather than by its configuration."""
    return computes_its_graph(layer) or type(layer) is keras.layers.TimeDistributed


def _copied(layer, make: Callable[[Any], Any], made: Made, class_of: Callable[[keras.Model], type]):
    """Return the one copy of a layer, model or operation, and enter both into ``made``."""
    if id(layer) in made:
        return made[id(layer)][1]
    new: Any

    def copied(inner):
        return _copied(inner, make, made, class_of)

    def called(operation):
        twin = copied(operation)
        # What a `__call__` of its own class adds is in the graph already.
        return functools.partial(keras.Layer.__call__, twin) if isinstance(twin, keras.Layer) else twin

    if isinstance(layer, keras.layers.InputLayer):
        new = remake(layer, config=input_config(layer))
    elif isinstance(layer, keras.Sequential) and computes_its_graph(layer):
        # `layers` leaves the input out.
        inner_layers = [part for inner in layer._layers for part in _parts(copied(inner))]
        new = _of_class(type(layer), layer, inner_layers)
    elif computes_its_graph(layer):
        inputs = keras.tree.map_structure(lambda tensor: copied(tensor._keras_history.operation).output, layer.input)
        outputs = layer._run_through_graph(inputs, operation_fn=called)
        new = _of_class(class_of(layer), layer, inputs, outputs)
    elif is_container(layer):
        config = {key: value for key, value in layer.get_config().items() if key != "layer"}
        (inner_layer,) = _parts(copied(layer.layer))
        new = type(layer)(inner_layer, **config)
    else:
        new = make(layer)
        # Operations such as x + 1 do not keep their name in the configuration.
        if not isinstance(new, Chain) and new.name != layer.name:
            new.name = layer.name
    for part in _parts(new) if isinstance(layer, keras.Layer) else ():
        part._dtype_policy = layer.dtype_policy  # not in the configuration of a model or an input
    made[id(layer)] = layer, new
    return new


def _parts(new) -> tuple[Any, ...]:
    return new.layers if isinstance(new, Chain) else (new,)


def _carry_state(old, new) -> None:
    """Give ``new`` what ``old`` has besides weights."""
    # The setters would reach into the layers inside, which may differ from their model.
    new._trainable = old._trainable
    # A dropout whose rate was set to 0 after it was made is made again without the seed that it no longer needs.
    for part, new_part in zip(old._seed_generators, new._seed_generators, strict=False):
        copy_value(part.state, new_part.state)
    for variable, new_variable in zip(*_own_variables(old, new), strict=True):
        new_variable.trainable = variable.trainable
    if isinstance(new, keras.layers.Normalization):
        new.finalize_state()  # its mean is a constant, taken from the weights


def _own(layer: Any) -> list[Any]:
    return list(layer._trainable_variables + layer._non_trainable_variables)


def _own_variables(old: Any, new: Any) -> tuple[list[Any], list[Any]]:
    """Return the variables of a layer and of its copy without those of layers inside; none where a model lost some."""
    own, new_own = _own(old), _own(new)
    return ([], []) if is_container(old) and len(own) != len(new_own) else (own, new_own)


def copy_value(old: Any, new: Any) -> None:
    """Set the variable ``new`` to a copy of ``old``: JAX would share the array, which training deletes."""
    new.assign(np.array(old.numpy()))


def _compile_like(old: keras.Model, new: keras.Model, twins: dict[int, Any], *, with_state: bool) -> None:
    """Compile ``new`` as ``old`` is. ``twins`` are the new variables by the id of the old ones."""
    if type(old).compile is not keras.Model.compile and type(new) is type(old):
        new.compile_from_config(old.get_compile_config())
        return
    settings = dict(old._compile_config.config)
    for key in ("metrics", "weighted_metrics"):
        settings[key] = keras.tree.map_structure(
            lambda metric: remake(metric) if isinstance(metric, keras.metrics.Metric) else metric, settings[key]
        )
    renamed = output_names(old, new)
    for key in ("loss", "loss_weights", "metrics", "weighted_metrics"):
        if isinstance(settings[key], dict):
            settings[key] = {renamed.get(name, name): part for name, part in settings[key].items()}
    optimizer = old.optimizer and remake(old.optimizer)
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    new.compile(**(settings | {"optimizer": optimizer}), auto_scale_loss=scaled)
    if optimizer is None:
        return
    pairs = [(variable, twins[id(variable)]) for variable in old.variables if id(variable) in twins]
    carry_exclusions(old.optimizer, new.optimizer, pairs)
    if with_state and old.optimizer.built:
        new.optimizer.build([twins.get(id(variable), variable) for variable in old.optimizer._trainable_variables])
        for variable, new_variable in zip(old.optimizer.variables, new.optimizer.variables, strict=True):
            copy_value(variable, new_variable)


def carry_exclusions(old: Any, new: Any, pairs: list[tuple[Any, Any]]) -> None:
    """Exclude from weight decay what ``old`` does, given old and new variables: no configuration has it."""
    new._exclude_from_weight_decay_pattern = getattr(old, "_exclude_from_weight_decay_pattern", None)
    excluded = getattr(old, "_exclude_from_weight_decay", ())
    new._exclude_from_weight_decay = {new._var_key(twin) for own, twin in pairs if old._var_key(own) in excluded}
    if isinstance(old, keras.optimizers.LossScaleOptimizer):
        carry_exclusions(old.inner_optimizer, new.inner_optimizer, pairs)
