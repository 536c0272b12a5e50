"""Replacing norms: other shapes of model, which norms are replaced, and what is refused."""

import keras
import numpy as np
import pytest
from facts import says
from keras import layers
from replacing import assert_other_weights_are_the_same, randomize, replaced
from tiny import all_layers, array, functional, images, one_layer

from tfnorm import build
from tfnorm import layers as ours
from tfnorm.convert import replace_norms
from tfnorm.errors import SpecError, TfnormError

pytestmark = pytest.mark.usefixtures("not_compiled")


# Other shapes of model.


def test_nested_and_shared_norms(seeded):
    shared = layers.BatchNormalization(name="shared")
    block = functional((8, 8, 8), lambda x: layers.ReLU(name="relu")(shared(x)), name="block")
    tail = keras.Sequential(
        [keras.Input((8, 8, 8)), layers.LayerNormalization(name="norm"), layers.Dense(2)], name="tail"
    )
    frames = layers.TimeDistributed(layers.BatchNormalization(name="rows_norm"), name="rows")
    model = functional((8, 8, 3), lambda x: tail(frames(shared(block(block(layers.Conv2D(8, 1)(x)))) + 1.0)))
    randomize(model, seeded)
    new, report = replaced(model, "gn:4")
    assert [change.layer for change in report.changes] == ["block/shared", "rows/rows_norm", "tail/norm"]
    assert new.get_layer("shared") is new.get_layer("block").get_layer("shared")
    assert type(new.get_layer("rows").layer) is ours.GroupNormalization
    assert isinstance(new.get_layer("tail"), keras.Sequential)
    assert_other_weights_are_the_same(new, model, {"shared", "norm", "rows_norm"})
    assert [op.name for op in new.operations] == [op.name for op in model.operations]
    np.testing.assert_array_equal(array(new.get_layer("rows").layer.gamma), array(frames.layer.gamma))
    assert np.isfinite(array(new(images(seeded, 2, 8, 8, 3)))).all()


@pytest.mark.parametrize("shape", [(12,), (7, 12), (3, 4, 5, 12), (None, None, 12)])
@pytest.mark.parametrize("spec", ["gn:4", "ln:channel", "rms", "bn"])
def test_other_ranks(shape, spec, seeded):
    model = randomize(one_layer(layers.BatchNormalization(name="norm"), shape), seeded)
    new = replace_norms(model, spec)
    assert new.output_shape == model.output_shape
    assert array(new(images(seeded, 2, *(size or 5 for size in shape)))).shape == (2, *(size or 5 for size in shape))


def test_a_norm_called_with_training(seeded):
    inputs = keras.Input((4, 4, 12))
    norm = layers.BatchNormalization(name="norm")
    model = keras.Model(inputs, norm(norm(inputs=inputs, training=False), training=True))
    new = replace_norms(model, "gn:4")
    x = images(seeded, 2, 4, 4, 12)
    once = array(new.get_layer("norm")(x))
    np.testing.assert_allclose(
        array(new(x)), array(new.get_layer("norm")(once.astype("float32"))), rtol=1e-5, atol=1e-5
    )


def test_masks_go_through(seeded):
    model = functional((None, 6), lambda x: layers.LSTM(3)(layers.BatchNormalization()(layers.Masking()(x))))
    x = images(seeded, 2, 5, 6)
    x[:, 3:] = 0
    new = replace_norms(model, "ln:channel")
    np.testing.assert_allclose(array(new(x)), array(new(x[:, :3])), rtol=1e-5, atol=1e-6)


def test_frozen_norms_and_compiled_models(seeded):
    model = build(norm="bn", seed=1)
    model.get_layer("conv1_norm").trainable = False
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), model.loss, metrics=["accuracy"], run_eagerly=True)
    x, y = seeded.integers(0, 256, (8, 28, 28, 1)).astype("float32"), seeded.integers(0, 10, 8)
    model.train_on_batch(x, y)
    new = replace_norms(model, "gn:2")
    assert not new.get_layer("conv1_norm").trainable and new.get_layer("conv2_norm").trainable
    assert new.get_compile_config() == model.get_compile_config()
    assert not new.optimizer.built  # its state belongs to other weights
    assert np.isfinite(new.train_on_batch(x, y)).all()


def test_the_model_is_not_changed(seeded):
    model = randomize(build(norm="bn", seed=1), seeded)
    config, weights = model.get_config(), model.get_weights()
    new = replace_norms(model, "gn:2+ws", calibrate=seeded.integers(0, 256, (4, 28, 28, 1)))
    for weight in new.weights:
        weight.assign(np.zeros(weight.shape))
    assert model.get_config() == config
    for weight, same in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(weight, same)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_precision_stays(policy, seeded):
    model = one_layer(layers.BatchNormalization(name="norm", dtype=policy))
    for spec in ("gn:4", "ln", "frn", "rms"):
        layer = replace_norms(model, spec).get_layer("norm")
        assert (layer.compute_dtype, layer.variable_dtype) == (policy.removeprefix("mixed_"), "float32")


# Removing norms, weight standardization, thresholded units.


