"""A report of runs that are on disk already: found in folders, checked to be comparable, and written as a page."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tfnorm.errors import RunError
from tfnorm.experiments.comparison.result import Comparison
from tfnorm.experiments.settings import Differing, differing_settings, name_of, settings_of, shown, telling
from tfnorm.experiments.statistics import listed
from tfnorm.experiments.sweep.folder import is_sweep, open_sweep
from tfnorm.files import PAGE
from tfnorm.training.folder import RunFolder
from tfnorm.training.records import CONFIG_NAME, read_json
from tfnorm.training.runs import Run

if TYPE_CHECKING:
    from tfnorm.experiments.sweep.result import Sweep

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
        told = {
            "Not finished, and left out": self.unfinished,
            "Without a configuration that can be read, and left out": self.lost,
            "Cannot be opened (no right to, or a link that leads nowhere), and left out": self.closed,
        }
        notes = [f"{what}: {_named(paths)}." for what, paths in told.items() if paths]
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
    listed_first = [folder / path for path in _listed(folder / "comparison.json")]
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


def collect(
    folders: str | Path | Sequence[str | Path], *, out: str | Path | None = None, anyway: bool = False
) -> Comparison:
    """Return the comparison of all finished runs in folders.

    Args:
        folders: See `find_runs`.
        out: Where its page will be; default the folder itself if it is one, else ``runs/report``.
        anyway: Whether runs may differ in more than norm and seed.

    Raises:
        RunError: If no run is finished, if one stands there twice, or if runs differ in data, network, recipe or
            another setting and ``anyway`` is not set; the sentence says in what.
    """
    folders = _several(folders)
    found = find_runs(folders)
    if not folders:
        raise RunError("There is no folder to report on. Give one of a run, of a comparison or of many runs.")
    if not found.runs:
        if found.damaged:
            raise RunError("\n".join(found.damaged))
        raise RunError(
            f"No run in {listed([str(folder) for folder in folders])} is finished. "
            "The command that began them goes on with them."
        )
    differing = differing_settings(found.runs)
    if differing and not anyway:
        raise RunError(
            f"These runs differ in more than norm and seed: {'; '.join(map(str, telling(differing)))}. "
            "Give runs that differ in nothing else, or compare them anyway, with --anyway."
        )
    groups = _groups(found.runs, differing)
    folder = Path(out) if out is not None else Path(folders[0]) if len(folders) == 1 else Path("runs/report")
    ordered = [run for runs in groups.values() for run in runs]
    return Comparison(ordered, folder, groups=groups, notes=found.notes())


def _several(folders: str | Path | Sequence[str | Path]) -> Sequence[str | Path]:
    return [folders] if isinstance(folders, str | Path) else list(folders)


def _named(paths: Sequence[Path]) -> str:
    names = [str(path) for path in paths[:MOST_NAMED]]
    more = len(paths) - len(names)
    return listed([*names, f"{more} more ({len(paths)} in all)"] if more else names)


def _groups(runs: Sequence[Run], differing: Sequence[Differing]) -> dict[str, list[Run]]:
    """Return the runs that differ in the seed alone, by spec and, where settings differ, what tells them apart."""
    alike: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        alike.setdefault((run.label, repr(sorted(settings_of(run, runs).items()))), []).append(run)
    groups = {}
    for (label, _), members in alike.items():
        _check_seeds(members)
        name = f"{label} ({_mark(members[0], runs, differing)})" if differing else label
        groups[name if name not in groups else f"{name} in {members[0].path}"] = members
    return groups


def _mark(run: Run, runs: Sequence[Run], differing: Sequence[Differing]) -> str:
    """Return in what a run differs from others, in a few words."""
    settings = settings_of(run, runs)
    return ", ".join(f"{name_of(each.key)} {shown(settings.get(each.key))}" for each in telling(differing))


def _check_seeds(runs: Sequence[Run]) -> None:
    """Raise a RunError if two runs of a spec have the same seed."""
    seen: dict[int, Run] = {}
    for run in runs:
        other = seen.setdefault(run.seed, run)
        if other is not run:
            raise RunError(
                f"The runs in {other.path} and {run.path} have the same spec, settings and seed. Give one of them."
            )


def report(
    folders: str | Path | Sequence[str | Path], *, out: str | Path | None = None, anyway: bool = False
) -> tuple[Comparison | Sweep, Path]:
    """Write the page of runs that are on disk, with its tables and pictures, without training anything.

    Args:
        folders: One or several, of runs, of comparisons, of sweeps or of many of them. One sweep alone gets the page of
            a sweep.
        out: The folder to write to; default the folder itself if it is one, else ``runs/report``.
        anyway: Whether runs may differ in more than norm and seed.

    Returns:
        The comparison or the sweep, and where its page is.

    Raises:
        RunError: See `find_runs` and `collect`.
    """
    folders = _several(folders)
    if len(folders) == 1 and is_sweep(folders[0]):
        sweep = open_sweep(folders[0])
        return sweep, sweep.export(out)
    comparison = collect(folders, out=out, anyway=anyway)
    comparison.save()
    return comparison, comparison.path / PAGE
