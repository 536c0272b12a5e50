"""Callbacks for ``model.fit`` of any Keras model."""

from __future__ import annotations

from tfnorm import _keras  # noqa: F401 - says what is missing before Keras fails for it
from tfnorm.callbacks.activation_statistics import ActivationStatistics
from tfnorm.callbacks.batch_norm_recalibration import BatchNormRecalibration
from tfnorm.callbacks.history_recorder import HistoryRecorder
from tfnorm.callbacks.misclassified_images import MisclassifiedImages
from tfnorm.callbacks.norm_watch import NormWatch
from tfnorm.registry import Registry

__all__ = [
    "CALLBACKS",
    "ActivationStatistics",
    "BatchNormRecalibration",
    "HistoryRecorder",
    "MisclassifiedImages",
    "NormWatch",
]

CALLBACKS = Registry(
    "callback",
    items={
        "activation_statistics": ActivationStatistics,
        "batch_norm_recalibration": BatchNormRecalibration,
        "history_recorder": HistoryRecorder,
        "misclassified_images": MisclassifiedImages,
        "norm_watch": NormWatch,
    },
)
