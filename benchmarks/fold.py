"""Time of inference of stock Keras models before and after `tfnorm.convert.fold_batch_norm`.

Run ``python benchmarks/fold.py`` from the repository; ``--help`` lists the choices. A call gives the logits of a batch
of float32 images that is in memory already, as one graph. The models start from the same random weights and moving
statistics. PyTorch, if it is installed, runs the same network with the same weights, as it is and with each batch norm
fused by ``torch.nn.utils.fusion``, in its faster memory format, channels last. All cases alternate.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
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
from tfnorm.ops import compiled

# Name: a model in Keras's own layers that gives logits, and the size of its batch.
MODELS: dict[str, tuple[Callable[[], keras.Model], int]] = {
    "ResNet50": (lambda: keras.applications.ResNet50(weights=None, classifier_activation=None), 8),
    "MobileNetV2": (lambda: keras.applications.MobileNetV2(weights=None, classifier_activation=None), 8),
}
LABELS = {"keras": "Keras", "folded": "Keras, folded by tfnorm", "torch": "PyTorch", "torch fused": "PyTorch, fused"}
COLOURS = {"keras": "#D55E00", "folded": "#0072B2", "torch": "#5F5F5F", "torch fused": "#A0A0A0"}


def randomize(model: keras.Model, rng: np.random.Generator) -> None:
    """Give the batch norms weights and moving statistics of their own."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])


def keras_call(model: keras.Model, x: np.ndarray) -> Callable[[], np.ndarray]:
    """Return a call of a Keras model at inference."""
    run, batch = compiled(functools.partial(model, training=False)), keras.ops.convert_to_tensor(x)
    return lambda: keras.ops.convert_to_numpy(run(batch))


def torch_calls(model: keras.Model, x: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Return calls of the same network in PyTorch, or none where it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return {}
    import torch
    from _torch_graph import TorchGraph

    batch = torch.from_numpy(x).permute(0, 3, 1, 2)  # channels last in memory

    def call(network) -> np.ndarray:
        with torch.inference_mode():
            return network(batch).numpy()

    networks = {"torch": TorchGraph(model), "torch fused": TorchGraph(model, fuse=True)}
    return {
        case: functools.partial(call, network.to(memory_format=torch.channels_last))
        for case, network in networks.items()
    }


def compare(name: str, *, rounds: int, calls: int) -> dict:
    """Return one row of the table."""
    make, batch = MODELS[name]
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    stock = make()
    randomize(stock, rng)
    folded, report = tfnorm.convert.fold_batch_norm(stock, return_report=True)
    x = rng.uniform(-1, 1, (batch, *stock.input_shape[1:])).astype("float32")
    cases = {"keras": keras_call(stock, x), "folded": keras_call(folded, x), **torch_calls(stock, x)}
    logits = {case: call() for case, call in cases.items()}
    largest = np.abs(logits["keras"]).max()
    times = {case: _measure.summary(ms) for case, ms in _measure.interleave(cases, rounds=rounds, calls=calls).items()}
    return {
        "model": name,
        "batch": batch,
        "input": list(stock.input_shape[1:]),
        "norms": {"folded": len(report.changes), "kept": len(report.kept)},
        "difference": {case: float(np.abs(out - logits["keras"]).max() / largest) for case, out in logits.items()},
        "times": times,
        "ratio": {case: times["keras"]["median_ms"] / times[case]["median_ms"] for case in times},
    }


def line(row: dict) -> str:
    """Return a row as a line of text."""
    parts = [f"{row['model']:<13}{'x'.join(map(str, (row['batch'], *row['input']))):<15}"]
    for case, times in row["times"].items():
        parts.append(f"{case} {times['median_ms']:.1f} ms ±{times['spread']:.0%}")
    parts.append(f"keras/folded {row['ratio']['folded']:.2f}")
    parts.append(f"difference {row['difference']['folded']:.1e}")
    return "   ".join(parts)


def x_speeds(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Return case to model to Keras's median time over the case's."""
    return {
        case: {
            f"{row['model']}\nbatch {row['batch']}, {row['input'][0]} x {row['input'][1]} pixels": row["ratio"][case]
            for row in rows
        }
        for case in rows[0]["ratio"]
    }


def plot_speeds(rows: list[dict], path: Path) -> None:
    """Draw the speed of inference relative to stock Keras, a group of bars a model."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panel = plt.subplots(figsize=(7, 3.6), layout="constrained")
    speeds = x_speeds(rows)
    width = 0.8 / len(speeds)
    for i, (case, bars) in enumerate(speeds.items()):
        places = [place + (i - (len(speeds) - 1) / 2) * width for place in range(len(bars))]
        drawn = panel.bar(places, bars.values(), width, color=COLOURS[case], label=LABELS[case])
        panel.bar_label(drawn, fmt="%.2f", fontsize="small")
        panel.set_xticks(range(len(bars)), list(bars))
    panel.margins(y=0.12)
    panel.set_xlabel("model")
    panel.set_ylabel("batches in the time\nof one of stock Keras")
    figure.legend(loc="outside upper center", ncols=len(speeds), fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, write JSON and picture after each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=3, help="timed calls of a model a round")
    parser.add_argument("--name", default="fold", help="name of the files under results/")
    chosen = parser.parse_args(arguments)
    _measure.at_least(parser, chosen, "rounds", 2)
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
