"""Acceleration: any Keras model with our layers in place of Keras's own, measured against the model itself."""

import keras
import numpy as np
import pytest
from keras import layers

from tfnorm import build
from tfnorm import layers as ours
from tfnorm.convert import accelerate, to_keras
from tfnorm.errors import TfnormError

KINDS = {
    getattr(layers, name): getattr(ours, name)
    for name in (
        "Activation",
        "BatchNormalization",
        "Conv2D",
        "Dropout",
        "GroupNormalization",
        "LayerNormalization",
        "ReLU",
        "RMSNormalization",
    )
}
NORMS = [kind for kind in KINDS if kind.__name__.endswith("Normalization")]
WIDE = {"mixed_bfloat16": 2e-2, "mixed_float16": 3e-3}


def array(x):
    return (x.numpy() if hasattr(x, "numpy") else np.asarray(x)).astype("float64")


def call(model, x, **options):
    return array(model(x, **options))


def all_layers(model):
    return list(model._flatten_layers(include_self=False))


def images(rng, *shape):
    return rng.normal(1, 2, size=shape).astype("float32")


def randomize(model, rng):
    for variable in model.weights:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def assert_close(actual, expected, tolerance=1e-5):
    """Check within ``tolerance`` of the largest number that is expected."""
    expected = array(expected)
    np.testing.assert_allclose(array(actual), expected, rtol=0, atol=tolerance * max(np.abs(expected).max(), 1e-30))


def assert_same_variables(variables, expected):
    for variable, same in zip(variables, expected, strict=True):
        assert variable is not same
        assert variable.name == same.name
        assert variable.dtype == same.dtype
        np.testing.assert_array_equal(array(variable), array(same))


def assert_accelerated(fast, model):
    """Check that each layer is the one that is promised, with the same name and state."""
    for layer, old in zip(all_layers(fast), all_layers(model), strict=True):
        assert layer.name == old.name
        assert layer.trainable == old.trainable
        assert layer.dtype_policy == old.dtype_policy
        kind = KINDS.get(type(old), type(old))
        stays = isinstance(old, layers.Conv2D) and old.compute_dtype == "float32"
        stays |= isinstance(old, layers.ReLU) and old.max_value is not None
        stays |= isinstance(old, layers.Activation) and old.activation is not keras.activations.relu
        assert type(layer) is (type(old) if stays else kind)
    assert type(fast) is type(model)
    assert fast.name == model.name
    assert_same_variables(fast.variables, model.variables)
    assert [w.path for w in fast.weights] == [w.path for w in model.weights]


def step(model, x, upstream):
    """Return the output in training, inside a graph as `fit` makes it, and the gradients of input and variables."""
    import tensorflow as tf

    @tf.function
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=True)
        return y, tape.gradient(y, [x, *(v.value for v in model.trainable_variables)], tf.cast(upstream, y.dtype))

    return run(tf.constant(x))


def one_layer(layer, shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, layer(inputs))


# Each class, with settings that ours has too.

