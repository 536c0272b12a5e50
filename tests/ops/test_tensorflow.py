"""The fast TensorFlow norms against the generic ones in float64."""

import inspect

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if keras.backend.backend() != "tensorflow":
    pytest.skip("The kernels are TensorFlow's.", allow_module_level=True)

import tensorflow as tf
from tensorflow.python.framework import config

from tfnorm.ops import generic
from tfnorm.ops.tensorflow import compile as _tf_compile
from tfnorm.ops.tensorflow import norms as fast

EPSILON = 1e-3
TOLERANCE = {"float64": 1e-9, "float32": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}
# Input sizes are few, since each is compiled once.
SHAPES = [(3, 8), (2, 9, 8), (3, 4, 5, 8), (2, 17, 3, 8), (2, 3, 2, 3, 8)]
NORMS = ["bn", "bn inference", "ln", "ln channel", "gn1", "gn2", "in", "rms", "rms channel", "frn"]


def mostly(*others):
    """Return a parameter for every norm, ``others`` for the matrix: each goes the way of one that stays."""
    return [pytest.param(norm, marks=pytest.mark.matrix if norm in others else []) for norm in NORMS]


def function(module, norm, rank, axis=None):
    """Return the norm as a function of (x, gamma, beta), output only."""
    axis = rank - 1 if axis is None else axis
    every = list(range(1, rank))
    one = {"axis": axis, "epsilon": EPSILON}
    if norm == "bn inference":

        def inference(x, gamma, beta):
            mean, variance = keras.ops.linspace(-1.0, 1.0, 8), keras.ops.linspace(0.5, 2.0, 8)
            return module.batch_norm_inference(x, gamma, beta, mean, variance, **one)

        return inference
    return {
        "bn": lambda x, gamma, beta: module.batch_norm(x, gamma, beta, **one)[0],
        "ln": lambda x, gamma, beta: module.layer_norm(x, gamma, beta, axes=every, epsilon=EPSILON),
        "ln channel": lambda x, gamma, beta: module.layer_norm(x, gamma, beta, axes=[axis], epsilon=EPSILON),
        "gn1": lambda x, gamma, beta: module.group_norm(x, gamma, beta, groups=1, **one),
        "gn2": lambda x, gamma, beta: module.group_norm(x, gamma, beta, groups=2, **one),
        "in": lambda x, gamma, beta: module.group_norm(x, gamma, beta, groups=8, **one),
        "rms": lambda x, gamma, beta: module.rms_norm(x, gamma, axes=every, epsilon=EPSILON),
        "rms channel": lambda x, gamma, beta: module.rms_norm(x, gamma, axes=[axis], epsilon=EPSILON),
        "frn": lambda x, gamma, beta: module.filter_response_norm(x, gamma, beta, **one),
    }[norm]


def draw(shape, norm, seed=0, offset=0.0, dtype="float32"):
    """Return x, its output's gradient, gamma and beta, exact in ``dtype`` and as float64."""
    rng = np.random.default_rng(seed)
    weights = shape[1:] if norm in ("ln", "rms") else (8,)
    x, upstream = (
        tf.cast(tf.cast(a, dtype), "float64") for a in (rng.normal(size=shape) + offset, rng.normal(size=shape))
    )
    return x, upstream, rng.normal(size=weights), rng.normal(size=weights)


def run(call, dtype, x, upstream, gamma, beta):
    """Return output and the gradients that exist, as float64 arrays."""
    wide = "float64" if dtype == "float64" else "float32"
    x, upstream = tf.cast(x, dtype), tf.cast(upstream, dtype)
    sources = [x, *(None if w is None else tf.cast(w, wide) for w in (gamma, beta))]
    watched = [source for source in sources if source is not None]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        y = call(*sources)
    assert y.dtype == dtype
    assert y.shape == x.shape
    gradients = tape.gradient(y, watched, upstream)
    return [np.asarray(tf.cast(a, "float64")) for a in (y, *gradients) if a is not None]


def assert_close(results, expected, tolerance):
    assert len(results) == len(expected)
    for result, right in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, right, rtol=tolerance, atol=tolerance * max(1.0, np.abs(right).max()))


def test_the_functions_are_those_of_generic():
    functions = {
        name for name, value in inspect.getmembers(generic, inspect.isfunction) if value.__module__ == generic.__name__
    }
    assert set(fast.__all__) == {name for name in functions if not name.startswith("_")} - {"moments"}
    for name in fast.__all__:
        assert inspect.signature(getattr(fast, name)).parameters.keys() == (
            inspect.signature(getattr(generic, name)).parameters.keys()
        )


