"""Inserting norms: where they go, what is split for them, and what stays as it was."""

import keras
import numpy as np
import pytest
from facts import says
from keras import layers
from tiny import array, channels_first_runs, functional, images

from tfnorm import build
from tfnorm import layers as ours
from tfnorm.convert import insert_norms, replace_norms
from tfnorm.errors import SpecError, TfnormError

pytestmark = pytest.mark.usefixtures("not_compiled")


def inserted(model, spec, **options):
    return insert_norms(model, spec, return_report=True, **options)


def names(model):
    return [layer.name for layer in model.layers if not isinstance(layer, layers.InputLayer)]


def assert_same_weights(new, model):
    for layer in model.layers:
        for weight, same in zip(new.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, same)


def make_neutral(model):
    """Have inserted batch norms give their inputs."""
    for layer in model._flatten_layers():
        if isinstance(layer, ours.BatchNormalization):
            layer.moving_variance.assign(np.full(layer.moving_variance.shape, 1 - layer.epsilon))


def small(x):
    x = layers.Conv2D(8, 3, activation="relu", name="conv1")(x)
    x = layers.Conv2D(8, 3, use_bias=False, name="conv2")(x)
    x = layers.MaxPooling2D(name="pool")(layers.ReLU(name="relu2")(x))
    x = layers.Dense(16, activation="relu", name="dense1")(layers.Flatten(name="flat")(x))
    return layers.Dense(10, name="dense2")(x)


def test_norms_come_before_activations(seeded):
    model = functional((12, 12, 3), small)
    model.get_layer("conv1").bias.assign(np.ones(8))
    new, report = inserted(model, "gn:2")
    assert names(new) == [
        *["conv1", "conv1_norm", "conv1_activation", "conv2", "conv2_norm", "relu2", "pool"],
        *["flat", "dense1", "dense2"],
    ]
    assert [(c.layer, c.before, c.after, c.groups) for c in report.changes] == [
        ("conv1", "Conv2D", "Conv2D + GroupNormalization + Activation", 2),
        ("conv2", "Conv2D", "Conv2D + GroupNormalization", 2),
    ]
    assert new.get_layer("conv1").activation is keras.activations.linear
    assert new.get_layer("conv1_activation").activation is keras.activations.relu
    assert new.get_layer("conv1").use_bias and not new.get_layer("conv2").use_bias
    assert new.output_shape == model.output_shape
    assert_same_weights(new, model)
    assert model.get_layer("conv1").activation is keras.activations.relu
    assert np.isfinite(array(new(images(seeded, 2, 12, 12, 3)))).all()


