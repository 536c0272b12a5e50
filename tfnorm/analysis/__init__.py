"""What a network reads, holds, computes and keeps: receptive fields, parameters, multiply-adds, activation memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfnorm.analysis.measure import flops, multiply_adds, receptive_field, summary
from tfnorm.analysis.rows import Layers, Row

if TYPE_CHECKING:
    from tfnorm.analysis.activations import activation_statistics

__all__ = ["Layers", "Row", "activation_statistics", "flops", "multiply_adds", "receptive_field", "summary"]


def __getattr__(name: str) -> Any:
    """Import what needs Keras on first use; the table of an architecture needs none."""
    if name == "activation_statistics":
        from tfnorm.analysis.activations import activation_statistics

        return activation_statistics
    raise AttributeError(f"module 'tfnorm.analysis' has no attribute {name!r}. Public names: {', '.join(__all__)}.")
