"""A comparison about another metric than test accuracy: which way is better, its words and its unit."""

import html
import json
import math
import re

import pytest
from facts import says
from rich.console import Console

from tfnorm import Comparison
from tfnorm.cli.run_progress import Lines
from tfnorm.errors import TfnormError
from tfnorm.experiments import verdict as words
from tfnorm.experiments.collect import collect
from tfnorm.experiments.findings import Findings
from tfnorm.experiments.statistics import paired_differences
from tfnorm.experiments.sweep.sweep import open_sweep
from tfnorm.metrics.known import known_metric
from tfnorm.metrics.metric import ACCURACY, Metric, metric_of

LOSS = metric_of("val_loss", "min")
VALUES = {"bn": [0.5, 0.51, 0.505], "gn:8": [0.3, 0.312, 0.308], "ln": [0.31, 0.3, 0.32]}


def findings(values, metric, **others):
    """Return the findings of values by spec, one a seed."""
    seeds = {spec: dict(enumerate(each)) for spec, each in values.items()}
    pairs = paired_differences(seeds, lower_is_better=metric.sign < 0)
    metric = metric.fitted(value for each in values.values() for value in each)
    return Findings(seeds, pairs, metric=metric, **others)


def mirrored(values):
    return {spec: [-value for value in each] for spec, each in values.items()}


def test_the_same_is_said_of_values_and_of_their_negatives_the_other_way_round():
    low = findings(VALUES, metric_of("val_cost", "min"))
    high = findings(mirrored(VALUES), metric_of("val_cost", "max"))
    for name in ("kept", "top", "close", "dropped", "candidates"):
        assert getattr(low, name) == getattr(high, name), name
    assert low.kept == ["gn:8", "ln"] and low.top == ["gn:8"]
    assert low.below == pytest.approx(high.below)
    assert [d.better for d in low.pairs] == [d.better for d in high.pairs] == ["gn:8", "ln", "gn:8"]
    assert words.verdict(low) == words.verdict(high)
    says(words.verdict(low), "gn:8 beats bn by 0.1983", "ln beats bn")


@pytest.mark.parametrize("direction", ["max", "min"])
def test_a_plain_metric_has_neither_percent_nor_points(direction):
    metric = metric_of("val_iou", direction)
    cases = [
        VALUES, {"bn": VALUES["bn"]}, {"bn": [0.5], "ln": [0.4]}, {"bn": [0.5, 0.6], "ln": [0.4, 0.7]},
        {"bn": [0.5, 0.51, math.nan], "ln": [0.3, 0.31, 0.32]}, {"bn": [math.nan], "ln": [math.nan]},
        {"bn": [0.5, 0.52, 0.51], "ln": [0.51, 0.51, 0.52], "gn:8": [0.51, 0.52, 0.515]},
    ]  # fmt: skip
    for values in cases:
        for costs in ({}, {"parameters": dict.fromkeys(values, 7), "speeds": dict.fromkeys(values, 9.0)}):
            found = findings(values, metric, **costs)
            answer = words.answer(found)
            said = " ".join([words.verdict(found), answer.sentence, answer.reason])
            said += " ".join(words.pair_sentence(d, found.metric) for d in found.pairs)
            assert not re.search(r"%|points|accurac|test images", said), said


def test_size_decides_nothing_where_no_difference_is_known_to_be_small():
    values = {"bn": [0.50, 0.52, 0.51], "ln": [0.52, 0.50, 0.51]}
    costs = {"parameters": {"bn": 5, "ln": 7}, "speeds": {"bn": 9.0, "ln": 9.0}}
    assert words.answer(findings(values, metric_of("val_iou"), **costs)).picks == ()


def test_accuracy_is_said_as_ever():
    found = findings({"bn": [90.0, 91.0, 90.5], "ln": [80.0, 81.2, 80.6]}, ACCURACY)
    says(words.verdict(found), "bn beats ln by 9.90", "points")
    says(words.answer(found).sentence, "Use bn")


