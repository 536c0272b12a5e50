"""The warning at the first batch whose pixels do not fit the model."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfnorm import ArchSpec, build, convert
from tfnorm.models.architectures import Conv, GlobalPool

TINY = ArchSpec("tiny", "one block", (8, 8, 1), (Conv(4), GlobalPool(), Conv(None, 1, parts=())))
RAW = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1))
Y = np.arange(24) % 10


class Batches(keras.utils.PyDataset):
    def __init__(self, x, **kwargs):
        super().__init__(**kwargs)
        self.x, self.epochs = x, 0

    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = slice(8 * index, 8 * index + 8)
        return self.x[part], Y[part]

    def on_epoch_end(self):
        self.epochs += 1


def generated(x):
    while True:
        yield from Batches(x)


def dataset(x):
    return tf.data.Dataset.from_tensor_slices((x, Y)).batch(8)


def said(function):
    """Return what a function says of pixels."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return [str(each.message) for each in caught if "pixels" in str(each.message)]


METHODS = {
    "fit": lambda model, x: model.fit(x, Y, epochs=2, verbose=0),
    "evaluate": lambda model, x: model.evaluate(x, Y, verbose=0),
    "predict": lambda model, x: model.predict(x, verbose=0),
    "train_on_batch": lambda model, x: model.train_on_batch(x, Y),
    "test_on_batch": lambda model, x: model.test_on_batch(x, Y),
    "predict_on_batch": lambda model, x: model.predict_on_batch(x),
    "by name": lambda model, x: model.predict(x=x, verbose=0),
}
SLOW = ("fit", "train_on_batch")  # they train, and go the way of the others; a generator is given to `fit` below
DATA = {
    "float16": lambda x: x.astype("float16"),
    "float64": lambda x: x.astype("float64"),
    "tensor": lambda x: tf.constant(x, "float32"),
    "without channels": lambda x: x[..., 0],
    "dataset": dataset,
    "dataset of images": lambda x: tf.data.Dataset.from_tensor_slices(x).batch(8),
    "dataset of dictionaries": lambda x: tf.data.Dataset.from_tensor_slices({"image": x}).batch(8),
    "PyDataset": Batches,
    "PyDataset with threads": lambda x: Batches(x, workers=2),
    "list": lambda x: [x],
    "dictionary": lambda x: {"image": x},
}


@pytest.mark.parametrize(
    "method", [pytest.param(method, marks=pytest.mark.matrix if method in SLOW else []) for method in METHODS]
)
def test_every_method_warns_once_for_each_model(method):
    for eager in (False, True):
        model = build(TINY)
        model.run_eagerly = eager
        (sentence,) = said(lambda model=model: [METHODS[method](model, RAW / 255) for _ in range(2)])
        for word in ("between 0 and 1", "pixel_max=1", "128", "63.8"):
            assert word in sentence


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.matrix if kind in ("float16", "dataset of dictionaries") else [])
        for kind in DATA
    ],
)
def test_all_kinds_of_data_are_looked_at(kind):
    model = build(TINY)
    assert len(said(lambda: model.predict(DATA[kind](RAW / 255), verbose=0))) == 1


@pytest.mark.matrix
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize("kind", ["dataset", "PyDataset", "PyDataset with threads"])
def test_every_method_looks_at_all_kinds_of_data(method, kind):
    model = build(TINY)
    assert len(said(lambda: getattr(model, method)(DATA[kind](RAW / 255), verbose=0))) == 1


def test_a_generator_is_looked_at():
    model = build(TINY)
    model.run_eagerly = True
    assert len(said(lambda: model.fit(generated(RAW / 255), steps_per_epoch=2, epochs=2, verbose=0))) == 1


