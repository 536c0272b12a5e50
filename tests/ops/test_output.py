"""A ReLU and a dropout that join the norm before them: nothing but the number of passes changes."""

import keras
import numpy as np
import pytest
from backends import tensorflow_only

from tfnorm import layers

tf = pytest.importorskip("tensorflow")
pytestmark = tensorflow_only

NORMS = {
    "bn": lambda **options: layers.BatchNormalization(**options),
    "gn": lambda **options: layers.GroupNormalization(4, **options),
    "ln": lambda **options: layers.LayerNormalization(axis=(1, 2, 3), **options),
    "ln:channel": lambda **options: layers.LayerNormalization(**options),
    "rms": lambda **options: layers.RMSNormalization(**options),
    "frn": lambda **options: layers.FilterResponseNormalization(**options),
}
SHAPE = (3, 5, 7, 16)


class Chain:
    """A norm, a ReLU or not, a dropout or not, each of whose outputs can be seen."""

    def __init__(self, norm, relu=True, dropout=True, dtype="float32"):
        self.norm = NORMS[norm](dtype=dtype)
        self.rest = [layers.ReLU(dtype=dtype)] * relu + [layers.Dropout(0.3, seed=1, dtype=dtype)] * dropout
        self.norm.build(SHAPE)
        rng = np.random.default_rng(0)
        for variable in self.norm.trainable_variables:
            variable.assign(rng.normal(size=variable.shape))
        self.again()

    def again(self):
        """Start the seeds and the moving statistics from the beginning."""
        for layer in self.rest:
            for variable in layer.variables:
                variable.assign([1, 0])

    def outputs(self, x):
        values = [self.norm(x, training=True)]
        for layer in self.rest:
            training = {"training": True} if isinstance(layer, layers.Dropout) else {}
            values.append(layer(values[-1], **training))
        return values

    def gradients(self, x, upstream):
        """Return the last output, and the gradients of x, of all steps in between and of the weights."""
        with tf.GradientTape() as tape:
            tape.watch(x)
            values = self.outputs(x)
        sources = [x, *values[:-1], *self.norm.trainable_variables]
        return [values[-1], *tape.gradient(values[-1], sources, upstream)]


def data(dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    return [tf.cast(rng.normal(1, 2, SHAPE), dtype) for _ in range(2)]


def agree(found, expected, tolerance):
    for a, b in zip(found, expected, strict=True):
        a, b = (np.asarray(tf.cast(t, tf.float64)) for t in (a, b))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, abs(b).max()))


# With both, a norm of each way of the passes, and one with one of them.
@pytest.mark.parametrize(
    ("norm", "relu", "dropout"),
    [
        pytest.param(
            norm, *each, marks=[] if all(each) and norm != "ln:channel" or norm == "gn" else pytest.mark.matrix
        )
        for norm in NORMS
        for each in ((True, False), (False, True), (True, True))
    ],
)
def test_graphs_agree_with_one_step_after_the_other(norm, relu, dropout):
    chain = Chain(norm, relu, dropout)
    alone = chain.gradients(*data())  # eager: each layer by itself
    chain.again()
    agree(tf.function(chain.gradients)(*data()), alone, 2e-5)
    dropped = np.asarray(alone[0]) == 0
    assert 0.2 < dropped.mean() < 0.8


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.matrix)])
def test_sixteen_bits(dtype):
    chain = Chain("gn", dtype=dtype)
    alone = chain.gradients(*data(dtype))
    chain.again()
    together = tf.function(chain.gradients)(*data(dtype))
    assert [t.dtype for t in together] == [t.dtype for t in alone]
    agree(together, alone, 0.02)


@pytest.mark.parametrize(
    "options", [{"jit_compile": True}, {"input_signature": [tf.TensorSpec([None] * 3 + [16])] * 2}]
)
def test_compiled_graphs_and_unknown_sizes(options):
    chain = Chain("bn")
    alone = chain.gradients(*data())
    chain.again()
    agree(tf.function(chain.gradients, **options)(*data()), alone, 2e-5)


