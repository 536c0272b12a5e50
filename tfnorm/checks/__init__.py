"""What is wrong with the norms and the penalties of a model: the rules of `tfnorm.check`, and what they find."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tfnorm.checks.registry import RULES, Rule

if TYPE_CHECKING:
    from tfnorm.checks.finding import Finding
    from tfnorm.checks.findings import Findings

__all__ = ["RULES", "Finding", "Findings", "Rule"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use: the list of rules needs no Keras."""
    if name not in __all__:
        raise AttributeError(f"module 'tfnorm.checks' has no attribute {name!r}. Public names: {', '.join(__all__)}.")
    return getattr(import_module(f"tfnorm.checks.{name.lower()}"), name)
