"""Rules on outputs, their loss and the labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfnorm.checks.finding import Found
from tfnorm.checks.subject import Subject


def loss(subject: Subject) -> Iterator[Found]:
    """Find losses that take outputs for what they are not."""
    ending, logits = subject.ending.ending, subject.ending.from_logits
    outputs = getattr(subject.model, "outputs", None) or []
    if ending == "softmax" and len(outputs) == 1 and outputs[0].shape[-1] == 1:
        yield Found([], "The softmax of one output is 1, whatever the image.", "activation='sigmoid'", {"outputs": 1})
    if ending is None or logits is None or logits == (ending == "logits"):
        return
    if logits:
        message = f"The model ends in {ending}, and the loss takes its outputs for logits: it applies {ending} twice."
    else:
        message = "The model gives logits, and the loss takes them for probabilities: those below 0 count as 0."
    remedy = f"loss=keras.losses.{_name(subject.model.loss)}(from_logits={not logits})"
    yield Found([], message, remedy, {"ending": ending, "from_logits": logits})


def _name(given: Any) -> str:
    words = getattr(given, "__name__", given) if not isinstance(given, keras.losses.Loss) else type(given).__name__
    return "".join(word[:1].upper() + word[1:] for word in str(words).split("_"))


def labels(subject: Subject) -> Iterator[Found]:
    """Find labels that no output stands for, or that the compiled loss does not take."""
    given = None if subject.data is None else subject.data.labels
    shape = tuple(subject.model.outputs[0].shape) if len(getattr(subject.model, "outputs", None) or ()) == 1 else ()
    loss_name = _name(getattr(subject.model, "loss", None)).lower()
    if given is None or len(shape) != 2 or not shape[1] or given.dtype.kind not in "iufb":
        return
    if subject.ending.ending is None and "crossentropy" not in loss_name:
        return  # not known to be a classifier
    outputs, sparse = shape[1], "sparse" in loss_name
    several = given.ndim == 2 and given.shape[1] > 1
    problem = remedy = ""
    if several and (sparse or given.shape[1] != outputs):
        if given.shape[1] == outputs:
            problem = f"The labels are {given.shape[1]} numbers an image, and the loss takes the number of a class."
            remedy = "y = y.argmax(axis=1)"
        else:
            problem = f"The labels are {given.shape[1]} numbers an image, and the model has {outputs} outputs."
            remedy = f"keras.layers.Dense({given.shape[1]})"
    elif not several:
        low, high = float(np.min(given)), float(np.max(given))
        most = max(outputs - 1, 1)
        if not np.array_equal(given, np.round(given)) and (sparse or outputs > 1):
            problem, remedy = (
                "The labels are not whole numbers, and each is taken for a class.",
                "y = y.astype('int64')",
            )
        elif low < 0 or high > most:
            problem = f"The labels go from {low:g} to {high:g}, and the model has outputs for 0 to {most}."
            shifted = outputs > 1 and high - low <= most
            remedy = f"y = y - {low:g}" if shifted else f"keras.layers.Dense({int(high) + 1})"
        elif outputs > 1 and loss_name.startswith(("categorical", "binary")):
            problem = f"The labels are numbers of classes, and the loss takes {outputs} numbers an image."
            remedy = "loss=keras.losses.SparseCategoricalCrossentropy(...)"
    if problem:
        yield Found([], problem, remedy, {"outputs": outputs, "least": float(given.min()), "most": float(given.max())})
