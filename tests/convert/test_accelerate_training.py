"""Acceleration: training carries on where it was, and what is frozen stays frozen."""

import keras
import numpy as np
import pytest
from accelerating import advanced, assert_accelerated, assert_close, assert_same_variables, batch, compiled, network
from backends import SEVERAL_STEPS
from keras import layers
from tiny import array, images

from tfnorm.convert import accelerate


def test_training_carries_on(seeded, not_compiled):
    model = compiled(network())
    model.train_on_batch(*batch(seeded))
    fast = accelerate(model)
    assert fast.get_compile_config() == model.get_compile_config()
    assert fast.optimizer is not model.optimizer
    assert_same_variables(fast.optimizer.variables, model.optimizer.variables)
    x, y = batch(seeded)
    model.reset_metrics()  # not every Keras does
    result, expected = (
        {name: float(value) for name, value in m.train_on_batch(x, y, return_dict=True).items()} for m in (fast, model)
    )
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
    model.compile(
        "adam", squares, metrics=[lambda y, logits: keras.ops.mean(logits)], steps_per_execution=SEVERAL_STEPS
    )
    fast = accelerate(model)
    assert fast.loss is squares
    assert not fast.optimizer.built
    assert fast.steps_per_execution == SEVERAL_STEPS
    x, y = batch(seeded)
    np.testing.assert_allclose(fast.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-5)


def test_frozen_after_compiling(seeded):
    model = advanced(compiled(network()), seeded)
    model.get_layer("conv1").trainable = False
    fast = accelerate(model)
    assert_same_variables(fast.optimizer.variables, model.optimizer.variables)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("by", ["names", "variables"])
def test_variables_excluded_from_weight_decay(by, built, scaled):
    model = network()
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.5)
    excluded = [v for v in model.trainable_variables if v.name in ("gamma", "beta", "bias")]
    if by == "names":
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    else:
        optimizer.exclude_from_weight_decay(var_list=excluded)
    compiled(model, keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer)
    if built:
        model.optimizer.build(model.trainable_variables)
    fast = accelerate(model)
    for m in (model, fast):
        for variable in m.trainable_variables:
            variable.assign(np.ones(variable.shape))
        m.optimizer.apply([keras.ops.zeros(v.shape) for v in m.trainable_variables], m.trainable_variables)
    assert {id(v) for v in excluded} == {id(v) for v in model.trainable_variables if array(v).min() == 1}
    assert len(excluded) < len(model.trainable_variables)
    for variable, same in zip(fast.trainable_variables, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(array(variable), array(same))


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
