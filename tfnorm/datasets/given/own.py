"""Data that a person's own Python gives: a function, or a pair of pipelines or arrays."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfnorm.datasets.dataset import Dataset
from tfnorm.datasets.given.libraries import LIBRARIES
from tfnorm.datasets.given.pipeline import Found, Pipeline, from_arrays, from_batches, read_all
from tfnorm.errors import DataError
from tfnorm.own_code.functions import OwnFunction, Purpose, function_of, names_a_function

FORMS = (
    "a name, a folder, an .npz file, hf:NAME, tfds:NAME, FILE.py:FUNCTION, package.module:FUNCTION, or in Python a "
    "pair (train, test)"
)
_DATA = Purpose("data", ("split", "seed"), FORMS, DataError)
#: What records call data that were given to Python as objects.
GIVEN = "objects in Python"
_PARTS = ("train", "test")
# The data that were read last, with what they were read from and the seeds that were checked.
_last: list[tuple[Any, Dataset, set[int]]] = []


@dataclass(frozen=True)
class OwnData:
    """Data of a person's own, which nothing reads before `load`. `own_data` returns one.

    Args:
        name: What messages and records call them.
        text: What `own_data` takes in another process to read the same; None where there is no such text.
        why_no_text: Why there is none, as a sentence; "" if there is one.
        fingerprint: The hash of the file that gives them, or "".
    """

    name: str
    text: str | None
    why_no_text: str = ""
    fingerprint: str = ""
    _function: OwnFunction | None = field(default=None, repr=False)
    _given: Any = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        """Return what records call them: the function without the folder of its file."""
        if self._function is None:
            return GIVEN
        before, _, name = self.name.rpartition(":")
        return f"{Path(before).name}:{name}" if before.endswith(".py") else self.name

    @property
    def key(self) -> tuple[Any, ...]:
        """What is the same for the same data."""
        return self.text or id(self._given if self._function is None else self._function), self.fingerprint

    @property
    def are_arrays(self) -> bool:
        """Whether they are known to be arrays before they are read."""
        return self._function is None and (isinstance(self._given, Dataset) or _are_arrays(_parts(self._given)[0]))

    def load(self, seed: int = 0, *, memory: int | None = None) -> Dataset:
        """Return the data: a `Pipeline` of training batches, or a `Dataset` of arrays.

        A function is asked for those of seed 0, and what it gives for another ``seed`` must be alike.

        Args:
            seed: Seed of the run that they are for.
            memory: Bytes that images may take that are kept in memory; by default a quarter of what is free.

        Raises:
            DataError: If they cannot be read, or do not fit each other.
        """
        key = (*self.key, memory)
        if not _last or _last[0][0] != key:
            _last.clear()
            _last.append((key, self._read(0, memory), {0}))
        _, data, checked = _last[0]
        if seed not in checked and self._takes("seed"):
            self._check_seed(data, seed, memory)
        checked.add(seed)
        return data

    def _takes(self, name: str) -> bool:
        return self._function is not None and name in self._function.parameters()

    def _parts(self, seed: int, *names: str) -> list[Any]:
        """Return "train", "test" or "class_names" of the data under a seed."""
        import keras  # start-up

        made, found = self._given, {}
        keras.utils.set_random_seed(seed)  # that of tf.data, too, which draws some when it is made
        if self._function is not None and self._takes("split"):
            found = {name: self._function.call({"split": name, "seed": seed}) for name in _PARTS if name in names}
            made = None
        elif self._function is not None:
            made = self._function.call({"seed": seed})
        if made is not None:
            found = dict(zip((*_PARTS, "class_names"), _parts(made, self.name), strict=True))
        return [found.get(name) for name in names]

    def _read(self, seed: int, memory: int | None) -> Dataset:
        from tfnorm.datasets.given.epochs import Epochs, random_state_kept  # start-up

        with random_state_kept():
            train, test, class_names = self._parts(seed, *_PARTS, "class_names")
            if isinstance(train, Dataset):
                return train
            arrays = _are_arrays(train)
            epochs = self._epochs(train, "train")
            found = _all_of(epochs, train, "train", keep=arrays, memory=memory)
            tested = self._test(test, memory)
            name = self.name if self._function is None else str(self)
            names = class_names or _class_names(train)
            if arrays:
                return from_arrays(name, found, tested, where=self.name, class_names=names)

            def open_run(seed: int) -> Epochs:
                return Epochs(self._parts(seed, "train")[0], f"{self.name}, train", seed)

            fresh = self._function is not None
            return from_batches(
                name, found, tested, open_run, where=self.name, class_names=names, kind=epochs.kind,
                shuffles=epochs.shuffles(fresh), fresh=fresh,
            )  # fmt: skip

    def _epochs(self, part: Any, name: str) -> Any:
        from tfnorm.datasets.given.epochs import Epochs  # start-up

        if part is None:
            raise DataError(f"{self.name} gives no {name} images. Give both, training and test images.")
        return Epochs(_in_batches(part), f"{self.name}, {name}", 0)

    def _test(self, test: Any, memory: int | None) -> Found:
        epochs = self._epochs(test, "test")
        if epochs.shuffles():
            raise DataError(
                f"{epochs.where} shuffles. Give the test images in a fixed order, so that all runs number them alike."
            )
        return _all_of(epochs, test, "test", keep=True, memory=memory)

    def _check_seed(self, data: Dataset, seed: int, memory: int | None) -> None:
        """Raise a DataError if a function gives other data for another seed."""
        from tfnorm.datasets.given.epochs import random_state_kept  # start-up

        if isinstance(data, Pipeline):
            with random_state_kept():
                tested = self._test(self._parts(seed, "test")[0], memory)
            alike, what = tested.kept is not None and np.array_equal(tested.kept, data.x_test), "other test images"
        else:
            alike, what = self._read(seed, memory).fingerprint == data.fingerprint, "other arrays"
        if not alike:
            raise DataError(
                f"{self.name} gives {what} with seed={seed} than with seed=0, so that runs cannot be compared. Let "
                "`seed` decide nothing but the order and the augmentation of training batches."
            )


def own_data(given: Any) -> OwnData | None:
    """Return data of a person's own, checked without running their code, or None if they are named otherwise.

    Args:
        given: A function, ``FILE.py:FUNCTION`` or ``package.module:FUNCTION``; a pair (train, test), or a mapping of
            train, test and optionally class_names and name; or a `Dataset`. Each part is batches, or arrays (x, y).

    Raises:
        DataError: If there is no such file or function, or if an object is something else.

    Example:
        >>> own_data("digits") is None, own_data("hf:mnist") is None
        (True, True)
    """
    if isinstance(given, OwnData):
        return given
    if isinstance(given, os.PathLike):
        return None
    if isinstance(given, str):
        text = given.strip()
        if not names_a_function(text) or text.partition(":")[0] in LIBRARIES or Path(text).expanduser().is_dir():
            return None
        function = function_of(text, _DATA)
    elif callable(given) and not isinstance(given, Iterable) and not hasattr(given, "__getitem__"):
        function = function_of(given, _DATA)
    else:
        name = given.name if isinstance(given, Dataset) else "your data"
        if isinstance(given, Mapping):
            name = str(given.get("name", name))
        if not isinstance(given, Dataset):
            _parts(given, name)
        why = (
            f"The data {name!r} are objects of this process, which no other process has. Give a function that makes "
            "them, such as dataset='my_data.py:make'."
        )
        return OwnData(name, None, why, _given=given)
    return OwnData(function.name, function.text, function.why_no_text, function.fingerprint, function)


def last_read(name: str) -> Dataset | None:
    """Return the data of a person's own that were read last in this process, if records call them so."""
    return next((data for _, data, _ in _last if name in (GIVEN, data.name)), None)


