"""The callback that looks at norms over training."""

import json

import keras
import numpy as np
import pytest
from facts import says
from keras import layers

from tfnorm.callbacks import ActivationStatistics
from tfnorm.errors import DataError, TfnormError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 8)).astype("float32"), RNG.integers(0, 3, 24)


def make_model():
    keras.utils.set_random_seed(0)
    inner = keras.Sequential(
        [keras.Input((8,)), layers.Dense(6), layers.BatchNormalization(name="norm"), layers.ReLU()], name="inner"
    )
    model = keras.Sequential([keras.Input((8,)), inner, layers.LayerNormalization(name="last"), layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True)
    return model


def fit(model, *callbacks, epochs=3, **options):
    return model.fit(X, Y, epochs=epochs, batch_size=24, verbose=0, callbacks=list(callbacks), **options)


def looks(watch):
    return list(dict.fromkeys(record["epochs"] for record in watch.records))


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        pytest.param(1, [0, 1, 2, 3], marks=pytest.mark.matrix),
        (2, [0, 2, 3]),
        pytest.param(9, [0, 3], marks=pytest.mark.matrix),
    ],
)
def test_it_looks_before_training_between_epochs_and_at_the_end(every, expected):
    watch = ActivationStatistics(X, every=every)
    fit(make_model(), watch)
    assert looks(watch) == expected
    assert [record["layer"] for record in watch.records[:2]] == ["inner/norm", "last"]
    assert [record["relu"] for record in watch.records[:2]] == ["after", "before"]


def test_records_are_those_of_the_weights_at_the_time():
    watch, model = ActivationStatistics(X), make_model()
    weights = [model.get_weights()]
    fit(model, watch, keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: weights.append(model.get_weights())))
    for epochs, values in enumerate(weights):
        kernel, bias = values[0], values[1]
        (record,) = [r for r in watch.records if (r["epochs"], r["layer"]) == (epochs, "inner/norm")]
        assert record["before_mean"] == pytest.approx(np.mean(X @ kernel + bias), abs=1e-5)
        assert record["before_std"] == pytest.approx(np.std(X @ kernel + bias), rel=1e-4)
        gamma, beta = values[2], values[3]
        assert record["after_mean"] == pytest.approx(np.mean(beta), abs=1e-4)
        assert record["after_std"] == pytest.approx(np.sqrt(np.mean(gamma**2) + np.var(beta)), rel=5e-3)


def test_records_can_be_written_as_json_and_read_as_a_table():
    watch = ActivationStatistics(X, every=3)
    fit(make_model(), watch)
    assert json.loads(json.dumps(watch.records, allow_nan=False)) == watch.records
    frame = watch.to_frame()
    assert frame["epochs"].tolist() == [0, 0, 3, 3] and frame["before_std"].dtype == float
    assert frame["after_dead"].isna().tolist() == [False, True, False, True]
    assert ActivationStatistics(X).to_frame().empty


def test_a_training_that_goes_on_adds_to_the_records():
    watch, model = ActivationStatistics(X), make_model()
    fit(model, watch, epochs=1)
    first = list(watch.records)
    fit(model, watch, epochs=3, initial_epoch=1)
    assert looks(watch) == [0, 1, 2, 3]
    assert watch.records[:4] == first


def test_chosen_layers():
    watch = ActivationStatistics(X, every=3, layers=["last"])
    fit(make_model(), watch)
    assert {record["layer"] for record in watch.records} == {"last"}


def test_mistakes_are_told_before_training():
    with pytest.raises(DataError) as caught:
        ActivationStatistics(X, every=0)
    says(caught, "every=0", "at least 1")
    model = make_model()
    before = model.get_weights()
    with pytest.raises(TfnormError, match="Unknown layer 'norm'"):
        fit(model, ActivationStatistics(X, layers=["norm"]))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
