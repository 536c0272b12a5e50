"""Any Keras model as a network: what makes it, how it is named in records, and when it is another one."""

from __future__ import annotations

import functools
import inspect
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfnorm.errors import ArchitectureError, check_keras_3
from tfnorm.models.applications import (
    APPLICATIONS,
    check_application,
    check_kerashub,
    make_application,
    make_kerashub,
    nearest_application,
)
from tfnorm.models.architectures import ARCHITECTURES
from tfnorm.models.saved import open_model, own_objects, was_compiled
from tfnorm.own_code.functions import OwnFunction, Purpose, function_of, names_a_function
from tfnorm.own_code.imports import check_imports, check_unchanged, file_hash, is_file_name, own_error

if TYPE_CHECKING:
    import keras

#: What a function that makes a model may take, by these names.
PARAMETERS = ("norm", "input_shape", "num_classes")
FORMS = "a function, FILE.py:FUNCTION, package.module:FUNCTION, a .keras file, applications:NAME or kerashub:PRESET"
_MODEL = Purpose("model", PARAMETERS, FORMS, ArchitectureError)
# Variables of models that functions have made, while they are there: a second model must not share any.
_MADE: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


@dataclass(frozen=True)
class Source:
    """What makes a network. `source_of` returns one.

    Args:
        name: What messages call it.
        text: What `source_of` takes in another process to make the same network; None where there is no such text.
        why_no_text: Why there is none, as a sentence; "" if there is one.
        fingerprint: The hash of the file that makes it, or is it; "" for networks that are part of a library.
        weights: The initial weights that were asked for, or None.
        files: The files that are read to make the model. They must not change until then.
        imports: Modules and Python files with layers of your own that a saved model needs, files with their whole path.
    """

    name: str
    text: str | None
    why_no_text: str = ""
    fingerprint: str = ""
    weights: str | None = None
    files: tuple[Path, ...] = ()
    imports: tuple[str, ...] = ()
    _function: OwnFunction | None = field(default=None, repr=False, compare=False)
    _maker: Callable[..., Any] = field(default=lambda **sizes: None, repr=False, compare=False)

    @property
    def short_name(self) -> str:
        """What tells it apart, without the folder of its file.

        Example:
            >>> source_of("applications:ResNet50").short_name
            'applications:ResNet50'
        """
        before, path, after = self._parts()
        return before + ("" if path is None else path.name) + after

    @property
    def portable_text(self) -> str:
        """Its text with the whole path of its file, for a process that runs in another folder."""
        before, path, after = self._parts()
        return before + ("" if path is None else str(path.resolve())) + after

    def _parts(self) -> tuple[str, Path | None, str]:
        """Return the file or folder in its text, None if there is none, and what is before and after."""
        text = self.text or self.name
        before, _, name = text.rpartition(":")
        if before.endswith(".py"):
            return "", Path(before), f":{name}"
        if text.endswith(".keras"):
            return "", Path(text), ""
        return ("kerashub:", Path(name), "") if before == "kerashub" and self.files else (text, None, "")

    @property
    def was_compiled(self) -> bool:
        """Whether it is a saved model with an optimizer and a loss, known here or not."""
        return (self.text or "").endswith(".keras") and was_compiled(self.files[0])

    @property
    def takes_norm(self) -> bool:
        """Whether it is a function with a parameter ``norm``, which gets a factory. Imports the file of the function.

        Raises:
            ArchitectureError: If that file cannot be imported, or has no such function.
        """
        return "norm" in self._parameters()

    @property
    def has_own_norm(self) -> bool:
        """Whether the model can be made without a factory: its function has no ``norm``, or a default for it."""
        parameters = self._parameters()
        return "norm" not in parameters or parameters["norm"].default is not inspect.Parameter.empty

    def make(
        self,
        *,
        seed: int,
        num_classes: int | None = None,
        input_shape: Sequence[int] | None = None,
        norm: Callable[..., Any] | None = None,
    ) -> keras.Model:
        """Return the model. Initial weights depend on ``seed`` alone, and names on nothing that was made before.

        Args:
            seed: Of `keras.utils.set_random_seed`, which is called before the model is made.
            num_classes: Number of logits, for a function that takes it and for networks of libraries.
            input_shape: (height, width, channels) of the images, likewise. A model for another size is refused.
            norm: The factory for a function with a parameter ``norm``. By default it is not passed.

        Raises:
            ArchitectureError: If there is no such function, if it fails, or if it returns no Keras model of Keras 3
                that takes these images. An error of its own code is told with its file and line.
        """
        import keras  # start-up

        from tfnorm._keras import names_from_the_start  # start-up

        check_unchanged(self.name, self.files, self.fingerprint, ArchitectureError)
        shape = None if input_shape is None else tuple(input_shape)
        if self._function is not None:
            self._function.load()  # an import may draw random numbers
        with names_from_the_start():
            keras.utils.set_random_seed(seed)
            if self._function is not None:
                model = self._function.call({"norm": norm, "input_shape": shape, "num_classes": num_classes})
            else:
                model = self._maker(input_shape=shape, num_classes=num_classes)
            self._check_model(model)
            if shape is not None:
                self._check_images(model, shape)
        return model

    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        return {} if self._function is None else self._function.parameters()

    def _check_model(self, model: Any) -> None:
        """Raise an `ArchitectureError` unless ``model`` is a new one of Keras 3."""
        import keras  # start-up

        check_keras_3(model)
        if not isinstance(model, keras.Model):
            raise ArchitectureError(
                f"{self.name} must return a Keras model. Received: {type(model).__name__}. Return a keras.Model."
            )
        shared = [variable.path for variable in model.variables if _MADE.get(id(variable)) is variable]
        if shared:
            raise ArchitectureError(
                f"{self.name} uses weights again that it has given to another model: {shared[0]}. Make all layers "
                "inside the function, so that each run has its own."
            )
        _MADE.update({id(variable): variable for variable in model.variables})

    def _check_images(self, model: Any, shape: tuple[int, ...]) -> None:
        """Raise an `ArchitectureError` unless ``model`` takes images of ``shape``; build a `Sequential` for them."""
        import keras  # start-up

        if isinstance(model, keras.Sequential) and not model.built:
            try:
                model.build((None, *shape))
            except Exception as raised:
                raise own_error(f"{self.name}, for images of {_sides(shape)},", raised, ArchitectureError) from None
            _MADE.update({id(variable): variable for variable in model.variables})
        inputs = getattr(model, "inputs", None) or []
        if len(inputs) != 1:
            return
        takes = tuple(inputs[0].shape[1:])
        if len(takes) != len(shape) or any(side not in (None, given) for side, given in zip(takes, shape, strict=True)):
            sized = "input_shape" in self._parameters()
            how = "Let it use its `input_shape`" if sized else "Give the function a parameter `input_shape`"
            how = how if self._function is not None else "Give another model"
            raise ArchitectureError(
                f"{self.name} makes a model for inputs of {_sides(takes)}, and the images are {_sides(shape)}. {how}, "
                "or images of that size."
            )


