"""One contract that every layer of tfnorm keeps, run over the registry of norms and the layers beside it."""

import functools
import json
import re
import zipfile

import keras
import numpy as np
import pytest
from backends import BACKEND, array, float64_allowed

import tfnorm.layers
from tfnorm.layers import (
    TLU,
    BandNormalization,
    BatchNormalization,
    ContribInstanceNormalization,
    FilterResponseNormalization,
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
    RMSNormalization,
    WeightStandardizedConv2D,
)
from tfnorm.layers.create import norm_layer
from tfnorm.layers.normalization.base import AffineNormalization
from tfnorm.norms import NORMS
from tfnorm.spec import parse

SHAPE = (6, 5, 8)

# From a spec, as a network makes them. Every registered norm is here through its example.
SPECS = [info.example for info in NORMS.values() if info.layer] + ["bn:frozen", "ln:channel", "gn:size=2"]

# Name: class and arguments. Regularizers, constraints and switches are there to go through configurations.
OTHERS = {
    "bn unbiased": (BatchNormalization, dict(momentum=0.9, epsilon=1e-5, unbiased_moving_variance=True)),
    "bn without gamma": (BatchNormalization, dict(scale=False, beta_regularizer=keras.regularizers.L2(0.1))),
    "ln axes": (LayerNormalization, dict(axis=(1, 2, 3))),
    "ln axes from behind": (LayerNormalization, dict(axis=(-1, 2), epsilon=1e-5, center=False)),
    "gn:-1": (GroupNormalization, dict(groups=-1)),
    "gn penalty": (GroupNormalization, dict(groups=2, gamma_regularizer=tfnorm.regularizers.L2Norm(0.1))),
    "in without weights": (InstanceNormalization, dict(epsilon=1e-5)),
    "rms axes": (RMSNormalization, dict(axis=(1, 2, 3), scale_regularizer=keras.regularizers.L1(0.1))),
    "frn learned": (FilterResponseNormalization, dict(learned_epsilon=True, learned_epsilon_constraint="non_neg")),
    "tlu": (TLU, dict(tau_initializer="ones", tau_regularizer="l2")),
    "tlu axes": (TLU, dict(axis=None, affine=True, alpha_initializer="ones", alpha_constraint="non_neg")),
    "bands": (BandNormalization, dict(groups=2)),
    "bands:-1": (BandNormalization, dict(groups=-1, epsilon=0.1, gamma_regularizer="l2")),
    "contrib in": (ContribInstanceNormalization, dict(axis=-1, beta_constraint="non_neg")),
    "contrib in, whole": (ContribInstanceNormalization, dict()),
    "ws": (WeightStandardizedConv2D, dict(filters=4, kernel_size=3, padding="same", epsilon=1e-4)),
}

LN_ALL = {"ln", "ln axes", "ln axes from behind", "rms axes", "tlu axes"}  # weights per pixel: sizes must be known

PARENTS = {
    "bn": lambda: keras.layers.BatchNormalization(),
    "bn unbiased": lambda: keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
    "bn without gamma": lambda: keras.layers.BatchNormalization(scale=False),
    "ln": lambda: keras.layers.LayerNormalization(axis=(1, 2, 3)),
    "ln axes": lambda: keras.layers.LayerNormalization(axis=(1, 2, 3)),
    "ln axes from behind": lambda: keras.layers.LayerNormalization(axis=(2, 3), epsilon=1e-5, center=False),
    "ln:channel": lambda: keras.layers.LayerNormalization(),
    "gn:4": lambda: keras.layers.GroupNormalization(4),
    "gn:size=2": lambda: keras.layers.GroupNormalization(4),
    "gn:-1": lambda: keras.layers.GroupNormalization(-1),
    "gn penalty": lambda: keras.layers.GroupNormalization(2),
    "in": lambda: keras.layers.GroupNormalization(-1),
    "in without weights": lambda: keras.layers.GroupNormalization(-1, epsilon=1e-5),
    "rms": lambda: keras.layers.RMSNormalization(),
    "rms axes": lambda: keras.layers.RMSNormalization(axis=[1, 2, 3]),  # older versions take no tuple
}

