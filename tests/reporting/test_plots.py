"""Loss and accuracy curves: the data, and that the pictures are written whole."""

import warnings

import numpy as np
import pandas as pd
import pytest
from facts import says

from tfnorm.errors import DataError, RunError
from tfnorm.reporting import accuracy_data, colour, loss_data, plot_accuracy, plot_loss, styles
from tfnorm.reporting.palette import FAMILIES


def history(loss, accuracy=None, val=True):
    loss = np.asarray(loss, dtype=float)
    accuracy = 1 - loss / 10 if accuracy is None else np.asarray(accuracy, dtype=float)
    table = pd.DataFrame({"data_loss": loss, "accuracy": accuracy - 0.01}, pd.RangeIndex(len(loss), name="epoch"))
    if val:
        table["val_data_loss"], table["val_accuracy"] = loss * 2, accuracy
    return table


def realistic(seeds=3, epochs=20):
    rng = np.random.default_rng(0)
    fall = np.exp(-np.arange(epochs) / 2)
    return {
        label: [
            history(0.03 + 2.2 * fall + rng.random(epochs) / 100, 0.985 - 0.85 * fall + rng.random(epochs) / 100)
            for _ in range(seeds)
        ]
        for label in ("gn:2", "ln", "bn+l1=5e-4")
    }


def rows(curves, label, name):
    chosen = curves[(curves["label"] == label) & (curves["set"] == name)]
    return chosen[["epoch", "mean", "low", "high", "seeds"]].to_numpy().tolist()


def test_loss_data_is_mean_and_range_over_seeds_from_epoch_one():
    data = loss_data({"gn:2": [history([1.0, 0.5]), history([3.0, 0.25, 0.125])]})
    assert rows(data.curves, "gn:2", "train") == [
        [1, 2, 1, 3, 2],
        [2, 0.375, 0.25, 0.5, 2],
        [3, 0.125, 0.125, 0.125, 1],
    ]
    assert rows(data.curves, "gn:2", "test")[0] == [1, 4, 2, 6, 2]
    assert (data.seeds, data.diverged) == ({"gn:2": 2}, {"gn:2": 0})


@pytest.mark.parametrize(("last", "log"), [(0.1, False), (0.03, True), (0.0, False), (-1.0, False)])
def test_the_loss_axis_is_logarithmic_beyond_a_decade_and_a_half(last, log):
    # Test losses are twice the training losses: 2 to 0.1 is 1.3 decades, 2 to 0.03 is 1.8.
    histories = {"bn": [history([1.0, last])]}
    assert loss_data(histories).log is log
    assert plot_loss(histories).axes[0].get_yscale() == ("log" if log else "linear")


def test_divergence_is_counted_and_named():
    lost = history([1.0, np.nan, np.inf])
    data = loss_data({"bn": [lost, history([1.0, 2.0, 3.0])], "ln": [lost]})
    assert data.diverged == {"bn": 1, "ln": 1}
    assert rows(data.curves, "bn", "train") == [[1, 1, 1, 1, 2], [2, 2, 2, 2, 1], [3, 3, 3, 3, 1]]
    figure = plot_loss({"bn": [lost, history([1.0, 2.0, 3.0])], "ln": [lost]})
    first, second = legend(figure)
    says(first, "bn", "1 of 2 seeds")
    says(second, "ln", "diverged")


def test_best_epoch_is_the_first_highest_mean_among_complete_epochs():
    first = history([1, 1, 1, 1], [0.5, 0.75, 0.75, 0.99])
    second = history([1, 1, 1], [0.5, 0.5, 0.5])
    best = accuracy_data({"gn:2": [first, second]}).best
    assert best.loc["gn:2"].tolist() == [2, 62.5]
    assert best["epoch"].dtype.kind == "i"
    (said,) = legend(plot_accuracy({"gn:2": [first, second]}))
    says(said, "gn:2", "62.50 %", "epoch 2")


