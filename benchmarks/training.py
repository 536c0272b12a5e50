"""Time of a training step of the networks of systems A, B and E: stock Keras, tfnorm and, if installed, PyTorch.

Run ``python benchmarks/training.py`` from the repository; ``--help`` lists the choices. A step is what ``fit`` runs for
one batch: forward, backward, update, loss and accuracy, with the network's dropout and its recipe's optimizer, on a
batch of uint8 images that is in memory already. Stock Keras is the same model in Keras's own layers
(`tfnorm.convert.to_keras`), compiled in the same way; PyTorch is tried in every way it offers on a CPU.
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
from tfnorm import convert
from tfnorm.models.planner import plan
from tfnorm.spec import parse
from tfnorm.training.recipe.recipes import RECIPES

try:
    import torch
    from _torch_net import torch_network
except ImportError:
    torch = None

# Network: its norms (system E trains them with 4 groups) and its recipe.
NETWORKS = {
    "mnist_7k": (("bn", "gn:2", "ln"), "A"),
    "cifar_plain": (("bn", "gn:2", "ln"), "B"),
    "cifar_residual": (("bn", "gn:4", "ln"), "E"),
}
DTYPES = ("float32", "bfloat16")
COLOURS = {
    "Keras": _measure.STYLES["keras"][1],
    "tfnorm": _measure.STYLES["tfnorm"][1],
    "tfnorm, bfloat16": "#56B4E9",
    "PyTorch, its best": _measure.STYLES["torch"][1],
}


def keras_step(model: keras.Model, recipe: str, x: np.ndarray, y: np.ndarray) -> Callable[[], object]:
    """Return a call that trains ``model`` for a step."""
    model.compile(
        RECIPES[recipe].make_optimizer(1000, 20),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    return _measure.training_step(model, x, y)


def torch_step(network, recipe: str, x: np.ndarray, y: np.ndarray, dtype: str, way: str) -> Callable[[], object]:
    """Return a call that trains PyTorch's network for a step, in one of its ways."""
    torch.manual_seed(0)
    module = torch_network(network)
    images, labels = torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(y)
    if way == "eager":
        images = images.contiguous()
    else:
        module, images = module.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    settings = RECIPES[recipe]
    if settings.optimizer == "adam":
        optimizer = torch.optim.Adam(module.parameters(), settings.learning_rate)
    else:
        optimizer = torch.optim.SGD(module.parameters(), settings.learning_rate, momentum=settings.momentum)
    forward = torch.compile(module) if way == "compile" else module

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            logits = forward(images)
        loss = torch.nn.functional.cross_entropy(logits.float(), labels)
        loss.backward()
        optimizer.step()
        (logits.argmax(1) == labels).float().mean()
        return loss.item()

    return step


def compare(arch: str, norm: str, batch: int, *, rounds: int, calls: int, ways: list[str], dtypes: list[str]) -> dict:
    """Return one row of the table."""
    recipe = NETWORKS[arch][1]
    network = plan(arch, parse(norm))
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (batch, *network.input_shape), "uint8")
    y = rng.integers(0, 10, batch)
    cases = {}
    for dtype in dtypes:
        ours = tfnorm.build(arch, norm=norm, precision=dtype, seed=0, compile=False)
        cases[f"keras {dtype}"] = keras_step(convert.to_keras(ours), recipe, x, y)
        cases[f"tfnorm {dtype}"] = keras_step(ours, recipe, x, y)
        for way in ways if torch is not None else ():
            cases[f"torch {dtype} {way}"] = torch_step(network, recipe, x, y, dtype, way)
    times = {case: _measure.summary(ms) for case, ms in _measure.interleave(cases, rounds=rounds, calls=calls).items()}
    median = {case: time["median_ms"] for case, time in times.items()}
    best, ratio = {}, {}
    for dtype in dtypes:
        mine = median[f"tfnorm {dtype}"]
        ratio[f"keras {dtype}"] = median[f"keras {dtype}"] / mine
        if dtype != "float32" and "keras float32" in median:
            ratio[f"{dtype} over keras float32"] = median["keras float32"] / mine
        theirs = [case for case in median if case.startswith(f"torch {dtype}")]
        if theirs:
            best[dtype] = min(theirs, key=median.get)
            ratio[f"torch {dtype}"] = median[best[dtype]] / mine
    return {"arch": arch, "norm": norm, "batch": batch, "times": times, "best": best, "ratio": ratio}