@pytest.mark.parametrize(
    ("values", "value", "text"),
    [
        ([0.81, 0.79], 0.8, "0.8000"),
        ([25040.0, 25100.0], 25040.0, "25040"),
        ([3e-5, 4e-5], 3e-5, "0.00003000"),
        ([0.99991, 0.99993], 0.99992, "0.999920"),
        ([math.nan], 0.5, "0.5000"),
        ([0.0, 0.0], 0.0, "0.0000"),
        ([12.5], 12.5, "12.50"),
        ([0.5, 0.5 + 1e-16], 0.5, "0.50000000"),
    ],
)
def test_plain_numbers_have_the_digits_that_show_them(values, value, text):
    assert metric_of("m").fitted(values).text(value) == text


def test_percent_have_two_decimals_whatever_they_are():
    assert ACCURACY.fitted([0.001, 99.99999]) is ACCURACY
    assert Metric("val_top_5", "top 5", percent=True).text(99.5) == "99.50 %"


@pytest.mark.parametrize(("key", "direction"), [("", "max"), ("a\n", "max"), (None, "max"), ("x", "maximize")])
def test_a_metric_needs_a_name_and_a_direction(key, direction):
    with pytest.raises(TfnormError) as refused:
        metric_of(key, direction)
    says(refused, repr(key) if direction == "max" else "'maximize'")


def test_runs_of_ours_can_be_compared_by_their_loss(fake_comparison, tmp_path):
    runs = fake_comparison(tmp_path, {"bn": [0.7, 0.71, 0.705], "gn:2": [0.6, 0.612, 0.608]}).runs
    comparison = Comparison(runs, tmp_path, metric=LOSS)
    says(comparison.verdict, "bn beats gn:2 by 0.0983")
    assert comparison.table.loc["bn", "last_val_loss"] == pytest.approx(0.295)
    assert "balanced_accuracy" not in comparison.table and "last_accuracy" not in comparison.table
    comparison.save()
    assert (tmp_path / "metric.png").exists() and (tmp_path / "loss.png").exists()
    text = re.sub(r"<(script|style).*?</\1>", "", (tmp_path / "report.html").read_text(), flags=re.S)
    text = html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)))
    before, _, after = text.partition("Configuration ")  # which names settings and layers
    assert after and not re.search("accurac|points", before)
    says(text, "val_loss after the last epoch", "loss minus val_loss", "Row minus column, in val_loss")
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert (content["metric"], content["direction"]) == ("val_loss", "min")
    assert content["runs"][0]["val_loss_by_epoch"] and "test_accuracy_by_epoch" not in content["runs"][0]
    best = comparison.table["best_val_loss"]
    assert best["bn"] == pytest.approx(0.295) and best["gn:2"] > best["bn"]


def page_words(folder):
    """Return the words of a page before its settings."""
    text = re.sub(r"<(script|style).*?</\1>", "", (folder / "report.html").read_text(), flags=re.S)
    text = html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)))
    return text.partition("Configuration ")[0].partition("Settings, and how")[0]


ACCURACIES = {"bn": [0.7, 0.71, 0.705], "gn:2": [0.6, 0.612, 0.608]}


@pytest.mark.parametrize(
    ("metric", "verdict", "column", "best"),
    [
        ("f1", "bn beats gn:2 by 0.0983", "last_f1", 0.705),
        ("balanced_accuracy", "bn beats gn:2 by 9.83 ± 0.38 points", "last_balanced_accuracy", 70.5),
        ("data_loss", "bn beats gn:2 by 0.0983", "last_data_loss", 0.295),
    ],
)
def test_a_comparison_is_about_the_metric_of_its_runs(metric, verdict, column, best, fake_comparison, tmp_path):
    comparison = fake_comparison(tmp_path, ACCURACIES, settings={"metric": metric})
    about = known_metric(metric)[0]
    says(comparison.verdict, verdict)
    assert comparison.table.loc["bn", column] == pytest.approx(best)
    assert "last_accuracy" not in comparison.table
    comparison.save()
    words = page_words(tmp_path)
    says(
        words,
        f"{about.title()}{about.unit}",
        f"in points of {about.title()}" if about.percent else f"in {about.title()}",
    )
    if not about.percent:
        assert not re.search("points|accurac", words.replace("Misclassified", ""))
    assert (
        "test accuracy" not in words
        and "Generalization gap" not in words.replace("gap-plot", "")
        or metric == "data_loss"
    )
    record = json.loads((tmp_path / "comparison.json").read_text())
    assert (record["metric"], record["direction"]) == (about.key, about.direction)
    assert (tmp_path / "metric.png").exists() and not (tmp_path / "accuracy.png").exists()
    assert column in (tmp_path / "table.csv").read_text() and column in (tmp_path / "runs.csv").read_text()
    assert comparison.plot_differences().axes[0].get_xlabel().startswith(f"difference in {about.title()}")


