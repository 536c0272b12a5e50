"""Where a run's numbers come from, in words; imports nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Keras's backends by their packages, and what they are called.
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


def backend_words(versions: Mapping[str, Any]) -> str:
    """Return name and version of the backend of a run's record.

    Example:
        >>> backend_words({"backend": "jax", "jax": "0.11.2"})
        'JAX 0.11.2'
    """
    backend = versions["backend"]
    return f"{BACKENDS.get(backend, backend)} {versions.get(backend, '')}".rstrip()


def machine_words(machine: Mapping[str, Any]) -> str:
    """Return what a run's record says it was trained on.

    Example:
        >>> machine_words({"cores": 2, "processor": "a processor"})
        '2 cores of a processor'
        >>> machine_words({"cores": 16, "processor": "a processor", "accelerator": "a GPU"})
        'a GPU beside 16 cores of a processor'
    """
    cores = f"{machine['cores']} core{'' if machine['cores'] == 1 else 's'} of {machine['processor']}"
    return f"{machine['accelerator']} beside {cores}" if machine.get("accelerator") else cores


def origins(configs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the different backends and machines of runs' records, each with the seeds that were trained there.

    Args:
        configs: The contents of ``config.json``.

    Returns:
        ``versions`` and ``machine`` of the first such run, and ``seeds`` in order.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for config in configs:
        key = backend_words(config["versions"]), machine_words(config["machine"])
        place = found.setdefault(key, {"versions": config["versions"], "machine": config["machine"], "seeds": []})
        place["seeds"] = sorted({*place["seeds"], config["asked"]["seed"]})
    return list(found.values())
