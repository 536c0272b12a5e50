"""What a recommendation searches, confirms and tests, checked before anything is trained."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from tfnorm.datasets import Dataset
from tfnorm.datasets.dataset import Part
from tfnorm.errors import RunError, TfnormError, whole_number
from tfnorm.experiments.plan import Plan, PlannedRun, check_margin, read_budget
from tfnorm.experiments.recommend.space import (
    DROPOUT,
    RATE_ABOVE,
    RATE_BELOW,
    Bounds,
    Space,
    Values,
    norms_to_try,
    read_bounds,
    read_values,
)
from tfnorm.experiments.sequential import FIRST_LOOK, MOST_SEEDS
from tfnorm.metrics.known import known_metric, split_name
from tfnorm.spec import NormSpec, format, parse
from tfnorm.training.config import ONLY_RECORDED, RUNS, SearchSettings, TrainConfig, checked, default_name
from tfnorm.training.folder import READING, SPELLING, check_place
from tfnorm.training.provenance import python_call
from tfnorm.training.recipe.file import is_settings_file, read_settings
from tfnorm.training.records import read_json

#: What a person's present setting may be given as.
Baseline = str | Path | NormSpec | Mapping[str, Any] | TrainConfig | None

# Files in the folder.
PLAN, STATE = "plan.json", "state.json"
# The share of the training images in each of the two parts that are held out, and the time unless one is given.
HELD_OUT, BUDGET = 0.2, "20m"
# How many settings are confirmed beside the present one, and how many runs the search has at least.
CANDIDATES, LEAST_SEARCHED = 3, 5
# No seed is used twice.
SEARCH_SEED, CONFIRMATION_SEEDS, TEST_SEEDS = 1000, range(2000, 2000 + MOST_SEEDS), (0, 1, 2)
YOURS = "yours"


@dataclass(frozen=True)
class RecommendPlan:
    """A search and its confirmation, checked."""

    folder: Path
    norms: tuple[str, ...] | None  # as they were asked for
    space: Space
    own: Mapping[str, Any]  # what of the space was asked for
    baseline: Mapping[str, Any]  # the present setting, in place of entries of `settings`
    settings: Mapping[str, Any]  # what all runs share
    share: float  # of the training images in each of the two held-out parts
    seconds: float | None  # the budget; None for none
    runs: int | None  # the same in runs
    margin: float | None
    jobs: int | None = None
    data: Dataset | None = None
    call: str | None = None

    def config(self, setting: Mapping[str, Any], part: Part | None = None, seed: int = SEARCH_SEED) -> TrainConfig:
        """Return the configuration of a run, scored on a part of the training images, or on the test images."""
        where = {"holdout": self.share, "holdout_part": part} if part else {"holdout": 0.0}
        return checked(TrainConfig, {**self.settings, **setting, **where, "seed": seed, "call": self.call}).resolved()

    @property
    def searched_runs(self) -> int | None:
        """The most runs of the search: half of those that are not for the test; None for any number."""
        return None if self.runs is None else max(LEAST_SEARCHED, (self.runs - 2 * len(TEST_SEEDS)) // 2)

    @property
    def confirmed_runs(self) -> int | None:
        """The most runs of the confirmation."""
        rest = None if self.runs is None or self.searched_runs is None else self.runs - self.searched_runs
        return None if rest is None else rest - 2 * len(TEST_SEEDS)

    @property
    def asked(self) -> dict[str, Any]:
        """What makes the search this search, as JSON has it."""
        found = self.config({"norm": self.space.norms[0]}, "search").asked()
        yours = self.config(self.baseline, "search").asked()
        kept = {key: value for key, value in found.items() if key not in (*SPELLING, "norm", "seed")}
        space = {key: list(value) if isinstance(value, tuple) else value for key, value in self.own.items()}
        norms = None if self.norms is None else list(self.norms)
        present = {key: value for key, value in yours.items() if found.get(key) != value or key == "norm"}
        return {"settings": kept, "norms": norms, "space": space, "baseline": present}

    def check_folder(self) -> None:
        """Raise a RunError if the folder holds another search."""
        check_place(self.folder)
        if not (self.folder / PLAN).exists():
            return
        there, now = read_json(self.folder / PLAN, {"asked": {}})["asked"], self.asked
        differing = [key for key in now if there.get(key) != now[key]]
        if differing:
            raise RunError(
                f"The folder {self.folder} holds a search with other {differing[0]}: {there.get(differing[0])} there "
                f"and {now[differing[0]]} now. Choose another output folder."
            )

    def fitted(self, data: Dataset) -> RecommendPlan:
        """Return the plan with the norms and the learning rates that suit a model of one's own, which is made for it.

        Raises:
            TfnormError: If a norm that was asked for, or the present setting, does not fit the model.
        """
        from tfnorm.training.network.network import check_networks  # start-up

        yours = self.config(self.baseline, "search")
        made = check_networks([yours], data)
        if yours.model is None:
            return self

        def fits(norm: str) -> str:
            try:
                made.update(check_networks([self.config({"norm": norm}, "search")], data))
            except TfnormError as error:
                return str(error)
            groups, variant = parse(norm).groups, made[norm].variant
            if groups and variant is not None and all(change.groups != groups for change in variant.changes):
                return f"No layer of {yours.arch} has channels for {norm!r}, {groups} groups. Use fewer groups."
            return ""

        norms = norms_to_try(self.norms, fits, own_model=True)
        space = replace(self.space, norms=norms)
        plain = next((norm for norm in norms if norm != "keep" and not norm.startswith("bn:frozen")), None)
        if "ws" not in self.own and (plain is None or fits(f"{plain}+ws")):
            space = replace(space, ws=(False,))
        network = made.get(norms[0])
        recipe = self.config({"norm": norms[0]}, "search").recipe
        if "learning_rate" not in self.own and recipe.learning_rate is None:
            compiled = network is not None and network.compiled
            rate = float(network.model.optimizer.learning_rate) if network is not None and compiled else None
            space = replace(space, learning_rate=around(rate or 0.1))
        return replace(self, space=space)


def around(rate: float) -> tuple[float, float]:
    """Return the bounds of the learning rates that are searched, around a usual one.

    Example:
        >>> around(0.1)
        (0.0033, 1.0)
    """
    return float(f"{rate / RATE_BELOW:.2g}"), float(f"{rate * RATE_ABOVE:.2g}")


def plan_recommendation(
    norms: Iterable[str | NormSpec] | str | None = None,
    *,
    baseline: Baseline = None,
    budget: str | None = None,
    runs: int | None = None,
    margin: float | None = None,
    learning_rate: Bounds | None = None,
    batch_size: Values | None = None,
    dropout: Bounds | None = None,
    l1: Values | None = None,
    l2: Values | None = None,
    ws: bool | None = None,
    out: str | Path | None = None,
    jobs: int | None = None,
    data: Dataset | None = None,
    call: str | None = None,
    **settings: Unpack[SearchSettings],
) -> RecommendPlan:
    """Return the checked plan of a recommendation, without importing Keras; see `tfnorm.recommend` for the arguments.

    Raises:
        TfnormError: If Optuna is missing, or if an argument, a setting or the folder cannot be used.
    """
    if importlib.util.find_spec("optuna") is None:
        raise TfnormError("optuna, which searches, is not installed. Run: pip install 'tfnorm[search]'.")
    call = call or python_call(
        "tfnorm.recommend", norms, baseline=baseline, budget=budget, runs=runs, margin=margin,
        learning_rate=learning_rate, batch_size=batch_size, dropout=dropout, l1=l1, l2=l2, ws=ws, out=out, jobs=jobs,
        data=data, **settings,
    )  # fmt: skip
    common: dict[str, Any] = dict(settings)
    for word in ("seed", "norm"):
        if word in common:
            raise TfnormError(f"`{word}` belongs to one run. A search has seeds and norms of its own.")
    share = common.pop("holdout", None) or HELD_OUT
    if not isinstance(share, int | float) or not 0 < share < 0.5:
        raise TfnormError(
            "`holdout` is the share of the training images in each of two held-out parts, above 0 and below 0.5. "
            f"Received: holdout={share!r}."
        )
    asked = None if norms is None else tuple(map(str, [norms] if isinstance(norms, str | NormSpec) else norms))
    model = common.get("model") is not None
    reference = checked(TrainConfig, {**common, "norm": "keep" if model else "none"})
    if model:
        common["model"] = reference.model
    if model and dropout is not None:
        raise TfnormError(
            f"`dropout` is a setting of tfnorm's own architectures. Received: dropout={dropout!r} with the model "
            f"{reference.arch!r}. Set it in your model."
        )

    def fits(norm: str) -> str:
        try:
            checked(TrainConfig, {**common, "norm": norm}).plan()
        except TfnormError as error:
            return str(error)
        return ""

    readers: dict[str, tuple[Any, Callable[[Any], tuple[Any, ...]]]] = {
        "learning_rate": (learning_rate, lambda v: read_bounds("learning_rate", v, "above 0", lambda rate: rate > 0)),
        "dropout": (dropout, lambda v: read_bounds("dropout", v, "of at least 0 and below 1", lambda r: 0 <= r < 1)),
        "batch_size": (batch_size, lambda v: read_values("batch_size", v, whole=True)),
        "l1": (l1, lambda v: read_values("l1", v)),
        "l2": (l2, lambda v: read_values("l2", v)),
        "ws": (ws, lambda v: (bool(v),)),
    }
    own = {key: read(value) for key, (value, read) in readers.items() if value is not None}
    usual = reference.recipe.learning_rate
    defaults: dict[str, Any] = {
        "learning_rate": None if usual is None else around(usual),
        "dropout": None if model else DROPOUT,
    }
    space = Space(norms_to_try(asked, fits, own_model=model), **{**defaults, **own})
    present = _read_baseline(baseline, model)
    if budget is None and runs is None:
        budget = BUDGET
    seconds = read_budget(budget)
    least = LEAST_SEARCHED + FIRST_LOOK * (1 + CANDIDATES) + 2 * len(TEST_SEEDS)
    if runs is not None and whole_number("runs", runs) < least:
        raise TfnormError(
            f"`runs` must be at least {least}: {LEAST_SEARCHED} to search, {FIRST_LOOK * (1 + CANDIDATES)} to confirm "
            f"{CANDIDATES} settings beside yours, and {2 * len(TEST_SEEDS)} on the test set. Received: runs={runs}."
        )
    known = known_metric(split_name(reference.metric or "accuracy")[0])
    check_margin(margin, known[0] if known else None)
    given: dict[str, Any] = {**own, "norms": asked} if asked else dict(own)
    given |= {"baseline": {key: str(value) for key, value in present.items()}} if baseline is not None else {}
    name = default_name(reference, **({"recommend": given} if given else {}))
    plan = RecommendPlan(
        Path(out or RUNS / f"recommend-{name}"), asked, space, own, present, common, share,
        seconds, runs, margin, jobs, data, call,
    )  # fmt: skip
    _check_baseline(plan)
    plan.check_folder()
    Plan(plan.folder, [PlannedRun(Path(), reference, {})], here=jobs is None, jobs=jobs, data=data, margin=margin)
    return plan


def _read_baseline(given: Baseline, model: bool) -> dict[str, Any]:
    """Return the present setting of a person: a norm spec with what else differs from the shared settings."""
    if given is None:
        return {"norm": "keep" if model else "bn"}
    if is_settings_file(given):
        found = read_settings(given)
    elif isinstance(given, TrainConfig):
        found = {key: getattr(given, key) for key in given.model_fields_set if key not in ONLY_RECORDED}
    elif isinstance(given, Mapping):
        found = dict(given)
    else:
        found = {"norm": given}
    if "norm" not in found:
        raise TfnormError(f"The baseline names no norm. Received: {found}. Add one, such as norm='bn'.")
    found["norm"] = format(parse(found["norm"]))
    return {key: value for key, value in found.items() if key not in ("seed", "holdout")}


def _check_baseline(plan: RecommendPlan) -> None:
    """Raise a TfnormError if the present setting cannot be trained, or is one of another network or other data."""
    yours, ours = plan.config(plan.baseline, "search"), plan.config({"norm": plan.space.norms[0]}, "search")
    yours.plan()
    for what in ("arch", "model_hash", "metric", "dataset", "data_dir", "image_size", *READING):
        if (there := getattr(yours, what)) != (here := getattr(ours, what)):
            raise TfnormError(
                "The baseline must be a setting of the network and the data that are searched. Received: "
                f"{what}={there!r} there and {what}={here!r} here. Give both the same."
            )
