"""What leaves Python gives the same numbers elsewhere: LiteRT, ONNX Runtime, saved models, frozen graphs."""

import itertools

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("Graphs leave Python on TensorFlow.", allow_module_level=True)

import exporting
import tensorflow as tf
from networks import SMALL

import tfnorm
from tfnorm import layers
from tfnorm.layers.create import norm_layer
from tfnorm.norms import NORMS
from tfnorm.spec import parse

matrix = pytest.mark.matrix

# A share of the largest output.
TOLERANCE = 1e-4
SPECS = [info.example for info in NORMS.values() if info.layer] + ["bn:frozen", "gn:1", "ln:channel"]
OTHERS = {
    "ws": lambda: layers.WeightStandardizedConv2D(4, 3, padding="same"),
    "frn learned": lambda: layers.FilterResponseNormalization(learned_epsilon=True),
    "rms axes": lambda: layers.RMSNormalization(axis=(1, 2, 3)),
    "ln two axes": lambda: layers.LayerNormalization(axis=(2, 3)),
    "pixels": lambda: layers.Normalization(mean=[3.0] * 8, variance=[4.0] * 8),
}
CASES = [*SPECS, *OTHERS]
# LiteRT takes seconds for each: here are those that tests/convert/test_runtimes.py and the shapes below leave out.
WAYS = {"rms axes", "frn learned"}
IN_LITERT = [pytest.param(case, marks=[] if case in WAYS else matrix) for case in CASES]
SIDES = (1, 2, 4, 7, 16, 28)
# A penalty, precision or device apart, what can be asked of an architecture.
NETWORKS = ["none", "bn", "bn:sync", "ln", "ln:channel", "gn:2", "in", "rms", "frn", "gn:2+ws"]


def network(case, side=7, channels=8):
    """Return a model of one layer, and what follows it in a network of ours, with weights that are not 0 and 1."""
    rng = np.random.default_rng(0)
    layer = OTHERS[case]() if case in OTHERS else norm_layer(parse(case))
    image = keras.Input((side, side, channels))
    x = layers.Dropout(0.5)(layers.ReLU()(layer(image))) + keras.layers.Conv2D(layer(image).shape[-1], 1)(image)
    if case == "frn":
        x = layers.TLU(tau_initializer="ones")(x)
    model = keras.Model(image, x)
    for weight in layer.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    x = images(side, channels)
    model(x)  # Keras exports what has been called
    return model, x


def images(side, channels=8, batch=3, mean=1.0):
    return np.random.default_rng(side).normal(mean, 2.0, (batch, side, side, channels)).astype("float32")


def litert_difference(model, x, runtime, open_batch=False):
    batch = None if open_batch else 1
    x = x if open_batch else x[:1]
    content = exporting.litert_content(model, (batch, *x.shape[1:]))
    return exporting.difference(exporting.run_litert(content, x, runtime), exporting.expected(model, x))


@pytest.mark.parametrize("case", IN_LITERT)
def test_every_norm_in_litert(case):
    model, x = network(case, side=4)
    content = exporting.litert_content(model, (None, *x.shape[1:]))
    for runtime in exporting.INTERPRETERS:
        found = exporting.run_litert(content, x, runtime)
        assert exporting.difference(found, exporting.expected(model, x)) < TOLERANCE, runtime


# 4 pixels are above, and 28 in tests/convert/test_runtimes.py.
@pytest.mark.parametrize(
    ("side", "open_batch"),
    [
        pytest.param(
            side,
            open_batch,
            marks=[] if (side, open_batch) in ((1, True), (7, False)) else matrix,
        )
        for side in SIDES
        for open_batch in (False, True)
    ],
)
def test_every_shape_in_litert(side, open_batch):
    model, x = network("gn:4", side)
    assert litert_difference(model, x, "tf.lite", open_batch) < TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_every_norm_in_onnx(case, tmp_path):
    model, x = network(case)
    assert exporting.difference(exporting.run_onnx(model, x, tmp_path), exporting.expected(model, x)) < TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_every_norm_as_a_frozen_graph(case):
    model, x = network(case)
    assert exporting.difference(exporting.run_frozen(model, x), exporting.expected(model, x)) < TOLERANCE


@matrix
def test_every_norm_as_a_saved_model_in_another_process(tmp_path):
    models, inputs = {}, {}
    for case in CASES:
        models[case], inputs[case] = network(case)
    outputs = exporting.run_elsewhere(models, inputs, tmp_path)
    for case, found in outputs.items():
        assert exporting.difference(found, exporting.expected(models[case], inputs[case])) < TOLERANCE, case


