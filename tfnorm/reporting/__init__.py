"""Pictures of comparisons, of trainings and of networks: ``x_data`` says what is drawn, and ``plot_x`` draws it."""

from tfnorm.mistakes import draw_misclassified as plot_misclassified
from tfnorm.mistakes import find_misclassified as misclassified_data
from tfnorm.reporting.palette import colour, styles
from tfnorm.reporting.pictures.activations import ActivationsData, activations_data, plot_activations
from tfnorm.reporting.pictures.axis import AxisData, axis_data, plot_axis
from tfnorm.reporting.pictures.confusion import ConfusionData, confusion_data, plot_confusion
from tfnorm.reporting.pictures.curves import (
    AccuracyData,
    GapData,
    LossData,
    accuracy_data,
    gap_data,
    loss_data,
    plot_accuracy,
    plot_gap,
    plot_loss,
)  # fmt: skip
from tfnorm.reporting.pictures.differences import differences_data, plot_differences
from tfnorm.reporting.pictures.heat import HeatData, heat_data, plot_heat
from tfnorm.reporting.pictures.overlap import OverlapData, overlap_data, plot_overlap
from tfnorm.reporting.pictures.receptive import ReceptiveData, plot_receptive_field, receptive_data

__all__ = [
    "AccuracyData", "ActivationsData", "AxisData", "ConfusionData", "GapData", "HeatData", "LossData", "OverlapData",
    "ReceptiveData", "accuracy_data", "activations_data", "axis_data", "colour", "confusion_data", "differences_data",
    "gap_data", "heat_data", "loss_data", "misclassified_data", "overlap_data", "plot_accuracy", "plot_activations",
    "plot_axis", "plot_confusion", "plot_differences", "plot_gap", "plot_heat", "plot_loss", "plot_misclassified",
    "plot_overlap", "plot_receptive_field", "receptive_data", "styles",
]  # fmt: skip
