"""What a run can be about, and how it measures it: metrics of all predictions, and those that a model brings."""

import json

import keras
import numpy as np
import own_networks
import pytest
from facts import says
from keras import layers

from tfnorm import compare, sweep, train
from tfnorm.datasets import load
from tfnorm.datasets.dataset import Dataset
from tfnorm.errors import TfnormError
from tfnorm.metrics.known import KNOWN
from tfnorm.metrics.metric import ACCURACY
from tfnorm.metrics.scores import score
from tfnorm.training.config import TrainConfig, checked, default_name
from tfnorm.training.network.network import make_network
from tfnorm.training.runs import Run

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (24, *own_networks.SHAPE), np.uint8)
CLASSES = np.arange(24) % 4
SEVERAL = np.concatenate([np.eye(4, dtype=int), np.ones((1, 4), int), np.zeros((1, 4), int)])[np.arange(24) % 6]


def dataset(labels, names="abcd", **others):
    return Dataset("noise", IMAGES, labels, IMAGES[:12], labels[:12], tuple(names), **others)


def net(units=4, activation=None, **compiled):
    """Return a function that makes a small model with such an output."""

    def make():
        inputs = keras.Input(own_networks.SHAPE)
        x = layers.BatchNormalization()(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(inputs)))
        model = keras.Model(inputs, layers.Dense(units, activation)(layers.GlobalAveragePooling2D()(x)))
        if compiled:
            model.compile(optimizer="adam", **compiled)
        return model

    return make


def settings(model, **others):
    return {"model": model, "epochs": 2, "batch_size": 8, **others}


def test_a_run_records_its_metric_each_epoch_and_its_best_is_by_that(tmp_path):
    run = train("keep", **settings(net(), metric="val_loss"), data=dataset(CLASSES), out=tmp_path)
    assert run.metric == KNOWN["loss"][0] and run.metric.direction == "min"
    assert run.result["best_epoch"] == int(run.history["val_loss"].argmin())
    value = {"name": "loss", "direction": "min", "percent": False}
    assert run.config["metric"] == value and run.config["asked"]["metric"] == "loss"
    assert run.result["metric"] == {**value, "value": run.history["val_loss"].iloc[-1]}


@pytest.mark.parametrize(
    ("labels", "make", "metric"),
    [
        (CLASSES, net(), "balanced_accuracy"),
        (CLASSES % 2, net(1, "sigmoid"), "auc"),
        (SEVERAL, net(4, "sigmoid"), None),
        (SEVERAL, net(), "f1"),
    ],
)
def test_scores_in_the_history_are_those_of_the_predictions(labels, make, metric, tmp_path):
    names = "abcd" if labels is not CLASSES and labels.ndim == 2 or labels is CLASSES else "ab"
    run = train("keep", **settings(make, metric=metric), data=dataset(labels, names), out=tmp_path)
    name = metric or "mean_average_precision"
    assert run.metric.key == f"val_{name}" and run.logits.shape == (12, len(names))
    assert run.history[run.metric.key].iloc[-1] == score(name, run.labels, run.logits)
    assert ("accuracy" in run.history) == (not run.multi_label)
    assert (run.result["misclassified"] is None) == run.multi_label == (not (tmp_path / "misclassified.png").exists())
    np.testing.assert_array_equal(run.labels, labels[:12])


@pytest.mark.parametrize(
    ("make", "labels"),
    [(net(4, "sigmoid"), SEVERAL), (net(), SEVERAL), (net(1), CLASSES % 2), (net(1, "sigmoid"), CLASSES % 2)],
)
def test_the_loss_is_the_binary_cross_entropy_of_the_outputs(make, labels):
    data = dataset(labels, "abcd" if labels is SEVERAL else "ab")
    network = make_network(TrainConfig(norm="keep", model=make).resolved(), data)
    outputs = np.asarray(network.model.predict_on_batch(data.x_test), "float64")
    shares = outputs if network.head.activation == "sigmoid" else 1 / (1 + np.exp(-outputs))
    true = labels[:12].reshape(shares.shape)
    expected = -np.mean(true * np.log(shares) + (1 - true) * np.log(1 - shares))
    loss, measure = network.head.losses()
    assert float(loss(data.y_test, outputs.astype("float32"))) == pytest.approx(expected, rel=1e-5)
    measure.update_state(data.y_test, outputs.astype("float32"))
    assert float(measure.result()) == pytest.approx(expected, rel=1e-5)
    logits = network.head.to_logits(outputs)
    expected = np.log(shares / (1 - shares))
    np.testing.assert_allclose(logits[:, -1], expected[:, -1], rtol=1e-3, atol=1e-5)


