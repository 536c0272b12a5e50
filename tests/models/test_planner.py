"""Plans: own architectures, and the sentences for networks that cannot be."""

import keras
import numpy as np
import pytest
from backends import array
from facts import says

from tfnorm import build
from tfnorm.errors import ArchitectureError, SpecError
from tfnorm.models.architectures import ArchSpec, Conv, Dense, Drop, GlobalPool, Pool, Residual
from tfnorm.models.planner import plan
from tfnorm.spec import parse

BN = parse("bn")
LOGITS = Conv(None, 1, parts=())


def arch(*blocks, name="own", shape=(16, 16, 3), **arguments):
    return ArchSpec(name, "an own network", shape, blocks, **arguments)


def refused(error, function, *arguments, **options):
    with pytest.raises(error) as caught:
        function(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("shape", "layer", "needed", "has", "smallest"),
    [
        ((2, 2, 1), "conv1", 3, "2 x 2", 28),
        ((4, 28, 1), "conv2", 3, "2 x 26", 28),
        ((8, 8, 1), "conv4", 3, "2 x 2", 28),
        ((20, 20, 1), "avg_pool1", 6, "2 x 2", 28),
        ((26, 40, 3), "avg_pool1", 6, "5 x 12", 28),
    ],
)
def test_too_small_an_input_names_the_layer(shape, layer, needed, has, smallest):
    facts = f"input_shape={shape}", repr(layer), f"{needed} pixels", has, f"({smallest}, {smallest}, {shape[2]})"
    says(refused(ArchitectureError, plan, "mnist_7k", BN, input_shape=shape), *facts)
    says(refused(ArchitectureError, build, "mnist_7k", norm="bn", input_shape=shape), *facts)
    smallest_network = plan("mnist_7k", BN, input_shape=(smallest, smallest, 1))
    assert smallest_network.layers[-1].shape == (10,)


def test_the_smallest_input_named_is_the_smallest():
    for side in range(4, 8):
        assert "at least (8, 8, 3)" in refused(ArchitectureError, plan, "mnist_layered", BN, input_shape=(side, 9, 3))
    assert plan("mnist_layered", BN, input_shape=(8, 8, 3)).input_shape == (8, 8, 3)


def test_no_input_is_large_enough():
    network = arch(*[Pool("max", 2) for _ in range(11)], GlobalPool(), LOGITS)
    says(
        refused(ArchitectureError, plan, network, BN),
        "own",
        "input_shape=(16, 16, 3)",
        "'max_pool5'",
        "2 pixels",
        "1 x 1",
        "fewer pools",
    )


@pytest.mark.parametrize(
    ("name", "norm", "facts"),
    [
        (
            "mnist_7k",
            "gn:3",
            ("groups=3", "channels=8", "'conv1_norm'", "1, 2, 4, 8", "mnist_7k: 1, 2, 4"),
        ),
        (
            "mnist_7k",
            "gn:8",
            ("groups=8", "channels=20", "'conv5_norm'", "1, 2, 4, 5, 10, 20", "mnist_7k: 1, 2, 4"),
        ),
        (
            "mnist_7k",
            "gn:size=16",
            ("group_size=16", "channels=8", "'conv1_norm'", "1, 2, 4, 8", "mnist_7k: 1, 2, 4"),
        ),
        (
            "resnet20",
            "gn:32",
            ("groups=32", "channels=16", "'conv1_norm'", "resnet20: 1, 2, 4, 8, 16"),
        ),
    ],
)
def test_groups_that_do_not_divide(name, norm, facts):
    says(refused(SpecError, plan, name, parse(norm)), *facts)
    says(refused(SpecError, build, name, norm=norm), *facts)


def test_dropout_of_a_network_without_any_is_refused():
    facts = "resnet20", "`dropout`", "0.5"
    says(refused(ArchitectureError, plan, "resnet20", parse("bn"), dropout=0.5), *facts)
    says(refused(ArchitectureError, build, "resnet20", norm="bn", dropout=0.5), *facts)
    assert plan("resnet20", parse("bn"), dropout=0.0) == plan("resnet20", parse("bn"))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_groups_said_to_be_valid_are(groups):
    assert plan("mnist_7k", parse(f"gn:{groups}")).trainable_parameters == 6_986
    assert plan("mnist_7k", parse(f"gn:size={groups}")).trainable_parameters == 6_986


NAMES = "mnist_7k, cifar_plain, cifar_dilated, mnist_layered, cifar_residual, resnet20, resnet18, resnet50"


