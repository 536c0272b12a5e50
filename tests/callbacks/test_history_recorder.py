"""The journal of a training."""

import json
import math

import keras
import numpy as np
import pytest
from backends import SEVERAL_STEPS
from facts import says
from watched import L1, VAL, X, Y, fit, make_model

from tfnorm.callbacks import HistoryRecorder
from tfnorm.errors import RunError
from tfnorm.history import read_history

KEYS = ["schema_version", "epoch", "loss", "data_loss", "penalty", "accuracy"]
VAL_KEYS = ["val_loss", "val_data_loss", "val_penalty", "val_accuracy"]
LAST_KEYS = ["lr", "seconds", "train_seconds", "images_per_second"]


def data_loss_metric():
    return keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="data_loss")


def test_record_in_memory_and_file(tmp_path):
    recorder = HistoryRecorder(tmp_path / "new" / "history.jsonl")
    history = fit(make_model(), recorder, validation_data=VAL).history
    assert [list(record) for record in recorder.records] == [KEYS + VAL_KEYS + LAST_KEYS] * 2
    assert [record["epoch"] for record in recorder.records] == [0, 1]
    for key in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert [record[key] for record in recorder.records] == history[key]
    for record in recorder.records:
        assert (record["schema_version"], record["penalty"], record["val_penalty"]) == (1, 0.0, 0.0)
        assert record["data_loss"] == record["loss"] and record["val_data_loss"] == record["val_loss"]
        assert 0 < record["train_seconds"] < record["seconds"]
        assert record["images_per_second"] == pytest.approx(22 / record["train_seconds"])
    assert read_history(recorder.path) == recorder.records
    frame = recorder.to_frame()
    assert frame.index.name == "epoch" and frame.index.tolist() == [0, 1] and frame["loss"].tolist() == history["loss"]


def test_without_validation_and_without_file():
    recorder = HistoryRecorder()
    assert recorder.to_frame().empty
    fit(make_model(run_eagerly=True), recorder)
    assert [list(record) for record in recorder.records] == [KEYS + LAST_KEYS] * 2
    assert recorder.records[1]["seconds"] >= recorder.records[1]["train_seconds"]


def test_penalty_is_what_keras_added_to_the_loss():
    # The compiled metric measures the loss without penalty on the very batches, the last of which is smaller.
    measured, computed = HistoryRecorder(), HistoryRecorder()
    fit(make_model(L1, [data_loss_metric()]), measured, validation_data=VAL)
    model = make_model(L1)
    fit(model, computed, validation_data=VAL)
    for one, other in zip(measured.records, computed.records, strict=True):
        for key in ("loss", "data_loss", "penalty", "val_loss", "val_data_loss", "val_penalty"):
            assert one[key] == pytest.approx(other[key], abs=2e-6), key
        assert one["penalty"] > 0.05
    exact = sum(0.01 * np.abs(np.asarray(weight, "float64")).sum() for weight in (model.weights[0], model.weights[3]))
    assert computed.records[-1]["val_penalty"] == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("steps", [1, pytest.param(22, marks=pytest.mark.matrix)])
def test_penalty_of_a_model_that_its_first_batch_builds(steps):
    recorders = []
    for inputs in ([keras.layers.Input((4, 4, 1))], []):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Flatten(), keras.layers.Dense(3, kernel_regularizer=L1)]
        model = keras.Sequential(inputs + layers)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, run_eagerly=steps == 1)
        recorders.append(HistoryRecorder())
        fit(model, recorders[-1], batch_size=22 // steps, validation_data=VAL)
    built, unbuilt = (recorder.records for recorder in recorders)
    for one, other in zip(built, unbuilt, strict=True):
        assert other["penalty"] == pytest.approx(one["penalty"], rel=0.02) and one["penalty"] > 0.05
        assert other["data_loss"] == pytest.approx(other["loss"] - other["penalty"])
        assert other["val_penalty"] == pytest.approx(one["val_penalty"], rel=1e-5)


@pytest.mark.matrix
def test_penalty_is_zero_without_a_regularizer():
    recorder = HistoryRecorder()
    fit(make_model(None, [data_loss_metric()], run_eagerly=True), recorder, validation_data=VAL)
    assert [(record["penalty"], record["val_penalty"]) for record in recorder.records] == [(0.0, 0.0)] * 2


def test_penalty_of_weights_that_are_swapped_for_validation():
    measured, computed = HistoryRecorder(), HistoryRecorder()
    for recorder, metrics in ((measured, [data_loss_metric()]), (computed, [])):
        optimizer = keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.9)
        model = make_model(L1, metrics, optimizer, run_eagerly=True)
        fit(model, keras.callbacks.SwapEMAWeights(), recorder, validation_data=VAL)
    for one, other in zip(measured.records, computed.records, strict=True):
        assert one["val_penalty"] == pytest.approx(other["val_penalty"], abs=2e-6)
        assert abs(one["val_penalty"] - one["penalty"]) > 1e-4


