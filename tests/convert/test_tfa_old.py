"""Files of old versions of Keras 2, in which a name may mean another function than it does today."""

import json
import warnings

import cases
import h5py
import keras
import numpy as np
import pytest
from facts import says
from keras import layers

from tfnorm import layers as ours
from tfnorm.cli.file_conversion import FileConversion
from tfnorm.convert import load_tfa_model, to_keras
from tfnorm.convert.tfa.layers import SINCE
from tfnorm.convert.tfa.settings import ACTIVATIONS_SINCE
from tfnorm.errors import TfnormError
from tfnorm.layers.normalization.keras_2 import hard_sigmoid_of_keras_2

pytestmark = pytest.mark.addons

RNG = np.random.default_rng(0)
NONE = dict.fromkeys(("beta_regularizer", "gamma_regularizer", "beta_constraint", "gamma_constraint"))
INITIALIZERS = {
    "beta_initializer": {"class_name": "Zeros", "config": {}},
    "gamma_initializer": {"class_name": "Ones", "config": {}},
}


def norm(**config):
    """Return the settings that keras-contrib's norms write down."""
    return {"axis": -1, "epsilon": 1e-3, "center": True, "scale": True, **INITIALIZERS, **NONE, **config}


def write(path, kind, config, weights=(), *, shape=(4, 5, 6), version="2.2.4", backend="tensorflow", listed=False):
    """Write an .h5 file of a sequential model of one layer, as the Keras of a version does, and return its path."""
    layer = {
        "class_name": kind,
        "config": {
            "name": "layer",
            "trainable": True,
            "dtype": "float32",
            "batch_input_shape": [None, *shape],
            **config,
        },
    }
    described = [layer] if listed else {"name": "model", "layers": [layer]}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": described})
        group = file.create_group("model_weights")
        for place in (file, group):
            if version:
                place.attrs["keras_version"] = version
            place.attrs["backend"] = backend
        group.attrs["layer_names"] = [b"layer"]
        inner = group.create_group("layer")
        inner.attrs["weight_names"] = [f"layer/{name}:0".encode() for name, _ in weights]
        for name, value in weights:
            inner[f"layer/{name}:0"] = value
    return path


def drawn(channels):
    """Return a gamma and a beta as they are in a file."""
    return [(name, RNG.normal(size=channels).astype("float32")) for name in ("gamma", "beta")]


def bands(x, gamma, beta, groups, axis, epsilon):
    """Return what keras-contrib's GroupNormalization and that of tensorflow-addons 0.6 give, line by line."""
    shape, broadcast = list(x.shape), [1] * x.ndim
    shape[axis] = broadcast[axis] = x.shape[axis] // groups
    shape.insert(1, groups)
    broadcast.insert(1, groups)
    z = x.astype("float64").reshape(shape)
    axes = tuple(range(2, z.ndim))
    z = (z - z.mean(axes, keepdims=True)) / np.sqrt(z.var(axes, keepdims=True) + epsilon)
    return (z * gamma.reshape(broadcast) + beta.reshape(broadcast)).reshape(x.shape)


def by_channel(x, gamma, beta, axis, epsilon):
    """Return what keras-contrib's InstanceNormalization gives."""
    axes = tuple(place for place in range(1, x.ndim) if axis is None or place != axis % x.ndim)
    broadcast = [1] * x.ndim
    if axis is not None:
        broadcast[axis] = x.shape[axis]
    z = x.astype("float64")
    z = (z - z.mean(axes, keepdims=True)) / (z.std(axes, keepdims=True) + epsilon)
    return z * gamma.reshape(broadcast) + beta.reshape(broadcast)


def inputs(shape):
    return (RNG.normal(size=(2, *shape)) * 2 + np.arange(shape[-1])).astype("float32")


