"""Replacing norms: which weights are kept, what the new norms compute, and which norms stay."""

import keras
import numpy as np
import pytest
from backends import BATCH_NORMS
from facts import says
from keras import layers
from replacing import assert_other_weights_are_the_same, randomize, replaced
from tiny import all_layers, array, functional, images, one_layer

from tfnorm import build
from tfnorm import layers as ours
from tfnorm.convert import replace_norms

pytestmark = pytest.mark.usefixtures("not_compiled")

KINDS = {
    **dict.fromkeys(BATCH_NORMS, ours.BatchNormalization),
    "ln": ours.LayerNormalization,
    "ln:channel": ours.LayerNormalization,
    "gn:4": ours.GroupNormalization,
    "gn:size=3": ours.GroupNormalization,
    "in": ours.InstanceNormalization,
    "rms": ours.RMSNormalization,
    "frn": ours.FilterResponseNormalization,
}
NOTES = {
    "rms": ("beta", "dropped"),
    "bn": ("moving statistics", "0", "1"),
    "bn:sync": ("moving statistics", "0", "1"),
}
CLASSES = (layers.BatchNormalization, ours.BatchNormalization)


def gamma_of(layer):
    return array(layer.scale if isinstance(layer, layers.RMSNormalization) else layer.gamma)


