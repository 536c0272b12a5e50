"""What several runs were asked to do: where they differ, and the command that repeats them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfnorm.training.config import TrainConfig
from tfnorm.training.recipes import RECIPES
from tfnorm.training.runs import Run, flat_settings

FINGERPRINT = "fingerprint of the data"
# What `tfnorm compare` takes, but for those that the recipe has too.
OPTIONS = ("arch", "dataset", "image_size", "dropout", "regularize", "precision", "holdout", "patience")
REPLACED = ("epochs", "batch_size", "augmentation", "learning_rate")


@dataclass(frozen=True)
class Differing:
    """A setting that is not the same in all runs.

    Args:
        key: Its name.
        values: Each value, and the runs that have it, in their order.
    """

    key: str
    values: Sequence[tuple[Any, Sequence[Run]]]

    def __str__(self) -> str:
        return f"{self.key} is " + " and ".join(f"{shown(value)} in {_places(runs)}" for value, runs in self.values)


def shown(value: Any) -> str:
    """Return a value as a sentence has it; of a long one its beginning.

    Example:
        >>> shown(None), shown(0.1), shown("0123456789abcdef")
        ('the default', '0.1', '0123456789ab…')
    """
    text = "the default" if value is None else str(value)
    return text if len(text) <= 14 else f"{text[:12]}…"


def _places(runs: Sequence[Run]) -> str:
    return str(runs[0].path) + (f" and {len(runs) - 1} more" if len(runs) > 1 else "")


def settings_of(run: Run) -> dict[str, Any]:
    """Return what was asked of a run, flat, but for norm and seed; and what data it had."""
    settings = flat_settings(run.config["asked"])
    left_out = ("norm", "seed", "recipe", "recipe title")
    return {key: value for key, value in settings.items() if key not in left_out} | {
        FINGERPRINT: run.config["data"]["fingerprint"]
    }


def differing_settings(runs: Sequence[Run]) -> list[Differing]:
    """Return the settings, norm and seed aside, and the data in which runs differ."""
    each = [(run, settings_of(run)) for run in runs]
    found = []
    for key in dict.fromkeys(key for _, settings in each for key in settings):
        values: dict[str, tuple[Any, list[Run]]] = {}
        for run, settings in each:
            values.setdefault(repr(settings.get(key)), (settings.get(key), []))[1].append(run)
        if len(values) > 1:
            found.append(Differing(key, list(values.values())))
    return found


@dataclass(frozen=True)
class Reproduction:
    """How to train the same runs again.

    Args:
        text: A command for a shell, or lines of Python where the command line cannot say it.
        language: "shell" or "python".
    """

    text: str
    language: str


def reproduction(runs: Sequence[Run]) -> Reproduction:
    """Return the command that trains these runs again, with every setting that is not the default.

    Args:
        runs: Of one configuration, norms and seeds aside.
    """
    config = runs[0].config
    asked: Mapping[str, Any] = config["asked"]
    specs = list(dict.fromkeys(run.label for run in runs))
    seeds = list(dict.fromkeys(run.seed for run in runs))
    recipe = asked["recipe"]
    usual = RECIPES[recipe["name"]] if recipe["name"] in RECIPES else None
    fields = TrainConfig.model_fields
    settings = {key: asked[key] for key in OPTIONS if asked.get(key) != fields[key].default}
    if config["data"].get("data_dir"):
        settings["data_dir"] = config["data"]["data_dir"]
    named = usual is not None and _same_but_replaced(usual.model_dump(mode="json"), recipe)
    if usual is not None and named:
        settings |= {key: asked[key] for key in REPLACED if asked[key] != getattr(usual, key)}
        if usual.name != "default":
            settings["recipe"] = usual.name
    counted = seeds == list(range(len(seeds)))
    if config["machine"].get("threads") == 1:
        settings["jobs"] = config["machine"]["cores"] or 1
    if named and counted:
        words = ["tfnorm", "compare", *specs, "--seeds", str(len(seeds))]
        for key, value in settings.items():
            words += [f"--{key.replace('_', '-')}", str(value)]
        return Reproduction(shlex.join(words), "shell")
    imports = ["import tfnorm"]
    if not named:
        imports.append("from tfnorm.training.recipes import Recipe")
        given = {key: value for key, value in recipe.items() if value is not None}
        settings = {**settings, "recipe": _Call("Recipe", given)}
    call = _Call("tfnorm.compare", {"seeds": len(seeds) if counted else seeds, **settings})
    text = repr(call).replace("(", f"({specs!r}, ", 1)
    return Reproduction("\n".join([*imports, text]), "python")


class _Call:
    """A call with keyword arguments, as Python writes it."""

    def __init__(self, name: str, arguments: Mapping[str, Any]) -> None:
        self.name, self.arguments = name, arguments

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value!r}' for key, value in self.arguments.items())})"


def _same_but_replaced(usual: Mapping[str, Any], recipe: Mapping[str, Any]) -> bool:
    """Return whether a recipe is the named one, as far as the command line cannot change it."""
    keys = {*usual, *recipe} - {*REPLACED, "title"}
    return all(usual.get(key) == recipe.get(key) for key in keys)
