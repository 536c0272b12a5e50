"""TensorFlow's functions in a functional model of Keras 2, such as x + y, as those of Keras 3.

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


def _same(function: Callable[..., Any], **names: str) -> Callable[..., Any]:
    """Return ``function`` with the arguments of TensorFlow; ``names`` are those that Keras calls otherwise."""

    def call(*inputs: Any, **arguments: Any) -> Any:
        return function(*inputs, **{names.get(key, key): value for key, value in arguments.items()})

    return call


def _binary(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of two arrays, one of which may be a list of numbers."""

    def call(x: Any, y: Any) -> Any:
        x, y = (np.asarray(value, "float32") if isinstance(value, list) else value for value in (x, y))
        return function(x, y)

    return call


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(input_tensor: Any, axis: Any = None, keepdims: Any = None) -> Any:
        return function(input_tensor, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=bool(keepdims))

    return call


def _pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0) -> Any:
    kind = mode.lower()
    return ops.pad(tensor, paddings, mode=kind, constant_values=constant_values if kind == "constant" else None)


def _silu(features: Any, beta: float = 1.0) -> Any:
    return ops.silu(features) if beta == 1 else features * ops.sigmoid(features * beta)


def _getitem(tensor: Any, slice_spec: Any) -> Any:
    """Return a part of a tensor."""
    pieces = slice_spec if isinstance(slice_spec, list) else [slice_spec]
    return tensor[tuple(_piece(piece) for piece in pieces)]


def _piece(piece: Any) -> Any:
    if isinstance(piece, dict) and "start" in piece:
        return slice(piece["start"], piece["stop"], piece["step"])
    return Ellipsis if isinstance(piece, dict) else piece


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _like(x: Any, dtype: Any, value: int) -> Any:
    """Return an array of the shape of ``x`` that is filled with 0 or 1."""
    return (ops.ones_like if value else ops.zeros_like)(x, dtype=dtype)


def _whole(x: Any, output_type: str) -> Any:
    return ops.cast(x, output_type)


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
    a, b = (np.asarray(value, "float32") if isinstance(value, list) else value for value in (a, b))
    return ops.matmul(*(ops.swapaxes(x, -1, -2) if flip else x for x, flip in ((a, transpose_a), (b, transpose_b))))


def _l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12) -> Any:
    axis = tuple(axis) if isinstance(axis, list) else axis
    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=axis, keepdims=True), epsilon))


def _gather(params: Any, indices: Any, axis: int = 0, batch_dims: int = 0) -> Any:
    if batch_dims:
        raise ValueError("indices of their own for each sample")
    return ops.take(params, indices if not isinstance(indices, list) else np.asarray(indices), axis=axis)


def _one_hot(indices: Any, depth: int, axis: int = -1, dtype: str = "float32") -> Any:
    return ops.one_hot(indices, depth, axis=axis, dtype=dtype)


def _add_n(inputs: list[Any]) -> Any:
    total = inputs[0]
    for x in inputs[1:]:
        total = ops.add(total, x)
    return total


# Functions of TensorFlow 1 that compute something else than those of the same name in TensorFlow 2.
OTHER_IN_TENSORFLOW_1 = ("compat.v1.image.", "compat.v1.where")
V1 = "compat.v1."


def called_function(name: str) -> Callable[..., Any] | None:
    """Return the function for a name in a file, or None if Keras has none."""
    return None if name.startswith(OTHER_IN_TENSORFLOW_1) else OPS.get(name.removeprefix(V1))


