"""Whether a model returns logits or probabilities."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import activations, layers

from tfnorm._keras import CORE, NN, OPS
from tfnorm.analysis.reading import has_known_call
from tfnorm.convert.graph import Call, graph_of, walk


@dataclass(frozen=True)
class Outputs:
    """What is known of a classifier's outputs before it returns any.

    Attributes:
        ending: "logits", "softmax" or "sigmoid", as the graph of the model ends; None if the graph does not tell.
        from_logits: What the compiled loss takes the outputs for; None if it does not tell.
        independent: Whether the compiled loss takes each output by itself, as binary cross-entropy does.
    """

    ending: str | None
    from_logits: bool | None
    independent: bool


def outputs_of(model: keras.Model) -> Outputs:
    """Return what the graph and the compiled loss of ``model`` tell of its outputs.

    Example:
        >>> from keras import Input, Sequential, layers
        >>> outputs_of(Sequential([Input((8,)), layers.Dense(4, activation="softmax")])).ending
        'softmax'
    """
    loss = getattr(model, "loss", None)
    if isinstance(loss, dict | list | tuple) and len(loss) == 1:
        (loss,) = loss.values() if isinstance(loss, dict) else loss
    given: dict[str, Any] = {}
    if isinstance(loss, functools.partial):
        loss, given = loss.func, loss.keywords
    try:
        loss = keras.losses.get(loss)
    except (ValueError, TypeError):
        loss = None
    independent = isinstance(loss, BINARY) or loss in BINARY_FUNCTIONS
    from_logits = getattr(loss, "from_logits", None)
    if independent or loss in CLASS_FUNCTIONS:
        from_logits = given.get("from_logits", bool(from_logits))
    graph = graph_of(model)
    followed = graph is not None and len(graph.outputs) == 1
    ending = walk(model, [None] * len(graph.inputs), _kinds)[0] if followed else None
    return Outputs(ending, from_logits if isinstance(from_logits, bool) else None, independent)


BINARY = (keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy)
BINARY_FUNCTIONS = (keras.losses.binary_crossentropy, keras.losses.binary_focal_crossentropy)
CLASS_FUNCTIONS = (
    keras.losses.sparse_categorical_crossentropy,
    keras.losses.categorical_crossentropy,
    keras.losses.categorical_focal_crossentropy,
)
SIGMOIDS = (
    activations.sigmoid, keras.ops.sigmoid, activations.hard_sigmoid, keras.ops.hard_sigmoid,
    activations.sparse_sigmoid,
)  # fmt: skip
FUNCTIONS = {
    **dict.fromkeys((activations.softmax, keras.ops.softmax, activations.sparsemax), "softmax"),
    **dict.fromkeys(SIGMOIDS, "sigmoid"),
    # Their softmax is what they are the logarithm of.
    **dict.fromkeys((activations.log_softmax, keras.ops.log_softmax), "logits"),
}
OPERATIONS = (
    (NN.LogSoftmax, "logits"),
    ((layers.Softmax, NN.Softmax), "softmax"),
    ((NN.Sigmoid, NN.HardSigmoid), "sigmoid"),
)
MATRICES = (layers.Dense, layers.EinsumDense, layers.Conv1D, layers.Conv2D, layers.Conv3D)
# What they return is of the same kind as what they are given.
PASSING = (
    layers.Identity, layers.Dropout, layers.Average, layers.Flatten, layers.Reshape, layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D, layers.ActivityRegularization,
    CORE.Cast, OPS.Copy, OPS.Reshape, OPS.Squeeze,
)  # fmt: skip


def _kinds(call: Call) -> Sequence[str | None]:
    """Return the kind of each output of a call."""
    operation = call.operation
    if isinstance(operation, (layers.SpectralNormalization, layers.TimeDistributed)):
        operation = operation.layer
    kind = _kind(operation, call.inputs, len(call.node.outputs[0].shape))
    last = {tensor.shape[-1] for tensor in (*call.node.input_tensors, *call.node.outputs)}
    if kind and isinstance(operation, PASSING) and len(last) > 1:
        kind = None  # classes that were moved to other axes
    return [kind] * len(call.node.outputs)


def _kind(operation: Any, inputs: Sequence[str | None], rank: int) -> str | None:
    if not has_known_call(operation):
        return None
    if isinstance(operation, (layers.Softmax, NN.Softmax, NN.LogSoftmax)) and operation.axis not in (-1, rank - 1):
        return None  # not over the classes
    for kinds, kind in OPERATIONS:
        if isinstance(operation, kinds):
            return kind
    activation = getattr(operation, "activation", None)
    if isinstance(activation, keras.Layer):
        return _kind(activation, inputs, rank)
    linear = activation is None or activation is activations.linear
    if linear and isinstance(operation, MATRICES):
        return "logits"
    if isinstance(operation, PASSING) or (linear and isinstance(operation, layers.Activation)):
        return inputs[0] if len(set(inputs)) == 1 else None
    return FUNCTIONS.get(activation) if isinstance(operation, (*MATRICES, layers.Activation)) else None
