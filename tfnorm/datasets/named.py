"""The data sets that tfnorm knows by name: digits of scikit-learn, and those of `keras.datasets`."""

from __future__ import annotations

import os
import pathlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from tfnorm.datasets.checks import make_dataset
from tfnorm.datasets.dataset import Dataset, row_chunks
from tfnorm.datasets.splits import stratified_split
from tfnorm.errors import DataError, first_line
from tfnorm.registry import Registry

FASHION_MNIST = tuple("T-shirt/top|Trouser|Pullover|Dress|Coat|Sandal|Shirt|Sneaker|Bag|Ankle boot".split("|"))

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

CIFAR100 = tuple(
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle "
    "caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant "
    "flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man "
    "maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree "
    "plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper "
    "snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train "
    "trout tulip turtle wardrobe whale willow_tree wolf woman worm".split()
)


@dataclass(frozen=True)
class NamedDataset:
    """A data set that has a name.

    Args:
        title: One line for lists.
        shape: (images, height, width, channels) of training and test images together.
        class_names: The names of the classes in the order of their labels, or None for their numbers.
        files: What `keras.datasets` keeps of it, below Keras's home. Defaults to nothing.
    """

    title: str
    shape: tuple[int, int, int, int]
    class_names: tuple[str, ...] | None = None
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the title."""
        return self.title


DATASETS: Registry[NamedDataset] = Registry("data set", DataError)
# fmt: off
DATASETS.add("digits", NamedDataset(
    "8x8 grey scans of digits, 1,347 + 450, inside scikit-learn: no network needed", (1797, 8, 8, 1)
))
DATASETS.add("mnist", NamedDataset(
    "28x28 grey handwritten digits, 60,000 + 10,000", (70_000, 28, 28, 1), files=("datasets/mnist.npz",)
))
DATASETS.add("fashion_mnist", NamedDataset(
    "28x28 grey pictures of clothes, 60,000 + 10,000", (70_000, 28, 28, 1), FASHION_MNIST,
    tuple(f"datasets/fashion-mnist/{part}-ubyte.gz"
          for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")),
))
DATASETS.add("cifar10", NamedDataset(
    "32x32 colour photographs of 10 classes, 50,000 + 10,000", (60_000, 32, 32, 3), CIFAR10,
    ("datasets/cifar-10-batches-py-target_archive",),
))
DATASETS.add("cifar100", NamedDataset(
    "32x32 colour photographs of 100 classes, 50,000 + 10,000", (60_000, 32, 32, 3), CIFAR100,
    ("datasets/cifar-100-python-target_archive",),
))
# fmt: on
# urllib waits for ever by default. A network that swallows packets must end in a sentence too.
_TIMEOUT_SECONDS = 30.0


def list_datasets() -> list[str]:
    """Return the names that `load` knows.

    Example:
        >>> list_datasets()
        ['digits', 'mnist', 'fashion_mnist', 'cifar10', 'cifar100']
    """
    return list(DATASETS)


def with_class_names(dataset: Dataset) -> Dataset:
    """Give a known data set its class names where its archive brings none."""
    names = DATASETS[dataset.name].class_names
    numbered = dataset.class_names == tuple(str(label) for label in range(dataset.num_classes))
    if names is None or len(names) != dataset.num_classes or not numbered:
        return dataset
    return replace(dataset, class_names=names)


def load_digits_of_sklearn() -> Dataset:
    """Return the digits of scikit-learn, which `tfnorm.datasets.load` describes."""
    from sklearn.datasets import load_digits  # start-up

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    train, test = stratified_split(bunch.target, 450)
    labels = bunch.target
    return make_dataset("digits", "digits", (images[train], labels[train]), (images[test], labels[test]))


def load_of_keras(name: str) -> Dataset:
    """Return a data set of `keras.datasets`, which downloads it if it is not in Keras's cache.

    Raises:
        DataError: If it can neither be read nor downloaded.
    """
    load_data: Callable[[], Any] = import_module(f"keras.datasets.{name}").load_data
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    try:
        train, test = load_data()
    except Exception as error:  # Keras raises bare Exception when a download fails, and much else when a file is bad.
        raise DataError(
            f"{name} could not be read from Keras's cache nor downloaded ({first_line(error)}). "
            f"Put {name}.npz, with the arrays x_train, y_train, x_test, y_test, in a folder DIR and "
            f"pass data_dir=DIR (--data-dir DIR), or put Keras's "
            f"own file at {cache_sentence(name)}."
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    x_train, x_test = _channels_last(train[0]), _channels_last(test[0])
    return make_dataset(name, name, (x_train, train[1]), (x_test, test[1]), DATASETS[name].class_names)


def _channels_last(images: np.ndarray) -> np.ndarray:
    """Return ``images`` contiguous. CIFAR, a transposed view of (N, C, H, W), is rearranged in its own memory."""
    if images.flags.c_contiguous:
        return images
    stored = images.transpose(0, 3, 1, 2) if images.ndim == 4 else images
    if not (stored.flags.c_contiguous and stored.flags.writeable):
        return np.ascontiguousarray(images)
    # An image takes the same bytes in either order, so that images can be rewritten in place, a few at a time.
    result = stored.reshape(images.shape)
    for rows in row_chunks(len(images), images[0].nbytes):
        result[rows] = images[rows].copy()
    return result


def cached_files(name: str) -> list[pathlib.Path]:
    """Return where Keras keeps the files of a data set that it downloads."""
    # Unlike pathlib, os.path leaves "~" where there is no home directory.
    home = pathlib.Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"))
    return [home / file for file in DATASETS[name].files]


def cache_sentence(name: str) -> str:
    """Return these places, to be quoted in a sentence."""
    return ", ".join(str(path) for path in cached_files(name))
