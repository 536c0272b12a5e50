import json

import numpy as np
import pandas as pd
import pytest
from facts import one_says, says

import tfnorm
from tfnorm.datasets import load
from tfnorm.datasets.dataset import Dataset
from tfnorm.errors import RunError, TfnormError
from tfnorm.experiments.comparison.comparison import Comparison
from tfnorm.experiments.plan import configurations
from tfnorm.training.config import TrainConfig
from tfnorm.training.network.network import check_networks

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture(scope="module")
def data():
    full = load("digits", image_size=28)
    return Dataset(
        "digits", full.x_train[:128], full.y_train[:128], full.x_test[:40], full.y_test[:40], full.class_names
    )


@pytest.fixture(scope="module")
def comparison(data, tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    return tfnorm.compare(["gn:2", "bn+l1=5e-4"], arch="tiny", seeds=2, epochs=2, out=folder, data=data)


def test_frozen_batch_norms_without_statistics_are_labelled(fake_comparison, tmp_path):
    found = fake_comparison(tmp_path / "fresh", {"bn:frozen": [0.2], "bn": [0.9]})
    one_says(found.notes, "bn:frozen has", "untrained statistics", "mean 0")
    assert not any("untrained" in note for note in fake_comparison(tmp_path / "bn", {"bn": [0.9]}).notes)
    with pytest.warns(UserWarning, match="'bn:frozen' in mnist_7k.*no training has set") as caught:
        check_networks([TrainConfig(norm="bn:frozen", seed=seed) for seed in (0, 1)], load("digits", image_size=28))
    assert len(caught) == 1


def test_files_of_a_comparison(comparison):
    names = {path.name for path in comparison.path.iterdir()}
    assert names == {
        "table.csv",
        "runs.csv",
        "comparison.json",
        "report.html",
        "loss.png",
        "accuracy.png",
        "gap.png",
        "differences.png",
        "confusion.png",
        "overlap.png",
        "misclassified-gn-2.png",
        "misclassified-bn_l1-5e-4.png",
        "gn-2",
        "bn_l1-5e-4",
    }
    assert {path.name for path in (comparison.path / "gn-2").iterdir()} == {"seed-0", "seed-1"}


def test_table_is_the_mean_over_seeds_of_the_runs(comparison):
    table = comparison.table
    assert list(table.index) == ["gn:2", "bn+l1=5e-4"]
    assert (table["parameters"] == 36 + 8 + 40).all() and (table["seeds"] == 2).all()
    accuracy = [100 * run.history["val_accuracy"].to_numpy() for run in comparison.groups["gn:2"]]
    assert table.loc["gn:2", "last_accuracy"] == pytest.approx(np.mean([a[-1] for a in accuracy]))
    assert table.loc["gn:2", "last_accuracy_std"] == pytest.approx(np.std([a[-1] for a in accuracy], ddof=1))
    assert table.loc["gn:2", "best_accuracy"] == pytest.approx(np.mean([a.max() for a in accuracy]))
    wrong = [run.result["misclassified"] for run in comparison.groups["gn:2"]]
    assert table.loc["gn:2", "misclassified"] == np.mean(wrong)
    assert table.loc["gn:2", "penalty"] == 0 < table.loc["bn+l1=5e-4", "penalty"]
    written = pd.read_csv(comparison.path / "table.csv", index_col="spec")
    np.testing.assert_allclose(written["last_accuracy"], table["last_accuracy"])


def test_runs_of_one_seed_share_kernels_and_runs_of_two_do_not(comparison):
    content = json.loads((comparison.path / "comparison.json").read_text())
    kernels = {(run["spec"], run["seed"]): run["initial_kernels"] for run in content["runs"]}
    assert kernels["gn:2", 0] == kernels["bn+l1=5e-4", 0] != kernels["gn:2", 1]
    assert content["schema_version"] == 1 and content["settings"]["epochs"] == 2
    assert len(content["runs"][0]["test_accuracy_by_epoch"]) == 2


@pytest.mark.matrix
def test_finished_runs_are_taken_up_and_new_specs_added(comparison, data):
    before = {run.path: (run.path / "model.keras").stat().st_mtime_ns for run in comparison.runs}
    more = tfnorm.compare(["gn:2", "none"], arch="tiny", seeds=2, epochs=2, out=comparison.path, data=data)
    assert list(more.table.index) == ["gn:2", "none"]
    for path, time in before.items():
        assert (path / "model.keras").stat().st_mtime_ns == time


def test_a_folder_with_runs_is_refused_without_resume(comparison, data):
    with pytest.raises(RunError) as error:
        tfnorm.compare(["gn:2"], arch="tiny", seeds=1, epochs=2, out=comparison.path, data=data, resume=False)
    says(error, comparison.path, "Choose another", "resume")


def test_another_configuration_in_the_folder_is_refused_before_training(comparison, data):
    with pytest.raises(RunError, match=r"epochs .*\b2\b.*\b3\b"):
        tfnorm.compare(["none", "gn:2"], arch="tiny", seeds=2, epochs=3, out=comparison.path, data=data)


@pytest.mark.matrix
def test_one_seed_has_no_deviation(data, tmp_path):
    one = tfnorm.compare("ln:channel", arch="tiny", seeds=[7], epochs=1, out=tmp_path, data=data)
    assert [run.seed for run in one.runs] == [7]
    assert np.isnan(one.table.loc["ln:channel", "last_accuracy_std"])
    assert "ln:channel" in repr(one) and "ln:channel" in one._repr_html_()


@pytest.mark.matrix
def test_a_diverged_run_does_not_stop_the_comparison(data, tmp_path):
    settings = {"arch": "tiny", "seeds": 1, "epochs": 2, "learning_rate": 1e38, "augmentation": "none"}
    result = tfnorm.compare(["none", "gn:2"], **settings, out=tmp_path, data=data)
    assert result.table.loc["none", "diverged"] == 1
    assert (tmp_path / "accuracy.png").stat().st_size > 1000


def test_configurations_share_all_but_norm_and_seed():
    planned = configurations(seeds=2)
    assert [(c.norm, c.seed) for c in planned] == [
        ("gn:2", 0),
        ("gn:2", 1),
        ("ln", 0),
        ("ln", 1),
        ("bn+l1=5e-4", 0),
        ("bn+l1=5e-4", 1),
    ]
    assert len({c.model_copy(update={"norm": "bn", "seed": 0}).model_dump_json() for c in planned}) == 1


@pytest.mark.parametrize(
    ("specs", "settings", "facts"),
    [
        (["gn:5"], {}, ("groups=5", "channels=8", "'conv1_norm'", "1, 2, 4, 8")),
        (["bn", "BN"], {}, ("'bn'", "twice", "seeds")),
        ([], {}, ("norm spec", "'bn'")),
        (["bn"], {"seeds": [1, 1]}, ("different", "seeds=[1, 1]")),
        (["zn", "gn:3"], {}, ("'zn'",)),
        (["zn", "gn:3"], {}, ("groups=3", "channels=8")),
        (["bn"], {"seed": 7}, ("`seed`", "seeds=[7]")),
        (["bn"], {"epoch": 3}, ("'epoch'", "'epochs'")),
    ],
)
def test_mistakes_are_told_before_anything_starts(specs, settings, facts):
    with pytest.raises(TfnormError) as error:
        configurations(specs, **settings)
    says(error, *facts)


def test_a_comparison_reads_from_disk_what_was_written(comparison):
    again = Comparison([type(run)(run.path) for run in comparison.runs], comparison.path)
    pd.testing.assert_frame_equal(again.table, comparison.table)