@matrix
@pytest.mark.parametrize("case", ["gn:4"])
def test_every_format_and_batch_size(case, tmp_path):
    model, x = network(case, side=16)
    found = exporting.differences(model, x, tmp_path)
    assert len(found) == 8
    assert {name: share for name, share in found.items() if not share < TOLERANCE} == {}


@pytest.mark.parametrize("case", ["bn", pytest.param("gn:4", marks=matrix)])
def test_no_size_is_computed_where_only_the_batch_is_open(case):
    """LiteRT's delegate plans ahead for such graphs, and takes batch norms into convolutions."""
    image = keras.Input((8, 8, 4))
    layer = norm_layer(parse(case))
    model = keras.Model(image, layer(keras.layers.Conv2D(8, 3)(image)))
    content = exporting.litert_content(model, (None, 8, 8, 4))
    names = [detail["op_name"] for detail in tf.lite.Interpreter(model_content=content)._get_ops_details()]
    assert "CONV_2D" in names
    assert not {"SHAPE", "PACK", "STRIDED_SLICE"} & set(names)
    if case == "bn":
        assert set(names) <= {"CONV_2D", "DELEGATE"}


@matrix
def test_networks_of_build(tmp_path):
    model = tfnorm.build("cifar_residual", norm="gn:4+ws", seed=0)
    x = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:])).astype("float32")
    right = exporting.expected(model, x)
    assert exporting.difference(exporting.run_onnx(model, x, tmp_path), right) < TOLERANCE
    content = exporting.litert_content(model, (1, *x.shape[1:]))
    for runtime in exporting.INTERPRETERS:
        assert exporting.difference(exporting.run_litert(content, x[:1], runtime), right[:1]) < TOLERANCE


@matrix
@pytest.mark.parametrize(
    ("jit_compile", "batches"),
    [(True, (True,)), *((jit_compile, (True, False)) for jit_compile in (True, False))],
)
def test_trained_networks(jit_compile, batches, tmp_path):
    """The graph that was compiled for training does not reach the exported one."""
    model, x = network("gn:4")
    before = [weight.numpy() for weight in model.trainable_variables]
    model.compile("sgd", "mse", jit_compile=jit_compile)
    model.fit(x, np.zeros_like(x), verbose=0)
    assert any((weight.numpy() != old).any() for weight, old in zip(model.trainable_variables, before, strict=True))
    found = exporting.differences(model, x, tmp_path, batches)
    assert len(found) == 4 * len(batches)
    assert {name: share for name, share in found.items() if not share < TOLERANCE} == {}


def test_accelerated_models_and_open_sizes(tmp_path):
    image = keras.Input((None, None, 8))
    model = tfnorm.convert.accelerate(keras.Model(image, keras.layers.GroupNormalization(4)(image)))
    assert type(model.layers[-1]) is layers.GroupNormalization
    x = images(7)
    right = exporting.expected(model, x)
    assert exporting.difference(exporting.run_onnx(model, x, tmp_path), right) < TOLERANCE
    assert exporting.difference(exporting.run_frozen(model, x), right) < TOLERANCE


def test_large_means_stay_right():
    """A mean of 1e4 has steps of 1e-3 in float32, which is what the sums of other runtimes may round to."""
    model, _ = network("gn:4")
    x = images(7, mean=1e4)
    assert litert_difference(model, x, "tf.lite") < 5e-3


@pytest.mark.parametrize("case", ["bn", "gn:4", "ln", "ws"])
def test_graphs_in_training_mode(case):
    """With ``training=True``, as for dropout at inference, nothing compiled is left either."""
    model, x = network(case)
    run = tf.function(lambda x: model(x, training=True), input_signature=[tf.TensorSpec([None, 7, 7, 8])])
    assert compiled_calls(run.get_concrete_function().graph) == 0
    assert np.isfinite(run(x)).all()


