"""TensorFlow's functions between layers, as Keras 2 stores them."""

import functools
import json

import cases
import h5py
import keras
import numpy as np
import pytest
from facts import says

from tfnorm.convert import load_tfa_model
from tfnorm.convert.tfa.ops import OPS, called_function, node_function

pytestmark = pytest.mark.addons

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
    "broadcast_to": (X[:, :1], {"shape": [2, 5, 3, 4]}),
    "floor_div": (X, {"y": 0.3}),
    "gather": (X, {"indices": [2, 0], "axis": -1}),
    "image.flip_left_right": (X, {}),
    "image.flip_up_down": (X, {}),
    "image.resize": (X, {"size": [5, 2]}),
    **{f"{module}.l2_normalize": (X, {"axis": [1, 2]}) for module in ("linalg", "math", "nn")},
    "math.add_n": ([X, POSITIVE, X], {}),
    "math.argmax": (X, {"axis": -1}),
    "math.argmin": (X, {"axis": 1, "output_type": "int32"}),
    "math.cumsum": (X, {"axis": 1}),
    **{f"math.{name}": (X, {}) for name in ("asinh", "atan", "ceil", "cosh", "erf", "expm1", "floor", "round")},
    **{f"math.{name}": (X, {}) for name in ("sign", "sinh", "tan")},
    **{f"math.{name}": (POSITIVE, {}) for name in ("log1p", "reciprocal")},
    **{f"math.{name}": (X, {"y": 0.25}) for name in ("equal", "greater", "greater_equal", "less", "less_equal")},
    **{f"math.{name}": (X, {"y": 0.25}) for name in ("floordiv", "floormod", "not_equal", "squared_difference")},
    "math.divide_no_nan": (X, {"y": [0.0, 1.0, 2.0, 3.0]}),
    **{f"math.logical_{name}": (X > 0, {"y": X[:, :1] < 0.5}) for name in ("and", "or")},
    "math.logical_not": (X > 0, {}),
    **{f"math.reduce_{name}": (X > 0, {"axis": [1, 2], "keepdims": True}) for name in ("all", "any")},
    **{f"math.reduce_{name}": (X, {"axis": -1}) for name in ("logsumexp", "prod", "std", "variance")},
    "math.top_k": (X, {"k": 2}),
    "nn.avg_pool": (X, {"ksize": 2, "strides": 1, "padding": "SAME"}),
    "nn.avg_pool1d": (X[:, 0], {"ksize": 2, "strides": 1, "padding": "SAME"}),
    "nn.avg_pool2d": (X, {"ksize": [1, 2, 3, 1], "strides": [1, 1, 2, 1], "padding": "SAME"}),
    "nn.avg_pool3d": (X[:, :, :, None], {"ksize": 2, "strides": 2, "padding": "SAME"}),
    "nn.bias_add": (X, {"bias": [1.0, 2.0, 3.0, 4.0]}),
    "nn.crelu": (X, {"axis": -1}),
    "nn.log_softmax": (X, {"axis": 1}),
    "nn.max_pool": (X, {"ksize": [2, 1], "strides": [1, 2], "padding": "VALID"}),
    "nn.max_pool1d": (X[:, 0], {"ksize": 2, "strides": 2, "padding": "VALID"}),
    "nn.max_pool2d": (X, {"ksize": [2], "strides": 1, "padding": "VALID", "data_format": "NHWC"}),
    "nn.max_pool3d": (X[:, :, :, None], {"ksize": [1, 2, 1], "strides": [1, 1, 1], "padding": "SAME"}),
    "nn.softsign": (X, {}),
    "one_hot": (np.array([[0, 2], [1, 3]]), {"depth": 4}),
    "ones_like": (X, {}),
    "repeat": (X, {"repeats": 2, "axis": 1}),
    "reverse": (X, {"axis": [1, 3]}),
    "roll": (X, {"shift": [1, 2], "axis": [2, 3]}),
    "slice": (X, {"begin": [0, 1, 0, 2], "size": [-1, 1, 2, -1]}),
    "sort": (-X, {"axis": -1}),
    "split": (X, {"num_or_size_splits": [1, -1], "axis": 3}),
    "stop_gradient": (X, {}),
    "tensordot": (X, {"b": [[1.0], [2.0], [3.0], [4.0]], "axes": 1}),
    "tile": (X, {"multiples": [1, 2, 1, 3]}),
    "unstack": (X, {"axis": 2}),
    "where": (X > 0, {"x": X, "y": POSITIVE}),
    "zeros_like": (X, {"dtype": "int32"}),
}
# More ways to call some of them.
AGAIN = [
    *(
        ("image.resize", X, {"size": size, "method": method})
        for method in ("nearest", "bicubic", "area", "lanczos3", "lanczos5")
        for size in ([5, 2], [1, 7])
    ),
    ("image.resize", X, {"size": [1, 2], "antialias": True}),
    ("image.resize", (X * 16).astype("uint8"), {"size": [5, 2]}),
    ("image.resize", (X * 16).astype("uint8"), {"size": [5, 2], "method": "nearest"}),
    ("split", X, {"num_or_size_splits": 2, "axis": -1}),
    ("split", X, {"num_or_size_splits": [1, 2], "axis": 2}),
    ("linalg.matmul", X, {"b": POSITIVE, "transpose_b": True}),
    ("linalg.matmul", X, {"b": POSITIVE, "transpose_a": True}),
    ("linalg.l2_normalize", X, {"axis": -1, "epsilon": 5.0}),
    ("nn.avg_pool", X[:, 0], {"ksize": [1, 2, 1], "strides": [1, 1, 1], "padding": "VALID"}),
    ("roll", X, {"shift": 1, "axis": 2}),
]