def test_a_comparison_of_several_labels_has_no_right_or_wrong_images(tmp_path):
    data = dataset(SEVERAL)
    found = compare(["keep", "gn:2"], **settings(net(4, "sigmoid")), seeds=1, data=data, out=tmp_path)
    page = (tmp_path / "report.html").read_text()
    says(page, "test mean average precision", "several labels each, or none")
    assert "Misclassified images" not in page and "test accuracy" not in page and "browser-cards" not in page
    names = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert names == {
        "report.html", "table.csv", "runs.csv", "comparison.json", "loss.png", "metric.png", "differences.png"
    }  # fmt: skip
    assert found.table["last_mean_average_precision"].between(0, 1).all()
    assert found.table["misclassified"].isna().all() and found.table["learned"].isna().all()
    for call in (lambda: found.errors("keep", "gn:2"), found.plot_confusion, found.plot_overlap, found.plot_gap):
        with pytest.raises(TfnormError):
            call()
    again = compare(["keep", "gn:2"], **settings(net(4, "sigmoid")), seeds=1, data=data, out=tmp_path)
    assert again.table.equals(found.table)


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("labels", "make"),
    [
        (np.eye(4)[CLASSES], net(4, "softmax", loss="categorical_crossentropy", metrics=["accuracy"])),
        (np.eye(4)[CLASSES], net()),
        (CLASSES % 2, net(1)),
        (CLASSES % 2, net(1, "sigmoid", loss="binary_crossentropy", metrics=["accuracy"])),
    ],
)
def test_one_hot_labels_and_one_output_are_compared_by_accuracy(labels, make, tmp_path):
    data = dataset(labels, "abcd" if labels.ndim == 2 else "ab")
    found = compare(["keep", "gn:2"], **settings(make), seeds=1, data=data, out=tmp_path)
    for run in found.runs:
        right = run.logits.argmax(axis=1) == data.y_test
        assert run.history["val_accuracy"].iloc[-1] == pytest.approx(right.mean())
        assert run.result["misclassified"] == (~right).sum()
    says((tmp_path / "report.html").read_text(), "test accuracy", "Misclassified images")


def test_architectures_of_ours_take_several_labels(tmp_path):
    run = train("gn:2", arch="tiny", epochs=1, batch_size=8, data=dataset(SEVERAL).resize(28), out=tmp_path)
    assert run.metric.name == "mean average precision" and np.isfinite(run.history["val_data_loss"]).all()
    model = run.load_model()
    expected = keras.losses.BinaryCrossentropy(from_logits=True)(SEVERAL[:12], run.logits)
    assert run.history["val_data_loss"].iloc[-1] == pytest.approx(float(expected), rel=1e-5)
    assert isinstance(model.loss, keras.losses.BinaryCrossentropy)


def worst_class(y_true, y_pred):
    """Return a number that nobody can tell the direction of."""
    return keras.ops.mean(keras.ops.cast(y_true, y_pred.dtype) * y_pred, axis=-1)


OWN = {
    "sparse": (
        {"loss": "sparse_categorical_crossentropy"},
        CLASSES,
        keras.metrics.SparseTopKCategoricalAccuracy(2, "top"),
    ),
    "one-hot": ({"loss": "categorical_crossentropy"}, CLASSES, keras.metrics.TopKCategoricalAccuracy(2, "top")),
    "one-hot error": ({"loss": "categorical_crossentropy"}, CLASSES, keras.metrics.MeanSquaredError("top")),
    "one output": ({"loss": "binary_crossentropy"}, CLASSES % 2, keras.metrics.Precision(name="top")),
    "several": ({"loss": "binary_crossentropy"}, SEVERAL, keras.metrics.Precision(name="top")),
}