def _parts(made: Any, where: str = "your data") -> tuple[Any, Any, Sequence[Any] | None]:
    """Return training data, test data and names of classes of what was given or made."""
    if isinstance(made, Dataset):
        return made, None, None
    if isinstance(made, Mapping):
        if set(_PARTS) <= set(made) <= {*_PARTS, "class_names", "name"}:
            return made["train"], made["test"], made.get("class_names")
        got = f"a mapping of {', '.join(map(str, made))}"
    elif isinstance(made, tuple | list):
        if len(made) == 2 and not all(map(_is_array, made)):
            return made[0], made[1], None
        got = "two arrays" if len(made) == 2 else f"a {type(made).__name__} of {len(made)}"
    else:
        got = type(made).__name__
    raise DataError(
        f"Data are a pair (train, test), or a mapping of train, test and class_names, each part batches or arrays "
        f"(x, y). Received: {got} as {where}. Give such a pair, or let the function take `split`."
    )


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _are_arrays(part: Any) -> bool:
    """Return whether a part is arrays (x, y), and no batches."""
    return isinstance(part, tuple | list) and len(part) in (2, 3) and all(map(_is_array, part))


def _in_batches(part: Any) -> Any:
    """Return arrays as batches of a few hundred images, and batches as they are."""
    if not _are_arrays(part):
        return part
    lengths = {len(array) if array.shape else 0 for array in part}
    if len(lengths) > 1:
        return [tuple(part)]  # the reader says what is wrong
    return [tuple(array[start : start + 256] for array in part) for start in range(0, lengths.pop(), 256)]


def _all_of(epochs: Any, part: Any, name: str, *, keep: bool, memory: int | None) -> Found:
    """Return what a pass over a part finds, and its images if they are to be kept: those of an array uncopied."""
    images = part[0] if _are_arrays(part) else None
    there = isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 4
    found = read_all(epochs, name, memory=memory, keep=keep and not there)
    return replace(found, kept=images) if there else found


def _class_names(part: Any) -> Sequence[str] | None:
    """Return the names of classes that `keras.utils` and torchvision note at their data sets, or None."""
    names = getattr(part, "class_names", None) or getattr(getattr(part, "dataset", None), "classes", None)
    return names if isinstance(names, list | tuple) else None
