"""What tests do with tensors on whichever backend Keras has: making them, differentiating, reading them."""

from contextlib import nullcontext

import keras
import numpy as np
import pytest
from features import ALONE

BACKEND = keras.backend.backend()
#: For tests of what only TensorFlow has, each with the sentence that says what that is.
tensorflow_only = pytest.mark.skipif(BACKEND != "tensorflow", reason=ALONE)
#: For tests of what Keras itself refuses or cannot do on PyTorch.
not_on_torch = pytest.mark.skipif(BACKEND == "torch", reason="Keras refuses it on PyTorch")
#: Specs of batch norms that the backend has.
BATCH_NORMS = ["bn", "bn:sync"] if BACKEND == "tensorflow" else ["bn"]
#: Steps in one call of the trainer, where the backend takes several.
SEVERAL_STEPS = 1 if BACKEND == "torch" else 2


def tensor(value, dtype=None):
    """Return a tensor of the backend."""
    return keras.ops.convert_to_tensor(value, dtype)


def array(value):
    """Return a tensor, variable or array as a NumPy array."""
    return np.asarray(keras.ops.convert_to_numpy(value))


def dtype_of(value):
    """Return the name of a tensor's dtype."""
    return keras.backend.standardize_dtype(value.dtype)


def float64_allowed():
    """Return a context in which the backend computes in float64; JAX takes float32 instead unless it is told."""
    if BACKEND != "jax":
        return nullcontext()
    import jax

    return jax.enable_x64(True)


def value_and_gradients(function, arguments, weights=1.0, variables=()):
    """Return function(*arguments) and the gradients of sum(weights * it), as arrays.

    The gradients are those to each argument, an array of floating point numbers, and then to each of the variables.
    """
    tensors = [tensor(argument) for argument in arguments]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            for each in tensors:
                tape.watch(each)
            out = function(*tensors)
            total = _total(out, weights)
        gradients = tape.gradient(total, [*tensors, *(variable.value for variable in variables)])
    elif BACKEND == "jax":
        import jax

        def scalar(tensors, values):
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                out = function(*tensors)
            return _total(out, weights), out

        values = [variable.value for variable in variables]
        (_, out), found = jax.value_and_grad(scalar, argnums=(0, 1), has_aux=True)(tensors, values)
        gradients = [*found[0], *found[1]]
    else:
        tensors = [each.detach().clone().requires_grad_() for each in tensors]
        out = function(*tensors)
        for variable in variables:
            variable.value.grad = None
        _total(out, weights).backward()
        gradients = [each.grad for each in (*tensors, *(variable.value for variable in variables))]
    assert not any(gradient is None for gradient in gradients)
    return array(out), [array(gradient) for gradient in gradients]


def _total(out, weights):
    return keras.ops.sum(keras.ops.cast(out, "float32") * keras.ops.cast(weights, "float32"))