if BACKEND == "tensorflow":  # tests/test_backends.py tells what the others say of it
    SPECS.append("bn:sync")
    PARENTS["bn:sync"] = lambda: keras.layers.BatchNormalization(synchronized=True)

CASES = [*SPECS, *OTHERS]


def mostly(cases, *others):
    """Return parameters for ``cases``, ``others`` for the matrix: graphs treat each as they do one that stays."""
    return [pytest.param(case, marks=pytest.mark.matrix if case in others else []) for case in cases]


def make(case, rank=4, **arguments):
    """Return a fresh layer."""
    if case in OTHERS:
        kind, own = OTHERS[case]
        return kind(**own | arguments)
    layer = norm_layer(parse(case), name="norm", rank=rank)
    return type(layer).from_config({**layer.get_config(), **arguments}) if arguments else layer


def randomize(layer, rng):
    """Give every weight positive values around 1, as variances and gammas may have."""
    layer.set_weights([rng.uniform(0.5, 1.5, weight.shape).astype("float32") for weight in layer.weights])


def images(rng, *shape):
    return rng.normal(1.0, 2.0, shape or (4, *SHAPE)).astype("float32")


def apply(layer, x, training=False):
    """Call ``layer``, which need not take ``training``."""
    takes = isinstance(layer, keras.layers.BatchNormalization)
    return keras.ops.convert_to_numpy(layer(x, training=training) if takes else layer(x))


def test_every_norm_and_every_layer_is_here():
    assert {parse(spec).kind for spec in SPECS} == {name for name, info in NORMS.items() if info.layer}
    others = {"Activation", "Conv2D", "Dropout", "Normalization", "ReLU"}  # no norms; they have tests of their own
    layers = {getattr(tfnorm.layers, name) for name in set(tfnorm.layers.__all__) - others}
    assert {type(make(case)) for case in CASES} == layers
    kinds = {type(make(case)) for case in PARENTS}
    without = (keras.layers.Layer, AffineNormalization)  # they have no parent in Keras
    made = {kind for kind in map(type, map(make, CASES)) if kind.__base__ not in without}
    assert kinds == made - {WeightStandardizedConv2D}


@pytest.mark.parametrize("case", CASES)
def test_shape_and_dtype(case, seeded):
    layer = make(case)
    expected = (4, 6, 5, 4) if case == "ws" else (4, *SHAPE)
    for training in (False, True):
        outputs = apply(layer, images(seeded), training)
        assert outputs.shape == expected
        assert outputs.dtype == "float32"
        assert np.isfinite(outputs).all()
    assert tuple(layer.compute_output_shape((4, *SHAPE))) == expected


@pytest.mark.parametrize("case", CASES)
def test_configuration_round_trip(case, seeded):
    layer = make(case)
    before = layer.get_config()
    randomize_input = images(seeded)
    apply(layer, randomize_input)
    assert layer.get_config() == before  # build changes no argument
    json.dumps(keras.saving.serialize_keras_object(layer))
    copy = type(layer).from_config(before)
    assert copy.get_config() == before
    revived = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(revived) is type(layer)
    assert revived.get_config() == before
    for other in (copy, revived):
        apply(other, randomize_input)
        assert other.get_config() == before
        assert [weight.name for weight in other.weights] == [weight.name for weight in layer.weights]


@pytest.mark.parametrize("case", CASES)
def test_arguments_stay_as_given(case):
    layer = make(case)
    names = ("axis", "groups", "group_size", "epsilon", "momentum")
    before = {name: getattr(layer, name) for name in names if hasattr(layer, name)}
    layer.build((None, *SHAPE))
    assert {name: getattr(layer, name) for name in before} == before


