"""Moving statistics of batch norms, estimated again with the weights that a model has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from tfnorm._keras import renorms
from tfnorm.errors import DataError
from tfnorm.layers import BatchNormalization
from tfnorm.layers.normalization.batch_normalization import takes_batch_statistics
from tfnorm.ops.batches import check_batch


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the batch norms of ``model`` whose moving statistics training changes, nested models included."""
    return [layer for layer in model._flatten_layers() if takes_batch_statistics(layer)]


def recalibrate_batch_norms(model: keras.Model, batches: Iterable[Any]) -> dict[str, float]:
    """Give the batch norms of a built model the statistics of some batches of inputs.

    See `tfnorm.callbacks.BatchNormRecalibration`. It returns the largest change of a channel's mean, in standard
    deviations of that channel, by layer.
    """
    norms = batch_norms(model)
    before = [(_values(norm.moving_mean), _values(norm.moving_variance)) for norm in norms]
    sums: dict[int, list[Any]] = {id(norm): [0.0, 0.0, 0.0] for norm in norms}
    try:
        with _own_statistics(norms, sums):
            for batch in batches:
                check_batch(model, batch)
                model(batch, training=False)
        if not all(np.any(count) for count, *_ in sums.values()):
            raise DataError("There is no batch to recalibrate with. Give at least one, of two images or more.")
    except BaseException:  # after Ctrl-C too, they are as they were
        for norm, (mean, variance) in zip(norms, before, strict=True):
            norm.moving_mean.assign(mean)
            norm.moving_variance.assign(variance)
        raise
    shift = {}
    for norm, (old, old_variance) in zip(norms, before, strict=True):
        count, first, second = sums[id(norm)]
        mean = first / np.maximum(count, 1.0)
        variance = np.maximum(second / np.maximum(count, 1.0) - mean**2, 0.0)
        if _unbiased(norm):
            variance = variance * count / np.maximum(count - 1.0, 1.0)
        # A channel that was masked throughout stays as it is.
        mean, variance = np.where(count > 0, mean, old), np.where(count > 0, variance, old_variance)
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(variance)
        shift[norm.name] = float(np.max(np.abs(mean - old) / np.sqrt(variance + norm.epsilon)))
    return shift


@contextmanager
def _own_statistics(norms: list[Any], sums: dict[int, list[Any]]) -> Iterator[None]:
    """Have each norm use its batch's statistics. Add up the count, the sum and the sum of squares of each channel."""
    momenta = [norm.momentum for norm in norms]

    def counting(norm: Any) -> Any:
        plain = type(norm).call

        def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
            norm.moving_mean.assign(keras.ops.zeros(norm.moving_mean.shape))  # 0 times infinity would be no number
            norm.moving_variance.assign(keras.ops.ones(norm.moving_variance.shape))
            outputs = plain(norm, inputs, training=True, mask=mask)
            # How many numbers of each channel there are. Keras's own layer has all that this method of ours reads.
            count = np.asarray(keras.ops.convert_to_numpy(BatchNormalization.count(norm, inputs, mask)), "float64")
            mean, variance = _values(norm.moving_mean), _values(norm.moving_variance)
            if _unbiased(norm):  # variances add up as biased ones
                variance = variance * (count - 1.0) / np.maximum(count, 1.0)
            new = (count, count * mean, count * (variance + mean**2))
            sums[id(norm)] = [total + part for total, part in zip(sums[id(norm)], new, strict=True)]
            return outputs

        return call

    for norm in norms:
        # With a momentum of 0 the moving statistics are those of the batch, by the layer's own convention.
        norm.momentum = 0.0
        norm.__dict__["call"] = counting(norm)
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            del norm.__dict__["call"]


def _unbiased(norm: Any) -> bool:
    return getattr(norm, "unbiased_moving_variance", False) and not renorms(norm)


def _values(variable: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32")).astype("float64")
