"""Statistics before and after norms, against NumPy."""

import keras
import numpy as np
import pytest
from facts import says
from keras import layers, ops

from tfnorm import layers as ours
from tfnorm.analysis.activations import activation_statistics
from tfnorm.errors import DataError, TfnormError

IMAGES = np.random.default_rng(0).normal(1.0, 2.0, (10, 6, 6, 3)).astype("float32")


def model_of(*parts, shape=(6, 6, 3)):
    image = tensor = keras.Input(shape, name="image")
    for part in parts:
        tensor = part(tensor)
    return keras.Model(image, tensor)


def one(*parts, images=IMAGES, **options):
    (record,) = activation_statistics(model_of(*parts), images, **options)
    return record


def moments(values):
    return [
        pytest.approx(np.mean(values, dtype="float64"), abs=1e-5),
        pytest.approx(np.std(values, dtype="float64"), abs=1e-5),
    ]


@pytest.mark.parametrize("batch_size", [1, 3, 10, 64])
def test_moments_do_not_depend_on_the_batches_of_a_norm_without_batch_statistics(batch_size):
    record = one(layers.LayerNormalization(name="norm"), batch_size=batch_size)
    after = (IMAGES - IMAGES.mean(-1, keepdims=True)) / np.sqrt(IMAGES.var(-1, keepdims=True) + 1e-3)
    assert [record["before_mean"], record["before_std"]] == moments(IMAGES)
    assert [record["after_mean"], record["after_std"]] == moments(after)
    assert (record["layer"], record["kind"], record["relu"]) == ("norm", "LayerNormalization", None)


def test_large_means_cost_no_digits():
    record = one(layers.LayerNormalization(), images=(IMAGES / 2 + 1e4).astype("float32"), batch_size=2)
    assert record["before_std"] == pytest.approx(1.0, abs=0.06)


def test_batch_norms_take_the_statistics_of_the_batch_and_keep_theirs():
    norm = layers.BatchNormalization(name="norm")
    model = model_of(norm)
    weights = [np.array(weight) for weight in model.get_weights()]
    (record,) = activation_statistics(model, IMAGES)
    axes = (0, 1, 2)
    assert [record["after_mean"], record["after_std"]] == moments(
        (IMAGES - IMAGES.mean(axes)) / np.sqrt(IMAGES.var(axes) + 1e-3)
    )
    (moving,) = activation_statistics(model, IMAGES, batch_statistics=False)
    assert [moving["after_mean"], moving["after_std"]] == moments(IMAGES / np.sqrt(1 + 1e-3))
    norm.trainable = False
    (frozen,) = activation_statistics(model, IMAGES)
    assert frozen == moving
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def shift(*offsets):
    """Return a norm that gives each channel an offset; the images are 10 at most in size."""
    norm = layers.BatchNormalization(name="norm")
    norm.build((None, 6, 6, 3))
    norm.beta.assign(np.array(offsets, "float32"))
    return norm


def test_dead_channels_after_a_norm_before_its_relu():
    record = one(shift(-99, 0, -99), layers.Dropout(0.5), layers.ReLU(), images=np.abs(IMAGES))
    assert (record["relu"], record["before_dead"], record["after_dead"]) == ("after", 0.0, pytest.approx(2 / 3))
    # Without the norm the ReLU would kill the channels of negative numbers.
    record = one(shift(99, 99, 99), layers.ReLU(), images=-np.abs(IMAGES) * [1, 1, -1])
    assert (record["before_dead"], record["after_dead"]) == (pytest.approx(2 / 3), 0.0)


class OwnNorm(layers.LayerNormalization):
    pass


@pytest.mark.parametrize("norm", [ours.InstanceNormalization, OwnNorm])
def test_dead_channels_before_a_norm_of_a_subclass(norm):
    record = one(norm(), layers.ReLU(), images=-np.abs(IMAGES) * [1, 1, -1])
    assert (record["kind"], record["relu"]) == (norm.__name__, "after")
    assert (record["before_dead"], record["after_dead"]) == (pytest.approx(2 / 3), 0.0)


def test_one_positive_pixel_keeps_a_channel_alive():
    images = -np.ones((4, 6, 6, 3), "float32")
    images[3, 5, 0, 1] = 1e-3
    assert one(layers.LayerNormalization(), layers.ReLU(), images=images)["before_dead"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("parts", "relu"),
    [
        ((layers.Activation("relu"), layers.GroupNormalization(1)), "before"),
        ((layers.Conv2D(4, 1, activation="relu"), layers.Dropout(0.1), layers.GroupNormalization(1)), "before"),
        ((lambda x: ops.relu(x), ours.InstanceNormalization()), "before"),
        ((layers.GroupNormalization(1), lambda x: ops.relu6(x)), "after"),
        ((ours.GroupNormalization(1), ours.ReLU(max_value=6.0)), "after"),
        ((layers.GroupNormalization(1), layers.LeakyReLU()), None),
        ((layers.GroupNormalization(1), layers.ReLU(negative_slope=0.1)), None),
        ((layers.GroupNormalization(1), layers.Conv2D(4, 1), layers.ReLU()), None),
        ((ours.FilterResponseNormalization(), ours.TLU()), None),
    ],
)
def test_where_the_relu_is(parts, relu):
    record = one(*parts)
    assert record["relu"] == relu
    assert (record["before_dead"] is None) == (relu is None)
    assert (record["after_dead"] is None) == (relu != "after")