def test_arguments_as_given_are_in_the_configuration():
    assert make("gn:-1").get_config()["groups"] == -1
    assert make("gn:size=2").get_config()["group_size"] == 2
    assert "groups" not in make("gn:size=2").get_config()
    assert make("ln axes").get_config()["axis"] == [1, 2, 3]
    assert make("ln axes from behind").get_config()["axis"] == [-1, 2]
    assert make("bn").get_config()["axis"] == -1
    assert make("bn unbiased").get_config()["unbiased_moving_variance"] is True
    assert "unbiased_moving_variance" not in make("bn").get_config()


@pytest.mark.parametrize("case", CASES)
def test_registered_under_tfnorm(case):
    kind = type(make(case))
    assert keras.saving.get_registered_name(kind) == f"tfnorm>{kind.__name__}"
    assert keras.saving.get_registered_object(f"tfnorm>{kind.__name__}") is kind


def test_files_name_one_module_wherever_a_class_is_defined(tmp_path):
    """So that files open under every layout of the package."""
    public = [getattr(tfnorm.layers, name) for name in tfnorm.layers.__all__]
    assert {kind.__module__ for kind in public} == {"tfnorm.layers"}
    tfnorm.build(norm="frn+l1=1e-4+l2norm=1e-4", dropout=0.1).save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        modules = set(re.findall(r'"module": "(tfnorm[^"]*)"', archive.read("config.json").decode()))
    assert modules == {"tfnorm.layers", "tfnorm.regularizers"}


@pytest.mark.parametrize("case", CASES)
def test_save_and_load(case, seeded, tmp_path):
    inputs = keras.Input(SHAPE)
    layer = make(case)
    model = keras.Model(inputs, keras.layers.Flatten()(layer(inputs)))
    randomize(layer, seeded)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer(layer.name)) is type(layer)
    assert loaded.get_layer(layer.name).get_config() == layer.get_config()
    x = images(seeded)
    for training in (False, True):
        np.testing.assert_array_equal(loaded(x, training=training), model(x, training=training))


@pytest.mark.parametrize(
    "case",
    mostly(
        CASES,
        "bn unbiased", "bn without gamma", "bn:sync", "ln axes", "ln axes from behind", "ln:channel", "gn:-1",
        "gn penalty", "gn:size=2", "in without weights", "rms axes", "frn", "tlu axes", "bands:-1",
        "contrib in, whole",
    ),
)  # fmt: skip
def test_a_training_step(case, seeded):
    inputs = keras.Input(SHAPE)
    layer = make(case)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(layer(inputs))))
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    randomize(layer, seeded)
    before = layer.get_weights()
    for _ in range(2):
        assert np.isfinite(model.train_on_batch(images(seeded), np.ones((4, 2))))
    for weight, old in zip(layer.weights, before, strict=True):
        assert np.isfinite(weight).all(), weight.name
        frozen = case == "bn:frozen" and weight.name.startswith("moving_")
        assert (np.asarray(weight) != old).any() != frozen, weight.name


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("policy", "tolerance"), [("mixed_bfloat16", 0.06), ("mixed_float16", 0.01)])
def test_mixed_precision(case, policy, tolerance, seeded):
    full, mixed = make(case), make(case, dtype=policy)
    x = images(seeded)
    apply(full, x), apply(mixed, x)
    randomize(full, seeded)
    mixed.set_weights(full.get_weights())
    for training in (False, True):
        expected, outputs = apply(full, x, training), apply(mixed, x, training)
        assert keras.backend.standardize_dtype(outputs.dtype) == policy.removeprefix("mixed_")
        assert {weight.dtype for weight in mixed.weights} <= {"float32"}
        # The convolution sums 72 products, whose rounding errors are in proportion to the largest of them.
        absolute = tolerance * (expected.std() if case == "ws" else 1.0)
        np.testing.assert_allclose(outputs.astype("float32"), expected, rtol=tolerance, atol=absolute)
    for weight, same in zip(mixed.weights, full.weights, strict=True):  # moving statistics too
        np.testing.assert_allclose(weight, same, rtol=tolerance, atol=tolerance)


