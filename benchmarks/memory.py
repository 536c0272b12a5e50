"""Peak memory of a training step: stock Keras, tfnorm and, if installed, PyTorch. Linux only.

Run ``python benchmarks/memory.py`` from the repository; ``--help`` lists the choices. Each measurement has a process of
its own, started anew. It trains a few steps on one batch, so that all is compiled and allocated that stays; then,
several times, it gives free memory back, resets the peak that Linux records, trains more steps, and reads by how much
the peak lies above where it started: activations, gradients and temporary tensors that live at the same time. Freed
memory goes back to the system at once, so that what is only kept for later does not count: the C library returns every
block of 64 KiB or more, and TensorFlow, which would keep a pool of its own with oneDNN, takes its memory from the C
library. "Whole process" is the largest resident size from start to end, libraries and compilers included.

Stock Keras is the same model in Keras's own layers (`tfnorm.convert.to_keras`); all train with SGD and momentum, the
network's dropout, float32, on a batch of uint8 images. PyTorch runs eagerly, in its default layout.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(Path(__file__).parent))

import _measure
import numpy as np

NETWORKS = {"cifar_residual": ("bn", "gn:4", "ln"), "mnist_7k": ("bn", "gn:2", "ln")}
LIBRARIES = ("keras", "tfnorm", "torch")
RESET = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
WARM_STEPS = 3
# Blocks from this size on are mapped one by one and unmapped when they are freed (mallopt(3)).
BLOCK = 64 * 1024
CHILD = {
    "MALLOC_MMAP_THRESHOLD_": str(BLOCK),
    "MALLOC_TRIM_THRESHOLD_": str(BLOCK),
    "MALLOC_TOP_PAD_": "0",
    "TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1",
    "CUDA_VISIBLE_DEVICES": "-1",
}


def batch_for(arch: str, norm: str, batch: int):
    """Return the plan of the network, and a batch of images and labels."""
    from tfnorm.models.planner import plan
    from tfnorm.spec import parse

    network = plan(arch, parse(norm))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, *network.input_shape), "uint8")
    return network, images, rng.integers(0, 10, batch)


def keras_step(arch: str, norm: str, batch: int, *, stock: bool) -> Callable[[], object]:
    """Return a call that trains a step of tfnorm's model, or of the same one in Keras's own layers."""
    import keras
    import tensorflow as tf

    import tfnorm

    _, x, y = batch_for(arch, norm, batch)
    model = tfnorm.build(arch, norm=norm, seed=0, compile=False)
    if stock:
        model = tfnorm.convert.to_keras(model)
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    model.make_train_function()
    batches = itertools.repeat((tf.constant(x), tf.constant(y)))
    return lambda: float(model.train_function(batches)["loss"])


def torch_step(arch: str, norm: str, batch: int) -> Callable[[], object]:
    """Return a call that trains a step of PyTorch's network."""
    import torch
    from _torch_net import torch_network

    network, x, y = batch_for(arch, norm, batch)
    torch.set_num_threads(_measure.machine()["cores"])
    module = torch_network(network)
    images, labels = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(y)
    optimizer = torch.optim.SGD(module.parameters(), 0.01, momentum=0.9)

    def step():
        optimizer.zero_grad(set_to_none=True)
        logits = module(images)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        (logits.argmax(1) == labels).float().mean()
        return loss.item()

    return step


def resident(key: str) -> float:
    """Return a size from the process's status, such as VmRSS, in MiB."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) / 1024


def growth(step: Callable[[], object], steps: int) -> tuple[float, float]:
    """Return by how much the resident size grows during ``steps`` at most, and the peak itself, in MiB."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    RESET.write_text("5")
    before = resident("VmRSS")
    for _ in range(steps):
        step()
    peak = resident("VmHWM")
    return peak - before, peak


def measure(library: str, arch: str, norm: str, batch: int, *, windows: int, steps: int) -> dict[str, float]:
    """Return what this process needs, in MiB: the median growth of several windows of steps, and its largest size."""
    if library == "torch":
        step = torch_step(arch, norm, batch)
    else:
        step = keras_step(arch, norm, batch, stock=library == "keras")
    for _ in range(WARM_STEPS):
        step()
    first = resident("VmHWM")
    growths, peaks = zip(*(growth(step, steps) for _ in range(windows)), strict=True)
    return {"step": statistics.median(growths), "process": max(first, *peaks)}


def fresh(*arguments: object) -> dict[str, float]:
    """Return what a process of its own measures."""
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **CHILD})
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def summary(sizes: list[float]) -> dict[str, float]:
    """Return median, minimum, maximum and spread (half the distance between the quartiles over the median)."""
    low, median, high = statistics.quantiles(sizes, n=4, method="inclusive")
    return {
        "median_mib": median,
        "minimum_mib": min(sizes),
        "maximum_mib": max(sizes),
        "spread": (high - low) / 2 / median,
    }


