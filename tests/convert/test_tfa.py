"""Models of the real tensorflow-addons, opened here; and files that are not what they say."""

import functools
import importlib.util
import json
import random
import re
import resource
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from tfnorm import layers as ours
from tfnorm.convert import load_tfa_model
from tfnorm.convert._tfa_ops import OPS, node_function
from tfnorm.errors import TfnormError

TFA = Path(__file__).resolve().parents[1] / "tfa"


def module(name):
    """Return a module beside the fixtures."""
    place = importlib.util.spec_from_file_location(name, TFA / f"{name}.py")
    loaded = importlib.util.module_from_spec(place)
    place.loader.exec_module(loaded)
    return loaded


cases, written = module("cases"), module("write_fixtures")
FOUND = cases.found()
OPENED = [(case, file) for case in FOUND for file in cases.files(case)]

# The options of each layer that there must be a case for.
OPTIONS = {
    "group_norm": "groups_1 groups_2 groups_6 groups_-1 axis_1 axis_-2 no_center no_scale no_weights epsilon penalties",
    "instance_norm": "default axis_1 no_weights epsilon",
    "filter_response_norm": "default learned_epsilon epsilon constraint",
    "tlu": "default affine vector",
    "weight_norm": "data_init no_data_init no_data_init_untouched no_bias dense conv1d transposed",
    "spectral_norm": "default power_iterations_3 dense transposed embedding",
    "model": "residual shared nested named frozen trained",
}

DROPPED = {
    "spectral_norm-embedding": "Keras has no counterpart of these settings, left out: SpectralNormalization "
    "('spectral_normalization') of an Embedding."
}


@pytest.fixture
def unpacked(tmp_path):
    """Return a function that unpacks a case."""
    return lambda case: cases.unpack(case, tmp_path / case)


