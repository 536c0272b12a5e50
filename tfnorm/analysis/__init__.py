"""What a network reads, holds, computes and keeps: receptive fields, parameters, multiply-adds, activation memory."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfnorm.analysis.activations import activation_statistics
    from tfnorm.analysis.measure import flops, multiply_adds, receptive_field, summary
    from tfnorm.analysis.table import Layers, Row

__all__ = ["Layers", "Row", "activation_statistics", "flops", "multiply_adds", "receptive_field", "summary"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use: the table of an architecture needs no Keras."""
    if name not in __all__:
        raise AttributeError(f"module 'tfnorm.analysis' has no attribute {name!r}. Public names: {', '.join(__all__)}.")
    module = {"Layers": "table", "Row": "table", "activation_statistics": "activations"}.get(name, "measure")
    if module != "table":
        import_module("tfnorm._keras")  # start-up; says what is missing before Keras fails for it
    return getattr(import_module(f"tfnorm.analysis.{module}"), name)


def __dir__() -> list[str]:
    return __all__
