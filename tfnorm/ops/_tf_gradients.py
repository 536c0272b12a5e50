"""TensorFlow's list of gradients, which keeps the graphs that they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def _noted() -> dict[str, Any]:
    """Return the gradients by name; none where TensorFlow, to which the list is private, keeps it elsewhere."""
    try:
        from tensorflow.python.framework.ops import gradient_registry

        noted: dict[str, Any] = gradient_registry._registry
    except (ImportError, AttributeError):
        return {}
    return noted


@contextmanager
def gradients_let_go() -> Iterator[None]:
    """Take away at the end what was noted inside; see `tfnorm.ops.gradients_let_go`."""
    noted = _noted()
    before = set(noted)
    try:
        yield
    finally:
        for name in [name for name in list(noted) if name.startswith("CustomGradient-") and name not in before]:
            noted.pop(name, None)
