"""Data that a person's own Python gives: every form gives the bits of arrays, and what is wrong is said at once."""

import itertools
import sys
from pathlib import Path

import keras
import numpy as np
import own_data
import pytest
from backends import tensorflow_only
from facts import one_says, says
from own_data import BATCH, few

from tfnorm.datasets import Batches, Dataset
from tfnorm.datasets.given.own import own_data as read
from tfnorm.datasets.given.pipeline import Pipeline
from tfnorm.errors import DataError

FILE = Path(own_data.__file__)
ORDERED = ["pydataset", "threaded", "dataloader", "generator"]


def load(given, seed=0, **settings):
    return read(given).load(seed, **settings)


def same(batches, others):
    batches, others = list(batches), list(others)
    assert len(batches) == len(others) > 0
    for batch, other in zip(batches, others, strict=True):
        for array, expected in zip(batch, other, strict=True):
            assert array.dtype == expected.dtype
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("form", ORDERED)
def test_a_pipeline_in_the_order_of_arrays_gives_their_bits(form):
    (x, y), (x_test, y_test) = few()
    of_arrays, data = load(own_data.arrays), load(f"{FILE}:{form}", seed=3)
    assert type(of_arrays) is Dataset and isinstance(data, Pipeline) and not data.shuffles
    np.testing.assert_array_equal(data.mean, of_arrays.mean)
    np.testing.assert_array_equal(data.std, of_arrays.std)
    np.testing.assert_array_equal(data.x_test, x_test)
    np.testing.assert_array_equal(data.y_test, y_test)
    ours, theirs = Batches(x, y, BATCH, seed=3), data.batches(None, seed=3)
    assert (len(theirs), theirs.images, data.batch_size) == (len(ours), 96, BATCH)
    for epoch in (0, 1, 4):  # as a run does that goes on after a break
        ours.epoch = theirs.epoch = epoch
        same(theirs.read(), ours.read())


