"""The images that a trained model gets wrong."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfnorm.analysis.outputs import Outputs, outputs_of
from tfnorm.callbacks._labelled_images import LabelledImages
from tfnorm.callbacks.base import Callback
from tfnorm.errors import DataError, unknown, whole_number
from tfnorm.files import check_picture_path
from tfnorm.mistakes.draw import draw_chosen
from tfnorm.mistakes.find import SELECTIONS, Misclassified, are_logits, first_wrong, listed, predictions
from tfnorm.mistakes.labels import check_classes, check_images
from tfnorm.ops.batches import check_batch

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class MisclassifiedImages(Callback):
    """Find the images that the model gets wrong when training ends, and draw some of them.

    Training is left as it is: neither weights nor metrics change. List it last, so that it sees the weights that the
    other callbacks leave behind, such as the best ones. It can be copied and pickled, before and after training; the
    model is left out of the copy.

    The images are given as `model.fit` takes them, or its ``validation_data``. Batches are read anew at each look, and
    only the images that are listed are kept. An iterator, such as a generator, is read once, when the callback is
    made, and its images are kept. If the order of the batches is not fixed, as after ``shuffle``, the classes must come
    with them, and the ``index`` of an image is its place in the last look.

    Args:
        x: Images as the model takes them: an array of shape (images, height, width, channels), channels 1 or 3; a tuple
            of arrays ``(x, y)`` or ``(x, y, sample_weight)``; or batches of images, of ``(images, classes)`` or of
            ``(images, classes, weights)``, as a `tf.data.Dataset`, a `keras.utils.PyDataset`, a PyTorch ``DataLoader``,
            a list, a generator or another iterable gives them.
        y: Their classes, integers of shape (images,) or one-hot rows. Leave it out if ``x`` holds them.
        n: How many misclassified images to list, at most; at least 1.
        select: ``"confident"`` for the most confident mistakes, or ``"first"`` for the first by index.
        class_names: The name of every class. Defaults to their numbers.
        path: Where to draw them (.png, .svg or .pdf), or None.
        batch_size: Images a prediction step.
        every: Look after every so many epochs too, at least 1. Defaults to None: at the end only.
        from_logits: Whether the model returns logits. If ``False``, it returns probabilities. By default this is read
            from the last activation of the model. Where that does not tell, as in a model whose class has a ``call`` of
            its own, the compiled loss and the numbers do.
        title: Title of the picture.
        batches: The largest number of batches that is read. Batches without an end need it. Defaults to all.

    Attributes:
        total: How many images are misclassified, or None before the first look.
        result: The `Misclassified` images, or None before the first look. ``confidence`` is the model's probability:
            the softmax of logits, or their sigmoid if the model has one output or a compiled binary cross-entropy.

    Raises:
        DataError: If the images and classes do not fit together. When training begins, if they do not fit the model.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        *,
        n: int = 10,
        select: str = "confident",
        class_names: Sequence[str] | None = None,
        path: str | os.PathLike[str] | None = None,
        batch_size: int = 256,
        every: int | None = None,
        from_logits: bool | None = None,
        title: str | None = None,
        batches: int | None = None,
    ) -> None:
        super().__init__()
        if select not in SELECTIONS:
            raise DataError(unknown("selection", select, SELECTIONS))
        for name, value in (("n", n), ("batch_size", batch_size), ("every", 1 if every is None else every)):
            whole_number(name, value, error=DataError)
        if from_logits not in (None, True, False):
            raise DataError(f"`from_logits` must be True, False or None. Received: from_logits={from_logits!r}.")
        if isinstance(x, Mapping):
            raise DataError(
                f"`x` must be one array of images. Received: a dictionary of {', '.join(map(repr, x))}. "
                "The callback is for models with one input and one output."
            )
        self.data = LabelledImages(x, y, batches)
        self.n, self.select, self.class_names = n, select, class_names
        self.path = None if path is None else check_picture_path(path)
        if path is not None:
            check_images(self.data.first, len(self.data.first))
        self.batch_size, self.every, self.from_logits, self.title = batch_size, every, from_logits, title
        self.total: int | None = None
        self.result: Misclassified | None = None
        self._shown: list[np.ndarray] = []

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Check before the training that images, classes and names fit the model, as far as it is known."""
        for kind in ("inputs", "outputs"):
            tensors = getattr(self.model, kind, None) or [None]  # not known of a subclass
            if len(tensors) > 1:
                raise DataError(
                    f"The model must have one input and one output. Received: {len(tensors)} {kind}. "
                    "Give what one output returns to tfnorm.reporting.misclassified_data."
                )
        check_batch(self.model, self.data.first)
        known = outputs_of(self.model)
        outputs = getattr(self.model, "outputs", None) if self.model.built else None
        shape = tuple(outputs[0].shape) if outputs else None
        if shape is not None and all(isinstance(side, int) for side in shape[1:]):
            one = shape[1:] in ((), (1,))
            check_classes(self.data.labels, (len(self.data.labels), *(shape[1:] or (1,))), self.class_names)
            if one and self.from_logits is None and known.from_logits is None and known.ending in (None, "logits"):
                raise DataError(
                    "The model has one output, and neither its last activation nor its loss tells whether that is a "
                    "logit or a probability. Pass from_logits=True or from_logits=False."
                )
        if self.from_logits is not None and known.ending and self.from_logits != (known.ending == "logits"):
            returned = "logits" if known.ending == "logits" else f"probabilities: it ends in {known.ending}"
            warnings.warn(
                f"MisclassifiedImages was given from_logits={self.from_logits}, but the model {self.model.name!r} "
                f"returns {returned}. The confidences will be wrong. Leave out `from_logits`.",
                stacklevel=2,
            )

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Look after every ``every`` epochs."""
        if self.every is not None and (epoch + 1) % self.every == 0:
            self._look()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Look at the trained model."""
        self._look()

    def _look(self) -> None:
        """Predict, set ``total`` and ``result``, and draw if there is a path."""
        known = outputs_of(self.model)
        link, found = self._pass(known, None)
        if (decided := self._link(known, found[0])) != link:  # the first images looked otherwise than all of them
            link, found = self._pass(known, decided)
        scores, labels, images = found
        self._warn_of_doubt(known, scores)
        labels, names = check_classes(labels, scores.shape, self.class_names)
        self.result = listed(labels, *predictions(scores, link), names, n=self.n, select=self.select)
        self._shown = [images[index] for index in self.result.index]
        self.total = self.result.total
        if self.path is not None:
            self.draw(self.path)

    def _pass(self, known: Outputs, link: str | None) -> tuple[str, tuple[Any, Any, dict[int, np.ndarray]]]:
        """Return the link (see `_link`), then the outputs, the classes and the images that are listed."""
        scores, labels = [], []
        kept: dict[int, np.ndarray] = {}
        for images, classes in self.data.chunks():
            start = sum(map(len, labels))
            (returned,) = keras.tree.flatten(self.model.predict(images, batch_size=self.batch_size, verbose=0))
            returned = np.asarray(returned, np.float64)
            returned = returned[:, np.newaxis] if returned.ndim == 1 else returned
            check_classes(classes, returned.shape, self.class_names)
            link = link or self._link(known, returned)
            scores.append(returned)
            labels.append(classes)
            shown, _ = first_wrong(classes, *predictions(returned, link), n=self.n, select=self.select)
            kept |= {start + int(index): images[index].copy() for index in shown}
        return str(link), (np.concatenate(scores), np.concatenate(labels), kept)

    def _link(self, known: Outputs, scores: np.ndarray) -> str:
        """Return the function that turns outputs into probabilities: "softmax", "sigmoid" or "none"."""
        by_numbers = are_logits(scores)
        if self.from_logits is not None:
            logits = self.from_logits or bool(by_numbers)
        elif known.ending is not None:
            logits = known.ending == "logits"
        elif by_numbers is not None:
            logits = by_numbers
        else:
            logits = known.from_logits is not False
        if not logits:
            return "none"
        return "sigmoid" if known.independent else "softmax"

    def _warn_of_doubt(self, known: Outputs, scores: np.ndarray) -> None:
        """Warn if the outputs contradict ``from_logits``, or nothing tells what they are."""
        finite = scores[np.isfinite(scores)]
        if not finite.size:
            return
        span = f"values from {finite.min():g} to {finite.max():g}"
        by_numbers = are_logits(scores)
        if self.from_logits is False and by_numbers:
            warnings.warn(
                "MisclassifiedImages was given from_logits=False, but probabilities lie between 0 and 1. Received: "
                f"{span}. They are taken for logits. Leave out `from_logits`.",
                stacklevel=2,
            )
        elif self.from_logits is known.ending is known.from_logits is by_numbers is None:
            warnings.warn(
                f"MisclassifiedImages cannot tell whether the model {self.model.name!r} returns logits or "
                f"probabilities. Received: {span}. They are taken for logits. Pass from_logits=True or "
                "from_logits=False.",
                stacklevel=2,
            )

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
        result = self._looked()
        for image in self._shown[:1]:
            check_images(image[np.newaxis], 1)
        return draw_chosen(self._shown, result, title=self.title, path=path)
