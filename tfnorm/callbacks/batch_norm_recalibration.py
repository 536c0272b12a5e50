"""Moving statistics of batch norms, estimated again with the trained weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from tfnorm._keras import renorms
from tfnorm.callbacks._batches import check_batch
from tfnorm.callbacks.base import Callback
from tfnorm.datasets.given.readers import check_iterable, is_array, portable, split
from tfnorm.datasets.images import StreamedImages
from tfnorm.errors import DataError, TfnormError, whole_number
from tfnorm.layers import BatchNormalization
from tfnorm.layers.normalization.batch_normalization import takes_batch_statistics
from tfnorm.ops.arrays import to_array


class BatchNormRecalibration(Callback):
    r"""Replace the moving statistics of every batch norm by those of the trained weights.

    The moving averages lag behind weights that change quickly and are noisy for small batches. Here some batches pass
    through the network as in training (each norm uses its batch's own statistics, while dropout and all other layers
    do as at inference), and each norm takes, over batches of :math:`n_b` numbers of a channel, without those under a
    mask,

    .. math:: \mu = \frac{1}{n} \sum_b n_b \mu_b, \quad
        \sigma^2 = \frac{1}{n} \sum_b n_b (\sigma_b^2 + (\mu_b - \mu)^2), \quad n = \sum_b n_b

    which is exact for the first norm of a network whatever the size of the batches and of their images. Where a norm
    keeps the unbiased variance, it gets that of all numbers together, n / (n - 1) times the above. No other weight
    changes. Frozen batch norms (``trainable=False`` or ``frozen=True``), which use their moving statistics in training
    too, are left alone.

    Args:
        x: Training images as the model takes them, shape (images, height, width, channels), or a dictionary of arrays
            for a model of several inputs; or an iterable of batches, each of these or a tuple that starts with one,
            which is read once at each recalibration.
        batches: The largest number of batches, at least 1. Defaults to 200.
        batch_size: The number of images in a batch if ``x`` is an array, at least 2. Defaults to 64.
        every: Recalibrate before the validation of every so many epochs too, at least 1. Training goes on from these
            statistics. Defaults to None: at the end only.
        seed: The seed of the choice of images if ``x`` is an array. Defaults to 0.

    Attributes:
        shift: The largest change of a channel's mean in the last recalibration, in standard deviations of that
            channel, by layer. Empty before the first recalibration.

    Raises:
        TfnormError: When training begins, if the model has no batch norm that trains. At a recalibration, if there is
            no batch.

    References:
        "PreciseBN" of Wu and Johnson, 2021, arXiv 2105.07576, section 3.
    """

    def __init__(
        self,
        x: np.ndarray | StreamedImages | Iterable[Any],
        *,
        batches: int = 200,
        batch_size: int = 64,
        every: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        numbers = {"batches": (batches, 1), "batch_size": (batch_size, 2), "every": (1 if every is None else every, 1)}
        for name, (value, least) in numbers.items():
            whole_number(name, value, least, error=DataError)
        # x is batches unless it is a dictionary or has a shape, as the arrays of every library do.
        self._whole = isinstance(x, Mapping) or is_array(x)
        if not self._whole:
            check_iterable(x)
        x = keras.tree.map_structure(to_array, x) if self._whole and not isinstance(x, StreamedImages) else x
        self.x, self.batches, self.batch_size, self.every, self.seed = x, batches, batch_size, every, seed
        self.shift: dict[str, float] = {}
        self._epoch = 0
        self._looked_at: int | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Check that there is something to recalibrate."""
        if not batch_norms(self.model):
            raise TfnormError(
                f"The model {self.model.name!r} has no batch normalization that trains, so that there are no moving "
                "statistics to recalibrate. Leave the callback out."
            )
        if self._whole:
            check_batch(self.model, self.x)
        elif isinstance(self.x, list | tuple) and len(self.x):
            check_batch(self.model, split(self.x[0], self.x)[0])
        self._looked_at = None

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Note the epoch."""
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Recalibrate an epoch without validation that is one of ``every``."""
        self.on_test_begin()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Recalibrate the trained model, whose weights another callback may have replaced since the last time."""
        self._recalibrate()

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Recalibrate before the validation of an epoch that is one of ``every``."""
        if self.every is not None and (self._epoch + 1) % self.every == 0 and self._looked_at != self._epoch:
            self._looked_at = self._epoch
            self._recalibrate()

    def _recalibrate(self) -> None:
        self.shift = recalibrate_batch_norms(self.model, self._batches() if self._whole else self._given())

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of."""
        x = self.x if self._whole else portable(self.x, self.batches)
        return {**super().__getstate__(), "x": x}

    def _given(self) -> Iterator[Any]:
        """Yield the inputs of the first few batches of ``x``."""
        for batch in itertools.islice(self.x, self.batches):
            inputs, *_ = split(batch, self.x)
            # Tensors of PyTorch become arrays, since the model may compute in another library.
            yield keras.tree.map_structure(lambda part: to_array(part) if hasattr(part, "detach") else part, inputs)

    def _batches(self) -> Iterator[Any]:
        order = np.random.default_rng(self.seed).permutation(len(keras.tree.flatten(self.x)[0]))
        # A last batch of one image has no variance.
        starts = [start for start in range(0, len(order), self.batch_size) if len(order) - start > 1]
        for start in starts[: self.batches]:
            chosen = np.sort(order[start : start + self.batch_size])
            yield keras.tree.map_structure(lambda array, chosen=chosen: array[chosen], self.x)


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the batch norms of ``model`` whose moving statistics training changes, nested models included."""
    return [layer for layer in model._flatten_layers() if takes_batch_statistics(layer)]


def recalibrate_batch_norms(model: keras.Model, batches: Iterable[Any]) -> dict[str, float]:
    """Give the batch norms of a built model the statistics of some batches of inputs; see `BatchNormRecalibration`.

    It returns the largest change of a channel's mean, in standard deviations of that channel, by layer.
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
