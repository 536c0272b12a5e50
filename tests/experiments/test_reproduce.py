"""Published comparisons trained again, on a small file of images."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tfnorm.cli import app
from tfnorm.errors import TfnormError
from tfnorm.experiments.published.comparisons import load_published, plan_reproduction
from tfnorm.experiments.published.reproduction import Reproduction
from tfnorm.training.runs import Run
from tfnorm.training.trainer import train


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (128, 28, 28), "uint8"), np.arange(128, dtype="uint8") % 10
    np.savez(folder / "mnist.npz", x_train=x, y_train=y, x_test=x[:64], y_test=y[:64])
    return folder


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory, fake_run):
    """Return the folder and the output of the command: its first row was trained in this process, the others never."""

    def train_one(plan, **_):
        first, *others = plan.runs
        done = train(first.config, out=plan.folder / first.folder)
        for run in others:
            alike = {"data": done.config["data"], "trainable_parameters": run.config.plan().trainable_parameters}
            fake_run(plan.folder / run.folder, run.config, 0.5, done.labels, done.logits, **alike)
        return {}

    folder = tmp_path_factory.mktemp("runs") / "A"
    words = ["reproduce", "a", "--seeds", "1", "--epochs", "1", "--data-dir", images, "--out", folder, "--jobs", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfnorm.experiments.engines.choose.run_local", train_one)
        patch.setattr("tfnorm.training.provenance.threads", lambda: 1)  # as in a process of the command
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


def test_folders_of_other_settings_differ(images):
    def folder(**settings):
        return str(plan_reproduction("A", seeds=1, data_dir=images, **settings).folder)

    assert {folder(), folder(precision="float32")} == {"runs/reproduce-A"}
    assert folder(precision="bfloat16", epochs=2) == "runs/reproduce-A-bfloat16-2-epochs"


def test_it_shows_itself_as_a_table(trained):
    folder, _ = trained
    groups = {"gn:2": [Run(folder / "gn-2" / "seed-0")]}
    preset = load_published("A")
    alone = Reproduction(preset.model_copy(update={"row": preset.row[:1], "claim": ()}), groups, folder)
    assert "98.52" in repr(alone) and "<table" in alone._repr_html_()


def test_a_row_reaches_what_was_published_less_the_tolerance(trained):
    folder, _ = trained
    run = Run(folder / "gn-2" / "seed-0")
    measured = 100 * run.history["val_accuracy"].iloc[-1]
    preset = load_published("A")

    def reached(published, tolerance):
        of = {"published": published and preset.row[0].published.model_copy(update={"accuracy": published})}
        row = preset.row[0].model_copy(update=of)
        now = preset.model_copy(update={"row": (row,), "claim": (), "tolerance": tolerance})
        return Reproduction(now, {"gn:2": [run]}, folder).table.loc["gn:2", "reached"]

    assert reached(measured, 0.0) and reached(measured + 1, 1.5)
    assert not reached(measured + 1, 0.0) and not reached(measured + 1, 0.5)
    assert reached(None, 0.0) is None
