"""How fast resnet18 trains on a folder of JPEGs that are decoded when they are needed, against the same from memory.

Run ``python benchmarks/streaming.py`` from the repository; ``--help`` lists the choices. It writes JPEGs of 224 pixels
and trains on them at 128 pixels, as ``tfnorm train`` does: the same network, the same batches in the same order. Both
ways take turns, an epoch each, so that another load on the machine falls on both. *Reading* goes through the same
batches without a network.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(Path(__file__).parent))

import _measure
import keras
import numpy as np
from PIL import Image

import tfnorm
from tfnorm.datasets import Batches, Dataset, load
from tfnorm.training.recipe.recipes import RECIPES

# The memory that decoded pictures may take.
WAYS = {"memory": "4GB", "streamed": "1MB"}


def write_pictures(folder: Path, count: int, side: int) -> None:
    """Write so many different JPEGs of smooth noise, in two classes, of which a few are to test on."""
    rng = np.random.default_rng(0)
    for number in range(count + 4):
        place = folder / ("train" if number < count else "test") / "ab"[number % 2] / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (28, 28, 3), np.uint8)).resize((side, side)).save(place)


def epoch(model: keras.Model, data: Dataset, batch: int) -> Callable[[], object]:
    """Return a call that trains for an epoch."""
    batches = Batches(data.x_train, data.y_train, batch, seed=0).stream()
    return lambda: model.fit(batches, verbose=0)


def reading(data: Dataset, batch: int) -> Callable[[], object]:
    """Return a call that reads the batches of an epoch."""
    batches = Batches(data.x_train, data.y_train, batch, seed=0)
    return lambda: [batches.batch(index)[0].shape for index in range(len(batches))]


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--norm", default="gn:8")
    parser.add_argument("--pictures", type=int, default=128, help="pictures of an epoch")
    parser.add_argument("--side", type=int, default=224, help="of a picture, in pixels")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--name", default="streaming", help="name of the file under results/")
    chosen = parser.parse_args(arguments)
    _measure.at_least(parser, chosen, "rounds", 2)
    shape = (chosen.image_size, chosen.image_size, 3)
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), chosen.pictures, chosen.side)
        data = {way: load(folder, image_size=chosen.image_size, memory=memory) for way, memory in WAYS.items()}
        if isinstance(data["streamed"].x_train, np.ndarray):
            parser.error(f"{WAYS['streamed']} hold all pictures. Use more --pictures.")
        model = tfnorm.build(chosen.arch, norm=chosen.norm, input_shape=shape, num_classes=2, seed=0, compile=False)
        model.compile(
            RECIPES["default"].make_optimizer(1000, 20),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            steps_per_execution=min(8, -(-chosen.pictures // chosen.batch)),
        )
        cases = {way: epoch(model, each, chosen.batch) for way, each in data.items()}
        cases |= {f"reading, {way}": reading(each, chosen.batch) for way, each in data.items()}
        found = _measure.interleave(cases, rounds=chosen.rounds, calls=1)
    times = {case: _measure.summary(ms) for case, ms in found.items()}
    speeds = {case: chosen.pictures / time["median_ms"] * 1e3 for case, time in times.items()}
    rows = [
        {
            "arch": chosen.arch, "norm": chosen.norm, "batch": chosen.batch, "input": list(shape), "times": times,
            "images_per_second": speeds, "ratio": {"streamed over memory": speeds["streamed"] / speeds["memory"]},
        }
    ]  # fmt: skip
    for case, time in times.items():
        print(f"{case:<20}{time['median_ms']:9.0f} ms an epoch ±{time['spread']:4.0%} {speeds[case]:8.1f} images/s")
    print(f"streamed / memory: {rows[0]['ratio']['streamed over memory']:.3f}")
    path = _measure.write(chosen.name, rows, rounds=chosen.rounds, calls=1, pictures=chosen.pictures, side=chosen.side)
    print(f"Wrote {path}")


if __name__ == "__main__":
    main()
