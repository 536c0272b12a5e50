"""Published comparisons trained again, on a small file of images."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tfnorm.cli import app
from tfnorm.cli.printing import print_reproduction
from tfnorm.errors import RunError, TfnormError
from tfnorm.experiments.collect import collect
from tfnorm.experiments.published.presets import load_preset
from tfnorm.experiments.published.reproduction import Reproduction, default_folder
from tfnorm.training.folder import write_json
from tfnorm.training.runs import Run, fingerprint
from tfnorm.training.teacher import teacher_fingerprint


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (128, 28, 28), "uint8"), np.arange(128, dtype="uint8") % 10
    np.savez(folder / "mnist.npz", x_train=x, y_train=y, x_test=x[:64], y_test=y[:64])
    return folder


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "A"
    words = ["reproduce", "a", "--seeds", "1", "--epochs", "1", "--data-dir", images, "--out", folder, "--jobs", "1"]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    return folder, done.output


def test_the_command_prints_published_beside_measured_and_the_claims(trained):
    _, output = trained
    for words in ("98.52", "98.77", "98.59", "gn:2", "NOT SHOWN: The last epoch ranks layer norm before"):
        assert words in output


def test_table_and_claims_are_written_with_what_was_trained(trained):
    folder, _ = trained
    table = pd.read_csv(folder / "reproduced.csv", index_col="row")
    assert table.index.tolist() == ["gn:2", "ln", "bn+l1=5e-4"]
    assert table["parameters"].tolist() == [6_986, 41_874, 6_986]
    content = json.loads((folder / "reproduced.json").read_text())
    for label, row in table.iterrows():
        history = (folder / label.replace(":", "-").replace("+", "_").replace("=", "-")) / "seed-0" / "history.jsonl"
        last = json.loads(history.read_text().splitlines()[-1])
        assert row["measured"] == pytest.approx(100 * last["val_accuracy"])
        assert row["difference"] == pytest.approx(row["measured"] - row["published"])
        assert bool(row["reached"]) is bool(row["measured"] >= row["published"] - 0.3)
        assert math.isnan(row["std"])
    assert content["settings"]["recipe"]["name"] == "A"
    assert content["settings"]["epochs"] == 1
    assert "data_dir" not in content["data"]
    assert [claim["outcome"] for claim in content["claims"]] == ["not shown"]
    assert (folder / "accuracy.png").exists() and (folder / "comparison.json").exists()


def test_what_is_finished_is_not_trained_again(trained, images):
    folder, _ = trained
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("history.jsonl")}
    words = ["reproduce", "A", "--seeds", "1", "--epochs", "1", "--data-dir", images, "--out", folder]
    assert CliRunner().invoke(app, list(map(str, words))).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("history.jsonl")} == before


def test_mistakes_are_sentences_before_anything_is_trained(images, tmp_path):
    def refused(*words):
        result = CliRunner().invoke(app, ["reproduce", *map(str, words), "--out", str(tmp_path / "out")])
        assert isinstance(result.exception, TfnormError) and not (tmp_path / "out").exists()
        return str(result.exception)

    assert "published comparison" in refused("Z")
    assert "precision" in refused("A", "--precision", "float8", "--data-dir", images)
    assert "seeds" in refused("A", "--seeds", "0", "--data-dir", images)


def test_folders_of_other_settings_differ():
    preset = load_preset("E")
    assert {str(default_folder(preset)), str(default_folder(preset, precision="float32"))} == {"runs/reproduce-E"}
    assert str(default_folder(preset, precision="bfloat16", epochs=2)) == "runs/reproduce-E-bfloat16-2-epochs"


def test_it_shows_itself_as_a_table(trained):
    folder, _ = trained
    groups = {"gn:2": [Run(folder / "gn-2" / "seed-0")]}
    preset = load_preset("A")
    alone = Reproduction(preset.model_copy(update={"row": preset.row[:1], "claim": ()}), groups, folder)
    assert "98.52" in repr(alone) and "<table" in alone._repr_html_()


def test_networks_are_tested_with_the_views_of_the_preset_too(trained, images, monkeypatch, capsys):
    from tfnorm.datasets import load
    from tfnorm.experiments.progress import SweepProgress
    from tfnorm.experiments.published import reproduction as module
    from tfnorm.training.predict import predict_logits

    folder, _ = trained
    preset = load_preset("A")
    of = {"row": preset.row[:1], "claim": (), "aim": 12.0, "views": "flip_nudge"}
    monkeypatch.setattr(module, "load_preset", lambda name: preset.model_copy(update=of))
    told = []
    progress = SweepProgress()
    progress.tested_with_views = lambda *words: told.append(words)
    result = module.reproduce("A", seeds=1, epochs=1, data_dir=images, out=folder, progress=progress)
    run, data = result.comparison.runs[0], load("mnist", data_dir=images)
    expected = 100 * np.mean(predict_logits(run.load_model(), data.x_test, "flip_nudge").argmax(-1) == data.y_test)
    row = result.table.loc["gn:2"]
    assert row["views_accuracy"] == pytest.approx(expected) and math.isnan(row["views_accuracy_std"])
    assert row["measured"] == pytest.approx(100 * run.history["val_accuracy"].iloc[-1]), "one view, as ever"
    assert told == [(run.path, 10, row["views_accuracy"])]
    written = json.loads((folder / "reproduced.json").read_text())
    (origin,) = written["views"]["origins"]
    assert origin["seeds"] == [0] and origin["versions"] == run.config["versions"]
    assert written["views"]["started"] >= written["started"]
    assert written["views"]["accuracies"] == {"gn:2": [row["views_accuracy"]]} and written["views"]["number"] == 10
    print_reproduction(result)
    shown = capsys.readouterr().out
    assert f"{expected:.2f}" in shown and "over 10 views" in shown and "mirror image" in shown
    assert pd.read_csv(folder / "reproduced.csv")["views_accuracy"].tolist() == [pytest.approx(expected)]


def test_the_aim_is_held_against_the_accuracies_with_and_without_views(trained, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "A")
    run = Run(folder / "gn-2" / "seed-0")
    measured = 100 * run.history["val_accuracy"].iloc[-1]

    def reached(accuracy, aim, views="flip"):
        of = {"accuracy": accuracy, "flip": True, "shifts": [[0, 0]]}
        known = {} if accuracy is None else {"flip": of}
        write_json(run.path / "views.json", {"predictions": fingerprint([run.logits]), "views": known})
        published = preset.row[0].model_copy(update={"published": None})
        now = preset.model_copy(update={"row": (published,), "claim": (), "aim": aim, "views": views})
        row = Reproduction(now, {"gn:2": [run]}, folder).table.loc["gn:2"]
        return row["reached"], row.get("views_reached")

    preset = load_preset("A")
    assert reached(measured + 2, measured + 1) == (False, True)
    assert reached(measured - 2, measured - 1) == (True, False)
    assert reached(measured + 2, measured + 1, views=None) == (False, None)
    assert reached(None, measured - 1) == (True, False), "what was not computed has reached nothing"
    assert reached(measured, None) == (None, None)


def test_tables_are_there_though_the_views_failed(trained, images, monkeypatch, tmp_path):
    from tfnorm.experiments.published import reproduction as module

    folder = shutil.copytree(trained[0], tmp_path / "A")
    for made in ("table.csv", "comparison.json"):
        (folder / made).unlink()
    (folder / "gn-2" / "seed-0" / "model.keras").unlink()
    preset = load_preset("A")
    of = {"row": preset.row[:1], "claim": (), "views": "nudge"}
    monkeypatch.setattr(module, "load_preset", lambda name: preset.model_copy(update=of))
    with pytest.raises(RunError, match="no model.keras"):
        module.reproduce("A", seeds=1, epochs=1, data_dir=images, out=folder)
    assert (folder / "table.csv").exists() and (folder / "comparison.json").exists()


@pytest.fixture(scope="module")
def taught(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "A+"
    words = ["reproduce", "A+", "--seeds", "1", "--epochs", "1", "--data-dir", images, "--out", folder, "--jobs", "1"]
    words = list(map(str, words))
    plan = CliRunner().invoke(app, [*words, "--dry-run"])
    assert plan.exit_code == 0 and "4 runs in" in plan.output and "teacher" in plan.output
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return folder, words, done.output


@pytest.mark.matrix
def test_a_teacher_is_trained_first_and_teaches_every_row(taught):
    folder, _, output = taught
    content = json.loads((folder / "reproduced.json").read_text())
    assert content["teacher"]["arch"] == "mnist_vgg" and content["teacher"]["parameters"] == 72_656
    assert content["settings"]["teacher"] == teacher_fingerprint(folder / "teacher" / "model.keras")
    assert [row["row"] for row in content["table"]] == ["gn:2", "ln", "bn"], "the teacher is no row"
    assert "all rows learned from mnist_vgg" in output
    assert "teacher" not in json.loads((folder / "teacher" / "config.json").read_text())["asked"]


@pytest.mark.matrix
def test_what_was_taught_is_not_trained_again_and_has_a_report_without_the_teacher(taught):
    folder, words, _ = taught
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("history.jsonl")}
    assert len(before) == 4
    assert CliRunner().invoke(app, words).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("history.jsonl")} == before
    found = collect(folder)
    assert set(found.groups) == {"gn:2", "ln", "bn"}
    assert found.notes == [f"A teacher of the others, and left out: {folder / 'teacher'}."]
    assert len(collect([folder / "teacher", folder], anyway=True).runs) == 4


@pytest.mark.matrix
def test_a_folder_with_a_teacher_alone_has_nothing_to_report(taught, tmp_path):
    folder, *_ = taught
    shutil.copytree(folder / "teacher", tmp_path / "teacher")
    with pytest.raises(RunError, match="No run in .* is finished"):
        collect(tmp_path)


@pytest.mark.matrix
def test_a_teacher_that_was_lost_is_trained_again_to_the_same(taught):
    folder, words, _ = taught
    (folder / "teacher" / "result.json").unlink()
    assert CliRunner().invoke(app, words).exit_code == 0


def test_runs_that_had_no_teacher_are_refused_before_it_is_trained(trained, images):
    untaught, _ = trained
    (untaught / "bn" / "seed-0").mkdir(parents=True)
    shutil.copy(untaught / "ln" / "seed-0" / "config.json", untaught / "bn" / "seed-0")
    words = ["reproduce", "A+", "--epochs", "1", "--data-dir", images, "--out", untaught]
    result = CliRunner().invoke(app, list(map(str, words)))
    assert "had no teacher, and those of A+ have one now" in str(result.exception)
    assert not (untaught / "teacher").exists()
