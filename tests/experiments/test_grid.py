import numpy as np
import pytest
from facts import says

from tfnorm.errors import TfnormError
from tfnorm.experiments.sweep.grid import MOST_RUNS, load_grid, plan_grid
from tfnorm.experiments.sweep.plan import find_grid, list_studies

FIVE_MISTAKES = """
[settings]
epoch = 3

[grid]
norm = ["bn", "zn", "gn:3"]
l1 = [0, -1]
learning_rate = []
seeds = 0
"""


def folders(content):
    return [run.folder.as_posix() for run in plan_grid(content)]


def sentences(content):
    with pytest.raises(TfnormError) as caught:
        plan_grid(content)
    return [line.removeprefix("grid: ") for line in str(caught.value).splitlines()]


def test_five_mistakes_and_one_more_get_a_sentence_each(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(FIVE_MISTAKES)
    with pytest.raises(TfnormError) as caught:
        load_grid(path)
    expected = [
        (
            "[settings]",
            "'epoch'",
            "'epochs'",
            "arch, model, weights, imports, allow_lambda, dataset, data_dir, image_size, resize, fit",
        ),
        ("[grid]", "`seeds`", "list of seeds", "0"),
        ("[grid]", "`norm`", "'zn'", "'ln'", "none, bn, ln, gn, in, rms, frn"),
        ("[grid]", "`l1`", "at least 0", "-1"),
        ("[grid]", "`learning_rate`", "at least one value"),
        (
            "[grid]",
            "norm = 'gn:3', l1 = 0",
            "groups=3",
            "channels=8",
            "'conv1_norm'",
            "1, 2, 4, 8",
            "mnist_7k: 1, 2, 4",
        ),
    ]
    for line, facts in zip(str(caught.value).splitlines(), expected, strict=True):
        says(line, path, *facts)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, [("[grid]", "`norm`", "norm = ['bn', 'gn:2']")]),
        (
            {"grid": {"batch_size": 8}, "include": [{"norm": "bn"}]},
            [("[grid]", "`norm`", "norm = ['bn', 'gn:2']")],
        ),
        (
            {"gird": {}, "grid": {"norm": "bn"}},
            [("'gird'", "'grid'", "settings, grid, include, exclude")],
        ),  # fmt: skip  # noqa: E501
        (
            {"settings": 1, "grid": {"norm": "bn"}, "exclude": {"norm": "bn"}},
            [
                ("`settings`", "[settings]", "1"),
                ("`exclude`", "[[exclude]]", "{'norm': 'bn'}"),
            ],
        ),
        (
            {"grid": {"norm": "bn", "batch": 3}},
            [
                (
                    "[grid]",
                    "'batch'",
                    "'batch_size'",
                    "norm, l1, l2, batch_size, learning_rate, arch, model, dropout, epochs, augmentation",
                    "seeds",
                )
            ],
        ),
        (
            {"settings": {"epochs": 3}, "grid": {"norm": "bn", "epochs": [1, 2.5]}},
            [
                ("[grid]", "`epochs`", "[settings]", "one place"),
                ("[grid]", "`epochs`", "integer", "2.5"),
            ],
        ),
        (
            {"settings": {"data_dir": "/no/such"}, "grid": {"norm": "bn"}},
            [("[settings]", "`data_dir`", "/no/such", "Create it or name another")],
        ),
        (
            {"grid": {"norm": "bn", "seeds": [0, 2**31]}},
            [
                ("[grid]", "`seeds`", "[0, 2147483648]"),
            ],
        ),
        (
            {"grid": {"norm": "bn+l1=1e-3", "l1": 1e-4}},
            [("[grid]", "'bn+l1=1e-3'", "l1=0.0001", "one place")],
        ),
        (
            {"grid": {"norm": ["bn", "ln"]}, "exclude": [{"norm": "gn:2"}]},
            [("[[exclude]]", "'gn:2'", "no combination")],
        ),
        ({"grid": {"norm": "bn"}, "exclude": [{"norm": "BN"}]}, [("[[exclude]]", "no combination", "fewer")]),
        (
            {"grid": {"norm": "bn"}, "include": [{}, {"norm": 3}]},
            [
                ("[[include]]", "at least one value", "norm = 'bn'"),
                ("[[include]]", "`norm`", "'gn:4+l1=1e-4'", "3"),
            ],
        ),
        (
            {"grid": {"norm": "bn", "seeds": MOST_RUNS + 1}},
            [("[grid]", f"{MOST_RUNS + 1:,} runs", f"{MOST_RUNS:,}")],
        ),
        (
            {"settings": {"weights": "fresh"}, "grid": {"norm": "bn"}},
            [("[settings]", "`weights`", "`model`", "weights='fresh'")],
        ),
        (
            {"settings": {"model": "applications:VGG", "weights": "fresh", "recipe": "own"}, "grid": {"norm": "bn"}},
            [("[settings]", "`model`", "'VGG'", "'VGG19'")],
        ),
        (
            {"settings": {"imports": 3, "weights": "x"}, "grid": {"norm": "bn", "model": ["applications:VGG16"]}},
            [("[settings]", "`imports`", "imports=3", "text"), ("[settings]", "`weights`", "'x'", "'imagenet'")],
        ),
    ],
)
def test_every_mistake_has_its_sentence(content, expected):
    for line, facts in zip(sentences(content), expected, strict=True):
        says(line, *facts)