def opened(path):
    """Return the model in a file and the warnings about it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = load_tfa_model(path)
    return model, [str(warning.message) for warning in caught if warning.category is UserWarning]


# Groups, axis, shape without the batch, and whether it is what Keras's own layer computes.
BANDS = {
    "last": (2, -1, (4, 5, 6), False),
    "last, by number": (3, 3, (4, 5, 6), False),
    "one a channel": (6, -1, (4, 5, 6), False),
    "-1": (-1, -1, (4, 5, 6), False),
    "one group": (1, -1, (4, 5, 6), True),
    "first": (2, 1, (6, 4, 5), True),
    "middle": (2, 2, (4, 6, 5), False),
    "middle, from behind": (2, -2, (4, 6, 5), False),
    "sequence": (2, -1, (5, 6), False),
    "volume": (3, -1, (2, 3, 4, 6), False),
    "volume first": (3, 1, (6, 2, 3, 4), True),
    "vector": (2, -1, (6,), False),
    "no whole rows": (4, -1, (3, 5, 4), False),
}
ALIKE = {"last, by number", "one a channel", "middle, from behind", "volume"}  # to others of these


@pytest.mark.parametrize(
    ("case", "version"),
    [
        pytest.param(case, version, marks=pytest.mark.matrix if case == "first" or version == "2.2.4-tf" else [])
        for case in ("last", "first")
        for version in ("2.2.4", "2.3.1", "2.2.4-tf", "2.3.0-tf")
    ],
)
def test_group_normalization_of_every_old_version(case, version, tmp_path):
    check_bands(case, version, "GroupNormalization", tmp_path)


# With groups, both are the same.
@pytest.mark.parametrize(
    ("case", "kind"),
    [
        *(
            pytest.param(case, "GroupNormalization", marks=pytest.mark.matrix if case in ALIKE else [])
            for case in BANDS
        ),
        *(
            pytest.param(case, "InstanceNormalization", marks=[] if case == "last" else pytest.mark.matrix)
            for case in BANDS
        ),
    ],
)
def test_bands(case, kind, tmp_path):
    check_bands(case, "2.2.4-tf", kind, tmp_path)


def check_bands(case, version, kind, folder):
    groups, axis, shape, same = BANDS[case]
    channels = (None, *shape)[axis]
    weights = drawn(channels)
    config = norm(groups=groups, axis=axis, epsilon=0.01)
    model, told = opened(write(folder / "old.h5", kind, config, weights, shape=shape, version=version))
    x = inputs(shape)
    expected = bands(x, *(value for _, value in weights), channels if groups == -1 else groups, axis, 0.01)
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-5)
    assert type(model.layers[0]) is (layers.GroupNormalization if same else ours.BandNormalization)
    assert len(told) == (not same)
    for text in told:
        assert all(part in text for part in (kind, "layer", "bands", "custom_object_scope"))
    model.save(folder / "new.keras")
    np.testing.assert_array_equal(keras.saving.load_model(folder / "new.keras")(x), model(x))


PRODUCT = [
    (version, kind, groups, axis, shape, center, scale)
    for version in ("2.1.6", "2.2.4-tf", "2.10.0")
    for kind in ("GroupNormalization", "InstanceNormalization")
    for shape in ((12,), (5, 12), (4, 5, 12), (12, 4, 12), (2, 3, 4, 12), (12, 12, 12, 12))
    for axis in (-1, 1, len(shape), -2)
    if (None, *shape)[axis] == 12
    for groups in (1, 2, 3, 12, -1)
    for center in (True, False)
    for scale in (True, False)
]


@pytest.mark.matrix
@pytest.mark.parametrize(("version", "kind", "groups", "axis", "shape", "center", "scale"), PRODUCT)
def test_bands_of_every_kind(version, kind, groups, axis, shape, center, scale, tmp_path):
    gamma, beta = drawn(12)
    config = norm(groups=groups, axis=axis, center=center, scale=scale)
    weights = [gamma] * scale + [beta] * center
    model, _ = opened(write(tmp_path / "old.h5", kind, config, weights, shape=shape, version=version))
    x = inputs(shape)
    gamma, beta = gamma[1] if scale else np.ones(12), beta[1] if center else np.zeros(12)
    expected = bands(x, gamma, beta, 12 if groups == -1 else groups, axis, 1e-3)
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-4)


def test_bands_are_not_what_keras_computes(tmp_path):
    """The reference is another one than Keras's own, by far."""
    x = inputs((4, 5, 6))
    ones, zeros = np.ones(6), np.zeros(6)
    own = keras.ops.convert_to_numpy(layers.GroupNormalization(2)(x))
    assert np.abs(bands(x, ones, zeros, 2, -1, 1e-3) - own).max() > 0.5


