"""Commands that train what is named on the command line: compare, train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Unpack

import typer
from rich.console import Console

from tfnorm.cli._app import app
from tfnorm.cli.options import (
    Address,
    DryRun,
    Engine,
    Margin,
    PictureFormat,
    TensorBoardFlag,
    WandBFlag,
    given_settings,
    settings_as_options,
    trackers_of,
    typed_command,
)
from tfnorm.cli.printing import kept_on_ctrl_c, print_page, print_plan, print_table, print_variants
from tfnorm.cli.run_progress import LiveProgress
from tfnorm.cli.sweep_progress import SweepDisplay
from tfnorm.errors import TfnormError
from tfnorm.experiments.plan import Plan, plan_comparison
from tfnorm.experiments.rates import rates_of_words
from tfnorm.files import PAGE
from tfnorm.ops import start_quietly
from tfnorm.training.config import RunSettings, Settings, plan_run
from tfnorm.training.recipe.file import is_settings_file


@app.command()
@settings_as_options
def compare(
    context: typer.Context,
    specs: Annotated[list[str] | None, typer.Argument(help="Norm specs. [default: gn:2 ln bn+l1=5e-4]")] = None,
    seeds: Annotated[
        str,
        typer.Option(
            metavar="NUMBER | auto",
            help="Runs of each spec, with seeds 0, 1, 2, ...; or auto: 3 each, then more until each pair is decided.",
        ),
    ] = "3",
    margin: Margin = None,
    max_runs: Annotated[
        int | None, typer.Option(help="With --seeds auto, the most runs in all. [default: 20 of each spec]")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="With --seeds auto, the time after which no seeds are added, such as 20m."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for all files. [default: in runs/]")] = None,
    resume: Annotated[bool, typer.Option(help="Take up the runs in the folder, or refuse one that holds any.")] = True,
    jobs: Annotated[
        int | None, typer.Option(help="Runs at the same time, of one thread each. [default: one, with all threads]")
    ] = None,
    engine: Engine = "local",
    address: Address = None,
    format: PictureFormat = "png",
    tensorboard: TensorBoardFlag = False,
    wandb: WandBFlag = False,
    dry_run: DryRun = False,
    learning_rate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RATE | SPEC=RATE | RATE,RATE,...",
            help="Peak learning rate of all specs, or of one, repeated for others; or several, of which one is chosen "
            "for each spec on held-out training images. [default: the recipe's]",
        ),
    ] = None,
    **settings: Unpack[Settings],
) -> None:
    """Train one network with each normalization, and say how they differ.

    With no argument: gn:2, ln and bn+l1=5e-4 on scikit-learn's digits, three seeds each, about four minutes.

    **Examples**

    `tfnorm compare`

    `tfnorm compare bn gn:4 ln --seeds 5 --epochs 10`

    `tfnorm compare bn gn:4 ln --seeds auto --margin 0.5 --jobs 4`

    `tfnorm compare keep gn:8 ln --model my_net.py:make_model --dataset photos`

    `tfnorm compare bn gn:4 --learning-rate 0.03,0.1,0.3`

    `tfnorm compare bn gn:4 --learning-rate bn=0.1 --learning-rate gn:4=0.05`

    `tfnorm compare bn gn:size=4 --arch cifar_plain --dataset cifar10 --data-dir ~/data --recipe B`
    """
    plan = plan_comparison(
        specs or None, seeds=_seeds(seeds), out=out, resume=resume, jobs=jobs, engine=engine, address=address,
        trackers=trackers_of(tensorboard, wandb), format=format, call=typed_command(context),
        learning_rate=rates_of_words(learning_rate or ()), margin=margin, max_runs=max_runs, budget=budget, **settings,
    )  # fmt: skip
    if dry_run:
        print_variants(plan)
        print_plan(plan)
        return
    start_quietly()
    from tfnorm.experiments.comparison.run import run_comparison, search_rates  # start-up

    if plan.search is not None:
        with kept_on_ctrl_c(), _display(plan.search) as progress:
            plan = search_rates(plan, progress=progress)
    with kept_on_ctrl_c(), _display(plan) as progress:
        comparison = run_comparison(plan, progress=progress)
    print_table(comparison)
    print_page(comparison.path / PAGE)


def _seeds(word: str) -> int | str:
    """Return what `plan_comparison` takes as seeds."""
    try:
        return int(word)
    except ValueError:
        return word


def _display(plan: Plan) -> LiveProgress | SweepDisplay:
    """Return what shows how far the runs of a comparison are."""
    console = Console(stderr=True)
    if plan.here:
        return LiveProgress(console, plan.epochs, plan.images, plan.metric)
    return SweepDisplay(console, plan.folder, plan.images, plan.metric)


@app.command()
@settings_as_options
def train(
    context: typer.Context,
    spec: Annotated[
        str | None, typer.Argument(help="Norm spec, such as gn:4+l1=1e-4. [default: that of the file of --recipe]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder. [default: runs/ARCH-DATASET/SPEC/seed-SEED]")] = None,
    tensorboard: TensorBoardFlag = False,
    wandb: WandBFlag = False,
    **settings: Unpack[RunSettings],
) -> None:
    """Train one network and keep everything about it in a folder; a run that was broken off goes on.

    **Examples**

    `tfnorm train gn:2`

    `tfnorm train bn+l2=1e-4 --arch cifar_residual --dataset cifar10 --data-dir ~/data --recipe E --seed 1`

    `tfnorm train --recipe recipe.toml`
    """
    if is_settings_file(settings.get("recipe")):  # which says what the command line leaves open
        settings = {"recipe": settings["recipe"], **given_settings(context, settings)}  # type: ignore[typeddict-item]
    elif spec is None:
        raise TfnormError("A run needs a norm. Name a spec, such as gn:4, or give a file of settings with --recipe.")
    plan = plan_run(spec, out=out, trackers=trackers_of(tensorboard, wandb), call=typed_command(context), **settings)
    start_quietly()
    from tfnorm.training.trainer import train_planned  # start-up

    with (
        kept_on_ctrl_c(),
        LiveProgress(Console(stderr=True), plan.config.epochs or 0, metric=plan.config.metric) as progress,
    ):
        result = train_planned(plan, progress=progress)
    last, images, metric = result.history.iloc[-1], result.images, result.metric
    loss = f", {images} data loss {last['val_data_loss']:.4f}" if metric.key != "val_data_loss" else ""
    typer.echo(
        f"{result.label}, seed {result.seed}: {result.status} after {len(result.history)} epochs, "
        f"{metric.title(images)} {metric.text(metric.scale * last[metric.key])}{loss}\n{result.path}"
    )
