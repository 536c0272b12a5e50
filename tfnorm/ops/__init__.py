"""Norm mathematics, apart from the layers that hold its weights."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


def kernels() -> ModuleType:
    """Return the module of norm functions for Keras's backend: `tfnorm.ops.generic` or a faster one like it."""
    import keras

    fast = keras.backend.backend() == "tensorflow"
    return import_module("tfnorm.ops.tensorflow" if fast else "tfnorm.ops.generic")


def start_quietly() -> None:
    """Import the backend and find its devices without the start-up messages it writes to the screen.

    TensorFlow writes some of them before it reads TF_CPP_MIN_LOG_LEVEL, to the file descriptor itself. Set the
    variable to see them all.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    sys.stderr.flush()
    screen = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_logical_devices()
    finally:
        os.dup2(screen, 2)
        os.close(screen)
        os.close(nowhere)


def use_deterministic_operations() -> None:
    """Have the backend choose operations whose results do not change from run to run, where it lets one choose."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` as one graph where the backend has graphs without compilation, else as it is."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    return function


def replicas_in_step() -> int:
    """Return how many replicas take the present training step together."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        return context.num_replicas_in_sync if context else 1
    return 1
