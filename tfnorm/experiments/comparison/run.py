"""Train the same network with each normalization, under identical conditions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tfnorm.datasets import Dataset
from tfnorm.errors import RunError
from tfnorm.experiments.comparison.comparison import Comparison
from tfnorm.experiments.engines.choose import check_failures, run_on
from tfnorm.experiments.plan import Plan, PlannedRun, configurations
from tfnorm.experiments.progress import SweepProgress
from tfnorm.spec import NormSpec
from tfnorm.training.config import default_name
from tfnorm.training.folder import RunFolder
from tfnorm.training.progress import Progress
from tfnorm.training.provenance import python_call, threads
from tfnorm.training.runs import Run, check_same_data, slug


def compare(
    specs: Iterable[str | NormSpec] | str | None = None,
    *,
    seeds: int | Sequence[int] = 3,
    out: str | Path | None = None,
    resume: bool = True,
    data: Dataset | None = None,
    jobs: int | None = None,
    engine: str = "local",
    address: str | None = None,
    trackers: str | Sequence[str] = (),
    progress: Progress | None = None,
    format: str = "png",
    **settings: Any,
) -> Comparison:
    """Train one network with each normalization and each seed, and write tables and pictures.

    All runs of a seed start from the same convolution kernels and see the same images in the same order. A run that
    is finished in the folder is not trained again.

    Args:
        specs: Norm specs; default gn:2, ln and bn+l1=5e-4.
        seeds: How many seeds, counted from 0, or the seeds themselves.
        out: The folder; default ``runs/ARCH-DATASET``, with a mark of the settings that are not the default.
        resume: Whether runs in the folder are taken up; False refuses a folder that holds runs.
        data: The data, if it is loaded already.
        jobs: Runs at the same time, each in a process of one thread; default one after another in this process, with
            all its threads, which may differ in the last digits.
        engine: "local", or "ray" for a cluster; see `tfnorm.sweep`.
        address: Of the cluster.
        trackers: "tensorboard", "wandb" or both, which follow each run.
        progress: Is told what happens; with ``jobs`` a `tfnorm.experiments.progress.SweepProgress`.
        format: Of the pictures: "png", "svg" or "pdf".
        **settings: Arguments of `tfnorm.training.config.TrainConfig` that all runs share: arch, dataset, data_dir,
            image_size, epochs, batch_size, recipe, augmentation, learning_rate, dropout, regularize, precision,
            holdout, patience, skip_damaged.

    Returns:
        The `Comparison`.

    Raises:
        TfnormError: If a spec, a setting, the data or the folder cannot be used, before anything is trained.

    Example:
        >>> comparison = compare(["bn", "ln"], seeds=1, epochs=1, out=folder)
        >>> comparison.table.index.tolist()
        ['bn', 'ln']
    """
    if specs is not None:
        specs = [specs] if isinstance(specs, str | NormSpec) else list(specs)
    call = python_call(
        "tfnorm.compare", specs, seeds=seeds, out=out, data=data, jobs=jobs,
        engine=None if engine == "local" else engine, address=address, trackers=trackers or None, **settings,
    )  # fmt: skip
    planned = configurations(specs, seeds=seeds, **{"call": call, **settings})
    folder = Path(out) if out is not None else Path("runs") / default_name(planned[0])
    runs = [
        PlannedRun(Path(slug(config.norm)) / f"seed-{config.seed}", config, {"norm": config.norm}) for config in planned
    ]
    if not resume and any(RunFolder(folder / run.folder).config_path.exists() for run in runs):
        raise RunError(f"The folder {folder} holds runs already. Choose another one, or resume.")
    here = jobs is None and engine == "local"
    plan = Plan(
        folder, runs, here=here, jobs=jobs, threads=threads() if here else 1, engine=engine,
        address=address, data=data, trackers=trackers, format=format,
    )  # fmt: skip
    if here:
        _train_here(runs, folder, data, plan.trackers, progress)
    else:
        check_failures(run_on(plan, progress=progress if isinstance(progress, SweepProgress) else None))
    finished = [Run(folder / run.folder) for run in runs]
    check_same_data(finished)
    comparison = Comparison(finished, folder)
    comparison.save(format=format)
    return comparison


def _train_here(
    runs: Sequence[PlannedRun],
    folder: Path,
    data: Dataset | None,
    trackers: Sequence[str],
    progress: Progress | None,
) -> None:
    """Train runs one after another in this process."""
    from tfnorm.training.trainer import forget_graph, load_data, train_on  # start-up

    data = load_data(runs[0].config, data)
    if progress is not None:
        progress.read(data.sentences)
    for run in runs:
        RunFolder(folder / run.folder).check(run.config.asked(), data.fingerprint, data.class_names)
    try:
        for before, run in zip([None, *runs], runs, strict=False):
            if before is not None and before.config.norm != run.config.norm:
                forget_graph()  # no run that follows has it
            train_on(data, run.config, folder / run.folder, progress=progress, trackers=trackers)
    finally:
        forget_graph()
