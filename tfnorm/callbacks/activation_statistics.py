"""Statistics of the inputs and outputs of norms over a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfnorm.analysis.activations import activation_statistics, norm_calls
from tfnorm.callbacks.base import Callback
from tfnorm.errors import DataError, whole_number
from tfnorm.ops.batches import joined_inputs

if TYPE_CHECKING:
    import pandas as pd


class ActivationStatistics(Callback):
    """Record mean, standard deviation and dead channels before and after every norm, over training.

    The same images pass through the model before the first epoch, after every ``every`` epochs and at the end;
    training is left as it is. What is measured, and what a dead channel is, is said at
    `tfnorm.analysis.activation_statistics`; `tfnorm.reporting.plot_activations` draws it.

    Args:
        x: Images as the model takes them, such as a few hundred of the test set: an array, one for each input of the
            model in a list or a dictionary, or batches with or without classes, such as a `tf.data.Dataset`, which are
            read once, now, and kept as arrays.
        every: Look after every so many epochs, at least 1. Defaults to 1.
        layers: Names of layers, norms or not; by default all norms.
        batch_size: Images at a time, at least 1. Defaults to 64.
        batch_statistics: Whether batch norms take the statistics of the batch, as in training; False for their moving
            statistics, as at inference.

    Attributes:
        records: One dict a look and layer, which can be written as JSON: ``epochs``, the number of epochs trained by
            then, 0 before the first, and what `activation_statistics` returns.

    Raises:
        TfnormError: When training begins, if the model is a subclass of its own, or has no norm or no such layer.

    Example:
        >>> from keras import Input, Sequential, layers
        >>> model = Sequential([Input((8,)), layers.Dense(4), layers.BatchNormalization(name="norm"), layers.ReLU()])
        >>> model.compile("sgd", "mse")
        >>> watch = ActivationStatistics(np.ones((16, 8)))
        >>> history = model.fit(np.ones((16, 8)), np.ones((16, 4)), verbose=0, callbacks=[watch])
        >>> watch.to_frame()[["epochs", "layer", "relu"]].to_numpy().tolist()
        [[0, 'norm', 'after'], [1, 'norm', 'after']]
    """

    def __init__(
        self,
        x: Any,
        *,
        every: int = 1,
        layers: Sequence[str] | None = None,
        batch_size: int = 64,
        batch_statistics: bool = True,
    ) -> None:
        super().__init__()
        self.every = whole_number("every", every, error=DataError)
        whole_number("batch_size", batch_size, error=DataError)
        self.x = joined_inputs(x)
        self.options = {"layers": layers, "batch_size": batch_size, "batch_statistics": batch_statistics}
        self.records: list[dict[str, Any]] = []
        self._epochs: int | None = None
        self._looked_at: int | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Check that there is something to look at."""
        norm_calls(self.model, self.options["layers"])
        self._epochs = self._looked_at = None

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Look at the model before its first epoch."""
        if self._epochs is None:
            self._look(epoch)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Look after every ``every`` epochs."""
        self._epochs = epoch + 1
        if self._epochs % self.every == 0:
            self._look(self._epochs)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Look at the trained model, unless its last epoch did so."""
        if self._epochs is not None and self._looked_at != self._epochs:
            self._look(self._epochs)

    def _look(self, epochs: int) -> None:
        self._epochs = self._looked_at = epochs
        found = activation_statistics(self.model, self.x, **self.options)
        # A training that goes on looks at its first epoch again.
        self.records = [record for record in self.records if record["epochs"] < epochs]
        self.records += [{"epochs": epochs, **record} for record in found]

    def to_frame(self) -> pd.DataFrame:
        """Return the records as a table, one row a look and layer."""
        import pandas as pd  # start-up

        frame = pd.DataFrame(self.records)
        numbers = [column for column in frame.columns if column.startswith(("before_", "after_"))]
        return frame.astype(dict.fromkeys(numbers, float))
