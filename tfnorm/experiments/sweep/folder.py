"""What a sweep's folder says of its grid, so that it can be read again and repeated."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tfnorm.errors import RunError
from tfnorm.experiments.plan import PlannedRun
from tfnorm.experiments.sweep.grid import AXES, PENALTIES, plan_grid
from tfnorm.spec import NormSpec, parse
from tfnorm.training.config import TrainConfig
from tfnorm.training.folder import ASKED, RunFolder
from tfnorm.training.recipe.recipes import RECIPES, Recipe
from tfnorm.training.records import lacking, mend, read_json
from tfnorm.training.runs import Run

if TYPE_CHECKING:
    from tfnorm.experiments.sweep.result import Sweep

GRID = "grid.toml"
UNLISTED = "Written before sweeps listed their runs: these are the combinations that have begun, and there may be more."


def grid_text(grid: Mapping[str, Any]) -> str:
    """Return a grid given as a mapping, which `plan_grid` accepts, as the text of a TOML file.

    TOML has no None. Where it stands among the values of an axis, each combination becomes an ``[[include]]``.

    Example:
        >>> print(grid_text({"settings": {"epochs": 2}, "exclude": [{"norm": "ln", "l1": 1e-4}]}))
        [settings]
        epochs = 2
        <BLANKLINE>
        [[exclude]]
        norm = "ln"
        l1 = 0.0001
        <BLANKLINE>
    """
    tables = []
    axes = grid.get("grid", {})
    if any(isinstance(value, list) and None in value for value in axes.values()):
        points = {run.folder.parent: run.point for run in plan_grid(grid)}
        grid = {"settings": grid.get("settings", {}), "grid": {"seeds": axes.get("seeds", 3)}}
        grid["include"] = list(points.values())
    for name, content in grid.items():
        for table in content if isinstance(content, list | tuple) else [content]:
            heading = f"[[{name}]]" if isinstance(content, list | tuple) else f"[{name}]"
            lines = [f"{key} = {_toml(value)}" for key, value in table.items() if value is not None]
            tables.append("\n".join([heading, *lines, ""]))
    return "\n".join(tables)


def _toml(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items() if item is not None) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, Recipe):
        return _toml(value.model_dump(mode="json"))
    if isinstance(value, Path | NormSpec):
        value = str(value)
    # JSON's strings, numbers and truths are TOML's, but for the character that it leaves as it is.
    return json.dumps(value.item() if hasattr(value, "item") else value).replace("\x7f", "\\u007f")


def check_threads(folder: Path, threads: int) -> None:
    """Raise a RunError if the sweep in ``folder`` was begun with another number of threads."""
    if not (folder / "sweep.json").exists():
        return
    there = read_json(folder / "sweep.json", {"threads": int})["threads"]
    if there != threads:
        raise RunError(
            f"The sweep in {folder} was begun with threads={there}, and now there are {threads}, which changes "
            f"results. Use threads={there} or another output folder."
        )


def run_states(sweep: Sweep) -> list[dict[str, Any]]:
    """Return what ``sweep.json`` remembers of each planned run; `open_sweep` reads it."""
    states = []
    for run in sweep.planned:
        folder = sweep.path / run.folder
        unfinished = "failed" if run.folder in sweep.failures else "waiting"
        states.append(
            {
                "folder": run.folder.as_posix(),
                **{key: run.point.get(key) for key in sweep.axes},
                "norm": run.config.norm,
                "seed": run.config.seed,
                "status": Run(folder).status if RunFolder(folder).finished else unfinished,
                "error": sweep.failures.get(run.folder),
            }
        )
    return states


def is_sweep(folder: str | Path) -> bool:
    """Return whether a folder is that of a sweep."""
    return (Path(folder) / "sweep.json").exists()


def open_sweep(folder: str | Path) -> Sweep:
    """Return the sweep in a folder, whether or not all of its runs are finished, or its data still there.

    Args:
        folder: As `tfnorm.experiments.sweep.result.sweep` wrote it.

    Raises:
        RunError: If it holds no sweep, or one that cannot be read.
    """
    from tfnorm.experiments.sweep.result import Sweep

    folder = Path(folder)
    if not is_sweep(folder):
        raise RunError(f"There is no sweep in {folder}: it has no sweep.json. Give the folder that a sweep wrote.")
    content = read_json(folder / "sweep.json", {"threads": int})
    axes, runs = content.get("axes", list(AXES)), content.get("runs") or _begun(folder)
    keys = {"norm": str, "seed": int, "folder": str}
    for wrong in (lacking({"runs": runs}, {"runs": [keys]}), lacking({"axes": axes}, {"axes": [str]})):
        if wrong:
            raise RunError(f"The file {folder / 'sweep.json'} is damaged: {wrong}. {mend(folder / 'sweep.json')}")
    shared = _settings(folder / GRID)
    planned = [_planned(folder, axes, run, shared) for run in runs]
    failures = {Path(run["folder"]): run["error"] for run in runs if run.get("error")}
    return Sweep(
        planned, folder, threads=content["threads"], failures=failures,
        out=content.get("out") if folder.is_absolute() else None,
        note="" if content.get("runs") else UNLISTED,
    )  # fmt: skip


def _begun(folder: Path) -> list[dict[str, Any]]:
    """Return what `run_states` would, from the runs that are there: all combinations of a grid have the same seeds."""
    from tfnorm.experiments.collect import find_runs

    found = find_runs([folder])
    combinations: dict[Path, dict[str, Any]] = {}
    seeds: set[int] = set()
    for path in [*(run.path for run in found.runs), *found.unfinished]:
        asked = RunFolder(path).read_config(ASKED)["asked"]
        factors = {factor: getattr(parse(asked["norm"]), factor) for factor in PENALTIES}
        combinations.setdefault(path.parent.relative_to(folder), {**asked, **factors})
        seeds.add(asked["seed"])
    return [
        {**asked, "seed": seed, "folder": (place / f"seed-{seed}").as_posix()}
        for place, asked in combinations.items()
        for seed in sorted(seeds)
    ]


def _settings(grid: Path) -> dict[str, Any]:
    """Return what the runs of a grid share, without looking for their data; nothing without a file that is TOML."""
    try:
        settings: dict[str, Any] = tomllib.loads(grid.read_text(encoding="utf-8-sig")).get("settings", {})
    except (OSError, tomllib.TOMLDecodeError):
        return {}
    return {key: value for key, value in settings.items() if key != "data_dir"}


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