def check_values_and_gradients(norm, shape, dtype, with_gamma, with_beta, seed):
    x, upstream, gamma, beta = draw(shape, norm, seed, dtype=dtype)
    weights = (gamma if with_gamma or norm.startswith("rms") else None), (beta if with_beta else None)
    right = run(function(generic, norm, len(shape)), "float64", x, upstream, *weights)
    # Over a single element a group, gradients of x vanish but for rounding by 1 / sqrt(epsilon).
    assert_close(run(function(fast, norm, len(shape)), dtype, x, upstream, *weights), right, TOLERANCE[dtype])


# Every norm, number of axes, number format, and with and without each weight.
@pytest.mark.parametrize(
    ("norm", "shape", "dtype", "with_gamma", "with_beta"),
    [
        ("bn", SHAPES[0], "float32", True, True),
        ("bn", SHAPES[2], "float16", False, True),
        ("bn inference", SHAPES[1], "bfloat16", True, False),
        ("ln", SHAPES[1], "float32", False, False),
        ("ln channel", SHAPES[3], "bfloat16", True, True),
        ("gn1", SHAPES[0], "float16", True, False),
        ("gn2", SHAPES[4], "float32", True, True),
        ("in", SHAPES[3], "float16", False, False),
        ("rms", SHAPES[2], "bfloat16", True, True),
        ("rms channel", SHAPES[4], "float16", True, False),
        ("frn", SHAPES[1], "float32", False, True),
    ],
)
def test_values_and_gradients(norm, shape, dtype, with_gamma, with_beta):
    check_values_and_gradients(norm, shape, dtype, with_gamma, with_beta, 1)


