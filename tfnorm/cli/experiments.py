"""Commands that train what is named on the command line: compare, train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tfnorm.cli._app import app
from tfnorm.cli.options import (
    Address,
    Arch,
    Augmentation,
    BatchSize,
    DataDir,
    DatasetName,
    Dropout,
    Engine,
    Epochs,
    Holdout,
    ImageSize,
    LearningRate,
    Patience,
    PictureFormat,
    Precision,
    RecipeName,
    Regularize,
    SkipDamaged,
    TensorBoardFlag,
    WandBFlag,
    settings_of,
    trackers_of,
)
from tfnorm.cli.printing import kept_on_ctrl_c, print_page, print_table
from tfnorm.errors import whole_number
from tfnorm.files import PAGE, check_format
from tfnorm.ops import start_quietly


@app.command()
def compare(
    context: typer.Context,
    specs: Annotated[list[str] | None, typer.Argument(help="Norm specs. [default: gn:2 ln bn+l1=5e-4]")] = None,
    arch: Arch = "mnist_7k",
    dataset: DatasetName = "digits",
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    seeds: Annotated[int, typer.Option(help="Runs of each spec, with seeds 0, 1, 2, ...")] = 3,
    recipe: RecipeName = "default",
    augmentation: Augmentation = None,
    learning_rate: LearningRate = None,
    dropout: Dropout = None,
    regularize: Regularize = "all",
    precision: Precision = "float32",
    holdout: Holdout = 0.0,
    patience: Patience = None,
    skip_damaged: SkipDamaged = False,
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
) -> None:
    """Train one network with each normalization, and say how they differ.

    With no argument: gn:2, ln and bn+l1=5e-4 on scikit-learn's digits, three seeds each, about four minutes.

    **Examples**

    `tfnorm compare`

    `tfnorm compare bn gn:4 ln --seeds 5 --epochs 10`

    `tfnorm compare bn gn:size=4 --arch cifar_plain --dataset cifar10 --data-dir ~/data --recipe B`
    """
    from tfnorm.cli.run_progress import LiveProgress
    from tfnorm.cli.sweep_progress import SweepDisplay
    from tfnorm.experiments.engines.choose import check_engine
    from tfnorm.experiments.plan import configurations
    from tfnorm.training.config import default_name
    from tfnorm.training.runs import evaluated_on

    settings = settings_of(
        locals(), "specs", "seeds", "out", "resume", "jobs", "engine", "address", "format", "tensorboard", "wandb"
    )
    check_format(format)
    planned = configurations(specs or None, seeds=seeds, **settings)
    trackers = trackers_of(tensorboard, wandb)
    check_engine(engine, address=address)
    here = jobs is None and engine == "local"
    if jobs is not None:
        whole_number("jobs", jobs)
    folder = out or Path("runs") / default_name(planned[0])
    start_quietly()
    from tfnorm.experiments.comparison.run import compare as run

    console, epochs = Console(stderr=True), sum(config.epochs or 0 for config in planned)
    images = evaluated_on(planned[0].holdout)
    display = LiveProgress(console, epochs, images) if here else SweepDisplay(console, folder, images)
    with kept_on_ctrl_c(), display as progress:
        comparison = run(
            specs or None, seeds=seeds, out=folder, resume=resume, progress=progress,
            jobs=jobs, engine=engine, address=address, trackers=trackers, format=format, **settings,
        )  # fmt: skip
    print_table(comparison)
    print_page(comparison.path / PAGE)


@app.command()
def train(
    context: typer.Context,
    spec: Annotated[str, typer.Argument(help="Norm spec, such as gn:4+l1=1e-4.")],
    arch: Arch = "mnist_7k",
    dataset: DatasetName = "digits",
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    seed: Annotated[int, typer.Option(help="Of initial weights, data order, dropout and augmentation.")] = 0,
    recipe: RecipeName = "default",
    augmentation: Augmentation = None,
    learning_rate: LearningRate = None,
    dropout: Dropout = None,
    regularize: Regularize = "all",
    precision: Precision = "float32",
    holdout: Holdout = 0.0,
    patience: Patience = None,
    skip_damaged: SkipDamaged = False,
    out: Annotated[Path | None, typer.Option(help="Folder. [default: runs/ARCH-DATASET/SPEC/seed-SEED]")] = None,
    tensorboard: TensorBoardFlag = False,
    wandb: WandBFlag = False,
) -> None:
    """Train one network and keep everything about it in a folder; a run that was broken off goes on.

    **Examples**

    `tfnorm train gn:2`

    `tfnorm train bn+l2=1e-4 --arch cifar_residual --dataset cifar10 --data-dir ~/data --recipe E --seed 1`
    """
    from tfnorm.training.config import TrainConfig, checked

    settings = settings_of(locals(), "spec", "seed", "out", "tensorboard", "wandb")
    config = checked(TrainConfig, {"norm": spec, "seed": seed, **settings}).resolved()
    config.plan()
    trackers = trackers_of(tensorboard, wandb)
    start_quietly()
    from tfnorm.cli.run_progress import LiveProgress
    from tfnorm.training.trainer import train as run

    with kept_on_ctrl_c(), LiveProgress(Console(stderr=True), config.epochs or 0) as progress:
        result = run(config, out=out, progress=progress, trackers=trackers)
    last, images = result.history.iloc[-1], result.images
    typer.echo(
        f"{result.label}, seed {result.seed}: {result.status} after {len(result.history)} epochs, "
        f"{images} accuracy {100 * last['val_accuracy']:.2f} %, {images} data loss {last['val_data_loss']:.4f}\n"
        f"{result.path}"
    )
