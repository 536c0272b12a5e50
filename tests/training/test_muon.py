"""Muon on convolution kernels, and smoothed targets."""

import keras
import numpy as np
import pytest
from networks import TINY

import tfnorm
from tfnorm.training.recipe.losses import SmoothedCrossentropy, make_loss
from tfnorm.training.recipe.muon import Muon
from tfnorm.training.recipe.recipes import Recipe


def stepped(variable, gradient, **settings):
    """Return what one step of Muon takes from a variable."""
    optimizer = Muon(0.01, weight_decay=None, adam_weight_decay=None, **settings)
    before = keras.ops.convert_to_numpy(variable)
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return before - keras.ops.convert_to_numpy(variable)


@pytest.mark.parametrize("shape", [(3, 3, 8, 16), (1, 1, 16, 8), (3, 3, 1, 32), (40, 10)])
def test_the_step_of_a_kernel_is_an_orthogonal_matrix(shape):
    rng = np.random.default_rng(0)
    step = stepped(keras.Variable(np.zeros(shape, "float32")), rng.normal(size=shape).astype("float32"))
    matrix = step.reshape(-1, shape[-1]) / (0.01 * 0.2 * np.sqrt(max(np.prod(shape[:-1]), shape[-1])))
    # Five steps of its polynomial leave the singular values of a full matrix between 0.7 and 1.2.
    singular = np.linalg.svd(matrix, compute_uv=False)
    assert 0.6 < singular.min() and singular.max() < 1.25


def orthogonalized(matrix):
    """Return the matrix after five steps of Muon's polynomial (https://kellerjordan.github.io/posts/muon)."""
    matrix = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        square = matrix.T @ matrix
        matrix = matrix @ (3.4445 * np.eye(len(square)) - 4.7750 * square + 2.0315 * square @ square)
    return matrix


@pytest.mark.parametrize("nesterov", [True, False])
def test_several_steps_are_those_of_the_definition(nesterov):
    rng = np.random.default_rng(5)
    kernel, matrix, momentum = keras.Variable(np.zeros((3, 3, 4, 6), "float32")), np.zeros((36, 6)), np.zeros((36, 6))
    optimizer = Muon(0.01, weight_decay=None, adam_weight_decay=None, nesterov=nesterov)
    for _ in range(4):
        gradient = rng.normal(size=(36, 6))
        optimizer.apply([keras.ops.convert_to_tensor(gradient.reshape(3, 3, 4, 6), "float32")], [kernel])
        momentum = 0.95 * momentum + gradient
        direction = gradient + 0.95 * momentum if nesterov else momentum
        matrix -= 0.01 * 0.2 * np.sqrt(36) * orthogonalized(direction)
    np.testing.assert_allclose(kernel.numpy().reshape(36, 6), matrix, rtol=1e-4, atol=1e-6)


def test_weights_of_16_bits_are_trained_too():
    kernel = keras.Variable(np.ones((3, 3, 4, 6)), dtype="bfloat16")
    stepped(kernel, np.random.default_rng(6).normal(size=(3, 3, 4, 6)).astype("float32"))
    assert np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(kernel, "float32"))).all()


def test_excluded_layers_are_regular_expressions():
    layer = keras.layers.Conv2D(3, 3, name="stem_1")
    layer.build((None, 8, 8, 2))
    assert not Muon(0.1)._should_use_adamw(layer.kernel)
    assert Muon(0.1, exclude_layers=["^stem_(1|2)/"])._should_use_adamw(layer.kernel)


def test_the_direction_is_that_of_the_gradient():
    gradient = np.random.default_rng(1).normal(size=(3, 3, 4, 6)).astype("float32")
    step = stepped(keras.Variable(np.zeros((3, 3, 4, 6), "float32")), gradient)
    left, _, right = np.linalg.svd(gradient.reshape(-1, 6), full_matrices=False)
    polar = (left @ right).ravel()
    assert np.corrcoef(step.ravel(), polar)[0, 1] > 0.97


def test_what_is_no_matrix_and_the_classifier_are_left_to_adam():
    network = tfnorm.build("cifar_dilated", norm="bn", compile=False)
    optimizer = Muon(0.01, exclude_layers=["logits"])
    optimizer.build(network.trainable_variables)
    velocities = zip(network.trainable_variables, optimizer.adam_velocities, strict=True)
    adam = {variable.path for variable, velocity in velocities if velocity is not None}
    for variable in network.trainable_variables:
        matrix = len(variable.shape) == 4 and "depthwise" not in variable.path and "logits" not in variable.path
        assert (variable.path in adam) is not matrix, variable.path
    assert any("depthwise" in path for path in adam) and "logits/kernel" in adam


def test_a_vector_takes_the_step_of_adam():
    ours, theirs = (keras.Variable(np.zeros(5, "float32")) for _ in range(2))
    gradient = np.random.default_rng(2).normal(size=5).astype("float32")
    stepped(ours, gradient)
    keras.optimizers.Adam(0.01).apply([keras.ops.convert_to_tensor(gradient)], [theirs])
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


def test_decay_reaches_the_matrices_alone():
    network = tfnorm.build("mnist_layered", norm="bn", input_shape=(16, 16, 1), compile=False)
    optimizer = Recipe(name="x", optimizer="muon", learning_rate=0.1, weight_decay=0.5).make_optimizer(1, 1)
    network.compile(optimizer, "mse")
    before = {v.path: v.numpy() for v in network.trainable_variables}
    zero = [keras.ops.zeros(v.shape) for v in network.trainable_variables]
    optimizer.apply(zero, network.trainable_variables)
    for variable in network.trainable_variables:
        kept = 0.95 if variable.path.startswith("conv") and "kernel" in variable.path else 1.0
        np.testing.assert_allclose(variable.numpy(), kept * before[variable.path], rtol=1e-5, err_msg=variable.path)


def test_muon_trains_with_a_schedule_and_is_saved_and_loaded(tmp_path):
    network = tfnorm.build(TINY, norm="bn", input_shape=(16, 16, 1), compile=False)
    rate = keras.optimizers.schedules.CosineDecay(0.02, 100)
    network.compile(Muon(rate, exclude_layers=["logits"]), "mse")
    x, y = np.random.default_rng(3).normal(size=(16, 16, 16, 1)), np.zeros((16, 10))
    losses = network.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    assert isinstance(again.optimizer, Muon) and int(again.optimizer.iterations) == 8
    np.testing.assert_array_equal(again.predict(x, verbose=0), network.predict(x, verbose=0))
    for ours, theirs in zip(network.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.path)


def test_smoothed_targets_are_those_of_the_definition():
    logits = np.random.default_rng(4).normal(size=(6, 5)).astype("float32")
    labels, share = np.array([0, 1, 2, 3, 4, 0]), 0.2
    log = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -((1 - share) * log[np.arange(6), labels] + share * log.mean(1))
    for y in (labels, labels[:, None], labels.astype("uint8")):
        found = SmoothedCrossentropy(share, reduction=None)(y, logits)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(found), expected, rtol=1e-5)
    loss, metric = make_loss(share)
    metric.update_state(labels, logits)
    assert float(metric.result()) == pytest.approx(expected.mean()) == pytest.approx(float(loss(labels, logits)))
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.label_smoothing == share


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=f"`label_smoothing`.*below 1.*{share}"):
        SmoothedCrossentropy(share)


def test_without_smoothing_the_loss_is_keras_s_own():
    loss, metric = make_loss(0.0)
    assert type(loss) is keras.losses.SparseCategoricalCrossentropy and metric.name == "data_loss"
