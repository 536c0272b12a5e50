"""Image data sets, their batches and their augmentation.

Nothing here imports Keras until a name that needs it is used, so that listing the names is immediate.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tfnorm.datasets.augment.create import AUGMENTATIONS, augmentation
from tfnorm.datasets.dataset import Dataset
from tfnorm.datasets.named import DATASETS, list_datasets
from tfnorm.datasets.reading import DataWarning
from tfnorm.datasets.sources import load

if TYPE_CHECKING:
    from tfnorm.datasets.batches import Batches, epoch_order

__all__ = [
    "AUGMENTATIONS", "DATASETS", "Batches", "DataWarning", "Dataset", "augmentation", "epoch_order", "list_datasets",
    "load",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import what needs Keras on first use."""
    if name not in ("Batches", "epoch_order"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("tfnorm.datasets.batches"), name)  # start-up


def __dir__() -> list[str]:
    """List the lazy names too."""
    return sorted(__all__)