def of_tensorflow(name, first, arguments):
    """Return what TensorFlow's function of a name gives."""
    import tensorflow as tf

    if name == "__operators__.add":
        return tf.add(first, **arguments)
    if name == "__operators__.getitem":
        return first[:, 1:, 2, None]
    if name == "floor_div":
        return tf.compat.v1.floor_div(first, **arguments)
    function = functools.reduce(getattr, name.split("."), tf)
    return function(first, **arguments)


@pytest.mark.parametrize(
    ("name", "first", "arguments"), [*((name, *CALLED[name]) for name in OPS if name in CALLED), *AGAIN]
)
def test_functions_of_tensorflow(name, first, arguments):
    expected = keras.tree.flatten(of_tensorflow(name, first, arguments))
    inputs = [keras.Input(batch_shape=array.shape, dtype=array.dtype) for array in keras.tree.flatten([first])]
    outputs = OPS[name](inputs if isinstance(first, list) else inputs[0], **arguments)
    model = keras.Model(inputs, outputs)
    got = keras.tree.flatten(model(first if isinstance(first, list) else [first]))
    for output, right in zip(got, map(np.asarray, expected), strict=True):
        assert keras.backend.standardize_dtype(output.dtype) == right.dtype
        np.testing.assert_allclose(keras.ops.convert_to_numpy(output), right, rtol=1e-5, atol=1e-6)


def test_every_function_is_called():
    assert set(CALLED) == set(OPS)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("image.resize", {"size": [3, 3], "method": "gaussian"}),
        ("image.resize", {"size": [3, 3], "preserve_aspect_ratio": True}),
        ("nn.max_pool2d", {"ksize": 2, "strides": 1, "padding": "SAME", "data_format": "NCHW"}),
        ("nn.max_pool2d", {"ksize": [1, 2, 2, 2], "strides": 1, "padding": "SAME"}),
        ("gather", {"indices": [[0], [1]], "axis": 1, "batch_dims": 1}),
        ("math.cumsum", {"axis": 1, "exclusive": True}),
    ],
)
def test_what_keras_cannot_do_is_no_other_number(name, arguments):
    with pytest.raises((ValueError, TypeError)):
        OPS[name](keras.Input(batch_shape=X.shape), **arguments)


