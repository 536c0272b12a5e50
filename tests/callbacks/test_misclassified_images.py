"""The callback that finds misclassified images."""

import keras
import numpy as np
import pytest
from watched import X, Y, fit, make_model

from tfnorm.callbacks import MisclassifiedImages
from tfnorm.errors import DataError


def test_misclassified_images_of_the_trained_model(tmp_path):
    model = make_model()
    callback = MisclassifiedImages(X, Y, n=4, class_names=["a", "b", "c"], path=tmp_path / "wrong.png", batch_size=5)
    fit(model, callback)
    predicted = model.predict(X, verbose=0).argmax(axis=1)
    assert callback.total == (predicted != Y).sum() == callback.result.total > 4
    assert (predicted[callback.result.index] == callback.result.predicted).all() and len(callback.to_frame()) == 4
    assert (tmp_path / "wrong.png").stat().st_size > 5000
    assert callback.draw().texts[0].get_text() == f"{callback.total} of 22 images misclassified"


def test_every_says_how_often_to_look(monkeypatch):
    looks = []
    callback = MisclassifiedImages(X, Y, every=2)
    monkeypatch.setattr(callback, "_look", lambda: looks.append(callback.model.optimizer.iterations.numpy()))
    fit(make_model(run_eagerly=True), callback, epochs=5)
    assert looks == [6, 12, 15]


def test_probabilities_give_the_confidences_of_their_logits():
    model = make_model(softmax=True)
    callback = MisclassifiedImages(X, Y, from_logits=False)
    fit(model, callback, epochs=1)
    probability = model.predict(X, verbose=0)
    np.testing.assert_allclose(callback.result.confidence, probability[callback.result.index].max(axis=1), rtol=1e-5)


def test_a_diverged_model_predicts_nothing(tmp_path):
    callback = MisclassifiedImages(X, Y, path=tmp_path / "wrong.png")
    model = make_model(run_eagerly=True)
    model.set_weights([weight * np.nan for weight in model.get_weights()])
    fit(model, callback, epochs=1)
    assert callback.total == 22 and set(callback.result.predicted) == {-1}


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        (
            (X, Y),
            {"select": "last"},
            "Unknown selection 'last'. Use one of: confident, first.",
        ),
        (
            ({"image": X}, Y),
            {},
            "`x` must be one array of images. Received: a dictionary of 'image'. "
            "The callback is for models with one input and one output.",
        ),
        ((X, Y), {"every": 0}, "`every` must be an integer of at least 1. Received: every=0."),
        ((X, Y), {"n": 1.5}, "`n` must be an integer of at least 1. Received: n=1.5."),
        (
            (X, Y[:3]),
            {},
            "There must be one class for each image. Received: 3 classes, 22 images. "
            "Pass the classes of the same images, in the same order.",
        ),
        (
            (X, Y),
            {"path": "a.bmp"},
            "A picture's file name must end in .png, .svg or .pdf. Received: 'a.bmp'.",
        ),
        (
            (np.zeros((22, 4)), Y),
            {"path": "a.png"},
            "`images` must have the shape (images, height, width) or (images, height, width, channels). "
            "Received: shape (22, 4).",
        ),
    ],
)
def test_misclassified_arguments(arguments, options, sentence):
    with pytest.raises(DataError) as error:
        MisclassifiedImages(*arguments, **options)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("labels", "options", "sentence"),
    [
        (
            Y,
            {"class_names": ["a", "b"]},
            "`class_names` must list one name for each of the 3 classes. Received: 2 names.",
        ),
        (
            Y + 1,
            {},
            "The classes must lie between 0 and 2, as there are 3 logits an image. Received: classes from 1 to 3.",
        ),
    ],
)
def test_misclassified_arguments_that_do_not_fit_the_model(labels, options, sentence):
    model = make_model()
    with pytest.raises(DataError) as error:
        fit(model, MisclassifiedImages(X, labels, **options))
    assert str(error.value) == sentence
    assert int(model.optimizer.iterations) == 0


@pytest.mark.parametrize("kind", ["inputs", "outputs"])
def test_models_with_several_inputs_or_outputs_are_refused_before_training(kind):
    first, second = keras.Input((4, 4, 3), name="a"), keras.Input((4, 4, 3), name="b")
    dense = keras.layers.Dense(3)(keras.layers.Flatten()(first))
    ends = {"inputs": ([first, second], dense), "outputs": (first, {"a": dense, "b": dense + 1})}
    model = keras.Model(*ends[kind])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(DataError) as error:
        model.fit([X, X] if kind == "inputs" else X, Y, verbose=0, callbacks=[MisclassifiedImages(X, Y)])
    assert str(error.value) == (
        f"The model must have one input and one output, the logits. Received: 2 {kind}. "
        "Give the logits of one output to tfnorm.report.misclassified_data."
    )
    assert int(model.optimizer.iterations) == 0


def test_no_result_before_training():
    with pytest.raises(DataError) as error:
        MisclassifiedImages(X, Y).to_frame()
    assert str(error.value) == "There is no result yet. Pass this callback to model.fit first."
