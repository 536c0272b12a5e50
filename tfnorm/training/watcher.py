"""The model that is trained, its whole state, and the callbacks that save it and end a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfnorm.callbacks import BatchNormRecalibration, HistoryRecorder
from tfnorm.datasets import Batches
from tfnorm.datasets.augment.layers import Augmentation
from tfnorm.metrics.metric import ACCURACY, Metric
from tfnorm.metrics.scores import score
from tfnorm.training.checkpoint import best_epoch
from tfnorm.training.config import TrainConfig
from tfnorm.training.folder import RunFolder
from tfnorm.training.network.devices import draw_apart, own_part, shared_loss
from tfnorm.training.progress import Progress
from tfnorm.training.tracking import Tracker


@keras.saving.register_keras_serializable("tfnorm")
class Trained(keras.Model):
    """A functional model that remembers the first step whose loss was not finite, counted from 0.

    As long as there is no such step, ``first_bad_step`` is -1 minus the number of steps so far. (The optimizer counts
    steps too, but Keras takes its variables away while JAX trains.) Each of several devices trains it on its part of a
    batch.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.first_bad_step = keras.Variable(-1, dtype="int32", trainable=False, name="first_bad_step")

    @property
    def state(self):
        """All variables that training changes: weights, statistics, random seeds, those of the optimizer."""
        return [*self.variables, *self.optimizer.variables]

    def train_step(self, *arguments):
        """Take a step with a batch, the last of the arguments, or with this device's part of it."""
        return super().train_step(*arguments[:-1], own_part(arguments[-1]))

    def test_step(self, *arguments):
        """Evaluate a batch, the last of the arguments, or this device's part of it."""
        return super().test_step(*arguments[:-1], own_part(arguments[-1]))

    def compute_loss(self, x=None, *args, training=True, **kwargs):
        """Return the loss, and note the step if its loss is the first one that is not finite."""
        loss, of_all = shared_loss(super().compute_loss(x, *args, training=training, **kwargs), x)
        if training:
            seen = keras.ops.convert_to_tensor(self.first_bad_step)
            count = keras.ops.where(keras.ops.isfinite(of_all), seen - 1, -seen - 1)
            self.first_bad_step.assign(keras.ops.where(seen < 0, count, seen))
        return loss


class Watcher(keras.callbacks.Callback):
    """Saves the state, sends progress events, and ends a run that stops improving or whose loss is not finite."""

    def __init__(
        self, config: TrainConfig, folder: RunFolder, batches: Batches, recorder: HistoryRecorder, progress: Progress,
        trackers: Sequence[Tracker], metric: Metric,
    ) -> None:  # fmt: skip
        super().__init__()
        self.metric = metric
        self.config, self.folder, self.batches, self.recorder = config, folder, batches, recorder
        self.progress, self.trackers = progress, trackers
        self.epoch = 0
        self.diverged_at: tuple[int | None, int | None] = None, None

    def on_epoch_begin(self, epoch, logs=None):
        """Choose the order of images of this epoch, and switch the augmentation on or off."""
        self.epoch = self.batches.epoch = epoch
        # What draws from a generator of the process, as Keras's dropout does on PyTorch, draws the same in this epoch
        # when a run goes on with it: such generators are in no checkpoint.
        keras.utils.set_random_seed((self.config.seed + 1_000_003 * (epoch + 1)) % 2**31)
        draw_apart(self.model)
        for layer in self.model.layers:
            if isinstance(layer, Augmentation) and layer.on is not None:
                layer.turn(epoch < self.config.epochs - self.config.recipe.plain_epochs)

    def on_train_batch_begin(self, batch, logs=None):  # at the end of a batch Keras would wait for its losses
        """Send the step that begins."""
        self.progress.stepped(self.folder.path, self.epoch, batch)

    def on_epoch_end(self, epoch, logs=None):
        """Save the state, send the record, and stop if the run ends early."""
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            self.diverged_at = epoch, int(keras.ops.convert_to_numpy(self.model.first_bad_step))
            self.model.stop_training = True
        else:
            if best_epoch(self.recorder.records, self.metric) == epoch:
                self.folder.checkpoints.save_best(epoch + 1, arrays_of(self.model.variables))
            self.folder.checkpoints.save(epoch + 1, arrays_of(self.model.state))
            if no_better_for(self.config.patience, self.recorder.records, self.metric, self.config.freeze_epochs):
                self.model.stop_training = True
        for tracker in self.trackers:
            tracker.log(self.recorder.records[-1])
        self.progress.epoch_ended(self.folder.path, self.recorder.records[-1])


class Score(keras.callbacks.Callback):
    """Adds a metric of all test images together to the measures of each epoch, for the callbacks after it.

    Args:
        name: A metric of `tfnorm.metrics.scores.score`.
        logits: A function of a model that returns its logits of the test images.
        labels: Their labels.
    """

    def __init__(self, name: str, logits: Callable[[keras.Model], np.ndarray], labels: np.ndarray) -> None:
        super().__init__()
        self.name, self.logits, self.labels = name, logits, labels

    def on_epoch_end(self, epoch, logs=None):
        """Predict all test images."""
        logs[f"val_{self.name}"] = score(self.name, self.labels, self.logits(self.model))


class LastEpochRecalibration(BatchNormRecalibration):
    """Recalibrates once, before the evaluation of the last planned epoch."""

    def on_train_end(self, logs=None):
        """Leave the model as it is, because it was evaluated so."""


def no_better_for(
    patience: int | None,
    records: Sequence[Mapping[str, Any]],
    metric: Metric = ACCURACY,
    frozen: int | None = None,
) -> bool:
    """Return whether the best epoch is at least ``patience`` epochs ago; `False` if that is None.

    The first ``frozen`` epochs, in which layers are frozen, don't count.

    Example:
        >>> records = [{"epoch": 0, "val_accuracy": 0.5}, {"epoch": 1, "val_accuracy": 0.5}]
        >>> no_better_for(1, records), no_better_for(1, records, frozen=2)
        (True, False)
    """
    if patience is None or not records:
        return False
    return records[-1]["epoch"] - max(best_epoch(records, metric) or 0, (frozen or 0) - 1) >= patience


def arrays_of(variables) -> dict[str, np.ndarray]:
    """Return the values of variables by index and path."""
    return {f"{i:04d} {v.path}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}


def assign(variables, arrays: Mapping[str, np.ndarray]) -> None:
    """Set variables to the values that `arrays_of` returned for them."""
    for variable, value in zip(variables, arrays.values(), strict=True):
        variable.assign(value)
