"""Receptive fields, parameters, multiply-adds and activation memory of a model, layer by layer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras

from tfnorm.analysis.costs import multiply_adds_of_call
from tfnorm.analysis.reading import VIEWS, read_call
from tfnorm.analysis.table import Layers, Row, activation_bytes
from tfnorm.analysis.trace import Shape, Trace, image
from tfnorm.analysis.windows import SLIDING
from tfnorm.convert.graph import Call, check_graph, walk
from tfnorm.errors import TfnormError, unknown, whole_number


def summary(
    model: keras.Model,
    *,
    batch_size: int = 1,
    input_shape: Sequence[int] | None = None,
    input_name: str | None = None,
    pointwise: Sequence[type] = (),
) -> Layers:
    r"""Return a table of a model's layers: receptive fields, parameters, multiply-adds and activation memory.

    The receptive field of a unit is the smallest window of the image, along each axis, outside of which no pixel
    changes the unit. After windows of size k, stride s and dilation d it is

    .. math:: r \leftarrow r + d (k - 1) j, \quad j \leftarrow j s

    from r = j = 1 for the pixels. The jump j, from one unit's field to the next, is negative in a mirror image. The
    field is followed exactly through any graph. Where branches meet, it reaches from the first to the last pixel that
    one of them reads. Transposed convolutions and upsampling divide the jump; where fields then differ from place to
    place, the largest counts. Padding counts as pixels, so a field may be larger than the image. Units after global
    pooling read everything, and units of attention all that they attend to.

    As in the literature, the statistics of norms do not count. With layer, group, instance and filter response
    normalization each unit depends on the whole image; such rows are marked. Layers that are not known are listed in
    ``notes``, and after them the field is unknown.

    Multiply-adds are those of products of matrices (convolutions, dense, recurrent and attention layers) for one image,
    which papers often call FLOPs. Activation memory adds up the outputs of all layers in their precision, as training
    keeps them for the gradients. Outputs that only have another shape and the images themselves do not count.

    Args:
        model: A functional or sequential model, with nested models, shared layers and any number of inputs.
        batch_size: Images a step, for the activation memory; at least 1.
        input_shape: Shape of one image, such as (224, 224, 3), for a model that leaves it open.
        input_name: The input that is the image, for a model with several; by default the first with three axes.
        pointwise: Classes of layers of your own, each unit of whose output reads one unit of its input, or one at
            the same place of each input. Their multiply-adds count as none.

    Returns:
        The rows, a sequence; ``to_frame()`` gives a `pandas.DataFrame`, ``summary(model)["conv1"]`` one row.

    Raises:
        TfnormError: If the model is a subclass of its own or not built yet, or an argument does not fit it.

    Example:
        >>> table = summary(tfnorm.build("cifar_plain"), batch_size=64)
        >>> table["convblock2_conv3"].receptive_field, table["convblock2_conv3"].jump
        ((18, 18), (2, 2))
        >>> table.parameters, table.multiply_adds
        (49808, 10133824)

    References:
        Araujo, Norris and Sim, 2019, doi 10.23915/distill.00021.
    """
    batch_size = whole_number("batch_size", batch_size)
    classes = tuple(pointwise)
    if not all(isinstance(kind, type) for kind in classes):
        raise TfnormError(f"`pointwise` must hold classes of layers, such as [MyLayer]. Received: {classes!r}.")
    check_graph(model)
    chosen = _image_input(model, input_name)
    values = []
    for tensor in model.inputs:
        shape, axes = tuple(tensor.shape[1:]), range(0)
        if tensor is chosen:
            shape = _closed(shape, input_shape)
            axes = _image_axes(model, len(shape))
        values.append(image(shape, axes, str(tensor.dtype)))
    rows = [Row(_name(tensor), "InputLayer", value) for tensor, value in zip(model.inputs, values, strict=True)]

    def visit(call: Call) -> list[Trace]:
        outputs = read_call(call, classes)
        rows.append(_row(call, outputs, classes))
        return outputs

    walk(model, values, visit)
    return Layers(model.name, tuple(rows), batch_size)


def receptive_field(
    model: keras.Model,
    *,
    input_shape: Sequence[int] | None = None,
    input_name: str | None = None,
    pointwise: Sequence[type] = (),
) -> Layers:
    """Return a table of the receptive fields of a model's layers: size, jump, start, padding, along each axis.

    Size and jump are in pixels; ``start`` is the centre of the first unit's field (pixel 0 has its centre at 0.5) and
    ``padding`` how far that field begins beyond the image's edge (0 or less if it does not). Padding "same" with a
    stride depends on the image's size: start and padding are None, shown as "?", where that is open. The definition,
    the arguments and the errors are those of `summary`.

    Example:
        >>> import keras
        >>> vgg = keras.applications.VGG16(weights=None, include_top=False, input_shape=(224, 224, 3))
        >>> row = receptive_field(vgg)["block5_pool"]
        >>> row.receptive_field, row.jump, row.start, row.padding
        ((212, 212), (32, 32), (16.0, 16.0), (90, 90))
    """
    table = summary(model, input_shape=input_shape, input_name=input_name, pointwise=pointwise)
    return Layers(f"receptive fields of {table.title}", table.rows, fields_only=True)


def multiply_adds(
    model: keras.Model, *, input_shape: Sequence[int] | None = None, pointwise: Sequence[type] = ()
) -> int:
    """Return the multiply-adds of a model for one image: one multiplication and one addition each.

    What counts, and the arguments, are explained at `summary`. If a layer's multiply-adds are not known, a warning
    names it, and the result is the sum of all others.

    Raises:
        TfnormError: If the model leaves the shape of its images open and ``input_shape`` is not given; see also
            `summary`.

    Example:
        >>> multiply_adds(tfnorm.build("mnist_7k"))
        1082048
    """
    table = summary(model, input_shape=input_shape, pointwise=pointwise)
    uncounted = [row for row in table if row.multiply_adds is None]
    notes = " ".join(dict.fromkeys(row.notes[-1] for row in uncounted))  # the one on the field, if any, comes first
    if any(None in row.shape for row in uncounted):
        raise TfnormError(notes)
    if uncounted:
        warnings.warn(
            f"{notes} The result is the sum of all other layers. Name layers that multiply nothing in `pointwise`.",
            stacklevel=2,
        )
    return table.multiply_adds


def flops(model: keras.Model, *, input_shape: Sequence[int] | None = None, pointwise: Sequence[type] = ()) -> int:
    """Return the floating point operations of a model for one image: two for each of its `multiply_adds`.

    Papers often give multiply-adds under the name of FLOPs; profilers count as here. See `multiply_adds`.

    Example:
        >>> flops(tfnorm.build("mnist_7k"))
        2164096
    """
    return 2 * multiply_adds(model, input_shape=input_shape, pointwise=pointwise)


def _row(call: Call, outputs: list[Trace], pointwise: tuple[type, ...]) -> Row:
    layer, trace = call.operation, outputs[0]
    kind = type(layer).__name__
    notes = []
    if trace.unknown and not any(one.unknown for one in call.inputs):
        notes.append(f"From {call.name!r} ({kind}) on, the receptive field is not known: {trace.unknown}.")
    multiply_adds = multiply_adds_of_call(call, trace.shape)
    if multiply_adds is None and isinstance(layer, pointwise):
        multiply_adds = 0
    if multiply_adds is None and any(None in one.shape for one in (*call.inputs, trace)):
        notes.append("Multiply-adds and activations of layers with an open shape are not counted: give `input_shape`.")
    elif multiply_adds is None:
        notes.append(f"The multiply-adds of {call.name!r} ({kind}) are not counted: its class is not known here.")
    trainable = others = 0
    if call.first and isinstance(layer, keras.Layer):
        trainable, others = _count(layer.trainable_weights), _count(layer.non_trainable_weights)
    sizes = [activation_bytes(one.shape, one.dtype) for one in outputs]
    kept = None if None in sizes else sum(size or 0 for size in sizes)
    if isinstance(layer, (*VIEWS, keras.layers.Identity)):
        kept = 0
    return Row(call.name, kind, trace, trainable, others, multiply_adds, kept, tuple(notes))


def _count(weights: list[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def _image_input(model: keras.Model, name: str | None) -> Any:
    """Return the input called ``name``; by default the first of rank 3 or more, as images have, or the first."""
    if name is None:
        return next((tensor for tensor in model.inputs if len(tensor.shape) > 3), model.inputs[0])
    names = [_name(tensor) for tensor in model.inputs]
    if name not in names:
        raise TfnormError(unknown("input", name, names))
    return model.inputs[names.index(name)]


def _name(tensor: Any) -> str:
    """Return the name of the input layer that gives a tensor."""
    return tensor._keras_history.operation.name


def _closed(shape: Shape, given: Sequence[int] | None) -> Shape:
    """Return the shape with its open sides as given."""
    if given is None:
        return shape
    given = tuple(given)
    if len(given) != len(shape) or not all(
        isinstance(new, int) and new > 0 and old in (None, new) for old, new in zip(shape, given, strict=True)
    ):
        raise TfnormError(
            f"`input_shape` must give every side of the model's input {shape}, without the batch axis, and change only "
            f"those that are None. Received: {given}."
        )
    return given


def _image_axes(model: keras.Model, rank: int) -> range:
    """Return the axes of an input that are not channels, as the model's first layer with a window sees it."""
    first = next((layer for layer in model._flatten_layers() if isinstance(layer, SLIDING)), None)
    if first is None:
        return range(max(rank - 1, 0))
    if rank == len(first.strides):
        return range(rank)  # images without a channel axis, which the model adds
    return range(1, rank) if first.data_format == "channels_first" else range(rank - 1)
