import warnings

import numpy as np
import pandas as pd
import pytest
from facts import says

from tfnorm.errors import RunError
from tfnorm.reporting import gap_data, plot_gap


def history(train, test, loss=None):
    return pd.DataFrame(
        {"accuracy": train, "val_accuracy": test, "data_loss": np.ones(len(train)) if loss is None else loss}
    )


def test_gap_is_training_minus_test_accuracy_in_points_over_the_seeds():
    data = gap_data({"gn:2": [history([0.5, 0.75], [0.25, 0.5]), history([0.5, 1.0], [0.75, 0.5])]})
    assert data.curves.to_numpy().tolist() == [["gn:2", 1, 0.0, -25.0, 25.0, 2], ["gn:2", 2, 37.5, 25.0, 50.0, 2]]
    assert list(data.curves.columns) == ["label", "epoch", "mean", "low", "high", "seeds"]
    assert data.last.loc["gn:2"].tolist() == [37.5, pytest.approx(np.std([25, 50], ddof=1))]
    assert data.seeds == {"gn:2": 2} and data.diverged == {"gn:2": 0}


def test_each_seed_counts_with_its_own_last_epoch_and_a_diverged_one_not():
    lost = history([0.9, 0.1], [0.1, 0.1], loss=[1.0, np.nan])
    data = gap_data({"bn": [history([0.5, 0.5], [0.5, 0.25]), history([0.75], [0.25]), lost], "in": [lost]})
    assert data.last.loc["bn"].tolist() == [37.5, pytest.approx(np.std([25, 50], ddof=1))]
    assert data.last.loc["in"].isna().all()
    assert data.diverged == {"bn": 1, "in": 1}


def test_the_first_epochs_do_not_flatten_the_others():
    late = np.concatenate([[-0.6, -0.3], np.full(18, 0.02)])
    data = gap_data({"bn": [history(0.9 + late, np.full(20, 0.9))]})
    assert data.limits[0] < 0 < 2 < data.limits[1] and data.limits[1] - data.limits[0] < 5
    even = gap_data({"bn": [history(np.full(20, 0.9), np.linspace(0.9, 0.8, 20))]})
    assert even.limits[0] <= 0 and even.limits[1] > 10


def test_a_picture_of_gaps(tmp_path):
    late = np.concatenate([[-0.6, -0.3], np.full(18, 0.02)])
    shown = history(0.9 + late, np.full(20, 0.9))
    gone = history([np.nan], [np.nan], loss=[np.nan])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plot_gap({"gn:2": [shown, shown], "$x_1$": [shown], "bn": [gone]}, path=tmp_path / "gap.png")
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "gn:2 — last +2.00 ± 0.00",
        "$x_1$ — last +2.00",
        "bn (diverged)",
    ]
    says(ax.texts[0].get_text(), "1 to 2 seeds", "min to max", "first epochs")
    says(ax.get_ylabel(), "training", "test accuracy", "(percentage points)")
    assert len(ax.collections) == 1, "a band for the one with two seeds"
    assert ax.get_legend().get_window_extent().y1 < ax.get_window_extent().y0
    assert (tmp_path / "gap.png").stat().st_size > 5000


def test_a_history_without_test_accuracy_has_its_sentence():
    with pytest.raises(RunError) as caught:
        gap_data({"bn": [pd.DataFrame({"accuracy": [1.0]})]})
    says(caught, "'bn'", "'val_accuracy'", "accuracy")
