import shlex

import pytest

from tfnorm.experiments.comparison.page import comparison_page
from tfnorm.experiments.plan import configurations
from tfnorm.experiments.settings import differing_settings, reproduction
from tfnorm.training.recipe.recipes import RECIPES, Recipe

ACCURACY = {"bn": [0.9, 0.9], "gn:2+l1=1e-4": [0.9, 0.9]}


def parsed(command):
    """Return what the command line makes of a command, as the configurations that it trains."""
    words = shlex.split(command)
    assert words[:2] == ["tfnorm", "compare"]
    first = next(i for i, word in enumerate(words) if word.startswith("--"))
    options = dict(zip(words[first::2], words[first + 1 :: 2], strict=True))
    seeds, jobs = int(options.pop("--seeds")), options.pop("--jobs", None)
    settings = {name[2:].replace("-", "_"): value for name, value in options.items()}
    return configurations(words[2:first], seeds=seeds, **settings), jobs


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"epochs": 3, "learning_rate": 0.05, "batch_size": 16, "augmentation": "none"},
        {"arch": "cifar_plain", "recipe": "B", "dropout": 0.1, "regularize": "kernels", "precision": "bfloat16"},
        {"image_size": 20, "holdout": 0.2, "patience": 4, "epochs": 5},
    ],
    ids=["defaults", "replaced", "recipe", "others"],
)
def test_the_command_asks_for_the_same(settings, fake_comparison, tmp_path):
    runs = fake_comparison(tmp_path, ACCURACY, settings=settings).runs
    found = reproduction(runs)
    assert found.language == "shell"
    configs, jobs = parsed(found.text)
    assert [config.asked() for config in configs] == [run.config["asked"] for run in runs]
    assert jobs == "2", "runs of one thread are repeated by runs of one thread"


def test_only_what_is_not_the_default_is_said(fake_comparison, tmp_path):
    machine = {"platform": "", "processor": "", "cores": 2, "threads": None}
    runs = fake_comparison(tmp_path / "a", ACCURACY, machine=machine).runs
    assert reproduction(runs).text == "tfnorm compare bn gn:2+l1=1e-4 --seeds 2"
    (tmp_path / "my data").mkdir()
    data = {"data_dir": str(tmp_path / "my data")}
    runs = fake_comparison(tmp_path / "b", ACCURACY, machine=machine, data=data).runs
    found = reproduction(runs)
    assert found.text.endswith(f"--data-dir '{tmp_path}/my data'")
    assert found.note == f"{tmp_path}/my data is a folder of the machine that trained them: put your own in its place."


def test_each_set_of_seeds_has_its_command(fake_comparison, tmp_path):
    machine = {"platform": "", "processor": "", "cores": 2, "threads": None}
    uneven = {"bn": [0.9] * 4, "gn:2": [0.9] * 4, "ln": [0.9]}
    runs = fake_comparison(tmp_path, uneven, machine=machine).runs
    found = reproduction(runs)
    assert found.text == "tfnorm compare bn gn:2 --seeds 4\ntfnorm compare ln --seeds 1"
    assert found.note.startswith("Each set of seeds has a command of its own")
    python = reproduction(runs[1:])  # bn without seed 0
    assert python.text.splitlines()[1:] == [
        "tfnorm.compare(['bn'], seeds=[1, 2, 3])",
        "tfnorm.compare(['gn:2'], seeds=[0, 1, 2, 3])",
        "tfnorm.compare(['ln'], seeds=[0])",
    ]


def test_a_path_to_data_is_said_to_be_one(fake_comparison, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    runs = fake_comparison(tmp_path / "a", ACCURACY, settings={"dataset": "photos"}).runs
    assert reproduction(runs).note == (
        "photos is a path on that machine, seen from the folder where the command was given."
    )


def test_what_the_command_line_cannot_say_is_python(fake_comparison, tmp_path):
    machine = {"platform": "", "processor": "", "cores": 2, "threads": None}
    recipe = Recipe(name="mine", learning_rate=0.02, momentum=0.8, epochs=2)
    runs = fake_comparison(tmp_path, ACCURACY, settings={"recipe": recipe}, machine=machine).runs
    found = reproduction(runs[1::2])  # seed 1 alone
    assert found.language == "python"
    called = {}
    code = found.text.replace("tfnorm.compare(", "compare(").replace("import tfnorm\n", "")
    exec(code, {"compare": lambda specs, **settings: called.update(specs=specs, **settings)})  # noqa: S102
    assert called["specs"] == list(ACCURACY) and called["seeds"] == [1]
    assert {key: getattr(called["recipe"], key) for key in ("learning_rate", "momentum", "epochs")} == {
        "learning_rate": 0.02, "momentum": 0.8, "epochs": 2,
    }  # fmt: skip


def test_a_recipe_that_was_changed_is_not_called_by_its_name(fake_comparison, tmp_path):
    recipe = RECIPES["default"].model_copy(update={"momentum": 0.5})
    runs = fake_comparison(tmp_path, ACCURACY, settings={"recipe": recipe}).runs
    assert reproduction(runs).language == "python" and "momentum=0.5" in reproduction(runs).text


def test_what_differs_between_runs(fake_comparison, tmp_path):
    first = fake_comparison(tmp_path / "a", {"bn": [0.9]}).runs
    second = fake_comparison(
        tmp_path / "b", {"ln": [0.9, 0.9]}, settings={"epochs": 3}, data={"fingerprint": "0123456789abcdef"}
    ).runs
    assert differing_settings(first) == []
    assert [str(each) for each in differing_settings([*first, *second])] == [
        f"epochs is 20 in {first[0].path} and 3 in {second[0].path} and 1 more",
        f"fingerprint of the data is f in {first[0].path} and 0123456789ab… in {second[0].path} and 1 more",
    ]


def test_threads_are_set_as_they_were(fake_comparison, tmp_path):
    machine = {"platform": "", "processor": "", "cores": 4, "threads": 2}
    runs = fake_comparison(tmp_path, ACCURACY, machine=machine).runs
    assert reproduction(runs).text == "TF_NUM_INTRAOP_THREADS=2 tfnorm compare bn gn:2+l1=1e-4 --seeds 2"
    assert reproduction(runs[1:]).text.splitlines()[:3] == [
        "import os",
        "",
        'os.environ["TF_NUM_INTRAOP_THREADS"] = "2"',
    ]


def test_data_given_to_python_are_no_command(fake_comparison, tmp_path):
    comparison = fake_comparison(tmp_path, ACCURACY, data={"name": "mine"})
    found = reproduction(comparison.runs)
    assert found.language == "python" and "seeds=2, data=data)" in found.text and "jobs" not in found.text
    assert found.note == "The data 'mine' were given to Python: make the same tfnorm.datasets.Dataset again, as data."
    assert "mine, given to Python" in comparison_page(comparison, comparison.path)
