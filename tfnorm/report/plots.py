"""The pictures of models: for each ``x_data`` says what is drawn, and ``plot_x`` draws it."""

from tfnorm.misclassified import draw_misclassified as plot_misclassified
from tfnorm.misclassified import find_misclassified as misclassified_data
from tfnorm.report.activations import ActivationsData, activations_data, plot_activations
from tfnorm.report.axis import AxisData, axis_data, plot_axis
from tfnorm.report.confusion import ConfusionData, confusion_data, plot_confusion
from tfnorm.report.curves import AccuracyData, LossData, accuracy_data, loss_data, plot_accuracy, plot_loss
from tfnorm.report.differences import differences_data, plot_differences
from tfnorm.report.gap import GapData, gap_data, plot_gap
from tfnorm.report.heat import HeatData, heat_data, plot_heat
from tfnorm.report.overlap import OverlapData, overlap_data, plot_overlap
from tfnorm.report.receptive import ReceptiveData, plot_receptive_field, receptive_data

__all__ = [
    "AccuracyData",
    "ActivationsData",
    "AxisData",
    "ConfusionData",
    "GapData",
    "HeatData",
    "LossData",
    "OverlapData",
    "ReceptiveData",
    "accuracy_data",
    "activations_data",
    "axis_data",
    "confusion_data",
    "differences_data",
    "gap_data",
    "heat_data",
    "loss_data",
    "misclassified_data",
    "overlap_data",
    "plot_accuracy",
    "plot_activations",
    "plot_axis",
    "plot_confusion",
    "plot_differences",
    "plot_gap",
    "plot_heat",
    "plot_loss",
    "plot_misclassified",
    "plot_overlap",
    "plot_receptive_field",
    "receptive_data",
]
