"""A data set whose training batches a person's own pipeline gives, in its own order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfnorm.datasets.checks import make_dataset, remarks
from tfnorm.datasets.dataset import Dataset, Part, check_image_size
from tfnorm.datasets.given.pixels import Pixels
from tfnorm.datasets.images import Scan, Seen
from tfnorm.datasets.memory import memory_for_images, size_text
from tfnorm.datasets.reading import Reading
from tfnorm.errors import DataError
from tfnorm.text import counted

if TYPE_CHECKING:
    from tfnorm.datasets.batches import EpochBatches
    from tfnorm.datasets.given.epochs import Epochs


# Of an epoch. A generator may have no end, which nothing else tells.
MOST_IMAGES = 50_000_000


class GivenImages:
    """Training images that come in batches only: their number and shape."""

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __len__(self) -> int:
        """Return the number of images of an epoch."""
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Refuse to give single images."""
        raise DataError("A pipeline gives its images in batches, and none by its number.")


@dataclass(frozen=True, eq=False, repr=False)
class Pipeline(Dataset):
    """A `Dataset` whose training batches come from a person's own pipeline; its test images are in memory.

    Args:
        open: Returns the `Epochs` of a run, given its seed.
        kind: What the pipeline is, in a word or two.
        steps: Batches an epoch.
        batch_size: Images in the first batch.
        smallest: Images in the smallest batch.
        scale: What pixels are multiplied by, 1 or 255.
        shuffles: Whether it is known to shuffle by itself.
        fresh: Whether it is made anew for each run.
        weighted: Whether training images have weights.
        w_test: The weights of the test images, or None.
        moments: Mean and standard deviation of the pixels, in place of those of the first pass.
    """

    open: Callable[[int], Epochs] = field(kw_only=True)
    kind: str = ""
    steps: int = 0
    batch_size: int = 0
    smallest: int = 0
    scale: int = 1
    shuffles: bool = False
    fresh: bool = True
    weighted: bool = False
    w_test: np.ndarray | None = None
    moments: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        return self.moments or super()._moments

    def as_begun(self, record: Mapping[str, Any]) -> Pipeline:
        """Return it with the mean and the standard deviation that a run began with.

        A pipeline that draws random numbers may give others in another first pass.
        """
        return replace(self, moments=(np.asarray(record["mean"]), np.asarray(record["std"])))

    @property
    def notes(self) -> list[str]:
        """Sentences on what the pipeline decides."""
        notes = [
            f"The order of the training images is that of your pipeline ({self.kind}), and so is the batch size, "
            f"{self.batch_size}."
        ]
        if self.shuffles:
            others = "" if self.fresh else "specs may see other orders, and "
            notes.append(
                f"Your pipeline shuffles by itself, so that {others}a run that goes on after a break sees another "
                "order than one without."
            )
        if self.has_weights:
            parts = [part for part, has in (("training", self.weighted), ("test", self.w_test is not None)) if has]
            notes.append(
                f"The loss of {' and '.join(parts)} images is multiplied by their weights; accuracies are not."
            )
        return notes

    @property
    def has_weights(self) -> bool:
        """Whether training or test images have weights."""
        return self.weighted or self.w_test is not None

    def batches(self, batch_size: int | None, *, seed: int, drop_remainder: bool = False) -> EpochBatches:
        """Return the batches of a run as the pipeline gives them, whatever is asked for."""
        from tfnorm.datasets.given.epochs import GivenBatches  # start-up

        return GivenBatches(self, seed)

    def read(self, epochs: Epochs, epoch: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the batches of an epoch: images, labels, and weights if there are any.

        Raises:
            DataError: If there are more or fewer than in the first pass, or if one does not fit.
        """
        pixels = Pixels(epochs.where, "x_train")
        pixels.scale, pixels.shape = self.scale, self.input_shape
        batches = epochs.read(epoch)
        count, following = 0, next(batches, None)
        while following is not None:
            (images, labels, weights), following = following, next(batches, None)
            count += 1
            if (following is None) != (count == self.steps):
                more = "more" if following is not None else "fewer"
                raise DataError(
                    f"{epochs.where} gave {more} batches in epoch {epoch + 1} than in its first pass, {self.steps}. It "
                    "must give as many in each epoch."
                )
            found = pixels(images), self._labels(labels, epochs.where)
            if (weights is None) == self.weighted:
                raise _some_weights(epochs.where)
            yield found if weights is None else (*found, weights)

    def _labels(self, labels: np.ndarray, where: str) -> np.ndarray:
        rows = labels.ndim == 2 and labels.shape[1] > 1
        if rows or self.multi_label:
            good = rows and labels.shape[1] == self.num_classes and bool(np.isin(labels, (0, 1)).all())
            if good and not self.multi_label:
                good, labels = bool((labels.sum(axis=1) == 1).all()), labels.argmax(axis=1)
        else:
            labels = labels.reshape(-1)
            good = bool(np.isin(labels, range(self.num_classes)).all())
        if not good:
            raise DataError(f"{where} gave classes that were not in its first pass. Give the same in each epoch.")
        return labels.astype(np.int64)

    def resize(self, size: tuple[int, int] | int) -> Dataset:
        """Refuse another size than the pipeline's."""
        height, width, _ = self.input_shape
        if check_image_size(size) != (height, width):
            raise DataError(
                f"{self.name} gives images of {height}x{width}, and only it can give others. Received: image_size="
                f"{size}. Resize them there, and leave it out."
            )
        return self

    def hold_out(self, share: float, part: Part | None = None) -> Dataset:
        """Refuse to divide batches."""
        raise DataError(
            f"The batches of {self.name} cannot be divided. Received: holdout={share:g}. Give the held-out images as "
            "its test images, or give arrays."
        )

    def part(self, batches: int, batch_size: int, tests: int) -> Dataset:
        """Return the first few batches, in memory, and the first test images; what was found of all is kept."""
        from tfnorm.datasets.given.epochs import Epochs  # start-up

        epochs = self.open(0)
        first = [batch for _, batch in zip(range(batches), epochs.read(0), strict=False)]
        count = sum(len(images) for images, *_ in first)
        kept = [tuple(each for each in batch if each is not None) for batch in first]
        return replace(
            self, open=lambda seed: Epochs(kept, epochs.where, seed), steps=len(kept),
            x_train=GivenImages((count, *self.input_shape)), y_train=self.y_train[:count], x_test=self.x_test[:tests],
            y_test=self.y_test[:tests], w_test=None if self.w_test is None else self.w_test[:tests],
        )  # fmt: skip

    def for_statistics(self, seed: int) -> Any:
        """Return the images of each batch, for batch norms."""
        return _Inputs(self, seed)

    def describe(self) -> dict[str, Any]:
        """Return what identifies the data set, ready for JSON."""
        return {
            **super().describe(),
            "pipeline": {
                "kind": self.kind, "batches": self.steps, "batch_size": self.batch_size, "shuffles": self.shuffles,
                "weights": {"train": self.weighted, "test": self.w_test is not None}, "notes": self.notes,
            },
        }  # fmt: skip


class _Inputs:
    """The images of the batches of the first epoch, which can be read again."""

    def __init__(self, pipeline: Pipeline, seed: int) -> None:
        self._pipeline, self._seed = pipeline, seed

    def __iter__(self) -> Iterator[np.ndarray]:
        return (images for images, *_ in self._pipeline.read(self._pipeline.open(self._seed), 0))


@dataclass
class Found:
    """What a pass over batches found."""

    pixels: Pixels
    steps: int = 0
    batch_size: int = 0
    smallest: int = 0
    images: int = 0
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    weights: np.ndarray | None = None
    seen: Seen | None = None
    kept: np.ndarray | None = None


def read_all(epochs: Epochs, name: str, *, memory: int | None = None, keep: bool = False) -> Found:
    """Read an epoch of batches, and keep the images if that is asked for and they fit into ``memory`` bytes."""
    found = Found(Pixels(epochs.where, f"x_{name}"))
    labels: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    kept: list[np.ndarray] = []
    size, most = 0, memory_for_images(memory)
    for images, classes, factors in epochs.read(0):
        pixels = found.pixels(images)
        if found.seen is None:
            found.seen = Seen(np.zeros((pixels.shape[-1], 256), np.int64))
            found.batch_size = found.smallest = len(pixels)
        found.seen.add(pixels)
        found.steps += 1
        found.smallest = min(found.smallest, len(pixels))
        labels.append(classes.astype(np.uint8) if _are_rows(classes) else classes)
        if found.steps > 1 and (factors is None) == bool(weights):
            raise _some_weights(epochs.where)
        weights += [] if factors is None else [factors]
        size += pixels.nbytes
        if len(found.seen.digests) > MOST_IMAGES:
            raise DataError(
                f"{epochs.where} gave {MOST_IMAGES:,} images and did not end. An epoch must end: return fewer batches."
            )
        if keep and size > most:
            raise DataError(
                f"{epochs.where}: these images are kept in memory, and they need more than {size_text(most)}. Use "
                "fewer, or allow more with memory='8GB' (--memory 8GB)."
            )
        kept += [pixels] if keep else []
    if not labels:
        raise DataError(f"{epochs.where} gave no image. It must give at least one batch.")
    shapes = sorted({each.shape[1:] for each in labels})
    if len(shapes) > 1:
        raise DataError(f"{epochs.where}: classes must have one shape. Received: {shapes[0]} and {shapes[1]}.")
    found.labels = np.concatenate(labels)
    found.images = len(found.labels)
    found.weights = np.concatenate(weights) if weights else None
    found.kept = np.concatenate(kept) if keep else None
    return found


def _are_rows(labels: np.ndarray) -> bool:
    return labels.ndim == 2 and labels.shape[1] > 1 and bool(np.isin(labels, (0, 1)).all())


def _some_weights(where: str) -> DataError:
    return DataError(f"{where}: some batches have weights and others have none. Give them in all, or in none.")


def from_arrays(name: str, train: Found, test: Found, *, where: str, class_names: Sequence[Any] | None) -> Dataset:
    """Return the data set of images in memory, which tfnorm brings into an order itself."""
    if train.weights is not None or test.weights is not None:
        raise DataError(f"{where}: arrays have no weights here. Give batches of (images, classes, weights).")
    dataset = make_dataset(name, where, (train.kept, train.labels), (test.kept, test.labels), class_names)
    return _with_reading(dataset, where, _notes(train, test))


def from_batches(
    name: str, train: Found, test: Found, open: Callable[[int], Epochs], *, where: str,
    class_names: Sequence[Any] | None, kind: str, shuffles: bool, fresh: bool,
) -> Pipeline:  # fmt: skip
    """Return the data set of a pipeline, after a first pass.

    Args:
        name: What it is called in records.
        train: What was found of the training batches.
        test: What was found of the test images, which are kept.
        open: Returns the `Epochs` of a run, given its seed.
        where: What messages call it.
        class_names: Names of the classes, or None for their numbers.
        kind: What the pipeline is, in a word or two.
        shuffles: Whether it is known to shuffle by itself.
        fresh: Whether it is made anew for each run.
    """
    images = GivenImages((train.images, *(train.pixels.shape or ())))
    checked = make_dataset(name, where, (images, train.labels), (test.kept, test.labels), class_names)
    scan = Scan()
    scan.add_unordered(
        "train", train.seen, f"{train.steps} batches of {train.batch_size}, {images.shape} times {train.pixels.scale}, "
        f"weighted {train.weights is not None}",
    )  # fmt: skip
    scan.add("test", checked.x_test.shape, [checked.x_test], checked.y_test)
    if test.weights is not None:
        scan.note(test.weights.tobytes())
    pipeline = Pipeline(
        **{key: getattr(checked, key) for key in ("name", "x_train", "y_train", "x_test", "y_test", "class_names")},
        multi_label=checked.multi_label, known_scan=scan, open=open, kind=kind, steps=train.steps,
        batch_size=train.batch_size, smallest=train.smallest, scale=train.pixels.scale or 1, shuffles=shuffles,
        fresh=fresh, weighted=train.weights is not None, w_test=test.weights,
    )  # fmt: skip
    return _with_reading(pipeline, where, [*pipeline.notes, *_notes(train, test)])


def _notes(train: Found, test: Found) -> list[str]:
    notes = []
    if 255 in (train.pixels.scale, test.pixels.scale):
        notes.append("Pixels are floats in 0..1; they were multiplied by 255 and rounded to uint8.")
    elif train.pixels.rounded or test.pixels.rounded:
        notes.append("Pixels were rounded to whole numbers in 0..255.")
    return notes


def not_as_without_a_break(epochs: int) -> str:
    """Return a sentence on a run with a pipeline that shuffles by itself, which went on after so many epochs."""
    return (
        f"Your pipeline shuffles by itself, so that a run that goes on after {counted([epochs], 'epoch')} does not end "
        "with the bits of one without a break."
    )


def _with_reading(dataset: Any, where: str, notes: Sequence[str]) -> Any:
    """Return a data set with a record of what was read and what may be a mistake."""
    found, twins = remarks(dataset, lambda part, index: f"{part} image {index}")
    reading = Reading(summary=dataset.read_from(where), notes=(*notes, *found), on_both_sides=tuple(twins))
    return replace(dataset, reading=reading)
