"""Tables and pictures of a comparison."""

from tfnorm.report.axis import AxisData, axis_data, plot_axis
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
    "AxisData",
    "LossData",
    "accuracy_data",
    "axis_data",
    "colour",
    "loss_data",
    "misclassified_data",
    "plot_accuracy",
    "plot_axis",
    "plot_loss",
    "plot_misclassified",
    "styles",
]
