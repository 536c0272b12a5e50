"""How each kind of Keras layer reads its input: what it does to the receptive field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
from keras import layers

from tfnorm._keras import CORE, IMAGE, MATH, NN, OPS, CustomScaleLayer, LayerScale, Merge, StochasticDepth
from tfnorm.analysis.calls import argument_reader, contracted
from tfnorm.analysis.trace import Shape, Trace, along, axes_of, joined, mixed, renumbered, reshaped, unknown
from tfnorm.analysis.windows import WINDOW_READERS, Reader, reduced
from tfnorm.convert.graph import Call, graph_of, walk
from tfnorm.layers import TLU
from tfnorm.layers.create import norm_info


def read(layer: Any, inputs: Sequence[Trace], shape: Shape, pointwise: tuple[type, ...] = ()) -> Trace:
    """Return the trace of a layer's output, of ``shape``, which is without the batch axis.

    Each unit of the classes ``pointwise`` reads one unit of its input, as those of a ReLU do.
    """
    if isinstance(layer, pointwise):
        return _pointwise(layer, inputs, shape)
    if not any(trace.fields for trace in inputs):
        return replace(inputs[0], shape=shape)
    why = next((trace.unknown for trace in inputs if trace.unknown), None)
    if why:
        return unknown(inputs[0], shape, why)
    if graph_of(layer) is not None:  # a model inside another layer, such as TimeDistributed
        return walk(layer, inputs, lambda call: read_call(call, pointwise))[0]
    return (reader_of(layer) or _unknown)(layer, inputs, shape)


def reader_of(layer: Any) -> Reader | None:
    """Return the function that reads a layer's input; None if how it does is not known."""
    found = next((reader for kinds, reader in READERS if isinstance(layer, kinds)), _unknown)
    if found is _unknown and (norm := norm_info(layer)) is not None:
        return _normalized if norm.whole_image else _pointwise
    return None if found is _unknown or not has_known_call(layer) else found


def has_known_call(layer: Any) -> bool:
    """Return whether a layer computes what Keras or tfnorm wrote, and no subclass has changed that."""
    kinds = type(layer).__mro__
    definers = [next(kind for kind in kinds if name in vars(kind)) for name in ("call", "__call__")]
    return all(kind.__module__.split(".")[0] in ("keras", "tfnorm") for kind in definers)


def is_known(layer: Any) -> bool:
    """Return whether how a layer or operation reads its input is known, at least by its arguments."""
    return reader_of(layer) is not None or (argument_reader(layer) is not None and has_known_call(layer))


def read_call(call: Call, pointwise: tuple[type, ...] = ()) -> list[Trace]:
    """Return the traces of a call's outputs."""
    specs, layer, inputs = _output_specs(call), call.operation, call.inputs
    shapes = [spec.shape[1:] for spec in specs]
    known = has_known_call(layer) and not isinstance(layer, pointwise)
    known = known and any(trace.fields for trace in inputs) and not any(trace.unknown for trace in inputs)
    reader = argument_reader(layer) if known else None
    if reader is not None:
        traces = reader(call, shapes)
    else:
        first = read(layer, inputs, shapes[0], pointwise)
        # Further outputs, such as the state of a recurrent layer, have no place for the image's axes.
        traces = [first, *(mixed(first, shape, range(len(shapes[0]))) for shape in shapes[1:])]
    return [replace(one, dtype=str(spec.dtype)) for one, spec in zip(traces, specs, strict=True)]


def _output_specs(call: Call) -> list[Any]:
    """Return shapes and types of a call's outputs: those of the graph, unless its inputs have other shapes here."""
    tensors = call.node.input_tensors
    if all(tensor.shape[1:] == trace.shape for tensor, trace in zip(tensors, call.inputs, strict=True)):
        return call.node.outputs

    def spec(value: Any) -> Any:
        return keras.KerasTensor((None, *value.shape), value.dtype) if isinstance(value, Trace) else value

    args, kwargs = keras.tree.map_structure(spec, (call.args, call.kwargs))
    return keras.tree.flatten(call.operation.compute_output_spec(*args, **kwargs))


