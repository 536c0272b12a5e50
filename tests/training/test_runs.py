import json

import numpy as np
import pytest
from facts import says

from tfnorm.errors import RunError
from tfnorm.experiments.collect import collect
from tfnorm.experiments.sweep.sweep import open_sweep
from tfnorm.history import append_line, encode_record
from tfnorm.training.config import TrainConfig
from tfnorm.training.folder import RunFolder, check_place
from tfnorm.training.records import read_json, write_json
from tfnorm.training.runs import Run, fingerprint

DATA = {"fingerprint": "f", "class_names": ["a"]}


def test_json_round_trip_carries_the_schema_version(tmp_path):
    write_json(tmp_path / "a" / "x.json", {"one": 1})
    assert read_json(tmp_path / "a" / "x.json") == {"schema_version": 1, "one": 1}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.json"]


def test_what_is_no_run_or_not_finished_is_told_as_it_is(tmp_path):
    with pytest.raises(RunError) as error:
        Run(tmp_path)
    says(error, "no run", tmp_path, "config.json")
    write_json(tmp_path / "config.json", {"asked": {}})
    with pytest.raises(RunError) as error:
        Run(tmp_path)
    says(error, tmp_path, "not finished", "command")


@pytest.mark.parametrize("inside", [".", "bn/seed-0"])
def test_a_file_in_the_place_of_a_folder(inside, tmp_path):
    (tmp_path / "data.npz").touch()
    with pytest.raises(RunError) as error:
        check_place(tmp_path / "data.npz" / inside)
    says(error, tmp_path / "data.npz", "is a file", "another place")


def test_a_damaged_or_foreign_file_is_refused(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"schema_version": 1')
    with pytest.raises(RunError, match=f"{path} .*damaged.*Restore.*copy.*move the folder {tmp_path} "):
        read_json(path)
    for foreign in ('{"model": "of another program"}', "[1]"):
        path.write_text(foreign)
        with pytest.raises(RunError) as error:
            read_json(path)
        says(error, path, "tfnorm", "another folder")
    path.write_text('{"schema_version": 99}')
    with pytest.raises(RunError) as error:
        read_json(path)
    says(error, path, "99", "1", "another folder")


def test_another_configuration_is_refused_with_the_differing_keys(tmp_path):
    folder, recipe = RunFolder(tmp_path), {"name": "A", "label_smoothing": 0.0}
    folder.check({"norm": "bn"})  # nothing there yet
    write_json(folder.config_path, {"asked": {"norm": "bn", "epochs": 3, "seed": 0, "recipe": recipe}, "data": DATA})
    folder.check({"norm": "bn", "epochs": 3, "seed": 0, "recipe": recipe})
    with pytest.raises(RunError) as error:
        folder.check({"norm": "ln", "epochs": 4, "seed": 0, "recipe": {**recipe, "label_smoothing": 0.1}})
    says(
        error,
        tmp_path,
        "epochs",
        "3",
        "4",
        "norm",
        "'bn'",
        "'ln'",
        "recipe label_smoothing",
        "0.0",
        "0.1",
        "another output folder",
    )


def test_checkpoints_keep_the_last_two_and_skip_a_damaged_one(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.checkpoints.load(folder.read_history()) is None
    for epoch in range(10):
        append_line(folder.history_path, encode_record({"schema_version": 1, "epoch": epoch}))
    for epochs in (1, 2, 10):
        folder.checkpoints.save(epochs, {"w": np.full(3, epochs, "float32")})
    files = sorted((tmp_path / "checkpoint").iterdir())
    assert [file.name[:11] for file in files] == ["epoch-00002", "epoch-00010"]
    epochs, state, _ = folder.checkpoints.load(folder.read_history())
    assert epochs == 10 and state["w"].tolist() == [10, 10, 10]
    content = bytearray(files[1].read_bytes())
    content[len(content) // 2] ^= 1
    files[1].write_bytes(content)
    epochs, state, _ = folder.checkpoints.load(folder.read_history())
    assert epochs == 2 and state["w"].tolist() == [2, 2, 2]
    for cut in (0, 10):
        files[0].write_bytes(files[0].read_bytes()[:cut])
        assert folder.checkpoints.load(folder.read_history()) is None


def test_fingerprint_sees_values_shapes_and_types():
    a = np.arange(6, dtype="float32")
    prints = {fingerprint([x]) for x in (a, a + 1, a.reshape(2, 3), a.astype("float64"))}
    assert len(prints) == 4
    assert fingerprint([a]) == fingerprint([a.copy()])


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())
    assert json.dumps(1) == "1"


def as_once(folder, **asked):
    """Make the record of a run what earlier versions wrote: every recipe had a temperature."""
    path = folder / "config.json"
    record = json.loads(path.read_text())
    record["asked"] = {**record["asked"], "recipe": {**record["asked"]["recipe"], "temperature": 4.0}, **asked}
    path.write_text(json.dumps(record))


def test_a_run_with_a_setting_that_did_nothing_is_taken_up(fake_run, tmp_path):
    config, labels = TrainConfig(norm="bn", epochs=2).resolved(), np.arange(20) % 10
    for seed in (0, 1):
        of_seed = config.model_copy(update={"seed": seed})
        fake_run(tmp_path / str(seed), of_seed, 0.9, labels, np.eye(10, dtype="float32")[labels])
    as_once(tmp_path / "0")
    RunFolder(tmp_path / "0").check(config.asked(), "f")
    assert Run(tmp_path / "0").config["asked"] == config.asked()
    (runs,) = collect(tmp_path).groups.values()
    assert len(runs) == 2


def test_a_sweep_with_a_setting_that_did_nothing_is_opened(fake_sweep, tmp_path):
    grid = {"settings": {"epochs": 2}, "grid": {"norm": ["bn"], "seeds": 1}}
    (before,) = fake_sweep(tmp_path, grid, lambda config: 0.9).planned
    as_once(tmp_path / before.folder)
    (run,) = open_sweep(tmp_path).planned
    assert run.config.asked() == before.config.asked()


def test_a_run_that_learned_from_a_teacher_is_refused(fake_run, tmp_path):
    config, labels = TrainConfig(norm="bn", epochs=2).resolved(), np.arange(20) % 10
    fake_run(tmp_path / "run", config, 0.9, labels, np.eye(10, dtype="float32")[labels])
    as_once(tmp_path / "run", teacher="904bbd12771d63b8")
    uses = (Run, collect, lambda path: RunFolder(path).check(config.asked(), early=True))
    for use in uses:
        with pytest.raises(RunError, match=f"{tmp_path / 'run'} .*teacher.* another folder"):
            use(tmp_path / "run")
