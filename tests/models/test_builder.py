"""The builder: what it compiles, how it draws weights, reads pixels and takes its constants, and what it refuses."""

import keras
import numpy as np
import pytest
from backends import array
from facts import says

from tfnorm import ArchSpec, NormSpec, build
from tfnorm.errors import ArchitectureError, SpecError, TfnormError
from tfnorm.models.architectures import ARCHITECTURES, Conv, Dense, GlobalPool, Pool

TINY = ArchSpec("tiny", "one block", (8, 8, 3), (Conv(4), GlobalPool(), Conv(None, 1, parts=())), dropout=0.5)
# Learns where a bar is.
BARS = ArchSpec("bars", "a convolution", (28, 28, 1), (Conv(8), Pool("max", 4), Dense(name="logits")))


@pytest.fixture(scope="module")
def digits():
    """256 images with a bright bar whose place is the class."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 256)
    x = rng.integers(0, 60, (256, 28, 28), dtype="uint8")
    for image, place in zip(x, y, strict=True):
        image[2 * place + 3 : 2 * place + 6] += 190
    return x, y


def layers_of(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def kernels(model):
    return {layer.name: layer.get_weights()[0] for layer in model.layers if hasattr(layer, "kernel")}


def call(model, x):
    return keras.ops.convert_to_numpy(model(x))


# Compilation and training.


def test_compiled_ready_to_fit():
    model = build(norm="gn", groups=2)
    assert model.name == "mnist_7k"
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)
    assert isinstance(model.loss, keras.losses.SparseCategoricalCrossentropy)
    assert model.loss.get_config()["from_logits"] is True
    (accuracy,) = model.get_compile_config()["metrics"]
    assert accuracy["class_name"] == "SparseCategoricalAccuracy" and accuracy["config"]["name"] == "accuracy"
    assert {layer.groups for layer in layers_of(model, keras.layers.GroupNormalization)} == {2}


def test_not_compiled():
    assert not build(TINY, compile=False).compiled


@pytest.mark.parametrize("dtype", [pytest.param("uint8", marks=pytest.mark.matrix), "float32"])
def test_fit_improves_the_loss(dtype, digits):
    x, y = digits
    keras.utils.set_random_seed(0)
    model = build(BARS, norm="gn", groups=2, seed=0)
    model.optimizer.learning_rate = 0.01
    x = x if dtype == "uint8" else x.astype("float32")[..., None]
    history = model.fit(x, y, batch_size=32, epochs=3, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert history["accuracy"][-1] > history["accuracy"][0]


@pytest.mark.parametrize("shape", [(4, 28, 28), pytest.param((4, 28, 28, 1), marks=pytest.mark.matrix)])
def test_uint8_is_read_as_float_and_needs_no_channel_axis(shape, digits):
    x, _ = digits
    model = build(norm="bn", seed=0)
    expected = call(model, x[:4, ..., None].astype("float32"))
    logits = model.predict(x[:4].reshape(shape), verbose=0)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_recompiling():
    model = build(TINY)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    assert isinstance(model.optimizer, keras.optimizers.SGD)


# Seeds.


def test_kernels_of_one_seed_are_the_same_whatever_the_norm():
    reference = kernels(build("cifar_residual", norm="bn", seed=7, compile=False))
    assert len(reference) == 13
    for norm in ("none", "ln", "gn:4", "gn:4+ws", "frn", "rms", "in+l1=1e-4"):
        found = kernels(build("cifar_residual", norm=norm, seed=7, compile=False))
        assert found.keys() == reference.keys()
        for name in reference:
            np.testing.assert_array_equal(found[name], reference[name], err_msg=f"{norm}, {name}")


def test_kernels_differ_between_seeds_and_layers():
    first, second = (kernels(build("cifar_dilated", seed=seed, compile=False)) for seed in (0, 1))
    for name in first:
        assert (first[name] != second[name]).all(), name
    assert (first["conv4"] != first["conv3"][:, :, :1]).any()
    assert (first["conv9_depthwise"] != first["conv10_depthwise"][:, :, :96]).all()


def test_the_default_seed_is_drawn_from_python():
    draws = []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(seed)
        draws.append(kernels(build(TINY, compile=False))["conv1"])
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).all()


def test_dropout_has_seeds_of_its_own(seeded):
    x = seeded.integers(0, 256, (4, 8, 8, 3)).astype("float32")
    outputs = [array(build(TINY, seed=seed, compile=False)(x, training=True)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert (outputs[0] != outputs[2]).any()


@pytest.mark.parametrize("name", ["glorot_uniform", "random_normal", "zeros"])
def test_kernel_initializer(name):
    (conv, *_) = layers_of(build(TINY, kernel_initializer=name, seed=0, compile=False), keras.layers.Conv2D)
    assert type(conv.kernel_initializer) is type(keras.initializers.get(name))


def test_he_normal_by_default():
    kernel = kernels(build("cifar_dilated", seed=0, compile=False))["conv4"]
    assert kernel.std() == pytest.approx((2 / (9 * 48)) ** 0.5, rel=0.05)


# Pixels.


def pixels(model, x):
    return call(keras.Model(model.input, model.get_layer("pixels").output), x)


def test_pixels_are_normalized_with_the_statistics_of_the_data(seeded):
    x = seeded.integers(0, 256, (2, 32, 32, 3)).astype("float32")
    spec = ARCHITECTURES["cifar_plain"]
    model = build("cifar_plain", compile=False)
    np.testing.assert_allclose(pixels(model, x), (x / 255 - spec.mean) / spec.std, rtol=1e-4, atol=1e-4)
    assert model.get_layer("pixels").trainable_weights == []


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((100.0, 110.0, 120.0), (50.0, 60.0, 70.0)),
        (100, 50),
        ([100.0], [50.0]),
        (np.array([1.0, 2.0, 3.0]), np.float32(2.0)),
    ],
)
def test_pixels_are_normalized_with_given_statistics(mean, std, seeded):
    x = seeded.integers(0, 256, (2, 8, 8, 3)).astype("float32")
    model = build(TINY, mean=mean, std=std, compile=False)
    expected = (x - np.asarray(mean)) / np.asarray(std)
    np.testing.assert_allclose(pixels(model, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("arch", ["mnist_7k", pytest.param("cifar_residual", marks=pytest.mark.matrix)])
def test_divided_pixels_give_the_same_logits(arch, seeded):
    raw, divided = (build(arch, pixel_max=pixel_max, seed=0, compile=False) for pixel_max in (255.0, 1.0))
    x = seeded.integers(0, 256, (2, *raw.input_shape[1:])).astype("float32")
    np.testing.assert_allclose(call(divided, x / 255), call(raw, x), rtol=1e-4, atol=1e-4)


def test_colour_statistics_on_gray_images_are_their_mean(seeded):
    spec = ARCHITECTURES["cifar_plain"]
    model = build("cifar_plain", input_shape=(32, 32, 1), compile=False)
    x = seeded.integers(0, 256, (1, 32, 32, 1)).astype("float32")
    np.testing.assert_allclose(
        pixels(model, x), (x / 255 - np.mean(spec.mean)) / np.mean(spec.std), rtol=1e-4, atol=1e-4
    )


# Constants.


@pytest.mark.parametrize(
    ("arguments", "epsilon", "momentum", "unbiased"),
    [
        ({}, 1e-3, 0.99, False),
        ({"convention": "keras"}, 1e-3, 0.99, False),
        ({"convention": "torch"}, 1e-5, 0.9, True),
        ({"convention": "torch", "epsilon": 1e-4}, 1e-4, 0.9, True),
        ({"momentum": 0.8}, 1e-3, 0.8, False),
    ],
)
def test_constants_of_batch_norm(arguments, epsilon, momentum, unbiased):
    (layer,) = layers_of(build(TINY, compile=False, **arguments), keras.layers.BatchNormalization)
    assert (layer.epsilon, layer.momentum, layer.unbiased_moving_variance) == (epsilon, momentum, unbiased)


@pytest.mark.parametrize(("norm", "keras_epsilon", "torch_epsilon"), [("ln", 1e-3, 1e-5), ("frn", 1e-6, 1e-6)])
def test_epsilon_of_other_norms(norm, keras_epsilon, torch_epsilon):
    for convention, epsilon in (("keras", keras_epsilon), ("torch", torch_epsilon)):
        model = build(TINY, norm=norm, convention=convention, compile=False)
        assert model.get_layer("conv1_norm").epsilon == epsilon
    assert build(TINY, norm=norm, epsilon=0.1, compile=False).get_layer("conv1_norm").epsilon == 0.1


def test_torch_kernels_are_uniform_within_one_over_root_fan_in():
    model = build("cifar_residual", convention="torch", seed=0, compile=False)
    for name, kernel in kernels(model).items():
        bound = np.prod(kernel.shape[:-1]) ** -0.5
        assert np.abs(kernel).max() <= bound * 1.0001, name
        assert np.abs(kernel).max() > 0.9 * bound, name
        assert np.abs(kernel).mean() == pytest.approx(bound / 2, rel=0.2), name


@pytest.mark.parametrize(
    ("options", "distribution", "deviation"),
    [
        # PyTorch 2.13: torch.nn.Conv2d(64, 64, 3, groups=64).weight is uniform in ±1/3.
        (dict(convention="torch"), "uniform", (1 / 3) / 3**0.5),
        (dict(), "truncated", (2 / 9) ** 0.5),
        pytest.param(dict(kernel_initializer="glorot_uniform"), "uniform", (2 / 18) ** 0.5, marks=pytest.mark.matrix),
        (dict(kernel_initializer=keras.initializers.VarianceScaling(3.0, "fan_out", "uniform")), "uniform", 3**-0.5),
    ],
)
def test_a_depthwise_kernel_starts_as_each_of_its_channels_would_alone(options, distribution, deviation):
    model = build("cifar_dilated", seed=0, compile=False, **options)
    found = {name: kernel for name, kernel in kernels(model).items() if "depthwise" in name}
    assert len(found) == 4
    for name, kernel in found.items():
        assert kernel.std() == pytest.approx(deviation, rel=0.12), name
        largest = np.abs(kernel).max() / deviation
        assert largest > 1.8 if distribution == "truncated" else 1.6 < largest <= 1.7321, name


# Arguments.


def test_specs_as_objects_and_as_strings():
    text = build(TINY, norm="gn:2+l1=1e-3", seed=0, compile=False)
    thing = build(TINY, norm=NormSpec("gn", groups=2), l1=1e-3, seed=0, compile=False)
    assert text.get_config() == thing.get_config()


def test_architecture_by_name_and_as_an_object():
    for arch in ("mnist_7k", ARCHITECTURES["mnist_7k"]):
        model = build(arch, norm="bn", seed=0, compile=False, name="mine")
        assert model.name == "mine"
        assert len(kernels(model)) == 8


def test_group_size():
    model = build("cifar_plain", norm="gn", group_size=4, compile=False)
    assert {layer.group_size for layer in layers_of(model, keras.layers.GroupNormalization)} == {4}


@pytest.mark.parametrize(("given", "rate"), [(None, 0.5), (0.25, 0.25)])
def test_dropout(given, rate):
    assert [d.rate for d in layers_of(build(TINY, dropout=given, compile=False), keras.layers.Dropout)] == [rate]
    assert layers_of(build(TINY, dropout=0.0, compile=False), keras.layers.Dropout) == []


def test_saved_models_come_back(seeded, tmp_path):
    x = seeded.integers(0, 256, (2, 8, 8, 3)).astype("float32")
    for norm in ("bn+l1=1e-3+l2norm=1e-3", "gn:2+ws", "frn"):
        model = build(TINY, norm=norm, compile=False)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(call(loaded, x), call(model, x))
        for layer, same in zip(loaded.layers, model.layers, strict=True):
            assert layer.get_config() == same.get_config()
        assert [float(loss) for loss in loaded.losses] == [float(loss) for loss in model.losses]


REFUSED = [
    (dict(mean=(1.0, 2.0)), ("`mean`", "2", "3 channels")),
    (dict(std=(1.0, 2.0, 3.0, 4.0)), ("`std`", "4", "3 channels")),
    (dict(mean=()), ("`mean`", "0", "3 channels")),
    (dict(std=0), ("positive", "std=[0.0, 0.0, 0.0]")),
    (dict(std=(1.0, -1.0, 1.0)), ("positive", "std=[1.0, -1.0, 1.0]")),
    (dict(std=float("nan")), ("positive", "std=[nan, nan, nan]")),
    (
        dict(kernel_initializer="he"),
        ("'he'", "'he_normal'", "'torch'"),
    ),
    (dict(pixel_max=0), ("255 or 1", "pixel_max=0")),
    (
        dict(precision="bfloat"),
        ("'bfloat'", "'bfloat16'", "float32, bfloat16, float16"),
    ),
    (
        dict(regularize="kernel"),
        ("`regularize`", "'kernel'", "'kernels'", "all, kernels"),
    ),
    (dict(dropout=1.0), ("`dropout`", "0 to below 1", "1.0")),
    (dict(convention="tf"), ("'tf'", "keras, torch")),
    (dict(l1=-1.0), ("at least 0", "l1=-1.0")),
    (dict(norm="bn+l1=1e-3", l1=1e-4), ("'bn+l1=1e-3'", "l1=0.0001", "one place")),
    (dict(norm="bn", groups=2), ("'gn'", "norm='bn', groups=2", "Leave the groups out")),
    (
        dict(norm="gm:2"),
        ("'gm'", "'gm:2'", "'gn'", "none, bn, ln, gn, in, rms, frn"),
    ),
    (
        dict(norm="gn:8"),
        ("groups=8", "channels=4", "'conv1_norm'", "tiny: 1, 2, 4"),
    ),
    (dict(epsilon=0), ("positive", "epsilon=0", "1e-3", "1e-5")),
    (dict(momentum=2), ("from 0 to 1", "momentum=2")),
]


@pytest.mark.parametrize(("arguments", "facts"), REFUSED)
def test_refused(arguments, facts):
    with pytest.raises(ValueError) as caught:
        build(TINY, **arguments)
    says(caught, *facts)


def test_kinds_of_errors():
    for error, arguments in ((SpecError, dict(norm="x")), (ArchitectureError, dict(dropout=2))):
        assert issubclass(error, TfnormError)
        with pytest.raises(error):
            build(TINY, **arguments)


# A single logit.


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        pytest.param(dtype, shape, marks=[] if (dtype, len(shape)) == ("int64", 1) else pytest.mark.matrix)
        for dtype in ("int64", "float32", "bool")
        for shape in ((-1,), (-1, 1))
    ],
)
def test_one_class_is_trained_on_labels_0_and_1(shape, dtype, digits):
    x, y = digits
    labels = (y >= 5).astype(dtype).reshape(shape)
    model = build(BARS, norm="gn:2", num_classes=1, seed=0)
    model.optimizer.learning_rate = 0.01
    history = model.fit(x, labels, batch_size=32, epochs=3, verbose=0).history
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    loss, accuracy = model.evaluate(x, labels, verbose=0)
    logits = model.predict(x, verbose=0).astype("float64").ravel()
    right = (logits > 0) == (y >= 5)
    assert accuracy == pytest.approx(right.mean())
    assert loss == pytest.approx(np.log1p(np.exp(np.where(y >= 5, -logits, logits))).mean(), rel=1e-4)


# The global dtype policy.


def test_the_policy_is_restored():
    before = keras.config.dtype_policy()
    model = build(TINY, precision="bfloat16", compile=False)
    assert model.get_layer("conv1").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy() == before
    with pytest.raises(ValueError):
        build(TINY, precision="bfloat16", momentum=2)  # found when the layer is made, within the policy
    assert keras.config.dtype_policy() == before


def test_without_precision_the_global_policy_holds():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build(TINY, compile=False)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        float32 = build(TINY, precision="float32", compile=False)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("conv1_norm").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"
    assert float32.get_layer("conv1_norm").compute_dtype == "float32"


def test_pixels_and_logits_stay_float32():
    model = build("mnist_7k", precision="float16", compile=False)
    assert [model.get_layer(name).compute_dtype for name in ("pixels", "conv1", "conv1_norm", "conv7", "logits")] == [
        "float32",
        "float16",
        "float16",
        "float16",
        "float32",
    ]
