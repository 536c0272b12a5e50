"""A comparison about another metric than test accuracy: which way is better, its words and its unit."""

import html
import json
import math
import re

import pytest
from facts import says

from tfnorm import Comparison
from tfnorm.errors import TfnormError
from tfnorm.experiments import verdict as words
from tfnorm.experiments.findings import Findings
from tfnorm.experiments.statistics import paired_differences
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
    low, high = findings(VALUES, LOSS), findings(mirrored(VALUES), metric_of("val_loss"))
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
