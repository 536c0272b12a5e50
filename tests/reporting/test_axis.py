import numpy as np
import pandas as pd
import pytest
from facts import says

from tfnorm.errors import RunError
from tfnorm.reporting import axis_data, colour, plot_axis


def table(x, **columns):
    """Return a table of bn and gn:2 at each value of an axis."""
    rows = [
        {"norm": norm, "last_accuracy": 90.0 + i + 3 * (norm == "bn"), "seeds": 3, **{key: value}}
        for norm in ("gn:2", "bn")
        for key, values in {x: columns[x]}.items()
        for i, value in enumerate(values)
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(last_accuracy_low=frame["last_accuracy"] - 1, last_accuracy_high=frame["last_accuracy"] + 1)


def test_points_are_those_of_the_table_by_value():
    frame = table("batch_size", batch_size=[128, 2, 16])
    data = axis_data(frame.iloc[::-1], "batch_size")
    assert data.points["label"].tolist() == ["bn"] * 3 + ["gn:2"] * 3
    assert data.points["x"].tolist() == [2, 16, 128] * 2
    assert data.points["mean"].tolist() == [94, 95, 93, 91, 92, 90]
    assert data.points["low"].tolist() == [93, 94, 92, 90, 91, 89]
    assert data.log and data.limits[0] <= 89 and data.limits[1] >= 96


def test_groups_are_read_from_specs():
    frame = pd.DataFrame(
        {
            "norm": ["gn:4", "gn:1", "gn:2+l1=1e-4", "bn", "gn:size=4"],
            "last_accuracy": [4.0, 1.0, 2.0, 3.0, 5.0],
            "last_accuracy_low": np.nan,
            "last_accuracy_high": np.nan,
            "seeds": 1,
        }
    )
    data = axis_data(frame, "groups")
    assert data.points[["label", "x", "mean"]].to_numpy().tolist() == [
        ["gn", 1, 1.0],
        ["gn", 4, 4.0],
        ["gn+l1=1e-4", 2, 2.0],
    ]
    assert not data.log
    plot_axis(frame, "groups")


def test_other_axes_tell_curves_apart_and_what_has_no_accuracy_is_left_out():
    frame = table("batch_size", batch_size=[2, 4]).assign(learning_rate=[0.1, 0.2, 0.1, 0.2])
    frame.loc[0, "last_accuracy"] = np.nan
    data = axis_data(frame, "batch_size", ["learning_rate"])
    assert data.points["label"].tolist() == ["gn:2 learning_rate=0.2", "bn learning_rate=0.1", "bn learning_rate=0.2"]


def test_a_wide_interval_does_not_flatten_the_curves():
    frame = table("batch_size", batch_size=[2, 4]).assign(last_accuracy_low=-500.0, last_accuracy_high=900.0)
    low, high = axis_data(frame, "batch_size").limits
    assert 75 < low < 90 and 94 < high <= 101


def test_a_picture_of_an_axis(tmp_path):
    frame = table("batch_size", batch_size=[2, 16, 128])
    (ax,) = plot_axis(frame, "batch_size", path=tmp_path / "x.png").axes
    assert (tmp_path / "x.png").stat().st_size > 5000
    assert ax.get_xscale() == "log" and ax.get_xlabel() == "batch size (images)"
    assert [line.get_color() for line in ax.lines] == [colour("gn:2"), colour("bn")]
    assert ax.lines[0].get_ydata().tolist() == [90, 91, 92]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["gn:2", "bn"]
    assert len(ax.collections) == 2
    assert [f"{tick:g}" for tick in ax.get_xticks()] == ["2", "16", "128"]


@pytest.mark.parametrize(
    ("seeds", "diverged", "facts"),
    [
        (3, 0, ("3 seeds", "95 % interval")),
        (3, [0, 0, 1, 0], ("2 to 3 seeds", "95 % interval", "1 run")),
        (3, [3, 2, 2, 2], ("one seed", "9 runs")),
        (1, 0, ("one seed",)),
    ],
    ids=["none", "one", "most", "one seed"],
)
def test_note_counts_the_seeds_that_did_not_diverge(seeds, diverged, facts):
    frame = table("batch_size", batch_size=[2, 16]).assign(seeds=seeds, diverged=diverged)
    frame.loc[frame["diverged"] == frame["seeds"], "last_accuracy"] = np.nan
    (ax,) = plot_axis(frame, "batch_size").axes
    said = ax.texts[0].get_text()
    says(said, *facts)
    assert ("diverged" in said) == np.any(diverged)


def test_mistakes_have_their_sentence():
    frame = table("batch_size", batch_size=[2, 16])
    with pytest.raises(RunError, match="'batch'.*'batch_size'"):
        axis_data(frame, "batch")
    with pytest.raises(RunError, match="'batch'.*'batch_size'"):
        axis_data(frame, "groups", ["batch"])
    with pytest.raises(RunError) as caught:
        axis_data(frame, "norm")
    says(caught, "column 'norm'", "'gn:2'")
    with pytest.raises(RunError) as caught:
        axis_data(frame[frame["norm"] == "bn"], "groups")
    says(caught, "'groups'", "no row")