@pytest.mark.parametrize(
    ("value", "facts"),
    [
        ({"from": 1, "to": 8}, ("`from`", "`to`", "`step`", "`factor`")),
        ({"from": 1, "step": 1, "factor": 2}, ("`from`", "`to`", "`step`", "`factor`")),
        ({"from": 1, "to": 8, "step": 1, "factor": 2}, ("`from`", "`to`", "`step`", "`factor`")),
        ({"from": 8, "to": 1, "step": 1}, ("smaller", "larger")),
        ({"from": 0, "to": 1, "factor": 2}, ("`factor`", "above 0")),
        ({"from": 1, "to": 1e9, "step": 1}, ("at most 100,000 numbers",)),
        ({"from": 1, "to": 8, "step": 0}, ("`step`", "above 0")),
        ({"from": 1, "to": 8, "factor": 1}, ("`factor`", "above 1")),
        ({"from": True, "to": 8, "step": 1}, ("`from`", "finite", "True")),
        ({"from": 1, "to": float("inf"), "step": 1}, ("`to`", "finite", "inf")),
        ({"from": "1", "to": 8, "step": 1}, ("`from`", "finite", "'1'")),
    ],
)
def test_a_wrong_range_has_its_sentence(value, facts):
    (found,) = sentences({"grid": {"norm": "bn", "batch_size": value}})
    says(found, "[grid]", "`batch_size`", *facts)
    assert "Received: " in found


def test_a_range_with_a_key_it_does_not_know():
    (line,) = sentences({"grid": {"norm": "bn", "l1": {"from": 0, "to": 1, "step": 1, "by": 2}}})
    says(line, "[grid]", "`l1`", "'by'", "from, to, step, factor")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"from": 2, "to": 128, "factor": 2}, [2, 4, 8, 16, 32, 64, 128]),
        ({"from": 8, "to": 20, "step": 6}, [8, 14, 20]),
        ({"from": 10, "to": 29, "step": 10}, [10, 20]),
        ([16, 32], [16, 32]),
        (16, [16]),
    ],
)
def test_values_of_an_axis(value, expected):
    runs = plan_grid({"grid": {"norm": "bn", "batch_size": value, "seeds": 1}})
    assert [run.config.batch_size for run in runs] == expected


def test_steps_of_a_tenth_reach_the_end():
    runs = plan_grid({"grid": {"norm": "bn", "dropout": {"from": 0, "to": 0.3, "step": 0.1}, "seeds": 1}})
    assert [run.config.dropout for run in runs] == [0, 0.1, 0.2, 0.3]


def test_folders_name_what_varies_and_nothing_else():
    content = {"settings": {"epochs": 2}, "grid": {"norm": ["bn", "gn:2"], "l1": [0, 1e-4], "seeds": [3], "arch": "mnist_7k"}}  # fmt: skip  # noqa: E501
    assert folders(content) == ["bn/seed-3", "bn_l1-1e-4/seed-3", "gn-2/seed-3", "gn-2_l1-1e-4/seed-3"]
    content["grid"] |= {"learning_rate": [0.1, 1e-05], "batch_size": [8, 16]}
    several = folders(content)
    assert several[0] == "bn/batch_size-8_learning_rate-0.1/seed-3"
    assert len(set(several)) == len(several) == 16