def is_application(text: str) -> bool:
    """Return whether a text, no architecture, is the name of a network of `keras.applications` without its prefix."""
    return text not in ARCHITECTURES and text.lower() in {name.lower() for name in APPLICATIONS}


def source_of(
    model: Any, *, weights: str | None = None, imports: str | Sequence[str] | None = None, allow_lambda: bool = False
) -> Source:
    """Return what makes a network, checked as far as it can be without Keras and without running anyone's code.

    Args:
        model: A function that returns a Keras model, or a text: ``FILE.py:FUNCTION``, ``package.module:FUNCTION``, the
            name of a .keras file, ``applications:NAME`` for a network of `keras.applications`, or
            ``kerashub:PRESET``. A `Source` is returned as it is. A function may take ``norm``, ``input_shape``
            and ``num_classes``, by name, any of them or none; a class of models counts as a function.
        weights: Initial weights: "imagenet" or a file of weights for ``applications:``; "fresh" for a .keras file or
            KerasHub, whose own weights are the start by default. Functions take none.
        imports: Modules and Python files that define layers of your own in a .keras file. They are imported when the
            file is opened.
        allow_lambda: Whether to run the code of Lambda layers in a .keras file.

    Raises:
        TfnormError: If there is no such file, function or network, or if something that is given does not belong to it.

    Example:
        >>> source_of("applications:MobileNetV2").make(seed=0, num_classes=5, input_shape=(32, 32, 3)).output_shape
        (None, 5)
        >>> source_of("applications:MobileNetV4")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        tfnorm.errors.ArchitectureError: Unknown network of keras.applications 'MobileNetV4'. Did you mean \
'MobileNetV2'? Use one of: ...
    """
    if isinstance(model, Source):
        return model
    if isinstance(model, os.PathLike):
        model = os.fspath(model)
    imports = [imports] if isinstance(imports, str) else imports or []
    if not isinstance(imports, list | tuple) or not all(isinstance(name, str) for name in imports):
        raise ArchitectureError(f"`imports` must be modules or Python files, as text. Received: imports={imports!r}.")
    text = model.strip() if isinstance(model, str) else ""
    if text.endswith(".keras"):
        return _of_saved_model(text, weights, imports, allow_lambda)
    for key, given in (("imports", imports), ("allow_lambda", allow_lambda)):
        if given:
            raise ArchitectureError(
                f"`{key}` belongs to a .keras file. Received: {key}={given!r} with the model {model!r}. Leave it out."
            )
    if not isinstance(model, str):
        return _of_function(model, weights)
    prefix, colon, name = text.partition(":")
    if colon and prefix == "applications":
        check_application(name, weights)
        maker = functools.partial(make_application, name, weights)
        files = (Path(weights).resolve(),) if weights not in (None, "fresh", "imagenet") else ()
        return Source(text, text, "", file_hash(*files), weights, files, _maker=maker)
    if colon and prefix == "kerashub":
        files = check_kerashub(name, weights)
        maker = functools.partial(make_kerashub, name, weights)
        return Source(text, text, "", file_hash(*files), weights, files, _maker=maker)
    if names_a_function(text):
        return _of_function(text, weights)
    if Path(text).is_dir():
        raise ArchitectureError(f"{text!r} is a folder. As a model, give {FORMS}.")
    if text.endswith((".h5", ".hdf5")):
        raise ArchitectureError(
            f"{text!r} is an HDF5 file, which may hold weights alone. Save the whole model with "
            "model.save('model.keras'), or give a function that makes the model and loads these weights."
        )
    raise ArchitectureError(_unknown_model(text))


