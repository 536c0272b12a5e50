"""Metrics of all predictions at once, against scikit-learn and against their definitions written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from tfnorm.metrics.scores import area_under_curve, average_precision, is_score, score


@st.composite
def several(draw):
    """Return labels and logits of several labels: few distinct logits, so that many are equal."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    images, classes = draw(st.integers(2, 40)), draw(st.integers(2, 6))
    labels = rng.integers(0, 2, (images, classes))
    labels[0] = 1
    return labels, rng.integers(-3, 4, (images, classes)) / draw(st.sampled_from([1, 3]))


@st.composite
def one(draw):
    """Return class numbers and logits of one class each."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    images, classes = draw(st.integers(3, 40)), draw(st.integers(2, 6))
    labels = rng.integers(0, classes, images)
    labels[:2] = 0, 1
    return labels, rng.integers(-3, 4, (images, classes)).astype(float)


def precision_by_hand(labels, scores):
    """Return the average precision, threshold by threshold."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = [label for label, value in zip(labels, scores, strict=True) if value >= threshold]
        recall = sum(chosen) / sum(labels)
        total += (recall - before) * sum(chosen) / len(chosen)
        before = recall
    return total


@given(several())
def test_mean_average_precision_is_that_of_its_definition_and_of_scikit_learn(data):
    labels, logits = data
    by_hand = np.mean([precision_by_hand(labels[:, k].tolist(), logits[:, k].tolist()) for k in range(labels.shape[1])])
    found = score("mean_average_precision", labels, logits)
    assert found == pytest.approx(by_hand, abs=1e-12)
    assert found == pytest.approx(reference.average_precision_score(labels, logits, average="macro"), abs=1e-12)


def test_average_precision_of_equal_scores_does_not_depend_on_their_order():
    labels = np.array([1, 0, 0, 0])
    assert average_precision(labels, np.zeros(4)) == average_precision(labels[::-1], np.zeros(4)) == 0.25
    assert average_precision(np.array([1, 1]), np.array([0.2, 0.1])) == 1.0


@given(several())
def test_auc_and_f1_of_several_labels_are_those_of_scikit_learn(data):
    labels, logits = data
    both = [k for k in range(labels.shape[1]) if not labels[:, k].all()]
    if both:
        wins = [
            np.mean(
                [(a > b) + (a == b) / 2 for a in logits[labels[:, k] == 1, k] for b in logits[labels[:, k] == 0, k]]
            )
            for k in both
        ]
        assert score("auc", labels, logits) == pytest.approx(np.mean(wins), abs=1e-12)
        expected = reference.roc_auc_score(labels[:, both], logits[:, both], average="macro")
        assert score("auc", labels, logits) == pytest.approx(expected, abs=1e-12)
    expected = reference.f1_score(labels, logits > 0, average="macro", zero_division=0)
    assert score("f1", labels, logits) == pytest.approx(expected, abs=1e-12)


@given(one())
def test_scores_of_one_class_each_are_those_of_scikit_learn(data):
    labels, logits = data
    predicted, present = logits.argmax(axis=1), np.unique(labels)
    expected = reference.f1_score(labels, predicted, labels=present, average="macro", zero_division=0)
    assert score("f1", labels, logits) == pytest.approx(expected, abs=1e-12)
    recalled = [np.mean(predicted[labels == k] == k) for k in present]
    assert score("balanced_accuracy", labels, logits) == pytest.approx(np.mean(recalled), abs=1e-12)
    assert score("top_1_accuracy", labels, logits) == np.mean(predicted == labels)
    assert score(f"top_{logits.shape[1]}_accuracy", labels, logits) == 1.0
    apart = logits + np.linspace(0, 0.5, logits.shape[1])  # no two are equal
    for places in range(1, logits.shape[1]):
        expected = np.mean([label in row.argsort()[-places:] for label, row in zip(labels, apart, strict=True)])
        assert score(f"top_{places}_accuracy", labels, apart) == expected
    apart += np.random.default_rng(0).uniform(0, 0.01, logits.shape)
    shares = np.exp(apart) / np.exp(apart).sum(axis=1, keepdims=True)
    wins = [reference.roc_auc_score(labels == k, shares[:, k]) for k in present]
    assert score("auc", labels, apart) == pytest.approx(np.mean(wins), abs=1e-12)


def test_auc_of_two_classes_is_that_of_either():
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 2, 50), rng.normal(size=(50, 2))
    expected = reference.roc_auc_score(labels, logits[:, 1] - logits[:, 0])
    assert score("auc", labels, logits) == pytest.approx(expected, abs=1e-12)
    assert area_under_curve(labels, logits[:, 1] - logits[:, 0]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["mean_average_precision", "auc", "f1", "balanced_accuracy", "top_2_accuracy"])
def test_a_logit_that_is_no_number_has_no_score(name):
    labels = np.eye(3, dtype=int)[[0, 1, 2]] if name == "mean_average_precision" else np.arange(3)
    logits = np.zeros((3, 3))
    assert np.isfinite(score(name, labels, logits)) and is_score(name)
    logits[1, 1] = np.nan
    assert np.isnan(score(name, labels, logits))


def test_a_class_without_test_images_has_no_part_in_a_mean():
    labels = np.array([[1, 0, 0], [0, 1, 0]])
    assert score("mean_average_precision", labels, np.array([[2.0, 0, 9], [0, 2, 9]])) == 1.0
    assert score("f1", np.array([0, 1]), np.array([[2.0, 0, 0], [0, 2, 0]])) == 1.0
    assert not is_score("data_loss") and not is_score("accuracy")
