"""What stands in code blocks is run: Python whole, commands up to where the work begins."""

import ast
import dataclasses
import functools
import importlib.util
import json
import re
import shlex
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import MadeUp
from typer.testing import CliRunner

from tfnorm.models.architectures import ARCHITECTURES
from tfnorm.norms import NORMS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = {"python", "shell", "toml", "text", "toctree", "eval-rst"}


def blocks(page, language):
    return re.findall(rf"^```\{{?{language}\}}?\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def pages_with(language):
    pages = [page for page in PAGES if blocks(page, language)]
    return pytest.mark.parametrize("page", pages, ids=[page.name for page in pages])


every_page = pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])


def module(name):
    """Return a script of docs/ as a module."""
    place = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    loaded = importlib.util.module_from_spec(place)
    sys.modules[name] = loaded
    place.loader.exec_module(loaded)
    return loaded


@every_page
def test_no_block_is_of_a_kind_that_nothing_runs(page):
    assert set(re.findall(r"^```\{?([^\s}]+)", page.read_text(), re.MULTILINE)) <= LANGUAGES


# Python


@pytest.fixture
def quick(monkeypatch, fake_run):
    """Let blocks run in seconds: no XLA, no files of results, small networks, runs that were never trained."""
    import keras

    from tfnorm import datasets
    from tfnorm.datasets import load
    from tfnorm.experiments.comparison import run as comparison
    from tfnorm.experiments.engines import choose as engines
    from tfnorm.experiments.recommend import run as recommend
    from tfnorm.experiments.recommend import search
    from tfnorm.experiments.sweep.sweep import Sweep
    from tfnorm.ops import generic
    from tfnorm.training import trainer

    def made_up(plan, *_, before=None, **__):
        if before is not None:
            before()
        plan.keep_method()
        labels = np.arange(100) % 10
        for number, run in enumerate(plan.runs):
            logits = np.random.default_rng(number).normal(size=(100, 10)) + 3 * np.eye(10)[labels]
            fake_run(plan.folder / run.folder, run.config, (logits.argmax(1) == labels).mean(), labels, logits)
        return {}

    def few(*arguments, **settings):
        data = load(*arguments, **settings)
        return dataclasses.replace(data, x_train=data.x_train[:256], y_train=data.y_train[:256])

    monkeypatch.setattr(datasets, "load", few)
    # Compiling takes longer than all the rest; tests/ops compares the two.
    monkeypatch.setitem(sys.modules, "tfnorm.ops.tensorflow.norms", generic)
    # tests/experiments trains comparisons and sweeps.
    monkeypatch.setattr(comparison, "_train_here", made_up)
    monkeypatch.setattr(engines, "run_local", made_up)

    def made_up_recommendation(*arguments):  # and what the page trains after it
        monkeypatch.setattr(search.gc, "collect", lambda: 0)  # nothing was built
        made_up_run = MadeUp(fake_run, lambda config: 0.9 if config.norm == "bn" else 0.8)
        monkeypatch.setattr(trainer, "train_on", made_up_run)
        return carry_out(*arguments)

    carry_out = recommend.run_recommendation
    monkeypatch.setattr(recommend, "run_recommendation", made_up_recommendation)
    # Tables, pictures and the report, which tests/experiments and tests/reporting look at.
    monkeypatch.setattr(comparison.Comparison, "save", lambda *_, **__: None)
    monkeypatch.setattr(Sweep, "save", lambda *_, **__: None)
    for name in ("ResNet50", "MobileNetV2"):
        small = functools.partial(getattr(keras.applications, name), weights=None, input_shape=(32, 32, 3), classes=10)
        monkeypatch.setattr(keras.applications, name, small)


def tfa_model(name, folder):
    """Write a model of tensorflow-addons, and its weights alone, where a page opens them."""
    with zipfile.ZipFile(ROOT / "tests" / "tfa" / "fixtures" / "group_norm-groups_2.zip") as archive:
        (folder / name).write_bytes(archive.read("model.h5"))
        (folder / "weights.h5").write_bytes(archive.read("old.h5"))


def what_pages_take_for_granted(page, folder):
    """Return the names that a page uses without making them, and write the files that it opens."""
    if page.name == "tensorflow-addons.md":
        tfa_model("old.h5", folder)
    if page.name != "install.md":
        return {}
    return {"x": np.random.default_rng(0).integers(0, 256, (64, 28, 28), dtype=np.uint8), "y": np.arange(64) % 10}


@pages_with("python")
def test_python_blocks_of_a_page_run_in_order(page, tmp_path, monkeypatch, quick):
    monkeypatch.chdir(tmp_path)
    for registry in (ARCHITECTURES, NORMS):  # a page may add one of its own
        monkeypatch.setattr(registry, "_items", {**registry})
    names = what_pages_take_for_granted(page, tmp_path)
    for block in blocks(page, "python"):
        if "import torch" in block and not importlib.util.find_spec("torch"):
            continue  # shown for those who have it
        exec(compile(block, str(page), "exec"), names)  # noqa: S102 - our own page


# Commands


class Reached(Exception):
    """A command has checked its arguments and begins to work."""