def normalized(x, spec, epsilon):
    """Return what a norm with gamma 1 and beta 0 makes of ``x``, in NumPy."""
    n, h, w, c = x.shape
    axes = {"bn": None, "bn:sync": None, "ln": (1, 2, 3), "ln:channel": 3, "in": (1, 2), "rms": 3, "frn": (1, 2)}
    if spec.startswith("gn"):
        groups = 4 if spec == "gn:4" else c // 3
        grouped = x.reshape(n, h, w, groups, c // groups)
        return normalized(np.moveaxis(grouped, 3, 1).reshape(-1, h, w, c // groups), "ln", epsilon).reshape(
            n, groups, h, w, c // groups
        ).transpose(0, 2, 3, 1, 4).reshape(x.shape)  # fmt: skip
    if axes[spec] is None:
        return x / np.sqrt(1 + epsilon)  # the moving statistics that a new one starts with
    mean = 0 if spec in ("rms", "frn") else x.mean(axis=axes[spec], keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=axes[spec], keepdims=True) + epsilon)


# What a new norm computes and keeps.


@pytest.mark.parametrize("spec", KINDS)
@pytest.mark.parametrize("kind", [layers.GroupNormalization, ours.FilterResponseNormalization])
def test_gamma_beta_and_epsilon_are_carried_over(spec, kind, seeded):
    model = randomize(
        one_layer(kind(epsilon=0.25, name="norm", **({"groups": 6} if "Group" in str(kind) else {}))), seeded
    )
    new, report = replaced(model, spec)
    layer = new.get_layer("norm")
    assert type(layer) is KINDS[spec]
    assert layer.epsilon == 0.25
    gamma, beta = map(array, model.get_layer("norm").weights)
    np.testing.assert_array_equal(gamma_of(layer), np.broadcast_to(gamma, gamma_of(layer).shape))
    x = images(seeded, 3, 4, 5, 12)
    expected = normalized(x.astype("float64"), spec, 0.25) * gamma + (0 if spec == "rms" else beta)
    np.testing.assert_allclose(array(new(x)), expected, rtol=1e-4, atol=1e-4)
    (change,) = report.changes
    assert (change.layer, change.before, change.after) == ("norm", kind.__name__, KINDS[spec].__name__)
    assert change.groups == ({"gn:4": 4, "gn:size=3": 4}.get(spec))
    assert bool(change.note) == (spec in NOTES)
    says(change.note, *NOTES.get(spec, ()))


@pytest.mark.parametrize(
    "old",
    [
        layers.BatchNormalization(axis=1),
        layers.BatchNormalization(scale=False),
        layers.BatchNormalization(center=False, scale=False),
        layers.LayerNormalization(),
        layers.LayerNormalization(axis=(1, 2, 3)),
        layers.LayerNormalization(axis=[-1, -2], center=False),
        layers.GroupNormalization(2, axis=1),
        layers.RMSNormalization(),
        ours.BatchNormalization(unbiased_moving_variance=True, momentum=0.5),
        ours.LayerNormalization(axis=(1, -1)),
        ours.GroupNormalization(group_size=3),
        ours.InstanceNormalization(scale=False),
        ours.RMSNormalization(scale_regularizer="l1"),
        ours.FilterResponseNormalization(learned_epsilon=True),
    ],
    ids=lambda layer: f"{type(layer).__module__.split('.')[0]}.{type(layer).__name__}",
)
@pytest.mark.parametrize("spec", KINDS)
def test_every_norm_becomes_every_other(old, spec, seeded):
    old = type(old).from_config(old.get_config() | {"name": "norm"})
    model = randomize(one_layer(old, (6, 12, 12)), seeded)
    new, report = replaced(model, spec)
    layer = new.get_layer("norm")
    assert type(layer) is KINDS[spec]
    assert len(report.changes) == 1
    assert new.output_shape == model.output_shape
    if spec != "ln" and getattr(old, "axis", -1) == 1:
        assert layer.axis == 1
    if spec != "rms" and not isinstance(old, layers.RMSNormalization):
        assert (layer.scale, layer.center) == (old.scale, old.center)


def test_penalties_constraints_and_momentum_are_carried_over():
    settings = dict(gamma_regularizer="l1", beta_regularizer="l2", gamma_constraint="non_neg", momentum=0.5)
    model = one_layer(layers.BatchNormalization(name="norm", **settings))
    gn = replace_norms(model, "gn:4").get_layer("norm")
    assert isinstance(gn.gamma_regularizer, keras.regularizers.L1)
    assert isinstance(gn.beta_regularizer, keras.regularizers.L2)
    assert isinstance(gn.gamma_constraint, keras.constraints.NonNeg)
    rms = replace_norms(model, "rms")
    assert isinstance(rms.get_layer("norm").scale_regularizer, keras.regularizers.L1)
    assert isinstance(replace_norms(rms, "bn").get_layer("norm").gamma_regularizer, keras.regularizers.L1)
    assert replace_norms(model, BATCH_NORMS[-1]).get_layer("norm").momentum == 0.5


def test_settings_that_are_written_only_where_they_are_set():
    model = build(norm="bn", convention="torch", compile=False)
    for spec in (*BATCH_NORMS, "bn+ws"):
        assert replace_norms(model, spec).get_layer("conv1_norm").unbiased_moving_variance
    biased = build(norm="bn", compile=False)
    assert not replace_norms(biased, BATCH_NORMS[-1]).get_layer("conv1_norm").unbiased_moving_variance
    regularized = one_layer(layers.BatchNormalization(activity_regularizer=keras.regularizers.L2(0.5), name="norm"))
    for spec in KINDS:
        penalty = replace_norms(regularized, spec).get_layer("norm").activity_regularizer
        assert isinstance(penalty, keras.regularizers.L2) and float(penalty.l2) == 0.5


@pytest.mark.parametrize("masking", [layers.Masking(), None])
def test_masks_that_end_are_in_the_report(masking):
    def make(inputs):
        return layers.BatchNormalization(name="norm")(inputs if masking is None else masking(inputs))

    for spec, note in (("rms", "masks go no further"), ("gn:4", "")):
        _, report = replaced(functional((6, 8), make), spec)
        assert report.changes[0].note == (note if masking else "")


def test_settings_without_a_place_are_in_the_report():
    settings = dict(gamma_regularizer="l1", gamma_constraint="non_neg", beta_regularizer="l2")
    model = one_layer(layers.BatchNormalization(name="norm", **settings))
    new, report = replaced(model, "rms")
    says(report.changes[0].note, "beta_regularizer", "gamma_constraint")
    assert isinstance(new.get_layer("norm").scale_regularizer, keras.regularizers.L1)
    for spec in ("gn:4", "ln", "frn"):
        assert replaced(model, spec)[1].changes[0].note == ""


def test_moving_statistics(seeded):
    model = randomize(one_layer(layers.BatchNormalization(name="norm")), seeded)
    x = images(seeded, 2, 4, 5, 12)
    for spec in BATCH_NORMS:
        new = replace_norms(model, spec)
        assert new.get_layer("norm").synchronized == (spec == "bn:sync")
        np.testing.assert_allclose(array(new(x)), array(model(x)), rtol=1e-5, atol=1e-5)
        assert replaced(model, spec)[1].changes[0].note == ""
    back = replace_norms(replace_norms(model, "gn:4"), "bn").get_layer("norm")
    np.testing.assert_array_equal(array(back.moving_mean), np.zeros(12))
    np.testing.assert_array_equal(array(back.moving_variance), np.ones(12))


@pytest.mark.parametrize("spec", sorted(set(KINDS) - {"rms"}))
def test_there_and_back(spec, seeded):
    model = randomize(one_layer(layers.BatchNormalization(name="norm", axis=3), (7, 9, 13)), seeded)
    back = replace_norms(replace_norms(model, spec), "bn").get_layer("norm")
    for name in ("gamma", "beta"):
        np.testing.assert_array_equal(array(getattr(back, name)), array(getattr(model.get_layer("norm"), name)))


def pooled_norm(x):
    x = layers.AveragePooling2D(2, data_format="channels_first")(layers.Conv2D(8, 1)(x))
    return layers.Flatten()(layers.ReLU()(layers.BatchNormalization(axis=1, name="norm")(x)))


def norm_before_a_convolution(x):
    x = layers.ReLU()(layers.BatchNormalization(axis=1, name="norm")(x))
    return layers.Conv2D(3, 1, data_format="channels_first")(x)


def norm_of_a_nested_model(x):
    inner = functional((3, 8, 8), layers.BatchNormalization(axis=1, name="norm"), name="inner")
    return layers.Conv2D(3, 1, data_format="channels_first")(inner(x))


@pytest.mark.parametrize("make", [pooled_norm, norm_before_a_convolution, norm_of_a_nested_model])
@pytest.mark.parametrize("spec", ["bn", "gn:3", "ln:channel"])
def test_channels_first_there_and_back(make, spec, seeded):
    model = randomize(functional((3, 8, 8), make), seeded)
    back, report = replaced(replace_norms(model, "ln"), spec)
    (norm,), (old,) = ([layer for layer in all_layers(m) if layer.name == "norm"] for m in (back, model))
    assert norm.axis == 1
    assert "axis" not in report.changes[0].note
    for name in ("gamma", "beta"):
        np.testing.assert_array_equal(array(getattr(norm, name)), array(getattr(old, name)))


def test_channels_that_no_layer_tells_are_guessed(seeded):
    model = randomize(
        functional((5, 7, 3), lambda x: layers.BatchNormalization(name="norm")(layers.Conv2D(4, 1)(x))), seeded
    )
    (change,) = replaced(replace_norms(model, "ln"), "bn")[1].changes
    says(change.note, "moving statistics")
    assert "axis" not in change.note
    alone = randomize(one_layer(layers.BatchNormalization(axis=1, name="norm"), (3, 8, 8)), seeded)
    note = replaced(replace_norms(alone, "ln"), "ln:channel")[1].changes[0].note
    says(note, "axis 3")
    assert replaced(replace_norms(alone, "ln"), "ln")[1].changes[0].note == ""


def test_weights_of_pixels_become_their_mean(seeded):
    model = randomize(one_layer(layers.LayerNormalization(axis=(1, 2, 3), name="norm")), seeded)
    new, report = replaced(model, "gn:4")
    gamma, beta = map(array, model.get_layer("norm").weights)
    np.testing.assert_allclose(array(new.get_layer("norm").gamma), gamma.mean((0, 1)), rtol=1e-6)
    np.testing.assert_allclose(array(new.get_layer("norm").beta), beta.mean((0, 1)), rtol=1e-6)
    says(report.changes[0].note, "gamma", "beta", "axis 3")


def test_an_epsilon_of_zero_is_not_carried_over():
    model = one_layer(layers.BatchNormalization(epsilon=0.0, name="norm"))
    assert replace_norms(model, "gn:4").get_layer("norm").epsilon == 1e-3
    assert replace_norms(model, "frn").get_layer("norm").epsilon == 1e-6


def test_groups_that_do_not_divide():
    def make(x):
        for channels in (12, 20, 7, 64):
            x = layers.BatchNormalization(name=f"bn{channels}")(layers.Conv2D(channels, 1)(x))
        return x

    new, report = replaced(functional((4, 4, 3), make), "gn:8")
    assert [change.groups for change in report.changes] == [6, 5, 7, 8]
    assert [new.get_layer(change.layer).groups for change in report.changes] == [6, 5, 7, 8]
    for change, channels in zip(report.changes, (12, 20, 7), strict=False):
        says(change.note, "8 groups", f"{channels} channels")
    assert report.changes[3].note == ""
    new, report = replaced(functional((4, 4, 3), make), "gn:size=8")
    assert [change.groups for change in report.changes] == [2, 4, 1, 8]
    says(report.changes[0].note, "8 channels a group", "12 channels")


# Whole networks.


def application(name, **kwargs):
    kind = getattr(keras.applications, name)
    return kind(weights=None, input_shape=(32, 32, 3), classes=10, classifier_activation=None, **kwargs)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("MobileNetV2", 52),
        *(pytest.param(*each, marks=pytest.mark.matrix) for each in [("EfficientNetB0", 49), ("DenseNet121", 121)]),
    ],
)
def test_applications(name, count, seeded):
    model = randomize(application(name), seeded)
    new, report = replaced(model, "gn:32")
    norms = {layer.name for layer in all_layers(model) if isinstance(layer, CLASSES)}
    assert len(report.changes) == len(norms) == count
    assert {change.layer for change in report.changes} == norms
    assert_other_weights_are_the_same(new, model, norms)
    for change in report.changes:
        layer, old = new.get_layer(change.layer), model.get_layer(change.layer)
        assert layer.groups == change.groups == max(g for g in range(1, 33) if old.gamma.shape[0] % g == 0)
        np.testing.assert_array_equal(array(layer.gamma), array(old.gamma))
        assert layer.epsilon == old.epsilon


