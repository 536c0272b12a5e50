"""Batch norms that cannot be folded: they stay, with a reason."""

import re

import keras
import numpy as np
import pytest
from facts import says
from folding import assert_same_outputs, bn, chain, fold, needs_channels_first, randomize
from keras import layers
from tiny import functional

from tfnorm import layers as ours
from tfnorm.convert import fold_batch_norm


class OwnNorm(layers.BatchNormalization):
    pass


class OwnBlock(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv, self.norm = layers.Conv2D(4, 1), bn("norm")

    def build(self, shape):
        self.conv.build(shape)
        self.norm.build((*shape[:-1], 4))

    def call(self, x):
        return self.norm(self.conv(x))


def two_readers(inputs):
    x = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    return layers.Add(name="add")([x, bn()(x)])


def also_an_output(inputs):
    x = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    return [x, bn()(x)]


def shared_convolution(inputs):
    conv = layers.Conv2D(4, 3, padding="same", name="conv")
    return [layers.ReLU()(bn("bn1")(conv(inputs))), layers.ReLU()(bn("bn2")(conv(conv(inputs))))]


def shared_norm(inputs):
    norm = bn()
    return norm(layers.Dense(4, name="b")(layers.ReLU()(norm(layers.Dense(4, name="a")(inputs)))))


def adapted(inputs):
    layer = layers.Dense(4, name="dense")
    x = layer(inputs)
    layer.enable_lora(2)
    return bn()(x)


def monte_carlo(inputs):
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    return bn()(layers.Dropout(0.5, name="drop")(x, training=True))


def monte_carlo_after(inputs):
    return layers.Dense(3)(ours.Dropout(0.5, name="drop")(bn()(layers.ReLU(name="relu")(inputs)), training=True))


def called_in_training(inputs):
    return bn()(layers.Conv2D(4, 3, name="conv")(inputs), training=True)


KEPT = {
    "a relu": (lambda x: bn()(layers.ReLU(name="relu")(x)), ("'relu' (ReLU)",)),
    "an activation": (
        lambda x: bn()(layers.Conv2D(4, 3, activation="relu", name="conv")(x)),
        ("activation of 'conv'",),
    ),
    "the input": (lambda x: bn()(x), ("start", "'net'")),
    "padding": (
        lambda x: bn()(layers.ZeroPadding2D(1, name="pad")(layers.Conv2D(4, 3)(x))),
        ("'pad' (ZeroPadding2D)",),
    ),
    "a padded convolution after it": (
        lambda x: layers.Conv2D(4, 3, padding="same")(bn()(x)),
        ("start", "'net'"),
    ),
    "a padded depthwise convolution after it": (
        lambda x: layers.DepthwiseConv2D(3, padding="same")(bn()(x)),
        ("start", "'net'"),
    ),
    "a padded separable convolution after it": (
        lambda x: layers.SeparableConv2D(4, 3, padding="same")(bn()(x)),
        ("start", "'net'"),
    ),
    "a transposed convolution after it": (
        lambda x: layers.Conv2DTranspose(4, 3)(bn()(x)),
        ("start", "'net'"),
    ),
    "a transposed convolution without overlap after it": (
        lambda x: layers.Conv2DTranspose(4, 2, strides=2)(bn()(x)),
        ("start", "'net'"),
    ),
    "a penalized flatten after it": (
        lambda x: layers.Dense(3)(layers.Flatten(activity_regularizer="l2")(bn()(x))),
        ("start", "'net'"),
    ),
    "a picture made of it": (
        lambda x: layers.Dense(3)(layers.Reshape((7, 28))(bn()(x))),
        ("start", "'net'"),
    ),
    "another axis": (lambda x: bn(axis=1)(layers.Conv2D(7, 1, name="conv")(x)), ("channels of 'conv'",)),
    "another axis of a pool": (
        lambda x: bn()(layers.AveragePooling2D(2, data_format="channels_first", name="pool")(layers.Dense(4)(x))),
        ("channels of 'pool'",),
    ),
    "two readers": (two_readers, ("output of 'conv'", "'add'")),
    "an output": (also_an_output, ("'conv'", "output of the model 'net'")),
    "several calls": (shared_norm, ("'a'", "several times")),
    "an operation": (lambda x: bn()(layers.Dense(4)(x) * 2.0), ("'multiply' (Multiply)",)),
    "training": (called_in_training, ("training=True", "statistics of the batch")),
    "LoRA": (adapted, ("'dense'", "LoRA")),
    "a class": (lambda x: OwnNorm(name="bn")(layers.Dense(4)(x)), ("class of its own",)),
}


@pytest.mark.parametrize("case", KEPT)
def test_norms_that_stay(case, seeded):
    make, facts = KEPT[case]
    _, taken, reasons = fold(functional((7, 7, 4), make), seeded)
    assert taken == {}
    assert list(reasons) == ["bn"]
    # Keras numbers the operations of a process.
    says(re.sub(r"multiply_\d+", "multiply", reasons["bn"]), *facts)


@pytest.mark.parametrize(
    ("make", "facts"),
    [
        (monte_carlo, ("'drop' (Dropout)", "training=True")),
        (monte_carlo_after, ("'relu' (ReLU)",)),
    ],
)
def test_dropout_that_is_always_active(make, facts):
    # A shift after it reaches the elements that are dropped, too.
    _, report = fold_batch_norm(functional((7, 7, 4), make), return_report=True)
    assert not report.changes
    (kept,) = report.kept
    says(kept.note, *facts)


def test_models_called_in_training(seeded):
    def make(x):
        norm, drop = layers.BatchNormalization(name="bn"), layers.Dropout(0.5, name="drop")
        return drop(norm(layers.Conv2D(4, 3, padding="same", name="conv")(x)))

    trained, mixed, fixed, inner = (
        functional((7, 7, 4), make, name) for name in ("trained", "mixed", "fixed", "inner")
    )
    outer = functional((7, 7, 4), inner, "outer")
    inputs = keras.Input((7, 7, 4))
    x = mixed(mixed(trained(inputs, training=True)), training=True)
    model = keras.Model(inputs, outer(fixed(x, training=False), training=True))
    _, report = fold_batch_norm(randomize(model, seeded), return_report=True)
    assert [change.layer for change in report.changes] == ["fixed/bn"]
    facts = "training=True", "statistics of the batch"
    assert [change.layer for change in report.kept] == ["trained/bn", "mixed/bn", "outer/inner/bn"]
    for change in report.kept:
        says(change.note, *facts)
    assert_same_outputs(fold_batch_norm(fixed), fixed, seeded)


def test_a_norm_of_a_model_called_in_training_gives_the_same(seeded):
    inner = functional((7, 7, 4), lambda x: bn()(layers.Conv2D(4, 3)(x)), "inner")
    inputs = keras.Input((7, 7, 4))
    _, taken, reasons = fold(keras.Model(inputs, inner(inputs, training=True)), seeded)
    assert taken == {} and list(reasons) == ["inner/bn"]


@needs_channels_first
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_bias_that_keras_adds_along_the_width(side, bias, seeded):
    conv = layers.Conv2D(6, 2, data_format="channels_first", use_bias=bias, name="conv")
    parts = [layers.ReLU(name="relu"), bn(axis=1), conv] if side == "after" else [conv, bn(axis=1)]
    _, taken, reasons = fold(chain((4, 5, 7), *parts), seeded)
    if keras.backend.backend() == "tensorflow":
        assert taken == {} and ("'conv'" in reasons["bn"] or side == "after")
    assert fold(chain((4, 5, 8), *(type(part).from_config(part.get_config()) for part in parts)), seeded)[1] == {
        "bn": "conv"
    }
    one = [bn(axis=1), layers.Conv2D(1, 2, data_format="channels_first", name="conv")]
    assert fold(chain((4, 5, 2), *one), seeded)[1] == {"bn": "conv"}


@needs_channels_first
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only Keras on TensorFlow adds such a bias wrongly")
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_bias_that_keras_may_add_along_an_open_width(side, seeded):
    conv = layers.Conv2D(6, 2, data_format="channels_first", use_bias=False, name="conv")
    parts = [bn(axis=1), conv] if side == "after" else [conv, bn(axis=1)]
    model = chain((4, None, None), *parts)
    randomize(model, seeded)
    folded, report = fold_batch_norm(model, return_report=True)
    assert report.changes == () and ("may be as wide" in report.kept[0].note or side == "after")
    for width in (7, 8):  # outputs that are as wide as there are channels, and others
        x = seeded.normal(size=(2, 4, 5, width)).astype("float32")
        np.testing.assert_allclose(folded(x), model(x), atol=1e-5)


def test_a_convolution_with_several_norms(seeded):
    _, taken, reasons = fold(functional((7, 7, 4), shared_convolution), seeded)
    assert taken == {}
    assert list(reasons) == ["bn1", "bn2"]
    for note in reasons.values():
        says(note, "'conv'", "several times")


def test_norms_inside_layers(seeded):
    model = functional((7, 4, 4), lambda x: layers.TimeDistributed(bn(), name="rows")(OwnBlock(name="own")(x)))
    _, taken, reasons = fold(model, seeded)
    assert taken == {}
    assert list(reasons) == ["own/norm", "rows/bn"]
    says(reasons["own/norm"], "inside", "'own' (OwnBlock)")
    says(reasons["rows/bn"], "inside", "'rows' (TimeDistributed)")