def test_bands_of_any_size(tmp_path):
    weights = drawn(6)
    path = write(tmp_path / "old.h5", "GroupNormalization", norm(groups=2), weights, shape=(None, None, 6))
    model, _ = opened(path)
    for sides in ((4, 5), (3, 3)):
        x = inputs((*sides, 6))
        expected = bands(x, weights[0][1], weights[1][1], 2, -1, 1e-3)
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "center"),
    [(True, False), (False, True), *(pytest.param(each, each, marks=pytest.mark.matrix) for each in (True, False))],
)
def test_bands_without_weights(center, scale, tmp_path):
    gamma, beta = drawn(6)
    config = norm(groups=2, center=center, scale=scale)
    weights = [gamma] * scale + [beta] * center
    model, _ = opened(write(tmp_path / "old.h5", "GroupNormalization", config, weights))
    x = inputs((4, 5, 6))
    expected = bands(x, gamma[1] if scale else np.ones(6), beta[1] if center else np.zeros(6), 2, -1, 1e-3)
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("axis", "shape"),
    [
        (None, (4, 5, 6)),
        (-1, (4, 5, 6)),
        pytest.param(3, (4, 5, 6), marks=pytest.mark.matrix),
        (1, (6, 4, 5)),
        pytest.param(-1, (5, 6), marks=pytest.mark.matrix),
        (-1, (2, 3, 4, 6)),
        pytest.param(None, (6,), marks=pytest.mark.matrix),
    ],
)
def test_instance_normalization_of_keras_contrib(axis, shape, tmp_path):
    weights = drawn(1 if axis is None else (None, *shape)[axis])
    config = norm(axis=axis, epsilon=0.3)
    model, told = opened(write(tmp_path / "old.h5", "InstanceNormalization", config, weights, shape=shape))
    x = inputs(shape)
    expected = by_channel(x, *(value for _, value in weights), axis, 0.3)
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-5)
    assert len(told) == 1
    assert "epsilon" in told[0]
    assert "custom_object_scope" in told[0]


def test_layer_normalization_of_early_tensorflow_addons(tmp_path):
    """It is a group normalization with one group, though Keras has a LayerNormalization."""
    weights = drawn(6)
    config = norm(groups=1)
    model, told = opened(write(tmp_path / "old.h5", "LayerNormalization", config, weights, version="2.2.4-tf"))
    x = inputs((4, 5, 6))
    expected = bands(x, weights[0][1], weights[1][1], 1, -1, 1e-3)
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-5)
    assert not told


@pytest.mark.parametrize("version", ["2.11.0", pytest.param("2.15.0", marks=pytest.mark.matrix)])
def test_group_normalization_that_is_keras_own(version, tmp_path):
    weights = drawn(6)
    path = write(tmp_path / "new.h5", "GroupNormalization", norm(groups=2), weights, version=version)
    model, told = opened(path)
    layer = layers.GroupNormalization(2)
    x = inputs((4, 5, 6))
    layer.build(x.shape)
    layer.set_weights([value for _, value in weights])
    np.testing.assert_array_equal(model(x), layer(x))
    assert not told


