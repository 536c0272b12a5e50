"""How much accuracy a network loses on CIFAR-10 whose images were compressed as JPEG, training and test images alike.

Run ``python benchmarks/jpeg.py --data-dir DIR`` from the repository; ``--help`` lists the choices. Trains batch norm
under recipe E on the images as they are and on the same images compressed once more at each quality, with the
resolution of the colours halved, as JPEG's usual writers do. Where the given images were JPEG already, the way from one
quality to the next hints at what the first compression cost.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import os
import statistics
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(Path(__file__).parent))

import _measure
import numpy as np
from PIL import Image

from tfnorm.datasets import Dataset, load

NORM, ARCH, RECIPE = "bn", "cifar_residual", "E"


def compressed(images: np.ndarray, quality: int) -> np.ndarray:
    """Return colour images (n, height, width, 3), uint8, as a JPEG of that quality, 4:2:0, gives them back."""
    decoded = np.empty_like(images)
    for index, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
        decoded[index] = np.asarray(Image.open(file))
    return decoded


def psnr(images: np.ndarray, others: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB: 10 log10(255² / mean squared difference)."""
    error = np.mean((images.astype("float32") - others) ** 2)
    return float(10 * np.log10(255**2 / error))


def main(arguments: list[str] | None = None) -> None:
    """Train, print, and write JSON after each quality."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir")
    parser.add_argument("--qualities", type=int, nargs="+", default=[75, 50, 25], help="of JPEG, 1 to 95")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--name", default="jpeg", help="name of the file under results/")
    chosen = parser.parse_args(arguments)
    _measure.at_least(parser, chosen, "seeds", 1)
    given = load("cifar10", data_dir=chosen.data_dir)
    settings = {"norm": NORM, "arch": ARCH, "recipe": RECIPE, "epochs": chosen.epochs, "precision": chosen.precision}
    rows: list[dict] = []
    for quality in [None, *chosen.qualities]:
        data = given if quality is None else at_quality(given, quality)
        row: dict = {"quality": quality, "psnr_db": None if quality is None else psnr(given.x_test, data.x_test)}
        row["accuracies"] = [
            _measure.train_for_accuracy(**settings, dataset="cifar10", seed=seed, data=data)
            for seed in range(chosen.seeds)
        ]
        row["mean"] = statistics.mean(row["accuracies"])
        rows.append(row)
        print(f"{'as given' if quality is None else f'quality {quality}':<12}{row['mean']:.2f} %", flush=True)
        path = _measure.write(chosen.name, rows, seeds=chosen.seeds, **settings)
    print(f"Wrote {path}")


def at_quality(data: Dataset, quality: int) -> Dataset:
    """Return the data set with all its images compressed."""
    changed = {name: compressed(getattr(data, name), quality) for name in ("x_train", "x_test")}
    return dataclasses.replace(data, **changed)


if __name__ == "__main__":
    main()