@pytest.mark.matrix
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(
    norm=st.sampled_from(NORMS),
    shape=st.sampled_from(SHAPES),
    dtype=st.sampled_from(["float32", "bfloat16", "float16"]),
    with_gamma=st.booleans(),
    with_beta=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_values_and_gradients_of_all_combinations(norm, shape, dtype, with_gamma, with_beta, seed):
    shape = SHAPES[1] if norm == "frn" and len(shape) == 2 else shape
    check_values_and_gradients(norm, shape, dtype, with_gamma, with_beta, seed)


@pytest.mark.parametrize("norm", mostly("ln channel", "gn1", "gn2", "in", "rms", "rms channel"))
def test_a_mean_of_ten_thousand(norm):
    shape = (4, 16, 16, 8)
    x, upstream, gamma, beta = draw(shape, norm, offset=1e4)
    if norm == "bn inference":
        x = x - 1e4
    right = run(function(generic, norm, 4), "float64", x, upstream, gamma, beta)
    assert_close(run(function(fast, norm, 4), "float32", x, upstream, gamma, beta), right, 1e-2)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("norm", ["bn", "bn inference", "ln channel", "gn2", "in", "frn", "rms channel"])
def test_other_axes(norm, axis):
    x, upstream, gamma, beta = draw((3, 8, 8, 4), norm)
    right = run(function(generic, norm, 4, axis), "float64", x, upstream, gamma, beta)
    assert_close(run(function(fast, norm, 4, axis), "float32", x, upstream, gamma, beta), right, 1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_float64_stays_float64(norm):
    x, upstream, gamma, beta = draw((3, 4, 5, 8), norm)
    right = run(function(generic, norm, 4), "float64", x, upstream, gamma, beta)
    assert_close(run(function(fast, norm, 4), "float64", x, upstream, gamma, beta), right, 1e-12)


@pytest.mark.parametrize(
    ("norm", "compiled"),
    [
        pytest.param(norm, compiled, marks=[] if norm in kept else pytest.mark.matrix, id=f"{norm}-{way}")
        for way, compiled, kept in (
            ("graph", False, ("bn inference", "gn2", "rms channel")),
            ("xla", True, ("ln", "frn")),
        )
        for norm in NORMS
    ],
)
def test_unknown_sizes_in_graphs(norm, compiled):
    shape = (3, 4, 5, 8)
    x, upstream, gamma, beta = (tf.cast(a, "float32") for a in draw(shape, norm))
    call = function(fast, norm, 4)
    spec = [None, *shape[1:]] if norm in ("ln", "rms") else [None, None, None, 8]
    signature = [tf.TensorSpec(spec), tf.TensorSpec(spec), *(tf.TensorSpec(w.shape) for w in (gamma, beta))]

    @tf.function(input_signature=signature, jit_compile=compiled)
    def both(x, upstream, gamma, beta):
        with tf.GradientTape() as tape:
            tape.watch([x, gamma, beta])
            y = call(x, gamma, beta)
        assert y.shape.as_list() == spec
        return y, tape.gradient(y, [x, gamma, beta], upstream, unconnected_gradients="zero")

    y, gradients = both(x, upstream, gamma, beta)
    right = run(function(generic, norm, 4), "float64", x, upstream, gamma, beta)
    assert_close([y, *gradients][: len(right)], right, 1e-5)


def test_batch_moments():
    x, _, gamma, beta = draw((3, 4, 5, 8), "bn", offset=5.0)
    wide = np.asarray(x)
    for dtype in ("float32", "float64"):
        _, mean, variance = fast.batch_norm(tf.cast(x, dtype), gamma, beta, axis=3, epsilon=EPSILON)
        assert mean.shape == variance.shape == (8,)
        assert mean.dtype == variance.dtype == dtype
        np.testing.assert_allclose(mean, wide.mean((0, 1, 2)), rtol=1e-6)
        np.testing.assert_allclose(variance, wide.var((0, 1, 2)), rtol=1e-5)


def test_gradients_of_batch_moments():
    x, upstream, *_ = draw((3, 4, 5, 8), "bn", offset=5.0)

    def gradients(module, dtype):
        source, weight = tf.cast(x, dtype), tf.cast(upstream, dtype)
        with tf.GradientTape() as outer:
            outer.watch(source)
            with tf.GradientTape() as tape:
                tape.watch(source)
                y, mean, variance = module.batch_norm(source, None, None, axis=3, epsilon=EPSILON)
                total = tf.reduce_sum(y * weight * tf.exp(mean - 5) * variance)
            first = tape.gradient(total, source)
        return [first, outer.gradient(first, source, weight)]

    assert_close(gradients(fast, "float32"), gradients(generic, "float64"), 1e-4)


@pytest.mark.parametrize(
    ("norm", "compiled"),
    [
        pytest.param(norm, compiled, marks=[] if norm in kept else pytest.mark.matrix)
        for compiled, kept in (
            (False, ("ln",)),
            (True, ("bn", "bn inference", "rms", "frn")),
        )
        for norm in NORMS
    ],
)
def test_forward_mode(norm, compiled):
    """The derivative along a direction is that of the generic function, for which TensorFlow needs no gradient of ours.

    With the moments of a batch, which a layer asks for too.
    """
    values = draw((2, 3, 3, 8), norm)

    def along(module, dtype):
        x, tangent, gamma, beta = (tf.cast(a, dtype) for a in values)

        def directional(x, tangent, gamma, beta):
            with tf.autodiff.ForwardAccumulator([x, gamma], [tangent, 2 * gamma]) as accumulator:
                y = function(module, norm, 4)(x, gamma, beta)
                y = tf.nn.relu(y) * y
            return accumulator.jvp(y)

        run = tf.function(directional, autograph=False) if compiled else directional
        return [run(x, tangent, gamma, beta)]

    assert_close(along(fast, "float32"), along(generic, "float64"), 1e-4)


def test_inference_gradients_of_the_statistics():
    x, upstream, gamma, beta = draw((3, 4, 5, 8), "bn")
    mean, variance = np.linspace(-1, 1, 8), np.linspace(0.5, 2, 8)

    def gradients(module, dtype):
        sources = [tf.cast(a, dtype) for a in (x, gamma, beta, mean, variance)]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            y = module.batch_norm_inference(*sources, axis=3, epsilon=EPSILON)
        return tape.gradient(y, sources, tf.cast(upstream, dtype))

    assert_close(gradients(fast, "float32"), gradients(generic, "float64"), 1e-5)


@pytest.mark.parametrize("norm", mostly("ln", "gn1", "gn2", "in", "rms", "rms channel", "bn inference"))
def test_second_order(norm):
    values = draw((2, 3, 3, 8), norm)

    def penalty_gradient(module, dtype):
        x, upstream, gamma, beta = (tf.cast(a, dtype) for a in values)
        call = function(module, norm, 4)
        with tf.GradientTape() as outer:
            outer.watch([x, gamma])
            with tf.GradientTape() as inner:
                inner.watch([x, gamma])
                loss = tf.reduce_sum(upstream * tf.square(call(x, gamma, beta)))
            penalty = sum(tf.reduce_sum(tf.square(g)) for g in inner.gradient(loss, [x, gamma]))
        return outer.gradient(penalty, [x, gamma])

    assert_close(penalty_gradient(fast, "float32"), penalty_gradient(generic, "float64"), 1e-4)


@pytest.mark.parametrize("value", [1.0, 6e4])
@pytest.mark.parametrize("norm", mostly("ln channel", "gn2", "in", "rms channel"))
def test_constant_float16_is_finite(norm, value):
    x = np.full((3, 4, 5, 8), value)
    _, upstream, gamma, beta = draw(x.shape, norm, dtype="float16")
    results = run(function(fast, norm, 4), "float16", x, upstream, gamma, beta)
    assert not any(np.isnan(result).any() for result in results)
    if norm != "bn inference":  # given statistics do not bring large inputs into range
        assert np.isfinite(results[0]).all()
    if norm in ("bn", "gn1", "in"):
        np.testing.assert_allclose(results[0], np.broadcast_to(beta, x.shape), atol=2e-3)


def test_float16_near_overflow():
    x, upstream, gamma, beta = draw((3, 4, 5, 8), "gn2", dtype="float16")
    x = tf.cast(tf.clip_by_value(x * 2e4, -6e4, 6e4), "float16")
    for norm in ("bn", "gn2", "in", "ln channel", "rms channel", "frn"):
        right = run(function(generic, norm, 4), "float64", x, upstream, gamma, beta)
        assert_close(run(function(fast, norm, 4), "float16", x, upstream, gamma, beta), right, 4e-3)


def test_learned_epsilon():
    x, upstream, gamma, beta = draw((3, 4, 5, 8), "frn")

    def gradients(module, dtype):
        sources = [tf.cast(a, dtype) for a in (x, gamma, beta, 0.3)]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            y = module.filter_response_norm(*sources[:3], axis=3, epsilon=sources[3])
        return tape.gradient(y, sources, tf.cast(upstream, dtype))

    assert_close(gradients(fast, "float32"), gradients(generic, "float64"), 1e-5)


@pytest.mark.parametrize("shape", [pytest.param((3, 3, 4, 8), marks=pytest.mark.matrix), (1, 1, 8, 3), (5, 4, 6)])
def test_standardized_kernels(shape):
    rng = np.random.default_rng(0)
    kernel, upstream = rng.normal(size=shape), rng.normal(size=shape)

    def both(module, dtype):
        x = tf.cast(kernel, dtype)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = module.standardize_kernel(x, epsilon=1e-5)
        return y, tape.gradient(y, x, tf.cast(upstream, dtype))

    assert_close(both(fast, "float32"), both(generic, "float64"), 1e-5)


def test_without_xla(monkeypatch):
    monkeypatch.setattr(fast, "compiles", lambda: False)
    monkeypatch.setattr(_tf_compile.tf, "function", None)
    for norm in NORMS:
        x, upstream, gamma, beta = draw((3, 4, 5, 8), norm)
        right = run(function(generic, norm, 4), "float32", x, upstream, gamma, beta)
        assert_close(run(function(fast, norm, 4), "float32", x, upstream, gamma, beta), right, 0)


def test_results_repeat_to_the_bit():
    deterministic = config.is_op_determinism_enabled()
    keras.utils.set_random_seed(0)
    config.enable_op_determinism()
    rng = np.random.default_rng(0)
    images = rng.normal(size=(16, 12, 12, 16))
    try:
        for dtype, norm in (
            ("float32", lambda x, g, b: fast.batch_norm(x, g, b, axis=3, epsilon=1e-3)[0]),
            ("bfloat16", lambda x, g, b: fast.group_norm(x, g, b, groups=4, axis=3, epsilon=1e-3)),
            ("float32", lambda x, g, b: fast.layer_norm(x, g, b, axes=[3], epsilon=1e-3)),
            ("float32", lambda x, g, b: fast.batch_norm_inference(x, g, b, g, g, axis=3, epsilon=1e-3)),
        ):
            seen = set()
            x = tf.cast(images, dtype)
            for _ in range(3):
                g = b = tf.ones([16])
                with tf.GradientTape() as tape:
                    tape.watch([x, g])
                    y = norm(x, g, b)
                seen.add(b"".join(tf.io.serialize_tensor(a).numpy() for a in (y, *tape.gradient(y, [x, g], x))))
            assert len(seen) == 1
    finally:
        if not deterministic:
            config.disable_op_determinism()