KINDS = {
    "conv1d": (layers.Conv1D(6, 3), (7, 4)),
    "conv2d": (layers.Conv2D(6, 3, padding="same"), (7, 7, 4)),
    "conv3d": (layers.Conv3D(6, 2), (5, 5, 5, 4)),
    "depthwise1d": (layers.DepthwiseConv1D(3), (7, 4)),
    "depthwise2d": (layers.DepthwiseConv2D(3, depth_multiplier=3), (7, 7, 4)),
    "separable1d": (layers.SeparableConv1D(6, 3), (7, 4)),
    "separable2d": (layers.SeparableConv2D(6, 3), (7, 7, 4)),
    "transposed1d": (layers.Conv1DTranspose(6, 3), (7, 4)),
    "transposed2d": (layers.Conv2DTranspose(6, 3), (7, 7, 4)),
    "transposed3d": (layers.Conv3DTranspose(6, 2), (4, 4, 4, 4)),
    "channels first": (layers.Conv2D(6, 3, data_format="channels_first"), (4, 7, 7)),
    "tfnorm's": (ours.Conv2D(6, 3), (7, 7, 4)),
    "standardized": (ours.WeightStandardizedConv2D(6, 3), (7, 7, 4)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", [None, "gelu"])
def test_every_convolution(kind, activation, seeded):
    layer, shape = KINDS[kind]
    layer = type(layer).from_config(layer.get_config() | {"name": "conv", "activation": activation})
    model = keras.Sequential([keras.Input(shape), layer, layers.LeakyReLU(name="last")])
    new, report = inserted(model, "bn")
    (change,) = report.changes
    says(change.note, "moving statistics", "0", "1")
    assert isinstance(new, keras.Sequential)
    assert names(new) == ["conv", "conv_norm", *(["conv_activation"] if activation else []), "last"]
    assert new.get_layer("conv_norm").axis == (1 if kind == "channels first" else -1)
    assert_same_weights(new, model)
    if kind == "channels first" and not channels_first_runs():
        return
    make_neutral(new)
    x = images(seeded, 2, *shape)
    np.testing.assert_allclose(array(new(x)), array(model(x)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spec", ["bn", "ln", "ln:channel", "gn:4", "gn:size=5", "in", "rms", "frn"])
def test_every_norm(spec, seeded):
    model = functional((12, 12, 3), small)
    new, _ = inserted(model, spec)
    same = replace_norms(inserted(model, "bn")[0], spec, where="*_norm")
    for name in ("conv1_norm", "conv2_norm"):
        layer, other = new.get_layer(name), same.get_layer(name)
        config = other.get_config() | {"epsilon": layer.epsilon}
        assert (type(layer), layer.get_config()) == (type(other), config)
    assert layer.epsilon == (1e-6 if spec in ("rms", "frn") else 1e-3)
    kinds = [type(new.get_layer(name)) for name in ("conv1_activation", "relu2")]
    assert kinds == ([ours.TLU, ours.TLU] if spec == "frn" else [ours.Activation, layers.ReLU])


def test_weight_standardization(seeded):
    model = functional((12, 12, 3), lambda x: small(layers.DepthwiseConv2D(3, name="first")(x)))
    new, report = inserted(model, "gn:4+ws")
    assert [type(new.get_layer(name)) for name in ("first", "conv1")] == [
        layers.DepthwiseConv2D,
        ours.WeightStandardizedConv2D,
    ]
    says(report.changes[0].note, "4 groups", "3 channels")
    assert report.changes[1].after == "WeightStandardizedConv2D + GroupNormalization + Activation"
    assert_same_weights(new, model)


@pytest.mark.matrix
def test_vgg16():
    model = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=10)
    new, report = inserted(model, "gn:32")
    assert len(report.changes) == 13
    assert_same_weights(new, model)


@pytest.mark.parametrize(("arch", "kept"), [("mnist_7k", []), ("cifar_plain", ["logits"]), ("resnet20", [])])
def test_networks_of_tfnorm_get_a_norm_after_all_but_logits(arch, kept):
    model = build(arch, norm="none", seed=1, compile=False)
    _, report = inserted(model, "bn")
    convolutions = [layer.name for layer in model.layers if hasattr(layer, "kernel_size")]
    assert [change.layer for change in report.changes] == [name for name in convolutions if name not in kept]
    assert [change.layer for change in report.kept] == kept
    assert all("output" in change.note for change in report.kept)


# What gives outputs.


def head(*parts):
    def make(x):
        x = layers.Conv2D(4, 3, activation="relu", name="first")(x)
        for part in parts:
            x = part(x)
        return x

    return make


HEADS = {
    "linear": [layers.Conv2D(4, 1, name="last")],
    "softmax": [layers.Conv2D(4, 1, activation="softmax", name="last")],
    "tanh": [layers.Conv2D(4, 1, activation="tanh", name="last")],
    "pooled": [layers.Conv2D(4, 1, name="last"), layers.GlobalAveragePooling2D(), layers.Softmax()],
    "operations": [layers.Conv2D(4, 1, name="last"), lambda x: keras.ops.sigmoid(x) * 255.0],
    "nested": [functional((6, 6, 4), lambda x: layers.Activation("softmax")(layers.Conv2D(4, 1, name="last")(x)), "m")],
    "wrapped": [
        layers.TimeDistributed(functional((6, 4), lambda x: layers.Conv1D(4, 1, name="last")(x), "row"), name="rows"),
        layers.Softmax(),
    ],
    "residual": [lambda x: layers.Add()([x, layers.Conv2D(4, 1, name="last")(x)])],
}
HIDDEN = {
    "relu": [layers.Conv2D(4, 1, activation="relu", name="last")],
    "relu after it": [layers.Conv2D(4, 1, name="last"), layers.ReLU()],
    "an activation after it": [layers.Conv2D(4, 1, name="last"), layers.Activation("gelu"), layers.MaxPooling2D()],
    "an operation after it": [layers.Conv2D(4, 1, name="last"), keras.ops.silu],
    "a layer with weights": [layers.Conv2D(4, 1, name="last"), layers.Flatten(), layers.Dense(3)],
    "a function": [layers.Conv2D(4, 1, activation=lambda x: x * x, name="last")],
}


@pytest.mark.parametrize("case", HEADS)
def test_a_convolution_that_gives_outputs_is_left_out(case):
    model = functional((8, 8, 3), head(*HEADS[case]))
    _, report = inserted(model, "bn")
    assert [change.layer for change in report.changes] == ["first"]
    (kept,) = report.kept
    assert kept.layer.split("/")[-1] == "last"
    says(kept.note, "output")
    new, report = inserted(model, "bn", where="last")
    assert [change.layer for change in report.changes] == [kept.layer]
    assert new.output_shape == model.output_shape


@pytest.mark.parametrize("case", HIDDEN)
def test_a_convolution_of_features_is_not_left_out(case):
    _, report = inserted(functional((8, 8, 3), head(*HIDDEN[case])), "bn")
    assert [change.layer for change in report.changes] == ["first", "last"]
    assert not report.kept


def test_a_function_of_ones_own_becomes_the_activation(seeded):
    model = functional((8, 8, 3), head(*HIDDEN["a function"]))
    new, _ = inserted(model, "bn")
    make_neutral(new)
    x = images(seeded, 2, 8, 8, 3)
    np.testing.assert_allclose(array(new(x)), array(model(x)), rtol=1e-4, atol=1e-4)


# Other shapes of model.


def test_nested_and_shared_layers(seeded):
    conv = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")
    block = functional((8, 8, 4), conv, name="block")
    frame = keras.Sequential([keras.Input((8, 4)), layers.Conv1D(4, 3, name="conv"), layers.ReLU(name="relu")])
    model = functional((8, 8, 4), lambda x: layers.TimeDistributed(frame, name="rows")(block(conv(block(x)))))
    new, report = inserted(model, "bn")
    assert [change.layer for change in report.changes] == ["block/conv", "rows/conv"]
    assert new.get_layer("conv_norm") is new.get_layer("block").get_layer("conv_norm")
    assert names(new.get_layer("rows").layer) == ["conv", "conv_norm_1", "relu"]
    make_neutral(new)
    x = images(seeded, 2, 8, 8, 4)
    np.testing.assert_allclose(array(new(x)), array(model(x)), rtol=1e-4, atol=1e-4)


def test_names_that_are_taken():
    def make(x):
        x = layers.Conv2D(4, 3, activation="relu", name="conv")(x)
        return layers.Dense(2, name="conv_activation")(layers.Flatten(name="conv_norm")(x))

    new, _ = inserted(functional((8, 8, 3), make), "bn")
    assert names(new) == ["conv", "conv_norm_1", "conv_activation_1", "conv_norm", "conv_activation"]


def test_frozen_layers_training_and_files(seeded, tmp_path):
    model = functional((12, 12, 3), small)
    model.get_layer("conv1").trainable = False
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    x, y = images(seeded, 4, 12, 12, 3), np.arange(4)
    model.train_on_batch(x, y)
    new, _ = inserted(model, "bn")
    assert not new.get_layer("conv1").trainable and new.get_layer("conv1_norm").trainable
    assert new.get_compile_config() == model.get_compile_config()
    before = array(new.get_layer("conv1_norm").gamma)
    assert np.isfinite(new.train_on_batch(x, y))
    assert (array(new.get_layer("conv1_norm").gamma) != before).any()
    np.testing.assert_array_equal(array(new.get_layer("conv1").kernel), array(model.get_layer("conv1").kernel))
    new.save(tmp_path / "new.keras")
    np.testing.assert_array_equal(array(keras.models.load_model(tmp_path / "new.keras")(x)), array(new(x)))


def test_losses_and_metrics_by_the_names_of_outputs(seeded, tmp_path):
    inputs = keras.Input((8, 8, 3))
    outputs = [layers.Conv2D(4, 3, name="a")(inputs), layers.Conv2D(2, 3, activation="tanh", name="b")(inputs)]
    model = keras.Model(inputs, [*outputs, layers.Flatten(name="c")(inputs)])
    by_name = {"a": "mse", "b": "mae", "c": "mse"}
    model.compile("sgd", by_name, metrics={"b": ["mae"]}, loss_weights={"a": 1.0, "b": 2.0, "c": 0.5})
    new, report = inserted(model, "gn:2", where=["a", "b"])
    assert new.output_names == ["a_norm", "b_activation", "c"]
    notes = {change.layer: change.note for change in report.changes}
    assert list(notes) == ["a", "b"]
    says(notes["a"], "output 'a'", "'a_norm'")
    says(notes["b"], "output 'b'", "'b_activation'")
    x = images(seeded, 2, 8, 8, 3)
    y = {"a_norm": np.ones((2, 6, 6, 4)), "b_activation": np.ones((2, 6, 6, 2)), "c": np.ones((2, 192))}
    expected = [np.mean((array(out) - part) ** 2) for out, part in zip(new(x), y.values(), strict=True)]
    expected[1] = np.mean(np.abs(array(new(x)[1]) - 1))
    new.save(tmp_path / "new.keras")
    for each in (new, keras.models.load_model(tmp_path / "new.keras")):
        each.run_eagerly = True
        logs = each.evaluate(x, y, return_dict=True, verbose=0)
        assert logs["loss"] == pytest.approx(expected[0] + 2 * expected[1] + 0.5 * expected[2], rel=1e-4)
        assert logs["b_activation_mae"] == pytest.approx(expected[1], rel=1e-4)
        each.fit(x, list(y.values()), verbose=0)
    assert by_name == {"a": "mse", "b": "mae", "c": "mse"} and model.output_names == ["a", "b", "c"]


def test_a_loss_by_the_name_of_the_one_output(seeded):
    model = functional((8, 8, 3), layers.Conv2D(4, 3, name="a"))
    model.compile("sgd", {"a": "mse"})
    new, _ = inserted(model, "bn", where="a")
    new.fit(images(seeded, 2, 8, 8, 3), np.zeros((2, 6, 6, 4)), verbose=0)


def test_outputs_in_a_dictionary_keep_their_names(seeded):
    model = functional((8, 8, 3), lambda x: {"a": layers.Conv2D(4, 3, name="a")(x)})
    model.compile("sgd", {"a": "mse"})
    new, report = inserted(model, "gn:2", where="a")
    assert report.changes[0].note == ""
    new.fit(images(seeded, 2, 8, 8, 3), {"a": np.zeros((2, 6, 6, 4))}, verbose=0)


def test_precision_stays():
    conv = layers.Conv2D(4, 3, activation="relu", dtype="mixed_bfloat16", name="conv")
    model = functional((8, 8, 3), lambda x: layers.Dense(3)(conv(x)))
    new, _ = inserted(model, "gn:2")
    assert {new.get_layer(name).compute_dtype for name in ("conv", "conv_norm", "conv_activation")} == {"bfloat16"}


# Which layers.


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ("conv2", ["conv2"]),
        (["conv*", "dense1"], ["conv1", "conv2", "dense1"]),
        (lambda layer: isinstance(layer, layers.Dense), ["dense1", "dense2"]),
    ],
    ids=["name", "names", "function"],
)
def test_where(where, chosen, seeded):
    model = functional((12, 12, 3), small)
    new, report = inserted(model, "ln:channel", where=where)
    assert [change.layer for change in report.changes] == chosen
    assert [name for name in names(new) if name.endswith("_norm")] == [f"{name}_norm" for name in chosen]
    assert new.output_shape == model.output_shape


def test_where_that_fits_nothing():
    with pytest.raises(TfnormError) as caught:
        insert_norms(functional((12, 12, 3), small), "bn", where="cnv1")
    says(caught, "'net'", "'cnv1'", "'conv1'", "'conv2_*'")


class OwnBlock(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(4, 1, name="conv")

    def build(self, shape):
        self.conv.build(shape)

    def call(self, x):
        return self.conv(x)


def test_convolutions_without_a_norm():
    def make(x):
        x = layers.Dropout(0.5)(layers.Conv2D(4, 3, name="conv1")(x))
        x = layers.Conv2D(4, 3, activation=layers.PReLU(), name="conv2")(layers.BatchNormalization(name="bn")(x))
        x = layers.Conv2D(4, 2, name="conv3")(OwnBlock(name="block")(x))
        return layers.Dense(2)(layers.GlobalAveragePooling2D(keepdims=True)(x) + layers.Conv2D(4, 3, name="conv4")(x))

    model = functional((8, 8, 3), make)
    _, report = inserted(model, "in")
    assert [change.layer for change in report.changes] == ["conv3"]
    notes = {change.layer: change.note for change in report.kept}
    assert list(notes) == ["conv1", "conv2", "block/conv", "conv4"]
    says(notes["conv1"], "norm 'bn'")
    says(notes["conv2"], "activation is a layer")
    says(notes["block/conv"], "inside", "'block' (OwnBlock)")
    says(notes["conv4"], "in", "one number", "constant")
    single = functional((8, 8, 3), lambda x: layers.Conv2D(1, 3, name="one")(layers.Conv2D(4, 3, name="four")(x)))
    (kept,) = inserted(single, "ln:channel", where=["one", "four"])[1].kept
    assert kept.layer == "one"
    says(kept.note, "ln:channel", "one number", "constant")


@pytest.mark.parametrize(
    ("spec", "facts"),
    [
        ("none", ("'none'", "bn, ln, gn:GROUPS, in, rms, frn")),
        (
            "bn+l2=1e-4",
            ("'bn+l2=1e-4'", "'bn'", "regularizers"),
        ),
    ],
)
def test_specs_that_are_refused(spec, facts):
    with pytest.raises(SpecError) as caught:
        insert_norms(functional((12, 12, 3), small), spec)
    says(caught, *facts)


def test_models_without_a_place_for_norms():
    with pytest.raises(TfnormError) as caught:
        insert_norms(functional((4, 4, 3), layers.Conv2D(4, 1, name="conv")), "bn")
    says(caught, "'net'", "no convolution", "conv: Conv2D", "output", "`where`")
    with pytest.raises(TfnormError, match="sequential model 'chain' cannot be followed"):
        chain = keras.Sequential([OwnBlock()], name="chain")
        chain.built = True
        insert_norms(chain, "bn")
    with pytest.raises(SpecError, match=r"\(None, None, None, 4\).* 'conv'.*'gn:1'"):
        insert_norms(functional((None, None, 3), layers.Conv2D(4, 1, name="conv")), "ln", where="conv")


def test_many_convolutions_without_a_place_are_one_sentence():
    def make(x):
        for number in range(30):
            x = layers.BatchNormalization(name=f"bn{number}")(layers.Conv2D(4, 1, name=f"conv{number}")(x))
        return OwnBlock(name="block")(x)

    with pytest.raises(TfnormError) as caught:
        insert_norms(functional((4, 4, 3), make), "bn")
    message = str(caught.value)
    says(message, "conv0: Conv2D", "norm 'bn0'", "29 more")
    says(message, "block/conv: Conv2D", "'block' (OwnBlock)")
    assert "conv1:" not in message and len(message) < 300
