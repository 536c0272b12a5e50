"""Times callables against each other, and records where and with what."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

# Read when PyTorch is imported. Its OpenMP threads wait for each other awake by default, so that one other busy process
# costs it tens of milliseconds a call; asleep, its fastest calls take as long as awake.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("tensorflow", "keras", "torch", "numpy", "tfnorm")
# Label, colour (Okabe and Ito's) and marker of each library in pictures.
STYLES = {
    "tfnorm": ("tfnorm", "#0072B2", "o"),
    "keras": ("Keras", "#D55E00", "s"),
    "torch": ("PyTorch", "#5F5F5F", "^"),
}


def versions() -> dict[str, str]:
    """Return the version of each package that is installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, object]:
    """Return what the times depend on besides the code: processor, cores, load."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"processor": model, "cores": cores, "load": load, "system": platform.platform(terse=True)}


def at_least(parser: argparse.ArgumentParser, chosen: argparse.Namespace, name: str, least: int) -> None:
    """End with a sentence if the option ``--name`` is below ``least``."""
    if getattr(chosen, name) < least:
        parser.error(f"--{name} must be at least {least}. Received: {getattr(chosen, name)}.")


def last_accuracy(run) -> float:
    """Return the test accuracy in percent, or that on held-out images, after a run's last epoch."""
    return 100 * float(run.history["val_accuracy"].iloc[-1])


def train_for_accuracy(**settings) -> float:
    """Return the `last_accuracy` of a run of `tfnorm.training.trainer.train` that leaves no files."""
    from tfnorm.training.trainer import train

    with tempfile.TemporaryDirectory() as folder:
        return last_accuracy(train(**settings, out=folder))


def training_step(model, x, y) -> Callable[[], object]:
    """Return a call that trains a compiled Keras model for a step, on a batch that is in memory already."""
    import tensorflow as tf

    model.make_train_function()
    batches = iter(tf.data.Dataset.from_tensors((x, y)).cache().repeat().prefetch(2))
    return lambda: float(model.train_function(batches)["loss"])


def interleave(cases: Mapping[str, Callable[[], object]], *, rounds: int = 7, calls: int = 3) -> dict[str, list[float]]:
    """Return milliseconds a call of each case, one number a round.

    Each round runs every case in turn, so that another load on the machine falls on all of them; compare medians of
    the same table only.

    Args:
        cases: Name to callable; each returns only when its work is done.
        rounds: Number of rounds.
        calls: Timed calls of a case a round, after one that is not timed.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    for call in cases.values():
        call()
    for _ in range(rounds):
        for name, call in cases.items():
            call()
            start = time.perf_counter()
            for _ in range(calls):
                call()
            times[name].append((time.perf_counter() - start) / calls * 1e3)
    return times


def summary(times: list[float]) -> dict[str, float]:
    """Return median, minimum and spread (half the distance between the quartiles over the median)."""
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return {"median_ms": median, "minimum_ms": min(times), "spread": (high - low) / 2 / median}


def earlier(name: str, **settings) -> list[dict]:
    """Return the rows of ``results/name.json``, which must come from this machine, these versions and settings."""
    record = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    there = (record["machine"]["processor"], record["machine"]["cores"], record["versions"], record["settings"])
    here = (machine()["processor"], machine()["cores"], versions(), settings)
    if there != here:
        raise SystemExit(f"Rows cannot be added to {name}.json: it was measured with {there}, and now it is {here}.")
    return record["rows"]


def write(name: str, rows: list[dict], **settings) -> Path:
    """Write ``rows`` with machine and versions to ``results/name.json``, whole or not at all."""
    RESULTS.mkdir(exist_ok=True)
    record = {
        "schema_version": 1,
        "benchmark": name,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "settings": settings,
        "rows": rows,
    }
    path = RESULTS / f"{name}.json"
    partial = path.with_suffix(".json.partial")
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    return path
