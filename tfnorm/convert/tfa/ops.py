"""The functions of TensorFlow in models of Keras 2, such as x + y, as functions of Keras 3.

Since TensorFlow 2.4 a file has them by name, before as the nodes of a graph.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from keras import ops

from tfnorm._keras import depth_to_space, space_to_depth


def _array(value: Any) -> Any:
    return np.asarray(value, "float32") if isinstance(value, list) else value


def _binary(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of two arrays, one of which may be a list of numbers."""
    return lambda x, y: function(_array(x), _array(y))


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, axis=None, keepdims=None: function(x, axis=_tuple(axis), keepdims=bool(keepdims))


def _pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0) -> Any:
    kind = mode.lower()
    return ops.pad(tensor, paddings, mode=kind, constant_values=constant_values if kind == "constant" else None)


def _silu(features: Any, beta: float = 1.0) -> Any:
    return ops.silu(features) if beta == 1 else features * ops.sigmoid(features * beta)


def _getitem(tensor: Any, slice_spec: Any) -> Any:
    pieces = []
    for piece in slice_spec if isinstance(slice_spec, list) else [slice_spec]:
        if isinstance(piece, dict):
            piece = slice(piece["start"], piece["stop"], piece["step"]) if "start" in piece else Ellipsis
        pieces.append(piece)
    return tensor[tuple(pieces)]


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `ops.argmax` or `ops.argmin` with TensorFlow's arguments."""
    return lambda input, axis=0, output_type="int64": ops.cast(function(input, axis=axis), output_type)


def _resize(
    images: Any, size: Any, method: str = "bilinear", preserve_aspect_ratio: bool = False, antialias: bool = False
) -> Any:
    if preserve_aspect_ratio or method in ("gaussian", "mitchellcubic"):
        raise ValueError("Keras has no such method")
    if method != "nearest":
        images = ops.cast(images, "float32")  # TensorFlow returns no other type, and Keras that of the input
    return ops.image.resize(images, size, interpolation=method, antialias=antialias, data_format="channels_last")


def _pool(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a pooling with TensorFlow's arguments: windows may name the axes of batch and channels too."""

    def call(input: Any, ksize: Any, strides: Any, padding: str, data_format: str | None = None) -> Any:
        rank = len(input.shape) - 2
        if data_format not in (None, "NWC", "NHWC", "NDHWC"):
            raise ValueError(f"the channels must be last, and are in {data_format}")
        window, step = (_sides(value, rank) for value in (ksize, strides))
        return function(input, window, strides=step, padding=padding.lower(), data_format="channels_last")

    return call


def _sides(value: Any, rank: int) -> tuple[int, ...]:
    sides = [int(side) for side in (value if isinstance(value, list) else [value])]
    if len(sides) == rank + 2:
        if sides[0] != 1 or sides[-1] != 1:
            raise ValueError("windows over the batch or the channels")
        sides = sides[1:-1]
    return tuple(sides * rank if len(sides) == 1 else sides)


def _split(value: Any, num_or_size_splits: Any, axis: int = 0, num: int | None = None) -> list[Any]:
    if not isinstance(num_or_size_splits, list):
        return list(ops.split(value, num_or_size_splits, axis=axis))
    sizes = list(num_or_size_splits)
    if -1 in sizes:
        sizes[sizes.index(-1)] = value.shape[axis] - sum(sizes) - 1
    return list(ops.split(value, [int(edge) for edge in np.cumsum(sizes)[:-1]], axis=axis))


def _slice(input_: Any, begin: Any, size: Any) -> Any:
    pieces = zip(begin, size, strict=True)
    return input_[tuple(slice(first, None if length == -1 else first + length) for first, length in pieces)]


def _matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    a = ops.swapaxes(_array(a), -1, -2) if transpose_a else _array(a)
    b = ops.swapaxes(_array(b), -1, -2) if transpose_b else _array(b)
    return ops.matmul(a, b)


def _l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12) -> Any:
    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=_tuple(axis), keepdims=True), epsilon))


