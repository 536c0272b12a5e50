"""One contract that every architecture keeps, and the facts published about each."""

import math

import keras
import numpy as np
import pytest
from backends import BACKEND
from facts import says
from networks import SMALL

from tfnorm import build
from tfnorm.analysis.plans import plan_layers
from tfnorm.errors import ArchitectureError
from tfnorm.models.architectures import ARCHITECTURES, Conv, GlobalPool, Pool, Residual
from tfnorm.models.planner import plan
from tfnorm.norms import NORMS
from tfnorm.spec import parse

# Two groups divide the channels of every layer of every architecture.
SPECS = [
    "none",
    "bn",
    "bn:frozen",
    "bn:frozen=all",
    "ln",
    "ln:channel",
    "gn:1",
    "gn:2",
    "gn:size=2",
    "gn:2+ws",
    "in",
    "rms",
    "frn",
]
SPECS += ["bn:sync"] if BACKEND == "tensorflow" else []

every_architecture = pytest.mark.parametrize("arch", list(ARCHITECTURES))


def trainable(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def test_every_norm_is_here():
    assert {parse(spec).kind for spec in SPECS} == {name for name, info in NORMS.items() if not info.of_the_model}


# Every norm on a network, and a norm on every one; the others in the matrix.
@pytest.mark.parametrize(
    ("arch", "norm"),
    [
        pytest.param(arch, norm, marks=[] if arch == "cifar_residual" or norm == "gn:2+ws" else pytest.mark.matrix)
        for arch in SMALL
        for norm in SPECS
    ],
)
def test_plan_and_model_agree(arch, norm, built):
    network, model = plan(arch, parse(norm)), built(arch, norm)
    assert network.trainable_parameters == trainable(model)
    # Keras sorts the layers by depth, so that the two paths of a residual unit come mixed.
    assert sorted(layer.name for layer in network.layers) == sorted(layer.name for layer in model.layers)
    for layer in network.layers:
        made = model.get_layer(layer.name)
        assert tuple(made.output.shape) == (None, *layer.shape), layer.name
        if layer.kind != "normalization":
            assert {w.name: tuple(w.shape) for w in made.trainable_weights} == layer.weights, layer.name
    assert model.output_shape == (None, 10)
    assert model.output.dtype == "float32"
    assert tuple(model.input_shape[1:]) == ARCHITECTURES[arch].input_shape
    assert model.name == arch


SOME = ("mnist_7k", "cifar_plain", "cifar_residual")
some_architectures = pytest.mark.parametrize(
    "arch", [pytest.param(arch, marks=[] if arch in SOME else pytest.mark.matrix) for arch in SMALL]
)


@pytest.mark.parametrize("arch", SMALL)
def test_logits_are_finite_and_differ_between_images(arch, built, seeded):
    model = built(arch, "bn")
    logits = keras.ops.convert_to_numpy(model(seeded.integers(0, 256, (3, *model.input_shape[1:])).astype("float32")))
    assert logits.shape == (3, 10)
    assert np.isfinite(logits).all()
    assert np.ptp(logits, axis=0).min() > 1e-6


@pytest.mark.parametrize(
    ("arch", "norm", "precision"),
    [
        *[
            pytest.param(
                arch, "gn:2", "bfloat16", marks=[] if arch in ("mnist_7k", "cifar_residual") else pytest.mark.matrix
            )
            for arch in SMALL
        ],
        ("mnist_7k", "bn", "bfloat16"),
        ("mnist_7k", "frn", "bfloat16"),
        ("mnist_7k", "gn:2+ws", "float16"),
        pytest.param("resnet20", "bn", "float16", marks=pytest.mark.matrix),
    ],
)
def test_low_precision(arch, norm, precision, built, seeded):
    full = built(arch, norm)
    model = build(arch, norm=norm, precision=precision, compile=False)
    assert model.output.dtype == "float32"
    assert {weight.dtype for weight in model.weights} <= {"float32", "uint32", "int64", "int32"}  # seeds and counts
    assert model.get_layer(first_norm(model)).compute_dtype == precision
    # Weights alike, logits are alike.
    assert [weight.shape for weight in full.weights] == [weight.shape for weight in model.weights]
    model.set_weights(full.get_weights())
    x = seeded.integers(0, 256, (2, *model.input_shape[1:])).astype("float32")
    expected = keras.ops.convert_to_numpy(full(x))
    logits = keras.ops.convert_to_numpy(model(x))
    assert logits.dtype == "float32"
    assert np.abs(logits - expected).max() < 0.1 * np.abs(expected).max() + 0.05


def first_norm(model):
    return next(layer.name for layer in model.layers if layer.name.endswith("_norm"))


# The five systems and ResNet-20, counted on the originals.
COUNTS = [
    ("mnist_7k", ("bn", "gn:1", "gn:2", "gn:4"), 6_986),
    ("mnist_7k", ("ln",), 41_874),
    ("cifar_plain", ("bn", "gn:1", "gn:size=4"), 49_808),
    ("cifar_plain", ("ln",), 176_336),
    ("mnist_layered", ("bn", "gn:4", "gn:1"), 7_288),
    ("cifar_residual", ("bn", "gn:4", "gn:1"), 40_394),
    ("resnet20", ("bn", "gn:4"), 269_722),
]


@pytest.mark.parametrize(
    ("arch", "norm", "count"),
    [
        pytest.param(arch, norm, count, marks=[] if norm in ("bn", "ln") or arch == "mnist_7k" else pytest.mark.matrix)
        for arch, norms, count in COUNTS
        for norm in norms
    ],
)
def test_published_count(arch, norm, count, built):
    assert plan(arch, parse(norm)).trainable_parameters == count
    assert trainable(built(arch, norm)) == count


def test_sizes_of_mnist_7k(built):
    model = built("mnist_7k", "bn")
    names = ("conv1", "conv2", "max_pool1", "conv3", "conv4", "conv5", "conv6", "conv7", "avg_pool1")
    assert [model.get_layer(name).output.shape[1] for name in names] == [26, 24, 12, 12, 10, 8, 8, 6, 1]
    assert [model.get_layer(name).output.shape[3] for name in names] == [8, 16, 16, 8, 16, 20, 8, 16, 16]


def order_after(model, conv):
    """Return what follows the layer ``conv``, up to the next layer with a kernel or a pool."""
    names = [layer.name for layer in model.layers]
    after = []
    for name in names[names.index(conv) + 1 :]:
        if not name.startswith(f"{conv}_"):
            break
        after.append(name.removeprefix(f"{conv}_"))
    return after


@pytest.mark.parametrize(
    ("arch", "conv", "parts", "rate"),
    [
        ("mnist_7k", "conv1", ["relu", "norm", "dropout"], 0.05),
        ("mnist_7k", "conv3", ["relu"], None),
        ("mnist_7k", "conv7", ["relu"], None),
        ("cifar_plain", "convblock1_conv1", ["relu", "norm", "dropout"], 0.01),
        ("cifar_plain", "transblock1_conv", ["relu"], None),
        ("mnist_layered", "conv1", ["relu", "norm", "dropout"], 0.069),
        ("mnist_layered", "conv6", ["relu", "norm"], None),
        ("cifar_residual", "conv1", ["norm", "relu", "dropout"], 0.02),
        ("cifar_residual", "conv3", [], None),
        ("cifar_residual", "residual1", ["shortcut", "add", "norm", "relu", "dropout"], 0.02),
        ("resnet20", "conv1", ["norm", "relu"], None),
        ("resnet20", "residual4", ["subsample", "pad", "add", "relu"], None),
    ],
)
def test_order_of_parts(arch, conv, parts, rate, built):
    model = built(arch, "bn")
    if conv.startswith("residual"):
        found = [layer.name.removeprefix(f"{conv}_") for layer in model.layers if layer.name.startswith(f"{conv}_")]
    else:
        found = order_after(model, conv)
    assert found == parts
    if rate is not None:
        assert model.get_layer(f"{conv}_dropout").rate == rate


@pytest.mark.parametrize(
    ("arch", "biased"),
    [("mnist_7k", False), ("cifar_plain", False), ("mnist_layered", False), ("cifar_residual", True)],
)
def test_convolution_biases(arch, biased, built):
    convolutions = [layer for layer in built(arch, "bn").layers if isinstance(layer, keras.layers.Conv2D)]
    assert {layer.use_bias for layer in convolutions} == {biased}


def test_cifar_dilated(built):
    arch = ARCHITECTURES["cifar_dilated"]
    convolutions = [block for block in arch.blocks if isinstance(block, Conv)]
    assert any(conv.dilation > 1 for conv in convolutions)
    assert any(conv.separable for conv in convolutions)
    assert not any(isinstance(block, Pool) for block in arch.blocks)
    assert sum(isinstance(block, GlobalPool) for block in arch.blocks) == 1
    receptive_field, jump = 1, 1
    for conv in convolutions:
        receptive_field += (conv.kernel - 1) * conv.dilation * jump
        jump *= conv.stride
    assert receptive_field > 44
    assert plan(arch, parse("bn")).trainable_parameters <= 200_000
    layers = built("cifar_dilated", "bn").layers
    assert any(layer.dilation_rate == (2, 2) for layer in layers if isinstance(layer, keras.layers.Conv2D))
    assert any(isinstance(layer, keras.layers.DepthwiseConv2D) for layer in layers)
    pools = [layer for layer in layers if "Pooling" in type(layer).__name__]
    assert [type(layer) for layer in pools] == [keras.layers.GlobalAveragePooling2D]


def test_filter_response_normalization_brings_its_activation(built):
    kinds = [type(layer).__name__ for layer in built("resnet20", "frn").layers]
    assert kinds.count("FilterResponseNormalization") == 19
    assert kinds.count("TLU") == 10  # those after a norm; the sums keep their ReLU
    assert kinds.count("ReLU") == 9
    assert order_after(built("mnist_7k", "frn"), "conv1") == ["norm", "tlu", "dropout"]


def test_weight_standardization_where_a_norm_follows(built):
    model = built("mnist_7k", "gn:2+ws")
    standardized = [layer.name for layer in model.layers if type(layer).__name__ == "WeightStandardizedConv2D"]
    assert standardized == ["conv1", "conv2", "conv4", "conv5"]


@some_architectures
def test_other_sizes_channels_and_classes(arch):
    shape = (41, 36, 2)
    model = build(arch, norm="ln", input_shape=shape, num_classes=7, compile=False)
    assert model.input_shape == (None, *shape)
    assert model.output_shape == (None, 7)
    network = plan(arch, parse("ln"), input_shape=shape, num_classes=7)
    assert network.trainable_parameters == trainable(model)
    assert model(np.zeros((2, *shape), "float32")).shape == (2, 7)


@every_architecture
def test_entry_of_the_registry(arch):
    spec = ARCHITECTURES[arch]
    assert spec.name == arch
    assert spec.title
    assert len(spec.mean) in (1, spec.input_shape[2]) and len(spec.std) == len(spec.mean)
    assert 0 <= spec.dropout < 1


def test_resnet20_is_twenty_layers_deep():
    blocks = ARCHITECTURES["resnet20"].blocks
    residuals = [block for block in blocks if isinstance(block, Residual)]
    assert len(residuals) == 9
    assert 1 + sum(len(block.main) for block in residuals) + 1 == 20
    assert all(block.shortcut == () for block in residuals)


# The networks for photographs: counts and sizes of arXiv 1512.03385, table 1, with 1,000 classes.
# Multiply-adds, in billions, are those of torchvision's documentation.
@pytest.mark.parametrize(
    ("arch", "count", "depth", "work"), [("resnet18", 11_689_512, 18, 1.814), ("resnet50", 25_557_032, 50, 4.089)]
)
def test_published_networks_of_imagenet(arch, count, depth, work):
    network = plan(arch, parse("bn"), num_classes=1000)
    assert network.trainable_parameters == count
    assert round(sum(row.multiply_adds for row in plan_layers(network)) / 1e9, 3) == work
    shortcuts = [layer.name for layer in network.layers if layer.name.endswith("_shortcut")]
    convolutions = [layer for layer in network.layers if layer.kind == "conv" and layer.name not in shortcuts]
    assert len(convolutions) + 1 == depth and not any(layer.options["bias"] for layer in convolutions)
    shapes = {layer.name: layer.shape for layer in network.layers}
    assert shapes["conv1"] == (112, 112, 64) and shapes["max_pool1"] == (56, 56, 64)
    wide = 1 if arch == "resnet18" else 4
    ends = {shape for name, shape in shapes.items() if name.endswith("_add")}
    assert ends == {(56, 56, 64 * wide), (28, 28, 128 * wide), (14, 14, 256 * wide), (7, 7, 512 * wide)}
    assert len(shortcuts) == (3 if arch == "resnet18" else 4)


def reference_of_imagenet(side, units, bottleneck):
    """Return a ResNet of Keras's own layers, as torchvision has it but for the padding, in the order of its table."""
    x = image = keras.Input((side, side, 3))
    x = keras.layers.Normalization(mean=[127.5] * 3, variance=[63.75**2] * 3)(x)
    made = []

    def conv(x, filters, kernel, stride=1):
        for layer in (
            keras.layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
        ):
            made.append(layer)
            x = layer(x)
        return x

    x = keras.layers.ReLU()(conv(x, 64, 7, 2))
    x = keras.layers.MaxPooling2D(3, 2, "same")(x)
    for stage, count in enumerate(units):
        for unit in range(count):
            stride = 2 if stage and not unit else 1
            filters = 64 * 2**stage
            if bottleneck:
                main = keras.layers.ReLU()(conv(x, filters, 1))
                main = conv(keras.layers.ReLU()(conv(main, filters, 3, stride)), 4 * filters, 1)
            else:
                main = conv(keras.layers.ReLU()(conv(x, filters, 3, stride)), filters, 3)
            x = conv(x, main.shape[-1], 1, stride) if x.shape != main.shape else x
            x = keras.layers.ReLU()(x + main)
    made.append(keras.layers.Dense(7))
    return keras.Model(image, made[-1](keras.layers.GlobalAveragePooling2D()(x))), made


@pytest.mark.parametrize(
    ("arch", "units", "bottleneck"),
    [
        ("resnet18", (2, 2, 2, 2), False),
        pytest.param("resnet50", (3, 4, 6, 3), True, marks=pytest.mark.matrix),
    ],
)
def test_networks_of_imagenet_compute_what_keras_s_own_layers_do(arch, units, bottleneck, seeded):
    settings = {"input_shape": (32, 32, 3), "num_classes": 7, "mean": 127.5, "std": 63.75, "seed": 0, "compile": False}
    model = build(arch, norm="bn", **settings)
    reference, made = reference_of_imagenet(32, units, bottleneck)
    planned = [layer.name for layer in plan(arch, parse("bn"), input_shape=(32, 32, 3)).layers]
    weighted = [model.get_layer(name) for name in planned if model.get_layer(name).weights]
    weighted = [layer for layer in weighted if layer.name != "pixels"]
    for ours, theirs in zip(weighted, made, strict=True):
        values = [
            seeded.uniform(0.5, 1.5, weight.shape) if len(weight.shape) == 1 else weight for weight in ours.weights
        ]
        theirs.set_weights(values)
        ours.set_weights(values)
    x = seeded.integers(0, 256, (3, 32, 32, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(reference(x))
    np.testing.assert_allclose(model(x), expected, rtol=2e-4, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("norm", [spec for spec in SPECS if spec not in ("bn", "gn:1", "gn:size=2", "bn:frozen=all")])
def test_every_norm_of_a_network_of_imagenet(norm):
    shape = (32, 32, 3)
    assert plan("resnet50", parse(norm), input_shape=shape).layers[-1].shape == (10,)
    network = plan("resnet18", parse(norm), input_shape=shape)
    if norm == "gn:2+ws":
        model = build("resnet18", norm=norm, input_shape=shape, compile=False)
        assert network.trainable_parameters == trainable(model) and model.output_shape == (None, 10)


@pytest.mark.parametrize("norm", ["bn", "rms", "ln"])
def test_zero_gamma_starts_each_residual_unit_as_its_shortcut(norm, seeded):
    x = seeded.integers(0, 256, (2, 32, 32, 3)).astype("float32")
    settings = {"input_shape": (32, 32, 3), "seed": 0, "compile": False}
    model = build("resnet20", norm=norm, zero_gamma=True, **settings)
    plain = build("resnet20", norm=norm, **settings)
    gains = {layer.name: layer.get_weights()[0] for layer in model.layers if layer.name.endswith("_norm")}
    zero = {name for name, gain in gains.items() if not gain.any()}
    assert zero == {f"conv{2 * unit + 1}_norm" for unit in range(1, 10)}
    assert all((gain == 1).all() for name, gain in gains.items() if name not in zero)
    for ours, theirs in zip(model.layers, plain.layers, strict=True):
        if ours.name not in zero:
            assert all(np.array_equal(a, b) for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True))
    inside = keras.Model(model.input, [model.get_layer(name).output for name in ("conv1_relu", "residual3_relu")])
    before, after = inside(x)
    np.testing.assert_array_equal(before, after)


def test_zero_gamma_where_no_residual_unit_ends_in_a_norm():
    for make in (plan, build):
        with pytest.raises(ArchitectureError) as caught:
            make("cifar_residual", parse("bn"), zero_gamma=True) if make is plan else make("mnist_7k", zero_gamma=True)
        says(caught, "zero_gamma=True", "resnet18")
    assert plan("resnet18", parse("none"), zero_gamma=True) == plan("resnet18", parse("none"))
