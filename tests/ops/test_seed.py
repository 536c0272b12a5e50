"""A seed gives the numbers that Keras's own gives."""

import random

import keras
import numpy as np
import pytest

from tfnorm.ops import set_random_seed


def numbers():
    """Return what Python, NumPy and Keras draw next."""
    drawn = keras.ops.convert_to_numpy(keras.random.uniform((3,)))
    return [random.random(), np.random.rand(), *drawn.tolist()]


@pytest.mark.parametrize("seed", [0, 7])
def test_a_seed_means_what_it_means_to_keras(seed):
    keras.utils.set_random_seed(seed)
    expected = numbers()
    set_random_seed(seed)
    assert numbers() == expected
    set_random_seed(seed + 1)
    assert numbers() != expected