@pytest.mark.parametrize("name", ["compat.v1.image.resize", "compat.v1.where", "image.adjust_hue"])
def test_functions_that_are_not_known(name):
    assert called_function(name) is None


def described(*entries):
    """Return the description of a model of Keras 2: an image, and functions one after the other."""
    layers = [
        {
            "class_name": "InputLayer",
            "name": "image",
            "config": {"name": "image", "batch_input_shape": [None, 2, 3, 4], "dtype": "float32"},
            "inbound_nodes": [],
        }
    ]
    for name, kind, config, arguments in entries:
        before = [layers[-1]["name"], 0, 0, arguments]
        layers.append({"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": [before]})
        if kind not in ("TFOpLambda", "TensorFlowOpLayer"):
            layers[-1]["inbound_nodes"] = [[before]]
    return {
        "class_name": "Functional",
        "keras_version": "2.15.0",
        "config": {
            "name": "model",
            "layers": layers,
            "input_layers": [["image", 0, 0]],
            "output_layers": [[layers[-1]["name"], 0, 0]],
        },
    }


DENSE = ("dense", "Dense", {"units": 2, "use_bias": False}, {})
KERNEL = np.arange(8, dtype="float32").reshape(4, 2)


@pytest.fixture
def old_file(tmp_path):
    """Return a function that writes a model with a dense layer, whose kernel is `KERNEL`, and returns the path."""

    def write(*entries):
        path = tmp_path / "old.h5"
        with h5py.File(path, "w") as file:
            file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(described(*entries)), "2.15.0"
            group = file.create_group("model_weights")
            group.attrs["layer_names"] = [b"dense"]
            group.create_group("dense").attrs["weight_names"] = [b"dense/kernel:0"]
            group["dense"]["dense/kernel:0"] = KERNEL
        return path

    return write


def test_functions_in_a_file(old_file):
    resized = ("tf.image.resize", "TFOpLambda", {"function": "image.resize"}, {"size": [4, 6]})
    pooled = (
        "tf.nn.max_pool2d",
        "TFOpLambda",
        {"function": "nn.max_pool2d"},
        {"ksize": 2, "strides": 2, "padding": "SAME"},
    )
    model = load_tfa_model(old_file(resized, pooled, DENSE))
    expected = of_tensorflow("image.resize", X, {"size": [4, 6]})
    expected = of_tensorflow("nn.max_pool2d", expected, pooled[-1])
    np.testing.assert_allclose(model(X), keras.ops.convert_to_numpy(expected) @ KERNEL, rtol=1e-5, atol=1e-5)


def test_a_function_with_several_outputs(old_file):
    split = ("tf.split", "TFOpLambda", {"function": "split"}, {"num_or_size_splits": 2, "axis": 1})
    taken = ("tf.math.abs", "TFOpLambda", {"function": "math.abs"}, {})
    path = old_file(split, taken, DENSE)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][2]["inbound_nodes"][0][2] = 1  # the second output
        file.attrs["model_config"] = json.dumps(config)
    np.testing.assert_allclose(load_tfa_model(path)(X), np.abs(X[:, 1:]) @ KERNEL, rtol=1e-5, atol=1e-5)


