"""The files of a sweep: its grid and the record of its runs."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from tfnorm.errors import RunError
from tfnorm.experiments.plan import PlannedRun
from tfnorm.experiments.sweep.grid import PENALTIES, axes_of, plan_grid
from tfnorm.spec import NormSpec
from tfnorm.training.config import TrainConfig
from tfnorm.training.folder import ASKED, RunFolder
from tfnorm.training.recipe.recipes import RECIPES, Recipe
from tfnorm.training.records import mend, read_json, write_json
from tfnorm.training.runs import Run

GRID = "grid.toml"
RECORD = "sweep.json"


def grid_text(grid: Mapping[str, Any]) -> str:
    """Return a grid given as a mapping, which `plan_grid` accepts, as the text of a TOML file.

    TOML has no None. If it is among the values of an axis, each combination becomes an entry of ``include``.

    Example:
        >>> print(grid_text({"settings": {"epochs": 2}, "grid": {"norm": ["bn", "ln"]}}), end="")
        [settings]
        epochs = 2
        <BLANKLINE>
        [grid]
        norm = [
            "bn",
            "ln",
        ]
    """
    axes = grid.get("grid", {})
    if any(isinstance(value, list) and None in value for value in axes.values()):
        points = {run.folder.parent: run.point for run in plan_grid(grid)}
        grid = {"settings": grid.get("settings", {}), "grid": {"seeds": axes.get("seeds", 3)}}
        grid["include"] = list(points.values())
    return tomli_w.dumps(_plain(grid))


def _plain(value: Any) -> Any:
    """Return a value in types that TOML has, without the entries that are None."""
    if isinstance(value, Recipe):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path | NormSpec):
        return str(value)
    return value.item() if hasattr(value, "item") else value


def is_sweep(folder: str | Path) -> bool:
    """Return whether a folder is that of a sweep."""
    return (Path(folder) / RECORD).exists()


def write_record(
    folder: Path, planned: Sequence[PlannedRun], threads: int, out: Path, failures: Mapping[Path, str], **more: Any
) -> None:
    """Write the record of a sweep, which `read_record` reads. It has ``more`` entries for other readers.

    ``out`` is the folder in the command that repeats the sweep.
    """
    axes, runs = axes_of(run.point for run in planned), []
    for run in planned:
        place = folder / run.folder
        unfinished = "failed" if run.folder in failures else "waiting"
        runs.append(
            {
                "folder": run.folder.as_posix(),
                **{axis: run.point.get(axis) for axis in axes},
                "norm": run.config.norm,
                "seed": run.config.seed,
                "status": Run(place).status if RunFolder(place).finished else unfinished,
                "error": failures.get(run.folder),
            }
        )
    write_json(folder / RECORD, {"threads": threads, "axes": axes, "out": str(out), **more, "runs": runs})


def read_record(folder: Path) -> dict[str, Any]:
    """Return the arguments of `tfnorm.experiments.sweep.sweep.Sweep` for the sweep in a folder.

    Raises:
        RunError: If it holds no sweep, or one that cannot be read.
    """
    if not is_sweep(folder):
        raise RunError(f"There is no sweep in {folder}: it has no {RECORD}. Give the folder that a sweep wrote.")
    keys = {"norm": str, "seed": int, "folder": str}
    content = read_json(folder / RECORD, {"threads": int, "axes": [str], "runs": [keys]})
    shared = _settings(folder / GRID)
    return {
        "planned": [_planned(folder, content["axes"], run, shared) for run in content["runs"]],
        "path": folder,
        "threads": content["threads"],
        "failures": {Path(run["folder"]): run["error"] for run in content["runs"] if run.get("error")},
        "out": content.get("out") if folder.is_absolute() else None,
        "auto": bool(content.get("auto")),
        "margin": content.get("margin"),
    }


def _settings(grid: Path) -> dict[str, Any]:
    """Return what the runs of a grid share, without looking for their data; nothing without a file that is TOML."""
    try:
        settings: dict[str, Any] = tomllib.loads(grid.read_text(encoding="utf-8-sig")).get("settings", {})
    except (OSError, tomllib.TOMLDecodeError):
        return {}
    rate_of_each = isinstance(settings.get("learning_rate"), Mapping)  # the record of a run has its own
    left_out = ("data_dir", *(["learning_rate"] if rate_of_each else []))
    return {key: value for key, value in settings.items() if key not in left_out}


def _planned(folder: Path, axes: Sequence[str], run: Mapping[str, Any], shared: Mapping[str, Any]) -> PlannedRun:
    """Return a run as it was planned; what was asked for is not checked again, since it was when it began."""
    point = {key: run[key] for key in axes if run.get(key) is not None}
    settings = {**shared, **{key: value for key, value in point.items() if key not in PENALTIES}}
    place = Path(run["folder"])
    begun = RunFolder(folder / place)
    if begun.config_path.exists():
        settings = dict(begun.read_config(ASKED)["asked"])
    recipe = settings.get("recipe", "default")
    try:
        settings["recipe"] = RECIPES[recipe] if isinstance(recipe, str) else Recipe.model_validate(recipe)
    except ValidationError as error:
        wrong = ".".join(map(str, ("asked", "recipe", *error.errors()[0]["loc"])))
        path = begun.config_path
        raise RunError(f"The file {path} is damaged: {wrong!r} is none that a recipe has. {mend(path)}") from None
    config = TrainConfig.model_construct(**{**settings, "norm": run["norm"], "seed": run["seed"]})
    return PlannedRun(place, config.resolved(), point)
