"""Frees memory that TensorFlow would keep for every graph, in a process that trains one network after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tensorflow.python.framework import ops as framework

from tfnorm.ops.tensorflow.compile import passes_launched


def _noted() -> dict[str, Any]:
    """Return the gradients by name. The list is private to TensorFlow: where it lies elsewhere, return none."""
    noted: dict[str, Any] = getattr(getattr(framework, "gradient_registry", None), "_registry", {})
    return noted


@contextmanager
def graphs_let_go() -> Iterator[None]:
    """Trace graphs inside that leave no memory behind once nobody holds them.

    TensorFlow keeps two things for good. First, it notes each custom gradient under a new name, and with it the graph
    of its operation. The entries that were made inside are removed at the end. Second, it keeps some megabytes of a
    graph that calls compiled functions each time it sets the graph up. Inside, an operation launches compiled passes
    in place of a call.
    """
    noted = _noted()
    before = set(noted)
    try:
        with passes_launched():
            yield
    finally:
        for name in [name for name in list(noted) if name.startswith("CustomGradient-") and name not in before]:
            noted.pop(name, None)