def test_a_step_that_is_read_twice_has_the_sum_of_its_gradients():
    chain = Chain("gn")

    def twice(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            normed, active, dropped = chain.outputs(x)
            total = tf.reduce_sum(upstream * (dropped + 2 * active) * normed)
        return [total, *tape.gradient(total, [x, normed, active, *chain.norm.trainable_variables])]

    alone = twice(*data())
    chain.again()
    agree(tf.function(twice)(*data()), alone, 2e-5)


@pytest.mark.parametrize("compiled", [pytest.param(False, marks=pytest.mark.matrix), True])
def test_forward_mode(compiled):
    """The derivative along a direction, times a gradient, is the gradient times the direction."""
    chain = Chain("gn")

    def along(x, tangent):
        with tf.autodiff.ForwardAccumulator(x, tangent) as accumulator:
            outputs = chain.outputs(x)
        return [accumulator.jvp(output) for output in outputs]

    def back(x, upstream):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            outputs = chain.outputs(x)
        return [tape.gradient(output, x, upstream) for output in outputs]

    (x, upstream), (tangent, _) = data(), data(seed=1)
    forward = (tf.function(along, autograph=False) if compiled else along)(x, tangent)
    chain.again()
    for there, here in zip(forward, back(x, upstream), strict=True):
        product = float(tf.reduce_sum(there * upstream))
        assert product == pytest.approx(float(tf.reduce_sum(here * tangent)), rel=1e-4) and abs(product) > 0.1


def test_second_derivatives():
    chain = Chain("gn")

    def second(x, upstream):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_sum(chain.outputs(x)[-1] ** 3)
            first = inner.gradient(loss, x)
        return [first, outer.gradient(first, x, upstream)]

    alone = second(*data())
    chain.again()
    agree(tf.function(second)(*data()), alone, 2e-4)


def test_only_what_is_read_is_written():
    """The norm's own output and the first mask alone are no part of the graph that is run."""
    from tensorflow.python.eager import context

    chain = Chain("gn")
    step = tf.function(lambda x, upstream: chain.gradients(x, upstream)[:2])
    context.context().enable_graph_collection()
    try:
        step(*data())
        graphs = context.context().export_run_metadata().partition_graphs
    finally:
        context.context().disable_graph_collection()
    graph = max(graphs, key=lambda graph: len(graph.node))
    passes = [node.name for node in graph.node if "_XlaMustCompile" in node.attr]
    assert len(passes) == 4, passes  # statistics, output, mask, the norm's gradient


def test_other_inputs_and_options_are_the_parents():
    x = np.linspace(-3, 9, 24, dtype="float32").reshape(2, 3, 4)
    for options in ({}, {"max_value": 6.0}, {"negative_slope": 0.1}, {"threshold": 1.0}):
        np.testing.assert_array_equal(layers.ReLU(**options)(x), keras.layers.ReLU(**options)(x))
    for name in ("relu", "gelu", "linear"):
        np.testing.assert_array_equal(layers.Activation(name)(x), keras.layers.Activation(name)(x))


def test_configurations():
    made = [layers.ReLU(max_value=6.0), layers.Activation("relu"), layers.Conv2D(4, 3, kernel_regularizer="l2")]
    for layer in made:
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert type(again) is type(layer)
        assert again.get_config() == layer.get_config()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_convolutions_in_sixteen_bits_with_and_without_the_instructions(dtype, monkeypatch):
    from tfnorm.layers import convolution

    def outputs_and_gradients(native):
        monkeypatch.setattr(convolution, "computes_natively", lambda dtype: native)
        layer = layers.Conv2D(4, 3, use_bias=True, dtype=f"mixed_{dtype}")
        layer.build(SHAPE)
        layer.kernel.assign(np.random.default_rng(1).normal(size=layer.kernel.shape))
        x = data(dtype)[0]
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        gradients = tape.gradient(y, [x, *layer.trainable_variables])
        assert [g.dtype for g in gradients] == [x.dtype, tf.float32, tf.float32]
        assert y.dtype == dtype
        return [y, *gradients]

    agree(outputs_and_gradients(False), outputs_and_gradients(True), 0.02)