def test_layers_of_ones_choice():
    convolution = layers.Conv2D(
        4, 1, activation="relu", bias_initializer=keras.initializers.Constant(-999), name="conv"
    )
    record = one(convolution, layers.GroupNormalization(1), layers="conv".split())
    assert (record["layer"], record["relu"], record["before_dead"], record["after_dead"]) == (
        "conv",
        "within",
        None,
        1.0,
    )


def test_nested_models_shared_layers_and_several_inputs():
    norm = layers.LayerNormalization(name="norm")
    inner = keras.Sequential([keras.Input((6, 6, 3)), norm], name="inner")
    first, second = keras.Input((6, 6, 3), name="a"), keras.Input((6, 6, 3), name="b")
    both = layers.ReLU()(layers.Add()([inner(first), inner(layers.Rescaling(0.0)(second))]))
    model = keras.Model({"a": first, "b": second}, norm(both))
    records = activation_statistics(model, {"a": IMAGES, "b": IMAGES})
    assert [record["layer"] for record in records] == ["inner/norm", "inner/norm (2)", "norm (3)"]
    assert [record["relu"] for record in records] == [None, None, "before"]
    assert records[0]["before_std"] == pytest.approx(IMAGES.std(), rel=1e-5) and records[1]["after_std"] == 0.0
    # Keras finds the arrays by the names of the inputs, in whichever order those are.
    turned = keras.Model([second, first], [norm(second), layers.LayerNormalization(name="other")(first)])
    records = activation_statistics(turned, {"a": IMAGES + 1000, "b": IMAGES})
    assert {record["layer"]: round(record["before_mean"] / 1000) for record in records}["other"] == 1
    with pytest.raises(DataError, match=r"\[5, 4\]"):
        activation_statistics(turned, [IMAGES[:5], IMAGES[:4]])
    wrapped = keras.Sequential([keras.Input((6, 6, 3)), inner, layers.ReLU()])
    assert [record["relu"] for record in activation_statistics(wrapped, IMAGES)] == ["after"]


def test_what_is_not_finite_is_none():
    images = IMAGES.copy()
    images[0, 0, 0, 0] = np.inf
    record = one(layers.BatchNormalization(), layers.ReLU(), images=images)
    assert {record[key] for key in record if key.startswith(("before", "after"))} == {None}


@pytest.mark.parametrize(
    "norm", [ours.BatchNormalization(), ours.LayerNormalization(axis=(1, 2, 3)), ours.RMSNormalization()]
)
def test_norms_of_ours_are_seen(norm):
    record = one(norm, layers.ReLU(), images=IMAGES[..., :1].repeat(3, axis=-1))
    assert record["kind"] == type(norm).__name__ and record["relu"] == "after"
    assert record["after_std"] == pytest.approx(1.0, abs=0.2)


REFUSED = [
    (
        lambda: one(layers.ReLU()),
        TfnormError,
        ("'own'", "`layers`"),
    ),
    (
        lambda: one(layers.ReLU(name="relu"), layers=["reli"]),
        TfnormError,
        ("'reli'", "'relu'"),
    ),
    (
        lambda: one(layers.LayerNormalization(), images=IMAGES[:0]),
        DataError,
        ("`x`", "none"),
    ),
    (
        lambda: one(layers.LayerNormalization(), images=IMAGES[:, :5]),
        DataError,
        ("`x`", "(6, 6, 3)", "(5, 6, 3)"),
    ),
    (
        lambda: one(layers.LayerNormalization(), images=[IMAGES, IMAGES]),
        DataError,
        ("`x`", "1", "2"),
    ),
    (
        lambda: one(layers.LayerNormalization(), images={"b": IMAGES}),
        DataError,
        ("`x`", "['image']", "['b']"),
    ),
    (
        lambda: one(layers.LayerNormalization(), batch_size=0),
        DataError,
        ("at least 1", "batch_size=0"),
    ),
    (
        lambda: one(layers.ReLU(name="relu"), layers="reli"),
        TfnormError,
        ("'reli'", "'relu'"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "facts"), REFUSED)
def test_refused(make, kind, facts, monkeypatch):
    plain = keras.Model
    monkeypatch.setattr(keras, "Model", lambda *arguments: plain(*arguments, name="own"))
    with pytest.raises(kind) as caught:
        make()
    says(caught, *facts)


def test_dropout_and_augmentation_are_left_out():
    model = model_of(layers.RandomContrast(0.9), layers.Dropout(0.9), layers.LayerNormalization())
    (record,) = activation_statistics(model, IMAGES)
    assert record["before_std"] == pytest.approx(IMAGES.std(), rel=1e-5)


def test_inputs_of_a_model_inside_go_by_their_names():
    first, second = keras.Input((6, 6, 3), name="z"), keras.Input((6, 6, 3), name="a")
    outputs = [layers.LayerNormalization(name="of_z")(first), layers.LayerNormalization(name="of_a")(second)]
    inner = keras.Model([first, second], outputs, name="inner")
    image = keras.Input((6, 6, 3))
    model = keras.Model(image, inner({"z": image, "a": 5 * image}))
    of_z, of_a = activation_statistics(model, IMAGES)
    assert (of_z["layer"], of_a["layer"]) == ("inner/of_z", "inner/of_a")
    assert [of_z["before_mean"], of_z["before_std"]] == moments(IMAGES)
    assert [of_a["before_mean"], of_a["before_std"]] == moments(5 * IMAGES)