# Of layers that take statistics; the others give the input's size on, which 16 bits cannot hold.
OVERFLOWING = [(c, "mixed_float16") for c in CASES if not c.startswith("tlu") and c not in ("ws", "bn:frozen")]
OVERFLOWING += [(case, policy) for case in ("bn", "rms") for policy in ("float16", "mixed_bfloat16")]


@pytest.mark.parametrize(("case", "policy"), OVERFLOWING)
def test_statistics_of_inputs_beyond_float16(case, policy, seeded):
    layer, full = make(case, dtype=policy), make(case)
    x = seeded.uniform(60000, 70000, (4, *SHAPE)).astype("float32")
    expected, outputs = (apply(each, x, training=True) for each in (full, layer))
    np.testing.assert_allclose(outputs.astype("float32"), expected, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("case", CASES)
def test_float64(case, seeded):
    with float64_allowed():
        layer = make(case, dtype="float64")
        assert apply(layer, images(seeded).astype("float64")).dtype == "float64"


WHOLE = [("uint8", "float32"), ("int32", "float32"), ("bool", "mixed_float16")]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("case", "dtype", "policy"),
    [
        (case, *kind)
        for case in CASES
        if case != "ws"  # Keras convolves no whole numbers
        for kind in WHOLE[: None if case in ("bn", "gn:4", "tlu") else 1]
    ],
)
def test_whole_numbers_are_normalized_like_floats(case, dtype, policy, training, seeded):
    layer = make(case, dtype=policy)
    x = seeded.integers(0, 2 if dtype == "bool" else 256, (4, *SHAPE)).astype(dtype)
    inputs = keras.Input(SHAPE, dtype=dtype)
    model = keras.Model(inputs, layer(inputs))
    randomize(layer, seeded)
    weights = layer.get_weights()
    outputs = keras.ops.convert_to_numpy(model(x, training=training))
    full = make(case)
    apply(full, x.astype("float32"))
    full.set_weights(weights)
    expected = apply(full, x.astype("float32"), training)
    assert (expected != np.round(expected)).any()
    assert outputs.dtype == model.output.dtype == layer.compute_dtype
    tolerance = 1e-5 if policy == "float32" else 2e-3
    np.testing.assert_allclose(outputs.astype("float32"), expected, rtol=tolerance, atol=tolerance)
    for weight, same in zip(layer.weights, full.weights, strict=True):  # moving statistics too
        np.testing.assert_allclose(weight, same, rtol=1e-5)


@pytest.mark.parametrize("case", mostly(CASES, "ln axes", "ln axes from behind"))
def test_unknown_batch_size(case, seeded):
    inputs = keras.Input(SHAPE)
    layer = make(case)
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, 6, 5, 4 if case == "ws" else 8)
    randomize(layer, seeded)
    x = images(seeded)
    whole = apply(model, x)
    for size in (1, 3):  # at inference an image's output does not depend on the others
        np.testing.assert_allclose(apply(model, x[:size]), whole[:size], rtol=1e-5, atol=1e-5)
    if case in LN_ALL:  # the others do this below
        np.testing.assert_allclose(model.predict(x, verbose=0), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_batch_of_one_in_training(case, seeded):
    outputs = apply(make(case), images(seeded, 1, *SHAPE), training=True)
    assert np.isfinite(outputs).all()
    assert outputs.std() > 0.1


@pytest.mark.parametrize(
    "case",
    mostly(
        [case for case in CASES if case not in LN_ALL],
        "bn unbiased", "bn without gamma", "bn:sync", "gn:-1", "gn penalty", "gn:size=2", "in without weights",
        "frn learned", "bands:-1", "contrib in",
    ),
)  # fmt: skip
def test_unknown_height_and_width(case, seeded):
    inputs = keras.Input((None, None, 8))
    layer = make(case)
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, None, 4 if case == "ws" else 8)
    randomize(layer, seeded)
    for sides in ((6, 5), (3, 7)):
        x = images(seeded, 2, *sides, 8)
        np.testing.assert_allclose(model.predict(x, verbose=0), apply(layer, x), rtol=1e-5, atol=1e-5)
    if case != "ws":  # a convolution on CPUs takes no such batch
        nothing = np.zeros((2, 0, 4, 8), "float32")
        assert model.predict(nothing, verbose=0).shape == apply(layer, nothing).shape == nothing.shape


