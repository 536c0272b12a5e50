"""The page of a sweep, from runs that were never trained; what it does in a browser is in tests/reporting."""

import html
import json
import math
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from facts import one_says, says

from tfnorm.errors import RunError
from tfnorm.experiments.collect import report
from tfnorm.experiments.sweep.best import best_of_each, warning
from tfnorm.experiments.sweep.charts import curves
from tfnorm.experiments.sweep.combination import Combination
from tfnorm.experiments.sweep.folder import grid_text
from tfnorm.experiments.sweep.grid import plan_grid, varied
from tfnorm.experiments.sweep.page import sweep_page
from tfnorm.experiments.sweep.sweep import open_sweep
from tfnorm.spec import parse
from tfnorm.training.recipe.recipes import RECIPES
from tfnorm.training.records import read_json

GRID = {
    "settings": {"epochs": 2},
    "grid": {"norm": ["bn", "gn:2", "gn:4"], "l1": [0, 1e-4], "batch_size": [16, 128], "seeds": 3},
    "exclude": [{"norm": "gn:4", "l1": 1e-4}],
}
BASE = {"bn": 0.90, "gn:2": 0.96, "gn:4": 0.957}
SPREAD = [0.0, 0.002, 0.005]
KILLED = "Its process was killed: <script>alert(1)</script>"


def accuracy(config):
    """Return what each run reached: one combination diverges, one fails, one waits, one is short of a seed."""
    norm, _, penalty = config.norm.partition("+")
    what = (norm, bool(penalty), config.batch_size)
    if what == ("bn", True, 16):
        return math.nan
    if what == ("bn", True, 128) and config.seed == 2:
        return KILLED
    if what == ("gn:2", True, 128):
        return KILLED
    if what == ("gn:4", False, 16):
        return "waiting"
    return round(
        BASE[norm] + SPREAD[config.seed] + (0.01 if penalty else 0) - (0.05 if config.batch_size == 16 else 0), 4
    )


@pytest.fixture(scope="module")
def sweep(fake_sweep, tmp_path_factory):
    return fake_sweep(tmp_path_factory.mktemp("sweep") / "a b", GRID, accuracy, images=1000)


@pytest.fixture(scope="module")
def page(sweep):
    return sweep_page(sweep)


