"""Commands for many runs at once: sweep, report, reproduce."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tfnorm.cli._app import app
from tfnorm.cli.options import (
    Address,
    DataDir,
    DryRun,
    Engine,
    Jobs,
    Margin,
    PictureFormat,
    TensorBoardFlag,
    WandBFlag,
    trackers_of,
)
from tfnorm.cli.printing import kept_on_ctrl_c, print_page, print_plan, print_reproduction, print_sweep, print_table
from tfnorm.cli.sweep_progress import SweepDisplay
from tfnorm.experiments.collect import report as write_report
from tfnorm.experiments.published.comparisons import plan_reproduction
from tfnorm.experiments.sweep.plan import plan_sweep
from tfnorm.files import PAGE
from tfnorm.training.config import description_of


@app.command()
def sweep(
    grid: Annotated[str, typer.Argument(help="TOML file, or a study that comes with tfnorm: batch-size, groups.")],
    jobs: Jobs = None,
    threads: Annotated[int, typer.Option(help="Threads of each run; another number changes last digits.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder for all files. [default: runs/GRID]")] = None,
    engine: Engine = "local",
    address: Address = None,
    gpus: Annotated[float, typer.Option(help="GPUs of each run on a Ray cluster; 0.25 lets four share one.")] = 0.0,
    format: PictureFormat = "png",
    tensorboard: TensorBoardFlag = False,
    wandb: WandBFlag = False,
    margin: Margin = None,
    dry_run: DryRun = False,
) -> None:
    """Train every combination of a grid, several at the same time, and write one table.

    Finished runs are not trained again, and runs that were broken off go on. If a run fails, the others are trained all
    the same. The number of jobs has no influence on any result.

    **Examples**

    `tfnorm sweep grid.toml --dry-run`

    `tfnorm sweep grid.toml --jobs 4`

    `tfnorm sweep batch-size`

    `tfnorm sweep grid.toml --engine ray --address 10.0.0.1:6379`
    """
    plan = plan_sweep(
        grid, out=out, jobs=jobs, threads=threads, engine=engine, address=address, gpus=gpus,
        trackers=trackers_of(tensorboard, wandb), format=format, margin=margin,
    )  # fmt: skip
    if dry_run:
        print_plan(plan)
        return
    from tfnorm.experiments.sweep.run import run_sweep  # start-up

    with kept_on_ctrl_c(), SweepDisplay(Console(stderr=True), plan.folder, plan.images, plan.metric) as progress:
        result = run_sweep(plan, progress)
    print_sweep(result)
    print_page(result.path / PAGE)
    if result.failures:
        done, count = len(result.runs), len(result.failures)
        print(
            f"tfnorm: {count} of {done + count} runs failed, as said above and in {plan.folder / 'sweep.json'}. "
            "The same command tries them again.",
            file=sys.stderr,
        )
        raise SystemExit(1)


@app.command()
def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of runs, of comparisons, of a sweep, of a study, or that hold many.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for all files. [default: the one given, or runs/report for several]")
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Compare runs that differ in more than norm and seed.")
    ] = False,
    margin: Margin = None,
) -> None:
    """Write the report of runs that are on disk, without training anything.

    The runs may lie in several folders. The report is one file, report.html, that opens without a network. Runs that
    differ in data, network or recipe are refused, with a sentence about the difference.

    **Examples**

    `tfnorm report runs/mnist_7k-digits`

    `tfnorm report runs/monday/bn runs/tuesday/gn-4 --out runs/both`

    `tfnorm report runs/batch-size`
    """
    result, page = write_report(runs, out=out, anyway=anyway, margin=margin)
    from tfnorm.experiments.sweep.sweep import Sweep  # start-up

    print_sweep(result, page.parent) if isinstance(result, Sweep) else print_table(result)
    print_page(page)
    if not page.exists():  # the reason has been said
        raise SystemExit(1)


@app.command()
def reproduce(
    name: Annotated[str, typer.Argument(help="A published comparison, A to E, or A+ to E+ with a better recipe.")],
    seeds: Annotated[int | None, typer.Option(help="Runs of each row. [default: what the comparison needs]")] = None,
    precision: Annotated[str | None, typer.Option(help=description_of("precision"))] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs, for a quick try. [default: as published]")] = None,
    data_dir: DataDir = None,
    out: Annotated[Path | None, typer.Option(help="Folder for all files. [default: runs/reproduce-NAME]")] = None,
    jobs: Jobs = None,
    dry_run: DryRun = False,
) -> None:
    """Train a published comparison again with its own recipe, and compare its numbers and claims with ours.

    **Examples**

    `tfnorm reproduce A --data-dir ~/data`

    `tfnorm reproduce A+ --data-dir ~/data`

    `tfnorm reproduce E --data-dir ~/data --dry-run`
    """
    plan = plan_reproduction(
        name, seeds=seeds, precision=precision, epochs=epochs, data_dir=data_dir, out=out, jobs=jobs
    )
    if dry_run:
        print_plan(plan)
        return
    from tfnorm.experiments.published.reproduction import run_reproduction  # start-up

    with kept_on_ctrl_c(), SweepDisplay(Console(stderr=True), plan.folder) as progress:
        result = run_reproduction(name, plan, progress)
    print_reproduction(result)
    print_page(result.path / PAGE)
