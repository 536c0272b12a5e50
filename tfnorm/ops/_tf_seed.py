"""Seeds for TensorFlow that leave its compiled code where it is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from tensorflow.python.eager import context


def _set_global_seed(self: Any, seed: int) -> None:
    self._seed, self._rng = seed, random.Random(seed)


@contextmanager
def compiled_code_kept() -> Iterator[None]:
    """Have `tf.random.set_seed` set the seed alone.

    It also takes all functions down, which are set up again at their next call. Each time, TensorFlow keeps several
    megabytes of a function that holds functions compiled by XLA. A stateful random operation starts over when its
    function is set up; Keras draws its random numbers without state.
    """
    if not hasattr(context.Context, "_set_global_seed"):  # private to TensorFlow
        yield
        return
    with patch.object(context.Context, "_set_global_seed", _set_global_seed):
        yield