def test_keras_is_given_the_batches_epoch_by_epoch():
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    start, found = model.get_weights(), []
    for batches in (Batches(*few()[0], BATCH, seed=1), load(f"{FILE}:pydataset").batches(None, seed=1)):
        model.set_weights(start)
        begin = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs, b=batches: setattr(b, "epoch", epoch))
        model.fit(batches.stream(), epochs=2, shuffle=False, verbose=0, callbacks=[begin])
        found.append(model.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_loader_that_shuffles_is_told_the_seed_and_the_epoch():
    data = load(f"{FILE}:loader_that_shuffles")
    assert not data.shuffles
    first, again = data.batches(None, seed=2), data.batches(None, seed=2)
    list(first.read())
    first.epoch = again.epoch = 1
    second = list(first.read())
    same(second, again.read())
    first.epoch = 0
    assert not np.array_equal(next(first.read())[0], second[0][0])


@tensorflow_only
@pytest.mark.parametrize(("form", "shuffles"), [("tf_data", False), ("tf_data_that_shuffles", True)])
def test_tf_data_that_shuffle_say_so(form, shuffles):
    data = load(f"{FILE}:{form}")
    record = data.describe()["pipeline"]
    assert (record["kind"], record["shuffles"]) == ("tf.data.Dataset", shuffles)
    one_says(data.sentences, "order", "your pipeline", "tf.data.Dataset")
    assert any("shuffles by itself" in sentence for sentence in data.sentences) == shuffles
    x, y = few()[0]
    seen = [(images, labels) for images, labels in data.batches(None, seed=0).read()]
    assert sorted(map(bytes, np.concatenate([images for images, _ in seen]))) == sorted(map(bytes, x))
    assert shuffles or np.array_equal(np.concatenate([labels for _, labels in seen]), y)


@tensorflow_only
def test_what_tf_data_draw_without_a_seed_is_drawn_alike_for_each_spec_and_process():
    first = load(f"{FILE}:tf_data_that_draws")
    load(f"{FILE}:tf_data")  # of which no more than one is kept
    again = load(f"{FILE}:tf_data_that_draws")
    assert first is not again and first.mean == again.mean
    one_says(first.sentences, "rounded to whole numbers")
    same(first.batches(None, seed=4).read(), again.batches(None, seed=4).read())
    begun = first.as_begun({"mean": [1.25], "std": [2.5]})
    assert (begun.mean, begun.std, begun.fingerprint) == ([1.25], [2.5], first.fingerprint)


def test_objects_are_taken_as_they_are_and_say_why_no_other_process_can_have_them():
    own = read({"train": own_data.Ordered(*few()[0], 0), "test": few()[1], "class_names": list("abcdefghij")})
    data = own.load()
    assert data.class_names[:2] == ("a", "b") and data.shuffles  # its hook goes on counting from run to run
    assert own.text is None
    says(own.why_no_text, "other process", "my_data.py:make")
    importable = read(own_data.pydataset)
    assert importable.text == f"{FILE}:pydataset" and importable.fingerprint


def test_weights_come_with_their_batches_and_are_recorded():
    data = load(f"{FILE}:weighted")
    assert data.has_weights and data.describe()["pipeline"]["weights"] == {"train": True, "test": True}
    one_says(data.sentences, "training and test", "multiplied by their weights", "accuracies")
    same(data.batches(None, seed=0).read(), own_data.weighted("train"))
    np.testing.assert_array_equal(data.w_test, np.linspace(0.5, 2, 40, dtype="float32"))


@pytest.mark.parametrize(
    ("pixels", "labels", "note"),
    [
        (lambda x: x.astype("float32") / 255, lambda y: y, "multiplied by 255"),
        (lambda x: x.astype("float64"), lambda y: np.eye(10)[y], None),
        (lambda x: x.astype("int32"), lambda y: y[:, None], None),
        (lambda x: x[..., 0], lambda y: np.eye(10, dtype="uint8")[y], None),
    ],
    ids=["floats in 0..1", "floats and one-hot", "integers and a column", "no channels"],
)
def test_pixels_and_labels_of_every_form_become_those_of_arrays(pixels, labels, note):
    parts = [[(pixels(x[:50]), labels(y[:50])), (pixels(x[50:]), labels(y[50:]))] for x, y in few()]
    data = load({"train": parts[0], "test": parts[1][:1]})
    (x, y), _ = few()
    same(data.batches(None, seed=0).read(), [(x[:50], y[:50]), (x[50:], y[50:])])
    assert any("255" in sentence for sentence in data.sentences) == bool(note)


def test_several_labels_stay_rows():
    rows = (np.arange(96)[:, None] % np.array([2, 3, 5]) == 0).astype("float32")
    data = load(([(few()[0][0], rows)], (few()[1][0], rows[:40])))
    assert data.multi_label and data.num_classes == 3
    (_, labels) = next(data.batches(None, seed=0).read())
    np.testing.assert_array_equal(labels, rows.astype("int64"))


def pair(train):
    return train, few()[1]


def batch(x=None, y=None):
    (images, labels), _ = few()
    return images[:40] if x is None else x, labels[:40] if y is None else y


def test_batches_that_fit_no_network_are_refused_in_a_sentence():
    (x, y), (x_test, y_test) = few()
    floats = x[:40] / 255.0
    cases = [
        (pair(5), ("int", "tf.data.Dataset", "function")),
        (pair(iter([batch()])), ("list_iterator", "only once", "function")),
        (pair([]), ("no image", "at least one batch")),
        (pair([x[:4]]), ("no classes", "pairs")),
        (pair([(x[0], 3)]), (".batch(64)",)),
        (pair([{"image": x, "label": y}]), ("dictionary", "'image', 'label'", "pairs")),
        (pair([batch(y=y[:39])]), ("40 images", "39 classes")),
        (pair([batch(), (x[:4, :20], y[:4])]), ("(28, 28, 1)", "(20, 28, 1)", "Resize")),
        (pair([batch(x.transpose(0, 3, 1, 2)[:40])]), ("channels last", "transpose(0, 2, 3, 1)")),
        (pair([batch(floats - 0.5)]), ("-0.5..0.5", "0..255", "standardization")),
        (pair([batch(floats * 1.2)]), ("1.2", "neither", "Clip")),
        (pair([batch(floats), batch()]), None),
        (pair([batch(floats), batch(x[:40].astype("float32"))]), ("after floats in 0..1",)),
        (pair([batch(), (*batch(), np.ones(40))]), ("some batches have weights", "all, or in none")),
        (pair([(*batch(), np.ones(3))]), ("weights", "(40,)", "(3,)")),
        (pair([(*batch(), 1, 2)]), ("tuple of 4",)),
        ((([batch(y=np.full(40, 2))]), few()[1]), ("class 0",)),
        ((few()[0], (x_test, y_test, np.ones(40))), ("arrays have no weights",)),
        ((few()[0], None), ("no test images", "both")),
        (few()[0], ("two arrays", "(train, test)")),
        ({"train": few()[0]}, ("a mapping of train", "test")),
    ]
    for given, facts in cases:
        if facts is None:
            load(given)
            continue
        with pytest.raises(DataError) as caught:
            load(given)
        says(caught, *facts)


def test_images_that_need_more_memory_than_they_may_are_refused():
    with pytest.raises(DataError) as caught:
        load(f"{FILE}:weighted", memory=20_000)
    says(caught, "own_data.py:weighted, test", "0.0 MiB", "--memory 8GB")


@tensorflow_only
def test_tf_data_without_an_end_or_with_a_shuffled_test_part_are_refused():
    endless = own_data.tf_data("train").repeat()
    for given, facts in [
        (pair(endless), ("no end", ".repeat()", ".take(100)")),
        ((own_data.tf_data("train"), own_data.tf_data_that_shuffles("train", 0)), ("test shuffles", "fixed order")),
    ]:
        with pytest.raises(DataError) as caught:
            load(given)
        says(caught, *facts)


def test_a_generator_without_an_end_is_refused(monkeypatch):
    monkeypatch.setattr("tfnorm.datasets.given.pipeline.MOST_IMAGES", 1000)
    with pytest.raises(DataError) as caught:
        load(pair(lambda: itertools.repeat(batch())))
    says(caught, "1,000 images", "did not end", "fewer batches")


def test_an_epoch_with_other_batches_than_the_first_is_refused():
    counts = iter([3, 2, 4])

    def batches():
        return [batch()] * next(counts)

    data = load(pair(batches))
    for more in ("fewer", "more"):
        with pytest.raises(DataError) as caught:
            list(data.batches(None, seed=0).read())
        says(caught, f"{more} batches in epoch 1", "first pass, 3", "each epoch")


MODULE = """
import own_data

def fails(split):
    return [1, 2][5]

def late():
    def batches(epoch):
        if epoch:
            raise OSError("the disk is gone")
        return own_data.weighted("train")
    return batches, own_data.few()[1]

def nothing():
    pass

def needs(width):
    return 1

def divides_by_seed(seed):
    x, y = own_data.few()[1]
    return own_data.Ordered(*own_data.few()[0], seed), (x[seed:], y[seed:])

number = 3
"""


@pytest.fixture
def my_data(tmp_path, monkeypatch):
    (tmp_path / "my_data.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("def make(:\n")
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path / "my_data.py"
    sys.modules.pop("my_data", None)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("nowhere.py:make", ("no file 'nowhere.py'", "'make'")),
        ("my_data.py", ("which function", "my_data.py:fails")),
        ("my_data.py:fail", ("no function 'fail'", "Did you mean 'fails'?")),
        ("my_data.py:number", ("'number'", "int of that name")),
        ("broken.py:make", ("broken.py", "SyntaxError", "line 1")),
        ("no_such_pack.data:make", ("no module 'no_such_pack.data'", "FILE.py:FUNCTION")),
    ],
)
def test_a_function_that_is_not_there_is_named_before_anything_is_run(text, facts, my_data):
    with pytest.raises(DataError) as caught:
        read(text)
    says(caught, *facts)
    assert "my_data" not in sys.modules


def test_what_a_function_does_wrong_is_said_with_its_line(my_data):
    for name, facts in [
        ("fails", ("my_data.py:fails", "IndexError", "my_data.py, line 5")),
        ("nothing", ("my_data.py:nothing", "None", "return")),
        ("needs", ("width", "split and seed", "defaults")),
    ]:
        with pytest.raises(DataError) as caught:
            load(f"my_data.py:{name}")
        says(caught, *facts)


def test_a_failure_in_a_later_epoch_is_said_with_its_line(my_data):
    batches = load("my_data.py:late").batches(None, seed=0)
    list(batches.read())
    batches.epoch = 1
    with pytest.raises(DataError) as caught:
        list(batches.read())
    says(caught, "my_data.py:late", "OSError", "the disk is gone", "line 10")


def test_a_seed_must_not_decide_the_test_images(my_data):
    own = read("my_data.py:divides_by_seed")
    assert own.load(0) is own.load(0)
    with pytest.raises(DataError) as caught:
        own.load(2)
    says(caught, "other test images", "seed=2", "seed=0")
    data = load(f"{FILE}:pydataset")
    assert load(f"{FILE}:pydataset", seed=5) is data


def test_a_file_that_changes_while_it_is_needed_is_refused(my_data):
    own = read("my_data.py:late")
    my_data.write_text(f"{MODULE}\n")
    with pytest.raises(DataError) as caught:
        own.load()
    says(caught, str(my_data), "has changed", "restore")


def test_what_is_named_otherwise_is_no_function(my_data):
    assert [read(name) for name in ("digits", "data", "x.npz", "hf:mnist", "tfds:mnist", Path("data"))] == [None] * 6


def test_a_pipeline_is_neither_resized_nor_divided():
    data = load(f"{FILE}:pydataset")
    assert data.resize(28) is data
    for change, facts in [
        (lambda: data.resize(32), ("28x28", "image_size=32")),
        (lambda: data.hold_out(0.2), ("holdout=0.2", "test images")),
        (lambda: data.x_train[0], ("batches",)),
    ]:
        with pytest.raises(DataError) as caught:
            change()
        says(caught, *facts)
    part = data.part(1, 99, 5)
    assert (len(part.x_train), len(part.x_test), part.fingerprint) == (BATCH, 5, data.fingerprint)
    same(part.batches(None, seed=0).read(), [next(Batches(*few()[0], BATCH, seed=0).read())])


def pictures(tmp_path, rows=40):
    """Return a table of `datasets` of pictures, with their pixels and classes."""
    import datasets
    from PIL import Image

    x = np.random.default_rng(0).integers(0, 256, (rows, 8, 8, 3), dtype=np.uint8)
    y = np.arange(rows) % 2
    features = datasets.Features({"photo": datasets.Image(), "kind": datasets.ClassLabel(names=["cat", "dog"])})
    columns = {"photo": [Image.fromarray(image) for image in x], "kind": y.tolist()}
    return datasets.Dataset.from_dict(columns, features=features), x, y


def test_data_sets_of_hugging_face_are_read_as_folders_are(tmp_path):
    import datasets

    from tfnorm.datasets.images import StreamedImages
    from tfnorm.datasets.sources import load as load_named

    table, x, y = pictures(tmp_path)
    parts = {"train": table.select(range(30)), "validation": table.select(range(30, 40))}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "both"))
    table.to_parquet(str(tmp_path / "one.parquet"))
    both = load_named("hf:both", data_dir=tmp_path)
    np.testing.assert_array_equal(both.x_train, x[:30])
    np.testing.assert_array_equal(both.y_test, y[30:])
    assert (both.name, both.class_names) == ("both", ("cat", "dog"))
    one_says(both.sentences, "no split test", "validation")
    one_says(both.sentences, "30 training and 10 test", "40 PNG", "8x8", "3 channels", str(tmp_path / "both"))
    streamed = load_named(f"hf:{tmp_path / 'both'}", memory=100)
    assert isinstance(streamed.x_train, StreamedImages) and streamed.fingerprint == both.fingerprint
    np.testing.assert_array_equal(streamed.x_train[[7, 2]], x[[7, 2]])
    one = load_named(f"hf:{tmp_path / 'one.parquet'}", test_share=0.3, image_size=4)
    assert (len(one.x_train), len(one.x_test), one.input_shape) == (28, 12, (4, 4, 3))
    assert one.reading.division == {"test_share": 0.3, "seed": 0}
    table.rename_column("kind", "other").remove_columns("photo").save_to_disk(str(tmp_path / "numbers"))
    for name, facts in [("numbers", ("one column of pictures", "none", "other (ClassLabel)")), ("./x", ("no x",))]:
        with pytest.raises(DataError) as caught:
            load_named(f"hf:{tmp_path / name}" if name == "numbers" else f"hf:{name}")
        says(caught, *facts)


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    from tfnorm.datasets.given import libraries

    monkeypatch.setattr(libraries.importlib.util, "find_spec", lambda name: None)
    for name, package, extra in [("hf:mnist", "datasets", "hf"), ("tfds:mnist", "tensorflow_datasets", "tfds")]:
        with pytest.raises(DataError) as caught:
            libraries.library_of(name)
        says(caught, name, package, f"pip install 'tfnorm[{extra}]'")