# By TensorFlow's name. The first argument is that of TensorFlow, the others go by their names there.
OPS: dict[str, Callable[..., Any]] = {
    "__operators__.add": _binary(ops.add),
    "__operators__.getitem": _getitem,
    "broadcast_to": lambda input, shape: ops.broadcast_to(input, tuple(shape)),
    "cast": _same(ops.cast),
    "clip_by_value": _same(ops.clip, clip_value_min="x_min", clip_value_max="x_max"),
    "concat": _same(ops.concatenate),
    "expand_dims": _same(ops.expand_dims),
    "floor_div": _binary(ops.floor_divide),
    "gather": _gather,
    "identity": _same(lambda input: ops.add(input, 0)),
    "image.flip_left_right": lambda image: ops.flip(image, axis=-2),
    "image.flip_up_down": lambda image: ops.flip(image, axis=-3),
    "image.resize": _resize,
    "linalg.l2_normalize": _l2_normalize,
    "linalg.matmul": _matmul,
    "math.abs": _same(ops.abs),
    "math.add": _binary(ops.add),
    "math.add_n": _add_n,
    "math.argmax": lambda input, axis=0, output_type="int64": _whole(ops.argmax(input, axis=axis), output_type),
    "math.argmin": lambda input, axis=0, output_type="int64": _whole(ops.argmin(input, axis=axis), output_type),
    "math.asinh": ops.arcsinh,
    "math.atan": ops.arctan,
    "math.ceil": ops.ceil,
    "math.cos": _same(ops.cos),
    "math.cosh": ops.cosh,
    "math.cumsum": lambda x, axis=0: ops.cumsum(x, axis=axis),
    "math.divide": _binary(ops.true_divide),
    "math.divide_no_nan": _binary(ops.divide_no_nan),
    "math.equal": _binary(ops.equal),
    "math.erf": ops.erf,
    "math.exp": _same(ops.exp),
    "math.expm1": ops.expm1,
    "math.floor": ops.floor,
    "math.floordiv": _binary(ops.floor_divide),
    "math.floormod": _binary(ops.mod),
    "math.greater": _binary(ops.greater),
    "math.greater_equal": _binary(ops.greater_equal),
    "math.l2_normalize": _l2_normalize,
    "math.less": _binary(ops.less),
    "math.less_equal": _binary(ops.less_equal),
    "math.log": _same(ops.log),
    "math.log1p": ops.log1p,
    "math.logical_and": lambda x, y: ops.logical_and(x, y),
    "math.logical_not": ops.logical_not,
    "math.logical_or": lambda x, y: ops.logical_or(x, y),
    "math.maximum": _binary(ops.maximum),
    "math.minimum": _binary(ops.minimum),
    "math.multiply": _binary(ops.multiply),
    "math.negative": _same(ops.negative),
    "math.not_equal": _binary(ops.not_equal),
    "math.pow": _binary(ops.power),
    "math.reciprocal": ops.reciprocal,
    "math.reduce_all": _reduction(ops.all),
    "math.reduce_any": _reduction(ops.any),
    "math.reduce_logsumexp": _reduction(ops.logsumexp),
    "math.reduce_max": _reduction(ops.max),
    "math.reduce_mean": _reduction(ops.mean),
    "math.reduce_min": _reduction(ops.min),
    "math.reduce_prod": _reduction(ops.prod),
    "math.reduce_std": _reduction(ops.std),
    "math.reduce_sum": _reduction(ops.sum),
    "math.reduce_variance": _reduction(ops.var),
    "math.round": ops.round,
    "math.rsqrt": _same(ops.rsqrt),
    "math.sigmoid": _same(ops.sigmoid),
    "math.sign": ops.sign,
    "math.sin": _same(ops.sin),
    "math.sinh": ops.sinh,
    "math.softplus": _same(ops.softplus),
    "math.sqrt": _same(ops.sqrt),
    "math.square": _same(ops.square),
    "math.squared_difference": _binary(lambda x, y: ops.square(ops.subtract(x, y))),
    "math.subtract": _binary(ops.subtract),
    "math.tan": ops.tan,
    "math.tanh": _same(ops.tanh),
    "math.top_k": lambda input, k=1, sorted=True: list(ops.top_k(input, k, sorted=sorted)),
    "math.truediv": _binary(ops.true_divide),
    "nn.avg_pool": _pool(ops.average_pool),
    "nn.avg_pool1d": _pool(ops.average_pool),
    "nn.avg_pool2d": _pool(ops.average_pool),
    "nn.avg_pool3d": _pool(ops.average_pool),
    "nn.bias_add": lambda value, bias: _binary(ops.add)(value, bias),
    "nn.crelu": lambda features, axis=-1: ops.relu(ops.concatenate([features, -features], axis=axis)),
    "nn.depth_to_space": _same(depth_to_space),
    "nn.elu": _same(ops.elu),
    "nn.gelu": _same(lambda features, approximate=False: ops.gelu(features, approximate=approximate)),
    "nn.l2_normalize": _l2_normalize,
    "nn.leaky_relu": _same(lambda features, alpha=0.2: ops.leaky_relu(features, negative_slope=alpha)),
    "nn.log_softmax": lambda logits, axis=-1: ops.log_softmax(logits, axis=axis),
    "nn.max_pool": _pool(ops.max_pool),
    "nn.max_pool1d": _pool(ops.max_pool),
    "nn.max_pool2d": _pool(ops.max_pool),
    "nn.max_pool3d": _pool(ops.max_pool),
    "nn.relu": _same(ops.relu),
    "nn.relu6": _same(ops.relu6),
    "nn.selu": _same(ops.selu),
    "nn.silu": _silu,
    "nn.softmax": _same(lambda logits, axis=-1: ops.softmax(logits, axis=-1 if axis is None else axis)),
    "nn.softsign": ops.softsign,
    "nn.space_to_depth": _same(space_to_depth),
    "nn.tanh": _same(ops.tanh),
    "one_hot": _one_hot,
    "ones_like": lambda input, dtype=None: _like(input, dtype, 1),
    "pad": _pad,
    "repeat": lambda input, repeats, axis=None: ops.repeat(input, repeats, axis=axis),
    "reshape": _same(lambda tensor, shape: ops.reshape(tensor, tuple(shape))),
    # One after the other: not every Keras flips several.
    "reverse": lambda tensor, axis: reduce(lambda flipped, one: ops.flip(flipped, axis=one), axis, tensor),
    "roll": lambda input, shift, axis: ops.roll(input, _tuple(shift), axis=_tuple(axis)),
    "slice": _slice,
    "sort": lambda values, axis=-1: ops.sort(values, axis=axis),
    "split": _split,
    "squeeze": _same(lambda input, axis=None: ops.squeeze(input, axis=tuple(axis) if isinstance(axis, list) else axis)),
    "stack": _same(lambda values, axis=0: ops.stack(values, axis=axis)),
    "stop_gradient": lambda input: ops.stop_gradient(input),
    "tensordot": lambda a, b, axes: _binary(lambda a, b: ops.tensordot(a, b, axes))(a, b),
    "tile": lambda input, multiples: ops.tile(input, tuple(multiples)),
    "transpose": _same(lambda a, perm=None, conjugate=False: ops.transpose(a, perm)),
    "unstack": lambda value, axis=0, num=None: list(ops.unstack(value, num, axis=axis)),
    "where": lambda condition, x, y: ops.where(condition, x, y),
    "zeros_like": lambda input, dtype=None: _like(input, dtype, 0),
}


