"""Learning rates of a comparison: one for all, one for each spec, or chosen for each on held-out images."""

import itertools
import json

import numpy as np
import pytest
from facts import says
from typer.testing import CliRunner

from tfnorm import compare
from tfnorm.cli import app
from tfnorm.datasets import Dataset, load
from tfnorm.errors import RunError, TfnormError
from tfnorm.experiments.collect import collect
from tfnorm.experiments.comparison.configuration import configuration
from tfnorm.experiments.comparison.run import run_comparison
from tfnorm.experiments.plan import configurations, plan_comparison
from tfnorm.experiments.rates import chosen_rates, rates_of_words, read_rates
from tfnorm.experiments.settings import rates_in_words
from tfnorm.experiments.sweep.grid import plan_grid
from tfnorm.training.config import TrainConfig
from tfnorm.training.progress import Progress


def rates_of(plan):
    return {run.config.norm: run.config.learning_rate for run in plan.runs}


@pytest.mark.parametrize(
    ("words", "given", "expected"),
    [
        (["0.5"], 0.5, [0.5, 0.5]),
        (["bn+l1=1e-4=0.2", "gn:2=0.05"], {"bn+l1=1e-4": 0.2, "gn:2": 0.05}, [0.2, 0.05]),
        (["0.3", "gn:2=0.05"], {"gn:2": 0.05, "others": 0.3}, [0.3, 0.05]),
        (["gn:2=0.05"], {"gn:2": 0.05}, [0.1, 0.05]),  # the recipe's
        (["0.2,0.4"], [0.2, 0.4], [0.2, 0.2]),  # until one is chosen
        (["0.2", "0.4"], [0.2, 0.4], [0.2, 0.2]),
        ([], None, [0.1, 0.1]),
    ],
)
def test_a_rate_is_given_for_all_for_each_or_to_choose_from(words, given, expected, tmp_path):
    assert rates_of_words(words) == given
    plan = plan_comparison(["bn+l1=0.0001", "gn:2"], learning_rate=given, seeds=1, out=tmp_path)
    assert list(rates_of(plan).values()) == expected
    assert all(run.config.recipe.learning_rate == run.config.learning_rate for run in plan.runs)
    assert (plan.search is not None) == isinstance(given, list)
    assert all((run.config.rates == {"how": "given"}) == isinstance(given, dict) for run in plan.runs)


