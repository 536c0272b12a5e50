"""TensorFlow's functions between layers, as Keras 2 stores them."""

import functools

import keras
import numpy as np
import pytest

from tfnorm.convert._tfa_ops import OPS, node_function

X = np.arange(1, 49, dtype="float32").reshape(2, 2, 3, 4) / 16 - 1
POSITIVE = np.abs(X) + 0.5
ALL = {"start": None, "stop": None, "step": None}

CALLED = {
    "__operators__.add": (X, {"y": POSITIVE}),
    "__operators__.getitem": (X, {"slice_spec": [ALL, {"start": 1, "stop": None, "step": None}, 2, None]}),
    "cast": (X, {"dtype": "int32"}),
    "clip_by_value": (X, {"clip_value_min": -0.5, "clip_value_max": 1.0}),
    "concat": ([X, POSITIVE], {"axis": -1}),
    "expand_dims": (X, {"axis": 1}),
    "identity": (X, {}),
    "linalg.matmul": (X, {"b": np.ones((4, 2), "float32")}),
    "nn.depth_to_space": (X, {"block_size": 2}),
    "nn.gelu": (X, {"approximate": True}),
    "nn.leaky_relu": (X, {"alpha": 0.1}),
    "nn.silu": (X, {"beta": 1.5}),
    "nn.softmax": (X, {"axis": 1}),
    "nn.space_to_depth": (X[:, :, :2], {"block_size": 2}),
    "pad": (X, {"paddings": [[0, 0], [1, 2], [1, 1], [0, 0]], "mode": "SYMMETRIC"}),
    "reshape": (X, {"shape": [2, -1]}),
    "squeeze": (X[:, :1], {"axis": [1]}),
    "stack": ([X, POSITIVE], {"axis": 1}),
    "transpose": (X, {"perm": [0, 3, 1, 2]}),
    **{
        f"math.{name}": (X, {"y": [1.0, 2.0, 3.0, 4.0]}) for name in ("add", "divide", "maximum", "minimum", "multiply")
    },
    **{f"math.{name}": (X, {"y": 2.0}) for name in ("subtract", "truediv")},
    "math.pow": (POSITIVE, {"y": 2.0}),
    **{f"math.{name}": (POSITIVE, {}) for name in ("log", "rsqrt", "sqrt")},
    **{
        f"math.{name}": (X, {})
        for name in ("abs", "cos", "exp", "negative", "sigmoid", "sin", "softplus", "square", "tanh")
    },
    **{f"math.reduce_{name}": (X, {"axis": [1, 2], "keepdims": True}) for name in ("max", "mean", "min", "sum")},
    **{f"nn.{name}": (X, {}) for name in ("elu", "relu", "relu6", "selu", "tanh")},
}


def of_tensorflow(name, first, arguments):
    """Return what TensorFlow's function of a name gives."""
    import tensorflow as tf

    if name == "__operators__.add":
        return tf.add(first, **arguments)
    if name == "__operators__.getitem":
        return first[:, 1:, 2, None]
    function = functools.reduce(getattr, name.split("."), tf)
    return function(first, **arguments)


@pytest.mark.parametrize("name", OPS)
def test_functions_of_tensorflow(name):
    first, arguments = CALLED[name]
    expected = np.asarray(of_tensorflow(name, first, arguments))
    inputs = [keras.Input(batch_shape=array.shape) for array in keras.tree.flatten([first])]
    outputs = OPS[name](inputs if isinstance(first, list) else inputs[0], **arguments)
    model = keras.Model(inputs, outputs)
    got = np.asarray(model(first if isinstance(first, list) else [first]))
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


# Op of a node: first inputs, constants by their place, options, and what it gives.
NODES_CALLED = {
    "Sum": ([X], {"1": [1, 2]}, {"keep_dims": {"b": True}}, X.sum((1, 2), keepdims=True)),
    "Max": ([X], {"1": -1}, {"keep_dims": {"b": False}}, X.max(-1)),
    "Pack": ([X, X], {}, {"axis": {"i": "1"}, "N": {"i": "2"}}, np.stack([X, X], 1)),
    "Squeeze": ([X[:, :1]], {}, {"squeeze_dims": {"list": {"i": ["1"]}}}, X[:, 0]),
    "SpaceToDepth": ([X[:, :, :2]], {}, {"block_size": {"i": "2"}}, X[:, :, :2].reshape(2, 1, 1, 16)),
    "ConcatV2": ([X, X], {"2": 1}, {}, np.concatenate([X, X], 1)),
    "Sub": ([X], {"0": 1.0}, {}, 1.0 - X),
    "StridedSlice": (
        [X],
        {"1": [0, 1, 0, 0], "2": [0, 2, 0, 3], "3": [1, 1, 1, 1]},
        {
            **{mask: {"i": "0"} for mask in ("ellipsis_mask", "end_mask", "begin_mask")},
            "shrink_axis_mask": {"i": "2"},
            "new_axis_mask": {"i": "4"},
            "begin_mask": {"i": "1"},
            "end_mask": {"i": "1"},
        },
        X[:, 1, None, 0:3],
    ),
}


@pytest.mark.parametrize("op", NODES_CALLED)
def test_nodes_of_older_tensorflow(op):
    arrays, constants, options, expected = NODES_CALLED[op]
    function = node_function({"node_def": {"op": op, "attr": options}, "constants": constants})
    inputs = [keras.Input(batch_shape=array.shape) for array in arrays]
    model = keras.Model(inputs, function(inputs if len(inputs) > 1 else inputs[0]))
    np.testing.assert_allclose(model(arrays), expected, rtol=1e-6, atol=1e-6)