# Enough settings to make the layer with.
SETTINGS = {
    "LayerNormalization": {"axis": -1},
    "MultiHeadAttention": {"num_heads": 2, "key_dim": 3},
    "EinsumDense": {"equation": "abcd,de->abce", "output_shape": [4, 5, 6]},
    "Conv1DTranspose": {"filters": 2, "kernel_size": 3},
    "GroupNormalization": {"groups": 2},
}
LATER = [kind for kind, since in SINCE.items() if since > (2, 2, 4)]
# Every norm, and one of each version; the others are in the matrix.
SOON = {*{since: kind for kind, since in SINCE.items()}.values(), *(kind for kind in SINCE if "Normalization" in kind)}


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        *(pytest.param(kind, "2.2.4-tf", marks=[] if kind in LATER[::5] else pytest.mark.matrix) for kind in LATER),
        *(pytest.param(kind, "2.3.1", marks=[] if kind in SOON else pytest.mark.matrix) for kind in SINCE),
        ("GroupNormalization", "2.10.0"),
    ],
)
def test_a_layer_that_keras_did_not_have_is_somebody_elses(kind, version, tmp_path):
    path = write(tmp_path / "old.h5", kind, SETTINGS.get(kind, {}), version=version)
    sentence = cases.sentence(path)
    for part in (f"{kind} ('layer')", f"Keras {version}", f"custom_object_scope({{'{kind}': {kind}}})"):
        assert part in sentence


def test_somebody_elses_layer_is_given(tmp_path):
    """The sentence, followed word for word."""

    class GroupNormalization(layers.Layer):
        def __init__(self, groups, **kwargs):
            super().__init__(**kwargs)
            self.groups = groups

        def build(self, shape):
            self.gamma = self.add_weight(shape=shape[-1:], name="gamma")

        def call(self, inputs):
            return inputs * self.gamma * self.groups

    gamma = drawn(6)[:1]
    path = write(tmp_path / "old.h5", "GroupNormalization", {"groups": 3}, gamma)
    scope = cases.sentence(path).split("`with ")[1].split(":`")[0]
    with eval(scope, {"keras": keras, "GroupNormalization": GroupNormalization}):  # noqa: S307 - our own sentence
        model = load_tfa_model(path)
    x = inputs((4, 5, 6))
    np.testing.assert_allclose(model(x), x * gamma[0][1] * 3, rtol=1e-6)


def test_a_layer_that_does_not_take_the_settings(tmp_path):
    class Mine(layers.Layer):
        pass

    path = write(tmp_path / "old.h5", "Mine", {"strength": 3})
    with keras.saving.custom_object_scope({"Mine": Mine}):
        sentence = cases.sentence(path)
    for part in ("Mine ('layer')", "strength", "__init__"):
        assert part in sentence


# One of each version.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("gelu", "mish", "celu") else pytest.mark.matrix)
        for name in ACTIVATIONS_SINCE
    ],
)
def test_an_activation_that_keras_did_not_have(name, tmp_path):
    path = write(tmp_path / "old.h5", "Activation", {"activation": name}, version="2.2.4-tf")
    sentence = cases.sentence(path)
    assert f"activation={name}" in sentence
    assert "2.2.4-tf" in sentence
    with keras.saving.custom_object_scope({name: keras.ops.square}):
        x = inputs((4, 5, 6))
        np.testing.assert_allclose(load_tfa_model(path)(x), x * x)


# What TensorFlow 2.15.1 with tensorflow-addons 0.23 gives for -2, -1, 0, 1 and 2.9.
ACTIVATIONS = {
    ("hard_sigmoid", "2.2.4"): [0.1, 0.3, 0.5, 0.7, 1.0],
    ("hard_sigmoid", "2.15.0"): [0.1, 0.3, 0.5, 0.7, 1.0],
    ("gelu", "2.4.0"): [-0.045500278, -0.15865526, 0.0, 0.84134471, 2.8945892],
    ("Addons>gelu", "2.4.0"): [-0.045402229, -0.15880796, 0.0, 0.84119201, 2.8950334],
    ("swish", "2.2.4"): [-0.23840584, -0.26894143, 0.0, 0.7310586, 2.7487547],
    ("relu6", "2.2.4"): [0.0, 0.0, 0.0, 1.0, 2.9],
}