def test_unknown_architecture():
    facts = "'mnist_7'", "'mnist_7k'", NAMES
    says(refused(ArchitectureError, plan, "mnist_7", BN), *facts)
    says(refused(ArchitectureError, build, "mnist_7"), *facts)
    says(refused(ArchitectureError, build, None), "None", NAMES)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 0), (28, -1, 1), (28.5, 28, 1), "28", 28, (None, 28, 1)])
def test_input_shape(shape):
    says(
        refused(ArchitectureError, plan, "mnist_7k", BN, input_shape=shape),
        "`input_shape`",
        "(height, width, channels)",
        f"{shape!r}",
    )


@pytest.mark.parametrize("classes", [0, -1, 2.0, "10", True, None])
def test_num_classes(classes):
    says(
        refused(ArchitectureError, plan, "mnist_7k", BN, num_classes=classes), "at least 1", f"num_classes={classes!r}"
    )


@pytest.mark.parametrize("rate", [1.0, 1, -0.1, "0.1", float("nan")])
def test_dropout(rate):
    says(refused(ArchitectureError, plan, "mnist_7k", BN, dropout=rate), "`dropout`", "0 to below 1", f"{rate!r}")


def test_no_dropout_no_layers():
    assert not [layer for layer in plan("mnist_7k", BN, dropout=0.0).layers if layer.kind == "dropout"]
    assert plan("mnist_7k", BN, dropout=0.3).layers[5].options == {"rate": 0.3}


# Own architectures.


def test_own_architecture():
    own = arch(
        Conv(8, bias=True, name="stem"),
        Conv(12, stride=2, separable=True),
        Residual(main=(Conv(12), Conv(12, parts=("norm",))), after=("act",), name="unit"),
        Residual(main=(Conv(16, stride=2),), shortcut=(Conv(16, 1, stride=2, parts=("norm",)),)),
        Drop(name="drop"),
        Pool("avg", 2),
        Dense(),
        dropout=0.1,
    )
    network = plan(own, parse("gn:size=4"), num_classes=3)
    model = build(own, norm="gn:size=4", num_classes=3, compile=False)
    assert {layer.name for layer in network.layers} == {layer.name for layer in model.layers}
    assert network.trainable_parameters == sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    # stem, depthwise and pointwise, unit, main and shortcut, dense; then 2 weights a normalized channel.
    kernels = (27 * 8 + 8) + (9 * 8 + 8 * 12) + 2 * 9 * 12 * 12 + (9 * 12 * 16 + 12 * 16) + (2 * 2 * 16 * 3 + 3)
    assert network.trainable_parameters == kernels + 2 * (8 + 12 + 12 + 12 + 16 + 16 + 16)
    assert model.output_shape == (None, 3)
    assert model.name == "own"
    assert model(np.zeros((2, 16, 16, 3), "float32")).shape == (2, 3)


def test_identity_shortcut_subsamples_and_pads(seeded):
    own = arch(Residual(main=(Conv(7, stride=2, parts=()),), after=(), name="unit"), GlobalPool(), LOGITS)
    model = build(own, norm="none", compile=False, mean=0.0, std=1.0)
    unit = keras.Model(model.input, model.get_layer("unit_add").output)
    main = keras.Model(model.input, model.get_layer("conv1").output)
    x = seeded.normal(size=(2, 16, 16, 3)).astype("float32")
    shortcut = array(unit(x)) - array(main(x))
    expected = np.zeros((2, 8, 8, 7), "float32")
    expected[..., 2:5] = x[:, ::2, ::2]
    np.testing.assert_allclose(shortcut, expected, atol=1e-5)


@pytest.mark.parametrize("side", [15, 16, 17])
def test_identity_shortcut_of_odd_sides(side):
    own = arch(Residual(main=(Conv(6, stride=2),)), GlobalPool(), LOGITS, shape=(side, side, 3))
    assert build(own, compile=False).output_shape == (None, 10)


def test_identity_shortcut_of_a_side_of_one():
    own = arch(Residual(main=(Conv(6, stride=2),)), GlobalPool(), LOGITS, shape=(1, 16, 3))
    assert build(own, compile=False).output_shape == (None, 10)
    assert build("resnet20", input_shape=(2, 128, 1), compile=False).output_shape == (None, 10)


def test_one_number_for_the_statistics_of_all_channels():
    numbers, tuples = (arch(GlobalPool(), LOGITS, mean=mean, std=std) for mean, std in ((0.5, 1), ((0.5,), (1.0,))))
    assert numbers == tuples


def test_numbers_of_numpy():
    network = plan("mnist_7k", BN, num_classes=np.int64(3), dropout=np.float32(0.5))
    assert network == plan("mnist_7k", BN, num_classes=3, dropout=0.5)