@pytest.mark.matrix
@tensorflow_only
def test_data_sets_of_tensorflow_are_read_as_folders_are(tmp_path):
    import tensorflow_datasets as tfds

    from tfnorm.datasets.sources import load as load_named

    _, x, y = pictures(tmp_path)
    parts = {"image": tfds.features.Image(shape=(8, 8, 3)), "label": tfds.features.ClassLabel(names=["cat", "dog"])}

    class Photos(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        url_infos = {}  # nothing is downloaded

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(parts))

        def _split_generators(self, _):
            return {"train": self._generate_examples(range(30)), "test": self._generate_examples(range(30, 40))}

        def _generate_examples(self, rows):
            yield from ((row, {"image": x[row], "label": int(y[row])}) for row in rows)

    builder = Photos(data_dir=str(tmp_path))
    builder.download_and_prepare()
    data = load_named(f"tfds:{builder.data_dir}")
    assert sorted(map(bytes, data.x_train)) == sorted(map(bytes, x[:30]))
    assert {bytes(image): label for image, label in zip(data.x_test, data.y_test, strict=True)} == {
        bytes(image): label for image, label in zip(x[30:], y[30:], strict=True)
    }
    assert (data.name, data.class_names) == ("photos", ("cat", "dog"))
    with pytest.raises(DataError) as caught:
        load_named("tfds:no_such_data_set", data_dir=tmp_path)
    says(caught, "tfds:no_such_data_set", "tensorflow_datasets", "path of a copy")