@pytest.mark.parametrize("case", OWN)
def test_a_metric_that_the_model_is_compiled_with(case, tmp_path):
    compiled, labels, measure = OWN[case]
    single = case == "one output"
    activation = "softmax" if case in ("sparse", "one-hot", "one-hot error") else "sigmoid"
    make = net(1 if single else 4, activation, metrics=[measure], **compiled)
    run = train("keep", **settings(make, metric="top"), data=dataset(labels, "ab" if single else "abcd"), out=tmp_path)
    assert run.metric.direction == ("min" if "error" in case else "max")
    assert run.metric.percent == (case in ("sparse", "one-hot"))
    shares = 1 / (1 + np.exp(-run.logits[:, single:])) if activation == "sigmoid" else np.exp(run.logits)
    again = type(measure).from_config(measure.get_config())
    again.update_state(
        np.eye(4)[labels[:12]] if "one-hot" in case else labels[:12].reshape(12, -1), shares.astype("float32")
    )
    assert run.history["val_top"].iloc[-1] == pytest.approx(float(again.result()), rel=1e-5)
    assert Run(run.path).metric == run.metric and "top" in run.history


CATEGORICAL = keras.losses.CategoricalCrossentropy(from_logits=True)
BINARY = keras.losses.BinaryCrossentropy(from_logits=True)


