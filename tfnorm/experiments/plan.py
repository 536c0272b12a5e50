"""Which runs a comparison consists of, checked before anything is trained."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfnorm.errors import RunError, TfnormError, whole_number
from tfnorm.experiments.progress import SweepProgress
from tfnorm.spec import NormSpec, format, parse
from tfnorm.training.config import TrainConfig, checked
from tfnorm.training.folder import RunFolder, check_place
from tfnorm.training.tracking import catch_up


@dataclass(frozen=True)
class PlannedRun:
    """A run that is planned.

    Args:
        folder: Where it goes, relative to the folder of the comparison or sweep.
        config: What is trained.
        point: Value of each axis of the grid.
    """

    folder: Path
    config: TrainConfig
    point: Mapping[str, Any]


DEFAULT_SPECS = ("gn:2", "ln", "bn+l1=5e-4")


def configurations(
    specs: Iterable[str | NormSpec] | str | None = None, *, seeds: int | Sequence[int] = 3, **settings: Any
) -> list[TrainConfig]:
    """Return the configuration of each run of a comparison, all of them checked, without importing Keras.

    Args:
        specs: Norm specs; default gn:2, ln and bn+l1=5e-4.
        seeds: How many seeds, counted from 0, or the seeds themselves.
        **settings: Arguments of `TrainConfig` that all runs share.

    Returns:
        Seed by seed, within each spec.

    Example:
        >>> [(c.norm, c.seed) for c in configurations(["bn", "ln"], seeds=2)]
        [('bn', 0), ('bn', 1), ('ln', 0), ('ln', 1)]
    """
    if isinstance(specs, (str, NormSpec)):
        specs = [specs]
    for word, mend in (("seed", "seeds=[7]"), ("norm", "the specs")):
        if word in settings:
            raise TfnormError(f"`{word}` belongs to one run. For a comparison give {mend}.")
    problems: list[str] = []
    labels: list[str] = []
    for spec in DEFAULT_SPECS if specs is None else specs:
        try:
            label = format(parse(spec))
            checked(TrainConfig, {**settings, "norm": label}).plan()
        except TfnormError as error:
            problems.append(str(error))
            continue
        if label in labels:
            problems.append(f"The spec {label!r} is given twice. Give each once; for repetitions use more seeds.")
        labels.append(label)
    if problems:
        raise TfnormError(" ".join(dict.fromkeys(problems)))
    if not labels:
        raise TfnormError("There is nothing to compare. Give at least one norm spec, such as 'bn'.")
    asked: Any = seeds
    if isinstance(asked, numbers.Integral) and not isinstance(asked, bool) and int(asked) > 0:
        chosen = list(range(int(asked)))
    elif isinstance(asked, Iterable) and not isinstance(asked, str):
        chosen = list(asked)
    else:
        raise TfnormError(f"`seeds` must be at least 1, or a list of seeds. Received: seeds={seeds!r}.")
    if not chosen or len(set(chosen)) < len(chosen):
        raise TfnormError(f"`seeds` must be different numbers, at least one. Received: seeds={chosen}.")
    return [
        checked(TrainConfig, {**settings, "norm": label, "seed": seed}).resolved()
        for label in labels
        for seed in chosen
    ]


def unfinished(
    runs: Sequence[PlannedRun],
    out: Path,
    threads: int | None,
    data: Callable[[TrainConfig], str | None] | None = None,
) -> list[PlannedRun]:
    """Return the runs that are not finished.

    Args:
        runs: All of them.
        out: The folder that theirs are in.
        threads: How many threads they are to be trained with; None is as many as there are cores.
        data: Returns the fingerprint of a configuration's data, see `tfnorm.training.data.fingerprints`; asked only
            about folders that hold a run. None leaves the data to a later call, or to whoever trains.

    Raises:
        RunError: If a file is in the place of ``out``; with a sentence for each folder that holds another run, one on
            other data, or one of another number of threads.
    """
    check_place(out)
    problems = []
    for run in runs:
        folder = RunFolder(out / run.folder)
        try:
            found = data(run.config) if data is not None and folder.config_path.exists() else None
            folder.check(run.config.asked(), found, early=data is None)
            folder.check_threads(threads)
        except RunError as error:
            problems.append(str(error))
    if problems:
        raise RunError("\n".join(problems))
    return [run for run in runs if not RunFolder(out / run.folder).finished]


def prepared(
    runs: Iterable[PlannedRun],
    out: Path,
    threads: int,
    trackers: Sequence[str],
    progress: SweepProgress,
    data: Callable[[TrainConfig], str | None] | None = None,
) -> list[PlannedRun]:
    """Return the runs that are not finished, once all is checked, and tell how many there are."""
    whole_number("threads", threads)
    runs = list(runs)
    todo = unfinished(runs, out, threads, data)
    for run in runs:
        if run not in todo:
            catch_up(out / run.folder, trackers)
    progress.planned(len(todo), len(runs) - len(todo), sum(run.config.resolved().epochs or 0 for run in todo))
    return todo