def test_the_share_of_images_among_the_first_moves_in_steps_of_one(fake_comparison, tmp_path):
    equal = {"bn": [0.7, 0.7, 0.7], "gn:2": [0.69, 0.69, 0.69]}
    for metric in ("accuracy", "top_3_accuracy"):
        comparison = fake_comparison(tmp_path / metric, equal, settings={"metric": metric})
        assert comparison.one_image == 1.0
        assert not comparison.pairs[0].is_real()


def test_runs_with_different_metrics_are_not_compared(fake_comparison, tmp_path):
    runs = [*fake_comparison(tmp_path / "a", ACCURACIES).runs]
    runs += fake_comparison(tmp_path / "b", ACCURACIES, settings={"metric": "f1"}).runs
    with pytest.raises(TfnormError) as refused:
        Comparison(runs, tmp_path)
    says(refused, "accuracy", "f1", tmp_path / "a", tmp_path / "b", "same metric")
    for anyway in (False, True):
        with pytest.raises(TfnormError) as refused:
            collect([tmp_path / "a", tmp_path / "b"], anyway=anyway)
        says(refused, "metric", "f1")


@pytest.mark.parametrize("metric", ["f1", "data_loss", "top_2_accuracy"])
def test_a_sweep_is_about_the_metric_of_its_settings(metric, fake_sweep, tmp_path):
    reached = {("bn", 16): 0.8, ("bn", 64): 0.9, ("gn:2", 16): 0.7, ("gn:2", 64): 0.6}
    grid = {
        "settings": {"metric": metric, "epochs": 1},
        "grid": {"norm": ["bn", "gn:2"], "batch_size": [16, 64], "seeds": 2},
    }
    sweep = fake_sweep(tmp_path, grid, lambda run: reached[run.norm, run.batch_size] + 0.01 * run.seed)
    about = known_metric(metric)[0]
    values = {key: 1 - value - 0.005 if metric == "data_loss" else value + 0.005 for key, value in reached.items()}
    found = {(row["norm"], row["batch_size"]): row[about.last] for row in sweep.table.to_dict("records")}
    assert found == pytest.approx({key: about.scale * value for key, value in values.items()})
    assert [(each.norm, each.values["batch_size"]) for each in sweep.best.chosen] == [("bn", 64), ("gn:2", 16)]
    says(sweep.best.verdict, "bn")
    assert (sweep.metric.key, sweep.metric.direction) == (about.key, about.direction)
    sweep.save()
    words = page_words(tmp_path)
    assert "test accuracy" not in words.lower()
    says(words, f"{about.title()}{about.unit}", f"these values are the {about.highest}")
    assert bool(re.search("points", words)) == about.percent
    assert sweep.plot("batch_size").axes[0].get_ylabel() == about.axis(f"{about.title()}, last epoch")
    says(sweep.plot_heat("batch_size", "norm").axes[0].get_title(loc="left").lower(), about.title().lower())
    heat = json.loads(re.search(r'id="heat-data">(.*?)</script>', (tmp_path / "report.html").read_text())[1])
    first = heat["measures"][0]
    assert first["name"].startswith(about.title()) and first["more"] == (about.sign > 0)
    assert open_sweep(tmp_path).metric == sweep.metric


def test_progress_names_the_metric_that_it_shows():
    for name, record, said in [
        (None, {"val_accuracy": 0.5}, "test accuracy 50.00 %"),
        (None, {"val_mean_average_precision": 0.5}, "test mean average precision 0.5000"),
        ("f1", {"val_accuracy": 0.5, "val_f1": 0.25}, "test F1 0.2500"),
        ("my_score:min", {"val_my_score": 0.25}, "test my_score 0.2500"),
        ("f1", {}, "test F1 –"),
    ]:
        assert Lines(Console(), metric=name).reached(record) == said
