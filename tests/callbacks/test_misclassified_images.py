"""The callback that finds misclassified images."""

import warnings

import keras
import numpy as np
import pytest
from backends import array
from facts import says
from watched import FORMS, X, Y, fit, in_form, make_model, pairs, streamed

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
    fit(make_model(run_eagerly=True), callback, epochs=5, batch_size=22)
    assert looks == [2, 4, 5]


def look(model, callback):
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_train_end()
    return callback.result


def classifier(*ends, loss=None, shape=(4, 4, 1), kind="functional"):
    """Return a model that ends in some layers or functions."""
    keras.utils.set_random_seed(1)
    image = keras.Input(shape)
    tensor = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    for end in ends:
        tensor = end(tensor)
    model = keras.Model(image, tensor)
    if kind != "functional":
        model = {"subclass": Subclass, "nested": Nested}[kind](model)
    # Eager, since tracing costs more than all else; the forms of the data are given to a model with a graph.
    model.compile("sgd", loss or keras.losses.SparseCategoricalCrossentropy(), run_eagerly=True)
    return model


class Subclass(keras.Model):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def call(self, inputs):
        return self.body(inputs)


def Nested(body):
    image = keras.Input((4, 4, 1))
    return keras.Model(image, keras.layers.Activation("linear", dtype="float32")(body(image)))


def dense(units=3, activation=None, **options):
    return keras.layers.Dense(units, activation, kernel_initializer="glorot_normal", **options)


# Endings, and whether they return probabilities.
ENDINGS = {
    "dense": ([lambda x: dense()(x)], False),
    "activation softmax": ([lambda x: dense(activation="softmax")(x)], True),
    "layer softmax": ([lambda x: keras.layers.Softmax()(dense()(x))], True),
    "layer activation": ([lambda x: keras.layers.Activation("softmax", dtype="float32")(dense()(x))], True),
    "function softmax": ([lambda x: keras.ops.softmax(dense()(x))], True),
    "softmax as a layer": ([lambda x: dense(activation=keras.layers.Softmax())(x)], True),
    "log softmax": ([lambda x: dense(activation="log_softmax")(x)], False),
    "dropped": ([lambda x: keras.layers.Dropout(0.5)(dense(activation="softmax")(x))], True),
    "ensemble": ([lambda x: keras.layers.Average()([dense(activation="softmax")(x) for _ in range(2)])], True),
    "reshaped": ([dense(activation="softmax"), keras.layers.Reshape((1, 3)), keras.layers.Reshape((3,))], True),
    "unknown function": ([lambda x: dense(activation=lambda z: keras.ops.softmax(z))(x)], True),
    "lambda": ([lambda x: keras.layers.Lambda(keras.ops.softmax)(dense()(x))], True),
    "norm of logits": ([lambda x: keras.layers.BatchNormalization()(dense()(x))], False),
    "half precision": ([lambda x: keras.layers.Softmax(dtype="float16")(dense()(x))], True),
    "bfloat16": ([lambda x: keras.layers.Softmax(dtype="bfloat16")(dense()(x))], True),
}  # fmt: skip


# Endings are read in a functional model; what is nested is read alike, and of a subclass nothing is read.
KINDS = {
    "functional": tuple(set(ENDINGS) - {"bfloat16", "norm of logits", "unknown function"}),
    "nested": ("layer softmax",),
    "subclass": ("lambda",),
}
ENDINGS_AND_KINDS = [
    pytest.param(ending, kind, marks=[] if ending in kept else pytest.mark.matrix)
    for kind, kept in KINDS.items()
    for ending in ENDINGS
]


@pytest.mark.parametrize(("ending", "kind"), ENDINGS_AND_KINDS)
def test_confidences_are_the_probabilities_of_the_model(ending, kind):
    ends, probabilities = ENDINGS[ending]
    model = classifier(*ends, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=not probabilities), kind=kind)
    result = look(model, MisclassifiedImages(X, Y, n=22))
    returned = model.predict(X, verbose=0).astype("float64")
    expected = returned if probabilities else keras.activations.softmax(keras.ops.convert_to_tensor(returned))
    np.testing.assert_allclose(result.confidence, np.max(array(expected), axis=1)[result.index], rtol=1e-5)
    assert len(result) > 3 and (np.diff(result.confidence) <= 0).all()


