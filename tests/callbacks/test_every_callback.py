"""A contract that every callback keeps."""

import copy
import functools
import pickle

import keras
import numpy as np
import pandas as pd
import pytest
from backends import SEVERAL_STEPS
from facts import says
from watched import FORMS, L1, VAL, X, Y, fit, in_form, make_model

from tfnorm.callbacks import (
    CALLBACKS,
    ActivationStatistics,
    BatchNormRecalibration,
    HistoryRecorder,
    MisclassifiedImages,
    NormWatch,
)
from tfnorm.errors import TfnormError

# Every callback, made so that it writes all the files that it can.
FACTORIES = {
    "activation_statistics": lambda folder: ActivationStatistics(X),
    "batch_norm_recalibration": lambda folder: BatchNormRecalibration(X, batch_size=8),
    "history_recorder": lambda folder: HistoryRecorder(folder / "history.jsonl"),
    "misclassified_images": lambda folder: MisclassifiedImages(X, Y, n=4, path=folder / "wrong.png", every=1),
    "norm_watch": lambda folder: NormWatch(),
}


def test_every_callback_has_a_factory_here():
    assert set(FACTORIES) == set(CALLBACKS)
    with pytest.raises(TfnormError) as error:
        CALLBACKS["history_record"]
    says(error, "'history_record'", "'history_recorder'")


OPTIONS = {
    "no validation": {},
    "validation": {"validation_data": VAL},
    "seldom validated": {"validation_data": VAL, "validation_freq": 2},
}


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda callback: pickle.loads(pickle.dumps(callback)),
}


def but_in_the_matrix(one, *names):
    """Return the ways to copy every callback, all but one way to copy some callbacks for the matrix."""
    return [
        pytest.param(how, name, marks=[] if how == one and name in names else pytest.mark.matrix)
        for name in FACTORIES
        for how in COPIES
    ]


def make_eager():
    """Return a model that costs no tracing, where graphs are not the matter."""
    return make_model(L1, norm=True, run_eagerly=True)


@functools.cache
def fit_plain(options):
    model = make_model(L1, norm=True, run_eagerly=options != "validation")
    return model, fit(model, **OPTIONS[options]).history


class TestContract:
    @pytest.mark.parametrize(
        ("options", "name"),
        [
            pytest.param(
                options,
                name,
                marks=[] if options == "validation" or name == "history_recorder" else pytest.mark.matrix,
            )
            for name in FACTORIES
            for options in OPTIONS
        ],
    )
    def test_leaves_training_as_it_is(self, name, options, tmp_path):
        plain, expected = fit_plain(options)
        watched = make_model(L1, norm=True, run_eagerly=options != "validation")
        callback = FACTORIES[name](tmp_path)
        assert isinstance(callback, CALLBACKS[name]) and isinstance(callback, keras.callbacks.Callback)
        assert fit(watched, callback, **OPTIONS[options]).history == expected
        which = "trainable_weights" if name == "batch_norm_recalibration" else "weights"
        for before, after in zip(getattr(plain, which), getattr(watched, which), strict=True):
            np.testing.assert_array_equal(before, after)

    @pytest.mark.parametrize(
        "name",
        [pytest.param(name, marks=pytest.mark.matrix if name == "misclassified_images" else []) for name in FACTORIES],
    )
    def test_several_steps_in_one_call_and_a_data_set(self, name, tmp_path):
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4, drop_remainder=True)
        callback = FACTORIES[name](tmp_path)
        history = make_model(L1, norm=True, steps_per_execution=SEVERAL_STEPS).fit(
            data, epochs=2, verbose=0, shuffle=False, callbacks=[callback]
        )
        assert len(history.history["loss"]) == 2 and all(file.stat().st_size for file in tmp_path.iterdir())

    @pytest.mark.parametrize("name", FACTORIES)
    def test_documents_its_arguments(self, name):
        assert "Args:" in CALLBACKS[name].__doc__

    @pytest.mark.parametrize(
        ("how", "name"), but_in_the_matrix("deepcopy", "batch_norm_recalibration", "history_recorder")
    )
    def test_a_copy_before_training_does_as_the_original(self, name, how, tmp_path):
        original = FACTORIES[name](tmp_path)
        told = []
        for callback in (COPIES[how](original), original):
            for file in tmp_path.iterdir():
                file.unlink()
            fit(make_eager(), callback, epochs=1)
            told.append(said(callback))
        assert told[0] == told[1]

    @pytest.mark.parametrize(
        ("how", "name"), but_in_the_matrix("pickle", "activation_statistics", "misclassified_images")
    )
    def test_a_copy_after_training_knows_what_the_original_knows_without_the_model(self, name, how, tmp_path):
        original = FACTORIES[name](tmp_path)
        fit(make_eager(), original, epochs=1)
        known = said(original)
        duplicate = COPIES[how](original)
        assert said(duplicate) == known and duplicate.model is None and original.model is not None
        if name == "history_recorder":
            (tmp_path / "history.jsonl").unlink()
            duplicate.path = None
        fit(make_eager(), duplicate, epochs=1)
        assert said(original) == known


