"""Networks that learned nothing, as the tables, the answer and the page of a comparison show them."""

import json
import re

import numpy as np
import pytest
from facts import one_says, says
from sklearn.metrics import balanced_accuracy_score

from tfnorm.cli.printing import print_table
from tfnorm.experiments.collect import collect
from tfnorm.experiments.comparison.comparison import Comparison
from tfnorm.experiments.comparison.page import comparison_page
from tfnorm.experiments.guessing import balanced_accuracy
from tfnorm.experiments.plan import configurations

RARE = (np.arange(400) % 20 == 0).astype(int)  # 5 %


@pytest.fixture
def predicted(fake_run, tmp_path):
    """Return a function that writes runs with given predictions, one array a spec, and returns their comparison."""

    def write(labels, answers, seeds=3, classes=2):
        for config in configurations(list(answers), seeds=seeds):
            given = answers[config.norm]
            answer = given(config.seed) if callable(given) else given
            logits = np.eye(classes, dtype="float32")[answer]
            place = tmp_path / config.norm.replace(":", "-") / f"seed-{config.seed}"
            fake_run(place, config, float((answer == labels).mean()), labels, logits)
        return collect(tmp_path)

    return write


def test_balanced_accuracy_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels, answers = rng.choice(4, 300, p=[0.7, 0.2, 0.05, 0.05]), rng.integers(0, 4, 300)
    assert balanced_accuracy(labels, answers)[0] == pytest.approx(balanced_accuracy_score(labels, answers))
    answers[answers == 3] = 7  # a class that no test image has
    assert balanced_accuracy(labels, answers)[0] == pytest.approx(
        np.mean([(answers[labels == c] == c).mean() for c in range(4)])
    )


def test_the_score_is_that_of_answers_in_any_order():
    rng = np.random.default_rng(1)
    labels, answers = rng.choice(3, 60, p=[0.6, 0.3, 0.1]), rng.integers(0, 3, 60)
    shuffled = [balanced_accuracy(labels, rng.permutation(answers))[0] for _ in range(4000)]
    reached, score = balanced_accuracy(labels, answers)
    assert np.mean(shuffled) == pytest.approx(1 / 3, abs=0.005)
    assert score == pytest.approx((reached - 1 / 3) / np.std(shuffled), rel=0.05)


@pytest.mark.parametrize("labels", [RARE, np.arange(400) % 2])
@pytest.mark.parametrize("answer", ["largest", "smallest", "random"])
def test_guessing_is_named_and_never_recommended(labels, answer, predicted, capsys):
    rng = np.random.default_rng(2)
    told = {
        "largest": np.zeros(400, int), "smallest": np.ones(400, int), "random": lambda seed: rng.integers(0, 2, 400),
    }[answer]  # fmt: skip
    found = predicted(labels, {"bn": told, "gn:2": told})
    assert found.table["learned"].tolist() == [False, False]
    page = comparison_page(found, found.path)
    said = re.search(r'<p class="answer" id="answer">([^<]*)<', page)[1]
    assert said.startswith("None of them") and "take" not in said
    print_table(found)
    printed = capsys.readouterr().out
    share = f"{100 * np.bincount(labels).max() / 400:.2f} %"
    for text in (page, printed):
        says(text, "bn and gn:2", "learned", share)


def test_one_that_learned_is_recommended_though_guessing_is_right_more_often(predicted):
    rng = np.random.default_rng(3)

    def careful(seed):
        wrong = rng.random(400) < 0.1
        return np.where(wrong, 1 - RARE, RARE)

    found = predicted(RARE, {"bn": np.zeros(400, int), "gn:2": careful})
    assert found.table["learned"].tolist() == [False, True]
    assert found.table.loc["bn", "last_accuracy"] > found.table.loc["gn:2", "last_accuracy"]
    page = comparison_page(found, found.path)
    said = re.search(r'<p class="answer" id="answer">([^<]*)<', page)[1]
    assert said.startswith("Use gn:2")
    one_says(page, "gn:2 is right", "no more often")
    assert "balanced accuracy %" in page


def test_balanced_accuracies_have_a_column_where_classes_are_unequal(predicted, capsys):
    found = predicted(np.arange(400) % 2, {"bn": np.arange(400) % 2})
    assert not found.unequal and "balanced accuracy %" not in comparison_page(found, found.path)
    print_table(found)
    assert "balanced accuracy" not in capsys.readouterr().out
    assert found.remarks == [] and found.table.loc["bn", "balanced_accuracy"] == 100


def test_the_record_has_it_and_runs_without_predictions_have_none(predicted, monkeypatch):
    monkeypatch.setattr(Comparison, "save_pictures", lambda *_: None)
    found = predicted(RARE, {"bn": RARE, "gn:2": np.zeros(400, int)})
    for run in found.groups["bn"]:
        run.folder.predictions_path.unlink()
    found.save()
    bn, gn = json.loads((found.path / "comparison.json").read_text())["table"]
    assert bn["balanced_accuracy"] is None and bn["learned"] is None
    assert gn["balanced_accuracy"] == 50 and gn["learned"] is False