@pytest.mark.parametrize("name", [pytest.param("mse", marks=pytest.mark.matrix), "custom"])
def test_without_a_loss_that_tells_the_numbers_do(name):
    loss = "mse" if name == "mse" else lambda y, p: keras.ops.mean(p)
    for probabilities in (False, True):
        ends = ENDINGS["lambda" if probabilities else "norm of logits"][0]
        model = classifier(*ends, loss=loss, kind="subclass")
        result = look(model, MisclassifiedImages(X, Y, n=22))
        returned = model.predict(X, verbose=0)
        expected = returned if probabilities else keras.ops.softmax(returned)
        np.testing.assert_allclose(result.confidence, np.max(array(expected), axis=1)[result.index], rtol=1e-5)


BINARY_LOGITS = keras.losses.BinaryCrossentropy(from_logits=True)


SIGMOIDS = [
    ("sigmoid", "binary_crossentropy", lambda z: z),
    ("sigmoid", keras.losses.BinaryFocalCrossentropy(), lambda z: z),
    (None, BINARY_LOGITS, lambda z: 1 / (1 + np.exp(-z))),
]
# Each loss with another number of units and kind of model, the logits with both; the rest is for the matrix.
HERE = [(0, 1, "functional"), (1, 3, "subclass"), (2, 1, "subclass"), (2, 3, "functional")]


@pytest.mark.parametrize(
    ("units", "activation", "loss", "link", "kind"),
    [
        pytest.param(units, *SIGMOIDS[i], kind, marks=[] if (i, units, kind) in HERE else pytest.mark.matrix)
        for units in (1, 3)
        for i in range(len(SIGMOIDS))
        for kind in ("functional", "subclass")
    ],
)
def test_sigmoids(units, activation, loss, link, kind):
    model = classifier(dense(units, activation), loss=loss, kind=kind)
    result = look(model, MisclassifiedImages(X, Y if units > 1 else Y % 2, n=22))
    probability = link(model.predict(X, verbose=0).astype("float64"))
    if units == 1:
        assert result.predicted.tolist() == (probability[result.index, 0] > 0.5).astype(int).tolist()
        probability = np.concatenate([1 - probability, probability], axis=1)
    np.testing.assert_allclose(result.confidence, probability[result.index].max(axis=1), rtol=1e-5)
    assert len(result) > 3


def test_one_output_of_which_nothing_is_known_is_refused_before_training():
    model = classifier(dense(1), loss="mse")
    with pytest.raises(DataError, match="from_logits=True or from_logits=False"):
        look(model, MisclassifiedImages(X, Y % 2))
    assert look(model, MisclassifiedImages(X, Y % 2, from_logits=True)).count == 22


@pytest.mark.parametrize("units", [1, pytest.param(3, marks=pytest.mark.matrix)])
def test_what_nothing_tells_of_is_said(units):
    model = classifier(dense(units, "sigmoid"), loss="mse", kind="subclass")
    labels = Y if units > 1 else Y % 2
    with pytest.warns(UserWarning, match="logits.*from_logits=True or from_logits=False"):
        look(model, MisclassifiedImages(X, labels))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        result = look(model, MisclassifiedImages(X, labels, from_logits=False, n=22))
    probability = model.predict(X, verbose=0).astype("float64")
    if units == 1:
        probability = np.concatenate([1 - probability, probability], axis=1)
    np.testing.assert_allclose(result.confidence, probability[result.index].max(axis=1), rtol=1e-6)


def test_several_classes_of_an_image_are_refused():
    rows = np.eye(3)[Y]
    rows[5] = 1
    with pytest.raises(DataError, match=r"one class.*multi-label"):
        MisclassifiedImages(X, rows)


def test_what_is_said_goes_before_what_is_read_with_a_warning():
    model = classifier(*ENDINGS["layer softmax"][0])
    with pytest.warns(UserWarning, match="softmax.*`from_logits`"):
        result = look(model, MisclassifiedImages(X, Y, from_logits=True, n=22))
    expected = np.max(array(keras.ops.softmax(model.predict(X, verbose=0))), axis=1)[result.index]
    np.testing.assert_allclose(result.confidence, expected, rtol=1e-5)
    model = classifier(*ENDINGS["norm of logits"][0], kind="subclass")
    with pytest.warns(UserWarning, match="from_logits=False.*logits"):
        result = look(model, MisclassifiedImages(X, Y, from_logits=False, n=22))
    expected = np.max(array(keras.ops.softmax(model.predict(X, verbose=0))), axis=1)[result.index]
    np.testing.assert_allclose(result.confidence, expected, rtol=1e-5)


