"""Data that were put into a Dataset by hand."""

import numpy as np
import pytest

from tfnorm.datasets import Dataset
from tfnorm.errors import DataError
from tfnorm.training.config import TrainConfig
from tfnorm.training.data import load_data


@pytest.mark.parametrize(
    ("part", "images", "facts"),
    [
        ("x_train", np.zeros((4, 3, 32, 48), "uint8"), ["channels last", "x_train.transpose(0, 2, 3, 1)"]),
        ("x_test", np.zeros((4, 1, 28, 28), "uint8"), ["channels last", "x_test.transpose(0, 2, 3, 1)"]),
        ("x_train", np.zeros((4, 28, 28, 1), "float32"), ["uint8", "float32", "numpy.savez"]),
        ("x_test", np.full((4, 28, 28, 1), 300, "int32"), ["uint8", "int32", "numpy.savez"]),
        ("x_train", np.zeros((4, 28, 28), "uint8"), ["(images, height, width, channels)", "(4, 28, 28)"]),
        ("x_test", np.zeros((0, 28, 28, 1), "uint8"), ["at least one image"]),
    ],
)
def test_images_that_no_network_is_trained_on_are_refused(part, images, facts):
    sound, labels = np.zeros((4, 28, 28, 1), "uint8"), np.arange(4) % 2
    arrays = {"x_train": sound, "y_train": labels, "x_test": sound, "y_test": labels, part: images}
    with pytest.raises(DataError) as caught:
        load_data(TrainConfig(norm="bn"), Dataset("mine", **arrays, class_names=("a", "b")))
    assert "'mine'" in str(caught.value) and all(fact in str(caught.value) for fact in facts)
