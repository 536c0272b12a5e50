"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tfnorm.training.provenance import shell_call

Arch = Annotated[str, typer.Option(help="Architecture; `tfnorm list` names them.")]
DatasetName = Annotated[str, typer.Option(help="Data set, .npz file or folder of train/CLASS and test/CLASS.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder looked in first for the data, such as mnist.npz.")]
ImageSize = Annotated[int | None, typer.Option(help="Resize images to this side, in pixels.")]
Epochs = Annotated[int | None, typer.Option(help="Epochs. [default: the recipe's]")]
BatchSize = Annotated[int | None, typer.Option(help="Images a step. [default: the recipe's]")]
RecipeName = Annotated[str, typer.Option(help="Optimizer, schedule and augmentation; `tfnorm list` names them.")]
Augmentation = Annotated[str | None, typer.Option(help="Augmentation. [default: the recipe's]")]
LearningRate = Annotated[float | None, typer.Option(help="Peak learning rate. [default: the recipe's]")]
Dropout = Annotated[float | None, typer.Option(help="Dropout rate. [default: the architecture's]")]
Regularize = Annotated[str, typer.Option(help="What penalties reach: all trainable variables, or kernels.")]
Precision = Annotated[str, typer.Option(help="Of activations: float32 or bfloat16.")]
Holdout = Annotated[float, typer.Option(help="Share of the training images to evaluate on, in place of the test set.")]
Patience = Annotated[int | None, typer.Option(help="Stop after so many epochs without a better one. [default: never]")]
SkipDamaged = Annotated[
    bool, typer.Option("--skip-damaged", help="Leave out damaged pictures of a folder, and say so.")
]
TensorBoardFlag = Annotated[bool, typer.Option("--tensorboard", help="Write each run's history for TensorBoard too.")]
WandBFlag = Annotated[bool, typer.Option("--wandb", help="Log each run to Weights & Biases too.")]
PictureFormat = Annotated[str, typer.Option(help="Of the pictures: png, svg or pdf.")]
Engine = Annotated[str, typer.Option(help="Where runs are trained: local, or ray for a cluster.")]
Address = Annotated[str | None, typer.Option(help="Of the Ray cluster. [default: the one of this machine]")]
Jobs = Annotated[
    int | None, typer.Option(help="Runs at the same time. [default: as many as there are cores and memory for]")
]
Imports = Annotated[
    list[str] | None,
    typer.Option("--import", help="Module or .py file that defines layers in the file; may be repeated."),
]
AllowLambda = Annotated[
    bool, typer.Option("--allow-lambda", help="Run the code of Lambda layers in the file. Only if you trust it.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and an estimate of time, and stop.")]


def settings_of(values: dict[str, Any], *others: str) -> dict[str, Any]:
    """Return the arguments of a command that belong to the run's configuration, with the command itself."""
    words = values["context"].obj  # None where the application is called in another way than by `main`
    left_out = ("context", *others)
    settings = {key: value for key, value in values.items() if key not in left_out and not callable(value)}
    return settings if words is None else {**settings, "call": shell_call(words)}


def trackers_of(tensorboard: bool, wandb: bool) -> tuple[str, ...]:
    """Return the names of the trackers asked for, each known to be installed."""
    from tfnorm.training.tracking import check_trackers

    return check_trackers([*(["tensorboard"] if tensorboard else []), *(["wandb"] if wandb else [])])