def test_an_output_with_a_name():
    plain = classifier(dense(activation="softmax"))
    named = keras.Model(plain.input, {"classes": plain.output})
    named.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    found, expected = (look(model, MisclassifiedImages(X, Y)) for model in (named, plain))
    assert found.index.tolist() == expected.index.tolist()
    np.testing.assert_allclose(found.confidence, expected.confidence, rtol=1e-6)


def test_a_softmax_that_is_trained():
    model = make_model(softmax=True, run_eagerly=True)
    callback = MisclassifiedImages(X, Y)
    fit(model, callback, epochs=1)
    probability = model.predict(X, verbose=0)
    np.testing.assert_allclose(callback.result.confidence, probability[callback.result.index].max(axis=1), rtol=1e-5)


@pytest.fixture(scope="module")
def model():
    return make_model(norm=True)


@pytest.fixture(scope="module")
def expected(model):
    return look(model, MisclassifiedImages(X, Y, n=5))


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(form, marks=pytest.mark.matrix if form in ("tf.data, one-hot", "tuple with weights") else [])
        for form in FORMS
    ],
)
def test_every_form_of_the_data(form, model, expected):
    data = in_form(form)
    callback = MisclassifiedImages(*data, n=5)
    for _ in range(2):  # a look at a later epoch reads the data again
        found = look(model, callback)
        assert (found.total, found.count) == (expected.total, 22)
        np.testing.assert_array_equal(found.index, expected.index)
        np.testing.assert_allclose(found.confidence, expected.confidence, rtol=1e-6)
    drawn = [axes.images[0].get_array() for axes in callback.draw().axes]
    for picture, index in zip(drawn, expected.index, strict=True):
        np.testing.assert_array_equal(picture, X[index, ..., 0])


def test_images_of_batches_are_joined_and_of_several_shapes(monkeypatch):
    monkeypatch.setattr("tfnorm.callbacks._labelled_images.CHUNK_BYTES", 12 * 64)
    image = keras.Input((None, None, 1))
    model = keras.Model(image, dense()(keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    wide = np.repeat(X, 2, axis=2)
    batches = [(X[:6], Y[:6]), (X[6:12], Y[6:12]), (wide[:3], Y[:3]), (X[12:], Y[12:])]
    callback = MisclassifiedImages(batches, n=30, select="first")
    found = look(model, callback)
    labels = np.concatenate([y for _, y in batches])
    predicted = np.concatenate([model.predict(x, verbose=0).argmax(1) for x, _ in batches])
    assert found.index.tolist() == np.flatnonzero(predicted != labels).tolist() and found.count == 25
    assert len(callback.draw().axes) == len(found)


def test_only_the_images_that_are_listed_are_kept(model):
    callback = MisclassifiedImages(list(pairs()), n=2)
    look(model, callback)
    assert [image.shape for image in callback._shown] == [(4, 4, 1)] * 2 and callback._shown[0].base is None


def endless():
    while True:
        yield from pairs()


def test_a_part_of_batches_without_an_end(model):
    expected = look(model, MisclassifiedImages(X[:12], Y[:12]))
    for data in (endless(), streamed(X, Y).repeat()):
        found = look(model, MisclassifiedImages(data, batches=2))
        assert (found.count, found.index.tolist()) == (12, expected.index.tolist())


class Odd:
    def __iter__(self):
        yield {"image": X, "label": Y}


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: (streamed(X, Y), Y), ["hold classes themselves", "Leave out `y`"]),
        (lambda: (streamed(X),), ["hold no classes", "`y`"]),
        (lambda: (streamed(X).shuffle(22), Y), ["another order each time", "shuffling"]),
        (lambda: (streamed(X).unbatch().shuffle(22).batch(6), Y), ["another order each time", "shuffling"]),
        (lambda: (streamed(X, Y).unbatch(),), [".batch(64)"]),
        (lambda: (streamed(X, Y).repeat(),), ["no end", "batches=10"]),
        (lambda: (streamed(X).take(0), Y), ["at least one batch"]),
        (lambda: ((image for image in X), Y), ["batches of images", "(4, 4, 1)", "np.stack"]),
        (lambda: (Odd(),), ["dictionary of 'image', 'label'", "data.map"]),
        (lambda: (X,), ["no classes", "`y`"]),
        (lambda: (3, Y), ["int", "DataLoader"]),
        (lambda: ("images.npz", Y), ["str", "DataLoader"]),
        (lambda: ([X[0], X[1][:2]], Y[:2]), ["same shape"]),
        (lambda: ([(X, Y, Y, Y)],), ["a tuple of 4"]),
        (lambda: (streamed(X), Y[:5]), []),
    ],
)
def test_data_that_cannot_be_used(make, parts, model):
    with pytest.raises(DataError) as error:
        callback = MisclassifiedImages(*make())
        look(model, callback)
    assert all(part in str(error.value) for part in parts), str(error.value)