def test_frozen_weights_have_no_penalty():
    model = make_model(L1, run_eagerly=True)
    model.layers[2].trainable = False
    model.compile("sgd", model.loss, run_eagerly=True)
    recorder = HistoryRecorder()
    fit(model, recorder, validation_data=VAL)
    assert recorder.records[-1]["val_penalty"] == pytest.approx(0.01 * np.abs(model.weights[-1]).sum(), rel=1e-6)


def test_learning_rate_is_that_of_the_last_step():
    def run(optimizer, *callbacks):
        recorder = HistoryRecorder()
        fit(make_model(optimizer=optimizer, run_eagerly=True), *callbacks, recorder)
        return [record["lr"] for record in recorder.records]

    # Three steps an epoch; the schedule counts from 0, so the last steps are numbers 2 and 5.
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)
    assert run(keras.optimizers.SGD(schedule)) == pytest.approx([0.8, 0.5])
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(schedule), initial_scale=2.0)
    assert run(scaled) == pytest.approx([0.8, 0.5])
    accumulating = keras.optimizers.SGD(0.25, gradient_accumulation_steps=2)
    assert run(accumulating) == [0.25, 0.25]
    # Plateau lowers the rate after the epoch, before the recorder sees its end.
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=100)
    assert run(keras.optimizers.SGD(0.5), plateau) == [0.5, 0.5]
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.5 ** (epoch + 1))
    assert run(keras.optimizers.SGD(0.1), halve) == [0.5, 0.25]


class Evaluates(keras.callbacks.Callback):
    """Resets the metrics of the model before the recorder sees the end of the epoch."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.evaluate(X[:20], Y[:20], verbose=0)


class EvaluatesBetween(keras.callbacks.Callback):
    """Resets the metrics between two batches."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.evaluate(X[:4], Y[:4], verbose=0)


def test_images_per_second():
    def run(*callbacks, model=None, **options):
        recorder = HistoryRecorder(**options)
        fit(model or make_model(run_eagerly=True), *callbacks, recorder, epochs=1)
        record = recorder.records[0]
        images = record["images_per_second"]
        return None if images is None else round(images * record["train_seconds"], 6)

    assert run() == 22
    assert run(images_per_epoch=44) == 44
    assert run(Evaluates()) == 22
    assert run(EvaluatesBetween()) is None
    assert run(EvaluatesBetween(), images_per_epoch=22) == 22
    assert run(model=make_model(steps_per_execution=SEVERAL_STEPS)) == 22


def test_penalty_where_another_callback_has_evaluated():
    undisturbed, recorder = HistoryRecorder(), HistoryRecorder()
    fit(make_model(L1, run_eagerly=True), undisturbed)
    fit(make_model(L1, run_eagerly=True), Evaluates(), recorder)
    for one, other in zip(undisturbed.records, recorder.records, strict=True):
        assert one["data_loss"] == pytest.approx(other["data_loss"], abs=1e-6)


def nan_record(path):
    model = make_model(optimizer=keras.optimizers.SGD(1e30), run_eagerly=True)
    recorder = HistoryRecorder(path)
    fit(model, recorder, epochs=3)
    return recorder


