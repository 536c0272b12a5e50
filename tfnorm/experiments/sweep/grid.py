"""A grid of runs from a TOML file, checked whole before anything starts.

::

    [settings]                  # what all runs share: arguments of TrainConfig
    dataset = "digits"
    epochs = 5                  # learning_rate may be one for each spec: { bn = 0.1, "gn:8" = 0.05, others = 0.02 }

    [grid]                      # every combination is a run; a single value need not be a list
    norm = ["bn", "gn:2", "ln"]
    l1 = [0, 1e-4]
    batch_size = { from = 16, to = 128, factor = 2 }
    learning_rate = { from = 0.05, to = 0.2, step = 0.05 }
    seeds = 3                   # or "auto": until each pair of specs is decided, for each combination of the others

    [[exclude]]                 # leaves out every combination that has all of these values
    norm = "ln"
    l1 = 1e-4

    [[include]]                 # adds one, the rest from [settings]
    norm = "none"
"""

from __future__ import annotations

import itertools
import json
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfnorm.errors import TfnormError, unknown
from tfnorm.experiments.plan import SEEDS_ARE, PlannedRun
from tfnorm.experiments.rates import read_rates
from tfnorm.experiments.sequential import MOST_SEEDS
from tfnorm.spec import format, parse, with_penalties
from tfnorm.training.config import OF_A_MODEL, RunSettings, TrainConfig, checked
from tfnorm.training.runs import slug

AXES = (
    "norm", "l1", "l2", "batch_size", "learning_rate", "arch", "model", "dropout", "epochs", "augmentation",
    "precision",
)  # fmt: skip
PENALTIES = ("l1", "l2")
MOST_RUNS = 100_000
# The setting that another one is checked with: where its data are, or the model that it is for.
OWNERS = {"dataset": "data_dir", "recipe": "model", **dict.fromkeys(OF_A_MODEL, "model")}

_TABLES = ("settings", "grid", "include", "exclude")
_RANGE = ("from", "to", "step", "factor")
_SHARED = [key for key in TrainConfig.model_fields if key in set(RunSettings.__annotations__) - {"norm", "seed"}]


def range_values(table: Mapping[str, Any]) -> list[int | float]:
    """Return the numbers from one to another, both included, each a step or a factor from the last; whole ones as int.

    Example:
        >>> range_values({"from": 16, "to": 128, "factor": 2}), range_values({"from": 0, "to": 1, "step": 0.5})
        ([16, 32, 64, 128], [0, 0.5, 1])
    """
    for key, value in table.items():
        if key not in _RANGE:
            raise TfnormError(unknown("key", key, _RANGE))
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise TfnormError(f"`{key}` must be a finite number. Received: {value!r}.")
    if not {"from", "to"} <= set(table) or len(table) != 3:
        raise TfnormError(f"a range needs `from`, `to`, and either `step` or `factor`. Received: {dict(table)!r}.")
    found: list[Any] = [table.get(key) for key in _RANGE]
    start, stop, step, factor = found
    if (step is not None and step <= 0) or (factor is not None and factor <= 1):
        raise TfnormError(f"`step` must be above 0, and `factor` above 1. Received: {dict(table)!r}.")
    if stop < start or (factor and start <= 0):
        rule = "a range goes from a smaller to a larger number, and with `factor` from above 0"
        raise TfnormError(f"{rule}. Received: {dict(table)!r}.")
    steps = math.log(stop / start) / math.log(factor) if factor else (stop - start) / step
    if steps >= MOST_RUNS:
        raise TfnormError(f"a range has at most {MOST_RUNS:,} numbers. Received: {dict(table)!r}.")
    places = range(int(steps * (1 + 1e-9)) + 1)  # so that 0.1 + 0.1 + 0.1 reaches 0.3
    numbers = [start * factor**place if factor else start + place * step for place in places]
    return [int(round(n)) if abs(n - round(n)) < 1e-9 else float(f"{n:.12g}") for n in numbers]


