"""What the output of a network means: logits or probabilities, and which loss they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from tfnorm.convert.clone import carry_exclusions
from tfnorm.convert.graph import Graph, graph_of
from tfnorm.errors import ArchitectureError
from tfnorm.training.recipe.losses import SmoothedCrossentropy, make_loss

# Layers that pass values on as they are, or in another shape.
_PASS_ON = (
    keras.layers.Reshape,
    keras.layers.Flatten,
    keras.layers.Identity,
    keras.layers.Dropout,
    keras.layers.ActivityRegularization,
)
_SHAPES = ("Reshape", "Squeeze", "ExpandDims", "Cast")  # operations of keras.ops
_PROBABILITIES = ("softmax", "sigmoid")
# Losses of Keras that take probabilities unless they are told otherwise.
_OF_PROBABILITIES = {
    *(f"{kind}_crossentropy" for kind in ("binary", "binary_focal", "categorical", "categorical_focal")),
    *("sparse_categorical_crossentropy", "kl_divergence", "KLDivergence", "poisson", "Poisson"),
}


@dataclass(frozen=True)
class Head:
    """The output of a network for images of some classes.

    Args:
        outputs: Numbers for each image: one for each class, or 1 for class 1 against class 0.
        activation: The last activation: "linear" for logits, "softmax" or "sigmoid" for probabilities.
        multi_label: Whether an image may have several labels, or none: then each output is a class by itself.
    """

    outputs: int
    activation: str
    multi_label: bool = False

    @property
    def logits(self) -> bool:
        """Whether the outputs are logits."""
        return self.activation == "linear"

    @property
    def binary(self) -> bool:
        """Whether each output is a yes or no by itself."""
        return self.multi_label or self.outputs == 1

    def losses(self, label_smoothing: float = 0.0) -> tuple[keras.losses.Loss, keras.metrics.Metric]:
        """Return the cross-entropy of outputs with the labels, and the metric ``data_loss`` of the same values.

        The labels are class numbers, or of several labels 0 and 1 for each class. Of those it is the mean over the
        classes.
        """
        if self.logits and not self.binary:
            return make_loss(label_smoothing)
        if self.binary:
            loss = keras.losses.BinaryCrossentropy(from_logits=self.logits, label_smoothing=label_smoothing)
        elif label_smoothing:
            loss = SmoothedCrossentropy(label_smoothing, from_logits=False)
        else:
            loss = keras.losses.SparseCategoricalCrossentropy()
        return loss, keras.metrics.MeanMetricWrapper(loss.call, name="data_loss")

    def accuracy(self) -> list[keras.metrics.Metric]:
        """Return the metric "accuracy", if there is one. It is float32, because float16 ends at 65504 images."""
        if self.multi_label:
            return []
        if self.outputs == 1:
            return [keras.metrics.BinaryAccuracy("accuracy", dtype="float32", threshold=0.0 if self.logits else 0.5)]
        return [keras.metrics.SparseCategoricalAccuracy("accuracy", dtype="float32")]

    def targets(self, y_true: Any, y_pred: Any) -> Any:
        """Return labels as a number for each output, in the type of the outputs."""
        if self.binary:
            return ops.cast(ops.reshape(y_true, ops.shape(y_pred)), y_pred.dtype)
        return ops.one_hot(ops.reshape(y_true, (-1,)), self.outputs, dtype=y_pred.dtype)

    def to_logits(self, outputs: np.ndarray) -> np.ndarray:
        """Return logits, float32 of shape (images, classes), whose softmax are the probabilities of ``outputs``.

        Of several labels their sigmoid are.
        """
        values = np.asarray(outputs, "float64").reshape(len(outputs), -1)
        if not self.logits:
            tiny = np.finfo("float32").tiny
            others = np.log(np.maximum(1 - values, tiny)) if self.activation == "sigmoid" else 0.0
            values = np.log(np.maximum(values, tiny)) - others
        if self.outputs == 1:
            values = np.concatenate([np.zeros_like(values), values], axis=1)
        return values.astype("float32")


def read_head(model: keras.Model, num_classes: int, name: str, multi_label: bool = False) -> Head:
    """Return what the output of a model means.

    Args:
        model: A functional or sequential model.
        num_classes: Of the images that it is trained on.
        name: What messages call it.
        multi_label: Whether an image may have several labels, or none.

    Raises:
        ArchitectureError: If the output does not fit so many classes, or if there are several inputs.
    """
    if len(model.inputs) != 1:
        raise ArchitectureError(f"{name} must take images alone, one input. Received: {len(model.inputs)} inputs.")
    if len(model.outputs) != 1:
        raise ArchitectureError(f"{name} must have one output. Received: {len(model.outputs)} outputs.")
    shape = model.outputs[0].shape
    outputs = shape[-1]
    if len(shape) < 2 or outputs is None or any(side != 1 for side in shape[1:-1]):
        raise ArchitectureError(
            f"{name} must end in one value for each of {num_classes} classes. Its output has the shape {shape}. "
            "End with global pooling or Flatten, and a dense layer."
        )
    activation = _last_activation(model)
    if outputs != num_classes and not (outputs == 1 and num_classes == 2 and not multi_label):
        raise ArchitectureError(
            f"{name} has {outputs} outputs, and the images have {num_classes} classes. Give its last layer "
            f"{num_classes} units, or take `num_classes` as a parameter of the function."
        )
    if outputs == 1 and activation == "softmax":
        raise ArchitectureError(f"{name} ends in the softmax of one value, which is always 1. Use sigmoid.")
    if multi_label and activation == "softmax":
        raise ArchitectureError(
            f"{name} ends in softmax, which is for images with one class each. These images have several labels each, "
            "or none. End with a sigmoid for each class, or without an activation."
        )
    if outputs > 1 and activation == "sigmoid" and not multi_label:
        raise ArchitectureError(
            f"{name} ends in a sigmoid for each of {outputs} classes, which is for images with several labels. These "
            "images have one each. End with softmax, or without an activation."
        )
    if activation not in ("linear", *_PROBABILITIES):
        raise ArchitectureError(
            f"{name} ends in the activation {activation!r}, which gives neither logits nor probabilities. End with "
            f"{'sigmoid' if multi_label or outputs == 1 else 'softmax'}, or without an activation."
        )
    return Head(int(outputs), activation, multi_label)


def _last_activation(model: keras.Model) -> str:
    """Return the name of the last activation of a model, or "linear"."""
    graph = Graph(model)
    return _activation_of(graph, graph.functional.outputs[0])


def _activation_of(graph: Graph, tensor: Any) -> str:
    node = graph.maker(tensor)
    if node is None:
        return "linear"
    operation, kind = node.operation, type(node.operation).__name__
    if isinstance(operation, keras.Model):
        return _last_activation(operation) if graph_of(operation) is not None else "linear"
    if kind == "Softmax":  # a layer or an operation
        return "softmax"
    activation = getattr(operation, "activation", None)
    name = getattr(activation, "__name__", type(activation).__name__.lower()) if activation is not None else ""
    if name and name != "linear":
        return name
    if kind in ("Sigmoid", "Relu", "Tanh"):  # operations of keras.ops
        return kind.lower()
    # A mean of probabilities is one.
    passes_on = isinstance(operation, (*_PASS_ON, keras.layers.Average)) or kind in _SHAPES
    if not passes_on and not (name == "linear" and not operation.weights):
        return "linear"
    found = {_activation_of(graph, source) for source in node.input_tensors}
    return found.pop() if len(found) == 1 else "linear"


def compiled_loss(model: keras.Model) -> Any:
    """Return the one loss that a model was compiled with, out of a list or a dict of one; None if there is none."""
    losses = [loss for loss in keras.tree.flatten(model.loss) if loss is not None]
    return keras.losses.get(losses[0]) if len(losses) == 1 else losses or None


def takes_class_numbers(loss: Any) -> bool:
    """Return whether a loss takes class numbers in place of a target for each output."""
    if isinstance(loss, (SmoothedCrossentropy, keras.losses.SparseCategoricalCrossentropy)):
        return True
    return _name_of(loss).lower().startswith("sparse")


def _name_of(loss: Any) -> str:
    function = getattr(loss, "func", loss)  # of functools.partial
    return str(getattr(function, "__name__", type(function).__name__))


def own_loss(model: keras.Model, head: Head, name: str) -> Any:
    """Return the loss that a model was compiled with: a function of labels and outputs, one value an image.

    Raises:
        ArchitectureError: If it takes logits where the model gives probabilities, or the other way round, or if it is
            no mean over the images. Of images with several labels also, if it is for one class each.
    """
    loss = compiled_loss(model)
    if not callable(loss):
        what = "without a loss" if loss is None else "with several losses"
        raise ArchitectureError(f"{name} is compiled {what}. Compile it with one, or choose another recipe.")
    called, config = _name_of(loss), getattr(loss, "keywords", {})
    values = loss
    if isinstance(loss, keras.losses.Loss):
        config, values = loss.get_config(), loss.call
        if loss.reduction not in ("sum_over_batch_size", "mean", "mean_with_sample_weight"):
            raise ArchitectureError(
                f"The loss of {name} must be the mean over the images. Received: reduction={loss.reduction!r}. Compile "
                "it without `reduction`, or choose another recipe."
            )
    # Those of Keras that don't say it, such as "sparse_categorical_crossentropy", take probabilities.
    known = getattr(getattr(loss, "func", loss), "__module__", type(loss).__module__).startswith("keras.")
    takes_logits = config.get("from_logits", head.logits and not (known and called in _OF_PROBABILITIES))
    if bool(takes_logits) != head.logits:
        gives, takes = ("logits", "probabilities") if head.logits else ("probabilities", "logits")
        raise ArchitectureError(
            f"{name} gives {gives}, and its loss {called} takes {takes}. Compile it with from_logits={head.logits}, or "
            "choose another recipe."
        )
    weights = [weight for weight in keras.tree.flatten(model._compile_config.config.get("loss_weights")) if weight != 1]
    if any(weight is not None for weight in weights):
        raise ArchitectureError(
            f"{name} is compiled with loss_weights={weights[0]:g}, and there is one loss here. Leave them out, and "
            "multiply the learning rate."
        )
    sparse = takes_class_numbers(loss)
    if head.binary and (sparse or called.lower().replace("_", "").startswith("categorical")):
        why = (
            "is for images with one class each, and these have several labels each, or none"
            if head.multi_label
            else "needs an output for each class, and the model has one output"
        )
        raise ArchitectureError(
            f"The loss {called} of {name} {why}. Compile it with BinaryCrossentropy(from_logits={head.logits}), "
            "or choose another recipe."
        )
    if sparse:
        return values
    return lambda y_true, y_pred: values(head.targets(y_true, y_pred), y_pred)


def own_optimizer(model: keras.Model, learning_rate: float | None, name: str) -> keras.optimizers.Optimizer:
    """Return a new optimizer like the one that a model was compiled with, for the same variables.

    Args:
        model: The model. What it leaves out of weight decay is left out again.
        learning_rate: What replaces its rate or its schedule, or None.
        name: What messages call the model.

    Raises:
        ArchitectureError: If it averages the weights, which Keras does after the last evaluation.
    """
    old = model.optimizer
    settings = old.get_config()
    inner = settings["inner_optimizer"]["config"] if isinstance(old, keras.optimizers.LossScaleOptimizer) else settings
    if inner.get("use_ema"):
        raise ArchitectureError(
            f"The optimizer of {name} averages the weights (use_ema=True), and Keras puts the averages in place after "
            "the last evaluation: the accuracy would be that of other weights. Compile it without use_ema, or choose "
            "another recipe."
        )
    if learning_rate is not None:
        inner["learning_rate"] = learning_rate
    new = type(old).from_config(settings)
    carry_exclusions(old, new, [(variable, variable) for variable in model.trainable_variables])
    return new
