"""The batches of one epoch after another, as a person's pipeline gives them."""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from tfnorm.datasets.batches import EpochBatches
from tfnorm.errors import DataError, TfnormError, is_memory_error
from tfnorm.ops.arrays import to_array
from tfnorm.ops.batches import check_iterable, is_endless, labelled, split
from tfnorm.own_code.functions import parameters_of
from tfnorm.own_code.imports import own_error

Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None]
FORMS = (
    "a tf.data.Dataset, a keras.utils.PyDataset, a PyTorch DataLoader, another iterable with a length, or a function "
    "that returns one anew"
)


class Epochs:
    """Reads a person's pipeline, epoch by epoch.

    The global generators of random numbers of Python, NumPy and PyTorch are seeded by the seed and the epoch before
    each epoch. A `keras.utils.PyDataset` gets its `on_epoch_begin` and `on_epoch_end`, also those of epochs that are
    passed over. Where there is a ``set_epoch``, of a sampler too, it is called, and a function may take ``epoch``.

    Args:
        batches: One of `FORMS`.
        where: What messages call it.
        seed: Seed of the run.

    Raises:
        DataError: If it is of another kind, can be read only once, or has no end.
    """

    def __init__(self, batches: Any, where: str, seed: int = 0) -> None:
        self._batches, self.where, self.seed = batches, where, seed
        self._at = -1
        if isinstance(batches, Iterator):
            raise DataError(
                f"{where} is a {type(batches).__name__}, which can be read only once, and each epoch reads it anew. "
                f"Give {FORMS}."
            )
        if not _is_function(batches):
            self._check(batches)

    @property
    def kind(self) -> str:
        """What it is, in a word or two."""
        if isinstance(self._batches, keras.utils.PyDataset):
            return "keras.utils.PyDataset"
        if hasattr(self._batches, "cardinality"):
            return "tf.data.Dataset"
        return "function" if _is_function(self._batches) else type(self._batches).__name__

    def shuffles(self, fresh: bool = True) -> bool:
        """Return whether it is known to give other orders, or other batches, than the seed and the epoch decide.

        Args:
            fresh: Whether it is made anew for each run. If not, what it has counted or drawn in one run goes on in the
                next.
        """
        if isinstance(self._batches, keras.utils.PyDataset):
            hooks = (getattr(type(self._batches), name) for name in ("on_epoch_begin", "on_epoch_end"))
            own = any(hook.__module__.partition(".")[0] != "keras" for hook in hooks)
            return own and not fresh
        if _of_torch(self._batches):
            sampler = self._batches.sampler
            return getattr(sampler, "generator", None) is not None and not hasattr(sampler, "set_epoch")
        waiting, seen = [self._batches], []
        while waiting and hasattr(waiting[0], "_inputs"):  # a tf.data.Dataset, and those that it is made of
            seen.append(type(waiting[0]).__name__)
            waiting = [*waiting[1:], *waiting[0]._inputs()]
        return any("Shuffle" in name or "Random" in name or "Directed" in name for name in seen)

    def read(self, epoch: int) -> Iterator[Batch]:
        """Yield images, labels and weights of each batch of an epoch; no weights are None.

        Raises:
            DataError: If a batch is of another form, or if the pipeline fails.
        """
        try:
            for batch in self._begun(epoch):
                found = self._read(batch)
                if len(found[0]):
                    yield found
        except (Exception, SystemExit) as raised:
            if isinstance(raised, TfnormError) or is_memory_error(raised):
                raise
            raise own_error(self.where, raised, DataError) from None

    def _begun(self, epoch: int) -> Iterable[Any]:
        """Return the batches of an epoch."""
        batches = self._batches
        seed_generators(self.seed, epoch)
        if _is_function(batches):
            batches = batches(epoch=epoch) if "epoch" in parameters_of(batches) else batches()
            self._check(batches)
        for each in (batches, *(getattr(batches, name, None) for name in ("sampler", "batch_sampler", "dataset"))):
            if callable(set_epoch := getattr(each, "set_epoch", None)):
                set_epoch(epoch)
        if not isinstance(batches, keras.utils.PyDataset):
            return batches
        while self._at < epoch:
            self._at += 1
            if self._at:
                seed_generators(self.seed, self._at)
                batches.on_epoch_end()
            batches.on_epoch_begin()
        if batches.workers <= 1:
            return batches
        return _in_order(batches.__getitem__, batches.num_batches, batches.workers)

    def _check(self, batches: Any) -> None:
        try:
            check_iterable(batches)
        except DataError:
            raise DataError(f"{self.where} is a {type(batches).__name__}. Give {FORMS}.") from None
        if is_endless(batches):
            raise DataError(
                f"{self.where} has no end, and an epoch must have one. Leave out .repeat(), or say how many batches an "
                "epoch has, such as with .take(100)."
            )

    def _read(self, batch: Any) -> Batch:
        inputs, labels, weights = split(tuple(batch) if isinstance(batch, list) else batch, self._batches)
        try:
            images, classes = labelled(inputs, labels)
        except DataError as error:
            raise DataError(f"{self.where}: {error}") from None
        if classes is None:
            raise DataError(f"{self.where}: a batch has images and no classes. Give pairs of (images, classes).")
        if len(images) != len(classes):
            raise DataError(
                f"{self.where}: a batch has {len(images)} images and {len(classes)} classes. Give one an image, and "
                "make batches of single images, such as with .batch(64)."
            )
        if weights is None:
            return images, classes, None
        factors = to_array(weights).astype(np.float32)
        if factors.shape != (len(images),) or not np.isfinite(factors).all():
            raise DataError(
                f"{self.where}: weights must be finite numbers of shape ({len(images)},), one an image. Received: "
                f"{factors.dtype} of shape {factors.shape}."
            )
        return images, classes, factors


