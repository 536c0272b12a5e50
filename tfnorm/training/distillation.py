"""Training on a teacher's answers in place of labels; `tfnorm.training.teacher` says what is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

import tfnorm.layers  # noqa: F401  so that a teacher with norms of tfnorm opens
from tfnorm.datasets import Dataset
from tfnorm.errors import TfnormError
from tfnorm.training.recipe.losses import distillation_loss
from tfnorm.training.watcher import Trained

LOOKED_AT = 64


def load_teacher(path: Path, data: Dataset) -> keras.Model:
    """Open a teacher for inference.

    Args:
        path: Its ``.keras`` file.
        data: What it is to teach; it answers a few of the training images, to be looked at.

    Raises:
        TfnormError: If it cannot be opened, or is for other images or classes, or returns probabilities, or values that
            are no numbers.
    """
    input_shape, num_classes = data.input_shape, data.num_classes
    try:
        teacher = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever the file's classes do
        raise TfnormError(f"The teacher {path} cannot be opened: {error}") from error
    shapes = getattr(teacher, "input_shape", None), getattr(teacher, "output_shape", None)
    taken, given = (shape if isinstance(shape, tuple) else () for shape in shapes)
    fits = len(taken) == 4 and all(side in (None, own) for side, own in zip(taken[1:], input_shape, strict=True))
    if not fits or given[1:] != (num_classes,):
        raise TfnormError(
            f"The teacher {path} takes {shapes[0]} and returns {shapes[1]}. A teacher for these data must take "
            f"{(None, *input_shape)} and return {(None, num_classes)}."
        )
    answers = ops.convert_to_numpy(teacher(data.x_train[:LOOKED_AT].astype("float32"), training=False))
    if not np.isfinite(answers).all():
        raise TfnormError(
            f"The teacher {path} answers with values that are no numbers. Give a network that was trained."
        )
    if answers.min() >= 0 and answers.max() <= 1:
        raise TfnormError(
            f"The teacher {path} answers with values from 0 to 1, as probabilities are. A teacher must return logits: "
            "save the model without its last softmax or sigmoid."
        )
    teacher.trainable = False
    return teacher


class Teaching(keras.layers.Layer):
    """Passes logits on, and in training adds the loss of their difference from a teacher's for the same images.

    The teacher's weights are not among this layer's: they change nothing, and belong to no checkpoint.

    Args:
        teacher: Returns logits (batch, classes).
        temperature: See `tfnorm.training.recipe.recipes.Recipe`.
    """

    def __init__(self, teacher: keras.Model, temperature: float) -> None:
        super().__init__(name="teaching", dtype="float32", trainable=False)
        self._answer = lambda images: ops.stop_gradient(teacher(images, training=False))
        self._temperature = temperature

    def call(self, images: Any, logits: Any, training: bool | None = None) -> Any:
        """Return ``logits``."""
        if training:
            self.add_loss(distillation_loss(self._answer(images), logits, self._temperature))
        return logits


class Taught(Trained):
    """A model whose layer ``teaching`` says what is minimized in training, besides penalties.

    Evaluation is that of any model, on labels. The metric ``penalty`` tells the penalties of both from the rest.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.penalty = keras.metrics.Mean(name="penalty")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the loss of a step, and note its penalties."""
        penalties = [w.regularizer(w) for w in self.trainable_variables if w.regularizer is not None]
        penalty = ops.cast(sum(penalties), "float32") if penalties else ops.zeros(())
        self.penalty.update_state(penalty, sample_weight=ops.shape(y)[0])
        if not training:
            return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=False)
        return self.noted(sum(self.losses))  # what ``teaching`` added, and the penalties
