import keras
import numpy as np
import pytest
from facts import says

from tfnorm.datasets import Batches, epoch_order
from tfnorm.errors import DataError

N = 23
X = np.arange(N, dtype="uint8").reshape(N, 1, 1, 1)
Y = np.arange(N)


class Model(keras.Model):
    """A model that remembers the labels of every training and test step."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.trained, self.tested = [], []

    def call(self, x):
        return self.dense(keras.ops.reshape(keras.ops.cast(x, "float32"), (-1, 1)))

    def train_step(self, *arguments):
        x, y = arguments[-1]
        assert np.array_equal(x[:, 0, 0, 0], y)
        self.trained.append(np.asarray(y).tolist())
        return self.answer(arguments)

    def test_step(self, *arguments):
        self.tested.append(np.asarray(arguments[-1][1]).tolist())
        return self.answer(arguments)

    def answer(self, arguments):
        """Return what a step does: on JAX it is given the state, and returns it."""
        logs = {"loss": 0.0}
        return logs if len(arguments) == 1 else (logs, arguments[0])


def model():
    built = Model()
    built.compile(loss="mse", run_eagerly=True)
    return built


def chunks(order, size):
    return [order[i : i + size].tolist() for i in range(0, len(order), size)]


def test_order_is_a_pure_function_of_seed_and_epoch():
    expected = np.random.default_rng([7, 3]).permutation(N)
    assert np.array_equal(epoch_order(N, 7, 3), expected)
    assert np.array_equal(epoch_order(N, None, 3), np.arange(N))
    orders = {tuple(epoch_order(N, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@pytest.mark.parametrize("batch_size", [1, 4, N, 100])
def test_batches_follow_the_order_whatever_their_size(batch_size):
    batches = Batches(X, Y, batch_size, seed=7, epoch=3)
    assert [y.tolist() for _, y in batches] == chunks(epoch_order(N, 7, 3), batch_size)
    assert all(np.array_equal(x[:, 0, 0, 0], y) and x.dtype == np.uint8 for x, y in batches)


def test_the_last_batch_is_kept_unless_told():
    assert [len(y) for _, y in Batches(X, Y, 10)] == [10, 10, 3]
    dropped = Batches(X, Y, 10, drop_remainder=True)
    assert len(dropped) == 2 and [len(y) for _, y in dropped] == [10, 10]
    assert len(Batches(X[:20], Y[:20], 10)) == 2


@pytest.mark.parametrize(
    ("shuffle", "epoch"),
    [(True, 0), (False, 5), *(pytest.param(*case, marks=pytest.mark.matrix) for case in [(True, 5), (False, 0)])],
)
def test_fit_sees_the_orders_of_successive_epochs(shuffle, epoch):
    keras.utils.set_random_seed(0)
    trained = model()
    trained.fit(Batches(X, Y, 4, seed=1, epoch=epoch), epochs=3, verbose=0, shuffle=shuffle)
    expected = [batch for e in range(3) for batch in chunks(epoch_order(N, 1, epoch + e), 4)]
    assert trained.trained == expected


def test_validation_does_not_disturb_the_order():
    trained = model()
    trained.fit(Batches(X, Y, 4, seed=1), validation_data=Batches(X, Y, 5), epochs=2, verbose=0)
    assert trained.trained == [batch for e in range(2) for batch in chunks(epoch_order(N, 1, e), 4)]
    assert trained.tested == 2 * chunks(np.arange(N), 5)


def test_fit_again_goes_on_and_a_set_epoch_is_obeyed():
    trained, batches = model(), Batches(X, Y, 4, seed=1)
    trained.fit(batches, epochs=1, verbose=0)
    trained.fit(batches, epochs=2, verbose=0)
    assert trained.trained == [batch for e in range(3) for batch in chunks(epoch_order(N, 1, e), 4)]
    trained.trained.clear()
    follow = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: setattr(batches, "epoch", epoch))
    trained.fit(batches, initial_epoch=7, epochs=9, verbose=0, callbacks=[follow])
    assert trained.trained == [batch for e in (7, 8) for batch in chunks(epoch_order(N, 1, e), 4)]


@pytest.mark.parametrize("last", [0, pytest.param(1, marks=pytest.mark.matrix), 2])
def test_stopping_inside_an_epoch_leaves_the_next_one_whole(last):
    trained, batches = model(), Batches(X, Y, 4, seed=1)
    stop = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda b, logs: setattr(trained, "stop_training", b == last)
    )
    trained.fit(batches, epochs=3, verbose=0, callbacks=[stop])
    assert trained.trained == chunks(epoch_order(N, 1, 0), 4)[: last + 1]
    trained.trained.clear()
    trained.fit(batches, epochs=1, verbose=0)
    assert trained.trained == chunks(epoch_order(N, 1, 1), 4)


@pytest.mark.parametrize("size", [4, (N + 1) // 2, N])
def test_what_keras_builds_a_model_with_is_no_epoch(size):
    trained, batches = model(), Batches(X, Y, size, seed=1)
    trained.fit(batches, epochs=2, verbose=0)  # builds it
    assert trained.trained == [batch for epoch in range(2) for batch in chunks(epoch_order(N, 1, epoch), size)]


def test_a_compiled_functional_model_trains_alike_twice():
    def weights():
        keras.utils.set_random_seed(3)
        inputs = keras.Input((1, 1, 1), dtype="uint8")
        x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
        net = keras.Model(inputs, keras.layers.Dense(N)(x))
        net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        net.fit(Batches(X, Y, 4, seed=2), epochs=2, verbose=0)
        return np.concatenate([w.ravel() for w in net.get_weights()])

    assert np.array_equal(weights(), weights())


def test_predict_is_in_order():
    outputs = model().predict(Batches(X, Y, 4), verbose=0)
    assert outputs.shape == (N, 1) and np.all(np.diff(outputs[:, 0] / outputs[1, 0]) > 0)


def message(*args, **kwargs):
    with pytest.raises(DataError) as caught:
        Batches(*args, **kwargs)
    return str(caught.value)


def test_bad_arguments():
    says(message(X, Y[:3], 4), "`x` and `y`", "23 images", "3 labels", "one label an image")
    for size in (0, -1, 2.0, True):
        says(message(X, Y, size), "at least 1", f"batch_size={size!r}")
    says(message(X, Y, 4, seed=-1), "at least 0", "seed=-1")
    says(message(X, Y, 4, epoch=-1), "at least 0", "epoch=-1")
    says(
        message(X, Y, 50, drop_remainder=True),
        "23 images",
        "batch_size=50",
        "drop_remainder=True",
        "smaller batch_size",
    )
    with pytest.raises(IndexError) as caught:
        Batches(X, Y, 10)[3]
    says(caught, "3 batches", "index=3")


def test_a_stream_gives_the_batches_of_the_epoch_that_is_set():
    x = np.arange(10, dtype="uint8").reshape(10, 1, 1, 1)
    batches = Batches(x, np.arange(10), 4, seed=3)
    stream = batches.stream()
    assert len(stream) == 3
    for epoch in (0, 5, 1):
        batches.epoch = epoch
        seen = np.concatenate([np.asarray(labels) for _, labels in stream])
        np.testing.assert_array_equal(seen, epoch_order(10, 3, epoch))
    images, labels = next(iter(stream))
    assert images.dtype == "uint8" and images.shape == (4, 1, 1, 1)