def node_function(config: dict[str, Any]) -> Callable[..., Any] | None:
    """Return the function of a node of a graph, or None if Keras has none.

    Args:
        config: The description of the layer that holds the node: ``node_def``, and ``constants`` by their place among
            the inputs.
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
    if "list" in value:
        return [int(item) for item in value["list"].get("i", [])]
    ((kind, item),) = value.items()
    if kind == "s":
        return b64decode(item).decode()
    return int(item) if kind == "i" else item


def _node(function: Callable[..., Any], **options: str) -> Callable[[list[Any], dict[str, Any]], Any]:
    """Return ``function`` of the inputs; ``options`` are its arguments by the names that the node has for them."""
    return lambda inputs, given: function(*inputs, **{options[key]: given[key] for key in options if key in given})


def _bit(options: dict[str, Any], mask: str, place: int) -> bool:
    return bool(options[mask] >> place & 1)


def _strided_slice(inputs: list[Any], options: dict[str, Any]) -> Any:
    tensor, begins, ends, steps = inputs
    pieces: list[Any] = []
    for place, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        if _bit(options, "ellipsis_mask", place):
            pieces.append(Ellipsis)
        elif _bit(options, "new_axis_mask", place):
            pieces.append(None)
        elif _bit(options, "shrink_axis_mask", place):
            pieces.append(begin)
        else:
            first = None if _bit(options, "begin_mask", place) else begin
            pieces.append(slice(first, None if _bit(options, "end_mask", place) else end, step))
    return tensor[tuple(pieces)]


NODES: dict[str, Callable[[list[Any], dict[str, Any]], Any]] = {
    "AddN": lambda inputs, _: _add_n(inputs),
    "AvgPool": _node(
        OPS["nn.avg_pool2d"], ksize="ksize", strides="strides", padding="padding", data_format="data_format"
    ),
    "BatchMatMulV2": _node(_matmul, adj_x="transpose_a", adj_y="transpose_b"),
    "ConcatV2": lambda inputs, _: ops.concatenate(inputs[:-1], axis=inputs[-1]),
    "DepthToSpace": _node(OPS["nn.depth_to_space"], block_size="block_size"),
    "LeakyRelu": _node(OPS["nn.leaky_relu"], alpha="alpha"),
    "MatMul": _node(_matmul, transpose_a="transpose_a", transpose_b="transpose_b"),
    "MaxPool": _node(
        OPS["nn.max_pool2d"], ksize="ksize", strides="strides", padding="padding", data_format="data_format"
    ),
    "Pack": lambda inputs, options: ops.stack(inputs, axis=options["axis"]),
    "ResizeBicubic": lambda inputs, _: _resize(*inputs, method="bicubic"),
    "ResizeBilinear": lambda inputs, _: _resize(*inputs, method="bilinear"),
    "ResizeNearestNeighbor": lambda inputs, _: _resize(*inputs, method="nearest"),
    "SpaceToDepth": _node(OPS["nn.space_to_depth"], block_size="block_size"),
    "Split": lambda inputs, options: _split(inputs[1], options["num_split"], axis=inputs[0]),
    "SplitV": lambda inputs, _: _split(*inputs),
    "Squeeze": _node(OPS["squeeze"], squeeze_dims="axis"),
    "StridedSlice": _strided_slice,
    "Unpack": _node(OPS["unstack"], axis="axis", num="num"),
    **{
        op: _node(OPS[f"math.reduce_{op.lower()}"], keep_dims="keepdims")
        for op in ("All", "Any", "Max", "Mean", "Min", "Prod", "Sum")
    },
    **{
        op: _node(OPS[name])
        for op, name in {
            "Abs": "math.abs",
            "Add": "math.add",
            "AddV2": "math.add",
            "BiasAdd": "nn.bias_add",
            "Ceil": "math.ceil",
            "Elu": "nn.elu",
            "Equal": "math.equal",
            "Erf": "math.erf",
            "Exp": "math.exp",
            "ExpandDims": "expand_dims",
            "Floor": "math.floor",
            "FloorMod": "math.floormod",
            "Greater": "math.greater",
            "GreaterEqual": "math.greater_equal",
            "Less": "math.less",
            "LessEqual": "math.less_equal",
            "Log": "math.log",
            "LogSoftmax": "nn.log_softmax",
            "LogicalAnd": "math.logical_and",
            "LogicalNot": "math.logical_not",
            "LogicalOr": "math.logical_or",
            "Maximum": "math.maximum",
            "Minimum": "math.minimum",
            "Mul": "math.multiply",
            "Neg": "math.negative",
            "NotEqual": "math.not_equal",
            "Pad": "pad",
            "Pow": "math.pow",
            "RealDiv": "math.divide",
            "Relu": "nn.relu",
            "Relu6": "nn.relu6",
            "Reshape": "reshape",
            "ReverseV2": "reverse",
            "Round": "math.round",
            "Rsqrt": "math.rsqrt",
            "Selu": "nn.selu",
            "SelectV2": "where",
            "Sigmoid": "math.sigmoid",
            "Sign": "math.sign",
            "Slice": "slice",
            "Softmax": "nn.softmax",
            "Softplus": "math.softplus",
            "Softsign": "nn.softsign",
            "Sqrt": "math.sqrt",
            "Square": "math.square",
            "SquaredDifference": "math.squared_difference",
            "StopGradient": "stop_gradient",
            "Sub": "math.subtract",
            "Tanh": "math.tanh",
            "Tile": "tile",
            "Transpose": "transpose",
        }.items()
    },
}