@pytest.mark.parametrize(
    ("labels", "make", "metric", "facts"),
    [
        (CLASSES, net(), "mean_average_precision", ("several labels", "one class each", "accuracy")),
        (SEVERAL, net(), "accuracy", ("one class each", "several labels", "mean_average_precision", "f1")),
        (SEVERAL, net(), "top_5_accuracy", ("top_5_accuracy", "one class each", "several labels")),
        (SEVERAL, net(4, "softmax"), None, ("softmax", "several labels", "sigmoid")),
        (SEVERAL, net(3), None, ("3 outputs", "4 classes")),
        (SEVERAL, net(1), None, ("1 outputs", "4 classes")),
        (SEVERAL, net(loss=CATEGORICAL), None, ("one class each", "BinaryCrossentropy(from_logits=True)")),
        (SEVERAL, net(4, "sigmoid", loss=BINARY), None, ("probabilities", "logits")),
        (CLASSES, net(4, "sigmoid"), None, ("sigmoid", "one each", "softmax")),
        (CLASSES % 2, net(1, loss=CATEGORICAL), None, ("one output", "BinaryCrossentropy(from_logits=True)")),
        (CLASSES, net(), "top_4_accuracy", ("top_4_accuracy", "100 %", "4 classes")),
        (CLASSES, net(), "my_score", ("my_score", "compiled", "own")),
        (CLASSES, net(loss="mse", metrics=["mae"]), "my_score", ("my_score", "mae", "balanced_accuracy")),
        (CLASSES, net(loss="mse", metrics=[worst_class]), "worst_class", ("worst_class:max", "worst_class:min")),
        (np.zeros(24, int), net(4), "auc", ("auc", "two classes")),
        *(
            (CLASSES, net(loss=CATEGORICAL, metrics=[kind(name="own")]), "own", ("'own'", "probabilities", "logits"))
            for kind in (keras.metrics.AUC, keras.metrics.Precision, keras.metrics.BinaryAccuracy)
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_a_sentence_before_training(labels, make, metric, facts, tmp_path):
    with pytest.raises(TfnormError) as refused:
        names = "ab" if labels.max() == 1 and labels.ndim == 1 else "abcd"
        compare(["keep"], **settings(make, metric=metric), seeds=1, data=dataset(labels, names), out=tmp_path)
    says(refused, *facts)
    assert "\n" not in str(refused.value) and not list(tmp_path.rglob("config.json"))


def test_processes_are_not_begun_for_a_metric_that_does_not_fit(tmp_path):
    name = "mean_average_precision"
    grid = {"settings": {"metric": name, "epochs": 1}, "grid": {"norm": ["bn"], "seeds": 1}}
    for begin in (
        lambda: sweep(grid, out=tmp_path, jobs=1),
        lambda: compare(["bn"], metric=name, seeds=1, epochs=1, out=tmp_path, jobs=1),
    ):
        with pytest.raises(TfnormError) as refused:
            begin()
        says(refused, name, "several labels", "one class each")
        assert not list(tmp_path.rglob("config.json"))


def test_a_direction_that_is_said_is_taken(tmp_path):
    make = net(loss="mse", metrics=[worst_class])
    for direction in ("min", "max"):
        config = TrainConfig(norm="keep", model=make, metric=f"worst_class:{direction}").resolved()
        assert make_network(config, dataset(CLASSES)).metric.direction == direction


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("acuracy", ("acuracy", "accuracy", "f1")),
        ("f1:min", ("Higher", "f1")),
        ("loss:max", ("Lower", "loss")),
        ("f1:up", ("up", "max", "min")),
        ("top_0_accuracy", ("top_0_accuracy",)),
        ("", ("metric",)),
    ],
)
def test_an_unknown_metric_is_refused_without_keras(name, facts):
    with pytest.raises(TfnormError) as refused:
        checked(TrainConfig, {"norm": "bn", "metric": name})
    says(refused, *facts)


def test_the_usual_metric_is_not_part_of_what_was_asked():
    plain = TrainConfig(norm="bn")
    for name in ("accuracy", "val_accuracy", "mean_average_precision"):
        named = TrainConfig(norm="bn", metric=name)
        assert named.asked() == plain.asked() and default_name(named) == default_name(plain)
    assert TrainConfig(norm="bn", metric="val_f1").asked()["metric"] == "f1"


def test_a_folder_of_an_earlier_version_is_about_accuracy_and_taken_up(tmp_path):
    asked = {"norm": "gn:2", "epochs": 1, "batch_size": 16, "data": dataset(CLASSES).resize(28), "out": tmp_path}
    run = train(**asked)
    before = run.history
    for file in ("config.json", "result.json"):
        content = json.loads((tmp_path / file).read_text())
        del content["metric"]
        (tmp_path / file).write_text(json.dumps(content))
    again = train(**asked, metric="accuracy")
    assert again.metric is ACCURACY
    assert again.history.equals(before)
    with pytest.raises(TfnormError) as refused:
        train(**asked, metric="f1")
    says(refused, "metric is None there and 'f1' now", "another output folder")


def test_labels_of_two_dimensions_are_one_hot_or_several(tmp_path):
    rows = np.eye(4)[CLASSES]
    one_hot, kept = dataset(rows), dataset(rows, multi_label=True)
    assert not one_hot.multi_label and one_hot.y_train.tolist() == CLASSES.tolist()
    assert one_hot.fingerprint == dataset(CLASSES).fingerprint
    assert kept.multi_label and kept.y_train.tolist() == rows.tolist() and kept.describe()["multi_label"]
    arrays = {"x_train": IMAGES, "x_test": IMAGES[:12]}
    for name, labels, flag, expected in [
        ("one-hot", rows, None, False), ("several", SEVERAL, None, True), ("said", rows, True, True),
    ]:  # fmt: skip
        more = {} if flag is None else {"multi_label": flag}
        np.savez(tmp_path / f"{name}.npz", y_train=labels, y_test=labels[:12], **arrays, **more)
        found = load(tmp_path / f"{name}.npz")
        assert found.multi_label is expected and found.num_classes == 4
    held = load(tmp_path / "several.npz").hold_out(0.5)
    assert held.multi_label and held.y_test.shape == (12, 4)


@pytest.mark.parametrize(
    ("labels", "more", "facts"),
    [
        (SEVERAL * 2, {}, ("y_train", "0 and 1")),
        (SEVERAL / 2, {}, ("y_train", "0 and 1", "float64")),
        (SEVERAL, {"multi_label": False}, ("single 1", "multi_label")),
        (CLASSES, {"multi_label": True}, ("rows of 0 and 1", "(24,)")),
        (SEVERAL * [1, 1, 1, 0], {}, ("class 3", "training image", "column")),
    ],
)
def test_rows_that_are_no_labels_are_refused(labels, more, facts, tmp_path):
    np.savez(tmp_path / "a.npz", x_train=IMAGES, x_test=IMAGES[:12], y_train=labels, y_test=labels[:12], **more)
    with pytest.raises(TfnormError) as refused:
        load(tmp_path / "a.npz")
    says(refused, *facts)
