"""Rules on L1 and L2 penalties: what they reach, and with what optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from tfnorm.checks.finding import Found, several
from tfnorm.checks.subject import Subject, size
from tfnorm.convert.graph import graph_of
from tfnorm.regularizers import L2Norm, Sum, penalty

ADAPTIVE = (
    keras.optimizers.Adam, keras.optimizers.Nadam, keras.optimizers.Adamax, keras.optimizers.RMSprop,
    keras.optimizers.Adagrad, keras.optimizers.Adadelta,
)  # fmt: skip
_SHIFTS = ("gamma", "beta", "bias", "scale")
# Gradients of the penalty as large as those of the data: training makes weights small before it fits anything.
LARGE = 1.0


def on_norms(subject: Subject) -> Iterator[Found]:
    """Find penalties on gammas, betas and biases."""
    found = [(name, weight) for name, weight in subject.weights if _parts(weight) and weight.name in _SHIFTS]
    if found:
        kinds = sorted({weight.name for _, weight in found})
        yield Found(
            list(dict.fromkeys(name for name, _ in found)),
            f"A penalty draws {several(found, 'variable')} to 0 that are no kernels: {', '.join(kinds)}. "
            "Recipes for large networks leave them out.",
            "keras.layers.BatchNormalization(gamma_regularizer=None, beta_regularizer=None)",
            {"variables": len(found), "parameters": sum(size(weight) for _, weight in found)},
        )


def l2_with_adam(subject: Subject) -> Iterator[Found]:
    """Find an L2 penalty beside an optimizer that divides by the size of gradients, or that decays weights itself."""
    found = [(name, weight) for name, weight in subject.weights if "l2" in _parts(weight)]
    decay = getattr(subject.optimizer, "weight_decay", None) or 0.0
    if not found or not (decay or isinstance(subject.optimizer, ADAPTIVE)):
        return
    kind = type(subject.optimizer).__name__
    twice = f" {kind} also decays them by {decay:g} a step, times the rate: they shrink twice." if decay else ""
    yield Found(
        list(dict.fromkeys(name for name, _ in found)),
        f"L2 is part of the loss of {several(found, 'variable')}, and {kind} divides its gradient by the size of all "
        f"gradients: weights with large gradients are hardly penalized.{twice}",
        "keras.optimizers.AdamW(weight_decay=...), without kernel_regularizer",
        {"variables": len(found), "weight_decay": float(decay)},
    )


def l2_scale_free(subject: Subject) -> Iterator[Found]:
    """Find L2 on kernels whose scale the norm after them takes away."""
    kernels = ((before.name, getattr(before.operation, "kernel", None)) for _, before in subject.normed)
    names = [name for name, kernel in kernels if "l2" in _parts(kernel)]
    if names:
        yield Found(
            names,
            f"L2 on the kernels of {several(names, 'layer')} changes no function, because the norm that follows "
            "divides their scale away. It keeps the effective learning rate from falling.",
            "choose the L2 factor together with the learning rate",
            {"kernels": len(names)},
        )


def dominates(subject: Subject) -> Iterator[Found]:
    """Find penalties whose gradients are larger than those of the data, before the model has learned from them."""
    inputs, labels = (None, None) if subject.data is None else subject.data.batches[0]
    if labels is None or subject.learned or not any(_parts(weight) for _, weight in subject.weights):
        return
    loss = getattr(subject.model, "loss", None) or _loss_for(subject, labels)
    if loss is None or len(subject.model.outputs) != 1:
        return
    whole = gradient(subject.model, inputs, labels, loss)
    alone = gradient(subject.model, inputs, labels, lambda y_true, y_pred: 0.0 * ops.mean(y_pred))
    of_penalty, of_data = (float(np.sqrt(np.sum(np.square(part)))) for part in (alone, whole - alone))
    if of_penalty > LARGE * of_data:
        yield Found(
            [],
            f"The gradient of the penalty is {of_penalty / max(of_data, 1e-12):.3g} times as large as that of the data "
            f"({of_penalty:.3g} and {of_data:.3g}): training makes the weights small before it fits anything.",
            "divide the factors of the penalties by 10, and check again",
            {"penalty": penalty(subject.model), "penalty_gradient": of_penalty, "data_gradient": of_data},
        )


def in_the_loss(model: keras.Model, loss: float) -> Iterator[Found]:
    """Find penalties that are most of the loss of an epoch, which Keras reports with them."""
    share = penalty(model)
    if share > loss - share:
        yield Found(
            [],
            f"Of the loss of the first epoch, {loss:.3g}, the penalty is {share:.3g}: more than half.",
            "divide the factors of the penalties by 10, and compare the accuracy",
            {"loss": loss, "penalty": share},
            "note",
        )


def gradient(model: keras.Model, inputs: Any, labels: Any, loss: Any) -> np.ndarray:
    """Return the gradient of a loss and the penalties of a model, whose weights and states stay as they are.

    It is what one step of SGD with the rate 1 subtracts, which is so on every backend of Keras.
    """
    before = [ops.convert_to_numpy(weight) for weight in model.variables]
    trained = [ops.convert_to_numpy(weight) for weight in model.trainable_variables]
    functional: Any = graph_of(model)
    twin = keras.Model(functional._inputs_struct, model.outputs[0])
    twin.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=keras.backend.backend() != "jax")
    try:
        twin.train_on_batch(inputs, labels)
        moved = [ops.convert_to_numpy(weight) for weight in model.trainable_variables]
    finally:
        for weight, value in zip(model.variables, before, strict=True):
            weight.assign(value)
    parts = [np.ravel(np.asarray(a, "float64") - b) for a, b in zip(trained, moved, strict=True)]
    return np.concatenate(parts)


def _loss_for(subject: Subject, labels: np.ndarray) -> Any:
    """Return the cross-entropy that fits outputs and labels, or None."""
    ending, outputs = subject.ending.ending, subject.model.outputs[0].shape[-1]
    if ending is None or outputs is None:
        return None
    logits = ending == "logits"
    if outputs == 1 or ending == "sigmoid":
        return keras.losses.BinaryCrossentropy(from_logits=logits)
    if labels.shape[1:] == (outputs,):
        return keras.losses.CategoricalCrossentropy(from_logits=logits)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=logits)


def _parts(weight: Any) -> set[str]:
    """Return which penalties a variable has: "l1", "l2", "l2norm" with a factor that is not 0, or "own"."""
    return _kinds(getattr(weight, "regularizer", None))


def _kinds(regularizer: Any) -> set[str]:
    if regularizer is None:
        return set()
    if isinstance(regularizer, Sum):
        return set().union(*map(_kinds, regularizer.regularizers))
    if isinstance(regularizer, L2Norm):
        return {"l2norm"} if regularizer.l2norm else set()
    if isinstance(regularizer, (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)):
        return {name for name in ("l1", "l2") if np.any(getattr(regularizer, name, 0.0))}
    return {"own"}
