"""The test images that a model gets wrong: which they are, and a picture of them."""

from tfnorm.mistakes.draw import draw_chosen, draw_misclassified
from tfnorm.mistakes.find import (
    SELECTIONS,
    Misclassified,
    are_logits,
    find_misclassified,
    first_wrong,
    listed,
    predictions,
)
from tfnorm.mistakes.labels import check_classes, check_images, check_labels, check_names

__all__ = [
    "SELECTIONS", "Misclassified", "are_logits", "check_classes", "check_images", "check_labels", "check_names",
    "draw_chosen", "draw_misclassified", "find_misclassified", "first_wrong", "listed", "predictions",
]  # fmt: skip
