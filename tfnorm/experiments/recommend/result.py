"""What a search and its confirmation say: a sentence, the setting to train, and the files."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from tfnorm.experiments.recommend.confirm import Contest, names_of
from tfnorm.experiments.recommend.plan import SEARCH_SEED, YOURS, RecommendPlan
from tfnorm.experiments.recommend.search import Trial, importance, open_study, trials_of
from tfnorm.experiments.recommend.space import words_of
from tfnorm.experiments.recommend.state import State
from tfnorm.experiments.rows import mean
from tfnorm.experiments.sequential import Decisions, Pair
from tfnorm.experiments.statistics import Look
from tfnorm.metrics.metric import Metric
from tfnorm.models.sources import Source
from tfnorm.text import counted, listed
from tfnorm.training.config import default_of
from tfnorm.training.recipe.file import write_settings
from tfnorm.training.recipe.recipes import RECIPES, Recipe
from tfnorm.training.records import write_json
from tfnorm.training.runs import Run

RECIPE, RECORD = "recipe.toml", "recommendation.json"


class Recommendation:
    """Which setting to train, as `tfnorm.recommend` returns it.

    Attributes:
        path: The folder of all files.
    """

    def __init__(self, plan: RecommendPlan, state: State) -> None:
        self.plan, self.path, self.seconds = plan, plan.folder, state.used
        self.contest = Contest(plan, names_of(state.candidates or (), plan.baseline))
        self.test = Contest(
            plan, {name: self.contest.settings[name] for name in dict.fromkeys((YOURS, self.name))}, None
        )

    def __repr__(self) -> str:
        return f"Recommendation in {str(self.path)!r}\n{self.sentence}"

    @cached_property
    def decisions(self) -> Decisions:
        """What the race decided, after its last complete round."""
        return self.contest.race().decisions

    @cached_property
    def values(self) -> Look:
        """The values of the confirmation, by name and seed, in the unit of tables."""
        return self.contest.values()

    @cached_property
    def metric(self) -> Metric:
        """What is compared, with as many decimals as its values need."""
        return self.contest.metric.fitted(value for seeds in self.values.values() for value in seeds.values())

    @cached_property
    def against_yours(self) -> dict[str, Pair]:
        """What is known of the difference between the present setting and each other one, by name."""
        pairs = {frozenset((pair.first, pair.second)): pair for pair in self.decisions.pairs}
        return {name: pairs[frozenset((name, YOURS))] for name in self.contest.settings if name != YOURS}

    @cached_property
    def name(self) -> str:
        """The name of what to take; `YOURS` if nothing is shown to be better.

        Where the present setting diverged, and its runs have no value to compare, it is the best one that never did.
        """
        ended = [name for name in self.against_yours if self.decisions.out.get(name) != ""]
        lost = self.decisions.out.get(YOURS) == ""
        better = [name for name in ended if lost or self._beats(name)]
        return max(better, key=lambda name: self._merit(self.values[name]), default=YOURS)

    def ends(self, name: str) -> tuple[float, float]:
        """Return the ends of the interval of a setting minus the present one, cut at what differences there can be."""
        pair, (least, most) = self.against_yours[name], self.metric.ends
        sign = 1 if pair.first == name else -1
        low, high = sorted((sign * pair.low, sign * pair.high))
        return max(low, least - most), min(high, most - least)

    def _beats(self, name: str) -> bool:
        pair = self.against_yours[name]
        return pair.outcome == "better" and pair.better == name

    def _merit(self, seeds: Mapping[int, float]) -> float:
        return self.contest.metric.sign * mean(list(seeds.values()))

    @property
    def better(self) -> bool:
        """Whether a setting is shown to be better than the present one."""
        return self.name != YOURS

    @property
    def setting(self) -> Mapping[str, Any]:
        """What to train with, in place of entries of the shared settings."""
        return self.contest.settings[self.name]

    def words(self, name: str) -> str:
        """Return a setting in words."""
        return words_of(dict(self.plan.config(self.contest.settings[name])))

    @property
    def sentence(self) -> str:
        """Which setting to take, and why."""
        if not self.better:
            return self._keep()
        never = "on images and seeds that the search never saw"
        pair = self.against_yours[self.name]
        if not self._beats(self.name):
            lost = sum(run.status != "finished" for run in self.contest.runs[YOURS])
            runs = counted([len(self.contest.runs[YOURS])], "run")
            return f"Take {self.words(self.name)}: your present setting diverged in {lost} of {runs}, {never}."
        least, most = sorted(map(abs, self.ends(self.name)))
        by = f"{self.metric.difference(abs(pair.mean))} ({self.metric.number(least)} to {self.metric.number(most)})"
        return f"Take {self.words(self.name)}: it beats your present setting by {by} {never}."

    def _keep(self) -> str:
        pairs, margin = self.against_yours.values(), self.metric.difference(self.contest.margin)
        undecided = [pair for pair in pairs if pair.outcome == "undecided"]
        if not pairs:
            return "Keep yours: the search found nothing else to confirm."
        if not undecided:
            return f"Keep yours: nothing found is better by more than the margin of {margin}."
        nearest = max(undecided, key=lambda pair: self._merit(self.values[_other(pair)]))
        words, by = self.words(_other(nearest)), self.metric.difference(abs(nearest.mean))
        after = f"by {by} after {counted([nearest.seeds], 'seed')}"
        if nearest.better == YOURS:
            return f"Keep yours: nothing found is shown to be better. The nearest, {words}, is behind {after}."
        needed = "" if nearest.needed is None else f", and about {nearest.needed} would probably decide"
        return f"Keep yours: nothing found is shown to be better. {words} leads {after}{needed}."

    @property
    def on_test(self) -> str:
        """What the test set, which was used once, says of the setting and of the present one."""
        runs, values, parts = self.test.runs, self.test.values(), []
        for name in reversed(list(runs)):
            who = "your present setting" if name == YOURS else "the new setting"
            lost = sum(run.status != "finished" for run in runs[name])
            reached = f"{self.metric.with_spread(*mean_and_spread(values[name].values()))}{self.metric.unit}"
            parts.append(f"{who} reaches {reached}{f' ({lost} diverged)' if lost else ''}")
        images = runs[YOURS][0].config["data"]["test_images"]
        seeds = counted(map(len, runs.values()), "seed")
        return f"On the {images:,} test images, used once and for no decision, {listed(parts)} (mean over {seeds})."

    @cached_property
    def trials(self) -> list[Trial]:
        """The runs of the search, in their order."""
        return trials_of(self.plan, self._study)

    @cached_property
    def importance(self) -> dict[str, float]:
        """The share of the variance of the values of the search that each setting explains."""
        return importance(self._study)

    @cached_property
    def _study(self) -> Any:
        return open_study(self.plan)

    @property
    def search_images(self) -> int:
        """How many images scored the search."""
        ended = next(trial for trial in self.trials if trial.state == "finished")
        return Run(self.path / ended.folder).config["data"]["test_images"]

    @property
    def about_search(self) -> str:
        """How many runs the search had, and what became of them."""
        states = Counter(trial.state for trial in self.trials)
        pruned = [f"{states[word]} {word}" for word in ("pruned", "diverged", "failed") if states[word]]
        others = f", {listed(pruned)}" if pruned else ""
        return f"Searched {counted([len(self.trials)], 'run')} with the seed {SEARCH_SEED}{others}."

    @property
    def command(self) -> str:
        """The call that trains the setting."""
        file = str(self.path / RECIPE)
        config = self.plan.config(self.setting)
        given = {"model": config.model, "dataset": config.dataset}  # an object in Python has no text
        unknown = [f"{key}=..." for key, value in given.items() if getattr(value, "text", "") is None]
        unknown += ["data=..."] if self.plan.data is not None else []
        if unknown:
            return f"tfnorm.train(recipe={file!r}, {', '.join(unknown)})"
        return f"tfnorm train --recipe {shlex.quote(file)}"

    def recipe(self) -> dict[str, Any]:
        """Return the settings of the file ``recipe.toml``."""
        given = {**self.plan.settings, **self.setting}
        config = self.plan.config(self.setting)
        network = {"model": given.get("model")} if config.model is not None else {"arch": config.arch}
        order = ("norm", "learning_rate", "batch_size", "dropout")
        first = {key: given[key] for key in order if key in given}
        dataset = getattr(config.dataset, "text", config.dataset)
        data = {} if self.plan.data is not None else {"dataset": dataset}
        told = ("model", "arch", "dataset", "imports", *order)
        rest = {key: value for key, value in given.items() if key not in told and value != default_of(key)}
        imports = {"imports": list(config.model.imports)} if config.model is not None and config.model.imports else {}
        return {key: _plain(value) for key, value in (first | network | data | rest | imports).items()}

    @property
    def record(self) -> dict[str, Any]:
        """What ``recommendation.json`` says."""
        sizes = self.contest.every[0].config["data"]
        pairs = [
            {
                "first": pair.first, "second": pair.second, "seeds": pair.seeds, "outcome": pair.outcome,
                **{key: _finite(getattr(pair, key)) for key in ("mean", "low", "high", "at_most")},
            }
            for pair in self.decisions.pairs
        ]  # fmt: skip
        return {
            "sentence": self.sentence, "on_test": self.on_test, "command": self.command, "better": self.better,
            "taken": self.name, "words": {name: self.words(name) for name in self.contest.settings},
            "margin": self.contest.margin, "metric": self.metric.column,
            "images": {
                "trained_on": sizes["train_images"], "search": self.search_images, "confirmation": sizes["test_images"],
            },
            "confirmation": {"values": _values(self.values), "pairs": pairs},
            "test": {"values": _values(self.test.values())},
            "search": {
                "seed": SEARCH_SEED, "space": vars(self.plan.space),
                "states": dict(Counter(trial.state for trial in self.trials)), "importance": self.importance,
            },
            "seconds": round(self.seconds),
        }  # fmt: skip

    def save(self) -> None:
        """Write ``recipe.toml`` and ``recommendation.json``."""
        write_settings(self.path / RECIPE, self.recipe(), f"{self.sentence}\nTrain it with: {self.command}")
        write_json(self.path / RECORD, self.record)


def _other(pair: Pair) -> str:
    return pair.second if pair.first == YOURS else pair.first


def _plain(value: Any) -> Any:
    """Return a setting as TOML has it, None if it has no text."""
    if isinstance(value, Source):
        return None if value.text is None else value.portable_text
    if isinstance(value, Recipe):
        known = value.name in RECIPES and RECIPES[value.name] == value
        return value.name if known else value.model_dump(mode="json", exclude_defaults=True)
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _values(look: Look) -> dict[str, dict[str, float | None]]:
    return {name: {str(seed): _finite(value) for seed, value in seeds.items()} for name, seeds in look.items()}


def mean_and_spread(values: Iterable[float]) -> tuple[float, float]:
    """Return mean and standard deviation (n - 1) of the values that are finite."""
    found = [value for value in values if math.isfinite(value)]
    center = mean(found)
    spread = math.sqrt(math.fsum((v - center) ** 2 for v in found) / (len(found) - 1)) if found[1:] else math.nan
    return center, spread
