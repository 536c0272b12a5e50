"""Pictures of comparisons, of trainings and of networks."""

from tfnorm.report.activations import ActivationsData, activations_data, plot_activations
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
from tfnorm.report.receptive import ReceptiveData, plot_receptive_field, receptive_data

__all__ = [
    "AccuracyData",
    "ActivationsData",
    "AxisData",
    "LossData",
    "ReceptiveData",
    "accuracy_data",
    "activations_data",
    "axis_data",
    "colour",
    "loss_data",
    "misclassified_data",
    "plot_accuracy",
    "plot_activations",
    "plot_axis",
    "plot_loss",
    "plot_misclassified",
    "plot_receptive_field",
    "receptive_data",
    "styles",
]