@contextmanager
def quietly(case):
    """Expect the warning of a case, and no other of ours or Keras's."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    told = [str(warning.message) for warning in caught if warning.category is UserWarning]
    assert told == ([DROPPED[case]] if case in DROPPED else [])


# The matrix.


def test_every_case_has_its_archive():
    assert [case for case in FOUND if "/" not in case] == sorted(written.CASES)
    wanted = {f"{kind}-{option}" for kind, options in OPTIONS.items() for option in options.split()}
    assert wanted <= set(written.CASES)
    for case in written.CASES:
        alone = ["old.h5", "new.weights.h5"] if written.CASES[case].weights else []
        assert cases.files(case) == ["model.h5", "model.keras", *alone]


def test_the_archives_are_small():
    assert sum(path.stat().st_size for path in cases.FIXTURES.rglob("*") if path.is_file()) < 600_000


@pytest.mark.parametrize(("case", "file"), OPENED, ids=[" ".join(each) for each in OPENED])
def test_same_outputs(case, file, unpacked):
    folder = unpacked(case)
    with quietly(case):
        model = cases.load(folder, file)
    assert cases.largest_difference(model, folder) < 1e-5
    assert not model.compiled


def test_outputs_tell_something(unpacked):
    for case in written.CASES:
        for output in keras.tree.flatten(cases.arrays(unpacked(case), "y")):
            assert np.isfinite(output).all()
            assert output.std() > 1e-2


KINDS = {
    "group_norm-groups_2": layers.GroupNormalization,
    "instance_norm-default": layers.GroupNormalization,
    "filter_response_norm-default": ours.FilterResponseNormalization,
    "tlu-default": ours.TLU,
    "weight_norm-data_init": layers.Conv2D,
    "spectral_norm-default": layers.SpectralNormalization,
    "spectral_norm-embedding": layers.Embedding,
    "keras-adapted": layers.Normalization,
}


@pytest.mark.parametrize("case", KINDS)
def test_what_a_layer_becomes(case, unpacked):
    with quietly(case):
        model = cases.load(unpacked(case), "model.keras")
    assert type(model.layers[0]) is KINDS[case]


def test_settings_are_kept(unpacked):
    (norm,) = cases.load(unpacked("group_norm-penalties"), "model.h5").layers
    assert isinstance(norm.gamma_regularizer, keras.regularizers.L2)
    assert isinstance(norm.beta_constraint, keras.constraints.NonNeg)
    assert isinstance(norm.gamma_initializer, keras.initializers.Zeros)
    (norm,) = cases.load(unpacked("filter_response_norm-learned_epsilon"), "model.h5").layers
    assert norm.learned_epsilon
    assert norm.epsilon == 1e-6
    (norm,) = cases.load(unpacked("spectral_norm-power_iterations_3"), "model.keras").layers
    assert norm.power_iterations == 3


@pytest.mark.parametrize("file", cases.FILES)
def test_what_is_frozen(file, unpacked):
    model = cases.load(unpacked("model-frozen"), file)
    inner, first, second, spectral, half = model.layers
    assert [layer.trainable for layer in (first, second, spectral, half)] == [False, True, False, True]
    assert not inner.trainable_weights
    assert not first.trainable_weights
    assert not spectral.trainable_weights
    assert [weight.name for weight in second.trainable_weights] == ["kernel", "bias"]
    assert [layer.trainable for layer in half.layers] == [False, True, True]
    assert len(model.trainable_weights) == 2 + 2 + 2


def test_one_layer_stays_one(unpacked):
    model = cases.load(unpacked("model-shared"), "model.h5")
    assert len(model.weights) == 4
    assert sorted(layer.name for layer in model.layers) == ["conv", "norm", "one", "subtract", "two"]
    model = cases.load(unpacked("model-nested_shared"), "model.keras")
    assert model.get_layer("a").get_layer("norm") is model.get_layer("b").get_layer("norm")


def test_slashes_in_names(unpacked):
    model = cases.load(unpacked("model-named"), "model.h5")
    assert {layer.name for layer in model.layers} == {"one", "two", "block_product", "block_norm", "block_tlu"}
    assert set(model(cases.arrays(unpacked("model-named"), "x"))) == {"x", "y"}


@pytest.mark.parametrize("case", ["model-residual", "model-nested", "spectral_norm-default", "tlu-affine"])
def test_it_trains(case, unpacked):
    folder = unpacked(case)
    model = cases.load(folder, "model.keras")
    x, y = cases.arrays(folder, "x"), cases.arrays(folder, "y")
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    losses = model.fit(x, y + 1, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# Only Keras's layers are in these, and no layer that is in two of the models inside, which Keras cannot reopen.
PLAIN = [
    "group_norm-groups_2",
    "instance_norm-default",
    "keras-adapted",
    "keras-convolutions",
    "model-attention",
    "model-frozen",
    "model-nested",
    "model-recurrent",
    "model-residual",
    "model-shared",
    "spectral_norm-default",
    "weight_norm-data_init",
]

REOPEN = """
import sys, pathlib
import keras, numpy as np
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    model = keras.saving.load_model(path, compile=False)
    with np.load(path.with_suffix(".npz")) as stored:
        values = {name[2:]: stored[name] for name in stored.files}
    x = [values[f"x{i}"] for i in range(len(model.inputs))]
    outputs = keras.tree.flatten(model(x[0] if len(x) == 1 else x, training=False))
    y = [values[f"y{i}"] for i in range(len(outputs))]
    close = all(np.abs(np.asarray(a) - b).max() <= 1e-5 * max(1, np.abs(b).max()) for a, b in zip(outputs, y))
    print(path.stem, close)
