"""The journal of a training."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfnorm.callbacks.base import Callback
from tfnorm.errors import RunError, whole_number
from tfnorm.files import write_whole
from tfnorm.history import SCHEMA_VERSION, append_line, encode_record, explain, read_history
from tfnorm.ops import compiled

if TYPE_CHECKING:
    import pandas as pd


class HistoryRecorder(Callback):
    r"""Record every epoch of ``model.fit``, in memory and as one line of JSON in a file.

    In Keras ``loss`` and ``val_loss`` include the weight penalty; curves that compare models need the loss without it:

        data_loss = loss - penalty,  penalty = \sum_w regularizer(w) over the trainable weights

    If a metric ``data_loss`` is compiled, the penalty is the difference between the two. Without the metric the penalty
    is computed: for validation from the weights that are validated, exactly; for training as the mean over batches,
    weighted by their number of images, of the penalty of the weights that the batch met. That is what ``loss``
    contains if ``steps_per_execution`` is 1. If it is k, only the first of every k batches is seen. If the first
    batch builds the model, that batch is not seen. Losses that layers add by ``add_loss`` or an activity regularizer
    stay in ``data_loss``, unless the metric is compiled.

    A record has the keys ``schema_version`` (1), ``epoch`` (from 0), ``loss``, ``data_loss``, ``penalty``, every other
    metric, ``val_loss``, ``val_data_loss``, ``val_penalty``, every other validation metric, ``lr`` (learning rate of
    the epoch's last step), ``seconds`` (wall clock of training and validation), ``train_seconds`` (without validation)
    and ``images_per_second`` (training images by ``train_seconds``, or None if their number is unknown).

    Args:
        path: The file to append to, or None. Missing folders are made. Every line is on the disk before the next epoch.
        initial_epoch: The epoch, from 0, at which training resumes. Lines of that and later epochs are dropped from an
            existing file, and the earlier ones become the first of ``records``.
        images_per_epoch: Number of training images an epoch. By default Keras's own loss tracker is asked.
        append: Whether a file that has lines may be appended to as it is.

    Attributes:
        records: One dict an epoch. Values that are not finite are floats here and null in the file.

    Raises:
        RunError: When training begins, if the file has lines and neither ``initial_epoch`` nor ``append`` is given, or
            if a line of it is damaged.
        OSError: If the file cannot be written; the record is in ``records`` all the same.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        initial_epoch: int | None = None,
        images_per_epoch: int | None = None,
        append: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("initial_epoch", initial_epoch), ("images_per_epoch", images_per_epoch)):
            if value is not None:
                whole_number(name, value, 0, error=RunError)
        self.path = None if path is None else Path(path)
        self.initial_epoch, self.images_per_epoch, self.append = initial_epoch, images_per_epoch, append
        self.records: list[dict[str, Any]] = []
        self._opened = self._looked = False
        self._penalty: Callable[[], Any] | None = None
        self.on_epoch_begin(0)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of: settings and records, and nothing of an epoch under way."""
        under_way = {"_penalty": None, "_looked": False, "_penalties": [], "_counts": [], "_rate": None}
        return {**super().__getstate__(), **under_way, "_val_penalty": None, "records": list(self.records)}

    def to_frame(self) -> pd.DataFrame:
        """Return the records as a table, one row an epoch, with the index ``epoch`` (from 0)."""
        import pandas as pd  # start-up

        columns = list(dict.fromkeys(key for record in self.records for key in record))
        return pd.DataFrame(self.records, columns=columns or ["epoch"]).set_index("epoch")

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Open the file, and find the weights that have a regularizer."""
        if self.path is not None and not self._opened:
            self._open(self.path)
        self._opened = True
        self._looked = False
        self._regularizers()
        self._scheduled = _schedule(self.model) is not None
        self._has_data_loss = False  # known after the first epoch; until then penalties are sampled in vain

    def _regularizers(self) -> Callable[[], Any] | None:
        """Return a function that computes the penalty, or None if there are no regularizers or no weights yet."""
        if not self._looked:
            self._looked, self._penalty = self.model.built, _penalty_function(self.model)
        return self._penalty

    def _open(self, path: Path) -> None:
        """Read the records to keep. Drop the others from the file, whole or not at all."""
        if not path.exists():
            return
        earlier = read_history(path)
        if self.initial_epoch is not None:
            kept = [record for record in earlier if record["epoch"] < self.initial_epoch]
            if len(kept) < len(earlier):
                try:
                    write_whole(path, b"".join(encode_record(record) for record in kept))
                except OSError as error:
                    raise explain(error, path) from error
            self.records = kept
        elif self.append:
            self.records = earlier
        elif earlier:
            raise RunError(
                f"{path} holds the history of {len(earlier)} epochs already. Choose another file, or pass "
                "`initial_epoch` to resume that training or append=True to add to the file as it is."
            )

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Start the clock."""
        self._penalties: list[Any] = []  # of each batch, None if it was not known yet
        self._counts: list[Any] = []  # of images, after each batch
        self._rate = self._val_penalty = self._train_seconds = None
        self._start = time.perf_counter()

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Note learning rate and penalty: tensors, which are waited for at the end of the epoch."""
        model = self.model
        if not self._scheduled:  # a schedule is asked once, when the epoch ends
            rate = getattr(getattr(model, "optimizer", None), "learning_rate", None)
            self._rate = None if rate is None else _copy(rate)
        penalty = None if self._has_data_loss else self._regularizers()
        self._penalties.append(penalty() if penalty else None)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Note the images so far, unless nobody will ask: once the epoch is over, another callback may evaluate."""
        if self._penalties[-1] is not None or not self._looked or self.images_per_epoch is None:
            seen = getattr(getattr(self.model, "_loss_tracker", None), "count", None)
            self._counts.append(None if seen is None else _copy(seen))

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Stop the clock of the training part: validation begins, and resets the metrics."""
        if self._train_seconds is None:
            self._stop_training_clock()

    def on_test_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Compute the penalty of the weights that are validated, which a callback may have swapped for the epoch's."""
        if self._val_penalty is None:
            penalty = self._regularizers()
            self._val_penalty = penalty() if penalty else 0.0

    def _stop_training_clock(self) -> None:
        """Set the training seconds of the epoch."""
        if self._counts and self._counts[-1] is not None:
            float(self._counts[-1])  # waits for the last step on a GPU
        self._train_seconds = time.perf_counter() - self._start

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Make the epoch's record, keep it, and append it to the file."""
        if self._train_seconds is None:
            self._stop_training_clock()
        seconds = time.perf_counter() - self._start
        metrics = {key: _plain(value) for key, value in (logs or {}).items()}
        self._has_data_loss = "data_loss" in metrics
        record = {"schema_version": SCHEMA_VERSION, "epoch": int(epoch)}
        images, weights = self._count_images()
        record |= self._split_loss(metrics, "", lambda: self._mean_penalty(weights))
        record |= self._split_loss(metrics, "val_", lambda: float(self._val_penalty or 0.0))
        record |= {
            "lr": self._last_rate(),
            "seconds": seconds,
            "train_seconds": self._train_seconds,
            "images_per_second": images / self._train_seconds if images and self._train_seconds > 0 else None,
        }
        self.records.append(record)
        if self.path is not None:
            append_line(self.path, encode_record(record))

    def _count_images(self) -> tuple[float | None, list[float] | None]:
        """Return the images of the epoch, and of each batch, or None if another callback evaluated in between."""
        if None in self._counts or not self._counts:
            return self.images_per_epoch, None
        counts = [float(seen) for seen in self._counts]
        weights = list(np.diff(np.asarray([0.0, *counts])))
        if min(weights) <= 0:
            return self.images_per_epoch, None
        return self.images_per_epoch or counts[-1], weights

    def _mean_penalty(self, weights: Sequence[float] | None) -> float:
        """Return the mean of the penalty over batches. A first batch that built the model counts as the second does."""
        penalty = self._regularizers()
        if penalty is None:
            return 0.0
        known = [float(value) for value in self._penalties if value is not None] or [float(penalty())]
        values = [known[0]] * (len(self._penalties) - len(known)) + known
        return float(np.average(values, weights=weights if len(values) == len(weights or values) else None))

    def _split_loss(self, metrics: dict[str, Any], prefix: str, compute: Callable[[], float]) -> dict[str, Any]:
        """Return the metrics with the prefix, the loss split in two."""
        chosen = {k: v for k, v in metrics.items() if k.startswith("val_") == bool(prefix)}
        loss, data_loss = chosen.pop(f"{prefix}loss", None), chosen.pop(f"{prefix}data_loss", None)
        if not isinstance(loss, float):
            return chosen
        if data_loss is None:
            penalty = compute()
            data_loss = loss - penalty
        elif self._regularizers() is not None or self.model.losses:
            penalty = max(loss - data_loss, 0.0)
        else:  # the two differ by rounding only
            penalty = 0.0
        return {f"{prefix}loss": loss, f"{prefix}data_loss": data_loss, f"{prefix}penalty": penalty, **chosen}

    def _last_rate(self) -> float | None:
        """Return the learning rate of the last step. A schedule counts steps and is one ahead by now."""
        if schedule := _schedule(self.model):
            optimizer = self.model.optimizer
            steps = getattr(optimizer, "inner_optimizer", optimizer)._iterations
            return float(schedule(max(int(keras.ops.convert_to_numpy(steps)) - 1, 0)))
        return None if self._rate is None else float(self._rate)


def _copy(variable: Any) -> Any:
    """Return a copy of a scalar variable. A conversion would share memory that the next step overwrites."""
    return keras.ops.add(variable, 0.0)


def _schedule(model: keras.Model) -> keras.optimizers.schedules.LearningRateSchedule | None:
    """Return the optimizer's learning rate schedule, or None if the rate is a plain number."""
    optimizer = getattr(model, "optimizer", None)
    rate = getattr(getattr(optimizer, "inner_optimizer", optimizer), "_learning_rate", None)
    return rate if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule) else None


def _penalty_function(model: keras.Model) -> Callable[[], Any] | None:
    """Return a function that sums the penalties of the trainable weights, or None if none has a regularizer."""
    weights = [weight for weight in model.trainable_variables if weight.regularizer is not None]
    if not weights:
        return None

    def penalty() -> Any:
        return sum(keras.ops.sum(keras.ops.cast(weight.regularizer(weight), "float32")) for weight in weights)

    return compiled(penalty)


def _plain(value: Any) -> float | list[Any]:
    """Return a metric as a float, or as a flat list if it has several values."""
    array = np.asarray(value, dtype=np.float64)
    return float(array) if array.ndim == 0 else array.ravel().tolist()
