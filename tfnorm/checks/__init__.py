"""What is wrong with the norms and the penalties of a model: `check`, and the rules that it goes by."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tfnorm.checks.registry import RULES, Rule

if TYPE_CHECKING:
    from tfnorm.checks.finding import Finding
    from tfnorm.checks.findings import Findings
    from tfnorm.checks.run import check

__all__ = ["RULES", "Finding", "Findings", "Rule", "check"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use: the list of rules needs no Keras."""
    if name not in __all__:
        raise AttributeError(f"module 'tfnorm.checks' has no attribute {name!r}. Public names: {', '.join(__all__)}.")
    module = {"Finding": "finding", "Findings": "findings"}.get(name, "run")
    return getattr(import_module(f"tfnorm.checks.{module}"), name)
