"""A network given by its name, its file or what makes it, as the command line takes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfnorm.analysis.plans import plan_layers
from tfnorm.analysis.table import Layers
from tfnorm.errors import ArchitectureError, whole_number
from tfnorm.models.planner import plan
from tfnorm.models.saved import open_model, own_objects
from tfnorm.models.sources import Source
from tfnorm.own_code.imports import check_imports
from tfnorm.spec import parse

if TYPE_CHECKING:
    from tfnorm.convert import Report


def inspect_architecture(
    arch: str, norm: str = "bn", *, input_shape: str | None = None, num_classes: int = 10, batch_size: int = 1
) -> Layers:
    """Return the layers of an architecture with a norm, without importing Keras.

    ``input_shape`` is text such as "28x28x1"; by default it is the architecture's.

    Example:
        >>> inspect_architecture("mnist_7k", "ln").parameters
        41874
    """
    batch_size = whole_number("batch_size", batch_size)
    shape = None if input_shape is None else parse_shape(input_shape)
    if shape is not None and len(shape) != 3:
        raise ArchitectureError(f"The input shape must look like 28x28x1. Received: {input_shape!r}.")
    return plan_layers(plan(arch, parse(norm), input_shape=shape, num_classes=num_classes), batch_size)


def inspect_file(
    path: str,
    *,
    input_shape: str | None = None,
    batch_size: int = 1,
    imports: Sequence[str] = (),
    allow_lambda: bool = False,
) -> Layers:
    """Return the layers of a saved Keras model, see `inspect_saved`."""
    given = {"input_shape": input_shape, "batch_size": batch_size, "imports": imports, "allow_lambda": allow_lambda}
    return inspect_saved(path, **given)[0]  # type: ignore[arg-type]


def inspect_saved(
    path: str,
    *,
    input_shape: str | None = None,
    batch_size: int = 1,
    imports: Sequence[str] = (),
    allow_lambda: bool = False,
) -> tuple[Layers, Report]:
    """Return the layers of a saved Keras model, and where its norms are, or where a spec would put norms.

    Args:
        path: A .keras or .h5 file.
        input_shape: Such as "224x224x3", "128x16" for sequences or "16x64x64x1" for volumes, for a model that leaves it
            open.
        batch_size: Images a step, for the memory of activations.
        imports: Modules and Python files with layers of your own in the file.
        allow_lambda: Whether to run the code of Lambda layers in the file.
    """
    from tfnorm.analysis.measure import summary  # start-up
    from tfnorm.convert.graph import computes_its_graph  # start-up
    from tfnorm.convert.report import Report  # start-up
    from tfnorm.convert.variants.variant import norm_places  # start-up

    if not Path(path).is_file():
        raise ArchitectureError(f"There is no file {path!r}. Give a .keras file, or an architecture's name.")
    check_imports(imports)
    with own_objects(imports):
        model = open_model(path, imports=imports, allow_lambda=allow_lambda, compiled=False, error=ArchitectureError)
    shape = None if input_shape is None else parse_shape(input_shape)
    layers = summary(model, input_shape=shape, batch_size=batch_size)
    report = norm_places(model) if computes_its_graph(model) else Report(())
    return Layers(f"{model.name} ({path})", layers.rows, batch_size), report


def inspect_source(
    source: Source,
    norm: str | None = None,
    *,
    input_shape: str | None = None,
    num_classes: int | None = None,
    batch_size: int = 1,
) -> tuple[Layers, Report, tuple[str, ...]]:
    """Return the layers of a network of one's own, what a spec does to its norms, and notes about it.

    Args:
        source: What makes the network.
        norm: A spec, to see the network under it. By default the network is as it is, and the report says where its
            norms are, or where a spec would put norms.
        input_shape: Such as "224x224x3", for a network that takes it.
        num_classes: For a network that takes it.
        batch_size: Images a step, for the memory of activations.

    Example:
        >>> from tfnorm.models.sources import source_of
        >>> source = source_of("applications:MobileNetV2")
        >>> layers, report, _ = inspect_source(source, input_shape="32x32x3", num_classes=10)
        >>> layers["bn_Conv1"].shape, len(report.changes)
        ((16, 16, 32), 52)
    """
    from tfnorm.analysis.measure import summary  # start-up
    from tfnorm.convert import Report, make_variant  # start-up
    from tfnorm.convert.variants.variant import norm_places  # start-up

    if norm is None and not source.has_own_norm:
        raise ArchitectureError(
            f"The parameter `norm` of {source.name} has no default. Say which norm it gets, with --norm, or `norm` in "
            "Python."
        )
    shape = None if input_shape is None else parse_shape(input_shape)
    variant = make_variant(source, norm or "keep", seed=0, num_classes=num_classes, input_shape=shape)
    layers = summary(variant.model, input_shape=shape, batch_size=batch_size)
    report = norm_places(variant.model) if norm is None else Report(variant.changes, variant.kept)
    under = "" if norm is None else f", {norm}"
    return Layers(f"{variant.model.name} ({source.name}){under}", layers.rows, batch_size), report, variant.notes


def parse_shape(text: str) -> tuple[int, ...]:
    """Return a shape given as "28x28x1", with any number of sides.

    Example:
        >>> parse_shape("28x28x1"), parse_shape("128x16")
        ((28, 28, 1), (128, 16))
    """
    sides = text.lower().split("x")
    if not all(side.strip().isdecimal() and int(side) > 0 for side in sides):
        raise ArchitectureError(
            "The input shape must be whole numbers with x between them, such as 28x28x1 for images, 128x16 for "
            f"sequences or 16x64x64x1 for volumes. Received: {text!r}."
        )
    return tuple(int(side) for side in sides)
