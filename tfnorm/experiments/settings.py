"""What several runs were asked to do: where they differ, and the command that repeats them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfnorm.keras_settings import THREADS
from tfnorm.training.config import TrainConfig
from tfnorm.training.folder import SPELLING, flat_settings
from tfnorm.training.recipe.recipes import RECIPES
from tfnorm.training.runs import Run

FINGERPRINT = "fingerprint of the data"
CLASSES = "names of the classes"
RECIPE = "recipe name"
# What decides which data a run has.
DATA = (*SPELLING, "holdout")
# What `tfnorm compare` takes, but for those that the recipe has too.
OPTIONS = (
    "arch", "dataset", "image_size", "dropout", "regularize", "precision", "holdout", "patience", "skip_damaged",
)  # fmt: skip
REPLACED = ("epochs", "batch_size", "augmentation", "learning_rate")
NOT_ABSOLUTE = ", seen from the folder where the command was given"


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


def ranged(numbers: Iterable[int]) -> str:
    """Return a number, or the least and the largest of several.

    Example:
        >>> ranged([1200, 1200]), ranged([20, 5, 10])
        ('1,200', '5 to 20')
    """
    found = list(numbers)
    low, high = min(found), max(found)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def counted(numbers: Iterable[int], word: str) -> str:
    """Return numbers with their word, in the plural if one of them is more than one.

    Example:
        >>> counted([1], "run"), counted([1200], "run"), counted([1, 3], "seed")
        ('1 run', '1,200 runs', '1 to 3 seeds')
    """
    found = list(numbers)
    return f"{ranged(found)} {word}{'' if max(found) == 1 else 's'}"


def name_of(key: str) -> str:
    """Return a setting's name as a sentence has it.

    Example:
        >>> name_of("recipe name"), name_of("fingerprint of the data"), name_of("batch_size")
        ('recipe', 'data', 'batch size')
    """
    return {RECIPE: "recipe", FINGERPRINT: "data"}.get(key, key.replace("_", " "))


def _places(runs: Sequence[Run]) -> str:
    return str(runs[0].path) + (f" and {len(runs) - 1} more" if len(runs) > 1 else "")


def asked_of(record: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what was asked of a run, its data called what the first of ``others`` with the same data calls them.

    The same data can be called ``pics``, ``pics/`` or ``/home/me/pics``, and lie in several places.

    Args:
        record: The run's record.
        others: Those of the runs that it stands beside.

    Example:
        >>> data = {"fingerprint": "f"}
        >>> first, other = ({"asked": {"dataset": name}, "data": data} for name in ("pics", "./pics/"))
        >>> asked_of(other, [first, other])
        {'dataset': 'pics'}
    """
    asked, mark = record["asked"], record["data"]["fingerprint"]
    first = next((other["asked"] for other in others if other["data"]["fingerprint"] == mark), asked)
    kept = {key: value for key, value in asked.items() if key not in SPELLING or key in first}
    return {**kept, **{key: first[key] for key in SPELLING if key in first}}


def settings_of(run: Run, others: Sequence[Run] = ()) -> dict[str, Any]:
    """Return what was asked of a run, flat, but for norm and seed; and what data it had.

    Args:
        run: The run.
        others: The runs that it is compared with, see `asked_of`.
    """
    asked = asked_of(run.config, (other.config for other in others))
    settings = flat_settings(asked)
    return {key: value for key, value in settings.items() if key not in ("norm", "seed", "recipe")} | {
        FINGERPRINT: run.config["data"]["fingerprint"],
        CLASSES: ", ".join(run.config["data"].get("class_names", ())),
    }


def differing_settings(runs: Sequence[Run]) -> list[Differing]:
    """Return the settings, norm and seed aside, and the data in which runs differ."""
    each = [(run, settings_of(run, runs)) for run in runs]
    found = []
    for key in dict.fromkeys(key for _, settings in each for key in settings):
        values: dict[str, tuple[Any, list[Run]]] = {}
        for run, settings in each:
            values.setdefault(repr(settings.get(key)), (settings.get(key), []))[1].append(run)
        if len(values) > 1:
            found.append(Differing(key, list(values.values())))
    return found


