"""Networks as rows of a table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from tfnorm.errors import ArchitectureError
from tfnorm.models.plan import plan
from tfnorm.spec import parse


@dataclass(frozen=True)
class Row:
    """A layer: its name, kind, output shape without the batch axis, and trainable parameters."""

    name: str
    kind: str
    shape: tuple[int | None, ...]
    parameters: int


def plan_rows(arch: str, norm: str, input_shape: str | None, num_classes: int) -> tuple[str, list[Row]]:
    """Return title and rows of an architecture, without importing Keras.

    Args:
        arch: Its name.
        norm: A norm spec.
        input_shape: Such as "28x28x1", or None.
        num_classes: Number of logits.
    """
    shape = None
    if input_shape is not None:
        try:
            shape = tuple(int(side) for side in input_shape.lower().split("x"))
        except ValueError:
            shape = ()
        if len(shape) != 3:
            raise ArchitectureError(f"The input shape must look like 28x28x1. Received: {input_shape!r}.")
    network = plan(arch, parse(norm), input_shape=shape, num_classes=num_classes)
    rows = [
        Row(layer.name, layer.kind, layer.shape, sum(math.prod(shape) for shape in layer.weights.values()))
        for layer in network.layers
    ]
    return f"{network.arch.name}, {network.spec}", rows


def file_rows(path: str) -> tuple[str, list[Row]]:
    """Return title and rows of a saved Keras model."""
    if not Path(path).is_file():
        raise ArchitectureError(f"There is no file {path!r}. Give a .keras file, or an architecture's name.")
    import keras

    import tfnorm.layers
    import tfnorm.regularizers  # noqa: F401 - registers the classes in the file

    try:
        model = keras.models.load_model(path, compile=False)
    except (ValueError, OSError, TypeError) as error:
        raise ArchitectureError(f"The file {path!r} is no Keras model that can be opened: {error}") from None
    rows = [
        Row(
            layer.name,
            type(layer).__name__,
            tuple(layer.output.shape[1:]) if hasattr(layer.output, "shape") else (),
            sum(math.prod(weight.shape) for weight in layer.trainable_weights),
        )
        for layer in model.layers
    ]
    return f"{model.name} ({path})", rows
