import numpy as np
import pytest
from facts import says
from sklearn.metrics import confusion_matrix

from tfnorm.errors import DataError, RunError
from tfnorm.reporting import confusion_data, plot_confusion

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 200)
LOST = np.full((200, 4), np.nan)


def logits(classes=4, labels=LABELS):
    return RNG.normal(size=(len(labels), classes)) + 2 * np.eye(classes)[labels]


def test_counts_are_the_mean_of_sklearns_matrices():
    runs = [logits(), logits()]
    data = confusion_data(LABELS, {"bn": runs, "ln": [runs[1]]}, ["a", "b", "c", "d"])
    each = [confusion_matrix(LABELS, run.argmax(1), labels=range(4)) for run in runs]
    np.testing.assert_allclose(data.counts["bn"], (each[0] + each[1]) / 2)
    np.testing.assert_array_equal(data.counts["ln"], each[1])
    assert data.class_names == ["a", "b", "c", "d"] and data.seeds == {"bn": 2, "ln": 1}


def test_what_is_not_a_number_is_left_out_and_counted():
    run = logits()
    partly = run.copy()
    partly[:10, 1] = np.nan
    data = confusion_data(LABELS, {"bn": [run, LOST], "ln": [partly], "in": [LOST]})
    np.testing.assert_array_equal(data.counts["bn"], confusion_matrix(LABELS, run.argmax(1)))
    np.testing.assert_array_equal(data.counts["ln"], confusion_matrix(LABELS[10:], run[10:].argmax(1), labels=range(4)))
    assert data.counts["in"].sum() == 0
    assert data.seeds == {"bn": 1, "ln": 1, "in": 0}
    assert data.left_out == {"bn": 200, "ln": 10, "in": 200}


def test_a_picture_has_a_matrix_a_label_with_the_number_of_each_cell(tmp_path):
    run = logits()
    figure = plot_confusion(
        LABELS, {"bn": [logits(), logits()], "$x_1$": [run], "in": [LOST]}, path=tmp_path / "confusion.png"
    )
    counts = confusion_matrix(LABELS, run.argmax(1))
    panels = {ax.get_title(loc="left").split(":")[0]: ax for ax in figure.axes if ax.get_title(loc="left")}
    assert list(panels) == ["bn", "$x_1$", "in"]
    assert panels["in"].get_title(loc="left") == "in: diverged"
    said = {text.get_position()[::-1]: int(text.get_text()) for text in panels["$x_1$"].texts}
    assert said == {cell: counts[cell] for cell in zip(*np.nonzero(counts), strict=True)}
    (note,) = (text for text in figure.axes[0].texts if "grey" in text.get_text())
    says(note.get_text(), "1 to 2 seeds", "logits are not numbers")
    says(figure.axes[-1].get_xlabel(), "true class", "(%)")


def test_a_hundred_classes_have_no_numbers_but_the_commonest_mistakes_in_words():
    labels = np.arange(1000) % 100
    scores = np.eye(100)[labels]
    scores[labels == 7] = np.eye(100)[12]
    scores[:1] = np.eye(100)[5]
    (ax, _) = plot_confusion(labels, {"bn": [scores]}, [f"class {i}" for i in range(100)]).axes
    said, *pairs = ax.get_title(loc="left").splitlines()
    says(said, "bn", "11 of 1,000")
    for pair, facts in zip(pairs, [("class 7", "class 12", "10"), ("class 0", "class 5", "1")], strict=True):
        says(pair, *facts)
    assert len(ax.texts) == 1, "only the note"


def test_long_class_names_stay_apart():
    labels = np.arange(40) % 21
    scores = np.eye(21)[(labels + (labels < 2)) % 21]
    names = ["flower of the field", "flower of the garden", "flower of that field", *map(str, range(18))]
    (ax, _) = plot_confusion(labels, {"bn": [scores]}, names).axes
    assert ax.get_title(loc="left").split("\n")[1:] == [
        "flower…field (0) as flower…garden: 2",
        "flower…garden as flower…field (2): 2",
    ]
    (ax, _) = plot_confusion(LABELS, {"bn": [logits()]}, ["short", *names[:3]]).axes
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "short", "flower…field (1)", "flower…garden", "flower…field (3)",
    ]  # fmt: skip


def test_of_very_many_models_the_first_are_drawn_and_the_others_counted():
    figure = plot_confusion(LABELS, {f"gn:{i}": [logits()] for i in range(15)})
    assert sum("wrong" in ax.get_title(loc="left") for ax in figure.axes) == 12
    says(figure.axes[0].texts[-1].get_text(), "one seed", "3 more models")


def test_one_matrix_is_drawn_into_given_axes():
    from matplotlib.figure import Figure

    left, right = Figure(layout="constrained").subplots(1, 2)
    assert plot_confusion(LABELS, {"bn": [logits()]}, ax=right) is left.figure
    says(right.get_title(loc="left"), "bn")
    assert right.images and not left.images
    with pytest.raises(RunError) as caught:
        plot_confusion(LABELS, {"bn": [logits()], "ln": [logits()]}, ax=left)
    says(caught, "`ax`", "2 labels")


@pytest.mark.parametrize(
    ("found", "facts"),
    [
        ({}, ("no logits", "at least one label")),
        ({"bn": []}, ("no logits of 'bn'", "at least one seed")),
        (
            {"bn": [LOST], "ln": [LOST[:3]]},
            ("(200, 4)", "'ln'", "(3, 4)"),
        ),
        (
            {"bn": [LOST[:, :2]]},
            ("0 and 1", "2 classes", "0 to 3"),
        ),
    ],
    ids=["nothing", "no seed", "shapes", "classes"],
)
def test_mistakes_have_their_sentence(found, facts):
    with pytest.raises((RunError, DataError)) as caught:
        confusion_data(LABELS, found)
    says(caught, *facts)
