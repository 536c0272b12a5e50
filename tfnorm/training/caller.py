"""What a run leaves as it is for whoever called it."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Give Python and NumPy back the random numbers that they would have had without the seed of the run."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def retracing_unmentioned() -> Iterator[None]:
    """Keep TensorFlow from warning that Keras's functions are traced once for each of several models."""
    log = logging.getLogger("tensorflow")

    def other(record: logging.LogRecord) -> bool:
        return "retracing" not in record.getMessage()

    log.addFilter(other)
    try:
        yield
    finally:
        log.removeFilter(other)
