"""Options that several commands have. Those of a run's settings are made from `TrainConfig`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

import typer

from tfnorm.training.config import Function, TrainConfig, default_of, description_of, settings_of
from tfnorm.training.provenance import shell_call
from tfnorm.training.recipe.recipes import Recipe

DataDir = Annotated[Path | None, typer.Option(help=description_of("data_dir"))]
TensorBoardFlag = Annotated[bool, typer.Option("--tensorboard", help="Write each run's history for TensorBoard too.")]
WandBFlag = Annotated[bool, typer.Option("--wandb", help="Log each run to Weights & Biases too.")]
PictureFormat = Annotated[str, typer.Option(help="Format of the pictures: png, svg or pdf.")]
Engine = Annotated[str, typer.Option(help="Where runs are trained: local, or ray for a cluster.")]
Address = Annotated[str | None, typer.Option(help="Address of the Ray cluster. [default: the one of this machine]")]
Jobs = Annotated[
    int | None, typer.Option(help="Runs at the same time. [default: as many as there are cores and memory for]")
]
Imports = Annotated[
    list[str] | None,
    typer.Option("--import", help=f"{description_of('imports')} May be repeated."),
]
AllowLambda = Annotated[bool, typer.Option("--allow-lambda", help=description_of("allow_lambda"))]
Margin = Annotated[
    float | None,
    typer.Option(
        help="The largest difference that does not matter to you: in points for metrics in percent, else in the unit "
        "of the metric. [default: 0.5 points, or one test image if that is more; none for other units]"
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and an estimate of time, and stop.")]


def settings_as_options(command: Function) -> Function:
    """Give a command that takes ``**settings`` one option for each setting but the norm, which is its argument."""
    signature = inspect.signature(command, eval_str=True)
    context, argument, *others, rest = signature.parameters.values()
    options = [
        rest.replace(name=name, kind=rest.KEYWORD_ONLY, default=default_of(name), annotation=_option(name))
        for name in settings_of(command)
        if name != "norm"
    ]
    others = [each.replace(kind=rest.KEYWORD_ONLY) for each in others]
    command.__signature__ = signature.replace(parameters=[context, argument, *options, *others])  # type: ignore[attr-defined]
    return command


def _option(name: str) -> Any:
    """Return the type of a setting on the command line, with its help."""
    if name == "imports":
        return Imports
    kind: Any = TrainConfig.model_fields[name].annotation
    if kind is bool:
        return Annotated[bool, typer.Option(f"--{name.replace('_', '-')}", help=description_of(name))]
    # Values of other types are checked together with all other settings.
    written = str if get_origin(kind) is Literal or kind in (Recipe, Any) else kind
    return Annotated[written, typer.Option(help=description_of(name))]


def given_settings(context: typer.Context, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the settings that were typed, and are not the defaults of their options."""
    sources = {key: context.get_parameter_source(key) for key in settings}  # members of an enumeration
    return {key: settings[key] for key, source in sources.items() if source is not None and source.name != "DEFAULT"}


def typed_command(context: typer.Context) -> str | None:
    """Return the command as it was typed, for the record; None where `tfnorm.cli.main` did not start it."""
    return None if context.obj is None else shell_call(context.obj)


def trackers_of(tensorboard: bool, wandb: bool) -> list[str]:
    """Return the names of the trackers asked for."""
    return [name for name, asked in (("tensorboard", tensorboard), ("wandb", wandb)) if asked]