# A band has other numbers in it where the channels are first, and a whole sample has no axis.
NO_CHANNEL_AXIS = LN_ALL | {"ws", "bands", "bands:-1", "contrib in, whole"}
CHANNEL_AXIS = [case for case in CASES if case not in NO_CHANNEL_AXIS]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", CHANNEL_AXIS)
def test_channels_first(case, training, seeded):
    last, first = make(case), make(case, axis=1)
    x = images(seeded)
    apply(last, x), apply(first, x.transpose(0, 3, 1, 2))
    randomize(last, seeded)
    first.set_weights(last.get_weights())
    assert first.get_config()["axis"] == 1
    outputs = apply(first, x.transpose(0, 3, 1, 2), training)
    np.testing.assert_allclose(outputs.transpose(0, 2, 3, 1), apply(last, x, training), rtol=1e-5, atol=1e-5)


# Instance normalization of a single pixel is beta: rank 2 is no use for it.
RANKS = [(case, rank) for case in CASES if case != "ws" and "axes" not in case for rank in (2, 3, 4, 5)]


@pytest.mark.parametrize(("case", "rank"), RANKS)
def test_ranks(case, rank, seeded):
    shape = (3, 4, 2, 5, 8)[: rank - 1] + (8,)
    layer = make(case, rank=rank)
    x = images(seeded, *shape)
    assert apply(layer, x).shape == shape
    randomize(layer, seeded)
    for training in (False, True):
        outputs = apply(layer, x, training)
        assert outputs.shape == shape
        assert np.isfinite(outputs).all()
        # Pixels in one row are the same image as pixels in any other arrangement.
        if rank > 3 and case != "ln":
            other = make(case, rank=3)
            rows = x.reshape(shape[0], -1, 8)
            apply(other, rows)
            other.set_weights(layer.get_weights())
            np.testing.assert_allclose(apply(other, rows, training).reshape(shape), outputs, rtol=1e-4, atol=1e-5)
        if rank == 2 and (layer.__class__ is InstanceNormalization or case == "gn:-1"):
            np.testing.assert_allclose(outputs, np.broadcast_to(layer.beta, shape), rtol=1e-6)


# A convolution gives other steps, and Keras's RMSNormalization takes masks away.
MASKED = [case for case in CASES if case not in {"ws", "rms", "ln axes", "ln axes from behind", "rms axes"}]


@pytest.mark.parametrize(
    "case",
    mostly(
        MASKED,
        "bn unbiased", "bn without gamma", "bn:sync", "ln:channel", "gn:-1", "gn penalty", "gn:size=2",
        "in without weights", "frn learned", "tlu axes", "bands:-1", "contrib in, whole",
    ),
)  # fmt: skip
def test_masks_are_passed_on(case, seeded):
    layer, shape = make(case, rank=3), (5, 8)
    lstm = keras.layers.LSTM(3)
    inputs = keras.Input(shape)
    model = keras.Model(inputs, lstm(layer(keras.layers.Masking()(inputs))))
    randomize(layer, seeded)
    x = images(seeded, 4, *shape)
    x[:, 3:] = 0
    steps = array(layer(x))
    short, long = array(lstm(steps[:, :3])), array(lstm(steps))
    assert np.abs(short - long).max() > 1e-3  # without a mask, what is padded would count
    np.testing.assert_allclose(array(model(x)), short, rtol=1e-5, atol=1e-6)


def test_every_parent_is_that_of_its_case():
    for case, parent in PARENTS.items():
        assert isinstance(make(case), type(parent()))


