"""A contract that every callback keeps."""

import functools

import keras
import numpy as np
import pytest
from watched import L1, VAL, X, Y, fit, make_model

from tfnorm.callbacks import (
    CALLBACKS,
    ActivationStatistics,
    BatchNormRecalibration,
    HistoryRecorder,
    MisclassifiedImages,
)
from tfnorm.errors import TfnormError

# Every callback, made so that it writes all the files that it can.
FACTORIES = {
    "activation_statistics": lambda folder: ActivationStatistics(X),
    "batch_norm_recalibration": lambda folder: BatchNormRecalibration(X, batch_size=8),
    "history_recorder": lambda folder: HistoryRecorder(folder / "history.jsonl"),
    "misclassified_images": lambda folder: MisclassifiedImages(X, Y, path=folder / "wrong.png", every=1),
}


def test_every_callback_has_a_factory_here():
    assert set(FACTORIES) == set(CALLBACKS)
    with pytest.raises(TfnormError) as error:
        CALLBACKS["history_record"]
    assert str(error.value).startswith("Unknown callback 'history_record'. Did you mean 'history_recorder'?")


OPTIONS = {
    "no validation": {},
    "validation": {"validation_data": VAL},
    "seldom validated": {"validation_data": VAL, "validation_freq": 2},
}


@functools.cache
def fit_plain(options):
    model = make_model(L1, norm=True)
    return model, fit(model, **OPTIONS[options]).history


@pytest.mark.parametrize("name", FACTORIES)
class TestContract:
    @pytest.mark.parametrize("options", OPTIONS)
    def test_leaves_training_as_it_is(self, name, options, tmp_path):
        (plain, expected), watched = fit_plain(options), make_model(L1, norm=True)
        callback = FACTORIES[name](tmp_path)
        assert isinstance(callback, CALLBACKS[name]) and isinstance(callback, keras.callbacks.Callback)
        assert fit(watched, callback, **OPTIONS[options]).history == expected
        which = "trainable_weights" if name == "batch_norm_recalibration" else "weights"
        for before, after in zip(getattr(plain, which), getattr(watched, which), strict=True):
            np.testing.assert_array_equal(before, after)

    def test_several_steps_in_one_call_and_a_data_set(self, name, tmp_path):
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4, drop_remainder=True)
        callback = FACTORIES[name](tmp_path)
        history = make_model(L1, norm=True, steps_per_execution=2).fit(
            data, epochs=2, verbose=0, shuffle=False, callbacks=[callback]
        )
        assert len(history.history["loss"]) == 2 and all(file.stat().st_size for file in tmp_path.iterdir())

    def test_documents_its_arguments(self, name):
        assert "Args:" in CALLBACKS[name].__doc__