def compare(arch: str, norm: str, batch: int, libraries: list[str], *, repeats: int, windows: int, steps: int) -> dict:
    """Return one row of the table; the libraries take turns."""
    found: dict[str, list[dict[str, float]]] = {library: [] for library in libraries}
    for _ in range(repeats):
        for library in libraries:
            found[library].append(fresh(library, arch, norm, batch, windows, steps))
    memory = {
        library: {what: summary([one[what] for one in runs]) for what in ("step", "process")}
        for library, runs in found.items()
    }
    mine = memory["tfnorm"]["step"]["median_mib"]
    ratio = {
        f"tfnorm over {library}": mine / memory[library]["step"]["median_mib"]
        for library in libraries
        if library != "tfnorm"
    }
    return {"arch": arch, "norm": norm, "batch": batch, "memory": memory, "ratio": ratio}


def line(row: dict) -> str:
    """Return a row as a line of text."""
    parts = [f"{row['arch']:<15}{row['norm']:<6}{row['batch']:>5}"]
    for library in LIBRARIES:
        sizes = row["memory"].get(library)
        if sizes:
            step, process = sizes["step"], sizes["process"]
            parts.append(f"{step['median_mib']:8.1f} ±{step['spread']:4.0%} {process['median_mib']:7.0f}")
        else:
            parts.append(" " * 22)
    return " ".join([*parts, *(f"{ratio:12.2f}" for ratio in row["ratio"].values())])


def x_peaks(rows: list[dict]) -> dict[str, dict[str, dict[str, float]]]:
    """Return network and batch to library to norm to MiB."""
    data: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        panel = data.setdefault(f"{row['arch']}, batch {row['batch']}", {})
        for library, sizes in row["memory"].items():
            panel.setdefault(library, {})[row["norm"]] = sizes["step"]["median_mib"]
    return data


def plot_peaks(rows: list[dict], path: Path) -> None:
    """Draw the peak of a step, a panel a network and batch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    data = x_peaks(rows)
    columns = min(2, len(data))
    lines_of_panels = -(-len(data) // columns)
    figure, panels = plt.subplots(
        lines_of_panels,
        columns,
        figsize=(4.8 * columns, 2.8 * lines_of_panels + 0.5),
        squeeze=False,
        layout="constrained",
    )
    for panel in panels.flat[len(data) :]:
        panel.remove()
    for panel, (title, peaks) in zip(panels.flat, data.items(), strict=False):
        norms = list(dict.fromkeys(norm for sizes in peaks.values() for norm in sizes))
        for i, (library, sizes) in enumerate(peaks.items()):
            label, colour, _ = _measure.STYLES[library]
            shift = (i - (len(peaks) - 1) / 2) * 0.8 / len(peaks)
            places = [norms.index(norm) + shift for norm in sizes]
            panel.bar(places, sizes.values(), 0.8 / len(peaks), color=colour, label=label)
        panel.set_xticks(range(len(norms)), norms)
        panel.set_title(title, fontsize="medium")
    figure.supylabel("peak memory of a training step (MiB)", fontsize="medium")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    figure.savefig(path, dpi=100)
    plt.close(figure)


def unable() -> str | None:
    """Return a sentence that says why nothing can be measured here, or None."""
    if not RESET.exists() or not STATUS.exists():
        return f"Peak memory is read from Linux's /proc, which {sys.platform} does not have; nothing was measured."
    try:
        RESET.write_text("5")
    except OSError as error:
        return f"The recorded peak cannot be reset through {RESET} ({error.strerror}); nothing was measured."
    return None


def has_torch() -> bool:
    """Return whether PyTorch is installed, without importing it."""
    return "torch" in _measure.versions()


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, write JSON and picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archs", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--norms", nargs="+", help="default: bn, gn and ln with each network's groups")
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--repeats", type=int, default=3, help="processes of each library")
    parser.add_argument("--windows", type=int, default=5, help="peaks that a process measures")
    parser.add_argument("--steps", type=int, default=5, help="training steps of each peak")
    parser.add_argument("--name", default="memory", help="name of the files under results/")
    parser.add_argument("--child", nargs=6, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    reason = unable()
    if reason:
        sys.exit(reason)
    if chosen.child:
        library, arch, norm, *numbers = chosen.child
        batch, windows, steps = map(int, numbers)
        print(json.dumps(measure(library, arch, norm, batch, windows=windows, steps=steps)))
        return
    _measure.at_least(parser, chosen, "repeats", 2)
    settings = {"repeats": chosen.repeats, "windows": chosen.windows, "steps": chosen.steps}
    libraries = [library for library in LIBRARIES if library != "torch" or has_torch()]
    print("MiB of a step, spread, MiB of the whole process; tfnorm over the others")
    print(f"{'':<26}", *(f"{library:>22}" for library in LIBRARIES))
    rows = []
    for arch in chosen.archs:
        for norm in chosen.norms or NETWORKS[arch]:
            for batch in chosen.batches:
                rows.append(compare(arch, norm, batch, libraries, **settings))
                print(line(rows[-1]), flush=True)
    path = _measure.write(chosen.name, rows, **settings, block_bytes=BLOCK)
    plot_peaks(rows, path.with_suffix(".png"))
    print(f"Wrote {path} and {path.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
