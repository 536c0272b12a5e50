"""Settings are described once: in Python's signatures, its help, the command line and type hints they are the same."""

import inspect
import typing
from collections.abc import Sequence

import pytest
from typer.testing import CliRunner

import tfnorm
from tfnorm.cli import app
from tfnorm.training.config import (
    ONLY_RECORDED,
    RunSettings,
    Settings,
    TrainConfig,
    default_of,
    description_of,
    with_settings,
)
from tfnorm.training.recipe.recipes import Recipe

SETTINGS = [name for name in TrainConfig.model_fields if name not in ONLY_RECORDED]
# What a comparison has in another form: each spec may have a rate of its own.
OTHER_FORM = {"learning_rate"}


def parts(kind):
    return set(typing.get_args(kind)) if isinstance(kind, type(int | str)) or typing.get_args(kind) else {kind}


def test_the_typed_dictionaries_and_the_configuration_agree_in_names_and_types():
    hints = typing.get_type_hints(RunSettings)
    assert sorted(hints) == sorted(SETTINGS)
    assert set(hints) - set(typing.get_type_hints(Settings)) == {"norm", "seed"} | OTHER_FORM
    # What is converted when it comes in: names of recipes, paths as text, specs.
    more = {"recipe": {str}, "data_dir": {str}, "groups": {str}, "norm": {tfnorm.NormSpec}}
    more |= {"memory": {int}, "cache": {str}}
    assert parts(hints.pop("imports")) == {str, Sequence[str], type(None)}  # of which it becomes a tuple
    for name in hints:
        assert parts(hints[name]) == parts(TrainConfig.model_fields[name].annotation) | more.get(name, set()), name


@pytest.mark.parametrize(
    ("function", "apart"), [(tfnorm.compare, {"norm", "seed"} | OTHER_FORM), (tfnorm.train, set())]
)
def test_signatures_and_help_show_every_setting_with_its_default(function, apart):
    parameters, text = inspect.signature(function).parameters, inspect.getdoc(function)
    assert not any(each.kind is each.VAR_KEYWORD for each in parameters.values()) and "**settings" not in text
    for name in set(SETTINGS) - apart:
        assert parameters[name].default == default_of(name), name
        shown = " ".join(text.split())
        usual = "" if default_of(name) is None else f" Defaults to {default_of(name)!r}."
        assert f" {name}: {description_of(name)}{usual}" in shown, name
    assert apart & set(parameters) == apart & OTHER_FORM


def option(name):
    return "--import" if name == "imports" else f"--{name.replace('_', '-')}"


@pytest.mark.parametrize(("command", "apart"), [("compare", {"norm", "seed"} | OTHER_FORM), ("train", {"norm"})])
def test_the_command_line_has_an_option_for_every_setting(command, apart):
    text = CliRunner().invoke(app, [command, "--help"], terminal_width=400, env={"COLUMNS": "400"}).output
    lines = {line.split()[1]: line for line in text.splitlines() if line.startswith("│ --")}
    for name in set(SETTINGS) - apart:
        assert description_of(name).replace("`", "") in lines[option(name)], name
    assert {f"--{name}" for name in apart - OTHER_FORM}.isdisjoint(lines)


def test_every_setting_of_the_command_line_reaches_the_plan(tmp_path, monkeypatch):
    given = {
        "arch": "cifar_plain", "model": "net.py:make", "weights": "fresh", "imports": ["own.py"], "allow_lambda": True,
        "dataset": "digits", "data_dir": tmp_path,
        "image_size": 32, "resize": 36, "fit": "crop", "test_share": 0.25, "groups": tmp_path, "follow_links": True,
        "epochs": 3,
        "batch_size": 8, "recipe": "B", "augmentation": "none", "dropout": 0.25,
        "freeze_until": "conv2d", "freeze_epochs": 2,
        "regularize": "kernels", "precision": "bfloat16", "zero_gamma": True, "holdout": 0.5, "metric": "f1",
        "patience": 2, "skip_damaged": True, "memory": "3000", "cache": tmp_path,
    }  # fmt: skip
    assert set(given) == set(typing.get_type_hints(Settings))
    seen = {}

    def stop(*_, **settings):
        seen.update(settings)
        raise SystemExit(7)

    monkeypatch.setattr("tfnorm.cli.experiments.plan_comparison", stop)
    shown = {key: value[0] if key == "imports" else value for key, value in given.items()}
    words = [[option(key), *([] if value is True else [str(value)])] for key, value in shown.items()]
    assert CliRunner().invoke(app, ["compare", "bn", *sum(words, [])]).exit_code == 7
    assert {key: seen[key] for key in given} == given


def test_a_function_is_shown_with_the_settings_it_takes():
    @with_settings
    def f(a: int, **settings: typing.Unpack[Settings]) -> None:
        """Do it.

        Args:
            a: A number.
            **settings: Settings.

        Returns:
            Nothing.
        """

    names = list(inspect.signature(f).parameters)
    assert names[:2] == ["a", "arch"] and "seed" not in names
    assert f.__doc__.index("a: A number.") < f.__doc__.index("    arch: ") < f.__doc__.index("\n\nReturns:")


def test_defaults_are_written_as_a_person_writes_them():
    assert default_of("arch") == "mnist_7k" and default_of("norm") is None
    assert default_of("recipe") is None  # it depends on the model
    assert isinstance(TrainConfig(norm="bn").recipe, Recipe)
