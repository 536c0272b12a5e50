"""TensorFlow's functions in a functional model of Keras 2, such as x + y, as those of Keras 3.

Since TensorFlow 2.4 a file has them by name, before as the nodes of a graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops


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


# By TensorFlow's name. The first argument is that of TensorFlow, the others go by their names there.
OPS: dict[str, Callable[..., Any]] = {
    "__operators__.add": _binary(ops.add),
    "__operators__.getitem": _getitem,
    "cast": _same(ops.cast),
    "clip_by_value": _same(ops.clip, clip_value_min="x_min", clip_value_max="x_max"),
    "concat": _same(ops.concatenate),
    "expand_dims": _same(ops.expand_dims),
    "identity": _same(lambda input: ops.add(input, 0)),
    "linalg.matmul": _same(lambda a, b: ops.matmul(a, b)),
    "math.abs": _same(ops.abs),
    "math.add": _binary(ops.add),
    "math.cos": _same(ops.cos),
    "math.divide": _binary(ops.true_divide),
    "math.exp": _same(ops.exp),
    "math.log": _same(ops.log),
    "math.maximum": _binary(ops.maximum),
    "math.minimum": _binary(ops.minimum),
    "math.multiply": _binary(ops.multiply),
    "math.negative": _same(ops.negative),
    "math.pow": _binary(ops.power),
    "math.reduce_max": _reduction(ops.max),
    "math.reduce_mean": _reduction(ops.mean),
    "math.reduce_min": _reduction(ops.min),
    "math.reduce_sum": _reduction(ops.sum),
    "math.rsqrt": _same(ops.rsqrt),
    "math.sigmoid": _same(ops.sigmoid),
    "math.sin": _same(ops.sin),
    "math.softplus": _same(ops.softplus),
    "math.sqrt": _same(ops.sqrt),
    "math.square": _same(ops.square),
    "math.subtract": _binary(ops.subtract),
    "math.tanh": _same(ops.tanh),
    "math.truediv": _binary(ops.true_divide),
    "nn.depth_to_space": _same(ops.depth_to_space),
    "nn.elu": _same(ops.elu),
    "nn.gelu": _same(lambda features, approximate=False: ops.gelu(features, approximate=approximate)),
    "nn.leaky_relu": _same(lambda features, alpha=0.2: ops.leaky_relu(features, negative_slope=alpha)),
    "nn.relu": _same(ops.relu),
    "nn.relu6": _same(ops.relu6),
    "nn.selu": _same(ops.selu),
    "nn.silu": _silu,
    "nn.softmax": _same(lambda logits, axis=-1: ops.softmax(logits, axis=-1 if axis is None else axis)),
    "nn.space_to_depth": _same(ops.space_to_depth),
    "nn.tanh": _same(ops.tanh),
    "pad": _pad,
    "reshape": _same(lambda tensor, shape: ops.reshape(tensor, tuple(shape))),
    "squeeze": _same(lambda input, axis=None: ops.squeeze(input, axis=tuple(axis) if isinstance(axis, list) else axis)),
    "stack": _same(lambda values, axis=0: ops.stack(values, axis=axis)),
    "transpose": _same(lambda a, perm=None, conjugate=False: ops.transpose(a, perm)),
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
    "ConcatV2": lambda inputs, _: ops.concatenate(inputs[:-1], axis=inputs[-1]),
    "DepthToSpace": _node(OPS["nn.depth_to_space"], block_size="block_size"),
    "LeakyRelu": _node(OPS["nn.leaky_relu"], alpha="alpha"),
    "Pack": lambda inputs, options: ops.stack(inputs, axis=options["axis"]),
    "SpaceToDepth": _node(OPS["nn.space_to_depth"], block_size="block_size"),
    "Squeeze": _node(OPS["squeeze"], squeeze_dims="axis"),
    "StridedSlice": _strided_slice,
    **{op: _node(OPS[f"math.reduce_{op.lower()}"], keep_dims="keepdims") for op in ("Max", "Mean", "Min", "Sum")},
    **{
        op: _node(OPS[name])
        for op, name in {
            "Abs": "math.abs",
            "Add": "math.add",
            "AddV2": "math.add",
            "Elu": "nn.elu",
            "Exp": "math.exp",
            "ExpandDims": "expand_dims",
            "Log": "math.log",
            "Maximum": "math.maximum",
            "Minimum": "math.minimum",
            "Mul": "math.multiply",
            "Neg": "math.negative",
            "Pad": "pad",
            "Pow": "math.pow",
            "RealDiv": "math.divide",
            "Relu": "nn.relu",
            "Relu6": "nn.relu6",
            "Reshape": "reshape",
            "Rsqrt": "math.rsqrt",
            "Selu": "nn.selu",
            "Sigmoid": "math.sigmoid",
            "Softmax": "nn.softmax",
            "Softplus": "math.softplus",
            "Sqrt": "math.sqrt",
            "Square": "math.square",
            "Sub": "math.subtract",
            "Tanh": "math.tanh",
            "Transpose": "transpose",
        }.items()
    },
}