def lines(row: dict) -> str:
    """Return a row as lines of text."""
    text = [f"{row['arch']} {row['norm']} batch {row['batch']}"]
    for case, time in row["times"].items():
        speed = row["batch"] / time["median_ms"] * 1e3
        text.append(f"  {case:<28}{time['median_ms']:9.2f} ms ±{time['spread']:4.0%} {speed:8.0f} images/s")
    text.append("  tfnorm is faster by: " + ", ".join(f"{case} {ratio:.2f}" for case, ratio in row["ratio"].items()))
    return "\n".join(text)


def x_speeds(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Return images a second of each case, by network, norm and batch."""
    cases = {"Keras": "keras float32", "tfnorm": "tfnorm float32", "tfnorm, bfloat16": "tfnorm bfloat16"}
    data: dict[str, dict[str, float]] = {label: {} for label in [*cases, "PyTorch, its best"]}
    for row in rows:
        place = f"{row['arch']}\n{row['norm']}"
        chosen = {**cases, "PyTorch, its best": row["best"].get("float32")}
        for label, case in chosen.items():
            if case in row["times"]:
                data[label][place] = row["batch"] / row["times"][case]["median_ms"] * 1e3
    return {label: speeds for label, speeds in data.items() if speeds}


def plot_speeds(rows: list[dict], path: Path) -> None:
    """Draw images a second, a panel a batch size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    batches = sorted({row["batch"] for row in rows})
    figure, panels = plt.subplots(
        len(batches), 1, figsize=(10, 3.2 * len(batches)), squeeze=False, layout="constrained"
    )
    for panel, batch in zip(panels[:, 0], batches, strict=True):
        data = x_speeds([row for row in rows if row["batch"] == batch])
        places = list(dict.fromkeys(place for speeds in data.values() for place in speeds))
        for i, (label, speeds) in enumerate(data.items()):
            shift = (i - (len(data) - 1) / 2) * 0.8 / len(data)
            heights = [speeds.get(place, 0.0) for place in places]
            starts = [j + shift for j in range(len(places))]
            panel.bar(starts, heights, 0.8 / len(data), label=label, color=COLOURS[label])
        panel.set_xticks(range(len(places)), places, fontsize="small")
        panel.set_ylabel("images a second")
        panel.set_title(f"Training, batch {batch} (higher is better)")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, write JSON and picture after each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archs", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--norms", nargs="+", help="default: bn, gn and ln with each system's groups")
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 16, 256])
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=DTYPES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=3, help="timed steps of a case a round")
    parser.add_argument("--compile", nargs="*", type=int, default=[64], help="batches where torch.compile takes part")
    parser.add_argument("--name", default="training", help="name of the files under results/")
    parser.add_argument("--add", action="store_true", help="keep the file's other rows; measure only the chosen ones")
    chosen = parser.parse_args(arguments)
    _measure.at_least(parser, chosen, "rounds", 2)
    if torch is not None:
        torch.set_num_threads(_measure.machine()["cores"])
    settings = {"rounds": chosen.rounds, "calls": chosen.calls}
    rows = _measure.earlier(chosen.name, **settings) if chosen.add else []
    for batch in chosen.batches:
        ways = ["eager", "channels-last", *(["compile"] if batch in chosen.compile else [])]
        for arch in chosen.archs:
            for norm in chosen.norms or NETWORKS[arch][0]:
                row = compare(arch, norm, batch, ways=ways, dtypes=chosen.dtypes, **settings)
                keras.backend.clear_session()
                print(lines(row), flush=True)
                places = [(old["arch"], old["norm"], old["batch"]) for old in rows]
                if (arch, norm, batch) in places:
                    rows[places.index((arch, norm, batch))] = row
                else:
                    rows.append(row)
                path = _measure.write(chosen.name, rows, **settings)
                plot_speeds(rows, path.with_suffix(".png"))
    print(f"Wrote {path} and {path.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
