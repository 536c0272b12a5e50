"""How much accuracy a network loses on CIFAR-10 whose images were compressed as JPEG, training and test images alike.

Run ``python benchmarks/jpeg.py --data-dir DIR`` from the repository; ``--help`` lists the choices. Trains batch norm
under recipe E on the images as they are and on the same images compressed once more at each quality, with the
resolution of the colours halved, as JPEG's usual writers do. Where the given images were JPEG already, compressing them
once more at their own quality changes next to nothing, since the blocks hold what that quality keeps; with blocks that
lie beside the first ones (``--shift``) detail is lost once more, though less than at first. ``--halved`` makes images
whose first compression can be watched, and then the second: the mean of each 2 x 2 pixels has colours of the full
resolution again, and of what the given images lost little is left in it.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(Path(__file__).parent))

import _measure
import numpy as np
from PIL import Image

from tfnorm.datasets import Dataset, load

NORM, ARCH, RECIPE = "bn", "cifar_residual", "E"


def compressed(images: np.ndarray, quality: int, shift: int = 0) -> np.ndarray:
    """Return colour images (n, height, width, 3), uint8, as a JPEG of that quality, 4:2:0, gives them back.

    The blocks of 8 x 8 pixels begin ``shift`` pixels above and to the left of the image, in its mirror image.
    """
    height, width = images.shape[1:3]
    decoded = np.empty_like(images)
    for index, image in enumerate(images):
        file = io.BytesIO()
        wider = np.pad(image, ((shift, 0), (shift, 0), (0, 0)), mode="symmetric")
        Image.fromarray(wider).save(file, "JPEG", quality=quality, subsampling="4:2:0")
        decoded[index] = np.asarray(Image.open(file))[shift : shift + height, shift : shift + width]
    return decoded


def psnr(images: np.ndarray, others: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB: 10 log10(255² / mean squared difference)."""
    error = np.mean((images.astype("float32") - others) ** 2)
    return float(10 * np.log10(255**2 / error))


def main(arguments: list[str] | None = None) -> None:
    """Train, print, and write JSON after each quality."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir")
    parser.add_argument("--halved", action="store_true", help="halve the side first, then compress once and twice")
    parser.add_argument("--qualities", type=int, nargs="+", default=[75, 50, 25], help="of JPEG, 1 to 95")
    parser.add_argument("--shift", type=int, default=5, help="pixels between the blocks and the image's corner")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--name", default="jpeg", help="name of the file under results/")
    chosen = parser.parse_args(arguments)
    _measure.at_least(parser, chosen, "seeds", 1)
    _measure.at_least(parser, chosen, "shift", 0)
    given = load("cifar10", data_dir=chosen.data_dir)
    settings = {"norm": NORM, "arch": ARCH, "recipe": RECIPE, "epochs": chosen.epochs, "precision": chosen.precision}
    shifts = [chosen.shift]
    if chosen.halved:
        given, shifts = changed(given, halved), [0, chosen.shift]
    rows: list[dict] = []
    for quality, times, data in versions(given, chosen.qualities, shifts):
        row: dict = {"quality": quality, "times": times}
        row["psnr_db"] = psnr(given.x_test, data.x_test) if times else None
        row["accuracies"] = [
            _measure.train_for_accuracy(**settings, dataset="cifar10", seed=seed, data=data)
            for seed in range(chosen.seeds)
        ]
        row["mean"] = statistics.mean(row["accuracies"])
        rows.append(row)
        what = f"quality {quality}{', twice' if times > 1 else ''}" if times else "as given"
        print(f"{what:<18}{row['mean']:.2f} %", flush=True)
        path = _measure.write(
            chosen.name, rows, seeds=chosen.seeds, shift=chosen.shift, side=given.input_shape[0], **settings
        )
    print(f"Wrote {path}")


def versions(
    given: Dataset, qualities: Sequence[int], shifts: Sequence[int]
) -> Iterator[tuple[int | None, int, Dataset]]:
    """Yield quality, times compressed, and data: as given, then at each quality once for the first shift, and so on."""
    yield None, 0, given
    for quality in qualities:
        data = given
        for times, shift in enumerate(shifts, 1):
            data = changed(data, compressed, quality, shift)
            yield quality, times, data


def halved(images: np.ndarray) -> np.ndarray:
    """Return the mean of each 2 x 2 pixels of images (n, height, width, channels), uint8, of even height and width."""
    count, height, width, channels = images.shape
    squares = images.reshape(count, height // 2, 2, width // 2, 2, channels)
    return np.rint(squares.mean((2, 4), dtype="float32")).astype("uint8")


def changed(data: Dataset, function: Callable[..., np.ndarray], *arguments: int) -> Dataset:
    """Return the data set with ``function`` of all its images."""
    both = {name: function(getattr(data, name), *arguments) for name in ("x_train", "x_test")}
    return dataclasses.replace(data, **both)


if __name__ == "__main__":
    main()
