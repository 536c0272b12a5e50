"""What TensorFlow would keep of graphs for good, in a process that trains one network after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tfnorm.ops.tensorflow.compile import passes_launched


def _noted() -> dict[str, Any]:
    """Return the gradients by name; none where TensorFlow, to which the list is private, keeps it elsewhere."""
    try:
        from tensorflow.python.framework.ops import gradient_registry

        noted: dict[str, Any] = gradient_registry._registry
    except (ImportError, AttributeError):
        return {}
    return noted


@contextmanager
def graphs_let_go() -> Iterator[None]:
    """Trace graphs inside that leave no memory behind once nobody holds them.

    TensorFlow keeps two things for good. It notes the gradient of every operation with a gradient of its own under a
    new name, and with it the graph that the operation is in: what is noted inside is taken away at the end. And it
    keeps some megabytes of a graph that calls compiled functions each time it sets the graph up: inside, compiled
    passes are launched by an operation in place of a call.
    """
    noted = _noted()
    before = set(noted)
    try:
        with passes_launched():
            yield
    finally:
        for name in [name for name in list(noted) if name.startswith("CustomGradient-") and name not in before]:
            noted.pop(name, None)
