"""Changing the layers of Keras models while keeping their weights."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfnorm.convert.faster import accelerate as accelerate
    from tfnorm.convert.fold import fold_batch_norm as fold_batch_norm
    from tfnorm.convert.insert import insert_norms as insert_norms
    from tfnorm.convert.replace import replace_norms as replace_norms
    from tfnorm.convert.report import Change as Change
    from tfnorm.convert.report import Report as Report
    from tfnorm.convert.runtimes.write import Exported as Exported
    from tfnorm.convert.runtimes.write import export as export
    from tfnorm.convert.stock import to_keras as to_keras
    from tfnorm.convert.tfa.load import load_tfa_model as load_tfa_model
    from tfnorm.convert.variants.variant import Variant as Variant
    from tfnorm.convert.variants.variant import make_variant as make_variant

_MODULES = {
    "Change": "report",
    "Exported": "runtimes.write",
    "Report": "report",
    "Variant": "variants.variant",
    "accelerate": "faster",
    "export": "runtimes.write",
    "fold_batch_norm": "fold",
    "insert_norms": "insert",
    "load_tfa_model": "tfa.load",
    "make_variant": "variants.variant",
    "replace_norms": "replace",
    "to_keras": "stock",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Import a public name on first use: `tfnorm.convert.runtimes.formats` needs no Keras."""
    if name not in _MODULES:
        raise AttributeError(f"module 'tfnorm.convert' has no attribute {name!r}. Public names: {', '.join(__all__)}.")
    import_module("tfnorm._keras")  # start-up; says what is missing before Keras fails for it
    return getattr(import_module(f"tfnorm.convert.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
