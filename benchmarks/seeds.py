"""How far apart the seeds of one recipe end, in tfnorm and in PyTorch.

Run ``python benchmarks/seeds.py --data-dir DIR`` from the repository; ``--help`` lists the choices. Trains gn:2 under
recipe A (SGD 0.1, momentum 0.9, x0.1 every 2 epochs) with many seeds, in tfnorm and as the same network in PyTorch with
PyTorch's own initialization, so that the one published accuracy can be placed among what the recipe gives. The default
stops after 5 of the 20 epochs, when the learning rate is 0.001 and the accuracy has all but arrived.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(Path(__file__).parent))

import _measure

from tfnorm.datasets import Dataset, load
from tfnorm.models.plan import plan
from tfnorm.spec import parse
from tfnorm.training.recipes import RECIPES

RECIPE, ARCH, NORM = RECIPES["A"], "mnist_7k", "gn:2"
DEGREES = 5.0


def train_tfnorm(data: Dataset, seed: int, epochs: int) -> float:
    """Return the test accuracy in percent."""
    settings = dict(norm=NORM, arch=ARCH, dataset="mnist", recipe=RECIPE, seed=seed, epochs=epochs)
    return _measure.train_for_accuracy(**settings, data=data)


def train_torch(data: Dataset, seed: int, epochs: int) -> float:
    """Return the test accuracy in percent of the same network, recipe and augmentation in PyTorch."""
    import torch
    from _torch_net import torch_network
    from torch.nn import functional

    torch.manual_seed(seed)
    network = torch_network(plan(ARCH, parse(NORM)))
    images, tests = (torch.tensor(x).permute(0, 3, 1, 2).float() for x in (data.x_train, data.x_test))
    labels, truth = (torch.tensor(y).long() for y in (data.y_train, data.y_test))
    optimizer = torch.optim.SGD(network.parameters(), RECIPE.learning_rate, momentum=RECIPE.momentum)
    falling = torch.optim.lr_scheduler.StepLR(optimizer, RECIPE.step_epochs, RECIPE.step_factor)
    for _ in range(epochs):
        network.train()
        for chosen in torch.randperm(len(images)).split(RECIPE.batch_size):
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(_moved(images[chosen])), labels[chosen])
            loss.backward()
            optimizer.step()
        falling.step()
    network.eval()
    with torch.no_grad():
        found = torch.cat([network(part).argmax(1) for part in tests.split(500)])
        right = int((found == truth).sum())
    return 100 * right / len(tests)


def _moved(images):
    """Rotate and shear each image by its own angles."""
    import torch
    from torch.nn import functional

    angle, shear = ((torch.rand(2, len(images)) * 2 - 1) * math.radians(DEGREES)).unbind()
    cos, sin, slope = angle.cos(), angle.sin(), shear.tan()
    matrix = torch.zeros(len(images), 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = cos, cos * slope - sin
    matrix[:, 1, 0], matrix[:, 1, 1] = sin, sin * slope + cos
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


LIBRARIES = {"tfnorm": train_tfnorm, "torch": train_torch}


def main(arguments: list[str] | None = None) -> None:
    """Train, print, and write JSON after each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--name", default="seeds", help="name of the file under results/")
    chosen = parser.parse_args(arguments)
    _measure.at_least(parser, chosen, "seeds", 2)
    data = load("mnist", data_dir=chosen.data_dir)
    rows = [
        {"library": name, "norm": NORM, "arch": ARCH, "recipe": RECIPE.name, "accuracies": []} for name in LIBRARIES
    ]
    for seed in range(chosen.seeds):
        for row in rows:
            row["accuracies"].append(LIBRARIES[row["library"]](data, seed, chosen.epochs))
        if not seed:
            continue
        for row in rows:
            row["mean"], row["std"] = statistics.mean(row["accuracies"]), statistics.stdev(row["accuracies"])
            print(f"{row['library']:<7}{seed + 1} seeds: {row['mean']:.2f} ± {row['std']:.2f}", flush=True)
        path = _measure.write(chosen.name, rows, seeds=seed + 1, epochs=chosen.epochs)
    print(f"Wrote {path}")


if __name__ == "__main__":
    main()
