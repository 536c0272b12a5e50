"""Settings of Keras for the whole process: `build` returns the documented network whatever they are."""

import keras
import numpy as np
import pytest
from networks import SMALL

from tfnorm import ArchSpec, build, convert
from tfnorm.keras_settings import settings_now
from tfnorm.models.architectures import Conv, Dense, GlobalPool, Pool, Residual

EVERYTHING = ArchSpec(
    "everything",
    "each kind of layer",
    (12, 10, 3),
    (
        Conv(4),
        Conv(6, separable=True),
        Pool("max", 2),
        Residual(main=(Conv(12, stride=2), Conv(12)), shortcut=()),
        Pool("avg", 2),
        Conv(8, dilation=2, bias=True),
        Residual(main=(Conv(8),), shortcut=(Conv(8, 1, parts=()),)),
        Dense(),
    ),
    dropout=0.25,
)
GLOBAL = ArchSpec("global", "a global pool", (8, 6, 3), (Conv(4), GlobalPool(), Conv(None, 1, parts=())))
SETTINGS = [
    {"image_data_format": "channels_first"},
    {"floatx": "float16"},
    {"floatx": "float64"},
    {"epsilon": 0.5},
]
WORDS = [str(*setting.values()) for setting in SETTINGS]


@pytest.fixture
def change():
    """Return a function that changes settings of Keras; all are restored at the end."""
    before, policy = settings_now(), keras.config.dtype_policy()

    def change(settings):
        for name, value in settings.items():
            getattr(keras.config, f"set_{name}")(value)

    yield change
    change(before)
    keras.config.set_dtype_policy(policy)


def assert_same_network(arch, norm, setting, change, train=False):
    """Assert that a network is the same under a setting: its layers, kernels and outputs, and a step of training."""
    expected = build(arch, norm=norm, seed=3, compile=train)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (4, *expected.input_shape[1:])).astype("float32")
    logits = expected(x)
    losses = expected.train_on_batch(x, np.arange(4)) if train else None
    change(setting)
    found = build(arch, norm=norm, seed=3, compile=train)
    assert found.get_config() == expected.get_config()
    np.testing.assert_array_equal(found(x), logits)
    if train:
        np.testing.assert_array_equal(found.train_on_batch(x, np.arange(4)), losses)
    assert {name: settings_now()[name] for name in setting} == setting


@pytest.mark.parametrize(
    ("arch", "setting"),
    [
        pytest.param(
            arch,
            setting,
            marks=pytest.mark.matrix if arch is EVERYTHING and "floatx" in setting else [],
            id=f"{arch.name}-{word}",
        )
        for arch in (EVERYTHING, GLOBAL)
        for setting, word in zip(SETTINGS, WORDS, strict=True)
    ],
)
def test_own_tables_are_built_as_documented(arch, setting, change):
    assert_same_network(arch, "bn", setting, change)


@pytest.mark.parametrize(
    "norm",
    [
        *("ln", "ln:channel", "gn:2+ws", "in", "frn"),
        *(pytest.param(norm, marks=pytest.mark.matrix) for norm in ("gn:2", "rms", "none")),
    ],
)
def test_norms_are_over_the_documented_axes_with_channels_first(norm, change):
    assert_same_network(EVERYTHING, norm, SETTINGS[0], change)


@pytest.mark.parametrize(
    "arch",
    [pytest.param(arch, marks=[] if arch in ("mnist_7k", "cifar_residual") else pytest.mark.matrix) for arch in SMALL],
)
def test_every_architecture_is_built_with_channels_first(arch, change):
    expected = build(arch, seed=0, compile=False).get_config()
    change(SETTINGS[0])
    assert build(arch, seed=0, compile=False).get_config() == expected


@pytest.mark.matrix
@pytest.mark.parametrize("setting", SETTINGS, ids=WORDS)
@pytest.mark.parametrize("norm", ["bn", "ln", "gn:2+ws", "in", "rms", "frn", "none"])
@pytest.mark.parametrize("arch", SMALL)
def test_every_network_is_built_as_documented(arch, norm, setting, change):
    assert_same_network(arch, norm, setting, change, train=True)


def test_settings_are_restored_after_an_error(change):
    change({"image_data_format": "channels_first", "floatx": "float64"})
    before = settings_now()
    with pytest.raises(ValueError):
        build(GLOBAL, momentum=2)  # found when the layer is made
    assert settings_now() == before


