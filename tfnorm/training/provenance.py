"""Where the numbers of a run come from: network, call, versions and machine, as a record and in words."""

from __future__ import annotations

import functools
import importlib.metadata
import math
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from tfnorm._version import __version__
from tfnorm.datasets import Dataset
from tfnorm.datasets.given.own import OwnData
from tfnorm.errors import RunError
from tfnorm.keras_settings import BACKENDS, THREADS, chosen_backend, settings_now
from tfnorm.ops import accelerator_name
from tfnorm.spec import NormSpec
from tfnorm.training.config import TrainConfig
from tfnorm.training.runs import fingerprint

if TYPE_CHECKING:
    import keras


def describe(network: keras.Model, data: Dataset, config: TrainConfig) -> dict[str, Any]:
    """Return what was built, read back from the model, from which data, and where and when."""
    import keras  # start-up

    weights = network.trainable_variables
    values = [keras.ops.convert_to_numpy(weight) for weight in weights]
    backend = keras.backend.backend()
    return {
        **{key: value for key in ("call", "rates") if (value := getattr(config, key))},
        "trainable_parameters": count_trainable(network),
        "layers": [describe_layer(layer) for layer in network.layers],
        "regularized": {w.path: type(w.regularizer).__name__ for w in weights if w.regularizer is not None},
        "initial_kernels": fingerprint([value for w, value in zip(weights, values, strict=True) if w.name == "kernel"]),
        "initial_weights": fingerprint(values),
        "data": {
            **data.describe(),
            "data_dir": config.data_dir and str(config.data_dir),
            **({"own": str(config.dataset)} if isinstance(config.dataset, OwnData) else {}),
        },
        "versions": {
            "tfnorm": __version__,
            "python": platform.python_version(),
            "backend": backend,
            "revision": source_revision(),
            **{name: _version(name) for name in ("keras", backend, "numpy")},
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


def count_trainable(network: keras.Model) -> int:
    """Return the number of trainable parameters."""
    return int(sum(math.prod(weight.shape) for weight in network.trainable_variables))


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
            capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=10, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # not the repository around a virtual environment
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def processor_name() -> str:
    """Return the processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def describe_layer(layer: Any) -> dict[str, Any]:
    """Return name, class and output shape of a layer, and for a norm the arguments that say what it normalizes."""
    description = {"name": layer.name, "class": type(layer).__name__, "shape": _output_shape(layer)}
    for word in ("axis", "groups", "group_size", "epsilon", "momentum", "synchronized", "rate"):
        if isinstance(getattr(layer, word, None), (int, float, list, tuple)):
            description[word] = getattr(layer, word)
    if getattr(layer, "frozen", False) is True:
        description["frozen"] = True
    return description


def _output_shape(layer: Any) -> list[int | None]:
    """Return the shape of a layer's output, of its first one if there are several, without the batch."""
    output = layer._inbound_nodes[0].output_tensors[0]
    return list(output.shape[1:])


def threads() -> int | None:
    """Return the number of threads that Keras's backend was told to compute with, or None if it was not."""
    told = os.environ.get(THREADS.get(chosen_backend(), ""), "")
    return int(told) if told.isdigit() else None


def shell_call(arguments: Sequence[str]) -> str:
    """Return a call of the command line as a shell takes it, with what chose the backend and its threads.

    Example:
        >>> shell_call(["train", "bn", "--out", "my runs"])
        "...tfnorm train bn --out 'my runs'"
    """
    names = ("KERAS_BACKEND", THREADS.get(chosen_backend(), ""))
    chosen = [f"{name}={shlex.quote(os.environ[name])}" for name in names if os.environ.get(name)]
    return " ".join([*chosen, shlex.join(["tfnorm", *arguments])])


def python_call(function: str, *values: Any, **arguments: Any) -> str:
    """Return a call as Python writes it, without arguments that are None; data and other objects are ``...``.

    Example:
        >>> python_call("tfnorm.compare", ["bn"], seeds=2, out=Path("runs/a"), data=object(), epochs=None)
        "tfnorm.compare(['bn'], seeds=2, out='runs/a', data=...)"
    """
    words = [_literal(value) for value in values if value is not None]
    words += [f"{key}={_literal(value)}" for key, value in arguments.items() if value is not None]
    return f"{function}({', '.join(words)})"


def _literal(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_literal(each)}' for key, each in value.items())}}}"
    if isinstance(value, OwnData) and value.text:
        return repr(value.text)
    if isinstance(value, Path | NormSpec):
        return repr(str(value))
    return repr(value) if isinstance(value, str | int | float | BaseModel) else "..."


def backend_words(versions: Mapping[str, Any]) -> str:
    """Return name and version of the backend in a run's record.

    Example:
        >>> backend_words({"backend": "jax", "jax": "0.11.2"})
        'JAX 0.11.2'
    """
    backend = versions["backend"]
    return f"{BACKENDS.get(backend, backend)} {versions.get(backend) or ''}".rstrip()


def machine_words(machine: Mapping[str, Any]) -> str:
    """Return the machine in a run's record, in words.

    Example:
        >>> machine_words({"cores": 2, "processor": "a processor"})
        '2 cores of a processor'
        >>> machine_words({"cores": 16, "processor": "a processor", "accelerator": "a GPU"})
        'a GPU beside 16 cores of a processor'
    """
    cores = f"{machine['cores']} core{'' if machine['cores'] == 1 else 's'} of {machine['processor']}"
    return f"{machine['accelerator']} beside {cores}" if machine.get("accelerator") else cores


def check_same_place(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise a RunError if a run was begun with other versions, threads, GPU or settings of Keras, which change bits.

    ``there`` is the record of its start in the folder ``path``, and ``here`` one of now.
    """
    was, now = (
        {
            "tfnorm": record["versions"].get("tfnorm"),
            "Keras": record["versions"].get("keras"),
            "the backend": backend_words(record["versions"]),
            "the accelerator": record["machine"].get("accelerator", "none"),
            "the number of threads": record["machine"].get("threads") or "all",
            **{f"Keras's {name}": value for name, value in record["keras_settings"].items()},
        }
        for record in (there, here)
    )
    # Another version of Keras may lack one of its settings; the versions differ then.
    differing = [f"{name} was {was[name]} and is {now[name]}" for name in now if was.get(name, now[name]) != now[name]]
    if differing:
        raise RunError(
            f"The run in {path} was begun elsewhere: {', '.join(differing)}. "
            "Go on with those, or choose another output folder."
        )


def seed_words(seeds: Sequence[int]) -> str:
    """Return seeds in words.

    Example:
        >>> seed_words([2]), seed_words([0, 1])
        ('seed 2', 'seeds 0, 1')
    """
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def origins(configs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each combination of backend and machine in the ``config.json`` of runs, with the seeds trained there.

    Each has ``versions`` and ``machine`` of its first run, and ``seeds`` in order.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for config in configs:
        versions = config["versions"]
        key = machine_words(config["machine"]), backend_words(versions), versions.get("keras"), versions.get("tfnorm")
        place = found.setdefault(key, {"versions": versions, "machine": config["machine"], "seeds": []})
        place["seeds"] = sorted({*place["seeds"], config["asked"]["seed"]})
    return list(found.values())


def origin_words(configs: Iterable[Mapping[str, Any]]) -> str:
    """Return the versions and machines that runs were trained with, in words; with the seeds if there are several.

    The words are "by tfnorm 0.1.0, Keras 3.15.1, JAX 0.11.2, NumPy 2.4.6, Python 3.12.3 on 2 cores of a processor".
    """
    found = origins(configs)
    parts = []
    for place in found:
        versions = place["versions"]
        revision = f" ({versions['revision'][:12]})" if versions.get("revision") else ""
        seeds = f" ({seed_words(place['seeds'])})" if found[1:] else ""
        parts.append(
            f"by tfnorm {versions['tfnorm']}{revision}, Keras {versions['keras']}, {backend_words(versions)}, "
            f"NumPy {versions['numpy']}, Python {versions['python']} on {machine_words(place['machine'])}{seeds}"
        )
    return "; and ".join(parts)
