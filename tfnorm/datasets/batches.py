"""Batches in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfnorm._keras import builds_a_model, keras
from tfnorm.datasets.images import Images
from tfnorm.errors import DataError, whole_number


def epoch_order(n: int, seed: int | None, epoch: int) -> np.ndarray:
    """Return the order in which ``n`` images are seen in one epoch.

    Args:
        n: Number of images.
        seed: Seed of the run, 0 or more; None keeps the images in order.
        epoch: Number of the epoch, from 0.

    Returns:
        The indices 0..n-1, int64, ``numpy.random.default_rng([seed, epoch]).permutation(n)``. They depend neither on
        the batch size nor on the epochs before.

    Example:
        >>> epoch_order(5, None, 3).tolist(), epoch_order(5, 0, 0).tolist() == epoch_order(5, 0, 0).tolist()
        ([0, 1, 2, 3, 4], True)
    """
    if seed is None:
        return np.arange(n)
    return np.random.default_rng([seed, epoch]).permutation(n)


class EpochBatches(keras.utils.PyDataset):
    """What all batches have in common that a run is trained on: the batches of an epoch as a stream.

    Attributes:
        epoch: Number of the epoch under way.
        images: Number of images an epoch.
        smallest: Number of images in the smallest batch.
        failure: What stopped a stream, or None; TensorFlow raises an error of its own for it.
    """

    epoch: int
    images: int
    smallest: int
    failure: Exception | None = None

    def read(self) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the batches of the epoch."""
        raise NotImplementedError

    def signature(self) -> list[tuple[tuple[int, ...], Any]]:
        """Return the shape of an item and the dtype of each array of a batch."""
        raise NotImplementedError

    def stream(self) -> Any:
        """Return the batches for ``fit`` and ``evaluate`` without pauses: on TensorFlow, a `tf.data.Dataset`.

        Keras itself lets tf.data tune the way from a ``PyDataset`` to TensorFlow, which delays the start of every few
        epochs by half a second. A stream does not count epochs: set ``epoch`` in a callback's ``on_epoch_begin``.
        """
        if keras.backend.backend() != "tensorflow":
            return self
        import tensorflow as tf  # start-up

        def batches() -> Iterator[tuple[np.ndarray, ...]]:
            try:
                yield from self.read()
            except Exception as raised:
                self.failure = raised
                raise

        signature = tuple(tf.TensorSpec((None, *shape), dtype) for shape, dtype in self.signature())
        stream = tf.data.Dataset.from_generator(batches, output_signature=signature)
        options = tf.data.Options()
        options.autotune.enabled = False
        options.experimental_optimization.apply_default_optimizations = False
        options.deterministic = True
        return stream.apply(tf.data.experimental.assert_cardinality(len(self))).prefetch(2).with_options(options)


class Batches(EpochBatches):
    """The batches of one epoch after another, for ``model.fit``, ``evaluate`` and ``predict``.

    ``model.fit(Batches(x, y, 64, seed=0), epochs=3)`` sees the orders of epochs 0, 1 and 2, in spite of two habits of
    Keras. First, ``fit`` shuffles the batches of any ``PyDataset`` by Python's global random state, unless it gets
    ``shuffle=False``. Therefore the k-th request of an epoch is answered with the k-th batch, whatever number is asked
    for. Second, ``fit`` ends one more epoch before the first, and on JAX and PyTorch it has read a batch or two by
    then to build the model. Such an epoch does not count. Keras starts to read an epoch after ``on_epoch_begin`` and
    ends it after the last batch, so a prefetching thread never mixes two epochs.

    To start anywhere (``initial_epoch``, a resumed run), pass ``epoch`` or set it in a callback's ``on_epoch_begin``.
    Train without ``steps_per_epoch``: an epoch is all the data. Give ``evaluate`` an object of its own.

    Args:
        x: Images (images, height, width, channels), uint8, an array or streamed; nothing is copied but the batch.
        y: Labels (images,).
        batch_size: Images a batch, 1 or more.
        seed: Seed of the order, 0 or more; None keeps the images in order.
        epoch: Number of the first epoch, from 0.
        drop_remainder: Whether the last batch is left out if it is not full. Defaults to `False`.
        weights: What the loss of each image is multiplied by, (images,), or None.

    Raises:
        DataError: If lengths differ or a number is out of range.

    Example:
        >>> import numpy as np
        >>> batches = Batches(np.zeros((5, 2, 2, 1), "uint8"), np.arange(5), 2)
        >>> len(batches), batches[2][1].tolist()
        (3, [4])
    """

    def __init__(
        self,
        x: Images,
        y: np.ndarray,
        batch_size: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        drop_remainder: bool = False,
        weights: np.ndarray | None = None,
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        if len(x) != len(y):
            raise DataError(
                f"`x` and `y` must have the same length. Received: {len(x)} images and {len(y)} labels. "
                "Give one label an image."
            )
        self.batch_size = whole_number("batch_size", batch_size, error=DataError)
        self.seed = None if seed is None else whole_number("seed", seed, 0, error=DataError)
        self.drop_remainder = drop_remainder
        self.x, self.y, self.weights = x, y, weights
        if len(self) == 0:
            raise DataError(
                f"There must be at least one batch. Received: {len(x)} images, batch_size={batch_size}, "
                f"drop_remainder={drop_remainder}. Use a smaller batch_size."
            )
        self._lock = threading.Lock()
        self._requests: int | None = None
        self._counts = True
        self.epoch = epoch

    @property
    def epoch(self) -> int:
        """Number of the epoch under way, or of the next one between two epochs."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = whole_number("epoch", epoch, 0, error=DataError)
        self._order = epoch_order(len(self.x), self.seed, self._epoch)

    def __len__(self) -> int:
        """Return the number of batches an epoch."""
        full, rest = divmod(len(self.x), self.batch_size)
        return full + (rest > 0 and not self.drop_remainder)

    @property
    def images(self) -> int:
        """Number of images an epoch."""
        return min(len(self) * self.batch_size, len(self.x))

    @property
    def smallest(self) -> int:
        """Number of images in the last batch of an epoch."""
        return self.images - (len(self) - 1) * self.batch_size

    def batch(self, index: int) -> tuple[np.ndarray, ...]:
        """Return batch ``index`` of the epoch: images in their own dtype, labels, and weights if there are any."""
        if not 0 <= index < len(self):
            raise IndexError(f"There are {len(self)} batches. Received: index={index}.")
        rows = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        return tuple(array[rows] for array in (self.x, self.y, self.weights) if array is not None)

    def read(self) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the batches of the epoch."""
        return (self.batch(index) for index in range(len(self)))

    def signature(self) -> list[tuple[tuple[int, ...], Any]]:
        """Return the shape of an item and the dtype of each array of a batch."""
        arrays = (array for array in (self.x, self.y, self.weights) if array is not None)
        return [(tuple(array.shape[1:]), array.dtype) for array in arrays]

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        """Return batch ``index``; while an epoch is under way, the next batch (see the class)."""
        with self._lock:
            if self._requests is not None and self._requests < len(self):
                index = self._requests
                self._requests += 1
        return self.batch(index)

    def on_epoch_begin(self) -> None:
        """Start to count the requests."""
        with self._lock:
            self._requests, self._counts = 0, not builds_a_model()

    def on_epoch_end(self) -> None:
        """Go on to the next epoch, unless Keras only read batches to build a model with."""
        with self._lock:
            read, self._requests = self._requests, None
        if read and self._counts:
            self.epoch += 1
