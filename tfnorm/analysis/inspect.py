"""A network given by its name or its file, as the command line takes it."""

from __future__ import annotations

import shlex
from pathlib import Path
from zipfile import BadZipFile

from tfnorm.analysis.measure import summary
from tfnorm.analysis.plans import plan_layers
from tfnorm.analysis.rows import Layers
from tfnorm.errors import ArchitectureError, first_line, whole_number
from tfnorm.models.plan import plan
from tfnorm.spec import parse


def inspect_architecture(
    arch: str, norm: str = "bn", *, input_shape: str | None = None, num_classes: int = 10, batch_size: int = 1
) -> Layers:
    """Return the layers of an architecture, without importing Keras.

    Args:
        arch: Its name.
        norm: A norm spec.
        input_shape: Such as "28x28x1"; default the architecture's.
        num_classes: Number of logits.
        batch_size: Images a step, for the memory of activations.

    Example:
        >>> inspect_architecture("mnist_7k", "ln").parameters
        41874
    """
    batch_size = whole_number("batch_size", batch_size)
    shape = None if input_shape is None else parse_shape(input_shape)
    return plan_layers(plan(arch, parse(norm), input_shape=shape, num_classes=num_classes), batch_size)


def inspect_file(path: str, *, input_shape: str | None = None, batch_size: int = 1) -> Layers:
    """Return the layers of a saved Keras model.

    Args:
        path: A .keras or .h5 file.
        input_shape: Such as "224x224x3", for a model that leaves it open.
        batch_size: Images a step, for the memory of activations.
    """
    if not Path(path).is_file():
        raise ArchitectureError(f"There is no file {path!r}. Give a .keras file, or an architecture's name.")
    import keras

    import tfnorm.layers
    import tfnorm.regularizers  # noqa: F401 - registers the classes in the file

    try:
        model = keras.models.load_model(path, compile=False)
    except (ValueError, OSError, TypeError, KeyError, BadZipFile) as error:
        raise ArchitectureError(
            f"The file {path!r} is no Keras model that can be opened: {first_line(error)}. "
            "If Keras 2 or tensorflow-addons wrote it, inspect what "
            f"`tfnorm convert {shlex.quote(path)} OUT.keras --from-tfa` writes."
        ) from None
    shape = None if input_shape is None else parse_shape(input_shape)
    layers = summary(model, input_shape=shape, batch_size=batch_size)
    return Layers(f"{model.name} ({path})", layers.rows, batch_size)


def parse_shape(text: str) -> tuple[int, int, int]:
    """Return a shape given as "28x28x1".

    Example:
        >>> parse_shape("28x28x1")
        (28, 28, 1)
    """
    try:
        height, width, channels = (int(side) for side in text.lower().split("x"))
    except ValueError:
        raise ArchitectureError(f"The input shape must look like 28x28x1. Received: {text!r}.") from None
    return height, width, channels
