"""Moving statistics estimated again: against NumPy, and what is left alone."""

import keras
import numpy as np
import pytest
from facts import says

import tfnorm
from tfnorm.callbacks import BatchNormRecalibration
from tfnorm.convert.recalibrate import recalibrate_batch_norms
from tfnorm.errors import DataError, TfnormError

RNG = np.random.default_rng(0)
X = RNG.normal(3.0, 2.0, (40, 4, 4, 3)).astype("float32")
Y = RNG.integers(0, 2, 40)
OURS, STOCK = tfnorm.layers.BatchNormalization, keras.layers.BatchNormalization


def make_model(kind, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((4, 4, 3)),
            kind(name="first", momentum=0.5),
            keras.layers.Conv2D(5, 1, name="conv"),
            keras.layers.Dropout(0.5),
            kind(name="second"),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options)
    return model


def moments(x):
    """Return mean and biased variance of each channel in float64."""
    x = np.asarray(x, "float64").reshape(-1, x.shape[-1])
    return x.mean(0), x.var(0)


def statistics(layer):
    return np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)


@pytest.mark.parametrize("kind", [pytest.param(OURS, marks=pytest.mark.matrix), STOCK])
def test_all_images_in_one_batch_give_their_own_statistics(kind):
    model = make_model(kind, run_eagerly=True)
    model.fit(X, Y, batch_size=20, verbose=0)
    trained = [np.asarray(weight) for weight in model.trainable_weights]
    old = statistics(model.get_layer("first"))
    shift = recalibrate_batch_norms(model, [X])
    for before, after in zip(trained, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(before, after)
    # Each layer's own statistics in NumPy, dropout left out.
    mean, variance = moments(X)
    np.testing.assert_allclose(np.stack(statistics(model.get_layer("first"))), [mean, variance], rtol=1e-5)
    gamma, beta = (np.asarray(w, "float64") for w in model.get_layer("first").trainable_weights)
    hidden = (X - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    kernel, bias = (np.asarray(w, "float64") for w in model.get_layer("conv").trainable_weights)
    expected = moments(hidden @ kernel[0, 0] + bias)
    np.testing.assert_allclose(np.stack(statistics(model.get_layer("second"))), expected, rtol=1e-4, atol=1e-5)
    assert list(shift) == ["first", "second"]
    assert shift["first"] == pytest.approx(np.max(np.abs(mean - old[0]) / np.sqrt(variance + 1e-3)), rel=1e-4)
    # The layers are as they were: they normalize with moving statistics, and keep their momentum.
    assert model.get_layer("first").momentum == 0.5 and "call" not in vars(model.get_layer("first"))
    before = statistics(model.get_layer("first"))
    model.predict(X, verbose=0)
    np.testing.assert_array_equal(before, statistics(model.get_layer("first")))


@pytest.mark.parametrize("kind", [OURS, pytest.param(STOCK, marks=pytest.mark.matrix)])
def test_batches_of_unequal_size_give_the_first_norm_the_exact_statistics(kind):
    model = make_model(kind)
    model.get_layer("first").moving_variance.assign(np.full(3, np.inf))
    recalibrate_batch_norms(model, [X[:7], X[7:30], X[30:]])
    np.testing.assert_allclose(np.stack(statistics(model.get_layer("first"))), moments(X), rtol=1e-5)


@pytest.mark.parametrize("kind", [OURS, STOCK])
def test_batches_of_images_of_unequal_size_give_the_first_norm_the_exact_statistics(kind):
    large, small = X[:3].reshape(1, 12, 12, 1).repeat(2, 0), X[3:5, ..., :1] + 5
    model = keras.Sequential([keras.layers.Input((None, None, 1)), kind()])
    recalibrate_batch_norms(model, [large, small])
    expected = moments(np.concatenate([large.reshape(-1, 1), small.reshape(-1, 1)]))
    np.testing.assert_allclose(np.stack(statistics(model.layers[0])), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "kind", [OURS, pytest.param(STOCK, marks=pytest.mark.matrix), lambda: OURS(unbiased_moving_variance=True)]
)
def test_what_is_masked_does_not_count(kind):
    x = RNG.normal(3.0, 1.0, (12, 6, 4)).astype("float32")
    x[:4] += 4
    x[:4, 1:] = 0
    x[8:] = 0  # a batch that is masked whole
    model = keras.Sequential([keras.layers.Input((6, 4)), keras.layers.Masking(), kind(), keras.layers.LSTM(2)])
    recalibrate_batch_norms(model, [x[:4], x[4:8], x[8:]])
    seen = x[(x != 0).any(-1)].astype("float64")
    expected = [seen.mean(0), seen.var(0, ddof=int(getattr(model.layers[1], "unbiased_moving_variance", False)))]
    np.testing.assert_allclose(np.stack(statistics(model.layers[1])), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", [OURS, STOCK])
def test_nothing_but_masked_numbers_is_refused(kind):
    model = keras.Sequential([keras.layers.Input((6, 4)), keras.layers.Masking(), kind()])
    with pytest.raises(DataError, match="no batch"):
        recalibrate_batch_norms(model, [np.zeros((4, 6, 4), "float32")])
    np.testing.assert_array_equal(np.stack(statistics(model.layers[1])), [np.zeros(4), np.ones(4)])


def test_a_channel_that_is_masked_whole_keeps_its_statistics():
    inputs, mask = keras.Input((3, 5)), keras.Input((3,), dtype="bool")
    norm = OURS(axis=1)
    model = keras.Model([inputs, mask], norm(inputs, mask=mask))
    norm.moving_mean.assign([7.0, 7.0, 7.0])
    x = RNG.normal(3.0, 1.0, (4, 3, 5)).astype("float32")
    recalibrate_batch_norms(model, [[x, np.array([[True, True, False]] * 4)]])
    np.testing.assert_allclose(norm.moving_mean, [*x.mean((0, 2))[:2], 7.0], rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, [*x.var((0, 2))[:2], 1.0], rtol=1e-5)


def test_a_large_mean_costs_no_digits():
    model = make_model(OURS)
    recalibrate_batch_norms(model, [X[:20] + 1e4, X[20:] + 1e4])
    mean, variance = statistics(model.get_layer("first"))
    expected = moments((X + np.float32(1e4)).astype("float32"))
    np.testing.assert_allclose(mean, expected[0], rtol=1e-6)
    np.testing.assert_allclose(variance, expected[1], rtol=1e-3)


def test_at_the_end_of_training_from_a_sample_of_the_images():
    model = make_model(OURS)
    callback = BatchNormRecalibration(X, batches=2, batch_size=10, seed=3)
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0, callbacks=[callback])
    chosen = np.random.default_rng(3).permutation(40)[:20]
    np.testing.assert_allclose(np.stack(statistics(model.get_layer("first"))), moments(X[chosen]), rtol=1e-5)
    assert callback.shift["first"] > 0


def test_every_second_epoch_before_its_validation():
    seen = []

    class Spy(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            seen.append(np.asarray(self.model.get_layer("first").moving_mean))

    model = make_model(OURS, run_eagerly=True)
    callback = BatchNormRecalibration([(X, Y)], every=2)
    model.fit(X, Y, batch_size=20, epochs=4, verbose=0, validation_data=(X, Y), callbacks=[callback, Spy()])
    exact = [bool(np.allclose(mean, moments(X)[0], rtol=1e-5)) for mean in seen]
    assert exact == [False, True, False, True]


def test_weights_that_another_callback_puts_back_are_recalibrated_too():
    class Restore(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            self.model.get_layer("first").moving_mean.assign(np.full(3, 9.0))

    model = make_model(OURS, run_eagerly=True)
    callback = BatchNormRecalibration([X], every=1)
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0, callbacks=[Restore(), callback])
    np.testing.assert_allclose(statistics(model.get_layer("first"))[0], moments(X)[0], rtol=1e-5)


def test_a_norm_that_is_frozen_or_inside_another_model():
    inner = make_model(OURS)
    inner.get_layer("second").trainable = False
    before = statistics(inner.get_layer("second"))
    inputs = keras.Input((4, 4, 3))
    outer = keras.Model(inputs, inner(inputs))
    recalibrate_batch_norms(outer, [X])
    np.testing.assert_allclose(np.stack(statistics(inner.get_layer("first"))), moments(X), rtol=1e-5)
    np.testing.assert_array_equal(before, statistics(inner.get_layer("second")))


def test_when_it_fails_the_statistics_are_as_before():
    def batches():
        yield X
        raise KeyboardInterrupt

    model = make_model(OURS)
    with pytest.raises(KeyboardInterrupt):
        recalibrate_batch_norms(model, batches())
    np.testing.assert_array_equal(np.stack(statistics(model.get_layer("first"))), [np.zeros(3), np.ones(3)])
    with pytest.raises(DataError) as caught:
        recalibrate_batch_norms(model, [])
    says(caught, "no batch", "two images")


@pytest.mark.parametrize("size", [2, 3, 40])
def test_an_unbiased_variance_is_that_of_all_numbers_together(size):
    x = RNG.normal(3.0, 2.0, (40, 5)).astype("float32")
    model = keras.Sequential([keras.layers.Input((5,)), OURS(unbiased_moving_variance=True)])
    recalibrate_batch_norms(model, [x[start : start + size] for start in range(0, 40, size)])
    expected = [x.mean(0), x.astype("float64").var(0, ddof=1)]
    np.testing.assert_allclose(np.stack(statistics(model.layers[0])), expected, rtol=1e-5)
    assert model.layers[0].unbiased_moving_variance


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(keras.ops.convert_to_tensor, marks=pytest.mark.matrix),
        lambda x: [x[:20], x[20:]],
        pytest.param(lambda x: [(x, Y)], marks=pytest.mark.matrix),
    ],
)
def test_what_the_images_may_be(kind):
    model = make_model(OURS, run_eagerly=True)
    model.fit(X, Y, verbose=0, callbacks=[BatchNormRecalibration(kind(X), batch_size=20)])
    np.testing.assert_allclose(model.get_layer("first").moving_mean, moments(X)[0], rtol=1e-5)


def test_images_without_an_axis_of_channels():
    model = keras.Sequential([keras.layers.Input((4, 4, 1)), OURS(), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    model.fit(X[..., 0], Y, verbose=0, callbacks=[BatchNormRecalibration(X[..., 0])])
    np.testing.assert_allclose(model.layers[0].moving_mean, moments(X[..., :1])[0], rtol=1e-5)


def test_images_one_by_one_are_refused_before_training():
    model = make_model(OURS)
    with pytest.raises(DataError) as caught:
        model.fit(X, Y, verbose=0, callbacks=[BatchNormRecalibration(list(X))])
    says(caught, "(None, 4, 4, 3)", "(4, 4, 3)", "one array")
    assert int(model.optimizer.iterations) == 0


def two_inputs():
    first, second = keras.Input((4, 4, 3), name="a"), keras.Input((4, 4, 3), name="b")
    outputs = keras.layers.Flatten()(keras.layers.Add()([OURS(name="norm")(first), second]))
    model = keras.Model({"a": first, "b": second}, keras.layers.Dense(3)(outputs))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    return model


@pytest.mark.parametrize(
    "kind", [lambda x: x, pytest.param(lambda x: [x], marks=pytest.mark.matrix), lambda x: [(x, Y)]]
)
def test_several_inputs(kind):
    model, inputs = two_inputs(), {"a": X, "b": 2 * X}
    model.fit(inputs, Y, verbose=0, callbacks=[BatchNormRecalibration(kind(inputs), batch_size=11)])
    np.testing.assert_allclose(model.get_layer("norm").moving_mean, moments(X)[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("x", "facts"),
    [
        (X, ("2 inputs", "1")),
        (
            X.tolist(),
            ("float", "np.asarray"),
        ),
    ],
)
def test_what_is_no_batch_of_all_inputs_is_refused_before_training(x, facts):
    model = two_inputs()
    with pytest.raises(DataError) as caught:
        model.fit({"a": X, "b": X}, Y, verbose=0, callbacks=[BatchNormRecalibration(x)])
    says(caught, *facts)
    assert int(model.optimizer.iterations) == 0


def test_nothing_to_recalibrate():
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)], name="plain")
    model.compile("sgd", "mse")
    with pytest.raises(TfnormError) as caught:
        model.fit(np.zeros((2, 4)), np.zeros(2), verbose=0, callbacks=[BatchNormRecalibration(np.zeros((2, 4)))])
    says(caught, "'plain'", "no batch normalization", "out")


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"batches": 0}, ("at least 1", "batches=0")),
        ({"batch_size": 1}, ("at least 2", "batch_size=1")),
        ({"every": True}, ("at least 1", "every=True")),
    ],
)
def test_arguments(options, facts):
    with pytest.raises(DataError) as caught:
        BatchNormRecalibration(X, **options)
    says(caught, *facts)
