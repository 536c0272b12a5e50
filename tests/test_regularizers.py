"""Penalties: their values and gradients, their configurations, and which variables of a network they reach."""

import json

import keras
import numpy as np
import pytest
from backends import array, value_and_gradients
from facts import says
from networks import SMALL

from tfnorm import build
from tfnorm.regularizers import L1, L1L2, L2, L2Norm, Sum, from_spec, penalty
from tfnorm.spec import parse


def value_and_gradient(regularizer, w):
    value, (gradient,) = value_and_gradients(regularizer, [np.asarray(w, "float32")])
    return float(value), gradient


KERNEL = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype("float32")


@pytest.mark.parametrize(
    ("regularizer", "value", "gradient"),
    [
        (L1(0.1), lambda w: 0.1 * np.abs(w).sum(), lambda w: 0.1 * np.sign(w)),
        (L2(0.1), lambda w: 0.1 * (w**2).sum(), lambda w: 0.2 * w),
        (
            L1L2(0.1, 0.2),
            lambda w: 0.1 * np.abs(w).sum() + 0.2 * (w**2).sum(),
            lambda w: 0.1 * np.sign(w) + 0.4 * w,
        ),
        (L2Norm(0.1), lambda w: 0.1 * np.linalg.norm(w), lambda w: 0.1 * w / np.linalg.norm(w)),
        (
            Sum([L1(0.1), L2Norm(0.2)]),
            lambda w: 0.1 * np.abs(w).sum() + 0.2 * np.linalg.norm(w),
            lambda w: 0.1 * np.sign(w) + 0.2 * w / np.linalg.norm(w),
        ),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_value_and_gradient(regularizer, value, gradient, scale):
    w = (KERNEL * scale).astype("float32")
    exact = w.ravel().astype("float64")
    got, slope = value_and_gradient(regularizer, w)
    assert got == pytest.approx(value(exact), rel=1e-5)
    np.testing.assert_allclose(slope.ravel(), gradient(exact), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 3, 2, 4), (0, 3)])
def test_l2norm_at_zero(shape):
    value, gradient = value_and_gradient(L2Norm(0.5), np.zeros(shape))
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(shape))


@pytest.mark.parametrize("size", [1e-30, 1e-25, 1e-20, 1.0, 1e20, 1e25, 1e30])
def test_l2norm_of_the_tiny_and_the_huge(size):
    """Their squares are beyond float32, their norm and its gradient are not."""
    value, gradient = value_and_gradient(L2Norm(0.5), np.array([3.0, -4.0, 0.0]) * size)
    assert value == pytest.approx(2.5 * size, rel=1e-5)
    np.testing.assert_allclose(gradient, [0.3, -0.4, 0.0], rtol=1e-5)


def test_l2norm_with_one_small_element_beside_a_large_one():
    value, gradient = value_and_gradient(L2Norm(1.0), [1e-30, 1e10])
    assert value == pytest.approx(1e10)
    np.testing.assert_allclose(gradient, [0.0, 1.0], atol=1e-6)


def test_l2norm_of_equal_elements():
    """The largest element is found several times; the gradient is w / ||w|| all the same."""
    _, gradient = value_and_gradient(L2Norm(1.0), np.full(4, -2.0))
    np.testing.assert_allclose(gradient, np.full(4, -0.5), rtol=1e-6)


def test_zero_factor():
    value, gradient = value_and_gradient(L2Norm(0), KERNEL)
    assert value == 0 and not gradient.any()


@pytest.mark.parametrize("regularizer", [L2Norm(), L2Norm(0.25), Sum([L1(0.1), L2Norm(0.2)]), Sum([Sum(["l2"])])])
def test_configuration_round_trip(regularizer):
    kind = type(regularizer)
    config = json.loads(json.dumps(regularizer.get_config()))
    assert kind.from_config(config).get_config() == regularizer.get_config()
    revived = keras.regularizers.get(keras.regularizers.serialize(regularizer))
    assert type(revived) is kind
    assert revived.get_config() == regularizer.get_config()
    assert float(revived(KERNEL)) == float(regularizer(KERNEL))
    assert keras.saving.get_registered_name(kind) == f"tfnorm>{kind.__name__}"


@pytest.mark.parametrize("factor", [-1, float("nan"), float("inf"), "0.1", None])
def test_l2norm_refuses(factor):
    with pytest.raises(ValueError) as caught:
        L2Norm(factor)
    says(caught, "at least 0", f"l2norm={factor!r}")


