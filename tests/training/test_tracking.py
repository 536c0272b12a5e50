"""Runs followed elsewhere, early stopping, the best epoch and images held out."""

import importlib.util
import json
import struct

import numpy as np
import pytest
from facts import says
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfnorm.errors import DataError, TfnormError
from tfnorm.experiments.rows import run_row
from tfnorm.history import append_line, encode_record, read_history
from tfnorm.training.checkpoint import best_epoch
from tfnorm.training.folder import RunFolder
from tfnorm.training.tracking import TRACKERS, TensorBoard, WandB, catch_up, check_trackers
from tfnorm.training.trainer import train
from tfnorm.training.watcher import no_better_for

SETTINGS = {"norm": "bn", "arch": "tiny", "augmentation": "none", "batch_size": 400, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """Return a run that both trackers followed, Weights & Biases without a network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        folder = tmp_path_factory.mktemp("tracked")
        return train(**SETTINGS, epochs=3, holdout=0.25, out=folder, trackers=["tensorboard", "wandb"])


def scalars(folder):
    """Return tag to (step, value) of TensorBoard's files in a folder."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, float(event.tensor_proto.float_val[0])) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }


def test_tensorboard_has_the_history(tracked):
    for part, prefix in (("train", ""), ("test", "val_")):
        found = scalars(tracked.path / "tensorboard" / part)
        for tag in ("data_loss", "accuracy", "loss", "penalty"):
            assert found[tag] == list(tracked.history[prefix + tag].astype("float32").items()), (part, tag)
    assert set(scalars(tracked.path / "tensorboard/train")) >= {"lr", "seconds", "images_per_second"}


def wandb_records(path):
    """Yield the records of a file of W&B: after 7 bytes, blocks of LevelDB's log format."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, block, position, parts = path.read_bytes(), 32768, 7, b""
    while position + 7 <= len(data):
        if block - position % block < 7:  # no header fits into the rest of a block
            position += block - position % block
            continue
        size, kind = struct.unpack("<HB", data[position + 4 : position + 7])
        parts += data[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def test_weights_and_biases_has_the_history(tracked):
    (file,) = tracked.path.glob("wandb/offline-run-*/run-*.wandb")
    rows, config, summary = [], {}, {}
    for record in wandb_records(file):
        if record.WhichOneof("record_type") == "history":
            rows.append({i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in record.history.item})
        if record.WhichOneof("record_type") == "run":
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            identity, name = record.run.run_id, record.run.display_name
        if record.WhichOneof("record_type") == "summary":
            summary |= {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in record.summary.update}
    assert [row["_step"] for row in rows] == [0, 1, 2]
    assert [row["val_accuracy"] for row in rows] == list(tracked.history["val_accuracy"])
    assert config["asked"]["norm"] == "bn" and name == "bn seed 0"
    assert summary["status"] == "finished" and summary["best_epoch"] == tracked.result["best_epoch"]
    tracking = json.loads((tracked.path / "tracking.json").read_text())
    assert tracking == {"schema_version": 1, "id": identity, "url": None, "finished": True}
    assert tracked.record == run_row(tracked)["record"] == str(tracked.path)


@pytest.mark.matrix
def test_a_finished_run_is_shown_to_a_tracker_that_has_not_followed_it(tmp_path):
    run = train(**SETTINGS, epochs=1, out=tmp_path)
    train(**SETTINGS, epochs=1, out=tmp_path, trackers="tensorboard")
    assert scalars(tmp_path / "tensorboard/test")["accuracy"] == [(0, np.float32(run.history["val_accuracy"][0]))]


def test_weights_and_biases_without_a_key_says_what_to_do(tmp_path, monkeypatch, run_python):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    said = run_python(  # in a process of its own, since W&B reads its settings once
        "import sys; from pathlib import Path; from tfnorm.training.tracking import WandB\n"
        "description = {'asked': {'norm': 'bn', 'seed': 0, 'arch': 'mnist_7k'}, 'data': {'name': 'digits'}}\n"
        "try: WandB(Path(sys.argv[1]), description)\n"
        "except ValueError as error: print(error)",
        tmp_path,
    )
    says(said.splitlines()[0], "Weights & Biases", tmp_path)
    says(said, "`wandb login`", "WANDB_MODE=offline", "`wandb sync`")


@pytest.mark.matrix
def test_a_run_that_goes_on_has_all_epochs_at_weights_and_biases(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(**SETTINGS, epochs=2, out=tmp_path, trackers="wandb")
    (tmp_path / "result.json").unlink()
    for path in [*tmp_path.glob("checkpoint/*-00002-*")]:
        path.unlink()
    for path in tmp_path.glob("wandb/offline-run-*/run-*.wandb"):
        path.unlink()  # as kill -9 leaves it: without a record
    train(**SETTINGS, epochs=2, out=tmp_path, trackers="wandb")
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    rows = [record.history for record in wandb_records(file) if record.WhichOneof("record_type") == "history"]
    assert len(rows) == 2


def test_the_record_of_a_run_with_a_page_is_the_page(tracked, tmp_path):
    (tmp_path / "config.json").write_bytes((tracked.path / "config.json").read_bytes())
    (tmp_path / "result.json").write_bytes((tracked.path / "result.json").read_bytes())
    page = {"schema_version": 1, "id": "a", "url": "https://example.org/a"}
    (tmp_path / "tracking.json").write_text(json.dumps(page))
    assert type(tracked)(tmp_path).record == "https://example.org/a"


def test_a_run_that_goes_on_has_each_epoch_once(tmp_path):
    train(**SETTINGS, epochs=2, out=tmp_path, trackers="tensorboard")
    whole = scalars(tmp_path / "tensorboard/test")
    (tmp_path / "result.json").unlink()
    for path in tmp_path.glob("checkpoint/*-00002-*"):
        path.unlink()
    train(**SETTINGS, epochs=2, out=tmp_path, trackers="tensorboard")
    assert scalars(tmp_path / "tensorboard/test") == whole
    assert [step for step, _ in whole["accuracy"]] == [0, 1]


@pytest.mark.parametrize("tracker", [TensorBoard, WandB])
def test_a_finished_run_that_was_followed_in_part_is_shown_whole(tmp_path, monkeypatch, tracker):
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = train(**SETTINGS, epochs=2, out=tmp_path)
    history = read_history(tmp_path / "history.jsonl")
    tracker(tmp_path, run.config, history[:1])  # and killed
    assert not tracker.followed(tmp_path)
    catch_up(tmp_path, [tracker.package])
    assert tracker.followed(tmp_path)
    if tracker is TensorBoard:
        assert [step for step, _ in scalars(tmp_path / "tensorboard/test")["accuracy"]] == [0, 1]


def test_trackers_that_are_missing_or_unknown(monkeypatch, tmp_path):
    with pytest.raises(TfnormError) as caught:
        train(**SETTINGS, out=tmp_path / "run", trackers=["tensorbord"])
    says(caught, "'tensorbord'", "'tensorboard'", "tensorboard, wandb")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in TRACKERS else found(name))
    with pytest.raises(TfnormError) as caught:
        check_trackers(["tensorboard", "wandb"])
    says(caught, "tensorboard and wandb", "pip install 'tfnorm[tensorboard,wandb]'")
    with pytest.raises(TfnormError) as caught:
        train(**SETTINGS, out=tmp_path / "run", trackers="wandb")
    says(caught, "wandb", "pip install 'tfnorm[wandb]'")
    assert not (tmp_path / "run").exists()


def test_images_held_out_are_training_images(tracked):
    data = tracked.config["data"]
    assert (data["name"], data["train_images"], data["test_images"]) == ("digits, 25 % held out", 1010, 337)
    from tfnorm.datasets import load

    digits = load("digits")
    held = digits.hold_out(0.25)
    rows = {image.tobytes() for image in digits.x_train}
    assert all(image.tobytes() in rows for image in (*held.x_train, *held.x_test))
    assert len(held.x_train) + len(held.x_test) == len(digits.x_train)
    assert held.fingerprint == digits.hold_out(0.25).fingerprint != digits.fingerprint
    shares = np.bincount(held.y_test) / np.bincount(digits.y_train)
    assert shares.min() > 0.24 and shares.max() < 0.26
    with pytest.raises(DataError, match="0.001 of 1347 images"):
        digits.hold_out(0.001)


def test_a_part_that_would_lack_a_class_is_refused():
    from tfnorm.datasets import Dataset

    y = np.repeat([0, 1, 2], [500, 497, 3])
    x = np.zeros((1000, 2, 2, 1), "uint8")
    few = Dataset("few", x, y, x, y, ("cat", "dog", "rat"))
    for share in (0.1, 0.9):
        with pytest.raises(DataError, match="3 classes.*'rat'.* 3"):
            few.hold_out(share)
    for share in (0, 1, 2, None, True):
        with pytest.raises(DataError, match="above 0 and below 1"):
            few.hold_out(share)
    assert set(few.hold_out(0.4).y_test) == {0, 1, 2}


ACCURACIES = [0.5, 0.7, 0.6, 0.7, 0.65]


def test_patience_and_the_best_epoch():
    records = [{"epoch": epoch, "val_accuracy": value} for epoch, value in enumerate(ACCURACIES)]
    assert best_epoch(records) == 1 and best_epoch([]) is None
    assert best_epoch([{"epoch": 0, "val_accuracy": float("nan")}]) is None
    assert [no_better_for(2, records[:n]) for n in range(6)] == [False, False, False, False, True, True]
    assert not no_better_for(None, records)


def test_the_best_epoch_is_kept_and_patience_ends_a_run(tmp_path, monkeypatch):
    # A rate so high that the accuracy falls: the best epoch is not the last.
    settings = SETTINGS | {"learning_rate": 0.5, "patience": 1, "epochs": 8, "seed": 1}
    run = train(**settings, out=tmp_path / "run")
    accuracies = list(run.history["val_accuracy"])
    best = int(np.argmax(accuracies))
    assert run.result["epochs"] == len(accuracies) == best + 2 <= 8
    assert run.result["best_epoch"] == best and run.status == "finished"
    from tfnorm.training.trainer import load_data

    data = load_data(_config(settings))
    for kept, epoch in ((True, best), (False, best + 1)):
        predicted = run.load_model(best=kept).predict(data.x_test, verbose=0).argmax(1)
        assert np.mean(predicted == data.y_test) == pytest.approx(accuracies[epoch])

    # Broken off after its last checkpoint: nothing is left to train, and the same comes out.
    result = (run.path / "result.json").read_bytes()
    (run.path / "result.json").unlink()
    again = train(**settings, out=run.path)
    assert (run.path / "result.json").read_bytes() == result
    assert list(again.history["val_accuracy"]) == accuracies

    # Broken off before the last epoch's checkpoint: that epoch is trained again, to the same best one.
    (run.path / "result.json").unlink()
    for path in run.path.glob(f"checkpoint/epoch-{best + 2:05d}-*"):
        path.unlink()
    again = train(**settings, out=run.path)
    assert (run.path / "result.json").read_bytes() == result
    assert len(read_history(run.path / "history.jsonl")) == best + 2


def test_best_weights_of_epochs_that_are_trained_again_are_forgotten(tmp_path):
    folder = RunFolder(tmp_path)
    for epochs in (1, 3, 4):
        folder.checkpoints.save_best(epochs, {"w": np.full(1, epochs)})
    assert folder.checkpoints.load_best(4)["w"].tolist() == [4]
    assert folder.checkpoints.load_best(1) is None  # one too many to keep
    folder.checkpoints.forget_after(3)
    assert folder.checkpoints.load_best(4) is None and folder.checkpoints.load_best(3)["w"].tolist() == [3]


def test_checkpoints_that_the_history_does_not_reach_do_not_push_out_new_ones(tmp_path):
    folder = RunFolder(tmp_path)
    for epoch in range(2):
        append_line(folder.history_path, encode_record({"schema_version": 1, "epoch": epoch}))
    for epochs in (9, 10):
        folder.checkpoints.save(epochs, {"w": np.full(1, epochs)})
    assert folder.checkpoints.load(folder.read_history()) is None
    folder.checkpoints.forget_after(0)
    for epochs in (1, 2):
        folder.checkpoints.save(epochs, {"w": np.full(1, epochs)})
    assert folder.checkpoints.load(folder.read_history())[0] == 2


def test_a_checkpoint_whose_best_weights_are_damaged_is_passed_over(tmp_path):
    folder = RunFolder(tmp_path)
    for epoch, value in enumerate([0.5, 0.6, 0.9, 0.8]):
        record = {"schema_version": 1, "epoch": epoch, "val_accuracy": value}
        append_line(folder.history_path, encode_record(record))
        if epoch < 3:
            folder.checkpoints.save_best(epoch + 1, {"w": np.full(1, epoch)})
        folder.checkpoints.save(epoch + 1, {"w": np.full(1, epoch)})
    assert folder.checkpoints.load(folder.read_history())[0] == 4
    (best,) = tmp_path.glob("checkpoint/best-00003-*")
    best.write_bytes(best.read_bytes()[:-1])
    assert folder.checkpoints.load(folder.read_history()) is None  # both kept ones had it as their best
    folder.checkpoints.save_best(3, {"w": np.full(1, 2)})
    assert folder.checkpoints.load(folder.read_history())[0] == 4


def _config(settings):
    from tfnorm.training.config import TrainConfig

    return TrainConfig(**settings).resolved()
