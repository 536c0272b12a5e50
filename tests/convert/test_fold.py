"""Folding batch norms: the same outputs at inference."""

import keras
import numpy as np
import pytest
from facts import says
from folding import assert_same_outputs, batch, bn, chain, fold, needs_channels_first, randomize
from keras import layers
from networks import SMALL
from tiny import array

from tfnorm import build
from tfnorm import layers as ours
from tfnorm.convert import fold_batch_norm

# Every layer that takes a norm over.

BEFORE = {
    "conv1d": (layers.Conv1D(6, 3, padding="causal"), (7, 4)),
    "conv2d": (layers.Conv2D(6, 3, padding="same", strides=2), (7, 7, 4)),
    "conv3d": (layers.Conv3D(6, 2), (5, 5, 5, 4)),
    "dilated": (layers.Conv2D(6, 3, dilation_rate=2, padding="same"), (7, 7, 4)),
    "groups": (layers.Conv2D(6, 3, groups=2), (7, 7, 4)),
    "depthwise1d": (layers.DepthwiseConv1D(3, depth_multiplier=2), (7, 4)),
    "depthwise2d": (layers.DepthwiseConv2D(3, depth_multiplier=3, padding="same"), (7, 7, 4)),
    "separable1d": (layers.SeparableConv1D(6, 3, depth_multiplier=2), (7, 4)),
    "separable2d": (layers.SeparableConv2D(6, 3), (7, 7, 4)),
    "transposed1d": (layers.Conv1DTranspose(6, 3, strides=2), (7, 4)),
    "transposed2d": (layers.Conv2DTranspose(6, 3, strides=2, padding="same"), (7, 7, 4)),
    "transposed3d": (layers.Conv3DTranspose(6, 2), (4, 4, 4, 4)),
    "dense": (layers.Dense(6), (4,)),
    "dense of pixels": (layers.Dense(6), (7, 7, 4)),
    "open size": (layers.Conv2D(6, 3), (None, None, 4)),
    "tfnorm's": (ours.Conv2D(6, 3), (7, 7, 4)),
}


@pytest.mark.parametrize("kind", BEFORE)
@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_before_a_norm(kind, bias, seeded):
    layer, shape = BEFORE[kind]
    layer = type(layer).from_config(layer.get_config() | {"name": "conv", "use_bias": bias})
    model = chain(shape, layer, bn() if bias else ours.BatchNormalization(name="bn"), layers.ReLU(), layers.Dense(2))
    folded, taken, _ = fold(model, seeded)
    assert taken == {"bn": "conv"}
    assert isinstance(folded, keras.Sequential)
    assert [part.name for part in folded.layers] == [part.name for part in model.layers if part.name != "bn"]
    assert type(folded.layers[0]) is type(layer)
    assert folded.layers[0].use_bias
    for weight, same in zip(folded.layers[-1].weights, model.layers[-1].weights, strict=True):
        np.testing.assert_array_equal(array(weight), array(same))


@pytest.mark.parametrize("settings", [{"scale": False}, {"center": False}, {"scale": False, "center": False}])
def test_a_norm_without_gamma_or_beta(settings, seeded):
    model = chain((7, 7, 4), layers.Conv2D(6, 3, name="conv"), bn(epsilon=0.1, **settings))
    assert fold(model, seeded)[1] == {"bn": "conv"}


def test_weights_are_those_of_the_formula(seeded):
    model = randomize(chain((2, 2, 3), layers.Conv2D(2, 1, name="conv"), bn(epsilon=0.25)), seeded)
    conv, norm = model.layers
    kernel, bias, gamma, beta, mean, variance = map(array, (*conv.weights, *norm.weights))
    scale = gamma / np.sqrt(variance + 0.25)
    new_kernel, new_bias = fold_batch_norm(model).layers[0].get_weights()
    np.testing.assert_allclose(new_kernel, kernel * scale, rtol=1e-6)
    np.testing.assert_allclose(new_bias, (bias - mean) * scale + beta, rtol=1e-5)


