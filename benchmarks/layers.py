"""Time of every norm layer and of dropout: stock Keras, tfnorm and, where it is installed, PyTorch.

Run ``python benchmarks/layers.py`` from the repository; ``--help`` lists the choices. Times are of one call inside a
compiled graph; "both" is the output and the gradients of input and weights. "copy" is a TensorFlow operation that reads
as many bytes as the input has and writes as many into a new tensor: a norm that did nothing but move its bytes would
take about 1 of them forward and 1.5 backward. "bare copy", PyTorch's, writes into memory that is there already.
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
import tensorflow as tf

from tfnorm import layers
from tfnorm.layers.dropout import Dropout

try:
    import torch
    import torch.nn.functional as torch_ops
except ImportError:
    torch = None

SHAPES = [(64, 32, 32, 32), (64, 16, 16, 64), (32, 28, 28, 128), (8, 56, 56, 256), (64, 26, 26, 8)]
RATE = 0.02

# Name: Keras's layer (or None) and ours.
PAIRS = {
    "bn": (keras.layers.BatchNormalization, layers.BatchNormalization),
    "ln": (
        lambda **kwargs: keras.layers.LayerNormalization(axis=(1, 2, 3), **kwargs),
        lambda **kwargs: layers.LayerNormalization(axis=(1, 2, 3), **kwargs),
    ),
    "ln:channel": (keras.layers.LayerNormalization, layers.LayerNormalization),
    "gn:4": (
        lambda **kwargs: keras.layers.GroupNormalization(4, **kwargs),
        lambda **kwargs: layers.GroupNormalization(4, **kwargs),
    ),
    "in": (lambda **kwargs: keras.layers.GroupNormalization(-1, **kwargs), layers.InstanceNormalization),
    "rms": (keras.layers.RMSNormalization, layers.RMSNormalization),
    "frn": (None, layers.FilterResponseNormalization),
    "dropout": (
        lambda **kwargs: keras.layers.Dropout(RATE, seed=1, **kwargs),
        lambda **kwargs: Dropout(RATE, seed=1, **kwargs),
    ),
}


def keras_call(make: Callable, x: np.ndarray, dtype: str, direction: str) -> Callable[[], object]:
    """Return a call of the layer that ``make`` makes, in a compiled graph."""
    layer = make(dtype="float32" if dtype == "float32" else f"mixed_{dtype}")
    layer.build(x.shape)
    weights = [variable.value for variable in layer.trainable_variables]
    x = tf.cast(x, dtype)

    @tf.function
    def forward(x):
        return layer(x, training=True)

    @tf.function
    def both(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, tape.gradient(y, [x, *weights], upstream)

    return (lambda: forward(x)) if direction == "forward" else (lambda: both(x, x))


def torch_call(name: str, x: np.ndarray, dtype: str, direction: str) -> Callable[[], object] | None:
    """Return a call of PyTorch's function, channels last, or None where it has none."""
    if torch is None or name == "frn":
        return None
    torch.set_num_threads(_measure.machine()["cores"])
    batch, height, width, channels = x.shape
    source = torch.from_numpy(x).to(getattr(torch, dtype))
    shape = {"ln": (height, width, channels)}.get(name, (channels,))
    source = source.requires_grad_()
    weight, bias = torch.ones(shape, requires_grad=True), torch.zeros(shape, requires_grad=True)
    if name in ("ln", "ln:channel", "rms"):  # these normalize the last axes, so the layout stays as it is
        weight, bias = (w.detach().to(source.dtype).requires_grad_() for w in (weight, bias))
    running = torch.zeros(channels), torch.ones(channels)
    calls = {
        "bn": lambda x: torch_ops.batch_norm(x, *running, weight, bias, training=True),
        "ln": lambda x: torch_ops.layer_norm(x, shape, weight, bias),
        "ln:channel": lambda x: torch_ops.layer_norm(x, shape, weight, bias),
        "gn:4": lambda x: torch_ops.group_norm(x, 4, weight, bias),
        "in": lambda x: torch_ops.instance_norm(x, weight=weight, bias=bias),
        "rms": lambda x: torch_ops.rms_norm(x, shape, weight),
        "dropout": lambda x: torch_ops.dropout(x, RATE),
    }
    seen = source if name in ("ln", "ln:channel", "rms") else source.permute(0, 3, 1, 2)  # channels_last in memory
    upstream = seen.detach().clone()

    def forward():
        with torch.no_grad():
            return calls[name](seen)

    def both():
        wanted = [source, *([weight] if name == "rms" else [] if name == "dropout" else [weight, bias])]
        return torch.autograd.grad(calls[name](seen), wanted, upstream)

    return forward if direction == "forward" else both


