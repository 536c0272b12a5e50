"""Test accuracy with the fast norms and dropout, with the generic ones, and in bfloat16.

Run ``python benchmarks/accuracy.py`` from the repository; ``--help`` lists the choices. Each way trains the same
network with the same seeds, so that what differs is the arithmetic; "generic" is the path of other backends, with
Keras's own dropout. Says for each norm whether the means lie within one standard deviation of the generic path's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(Path(__file__).parent))

import _measure

from tfnorm.ops import generic
from tfnorm.ops.tensorflow import compile as _tf_compile
from tfnorm.ops.tensorflow import norms as fast
from tfnorm.training.trainer import forget_graph

WAYS = {"fast": "float32", "generic": "float32", "fast bfloat16": "bfloat16"}


@contextmanager
def generic_path():
    """Have the layers compute what they would on another backend."""
    functions = {name: getattr(generic, name) for name in fast.__all__}
    with mock.patch.multiple(fast, **functions), mock.patch.object(_tf_compile, "compiles", lambda: False):
        yield


def accuracy(way: str, norm: str, seed: int, chosen: argparse.Namespace) -> float:
    """Return the test accuracy in percent after the last epoch."""
    settings = dict(arch=chosen.arch, dataset=chosen.dataset, data_dir=chosen.data_dir, epochs=chosen.epochs)
    return _measure.train_for_accuracy(norm=norm, seed=seed, precision=WAYS[way], **settings)


def compare(norm: str, chosen: argparse.Namespace) -> dict:
    """Return one row of the table."""
    row: dict = {"norm": norm, "arch": chosen.arch, "dataset": chosen.dataset, "accuracies": {}}
    for way in WAYS:
        forget_graph()  # the way is no part of what a graph is remembered by
        if way == "generic":
            with generic_path():
                found = [accuracy(way, norm, seed, chosen) for seed in range(chosen.seeds)]
        else:
            found = [accuracy(way, norm, seed, chosen) for seed in range(chosen.seeds)]
        row["accuracies"][way] = found
    forget_graph()
    means = {way: statistics.mean(found) for way, found in row["accuracies"].items()}
    deviations = {way: statistics.stdev(found) for way, found in row["accuracies"].items()}
    row["mean"], row["std"] = means, deviations
    row["within_one_std"] = {
        way: abs(means[way] - means["generic"]) <= max(deviations[way], deviations["generic"])
        for way in WAYS
        if way != "generic"
    }
    return row


def line(row: dict) -> str:
    """Return a row as a line of text."""
    parts = [f"{way} {row['mean'][way]:.2f} ± {row['std'][way]:.2f}" for way in WAYS]
    return f"{row['norm']:<6} " + "   ".join(parts) + f"   within one std: {row['within_one_std']}"


def plot_accuracies(rows: list[dict], path: Path) -> None:
    """Draw every run as a dot, a column a norm and way."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panel = plt.subplots(figsize=(8, 3.6), layout="constrained")
    colours = {"fast": "#0072B2", "generic": "#D55E00", "fast bfloat16": "#009E73"}
    for i, row in enumerate(rows):
        for j, (way, found) in enumerate(row["accuracies"].items()):
            places = [i + (j - 1) * 0.22] * len(found)
            panel.scatter(places, found, color=colours[way], alpha=0.6, label=None if i else way)
            panel.hlines(row["mean"][way], places[0] - 0.08, places[0] + 0.08, color=colours[way])
    panel.set_xticks(range(len(rows)), [row["norm"] for row in rows])
    panel.set_ylabel("test accuracy, %")
    panel.set_title(f"{rows[0]['arch']} on {rows[0]['dataset']}: a dot a seed, a line the mean")
    figure.legend(loc="outside right upper")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Train, print, write JSON and picture after each norm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--norms", nargs="+", default=["bn", "gn:2", "ln"])
    parser.add_argument("--arch", default="mnist_7k")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--name", default="accuracy", help="name of the files under results/")
    chosen = parser.parse_args(arguments)
    _measure.at_least(parser, chosen, "seeds", 2)
    rows = []
    for norm in chosen.norms:
        rows.append(compare(norm, chosen))
        print(line(rows[-1]), flush=True)
        path = _measure.write(chosen.name, rows, seeds=chosen.seeds, epochs=chosen.epochs)
        plot_accuracies(rows, path.with_suffix(".png"))
    print(f"Wrote {path} and {path.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