@needs_channels_first
def test_channels_first(seeded):
    conv = layers.Conv2D(6, 3, data_format="channels_first", name="conv")
    assert fold(chain((4, 7, 7), conv, bn(axis=1)), seeded)[1] == {"bn": "conv"}


def test_weight_standardization_is_written_out(seeded):
    model = chain((7, 7, 4), ours.WeightStandardizedConv2D(6, 3, name="conv"), bn())
    folded, taken, _ = fold(model, seeded)
    assert taken == {"bn": "conv"}
    assert type(folded.layers[0]) is ours.Conv2D


@pytest.mark.parametrize(
    "between",
    [
        layers.Activation("linear"),
        layers.Identity(),
        layers.Dropout(0.5),
        ours.Dropout(0.5),
        layers.SpatialDropout2D(0.5),
        layers.GaussianNoise(1.0),
        layers.AveragePooling2D(2, padding="same"),
        layers.GlobalAveragePooling2D(),
        layers.Cropping2D(1),
        layers.UpSampling2D(2, interpolation="bilinear"),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize("side", ["before", "after"])
def test_layers_in_between(between, side, seeded):
    between = type(between).from_config(between.get_config())
    dense = layers.Dense(3, name="dense", activation="relu" if side == "after" else None)
    parts = [dense, between, bn()] if side == "before" else [layers.ReLU(), bn(), between, dense]
    assert fold(chain((7, 7, 4), *parts), seeded)[1] == {"bn": "dense"}


@pytest.mark.parametrize("pool", [layers.MaxPooling2D(2, padding="same"), layers.GlobalMaxPooling2D()])
@pytest.mark.parametrize("side", ["before", "after"])
def test_maxima_only_where_no_scale_is_negative(pool, side, seeded):
    dense, norm = layers.Dense(3, name="dense"), bn()
    pool = type(pool).from_config(pool.get_config() | {"name": "pool"})
    parts = [layers.ReLU(name="relu"), norm, pool, dense] if side == "after" else [dense, pool, norm]
    model = randomize(chain((7, 7, 4), *parts), seeded)
    norm.gamma.assign(np.linspace(0.0, 2.0, norm.gamma.shape[0]))
    folded, report = fold_batch_norm(model, return_report=True)
    assert [change.after for change in report.changes] == ["dense"]
    assert_same_outputs(folded, model, seeded)
    norm.gamma.assign(np.linspace(-0.1, 2.0, norm.gamma.shape[0]))
    _, report = fold_batch_norm(model, return_report=True)
    before = "'relu' (ReLU)" if side == "after" else f"'pool' ({type(pool).__name__})"
    (kept,) = report.kept
    says(kept.note, before)


AFTER = {
    "dense": (layers.Dense(6, activation="relu"), (4,)),
    "conv1d": (layers.Conv1D(6, 3), (7, 4)),
    "conv2d": (layers.Conv2D(6, 3, strides=2, activation="relu"), (7, 7, 4)),
    "conv3d": (layers.Conv3D(6, 2), (5, 5, 5, 4)),
    "groups": (layers.Conv2D(6, 3, groups=2), (7, 7, 4)),
    "pointwise": (layers.Conv2D(6, 1, strides=2, padding="same"), (7, 7, 4)),
    "standardized": (ours.WeightStandardizedConv2D(6, 3), (7, 7, 4)),
    "dilated": (layers.Conv2D(6, 3, dilation_rate=2), (7, 7, 4)),
    "depthwise1d": (layers.DepthwiseConv1D(3, depth_multiplier=2, strides=2), (7, 4)),
    "depthwise2d": (layers.DepthwiseConv2D(3, depth_multiplier=3, activation="relu"), (7, 7, 4)),
    "depthwise2d dilated": (layers.DepthwiseConv2D(2, dilation_rate=2), (7, 7, 4)),
    "depthwise pointwise": (layers.DepthwiseConv2D(1, padding="same"), (7, 7, 4)),
    "separable1d": (layers.SeparableConv1D(6, 3, depth_multiplier=2), (7, 4)),
    "separable2d": (layers.SeparableConv2D(6, (3, 2), depth_multiplier=3, strides=2), (7, 7, 4)),
}


@pytest.mark.parametrize("kind", AFTER)
@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_after_a_norm(kind, bias, seeded):
    layer, shape = AFTER[kind]
    layer = type(layer).from_config(layer.get_config() | {"name": "conv", "use_bias": bias})
    assert fold(chain(shape, bn(), layer), seeded)[1] == {"bn": "conv"}


FLAT = {
    "pixels": ((5, 6, 4), -1, layers.Flatten(data_format="channels_last")),
    "channels first, kept": ((4, 5, 6), 1, layers.Flatten(data_format="channels_last")),
    "channels first, moved": ((4, 5, 6), 1, layers.Flatten(data_format="channels_first")),
    "channels last, moved": ((5, 6, 4), -1, layers.Flatten(data_format="channels_first")),
    "steps": ((7, 4), -1, layers.Flatten()),
    "volumes": ((2, 3, 5, 4), -1, layers.Flatten()),
    "features": ((4,), -1, layers.Flatten()),
    "reshaped": ((5, 6, 4), -1, layers.Reshape((-1,))),
}


@pytest.mark.parametrize("kind", FLAT)
def test_a_dense_layer_after_flatten(kind, seeded):
    shape, axis, flatten = FLAT[kind]
    flatten = type(flatten).from_config(flatten.get_config())
    norm, dense = bn(axis=axis), layers.Dense(3, activation="relu", name="dense")
    folded, taken, _ = fold(chain(shape, norm, layers.Dropout(0.5), flatten, layers.Dropout(0.5), dense), seeded)
    assert taken == {"bn": "dense"}
    assert [type(part) for part in folded.layers] == [layers.Dropout, type(flatten), layers.Dropout, layers.Dense]


def test_flatten_after_a_pool(seeded):
    parts = [layers.ReLU(), bn(), layers.AveragePooling2D(2), layers.Flatten(), layers.Dense(3, name="dense")]
    assert fold(chain((6, 6, 4), *parts), seeded)[1] == {"bn": "dense"}


def test_one_norm_in_two_places_of_two_layouts(seeded):
    # The same norm and dense layer, but other numbers of the norm at the same place of the dense layer.
    norm, dense, image = bn(axis=1), layers.Dense(3, name="dense"), keras.Input((4, 2, 3))
    formats = "channels_first", "channels_last"
    outputs = [dense(layers.Flatten(data_format=layout)(norm(layers.ReLU()(image)))) for layout in formats]
    _, taken, reasons = fold(keras.Model(image, outputs), seeded)
    assert taken == {} and list(reasons) == ["bn"]


def test_weights_of_the_layer_after_are_those_of_the_formula(seeded):
    conv = layers.SeparableConv2D(2, 2, depth_multiplier=3, name="conv")
    model = randomize(chain((3, 3, 4), bn(epsilon=0.25), conv), seeded)
    depthwise, pointwise, bias, gamma, beta, mean, variance = map(array, (*conv.weights, *model.layers[0].weights))
    scale = gamma / np.sqrt(variance + 0.25)
    shift = beta - mean * scale
    kernel = np.einsum("hwcm,cmo->hwco", depthwise, pointwise.reshape(4, 3, 2))
    new_depthwise, new_pointwise, new_bias = fold_batch_norm(model).layers[0].get_weights()
    np.testing.assert_allclose(new_depthwise, depthwise * scale[:, None], rtol=1e-6)
    np.testing.assert_array_equal(new_pointwise, pointwise)
    np.testing.assert_allclose(new_bias, bias + np.einsum("hwco,c->o", kernel, shift), rtol=1e-5)


LAYERS_AFTER = {
    "conv": lambda **settings: layers.Conv2D(6, 2, **settings),
    "groups": lambda **settings: layers.Conv2D(6, 2, groups=2, **settings),
    "depthwise": lambda **settings: layers.DepthwiseConv2D(2, depth_multiplier=2, **settings),
    "separable": lambda **settings: layers.SeparableConv2D(6, 2, depth_multiplier=2, **settings),
}
STEPS = {"plain": {}, "strides": {"strides": 2}, "dilated": {"dilation_rate": 2}}
BETWEEN = {
    "nothing": lambda layout: [],
    "dropout": lambda layout: [layers.Dropout(0.5)],
    "average": lambda layout: [layers.AveragePooling2D(2, strides=1, padding="same", data_format=layout)],
    "cropping": lambda layout: [layers.Cropping2D(1, data_format=layout), layers.Identity()],
    "upsampling": lambda layout: [layers.UpSampling2D(2, data_format=layout)],
}


@pytest.mark.matrix
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", LAYERS_AFTER)
def test_every_layer_after_a_norm(kind, bias, step, between, layout, seeded):
    first = layout == "channels_first"
    layer = LAYERS_AFTER[kind](data_format=layout, use_bias=bias, name="conv", **STEPS[step])
    norms = bn(axis=1 if first else -1), bn("last", axis=1 if first else -1)
    flat = [layers.Flatten(data_format=layout), layers.Dense(3, use_bias=bias, name="dense")]
    parts = [norms[0], *BETWEEN[between](layout), layer, layers.ReLU(), norms[1], *BETWEEN[between](layout), *flat]
    shape = (4, 9, 20) if first else (9, 20, 4)  # no width is a number of channels
    assert fold(chain(shape, *parts), seeded)[1] == {"bn": "conv", "last": "dense"}


def test_several_norms_into_one_layer(seeded):
    parts = [bn("bn1"), layers.Dense(6, name="dense"), bn("bn2"), layers.Dropout(0.5), bn("bn3"), layers.ReLU()]
    folded, taken, _ = fold(chain((4,), *parts), seeded)
    assert taken == {"bn1": "dense", "bn2": "dense", "bn3": "dense"}
    assert [type(layer) for layer in folded.layers] == [layers.Dense, layers.Dropout, layers.ReLU]


# Whole networks.


def application(name, **kwargs):
    kind = getattr(keras.applications, name)
    return kind(weights=None, input_shape=(32, 32, 3), classes=10, classifier_activation=None, **kwargs)


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("name", "folded", "kept"),
    [("MobileNetV2", 52, 0), ("DenseNet121", 59, 62), ("ResNet50", 53, 0), ("EfficientNetB0", 49, 0)],
)
def test_applications(name, folded, kept, seeded):
    model = application(name)
    new, taken, reasons = fold(model, seeded, 1e-4)
    assert (len(taken), len(reasons)) == (folded, kept)
    kernels = {layer.name for layer in model.layers if hasattr(layer, "kernel")}
    assert set(taken.values()) <= kernels
    assert {layer.name for layer in new.layers} == {layer.name for layer in model.layers} - set(taken)
    if name == "DenseNet121":
        says(reasons["conv2_block1_0_bn"], "'pool1' (MaxPooling2D)")
        says(reasons["bn"], "'conv5_block16_concat' (Concatenate)")


COUNTS = {
    "mnist_7k": (3, 1),
    "cifar_plain": (3, 5),
    "cifar_dilated": (10, 0),
    "mnist_layered": (0, 6),
    "cifar_residual": (6, 2),
    "resnet20": (19, 0),
}


@pytest.mark.parametrize("arch", SMALL)
def test_networks_of_tfnorm(arch, seeded):
    _, taken, reasons = fold(build(arch, norm="bn", compile=False, seed=1), seeded)
    # Some more go through a maximum where no scale is negative.
    assert (len(taken), len(reasons)) == COUNTS[arch]


def test_weight_standardized_network(seeded):
    model = build("mnist_7k", norm="bn+ws", compile=False, seed=1)
    folded, taken, reasons = fold(model, seeded)
    assert len(taken) == 3 and list(reasons) == ["conv2_norm"]
    for name in taken.values():
        assert type(folded.get_layer(name)) is ours.Conv2D


# Other shapes of model.


def test_nested_and_shared_models(seeded):
    block = chain((7, 7, 4), layers.Conv2D(4, 3, padding="same", name="conv"), bn("norm"), layers.ReLU())
    block.name = "block"
    inside = keras.Input((7, 7, 4))
    x = layers.Conv2D(4, 1, name="conv")(inside)
    inner = keras.Model(inside, bn("norm")(x), name="inner")
    inputs = keras.Input((7, 7, 4))
    outer = layers.TimeDistributed(chain((7, 4), layers.Dense(3, name="dense"), bn("norm")), name="rows")
    model = keras.Model(inputs, outer(inner(block(block(inputs)))))
    folded, taken, _ = fold(model, seeded)
    assert taken == {"block/norm": "block/conv", "inner/norm": "inner/conv", "rows/norm": "rows/dense"}
    assert [layer.name for layer in folded.layers] == [layer.name for layer in model.layers]


def test_shared_layers_that_always_go_together(seeded):
    inputs = keras.Input((4,))
    dense, norm = layers.Dense(4, name="dense"), bn()
    model = keras.Model(inputs, norm(dense(layers.ReLU()(norm(dense(inputs))))))
    assert fold(model, seeded)[1] == {"bn": "dense"}


def test_names_of_outputs_stay(seeded):
    inputs = keras.Input((4,))
    x = bn("a")(layers.Dense(3, name="dense1")(inputs))
    model = keras.Model(inputs, [x, bn("b")(layers.Dense(3, name="dense2")(layers.ReLU()(x)))])
    folded, taken, _ = fold(model, seeded)
    assert taken == {"a": "dense1", "b": "dense2"}
    assert folded.output_names == model.output_names == ["a", "b"]
    assert type(folded.get_layer("a")) is layers.Identity


def test_already_folded(seeded):
    model = chain((7, 7, 4), layers.Conv2D(6, 3), bn(), layers.ReLU())
    folded = fold_batch_norm(randomize(model, seeded))
    again, report = fold_batch_norm(folded, return_report=True)
    assert (report.changes, report.kept) == ((), ())
    assert str(report) == ""
    for weight, same in zip(again.weights, folded.weights, strict=True):
        np.testing.assert_array_equal(array(weight), array(same))


def test_the_model_is_not_changed_and_stays_compiled(seeded, tmp_path):
    model = randomize(chain((7, 7, 4), layers.Conv2D(6, 3), bn(), layers.Flatten(), layers.Dense(3)), seeded)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    x, y = batch(model, seeded, 8), seeded.integers(0, 3, 8)
    model.train_on_batch(x, y)
    config, weights = model.get_config(), model.get_weights()
    folded = fold_batch_norm(model)
    assert not folded.optimizer.built
    assert model.get_config() == config
    for weight, same in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(weight, same)
    np.testing.assert_allclose(folded.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-4)
    folded.train_on_batch(x, y)
    folded.save(tmp_path / "folded.keras")
    loaded = keras.models.load_model(tmp_path / "folded.keras")
    np.testing.assert_array_equal(array(loaded(x)), array(folded(x)))


def test_precision_stays(seeded):
    conv = layers.Conv2D(6, 3, dtype="mixed_bfloat16", name="conv")
    model = chain((7, 7, 4), conv, bn(dtype="mixed_bfloat16"))
    folded, taken, _ = fold(model, seeded, 2e-2)
    assert taken == {"bn": "conv"}
    assert folded.layers[0].compute_dtype == "bfloat16"
