"""What was really trained, read back from the built model."""

from __future__ import annotations

import functools
import importlib.metadata
import math
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras

from tfnorm._version import __version__
from tfnorm.datasets import Dataset
from tfnorm.keras_settings import settings_now
from tfnorm.ops import accelerator_name
from tfnorm.training.config import TrainConfig
from tfnorm.training.provenance import threads
from tfnorm.training.runs import fingerprint


def describe(network: keras.Model, config: TrainConfig, data: Dataset) -> dict[str, Any]:
    """Return what was really built, read back from the model."""
    weights = network.trainable_variables
    kernels = [keras.ops.convert_to_numpy(w) for w in weights if w.name == "kernel"]
    return {
        "trainable_parameters": int(sum(math.prod(weight.shape) for weight in weights)),
        "layers": [describe_layer(layer) for layer in network.layers],
        "regularized": {w.path: type(w.regularizer).__name__ for w in weights if w.regularizer is not None},
        "initial_kernels": fingerprint(kernels),
        "initial_weights": fingerprint([keras.ops.convert_to_numpy(weight) for weight in weights]),
        "data": {**data.describe(), "data_dir": config.data_dir and str(config.data_dir)},
        **({"call": config.call} if config.call else {}),
        **origin(),
    }


def origin() -> dict[str, Any]:
    """Return by what, on what and when something is computed."""
    return {
        "versions": {
            "tfnorm": __version__,
            "python": platform.python_version(),
            "backend": keras.backend.backend(),
            "revision": source_revision(),
            **{name: _version(name) for name in ("keras", keras.backend.backend(), "numpy")},
        },
        "machine": {
            "platform": platform.platform(),
            "processor": processor_name(),
            "cores": os.cpu_count(),
            "threads": threads(),
            **({"accelerator": accelerator} if (accelerator := accelerator_name()) else {}),
        },
        "keras_settings": {name: value for name, value in settings_now().items() if value is not None},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # a build under another name, such as tensorflow-cpu
        return getattr(sys.modules.get(package), "__version__", None)


@functools.cache
def source_revision() -> str | None:
    """Return the git revision that this package's files belong to, with "+changes" if any differs; None without git."""
    package = Path(__file__).parents[1]

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(package), *words],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=True,
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # not the repository around a virtual environment
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def processor_name() -> str:
    """Return the processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def describe_layer(layer) -> dict[str, Any]:
    """Return name, class, output shape and, for a norm, the arguments that say what it normalizes."""
    description = {"name": layer.name, "class": type(layer).__name__, "shape": list(layer.output.shape[1:])}
    for word in ("axis", "groups", "group_size", "epsilon", "momentum", "synchronized", "rate"):
        if isinstance(getattr(layer, word, None), (int, float, list, tuple)):
            description[word] = getattr(layer, word)
    return description