@pytest.mark.matrix
def test_resnet50(seeded, tmp_path):
    model = randomize(application("ResNet50"), seeded)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    new, report = replaced(model, "gn:32")
    assert len(report.changes) == 53 and not report.kept
    assert_other_weights_are_the_same(new, model, {change.layer for change in report.changes})
    x, y = images(seeded, 2, 32, 32, 3), np.array([1, 2])
    before = new.get_layer("conv3_block1_1_bn").get_weights()
    loss = new.train_on_batch(x, y)
    assert np.isfinite(loss)
    assert any(
        (now != then).any() for now, then in zip(new.get_layer("conv3_block1_1_bn").get_weights(), before, strict=True)
    )
    new.save(tmp_path / "gn.keras")
    loaded = keras.models.load_model(tmp_path / "gn.keras")
    np.testing.assert_array_equal(array(loaded(x)), array(new(x)))


@pytest.mark.parametrize("spec", ["ln", "in", "rms", "gn:2"])
def test_networks_of_tfnorm_are_those_of_the_builder(spec):
    model = build(norm="bn", seed=1, compile=False)
    new = replace_norms(model, spec)
    same = build(norm=spec, seed=1, compile=False, epsilon=1e-3)
    for layer, other in zip(new.layers, same.layers, strict=True):
        assert (type(layer), layer.output.shape) == (type(other), other.output.shape)
        for weight, expected in zip(layer.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, expected)