def test_none_removes_norms(seeded):
    model = randomize(build("resnet20", norm="bn", seed=1, compile=False), seeded)
    new, report = replaced(model, "none")
    same = build("resnet20", norm="none", seed=1, compile=False)
    assert {layer.name for layer in new.layers} == {layer.name for layer in model.layers if "norm" not in layer.name}
    assert {change.after for change in report.changes} == {"nothing"}
    assert len(report.changes) == 19
    for layer in new.layers:
        layer.set_weights(same.get_layer(layer.name).get_weights())
    x = images(seeded, 2, 32, 32, 3)
    np.testing.assert_allclose(array(new(x)), array(same(x)), rtol=1e-4, atol=1e-4)


def test_a_removed_norm_leaves_an_identity_where_one_is_needed(seeded):
    empty = keras.Sequential([keras.Input((3, 4)), layers.BatchNormalization(name="norm")], name="empty")
    rows = layers.TimeDistributed(layers.BatchNormalization(name="rows_norm"), name="rows")
    model = functional((3, 4), lambda x: layers.BatchNormalization(name="last")(rows(empty(x))))
    new, report = replaced(model, "none")
    assert [type(new.get_layer(name)) for name in ("empty", "last")] == [keras.Sequential, layers.Identity]
    assert type(new.get_layer("rows").layer) is layers.Identity
    assert new.output_names == ["last"]
    assert [change.layer for change in report.changes] == ["empty/norm", "rows/rows_norm", "last"]
    x = images(seeded, 2, 3, 4)
    np.testing.assert_array_equal(array(new(x)), x)
    chain = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.BatchNormalization()])
    assert [type(layer) for layer in replace_norms(chain, "none").layers] == [layers.Dense]


def test_weight_standardization():
    def make(x):
        x = layers.BatchNormalization(name="bn1")(layers.Conv2D(8, 3, name="conv1")(x))
        y = layers.Conv2D(8, 3, padding="same", name="conv2")(x)
        x = layers.Add()([y, layers.BatchNormalization(name="bn2")(y)])
        return layers.BatchNormalization(name="bn3")(layers.DepthwiseConv2D(3, name="conv3")(x))

    model = functional((8, 8, 3), make)
    new, report = replaced(model, "gn:4+ws")
    assert [(c.layer, c.after) for c in report.changes[3:]] == [("conv1", "WeightStandardizedConv2D")]
    assert type(new.get_layer("conv1")) is ours.WeightStandardizedConv2D
    assert type(new.get_layer("conv2")) is layers.Conv2D  # its output is read elsewhere too
    for name in ("conv1", "conv2", "conv3"):
        for weight, same in zip(new.get_layer(name).weights, model.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(array(weight), array(same))


def test_thresholded_units():
    def make(x):
        x = layers.ReLU(name="relu1")(layers.BatchNormalization(name="bn1")(x))
        x = layers.Activation("relu", name="relu2")(layers.BatchNormalization(name="bn2")(x) + 1.0)
        return layers.ReLU(6.0, name="relu3")(layers.BatchNormalization(name="bn3")(x))

    model = functional((8, 8, 3), make)
    new, report = replaced(model, "frn")
    assert [(c.layer, c.after) for c in report.changes[3:]] == [("relu1", "TLU")]
    assert [type(new.get_layer(f"relu{i}")) for i in (1, 2, 3)] == [ours.TLU, layers.Activation, layers.ReLU]
    np.testing.assert_array_equal(array(new.get_layer("relu1").tau), np.zeros(3))


# Which norms are replaced.


def several(x):
    inner = functional((4, 4, 8), layers.BatchNormalization(name="bn1"), name="block")
    x = layers.BatchNormalization(name="bn1")(layers.Conv2D(8, 1)(x))
    return layers.LayerNormalization(name="ln1")(inner(layers.BatchNormalization(name="bn2")(x)))


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        (None, ["bn1", "bn2", "block/bn1", "ln1"]),
        ("bn2", ["bn2"]),
        ("bn1", ["bn1", "block/bn1"]),
        ("block/bn1", ["block/bn1"]),
        (["ln*", "bn2"], ["bn2", "ln1"]),
        (lambda layer: isinstance(layer, layers.LayerNormalization), ["ln1"]),
    ],
    ids=["all", "name", "twice", "path", "names", "function"],
)
def test_where(where, chosen):
    new, report = replaced(functional((4, 4, 3), several), "gn:4", where=where)
    assert [change.layer for change in report.changes] == chosen
    assert sum(isinstance(layer, ours.GroupNormalization) for layer in all_layers(new)) == len(chosen)


@pytest.mark.parametrize(
    ("where", "facts"),
    [
        (
            ["bn1", "bn22"],
            ("'net'", "'bn22'", "'bn2'", "'conv2_*'"),
        ),
        (
            lambda layer: False,
            ("`where`", "false for all 4", "'net'"),
        ),
        ([], ("`where`", "[]")),
        (3, ("`where`", "3")),
    ],
    ids=["name", "function", "none", "number"],
)
def test_where_that_fits_nothing(where, facts):
    with pytest.raises(TfnormError) as caught:
        replace_norms(functional((4, 4, 3), several), "gn:4", where=where)
    says(caught, *facts)


