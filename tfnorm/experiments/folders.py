"""The runs in folders: of runs, of comparisons and sweeps, or of many of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfnorm.errors import RunError
from tfnorm.experiments.looks import RECORD
from tfnorm.experiments.rates import FOLDER as RATES
from tfnorm.experiments.rates import RECORD as RATES_RECORD
from tfnorm.text import listed
from tfnorm.training.folder import RunFolder
from tfnorm.training.records import CONFIG_NAME, read_json
from tfnorm.training.runs import Run

MOST_NAMED = 5
GIVE = "Give the folder of a run, of a comparison or of many runs."


@dataclass
class Found:
    """What folders hold: the finished runs, those that a comparison lists in its order, and what is left out."""

    runs: list[Run] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)
    lost: list[Path] = field(default_factory=list)  # what was a run, but has no configuration that can be read
    closed: list[Path] = field(default_factory=list)  # what there is no way into
    damaged: list[str] = field(default_factory=list)  # why each other finished run cannot be read

    def notes(self) -> list[str]:
        """Return what was left out, in sentences."""
        paths_of = {
            "Not finished, and left out": self.unfinished,
            "Without a configuration that can be read, and left out": self.lost,
            "Cannot be opened (no right to, or a link that leads nowhere), and left out": self.closed,
        }
        notes = [f"{what}: {_named(list(dict.fromkeys(paths)))}." for what, paths in paths_of.items() if paths]
        return [*notes, *(f"Left out, because it cannot be read: {sentence}" for sentence in self.damaged)]


def find_runs(folders: Iterable[str | Path]) -> Found:
    """Return the runs in folders: of runs, of comparisons and sweeps, or of many of them.

    Raises:
        RunError: If a folder does not exist or holds no run.
    """
    found, paths = Found(), dict[Path, Path]()
    for folder in map(Path, folders):
        if not folder.is_dir():
            what = f"{folder} is a file." if folder.exists() else f"There is no folder {folder}."
            raise RunError(f"{what} {GIVE}")
        runs, lost, closed = _run_folders(folder)
        if not runs:
            shut = f" {_named(closed)} cannot be entered: ask for the right to." if closed else ""
            raise RunError(f"There is no run in {folder}.{shut} {GIVE}")
        found.lost += lost
        found.closed += closed
        for path in runs:
            paths.setdefault(path.resolve(), path)
    for path in paths.values():
        if not RunFolder(path).finished:
            found.unfinished.append(path)
            continue
        try:
            found.runs.append(Run(path))
        except RunError as error:
            found.damaged.append(str(error))
    return found


def _run_folders(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Return the folders of runs in a folder, those that its comparison lists first, then what is lost and closed."""
    runs: list[Path] = []
    lost: list[Path] = []
    closed: list[Path] = []
    seen: set[Path] = set()
    for place, names, files in os.walk(folder, onerror=lambda e: closed.append(Path(e.filename)), followlinks=True):
        here = Path(place)
        if here.resolve() in seen:  # a link back, which would go on for ever
            names.clear()
            continue
        seen.add(here.resolve())
        if here != folder and here.name == RATES and RATES_RECORD in files:
            names.clear()  # these runs chose the learning rates of a comparison, and are no part of it
            continue
        names.sort(key=_natural)
        try:
            # Other programs write files of this name too.
            is_run = CONFIG_NAME in files and b'"asked"' in (here / CONFIG_NAME).read_bytes()
        except OSError:
            closed.append(here)
            names.clear()
            continue
        closed.extend(here / name for name in files if (here / name).is_symlink() and not (here / name).exists())
        begun = CONFIG_NAME not in files and {"history.jsonl", "result.json"} & set(files) and "checkpoint" in names
        if is_run:
            runs.append(here)
        elif begun or (CONFIG_NAME in files and "history.jsonl" in files):
            lost.append(here)
        if is_run or begun:
            names.clear()
    try:
        first = [folder / str(run["path"]) for run in read_json(folder / RECORD)["runs"]]
    except (RunError, KeyError, TypeError):  # not there, or damaged: it is written anew
        first = []
    order = {path: place for place, path in enumerate(first)}
    lost += [path for path in first if path not in (*runs, *lost, *closed)]
    return sorted(runs, key=lambda path: order.get(path, len(order))), lost, closed


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which seed-2 stands before seed-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _named(paths: Sequence[Path]) -> str:
    names = [str(path) for path in paths[:MOST_NAMED]]
    more = len(paths) - len(names)
    return listed([*names, f"{more} more ({len(paths)} in all)"] if more else names)