def command_lines(page):
    """Return the words of each command of a page, without settings of the environment."""
    for block in blocks(page, "shell"):
        for line in block.replace("\\\n", " ").splitlines():
            for command in re.split(r"&&|\|\|", line):
                words = shlex.split(command, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words.pop(0)
                if words:
                    yield words


@pytest.fixture
def tfnorm_command(monkeypatch):
    """Return a function that runs the command line as far as the checks of its arguments go."""
    from tfnorm.cli import app, experiments, grids, networks, recommend
    from tfnorm.experiments.published import reproduction as reproduce
    from tfnorm.experiments.sweep import run as sweep

    def begin(*_, **__):
        raise Reached

    monkeypatch.setattr(experiments, "start_quietly", begin)
    monkeypatch.setattr(networks, "start_quietly", begin)
    monkeypatch.setattr(recommend, "start_quietly", begin)
    for commands in (experiments, grids):
        monkeypatch.setattr(commands, "print_plan", begin)
    monkeypatch.setattr(sweep, "run_sweep", begin)
    monkeypatch.setattr(grids, "write_report", begin)
    monkeypatch.setattr(reproduce, "run_reproduction", begin)

    def run(words):
        result = CliRunner().invoke(app, words)
        if result.exit_code and not isinstance(result.exception, Reached):
            pytest.fail(f"tfnorm {shlex.join(words)}: {result.exception!r} {result.output}")

    return run


def files_of(words):
    """Return the files that a command reads."""
    files = [word for word in words if word.endswith((".keras", ".h5", ".npz", ".npy", ".py"))]
    return files[:1] + files[2:] if words[0] == "convert" else files


def check_other_command(words):
    """Fail for a command whose target, extra or script there is not."""
    program, *rest = words
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in rest if "=" not in word} <= set(targets)
    elif "install" in rest:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        for asked in re.findall(r"\[(.*)\]", " ".join(rest)):
            assert set(asked.split(",")) <= set(extras)
    elif program == "python":
        assert (ROOT / rest[0]).is_file()
    else:
        assert program in ("tensorboard", "pytest")


@pages_with("shell")
def test_commands_of_a_page_are_understood(page, tmp_path, monkeypatch, tfnorm_command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("data", "photos"):
        Path(folder).mkdir()
    for grid in blocks(page, "toml") or ['[grid]\nnorm = ["bn"]\n']:
        Path("grid.toml").write_text(grid)
    Path("present.toml").write_text('norm = "bn"')
    for words in command_lines(page):
        if words[0] != "tfnorm":
            check_other_command(words)
            continue
        for file in files_of(words[1:]):
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).touch()
        for file, function in re.findall(r"(\S+\.py):(\w+)", " ".join(words)):
            Path(file).write_text(f"def {function}():\n    pass\n")
        tfnorm_command(words[1:])


@pages_with("toml")
def test_grids_of_a_page_are_grids(page, tmp_path):
    from tfnorm.experiments.sweep.grid import load_grid

    for number, block in enumerate(blocks(page, "toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(block)
        assert len(load_grid(file)) > 1


# What is not code


@every_page
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    missing = [t for t in targets if not t.startswith("http") and not (page.parent / t).exists()]
    assert not missing


def test_readme_shows_what_its_example_prints():
    comparisons = module("comparisons")
    readme = ROOT / "README.md"
    assert comparisons.example_output() in readme.read_text()
    (block,) = blocks(readme, "python")
    assert f"comparison.table[{json.dumps(comparisons.COLUMNS)}].round(2)" in block
    calls = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)]
    (call,) = [node for node in calls if ast.unparse(node.func) == "tfnorm.compare"]
    (common,) = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Dict)]
    asked = ast.literal_eval(common) | {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
    record = json.loads((ROOT / "docs" / "results" / "small-batches" / "comparison.json").read_text())
    settings = record["settings"] | {"learning_rate": record["settings"]["recipe"]["learning_rate"]}
    for key in ("arch", "image_size", "batch_size", "learning_rate", "epochs"):
        assert settings[key] == asked[key], key
    assert [row["spec"] for row in record["table"]] == ast.literal_eval(call.args[0])
    assert {row["seeds"] for row in record["table"]} == {asked["seeds"]}
    assert " beats " in record["verdict"]  # the example shows a real difference


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().split()) < 700


def test_page_of_results_says_what_the_files_say():
    assert module("results").page() == (ROOT / "docs" / "results.md").read_text()


def test_page_of_decisions_says_what_the_simulation_wrote():
    assert module("trust").page() == (ROOT / "docs" / "trust.md").read_text()


def test_page_of_checks_has_every_rule_and_what_each_warning_costs():
    from tfnorm.checks import RULES

    checks, page = module("checks"), (ROOT / "docs" / "checks.md").read_text()
    assert checks.page() == page
    assert set(re.findall(r"^### (.+)$", page, re.MULTILINE)) == set(RULES)
    rows = checks.results()["rows"]
    costly = {row["rule"] for row in rows if checks.costs(row)}
    assert costly | checks.unmeasured(rows) == {name for name, rule in RULES.items() if rule.severity == "warning"}
    assert all(len(row[key]) >= 5 for row in rows for key in ("flawed", "mended"))