def _unknown_model(text: str) -> str:
    guess = nearest_application(text)
    if text in ARCHITECTURES:
        other = f" For that of Keras, give 'applications:{guess}'." if (guess or "").lower() == text else ""
        return f"{text!r} is an architecture of tfnorm. Give it as `arch`, --arch on the command line.{other}"
    hint = f" Did you mean 'applications:{guess}'?" if guess else ""
    return f"Unknown model {text!r}.{hint} Give {FORMS}."


# Text


def _of_saved_model(text: str, weights: str | None, imports: Sequence[str], allow_lambda: bool) -> Source:
    path = _existing(text, "Give the name of a saved model")
    if weights not in (None, "fresh"):
        raise ArchitectureError(
            f"The file {text!r} has weights of its own, which are the start. Received: weights={weights!r}. "
            "Leave them out, or give 'fresh' for new ones."
        )
    files = (path, *check_imports(imports))
    whole = tuple(str(Path(name).resolve()) if is_file_name(name) else name for name in imports)

    def make(input_shape: Any, num_classes: Any) -> Any:
        with own_objects(whole):
            model = open_model(path, imports=imports, allow_lambda=allow_lambda, error=ArchitectureError)
            return _fresh(model) if weights == "fresh" else model

    return Source(text, text, "", file_hash(*files), weights, files, whole, _maker=make)


def _fresh(model: Any) -> Any:
    """Return a model with new weights. What a `Normalization` was adapted to is about data, and stays."""
    import keras  # start-up

    new = type(model).from_config(model.get_config())
    for old_layer, layer in zip(model._flatten_layers(), new._flatten_layers(), strict=True):
        if isinstance(old_layer, keras.layers.Normalization) and old_layer.weights:
            layer.set_weights(old_layer.get_weights())
            layer.finalize_state()
        layer.trainable = old_layer.trainable if not list(layer._layers) else layer.trainable
    if model.compiled:
        new.compile_from_config(model.get_compile_config())
    return new


def _existing(text: str, how: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise ArchitectureError(f"{text!r} is a folder. As a model, give {FORMS}.")
    if not path.is_file():
        raise ArchitectureError(f"There is no file {text!r}. {how}.")
    return path.resolve()


# Functions


def _of_function(model: Any, weights: str | None) -> Source:
    if not isinstance(model, type) and hasattr(model, "get_weights"):
        raise ArchitectureError(
            f"A model itself has one set of weights for all runs. Received: {type(model).__name__}. Give a function "
            "that makes it, or save it and give the .keras file."
        )
    if not callable(model) and not isinstance(model, str):
        raise ArchitectureError(f"A model is {FORMS}. Received: {model!r}.")
    found = function_of(model, _MODEL)
    if weights is not None:
        raise ArchitectureError(
            f"The function {found.name} gives its model weights itself. Received: weights={weights!r}. Leave them out, "
            "and load them in the function."
        )
    return Source(found.name, found.text, found.why_no_text, found.fingerprint, files=found.files, _function=found)


def _sides(shape: Sequence[Any]) -> str:
    return "x".join("any" if side is None else str(side) for side in shape)
