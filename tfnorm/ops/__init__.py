"""Norm mathematics, apart from the layers that hold its weights."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from tfnorm.keras_settings import check_keras_settings


def kernels() -> ModuleType:
    """Return the module of norm functions for Keras's backend: `tfnorm.ops.generic` or a faster one like it."""
    import keras

    fast = keras.backend.backend() == "tensorflow"
    return import_module("tfnorm.ops.tensorflow.norms" if fast else "tfnorm.ops.generic")


def kernels_for(layer: Any, inputs: Any) -> ModuleType:
    """Return the module for a call of ``layer``: `kernels()` where it trains, `tfnorm.ops.generic` elsewhere.

    Compiled passes stay inside training. A graph without gradients may leave Python for LiteRT, ONNX or a server, which
    need plain operations.
    """
    return kernels() if compiles_for(layer, inputs) else import_module("tfnorm.ops.generic")


def compiles_for(layer: Any, inputs: Any) -> bool:
    """Return whether a call of ``layer`` is worth compiled passes; see `tensorflow.compile.worth_compiling`."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return False
    from tfnorm.ops.tensorflow.compile import worth_compiling

    return worth_compiling(layer, inputs)


def records_gradients() -> bool:
    """Return whether a gradient of what is computed now may be asked for; only known on TensorFlow, else True."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return True
    from tfnorm.ops.tensorflow.compile import records_gradients

    return records_gradients()


def start_quietly() -> None:
    """Import the backend and find its devices without the start-up messages it writes to the screen.

    TensorFlow writes some of them before it reads TF_CPP_MIN_LOG_LEVEL, to the file descriptor itself. Set the
    variable to see them all.

    Raises:
        TfnormError: If Keras's settings are such that it cannot be imported.
    """
    check_keras_settings()
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    with screen_closed():
        import keras

        with suppress(ImportError):  # where it is installed, Keras imports it on other backends too, later
            import tensorflow as tf

            if keras.backend.backend() == "tensorflow":
                tf.config.list_logical_devices()


@contextmanager
def screen_closed() -> Iterator[None]:
    """Drop what libraries write to the file descriptor of the standard error, past Python; errors are raised."""
    if sys.stderr is not None:
        sys.stderr.flush()
    screen = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(screen, 2)
        os.close(screen)
        os.close(nowhere)


def accelerator_name() -> str | None:
    """Return the name of the GPU or TPU that the backend computes on, or None if that is the processor."""
    import keras

    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            found = tf.config.list_physical_devices("GPU") + tf.config.list_physical_devices("TPU")
            return (
                tf.config.experimental.get_device_details(found[0]).get("device_name", found[0].name) if found else None
            )
        case "jax":
            import jax

            first = jax.devices()[0]
            return None if first.platform == "cpu" else first.device_kind
        case "torch":
            import torch

            device = keras.ops.zeros(()).device  # Keras's own choice, which KERAS_TORCH_DEVICE may have changed
            if device.type == "cuda":
                return torch.cuda.get_device_name(device)
            return None if device.type == "cpu" else device.type.upper()
    return None


def use_deterministic_operations() -> None:
    """Have the backend choose operations whose results do not change from run to run, where it lets one choose.

    JAX chooses once, when it first computes on a GPU. PyTorch warns of operations that have no such form.
    """
    import keras

    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            tf.config.experimental.enable_op_determinism()
        case "jax":
            flags = os.environ.get("XLA_FLAGS", "")
            if "xla_gpu_deterministic_ops" not in flags:
                os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
        case "torch":
            import torch

            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses
            torch.use_deterministic_algorithms(True, warn_only=True)
            # That would fill each new tensor before it is written, which changes no result.
            torch.utils.deterministic.fill_uninitialized_memory = False


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` as one graph where the backend has graphs without compilation, else as it is."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    return function


@contextmanager
def graphs_let_go() -> Iterator[None]:
    """Trace graphs inside that leave no memory behind once nobody holds them; see `tfnorm.ops.tensorflow.memory`.

    A graph that was traced inside cannot be compiled by XLA as a whole, nor be differentiated from outside.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        yield
        return
    from tfnorm.ops.tensorflow import memory as _tf_memory

    with _tf_memory.graphs_let_go():
        yield


@contextmanager
def without_retracing_warnings() -> Iterator[None]:
    """Drop TensorFlow's warning that Keras's functions are traced once for each of several models."""
    log = logging.getLogger("tensorflow")

    def other(record: logging.LogRecord) -> bool:
        return "retracing" not in record.getMessage()

    log.addFilter(other)
    try:
        yield
    finally:
        log.removeFilter(other)


# What Linux calls the instructions that multiply in these types.
_INSTRUCTIONS = {"bfloat16": {"avx512_bf16", "amx_bf16", "bf16"}, "float16": {"avx512_fp16", "amx_fp16", "asimdhp"}}


@functools.cache
def computes_natively(dtype: str) -> bool:
    """Return whether a convolution in ``dtype`` is worth it: False on TensorFlow on a CPU known to lack the type.

    Example:
        >>> computes_natively("float32")
        True
    """
    import keras

    if dtype not in _INSTRUCTIONS or keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    if {device.device_type for device in tf.config.list_logical_devices()} != {"CPU"}:
        return True
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return True
    flags = [line.split(":", 1)[1].split() for line in lines if line.lower().startswith(("flags", "features"))]
    return not flags or not _INSTRUCTIONS[dtype].isdisjoint(flags[0])


def replicas_in_step() -> int:
    """Return how many replicas take the present training step together."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        return context.num_replicas_in_sync if context else 1
    return 1
