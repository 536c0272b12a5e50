"""Train the same network with each normalization, under identical conditions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Unpack

from tfnorm.datasets import Dataset
from tfnorm.experiments.comparison.comparison import Comparison
from tfnorm.experiments.engines.choose import check_failures, run_on
from tfnorm.experiments.plan import Plan, check_margin, plan_comparison, with_chosen_rates
from tfnorm.experiments.progress import SweepProgress
from tfnorm.experiments.rates import FOLDER, RECORD, RateSetting
from tfnorm.experiments.verdict import notes_on_end
from tfnorm.metrics.known import DEFAULTS, ONE_LABEL, SEVERAL_LABELS, known_metric
from tfnorm.spec import NormSpec
from tfnorm.training.config import Settings, with_settings
from tfnorm.training.data import check_seeds, load_data
from tfnorm.training.progress import Progress
from tfnorm.training.records import write_json
from tfnorm.training.runs import Run, check_same_data


@with_settings
def compare(
    specs: Iterable[str | NormSpec] | str | None = None,
    *,
    seeds: int | Sequence[int] | Literal["auto"] = 3,
    out: str | Path | None = None,
    resume: bool = True,
    data: Dataset | None = None,
    jobs: int | None = None,
    engine: str = "local",
    address: str | None = None,
    trackers: str | Sequence[str] = (),
    progress: Progress | None = None,
    format: str = "png",
    learning_rate: RateSetting = None,
    margin: float | None = None,
    max_runs: int | None = None,
    budget: str | None = None,
    **settings: Unpack[Settings],
) -> Comparison:
    """Train one network with each normalization and each seed, and write tables and pictures.

    All runs of a seed start from the same convolution kernels and see the same images in the same order. A run that
    is finished in the folder is not trained again.

    Args:
        specs: Norm specs. Default: gn:2, ln and bn+l1=5e-4.
        seeds: Number of seeds, counted from 0, or a list of seeds. Or "auto": 3 of each spec, then more until each pair
            is decided, see `tfnorm.experiments.sequential`.
        out: The folder. Default: ``runs/ARCH-DATASET``, with a mark of the settings that are not the default.
        resume: If `True`, runs in the folder are taken up. If `False`, a folder that holds runs is refused.
        data: A `tfnorm.datasets.Dataset` that is in memory already.
        jobs: Runs at the same time, each in a process of one thread. Default: one after another in this process, with
            all its threads, which may differ in the last digits.
        engine: "local", or "ray" for a cluster; see `tfnorm.sweep`.
        address: Address of the Ray cluster.
        trackers: "tensorboard", "wandb" or both, which follow each run.
        progress: Receives progress events; with ``jobs`` a `tfnorm.experiments.progress.SweepProgress`.
        format: Format of the pictures: "png", "svg" or "pdf".
        learning_rate: Peak learning rate of all specs, or of each: ``{"bn": 0.1, "gn:8": 0.05}``, where "others" stands
            for all that are not named. Or several, ``[0.01, 0.03, 0.1]``: of them one is chosen for each spec before
            the comparison, on a fifth of the training images and with a seed of its own. Default: the recipe's.
        margin: The largest difference that does not matter to you, in points for metrics in percent, else in the unit
            of the metric. Default: half a point, or one test image if that is more; no margin for metrics that are not
            in percent, so that no specs are called equivalent.
        max_runs: With seeds="auto", the most runs in all. Default: 20 of each spec.
        budget: With seeds="auto", the time after which no round of seeds begins, such as "20m" or "1h30m".
        **settings: Settings that all runs share, see `tfnorm.training.config.TrainConfig`.

    Returns:
        The `Comparison`.

    Raises:
        TfnormError: If a spec, a setting, the data or the folder cannot be used, before anything is trained.

    Example:
        >>> comparison = compare(["none", "bn"], seeds=1, epochs=1, augmentation="none", out=folder)
        >>> comparison.table.index.tolist()
        ['none', 'bn']
    """
    plan = plan_comparison(
        specs, seeds=seeds, out=out, resume=resume, data=data, jobs=jobs, engine=engine, address=address,
        trackers=trackers, format=format, learning_rate=learning_rate, margin=margin, max_runs=max_runs, budget=budget,
        **settings,
    )  # fmt: skip
    return run_comparison(plan, progress=progress)


def run_comparison(plan: Plan, *, progress: Progress | None = None) -> Comparison:
    """Train the runs of a plan that are not finished, and write tables and pictures; see `compare`."""
    if plan.search is not None:
        plan = search_rates(plan, progress=progress)
    _train(plan, progress)
    runs = [Run(plan.folder / run.folder) for run in (plan.runs if plan.auto is None else plan.finished)]
    check_same_data(runs)
    notes = [] if plan.auto is None else notes_on_end(plan.races().values(), plan.auto.max_runs)
    comparison = Comparison(runs, plan.folder, margin=plan.margin, notes=notes)
    comparison.save(format=plan.format)
    return comparison


def search_rates(plan: Plan, *, progress: Progress | None = None) -> Plan:
    """Train what the learning rates of a plan are chosen by, if it is not finished, and return the plan with them."""
    search = plan.search
    if search is None:
        return plan
    record = {"seed": search.runs[0].config.seed, "holdout": search.runs[0].config.holdout}
    write_json(plan.folder / FOLDER / RECORD, record)
    _train(search, progress)
    chosen = replace(plan, runs=with_chosen_rates(plan.runs, search), search=None)
    rates = {run.config.norm: {"chosen": run.config.learning_rate, **(run.config.rates or {})} for run in chosen.runs}
    write_json(plan.folder / FOLDER / RECORD, {**record, "rates": rates})
    return chosen


def _train(plan: Plan, progress: Progress | None) -> None:
    """Train the runs of a plan that are not finished."""
    if plan.here:
        _train_here(plan, progress or Progress())
        return
    told = progress if isinstance(progress, SweepProgress) else None
    check_failures(run_on(plan, progress=told, before=plan.keep_method))


def _train_here(plan: Plan, progress: Progress) -> None:
    """Train runs one after another in this process."""
    from tfnorm.training.network.devices import check_devices  # start-up
    from tfnorm.training.network.network import check_networks  # start-up
    from tfnorm.training.trainer import forget_graph, train_on  # start-up

    if plan.todo:
        check_devices(plan.runs[0].config.devices)
    data = load_data(plan.runs[0].config, plan.data)
    check_seeds(run.config for run in plan.runs)
    progress.read(data.sentences)
    plan.check(lambda _: data.fingerprint, data.class_names)
    networks = check_networks((run.config for run in plan.todo), data)
    if plan.auto is not None and plan.metric is None:
        of_data = known_metric(DEFAULTS[SEVERAL_LABELS if data.multi_label else ONE_LABEL])
        check_margin(plan.margin, next((network.metric for network in networks.values()), of_data and of_data[0]))
    plan.keep_method()
    runs = plan.runs if plan.auto is None else [*plan.finished, *plan.next_round(progress)]
    try:
        while runs:
            for before, run in zip([None, *runs], runs, strict=False):
                if before is not None and before.config.norm != run.config.norm and plan.auto is None:
                    forget_graph()  # the runs that follow do not need it
                train_on(data, run.config, plan.folder / run.folder, progress=progress, trackers=plan.trackers)
            runs = plan.next_round(progress)
    finally:
        forget_graph()
