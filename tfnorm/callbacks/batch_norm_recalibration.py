"""Moving statistics of batch norms, estimated again with the trained weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from tfnorm.callbacks.base import Callback
from tfnorm.convert.recalibrate import batch_norms, recalibrate_batch_norms
from tfnorm.datasets.images import StreamedImages
from tfnorm.errors import DataError, TfnormError, whole_number
from tfnorm.ops.arrays import to_array
from tfnorm.ops.batches import check_batch, check_iterable, is_array, portable, split


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