# What takes data, made of it; the history takes none.
OF_DATA = {
    "activation_statistics": lambda *data: ActivationStatistics(*data[:1]),
    "batch_norm_recalibration": lambda *data: BatchNormRecalibration(*data[:1], batch_size=8),
    "misclassified_images": lambda *data: MisclassifiedImages(*data, n=4),
}


def said(callback):
    """Return what a callback found, without what depends on the clock."""
    if isinstance(callback, HistoryRecorder):
        return [{k: v for k, v in record.items() if "second" not in k} for record in callback.records]
    if isinstance(callback, NormWatch):
        return [(finding.rule, finding.evidence) for finding in callback.findings]
    if isinstance(callback, BatchNormRecalibration):
        return [dict(enumerate(callback.shift.values()))]  # names of layers differ from model to model
    if isinstance(callback, ActivationStatistics):
        return callback.records
    return callback.to_frame().to_dict("list")


def watch(callback, model):
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    callback.on_epoch_end(0)
    callback.on_train_end()
    return said(callback)


@pytest.mark.parametrize("data", [3, "images.npz", None])
@pytest.mark.parametrize("name", OF_DATA)
def test_what_holds_no_images_is_refused_when_given(name, data):
    with pytest.raises(TfnormError, match=f"{type(data).__name__}.*tf.data.Dataset"):
        OF_DATA[name](data, Y)


@pytest.mark.parametrize("name", OF_DATA)
def test_tf_data_tells_what_arrays_tell(name):
    check_form(name, "tf.data")


@pytest.mark.matrix
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", OF_DATA)
@pytest.mark.parametrize("how", [None, *COPIES])
def test_every_form_of_the_data_tells_what_arrays_tell(name, form, how):
    check_form(name, form, how)


def check_form(name, form, how=None):
    model = make_model(norm=True)
    weights = model.get_weights()
    arrays = (X, Y) if name == "misclassified_images" else ([X[i : i + 6] for i in range(0, 22, 6)],)
    if name == "activation_statistics":
        arrays = (X,)
    expected = watch(OF_DATA[name](*arrays), model)
    model.set_weights(weights)
    data = in_form(form)
    if name != "misclassified_images":
        data = data[:1]
        if form in ("arrays", "tuple", "tuple with weights", "one-hot arrays", "tensors"):
            data = arrays
    elif form == "one-hot arrays":
        assert data[1].ndim == 2
    callback = OF_DATA[name](*data)
    if how:
        if name == "batch_norm_recalibration" and form == "generator":
            with pytest.raises(TfnormError, match="cannot be copied or pickled"):
                COPIES[how](callback)
            return
        callback = COPIES[how](callback)
    found = watch(callback, model)
    pd.testing.assert_frame_equal(pd.DataFrame(found), pd.DataFrame(expected), rtol=1e-5)
