"""The command line: parse, call, print. Nothing here imports Keras before the arguments are known to be good."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tfnorm._version import __version__
from tfnorm.errors import FailedRunsError, TfnormError, disk_sentence
from tfnorm.files import PAGE, check_format
from tfnorm.ops import start_quietly
from tfnorm.show import (
    kept_on_ctrl_c,
    print_conversion,
    print_layers,
    print_page,
    print_plan,
    print_reproduction,
    print_sweep,
    print_table,
    wide_console,
)

app = typer.Typer(
    name="tfnorm",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Find out which normalization and which regularization a convolutional network should use.",
)

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
TensorBoardFlag = Annotated[bool, typer.Option("--tensorboard", help="Write each run's history for TensorBoard too.")]
WandBFlag = Annotated[bool, typer.Option("--wandb", help="Log each run to Weights & Biases too.")]
PictureFormat = Annotated[str, typer.Option(help="Of the pictures: png, svg or pdf.")]
Engine = Annotated[str, typer.Option(help="Where runs are trained: local, or ray for a cluster.")]
Address = Annotated[str | None, typer.Option(help="Of the Ray cluster. [default: the one of this machine]")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"tfnorm {__version__}")
        raise typer.Exit


@app.command()
def compare(
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
    from tfnorm.compare.comparison import compare as run
    from tfnorm.compare.configurations import configurations
    from tfnorm.compare.engines import check_engine, whole_number
    from tfnorm.compare.live import SweepDisplay
    from tfnorm.compare.progress import LiveProgress
    from tfnorm.training.config import default_name

    settings = _settings(
        locals(), "specs", "seeds", "out", "resume", "jobs", "engine", "address", "format", "tensorboard", "wandb"
    )
    check_format(format)
    planned = configurations(specs or None, seeds=seeds, **settings)
    trackers = _trackers(tensorboard, wandb)
    check_engine(engine, address=address)
    here = jobs is None and engine == "local"
    if jobs is not None:
        whole_number("jobs", jobs)
    folder = out or Path("runs") / default_name(planned[0])
    start_quietly()
    console, epochs = Console(stderr=True), sum(config.epochs or 0 for config in planned)
    with kept_on_ctrl_c(), LiveProgress(console, epochs) if here else SweepDisplay(console, folder) as progress:
        comparison = run(
            specs or None, seeds=seeds, out=folder, resume=resume, progress=progress,
            jobs=jobs, engine=engine, address=address, trackers=trackers, format=format, **settings,
        )  # fmt: skip
    print_table(comparison)
    print_page(comparison.path / PAGE)


@app.command()
def train(
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

    settings = _settings(locals(), "spec", "seed", "out", "tensorboard", "wandb")
    config = checked(TrainConfig, {"norm": spec, "seed": seed, **settings}).resolved()
    config.plan()
    trackers = _trackers(tensorboard, wandb)
    start_quietly()
    from tfnorm.compare.progress import LiveProgress
    from tfnorm.training.trainer import train as run

    with kept_on_ctrl_c(), LiveProgress(Console(stderr=True), config.epochs or 0) as progress:
        result = run(config, out=out, progress=progress, trackers=trackers)
    last = result.history.iloc[-1]
    typer.echo(
        f"{result.label}, seed {result.seed}: {result.status} after {len(result.history)} epochs, "
        f"test accuracy {100 * last['val_accuracy']:.2f} %, test data loss {last['val_data_loss']:.4f}\n{result.path}"
    )


@app.command()
def sweep(
    grid: Annotated[str, typer.Argument(help="TOML file, or a study that comes with tfnorm: batch-size, groups.")],
    jobs: Annotated[
        int | None, typer.Option(help="Runs at the same time. [default: as many as there are cores and memory for]")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of each run; another number changes last digits.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder for all files. [default: runs/GRID]")] = None,
    engine: Engine = "local",
    address: Address = None,
    gpus: Annotated[float, typer.Option(help="GPUs of each run on a Ray cluster; 0.25 lets four share one.")] = 0.0,
    format: PictureFormat = "png",
    tensorboard: TensorBoardFlag = False,
    wandb: WandBFlag = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and an estimate of time, and stop.")
    ] = False,
) -> None:
    """Train every combination of a grid, several at the same time, and write one table.

    What is finished is not trained again, what was broken off goes on, and a run that fails stops no other. The number
    of jobs has no influence on any result.

    **Examples**

    `tfnorm sweep grid.toml --dry-run`

    `tfnorm sweep grid.toml --jobs 4`

    `tfnorm sweep batch-size`

    `tfnorm sweep grid.toml --engine ray --address 10.0.0.1:6379`
    """
    from tfnorm.compare.engines import check_engine, default_jobs, unfinished, whole_number
    from tfnorm.compare.grid import load_grid
    from tfnorm.compare.sweep import default_folder, find_grid
    from tfnorm.compare.sweep_folder import check_threads

    check_format(format)
    whole_number("threads", threads)
    check_engine(engine, address=address, gpus=gpus)
    trackers = _trackers(tensorboard, wandb)
    if jobs is not None:
        whole_number("jobs", jobs)
    file = find_grid(grid)
    folder = out or default_folder(file)
    planned = load_grid(file)
    check_threads(folder, threads)
    unfinished(planned, folder)
    if dry_run:
        print_plan(planned, folder, jobs or default_jobs(threads), threads)
        return
    from tfnorm.compare.live import SweepDisplay
    from tfnorm.compare.sweep import sweep as run

    with kept_on_ctrl_c(), SweepDisplay(Console(stderr=True), folder) as progress:
        result = run(
            file, out=folder, jobs=jobs, threads=threads, engine=engine, address=address, gpus=gpus,
            trackers=trackers, progress=progress, format=format,
        )  # fmt: skip
    print_sweep(result)
    print_page(result.path / PAGE)
    if result.failures:
        done, count = len(result.runs), len(result.failures)
        print(
            f"tfnorm: {count} of {done + count} runs failed, as said above and in {folder / 'sweep.json'}. "
            "The same command tries them again.",
            file=sys.stderr,
        )
        raise SystemExit(1)


@app.command()
def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of runs, of comparisons, of a sweep, or that hold many of them.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for all files. [default: the one given, or runs/report for several]")
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Compare runs that differ in more than norm and seed.")
    ] = False,
) -> None:
    """Write the report of runs that are on disk already, from several folders too, without training anything.

    It is one file, report.html, that opens without a network. Runs on different data, of different networks or of
    different recipes are refused, and the difference is said.

    **Examples**

    `tfnorm report runs/mnist_7k-digits`

    `tfnorm report runs/monday/bn runs/tuesday/gn-4 --out runs/both`

    `tfnorm report runs/batch-size`
    """
    from tfnorm.compare.collect import report as write
    from tfnorm.compare.comparison import Comparison

    result, page = write(runs, out=out, anyway=anyway)
    print_table(result) if isinstance(result, Comparison) else print_sweep(result, page.parent)
    print_page(page)


@app.command()
def reproduce(
    name: Annotated[str, typer.Argument(help="A published comparison, A to E; A+ to E+ under a better recipe.")],
    seeds: Annotated[int | None, typer.Option(help="Runs of each row. [default: what the comparison needs]")] = None,
    precision: Annotated[str | None, typer.Option(help="Of activations: float32 or bfloat16.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs, for a try. [default: those that were published]")] = None,
    data_dir: DataDir = None,
    out: Annotated[Path | None, typer.Option(help="Folder for all files. [default: runs/reproduce-NAME]")] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Runs at the same time. [default: as many as there are cores and memory for]")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and an estimate of time, and stop.")
    ] = False,
) -> None:
    """Train a published comparison again with its own recipe: its numbers beside ours, and what became of its claims.

    **Examples**

    `tfnorm reproduce A --data-dir ~/data`

    `tfnorm reproduce A+ --data-dir ~/data`

    `tfnorm reproduce E --data-dir ~/data --dry-run`
    """
    from tfnorm.compare.engines import default_jobs, unfinished, whole_number
    from tfnorm.compare.presets import load_preset
    from tfnorm.compare.reproduce import default_folder
    from tfnorm.compare.reproduce import reproduce as run

    settings: dict[str, Any] = {"seeds": seeds, "precision": precision, "epochs": epochs, "data_dir": data_dir}
    preset = load_preset(name)
    planned = [run for row in preset.plan(**settings).values() for run in row]
    if jobs is not None:
        whole_number("jobs", jobs)
    folder = out or default_folder(preset, precision=precision, epochs=epochs)
    unfinished(planned, folder)
    if dry_run:
        print_plan(planned, folder, jobs or default_jobs(), 1)
        return
    from tfnorm.compare.live import SweepDisplay

    with kept_on_ctrl_c(), SweepDisplay(Console(stderr=True), folder) as progress:
        result = run(name, out=folder, jobs=jobs, progress=progress, **settings)
    print_reproduction(result)
    print_page(result.path / PAGE)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A saved Keras model, .keras or .h5.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The .keras file to write.")],
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
    model: Annotated[
        Path | None, typer.Option(help="With --from-tfa, for a file of weights: what the model's to_json wrote.")
    ] = None,
    keras: Annotated[
        bool, typer.Option("--keras", help="Write Keras's own layers, so that the file opens without tfnorm.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
) -> None:
    """Change the norms of a saved Keras model: replace, insert or fold them, or leave tensorflow-addons.

    **Examples**

    `tfnorm convert resnet50.keras resnet50-gn.keras --to gn:32 --calibrate images.npy`

    `tfnorm convert vgg16.keras vgg16-bn.keras --insert bn --where "block*"`

    `tfnorm convert resnet50.keras resnet50-folded.keras --fold --keras`

    `tfnorm convert old.h5 new.keras --from-tfa`
    """
    from tfnorm.convert_file import file_conversion

    conversion = file_conversion(
        source, target, to=to, insert=insert, fold=fold, from_tfa=from_tfa, where=where or (), calibrate=calibrate,
        model=model, stock=keras, force=force,
    )  # fmt: skip
    start_quietly()
    print_conversion(conversion.run(), target)


@app.command()
def inspect(
    network: Annotated[str, typer.Argument(help="An architecture, or a .keras file.")],
    norm: Annotated[str, typer.Option(help="Norm spec, for an architecture.")] = "bn",
    input_shape: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTHxCHANNELS, for an architecture or a model that leaves it open.")
    ] = None,
    classes: Annotated[int, typer.Option(help="Number of classes, for an architecture.")] = 10,
    batch_size: Annotated[int, typer.Option(help="Images a step, for the memory of activations.")] = 1,
) -> None:
    """Show a network layer by layer: sizes, receptive fields, parameters, multiply-adds, activation memory.

    **Examples**

    `tfnorm inspect mnist_7k --norm ln`

    `tfnorm inspect runs/mnist_7k-digits/ln/seed-0/model.keras --batch-size 64`
    """
    from tfnorm.analysis.inspect import inspect_architecture, inspect_file

    if network.endswith((".keras", ".h5")) or Path(network).is_file():
        start_quietly()
        layers = inspect_file(network, input_shape=input_shape, batch_size=batch_size)
    else:
        layers = inspect_architecture(
            network, norm, input_shape=input_shape, num_classes=classes, batch_size=batch_size
        )
    print_layers(layers)


@app.command("list")
def list_() -> None:
    """Show architectures, norms, data sets, recipes and augmentations.

    **Examples**

    `tfnorm list`
    """
    from tfnorm.datasets import AUGMENTATIONS, DATASETS
    from tfnorm.models.architectures import ARCHITECTURES
    from tfnorm.models.plan import plan
    from tfnorm.spec import NORMS, NormSpec
    from tfnorm.training.recipes import RECIPES

    bn = NormSpec("bn")
    parts = {
        "architectures": [(n, f"{plan(a, bn).trainable_parameters:,}", a.title) for n, a in ARCHITECTURES.items()],
        "norms": [(n, " ".join(f"{n}:{v}" for v in info.variants), info.title) for n, info in NORMS.items()],
        "data sets": [(name, "", str(info)) for name, info in DATASETS.items()],
        "recipes": [(name, "", recipe.title) for name, recipe in RECIPES.items()],
        "augmentations": [(name, "", str(info)) for name, info in AUGMENTATIONS.items()],
    }
    notes = {"architectures": "parameters with bn", "norms": "variants"}
    console = wide_console()
    for title, rows in parts.items():
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("name", style="bold")
        if title in notes:
            table.add_column(notes[title])
        table.add_column("")
        for name, note, text in rows:
            table.add_row(name, *([note] if title in notes else []), text)
        console.print(table)
        console.print()


def _settings(values: dict[str, Any], *others: str) -> dict[str, Any]:
    """Return the arguments of a command that belong to the run's configuration."""
    return {key: value for key, value in values.items() if key not in others and not callable(value)}


def _trackers(tensorboard: bool, wandb: bool) -> tuple[str, ...]:
    """Return the names of the trackers asked for, each known to be installed."""
    from tfnorm.training.tracking import check_trackers

    return check_trackers([*(["tensorboard"] if tensorboard else []), *(["wandb"] if wandb else [])])


def main() -> None:
    """Run the command line: exit code 2 and one sentence on bad input, 1 on a failing disk."""
    try:
        app(standalone_mode=True)
    except TfnormError as error:
        print("\n".join(f"tfnorm: {line}" for line in str(error).splitlines()), file=sys.stderr)
        raise SystemExit(1 if isinstance(error, FailedRunsError) else 2) from None
    except OSError as error:
        print(f"tfnorm: {disk_sentence(error)}", file=sys.stderr)
        raise SystemExit(1) from None