def test_valid_padding_and_dilation():
    own = arch(Conv(4, dilation=3), Conv(4, 5), Conv(4, stride=2), GlobalPool(), LOGITS, padding="valid")
    shapes = {layer.name: layer.shape for layer in plan(own, BN).layers}
    assert (shapes["conv1"], shapes["conv2"], shapes["conv3"]) == ((10, 10, 4), (6, 6, 4), (2, 2, 4))
    model = build(own, compile=False)
    assert model.get_layer("conv3").output.shape == (None, 2, 2, 4)


REFUSED = [
    (lambda: arch(), ("'own'", "no blocks")),
    (
        lambda: arch(LOGITS, padding="full"),
        ("`padding`", "'same' or 'valid'", "'full'"),
    ),
    (
        lambda: arch(LOGITS, order=("norm", "act")),
        ("`order`", "norm, act and dropout", "('norm', 'act')"),
    ),
    (
        lambda: arch(LOGITS, "conv"),
        ("Conv, Pool, GlobalPool, Drop, Dense or Residual", "'conv'"),
    ),
    (
        lambda: plan(arch(Conv(8, name="a"), Conv(8, name="a"), GlobalPool(), LOGITS), BN),
        ("'own'", "'a'"),
    ),
    (
        lambda: plan(arch(Conv(8, name="pixels"), GlobalPool(), LOGITS), BN),
        ("'own'", "'pixels'"),
    ),
    (
        lambda: plan(arch(Conv(8, parts=("norm", "relu")), GlobalPool(), LOGITS), BN),
        ("norm, act or dropout", "'relu'", "'conv1'"),
    ),
    (
        lambda: plan(arch(Residual(main=(Conv(3),), after=("sum",)), GlobalPool(), LOGITS), BN),
        ("norm, act or dropout", "'sum'", "'residual1'"),
    ),
    (
        lambda: plan(arch(Conv(8), LOGITS), BN),
        ("'own'", "'conv2'", "(16, 16, 10)", "GlobalPool", "Dense()"),
    ),
    (
        lambda: plan(arch(Conv(8), GlobalPool()), BN),
        ("'own'", "'global_pool1'", "(1, 1, 8)", "10 classes", "Conv(None, 1)", "Dense()"),
    ),
    *[
        (
            lambda block=block: plan(arch(Dense(), block), BN),
            (type(block).__name__, "'dense1' in 'own'", "10 numbers", "before the Dense"),
        )
        for block in (Conv(4), Pool("max", 2), GlobalPool(), Residual(main=(Conv(8),)))
    ],
    (
        lambda: plan(arch(Residual(main=(Conv(8),), shortcut=(Conv(6),)), GlobalPool(), LOGITS), BN),
        ("'residual1' in 'own'", "main path (16, 16, 8)", "shortcut (16, 16, 6)", "filters and strides"),
    ),
    (
        lambda: plan(arch(Conv(8), Residual(main=(Conv(6),)), GlobalPool(), LOGITS), BN),
        ("'residual1' in 'own'", "main path (16, 16, 6)", "shortcut (16, 16, 8)", "filters and strides"),
    ),
]


@pytest.mark.parametrize(("make", "facts"), REFUSED)
def test_refused(make, facts):
    says(refused(ArchitectureError, make), *facts)


def test_stride_and_dilation():
    conv = Conv(8, stride=2, dilation=2)
    says(refused(ArchitectureError, plan, arch(conv, GlobalPool(), LOGITS), BN), "stride", "dilation", f"{conv!r}")


def test_a_misspelt_part_inside_a_residual_unit():
    own = arch(Residual(main=(Conv(3, parts=("drop",)),)), GlobalPool(), LOGITS)
    says(refused(ArchitectureError, build, own), "norm, act or dropout", "'drop'", "'conv1'")


@pytest.mark.parametrize(
    ("make", "facts"),
    [
        (lambda: Pool("median", 2), ("'median'", "max, avg")),
        (lambda: Pool("max", 0), ("`size`", "positive whole number", "Pool(kind='max', size=0, ")),
        (lambda: Pool("max", 3, stride=0), ("`stride`", "positive whole number", "stride=0")),
        (lambda: Conv(0), ("`filters`", "positive whole number", "Conv(filters=0, ")),
        (lambda: Conv(8, 2.5), ("`kernel`", "positive whole number", "Conv(filters=8, kernel=2.5, ")),
        (lambda: Conv(8, stride=-1), ("`stride`", "positive whole number", "Conv(filters=8, ")),
    ],
)
def test_blocks_refuse_what_cannot_be_built(make, facts):
    says(refused(ArchitectureError, make), *facts)
