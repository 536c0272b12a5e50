"""The metric that a run is about: one that tfnorm knows, or one that the model is compiled with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfnorm import _keras
from tfnorm.datasets import Dataset
from tfnorm.errors import TfnormError, unknown
from tfnorm.metrics.known import (
    DEFAULTS,
    KNOWN,
    ONE_LABEL,
    SEVERAL_LABELS,
    known_metric,
    own_metric,
    places_of,
    split_name,
)
from tfnorm.metrics.metric import Metric
from tfnorm.text import listed
from tfnorm.training.config import TrainConfig
from tfnorm.training.network.heads import Head, compiled_loss, takes_class_numbers

_SHARES = (
    keras.metrics.Accuracy, keras.metrics.BinaryAccuracy, keras.metrics.CategoricalAccuracy,
    keras.metrics.SparseCategoricalAccuracy, keras.metrics.TopKCategoricalAccuracy,
    keras.metrics.SparseTopKCategoricalAccuracy,
)  # fmt: skip


def choose_metric(
    config: TrainConfig, head: Head, data: Dataset, own: keras.Model | None = None
) -> tuple[Metric, keras.metrics.Metric | None]:
    """Return the metric of a run, and what measures it if it is one of the model's own.

    Args:
        config: The settings of the run.
        head: The output of the network.
        data: The images.
        own: The model, if it is trained as it was compiled.

    Raises:
        TfnormError: If there is no such metric, or it does not fit the labels.
    """
    labels = SEVERAL_LABELS if head.multi_label else ONE_LABEL
    name, direction = split_name(config.metric or DEFAULTS[labels])
    found = known_metric(name)
    if found is None:
        return _of_model(config, name, direction, head, own)
    metric, fits = found
    if labels not in fits:
        others = [each for each, (_, kinds) in KNOWN.items() if labels in kinds]
        raise TfnormError(
            f"The metric {name!r} is for images with {fits[0]}, and these have {labels}. Use {listed(others, 'or')}."
        )
    places, classes = places_of(name) or 0, data.num_classes
    if places >= classes:
        use = "accuracy" if classes == 2 else "top_2_accuracy"
        raise TfnormError(f"{name!r} is always 100 % for images of {classes} classes. Use fewer places, as {use} does.")
    if data.multi_label and not data.y_test.any():
        raise TfnormError(f"{name!r} needs test images with a label, and none of these has any.")
    if name == "auc" and len(np.unique(data.y_test, axis=0)) < 2:
        raise TfnormError("'auc' needs test images of two classes or more, and all of these have the same labels.")
    return metric, None


def _of_model(
    config: TrainConfig, name: str, direction: str | None, head: Head, own: keras.Model | None
) -> tuple[Metric, keras.metrics.Metric]:
    """Return the metric of a name that a model is compiled with."""
    measures: dict[str, keras.metrics.Metric] = {}
    wrapped = False
    if own is not None:
        wrapped = not takes_class_numbers(compiled_loss(own))
        labels = (None, head.outputs) if wrapped else (None, 1)
        measures = {each.name: each for each in _keras.compiled_metrics(own, labels, own.outputs[0])}
    if name not in measures:
        told = f"{config.arch} is compiled with: {', '.join(measures) or 'none'}."
        if own is None:
            told = "Metrics of your model need one that is compiled, and the recipe own."
        raise TfnormError(f"{unknown('metric', name, KNOWN)} {told}")
    measure = measures[name]
    if head.logits and _takes_probabilities(measure):
        raise TfnormError(
            f"The metric {name!r} takes probabilities, and {config.arch} gives logits. Make it with from_logits=True, "
            "or with the threshold 0, or end the model with an activation."
        )
    direction = direction or _keras.direction_of(measure)
    if direction is None:
        raise TfnormError(
            f"Keras does not know whether a higher or a lower {name!r} is better. Say it: metric='{name}:max', or "
            f"'{name}:min'."
        )
    metric = own_metric(name, direction, percent=isinstance(measure, _SHARES))
    return metric, OfTargets(measure, head) if wrapped else measure


def _takes_probabilities(measure: keras.metrics.Metric) -> bool:
    """Return whether a metric of Keras tells right from wrong at 0.5, or says that it is not for logits."""
    config = measure.get_config()
    threshold = 0.5 if config.get("thresholds", 0) is None and config.get("top_k") is None else config.get("threshold")
    return threshold == 0.5 or config.get("from_logits") is False


class OfTargets(keras.metrics.Metric):
    """A metric that takes a target for each output, given labels."""

    def __init__(self, metric: keras.metrics.Metric, head: Head) -> None:
        super().__init__(name=metric.name)
        self._metric, self._head = metric, head

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Pass on a batch."""
        self._metric.update_state(self._head.targets(y_true, y_pred), y_pred, sample_weight)

    def result(self) -> Any:
        """Return the value."""
        return self._metric.result()

    def reset_state(self) -> None:
        """Begin again."""
        self._metric.reset_state()


class WeightedLoss(keras.metrics.Mean):
    """The mean over images of their loss times their weight, which is how Keras takes weights into account.

    Args:
        values: A function of labels and outputs that returns the loss of each image.
    """

    def __init__(self, values: Callable[[Any, Any], Any]) -> None:
        super().__init__("data_loss")
        self._values = values

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account."""
        values = self._values(y_true, y_pred)
        if sample_weight is not None:
            values = values * keras.ops.reshape(keras.ops.cast(sample_weight, values.dtype), keras.ops.shape(values))
        super().update_state(values)
