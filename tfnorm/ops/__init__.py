"""Norm mathematics, apart from the layers that hold its weights, and what tfnorm asks of Keras's backend.

Nothing here imports Keras until a function that needs it is called.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from tfnorm.keras_settings import check_keras_settings


def on_tensorflow() -> bool:
    """Return whether Keras computes with TensorFlow."""
    import keras  # start-up

    return bool(keras.backend.backend() == "tensorflow")


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


def start_quietly() -> None:
    """Import the backend and find its devices without the messages that it writes to the screen at its start.

    TensorFlow writes some of them before it reads TF_CPP_MIN_LOG_LEVEL, to the file descriptor itself. Set the
    variable to see them all. Settings with which Keras cannot be imported raise a TfnormError.
    """
    check_keras_settings()
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    with screen_closed():
        import keras  # start-up

        with suppress(ImportError):  # where it is installed, Keras imports it on other backends too, later
            import tensorflow as tf  # start-up

            if keras.backend.backend() == "tensorflow":
                tf.config.list_logical_devices()


@contextmanager
def screen_closed() -> Iterator[None]:
    """Drop what libraries write straight to the file descriptor of the standard error. Errors are raised as ever."""
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
    import keras  # start-up

    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf  # start-up

            devices = tf.config.list_physical_devices("GPU") + tf.config.list_physical_devices("TPU")
            if devices:
                return tf.config.experimental.get_device_details(devices[0]).get("device_name", devices[0].name)
        case "jax":
            import jax  # start-up

            first = jax.devices()[0]
            return None if first.platform == "cpu" else first.device_kind
        case "torch":
            import torch  # start-up

            device = keras.ops.zeros(()).device  # Keras's own choice, which KERAS_TORCH_DEVICE may have changed
            if device.type == "cuda":
                return torch.cuda.get_device_name(device)
            return None if device.type == "cpu" else device.type.upper()
    return None


def use_deterministic_operations() -> None:
    """Have the backend use deterministic operations, as far as it has them.

    JAX chooses once, when it first computes on a GPU. PyTorch warns of operations that have no deterministic form.
    """
    import keras  # start-up

    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf  # start-up

            tf.config.experimental.enable_op_determinism()
        case "jax":
            flags = os.environ.get("XLA_FLAGS", "")
            if "xla_gpu_deterministic_ops" not in flags:
                os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
        case "torch":
            import torch  # start-up

            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses
            torch.use_deterministic_algorithms(True, warn_only=True)
            # That would fill each new tensor before it is written, which changes no result.
            torch.utils.deterministic.fill_uninitialized_memory = False


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` as one graph where the backend has graphs without compilation, else as it is."""
    if on_tensorflow():
        import tensorflow as tf  # start-up

        return tf.function(function)
    return function


def graphs_let_go() -> AbstractContextManager[None]:
    """Trace graphs inside that leave no memory behind once nobody holds them; see `tfnorm.ops.tensorflow.memory`.

    A graph that was traced inside cannot be compiled by XLA as a whole, nor be differentiated from outside.
    """
    if not on_tensorflow():
        return nullcontext()
    from tfnorm.ops.tensorflow import memory  # start-up

    return memory.graphs_let_go()


# Linux's names of the instructions that multiply in these types.
_INSTRUCTIONS = {"bfloat16": {"avx512_bf16", "amx_bf16", "bf16"}, "float16": {"avx512_fp16", "amx_fp16", "asimdhp"}}


@functools.cache
def computes_natively(dtype: str) -> bool:
    """Return whether the device convolves in ``dtype``. False for TensorFlow on a CPU that is known not to.

    Example:
        >>> computes_natively("float32")
        True
    """
    if dtype not in _INSTRUCTIONS or not on_tensorflow():
        return True
    import tensorflow as tf  # start-up

    if {device.device_type for device in tf.config.list_logical_devices()} != {"CPU"}:
        return True
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return True
    flags = [line.split(":", 1)[1].split() for line in lines if line.lower().startswith(("flags", "features"))]
    return not flags or not _INSTRUCTIONS[dtype].isdisjoint(flags[0])


def replicas_in_step() -> int:
    """Return how many replicas take the present training step together, each with its part of the batch."""
    if on_tensorflow():
        import tensorflow as tf  # start-up

        context = tf.distribute.get_replica_context()
        return context.num_replicas_in_sync if context else 1
    return 1


def sum_over_replicas(value: Any) -> Any:
    """Return the sum of a float tensor over the replicas that take the present training step together."""
    if replicas_in_step() == 1:
        return value
    import tensorflow as tf  # start-up

    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)


def records_gradients() -> bool:
    """Return whether a gradient of the present computation may be asked for. True on other backends than TensorFlow."""
    if not on_tensorflow():
        return True
    from tfnorm.ops.tensorflow.compile import records_gradients  # start-up

    return records_gradients()


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
