"""Files of a run that are damaged, gone, closed or in the wrong place: a sentence, and the least that mends it."""

import json
import shutil

import numpy as np
import pytest

from tfnorm.errors import RunError, TfnormError, disk_sentence
from tfnorm.training.config import TrainConfig
from tfnorm.training.folder import MEASURES, RunFolder
from tfnorm.training.progress import Progress
from tfnorm.training.records import mend
from tfnorm.training.runs import Run, outcome
from tfnorm.training.trainer import train

CONFIG = {"norm": "bn", "arch": "tiny", "epochs": 2, "augmentation": "none"}
NOTHING_TO_LOSE = ("Delete its folder", "delete its folder", "Delete the folder", "delete the folder")


@pytest.fixture
def fake(fake_run, tmp_path):
    """Return the folder of a run that was never trained."""
    labels = np.arange(20) % 10
    fake_run(tmp_path / "run", TrainConfig(**CONFIG).resolved(), 0.9, labels, np.eye(10, dtype="float32")[labels])
    return RunFolder(tmp_path / "run")


@pytest.fixture(scope="module")
def trained(few_digits, tmp_path_factory):
    """Return a finished run and its data."""
    data = few_digits(256, 100)
    run = train(**CONFIG, data=data, out=tmp_path_factory.mktemp("damage") / "run")
    return run, data


@pytest.fixture
def copy(trained, tmp_path):
    """Return a copy of the finished run to damage."""
    shutil.copytree(trained[0].path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


class Epochs(Progress):
    """Counts the epochs that are trained."""

    def __init__(self):
        self.trained = 0

    def epoch_ended(self, run, record):
        self.trained += 1


def everything(run):
    """Read all that pages and tables need of a run."""
    run = Run(run.path)
    return run.label, run.seed, run.status, run.history, run.logits, run.labels, run.record


def without(content, *place):
    changed = json.loads(content)
    at = changed
    for key in place[:-1]:
        at = at[key]
    at.pop(place[-1])
    return json.dumps(changed)


def changed(content, value, *place):
    told = json.loads(content)
    at = told
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    return json.dumps(told)


CONFIG_KEYS = [
    ("asked",), ("asked", "norm"), ("asked", "seed"), ("asked", "recipe"), ("asked", "recipe", "name"),
    ("data",), ("data", "fingerprint"), ("data", "test_images"), ("data", "class_names"), ("versions",),
    ("machine",), ("layers",), ("trainable_parameters",), ("started",),
]  # fmt: skip
RESULT_KEYS = [("status",), ("best_epoch",), ("misclassified",)]
ODD = ["", " ", "{", "[]", "null", "1", '"word"', "{}", "\x00", '{"schema_version": 1}']


@pytest.mark.parametrize("content", ODD)
@pytest.mark.parametrize("name", ["config.json", "result.json"])
def test_files_that_are_no_record_are_named_with_the_least_that_mends(name, content, fake):
    path = fake.path / name
    path.write_text(content)
    with pytest.raises(RunError) as error:
        everything(fake)
    said = str(error.value)
    assert str(path) in said and not any(words in said for words in NOTHING_TO_LOSE)
    if name == "result.json":
        assert "Delete this file alone" in said and "trained weights stay" in said


@pytest.mark.parametrize(
    ("name", "place"), [("config.json", key) for key in CONFIG_KEYS] + [("result.json", key) for key in RESULT_KEYS]
)
def test_keys_that_are_gone_or_of_another_type_are_named(name, place, fake):
    path = fake.path / name
    whole = path.read_text()
    for content in (without(whole, *place), changed(whole, [3], *place), changed(whole, True, *place)):
        path.write_text(content)
        with pytest.raises(RunError) as error:
            everything(fake)
        said = str(error.value)
        assert str(path) in said and ".".join(place) in said and not any(words in said for words in NOTHING_TO_LOSE)


@pytest.mark.parametrize("value", [None, 3, [], {}, [None], {"a": 1}])
@pytest.mark.parametrize(
    "place", [("asked",), ("asked", "dataset"), ("asked", "recipe"), ("data",), ("data", "class_names")]
)
def test_a_configuration_of_other_types_is_refused_or_told_apart(place, value, fake):
    record = json.loads(fake.config_path.read_text())
    fake.config_path.write_text(changed(fake.config_path.read_text(), value, *place))
    data = {"data": record["data"]["fingerprint"], "classes": record["data"]["class_names"]}
    for loaded in (data, {"early": True}):
        refused = ""
        try:
            fake.check(record["asked"], **loaded)
        except RunError as error:
            refused = str(error)
        assert str(fake.path) in refused or len(place) == 2


@pytest.mark.parametrize("key", [*MEASURES, "accuracy", "val_accuracy"])
def test_an_epoch_without_a_measure_is_named(key, fake):
    first, *rest = fake.history_path.read_text().splitlines()
    for content in (without(first, key), changed(first, "much", key)):
        fake.history_path.write_text("\n".join([content, *rest, ""]))
        with pytest.raises(RunError, match=f"Line 1 of {fake.history_path} is damaged: '{key}'"):
            everything(fake)


@pytest.mark.parametrize(
    "arrays",
    [
        {}, {"logits": np.zeros((20, 10))}, {"logits": np.zeros(20), "y_true": np.zeros(20, int)},
        {"logits": np.zeros((20, 10)), "y_true": np.zeros(19, int)},
        {"logits": np.zeros((20, 10)), "y_true": np.zeros(20)},
    ],
)  # fmt: skip
def test_predictions_that_do_not_fit_are_refused(arrays, fake):
    np.savez(fake.predictions_path, **arrays)
    with pytest.raises(RunError, match="Delete result.json"):
        everything(fake)


@pytest.mark.parametrize("name", ["config.json", "result.json", "history.jsonl", "predictions.npz"])
def test_a_folder_in_the_place_of_a_file(name, fake):
    (fake.path / name).unlink()
    (fake.path / name).mkdir()
    with pytest.raises(RunError) as error:
        everything(fake)
    said = str(error.value)
    assert name in said and "ove" in said and "elsewhere" in said


@pytest.mark.parametrize("name", ["config.json", "result.json", "history.jsonl", "predictions.npz"])
def test_a_file_that_is_closed_gets_the_right_to_read_it_and_nothing_is_deleted(name, fake, monkeypatch):
    """Root may read everything: the refusal is that of the system, at the calls that open files."""
    import builtins
    import pathlib

    closed = fake.path / name

    def guarded(call):
        def read(path, *arguments, **options):
            if str(path) == str(closed):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *arguments, **options)

        return read

    for owner, call in ((pathlib.Path, "read_text"), (pathlib.Path, "read_bytes"), (builtins, "open")):
        monkeypatch.setattr(owner, call, guarded(getattr(owner, call)))
    with pytest.raises(RunError) as error:
        everything(fake)
    said = str(error.value)
    assert f"chmod u+rX {closed}" in said and "Permission denied" in said and "elete" not in said