class OwnNorm(layers.BatchNormalization):
    pass


class OwnBlock(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.BatchNormalization(name="norm")

    def build(self, shape):
        self.norm.build(shape)

    def call(self, x):
        return self.norm(x)

    def compute_output_shape(self, shape):
        return shape


def test_norms_that_stay(seeded):
    def make(x):
        x = OwnBlock(name="block")(OwnNorm(name="own")(layers.BatchNormalization(name="bn")(x)))
        return layers.BatchNormalization(name="last")(layers.GlobalAveragePooling2D()(x))

    new, report = replaced(functional((4, 4, 6), make), "in")
    assert [change.layer for change in report.changes] == ["bn"]
    assert [(c.layer, c.before) for c in report.kept] == [
        ("own", "OwnNorm"),
        ("block/norm", "BatchNormalization"),
        ("last", "BatchNormalization"),
    ]
    own, block, last = (change.note for change in report.kept)
    says(own, "class of its own")
    says(block, "inside", "'block' (OwnBlock)")
    says(last, "in", "one number", "constant")
    assert type(new.get_layer("own")) is OwnNorm
    assert type(new.get_layer("last")) is layers.BatchNormalization
    rows = functional(
        (3, 4, 6), lambda x: layers.BatchNormalization(name="bn")(layers.TimeDistributed(OwnBlock(), name="rows")(x))
    )
    (kept,) = replaced(rows, "ln")[1].kept
    says(kept, "rows/norm: BatchNormalization", "'rows' (TimeDistributed)")
    assert not replaced(functional((4, 4, 6), make), "gn:2", where="bn")[1].kept
    assert replaced(functional((4, 4, 6), make), "gn:6")[1].kept[-1].layer == "last"
    assert replaced(functional((4, 4, 6), make), "gn:2")[1].changes[-1].layer == "last"


@pytest.mark.parametrize(
    ("shape", "constant"),
    [
        ((6, 8, 1), {"ln:channel"}),
        ((1,), {"ln:channel", "ln", "gn:1", "in"}),
        ((1, 1, 1), {"ln:channel", "ln", "gn:1", "in"}),
        ((1, 1, 6), {"in"}),
        ((1, 8, 1), {"ln:channel"}),
        ((6, 8, 6), set()),
    ],
)
def test_norms_of_single_numbers_stay(shape, constant, seeded):
    model = functional(shape, layers.BatchNormalization(name="bn"))
    x = np.concatenate([-np.ones((1, *shape)), seeded.normal(1, 2, (3, *shape))]).astype("float32")
    for spec in ("ln:channel", "ln", "gn:1", "in", "rms", "frn"):
        if spec in constant:
            with pytest.raises(TfnormError, match=f"bn: .*, {spec} .*one number.*constant"):
                replace_norms(model, spec)
        else:
            assert np.ptp(array(replace_norms(model, spec)(x))) > 0.1, spec


def test_report_as_frame_and_text():
    _, report = replaced(
        functional((4, 4, 12), lambda x: OwnNorm(name="own")(layers.BatchNormalization(name="bn")(x))), "gn:8"
    )
    changed, stays = str(report).splitlines()
    says(changed, "bn", "BatchNormalization -> GroupNormalization(6 groups)", "8 groups", "12 channels")
    says(stays, "own: OwnNorm", "class of its own")
    frame = report.to_frame()
    assert list(frame.columns) == ["layer", "before", "after", "groups", "note"]
    assert frame["layer"].tolist() == ["bn", "own"]
    assert frame["groups"].isna().tolist() == [False, True]


# Refused.


@pytest.mark.parametrize(
    ("spec", "facts"),
    [
        (
            "gn:8+l1=1e-4",
            ("'gn:8+l1=1e-4'", "'gn:8'", "regularizers"),
        ),
        ("gm:8", ("'gm'", "'gm:8'", "'gn'", "none, bn, ln, gn, in, rms, frn")),
    ],
)  # fmt: skip
def test_specs_that_are_refused(spec, facts):
    with pytest.raises(SpecError) as caught:
        replace_norms(build(norm="bn", compile=False), spec)
    says(caught, *facts)


def test_ln_needs_one_known_size():
    with pytest.raises(SpecError) as caught:
        replace_norms(one_layer(layers.BatchNormalization(name="norm"), (None, None, 6)), "ln")
    says(caught, "'ln'", "(None, None, None, 6)", "'norm'", "'gn:1'", "fixed input shape")
    norm = layers.BatchNormalization(name="norm")
    model = functional((4, 4, 6), lambda x: norm(layers.MaxPooling2D()(norm(x))))
    with pytest.raises(SpecError, match=r"\(None, 4, 4, 6\) and \(None, 2, 2, 6\).* 'norm'"):
        replace_norms(model, "ln")


def test_models_without_a_norm_to_replace_are_refused():
    with pytest.raises(TfnormError) as caught:
        replace_norms(functional((4, 4, 6), OwnNorm(name="own")), "gn:8")
    says(caught, "'net'", "own: OwnNorm", "insert_norms", "--insert")
