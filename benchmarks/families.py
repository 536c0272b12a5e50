"""Outputs of one model of each family of keras.applications after each conversion of `tfnorm.convert`.

Run ``python benchmarks/families.py`` from the repository; ``--help`` lists the choices. Each family has a process of
its own. The weights are random, gamma and beta of the norms between 0.5 and 1.5, and the moving statistics are those of
a batch, so that every layer matters at inference. A difference is the largest one of the logits over several images, as
a share of the largest distance of a logit from its mean over those images: what is the same for all images does not
count.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(Path(__file__).parent))

import _measure
import keras
import numpy as np

from tfnorm import convert
from tfnorm.convert.graph import Network
from tfnorm.convert.kinds import BATCH_NORMS, norm_kinds
from tfnorm.errors import TfnormError

# Family: a small model of it, and the side of its images: 64 pixels, or 96 where 64 are too few.
FAMILIES = {
    "ConvNeXt": ("ConvNeXtTiny", 64),
    "DenseNet": ("DenseNet121", 64),
    "EfficientNet": ("EfficientNetB0", 64),
    "EfficientNetV2": ("EfficientNetV2B0", 64),
    "InceptionResNetV2": ("InceptionResNetV2", 96),
    "InceptionV3": ("InceptionV3", 96),
    "MobileNet": ("MobileNet", 64),
    "MobileNetV2": ("MobileNetV2", 64),
    "MobileNetV3": ("MobileNetV3Small", 64),
    "NASNet": ("NASNetMobile", 64),
    "ResNet": ("ResNet50", 64),
    "ResNetV2": ("ResNet50V2", 64),
    "VGG": ("VGG16", 64),
    "Xception": ("Xception", 96),
}
# The largest difference that the rounding of float32 explains in the deepest of them.
MOST = 1e-3


def make(family: str) -> keras.Model:
    """Return the model of a family, which gives 10 logits."""
    name, side = FAMILIES[family]
    kind = getattr(keras.applications, name)
    return kind(weights=None, input_shape=(side, side, 3), classes=10, classifier_activation=None)


def randomize(model: keras.Model, x: np.ndarray, rng: np.random.Generator) -> list[keras.Layer]:
    """Give the norms weights of their own and the statistics of ``x``, and return them."""
    norms = [layer for layer in Network(model).everything if isinstance(layer, norm_kinds())]
    for layer in norms:
        for weight in (layer.gamma, layer.beta):
            if weight is not None:
                weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    batch_norms = [layer for layer in norms if isinstance(layer, BATCH_NORMS)]
    momenta = [layer.momentum for layer in batch_norms]
    for layer in batch_norms:
        layer.momentum = 0.0
    model(x, training=True)
    for layer, momentum in zip(batch_norms, momenta, strict=True):
        layer.momentum = momentum
    return norms


def replaced(model: keras.Model, spec: str) -> tuple[keras.Model | None, int]:
    """Return a model with other norms and their number, or None and 0 if it has no norms."""
    try:
        new, report = convert.replace_norms(model, spec, return_report=True)
    except TfnormError:
        return None, 0
    return new, len(report.changes)


def unequal_weights(model: keras.Model, other: keras.Model) -> int:
    """Return how many weights that both models have are not bit for bit the same."""
    values = {weight.path: weight for weight in other.weights}
    pairs = [(weight, values[weight.path]) for weight in model.weights if weight.path in values]
    return sum(not np.array_equal(a, b) for a, b in pairs)


def compare(family: str, *, images: int) -> dict:
    """Return one row of the table."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = make(family)
    x = rng.uniform(0, 255, (images, *model.input_shape[1:])).astype("float32")
    norms = randomize(model, x, rng)
    logits = np.asarray(model(x, training=False), "float64")
    scale = np.abs(logits - logits.mean(axis=0)).max()

    def difference(new: keras.Model | None) -> float | None:
        return None if new is None else float(np.abs(np.asarray(new(x, training=False)) - logits).max() / scale)

    folded, report = convert.fold_batch_norm(model, return_report=True)
    row = {
        "family": family,
        "model": model.name,
        "input": list(model.input_shape[1:]),
        "norms": len(norms),
        "folded": len(report.changes),
        "kept": len(report.kept),
        "difference": {"fold": difference(folded)},
    }
    del folded
    fast = convert.accelerate(model)
    row["difference"]["accelerate"] = difference(fast)
    stock = convert.to_keras(fast)
    row["difference"]["to_keras"] = difference(stock)
    row["same_configuration"] = stock.get_config() == model.get_config()
    row["unequal_weights"] = unequal_weights(model, fast) + unequal_weights(model, stock)
    del fast, stock
    same_kind = "bn" if any(isinstance(layer, BATCH_NORMS) for layer in norms) else "ln:channel"
    row["difference"]["replace"] = difference(replaced(model, same_kind)[0])
    other, row["replaced"] = replaced(model, "gn:8")
    row["unequal_weights"] += 0 if other is None else unequal_weights(model, other)
    return row


def faults(row: dict) -> list[str]:
    """Return what is wrong with a row, or nothing."""
    found = [
        f"{conversion} changes the logits by {value:.1e}"
        for conversion, value in row["difference"].items()
        if value is not None and not value < MOST
    ]
    counts = {"norms neither folded nor kept": 0, "norms not replaced": row["norms"] - row["replaced"]}
    if row["folded"] + row["kept"]:
        counts["norms neither folded nor kept"] = row["norms"] - row["folded"] - row["kept"]
    counts["weights changed"] = row["unequal_weights"]
    found += [f"{count} {what}" for what, count in counts.items() if count]
    return found + ([] if row["same_configuration"] else ["to_keras gives another configuration"])


def line(row: dict) -> str:
    """Return a row as a line of text."""
    parts = [f"{row['family']:<18}{row['norms']:4d} norms, {row['folded']:3d} folded, {row['replaced']:3d} replaced"]
    parts += [f"{name} {'–' if value is None else format(value, '.0e')}" for name, value in row["difference"].items()]
    return "   ".join([*parts, ", ".join(faults(row)) or "as it should be"])


def in_a_process(family: str, images: int) -> dict:
    """Return one row, computed by a process that gives its memory back."""
    command = [sys.executable, __file__, "--families", family, "--images", str(images), "--print"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def main(arguments: list[str] | None = None, row_of: Callable[[str, int], dict] = in_a_process) -> None:
    """Convert, print, write JSON after each row; end with 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--images", type=int, default=8, help="images that are compared")
    parser.add_argument("--name", default="families", help="name of the file under results/")
    parser.add_argument("--print", action="store_true", help="only print the rows, as JSON")
    chosen = parser.parse_args(arguments)
    _measure.at_least(parser, chosen, "images", 2)
    if chosen.print:
        for family in chosen.families:
            print(json.dumps(compare(family, images=chosen.images)), flush=True)
        return
    rows = []
    for family in chosen.families:
        rows.append(row_of(family, chosen.images))
        print(line(rows[-1]), flush=True)
        path = _measure.write(chosen.name, rows, images=chosen.images, most=MOST)
    print(f"Wrote {path}")
    if any(map(faults, rows)):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