print("tfnorm" in sys.modules)
"""


def test_the_result_opens_without_tfnorm(unpacked, tmp_path, run_python):
    target = tmp_path / "saved"
    target.mkdir()
    for case in PLAIN:
        folder = unpacked(case)
        with quietly(case):
            cases.load(folder, "model.h5").save(target / f"{case}.keras")
        named = {
            f"{letter}_{letter}{index}": value
            for letter in "xy"
            for index, value in enumerate(keras.tree.flatten(cases.arrays(folder, letter)))
        }
        np.savez(target / f"{case}.npz", **named)
    assert run_python(REOPEN, target).split("\n") == [*(f"{case} True" for case in sorted(PLAIN)), "False"]


def test_the_result_with_layers_of_tfnorm_opens_with_it(unpacked, tmp_path):
    folder = unpacked("tlu-after_filter_response_norm")
    cases.load(folder, "model.h5").save(tmp_path / "saved.keras")
    assert cases.largest_difference(keras.saving.load_model(tmp_path / "saved.keras"), folder) < 1e-5


def test_a_weight_norm_that_no_batch_has_reached(unpacked, tmp_path):
    """Without the batch that would scale it the kernel is the one that was drawn, and a warning says so."""
    path = unpacked("weight_norm-data_init") / "model.h5"
    with h5py.File(path, "r+") as file:
        group = file["model_weights/weight_normalization/weight_normalization"]
        group["initialized:0"][()] = False
        kernel = group["kernel:0"][()]
    with pytest.warns(UserWarning) as caught:
        model = load_tfa_model(path)
    assert [str(warning.message) for warning in caught] == [
        "The layer 'weight_normalization' was saved before its first batch, from which tensorflow-addons would have "
        "scaled its kernel. It has the kernel as it was drawn."
    ]
    np.testing.assert_array_equal(model.layers[0].kernel, kernel)


# Weights alone.


def sequential(*made, shape=(4, 5, 6)):
    return keras.Sequential([keras.Input(shape), *made])


def shared():
    one, two = keras.Input((4, 5, 6)), keras.Input((4, 5, 6))
    norm, conv = layers.GroupNormalization(3), layers.Conv2D(6, 1)
    x, y = conv(norm(one)), norm(conv(two))
    return keras.Model([one, two], [layers.Subtract()([x, y]), norm(x)])


def nested():
    inner = keras.Sequential([layers.Conv2D(6, 1), layers.GroupNormalization(2), layers.BatchNormalization()])
    inputs = keras.Input((4, 5, 6))
    x = layers.SpectralNormalization(layers.Conv2D(6, 3, padding="same"))(inputs)
    x = layers.Add()([x, inner(inner(x))])
    middle = keras.Model(inputs, layers.Conv2D(6, 1)(x), name="middle")
    inputs = keras.Input((4, 5, 6))
    return keras.Model(inputs, layers.GroupNormalization(-1)(middle(layers.Conv2D(6, 1)(inputs))))


GIVEN = {
    "group_norm-groups_2": lambda: sequential(layers.GroupNormalization(2)),
    "instance_norm-default": lambda: sequential(ours.InstanceNormalization()),
    "filter_response_norm-learned_epsilon": lambda: sequential(ours.FilterResponseNormalization(learned_epsilon=True)),
    "tlu-affine": lambda: sequential(ours.TLU(axis=None, affine=True)),
    "weight_norm-data_init": lambda: sequential(layers.Conv2D(3, 3, activation="relu")),
    "spectral_norm-default": lambda: sequential(layers.SpectralNormalization(layers.Conv2D(3, 3, activation="relu"))),
    "model-shared": shared,
}


@pytest.mark.parametrize("file", ["old.h5", "new.weights.h5"])
@pytest.mark.parametrize("case", GIVEN)
def test_weights_for_a_model_that_is_given(case, file, unpacked):
    folder, model = unpacked(case), GIVEN[case]()
    assert load_tfa_model(folder / file, model=model) is model
    assert cases.largest_difference(model, folder) < 1e-5


@pytest.mark.parametrize("version", ["", "0.21/"])
def test_weights_for_nested_models_that_are_given(version, unpacked):
    folder, model = unpacked(f"{version}model-nested"), nested()
    load_tfa_model(folder / "new.weights.h5", model=model)
    assert cases.largest_difference(model, folder) < 1e-5


def sentence(path, **options):
    with pytest.raises(TfnormError) as caught:
        load_tfa_model(path, **options)
    return str(caught.value)


def test_weights_that_do_not_say_what_they_belong_to(unpacked):
    path = unpacked("model-nested") / "old.h5"
    assert sentence(path, model=nested()) == (
        f"{path} does not say which layers of 'middle' had a weight normalization. Pass as `model` the file that "
        "model.to_json wrote where the weights were saved."
    )


def test_weights_of_another_model(unpacked):
    folder = unpacked("group_norm-groups_2")
    old, new = folder / "old.h5", folder / "new.weights.h5"
    other = sequential(layers.Conv2D(3, 3, name="conv"))
    assert sentence(old, model=other) == (
        f"{old}: the layer 'group_normalization' must have kernel (3, 3, 6, 3), bias (3,). "
        "The file has gamma (6,), beta (6,). Give the model that the file was written from."
    )
    assert sentence(new, model=other) == (
        f"{new}: the layer 'conv' must have kernel (3, 3, 6, 3), bias (3,). "
        "The file has none. Give the model that the file was written from."
    )
    longer = sequential(layers.GroupNormalization(2, name="one"), layers.GroupNormalization(2, name="two"))
    assert sentence(old, model=longer) == (
        f"{old} must hold weights for the 2 layers of the model that have any: one, two. It has weights of 1: "
        "group_normalization. Give the model that the file was written from."
    )
    shorter = sequential(layers.ReLU())
    assert sentence(new, model=shorter) == (
        f"{new} holds weights that the model has no place for: layers/group_normalization/vars/0, "
        "layers/group_normalization/vars/1. Give the model that the file was written from."
    )
    before = other.get_weights()
    sentence(old, model=other)
    for array, same in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, same)


def test_weights_in_another_order(unpacked):
    path = unpacked("group_norm-groups_2") / "old.h5"
    with h5py.File(path, "r+") as file:
        group = file["group_normalization"]
        group.attrs["weight_names"] = group.attrs["weight_names"][::-1]
    assert sentence(path, model=sequential(layers.GroupNormalization(2))) == (
        f"{path}: the layer 'group_normalization' must have gamma (6,), beta (6,). "
        "The file has beta (6,), gamma (6,). Give the model that the file was written from."
    )


@pytest.mark.parametrize("file", ["old.h5", "new.weights.h5"])
def test_weights_without_a_model(file, unpacked):
    path = unpacked("tlu-affine") / file
    assert sentence(path) == (
        f"{path} holds weights and no model. Pass `model`: the same model in Keras 3, or the file that its to_json "
        "wrote."
    )


def test_the_page_about_it(unpacked, tmp_path, monkeypatch):
    folder = unpacked("group_norm-groups_2")
    (folder / "model.h5").rename(tmp_path / "old.h5")
    (folder / "old.h5").rename(tmp_path / "weights.h5")
    monkeypatch.chdir(tmp_path)
    page = (TFA.parents[1] / "docs" / "tensorflow-addons.md").read_text()
    names, blocks = {}, re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "docs/tensorflow-addons.md", "exec"), names)  # noqa: S102 - our own page
        assert cases.largest_difference(names["model"], folder) < 1e-5


# TensorFlow's functions between layers.

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


# Files that cannot be opened.


def changed(path, change):
    """Rewrite a .keras file with its description changed."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(entries["config.json"])
    change(config["config"]["layers"])
    entries["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def entry(kind, name, package="keras.layers", **config):
    registered = f"Addons>{kind}" if package == "tensorflow_addons" else None
    return {
        "module": package,
        "class_name": kind,
        "config": {"name": name, "trainable": True, "dtype": "float32", **config},
        "registered_name": registered,
    }


def test_unknown_layers_are_listed_at_once(unpacked):
    path = changed(
        unpacked("group_norm-groups_2") / "model.keras",
        lambda found: found.extend(
            [
                entry("Maxout", "maxout", "tensorflow_addons", num_units=2),
                entry("NoisyDense", "noisy", "tensorflow_addons", units=2),
                entry("LocallyConnected1D", "local"),
                entry("TFSMLayer", "run", filepath="/somewhere/else"),
                entry("Activation", "act", activation="Addons>lisht"),
                entry("ConvLSTM2D", "lstm", filters=2, kernel_size=1, recurrent_activation="hard_sigmoid"),
                entry("BatchNormalization", "bn", axis=[1, 2], renorm=True),
            ]
        ),
    )
    assert sentence(path) == (
        f"{path} holds what cannot be converted: Addons>Maxout ('maxout'), Addons>NoisyDense ('noisy'), "
        "LocallyConnected1D ('local'), TFSMLayer ('run'), Activation ('act') with activation=Addons>lisht, "
        "ConvLSTM2D ('lstm') with recurrent_activation=hard_sigmoid, which has another slope in Keras 3, "
        "BatchNormalization ('bn') with axis=[1, 2]. For a layer, write one for Keras 3 and register it under the "
        "same name with keras.saving.register_keras_serializable('Addons')."
    )


class Maxout(layers.Layer):
    """A layer of one's own in the place of one of tensorflow-addons."""

    def __init__(self, num_units, **kwargs):
        super().__init__(**kwargs)
        self.num_units = num_units

    def call(self, inputs):
        return keras.ops.max(keras.ops.reshape(inputs, (-1, 4, 5, self.num_units, 6 // self.num_units)), axis=-1)

    def get_config(self):
        return {**super().get_config(), "num_units": self.num_units}


def test_a_layer_of_your_own(unpacked):
    folder = unpacked("group_norm-groups_2")
    maxout = entry("Maxout", "maxout", "tensorflow_addons", num_units=2)
    path = changed(folder / "model.keras", lambda found: found.append(maxout))
    with keras.saving.custom_object_scope({"Addons>Maxout": Maxout}):
        model = load_tfa_model(path)
    expected = cases.arrays(folder, "y").reshape(2, 4, 5, 2, 3).max(axis=-1)
    np.testing.assert_allclose(model(cases.arrays(folder, "x")), expected, rtol=1e-5, atol=1e-5)


def test_penalties_of_your_own_are_left_out(unpacked):
    def change(found):
        found[1]["config"]["gamma_regularizer"] = {
            "module": "mine",
            "class_name": "Mine",
            "config": {},
            "registered_name": "mine>Mine",
        }

    folder = unpacked("group_norm-groups_2")
    path = changed(folder / "model.keras", change)
    with pytest.warns(UserWarning) as caught:
        model = load_tfa_model(path)
    assert [str(warning.message) for warning in caught] == [
        "Keras has no counterpart of these settings, left out: GroupNormalization ('group_normalization') "
        "gamma_regularizer=mine>Mine."
    ]
    assert cases.largest_difference(model, folder) < 1e-5


def lambda_layer(function):
    """Return what Keras 2 writes for a Lambda layer."""
    code = keras.src.utils.python_utils.func_dump(function)
    return entry("Lambda", "run", function=[code[0], None, None], function_type="lambda", arguments={})


@pytest.mark.parametrize("file", ["model.keras", "model.h5"])
def test_code_in_a_file_runs_only_if_asked(file, unpacked, tmp_path, monkeypatch):
    folder = unpacked("group_norm-groups_2")
    # A constant of the code: a Lambda layer has no module to look names up in.
    monkeypatch.chdir(tmp_path)
    layer = lambda_layer(lambda x: [__import__("pathlib").Path("was_run").touch(), x * 2][1])
    path = folder / file
    if file == "model.keras":
        changed(path, lambda found: found.append(layer))
    else:
        with h5py.File(path, "r+") as h5:
            config = json.loads(h5.attrs["model_config"])
            config["config"]["layers"].append({key: layer[key] for key in ("class_name", "config")})
            h5.attrs["model_config"] = json.dumps(config)
    assert sentence(path) == (
        f"{path} holds Python code, which is not run unless you ask: Lambda ('run'). "
        "If you trust whoever wrote it, pass safe_mode=False."
    )
    assert not Path("was_run").exists()
    model = load_tfa_model(path, safe_mode=False)
    np.testing.assert_allclose(model(cases.arrays(folder, "x")), cases.arrays(folder, "y") * 2, rtol=1e-5, atol=1e-5)
    assert Path("was_run").exists()


def test_a_function_that_is_not_in_the_file(unpacked):
    named = entry("Lambda", "run", function="mine", function_type="function")
    path = changed(unpacked("group_norm-groups_2") / "model.keras", lambda found: found.append(named))
    assert "holds what cannot be converted: Lambda ('run', whose function is not in the file)." in sentence(path)


def test_an_axis_that_tensorflow_addons_confuses(unpacked):
    def change(found):
        found[1]["config"].update(axis=-2, groups=5)

    path = changed(unpacked("group_norm-groups_2") / "model.keras", change)
    assert sentence(path) == (
        "The layer 'group_normalization' normalizes another axis than it says: tensorflow-addons does so where every "
        "channel is a group and `axis` is below -1. Received: axis=-2. Give the axis from the front."
    )


def test_no_such_file(tmp_path):
    assert sentence(tmp_path / "no.h5") == f"There is no file {tmp_path / 'no.h5'}. Check the path."
    assert sentence(tmp_path) == (
        f"{tmp_path} must be an .h5 or .keras file. Received a folder, such as TensorFlow's SavedModel, which is code. "
        "Load it where it was written and save it again with model.save('model.h5')."
    )


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95pickle", b"\x89HDF\r\n\x1a\r", b"\n\x89HDF\r\n\x1a"])
def test_wrong_magic(content, tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes(content)
    assert sentence(path) == (
        f"{path} must be an .h5 or .keras file. It begins with the bytes {content[:8]!r}, which are those of neither. "
        "Load the model where it was written and save it again with model.save('model.h5')."
    )


@pytest.mark.parametrize("file", ["model.h5", "model.keras"])
def test_truncated(file, unpacked):
    path = unpacked("weight_norm-data_init") / file
    whole = path.read_bytes()
    for length in [*range(8, 100, 7), *range(100, len(whole), len(whole) // 50), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert re.fullmatch(
            re.escape(f"{path} must be a whole file of Keras 2. It is damaged or cut short (")
            + r".*\)\. Copy or save it again\.",
            sentence(path),
        )


@pytest.mark.parametrize("file", ["model.h5", "model.keras"])
def test_damaged_bytes(file, unpacked):
    """Whatever is changed there is a sentence or a model, never another error, a crash or a wait."""
    path, rng = unpacked("model-frozen") / file, random.Random(0)
    whole, refused = path.read_bytes(), 0
    for _ in range(80):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 4, 16))):
            place = rng.randrange(len(damaged) - 8)
            damaged[place : place + 8] = rng.choice((b"\xff" * 8, bytes(8), rng.randbytes(8)))
        path.write_bytes(damaged)
        try:
            load_tfa_model(path)
        except TfnormError:
            refused += 1
    assert refused > 20


def test_a_path_that_leads_outside(unpacked, tmp_path):
    path = unpacked("group_norm-groups_2") / "model.keras"
    for name in ("../outside", "/outside", "assets/../../outside", "..\\outside", "C:/outside"):
        with zipfile.ZipFile(path) as archive:
            entries = {each: archive.read(each) for each in archive.namelist() if "outside" not in each}
        with zipfile.ZipFile(path, "w") as archive:
            for each, content in {**entries, name: b"x"}.items():
                archive.writestr(each, content)
        assert sentence(path) == (
            f"{path} is not read, since Keras writes no such file: the entry {name!r} leads outside of it. If you "
            "trust it, load the model where it was written and save it again with model.save('model.h5')."
        )
    assert not [found for found in tmp_path.rglob("*outside*")]


def replaced(path, name, make):
    """Replace the gamma of an .h5 file."""
    with h5py.File(path, "r+") as file:
        group = file["model_weights/group_normalization/group_normalization"]
        del group["gamma:0"]
        make(group, "gamma:0")
    return path


def linked(link):
    def make(group, name):
        group[name] = link

    return make


ELSEWHERE = {
    "a link": linked(h5py.SoftLink("/model_weights/group_normalization/group_normalization/beta:0")),
    "another file": linked(h5py.ExternalLink("other.h5", "/secret")),
    "numbers in another file": lambda group, name: group.create_dataset(
        name, (6,), "f4", external=[("/etc/passwd", 0, 24)]
    ),
    "packed": lambda group, name: group.create_dataset(name, data=np.ones(6, "f4"), compression="gzip"),
    "strings": lambda group, name: group.create_dataset(name, data=[b"a"] * 6),
    "virtual": lambda group, name: group.create_virtual_dataset(name, h5py.VirtualLayout((6,), "f4")),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_weights_that_are_elsewhere(case, unpacked):
    path = replaced(unpacked("group_norm-groups_2") / "model.h5", case, ELSEWHERE[case])
    assert sentence(path).startswith(f"{path} is not read, since Keras writes no such file: '/model_weights")


@pytest.fixture
def no_memory():
    """Fail a test that takes much more memory than before."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


def test_ten_gigabytes_in_a_header(unpacked, no_memory):
    path = unpacked("group_norm-groups_2") / "model.h5"
    replaced(path, "", lambda group, name: group.create_dataset(name, (2_500_000_000,), "f4"))
    assert path.stat().st_size < 100_000
    assert sentence(path) == (
        f"{path} must be a whole file of Keras 2. It is damaged or cut short "
        "('/model_weights/group_normalization/group_normalization/gamma:0' claims 10000000000 bytes and stores 0). "
        "Copy or save it again."
    )


def test_ten_gigabytes_in_the_description(unpacked, no_memory):
    path = unpacked("weight_norm-dense") / "model.keras"
    changed(path, lambda found: found[1]["config"]["layer"]["config"].update(units=2_500_000_000))
    assert sentence(path) == (
        f"{path}: the layer 'weight_normalization' must have g (2500000000,), kernel (4, 2500000000), initialized (). "
        "The file has layers/weight_normalization/vars/0 (3,), layers/weight_normalization/vars/1 (4, 3), "
        "layers/weight_normalization/vars/2 (). Give the model that the file was written from."
    )


def test_ten_gigabytes_of_means(unpacked, no_memory):
    path = unpacked("keras-adapted") / "model.keras"
    changed(path, lambda found: found[0]["config"].update(batch_input_shape=[None, 4, 5, 2_500_000_000]))
    assert sentence(path) == (
        f"{path} describes a model that cannot be made (normalization has 2500000000 means). Load it where it was "
        "written and save it again."
    )


@pytest.mark.parametrize("packed", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_an_archive_that_claims_too_much(packed, unpacked, no_memory):
    path = unpacked("group_norm-groups_2") / "model.keras"
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    size = 30_000_000 if packed == zipfile.ZIP_DEFLATED else 10_000_000_000
    with zipfile.ZipFile(path, "w", packed) as archive:
        for name, content in entries.items():
            if name == "config.json" and packed == zipfile.ZIP_DEFLATED:
                with archive.open(name, "w") as file:
                    file.write(bytes(size))
            else:
                archive.writestr(name, content)
        if packed == zipfile.ZIP_STORED:
            archive.getinfo("config.json").file_size = size
            archive._didModify = True
    with zipfile.ZipFile(path) as archive:
        stored = archive.getinfo("config.json").compress_size
    assert sentence(path) == (
        f"{path} is not read, since Keras writes no such file: the entry config.json claims {size} bytes and stores "
        f"{stored}. If you trust it, load the model where it was written and save it again with "
        "model.save('model.h5')."
    )


def test_a_file_of_keras_3(tmp_path):
    model = sequential(layers.GroupNormalization(2))
    model.save(tmp_path / "new.keras")
    model.save_weights(tmp_path / "new.weights.h5")
    path = tmp_path / "new.keras"
    assert sentence(path) == (
        f"{path} was written by Keras {keras.__version__}, which tensorflow-addons never worked with. "
        "Open it with keras.saving.load_model."
    )


def test_an_archive_without_a_model(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")
    assert sentence(path) == (
        f"{path} must hold config.json and model.weights.h5. Missing: config.json, model.weights.h5. "
        "Load the model where it was written and save it again with model.save('model.keras')."
    )


def test_hdf5_without_a_model(tmp_path):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.ones(3)
    assert sentence(path) == (
        f"{path} must hold a model or the weights of one, as Keras 2 saves them. Received an HDF5 file with images in "
        "it. Give the file that model.save or model.save_weights wrote."
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda config: config.pop("class_name"), "'class_name'"),
        (lambda config: config["config"].update(layers=3), "'int' object is not iterable"),
        (lambda config: config["config"]["layers"].append({}), "'class_name'"),
    ],
)
def test_a_description_that_makes_no_sense(change, reason, unpacked):
    path = unpacked("group_norm-groups_2") / "model.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    weights = path.with_name("old.h5")
    assert sentence(weights, model=path) == (
        f"{weights} describes a model that cannot be made ({reason}). Load it where it was written and save it again."
    )


def test_a_subclassed_model_is_refused(unpacked):
    path = unpacked("group_norm-groups_2") / "model.json"
    config = json.loads(path.read_text())
    config["class_name"] = "Mine"
    path.write_text(json.dumps(config))
    assert sentence(path.with_name("old.h5"), model=path) == (
        "Only functional and sequential models can be converted. Received: Mine. Build it in Keras 3, and pass it as "
        "`model` with a file of the weights."
    )