def test_an_iterator_without_an_end_stops(monkeypatch):
    monkeypatch.setattr("tfnorm.ops.batches.MOST_BYTES", 5000)
    with pytest.raises(DataError, match="did not end.*batches=10"):
        MisclassifiedImages(endless())


def test_images_that_do_not_fit_the_model_are_refused_before_training(model):
    with pytest.raises(DataError, match=r"shape \(None, 4, 4, 1\).*\(22, 4, 4, 3\)"):
        look(model, MisclassifiedImages(np.zeros((22, 4, 4, 3)), Y))


def test_a_diverged_model_predicts_nothing(tmp_path):
    callback = MisclassifiedImages(X, Y, path=tmp_path / "wrong.png")
    model = make_model(run_eagerly=True)
    model.set_weights([weight * np.nan for weight in model.get_weights()])
    fit(model, callback, epochs=1)
    assert callback.total == 22 and set(callback.result.predicted) == {-1}


@pytest.mark.parametrize(
    ("arguments", "options", "facts"),
    [
        (
            (X, Y),
            {"select": "last"},
            ("'last'", "confident, first"),
        ),
        (
            ({"image": X}, Y),
            {},
            ("`x`", "dictionary of 'image'", "one input and one output"),
        ),
        ((X, Y), {"every": 0}, ("at least 1", "every=0")),
        ((X, Y), {"n": 1.5}, ("at least 1", "n=1.5")),
        (
            (X, Y[:3]),
            {},
            ("3 classes", "22 images", "same order"),
        ),
        (
            (X, Y),
            {"path": "a.bmp"},
            (".png, .svg or .pdf", "'a.bmp'"),
        ),
        (
            (np.zeros((22, 4)), Y),
            {"path": "a.png"},
            ("`images`", "(images, height, width)", "shape (22, 4)"),
        ),
    ],
)
def test_misclassified_arguments(arguments, options, facts):
    with pytest.raises(DataError) as error:
        MisclassifiedImages(*arguments, **options)
    says(error, *facts)


@pytest.mark.parametrize(
    ("labels", "options", "facts"),
    [
        (
            Y,
            {"class_names": ["a", "b"]},
            ("`class_names`", "3 classes", "2 names"),
        ),
        (
            Y + 1,
            {},
            ("0 and 2", "3 classes", "1 to 3"),
        ),
    ],
)
def test_misclassified_arguments_that_do_not_fit_the_model(labels, options, facts):
    model = make_model()
    with pytest.raises(DataError) as error:
        fit(model, MisclassifiedImages(X, labels, **options))
    says(error, *facts)
    assert int(model.optimizer.iterations) == 0


@pytest.mark.parametrize("kind", ["inputs", "outputs"])
def test_models_with_several_inputs_or_outputs_are_refused_before_training(kind):
    first, second = keras.Input((4, 4, 1), name="a"), keras.Input((4, 4, 1), name="b")
    both = first + second if kind == "inputs" else first
    dense = keras.layers.Dense(3)(keras.layers.Flatten()(both))
    ends = {"inputs": ([first, second], dense), "outputs": (first, {"a": dense, "b": dense + 1})}
    model = keras.Model(*ends[kind])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(DataError) as error:
        y = Y if kind == "inputs" else {"a": Y, "b": Y}
        model.fit([X, X] if kind == "inputs" else X, y, verbose=0, callbacks=[MisclassifiedImages(X, Y)])
    says(error, f"2 {kind}", "tfnorm.reporting.misclassified_data")
    assert int(model.optimizer.iterations) == 0


def test_no_result_before_training():
    with pytest.raises(DataError) as error:
        MisclassifiedImages(X, Y).to_frame()
    says(error, "no result", "model.fit")
