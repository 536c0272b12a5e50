"""What a sweep's folder says of its grid, so that it can be read again and repeated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfnorm.compare.grid import PENALTIES, PlannedRun
from tfnorm.errors import RunError
from tfnorm.training.config import TrainConfig
from tfnorm.training.recipes import Recipe
from tfnorm.training.runs import Run, RunFolder, read_json

if TYPE_CHECKING:
    from tfnorm.compare.sweep import Sweep

GRID = "grid.toml"


def grid_text(grid: Mapping[str, Any]) -> str:
    """Return a grid given as a mapping as the text of a TOML file.

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
    for name, content in grid.items():
        for table in content if isinstance(content, list | tuple) else [content]:
            heading = f"[[{name}]]" if isinstance(content, list | tuple) else f"[{name}]"
            tables.append("\n".join([heading, *(f"{key} = {_toml(value)}" for key, value in table.items()), ""]))
    return "\n".join(tables)


def _toml(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, Recipe):
        return _toml({key: item for key, item in value.model_dump(mode="json").items() if item is not None})
    # JSON's strings, numbers and truths are TOML's, but for the character that it leaves as it is.
    return json.dumps(str(value) if isinstance(value, Path) else value).replace("\x7f", "\\u007f")


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
        folder: As `tfnorm.compare.sweep.sweep` wrote it.

    Raises:
        RunError: If it holds no sweep, or one that cannot be read.
    """
    from tfnorm.compare.sweep import Sweep

    folder = Path(folder)
    if not is_sweep(folder):
        raise RunError(f"There is no sweep in {folder}: it has no sweep.json. Give the folder that a sweep wrote.")
    content = read_json(folder / "sweep.json")
    if not content.get("runs"):
        raise RunError(f"The file {folder / 'sweep.json'} names no runs. Call tfnorm sweep with its grid again.")
    planned = [_planned(folder, content["axes"], run) for run in content["runs"]]
    failures = {Path(run["folder"]): run["error"] for run in content["runs"] if run.get("error")}
    return Sweep(planned, folder, threads=content["threads"], failures=failures)


def _planned(folder: Path, axes: list[str], run: Mapping[str, Any]) -> PlannedRun:
    """Return a run as it was planned; what was asked for is not checked again, since it was when it began."""
    point = {key: run[key] for key in axes if run[key] is not None}
    settings = {key: value for key, value in point.items() if key not in PENALTIES}
    place = Path(run["folder"])
    begun = RunFolder(folder / place).config_path
    if begun.exists():
        settings = dict(read_json(begun)["asked"])
        settings["recipe"] = Recipe.model_validate(settings["recipe"])
    config = TrainConfig.model_construct(**{**settings, "norm": run["norm"], "seed": run["seed"]})
    return PlannedRun(place, config, point)