def words(text):
    """Return the text of some HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def table(page, name):
    """Return the texts of the cells of a table, without the lines that are folded away."""
    body = re.search(rf'<table[^>]*id="{name}".*?</table>', page, re.S)[0]
    rows = re.findall(r'<tr(?! class="more").*?</tr>', body, re.S)
    return [[words(cell) for cell in re.findall(r"<t[hd][ >].*?</t[hd]>", row, re.S)] for row in rows]


def test_the_best_of_each_norm_comes_first(page):
    assert table(page, "best")[1:] == [
        ["gn:2", "96.23 ± 0.25", "0", "128", "95.61–96.86", "3", "3"],
        ["gn:4", "95.93 ± 0.25", "0", "128", "95.31–96.56", "3", "1"],
        # bn+l1=1e-4 is higher with the two seeds that it has: it is not chosen while others are whole.
        ["bn", "90.23 ± 0.25", "0", "128", "89.61–90.86", "3", "2"],
    ]
    answer = words(re.search(r'<p class="answer">.*?</p>', page)[0])
    # A snapshot of the whole sentence.
    assert answer == "gn:2 is the best: 96.23 % at its best setting, more than any other at theirs."
    one_says(page, "highest of 6 combinations", "test set")


def test_all_combinations_have_a_row_and_all_runs_a_link(page, sweep):
    heading, *rows = table(page, "all")
    assert heading[:4] == ["norm", "test accuracy %", "L1", "batch size"]
    assert [[row[0], *row[2:4]] for row in rows] == [
        ["bn", "0", "16"], ["bn", "0", "128"], ["bn", "1e-4", "16"], ["bn", "1e-4", "128"],
        ["gn:2", "0", "16"], ["gn:2", "0", "128"], ["gn:2", "1e-4", "16"], ["gn:4", "0", "128"],
    ]  # fmt: skip
    assert rows[0][1] == "85.23 ± 0.25"
    assert rows[0][4:] == ["85.23 ± 0.25", "0.50", "0.1477", "147.7", "7,000", "3.0", "3"]
    assert [row[-1] for row in rows[2:4]] == ["3 3 diverged", "2 1 missing"]
    for run in sweep.runs:
        assert f'href="{run.path.relative_to(sweep.path).as_posix()}"' in page


def test_links_start_where_the_page_lies_and_lead_to_tracked_records(sweep, tmp_path):
    shutil.copytree(sweep.path, tmp_path / "a b")
    copied = open_sweep(tmp_path / "a b")
    for name, url in {"bn": "https://wandb.ai/me/run?a=1&b=2", "gn-2": "javascript:alert(1)"}.items():
        content = {"schema_version": 1, "url": url}
        (tmp_path / f"a b/{name}/batch_size-128/seed-0/tracking.json").write_text(json.dumps(content))
    copied.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert 'href="a%20b/bn/batch_size-16/seed-0"' in page
    assert 'href="https://wandb.ai/me/run?a=1&amp;b=2"' in page
    assert 'href="javascript' not in page


def test_what_has_no_result_is_listed_with_its_sentence(page):
    listed = words(re.search(r'<section id="unfinished".*?</section>', page, re.S)[0])
    assert "Its process was killed: <script>alert(1)</script> 4 failed bn_l1-1e-4/batch_size-128/seed-2" in listed
    assert "3 waiting gn-4/batch_size-16/seed-0 gn-4/batch_size-16/seed-1 gn-4/batch_size-16/seed-2" in listed
    assert '<a href="#unfinished">4 failed and 3 waiting runs</a>' in page
    assert "<script>alert" not in page


def test_what_the_heat_map_is_drawn_from(page):
    data = json.loads(re.search(r'id="heat-data">(.*?)</script>', page)[1])
    assert [(axis["key"], axis["values"]) for axis in data["axes"]] == [
        ("norm", ["bn", "gn:2", "gn:4"]),
        ("l1", ["0", "1e-4"]),
        ("batch_size", ["16", "128"]),
    ]
    assert (data["x"], data["y"]) == ("batch_size", "norm")
    assert [(row["at"], row["status"], row["diverged"]) for row in data["rows"][2:4]] == [
        ([0, 1, 0], "finished", 3),
        ([0, 1, 1], "finished", 0),
    ]
    assert [row["status"] for row in data["rows"]].count("waiting") == 1
    assert data["rows"][0]["measures"][0] == pytest.approx(85.2333, abs=1e-4)
    assert data["rows"][2]["measures"][0] is None


def test_curves_are_those_of_each_axis_of_numbers(sweep):
    found = sweep.combinations
    batch, groups, l1 = curves(found, varied([each.values for each in found]), {"bn": "#123456"})
    assert [curve["name"] for curve in (batch, groups, l1)] == ["batch size (images)", "groups", "L1 factor"]
    assert (batch["type"], batch["ticks"]) == ("log", [[16, "16"], [128, "128"]])
    assert batch["others"] == [{"name": "L1", "values": ["0", "1e-4"]}]
    first = batch["curves"][0]
    assert (first["norm"], first["colour"], first["at"]) == ("bn", "#123456", [0])
    (_, low_mean, low, high), (place, mean, *_) = first["points"]
    assert (place, mean) == (1, pytest.approx(90.2333, abs=1e-4)) and low < low_mean < high
    assert [curve["norm"] for curve in groups["curves"]] == ["gn", "gn", "gn"]
    assert (l1["type"], l1["ticks"]) == ("linear", [[0, "0"], [0.0001, "1e-4"]])


def test_the_grid_repeats_the_sweep(page, sweep):
    assert f"tfnorm sweep grid.toml --out &#39;{sweep.path}&#39; --threads 1" in page
    text = html.unescape(re.findall(r"<code>((?:exclude|include|\[settings\]).*?)</code>", page, re.S)[0])
    assert text == (sweep.path / "grid.toml").read_text() == grid_text(GRID)
    assert plan_grid(tomllib.loads(text)) == sweep.planned


@pytest.mark.parametrize("value", ['a "b" \\ \n é \x7f', True, 3, 0.1, 1e-7, [1, "x"], {"from": 1, "to": 4, "step": 1}])
def test_a_grid_given_as_a_mapping_is_written_as_toml(value):
    assert tomllib.loads(grid_text({"grid": {"norm": value}})) == {"grid": {"norm": value}}


def test_a_grid_of_numpy_numbers_specs_and_recipes_is_written_as_toml():
    grid = {
        "settings": {"epochs": np.int64(2), "recipe": RECIPES["B"], "patience": None, "holdout": np.float64(0.2)},
        "grid": {
            "norm": [parse("bn"), "ln"],
            "l1": [0, np.float64(1e-4)],
            "batch_size": [np.int64(16), 32],
            "seeds": 2,
        },
        "exclude": [{"norm": parse("ln"), "batch_size": np.int32(16)}],
        "include": [{"norm": "none", "dropout": None}],
    }
    again = plan_grid(tomllib.loads(grid_text(grid)))
    assert [(run.folder, run.config) for run in again] == [(run.folder, run.config) for run in plan_grid(grid)]


def test_a_grid_with_a_default_among_its_values_is_written_as_toml():
    grid = {
        "settings": {"epochs": 2},
        "grid": {"norm": ["bn", "ln"], "l1": [0, 1e-4], "dropout": [None, 0.2], "batch_size": [None, 16], "seeds": [1]},
        "exclude": [{"norm": "ln", "dropout": None}, {"norm": "bn", "l1": 1e-4}],
    }
    again = plan_grid(tomllib.loads(grid_text(grid)))
    assert [(run.folder, run.config) for run in again] == [(run.folder, run.config) for run in plan_grid(grid)]
    assert len({run.folder for run in again}) == 8
    assert {run.point["l1"] for run in again} == {0, 1e-4}


def test_a_sweep_is_opened_again_from_its_folder(sweep, page):
    again = open_sweep(sweep.path)
    assert again.failures == sweep.failures and again.axes == sweep.axes
    assert sweep_page(again) == page
    again.save()
    names = {path.name for path in sweep.path.glob("*.*")}
    assert {"report.html", "batch_size.png", "groups.png", "heat-batch_size-norm.png", "heat-l1-norm.png"} <= names
    assert [run["status"] for run in read_json(sweep.path / "sweep.json")["runs"]].count("failed") == 4
    assert sweep_page(open_sweep(sweep.path)) == page
    with pytest.raises(RunError) as caught:
        open_sweep(sweep.path / "bn")
    says(caught, sweep.path / "bn", "sweep.json", "folder")


def test_a_heat_map_of_a_sweep_says_what_waits(sweep):
    texts = [text.get_text() for text in sweep.plot_heat("batch_size", "norm", value="gap").axes[0].texts]
    assert texts[:6] == ["0.50", "0.50", "0.50", "0.50", "waiting", "0.50"]


def test_a_sweep_without_a_finished_run_has_a_page(fake_sweep, tmp_path):
    grid = {"grid": {"norm": ["bn", "ln"], "seeds": 1}}
    page = open_sweep(fake_sweep(tmp_path, grid, lambda config: "waiting").path).report().read_text()
    says(re.search(r'<p class="answer">.*?</p>', page)[0], "No run")
    assert 'id="heat"' not in page and 'id="all"' not in page and "2 waiting" in page


def test_a_sweep_that_has_not_begun_has_the_title_of_its_grid(fake_sweep, tmp_path):
    grid = {
        "settings": {"arch": "cifar_plain", "dataset": "digits", "data_dir": ".", "holdout": 0.2, "recipe": "B"},
        "grid": {"norm": ["bn", "ln"], "batch_size": [16, 32], "seeds": 1},
        "include": [{"norm": "none"}],
    }
    sweep = fake_sweep(tmp_path, grid, lambda config: "waiting")
    again = open_sweep(tmp_path)
    assert "<h1>Sweep: cifar_plain on digits</h1>" in sweep_page(again)
    assert [run.config.asked() for run in again.planned] == [run.config.asked() for run in sweep.planned]
    assert again.images == "held-out"
    (tmp_path / "grid.toml").write_text("[grid]\ndropout = null")  # as it was once written
    assert "<h1>Sweep: mnist_7k on digits</h1>" in sweep_page(open_sweep(tmp_path))


def test_what_was_evaluated_on_held_out_images_says_so(fake_sweep, tmp_path):
    grid = {"settings": {"holdout": 0.2}, "grid": {"norm": ["bn", "ln"], "batch_size": [16, 32], "seeds": 2}}
    sweep = fake_sweep(tmp_path, grid, lambda config: 0.95 + config.seed / 25)
    page = re.sub("<script>.*?</script>", "", sweep_page(sweep), flags=re.S)
    assert table(page, "best")[0][1] == "held-out accuracy %"
    assert "wrong" in table(page, "all")[0] and "Misclassified held-out images" in page
    assert 'data-name="held-out accuracy, last epoch (%)"' in page
    assert "test accuracy" not in page.lower() and "test loss" not in page
    says(sweep.plot_heat("batch_size", "norm").axes[0].get_title(loc="left"), "Held-out accuracy")
    axes = sweep.plot("batch_size").axes[0]
    says(axes.get_ylabel(), "held-out accuracy")
    says(axes.get_title(loc="left"), "Held-out accuracy", "batch size")


def test_an_interval_is_cut_at_what_an_accuracy_can_be(fake_sweep, tmp_path):
    sweep = fake_sweep(tmp_path, {"grid": {"norm": ["bn", "ln"], "seeds": 2}}, lambda config: 0.95 + config.seed / 25)
    assert sweep.table["last_accuracy_high"].max() > 110
    assert table(sweep_page(sweep), "best")[1][2] == "71.59–100.00 cut at 0 or 100"


def test_what_runs_share_is_what_all_of_them_have(fake_sweep, tmp_path):
    sweep = fake_sweep(tmp_path, {"grid": {"norm": ["bn", "ln"], "seeds": 1}}, lambda config: 0.9)
    record = tmp_path / "ln/seed-0/config.json"
    content = json.loads(record.read_text())
    content["data"]["train_images"] += 7
    content["asked"]["recipe"]["warmup"] = 0.5
    record.write_text(json.dumps(content))
    page = sweep_page(open_sweep(sweep.path))
    shared = words(re.search(r"<summary>What all runs share.*?</table>", page, re.S)[0])
    assert "data: test_images 100" in shared and "recipe: momentum 0.9" in shared
    assert "train_images" not in shared and "warmup" not in shared


@pytest.mark.parametrize("reached", [0.9, "waiting"], ids=["finished", "nothing finished"])
def test_all_files_go_to_the_folder_that_is_asked_for(fake_sweep, tmp_path, reached):
    grid = {"grid": {"norm": ["bn", "gn:2"], "batch_size": [16, 32], "seeds": 1}}
    fake_sweep(tmp_path / "runs", grid, lambda config: reached)
    before = {path.name for path in (tmp_path / "runs").iterdir()}
    _, page = report([tmp_path / "runs"], out=tmp_path / "out")
    pictures = {"batch_size.png", "heat-batch_size-norm.png"} if reached == 0.9 else set()
    assert {path.name for path in page.parent.iterdir()} == {"report.html", "table.csv", "runs.csv"} | pictures
    assert page.parent == tmp_path / "out" and {path.name for path in (tmp_path / "runs").iterdir()} == before


def test_the_command_names_the_folder_as_it_was_given(fake_sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fake_sweep(Path("runs/a"), {"grid": {"norm": "bn", "seeds": 1}}, lambda config: 0.9)
    for folder in ("runs/a", tmp_path / "runs/a"):
        page = sweep_page(open_sweep(folder))
        assert "tfnorm sweep grid.toml --out runs/a --threads 1" in page
    Path("runs/a").rename("b")
    assert "tfnorm sweep grid.toml --out b --threads 1" in sweep_page(open_sweep("b"))


def test_a_heat_map_of_nothing_says_so(fake_sweep, tmp_path):
    sweep = fake_sweep(tmp_path, {"grid": {"norm": ["bn", "ln"], "batch_size": [8, 16]}}, lambda config: "waiting")
    with pytest.raises(RunError) as caught:
        sweep.plot_heat("batch_size", "norm")
    says(caught, "no run")


def combination(norm, *accuracies, planned=3):
    return Combination(norm, f"{norm}+l1=1e-4", dict(enumerate(accuracies)), planned)


@pytest.mark.parametrize(
    ("combinations", "facts"),
    [
        ([], ("No run",)),
        ([combination("bn", 98.0, 98.2, 98.4)], ("bn+l1=1e-4", "98.20 %")),
        (
            [combination("bn", 98.0, 98.2, 98.4), combination("bn", 97.0, 97.0, 97.0)],
            ("bn+l1=1e-4", "98.20 %", "2 combinations"),
        ),
        (
            [combination("bn", 98.0, planned=1), combination("ln", 97.0, planned=1)],
            ("No ranking", "one seed", "bn", "98.00 %"),
        ),
        (
            [combination("ln", 98.0, 98.2, 98.4), combination("bn", 98.4, 98.0, 98.3)],
            ("No normalization", "98.20 to 98.23 %", "bn the most"),
        ),
        (
            [
                combination("ln", 98.0, 98.2, 98.4),
                combination("bn", 95.0, 95.2, 95.5),
                combination("in", 98, 98.2, 98.5),
            ],
            ("in reaches the most", "98.23 %", "more than bn", "not shown to be more than ln"),
        ),
        (  # the seeds that are left of what diverged beat nothing
            [combination("ln", 99.0, 99.2, math.nan), combination("bn", 95.0, 95.2, 95.4)],
            ("No normalization", "95.20 to 99.10 %", "ln the most"),
        ),
        (  # a seed that is not trained yet takes nothing from those that are
            [combination("ln", 99.0, 99.2), combination("bn", 95.0, 95.2)],
            ("ln is the best", "99.10 %"),
        ),
    ],
    ids=["none", "one", "best of two", "one seed", "no difference", "some", "diverged", "under way"],
)
def test_the_answer(combinations, facts):
    says(best_of_each(combinations, resolution=0.01).headline, *facts)


@pytest.mark.parametrize(
    ("combinations", "facts"),
    [
        (
            [combination("bn", 98.0, planned=1), combination("ln", 98.0, planned=1)],
            ("one seed", "bn and ln", "98.00 %"),
        ),
        (
            [combination("bn", 98.0, 98.2, 98.4), combination("ln", 98.4, 98.2, 98.0)],
            ("all", "98.20 %"),
        ),
        (
            [combination("bn", 98.0, 98.2, 98.4), combination("ln", 98.4, 98.2, 98.0), combination("in", 97, 98.4, 98)],
            ("97.80 to 98.20 %", "bn and ln the most"),
        ),
        (
            [combination("bn", 98.0, 98.2, 98.4), combination("ln", 98.4, 98.2, 98.0), combination("in", 90, 90.1, 90)],
            ("bn and ln", "98.20 %"),
        ),
    ],
)
def test_equal_means_have_no_single_best(combinations, facts):
    says(best_of_each(combinations, resolution=0.01).headline, *facts)


def guessing(sweep, *norms):
    """Have the networks of some norms always answer the same class."""
    for run in sweep.runs:
        if run.label.split("+")[0] in norms:
            np.savez(
                run.folder.predictions_path,
                y_true=run.labels,
                logits=np.eye(10, dtype="float32")[[0] * len(run.labels)],
            )


def test_what_learned_nothing_is_never_the_best(fake_sweep, tmp_path):
    grid = {"grid": {"norm": ["bn", "ln", "in"], "batch_size": [16, 32], "seeds": 2}}
    reached = {"bn": 0.9, "ln": 0.8, "in": 0.7}
    sweep = fake_sweep(tmp_path, grid, lambda config: reached[config.norm] + config.batch_size / 1000)
    guessing(sweep, "bn")
    assert sweep.best.headline.startswith("ln ")
    says(sweep.best.headline, "bn", "learned")
    assert [c.norm for c in sweep.best.chosen] == ["ln", "in", "bn"]
    one_says(sweep_page(sweep), "bn", "learned anything")
    guessing(sweep, "ln", "in")
    page = sweep_page(open_sweep(tmp_path))
    one_says(page, "None of them", "learned anything")


def test_looks_at_a_sweep_are_counted(fake_sweep, tmp_path):
    reached = {"bn": (0.9, 0.91, 0.9, 0.92), "ln": (0.9, 0.92, 0.91, 0.9)}

    def looked(seeds):
        grid = {"grid": {"norm": ["bn", "ln"], "seeds": seeds}}
        shutil.rmtree(tmp_path / "bn", ignore_errors=True)
        shutil.rmtree(tmp_path / "ln", ignore_errors=True)
        sweep = fake_sweep(tmp_path, grid, lambda config: reached[config.norm][config.seed])
        sweep.export()
        return sweep.best.pairs[0].look, words((tmp_path / "report.html").read_text())

    assert looked(1)[0] == 1 and not (tmp_path / "looks.json").exists()
    first, page = looked(2)
    assert first == 1 and "1.25 %" in page
    assert looked(2)[0] == 1
    second, page = looked(4)
    assert second == 2 and "This is look 2" in page
    (tmp_path / "looks.json").write_text("{")
    assert looked(4)[0] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"threads": None}, {"threads": "one"}, {"axes": 3}, {"runs": 3}, {"runs": [3]}, {"runs": [{"norm": "bn"}]},
        {"runs": None}, {"axes": None},
    ],
)  # fmt: skip
def test_a_list_of_runs_without_its_keys_is_named_with_what_mends_it(change, fake_sweep, tmp_path):
    fake_sweep(tmp_path, {"grid": {"norm": ["bn", "ln"], "seeds": 1}}, lambda config: 0.9)
    content = {**json.loads((tmp_path / "sweep.json").read_text()), **change}
    (tmp_path / "sweep.json").write_text(
        json.dumps({key: value for key, value in content.items() if value is not None})
    )
    with pytest.raises(RunError) as error:
        report(tmp_path)
    assert str(tmp_path / "sweep.json") in str(error.value) and "Delete this file alone" in str(error.value)


@pytest.mark.parametrize(("key", "value"), [("name", None), ("learning_rate", "x"), ("schedule", 3)])
def test_a_recipe_that_is_none_is_named_with_what_mends_it(key, value, fake_sweep, tmp_path):
    swept = fake_sweep(tmp_path, {"grid": {"norm": ["bn", "ln"], "seeds": 1}}, lambda config: 0.9)
    path = swept.runs[0].folder.config_path
    record = json.loads(path.read_text())
    record["asked"]["recipe"][key] = value
    path.write_text(json.dumps(record))
    with pytest.raises(RunError) as error:
        open_sweep(tmp_path)
    assert str(path) in str(error.value) and f"'asked.recipe.{key}'" in str(error.value)
    assert "Restore it from a copy" in str(error.value)


def test_the_best_is_chosen_among_the_whole():
    lucky, whole = combination("bn", 99.9), combination("bn", 98.0, 98.1, 98.2)
    best = best_of_each([lucky, whole, combination("ln", 99.0, math.nan, 99.0)])
    assert [c.mean for c in best.chosen] == [99.0, pytest.approx(98.1)] and best.chosen[1] is whole
    assert best.among == {"bn": 1, "ln": 1}  # the pool that each was chosen from
    assert warning(best, images="test set", holdout=False) == ""
    best = best_of_each([whole, whole, combination("ln", 99.0)])
    says(warning(best, images="held-out images", holdout=True), "test set", "without holdout", "new seeds")


def test_200_runs_take_little_memory(fake_sweep, measure_python, tmp_path):
    grid = {"settings": {"epochs": 20}, "grid": {"norm": ["bn", "gn:2", "ln", "in"], "seeds": 2}}
    grid["grid"] |= {"batch_size": [16, 32, 64, 128, 256], "l2": [0, 1e-5, 1e-4, 1e-3, 1e-2]}
    sweep = fake_sweep(tmp_path, grid, lambda config: 0.9 + config.seed / 100, images=1000)
    assert len(sweep.runs) == 200
    code = (
        "import sys; from tfnorm.experiments.sweep.sweep import open_sweep; "
        "print(open_sweep(sys.argv[1]).report().stat().st_size, 'keras' in sys.modules)"
    )
    printed, peak = measure_python(code, tmp_path)
    size, keras = printed.split()
    assert int(size) < 6e6 and peak < 2e9 and keras == "False"


def test_values_that_agree_in_many_digits_are_told_apart(fake_sweep, tmp_path):
    reached = {0.1: 0.9, 0.1000001: 0.4}
    grid = {"grid": {"norm": ["bn"], "learning_rate": list(reached), "seeds": 1}}
    page = sweep_page(fake_sweep(tmp_path, grid, lambda config: reached[config.learning_rate]))
    assert [row[:3] for row in table(page, "best")[1:]] == [["bn", "90.00", "0.1"]]
    assert "90.00" in " ".join(table(page, "best")[1]) and "0.1000001" in words(page)


def test_values_that_no_text_tells_apart_keep_their_accuracies(fake_sweep, tmp_path):
    reached = {0.1: 0.9, 0.1 + 1e-15: 0.4}
    grid = {"grid": {"norm": ["bn"], "learning_rate": list(reached), "seeds": 1}}
    page = sweep_page(fake_sweep(tmp_path, grid, lambda config: reached[config.learning_rate]))
    assert "90.00" in " ".join(table(page, "best")[1])
