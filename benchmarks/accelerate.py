"""Time of a training step of stock Keras models before and after `tfnorm.convert.accelerate`.

Run ``python benchmarks/accelerate.py`` from the repository; ``--help`` lists the choices. A step is what ``fit`` runs
for one batch: forward, backward, update by SGD with momentum, loss and accuracy, on a batch of uint8 images that is in
memory already. Both models are compiled in the same way and start from the same weights; the steps alternate.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(Path(__file__).parent))

import _measure
import keras
import numpy as np

import tfnorm

# Name: a model in Keras's own layers that gives logits, and the size of its batch.
MODELS: dict[str, tuple[Callable[[], keras.Model], int]] = {
    "ResNet-20": (lambda: tfnorm.convert.to_keras(tfnorm.build("resnet20", norm="bn", compile=False)), 64),
    "ResNet50": (lambda: keras.applications.ResNet50(weights=None, classifier_activation=None), 8),
    "MobileNetV2": (lambda: keras.applications.MobileNetV2(weights=None, classifier_activation=None), 8),
}


def compare(name: str, *, rounds: int, calls: int) -> dict:
    """Return one row of the table."""
    make, batch = MODELS[name]
    keras.utils.set_random_seed(0)
    stock = make()
    stock.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (batch, *stock.input_shape[1:]), "uint8")
    y = rng.integers(0, stock.output_shape[-1], batch)
    fast = tfnorm.convert.accelerate(stock)
    cases = {"keras": _measure.training_step(stock, x, y), "tfnorm": _measure.training_step(fast, x, y)}
    times = {case: _measure.summary(ms) for case, ms in _measure.interleave(cases, rounds=rounds, calls=calls).items()}
    return {
        "model": name,
        "batch": batch,
        "input": list(stock.input_shape[1:]),
        "times": times,
        "ratio": {"keras": times["keras"]["median_ms"] / times["tfnorm"]["median_ms"]},
    }


def line(row: dict) -> str:
    """Return a row as a line of text."""
    sizes = "x".join(map(str, (row["batch"], *row["input"])))
    parts = [f"{row['model']:<13}{sizes:<15}"]
    for case in ("keras", "tfnorm"):
        parts.append(f"{row['times'][case]['median_ms']:9.1f} ms ±{row['times'][case]['spread']:4.0%}")
    return " ".join([*parts, f"{row['ratio']['keras']:8.2f}"])


def x_speeds(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Return case to model to Keras's median time over the case's."""
    return {
        case: {
            f"{row['model']}\nbatch {row['batch']}, {row['input'][0]} x {row['input'][1]} pixels": (
                row["times"]["keras"]["median_ms"] / row["times"][case]["median_ms"]
            )
            for row in rows
        }
        for case in ("keras", "tfnorm")
    }


def plot_speeds(rows: list[dict], path: Path) -> None:
    """Draw the speed of training relative to stock Keras, a group of bars a model."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panel = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for i, (case, speeds) in enumerate(x_speeds(rows).items()):
        label, colour, _ = _measure.STYLES[case]
        bars = panel.bar(
            [place + (i - 0.5) * 0.4 for place in range(len(speeds))],
            speeds.values(),
            0.4,
            color=colour,
            label="accelerated by tfnorm" if case == "tfnorm" else f"{label}'s own layers",
        )
        panel.bar_label(bars, fmt="%.2f", fontsize="small")
        panel.set_xticks(range(len(speeds)), list(speeds))
    panel.margins(y=0.12)
    panel.set_xlabel("model")
    panel.set_ylabel("training steps in the time\nof one of stock Keras")
    figure.legend(loc="outside upper center", ncols=2, fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, write JSON and picture after each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=3, help="timed steps of a model a round")
    parser.add_argument("--name", default="accelerate", help="name of the files under results/")
    chosen = parser.parse_args(arguments)
    _measure.at_least(parser, chosen, "rounds", 2)
    print(" " * 28, f"{'keras':>12}", " " * 8, f"{'tfnorm':>8}", " " * 10, "keras/")
    rows = []
    for name in chosen.models:
        rows.append(compare(name, rounds=chosen.rounds, calls=chosen.calls))
        keras.backend.clear_session()
        print(line(rows[-1]), flush=True)
        path = _measure.write(chosen.name, rows, rounds=chosen.rounds, calls=chosen.calls)
        plot_speeds(rows, path.with_suffix(".png"))
    print(f"Wrote {path} and {path.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