def _unknown(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    why = (
        "how it reads its input is not known. If each unit of its output reads one unit of its input, name its class "
        "in `pointwise`"
    )
    return unknown(inputs[0], shape, why)


def _pointwise(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    return joined(inputs, shape)


def _concatenated(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    if any(axes_of(layer.axis, len(shape)) & set(trace.places) for trace in inputs):
        return unknown(inputs[0], shape, "it joins images side by side")
    return joined(inputs, shape)


def _dense(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    return mixed(inputs[0], shape, [len(inputs[0].shape) - 1])


def _einsum(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    (trace,) = inputs
    if "." in layer.equation:
        return _unknown(layer, inputs, shape)
    sources, result = layer.equation.split("->")
    source, kernel = sources.split(",")
    if any(place is not None and source[place + 1] in set(kernel) & set(result) for place in trace.places):
        return _unknown(layer, inputs, shape)
    return contracted(trace, source[1:], result[1:], shape)


def _recurrent(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    trace = _dense(layer, inputs, shape)
    if not layer.return_sequences:
        return mixed(trace, shape, [0])
    return along(trace, shape, lambda place, field: field.with_reach(field))


def _permuted(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    return renumbered(inputs[0], shape, lambda place: layer.dims.index(place + 1))


def _softmax(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    axes = axes_of(layer.axis, len(shape))
    return along(inputs[0], shape, lambda place, field: field.with_reach(field) if place in axes else field)


def _normalized(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    """Return the trace after a norm whose statistics are over some axes of each sample, or over the whole image."""
    axes = axes_of(layer.axis if isinstance(layer, NORMS_OF_AXES) else None, len(shape))
    over = any(place in axes and shape[place] != 1 for place in inputs[0].places if place is not None)
    return replace(inputs[0], shape=shape, context=inputs[0].context or over)


def _time_distributed(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    """Return the trace of a layer applied to each step: the axis of the steps is as it was."""
    (trace,) = inputs
    inner = renumbered(trace, trace.shape[1:], lambda place: place - 1 if place else None)
    result = read(layer.layer, [inner], shape[1:])
    places = [
        0 if old == 0 else new if new is None else new + 1 for old, new in zip(trace.places, result.places, strict=True)
    ]
    fields = [old if place == 0 else new for place, old, new in zip(places, trace.fields, result.fields, strict=True)]
    return replace(result, shape=shape, places=tuple(places), fields=tuple(fields))


def _reduction(operation: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    trace = inputs[0]  # beside it an average may have weights
    axes = axes_of(operation.axis, len(trace.shape))
    return reduced(trace, shape, axes, getattr(operation, "keepdims", False))


def _padded(operation: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    if operation.mode == "wrap":
        return unknown(inputs[0], shape, "it pads with pixels of the other side of the image")
    widths = operation.pad_width
    one = len(widths) == 1  # for all axes
    return along(inputs[0], shape, lambda place, field: field.window(1, before=widths[0 if one else place + 1][0]))


def _operations(module: Any, names: str) -> tuple[type, ...]:
    # Keras has more of them from version to version.
    return tuple(getattr(module, name) for name in names.split() if hasattr(module, name))


ELEMENTWISE = (
    *_operations(
        OPS,
        "Abs Absolute Add Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Cbrt Ceil Clip Copy Cos Cosh Divide "
        "DivideNoNan Equal Exp Exp2 Expm1 Floor FloorDivide Fmax Fmin Fmod Greater GreaterEqual Heaviside Hypot "
        "Isfinite Isinf Isnan Less LessEqual Log Log10 Log1p Log2 Logaddexp Logaddexp2 LogicalAnd LogicalNot LogicalOr "
        "LogicalXor Maximum Minimum Mod Multiply NanToNum Negative NotEqual OnesLike Power Reciprocal Round Sign "
        "Signbit Sin Sinc Sinh Sqrt Square Subtract Tan Tanh TrueDivide Trunc Where ZerosLike",
    ),
    *_operations(
        NN,
        "Celu Elu Gelu HardShrink HardSigmoid HardSilu HardTanh LeakyRelu LogSigmoid Relu Relu6 Selu Sigmoid Silu "
        "SoftShrink Softplus Softsign SparsePlus SparseSigmoid Squareplus TanhShrink Threshold",
    ),
    *_operations(MATH, "Erf Erfc Erfinv Rsqrt"),
    *_operations(CORE, "Cast ConvertToTensor SaturateCast StopGradient"),
    *_operations(IMAGE, "HSVToRGB RGBToGrayscale RGBToHSV"),
)
NORMS_OF_AXES = (layers.LayerNormalization, layers.RMSNormalization, layers.UnitNormalization)
POINTWISE = (
    layers.Activation, layers.ELU, layers.LeakyReLU, layers.PReLU, layers.ReLU, layers.Identity, layers.Masking,
    layers.ActivityRegularization, layers.Dropout, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise,
    layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D, layers.BatchNormalization,
    layers.Normalization, layers.Rescaling, TLU, LayerScale, StochasticDepth, CustomScaleLayer,
)  # fmt: skip
# It lets images pass at inference.
AUGMENTATION = (
    *(kind for name, kind in vars(layers).items() if name.startswith("Rand")),
    layers.AugMix, layers.CutMix, layers.MixUp, layers.Solarization,
)  # fmt: skip
# They give what is there another shape and copy nothing.
VIEWS = (layers.Flatten, layers.Reshape, OPS.Reshape, OPS.Squeeze, OPS.ExpandDims)

# The first that a layer is an instance of is its reader.
READERS: tuple[tuple[tuple[type, ...], Reader], ...] = (
    *WINDOW_READERS,
    ((layers.RandomCrop, layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D), _unknown),
    ((layers.Concatenate, OPS.Concatenate), _concatenated),
    ((layers.Softmax, NN.Softmax, NN.LogSoftmax), _softmax),
    ((*NORMS_OF_AXES, layers.GroupNormalization), _normalized),
    ((Merge, *AUGMENTATION, *POINTWISE, *ELEMENTWISE), _pointwise),
    ((layers.Embedding, layers.RepeatVector), lambda _, inputs, shape: replace(inputs[0], shape=shape)),
    ((layers.Dense,), _dense),
    ((layers.EinsumDense,), _einsum),
    (VIEWS, lambda _, inputs, shape: reshaped(inputs[0], shape)),
    ((layers.Permute,), _permuted),
    ((OPS.Pad,), _padded),
    (_operations(OPS, "Amax Amin Argmax Argmin Average Max Mean Min Prod Std Sum Var"), _reduction),
    ((layers.RNN, layers.Bidirectional), _recurrent),
    ((layers.SpectralNormalization,), lambda layer, inputs, shape: read(layer.layer, inputs, shape)),
    ((layers.TimeDistributed,), _time_distributed),
)