def test_other_files_cost_no_result(fake):
    for name, content in (("tracking.json", "{"), ("tracking.json", '{"schema_version": 1, "url": 3}')):
        (fake.path / name).write_text(content)
        assert Run(fake.path).record == str(fake.path)
    assert "Delete this file alone" in mend(fake.path / "tracking.json")
    assert "Move that folder" in disk_sentence(IsADirectoryError(21, "Is a directory", ".lock"))


def test_a_mistake_is_told_before_other_runs_are_trained(fake):
    fake.result_path.write_text("{")
    with pytest.raises(RunError, match="result.json is damaged"):
        fake.check(TrainConfig(**CONFIG).resolved().asked())


@pytest.mark.parametrize("kept", ["result.json", "checkpoint"])
def test_a_folder_whose_configuration_is_gone_is_not_trained_over(kept, fake):
    fake.checkpoints.save(1, {"w": np.zeros(1)})
    fake.config_path.unlink()
    if kept == "checkpoint":
        fake.result_path.unlink()
    for what in (lambda: fake.check({}), lambda: Run(fake.path)):
        with pytest.raises(RunError) as error:
            what()
        assert f"move the folder {fake.path} elsewhere" in str(error.value)


@pytest.mark.parametrize(
    "damage",
    ["result.json damaged", pytest.param("result.json a folder", marks=pytest.mark.matrix), "predictions.npz damaged"],
)
def test_the_advice_followed_word_for_word_trains_nothing_again(damage, trained, copy):
    name, how = damage.split(" ", 1)
    before, path = outcome(copy.path), copy.path / name
    if how == "damaged":
        path.write_bytes(path.read_bytes()[:80])
    else:
        path.unlink()
        path.mkdir()
    with pytest.raises(TfnormError) as error:
        everything(copy)
    said = str(error.value)
    if name == "result.json" and how == "damaged":
        assert "Delete this file alone" in said
        path.unlink()
    elif name == "result.json":
        assert "Move that folder elsewhere" in said
        path.rename(copy.path.parent / "moved")
    else:
        assert "Delete result.json" in said
        copy.result_path.unlink()
    epochs = Epochs()
    train(**CONFIG, data=trained[1], out=copy.path, progress=epochs)
    assert epochs.trained == 0 and outcome(copy.path) == before
    everything(copy)


@pytest.mark.matrix
def test_the_folder_of_a_lost_configuration_can_be_moved_and_the_run_trained_anew(trained, copy):
    copy.config_path.unlink()
    with pytest.raises(RunError, match="move the folder"):
        train(**CONFIG, data=trained[1], out=copy.path)
    moved = copy.path.parent / "moved"
    copy.path.rename(moved)
    run = train(**CONFIG, data=trained[1], out=copy.path)
    assert outcome(run.path) == outcome(trained[0].path) and (moved / "model.keras").exists()


def test_each_kind_of_file_has_advice_of_its_own(tmp_path):
    for name in ("result.json", "sweep.json"):
        assert mend(tmp_path / name).startswith("Delete this file alone")
    assert "Delete" not in mend(tmp_path / "config.json")
    assert "Nothing needs to be deleted" in mend(tmp_path / "config.json", OSError(5, "Input/output error"))
