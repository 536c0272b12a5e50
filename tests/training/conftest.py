"""Data for runs that are over in seconds."""

import pytest
from networks import tiny_registered
from once import filled_once

from tfnorm.datasets import load
from tfnorm.datasets.dataset import Dataset


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """Let runs ask for the architecture "tiny"."""
    with tiny_registered():
        yield


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


@pytest.fixture(scope="session")
def run_in_bfloat16(few_digits, tmp_path_factory):
    """Return a finished run in bfloat16, and its data, whose test images are evaluated in two batches."""
    from tfnorm.training.runs import Run
    from tfnorm.training.trainer import train

    data = few_digits(128, 301)
    settings = {"norm": "gn:2", "epochs": 1, "augmentation": "none", "precision": "bfloat16", "data": data}
    return Run(filled_once(tmp_path_factory, "bfloat16", lambda folder: train(**settings, out=folder))), data
