"""Data for runs that are over in seconds."""

import pytest

from tfnorm.datasets import load
from tfnorm.datasets.dataset import Dataset


@pytest.fixture(scope="session")
def few_digits():
    """Return a function that returns the first training and test images of the digits, as large as mnist_7k's."""
    full = load("digits", image_size=28)

    def few(train, test):
        return Dataset(
            name="digits",
            x_train=full.x_train[:train],
            y_train=full.y_train[:train],
            x_test=full.x_test[:test],
            y_test=full.y_test[:test],
            class_names=full.class_names,
        )

    return few