@pytest.mark.parametrize("case", PARENTS)
def test_same_as_keras(case, seeded):
    ours, theirs = make(case), PARENTS[case]()
    x = images(seeded)
    apply(ours, x), apply(theirs, x)
    assert [weight.name for weight in ours.weights] == [weight.name for weight in theirs.weights]
    assert [weight.shape for weight in ours.weights] == [weight.shape for weight in theirs.weights]
    assert [weight.trainable for weight in ours.weights] == [weight.trainable for weight in theirs.weights]
    assert ours.supports_masking == theirs.supports_masking
    randomize(ours, seeded)
    theirs.set_weights(ours.get_weights())
    for training in (False, True):
        np.testing.assert_allclose(apply(ours, x, training), apply(theirs, x, training), rtol=1e-5, atol=1e-5)
    if case != "bn unbiased":
        for weight, same in zip(ours.weights, theirs.weights, strict=True):  # moving statistics after a step
            np.testing.assert_allclose(weight, same, rtol=1e-5, atol=1e-5)
    randomize(theirs, seeded)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(apply(ours, x), apply(theirs, x), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`")
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"axis": (1, 2, 3)}])
def test_rms_scaling_has_the_weights_of_keras(options, seeded):
    ours, theirs = (kind(rms_scaling=True, **options) for kind in (LayerNormalization, keras.layers.LayerNormalization))
    x = images(seeded)
    apply(ours, x), apply(theirs, x)
    assert [weight.name for weight in ours.weights] == [weight.name for weight in theirs.weights] == ["gamma"]
    for one, other in ((ours, theirs), (theirs, ours)):
        randomize(one, seeded)
        other.set_weights(one.get_weights())
        np.testing.assert_allclose(apply(ours, x), apply(theirs, x), rtol=1e-6)


@pytest.mark.parametrize("case", [case for case in PARENTS if case != "bn unbiased"])
def test_keras_reads_the_configuration(case):
    ours, parent = make(case), type(PARENTS[case]())
    theirs = {
        key: value
        for key, value in ours.get_config().items()
        if key not in ("scale_regularizer", "group_size") and value is not None
    }
    assert isinstance(parent.from_config(theirs), parent)
    again = type(ours).from_config(PARENTS[case]().get_config() if case not in ("in", "in without weights") else {})
    assert again.name


def test_weight_standardization_is_a_convolution_with_another_kernel(seeded):
    ours = make("ws", data_format="channels_last")
    theirs = keras.layers.Conv2D(4, 3, padding="same")
    x = images(seeded)
    ours(x), theirs(x)
    assert [weight.name for weight in ours.weights] == [weight.name for weight in theirs.weights]
    randomize(ours, seeded)
    theirs.set_weights([keras.ops.convert_to_numpy(ours.standardized_kernel()), ours.get_weights()[1]])
    np.testing.assert_allclose(apply(ours, x), apply(theirs, x), rtol=1e-5, atol=1e-5)


@functools.cache
def _trainable_names(case):
    layer = make(case)
    layer.build((None, *SHAPE))
    return tuple(weight.name for weight in layer.trainable_weights)


@pytest.mark.parametrize(
    ("case", "names"),
    [
        ("bn", ("gamma", "beta")),
        ("bn without gamma", ("beta",)),
        ("ln", ("gamma", "beta")),
        ("gn:4", ("gamma", "beta")),
        ("in", ("gamma", "beta")),
        ("rms", ("scale",)),
        ("frn", ("gamma", "beta")),
        ("frn learned", ("gamma", "beta", "learned_epsilon")),
        ("tlu", ("tau",)),
        ("ws", ("kernel", "bias")),
    ],
)
def test_weight_names(case, names):
    assert _trainable_names(case) == names


def test_penalties_reach_the_weights(seeded):
    layer = make("gn penalty")
    layer(images(seeded))
    assert [float(loss) for loss in layer.losses] == [pytest.approx(0.1 * 8**0.5)]
    layer = norm_layer(parse("rms"), regularizer=keras.regularizers.L1(1.0))
    layer(images(seeded))
    assert [float(loss) for loss in layer.losses] == [8.0]
