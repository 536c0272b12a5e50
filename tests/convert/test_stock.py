"""Conversion to Keras's own layers: the same network, in files that open without tfnorm."""

import warnings

import keras
import numpy as np
import pytest
from backends import BATCH_NORMS
from facts import says
from networks import SMALL
from tiny import all_layers

from tfnorm import build
from tfnorm.convert import to_keras
from tfnorm.errors import TfnormError
from tfnorm.layers import (
    TLU,
    BatchNormalization,
    Conv2D,
    FilterResponseNormalization,
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
    RMSNormalization,
    WeightStandardizedConv2D,
)
from tfnorm.models.architectures import ArchSpec, Conv, GlobalPool
from tfnorm.norms import NORMS
from tfnorm.regularizers import L2Norm
from tfnorm.spec import parse
from tfnorm.training.recipe.losses import SmoothedCrossentropy
from tfnorm.training.recipe.muon import Muon

# All that Keras has; frn it has not.
SPECS = ["none", *BATCH_NORMS, "ln", "ln:channel", "gn:2", "gn:size=2", "gn:2+ws", "in", "rms"]
TINY = ArchSpec("tiny", "one block", (8, 8, 3), (Conv(4), GlobalPool(), Conv(None, 1, parts=())))


def call(model, x, **options):
    return keras.ops.convert_to_numpy(model(x, **options))


def names_but_inputs(model):
    """Return the names of all layers; Keras's own cloning renames the inputs of nested models."""
    return [layer.name for layer in all_layers(model) if not isinstance(layer, keras.layers.InputLayer)]


def randomize(model, rng):
    """Give norms weights and statistics that are not those they start with."""
    for variable in model.weights:
        if variable.path.split("/")[0].endswith("_norm"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))


def stock_only(model):
    return all(type(layer).__module__.startswith("keras.") for layer in all_layers(model))


def test_every_norm_is_here():
    assert {parse(spec).kind for spec in SPECS} == set(NORMS) - {"frn", "keep"}


# Every norm on a network, and a norm on every one; the others in the matrix.
NETWORKS = [
    pytest.param(
        arch,
        norm,
        marks=[] if (arch == "mnist_7k" and norm != "gn:size=2") or norm == "gn:2+ws" else pytest.mark.matrix,
    )
    for arch in SMALL
    for norm in SPECS
]


