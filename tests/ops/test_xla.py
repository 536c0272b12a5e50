"""Training steps that XLA compiles as a whole, as Keras has it on GPUs: the same numbers, nothing compiled within."""

import itertools

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("Passes are compiled on TensorFlow.", allow_module_level=True)

import tensorflow as tf
from tensorflow.python.framework import config

from tfnorm import layers
from tfnorm.layers.create import norm_layer
from tfnorm.norms import NORMS
from tfnorm.ops import graphs_let_go
from tfnorm.spec import parse

SPECS = [*(info.example for info in NORMS.values() if not info.of_the_model), "gn:4+ws", "bn+l1=1e-3", "ln:channel"]
SHAPE = (5, 5, 3)


@pytest.fixture(autouse=True)
def _xla_allowed():
    """Keras takes ``jit_compile=True`` back where operations must be deterministic, as a run before may have asked."""
    was = config.is_op_determinism_enabled()
    config.disable_op_determinism()
    yield
    if was:
        config.enable_op_determinism()


def network(spec, frozen=False):
    """Return a small network with every layer that has compiled passes."""
    keras.utils.set_random_seed(1)
    spec = parse(spec)
    with_ws = layers.WeightStandardizedConv2D if spec.weight_standardization else keras.layers.Conv2D
    norm = norm_layer(spec) if spec.kind != "none" else keras.layers.Identity()
    norm.trainable = not frozen
    parts = [with_ws(8, 3, padding="same"), norm, layers.ReLU(), layers.Dropout(0.25, seed=3)]
    if spec.kind == "frn":
        parts.insert(2, layers.TLU())
    return keras.Sequential([keras.Input(SHAPE), *parts, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])


def trained(spec, jit_compile, mean=1.0, **options):
    """Return the mean loss of two steps, and all variables after them."""
    x, y = np.random.default_rng(0).normal(mean, 2.0, (8, *SHAPE)).astype("float32"), np.arange(8) % 2
    model = network(spec, **options)
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
    )
    assert model.jit_compile is jit_compile
    losses = model.fit(x, y, batch_size=4, shuffle=False, verbose=0).history["loss"]
    return [np.asarray(value) for value in (losses, *model.variables)]


def agree(found, right, tolerance):
    assert len(found) == len(right)
    for one, other in zip(found, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * max(1e-3, abs(other).max()))


def step_of(model):
    """Return the training step of a custom loop. The caller may compile it with XLA."""

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x, training=True) ** 2)
        return loss, *tape.gradient(loss, model.trainable_variables)

    return step


def compiled_within(run):
    """Return how many compiled passes the graph of ``run`` calls or launches."""
    graph = run.get_concrete_function(tf.TensorSpec([2, *SHAPE])).graph.as_graph_def()
    nodes = [*graph.node, *itertools.chain(*(function.node_def for function in graph.library.function))]
    return sum(node.op == "XlaLaunch" or node.attr["_XlaMustCompile"].b for node in nodes)


# One of each way that the passes go over a tensor; the others are left to `make test-matrix`.
WAYS = ("bn", "ln", "gn:4+ws", "frn")


def with_rest(*specs):
    """Return a parameter for every spec, for the matrix if it is none of these."""
    return [pytest.param(spec, marks=[] if spec in specs else pytest.mark.matrix) for spec in SPECS]


@pytest.mark.parametrize("spec", with_rest("none", "rms", "frn"))
def test_no_pass_is_launched_within(spec):
    """As passes are in the graphs of `tfnorm.train`."""
    with graphs_let_go():
        whole, plain = (tf.function(step_of(network(spec)), jit_compile=jit) for jit in (True, None))
        assert compiled_within(whole) == 0 < compiled_within(plain)


@pytest.mark.parametrize("spec", with_rest("none", "bn+l1=1e-3", *WAYS))
def test_no_pass_is_called_within(spec):
    """Nor in a function that the compiled one calls."""
    step = tf.function(step_of(network(spec)))
    assert compiled_within(tf.function(lambda x: step(x), jit_compile=True)) == 0
    assert compiled_within(tf.function(step_of(network(spec)))) > 0


@pytest.mark.parametrize("spec", with_rest("gn:4+ws", "frn"))
def test_a_step_compiled_as_a_whole_has_the_same_numbers(spec):
    agree(trained(spec, True), trained(spec, False), 1e-4)


def test_frozen_statistics():
    agree(trained("bn", True, frozen=True), trained("bn", False, frozen=True), 1e-4)


@pytest.mark.parametrize("spec", ["bn", pytest.param("gn:4", marks=pytest.mark.matrix)])
def test_large_means(spec):
    """The sums of a mean of 1e4 are as exact as outside."""
    agree(trained(spec, True, mean=1e4), trained(spec, False, mean=1e4), 2e-2)