@pytest.mark.parametrize(
    ("name", "version"),
    [pytest.param(*each, marks=pytest.mark.matrix if each[1] == "2.15.0" else []) for each in ACTIVATIONS],
)
def test_activations(name, version, tmp_path):
    path = write(tmp_path / "old.h5", "Activation", {"activation": name}, version=version, shape=(5,))
    model = load_tfa_model(path)
    x = np.array([[-2.0, -1.0, 0.0, 1.0, 2.9]], "float32")
    np.testing.assert_allclose(model(x)[0], ACTIVATIONS[name, version], rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "new.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "new.keras")(x), model(x))


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_recurrent_layers_of_old_keras(kind, tmp_path):
    """Their gates were hard sigmoids, and a GRU reset its state before the product."""
    gates = {"LSTM": 4, "GRU": 3}[kind]
    kernel, recurrent, bias = (
        RNG.normal(size=size).astype("float32") for size in ((2, 3 * gates), (3, 3 * gates), 3 * gates)
    )
    config = {"units": 3, "activation": "tanh", "recurrent_activation": "hard_sigmoid", "use_bias": True}
    weights = [("kernel", kernel), ("recurrent_kernel", recurrent), ("bias", bias)]
    model = load_tfa_model(write(tmp_path / "old.h5", kind, config, weights, shape=(4, 2), version="2.1.6"))
    x = RNG.normal(size=(2, 4, 2)).astype("float32")
    np.testing.assert_allclose(model(x), recurrent_layer(kind, x, kernel, recurrent, bias), rtol=1e-5, atol=1e-5)


def recurrent_layer(kind, x, kernel, recurrent, bias):
    """Return the last state of an LSTM or a GRU in the form of Keras 2.1."""

    def gate(z):
        return np.clip(0.2 * z + 0.5, 0, 1)

    h = c = np.zeros((len(x), 3))
    for step in x.astype("float64").swapaxes(0, 1):
        z = np.split(step @ kernel + bias, len(bias) // 3, axis=1)
        u = np.split(recurrent, len(bias) // 3, axis=1)
        if kind == "LSTM":
            i, f, o = (gate(z[k] + h @ u[k]) for k in (0, 1, 3))
            c = f * c + i * np.tanh(z[2] + h @ u[2])
            h = o * np.tanh(c)
        else:
            update, reset = (gate(z[k] + h @ u[k]) for k in (0, 1))
            h = update * h + (1 - update) * np.tanh(z[2] + (reset * h) @ u[2])
    return h


@pytest.mark.parametrize("kind", ["Activation", "LSTM"])
def test_to_keras_names_what_only_old_files_need(kind, tmp_path):
    layer = {
        "Activation": lambda: layers.Activation(hard_sigmoid_of_keras_2),
        "LSTM": lambda: layers.Bidirectional(layers.LSTM(2, recurrent_activation=hard_sigmoid_of_keras_2)),
    }[kind]()
    with pytest.raises(TfnormError, match="hard_sigmoid_of_keras_2"):
        to_keras(keras.Sequential([keras.Input((4, 2)), layer]))


@pytest.mark.parametrize("kind", ["BatchNormalizationV1", "BatchNormalizationV2"])
def test_batch_normalization_of_tensorflow_1(kind, tmp_path):
    values = [(name, RNG.uniform(0.5, 2, 6).astype("float32")) for name in ("gamma", "beta", "moving_mean")]
    values.append(("moving_variance", RNG.uniform(0.5, 2, 6).astype("float32")))
    gamma, beta, mean, variance = (value for _, value in values)
    config = {"axis": [3], "momentum": 0.99, "epsilon": 0.01, "center": True, "scale": True}
    model = load_tfa_model(write(tmp_path / "old.h5", kind, config, values, version="2.2.4-tf"))
    x = inputs((4, 5, 6))
    expected = (x - mean) / np.sqrt(variance + 0.01) * gamma + beta
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)


def test_thresholded_relu(tmp_path):
    model = load_tfa_model(write(tmp_path / "old.h5", "ThresholdedReLU", {"theta": 0.5}))
    x = inputs((4, 5, 6))
    np.testing.assert_array_equal(model(x), x * (x > 0.5))


@pytest.mark.parametrize("version", ["2.2.4", pytest.param("2.2.4-tf", marks=pytest.mark.matrix)])
def test_bilinear_upsampling_of_tensorflow_1_or_2(version, tmp_path):
    config = {"size": [2, 2], "interpolation": "bilinear", "data_format": "channels_last"}
    path = write(tmp_path / "old.h5", "UpSampling2D", config, version=version)
    says(cases.sentence(path), "UpSampling2D ('layer')", "interpolation=bilinear")
    with keras.saving.custom_object_scope({"UpSampling2D": layers.UpSampling2D}):
        model = load_tfa_model(path)
    x = inputs((4, 5, 6))
    np.testing.assert_array_equal(model(x), layers.UpSampling2D(2, interpolation="bilinear")(x))
    load_tfa_model(write(path, "UpSampling2D", config, version="2.4.0"))
    load_tfa_model(write(path, "UpSampling2D", {**config, "interpolation": "nearest"}, version=version))


def test_what_is_set_where_the_file_is_read_changes_nothing(tmp_path):
    """Layers of old files do not all say where their channels are: they are last."""
    path = write(tmp_path / "old.h5", "Flatten", {})
    x = inputs((4, 5, 6))
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        outputs = load_tfa_model(path)(x)
    finally:
        keras.config.set_image_data_format(before)
    np.testing.assert_array_equal(outputs, x.reshape(2, -1))


@pytest.mark.parametrize("listed", [pytest.param(False, marks=pytest.mark.matrix), True])
def test_a_sequential_model_that_is_a_list(listed, tmp_path):
    kernel = RNG.normal(size=(6, 2)).astype("float32")
    config = {"units": 2, "use_bias": False, "activation": "linear"}
    path = write(tmp_path / "old.h5", "Dense", config, [("kernel", kernel)], shape=(6,), version="2.1.6", listed=listed)
    x = inputs((6,))
    np.testing.assert_allclose(load_tfa_model(path)(x), x @ kernel, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "axes", [[3, 1], [3, 2, 1], *(pytest.param(each, marks=pytest.mark.matrix) for each in ([-1, 1], [1, 3]))]
)
def test_layer_normalization_over_axes_in_another_order(axes, tmp_path):
    """Keras 2.15 reads the weights in the order of the axes of the input, whatever their shape."""
    shape = (2, 3, 4)
    sizes = [(None, *shape)[axis] for axis in axes]
    weights = drawn(sizes)
    path = write(tmp_path / "old.h5", "LayerNormalization", {"axis": axes}, weights, shape=shape, version="2.15.0")
    x = inputs(shape)
    dims = sorted(axis % 4 for axis in axes)
    broadcast = [size if place in dims else 1 for place, size in enumerate((1, *shape))]
    z = x - x.mean(tuple(dims), keepdims=True)
    z = z / np.sqrt(x.var(tuple(dims), keepdims=True) + 1e-3)
    expected = z * weights[0][1].reshape(broadcast) + weights[1][1].reshape(broadcast)
    np.testing.assert_allclose(load_tfa_model(path)(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"backend": "theano"}, "theano"),
        ({"backend": "cntk"}, "cntk"),
        ({"version": "1.2.2"}, "1.2.2"),
        ({"version": None}, "1.1"),
    ],
)
def test_files_that_mean_something_else(facts, said, tmp_path):
    kernel = RNG.normal(size=(3, 3, 6, 2)).astype("float32")
    config = {"filters": 2, "kernel_size": [3, 3], "use_bias": False}
    path = write(tmp_path / "old.h5", "Conv2D", config, [("kernel", kernel)], **facts)
    sentence = cases.sentence(path)
    assert said in sentence
    assert "save it again" in sentence


