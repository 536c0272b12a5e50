"""The command line: parse, call, print. Nothing here imports Keras before the arguments are known to be good."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tfnorm._version import __version__
from tfnorm.errors import TfnormError
from tfnorm.ops import start_quietly

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
    out: Annotated[Path | None, typer.Option(help="Folder for all files. [default: in runs/]")] = None,
    resume: Annotated[bool, typer.Option(help="Take up the runs in the folder, or refuse one that holds any.")] = True,
) -> None:
    """Train one network with each normalization, and say how they differ.

    With no argument: gn:2, ln and bn+l1=5e-4 on scikit-learn's digits, three seeds each, about four minutes.

    **Examples**

    `tfnorm compare`

    `tfnorm compare bn gn:4 ln --seeds 5 --epochs 10`

    `tfnorm compare bn gn:size=4 --arch cifar_plain --dataset cifar10 --data-dir ~/data --recipe B`
    """
    from tfnorm.compare.comparison import configurations

    settings = _settings(locals(), "specs", "seeds", "out", "resume")
    planned = configurations(specs or None, seeds=seeds, **settings)
    start_quietly()
    from tfnorm.compare.comparison import compare as run
    from tfnorm.compare.progress import LiveProgress

    console = Console(stderr=True)
    with _kept_on_ctrl_c(), LiveProgress(console, sum(config.epochs or 0 for config in planned)) as progress:
        comparison = run(specs or None, seeds=seeds, out=out, resume=resume, progress=progress, **settings)
    _print_table(comparison)


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
    out: Annotated[Path | None, typer.Option(help="Folder. [default: runs/ARCH-DATASET/SPEC/seed-SEED]")] = None,
) -> None:
    """Train one network and keep everything about it in a folder; a run that was broken off goes on.

    **Examples**

    `tfnorm train gn:2`

    `tfnorm train bn+l2=1e-4 --arch cifar_residual --dataset cifar10 --data-dir ~/data --recipe E --seed 1`
    """
    from tfnorm.training.config import TrainConfig, checked

    config = checked(TrainConfig, {"norm": spec, "seed": seed, **_settings(locals(), "spec", "seed", "out")}).resolved()
    config.plan()
    start_quietly()
    from tfnorm.compare.progress import LiveProgress
    from tfnorm.training.trainer import train as run

    with _kept_on_ctrl_c(), LiveProgress(Console(stderr=True), config.epochs or 0) as progress:
        result = run(config, out=out, progress=progress)
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
    """
    from tfnorm.compare.engines import default_jobs, unfinished, whole_number
    from tfnorm.compare.grid import load_grid
    from tfnorm.compare.sweep import check_threads, default_folder, find_grid

    whole_number("threads", threads)
    jobs = default_jobs(threads) if jobs is None else whole_number("jobs", jobs)
    file = find_grid(grid)
    folder = out or default_folder(file)
    planned = load_grid(file)
    check_threads(folder, threads)
    unfinished(planned, folder)
    if dry_run:
        _print_plan(planned, folder, jobs, threads)
        return
    from tfnorm.compare.live import SweepDisplay
    from tfnorm.compare.sweep import sweep as run

    with _kept_on_ctrl_c(), SweepDisplay(Console(stderr=True), folder) as progress:
        result = run(file, out=folder, jobs=jobs, threads=threads, progress=progress)
    _print_sweep(result)
    if result.failures:
        done, count = len(result.runs), len(result.failures)
        print(
            f"tfnorm: {count} of {done + count} runs failed, as said above and in {folder / 'sweep.json'}. "
            "The same command tries them again.",
            file=sys.stderr,
        )
        raise SystemExit(1)


@app.command()
def inspect(
    network: Annotated[str, typer.Argument(help="An architecture, or a .keras file.")],
    norm: Annotated[str, typer.Option(help="Norm spec, for an architecture.")] = "bn",
    input_shape: Annotated[str | None, typer.Option(help="HEIGHTxWIDTHxCHANNELS, for an architecture.")] = None,
    classes: Annotated[int, typer.Option(help="Number of classes, for an architecture.")] = 10,
) -> None:
    """Show a network layer by layer: output sizes and trainable parameters.

    **Examples**

    `tfnorm inspect mnist_7k --norm ln`

    `tfnorm inspect runs/mnist_7k-digits/ln/seed-0/model.keras`
    """
    from tfnorm.models.inspect import file_rows, plan_rows

    if network.endswith((".keras", ".h5")) or Path(network).is_file():
        start_quietly()
        title, rows = file_rows(network)
    else:
        title, rows = plan_rows(network, norm, input_shape, classes)
    table = Table(title=title, show_footer=True)
    table.add_column("layer", footer="total")
    table.add_column("kind")
    table.add_column("output (height x width x channels)")
    table.add_column("trainable parameters", justify="right", footer=f"{sum(row.parameters for row in rows):,}")
    for row in rows:
        table.add_row(row.name, row.kind, " x ".join(map(str, row.shape)), f"{row.parameters:,}")
    _wide_console().print(table)


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
    console = _wide_console()
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


