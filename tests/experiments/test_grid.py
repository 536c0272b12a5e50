import numpy as np
import pytest

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
    assert str(caught.value).splitlines() == [
        f"{path}: [settings] Unknown setting 'epoch'. Did you mean 'epochs'? Use one of: arch, dataset, data_dir, "
        "image_size, epochs, batch_size, recipe, augmentation, learning_rate, dropout, regularize, precision, "
        "holdout, patience, skip_damaged.",
        f"{path}: [grid] `seeds` must be a number of at least 1, or a list of seeds. Received: 0.",
        f"{path}: [grid] `norm`: Unknown norm 'zn' at character 1 of 'zn'. Did you mean 'ln'? "
        "Use one of: none, bn, ln, gn, in, rms, frn.",
        f"{path}: [grid] `l1`: must be a finite number of at least 0. Received: -1.",
        f"{path}: [grid] `learning_rate` is an empty list. Give at least one value.",
        f"{path}: [grid] norm = 'gn:3', l1 = 0: `groups` must divide the number of channels. Received: groups=3, "
        "channels=8 at layer 'conv1_norm'. Use one of 1, 2, 4, 8. Valid groups for every layer of mnist_7k: 1, 2, 4.",
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, ["[grid] `norm` is missing. Give at least one spec, such as norm = ['bn', 'gn:2']."]),
        (
            {"grid": {"batch_size": 8}, "include": [{"norm": "bn"}]},
            ["[grid] `norm` is missing. Give at least one spec, such as norm = ['bn', 'gn:2']."],
        ),
        (
            {"gird": {}, "grid": {"norm": "bn"}},
            ["Unknown table 'gird'. Did you mean 'grid'? Use one of: settings, grid, include, exclude."],
        ),  # fmt: skip  # noqa: E501
        (
            {"settings": 1, "grid": {"norm": "bn"}, "exclude": {"norm": "bn"}},
            [
                "`settings` must be a table, written [settings]. Received: 1.",
                "`exclude` must be tables of values, each written [[exclude]]. Received: {'norm': 'bn'}.",
            ],
        ),
        (
            {"grid": {"norm": "bn", "batch": 3}},
            [
                "[grid] Unknown axis 'batch'. Did you mean 'batch_size'? Use one of: norm, l1, l2, batch_size, "
                "learning_rate, arch, dropout, epochs, augmentation, precision, seeds."
            ],
        ),
        (
            {"settings": {"epochs": 3}, "grid": {"norm": "bn", "epochs": [1, 2.5]}},
            [
                "[grid] `epochs` is in [settings] too. Set it in one place.",
                "[grid] `epochs`: input should be a valid integer, got a number with a fractional part. Received: 2.5.",
            ],
        ),
        (
            {"settings": {"data_dir": "/no/such"}, "grid": {"norm": "bn"}},
            [
                "[settings] `data_dir`: `data_dir` must be a folder. Received: /no/such, which does not exist. "
                "Create it or name another."
            ],
        ),
        (
            {"grid": {"norm": "bn", "seeds": [0, 2**31]}},
            [
                "[grid] `seeds` must be a number of at least 1, or a list of seeds. Received: [0, 2147483648].",
            ],
        ),
        (
            {"grid": {"norm": "bn+l1=1e-3", "l1": 1e-4}},
            [
                "[grid] norm = 'bn+l1=1e-3', l1 = 0.0001: The spec 'bn+l1=1e-3' contradicts l1=0.0001. "
                "Say l1 in one place only."
            ],
        ),
        (
            {"grid": {"norm": ["bn", "ln"]}, "exclude": [{"norm": "gn:2"}]},
            ["[[exclude]] norm = 'gn:2' matches no combination."],
        ),
        ({"grid": {"norm": "bn"}, "exclude": [{"norm": "BN"}]}, ["[[exclude]] leaves no combination. Exclude fewer."]),
        (
            {"grid": {"norm": "bn"}, "include": [{}, {"norm": 3}]},
            [
                "[[include]] is empty. Give at least one value, such as norm = 'bn'.",
                "[[include]] `norm`: A norm spec is a string such as 'gn:4+l1=1e-4'. Received: 3.",
            ],
        ),
        (
            {"grid": {"norm": "bn", "seeds": MOST_RUNS + 1}},
            [f"[grid] has {MOST_RUNS + 1:,} runs. Use at most {MOST_RUNS:,}."],
        ),
    ],
)
def test_every_mistake_has_its_sentence(content, expected):
    assert sentences(content) == expected


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"from": 1, "to": 8}, "a range needs `from`, `to`, and either `step` or `factor`"),
        ({"from": 1, "step": 1, "factor": 2}, "a range needs `from`, `to`, and either `step` or `factor`"),
        ({"from": 1, "to": 8, "step": 1, "factor": 2}, "a range needs `from`, `to`, and either `step` or `factor`"),
        ({"from": 8, "to": 1, "step": 1}, "a range goes from a smaller to a larger number"),
        ({"from": 0, "to": 1, "factor": 2}, "with `factor` from above 0"),
        ({"from": 1, "to": 1e9, "step": 1}, "a range has at most 100,000 numbers"),
        ({"from": 1, "to": 8, "step": 0}, "`step` must be above 0"),
        ({"from": 1, "to": 8, "factor": 1}, "`factor` above 1"),
        ({"from": True, "to": 8, "step": 1}, "`from` must be a finite number. Received: True."),
        ({"from": 1, "to": float("inf"), "step": 1}, "`to` must be a finite number. Received: inf."),
        ({"from": "1", "to": 8, "step": 1}, "`from` must be a finite number. Received: '1'."),
    ],
)
def test_a_wrong_range_has_its_sentence(value, sentence):
    (found,) = sentences({"grid": {"norm": "bn", "batch_size": value}})
    assert found.startswith("[grid] `batch_size`: ") and sentence in found and "Received: " in found


def test_a_range_with_a_key_it_does_not_know():
    assert sentences({"grid": {"norm": "bn", "l1": {"from": 0, "to": 1, "step": 1, "by": 2}}}) == [
        "[grid] `l1`: Unknown key 'by'. Use one of: from, to, step, factor."
    ]


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
    assert str(caught.value) == (
        f"The grid file {path} cannot be read: No such file or directory. Give the path of a TOML file."
    )
    path.write_text("[grid\n")
    with pytest.raises(TfnormError, match=rf"The grid file {path} is not TOML: .* \(at line 1, column 6\)\."):
        load_grid(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(TfnormError) as caught:
        load_grid(path)
    assert str(caught.value) == f"The grid file {path} is not text in UTF-8."


def test_studies_are_good_grids():
    assert {name: len(load_grid(find_grid(name))) for name in list_studies()} == {"batch-size": 63, "groups": 15}


def test_a_grid_is_a_file_or_a_study(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("")
    assert find_grid(path) == path
    for name, sentence in (
        ("group", "Unknown study 'group'. Did you mean 'groups'? Use one of: batch-size, groups. A path to a TOML file works too."),  # noqa: E501
        ("no/such", "There is no grid file no/such. Give a TOML file, or one of: batch-size, groups."),
    ):  # fmt: skip
        with pytest.raises(TfnormError) as caught:
            find_grid(name)
        assert str(caught.value) == sentence


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
