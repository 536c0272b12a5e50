"""How far apart the seeds of one published recipe end, in tfnorm and in PyTorch.

Run ``python benchmarks/seeds.py --data-dir DIR`` from the repository; ``--help`` lists the choices. Trains one row of a
published comparison with many seeds, in tfnorm and as the same network in PyTorch, in float32, with PyTorch's own
initialization, so that the one published accuracy can be placed among what the recipe gives, and what is missing can be
laid to the library or to something else. Where the learning rate falls in steps, the default stops soon after one, when
the accuracy has all but arrived. PyTorch's one-cycle schedule also cycles Adam's first beta, as it does unless told
otherwise, and tfnorm's does not. The images of A and D are moved by code written for PyTorch, those of B and E by
tfnorm's layer in both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(Path(__file__).parent))

import _measure

from tfnorm.datasets import Dataset, augmentation, load
from tfnorm.experiments.published.comparisons import load_published
from tfnorm.models.planner import plan
from tfnorm.spec import format, parse
from tfnorm.training.recipe.recipes import RECIPES


class System(NamedTuple):
    """The row of a published comparison; largest angles, of images moved in PyTorch, in degrees."""

    norm: str
    epochs: int
    rotation: float = 0.0
    shear: float = 0.0


SYSTEMS = {
    "A": System("gn:2", epochs=5, rotation=5.0, shear=5.0),
    "B": System("bn", epochs=20),
    "D": System("gn:1+l2=3.302e-3", epochs=7, rotation=7.0),
    "E": System("bn", epochs=10),
}


def train_tfnorm(name: str, norm: str, data: Dataset, seed: int, epochs: int) -> float:
    """Return the test accuracy in percent."""
    settings = load_published(name).settings
    return _measure.train_for_accuracy(**settings, norm=norm, seed=seed, epochs=epochs, data=data)


def train_torch(name: str, norm: str, data: Dataset, seed: int, epochs: int) -> float:
    """Return the test accuracy in percent of the same network, recipe and augmentation in PyTorch."""
    import torch
    from _torch_net import torch_network
    from torch.nn import functional

    system, recipe, spec = SYSTEMS[name], RECIPES[name], parse(norm)
    torch.manual_seed(seed)
    network = torch_network(plan(load_published(name).settings["arch"], spec))
    images, tests = (torch.tensor(x).permute(0, 3, 1, 2).float() for x in (data.x_train, data.x_test))
    labels, truth = (torch.tensor(y).long() for y in (data.y_train, data.y_test))
    augmented = _moved(system) if system.rotation else _layer(recipe.augmentation, seed, data)
    steps = -(-len(images) // recipe.batch_size)
    decay = 2 * spec.l2  # of a penalty l2 * sum(w ** 2)
    if recipe.optimizer == "adam":
        optimizer = torch.optim.Adam(network.parameters(), recipe.learning_rate, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=epochs * steps)
    else:
        optimizer = torch.optim.SGD(network.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, recipe.step_epochs * steps, recipe.step_factor)
    for _ in range(epochs):
        network.train()
        for chosen in torch.randperm(len(images)).split(recipe.batch_size):
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(augmented(images[chosen])), labels[chosen])
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        found = torch.cat([network(part).argmax(1) for part in tests.split(500)])
        right = int((found == truth).sum())
    return 100 * right / len(tests)


def _layer(preset: str, seed: int, data: Dataset) -> Callable[[Any], Any]:
    """Return tfnorm's augmentation as a function of a PyTorch tensor (batch, channels, height, width)."""
    import tensorflow as tf
    import torch

    layer = augmentation(preset, seed=seed, mean=data.mean)
    sizes = [None, *data.input_shape]
    run = tf.function(lambda x: layer(x, training=True), input_signature=[tf.TensorSpec(sizes, tf.float32)])
    return lambda x: torch.tensor(run(x.permute(0, 2, 3, 1).numpy()).numpy()).permute(0, 3, 1, 2)


def _moved(system: System) -> Callable[[Any], Any]:
    """Return a function that rotates and shears each image by its own angles."""
    import torch
    from torch.nn import functional

    limits = torch.tensor([[system.rotation], [system.shear]]).deg2rad()

    def move(images):
        angle, shear = ((torch.rand(2, len(images)) * 2 - 1) * limits).unbind()
        cos, sin, slope = angle.cos(), angle.sin(), shear.tan()
        matrix = torch.zeros(len(images), 2, 3)
        matrix[:, 0, 0], matrix[:, 0, 1] = cos, cos * slope - sin
        matrix[:, 1, 0], matrix[:, 1, 1] = sin, sin * slope + cos
        grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, align_corners=False)

    return move


LIBRARIES = {"tfnorm": train_tfnorm, "torch": train_torch}


def main(arguments: list[str] | None = None) -> None:
    """Train, print, and write JSON after each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", default="A", choices=SYSTEMS)
    norms = ", ".join(f"{system.norm} of {name}" for name, system in SYSTEMS.items())
    parser.add_argument("--norm", help=f"a row's spec; default: {norms}")
    parser.add_argument("--data-dir")
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES), choices=LIBRARIES)
    defaults = ", ".join(f"{system.epochs} of {name}" for name, system in SYSTEMS.items())
    parser.add_argument("--epochs", type=int, help=f"default: {defaults}")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--name", help="name of the file under results/; default seeds_SYSTEM")
    chosen = parser.parse_args(arguments)
    _measure.at_least(parser, chosen, "seeds", 2)
    system, settings = SYSTEMS[chosen.system], load_published(chosen.system).settings
    epochs = chosen.epochs or system.epochs
    data = load(settings["dataset"], data_dir=chosen.data_dir)
    spec = parse(chosen.norm or system.norm)
    if "torch" in chosen.libraries and (spec.l1 or spec.l2norm):
        parser.error(f"PyTorch is trained without penalties other than L2. Received: {chosen.norm}.")
    norm = format(spec)
    named = {"norm": norm, "arch": settings["arch"], "recipe": chosen.system}
    rows: list[dict] = [{"library": name, **named, "accuracies": []} for name in chosen.libraries]
    for seed in range(chosen.seeds):
        for row in rows:
            row["accuracies"].append(LIBRARIES[row["library"]](chosen.system, norm, data, seed, epochs))
        if not seed:
            continue
        for row in rows:
            row["mean"], row["std"] = statistics.mean(row["accuracies"]), statistics.stdev(row["accuracies"])
            print(f"{row['library']:<7}{seed + 1} seeds: {row['mean']:.2f} ± {row['std']:.2f}", flush=True)
        path = _measure.write(chosen.name or f"seeds_{chosen.system}", rows, seeds=seed + 1, epochs=epochs)
    print(f"Wrote {path}")


if __name__ == "__main__":
    main()
