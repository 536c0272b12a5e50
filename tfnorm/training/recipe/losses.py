"""The loss without penalties: cross-entropy, with smoothed targets if the recipe asks for them."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("tfnorm")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits or probabilities with class numbers, the targets smoothed (arXiv 1512.00567, section 7).

    With K classes the target is 1 - s + s/K for the class of the image, and s/K for each other class. Keras itself
    smooths only one-hot targets.

    Args:
        label_smoothing: The share s, at least 0 and below 1.
        from_logits: Whether outputs are logits. If `False`, they are probabilities. Defaults to `True`.
        **kwargs: Arguments of `keras.losses.Loss`.

    Raises:
        ValueError: If the share is out of range.
    """

    def __init__(self, label_smoothing: float = 0.0, from_logits: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be at least 0 and below 1. Received: {label_smoothing!r}.")
        self.label_smoothing, self.from_logits = label_smoothing, from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return one value per image, from class numbers (batch,) or (batch, 1) and outputs (batch, classes)."""
        classes = y_pred.shape[-1]
        targets = ops.one_hot(ops.reshape(y_true, (-1,)), classes, dtype=y_pred.dtype)
        targets = targets * (1 - self.label_smoothing) + self.label_smoothing / classes
        return ops.categorical_crossentropy(targets, y_pred, from_logits=self.from_logits)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing, "from_logits": self.from_logits}


def make_loss(label_smoothing: float) -> tuple[keras.losses.Loss, keras.metrics.Metric]:
    """Return the loss for `compile`, and the metric ``data_loss`` of the same values, without penalties."""
    if not label_smoothing:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return loss, keras.metrics.SparseCategoricalCrossentropy(name="data_loss", from_logits=True)
    loss = SmoothedCrossentropy(label_smoothing)
    return loss, keras.metrics.MeanMetricWrapper(loss.call, name="data_loss")