def test_accuracy_axis_leaves_out_the_first_epochs_only():
    curve = np.concatenate([[0.1, 0.3, 0.6], np.linspace(0.96, 0.99, 17)])
    data = accuracy_data({"bn": [history(np.ones(20), curve)], "in": [history(np.ones(20), curve - 0.08)]})
    assert 80 < data.limits[0] < 88 and 99 < data.limits[1] <= 100.5
    rising = accuracy_data({"bn": [history(np.ones(20), np.linspace(0.5, 0.9, 20))]})
    assert rising.limits[0] < 49
    collapsed = accuracy_data({"bn": [history(np.ones(20), curve)], "in": [history(np.ones(20), np.full(20, 0.1))]})
    assert collapsed.limits[0] < 9


def test_accuracy_axis_leaves_out_a_minority_that_learnt_nothing():
    curve, chance = np.linspace(0.96, 0.99, 20), np.full(20, 0.1)
    learnt = {name: history(np.ones(20), curve - shift) for name, shift in (("bn", 0), ("in", 0.01), ("ln", 0.02))}
    histories = {**learnt, "gn:2+l1=0.1": history(np.ones(20), chance)}
    assert accuracy_data(histories).limits == accuracy_data(learnt).limits
    axes = plot_accuracy(histories).axes[0]
    says(legend(axes.figure)[3], "gn:2+l1=0.1", "10.00 %", "epoch 1", "below")
    assert "cut off" in axes.texts[0].get_text()
    assert sum(len(line.get_xdata()) == 1 for line in axes.lines) == 3
    # Half is no minority, and what is poor but near is shown.
    two = {"a": history(np.ones(20), chance), "b": history(np.ones(20), chance)}
    assert accuracy_data({**learnt, **two}).limits == accuracy_data(learnt).limits
    assert accuracy_data({"bn": learnt["bn"], "in": learnt["in"], **two}).limits[0] < 9
    assert accuracy_data({**learnt, "poor": history(np.ones(20), curve - 0.2)}).limits[0] < 78


def test_without_validation_only_training_is_drawn():
    histories = {"bn": [history([1.0, 0.5], val=False)]}
    assert set(loss_data(histories).curves["set"]) == {"train"}
    assert accuracy_data(histories).best.empty
    assert legend(plot_accuracy(histories)) == ["bn"]


def test_repeated_and_unsorted_epochs():
    table = history([1.0, 2.0, 3.0])
    table.index = pd.Index([1, 0, 0], name="epoch")
    assert [row[:2] for row in rows(loss_data({"bn": table}).curves, "bn", "train")] == [[1, 3], [2, 1]]


@pytest.mark.parametrize("data", [loss_data, accuracy_data, plot_loss, plot_accuracy])
def test_errors(data):
    column = "data_loss" if data in (loss_data, plot_loss) else "accuracy"
    for histories, facts in [
        ({}, ("no history", "at least one label")),
        ({"bn": []}, ("no history of 'bn'", "at least one table")),
        (
            {"bn": [history([1.0]), pd.DataFrame({"loss": [1.0]})]},
            ("History 2 of 'bn'", f"{column!r}", "loss"),
        ),
    ]:
        with pytest.raises(RunError) as error:
            data(histories)
        says(error, *facts)


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


HISTORIES = {
    "realistic": realistic(),
    "one epoch": {"gn:2": [history([1.0])], "ln": [history([2.0])]},
    "one seed": realistic(seeds=1),
    "not finite": {"bn": [history([np.nan, np.inf])], "ln": [history([1.0, np.nan])]},
    "nothing finite": {"bn": [history([np.nan])]},
    "odd labels": {"$x_1$ {": [history([1.0, 0.5])], "_hidden": [history([1.0, 0.5])]},
    "many": {f"{name}:{i}": [history([1.0, 0.1 * i, 0.01])] for name in ("gn", "bn") for i in range(1, 9)},
}


# Both draw by the same code; the words of accuracies are longer, and losses need not be finite.
DRAWN = [
    pytest.param(
        plot,
        name,
        marks=[] if (plot is plot_loss) == name.endswith("finite") and name != "realistic" else pytest.mark.matrix,
    )
    for plot in (plot_loss, plot_accuracy)
    for name in HISTORIES
]