def test_values_that_are_not_finite_are_valid_json(tmp_path):
    recorder = nan_record(tmp_path / "history.jsonl")
    last = recorder.path.read_text().splitlines()[-1]
    plain = json.loads(last, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert plain["loss"] is None and plain["nonfinite"] == ["loss", "data_loss"]
    record = read_history(recorder.path)[-1]
    assert math.isnan(record["loss"]) and math.isnan(record["data_loss"]) and "nonfinite" not in record
    assert list(record) == list(recorder.records[-1])


def test_metric_with_several_values(tmp_path):
    recorder = HistoryRecorder(tmp_path / "history.jsonl")
    recorder.set_model(make_model())
    recorder.on_train_begin()
    recorder.on_epoch_begin(0)
    recorder.on_epoch_end(0, {"loss": 1.0, "per_class": np.array([0.5, np.nan, 1.0])})
    np.testing.assert_array_equal(read_history(recorder.path)[0]["per_class"], [0.5, np.nan, 1.0])


def write_two(path):
    feed = Feed(HistoryRecorder(path))
    feed.epoch(0)
    feed.epoch(1)
    return feed.recorder.records


class Feed:
    """Give a recorder epochs without training a model."""

    model = make_model()

    def __init__(self, recorder):
        self.recorder = recorder
        recorder.set_model(self.model)
        recorder.on_train_begin()

    def epoch(self, number):
        self.recorder.on_epoch_begin(number)
        self.recorder.on_epoch_end(number, {"loss": 1.0 + number, "accuracy": 0.5})


@pytest.mark.matrix
def test_a_file_cut_at_any_byte_is_read_and_appended_to(tmp_path):
    records = write_two(tmp_path / "whole.jsonl")
    data = (tmp_path / "whole.jsonl").read_bytes()
    path = tmp_path / "cut.jsonl"
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        whole = data[:size].count(b"\n")
        assert read_history(path) == records[:whole]
        resumed = Feed(HistoryRecorder(path, initial_epoch=whole))
        resumed.epoch(whole)
        assert [record["epoch"] for record in read_history(path)] == list(range(whole + 1))
        resumed.epoch(whole + 1)
        assert read_history(path) == resumed.recorder.records
        assert [record["epoch"] for record in resumed.recorder.records] == list(range(whole + 2))


def test_resuming_drops_the_later_epochs(tmp_path):
    path = tmp_path / "history.jsonl"
    first = write_two(path)
    recorder = HistoryRecorder(path, initial_epoch=np.int64(1))
    fit(make_model(run_eagerly=True), recorder, epochs=3, initial_epoch=1)
    assert [record["epoch"] for record in recorder.records] == [0, 1, 2] and recorder.records[0] == first[0]
    assert read_history(path) == recorder.records
    assert [file.name for file in tmp_path.iterdir()] == ["history.jsonl"]


def test_an_existing_file_is_not_mixed_up(tmp_path):
    path = tmp_path / "history.jsonl"
    first = write_two(path)
    with pytest.raises(RunError) as error:
        fit(make_model(run_eagerly=True), HistoryRecorder(path))
    says(error, path, "2 epochs", "`initial_epoch`", "append=True")
    recorder = HistoryRecorder(path, append=True)
    model = make_model(run_eagerly=True)
    fit(model, recorder)
    fit(model, recorder)  # a recorder goes on in its own file
    assert len(read_history(path)) == 6 and read_history(path)[:2] == first
    assert read_history(path) == recorder.records


@pytest.mark.parametrize(
    "damage", [b"\0\0\0", b"{}", b"[1]", b"", b'{"schema_version": 1}', b'{"epoch": 0, "lo', b"\xff"]
)
def test_a_damaged_line_is_named(damage, tmp_path):
    path = tmp_path / "history.jsonl"
    write_two(path)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], damage, lines[1], b""]))
    before = path.read_bytes()
    for use in (read_history, lambda path: Feed(HistoryRecorder(path, initial_epoch=1))):
        with pytest.raises(RunError) as error:
            use(path)
        says(error, f"Line 2 of {path}", "'schema_version'", "'epoch'", "Restore", "delete")
    assert path.read_bytes() == before


def test_a_newer_file_is_refused(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"schema_version": 2, "epoch": 0}\n')
    with pytest.raises(RunError) as error:
        read_history(path)
    says(error, f"Line 1 of {path}", "schema_version 2", "1", "Upgrade")


def test_a_file_that_cannot_be_written_is_named_and_the_record_kept(tmp_path):
    (tmp_path / "file").write_text("")
    recorder = HistoryRecorder(tmp_path / "file" / "history.jsonl")
    feed = Feed(recorder)
    with pytest.raises(OSError) as error:
        feed.epoch(0)
    says(error, "history", recorder.path)
    assert [record["epoch"] for record in recorder.records] == [0]


def test_a_full_disk_leaves_a_file_that_can_be_appended_to(tmp_path, monkeypatch):
    feed = Feed(HistoryRecorder(tmp_path / "history.jsonl"))
    feed.epoch(0)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError) as error:
            feed.epoch(1)
    assert error.value.errno == 28 and error.value.filename == str(feed.recorder.path)
    feed.recorder.path.write_bytes(feed.recorder.path.read_bytes()[:-9])
    feed.epoch(2)
    assert [record["epoch"] for record in read_history(feed.recorder.path)] == [0, 2]


@pytest.mark.parametrize("options", [{"initial_epoch": -1}, {"images_per_epoch": True}, {"initial_epoch": 1.0}])
def test_recorder_arguments(options):
    (name, value), *_ = options.items()
    with pytest.raises(RunError) as error:
        HistoryRecorder(**options)
    says(error, "at least 0", f"{name}={value!r}")
