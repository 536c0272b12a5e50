"""What runs were asked to do, and the calls on record."""

import json

import pytest
from facts import one_says, says

import tfnorm
from tfnorm.cli import main
from tfnorm.datasets import load
from tfnorm.datasets.dataset import Dataset
from tfnorm.experiments.collect import collect
from tfnorm.experiments.comparison.page import comparison_page
from tfnorm.experiments.settings import calls_of, differing_settings, note_on_calls
from tfnorm.keras_settings import THREADS, chosen_backend
from tfnorm.spec import parse
from tfnorm.training.config import TrainConfig, default_name
from tfnorm.training.folder import read_json
from tfnorm.training.provenance import python_call, shell_call
from tfnorm.training.recipe.recipes import Recipe

ACCURACY = {"bn": [0.9, 0.9], "gn:2+l1=1e-4": [0.9, 0.9]}


def few_digits():
    full = load("digits", image_size=28)
    return Dataset("few", full.x_train[:64], full.y_train[:64], full.x_test[:20], full.y_test[:20], full.class_names)


def test_a_call_of_the_command_line_reaches_its_runs(tmp_path, monkeypatch):
    """Look only at the configuration that reaches training."""
    seen = []

    def train(plan, *_):
        seen.extend(plan.runs)
        raise KeyboardInterrupt

    monkeypatch.setattr("tfnorm.experiments.comparison.run._train_here", train)
    monkeypatch.setenv("KERAS_BACKEND", chosen_backend())
    monkeypatch.delenv(THREADS[chosen_backend()], raising=False)
    words = ["compare", "bn", "gn:2", "--seeds", "2", "--epochs", "1", "--out", str(tmp_path / "my runs")]
    monkeypatch.setattr("sys.argv", ["tfnorm", *words])
    with pytest.raises(SystemExit):
        main()
    call = f"KERAS_BACKEND={chosen_backend()} tfnorm compare bn gn:2 --seeds 2 --epochs 1 --out '{tmp_path}/my runs'"
    assert [run.config.call for run in seen] == [call] * 4


@pytest.mark.matrix
def test_a_call_of_python_is_recorded_and_repeats_the_runs(tiny, tmp_path):
    data, quick = few_digits(), {"arch": "tiny", "augmentation": "none", "epochs": 1}
    found = tfnorm.compare([parse("bn")], seeds=[3], **quick, out=tmp_path / "a", data=data)
    asked = "arch='tiny', augmentation='none', epochs=1"
    [call] = calls_of(found.runs)
    assert call == f"tfnorm.compare(['bn'], seeds=[3], out='{tmp_path}/a', data=..., {asked})"
    assert read_json(tmp_path / "a" / "comparison.json")["calls"] == [call]
    page = (tmp_path / "a" / "report.html").read_text()
    assert "tfnorm.compare([&#39;bn&#39;], seeds=[3]" in page and "No call is on record" not in page
    one_says(page, "'few'", "given to Python")
    assert "few, given to Python" in page
    again = tfnorm.compare("bn", seeds=[3, 4], **quick, out=tmp_path / "a", data=data)
    assert len(calls_of(again.runs)) == 2, "a run keeps the call that began it"
    one = tfnorm.train("bn", **quick, out=tmp_path / "b", data=data)
    assert one.config["call"] == f"tfnorm.train('bn', out='{tmp_path}/b', data=..., {asked})"


def test_what_was_called_makes_no_other_run():
    called, other = (TrainConfig(norm="bn", epochs=3, call=call) for call in ("tfnorm train bn", None))
    assert called.asked() == other.asked() and default_name(called) == default_name(other)


def test_calls_are_written_as_they_are_read(monkeypatch):
    threads = THREADS[chosen_backend()]
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv(threads, "2")
    call = shell_call(["train", "bn", "--out", "my runs"])
    assert call == f"KERAS_BACKEND=jax {threads}=2 tfnorm train bn --out 'my runs'"
    recipe = Recipe(name="mine", learning_rate=0.02, momentum=0.8, epochs=2)
    call = python_call("called", ["bn"], recipe=recipe, seeds=2, dropout=None)
    given = eval(call, {"Recipe": Recipe, "called": lambda specs, **settings: (specs, settings)})
    assert given == (["bn"], {"recipe": recipe, "seeds": 2})


def test_runs_without_a_call_show_their_settings(fake_comparison, tmp_path):
    found = fake_comparison(tmp_path / "a", ACCURACY, settings={"epochs": 3})
    page = comparison_page(found, tmp_path)
    one_says(page, "No call")
    assert "&#34;epochs&#34;: 3" in page
    for run in found.groups["bn"]:
        config = json.loads((run.path / "config.json").read_text())
        (run.path / "config.json").write_text(json.dumps(config | {"call": "tfnorm compare bn"}))
    page = comparison_page(collect(tmp_path / "a"), tmp_path)
    assert "tfnorm compare bn<" in page
    one_says(page, "No call", "some")


def test_paths_of_another_machine_are_named(fake_comparison, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    runs = fake_comparison(tmp_path / "a", ACCURACY, settings={"dataset": "photos"}).runs
    says(note_on_calls(runs), "photos", "machine", "folder of the call")
    runs = fake_comparison(tmp_path / "b", ACCURACY, data={"data_dir": "/data"}).runs
    says(note_on_calls(runs), "/data", "machine")
    assert note_on_calls(fake_comparison(tmp_path / "c", ACCURACY).runs) == ""


def test_what_differs_between_runs(fake_comparison, tmp_path):
    first = fake_comparison(tmp_path / "a", {"bn": [0.9]}).runs
    second = fake_comparison(
        tmp_path / "b", {"ln": [0.9, 0.9]}, settings={"epochs": 3}, data={"fingerprint": "0123456789abcdef"}
    ).runs
    assert differing_settings(first) == []
    epochs, data = map(str, differing_settings([*first, *second]))
    says(epochs, "epochs", "20", first[0].path, "3", second[0].path, "1 more")
    says(data, "fingerprint of the data", "f", first[0].path, "0123456789ab…", second[0].path, "1 more")
