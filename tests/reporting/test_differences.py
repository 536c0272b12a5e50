import numpy as np
import pandas as pd
import pytest
from facts import says

from tfnorm.errors import RunError
from tfnorm.experiments import statistics
from tfnorm.reporting import colour, differences_data, plot_differences, styles
from tfnorm.reporting.pictures._frame import NOTE_COLOUR

REAL = {"ln": {0: 99.0, 1: 99.1, 2: 99.2}, "bn": {0: 95.0, 1: 95.2, 2: 95.1}, "gn:2": {0: 99.0, 1: 99.2, 2: 99.1}}


def frame(pairs):
    """Return pairs as the table that a comparison makes of them."""
    return pd.DataFrame([vars(pair) | {"real": pair.is_real()} for pair in pairs])


def paired_differences(values):
    return frame(statistics.paired_differences(values))


def test_rows_are_the_pairs_with_their_intervals():
    pairs = statistics.paired_differences(REAL)
    data = differences_data(frame(pairs))
    assert data[["first", "second"]].to_numpy().tolist() == [["ln", "bn"], ["ln", "gn:2"], ["bn", "gn:2"]]
    np.testing.assert_allclose(data["high"] - data["low"], [2 * pair.half_width for pair in pairs])
    np.testing.assert_allclose(data["mean"], [pair.mean for pair in pairs])
    assert data["real"].tolist() == [pair.is_real() for pair in pairs] == [True, False, True]


def test_a_picture_marks_the_real_ones(tmp_path):
    figure = plot_differences(paired_differences(REAL), path=tmp_path / "differences.png")
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["ln − bn", "ln − gn:2", "bn − gn:2"]
    points = [line for line in ax.lines if line.get_markersize() == 7 and line.get_marker() != "None"]
    assert [point.get_markerfacecolor() for point in points] == [colour("ln"), "white", colour("gn:2")]
    words = [text for text in ax.texts if "p " in text.get_text()]
    assert [text.get_weight() for text in words] == ["bold", "normal", "bold"]
    assert words[1].get_text() == "0.00 ± 0.25, p = 1"
    low, high = ax.get_xlim()
    assert low < -4 and high > 4
    says(ax.get_xlabel(), "test accuracy", "points")
    says(" ".join(text.get_text() for text in ax.texts), "Holm", "3 pairs")


def test_one_seed_has_no_interval_and_no_mark():
    (ax,) = plot_differences(paired_differences({"bn": {0: 90.0}, "$x_1$": {0: 91.5}})).axes
    says(ax.texts[0].get_text(), "one seed", "no interval")
    assert ax.texts[1].get_text() == "−1.50" and not ax.collections
    (ax,) = plot_differences(paired_differences({"bn": {0: 90.0}, "ln": {1: 91.5}})).axes
    first, second = ax.texts
    says(first.get_text(), "no seed")
    says(second.get_text(), "no seed")


def test_an_interval_much_wider_than_the_others_is_cut_with_an_arrow():
    wide = {"in": {0: 10.0, 1: 95.0}}
    narrow = {name: {0: 95 + i, 1: 95.2 + i} for i, name in enumerate(("bn", "ln", "gn:2", "gn:4", "rms"))}
    (ax,) = plot_differences(paired_differences(narrow | wide)).axes
    low, high = ax.get_xlim()
    assert high - low < 600
    assert {line.get_marker() for line in ax.lines} >= {"<", ">"}


def test_of_very_many_pairs_the_clearest_are_drawn():
    values = {f"gn:{i}": {0: 90.0 + i, 1: 90.1 + i, 2: 90.0 + 1.2 * i} for i in range(16)}
    pairs = statistics.paired_differences(values)
    (ax,) = plot_differences(frame(pairs)).axes
    drawn = [text.get_text() for text in ax.get_yticklabels()]
    by_p = sorted(pairs, key=lambda pair: pair.p_adjusted)[:66]
    assert len(drawn) == 66 and set(drawn) == {f"{pair.first} − {pair.second}" for pair in by_p}
    says(ax.texts[0].get_text().replace("\n", " "), "120 pairs", "66")
    points = [line for line in ax.lines if line.get_markersize() == 7 and line.get_marker() not in ("None", "<", ">")]
    look = styles(list(values))
    drawn_pairs = [pair for pair in pairs if pair in by_p]
    assert [point.get_color() for point in points] == [
        look[pair.better].colour if pair.is_real() else NOTE_COLOUR for pair in drawn_pairs
    ]


def test_no_pair_has_its_sentence():
    with pytest.raises(RunError) as caught:
        plot_differences(frame([]).reindex(columns=["mean", "half_width"]))
    says(caught, "no pair", "two specs")