@pytest.mark.parametrize("parts", [[], [None], [None, "l2"]])
def test_sum_refuses(parts):
    with pytest.raises(ValueError) as caught:
        Sum(parts)
    says(caught, "`regularizers`", "at least one", f"{parts!r}")


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("bn+l1=0.1", L1, lambda w: 0.1 * np.abs(w).sum()),
        ("bn+l2=0.1", L2, lambda w: 0.1 * (w**2).sum()),
        ("bn+l2norm=0.1", L2Norm, lambda w: 0.1 * np.linalg.norm(w)),
        ("bn+l1=0.1+l2=0.2", L1L2, lambda w: 0.1 * np.abs(w).sum() + 0.2 * (w**2).sum()),
        ("bn+l1=0.1+l2norm=0.2", Sum, lambda w: 0.1 * np.abs(w).sum() + 0.2 * np.linalg.norm(w)),
        ("bn+l2=0.1+l2norm=0.2", Sum, lambda w: 0.1 * (w**2).sum() + 0.2 * np.linalg.norm(w)),
        (
            "bn+l1=0.1+l2=0.2+l2norm=0.3",
            Sum,
            lambda w: 0.1 * np.abs(w).sum() + 0.2 * (w**2).sum() + 0.3 * np.linalg.norm(w),
        ),
    ],
)
def test_from_spec(text, kind, expected):
    regularizer = from_spec(parse(text))
    assert type(regularizer) is kind
    assert float(regularizer(KERNEL)) == pytest.approx(expected(KERNEL.ravel().astype("float64")), rel=1e-5)


def test_from_spec_without_penalties():
    assert from_spec(parse("gn:4+ws")) is None


# Which variables of a network are reached.

KERNELS = ("Conv2D", "DepthwiseConv2D", "WeightStandardizedConv2D", "Dense")


def expected_variables(model, regularize):
    if regularize == "all":
        return list(model.trainable_variables)
    return [layer.weights[0] for layer in model.layers if type(layer).__name__ in KERNELS]


def randomize(model):
    """Give every trainable variable values that are neither 0 nor 1."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0.5, 1.0, variable.shape))


SPECS = ["none", "bn", "ln", "rms", "frn", "gn:2+ws"]
# ResNet-20 takes long to build and has no kind of layer that the others lack.
NETWORKS = [(arch, norm) for arch in SMALL for norm in (SPECS if arch != "resnet20" else ["bn", "gn:2+ws"])]


@pytest.mark.parametrize("regularize", ["all", "kernels"])
@pytest.mark.parametrize(
    ("arch", "norm"),
    [
        pytest.param(arch, norm, marks=() if arch == "mnist_7k" or norm in ("frn", "bn") else pytest.mark.matrix)
        for arch, norm in NETWORKS
    ],
)
def test_each_expected_variable_is_reached_once(arch, regularize, norm):
    model = build(arch, norm=norm, l1=1e-3, regularize=regularize, compile=False, seed=0)
    randomize(model)
    variables = expected_variables(model, regularize)
    losses = [float(loss) for loss in model.losses]
    assert len(losses) == len(variables) > 0
    sums = [np.abs(np.asarray(variable, "float64")).sum() * 1e-3 for variable in variables]
    np.testing.assert_allclose(sorted(losses), sorted(sums), rtol=1e-4)
    assert sum(losses) == pytest.approx(sum(sums), rel=1e-4)


def test_scopes_differ_by_what_is_no_kernel():
    model = build("cifar_residual", norm="bn", l1=1.0, compile=False)
    everything, kernels = (expected_variables(model, scope) for scope in ("all", "kernels"))
    assert {variable.name for variable in kernels} == {"kernel"}
    assert {variable.name for variable in everything} == {"kernel", "bias", "gamma", "beta"}
    assert len(everything) == len(model.losses)
    dilated = build("cifar_dilated", norm="frn", l1=1.0, compile=False)
    assert {variable.name for variable in expected_variables(dilated, "all")} == {"kernel", "gamma", "beta", "tau"}
    assert sum(layer.name.endswith("_depthwise") for layer in dilated.layers) > 0


@pytest.mark.parametrize("text", ["bn+l1=1e-3+l2=2e-3+l2norm=3e-3", "gn:2+ws+l2norm=1e-2"])
def test_other_penalties_of_a_network(text):
    model = build(norm=text, compile=False)
    randomize(model)
    spec = parse(text)
    expected = 0.0
    for variable in model.trainable_variables:
        w = np.asarray(variable, "float64").ravel()
        expected += spec.l1 * np.abs(w).sum() + spec.l2 * (w**2).sum() + spec.l2norm * np.linalg.norm(w)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-4)
    assert penalty(model) == pytest.approx(expected, rel=1e-4)
    assert len(model.losses) == len(model.trainable_variables)


def test_no_penalty():
    model = build(norm="gn:2+ws", compile=False)
    assert model.losses == []
    assert penalty(model) == 0.0


def test_the_penalty_is_in_the_loss(seeded):
    x, y = seeded.integers(0, 256, (4, 28, 28, 1)).astype("float32"), np.arange(4)
    model = build(norm="bn", l1=1e-2, seed=0)
    logits = array(model(x)).astype("float64")
    data_loss = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(4), y])
    assert penalty(model) > 1
    assert model.evaluate(x, y, verbose=0)[0] == pytest.approx(data_loss + penalty(model), rel=1e-4)