@pytest.mark.parametrize(
    ("floatx", "num_classes"),
    [
        ("float16", 10),
        ("bfloat16", 1),
        pytest.param("float16", 1, marks=pytest.mark.matrix),
        pytest.param("bfloat16", 10, marks=pytest.mark.matrix),
    ],
)
def test_accuracy_and_loss_are_counted_in_float32(floatx, num_classes, change):
    change({"floatx": floatx})
    model = build(GLOBAL, dropout=0.0, num_classes=num_classes)
    x, y = np.zeros((3, 8, 6, 3), "uint8"), np.zeros(3)
    model.evaluate(x, y, verbose=0)
    assert {variable.dtype for metric in model.metrics for variable in metric.variables} == {"float32"}
    assert model.optimizer.variables[1].dtype == "float32"


def test_accuracy_of_a_file_is_counted_in_float32(change, tmp_path):
    build(GLOBAL, dropout=0.0).save(tmp_path / "model.keras")
    change({"floatx": "float16"})
    model = keras.models.load_model(tmp_path / "model.keras")
    model.evaluate(np.zeros((3, 8, 6, 3), "uint8"), np.zeros(3), verbose=0)
    (metric,) = model._compile_metrics.metrics
    assert metric.name == "accuracy" and {variable.dtype for variable in metric.variables} == {"float32"}


@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
def test_weights_stay_float32_under_a_policy_of_16_bits(policy, change):
    keras.config.set_dtype_policy(policy)
    model = build(GLOBAL, compile=False)
    assert {weight.dtype for weight in model.weights} == {"float32"} == {model.output.dtype}
    assert model.get_layer("conv1").compute_dtype == policy


def test_a_policy_of_float64_reaches_all_of_the_network(change):
    keras.config.set_dtype_policy("float64")
    model = build(GLOBAL)
    assert {weight.dtype for weight in model.weights} == {"float64"} == {model.output.dtype}
    model.train_on_batch(np.full((2, 8, 6, 3), 100.0), np.zeros(2))


# The loss of networks in float16 is scaled.


def scaled(model):
    return isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)


def saved(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.models.load_model(tmp_path / "model.keras")


COPIES = {
    "itself": lambda model, _: model,
    "saved": saved,
    "cloned": lambda model, _: keras.models.clone_model(model),
    "to_keras": lambda model, _: convert.to_keras(model),
    "accelerate": lambda model, _: convert.accelerate(convert.to_keras(model)),
    "replace_norms": lambda model, _: convert.replace_norms(model, "ln"),
    "fold": lambda model, _: convert.fold_batch_norm(model),
}


@pytest.mark.parametrize("copy", COPIES)
def test_the_loss_of_a_network_in_float16_is_scaled_however_it_came_about(copy, tmp_path):
    model = build(GLOBAL, precision="float16")
    assert scaled(model)
    new = COPIES[copy](model, tmp_path)
    assert copy == "cloned" or scaled(new)  # Keras's clone is not compiled
    new.compile("adam", "mse")
    assert scaled(new)


def test_the_state_of_a_scaled_optimizer_is_saved_and_restored(tmp_path):
    model = build(GLOBAL, precision="float16")
    model.run_eagerly = True
    model.train_on_batch(np.full((2, 8, 6, 3), 100.0), np.zeros(2))
    loaded = saved(model, tmp_path)
    assert len(model.optimizer.variables) == len(loaded.optimizer.variables) > 8
    for variable, same in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), same.numpy())


@pytest.mark.parametrize(("precision", "expected"), [("float32", False), ("bfloat16", False), ("float16", True)])
def test_only_float16_is_scaled(precision, expected):
    assert scaled(build(GLOBAL, precision=precision)) is expected


@pytest.mark.parametrize("policy", ["mixed_float16", "float16"])
def test_the_loss_is_scaled_under_a_global_policy_of_float16(policy, change):
    keras.config.set_dtype_policy(policy)
    assert scaled(build(GLOBAL))
    assert not scaled(build(GLOBAL, precision="float32"))


def test_small_gradients_survive_in_float16(seeded):
    """The update of a step whose gradients are below what float16 can hold is that of float32."""
    x, y = seeded.integers(0, 256, (8, 8, 6, 3)).astype("float32"), np.arange(8) % 4
    steps = {}
    for precision in ("float32", "float16"):
        model = build(GLOBAL, norm="none", precision=precision, seed=0, num_classes=4)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(1e6), lambda y, logits, loss=loss: 1e-6 * loss(y, logits))
        before = model.get_layer("conv1").get_weights()[0]
        model.train_on_batch(x, y)
        steps[precision] = model.get_layer("conv1").get_weights()[0] - before
    error = np.linalg.norm(steps["float16"] - steps["float32"]) / np.linalg.norm(steps["float32"])
    assert error < 0.02
