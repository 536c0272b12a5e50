"""Which implementation of the norm functions a layer computes with."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from tfnorm.ops.backend import on_tensorflow


def kernels() -> ModuleType:
    """Return the module of norm functions for Keras's backend: `tfnorm.ops.generic` or a faster one like it."""
    return import_module("tfnorm.ops.tensorflow.norms" if on_tensorflow() else "tfnorm.ops.generic")


def kernels_for(layer: Any, inputs: Any) -> ModuleType:
    """Return the module for a call of ``layer``: `kernels()` where it trains, `tfnorm.ops.generic` elsewhere.

    Compiled passes stay inside training. A graph without gradients may leave Python for LiteRT, ONNX or a server, which
    need plain operations.
    """
    return kernels() if compiles_for(layer, inputs) else import_module("tfnorm.ops.generic")  # start-up


def compiles_for(layer: Any, inputs: Any) -> bool:
    """Return whether a call of ``layer`` is worth compiled passes; see `tensorflow.compile.worth_compiling`."""
    if not on_tensorflow():
        return False
    from tfnorm.ops.tensorflow.compile import worth_compiling  # start-up

    return worth_compiling(layer, inputs)