SERVED = [
    (layers.BatchNormalization, {}, (4, 4, 6)),
    (layers.BatchNormalization, {"axis": 1, "momentum": 0.5, "epsilon": 1e-2}, (6, 4, 4)),
    (layers.BatchNormalization, {"center": False, "scale": False}, (6,)),
    (layers.BatchNormalization, {"synchronized": True}, (4, 4, 6)),
    (layers.BatchNormalization, {"gamma_regularizer": "l1", "beta_constraint": "max_norm"}, (None, None, 6)),
    (layers.LayerNormalization, {}, (4, 4, 6)),
    (layers.LayerNormalization, {"axis": (1, 2, 3)}, (4, 5, 6)),
    (layers.LayerNormalization, {"axis": [-1, -2], "center": False}, (4, 5, 6)),
    (layers.LayerNormalization, {"axis": 1, "scale": False}, (4, 5, 6)),
    (layers.LayerNormalization, {"center": False, "scale": False}, (None, None, 6)),
    (layers.GroupNormalization, {"groups": 3}, (4, 4, 6)),
    (layers.GroupNormalization, {"groups": -1}, (4, 4, 6)),
    (layers.GroupNormalization, {"groups": 2, "axis": 1}, (6, 4, 4)),
    (layers.GroupNormalization, {"groups": 2, "axis": -2, "scale": False}, (4, 6, 4)),
    (layers.RMSNormalization, {}, (4, 4, 6)),
    (layers.RMSNormalization, {"axis": (-2, -1)}, (4, 5, 6)),
    (layers.Dropout, {"rate": 0.5, "noise_shape": (None, 1, 1, 6)}, (4, 4, 6)),
    (layers.Dropout, {"rate": 0}, (4, 4, 6)),
    (layers.ReLU, {}, (4, 4, 6)),
    (layers.Activation, {"activation": "relu"}, (4, 4, 6)),
    *[(kind, {"dtype": "mixed_bfloat16"}, (4, 4, 32)) for kind in NORMS],
    (layers.Conv2D, {"filters": 4, "kernel_size": 3, "dtype": "mixed_bfloat16"}, (6, 6, 3)),
]


@pytest.mark.parametrize(("kind", "settings", "shape"), SERVED)
def test_a_layer(kind, settings, shape, seeded):
    model = randomize(one_layer(kind(name="one", **settings), shape), seeded)
    fast = accelerate(model)
    assert_accelerated(fast, model)
    assert type(fast.get_layer("one")) is KINDS[kind]
    tolerance = WIDE.get(settings.get("dtype"), 1e-5)
    x = images(seeded, 4, *(size or 5 for size in shape))
    assert_close(fast(x), model(x), tolerance)
    (y, gradients), (expected, stock) = (step(m, x, np.sin(call(model, x))) for m in (fast, model))
    assert_close(y, expected, tolerance)
    for gradient, same in zip(gradients, stock, strict=True):
        assert_close(gradient, same, 10 * tolerance)
    for weight, same in zip(fast.weights, model.weights, strict=True):  # moving statistics
        assert_close(weight, same, tolerance)
    assert to_keras(fast).get_config() == model.get_config()


def test_dropout(seeded):
    model = one_layer(layers.Dropout(0.25, seed=3), (32, 32, 8))
    x = np.ones((4, 32, 32, 8), "float32")
    model(x, training=True)
    fast, again = accelerate(model), accelerate(model)
    assert type(fast.layers[1]) is ours.Dropout
    assert fast.layers[1].seed == 3
    np.testing.assert_array_equal(array(fast.layers[1].seed_generator.state), [3, 1])
    np.testing.assert_array_equal(call(fast, x), x)
    out = call(fast, x, training=True)
    np.testing.assert_array_equal(call(again, x, training=True), out)
    assert set(np.unique(out)) == {0.0, np.float64(np.float32(1 / 0.75))}
    assert abs((out == 0).mean() - 0.25) < 0.01
    np.testing.assert_array_equal(array(to_keras(fast).layers[1].seed_generator.state), [3, 2])


# Layers that stay.