def test_pages_of_reproductions_say_what_their_files_say():
    pages = module("reproduced").pages()
    assert len(pages) > 1
    for path, text in pages.items():
        assert path.read_text() == text, path


def test_results_show_the_row_of_each_norm_that_was_published_as_best():
    reproduced = module("reproduced")
    lines = reproduced.table_of_norms("results").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "](" in line]
    of_d = {row: (published, measured) for names, _, row, published, measured, _ in cells if "[D]" in names}
    shown = reproduced.taken_up()["D"]["table"]
    assert len(of_d) == 3  # of 15 rows
    for norm in ("bn", "gn:4", "gn:1"):
        best = max((row for row in shown if row["row"].startswith(norm)), key=lambda row: row["published"] or 0)
        published, measured = of_d[f"`{best['row']}`"]
        assert (float(published), float(measured.split()[0])) == (best["published"], round(best["measured"], 2))
    better = {row["row"]: row["measured"] for row in reproduced.taken_up()["A+"]["table"]}
    of_a = {row: beside for names, _, row, _, _, beside in cells if "[A]" in names and "[A+]" in names}
    assert float(of_a["`bn+l1=5e-4`"].split()[0]) == round(better["bn"], 2)


def test_tables_of_reproductions_follow_from_every_epoch_of_their_runs():
    from tfnorm.training.runs import slug

    for name, content in module("reproduced").taken_up().items():
        folder = ROOT / "docs" / "results" / name
        runs = json.loads((folder / "comparison.json").read_text())["runs"]
        last = content["preset"]["epoch"] == "last"
        for row in content["table"]:
            of_row = [run for run in runs if Path(run["path"]).parent.name == slug(row["row"])]
            assert len(of_row) == row["seeds"], (name, row["row"])
            curves = [run["test_accuracy_by_epoch"] for run in of_row if run["status"] == "finished"]
            found = [100 * (curve[-1] if last else max(curve)) for curve in curves]
            assert len(found) == row["seeds"] - row["diverged"]
            assert not found or np.mean(found) == pytest.approx(row["measured"]), (name, row["row"])
            assert len(found) < 2 or np.std(found, ddof=1) == pytest.approx(row["std"], abs=1e-6)
            assert {len(curve) for curve in curves} == {content["settings"]["epochs"]}
        csv = pd.read_csv(folder / "reproduced.csv").astype(object)
        assert json.loads(csv.where(csv.notna(), None).to_json(orient="records")) == [
            pytest.approx(row) for row in content["table"]
        ], name
        texts = [file.read_text() for file in folder.iterdir() if file.suffix != ".png"]
        assert not [text for text in texts if '"data_dir": "' in text]  # a path of the machine that trained


def test_results_are_those_of_the_presets_and_recipes_that_there_are():
    from tfnorm.experiments.published.comparisons import load_published
    from tfnorm.training.recipe.recipes import RECIPES, Recipe

    for name, content in module("reproduced").taken_up().items():
        preset = load_published(name)
        assert content["preset"] == preset.model_dump(mode="json"), f"train {name} again"
        apart = {"title"} | ({"batch_size"} if any(row.batch_size for row in preset.row) else set())
        # Results of earlier versions lack settings that recipes have got since.
        usual = {key: field.default for key, field in Recipe.model_fields.items()}
        recorded = {**usual, **content["settings"]["recipe"]}
        now = RECIPES[preset.settings["recipe"]].model_dump(mode="json", exclude=apart)
        assert {key: recorded[key] for key in now} == now, f"train {name} again"
        for row, of in zip(preset.row, content["table"], strict=True):
            said = row.published and row.published.accuracy
            reached = None if said is None else (of["measured"] or 0) >= said - preset.tolerance
            assert of["reached"] is reached, (name, row.label)


def test_pages_say_where_mistakes_and_accuracy_are_of_two_passes():
    reproduced = module("reproduced")
    for name, content in reproduced.taken_up().items():
        apart = any(
            round(
                row["seeds"]
                * (row["misclassified"] - content["data"]["test_images"] * (1 - row["last_accuracy"] / 100))
            )
            for row in content["table"]
            if row["last_accuracy"] is not None
        )
        page = (ROOT / "docs" / "results" / f"{name}.md").read_text()
        assert ("counted in a second pass" in page) == apart == (name in ("E", "E+")), name


def test_results_from_before_say_where_they_were_trained():
    remarks = module("reproduced_remarks")
    found = [content for name in remarks.taken_up() for content in remarks.earlier(name).values()]
    assert len(found) == 4
    for content in found:
        seeds = sorted(seed for place in content["origins"] for seed in place["seeds"])
        assert seeds == sorted({run["seed"] for run in content["runs"]}) and content["started"]


def test_pictures_of_the_docs_are_small():
    pictures = [p for p in (ROOT / "docs").rglob("*") if p.suffix in (".png", ".svg", ".jpg")]
    assert pictures
    assert not [p.name for p in pictures if p.stat().st_size > 300_000]
