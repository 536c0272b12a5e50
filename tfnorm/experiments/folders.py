"""The runs in folders: of runs, of comparisons and sweeps, or of many of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfnorm.errors import RunError
from tfnorm.experiments.looks import RECORD
from tfnorm.text import listed
from tfnorm.training.folder import RunFolder
from tfnorm.training.records import CONFIG_NAME, read_json
from tfnorm.training.runs import Run

MOST_NAMED = 5


@dataclass(frozen=True)
class Found:
    """What folders hold.

    Args:
        runs: The finished runs, those that a comparison lists in its order.
        unfinished: The folders of the others.
        lost: The folders of what was a run, but has no configuration that can be read.
        closed: What there is no way into: folders without the right to enter them, and links that lead nowhere.
        damaged: Why each other run that is finished cannot be read, in a sentence.
    """

    runs: Sequence[Run]
    unfinished: Sequence[Path]
    lost: Sequence[Path] = ()
    closed: Sequence[Path] = ()
    damaged: Sequence[str] = ()

    def notes(self) -> list[str]:
        """Return what was left out, in sentences."""
        paths_of = {
            "Not finished, and left out": self.unfinished,
            "Without a configuration that can be read, and left out": self.lost,
            "Cannot be opened (no right to, or a link that leads nowhere), and left out": self.closed,
        }
        notes = [f"{what}: {_named(paths)}." for what, paths in paths_of.items() if paths]
        return [*notes, *(f"Left out, because it cannot be read: {sentence}" for sentence in self.damaged)]


@dataclass
class _Walk:
    """What is met on the way through a folder."""

    runs: list[Path] = field(default_factory=list)
    lost: list[Path] = field(default_factory=list)
    closed: list[Path] = field(default_factory=list)


def find_runs(folders: Iterable[str | Path]) -> Found:
    """Return the runs in folders: of runs, of comparisons and sweeps, or of many of them.

    Raises:
        RunError: If a folder does not exist or holds no run.
    """
    found: dict[Path, Path] = {}
    left = _Walk()
    for folder in map(Path, folders):
        if not folder.is_dir():
            what = f"{folder} is a file." if folder.exists() else f"There is no folder {folder}."
            raise RunError(f"{what} Give the folder of a run, of a comparison or of many runs.")
        walk = _run_folders(folder)
        for missed, more in ((left.lost, walk.lost), (left.closed, walk.closed)):
            missed += [path for path in more if path not in missed]
        if not walk.runs:
            closed = f" {_named(walk.closed)} cannot be entered: ask for the right to." if walk.closed else ""
            raise RunError(
                f"There is no run in {folder}.{closed} Give the folder of a run, of a comparison or of many runs."
            )
        for run in walk.runs:
            found.setdefault(run.resolve(), run)
    runs, unfinished, damaged = [], [], []
    for path in found.values():
        if not RunFolder(path).finished:
            unfinished.append(path)
            continue
        try:
            runs.append(Run(path))
        except RunError as error:
            damaged.append(str(error))
    return Found(runs, unfinished, left.lost, left.closed, damaged)


def _run_folders(folder: Path) -> _Walk:
    """Return the folders of runs in a folder, those that its comparison lists first, and what is left out."""
    walk, seen = _Walk(), set()

    def missed(error: OSError) -> None:
        walk.closed.append(Path(error.filename))

    for place, names, files in os.walk(folder, onerror=missed, followlinks=True):
        here = Path(place)
        if here.resolve() in seen:  # a link back, which would go on for ever
            names.clear()
            continue
        seen.add(here.resolve())
        names.sort(key=_natural)
        if CONFIG_NAME in files:
            try:
                # Other programs write files of this name too.
                is_run = b'"asked"' in (here / CONFIG_NAME).read_bytes()
            except OSError:
                walk.closed.append(here)
                names.clear()
                continue
            if is_run:
                walk.runs.append(here)
                names.clear()
                continue
            if "history.jsonl" in files:
                walk.lost.append(here)
        elif {"history.jsonl", "result.json"} & set(files) and "checkpoint" in names:
            walk.lost.append(here)
            names.clear()
        walk.closed += [here / name for name in files if (here / name).is_symlink() and not (here / name).exists()]
    listed_first = [folder / path for path in _listed(folder / RECORD)]
    order = {path: place for place, path in enumerate(listed_first)}
    known = {*walk.runs, *walk.lost, *walk.closed}
    walk.lost += [path for path in listed_first if path not in known]
    walk.runs.sort(key=lambda path: order.get(path, len(order)))
    return walk


def _listed(listing: Path) -> list[str]:
    """Return the folders that a comparison lists, none if that file is not there or damaged: it is written anew."""
    try:
        return [str(run["path"]) for run in read_json(listing)["runs"]]
    except (RunError, KeyError, TypeError):
        return []


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which seed-2 stands before seed-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _named(paths: Sequence[Path]) -> str:
    names = [str(path) for path in paths[:MOST_NAMED]]
    more = len(paths) - len(names)
    return listed([*names, f"{more} more ({len(paths)} in all)"] if more else names)