def _wide_console() -> Console:
    """Return a console that does not fold tables where there is no terminal to fit."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def _print_table(comparison: Any) -> None:
    table = Table(title=comparison._title("Test results"))
    for heading in ("spec", "parameters", "best accuracy %", "last accuracy %", "data loss", "misclassified"):
        table.add_column(heading, justify="left" if heading == "spec" else "right")
    table.add_column("seconds", justify="right")
    table.add_column("images/s", justify="right")
    for spec, row in comparison.table.iterrows():
        best = f"{row['best_accuracy']:.2f}"
        last = f"{row['last_accuracy']:.2f}"
        if row["seeds"] > 1:
            best += f" ± {row['best_accuracy_std']:.2f}"
            last += f" ± {row['last_accuracy_std']:.2f}"
        diverged = f" ({row['diverged']:.0f} diverged)" if row["diverged"] else ""
        table.add_row(
            f"{spec}{diverged}",
            f"{row['parameters']:,.0f}",
            best,
            last,
            f"{row['test_data_loss']:.4f}",
            f"{row['misclassified']:.1f}",
            f"{row['seconds']:.1f}",
            f"{row['images_per_second']:,.0f}",
        )
    console = _wide_console()
    console.print(table)
    seeds = int(comparison.table["seeds"].iloc[0])
    spread = (
        f"mean ± standard deviation over {seeds} seeds; " if seeds > 1 else "one seed, which justifies no ranking; "
    )
    console.print(f"{spread}the best epoch is chosen on the test set, so rather read the last.", style="dim")
    console.print(comparison.verdict, soft_wrap=True, highlight=False)
    console.print(f"Pictures and tables: {comparison.path}", soft_wrap=True)


def _print_plan(planned: Any, folder: Path, jobs: int, threads: int) -> None:
    from tfnorm.compare.estimate import estimate_seconds, planned_rows

    rows = planned_rows(planned, folder)
    table = Table(title=f"{len(rows)} runs in {folder}")
    table.add_column("run")
    for heading in ("trainable parameters", "epochs", "state"):
        table.add_column(heading, justify="left" if heading == "state" else "right")
    for row in rows:
        begun = f"{row.done} epochs done" if row.done else "waiting"
        state = "finished" if row.finished else begun
        table.add_row(str(row.run.folder), f"{row.parameters:,}", str(row.epochs), state)
    console = _wide_console()
    console.print(table)
    left = sum(not row.finished for row in rows)
    if not left:
        console.print("Nothing is left to train.")
        return
    with _kept_on_ctrl_c(), Console(stderr=True).status("measuring a few steps of each kind of run"):
        seconds, unknown = estimate_seconds(rows, jobs=jobs, threads=threads)
    if unknown == left:
        console.print("How long they take could not be measured.")
        return
    without = f", {unknown} of them not counted because they could not be measured" if unknown else ""
    console.print(
        f"{left} runs are left: about {_duration(seconds)} with {min(jobs, left)} at the same time, from a few "
        f"measured steps{without}.",
        soft_wrap=True,
    )


def _duration(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def _print_sweep(result: Any) -> None:
    table = Table(title=f"Test results: {len(result.runs)} of {len(result.planned)} runs in {result.path}")
    for axis in result.axes:
        table.add_column(axis, justify="left" if axis == "norm" else "right")
    for heading in ("parameters", "seeds", "last accuracy %", "95 % interval", "data loss", "penalty", "misclassified"):
        table.add_column(heading, justify="right")
    table.add_column("seconds", justify="right")
    for row in result.table.to_dict("records"):
        several = row["seeds"] > 1
        diverged = f" ({row['diverged']} diverged)" if row["diverged"] else ""
        table.add_row(
            *("" if row[axis] is None or row[axis] != row[axis] else f"{row[axis]}" for axis in result.axes),
            f"{row['parameters']:,}",
            f"{row['seeds']}{diverged}",
            f"{row['last_accuracy']:.2f}" + (f" ± {row['last_accuracy_std']:.2f}" if several else ""),
            f"{row['last_accuracy_low']:.2f} to {row['last_accuracy_high']:.2f}" if several else "",
            f"{row['test_data_loss']:.4f}",
            f"{row['penalty']:.4f}",
            f"{row['misclassified']:.1f}",
            f"{row['seconds']:.1f}",
        )
    console = _wide_console()
    console.print(table)
    console.print("mean ± standard deviation over seeds, and the interval of the mean", style="dim")
    console.print(f"{'Pictures and tables' if result.plotted_axes else 'Tables'}: {result.path}", soft_wrap=True)


@contextmanager
def _kept_on_ctrl_c() -> Iterator[None]:
    """Say on Ctrl-C that nothing is lost, and exit with 130."""
    try:
        yield
    except KeyboardInterrupt:
        print("tfnorm: stopped; finished epochs are kept, and the same command goes on from there.", file=sys.stderr)
        raise SystemExit(130) from None


def main() -> None:
    """Run the command line: exit code 2 and one sentence on bad input, 1 on a failing disk."""
    try:
        app(standalone_mode=True)
    except TfnormError as error:
        print("\n".join(f"tfnorm: {line}" for line in str(error).splitlines()), file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        print(f"tfnorm: {error}", file=sys.stderr)
        raise SystemExit(1) from None
