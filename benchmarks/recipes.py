"""Ways to train the published networks better, tried on a held-out part of the training images.

Run ``python benchmarks/recipes.py SYSTEM --data-dir DIR`` from the repository, SYSTEM one of A to E; ``--help`` lists
the choices. Each candidate is a change of the system's own recipe. A tenth of the training images is held out and
evaluated on; the test images are not looked at. What is finished stands in ``--out``, is not trained again, and is part
of the table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(Path(__file__).parent))

import _measure

from tfnorm.experiments.engines.choose import check_failures, run_on
from tfnorm.experiments.plan import Plan, PlannedRun
from tfnorm.experiments.published.comparisons import load_published
from tfnorm.spec import format, parse
from tfnorm.training.config import TrainConfig, checked
from tfnorm.training.folder import flat_settings
from tfnorm.training.provenance import backend_words, machine_words, origins
from tfnorm.training.recipe.recipes import RECIPES
from tfnorm.training.runs import Run, slug

HOLDOUT = 0.1
# What is varied in all candidates: one cycle in place of steps, and no dropout, since the networks underfit.
CYCLE = {"schedule": "one_cycle", "dropout": 0.0}
SGD = {**CYCLE, "optimizer": "sgd", "learning_rate": 0.1, "nesterov": True}
MUON = {**CYCLE, "optimizer": "muon", "learning_rate": 0.02, "momentum": 0.95, "nesterov": False}
MNIST_SGD, MNIST_MUON = ({**base, "augmentation": "shift"} for base in (SGD, MUON))
CIFAR_SGD, CIFAR_MUON = ({**base, "augmentation": "flip_shift"} for base in (SGD, MUON))
CIFAR_NUDGED = {**CIFAR_MUON, "augmentation": "flip_nudge"}
CIFAR_DECAYED = {**CIFAR_NUDGED, "weight_decay": 0.1}
SMOOTHED = {"label_smoothing": 0.1}
AGAIN = {"recalibrate": True}
MNIST_SMOOTHED = {**MNIST_MUON, **SMOOTHED}
MNIST: dict[str, dict[str, Any]] = {
    "published": {},
    "sgd": MNIST_SGD,
    "sgd, batch 32": {**MNIST_SGD, "batch_size": 32, "kernel_initializer": "he_normal"},
    "muon": MNIST_MUON,
    "muon, batch 32": {**MNIST_MUON, "batch_size": 32},
    "muon, smoothed": MNIST_SMOOTHED,
    "muon, smoothed, recalibrated": {**MNIST_SMOOTHED, **AGAIN},
    "muon, smoothed, batch 32": {**MNIST_SMOOTHED, "batch_size": 32},
    "muon, smoothed, batch 128": {**MNIST_SMOOTHED, "batch_size": 128},
    "muon, smoothed, plain 2": {**MNIST_SMOOTHED, "plain_epochs": 2},
    "muon, smoothed, plain 5": {**MNIST_SMOOTHED, "plain_epochs": 5},
    "muon, smoothed, decay": {**MNIST_SMOOTHED, "weight_decay": 0.1},
    "muon, smoothed, adam 3": {**MNIST_SMOOTHED, "adam_ratio": 3.0},
    "muon, smoothed 0.2": {**MNIST_SMOOTHED, "label_smoothing": 0.2},
    "muon, nudge, smoothed": {**MNIST_SMOOTHED, "augmentation": "nudge"},
    "muon, nudge, smoothed, recalibrated": {**MNIST_SMOOTHED, "augmentation": "nudge", **AGAIN},
    "muon, sheared, smoothed, recalibrated": {**MNIST_SMOOTHED, "augmentation": "A", **AGAIN},
    "muon 0.01, smoothed": {**MNIST_SMOOTHED, "learning_rate": 0.01},
    "muon 0.04, smoothed": {**MNIST_SMOOTHED, "learning_rate": 0.04},
}
CIFAR: dict[str, dict[str, Any]] = {
    "published": {},
    "sgd": CIFAR_SGD,
    "muon": CIFAR_MUON,
    "muon 0.05": {**CIFAR_MUON, "learning_rate": 0.05},
    "muon 0.01": {**CIFAR_MUON, "learning_rate": 0.01},
    "muon 0.005": {**CIFAR_MUON, "learning_rate": 0.005},
    "muon, decay": {**CIFAR_MUON, "weight_decay": 0.1},
    "muon, decay, smoothed": {**CIFAR_MUON, "weight_decay": 0.1, **SMOOTHED},
    "muon, flip": {**CIFAR_MUON, "augmentation": "flip"},
    "muon, nudge": CIFAR_NUDGED,
    "muon, nudge, smoothed": {**CIFAR_NUDGED, **SMOOTHED},
    "muon, nudge, smoothed, recalibrated": {**CIFAR_NUDGED, **SMOOTHED, **AGAIN},
    "muon, nudge, smoothed, adam 0.3": {**CIFAR_NUDGED, **SMOOTHED, "adam_ratio": 0.3},
    "muon 0.01, nudge, smoothed": {**CIFAR_NUDGED, **SMOOTHED, "learning_rate": 0.01},
    "muon 0.005, nudge, smoothed": {**CIFAR_NUDGED, **SMOOTHED, "learning_rate": 0.005},
    "muon, cutout, smoothed": {**CIFAR_MUON, "augmentation": "C", **SMOOTHED},
    "muon 0.01, cutout, smoothed": {**CIFAR_MUON, "augmentation": "C", **SMOOTHED, "learning_rate": 0.01},
    "muon 0.01, smoothed": {**CIFAR_MUON, **SMOOTHED, "learning_rate": 0.01},
    "muon, nudge, plain 2": {**CIFAR_NUDGED, "plain_epochs": 2},
    "muon, nudge, adam 3": {**CIFAR_NUDGED, "adam_ratio": 3.0},
    "muon, nudge, batch 32": {**CIFAR_NUDGED, "batch_size": 32},
    "muon, nudge, batch 128": {**CIFAR_NUDGED, "batch_size": 128},
    "muon, nudge, early": {**CIFAR_NUDGED, "warmup": 0.1},
    "muon, nudge, decay": CIFAR_DECAYED,
    "muon, nudge, decay, smoothed": {**CIFAR_DECAYED, **SMOOTHED},
    "muon, nudge, decay, adam 0.1": {**CIFAR_DECAYED, "adam_ratio": 0.1},
    "muon, nudge, decay, adam 3": {**CIFAR_DECAYED, "adam_ratio": 3.0},
    "muon, nudge, decay, batch 32": {**CIFAR_DECAYED, "batch_size": 32},
    "muon, nudge, decay, batch 128": {**CIFAR_DECAYED, "batch_size": 128},
    "muon 0.05, nudge": {**CIFAR_NUDGED, "learning_rate": 0.05},
    "muon 0.01, nudge": {**CIFAR_NUDGED, "learning_rate": 0.01},
    "muon, batch 32": {**CIFAR_MUON, "batch_size": 32},
    "muon, smoothed": {**CIFAR_MUON, **SMOOTHED},
    "muon, early": {**CIFAR_MUON, "warmup": 0.1},
}
# The recipe of D has batches of 128.
OF_D = {
    f"{name}, batch 64": {**change, "batch_size": 64}
    for name, change in MNIST.items()
    if "muon" in name and "batch" not in name
}
CANDIDATES = {"A": MNIST, "B": CIFAR, "C": CIFAR, "D": MNIST | OF_D, "E": CIFAR}


def plan(system: str, candidate: str, norm: str, seed: int, chosen: argparse.Namespace) -> PlannedRun:
    """Return one run."""
    settings = load_published(system).settings
    recipe = {**RECIPES[system].model_dump(), **CANDIDATES[system][candidate], "name": candidate}
    values = {
        **settings, "recipe": recipe, "norm": norm, "seed": seed, "epochs": chosen.epochs,
        "precision": chosen.precision, "data_dir": chosen.data_dir, "holdout": HOLDOUT,
    }  # fmt: skip
    return PlannedRun(
        Path(slug(candidate)) / slug(norm) / f"seed-{seed}", checked(TrainConfig, values).resolved(), {"norm": norm}
    )


def main(arguments: list[str] | None = None) -> None:
    """Train, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", choices=CANDIDATES)
    parser.add_argument("--candidates", nargs="+", help="default: all")
    parser.add_argument("--norms", nargs="+", default=["bn"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--data-dir")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--out", help="folder of the runs; default runs/recipes-SYSTEM")
    parser.add_argument("--name", help="name of the file under results/; default recipes_SYSTEM")
    chosen = parser.parse_args(arguments)
    known = CANDIDATES[chosen.system]
    if wrong := [name for name in chosen.candidates or () if name not in known]:
        parser.error(f"There is no candidate {wrong[0]!r} for {chosen.system}. Use one of: {', '.join(known)}.")
    _measure.at_least(parser, chosen, "seeds", 1)
    norms, out = [format(parse(norm)) for norm in chosen.norms], Path(chosen.out or f"runs/recipes-{chosen.system}")
    planned = [
        plan(chosen.system, candidate, norm, seed, chosen)
        for candidate in chosen.candidates or known
        for norm in norms
        for seed in range(chosen.seeds)
    ]
    check_failures(run_on(Plan(out, planned, jobs=chosen.jobs)))
    runs = runs_of(out, chosen)
    rows = rows_of(runs, chosen)
    for row in rows:
        found = ", ".join(f"{value:.2f}" for value in row["held_out"])
        print(f"{row['candidate']:<42}{row['norm']:<12}{row['mean']:.2f}  {found}")
    name = chosen.name or f"recipes_{chosen.system}"
    settings = {"epochs": planned[0].config.epochs, "precision": chosen.precision, "holdout": HOLDOUT}
    places = origins(run.config for run in runs)
    settings["trained"] = [f"{machine_words(each['machine'])}, {backend_words(each['versions'])}" for each in places]
    print(f"Wrote {_measure.write(name, rows, system=chosen.system, **settings)}")


def runs_of(out: Path, chosen: argparse.Namespace) -> list[Run]:
    """Return all finished runs of these settings in a folder, without those of what a candidate once was."""
    found = []
    for path in sorted(out.glob("*/*/seed-*/result.json")):
        run = Run(path.parent)
        name = run.config["asked"]["recipe"]["name"]
        if name in CANDIDATES[chosen.system]:
            now = plan(chosen.system, name, run.label, run.seed, chosen).config.asked()
            if flat_settings(run.config["asked"]) == flat_settings(now):
                found.append(run)
    return found


def rows_of(runs: list[Run], chosen: argparse.Namespace) -> list[dict]:
    """Return candidate, norm and accuracies on the held-out images, in percent after the last epoch, one a seed."""
    found: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        name = run.config["asked"]["recipe"]["name"]
        found.setdefault((name, run.label), []).append(_measure.last_accuracy(run))
    known = CANDIDATES[chosen.system]
    return [
        {"candidate": name, "change": known[name], "norm": norm, "held_out": values, "mean": statistics.mean(values)}
        for (name, norm), values in found.items()
    ]


if __name__ == "__main__":
    main()
