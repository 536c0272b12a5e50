import math

import pandas as pd
import pytest
from facts import says

from tfnorm.errors import RunError
from tfnorm.reporting import heat_data, plot_heat
from tfnorm.reporting.pictures.heat import spread, values_of

# Two norms, L1, and batch size: (spec, batch size, accuracy, seeds that diverged, status).
ROWS = [
    ("bn", 64, 97.0, 0, "finished"),
    ("bn", 16, 96.0, 0, "finished"),
    ("bn+l1=1e-4", 16, 96.5, 0, "finished"),
    ("bn+l1=1e-4", 64, 99.9, 1, "finished"),
    ("gn:2", 16, 98.0, 0, "finished"),
    ("gn:2", 64, math.nan, 2, "finished"),
    ("gn:2+l1=1e-4", 16, math.nan, math.nan, "failed"),
    ("gn:2+l1=1e-4", 64, math.nan, math.nan, "waiting"),
]


@pytest.fixture
def table():
    frame = pd.DataFrame(ROWS, columns=["norm", "batch_size", "last_accuracy", "diverged", "status"])
    return frame.assign(last_accuracy_std=0.25, misclassified=100 - frame["last_accuracy"], seeds=2)


def grid(data, column):
    return data.cells[column].to_numpy().reshape(len(data.ys), len(data.xs)).tolist()


def test_a_cell_is_the_best_combination_that_did_not_diverge(table):
    data = heat_data(table, "batch_size", "norm")
    assert (data.xs, data.ys) == ([16, 64], ["bn", "gn:2"])
    # 99.9 with batches of 64 is of the seed that was left.
    (bn16, bn64), (gn16, gn64) = grid(data, "value")
    assert (bn16, bn64, gn16) == (96.5, 97.0, 98.0) and math.isnan(gn64)
    assert grid(data, "combinations") == [[2, 1], [1, 0]]
    assert grid(data, "state") == [["finished", "finished"], ["finished", "diverged"]]
    assert data.cells["std"][0] == 0.25


def test_penalties_are_axes_though_only_the_spec_says_them(table):
    data = heat_data(table[table["norm"].str.startswith("gn")], "l1", "batch_size")
    assert (data.xs, data.ys) == ([0.0, 1e-4], [16, 64])
    assert grid(data, "state") == [["finished", "failed"], ["diverged", "waiting"]]
    assert spread(table)["l1"].tolist() == [0, 0, 1e-4, 1e-4, 0, 0, 1e-4, 1e-4]
    missing = heat_data(table[:3], "l1", "batch_size").cells
    assert missing["state"].tolist() == ["finished", "finished", "finished", "missing"]


def test_a_combination_that_is_short_of_seeds_is_the_best_only_where_there_is_no_other(table):
    short = table.assign(diverged=0, planned=2, seeds=[2, 2, 1, 1, 1, 0, 0, 0])
    data = heat_data(short, "batch_size", "norm")
    (bn16, bn64), (gn16, _) = grid(data, "value")
    assert (bn16, bn64, gn16) == (96.0, 97.0, 98.0)
    assert grid(data, "combinations") == [[1, 1], [1, 0]] and grid(data, "missing") == [[0, 0], [1, 0]]
    texts = [text.get_text() for text in plot_heat(short, "batch_size", "norm").axes[0].texts]
    assert texts[:3] == ["96.00\n± 0.25", "97.00\n± 0.25", "98.00\n± 0.25\n1 of 2 seeds"]


def test_where_less_is_better_the_least_is_best_and_a_lone_survivor_is_counted(table):
    data = heat_data(table, "batch_size", "norm", "misclassified")
    assert grid(data, "value")[0] == [3.5, 3.0]
    alone = heat_data(table[3:4], "batch_size", "norm").cells.iloc[0]
    assert (alone["value"], alone["diverged"], alone["state"]) == (99.9, 1, "finished")


def test_a_network_that_learnt_nothing_does_not_stretch_the_colours():
    accuracy = [98.1, 98.2, 98.3, 98.4, 98.5, 10.0]
    frame = pd.DataFrame({"norm": "bn", "batch_size": range(6), "last_accuracy": accuracy, "dropout": 0.1})
    assert heat_data(frame, "batch_size", "dropout").limits == (98.1, 98.5)
    loss = heat_data(
        frame.assign(test_data_loss=[0.1, 0.11, 0.12, 0.13, 0.14, 9.0]), "batch_size", "norm", "test_data_loss"
    )
    assert loss.limits == (0.1, 0.14)


def test_a_picture_has_the_numbers_and_says_why_one_is_missing(table, tmp_path):
    figure = plot_heat(table, "l1", "batch_size", path=tmp_path / "heat.png")
    ax = figure.axes[0]
    texts = [text.get_text() for text in ax.texts]
    assert texts[:4] == ["98.00\n± 0.25", "96.50\n± 0.25", "97.00\n± 0.25", "99.90\n± 0.25\n1 diverged"]
    says(texts[4], "2 combinations", "standard deviation")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1e-4"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("L1 factor", "batch size (images)")
    assert (tmp_path / "heat.png").stat().st_size > 5000
    # The text is dark on bright cells and white on dark ones.
    colours = {text.get_text()[:5]: text.get_color() for text in ax.texts}
    assert (colours["96.50"], colours["99.90"]) == ("white", "black")

    small = plot_heat(table[table["norm"].str.startswith("gn")], "l1", "batch_size").axes[0]
    assert [text.get_text() for text in small.texts][1:4] == ["failed", "diverged", "waiting"]
    assert [patch.get_hatch() for patch in small.patches] == ["////"] * 3


def test_it_draws_where_it_is_told(table):
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert plot_heat(table, "norm", "batch_size", ax=ax, title="Mine $5").axes[0] is ax
    assert ax.get_title(loc="left") == "Mine $5"


def test_mistakes_have_their_sentence(table):
    for arguments, facts in {
        ("l1", "l1"): ("two axes", "'l1'"),
        ("l1", "batch"): ("'batch'", "'batch_size'"),
        ("l1", "norm", "last_acuracy"): ("'last_acuracy'", "'last_accuracy'"),
        ("l1", "norm", "seconds"): ("'seconds'",),
    }.items():
        with pytest.raises(RunError) as caught:
            heat_data(table, *arguments)
        says(caught, *facts)
    with pytest.raises(RunError) as caught:
        heat_data(table[table["norm"] == "bn"], "groups", "norm")
    says(caught, "'groups' and 'norm'")
    assert "seconds" in values_of()
