"""The learning rate of each spec of a comparison: one for all, one for each, or chosen for each from several."""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfnorm.errors import RunError, TfnormError, nearest
from tfnorm.experiments.rows import value_of
from tfnorm.spec import format, parse
from tfnorm.text import listed
from tfnorm.training.folder import RunFolder
from tfnorm.training.runs import Run

#: What a comparison takes as ``learning_rate``.
RateSetting = float | Mapping[str, float] | Sequence[float] | None
# In a mapping, the rate of all specs that it does not name.
OTHERS = "others"
# The runs that rates are chosen by: their folder in that of the comparison, the file in it that says so, the share of
# the training images that they are evaluated on, and the first seed that may be theirs.
FOLDER, RECORD, HELD_OUT, FIRST_SEED = "rates", "rates.json", 0.2, 1000

_FORMS = "a number above 0, such a number for each spec, or several to choose from"


@dataclass(frozen=True)
class Rates:
    """The learning rates that were asked for."""

    every: float | None = None  # of each spec without one of its own; None for the recipe's
    own: Mapping[str, float] = field(default_factory=dict)
    tried: tuple[float, ...] = ()  # to choose from for each spec

    def of(self, spec: str) -> float | None:
        """Return the rate of a spec, the first one that is tried where one is to be chosen."""
        return self.tried[0] if self.tried else self.own.get(spec, self.every)

    @property
    def record(self) -> dict[str, Any] | None:
        """How the rates came about, for the record of a run; None for one rate."""
        return {"how": "given"} if self.own else None

    @property
    def mark(self) -> dict[str, Any]:
        """What distinguishes the default folder, nothing for one rate."""
        own = {**self.own, OTHERS: self.every} if self.own else {}
        return {"learning_rate": own or list(self.tried)} if own or self.tried else {}

    def check(self, specs: Iterable[str]) -> None:
        """Raise a TfnormError if a spec has a rate of its own and is not one of those that are compared."""
        specs = list(specs)
        for spec in self.own:
            if spec not in specs:
                guess = nearest(spec, specs)
                hint = f" Did you mean {guess!r}?" if guess else ""
                raise TfnormError(
                    f"`learning_rate` has a rate for {spec!r}, which is not compared.{hint} The specs are "
                    f"{listed(specs)}."
                )


def read_rates(given: Any) -> Rates:
    """Return the rates that a person asks for as a number, as a mapping of specs to numbers, or as several numbers.

    Example:
        >>> read_rates({"gn:8": 0.05, "others": 0.1}).of("bn"), read_rates([0.01, 0.1]).tried
        (0.1, (0.01, 0.1))
    """
    given = given.tolist() if hasattr(given, "tolist") else given
    if isinstance(given, Mapping):
        found: dict[str, float] = {}
        for key, rate in given.items():
            spec = key if key == OTHERS else format(parse(key))
            if spec in found:
                raise TfnormError(f"`learning_rate` has two rates for {spec!r}. Give one.")
            found[spec] = _number(rate, given)
        return Rates(every=found.pop(OTHERS, None), own=found)
    if isinstance(given, Sequence) and not isinstance(given, str):
        rates = tuple(_number(rate, given) for rate in given)
        if not rates or len(set(rates)) < len(rates):
            raise TfnormError(f"Rates to choose from must be different ones. Received: learning_rate={given!r}.")
        return Rates(tried=rates) if len(rates) > 1 else Rates(every=rates[0])
    return Rates(every=None if given is None else _number(given, given))


def _number(rate: Any, given: Any) -> float:
    if isinstance(rate, bool) or not isinstance(rate, numbers.Real) or not 0 < float(rate) < math.inf:
        raise TfnormError(f"`learning_rate` must be {_FORMS}. Received: learning_rate={given!r}.")
    return float(rate)


def rates_of_words(words: Sequence[str]) -> RateSetting:
    """Return what `read_rates` takes from the words of the command line.

    Example:
        >>> rates_of_words(["0.1", "gn:8+l1=1e-4=0.05"]), rates_of_words(["0.01,0.03"])
        ({'gn:8+l1=1e-4': 0.05, 'others': 0.1}, [0.01, 0.03])
    """
    own: dict[str, float] = {}
    plain: list[float] = []
    for word in words:
        spec, _, rate = word.rpartition("=")
        try:
            values = [float(part) for part in rate.split(",")]
        except ValueError:
            values = []
        if not values or (spec and len(values) > 1):
            raise TfnormError(
                "--learning-rate must be a number, SPEC=NUMBER, or several numbers such as 0.01,0.03,0.1. "
                f"Received: {word!r}."
            )
        if spec in own:
            raise TfnormError(f"--learning-rate has two rates for {spec!r}. Give one.")
        if spec:
            own[spec] = values[0]
        else:
            plain += values
    if own and len(plain) > 1:
        raise TfnormError(
            f"Either each spec has one rate, or one is chosen from several. Received: {' and '.join(words)}."
        )
    if own:
        return {**own, **({OTHERS: plain[0]} if plain else {})}
    return plain if len(plain) > 1 else plain[0] if plain else None


def free_seed(seeds: Iterable[int]) -> int:
    """Return the seed of the runs that rates are chosen by, which is none of a comparison's.

    Example:
        >>> free_seed([0, 1, 2]), free_seed([1000])
        (1000, 1001)
    """
    taken = set(seeds)
    return next(seed for seed in itertools.count(FIRST_SEED) if seed not in taken)


def chosen_rates(places: Mapping[str, Mapping[float, Path]]) -> dict[str, tuple[float, dict[str, Any]]]:
    """Return the best rate of each spec whose runs are finished, and how it was chosen, for the record.

    The best has the highest accuracy, or the best value of the metric, on the held-out images after the last epoch; of
    equal ones, the smallest loss.

    Args:
        places: Spec to rate to the folder of its run.

    Raises:
        RunError: If all runs of a spec diverged.
    """
    found: dict[str, tuple[float, dict[str, Any]]] = {}
    lost: list[str] = []
    for spec, folders in places.items():
        if not all(RunFolder(folder).finished for folder in folders.values()):
            continue
        runs = {rate: Run(folder) for rate, folder in folders.items()}
        reached = {rate: value_of(run, run.metric) for rate, run in runs.items()}
        ended = [rate for rate in runs if math.isfinite(reached[rate])]
        if not ended:
            lost.append(spec)
            continue
        losses = {rate: float(runs[rate].history["val_data_loss"].iloc[-1]) for rate in ended}
        first = next(iter(runs.values()))
        sign = first.metric.sign
        best = max(ended, key=lambda rate: (sign * reached[rate], -losses[rate]))
        found[spec] = (
            best,
            {
                "how": "chosen",
                "tried": list(runs),
                "reached": [value if math.isfinite(value) else None for value in reached.values()],
                "images": first.config["data"]["test_images"],
                "seed": first.seed,
            },
        )
    if lost:
        rates = listed([f"{rate:g}" for rate in next(iter(places.values()))])
        raise RunError(
            f"No learning rate can be chosen for {listed(lost)}: the runs with {rates} all diverged. Try lower ones, "
            "in another output folder."
        )
    return found
