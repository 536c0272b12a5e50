"""Tables and pictures of a comparison."""

from tfnorm.report.palette import colour, styles
from tfnorm.report.plots import (
    AccuracyData,
    LossData,
    accuracy_data,
    loss_data,
    misclassified_data,
    plot_accuracy,
    plot_loss,
    plot_misclassified,
)

__all__ = [
    "AccuracyData",
    "LossData",
    "accuracy_data",
    "colour",
    "loss_data",
    "misclassified_data",
    "plot_accuracy",
    "plot_loss",
    "plot_misclassified",
    "styles",
]