def test_every_run_has_a_folder_and_a_configuration_of_its_own():
    runs = plan_grid(
        {
            "grid": {"norm": ["bn", "ln", "gn:2", "gn:size=2"], "l1": [0, 1e-4], "batch_size": [8, 16], "seeds": 2},
            "include": [{"norm": "none"}, {"norm": "bn", "batch_size": 32, "epochs": 1}, {"norm": "none", "l2": 1e-3}],
            "exclude": [{"norm": "ln", "l1": 1e-4}, {"batch_size": 16, "norm": "LN"}],
        }
    )
    assert len(runs) == (4 * 4 - 3) * 2 + 3 * 2
    assert len({run.folder for run in runs}) == len(runs)
    assert len({run.config.model_dump_json() for run in runs}) == len(runs)
    assert [run.config.seed for run in runs[:2]] == [0, 1]
    assert {run.config.batch_size for run in runs if run.config.norm == "ln"} == {8}


def test_settings_of_a_model_are_checked_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("net.keras", "own_layers.py"):
        (tmp_path / name).touch()
    settings = {"weights": "fresh", "recipe": "own", "imports": "own_layers.py", "allow_lambda": True}
    for where in ({"settings": {**settings, "model": "net.keras"}}, {"settings": settings}):
        axis = {} if "model" in where["settings"] else {"model": ["net.keras"]}
        (run,) = plan_grid({**where, "grid": {"norm": "bn", "seeds": 1, **axis}})
        assert (run.config.weights, run.config.recipe.name) == ("fresh", "own")
        assert run.config.imports == (str(tmp_path / "own_layers.py"),) and run.config.allow_lambda


def test_the_same_run_said_twice_is_one_run():
    twice = {"grid": {"norm": ["bn", "BN"], "batch_size": [16, 16.0], "seeds": [1, 1]}}
    assert folders(twice) == ["bn/seed-1"]
    content = {"grid": {"norm": "bn", "batch_size": [8, 16], "seeds": 1}, "include": [{"norm": "bn", "batch_size": 8}]}
    assert folders(content) == ["bn/batch_size-8/seed-0", "bn/batch_size-16/seed-0"]


def test_a_point_has_the_values_of_the_axes():
    (run,) = plan_grid({"grid": {"norm": "bn", "l1": 1e-4, "batch_size": 16.0, "seeds": 1}})
    assert run.point == {"norm": "bn+l1=1e-4", "l1": 1e-4, "batch_size": 16}
    assert run.config.norm == "bn+l1=1e-4"


def test_files_that_are_no_grid(tmp_path):
    path = tmp_path / "grid.toml"
    with pytest.raises(TfnormError) as caught:
        load_grid(path)
    says(caught, path, "No such file or directory", "TOML")
    path.write_text("[grid\n")
    with pytest.raises(TfnormError, match=rf"{path}.* TOML.*line 1, column 6"):
        load_grid(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(TfnormError) as caught:
        load_grid(path)
    says(caught, path, "UTF-8")


def test_studies_are_good_grids():
    assert {name: len(load_grid(find_grid(name))) for name in list_studies()} == {"batch-size": 63, "groups": 15}


def test_a_grid_is_a_file_or_a_study(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("")
    assert find_grid(path) == path
    for name, facts in (
        ("group", ("'group'", "'groups'", "batch-size, groups", "TOML")),  # noqa: E501
        ("no/such", ("no/such", "TOML", "batch-size, groups")),
    ):  # fmt: skip
        with pytest.raises(TfnormError) as caught:
            find_grid(name)
        says(caught, *facts)


def test_planning_imports_no_keras(run_python):
    code = (
        "import sys; from tfnorm.experiments.sweep.plan import *; from tfnorm.experiments.engines.estimate import *; "
        "planned_rows(load_grid(find_grid('batch-size')), 'nowhere'); "
        "print(sorted({'keras', 'tensorflow', 'pandas', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    assert run_python(code) == "[]"


def test_a_folder_of_the_name_of_a_study_hides_it_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "groups").mkdir()
    assert find_grid("groups").suffix == ".toml"


def test_values_can_be_tuples_and_arrays():
    planned = plan_grid({"grid": {"norm": ("bn", "ln"), "batch_size": np.array([16, 32]), "seeds": 1}})
    assert [(run.config.norm, run.config.batch_size) for run in planned] == [
        ("bn", 16), ("bn", 32), ("ln", 16), ("ln", 32),
    ]  # fmt: skip
    for seeds in (np.int64(2), (0, 1), range(2), np.arange(2)):
        planned = plan_grid({"grid": {"norm": "bn", "seeds": seeds}})
        assert [run.config.seed for run in planned] == [0, 1]
