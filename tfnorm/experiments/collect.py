"""A report of runs that are on disk already: checked to be comparable, and written as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfnorm.errors import RunError
from tfnorm.experiments.folders import find_runs
from tfnorm.experiments.looks import margin_on_record, places_of
from tfnorm.experiments.plan import check_margin
from tfnorm.experiments.settings import Differing, brief, differing_settings, distinguishing, name_of, settings_of
from tfnorm.experiments.study.study import is_study, open_study
from tfnorm.experiments.sweep.folder import is_sweep
from tfnorm.files import PAGE
from tfnorm.text import listed
from tfnorm.training.runs import Run

if TYPE_CHECKING:
    from tfnorm.experiments.comparison.comparison import Comparison
    from tfnorm.experiments.sweep.sweep import Sweep


def collect(
    folders: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    anyway: bool = False,
    margin: float | None = None,
) -> Comparison:
    """Return the comparison of all finished runs in folders; see `report` for the arguments.

    Raises:
        RunError: If no run is finished, if one stands there twice, or if runs differ in data, network, recipe or
            another setting and ``anyway`` is not set; the sentence says in what.
    """
    folders = [folders] if isinstance(folders, str | Path) else list(folders)
    if not folders:
        raise RunError("There is no folder to report on. Give one of a run, of a comparison or of many runs.")
    for folder in filter(is_study, folders):
        raise RunError(
            f"The folder {folder} holds a study of your own loop, which has a report by itself. Give it alone."
        )
    found = find_runs(folders)
    if not found.runs:
        where = listed([str(folder) for folder in folders])
        unfinished = f"No run in {where} is finished. The command that began them goes on with them."
        raise RunError("\n".join(found.damaged) or unfinished)
    differing = differing_settings(found.runs)
    if differing and not anyway:
        raise RunError(
            f"These runs differ in more than norm and seed: {'; '.join(map(str, distinguishing(differing)))}. "
            "Give runs that differ in nothing else, or compare them anyway, with --anyway."
        )
    from tfnorm.experiments.comparison.comparison import Comparison  # start-up

    groups = _groups(found.runs, differing)
    folder = Path(out) if out is not None else Path(folders[0]) if len(folders) == 1 else Path("runs/report")
    ordered = [run for runs in groups.values() for run in runs]
    known = margin_on_record(places_of(folder, ordered)) if margin is None else margin
    return Comparison(ordered, folder, groups=groups, notes=found.notes(), margin=known)


def _groups(runs: Sequence[Run], differing: Sequence[Differing]) -> dict[str, list[Run]]:
    """Return the runs that differ in the seed alone, by spec and, where settings differ, what tells them apart."""
    alike: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        alike.setdefault((run.label, repr(sorted(settings_of(run, runs).items()))), []).append(run)
    groups, apart = {}, [each.key for each in distinguishing(differing)]
    for (label, _), members in alike.items():
        seen: dict[int, Run] = {}
        for run in members:
            other = seen.setdefault(run.seed, run)
            if other is not run:
                raise RunError(
                    f"The runs in {other.path} and {run.path} have the same spec, settings and seed. Give one of them."
                )
        settings = settings_of(members[0], runs)
        marks = ", ".join(f"{name_of(key)} {brief(settings.get(key))}" for key in apart)
        name = f"{label} ({marks})" if differing else label
        groups[name if name not in groups else f"{name} in {members[0].path}"] = members
    return groups


def report(
    folders: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    anyway: bool = False,
    margin: float | None = None,
) -> tuple[Comparison | Sweep, Path]:
    """Write the page of runs that are on disk, with its tables and pictures, without training anything.

    Args:
        folders: One or several, of runs, of comparisons, of sweeps or of many of them. One sweep alone gets the page of
            a sweep, and one study (`tfnorm.Study`) alone that of the study.
        out: The folder to write to; default the folder itself if it is one, else ``runs/report``.
        anyway: Whether runs may differ in more than norm and seed.
        margin: The largest difference that does not matter, as in `tfnorm.compare`. Default: that of the folder.

    Returns:
        The comparison or the sweep, and where its page is.

    Raises:
        RunError: See `find_runs` and `collect`.
    """
    check_margin(margin)
    folders = [folders] if isinstance(folders, str | Path) else list(folders)
    if len(folders) == 1 and is_sweep(folders[0]):
        from tfnorm.experiments.sweep.sweep import open_sweep  # start-up

        sweep = open_sweep(folders[0])
        sweep.margin = sweep.margin if margin is None else margin
        return sweep, sweep.export(out)
    if len(folders) == 1 and is_study(folders[0]):
        comparison = open_study(folders[0]).comparison(out, margin)
    else:
        comparison = collect(folders, out=out, anyway=anyway, margin=margin)
    comparison.save()
    return comparison, comparison.path / PAGE