UNKNOWN = {
    "unknown": ("tf.image.adjust_hue", "TFOpLambda", {"function": "image.adjust_hue"}, {"delta": 0.1}),
    "as it is called": (
        "tf.image.resize",
        "TFOpLambda",
        {"function": "image.resize"},
        {"size": [4, 6], "method": "gaussian"},
    ),
    "of TensorFlow 1": (
        "tf.compat.v1.image.resize",
        "TFOpLambda",
        {"function": "compat.v1.image.resize"},
        {"size": [4, 6]},
    ),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_advice_for_a_function(case, old_file):
    """It names the function and no layer, and works when it is followed."""
    function = UNKNOWN[case]
    path = old_file(function, DENSE)
    sentence = cases.sentence(path)
    assert function[0] in sentence
    assert "custom_object_scope" not in sentence
    if case == "as it is called":
        assert "method='gaussian'" in sentence
    call = sentence.rpartition(": ")[2].removesuffix(".")
    inputs = keras.Input((2, 3, 4))
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(keras.ops.flip(inputs, axis=1)))
    model = eval(call, {"load_tfa_model": load_tfa_model, "model": model})  # noqa: S307 - our own sentence
    np.testing.assert_allclose(model(X), X[:, ::-1] @ KERNEL, rtol=1e-5)


def test_advice_for_a_layer_and_a_function(old_file):
    sentence = cases.sentence(old_file(UNKNOWN["unknown"], ("mine", "Mine", {}, {}), DENSE))
    assert "{'Mine': Mine}" in sentence
    says(sentence, "tf.image.adjust_hue ('tf.image.adjust_hue')", "whole model")


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
    "SplitV": ([X], {"1": [1, 3], "2": 3}, {"num_split": {"i": "2"}}, [X[..., :1], X[..., 1:]]),
    "Split": ([X], {"0": 1}, {"num_split": {"i": "2"}}, [X[:, :1], X[:, 1:]]),
    "Unpack": ([X], {}, {"axis": {"i": "1"}, "num": {"i": "2"}}, [X[:, 0], X[:, 1]]),
    "MatMul": ([X[0, 0], X[0, 1]], {}, {"transpose_b": {"b": True}}, X[0, 0] @ X[0, 1].T),
    "BatchMatMulV2": ([X, X], {}, {"adj_x": {"b": True}}, np.swapaxes(X, -1, -2) @ X),
    "AddN": ([X, X], {}, {"N": {"i": "2"}}, X + X),
    "MaxPool": (
        [X],
        {},
        {
            **{key: {"list": {"i": ["1", "2", "1", "1"]}} for key in ("ksize", "strides")},
            "padding": {"s": "VkFMSUQ="},
            "data_format": {"s": "TkhXQw=="},
        },
        X.max(1, keepdims=True),
    ),
    "AvgPool": (
        [X],
        {},
        {**{key: {"list": {"i": ["1", "1", "3", "1"]}} for key in ("ksize", "strides")}, "padding": {"s": "U0FNRQ=="}},
        X.mean(2, keepdims=True),
    ),
    "ResizeNearestNeighbor": ([X], {"1": [4, 3]}, {"half_pixel_centers": {"b": True}}, X.repeat(2, 1)),
    "ResizeBilinear": (
        [X],
        {"1": [4, 3]},
        {"half_pixel_centers": {"b": True}, "align_corners": {"b": False}},
        np.stack([X[:, 0], X[:, 0] * 0.75 + X[:, 1] * 0.25, X[:, 0] * 0.25 + X[:, 1] * 0.75, X[:, 1]], 1),
    ),
}


@pytest.mark.parametrize("options", [{}, {"align_corners": {"b": True}, "half_pixel_centers": {"b": True}}])
def test_resizing_of_tensorflow_1(options):
    node = {"op": "ResizeBilinear", "attr": options}
    assert node_function({"node_def": node, "constants": {"1": [4, 3]}}) is None


@pytest.mark.parametrize("op", NODES_CALLED)
def test_nodes_of_older_tensorflow(op):
    arrays, constants, options, expected = NODES_CALLED[op]
    function = node_function({"node_def": {"op": op, "attr": options}, "constants": constants})
    inputs = [keras.Input(batch_shape=array.shape) for array in arrays]
    model = keras.Model(inputs, function(inputs if len(inputs) > 1 else inputs[0]))
    got = keras.tree.flatten(model(arrays))
    for output, right in zip(got, keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(output, right, rtol=1e-6, atol=1e-6)
