import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from facts import says
from PIL import Image
from typer.testing import CliRunner

from tfnorm import __version__
from tfnorm.cli import app, main


def run(arguments, capsys, monkeypatch):
    """Run the command line in this process and return exit code, output and errors."""
    monkeypatch.setattr(sys, "argv", ["tfnorm", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


LIGHT = [
    (["--help"], 0),
    (["compare", "--help"], 0),
    (["compare", "gn:5"], 2),
    (["compare", "nope"], 2),
    (["compare", "--no-such-flag"], 2),
    (["compare", "--dataset", "nope"], 2),
    (["compare", "bn", "--metric", "acuracy"], 2),
    (["train", "bn", "--metric", "f1:min"], 2),
    (["list"], 0),
    (["check", "--help"], 0),
    (["check", "nowhere.keras"], 2),
    (["check", "applications:ResNet5"], 2),
    (["check", "nowhere.py:make", "--ignore", "no-such-rule"], 2),
    (["check", "nowhere.keras", "--steps", "0"], 2),
    (["inspect", "mnist_7k"], 0),
    (["inspect", "nowhere.py:make"], 2),
    (["inspect", "applications:ResNet5"], 2),
    (["inspect", "applications:ResNet50", "--norm", "gm"], 2),
    (["sweep", "--help"], 0),
    (["sweep", "no-such-study"], 2),
    (["sweep", "no/such.toml"], 2),
    (["sweep", "groups", "--jobs", "0"], 2),
    (["sweep", "groups", "--format", "jpg"], 2),
    (["compare", "--format", "jpg"], 2),
    (["recommend", "--help"], 0),
    (["recommend", "gm"], 2),
    (["recommend", "--l1", "x"], 2),
    (["recommend", "--budget", "1"], 2),
    (["train"], 2),
    (["train", "--recipe", "nowhere.toml"], 2),
    (["report", "--help"], 0),
    (["report"], 2),
    (["report", "no/such/folder"], 2),
]


def test_help_and_bad_input_import_nothing_heavy(what_it_imports):
    calls = [arguments for arguments, _ in LIGHT]
    assert what_it_imports(calls) == [(arguments, code, []) for arguments, code in LIGHT]


def test_groups_that_do_not_fit_get_one_sentence(capsys, monkeypatch):
    code, out, err = run(["compare", "gn:5"], capsys, monkeypatch)
    assert (code, out) == (2, "")
    assert err.startswith("tfnorm: ") and err.count("\n") == 1
    says(err, "groups=5", "channels=8", "'conv1_norm'", "1, 2, 4, 8", "mnist_7k: 1, 2, 4")


def test_an_unknown_norm_gets_one_sentence(capsys, monkeypatch):
    code, _, err = run(["compare", "nope"], capsys, monkeypatch)
    assert code == 2
    # A snapshot of the whole line.
    assert err == (
        "tfnorm: Unknown norm 'nope' at character 1 of 'nope'. Did you mean 'none'? "
        "Use one of: none, bn, ln, gn, in, rms, frn, keep.\n"
    )


@pytest.fixture
def icons(tmp_path):
    """Write pictures of two classes, of which one is damaged and one is of a kind that is not read."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 16), ("test", 4)):
        for label in "ab":
            folder = tmp_path / "icons" / part / label
            folder.mkdir(parents=True)
            for index in range(count):
                Image.fromarray(rng.integers(0, 256, (28, 28), np.uint8)).save(folder / f"{index:02}.png")
    (tmp_path / "icons/train/a/03.png").write_bytes(b"x")
    (tmp_path / "icons/test/b/1.heic").write_bytes(b"x")
    return tmp_path / "icons"


def test_damaged_pictures_are_named_or_skipped_and_what_was_read_is_said_once(icons, capsys, monkeypatch):
    monkeypatch.chdir(icons.parent)
    given = ["train", "gn:2", "--dataset", "icons/", "--epochs", "1", "--augmentation", "none", "--out", "out"]
    code, out, err = run(given, capsys, monkeypatch)
    assert code == 2 and not out
    says(err, "icons/train/a/03.png", "--skip-damaged")
    code, out, err = run([*given, "--skip-damaged"], capsys, monkeypatch)
    assert code == 0 and "finished after 1 epochs" in out
    for fact in ("31 training and 8 test images (39 PNG)", "28x28 pixels", str(icons), "1 .heic", "03.png"):
        assert err.count(fact) == 1, err
    record = json.loads(Path("out/config.json").read_text())["data"]
    assert record["reading"]["skipped"] == ["train/a/03.png"] and record["reading"]["left_out"] == {".heic": 1}
    (icons / "train/a/03.png").unlink()
    code, again, _ = run([*given[:3], str(icons), *given[4:]], capsys, monkeypatch)
    assert (code, again) == (0, out), "the same data without the damaged picture, and the run is finished"


def test_memory_that_runs_out_anywhere_is_one_sentence(capsys, monkeypatch):
    def full(*_, **__):
        raise MemoryError("Unable to allocate 4 GiB")

    monkeypatch.setattr("tfnorm.training.trainer.train_planned", full)
    code, _, err = run(["train", "gn:2"], capsys, monkeypatch)
    assert code == 2 and err.startswith("tfnorm: ") and "Unable to allocate 4 GiB" in err and "--batch-size" in err


def test_an_unknown_dataset_gets_one_sentence(capsys, monkeypatch):
    code, _, err = run(["compare", "bn", "--dataset", "mnits"], capsys, monkeypatch)
    assert code == 2
    assert "'mnits'" in err and "mnist" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("backend", "facts"),
    [
        ("pytorch", ("KERAS_BACKEND", "'pytorch'", "'torch'", "tensorflow, jax, torch")),
        ("nothing", ("KERAS_BACKEND", "'nothing'", "tensorflow, jax, torch")),
        pytest.param("numpy", ("KERAS_BACKEND", "'numpy'", "tensorflow, jax, torch"), marks=pytest.mark.matrix),
    ],
)
def test_a_backend_that_keras_does_not_have_gets_one_sentence(backend, facts, tmp_path):
    command = [sys.executable, "-m", "tfnorm", "train", "bn", "--dataset", "digits", "--out", str(tmp_path / "run")]
    answer = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": backend})
    assert answer.returncode == 2
    says(answer.stderr.splitlines()[-1], "tfnorm: ", *facts)
    assert "Traceback" not in answer.stderr


def test_version(capsys, monkeypatch):
    assert run(["--version"], capsys, monkeypatch)[:2] == (0, f"tfnorm {__version__}\n")


@pytest.mark.parametrize("command", ["compare", "train", "sweep", "convert", "inspect", "check", "list"])
def test_every_command_shows_examples(command):
    text = CliRunner().invoke(app, [command, "--help"], terminal_width=200).output
    assert "Examples" in text
    assert re.search(rf"tfnorm {command}", text)


def test_every_mistake_of_a_grid_is_told(tmp_path, capsys, monkeypatch):
    grid = tmp_path / "grid.toml"
    grid.write_text("[grid]\nnorm = ['zn', 'gn:2']\nbatch_size = []\n")
    code, out, err = run(["sweep", str(grid)], capsys, monkeypatch)
    assert (code, out) == (2, "")
    norm, batch_size = err.splitlines()
    says(norm, f"tfnorm: {grid}: [grid] `norm`", "'zn'", "'ln'", "none, bn, ln, gn, in, rms, frn")
    says(batch_size, f"tfnorm: {grid}: [grid] `batch_size`", "at least one value")


@pytest.mark.matrix
def test_compare_prints_the_table_and_writes_the_pictures(tmp_path, capsys, monkeypatch):
    arguments = ["compare", "gn:2", "none", "--seeds", "1", "--epochs", "1", "--augmentation", "none"]
    arguments += ["--out", str(tmp_path / "out")]
    code, out, _ = run(arguments, capsys, monkeypatch)
    assert code == 0
    for word in ("gn:2", "none", "6,986", "6,866", "images/s", "justifies no ranking", str(tmp_path / "out")):
        assert word in out
    assert (tmp_path / "out" / "loss.png").exists() and (tmp_path / "out" / "accuracy.png").exists()
    code, again, _ = run(arguments, capsys, monkeypatch)
    assert code == 0 and again == out


def test_report_prints_the_table_and_where_the_page_is(tmp_path, capsys, monkeypatch, fake_comparison):
    fake_comparison(tmp_path / "runs", {"bn": [0.9, 0.91], "ln": [0.8, 0.82]})
    code, out, err = run(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "out")], capsys, monkeypatch)
    assert (code, err) == (0, "") and "90.50 ± 0.71" in out and "bn beats ln by" in out
    assert out.endswith(f"Report: {(tmp_path / 'out' / 'report.html').as_uri()}\n")
    assert (tmp_path / "out" / "report.html").stat().st_size > 1_000_000


def test_report_of_runs_that_differ_gets_one_sentence_unless_told(tmp_path, capsys, monkeypatch, fake_comparison):
    fake_comparison(tmp_path / "a", {"bn": [0.9, 0.91]})
    fake_comparison(tmp_path / "b", {"ln": [0.8, 0.82]}, settings={"arch": "mnist_layered"})
    arguments = ["report", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out")]
    code, out, err = run(arguments, capsys, monkeypatch)
    assert (code, out) == (2, "")
    says(err, "tfnorm: ", "arch", "mnist_layered")
    assert not (tmp_path / "out").exists()
    assert run([*arguments, "--anyway"], capsys, monkeypatch)[0] == 0


@pytest.mark.matrix
def test_ctrl_c_exits_130_and_keeps_what_was_done(tmp_path, capsys, monkeypatch):
    from tfnorm.cli.run_progress import LiveProgress

    def stop(self, run, record):
        raise KeyboardInterrupt

    arguments = ["train", "bn", "--epochs", "2", "--augmentation", "none", "--out", str(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setattr(LiveProgress, "epoch_ended", stop)
        code, _, err = run(arguments, capsys, monkeypatch)
    assert code == 130
    started, stopped = err.splitlines()
    assert "training starts, 2 epochs of " in started
    says(stopped, "tfnorm: stopped", "finished epochs", "same command")
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 1
    code, out, _ = run(arguments, capsys, monkeypatch)
    assert code == 0
    says(out, "bn", "seed 0", "2 epochs")
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2

    code, out, _ = run(["inspect", str(tmp_path / "model.keras")], capsys, monkeypatch)
    assert code == 0 and "BatchNormalization" in out and "6,986" in out


def test_a_folder_that_cannot_be_made_or_written(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    arguments = ["train", "bn", "--epochs", "1", "--out"]
    code, _, err = run([*arguments, str(tmp_path / "file" / "x")], capsys, monkeypatch)
    assert code == 2
    says(err, "tfnorm: ", tmp_path / "file", "is a file", "another place")

    def refuse(path, content):
        raise PermissionError(13, "Permission denied", "runs/bn")

    monkeypatch.setattr("tfnorm.training.records.write_text", refuse)
    code, _, err = run([*arguments, str(tmp_path / "new")], capsys, monkeypatch)
    assert code == 1
    says(err.splitlines()[-1], "tfnorm: ", "'runs/bn'", "another folder", "rights")


def test_inspect_shows_fields_and_costs(capsys, monkeypatch):
    code, out, _ = run(["inspect", "cifar_plain", "--norm", "gn:4", "--batch-size", "64"], capsys, monkeypatch)
    assert code == 0 and "MB, 64 images" in out
    (line,) = [line for line in out.splitlines() if line.split()[:1] == ["convblock2_conv3"]]
    assert line.split() == "convblock2_conv3 conv 16 x 16 x 32 18* 2 9,216 0 2,359,296 2.1".split()
    (total,) = [line for line in out.splitlines() if line.split()[:1] == ["total"]]
    assert total.split()[1:4] == ["49,808", "0", "10,133,824"]


def test_inspect_takes_the_shape_of_a_sequence(tmp_path, capsys, monkeypatch):
    import keras

    path = tmp_path / "x.keras"
    image = keras.Input((None, 16))
    keras.Model(image, keras.layers.Conv1D(4, 3, name="conv")(image)).save(path)
    code, out, _ = run(["inspect", str(path), "--input-shape", "128x16"], capsys, monkeypatch)
    (line,) = [line for line in out.splitlines() if line.split()[:1] == ["conv"]]
    assert code == 0 and line.split()[:8] == "conv Conv1D 126 x 4 3 1 196".split()
    code, _, err = run(["inspect", str(path), "--input-shape", "128-16"], capsys, monkeypatch)
    assert code == 2 and "128x16 for sequences" in err and "'128-16'" in err and err.count("\n") == 1


def test_inspect_refuses_what_is_no_network(tmp_path, capsys, monkeypatch):
    says(run(["inspect", "mnist"], capsys, monkeypatch)[2], "tfnorm: ", "'mnist'")
    says(run(["inspect", "mnist_7k", "--input-shape", "28"], capsys, monkeypatch)[2], "tfnorm: ", "28x28x1", "'28'")
    path = tmp_path / "x.keras"
    says(
        run(["inspect", str(path)], capsys, monkeypatch)[2], "tfnorm: ", f"{str(path)!r}", ".keras file", "architecture"
    )
    path.write_text("nothing")
    code, _, err = run(["inspect", str(path)], capsys, monkeypatch)
    assert code == 2 and err.count("\n") == 1
    says(err, path, "Keras model")
    assert f"`tfnorm convert {path} OUT.keras --from-tfa`" in err


def test_inspect_shows_where_norms_are_and_what_a_spec_does_to_them(tmp_path, capsys, monkeypatch):
    import own_networks

    text = f"{own_networks.__file__}:plain"
    code, out, _ = run(["inspect", text, "--classes", "7", "--input-shape", "9x9x3"], capsys, monkeypatch)
    assert code == 0
    says(out, "9 x 9 x 8", "batch_normalization", "batch_normalization_1", "Places for the norms of a spec: 2 layers")
    code, out, _ = run(["inspect", text, "--norm", "gn:8+l2=1e-4"], capsys, monkeypatch)
    assert code == 0
    says(out, "GroupNormalization", "8 groups do not divide 12 channels", "Changed: 2 layers", "l2=1e-4 on 10")
    assert "6.0" not in out
    own_networks.plain().save(tmp_path / "a.keras")
    code, out, _ = run(["inspect", str(tmp_path / "a.keras"), "--norm", "none"], capsys, monkeypatch)
    assert code == 0 and "nothing" in out


OTHERS = [
    (["nowhere.py:make"], ("'nowhere.py'", "no file")),
    (["resnet101"], ("'resnet101'", "applications:ResNet101")),
    (["applications:ResNet5"], ("'ResNet5'", "'ResNet50'")),
    (["mnist_7k", "--weights", "imagenet"], ("--weights", "mnist_7k")),
    (["applications:VGG16", "--import", "json"], ("--import", "applications:VGG16")),
    (["applications:VGG16", "--norm", "gm:2"], ("'gm'", "'gn'")),
    (["."], ("'.'", "folder", "FILE.py:FUNCTION")),
]


@pytest.mark.parametrize(("arguments", "facts"), OTHERS, ids=[" ".join(each) for each, _ in OTHERS])
def test_inspect_refuses_what_makes_no_model(arguments, facts, capsys, monkeypatch):
    code, _, err = run(["inspect", *arguments], capsys, monkeypatch)
    assert code == 2 and err.count("\n") == 1
    says(err, "tfnorm: ", *facts)


def test_inspect_takes_the_weights_of_a_file_as_they_are(tmp_path, capsys, monkeypatch):
    import own_networks

    own_networks.plain().save(tmp_path / "a.keras")
    code, _, err = run(["inspect", str(tmp_path / "a.keras"), "--weights", "imagenet"], capsys, monkeypatch)
    assert code == 2
    says(err, "'imagenet'", "'fresh'")


@pytest.mark.parametrize(("option", "value"), [("--classes", "3")])
def test_inspect_refuses_options_of_architectures_for_a_file(option, value, tmp_path, capsys, monkeypatch):
    code, _, err = run(["inspect", str(tmp_path / "a.keras"), option, value], capsys, monkeypatch)
    assert code == 2
    says(err, f"tfnorm: {option}", "architecture", tmp_path / "a.keras")
