"""Commands that train nothing: convert, inspect, check, list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tfnorm.analysis.inspect import inspect_architecture, inspect_saved, inspect_source
from tfnorm.checks.places import place_of_model
from tfnorm.checks.registry import RULES, ignored_of
from tfnorm.cli._app import app
from tfnorm.cli.file_conversion import FileConversion
from tfnorm.cli.options import AllowLambda, DataDir, Imports
from tfnorm.cli.printing import print_changes, print_conversion, wide_console
from tfnorm.datasets import AUGMENTATIONS, DATASETS, load
from tfnorm.datasets.sources import find_source
from tfnorm.errors import TfnormError
from tfnorm.models.architectures import ARCHITECTURES
from tfnorm.models.planner import plan
from tfnorm.models.sources import is_application, source_of
from tfnorm.norms import NORMS
from tfnorm.ops import start_quietly
from tfnorm.own_code.imports import check_imports
from tfnorm.spec import NormSpec, parse
from tfnorm.training.recipe.recipes import RECIPES

# Of the tables of places for norms that `inspect` shows.
TITLES = ("Places for the norms of a spec", "Norms and convolutions that a spec leaves")


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A saved Keras model, .keras or .h5.")],
    target: Annotated[
        str, typer.Argument(metavar="OUT", help="The .keras file to write; .tflite, .onnx or FOLDER/ to export.")
    ],
    to: Annotated[str | None, typer.Option(help="Replace its norms by this one; none removes them.")] = None,
    insert: Annotated[str | None, typer.Option(help="Put this norm after its convolutions.")] = None,
    fold: Annotated[bool, typer.Option("--fold", help="Fold batch norms into convolutions, for inference.")] = False,
    from_tfa: Annotated[
        bool, typer.Option("--from-tfa", help="Open a model that was saved with tensorflow-addons.")
    ] = False,
    where: Annotated[
        list[str] | None, typer.Option(help="Only layers of this name, with * for any letters; may be repeated.")
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="A .npy file with a batch of inputs, to which the new norms are fitted.")
    ] = None,
    architecture: Annotated[
        Path | None, typer.Option(help="With --from-tfa, for a file of weights: what the model's to_json wrote.")
    ] = None,
    keras: Annotated[
        bool, typer.Option("--keras", help="Write Keras's own layers, so that the file opens without tfnorm.")
    ] = False,
    imports: Imports = None,
    allow_lambda: AllowLambda = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
    batch_size: Annotated[
        str, typer.Option(metavar="N|open", help="Inputs at a time in an export, or open for any number.")
    ] = "open",
    quantize: Annotated[
        str | None, typer.Option(help="Make a .tflite file smaller: int8, float16 or dynamic (weights in 8 bits).")
    ] = None,
    representative: Annotated[
        str | None,
        typer.Option(
            help="Inputs to fit int8 and to check an export: .npy or .npz, a folder of pictures, or a data set."
        ),
    ] = None,
    data_dir: DataDir = None,
    no_check: Annotated[bool, typer.Option("--no-check", help="Do not compare an export with Keras.")] = False,
) -> None:
    """Change the norms of a saved Keras model, leave tensorflow-addons, or export it to LiteRT, ONNX or SavedModel.

    **Examples**

    `tfnorm convert resnet50.keras resnet50-gn.keras --to gn:32 --calibrate images.npy`

    `tfnorm convert vgg16.keras vgg16-bn.keras --insert bn --where "block*"`

    `tfnorm convert resnet50.keras resnet50-folded.keras --fold --keras`

    `tfnorm convert old.h5 new.keras --from-tfa`

    `tfnorm convert mine.keras mine-gn.keras --to gn:8 --import my_layers.py`

    `tfnorm convert model.keras model.tflite --quantize int8 --representative photos/`

    `tfnorm convert model.keras model.onnx --batch-size 1`

    `tfnorm convert model.keras served/`
    """
    conversion = FileConversion(
        source, target, to=to, insert=insert, fold=fold, from_tfa=from_tfa, where=where, calibrate=calibrate,
        architecture=architecture, stock=keras, imports=imports or (), allow_lambda=allow_lambda, force=force,
        batch_size=batch_size, quantize=quantize, representative=representative, data_dir=data_dir, no_check=no_check,
    )  # fmt: skip
    start_quietly()
    report, exported = conversion.run()
    print_conversion(report, exported or f"Wrote {target}")


@app.command()
def inspect(
    network: Annotated[
        str,
        typer.Argument(
            help="An architecture, a .keras or .h5 file, FILE.py:FUNCTION, package.module:FUNCTION, applications:NAME "
            "or kerashub:PRESET."
        ),
    ],
    norm: Annotated[
        str | None, typer.Option(help="Norm spec. [default: bn for an architecture, the norms of another network]")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="imagenet or a file for applications:NAME; fresh for a .keras file.")
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(
            help="HEIGHTxWIDTHxCHANNELS, for an architecture or a model that leaves it open. For sequences "
            "LENGTHxCHANNELS, for volumes DEPTHxHEIGHTxWIDTHxCHANNELS."
        ),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(help="Number of classes, for networks that take it. [default: 10 for an architecture]")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images per step, for the memory of activations.")] = 1,
    imports: Imports = None,
    allow_lambda: AllowLambda = False,
) -> None:
    """Show a network layer by layer: sizes, receptive fields, parameters, multiply-adds, activation memory.

    **Examples**

    `tfnorm inspect mnist_7k --norm ln`

    `tfnorm inspect runs/mnist_7k-digits/ln/seed-0/model.keras --batch-size 64`

    `tfnorm inspect applications:MobileNetV2 --norm gn:8 --input-shape 64x64x3 --classes 10`
    """
    sizes: dict[str, Any] = {"input_shape": input_shape, "batch_size": batch_size}
    saved = network.endswith((".keras", ".h5")) or (Path(network).is_file() and not network.endswith(".py"))
    own = saved or ":" in network or network.endswith(".py") or Path(network).is_dir() or is_application(network)
    if classes is not None and saved:
        raise TfnormError(f"--classes belongs to an architecture or a function, and {network} is a file. Leave it out.")
    if not saved:
        kind = "what makes a model" if own else "an architecture"
        for option, chosen in (("import", imports), ("allow-lambda", allow_lambda)):
            if chosen:
                raise TfnormError(f"--{option} belongs to a file, and {network} is {kind}. Leave it out.")
    if not own:
        if weights is not None:
            raise TfnormError(
                f"--weights belongs to applications:NAME or a .keras file, and {network} is an architecture. "
                "Leave it out."
            )
        given: dict[str, Any] = {"norm": norm, "num_classes": classes}
        given = {key: value for key, value in given.items() if value is not None}
        wide_console().print(inspect_architecture(network, **sizes, **given))
        return
    check_imports(imports or ())
    if norm is not None:
        parse(norm)
    notes: tuple[str, ...] = ()
    if saved and norm is None and weights is None:
        start_quietly()
        layers, report = inspect_saved(network, **sizes, imports=imports or (), allow_lambda=allow_lambda)
    else:
        source = source_of(network, weights=weights, imports=imports or (), allow_lambda=allow_lambda)
        start_quietly()
        layers, report, notes = inspect_source(source, norm, **sizes, num_classes=classes)
    wide_console().print(layers)
    console = print_changes(report, TITLES if norm is None else ("Changed", "Not changed"))
    for note in notes:
        console.print(f"Note: {note}.", soft_wrap=True, highlight=False, markup=False)


@app.command()
def check(
    model: Annotated[
        str,
        typer.Argument(
            help="A .keras or .h5 file, the folder of a finished run, FILE.py:FUNCTION, package.module:FUNCTION, "
            "applications:NAME or kerashub:PRESET."
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(help="A data set, a .npz file or a folder, to check the model with its training images."),
    ] = None,
    data_dir: DataDir = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images a training step on each device.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps that the training will take.")] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="RULE[:LAYER]", help="Leave out a rule, or a layer; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    imports: Imports = None,
    allow_lambda: AllowLambda = False,
) -> None:
    """Say what is wrong with the norms and penalties of a model. Exit code: 0, or 3 if there are warnings.

    **Examples**

    `tfnorm check resnet50.keras`

    `tfnorm check runs/mnist_7k-digits/bn/seed-0 --dataset digits`

    `tfnorm check my_net.py:make_model --batch-size 2 --steps 300 --ignore bias-before-norm`
    """
    ignored_of(ignore or ())
    check_imports(imports or ())
    place = place_of_model(model)
    if dataset is not None:
        find_source(dataset, data_dir)
    start_quietly()
    from tfnorm.checks.run import check as checked  # start-up
    from tfnorm.checks.run import fitting, opened  # start-up

    data = None if dataset is None else load(dataset, data_dir=data_dir)
    network = opened(place, imports=imports or (), allow_lambda=allow_lambda, data=data)
    x, y = (None, None) if data is None else fitting(network, data)
    findings = checked(network, x, y, batch_size=batch_size, steps=steps, ignore=ignore or ())
    if as_json:
        typer.echo(json.dumps(findings.to_json(), indent=1))
    else:
        wide_console().print(findings, soft_wrap=True)
    if findings.warnings:
        raise typer.Exit(3)


@app.command("list")
def list_() -> None:
    """Show architectures, norms, data sets, recipes, augmentations and the rules of check.

    **Examples**

    `tfnorm list`
    """
    bn = NormSpec("bn")
    parts = {
        "architectures": [(n, f"{plan(a, bn).trainable_parameters:,}", a.title) for n, a in ARCHITECTURES.items()],
        "norms": [(n, " ".join(f"{n}:{v}" for v in info.options), info.title) for n, info in NORMS.items()],
        "data sets": [(name, "", str(info)) for name, info in DATASETS.items()],
        "recipes": [(name, "", recipe.title) for name, recipe in RECIPES.items()],
        "augmentations": [(name, "", str(info)) for name, info in AUGMENTATIONS.items()],
        "rules of check": [(name, rule.severity, rule.title) for name, rule in RULES.items()],
    }
    notes = {"architectures": "parameters with bn", "norms": "variants", "rules of check": "severity"}
    console = wide_console()
    for title, rows in parts.items():
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("name", style="bold", overflow="fold")
        if title in notes:
            table.add_column(notes[title])
        table.add_column("")
        for name, note, text in rows:
            table.add_row(name, *([note] if title in notes else []), text)
        console.print(table)
        console.print()