@pytest.mark.parametrize(("arch", "norm"), NETWORKS)
def test_same_network(arch, norm, built, seeded):
    model = built(arch, norm)
    before = model.get_weights()
    randomize(model, seeded)
    try:
        stock = to_keras(model)
        x = seeded.integers(0, 256, (2, *model.input_shape[1:])).astype("float32")
        expected, logits = call(model, x), call(stock, x)
    finally:
        model.set_weights(before)
    assert stock_only(stock)
    assert stock.name == model.name
    assert [layer.name for layer in stock.layers] == [layer.name for layer in model.layers]
    assert [weight.path for weight in stock.weights] == [weight.path for weight in model.weights]
    tolerance = 1e-4 if "ws" in norm else 1e-5
    np.testing.assert_allclose(logits, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def test_same_outputs_in_training(seeded):
    for norm in BATCH_NORMS:
        model = build(norm=norm, dropout=0.0, compile=False)
        stock = to_keras(model)
        x = seeded.integers(0, 256, (4, 28, 28, 1)).astype("float32")
        np.testing.assert_allclose(call(stock, x, training=True), call(model, x, training=True), rtol=1e-4, atol=1e-4)
        for weight, same in zip(stock.weights, model.weights, strict=True):  # moving statistics too
            np.testing.assert_allclose(weight, same, rtol=1e-4, atol=1e-4)


def sentences(record):
    """Return what was said to the user, which NumPy's warning about tensors of PyTorch is not."""
    return [str(warning.message) for warning in record if warning.category is UserWarning]


READ = """
import sys
import keras, numpy as np
folder = sys.argv[1]
assert not [name for name in sys.modules if name.partition(".")[0] == "tfnorm"]
expected = np.load(f"{folder}/expected.npz")
for name in sys.argv[2:]:
    model = keras.models.load_model(f"{folder}/{name}.keras")
    logits = keras.ops.convert_to_numpy(model(expected["x"]))
    np.testing.assert_allclose(logits, expected[name], rtol=1e-4, atol=1e-4)
    assert model.compiled == name.startswith("model")
assert not [name for name in sys.modules if name.partition(".")[0] == "tfnorm"]
import tfnorm.layers
assert type(keras.models.load_model(f"{folder}/own.keras")).__name__ == "ImageClassifier"
print("read", len(sys.argv) - 2)
"""


def with_own_losses_and_optimizers():
    """Yield models that are compiled with losses and optimizers of tfnorm, and the names of those."""
    inputs = keras.Input((8, 8, 3))
    wrapped = keras.optimizers.LossScaleOptimizer(Muon(0.1))
    for number, (optimizer, loss, names) in enumerate(
        [
            ("sgd", SmoothedCrossentropy(0.1), "SmoothedCrossentropy"),
            (Muon(0.1), "mse", "Muon"),
            (wrapped, {"conv2": SmoothedCrossentropy()}, "Muon, SmoothedCrossentropy"),
        ]
    ):
        outputs = GroupNormalization(4, name="conv2")(keras.layers.Conv2D(4, 3)(inputs))
        model = keras.Model(inputs, outputs, name=f"net{number}")
        model.compile(optimizer, loss)
        yield model, names


@pytest.mark.filterwarnings("ignore:Keras has no counterpart", "ignore:.*not compiled")
def test_files_open_without_tfnorm(tmp_path, seeded, run_python):
    x = seeded.integers(0, 256, (2, 8, 8, 3)).astype("float32")
    logits = {}
    for number, norm in enumerate([*SPECS, "bn+l1=1e-3+l2=1e-3"]):
        model = build(TINY, norm=norm, convention="torch" if number % 2 else "keras")
        to_keras(model).save(tmp_path / f"model{number}.keras")
        logits[f"model{number}"] = call(model, x)
    inside = build(TINY, norm="gn:2")
    inside.save(tmp_path / "own.keras")  # which needs tfnorm.layers
    others = [model for model, _ in with_own_losses_and_optimizers()]
    for number, model in enumerate([keras.Sequential([keras.Input((8, 8, 3)), inside]), *others]):
        to_keras(model).save(tmp_path / f"other{number}.keras")
        logits[f"other{number}"] = call(model, x)
    np.savez(tmp_path / "expected.npz", x=x, **logits)
    assert run_python(READ, tmp_path, *logits).splitlines()[-1] == f"read {len(logits)}"


def test_group_counts_of_the_counterparts():
    assert to_keras(build(TINY, norm="gn:size=1", compile=False)).get_layer("conv1_norm").groups == 4
    assert to_keras(build(TINY, norm="gn:2", compile=False)).get_layer("conv1_norm").groups == 2
    instance = to_keras(build(TINY, norm="in", compile=False)).get_layer("conv1_norm")
    assert type(instance) is keras.layers.GroupNormalization and instance.groups == 4


@pytest.mark.filterwarnings("ignore:Keras has no counterpart")
def test_constants_move_with_the_layers():
    stock = to_keras(build(TINY, norm="bn", convention="torch", compile=False)).get_layer("conv1_norm")
    assert type(stock) is keras.layers.BatchNormalization
    assert (stock.epsilon, stock.momentum) == (1e-5, 0.9)


def test_the_model_is_not_changed(seeded):
    model = build(TINY, norm="gn:2+ws", l2=1e-3)
    config, weights = model.get_config(), model.get_weights()
    stock = to_keras(model)
    assert model.get_config() == config
    for weight in stock.weights:
        if weight.trainable:
            weight.assign(np.ones(weight.shape))
    for weight, same in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(weight, same)


def test_standardized_kernels_are_written_out():
    model = build(TINY, norm="gn:2+ws", compile=False)
    conv = to_keras(model).get_layer("conv1")
    assert type(conv) is keras.layers.Conv2D
    np.testing.assert_array_equal(conv.kernel, model.get_layer("conv1").standardized_kernel())


# What Keras does not have.


def test_filter_response_normalization_is_refused():
    with pytest.raises(TfnormError) as caught:
        to_keras(build(TINY, norm="frn", compile=False))
    says(caught, "conv1_norm (FilterResponseNormalization)", "conv1_tlu (TLU)", "tfnorm.layers")


def test_inner_layers_are_named_too():
    inner = keras.Sequential([keras.Input((4, 4, 8)), FilterResponseNormalization(name="a"), TLU(name="b")])
    inputs = keras.Input((4, 4, 8))
    with pytest.raises(TfnormError) as caught:
        to_keras(keras.Model(inputs, inner(inputs)))
    start, _, names = str(caught.value).partition(". ")[0].partition(": ")
    says(start, "Keras", "layers")
    assert sorted(names.split(", ")) == ["a (FilterResponseNormalization)", "b (TLU)"]


def test_a_scale_that_is_not_on_the_last_axes_is_refused():
    # Keras applies the scale to the last axes all the same: with height = channels, without a word.
    inputs = keras.Input((6, 4, 6))
    with pytest.raises(TfnormError) as caught:
        to_keras(keras.Model(inputs, RMSNormalization(axis=1, name="a")(inputs)))
    says(caught, "Keras", "a (RMSNormalization)")


@pytest.mark.parametrize("axis", [-1, [-1, -2], (1, -1), (1, 2, 3)])
def test_axes_of_a_layer_normalization(axis, seeded):
    inputs = keras.Input((6, 4, 6))
    model = keras.Model(inputs, LayerNormalization(axis=axis)(inputs))
    for weight in model.weights:
        weight.assign(seeded.uniform(0.5, 1.5, weight.shape))
    x = seeded.normal(size=(2, 6, 4, 6)).astype("float32")
    np.testing.assert_allclose(call(to_keras(model), x), call(model, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("norm", "dropped"),
    [
        (
            "bn+l2norm=1e-3",
            "conv1.kernel_regularizer, conv1_norm.beta_regularizer, conv1_norm.gamma_regularizer, "
            "conv2.kernel_regularizer",
        ),
        ("none+l1=1e-3+l2norm=1e-3", "conv1.kernel_regularizer, conv2.kernel_regularizer"),
        ("rms+l1=1e-3", "conv1_norm.scale_regularizer"),
    ],
)
def test_penalties_without_a_counterpart_are_left_out_with_a_warning(norm, dropped, seeded):
    model = build(TINY, norm=norm, compile=False)
    with pytest.warns(UserWarning) as record:
        stock = to_keras(model)
    (sentence,) = [str(warning.message) for warning in record if "counterpart" in str(warning.message)]
    start, _, names = sentence.removesuffix(".").partition(", left out: ")
    says(start, "Keras", "penalties")
    assert sorted(names.split(", ")) == sorted(dropped.split(", "))
    assert stock_only(stock)
    x = seeded.integers(0, 256, (2, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(call(stock, x), call(model, x), rtol=1e-5, atol=1e-5)


def test_an_unbiased_moving_variance_is_left_out_with_a_warning():
    model = build(TINY, norm="bn+l2norm=1e-3", convention="torch", compile=False)
    with pytest.warns(UserWarning) as record:
        to_keras(model)
    penalties, settings = [str(warning.message) for warning in record if "counterpart" in str(warning.message)]
    assert "these penalties" in penalties and "unbiased" not in penalties
    says(settings, "settings", "conv1_norm.unbiased_moving_variance")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        to_keras(build(TINY, norm="bn", compile=False))


def test_penalties_with_a_counterpart_stay():
    model = build(TINY, norm="bn+l1=1e-3+l2=1e-2", compile=False)
    stock = to_keras(model)
    assert [float(loss) for loss in stock.losses] == pytest.approx([float(loss) for loss in model.losses])
    assert len(stock.losses) == len(model.trainable_variables)


def test_penalties_of_layers_inside_others_are_left_out_too(seeded):
    lstm = keras.layers.LSTM(2, kernel_regularizer=L2Norm(1e-3), recurrent_regularizer="l2", name="lstm")
    model = keras.Sequential([keras.Input((5, 3)), keras.layers.Bidirectional(lstm, name="both")])
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="penalties") as record:
        stock = to_keras(model)
    says(sentences(record)[0], "both.forward_lstm.kernel_regularizer, both.backward_lstm.kernel_regularizer")
    assert isinstance(stock.layers[0].forward_layer.cell.recurrent_regularizer, keras.regularizers.L2)
    x = seeded.normal(size=(2, 5, 3)).astype("float32")
    np.testing.assert_allclose(call(stock, x), call(model, x), rtol=1e-5, atol=1e-6)
    assert "tfnorm" not in stock.to_json()


def test_layers_of_tfnorm_inside_others_are_refused():
    wrapped = keras.layers.SpectralNormalization(Conv2D(4, 3, name="conv"), name="spectral")
    with pytest.raises(TfnormError) as caught:
        to_keras(keras.Sequential([keras.Input((8, 8, 3)), wrapped]))
    says(caught, "conv (Conv2D inside the layer 'spectral')", "tfnorm.layers")
    rows = keras.layers.TimeDistributed(BatchNormalization(name="norm"), name="rows")
    stock = to_keras(keras.Sequential([keras.Input((8, 3)), rows]))
    assert type(stock.layers[0].layer) is keras.layers.BatchNormalization


# Other shapes of model.


def test_nested_model(seeded):
    inside = keras.Input((8, 8, 8))
    block = keras.Model(inside, RMSNormalization(name="rms")(InstanceNormalization(name="in")(inside)), name="block")
    inputs = keras.Input((8, 8, 3))
    x = WeightStandardizedConv2D(8, 3, padding="same", name="conv")(inputs)
    tail = keras.Sequential([GroupNormalization(4), keras.layers.Dense(2)], name="tail")
    model = keras.Model(inputs, tail(block(BatchNormalization(name="bn")(x))))
    for weight in model.weights:
        weight.assign(seeded.uniform(0.5, 1.5, weight.shape))
    stock = to_keras(model)
    assert stock_only(stock)
    assert names_but_inputs(stock) == names_but_inputs(model)
    images = seeded.normal(size=(2, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(call(stock, images), call(model, images), rtol=1e-4, atol=1e-4)


def test_a_layer_used_twice(seeded):
    inputs = keras.Input((4, 4, 8))
    shared = GroupNormalization(4, name="shared")
    model = keras.Model(inputs, shared(shared(inputs) + 1.0))
    for weight in model.weights:
        weight.assign(seeded.uniform(0.5, 1.5, weight.shape))
    stock = to_keras(model)
    assert stock_only(stock)
    assert len(stock.weights) == len(model.weights) == 2
    images = seeded.normal(size=(2, 4, 4, 8)).astype("float32")
    np.testing.assert_allclose(call(stock, images), call(model, images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("start", ["input", "call"])
def test_sequential(start, seeded):
    layers = [WeightStandardizedConv2D(8, 3), GroupNormalization(group_size=4), keras.layers.ReLU()]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers] if start == "input" else layers)
    images = seeded.normal(size=(2, 8, 8, 3)).astype("float32")
    expected = call(model, images)
    stock = to_keras(model)
    assert isinstance(stock, keras.Sequential)
    assert stock_only(stock)
    np.testing.assert_allclose(call(stock, images), expected, rtol=1e-4, atol=1e-4)


def test_a_model_without_weights_yet_is_refused():
    with pytest.raises(TfnormError) as caught:
        to_keras(keras.Sequential([GroupNormalization(4)], name="mine"))
    says(caught, "'mine'", "keras.Input")


def test_channels_first(seeded):
    inputs = keras.Input((8, 4, 4))
    model = keras.Model(inputs, GroupNormalization(group_size=2, axis=1)(inputs))
    stock = to_keras(model)
    images = seeded.normal(size=(2, 8, 4, 4)).astype("float32")
    np.testing.assert_allclose(call(stock, images), call(model, images), rtol=1e-5, atol=1e-5)


def test_frozen_layers_stay_frozen():
    model = build(TINY, norm="bn", compile=False)
    model.get_layer("conv1_norm").trainable = False
    stock = to_keras(model)
    assert not stock.get_layer("conv1_norm").trainable
    assert stock.get_layer("conv1").trainable


def test_precision_stays(seeded):
    model = build(TINY, norm="gn:2", precision="bfloat16", compile=False)
    stock = to_keras(model)
    assert [layer.compute_dtype for layer in stock.layers[1:]] == [layer.compute_dtype for layer in model.layers[1:]]
    assert stock.input.dtype == model.input.dtype
    x = seeded.integers(0, 256, (2, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(call(stock, x), call(model, x), rtol=0.05, atol=0.05)


# Compilation.


def test_compiled_as_before():
    model = build(TINY)
    model.compile(keras.optimizers.SGD(0.5, momentum=0.9), keras.losses.MeanSquaredError(), metrics=["mae"])
    stock = to_keras(model)
    assert stock.compiled
    assert isinstance(stock.optimizer, keras.optimizers.SGD)
    assert stock.optimizer is not model.optimizer
    assert stock.optimizer.get_config() == model.optimizer.get_config()
    assert isinstance(stock.loss, keras.losses.MeanSquaredError)
    assert stock.get_compile_config() == model.get_compile_config()


@pytest.mark.matrix
def test_converted_models_train(seeded):
    stock = to_keras(build(TINY, norm="gn:2+ws"))
    x, y = seeded.integers(0, 256, (8, 8, 8, 3)).astype("float32"), np.arange(8)
    losses = stock.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_a_loss_or_an_optimizer_of_tfnorm_leaves_the_result_uncompiled():
    """As its file is then: see test_files_open_without_tfnorm."""
    for model, names in with_own_losses_and_optimizers():
        with pytest.warns(UserWarning, match="compiled") as record:
            stock = to_keras(model)
        says(sentences(record)[0], f"{model.name} ({names})", "not compiled")
        assert not stock.compiled and model.compiled


def test_a_loss_that_cannot_be_written_to_a_file_stays():
    class Squares:  # no get_config
        def __call__(self, y_true, y_pred):
            return keras.ops.mean(keras.ops.square(y_true - y_pred))

    model = build(TINY, norm="gn:2", compile=False)
    model.compile("sgd", squares := Squares())
    assert to_keras(model).loss is squares


def test_not_compiled_as_before():
    assert not to_keras(build(TINY, compile=False)).compiled