def test_the_command_line_opens_them_in_the_same_way(tmp_path):
    """Keras 3 would open it as well, with another hard sigmoid."""
    path = write(tmp_path / "old.h5", "Activation", {"activation": "hard_sigmoid"}, shape=(5,))
    x = np.array([[-2.0, -1.0, 0.0, 1.0, 2.9]], "float32")
    with pytest.warns(UserWarning, match="changed nothing"):
        FileConversion(path, tmp_path / "new.keras", fold=True).run()
    opened = keras.saving.load_model(tmp_path / "new.keras")
    np.testing.assert_allclose(opened(x)[0], ACTIVATIONS["hard_sigmoid", "2.2.4"], rtol=1e-5)


def masked(make):
    """Return the description of a functional model of Keras 2 in which layers get masks from a Masking layer."""
    inputs = [["inputs", 0, 0, {}]]
    entries = [
        ("InputLayer", "inputs", {"batch_input_shape": [None, 6, 4]}, []),
        ("Masking", "masking", {"mask_value": 0.0}, [inputs]),
        *make([["masking", 0, 0, {}]], inputs),
        ("GlobalAveragePooling1D", "pool", {}, [[["layer", 0, 0, {}]]]),
    ]
    return {
        "class_name": "Functional",
        "config": {
            "name": "model",
            "layers": [
                {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": calls}
                for kind, name, config, calls in entries
            ],
            "input_layers": [["inputs", 0, 0]],
            "output_layers": [["pool", 0, 0]],
        },
    }


# What gets the mask, whether it is refused, and the version of Keras.
MASKED = {
    "add, one masked": (lambda m, x: [("Add", "layer", {}, [[*m, *x]])], True, "2.15.0"),
    "add, the same mask": (
        lambda m, x: [("ReLU", "relu", {}, [m]), ("Add", "layer", {}, [[*m, ["relu", 0, 0, {}]]])],
        False,
        "2.15.0",
    ),
    "concatenate features": (lambda m, x: [("Concatenate", "layer", {"axis": -1}, [[*m, *x]])], True, "2.15.0"),
    "concatenate the same": (lambda m, x: [("Concatenate", "layer", {"axis": -1}, [[*m, *m]])], False, "2.15.0"),
    "rescaling": (lambda m, x: [("Rescaling", "layer", {"scale": 2.0, "offset": 0.0}, [m])], True, "2.15.0"),
    "rescaling, no mask": (lambda m, x: [("Rescaling", "layer", {"scale": 2.0, "offset": 0.0}, [x])], False, "2.15.0"),
    "identity": (lambda m, x: [("Identity", "layer", {}, [m])], True, "2.15.0"),
    "dropout": (lambda m, x: [("Dropout", "layer", {"rate": 0.5}, [m])], False, "2.15.0"),
}


@pytest.mark.parametrize("case", MASKED)
def test_masks(case, tmp_path):
    make, refused, version = MASKED[case]
    path = tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(masked(make)), version
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"masking"]
        group.create_group("masking").attrs["weight_names"] = np.array([], "S1")
    if not refused:
        x = inputs((6, 4))
        x[:, 4:] = 0
        assert load_tfa_model(path)(x).shape[0] == 2
        return
    sentence = cases.sentence(path)
    for part in ("masks", "'layer'", version, "model=model"):
        assert part in sentence


@pytest.mark.parametrize(("version", "refused"), [("2.9.0", True), ("2.10.0", False)])
def test_masked_attention_of_old_versions(version, refused, tmp_path):
    path = tmp_path / "old.json"
    attention = {"num_heads": 2, "key_dim": 3}
    path.write_text(
        json.dumps(
            masked(lambda m, x: [("MultiHeadAttention", "layer", attention, [[["masking", 0, 0, {"value": m[0]}]]])])
            | {"keras_version": version}
        )
    )
    weights = write(tmp_path / "weights.h5", "ReLU", {}, version=version)
    sentence = cases.sentence(weights, model=path)
    # The file of weights has none for it: that is what is said if the mask is no reason.
    assert ("masks" in sentence and "'layer' (MultiHeadAttention)" in sentence) == refused