def _gather(params: Any, indices: Any, axis: int = 0, batch_dims: int = 0) -> Any:
    if batch_dims:
        raise ValueError("indices of their own for each sample")
    return ops.take(params, indices if not isinstance(indices, list) else np.asarray(indices), axis=axis)


# Functions of TensorFlow 1 that compute something else than those of the same name in TensorFlow 2.
OTHER_IN_TENSORFLOW_1 = ("compat.v1.image.", "compat.v1.where")
V1 = "compat.v1."


def called_function(name: str) -> Callable[..., Any] | None:
    """Return the function for a name in a file, or None if Keras has none."""
    return None if name.startswith(OTHER_IN_TENSORFLOW_1) else OPS.get(name.removeprefix(V1))


def _pairs(text: str) -> dict[str, str]:
    """Return the names in a text such as "floordiv=floor_divide add", in which both are the same without a "="."""
    return {pair.partition("=")[0]: pair.rpartition("=")[2] for pair in text.split()}


# Of one array, of two, and over axes: the names in `tf.math`, and those in `keras.ops` where they differ.
ONE = _pairs(
    """
    abs asinh=arcsinh atan=arctan ceil cos cosh erf exp expm1 floor log log1p logical_not negative reciprocal round
    rsqrt sigmoid sign sin sinh softplus sqrt square tan tanh
    """
)
TWO = _pairs(
    """
    add divide=true_divide divide_no_nan equal floordiv=floor_divide floormod=mod greater greater_equal less less_equal
    logical_and logical_or maximum minimum multiply not_equal pow=power subtract truediv=true_divide
    """
)
REDUCTIONS = _pairs("all any logsumexp max mean min prod std sum variance=var")
ALIKE = "cast expand_dims ones_like repeat sort stack stop_gradient zeros_like"  # arguments have the same names