def copy_calls(x: np.ndarray, dtype: str) -> dict[str, Callable[[], object]]:
    """Return calls that read as many bytes as ``x`` has in ``dtype`` and write as many.

    The bytes are float32, since TensorFlow's addition of bfloat16 takes longer than moving them.
    """
    numbers = x.reshape(-1)[: x.size * tf.as_dtype(dtype).size // 4]
    source, one = tf.constant(numbers), tf.ones([])
    calls: dict[str, Callable[[], object]] = {"copy": tf.function(lambda: source + one)}
    if torch is not None:
        origin = torch.from_numpy(numbers)
        target = torch.empty_like(origin)
        calls["bare copy"] = lambda: target.copy_(origin)
    return calls


def compare(name: str, shape, dtype: str, direction: str, rounds: int) -> dict:
    """Return one row of the table."""
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    stock, ours = PAIRS[name]
    cases = {"tfnorm": keras_call(ours, x, dtype, direction)}
    if stock is not None:
        cases["keras"] = keras_call(stock, x, dtype, direction)
    other = torch_call(name, x, dtype, direction)
    if other is not None:
        cases["torch"] = other
    cases |= copy_calls(x, dtype)
    times = {case: _measure.summary(ms) for case, ms in _measure.interleave(cases, rounds=rounds).items()}
    mine = times["tfnorm"]["median_ms"]
    return {
        "norm": name,
        "shape": list(shape),
        "dtype": dtype,
        "direction": direction,
        "times": times,
        "ratio": {case: time["median_ms"] / mine for case, time in times.items()},
        "copies": mine / times["copy"]["median_ms"],
    }


def line(row: dict) -> str:
    """Return a row as a line of text."""
    sizes = "x".join(map(str, row["shape"]))
    parts = [f"{row['norm']:<11}{sizes:<15}{row['dtype']:<9}{row['direction']:<8}"]
    for case in ("tfnorm", "keras", "torch", "copy"):
        time = row["times"].get(case)
        parts.append(f"{time['median_ms']:8.2f} ±{time['spread']:4.0%}" if time else " " * 14)
    parts += [f"{row['ratio'][case]:7.2f}" if case in row["ratio"] else " " * 7 for case in ("keras", "torch")]
    return " ".join([*parts, f"{row['copies']:7.1f}"])


def x_ratios(rows: list[dict], dtype: str) -> dict[str, dict[str, float]]:
    """Return norm to shape to Keras's time over ours, forward and backward."""
    data: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["dtype"] == dtype and row["direction"] == "both" and "keras" in row["ratio"]:
            data.setdefault(row["norm"], {})["x".join(map(str, row["shape"]))] = row["ratio"]["keras"]
    return data


def plot_ratios(rows: list[dict], path: Path) -> None:
    """Draw Keras's time over ours, a panel a dtype, a bar a shape."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    dtypes = list(dict.fromkeys(row["dtype"] for row in rows))
    figure, panels = plt.subplots(len(dtypes), 1, figsize=(9, 3.2 * len(dtypes)), squeeze=False, layout="constrained")
    for panel, dtype in zip(panels[:, 0], dtypes, strict=True):
        data = x_ratios(rows, dtype)
        shapes = list(dict.fromkeys(shape for ratios in data.values() for shape in ratios))
        for i, shape in enumerate(shapes):
            places = [j + (i - (len(shapes) - 1) / 2) * 0.8 / len(shapes) for j in range(len(data))]
            heights = [ratios.get(shape, 0.0) for ratios in data.values()]
            panel.bar(places, heights, 0.8 / len(shapes), label=shape)
        panel.axhline(1, color="black", linewidth=0.8)
        panel.set_xticks(range(len(data)), list(data))
        panel.set_ylabel("Keras's time / tfnorm's")
        panel.set_title(f"Forward and backward, {dtype}")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, write JSON and picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--norms", nargs="+", default=list(PAIRS), choices=list(PAIRS))
    parser.add_argument("--shapes", nargs="+", default=["x".join(map(str, s)) for s in SHAPES], metavar="NxHxWxC")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--directions", nargs="+", default=["forward", "both"], choices=["forward", "both"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--name", default="layers", help="name of the files under results/")
    chosen = parser.parse_args(arguments)
    _measure.at_least(parser, chosen, "rounds", 2)
    shapes = [tuple(map(int, shape.split("x"))) for shape in chosen.shapes]
    titles = [f"{case} ms" for case in ("tfnorm", "keras", "torch", "copy")]
    print(" " * 43, *(f"{title:>14}" for title in titles), f"{'keras/':>7} {'torch/':>7}  copies")
    rows = []
    for dtype in chosen.dtypes:
        for name in chosen.norms:
            for shape in shapes:
                for direction in chosen.directions:
                    rows.append(compare(name, shape, dtype, direction, chosen.rounds))
                    print(line(rows[-1]), flush=True)
    path = _measure.write(chosen.name, rows, rounds=chosen.rounds)
    plot_ratios(rows, path.with_suffix(".png"))
    print(f"Wrote {path} and {path.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