def in_common(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the entries, of mappings within too, that all records have with the same value.

    Example:
        >>> in_common([{"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 2, "d": 4}, "e": 5}])
        {'a': 1, 'b': {'c': 2}}
    """
    first, *others = records
    found: dict[str, Any] = {}
    for key, value in first.items():
        rest: list[Any] = [other.get(key) for other in others]
        if isinstance(value, Mapping) and all(isinstance(each, Mapping) for each in rest):
            found[key] = in_common([value, *rest])
        elif all(each == value for each in rest):
            found[key] = value
    return found


def shared_settings(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings, norm and seed aside, that all runs have, given their records."""
    asked = in_common([asked_of(record, records) for record in records])
    return {key: value for key, value in asked.items() if key not in ("norm", "seed")}


def telling(differing: Sequence[Differing]) -> list[Differing]:
    """Return what tells runs apart: without what follows from the recipe's name, and data that follow from theirs.

    Args:
        differing: See `differing_settings`.
    """
    keys = {each.key for each in differing}

    def follows(each: Differing, causes: Sequence[str]) -> bool:
        found: dict[tuple[str, ...], set[str]] = {}
        all_runs = [run for _, runs in each.values for run in runs]
        for run in all_runs:
            settings = settings_of(run, all_runs)
            cause = tuple(repr(settings.get(key)) for key in causes)
            found.setdefault(cause, set()).add(repr(settings.get(each.key)))
        return bool(keys.intersection(causes)) and all(len(values) == 1 for values in found.values())

    def is_news(each: Differing) -> bool:
        if each.key in (FINGERPRINT, CLASSES):
            return not follows(each, DATA if each.key == FINGERPRINT else (*DATA, FINGERPRINT))
        of_recipe = each.key in (*REPLACED, "dropout") or each.key.startswith("recipe ")
        return each.key == RECIPE or not (of_recipe and follows(each, [RECIPE]))

    return [each for each in differing if is_news(each)]


@dataclass(frozen=True)
class Reproduction:
    """How to train the same runs again.

    Args:
        text: Commands for a shell, or lines of Python where the command line cannot say it.
        language: "shell" or "python".
        note: What to change or to know before it is run elsewhere, or "".
    """

    text: str
    language: str
    note: str


def reproduction(runs: Sequence[Run]) -> Reproduction:
    """Return the commands that train these runs again, with every setting that is not the default.

    Args:
        runs: Of one configuration, norms and seeds aside. Specs with the same seeds share a command.
    """
    config = runs[0].config
    asked: Mapping[str, Any] = config["asked"]
    seeds_of: dict[str, list[int]] = {}
    for run in runs:
        seeds_of.setdefault(run.label, []).append(run.seed)
    groups: dict[tuple[int, ...], list[str]] = {}
    for label, seeds in seeds_of.items():
        groups.setdefault(tuple(sorted(seeds)), []).append(label)
    recipe = asked["recipe"]
    usual = RECIPES[recipe["name"]] if recipe["name"] in RECIPES else None
    fields = TrainConfig.model_fields
    settings = {key: asked[key] for key in OPTIONS if asked.get(key, fields[key].default) != fields[key].default}
    if config["data"].get("data_dir"):
        settings["data_dir"] = config["data"]["data_dir"]
    named = usual is not None and _same_but_replaced(usual.model_dump(mode="json"), recipe)
    if usual is not None and named:
        settings |= {key: asked[key] for key in REPLACED if asked[key] != getattr(usual, key)}
        if usual.name != "default":
            settings["recipe"] = usual.name
        if usual.dropout == asked["dropout"]:
            settings.pop("dropout", None)
    counted = all(seeds == tuple(range(len(seeds))) for seeds in groups)
    given = given_data(config)
    note = _note(asked["dataset"], config["data"].get("data_dir"), len(groups), given)
    environment = {}
    if (backend := config["versions"]["backend"]) != "tensorflow":
        environment["KERAS_BACKEND"] = backend
    threads = config["machine"].get("threads")
    if threads == 1 and not given:
        settings["jobs"] = config["machine"]["cores"] or 1
    elif threads is not None:
        environment[THREADS[backend]] = str(threads)
    if given:
        settings["data"] = _Word("data")
    elif named and counted:
        options = [word for key, value in settings.items() for word in _option(key, value)]
        prefix = "".join(f"{key}={value} " for key, value in environment.items())
        lines = [
            prefix + shlex.join(["tfnorm", "compare", *specs, "--seeds", str(len(seeds)), *options])
            for seeds, specs in groups.items()
        ]
        return Reproduction("\n".join(lines), "shell", note)
    imports = ["import tfnorm"]
    if environment:
        lines = [f'os.environ["{key}"] = "{value}"' for key, value in environment.items()]
        imports = ["import os", "", *lines, "", *imports]
    if not named:
        imports.append("from tfnorm.training.recipe.recipes import Recipe")
        known = {key: value for key, value in recipe.items() if value is not None}
        settings = {**settings, "recipe": _Call("Recipe", known)}
    calls = [
        repr(_Call("tfnorm.compare", {"seeds": len(seeds) if counted else list(seeds), **settings})).replace(
            "(", f"({specs!r}, ", 1
        )
        for seeds, specs in groups.items()
    ]
    return Reproduction("\n".join([*imports, *calls]), "python", note)


def _option(key: str, value: Any) -> list[str]:
    """Return an option of the command line; a truth has no value."""
    return [f"--{key.replace('_', '-')}", *([] if value is True else [str(value)])]


def given_data(config: Mapping[str, Any]) -> str:
    """Return the name of data that were given to Python, "" if they were found by that of a data set or a file.

    The configuration has the default data set then; data of the same name cannot be told from it here.
    """
    from tfnorm.datasets import list_datasets

    name, dataset = config["data"]["name"], config["asked"]["dataset"]
    return name if dataset in list_datasets() and name != dataset else ""


def _note(dataset: str, data_dir: str | None, commands: int, given: str) -> str:
    """Return what to know before commands are run elsewhere."""
    from tfnorm.datasets import list_datasets

    notes = []
    if given:
        notes.append(f"The data {given!r} were given to Python: make the same tfnorm.datasets.Dataset again, as data.")
    if data_dir:
        notes.append(f"{data_dir} is a folder of the machine that trained them: put your own in its place.")
    if dataset not in list_datasets():
        notes.append(f"{dataset} is a path on that machine{'' if Path(dataset).is_absolute() else NOT_ABSOLUTE}.")
    if commands > 1:
        notes.append("Each set of seeds has a command of its own; tfnorm report then puts them on one page.")
    return " ".join(notes)


class _Word(str):
    """A name, as Python writes it."""

    def __repr__(self) -> str:
        return str(self)


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
