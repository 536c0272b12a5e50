"""Callbacks for ``model.fit`` of any Keras model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfnorm import _keras  # noqa: F401 - says what is missing before Keras fails for it
from tfnorm.callbacks.activation_statistics import ActivationStatistics
from tfnorm.callbacks.batch_norm_recalibration import BatchNormRecalibration
from tfnorm.callbacks.history_recorder import HistoryRecorder
from tfnorm.callbacks.misclassified_images import MisclassifiedImages
from tfnorm.registry import Registry

if TYPE_CHECKING:
    import keras

__all__ = ["CALLBACKS", "ActivationStatistics", "BatchNormRecalibration", "HistoryRecorder", "MisclassifiedImages"]

CALLBACKS: Registry[type[keras.callbacks.Callback]] = Registry("callback")
CALLBACKS.add("activation_statistics", ActivationStatistics)
CALLBACKS.add("batch_norm_recalibration", BatchNormRecalibration)
CALLBACKS.add("history_recorder", HistoryRecorder)
CALLBACKS.add("misclassified_images", MisclassifiedImages)
