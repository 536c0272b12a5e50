"""Train all runs of a grid: ``tfnorm.sweep("grid.toml", jobs=2).table``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfnorm.experiments.engines.choose import run_on
from tfnorm.experiments.progress import SweepProgress
from tfnorm.experiments.sweep.folder import GRID, write_record
from tfnorm.experiments.sweep.plan import SweepPlan, plan_sweep
from tfnorm.experiments.sweep.sweep import Sweep
from tfnorm.files import write_text


def sweep(
    grid: str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    jobs: int | None = None,
    threads: int = 1,
    engine: str = "local",
    address: str | None = None,
    gpus: float = 0.0,
    trackers: str | Sequence[str] = (),
    progress: SweepProgress | None = None,
    format: str = "png",
    margin: float | None = None,
) -> Sweep:
    """Train all runs of a grid, several at the same time, and write a table.

    A run that is finished in the folder is not trained again, and one that was broken off goes on. A run that fails
    does not stop the others.

    Args:
        grid: A TOML file (see `tfnorm.experiments.sweep.grid`), a name of `list_studies`, or the same as a mapping.
        out: The folder. Defaults to ``runs/`` and the file's name, for a mapping to ``runs/sweep``.
        jobs: Runs at the same time, without influence on any result. Defaults to as many as there are cores and memory
            for.
        threads: Threads that each run computes with. They have an influence: TensorFlow adds up in another order.
        engine: "local" for processes of this machine, or "ray" for a cluster.
        address: The address of the cluster, see `tfnorm.experiments.engines.ray_cluster.run_ray`.
        gpus: GPUs of each run on the cluster.
        trackers: "tensorboard", "wandb" or both, which follow each run.
        progress: Receives progress events.
        format: The format of the pictures: "png", "svg" or "pdf".
        margin: The largest difference that does not matter, in points for metrics in percent, else in the unit of the
            metric. Default: where seeds are added until it is decided, that of `tfnorm.compare`; else none.

    Returns:
        The `Sweep`.

    Raises:
        TfnormError: If the grid, a number or the folder cannot be used, before anything is trained.
    """
    plan = plan_sweep(
        grid, out=out, jobs=jobs, threads=threads, engine=engine, address=address, gpus=gpus, trackers=trackers,
        format=format, margin=margin,
    )  # fmt: skip
    return run_sweep(plan, progress)


def run_sweep(plan: SweepPlan, progress: SweepProgress | None = None) -> Sweep:
    """Train all runs of a plan, and write a table; see `sweep`."""
    threads = plan.threads or 1
    record: dict[str, Any] = {"auto": plan.auto is not None, "margin": plan.margin}

    def begin() -> None:
        plan.keep_method()
        write_text(plan.folder / GRID, plan.grid)
        write_record(plan.folder, plan.runs, threads, plan.folder, {}, **record)

    failures = run_on(plan, progress=progress, before=begin)
    done = Sweep(plan.runs, plan.folder, threads=threads, failures=failures, **record)
    done.save(format=plan.format)
    return done
