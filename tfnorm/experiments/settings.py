"""What several runs were asked to do: where they differ, and the calls that trained them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfnorm.datasets import list_datasets
from tfnorm.datasets.given.own import GIVEN
from tfnorm.text import listed, they_are
from tfnorm.training.folder import SPELLING, flat_settings
from tfnorm.training.recipe.recipes import RECIPES
from tfnorm.training.runs import Run

FINGERPRINT = "fingerprint of the data"
CLASSES = "names of the classes"
RECIPE = "recipe name"
# What decides which data a run has.
DATA = (*SPELLING, "holdout")
# What a recipe decides unless the call does.
OF_RECIPE = ("epochs", "batch_size", "augmentation", "learning_rate", "dropout")


@dataclass(frozen=True)
class Differing:
    """A setting that is not the same in all runs: each value, and the runs that have it, in their order."""

    key: str
    values: Sequence[tuple[Any, Sequence[Run]]]

    def __str__(self) -> str:
        places = [(value, str(runs[0].path), len(runs) - 1) for value, runs in self.values]
        words = [f"{brief(value)} in {path}" + (f" and {more} more" if more else "") for value, path, more in places]
        return f"{self.key} is {' and '.join(words)}"


def brief(value: Any) -> str:
    """Return a value as a sentence has it; of a long one its beginning.

    Example:
        >>> brief(None), brief(0.1), brief("0123456789abcdef")
        ('the default', '0.1', '0123456789ab…')
    """
    text = "the default" if value is None else str(value)
    return text if len(text) <= 14 else f"{text[:12]}…"


def name_of(key: str) -> str:
    """Return a setting's name as a sentence has it.

    Example:
        >>> name_of("recipe name"), name_of("fingerprint of the data"), name_of("batch_size")
        ('recipe', 'data', 'batch size')
    """
    return {RECIPE: "recipe", FINGERPRINT: "data"}.get(key, key.replace("_", " "))


def asked_of(record: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what was asked of a run, its data called what the first of ``others`` with the same data calls them.

    The same data can be called ``pics``, ``pics/`` or ``/home/me/pics``, and lie in several places. All arguments are
    records of runs.

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
    """Return what was asked of a run beside others, flat, but for norm and seed; and what data it had."""
    asked, data = flat_settings(asked_of(run.config, (other.config for other in others))), run.config["data"]
    given = {key: value for key, value in asked.items() if key not in ("norm", "seed", "recipe")}
    return {**given, FINGERPRINT: data["fingerprint"], CLASSES: ", ".join(data.get("class_names", ()))}


def differing_settings(runs: Sequence[Run]) -> list[Differing]:
    """Return the settings, norm and seed aside, and the data in which runs differ.

    Learning rates that were given or chosen for each spec are no difference.
    """
    each = [(run, settings_of(run, runs)) for run in runs]
    found = []
    apart = ("learning_rate",) if rates_are_of_specs(runs) else ()
    for key in dict.fromkeys(key for _, settings in each for key in settings if key not in apart):
        values: dict[str, tuple[Any, list[Run]]] = {}
        for run, settings in each:
            values.setdefault(repr(settings.get(key)), (settings.get(key), []))[1].append(run)
        if len(values) > 1:
            found.append(Differing(key, list(values.values())))
    return found


def rates_are_of_specs(runs: Sequence[Run]) -> bool:
    """Return whether each spec has one learning rate, and all came to theirs in the same way, each for itself."""
    ways = {repr([run.config.get("rates", {}).get(key) for key in ("how", "tried", "seed")]) for run in runs}
    pairs = {(run.label, run.config["asked"].get("learning_rate")) for run in runs}
    return len(ways) == 1 and "rates" in runs[0].config and len(pairs) == len({label for label, _ in pairs})


def rates_in_words(groups: Mapping[str, Sequence[Run]]) -> str:
    """Return how specs came to their learning rates, in a sentence or two; groups are runs by label."""
    runs = [run for members in groups.values() for run in members]
    rates = {label: _rate(members[0]) for label, members in groups.items()}
    each = ", ".join(f"{label} {rate}" for label, rate in rates.items())
    if not rates_are_of_specs(runs):
        if len(set(map(_rate, runs))) > 1:
            return f"The learning rates differ: {each}."
        return f"All specs had the same learning rate, {_rate(runs[0])}. It may suit some of them better than others."
    record = runs[0].config["rates"]
    if record["how"] == "given":
        return f"Each spec had a learning rate that was given for it: {each}."
    tried = sorted(record["tried"])
    sentence = (
        f"The learning rate of each spec was chosen from {listed([f'{rate:g}' for rate in tried])} by the "
        f"{runs[0].metric.name} on {record['images']:,} training images that were held out, with the seed "
        f"{record['seed']}: {each}."
    )
    for end, word, more in ((tried[0], "lowest", "lower"), (tried[-1], "highest", "higher")):
        if labels := [label for label, rate in rates.items() if rate == f"{end:g}"]:
            sentence += f" That of {listed(labels)} is the {word} that was tried; a {more} one may be better."
    return sentence


def _rate(run: Run) -> str:
    rate = run.config["asked"].get("learning_rate")
    if rate is None and run.config.get("network", {}).get("compiled"):
        return "that of the model's optimizer"
    return f"{rate or RECIPES['default'].learning_rate:g}"


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


def distinguishing(differing: Sequence[Differing]) -> list[Differing]:
    """Return what tells runs apart: without what follows from the recipe's name, and data that follow from theirs."""
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
        of_recipe = each.key in OF_RECIPE or each.key.startswith("recipe ")
        return each.key == RECIPE or not (of_recipe and follows(each, [RECIPE]))

    return [each for each in differing if is_news(each)]


def given_data(config: Mapping[str, Any]) -> str:
    """Return the name of data that were given to Python, "" if they were found by that of a data set or a file.

    The configuration has the default data set then; data of the same name cannot be told from it here.
    """
    name, dataset = config["data"]["name"], config["asked"]["dataset"]
    return name if dataset in (GIVEN, *list_datasets()) and name != dataset else ""


def calls_of(runs: Sequence[Run]) -> list[str]:
    """Return the calls on record that trained runs, each once; runs of earlier versions have none."""
    return list(dict.fromkeys(run.config["call"] for run in runs if run.config.get("call")))


def note_on_calls(runs: Sequence[Run]) -> str:
    """Return what to know before the calls of runs are made elsewhere: which data and paths are not there; or ""."""
    configs = [run.config for run in runs]
    given = dict.fromkeys(repr(name) for name in map(given_data, configs) if name)
    known = (GIVEN, *list_datasets())
    named = [config["asked"]["dataset"] for config in configs if config["asked"]["dataset"] not in known]
    paths = list(dict.fromkeys([*(c["data"]["data_dir"] for c in configs if c["data"].get("data_dir")), *named]))
    notes = []
    if given:
        notes.append(f"The data {listed(list(given))} were given to Python, so that no call can name them.")
    if paths:
        seen = "" if all(Path(path).is_absolute() for path in paths) else ", seen from the folder of the call"
        notes.append(f"{they_are(paths)} on the machine that trained the runs{seen}.")
    return " ".join(notes)