def test_numbers_of_numpy_are_rates():
    assert read_rates(np.array([0.1, 0.2])).tried == (0.1, 0.2) and read_rates(np.float32(0.5)).every == 0.5


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        ({"ln": 0.1}, ("a rate for 'ln'", "not compared", "bn and gn:2")),
        ({"gn:3": 0.1}, ("'gn:3'", "Did you mean 'gn:2'?")),
        ({"gm": 0.1}, ("'gm'", "Did you mean 'gn'?")),
        ({"gn:2": 0.1, "gn:02": 0.2}, ("two rates for 'gn:2'",)),
        ({"bn": [0.1, 0.2]}, ("number for each spec", "[0.1, 0.2]")),
        (-0.1, ("above 0", "-0.1")),
        (float("nan"), ("above 0", "nan")),
        ("bn=0.1", ("number for each spec", "'bn=0.1'")),
        ([], ("different ones", "[]")),
        ([0.1, 0.1], ("different ones", "[0.1, 0.1]")),
        ([0.1, 0], ("above 0", "[0.1, 0]")),
    ],
)
def test_other_rates_are_refused_before_training(given, facts, tmp_path):
    with pytest.raises(TfnormError) as caught:
        compare(["bn", "gn:2"], learning_rate=given, out=tmp_path / "out")
    says(caught, *facts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["0.1,x"], ("'0.1,x'", "SPEC=NUMBER")),
        (["bn=0.1,0.2"], ("'bn=0.1,0.2'",)),
        (["bn=0.1", "bn=0.2"], ("two rates for 'bn'",)),
        (["bn=0.1", "0.1,0.2"], ("bn=0.1 and 0.1,0.2", "one rate")),
        (["0.1,0.2", "--holdout", "0.1"], ("holdout", "one rate")),
        (["0.1,0.1"], ("different ones",)),
    ],
)
def test_words_that_are_no_rates_exit_with_2(words, facts, tmp_path, monkeypatch, capsys):
    from tfnorm.cli import main

    first, *more = words
    options = ["--learning-rate", first]
    for word in more:
        options += [word] if options[-1].startswith("--hold") or word.startswith("--") else ["--learning-rate", word]
    monkeypatch.setattr("sys.argv", ["tfnorm", "compare", "bn", *options, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2 and not (tmp_path / "out").exists()
    says(capsys.readouterr().err, *facts)


def test_default_folders_differ_by_their_rates_and_not_by_the_order_of_specs():
    given = [None, [0.1, 0.2], [0.2, 0.3], {"bn": 0.1}, {"bn": 0.1, "ln": 0.2}]
    folders = [plan_comparison(["bn", "ln"], learning_rate=rates, seeds=1).folder for rates in given]
    assert len(set(folders)) == len(given)
    for rates, folder in zip(given, folders, strict=True):
        assert plan_comparison(["ln", "bn"], learning_rate=rates, seeds=1).folder == folder


# What is said of them


@pytest.fixture
def reported(fake_run, tmp_path):
    """Return a function that writes finished runs of a comparison and returns it."""

    def write(name, learning_rate, specs=("bn", "ln"), **record):
        configs = configurations(list(specs), seeds=2, learning_rate=learning_rate)
        for config in configs:
            labels = np.arange(40) % 10
            place = tmp_path / name / config.norm.replace(":", "-") / f"seed-{config.seed}"
            rates = {**(config.rates or {}), **record}
            fake_run(place, config, 0.9, labels, np.eye(10)[labels] * 3, **({"rates": rates} if rates else {}))
        return tmp_path / name

    return write


def test_rates_of_specs_are_compared_and_told(reported):
    found = collect(reported("own", {"bn": 0.2, "ln": 0.05}))
    assert not found.differing and list(found.groups) == ["bn", "ln"]
    words = rates_in_words(found.groups)
    says(words, "given", "bn 0.2", "ln 0.05")
    assert words in found.remarks and "differ in" not in found.answer.sentence
    page = configuration(found.groups)
    assert page["rates"] == words and page["searched"] is None
    assert ("learning rate", ["0.2", "0.05"]) in [
        (r["key"], [c["text"] for c in r["cells"]]) for r in page["differing"]
    ]
    one = collect(reported("one", 0.2))
    says(rates_in_words(one.groups), "same learning rate, 0.2")
    assert not one.remarks


def test_other_differences_of_rates_are_refused_as_before(reported):
    own = reported("own", {"bn": 0.2, "ln": 0.05})
    for other in (
        reported("plain", 0.3, ["gn:2"]),  # came to its rate otherwise
        reported("again", {"bn": 0.3}, ["bn"]),  # a second rate of one spec
        reported("chosen", {"gn:2": 0.3}, ["gn:2"], how="chosen", tried=[0.3], reached=[90.0], images=8, seed=1000),
    ):
        with pytest.raises(RunError) as caught:
            collect([own, other])
        says(caught, "learning_rate is", "--anyway")
        apart = collect([own, other], anyway=True)
        says(rates_in_words(apart.groups), "learning rates differ")


def test_a_choice_is_told_with_what_each_rate_reached(reported):
    record = {"how": "chosen", "tried": [0.2, 0.05], "reached": [None, 88.5], "images": 287, "seed": 1000}
    found = collect(reported("chosen", {"others": 0.05, "bn": 0.05}, **record))
    words = rates_in_words(found.groups)
    says(
        words,
        "by the accuracy",
        "from 0.05 and 0.2",
        "287 training images",
        "held out",
        "seed 1000",
        "bn 0.05, ln 0.05",
    )
    says(words, "bn and ln is the lowest that was tried", "a lower one")
    searched = configuration(found.groups)["searched"]
    assert searched["tried"] == ["0.2", "0.05"]
    assert searched["rows"][0] == {
        "label": "bn",
        "cells": [{"text": "diverged", "odd": False}, {"text": "88.50", "odd": True}],
    }
    found.save()
    says((found.path / "report.html").read_text(), "held-out accuracy %", "88.50", words)


# The choice


def search_run(fake_run, folder, norm, rate, accuracy, loss):
    config = TrainConfig(norm=norm, seed=1000, epochs=1, learning_rate=rate, holdout=0.2).resolved()
    labels = np.arange(20) % 10
    logits = np.eye(10)[labels] * 3
    fake_run(folder, config, accuracy, labels, logits)
    line = json.loads((folder / "history.jsonl").read_text().splitlines()[-1])
    (folder / "history.jsonl").write_text(json.dumps({**line, "val_data_loss": loss}) + "\n")
    return folder


def test_the_most_accurate_rate_is_chosen_and_of_equal_ones_that_of_the_smaller_loss(fake_run, tmp_path):
    reached = {
        "bn": {0.1: (0.8, 0.5), 0.2: (0.9, 0.6), 0.4: (float("nan"), 0.1)},
        "ln": {0.1: (0.9, 0.5), 0.2: (0.9, 0.4), 0.4: (0.9, 0.6)},
    }
    places = {
        norm: {rate: search_run(fake_run, tmp_path / norm / str(rate), norm, rate, *of) for rate, of in rates.items()}
        for norm, rates in reached.items()
    }
    chosen = chosen_rates({**places, "in": {0.1: tmp_path / "unfinished"}})
    assert {norm: rate for norm, (rate, _) in chosen.items()} == {"bn": 0.2, "ln": 0.2}
    record = chosen["bn"][1]
    assert record["tried"] == [0.1, 0.2, 0.4] and record["reached"] == [pytest.approx(80), pytest.approx(90), None]
    with pytest.raises(RunError) as caught:
        chosen_rates({"bn": {0.4: places["bn"][0.4]}, "ln": places["ln"]})
    says(caught, "for bn", "0.4", "diverged", "lower ones")


class Watch(Progress):
    """Notes which runs begin, and breaks off at the end of one of them."""

    def __init__(self, last=None):
        self.last, self.begun, self.ends = last, [], itertools.count(1)

    def started(self, run, epochs, steps):
        self.begun.append(run)

    def finished(self, run, result):
        if next(self.ends) == self.last:
            raise KeyboardInterrupt


def test_rates_are_chosen_on_held_out_images_once(tiny, tmp_path):
    whole = load("digits", image_size=28)
    train, test = slice(None, 100), slice(None, 30)
    data = Dataset(
        "few", whole.x_train[train], whole.y_train[train], whole.x_test[test], whole.y_test[test], whole.class_names
    )
    out = tmp_path / "out"
    settings = {"arch": "tiny", "epochs": 1, "batch_size": 40, "augmentation": "none", "seeds": 1, "data": data}
    settings |= {"learning_rate": [1e-6, 0.3], "out": out}
    watches = [Watch(3), Watch(2), Watch()]
    for watch in watches[:2]:
        with pytest.raises(KeyboardInterrupt):
            compare(["bn", "none"], **settings, progress=watch)
    found = compare(["bn", "none"], **settings, progress=watches[2])
    begun = [run.relative_to(out).as_posix() for watch in watches for run in watch.begun]
    searched = [f"rates/{norm}_learning_rate-{rate}/seed-1000" for norm in ("bn", "none") for rate in ("1e-06", "0.3")]
    assert begun == [*searched, "bn/seed-0", "none/seed-0"]  # each once
    record = json.loads((out / "rates" / "rates.json").read_text())
    for run in found.runs:
        reached = dict(zip(run.config["rates"]["tried"], run.config["rates"]["reached"], strict=True))
        best = max(reached.values())
        assert reached[run.config["asked"]["learning_rate"]] == best
        assert record["rates"][run.label]["chosen"] == run.config["asked"]["learning_rate"]
        assert run.config["rates"]["images"] == 20 and run.config["data"]["test_images"] == 30
    one = json.loads((out / searched[0] / "config.json").read_text())
    assert one["asked"]["holdout"] == 0.2 and one["data"]["train_images"] == 80
    assert not found.differing
    assert [run.path for run in collect(out).runs] == [run.path for run in found.runs]
    again = plan_comparison(["bn", "none"], **settings)
    assert rates_of(again) == {run.label: run.config["asked"]["learning_rate"] for run in found.runs}
    with pytest.raises(RunError) as caught:  # a person cannot go on with another rate
        run_comparison(plan_comparison(["bn", "none"], **{**settings, "learning_rate": 0.7}))
    says(caught, "learning_rate is", "now")


def test_a_dry_run_shows_the_rates(tmp_path, monkeypatch):
    monkeypatch.setattr("tfnorm.experiments.engines.estimate.estimate_seconds", lambda *_, **__: (1.0, 0))
    command = ["compare", "bn", "ln", "--seeds", "1", "--out", str(tmp_path), "--dry-run"]
    own = CliRunner().invoke(app, [*command, "--learning-rate", "bn=0.25", "--learning-rate", "0.05"]).output
    says(own, "0.25", "0.05")
    several = CliRunner().invoke(app, [*command, "--learning-rate", "0.25,0.05"]).output
    says(several, "chosen first", "chosen from 0.25 and 0.05", "held-out", "rates/ln_learning_rate-0.05/seed-1000")


def test_a_grid_has_a_rate_for_each_spec():
    content = {
        "settings": {"learning_rate": {"bn": 0.2, "gn:2+l1=1e-4": 0.05, "others": 0.3}},
        "grid": {"norm": ["bn", "gn:2"], "l1": [0, 1e-4], "seeds": 1},
    }
    rates = {run.config.norm: run.config.learning_rate for run in plan_grid(content)}
    assert rates == {"bn": 0.2, "bn+l1=1e-4": 0.2, "gn:2": 0.3, "gn:2+l1=1e-4": 0.05}
    content["settings"]["learning_rate"] = {"gn:4": 0.1}
    with pytest.raises(TfnormError) as caught:
        plan_grid(content)
    says(caught, "[settings]", "'gn:4'", "not compared")


@pytest.mark.matrix
def test_processes_choose_rates_for_the_file_of_a_model(tmp_path):
    from pathlib import Path

    import own_networks

    found = compare(
        ["keep", "gn:4"], model=f"{Path(own_networks.__file__)}:plain", learning_rate=[0.01, 0.1], seeds=1, epochs=1,
        jobs=2, image_size=8, out=tmp_path,
    )  # fmt: skip
    assert [run.config["rates"]["how"] for run in found.runs] == ["chosen"] * 2