# By TensorFlow's name. The first argument is that of TensorFlow, the others go by their names there.
OPS: dict[str, Callable[..., Any]] = {
    **{f"math.{name}": getattr(ops, own) for name, own in ONE.items()},
    **{f"math.{name}": _binary(getattr(ops, own)) for name, own in TWO.items()},
    **{f"math.reduce_{name}": _reduction(getattr(ops, own)) for name, own in REDUCTIONS.items()},
    **{f"nn.{name}": getattr(ops, name) for name in ("elu", "relu", "relu6", "selu", "softsign", "tanh")},
    **{name: getattr(ops, name) for name in ALIKE.split()},
    **{f"nn.avg_pool{rank}": _pool(ops.average_pool) for rank in ("", "1d", "2d", "3d")},
    **{f"nn.max_pool{rank}": _pool(ops.max_pool) for rank in ("", "1d", "2d", "3d")},
    **{f"{module}.l2_normalize": _l2_normalize for module in ("linalg", "math", "nn")},
    "__operators__.add": _binary(ops.add),
    "__operators__.getitem": _getitem,
    "broadcast_to": lambda input, shape: ops.broadcast_to(input, tuple(shape)),
    "clip_by_value": lambda t, clip_value_min, clip_value_max: ops.clip(t, clip_value_min, clip_value_max),
    "concat": ops.concatenate,
    "floor_div": _binary(ops.floor_divide),
    "gather": _gather,
    "identity": lambda input: ops.add(input, 0),
    "image.flip_left_right": lambda image: ops.flip(image, axis=-2),
    "image.flip_up_down": lambda image: ops.flip(image, axis=-3),
    "image.resize": _resize,
    "linalg.matmul": _matmul,
    "math.add_n": lambda inputs: reduce(ops.add, inputs),
    "math.argmax": _argument(ops.argmax),
    "math.argmin": _argument(ops.argmin),
    "math.cumsum": lambda x, axis=0: ops.cumsum(x, axis=axis),
    "math.squared_difference": _binary(lambda x, y: ops.square(ops.subtract(x, y))),
    "math.top_k": lambda input, k=1, sorted=True: list(ops.top_k(input, k, sorted=sorted)),
    "nn.bias_add": lambda value, bias: ops.add(_array(value), _array(bias)),
    "nn.crelu": lambda features, axis=-1: ops.relu(ops.concatenate([features, -features], axis=axis)),
    "nn.depth_to_space": depth_to_space,
    "nn.gelu": lambda features, approximate=False: ops.gelu(features, approximate=approximate),
    "nn.leaky_relu": lambda features, alpha=0.2: ops.leaky_relu(features, negative_slope=alpha),
    "nn.log_softmax": lambda logits, axis=-1: ops.log_softmax(logits, axis=axis),
    "nn.silu": _silu,
    "nn.softmax": lambda logits, axis=-1: ops.softmax(logits, axis=-1 if axis is None else axis),
    "nn.space_to_depth": space_to_depth,
    "one_hot": lambda indices, depth, axis=-1, dtype="float32": ops.one_hot(indices, depth, axis=axis, dtype=dtype),
    "pad": _pad,
    "reshape": lambda tensor, shape: ops.reshape(tensor, tuple(shape)),
    # One after the other: not every Keras flips several.
    "reverse": lambda tensor, axis: reduce(lambda flipped, one: ops.flip(flipped, axis=one), axis, tensor),
    "roll": lambda input, shift, axis: ops.roll(input, _tuple(shift), axis=_tuple(axis)),
    "slice": _slice,
    "split": _split,
    "squeeze": lambda input, axis=None: ops.squeeze(input, axis=_tuple(axis)),
    "tensordot": lambda a, b, axes: ops.tensordot(_array(a), _array(b), axes),
    "tile": lambda input, multiples: ops.tile(input, tuple(multiples)),
    "transpose": lambda a, perm=None, conjugate=False: ops.transpose(a, perm),
    "unstack": lambda value, axis=0, num=None: list(ops.unstack(value, num, axis=axis)),
    "where": lambda condition, x, y: ops.where(condition, x, y),
}


def node_function(config: dict[str, Any]) -> Callable[..., Any] | None:
    """Return the function of a node of a graph, or None if Keras has none.

    ``config`` describes the layer that holds it: ``node_def``, and ``constants`` by their place among the inputs.
    """
    node = config["node_def"]
    function = NODES.get(node["op"])
    if function is None:
        return None
    options = {name: _option(value) for name, value in node["attr"].items()}
    if node["op"].startswith("Resize") and (options.get("align_corners") or not options.get("half_pixel_centers")):
        return None  # TensorFlow 1 places the pixels elsewhere

    def call(inputs: Any) -> Any:
        given = list(inputs) if isinstance(inputs, list) else [inputs]
        for place, value in sorted((int(place), value) for place, value in config["constants"].items()):
            given.insert(place, value)
        return function(given, options)

    return call


def _option(value: dict[str, Any]) -> Any:
    ((kind, item),) = value.items()
    if kind == "list":
        return [int(each) for each in item.get("i", [])]
    if kind == "s":
        return b64decode(item).decode()
    return int(item) if kind == "i" else item


def _node(function: Callable[..., Any], **options: str) -> Callable[[list[Any], dict[str, Any]], Any]:
    """Return ``function`` of the inputs; ``options`` are its arguments by the names that the node has for them."""
    return lambda inputs, given: function(*inputs, **{options[key]: given[key] for key in options if key in given})


