"""The test images that a model gets wrong: which they are, and a picture of them."""

from tfnorm.mistakes.draw import draw_misclassified
from tfnorm.mistakes.find import find_misclassified, predictions
from tfnorm.mistakes.labels import check_labels, check_names

__all__ = ["check_labels", "check_names", "draw_misclassified", "find_misclassified", "predictions"]