def axes_of(points: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the axes of the points of runs: norm, and the others that have several values."""
    # As JSON, so that 1 and 1.0, and 1 and True, are different.
    return varied([{axis: json.dumps(point.get(axis)) for axis in AXES} for point in points])


def varied(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return norm, and the other axes that have several values.

    Example:
        >>> varied([{"norm": "bn", "l1": 0, "l2": 0}, {"norm": "bn", "l1": 0, "l2": 1e-4}])
        ['norm', 'l2']
    """
    axes = points[0] if points else ()
    return [axis for axis in axes if axis == "norm" or len({point.get(axis) for point in points}) > 1]


def axis_values(run: PlannedRun, axes: Iterable[str]) -> dict[str, Any]:
    """Return the value of each axis for a planned run; that of "norm" is the spec with its penalties."""
    values = {**run.config.model_dump(mode="json"), **run.point, "norm": run.config.norm}
    return {axis: values.get(axis) for axis in axes}


def load_grid(path: str | Path) -> list[PlannedRun]:
    """Read a grid file and return its runs, norm by norm, each once and checked, without importing Keras.

    Raises:
        TfnormError: With a sentence for every mistake in the file: its key, what was received and what is allowed.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        reason = f"{error.strerror}. Give the path of a TOML file."
        raise TfnormError(f"The grid file {path} cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise TfnormError(f"The grid file {path} is not text in UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise TfnormError(f"The grid file {path} is not TOML: {error}.") from None
    return plan_grid(content, where=str(path))


def plan_grid(content: Mapping[str, Any], *, where: str = "grid") -> list[PlannedRun]:
    """Return the runs of a grid given as a mapping; see `load_grid`.

    Example:
        >>> runs = plan_grid({"grid": {"norm": ["bn", "ln"], "batch_size": [32, 64], "seeds": 1}})
        >>> [str(run.folder) for run in runs][:2]
        ['bn/batch_size-32/seed-0', 'bn/batch_size-64/seed-0']
    """
    problems: list[str] = [unknown("table", key, _TABLES) for key in content if key not in _TABLES]
    grid = dict(_table("grid", content, problems))
    settings = _settings(_table("settings", content, problems), grid, problems)
    seeds = _seeds(grid.pop("seeds", 3), problems)
    included, excluded = (_points(word, content, problems) for word in ("include", "exclude"))
    axes = _axes(grid, settings, problems)
    if "norm" not in grid and (grid or not included):
        problems.append("[grid] `norm` is missing. Give at least one spec, such as norm = ['bn', 'gn:2'].")
    size = math.prod(map(len, axes.values())) * max(len(seeds), 1)
    if size > MOST_RUNS:
        problems.append(f"[grid] has {size:,} runs. Use at most {MOST_RUNS:,}.")
        axes = {}
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())] if axes else []
    if not problems:  # else a value that was left out may be the one that is meant
        unmatched = [table for table in excluded if not any(_has(point, table) for point in points)]
        problems += [f"[[exclude]] {_written(table)} matches no combination." for table in unmatched]
    points = [point for point in points if not any(_has(point, table) for table in excluded)]
    sources = [*(("[grid]", point) for point in points), *(("[[include]]", point) for point in included)]
    configs = list(_configs(sources, settings, problems))
    if not configs and not problems:
        problems.append("[[exclude]] leaves no combination. Exclude fewer.")
    if problems:
        raise TfnormError("\n".join(f"{where}: {problem}" for problem in dict.fromkeys(problems)))
    return list(_runs(configs, seeds))


def _table(word: str, content: Mapping[str, Any], problems: list[str]) -> Mapping[str, Any]:
    table = content.get(word, {})
    if isinstance(table, Mapping):
        return table
    problems.append(f"`{word}` must be a table, written [{word}]. Received: {table!r}.")
    return {}


def _settings(table: Mapping[str, Any], grid: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Return the settings that are good by themselves, or beside the one that they belong to."""
    settings: dict[str, Any] = {}
    models = grid.get("model")
    beside = {"model": models[0] if isinstance(models, list | tuple) and models else models, **table}
    for key, value in sorted(table.items(), key=lambda item: item[0] in OWNERS):
        if key not in _SHARED:
            problems.append(f"[settings] {unknown('setting', key, _SHARED)}")
            continue
        owner = OWNERS.get(key)
        if owner in table and owner not in settings:
            continue  # what it belongs to is wrong already
        others = {owner: beside[owner]} if owner and beside.get(owner) is not None else {}
        if _good("[settings]", key, value, problems, **others):
            settings[key] = value
    return settings


def _good(where: str, key: str, value: Any, problems: list[str], **others: Any) -> bool:
    """Return whether one value is good by itself. If not, add the problem."""
    try:
        if key in PENALTIES:
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
                raise TfnormError(f"must be a finite number of at least 0. Received: {value!r}.")
        elif key == "norm":
            parse(value)
        elif key == "learning_rate" and isinstance(value, Mapping):
            read_rates(value)
        elif key == "freeze_epochs":
            pass  # each combination is checked with its layer
        else:
            checked(TrainConfig, {"norm": "none", **others, key: value})
    except TfnormError as error:
        problems.append(f"{where} `{key}`: {str(error).removeprefix(f'`{key}`: ')}")
        return False
    return True


def adds_seeds(content: Mapping[str, Any]) -> bool:
    """Return whether a grid has its seeds added until it is decided."""
    return bool(_table("grid", content, []).get("seeds") == "auto")


def _seeds(value: Any, problems: list[str]) -> list[int]:
    plain: Any = value.tolist() if hasattr(value, "tolist") else value  # of NumPy
    if isinstance(plain, str) and plain == "auto":
        plain = MOST_SEEDS
    numbers = range(min(plain, MOST_RUNS + 1)) if type(plain) is int and plain > 0 else plain
    good = isinstance(numbers, list | tuple | range) and all(type(n) is int and 0 <= n < 2**31 for n in numbers)
    if not good or not numbers:
        problems.append(f"[grid] `seeds` must be {SEEDS_ARE}. Received: {value!r}.")
        return []
    return list(dict.fromkeys(numbers))


def _axes(grid: Mapping[str, Any], settings: Mapping[str, Any], problems: list[str]) -> dict[str, list[Any]]:
    """Return the values of each axis that are good by themselves; an axis without any is left out."""
    axes = {}
    for key, value in grid.items():
        if key not in AXES:
            problems.append(f"[grid] {unknown('axis', key, [*AXES, 'seeds'])}")
            continue
        if key in settings:
            problems.append(f"[grid] `{key}` is in [settings] too. Set it in one place.")
        values = [v for v in _values(key, value, problems) if _good("[grid]", key, v, problems)]
        if values:
            axes[key] = values
    return axes


def _values(key: str, value: Any, problems: list[str]) -> list[Any]:
    """Return the values of an axis; single ones need not be lists."""
    if isinstance(value, dict):
        try:
            return list(range_values(value))
        except TfnormError as error:
            problems.append(f"[grid] `{key}`: {error}")
            return []
    if hasattr(value, "tolist"):
        value = value.tolist()  # NumPy's
    values = list(value) if isinstance(value, list | tuple) else [value]
    if not values:
        problems.append(f"[grid] `{key}` is an empty list. Give at least one value.")
    return values


def _points(word: str, content: Mapping[str, Any], problems: list[str]) -> list[dict[str, Any]]:
    """Return the tables of [[include]] or [[exclude]] that are good by themselves."""
    tables = content.get(word, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        problems.append(f"`{word}` must be tables of values, each written [[{word}]]. Received: {tables!r}.")
        return []
    good = []
    for table in tables:
        before = len(problems)
        if not table:
            problems.append(f"[[{word}]] is empty. Give at least one value, such as norm = 'bn'.")
        for key, value in table.items():
            if key in AXES:
                _good(f"[[{word}]]", key, value, problems)
            else:
                problems.append(f"[[{word}]] {unknown('axis', key, AXES)}")
        if len(problems) == before:
            good.append(table)
    return good


def _has(point: Mapping[str, Any], table: Mapping[str, Any]) -> bool:
    """Return whether a combination has all values of a table; specs are compared by what they mean."""
    return all(
        key in point and (parse(point[key]) == parse(value) if key == "norm" else point[key] == value)
        for key, value in table.items()
    )


def _written(table: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value!r}" for key, value in table.items())


def _configs(
    sources: Iterable[tuple[str, Mapping[str, Any]]], settings: Mapping[str, Any], problems: list[str]
) -> Iterator[tuple[TrainConfig, dict[str, Any]]]:
    """Yield configuration and values of each combination that can be built, each configuration once."""
    seen: set[str] = set()
    reported: set[str] = set()
    specs: set[str] = set()
    rate = settings.get("learning_rate")
    rates = read_rates(rate) if isinstance(rate, Mapping) else None
    for where, point in sources:
        try:
            penalties = {key: point[key] for key in PENALTIES if key in point}
            spec = format(with_penalties(parse(point.get("norm", "none")), **penalties))
            values = {**settings, **{key: value for key, value in point.items() if key not in ("norm", *PENALTIES)}}
            if rates is not None:
                plain = format(parse(point.get("norm", "none")))
                specs.update((spec, plain))
                values |= {"learning_rate": rates.own.get(spec, rates.of(plain)), "rates": rates.record}
            config = checked(TrainConfig, {**values, "norm": spec}).resolved()
            config.plan()
        except TfnormError as error:
            if str(error) not in reported:  # an axis that has no part in it would repeat it for each of its values
                reported.add(str(error))
                shown = {key: value for key, value in point.items() if key in ("norm", "arch", "model", *PENALTIES)}
                problems.append(f"{where} {_written(shown) + ': ' if shown else ''}{error}")
            continue
        key = config.model_dump_json()
        if key not in seen:
            seen.add(key)
            # As the configuration has them, so that 16 and 16.0 are one value with one folder.
            has = {key: getattr(config, "arch" if key == "model" else key) for key in AXES if key not in PENALTIES}
            yield config, {key: point[key] if key in PENALTIES else has[key] for key in AXES if key in point}
    if rates is not None and not problems:
        try:
            rates.check(sorted(specs))
        except TfnormError as error:
            problems.append(f"[settings] {error}")


def _runs(configs: list[tuple[TrainConfig, dict[str, Any]]], seeds: list[int]) -> Iterator[PlannedRun]:
    """Yield the runs of each configuration, one a seed."""
    several = [axis for axis in axes_of(point for _, point in configs) if axis not in ("norm", *PENALTIES)]
    for config, point in configs:
        rest = [f"{axis}-{slug(str(point[axis]))}" for axis in several if point.get(axis) is not None]
        place = Path(slug(config.norm), *(["_".join(rest)] if rest else []))
        for seed in seeds:
            yield PlannedRun(place / f"seed-{seed}", config.model_copy(update={"seed": seed}), point)