def compiled_calls(graph):
    """Return how many functions ``graph`` calls that XLA compiles."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *itertools.chain(*(function.node_def for function in definition.library.function))]
    return sum("_XlaMustCompile" in node.attr and node.attr["_XlaMustCompile"].b for node in nodes)


def step_of(model, spec):
    """Return the graph of a training step on inputs of ``spec``."""

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x, training=True) ** 2)
        return tape.gradient(loss, model.trainable_variables)

    return tf.function(step, input_signature=[tf.TensorSpec(spec)])


@pytest.mark.parametrize(
    ("case", "side"),
    [
        pytest.param(case, side, marks=[] if (case, side) in (("gn:4", 2), ("ln", 4)) else matrix)
        for case in ("gn:4", "ln")
        for side in (2, 4, 7)
    ],
)
def test_gradients_leave_python_too(case, side):
    """A training step for a device is exported with its compiled passes, which sum over nothing empty."""
    layer, x = norm_layer(parse(case)), images(side)[:1]
    layer.build((None, *x.shape[1:]))

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x) ** 3)
        return tape.gradient(loss, x)

    run = tf.function(gradient, input_signature=[tf.TensorSpec([None, *x.shape[1:]])])
    assert compiled_calls(run.get_concrete_function().graph) > 0
    content = tf.lite.TFLiteConverter.from_concrete_functions([run.get_concrete_function()]).convert()
    for runtime in exporting.INTERPRETERS:
        found = exporting.run_litert(content, x, runtime)
        assert exporting.difference(found, run(x).numpy()) < TOLERANCE, runtime


@matrix
def test_int8_with_representative_images():
    model, x = network("gn:4", side=8)
    x = images(8, batch=32)
    content = exporting.litert_content(
        model,
        (1, 8, 8, 8),
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([image[None]] for image in x),
    )
    found = np.concatenate([exporting.run_litert(content, image[None]) for image in x])
    assert exporting.difference(found, exporting.expected(model, x)) < 0.05


# When passes are compiled.


def open_network(case):
    layer = OTHERS[case]() if case in OTHERS else norm_layer(parse(case))
    image = keras.Input((None, None, 8))
    return keras.Model(image, layers.Dropout(0.5)(layers.ReLU()(layer(image))))


@pytest.mark.parametrize(
    "case", ["bn", "ln:channel", "rms", *(pytest.param(case, marks=matrix) for case in ("gn:4", "in", "frn"))]
)
def test_training_compiles_for_sizes_that_are_known_and_no_others(case):
    known = step_of(open_network(case), [None, 6, 6, 8]).get_concrete_function()
    unknown = step_of(open_network(case), [4, None, None, 8]).get_concrete_function()
    assert compiled_calls(known.graph) > 0
    assert compiled_calls(unknown.graph) == 0


def test_frozen_norms_of_unknown_sizes_do_not_compile():
    model = open_network("bn")
    image = keras.Input((None, None, 3))
    frozen = keras.Model(image, model(keras.layers.Conv2D(8, 1)(image)))
    model.trainable = False
    assert compiled_calls(step_of(frozen, [4, None, None, 3]).get_concrete_function().graph) == 0


@pytest.mark.parametrize("case", ["gn:4", pytest.param("ln:channel", marks=matrix)])
def test_a_layer_compiles_for_few_shapes(case):
    from tfnorm.ops.tensorflow.compile import MOST_SHAPES

    model = open_network(case)
    sides = range(3, 3 + MOST_SHAPES + 3)
    compiled = [compiled_calls(step_of(model, [2, side, 5, 8]).get_concrete_function().graph) > 0 for side in sides]
    assert compiled == [True] * MOST_SHAPES + [False] * 3
    # Another layer counts anew: what a network computes does not depend on what the process did before.
    assert compiled_calls(step_of(open_network(case), [2, 20, 5, 8]).get_concrete_function().graph) > 0


def test_compiled_and_plain_training_agree():
    model = open_network("gn:4")
    weights = model.trainable_variables
    for weight in weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    seed = model.layers[-1].seed_generator.state
    gradients = []
    for spec in ([3, 7, 7, 8], [None, None, None, 8]):
        seed.assign([1, 0])  # the same elements are dropped
        gradients.append([np.asarray(g) for g in step_of(model, spec)(images(7))])
    for compiled, plain in zip(*gradients, strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-4 * abs(plain).max())


@matrix
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("case", CASES)
def test_every_norm_in_every_format_and_shape(case, side, tmp_path):
    model, x = network(case, side)
    found = exporting.differences(model, x, tmp_path)
    found["frozen"] = exporting.difference(exporting.run_frozen(model, x), exporting.expected(model, x))
    assert len(found) == 9
    assert {name: share for name, share in found.items() if not share < TOLERANCE} == {}


@matrix
@pytest.mark.parametrize("norm", NETWORKS)
@pytest.mark.parametrize("arch", SMALL)
def test_every_architecture_in_every_format(arch, norm, tmp_path):
    model = tfnorm.build(arch, norm=norm, seed=0, compile=False)
    x = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:])).astype("float32")
    found = exporting.differences(model, x, tmp_path)
    assert {name: share for name, share in found.items() if not share < TOLERANCE} == {}
