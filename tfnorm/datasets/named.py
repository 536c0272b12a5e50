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
from tfnorm.datasets.dataset import Dataset
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
    """A data set that has a name, and one line for lists.

    The shape is (images, height, width, channels) of training and test images together. The names of the classes are in
    the order of their labels; None stands for their numbers. The files are what `keras.datasets` keeps of it, below
    Keras's home.
    """

    title: str
    shape: tuple[int, int, int, int]
    class_names: tuple[str, ...] | None = None
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the title."""
        return self.title


# fmt: off
DATASETS = Registry("data set", DataError, {
    "digits": NamedDataset(
        "8x8 grey scans of digits, 1,347 + 450, inside scikit-learn: no network needed", (1797, 8, 8, 1)
    ),
    "mnist": NamedDataset(
        "28x28 grey handwritten digits, 60,000 + 10,000", (70_000, 28, 28, 1), files=("datasets/mnist.npz",)
    ),
    "fashion_mnist": NamedDataset(
        "28x28 grey pictures of clothes, 60,000 + 10,000", (70_000, 28, 28, 1), FASHION_MNIST,
        tuple(f"datasets/fashion-mnist/{part}-ubyte.gz"
              for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")),
    ),
    "cifar10": NamedDataset(
        "32x32 colour photographs of 10 classes, 50,000 + 10,000", (60_000, 32, 32, 3), CIFAR10,
        ("datasets/cifar-10-batches-py-target_archive",),
    ),
    "cifar100": NamedDataset(
        "32x32 colour photographs of 100 classes, 50,000 + 10,000", (60_000, 32, 32, 3), CIFAR100,
        ("datasets/cifar-100-python-target_archive",),
    ),
})
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
    names = DATASETS[dataset.name].class_names or ()
    numbers = tuple(str(label) for label in range(len(names)))
    return replace(dataset, class_names=names) if names and dataset.class_names == numbers else dataset


def load_known(name: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    """Return a known data set that is not in ``data_dir``. Without ``data_dir`` it may be downloaded."""
    if name == "digits":
        from sklearn.datasets import load_digits  # start-up

        bunch = load_digits()
        images, labels = np.rint(bunch.images * (255 / 16)).astype(np.uint8), bunch.target
        train, test = stratified_split(labels, 450)
        return make_dataset(name, name, (images[train], labels[train]), (images[test], labels[test]))
    if data_dir is not None and not is_cached(name):
        raise DataError(
            f"{data_dir} must hold {name}.npz (arrays x_train, y_train, x_test, y_test) or a folder {name}/ "
            f"(train/CLASS/*, test/CLASS/*). Received neither, and Keras's cache has no copy at "
            f"{cache_sentence(name)}. Put the file there, or leave out `data_dir` to download it."
        )
    load_data: Callable[[], Any] = import_module(f"keras.datasets.{name}").load_data
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    try:
        train, test = load_data()
    except Exception as error:  # Keras raises bare Exception when a download fails, and much else when a file is bad.
        raise DataError(
            f"{name} could not be read from Keras's cache nor downloaded ({first_line(error)}). "
            f"Put {name}.npz, with the arrays x_train, y_train, x_test, y_test, in a folder DIR and pass data_dir=DIR "
            f"(--data-dir DIR), or put Keras's own file at {cache_sentence(name)}."
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    # CIFAR is a view of images whose channels come first.
    x_train, x_test = np.ascontiguousarray(train[0]), np.ascontiguousarray(test[0])
    return make_dataset(name, name, (x_train, train[1]), (x_test, test[1]), DATASETS[name].class_names)


def cached_files(name: str) -> list[pathlib.Path]:
    """Return where Keras keeps the files of a data set that it downloads."""
    # Unlike pathlib, os.path leaves "~" where there is no home directory.
    home = pathlib.Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"))
    return [home / file for file in DATASETS[name].files]


def is_cached(name: str) -> bool:
    """Return whether Keras has all these files, or the data set needs none."""
    return all(path.is_file() for path in cached_files(name))


def cache_sentence(name: str) -> str:
    """Return these places, to be quoted in a sentence."""
    return ", ".join(str(path) for path in cached_files(name))