class OwnNorm(layers.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


class OwnBlock(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.BatchNormalization(name="inside")
        self.drop = layers.Dropout(0.5, seed=1, name="drop")

    def build(self, shape):
        self.norm.build(shape)

    def call(self, inputs, training=None):
        return self.drop(self.norm(inputs, training=training), training=training)


KEPT = [
    (OwnNorm, {}),
    (layers.BatchNormalization, {"epsilon": 0.0}),
    (layers.BatchNormalization, {"renorm": True}),
    (layers.LayerNormalization, {"epsilon": 0.0}),
    (layers.LayerNormalization, {"axis": [-1, 1]}),  # its weights are (channels, height)
    (layers.GroupNormalization, {"groups": 2, "epsilon": 0.0}),
    (layers.RMSNormalization, {"axis": 1}),  # its scale is applied to the channels
    (layers.ReLU, {"max_value": 6}),
    (layers.ReLU, {"negative_slope": 0.1}),
    (layers.ReLU, {"threshold": 0.1}),
    (layers.Activation, {"activation": "gelu"}),
    (layers.LeakyReLU, {}),
    (layers.SpatialDropout2D, {"rate": 0.5, "seed": 1}),
]


@pytest.mark.parametrize(("kind", "settings"), KEPT)
def test_a_layer_that_ours_does_not_serve_stays(kind, settings, seeded):
    model = randomize(one_layer(kind(**settings), (6, 6, 6)), seeded)
    fast = accelerate(model)
    assert type(fast.layers[1]) is kind
    assert fast.get_config() == model.get_config()
    assert_same_variables(fast.variables, model.variables)
    x = images(seeded, 4, 6, 6, 6)
    for training in (False, True):
        np.testing.assert_array_equal(call(fast, x, training=training), call(model, x, training=training))


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`")
def test_rms_scaling_stays(seeded):
    model = randomize(one_layer(layers.LayerNormalization(rms_scaling=True), (4, 6)), seeded)
    fast = accelerate(model)
    assert type(fast.layers[1]) is layers.LayerNormalization
    x = images(seeded, 4, 4, 6)
    np.testing.assert_array_equal(call(fast, x), call(model, x))


def test_axis_of_the_batch_stays(seeded):
    inputs = keras.Input(batch_shape=(4, 4))
    for layer in (layers.LayerNormalization(axis=0), layers.GroupNormalization(2, axis=0)):
        model = keras.Model(inputs, layer(inputs))
        assert type(accelerate(model).layers[1]) is type(layer)


def test_layers_inside_own_layers_stay(seeded):
    model = randomize(one_layer(OwnBlock(), (4, 4, 6)), seeded)
    x = images(seeded, 4, 4, 4, 6)
    model(x, training=True)
    fast = accelerate(model)
    assert type(fast.layers[1].norm) is layers.BatchNormalization
    assert_same_variables(fast.variables, model.variables)
    np.testing.assert_array_equal(call(fast, x, training=True), call(model, x, training=True))


def test_nothing_to_change_gives_a_copy(seeded):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, activation="relu"), layers.Dense(2)])
    copy = accelerate(model)
    assert copy is not model
    assert copy.get_config() == model.get_config()
    assert_same_variables(copy.weights, model.weights)
    copy.layers[0].kernel.assign_add(keras.ops.ones((6, 4)))
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(array(copy.layers[0].kernel), array(model.layers[0].kernel))
    fast = build(norm="bn", compile=False)
    assert accelerate(fast).get_config() == fast.get_config()


# Networks that others use. Without a top, so that no dropout differs.

APPLICATIONS = {
    "ResNet50": lambda **kwargs: keras.applications.ResNet50(**kwargs),
    "MobileNetV2": lambda **kwargs: keras.applications.MobileNetV2(alpha=0.35, **kwargs),
    "EfficientNetB0": lambda **kwargs: keras.applications.EfficientNetB0(**kwargs),
}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_applications(name, seeded):
    model = APPLICATIONS[name](weights=None, include_top=False, pooling="avg", input_shape=(48, 48, 3))
    fast = accelerate(model)
    assert_accelerated(fast, model)
    changed = [type(layer) for layer in fast.layers if type(layer).__module__.startswith("tfnorm.")]
    assert changed.count(ours.BatchNormalization) == sum(
        type(layer) is layers.BatchNormalization for layer in model.layers
    )
    assert (ours.Activation in changed) == (name == "ResNet50")
    x = seeded.integers(0, 256, (4, 48, 48, 3)).astype("float32")
    assert_close(fast(x), model(x))
    # Batch norm over few pixels of a random network amplifies rounding from layer to layer.
    assert_close(fast(x, training=True), model(x, training=True), 1e-3)
    for weight, same in zip(fast.weights, model.weights, strict=True):
        assert_close(array(weight) + 1, array(same) + 1, 1e-3)  # means of 0 are noise


# Training.


def network(rate=0.0):
    """Return a small network that has every class."""
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, name="conv1")(inputs)
    x = layers.ReLU(name="relu1")(layers.BatchNormalization(name="bn1")(x))
    y = layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv2")(x)
    y = layers.BatchNormalization(name="bn2")(y)
    x = layers.Activation("relu", name="relu2")(layers.Add(name="add")([x, y]))
    x = layers.Conv2D(16, 3, strides=2, name="conv3")(layers.Dropout(rate, seed=1, name="drop")(x))
    x = layers.Activation("relu", name="relu3")(layers.GroupNormalization(4, name="gn")(x))
    x = layers.Dense(32, name="dense1")(layers.LayerNormalization(name="ln")(layers.Flatten(name="flat")(x)))
    x = layers.Dense(4, name="dense2")(layers.RMSNormalization(name="rms")(x))
    return keras.Model(inputs, x, name="small")


def compiled(model, optimizer=None):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metrics = ["accuracy", keras.metrics.SparseCategoricalAccuracy(name="own")]
    model.compile(optimizer or keras.optimizers.SGD(0.05, momentum=0.9), loss, metrics=metrics)
    return model


def batch(rng):
    return images(rng, 8, 12, 12, 3), rng.integers(0, 4, 8)


def advanced(model, rng):
    """Give the optimizer of a compiled model a state, as if it had trained."""
    model.optimizer.build(model.trainable_variables)
    for variable in model.optimizer.variables:
        variable.assign(rng.uniform(1, 9, variable.shape).astype(variable.dtype))
    return model


def test_training_carries_on(seeded):
    model = compiled(network())
    model.train_on_batch(*batch(seeded))
    fast = accelerate(model)
    assert fast.get_compile_config() == model.get_compile_config()
    assert fast.optimizer is not model.optimizer
    assert_same_variables(fast.optimizer.variables, model.optimizer.variables)
    x, y = batch(seeded)
    result, expected = (m.train_on_batch(x, y, return_dict=True) for m in (fast, model))
    assert result == pytest.approx(expected, rel=1e-5)
    for variables, same in ((fast.weights, model.weights), (fast.optimizer.variables, model.optimizer.variables)):
        for variable, other in zip(variables, same, strict=True):
            np.testing.assert_allclose(array(variable), array(other), rtol=1e-4, atol=1e-5)


def test_state_of_another_optimizer(seeded):
    rate = keras.optimizers.schedules.ExponentialDecay(1e-3, 2, 0.5)
    optimizer = keras.optimizers.Adam(rate, use_ema=True, gradient_accumulation_steps=2)
    model = advanced(compiled(network(), optimizer), seeded)
    fast = accelerate(model)
    assert fast.get_compile_config() == model.get_compile_config()
    assert_same_variables(fast.optimizer.variables, model.optimizer.variables)


def test_a_compiled_model_with_functions_of_its_own(seeded):
    def squares(y, logits):
        return keras.ops.mean(keras.ops.square(logits - keras.ops.one_hot(y, 4)))

    model = network()
    model.compile("adam", squares, metrics=[lambda y, logits: keras.ops.mean(logits)], steps_per_execution=2)
    fast = accelerate(model)
    assert fast.loss is squares
    assert not fast.optimizer.built
    assert fast.steps_per_execution == 2
    x, y = batch(seeded)
    np.testing.assert_allclose(fast.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-5)


def test_frozen_after_compiling(seeded):
    model = advanced(compiled(network()), seeded)
    model.get_layer("conv1").trainable = False
    fast = accelerate(model)
    assert_same_variables(fast.optimizer.variables, model.optimizer.variables)


# What is trainable.


def test_frozen_layers(seeded):
    base = network()
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3), layers.BatchNormalization(name="head_bn")], name="head"
    )
    model = keras.Model(base.input, inner(base.output))
    base.get_layer("bn2").trainable = False
    base.get_layer("gn").trainable = False
    base.get_layer("conv2").kernel.trainable = False
    inner.trainable = False
    inner.layers[0].trainable = True
    fast = accelerate(model)
    assert_accelerated(fast, model)
    assert not fast.get_layer("head").trainable
    assert [v.path for v in fast.trainable_variables] == [v.path for v in model.trainable_variables]
    assert [v.path for v in fast.non_trainable_variables] == [v.path for v in model.non_trainable_variables]
    x, _ = batch(seeded)
    assert_close(fast(x, training=True), model(x, training=True))
    for weight, same in zip(fast.weights, model.weights, strict=True):
        np.testing.assert_allclose(array(weight), array(same), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(array(fast.get_layer("bn2").moving_mean), np.zeros(8))
    assert np.all(array(fast.get_layer("bn1").moving_mean) != 0)


def test_fine_tuning(seeded):
    base = network()
    base.trainable = False
    inputs = keras.Input((12, 12, 3))
    model = keras.Model(inputs, layers.Dense(2, name="head")(base(inputs, training=False)))
    fast = accelerate(model)
    assert_accelerated(fast, model)
    assert [v.path for v in fast.trainable_variables] == ["head/kernel", "head/bias"]
    x = images(seeded, 4, 12, 12, 3)
    assert_close(fast(x, training=True), model(x, training=True))
    fast.get_layer("small").trainable = True
    assert len(fast.trainable_variables) == 2 + len(network().trainable_variables)


def test_a_frozen_model():
    model = network()
    model.trainable = False
    assert not accelerate(model).trainable
    assert not accelerate(model).trainable_variables


# Other shapes of model.


@pytest.mark.parametrize("start", ["input", "call"])
def test_sequential(start, seeded):
    parts = [layers.Conv2D(8, 3), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.5), layers.Dense(2)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *parts] if start == "input" else parts, name="chain")
    x = images(seeded, 2, 8, 8, 3)
    expected = call(model, x)
    fast = accelerate(model)
    assert_accelerated(fast, model)
    assert_close(fast(x), expected)
    assert to_keras(fast).get_config() == model.get_config()


def test_nested_models_and_shared_layers(seeded):
    inside = keras.Input((8, 8, 8), name="inside")
    shared = layers.BatchNormalization(name="shared")
    block = keras.Model(inside, layers.ReLU(name="relu")(shared(inside)), name="block")
    tail = keras.Sequential([keras.Input((8, 8, 8)), layers.GroupNormalization(4), layers.Dense(2)], name="tail")
    inputs = keras.Input((8, 8, 3), name="images")
    x = layers.Conv2D(8, 3, padding="same", name="conv")(inputs)
    x = shared(block(block(x)) + 1.0)
    model = randomize(keras.Model({"images": inputs}, [tail(x), x], name="all"), seeded)
    fast = accelerate(model)
    assert_accelerated(fast, model)
    assert fast.get_layer("shared") is fast.get_layer("block").get_layer("shared")
    assert [op.name for op in fast.operations] == [op.name for op in model.operations]
    pictures = {"images": images(seeded, 4, 8, 8, 3)}
    for out, same in zip(fast(pictures), model(pictures), strict=True):
        assert_close(out, same)
    for out, same in zip(fast(pictures, training=True), model(pictures, training=True), strict=True):
        assert_close(out, same)
    for weight, same in zip(fast.weights, model.weights, strict=True):  # a shared norm counts each use
        assert_close(weight, same)
    assert to_keras(fast).get_config() == model.get_config()


def test_part_of_a_model(seeded):
    whole = randomize(network(), seeded)
    part = keras.Model(whole.get_layer("relu1").output, whole.get_layer("relu3").output)
    fast = accelerate(part)
    assert_accelerated(fast, part)
    x = images(seeded, 2, 10, 10, 8)
    assert_close(fast(x), part(x))


def test_one_model_for_every_frame(seeded):
    frame = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(8, 3), layers.BatchNormalization(), layers.ReLU()])
    inputs = keras.Input((5, 8, 8, 3))
    x = layers.TimeDistributed(layers.LayerNormalization(), name="each")(layers.TimeDistributed(frame)(inputs))
    model = randomize(keras.Model(inputs, x), seeded)
    fast = accelerate(model)
    assert_accelerated(fast, model)
    assert type(fast.get_layer("each").layer) is ours.LayerNormalization
    x = images(seeded, 2, 5, 8, 8, 3)
    for training in (False, True):
        assert_close(fast(x, training=training), model(x, training=training))
    assert to_keras(fast).get_config() == model.get_config()


def test_masks(seeded):
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 6, mask_zero=True)(inputs)
    x = layers.Dropout(0.5)(layers.LayerNormalization()(layers.BatchNormalization()(x)))
    model = keras.Model(inputs, layers.LSTM(3)(x))
    fast = accelerate(model)
    assert_accelerated(fast, model)
    words = seeded.integers(0, 7, (4, 5))
    assert_close(fast(words), model(words))
    without = [keras.Model(m.input, m.layers[2].output) for m in (fast, model)]
    assert_close(*(m(words, training=True) for m in without))
    assert_close(fast.layers[2].moving_variance, model.layers[2].moving_variance)


def test_optional_input(seeded):
    class Sum(layers.Layer):
        def call(self, x, y=None):
            return x if y is None else x + y

    inputs = [keras.Input((6,), name="a"), keras.Input((6,), name="b", optional=True)]
    model = keras.Model(inputs, layers.BatchNormalization()(Sum()(*inputs)))
    fast = accelerate(model)
    x = images(seeded, 4, 6)
    assert_close(fast([x, None]), model([x, None]))


def test_a_class_with_its_own_training_step(seeded):
    class Own(keras.Model):
        def train_step(self, data):
            return {"loss": keras.ops.zeros(()) + 7.0}

    inputs = keras.Input((6,))
    model = Own(inputs, layers.BatchNormalization()(inputs))
    model.compile("sgd", "mse")
    fast = accelerate(model)
    assert_accelerated(fast, model)
    assert fast.train_on_batch(np.ones((2, 6)), np.ones((2, 6)), return_dict=True)["loss"] == 7


# State that is no weight, and layers made with functions.


def test_statistics_of_normalization_layers(seeded):
    layer = layers.Normalization()
    layer.adapt(images(seeded, 50, 6))
    model = one_layer(layer, (6,))
    x = images(seeded, 4, 6)
    np.testing.assert_array_equal(call(accelerate(model), x), call(model, x))


def test_vocabularies():
    layer = layers.StringLookup()
    layer.adapt(["a", "b", "c", "a"])
    inputs = keras.Input((1,), dtype="string")
    model = keras.Model(inputs, layer(inputs))
    words = keras.ops.convert_to_tensor([["c"], ["a"], ["x"]], dtype="string")
    np.testing.assert_array_equal(call(accelerate(model), words), call(model, words))


def test_functions_of_ones_own(seeded):
    factor = 3.0

    def triple(x):
        return factor * x

    inputs = keras.Input((6,))
    x = layers.Lambda(triple)(layers.Lambda(lambda x: np.float32(factor) * x)(inputs))
    x = layers.Dense(6, activation=triple)(layers.Activation(triple)(x))
    model = keras.Model(inputs, layers.BatchNormalization(beta_regularizer=triple)(x))
    fast = accelerate(model)
    assert_accelerated(fast, model)
    x = images(seeded, 4, 6)
    assert_close(fast(x), model(x))


def test_seeds_of_all_layers(seeded):
    inputs = keras.Input((6, 6))
    x = layers.MultiHeadAttention(2, 3, dropout=0.5)(layers.GaussianNoise(1.0)(inputs), inputs)
    model = keras.Model(inputs, layers.LSTM(3, dropout=0.5)(x))
    x = images(seeded, 4, 6, 6)
    model(x, training=True)
    np.testing.assert_array_equal(call(accelerate(model), x, training=True), call(model, x, training=True))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_precision(policy, seeded):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = compiled(network())
    finally:
        keras.config.set_dtype_policy(before)
    fast = accelerate(advanced(model, seeded))
    assert_accelerated(fast, model)
    assert_same_variables(fast.optimizer.variables, model.optimizer.variables)
    assert type(fast.optimizer) is type(model.optimizer)
    x, _ = batch(seeded)
    assert_close(fast(x), model(x), 10 * WIDE[policy])


# Files, and the model that was given.


def test_saved_and_loaded(tmp_path, seeded):
    fast = accelerate(randomize(compiled(network(rate=0.5)), seeded))
    x, _ = batch(seeded)
    fast.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in fast.layers]
    np.testing.assert_array_equal(call(loaded, x), call(fast, x))
    assert_same_variables(loaded.weights, fast.weights)  # Keras's files have no random seeds
    # The weights alone open in the stock model as well.
    fast.save_weights(tmp_path / "fast.weights.h5")
    stock = network(rate=0.5)
    stock.load_weights(tmp_path / "fast.weights.h5")
    assert_close(fast(x), stock(x))


def test_the_inverse(seeded):
    model = advanced(compiled(network(rate=0.5)), seeded)
    stock = to_keras(accelerate(model))
    assert [type(layer) for layer in stock.layers] == [type(layer) for layer in model.layers]
    assert stock.get_config() == model.get_config()
    assert stock.get_compile_config() == model.get_compile_config()
    assert_same_variables(stock.variables, model.variables)
    assert_same_variables(stock.optimizer.variables, model.optimizer.variables)
    x, _ = batch(seeded)
    for training in (False, True):
        np.testing.assert_array_equal(call(stock, x, training=training), call(model, x, training=training))


def test_the_model_is_not_changed(seeded):
    model = advanced(compiled(network(rate=0.5)), seeded)
    x, _ = batch(seeded)
    config, weights = model.get_config(), model.get_weights()
    state = [array(variable) for variable in model.optimizer.variables]
    fast = accelerate(model)
    fast(x, training=True)
    for variable in fast.variables + fast.optimizer.variables:
        variable.assign(keras.ops.zeros_like(variable))
    assert model.get_config() == config
    for variable, same in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(variable, same)
    for variable, same in zip(model.optimizer.variables, state, strict=True):
        np.testing.assert_array_equal(array(variable), same)


# What is refused.


def test_other_models_are_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    class Wide(keras.Model):
        def __init__(self, width):
            inputs = keras.Input((6,))
            super().__init__(inputs, layers.Dense(width)(inputs), name="wide")

    class Chain(keras.Sequential):
        def __init__(self):
            super().__init__([keras.Input((6,)), layers.Dense(2)], name="chain")

    for model, words in ((Own(name="mine"), "Own 'mine'"), (Wide(3), "Wide 'wide'"), (Chain(), "Chain 'chain'")):
        with pytest.raises(TfnormError) as caught:
            accelerate(model)
        assert str(caught.value) == (
            f"Only functional and sequential models can be converted. Received: {words}. "
            "Build it with keras.Input and keras.Model(inputs, outputs)."
        )


def test_a_model_without_weights_yet_is_refused():
    with pytest.raises(TfnormError) as caught:
        accelerate(keras.Sequential([layers.BatchNormalization()], name="mine"))
    assert str(caught.value) == (
        "The model 'mine' has no weights yet. Build it with keras.Input, or call it on a batch first."
    )