class GivenBatches(EpochBatches):
    """The batches of a person's pipeline, in its order, for ``model.fit``.

    Args:
        pipeline: The `Pipeline`.
        seed: Seed of the run.
    """

    def __init__(self, pipeline: Any, seed: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._pipeline, self._epochs = pipeline, pipeline.open(seed)
        self.epoch, self.images, self.smallest = 0, len(pipeline.x_train), pipeline.smallest
        self._under_way: Iterator[tuple[np.ndarray, ...]] | None = None

    def __len__(self) -> int:
        """Return the number of batches an epoch."""
        return self._pipeline.steps

    def read(self) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the batches of the epoch."""
        return self._pipeline.read(self._epochs, self.epoch)

    def signature(self) -> list[tuple[tuple[int, ...], Any]]:
        """Return the shape of an item and the dtype of each array of a batch."""
        pipeline = self._pipeline
        of_weights = [((), np.dtype(np.float32))] if pipeline.weighted else []
        return [
            (pipeline.input_shape, np.dtype(np.uint8)),
            (pipeline.y_train.shape[1:], np.dtype(np.int64)),
            *of_weights,
        ]

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        """Return the next batch, whatever number is asked for."""
        if self._under_way is None:
            self._under_way = self.read()
        return next(self._under_way)

    def on_epoch_begin(self) -> None:
        """Begin the epoch anew."""
        self._under_way = None


def _is_function(batches: Any) -> bool:
    return callable(batches) and not isinstance(batches, Iterable) and not hasattr(batches, "__getitem__")


def _of_torch(batches: Any) -> bool:
    return type(batches).__module__.partition(".")[0] == "torch" and hasattr(batches, "sampler")


def _in_order(read: Callable[[int], Any], count: int, workers: int) -> Iterator[Any]:
    """Yield what a function returns for each number below ``count``, some of which are read ahead in threads."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Any] = deque()
        for index in range(count):
            waiting.append(pool.submit(read, index))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def seed_generators(seed: int, epoch: int) -> None:
    """Seed the global generators of random numbers of Python, NumPy and PyTorch by the seed of a run and an epoch."""
    number = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(number)


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the global random state of Python, NumPy and PyTorch, which the seed of a run changes."""
    python, numpy = random.getstate(), np.random.get_state()
    torch = sys.modules.get("torch")
    state = None if torch is None else torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if torch is not None:
            torch.set_rng_state(state)