@pytest.mark.parametrize(
    ("name", "options", "x"),
    [
        ("raw", {}, RAW),
        pytest.param("raw as float", {}, RAW.astype("float32"), marks=pytest.mark.matrix),
        ("divided and built for it", {"pixel_max": 1.0}, RAW / 255),
        pytest.param("divided, with own statistics", {"mean": 0.5, "std": 0.3}, RAW / 255, marks=pytest.mark.matrix),
        ("standardized, with own statistics", {"mean": 0.0, "std": 1.0}, (RAW - 128) / 80),
        ("black", {}, np.zeros(RAW.shape, "float32")),
        ("white of 1", {}, np.ones(RAW.shape, "float32")),
        ("two values", {}, RAW % 2),
        pytest.param("dark", {}, RAW * 0.1, marks=pytest.mark.matrix),
        ("dark bytes", {}, (RAW % 5).astype("uint8")),
        ("resized", {}, RAW * 1.01 - 1),
        ("bright and built for divided", {"pixel_max": 1.0}, RAW / 255 * 1.2),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_images_that_fit_are_taken_without_a_word(name, options, x):
    assert said(lambda: build(TINY, **options).predict(x, verbose=0)) == []


@pytest.mark.parametrize(
    ("name", "options", "x", "words"),
    [
        ("divided", {}, RAW / 255, ["0 and 1"]),
        pytest.param("divided by 127.5 less 1", {}, RAW / 127.5 - 1, ["-1 and 1"], marks=pytest.mark.matrix),
        ("standardized", {}, (RAW - 128) / 80, ["-1.6 and 1.5875"]),
        ("raw for divided", {"pixel_max": 1.0}, RAW, ["0 and 255", "subtracts 0.5", "pixel_max=255"]),
        pytest.param(
            "raw bytes for divided", {"pixel_max": 1.0}, RAW.astype("uint8"), ["0 and 255"], marks=pytest.mark.matrix
        ),
        ("16 bits", {}, RAW * 257, ["65535"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_images_that_do_not_fit_are_named(name, options, x, words):
    (sentence,) = said(lambda: build(TINY, **options).predict(x, verbose=0))
    for word in words:
        assert word in sentence


def test_only_the_first_batch_is_looked_at():
    model = build(TINY)
    assert said(lambda: [model.predict(x, verbose=0) for x in (RAW, RAW / 255)]) == []


def test_copies_look_for_themselves(tmp_path):
    model = build(TINY)
    model.predict(RAW, verbose=0)
    model.save(tmp_path / "model.keras")
    for copy in (
        keras.models.load_model(tmp_path / "model.keras"),
        keras.models.clone_model(model),
        convert.replace_norms(model, "ln"),
        convert.accelerate(model),
    ):
        assert len(said(lambda copy=copy: copy.predict(RAW / 255, verbose=0))) == 1


def test_data_that_shuffle_are_seen_in_the_same_order():
    """Reading the first batch ahead would move on the order of the epochs."""
    orders = []
    for looked in (False, True):
        tf.random.set_seed(0)
        seen = []
        data = tf.data.Dataset.from_tensor_slices((RAW / 255, Y)).shuffle(24, seed=1).batch(24)
        data = data.map(lambda x, y, seen=seen: (x, tf.numpy_function(lambda y: seen.append(y) or y, [y], tf.int64)))
        model = build(TINY, compile=False)
        model._has_looked = looked
        for _ in range(2):
            list(model.watched(data))
        orders.append(seen)
    np.testing.assert_array_equal(*orders)
    assert (orders[0][0] != orders[0][1]).any()


def test_a_py_dataset_is_read_as_it_is():
    ended = []
    for looked in (False, True):
        data, model = Batches(RAW), build(TINY)
        model._has_looked, model.run_eagerly = looked, True
        model.fit(data, epochs=2, verbose=0)
        ended.append(data.epochs)
    assert ended[0] == ended[1] >= 2


@pytest.mark.parametrize("nested", [False, True])
def test_nothing_is_said_where_the_class_has_no_part_in_a_stock_model(nested):
    model = build(TINY, norm="gn:2")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        convert.to_keras(keras.Sequential([keras.Input((8, 8, 1)), model]) if nested else model)
    assert [str(each.message) for each in caught if "ImageClassifier" in str(each.message)] == []


def test_it_is_a_functional_model():
    model = build(TINY)
    assert isinstance(model, type(keras.Model(model.input, model.output)))
    part = keras.Model(model.input, model.get_layer("conv1").output)
    assert said(lambda: part.predict(RAW / 255, verbose=0)) == []
