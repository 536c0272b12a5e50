"""The images that a trained model gets wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfnorm.callbacks.base import Keras3Callback
from tfnorm.errors import DataError, unknown, whole_number
from tfnorm.files import check_picture_path
from tfnorm.misclassified import (
    SELECTIONS,
    Misclassified,
    check_classes,
    check_images,
    check_labels,
    draw_misclassified,
    find_misclassified,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class MisclassifiedImages(Keras3Callback):
    """Find the images that the model gets wrong when training ends, and draw some of them.

    Training is left as it is: neither weights nor metrics change. List it last, so that it sees the weights that the
    other callbacks leave behind, such as the best ones.

    Args:
        x: Images as the model takes them, shape (images, height, width, channels), channels 1 or 3.
        y: Their classes, integers, shape (images,).
        n: How many misclassified images to list, at most; at least 1.
        select: ``"confident"`` for the most confident mistakes, ``"first"`` for the first by index.
        class_names: The name of every class; by default its number.
        path: Where to draw them (.png, .svg or .pdf), or None.
        batch_size: Images a prediction step.
        every: Look after every so many epochs too, in 1..; None looks at the end only.
        from_logits: Whether the model returns logits, else probabilities.
        title: Title of the picture.

    Attributes:
        total: How many images are misclassified; None before the first look.
        result: The `Misclassified` images; None before the first look.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        n: int = 10,
        select: str = "confident",
        class_names: Sequence[str] | None = None,
        path: str | os.PathLike[str] | None = None,
        batch_size: int = 256,
        every: int | None = None,
        from_logits: bool = True,
        title: str | None = None,
    ) -> None:
        super().__init__()
        if select not in SELECTIONS:
            raise DataError(unknown("selection", select, SELECTIONS))
        for name, value in (("n", n), ("batch_size", batch_size), ("every", 1 if every is None else every)):
            whole_number(name, value, error=DataError)
        if isinstance(x, Mapping):
            raise DataError(
                f"`x` must be one array of images. Received: a dictionary of {', '.join(map(repr, x))}. "
                "The callback is for models with one input and one output."
            )
        self.x = np.asarray(x)
        self.y = check_labels(y, len(self.x))
        self.n, self.select, self.class_names = n, select, class_names
        self.path = None if path is None else check_picture_path(path)
        if path is not None:
            check_images(self.x, len(self.y))
        self.batch_size, self.every, self.from_logits, self.title = batch_size, every, from_logits, title
        self.total: int | None = None
        self.result: Misclassified | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Check before the training that classes and names fit the model, if its outputs are known."""
        for kind in ("inputs", "outputs"):
            tensors = getattr(self.model, kind, None) or [None]  # not known of a subclass
            if len(tensors) > 1:
                raise DataError(
                    f"The model must have one input and one output, the logits. Received: {len(tensors)} {kind}. "
                    "Give the logits of one output to tfnorm.report.misclassified_data."
                )
        shape = getattr(self.model, "output_shape", None) if self.model.built else None
        if isinstance(shape, tuple) and all(isinstance(side, int) for side in shape[1:]):
            check_classes(self.y, (len(self.x), *shape[1:]), self.class_names)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Look after every ``every`` epochs."""
        if self.every is not None and (epoch + 1) % self.every == 0:
            self._look()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Look at the trained model."""
        self._look()

    def _look(self) -> None:
        """Predict, and set ``total`` and ``result``; draw if there is a path."""
        logits = np.asarray(self.model.predict(self.x, batch_size=self.batch_size, verbose=0), dtype=np.float64)
        if not self.from_logits:
            with np.errstate(divide="ignore", invalid="ignore"):
                logits = np.log(logits)
        self.result = find_misclassified(self.y, logits, n=self.n, select=self.select, class_names=self.class_names)
        self.total = self.result.total
        if self.path is not None:
            self.draw(self.path)

    def _looked(self) -> Misclassified:
        """Return the result, or raise an error before the first look."""
        if self.result is None:
            raise DataError("There is no result yet. Pass this callback to model.fit first.")
        return self.result

    def to_frame(self) -> pd.DataFrame:
        """Return one row a misclassified image, as `Misclassified.to_frame` does."""
        return self._looked().to_frame()

    def draw(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the misclassified images, and write the picture to ``path`` if given."""
        return draw_misclassified(self.x, self._looked(), title=self.title, path=path)