@pytest.mark.parametrize(("plot", "name"), DRAWN)
def test_pictures_hold_all_that_is_drawn(plot, name, tmp_path):
    path = tmp_path / "new" / "plot.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plot(HISTORIES[name], path=path)
    assert path.read_bytes()[:4] == b"\x89PNG" and 5_000 < path.stat().st_size < 100_000
    assert [label.split(" — ")[0].split(" (")[0] for label in legend(figure)] == list(HISTORIES[name])
    axes, canvas = figure.axes[0], figure.bbox
    box = axes.get_legend().get_window_extent()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= canvas.x1
    assert box.y1 < axes.get_window_extent().y0, "the legend lies below the data"
    for text in (axes.title, *axes.texts):
        extent = text.get_window_extent()
        assert extent.x0 >= 0 and extent.x1 <= canvas.x1 and extent.y1 <= canvas.y1, text.get_text()


def test_training_is_dashed_test_is_solid_and_the_best_epoch_is_marked():
    axes = plot_accuracy(realistic()).axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) > 1]
    assert [line.get_linestyle() for line in lines] == ["--", "-"] * 3
    marks = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if len(line.get_xdata()) == 1]
    assert marks == list(accuracy_data(realistic()).best.itertuples(index=False, name=None))
    assert axes.get_ylabel() == "accuracy (%)"
    loss = plot_loss(realistic(), title="Digits").axes[0]
    says(loss.get_ylabel().replace("\n", " "), "cross-entropy", "penalty")
    assert loss.get_title(loc="left") == "Digits"
    assert all(tick == int(tick) for tick in loss.get_xticks())
    assert loss.lines[0].get_xdata()[0] == 1


def test_draws_into_given_axes(tmp_path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    assert plot_loss(realistic(), ax=left) is figure
    assert plot_accuracy(realistic(), ax=right, path=tmp_path / "both.pdf") is figure
    assert len(left.lines) == 6 and len(right.lines) == 9
    assert (tmp_path / "both.pdf").read_bytes()[:4] == b"%PDF"


def test_an_unknown_file_type_is_refused():
    with pytest.raises(DataError) as error:
        plot_loss(realistic(), path="loss.jpeg")
    says(error, ".png, .svg or .pdf", "'loss.jpeg'")


def test_each_family_has_one_colour_of_its_own():
    assert len(set(FAMILIES.values())) == 7
    for name, value in FAMILIES.items():
        assert colour(name) == colour(f"{name}:4") == colour(f" {name.upper()}+l1=1e-4") == value


def test_labels_of_a_family_differ_in_shade_and_marker():
    look = styles(["gn:2", "gn:4", "bn", "gn:8+ws"])
    assert look["gn:2"].colour == FAMILIES["gn"] and look["bn"].colour == FAMILIES["bn"]
    assert len({style.colour for style in look.values()}) == len({style.marker for style in look.values()}) == 4


def test_eight_labels_of_a_family_are_told_apart_and_seen_on_white():
    for base in (*FAMILIES, "another"):
        shades = [style.colour for style in styles(f"{base}:{i}" for i in range(8)).values()]
        channels = np.array([[int(value[i : i + 2], 16) / 255 for i in (1, 3, 5)] for value in shades])
        distance = np.linalg.norm(channels[:, None] - channels[None], axis=-1) + np.eye(8)
        assert distance.min() > 0.1
        luminance = channels**2.2 @ [0.2126, 0.7152, 0.0722]
        assert (1.05 / (luminance + 0.05)).min() > 1.5


def test_families_are_told_apart_by_colour_blind_readers():
    # Viénot, Brettel and Mollon 1999: what a protanope and a deuteranope see, in linear RGB.
    protan = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])
    deutan = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    channels = np.array([[int(value[i : i + 2], 16) / 255 for i in (1, 3, 5)] for value in FAMILIES.values()])
    for matrix in (np.eye(3), protan, deutan):
        seen = np.clip(channels**2.2 @ matrix.T, 0, 1) ** (1 / 2.2)
        distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + np.eye(len(seen))
        assert distance.min() > 0.08
