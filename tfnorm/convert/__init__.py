"""Changing the layers of Keras models while keeping their weights."""

from tfnorm import _keras  # noqa: F401 - says what is missing before Keras fails for it
from tfnorm.convert.accelerate import accelerate
from tfnorm.convert.exporting import Exported, export
from tfnorm.convert.fold import fold_batch_norm
from tfnorm.convert.insert import insert_norms
from tfnorm.convert.replace import replace_norms
from tfnorm.convert.report import Change, Report
from tfnorm.convert.stock import to_keras
from tfnorm.convert.tfa import load_tfa_model

__all__ = [
    "Change",
    "Exported",
    "Report",
    "accelerate",
    "export",
    "fold_batch_norm",
    "insert_norms",
    "load_tfa_model",
    "replace_norms",
    "to_keras",
]