def _strided_slice(inputs: list[Any], options: dict[str, Any]) -> Any:
    tensor, begins, ends, steps = inputs
    pieces: list[Any] = []
    for place, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        # A bit for each place says what stands there.
        kinds = ("ellipsis", "new_axis", "shrink_axis", "begin", "end")
        masked = {kind for kind in kinds if options[f"{kind}_mask"] >> place & 1}
        if "ellipsis" in masked:
            pieces.append(Ellipsis)
        elif "new_axis" in masked:
            pieces.append(None)
        elif "shrink_axis" in masked:
            pieces.append(begin)
        else:
            pieces.append(slice(None if "begin" in masked else begin, None if "end" in masked else end, step))
    return tensor[tuple(pieces)]


_POOLED = {name: name for name in ("ksize", "strides", "padding", "data_format")}
# Nodes that have no settings, and the names of the functions that they are.
PLAIN_NODES = _pairs(
    """
    Abs=math.abs Add=math.add AddV2=math.add BiasAdd=nn.bias_add Ceil=math.ceil Elu=nn.elu Equal=math.equal Erf=math.erf
    Exp=math.exp ExpandDims=expand_dims Floor=math.floor FloorMod=math.floormod Greater=math.greater
    GreaterEqual=math.greater_equal Less=math.less LessEqual=math.less_equal Log=math.log LogSoftmax=nn.log_softmax
    LogicalAnd=math.logical_and LogicalNot=math.logical_not LogicalOr=math.logical_or Maximum=math.maximum
    Minimum=math.minimum Mul=math.multiply Neg=math.negative NotEqual=math.not_equal Pad=pad Pow=math.pow
    RealDiv=math.divide Relu=nn.relu Relu6=nn.relu6 Reshape=reshape ReverseV2=reverse Round=math.round Rsqrt=math.rsqrt
    Selu=nn.selu SelectV2=where Sigmoid=math.sigmoid Sign=math.sign Slice=slice Softmax=nn.softmax
    Softplus=math.softplus Softsign=nn.softsign Sqrt=math.sqrt Square=math.square
    SquaredDifference=math.squared_difference StopGradient=stop_gradient Sub=math.subtract Tanh=math.tanh Tile=tile
    Transpose=transpose
    """
)
REDUCING_NODES = ("All", "Any", "Max", "Mean", "Min", "Prod", "Sum")
NODES: dict[str, Callable[[list[Any], dict[str, Any]], Any]] = {
    **{op: _node(OPS[name]) for op, name in PLAIN_NODES.items()},
    **{op: _node(OPS[f"math.reduce_{op.lower()}"], keep_dims="keepdims") for op in REDUCING_NODES},
    "AddN": lambda inputs, _: OPS["math.add_n"](inputs),
    "AvgPool": _node(OPS["nn.avg_pool2d"], **_POOLED),
    "BatchMatMulV2": _node(_matmul, adj_x="transpose_a", adj_y="transpose_b"),
    "ConcatV2": lambda inputs, _: ops.concatenate(inputs[:-1], axis=inputs[-1]),
    "DepthToSpace": _node(depth_to_space, block_size="block_size"),
    "LeakyRelu": _node(OPS["nn.leaky_relu"], alpha="alpha"),
    "MatMul": _node(_matmul, transpose_a="transpose_a", transpose_b="transpose_b"),
    "MaxPool": _node(OPS["nn.max_pool2d"], **_POOLED),
    "Pack": lambda inputs, options: ops.stack(inputs, axis=options["axis"]),
    "ResizeBicubic": lambda inputs, _: _resize(*inputs, method="bicubic"),
    "ResizeBilinear": lambda inputs, _: _resize(*inputs, method="bilinear"),
    "ResizeNearestNeighbor": lambda inputs, _: _resize(*inputs, method="nearest"),
    "SpaceToDepth": _node(space_to_depth, block_size="block_size"),
    "Split": lambda inputs, options: _split(inputs[1], options["num_split"], axis=inputs[0]),
    "SplitV": lambda inputs, _: _split(*inputs),
    "Squeeze": _node(OPS["squeeze"], squeeze_dims="axis"),
    "StridedSlice": _strided_slice,
    "Unpack": _node(OPS["unstack"], axis="axis", num="num"),
}
