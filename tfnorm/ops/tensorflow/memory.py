"""Frees memory that TensorFlow would keep for every graph, in a process that trains one network after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tensorflow.python.framework import ops as framework

from tfnorm.ops.tensorflow.compile import launching


@contextmanager
def graphs_let_go() -> Iterator[None]:
    """Trace graphs inside that leave no memory behind once nobody holds them.

    TensorFlow keeps two things for good. First, it notes each custom gradient under a new name, and with it the graph
    of its operation. The entries that were made inside are removed at the end. Second, each time it sets up a graph
    that calls compiled functions, it makes operations that launch them, and keeps 7 MB for a small network. Inside, the
    graph has these operations itself. XLA cannot compile them as a part of something larger.
    """
    # The list is private to TensorFlow, and may lie elsewhere.
    noted: dict[str, Any] = getattr(getattr(framework, "gradient_registry", None), "_registry", {})
    before = set(noted)
    token = launching.set(True)
    try:
        yield
    finally:
        launching.reset(token)
        for name in [name for name in list(noted) if name.startswith("CustomGradient-") and name not in before]:
            noted.pop(name, None)
