"""What goes into the norms of a model and what comes out: mean, standard deviation, dead channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from tfnorm._keras import NN
from tfnorm.convert.graph import Call, check_graph, graph_of, in_order, walk
from tfnorm.convert.kinds import norm_kinds
from tfnorm.errors import DataError, TfnormError, unknown, whole_number
from tfnorm.layers.normalization.batch_normalization import takes_batch_statistics
from tfnorm.ops.arrays import to_array

# A ReLU after one of them zeroes the same channels as one before it.
PASSING = (layers.Identity, layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D)
RELU_FUNCTIONS = (keras.activations.relu, keras.activations.relu6)


def activation_statistics(
    model: keras.Model,
    x: Any,
    *,
    layers: str | Sequence[str] | None = None,
    batch_size: int = 64,
    batch_statistics: bool = True,
) -> list[dict[str, Any]]:
    r"""Return mean, standard deviation and share of dead channels of the input and the output of every norm.

    The images pass through the model as in training, without dropout and augmentation, and change nothing in it. Mean
    and standard deviation are over all images, pixels and channels. A channel is dead if the ReLU beside the norm gives
    0 for it at every pixel of every image:

    .. math:: \max_{n, h, w} x_{n h w c} \le 0

    If the ReLU follows the norm, ``after_dead`` is the share of channels that it kills, and ``before_dead`` the share
    that it would kill without the norm. If it comes before the norm, ``before_dead`` is what it killed, and
    ``after_dead`` is None. Without a ReLU both are None. Dropout between the two does not matter. Only functions that
    are 0 for all negative numbers count as ReLU.

    Args:
        model: A functional or sequential model, with nested models and shared layers.
        x: Images as the model takes them, an array or, for several inputs, a list or dict of arrays.
        layers: Names of layers, norms or not, as `tfnorm.analysis.summary` has them; by default all norms.
        batch_size: Images at a time; at least 1.
        batch_statistics: Whether batch norms take the statistics of the batch, as in training; False for their moving
            statistics, as at inference, which lag behind weights that change quickly.

    Returns:
        One record a call of a layer: ``layer``, ``kind``, ``relu`` ("before", "after", "within" or None), then
        ``before_mean``, ``before_std``, ``before_dead``, ``after_mean``, ``after_std``, ``after_dead``. A value that is
        not finite is None.

    Raises:
        TfnormError: If the model is a subclass of its own or not built yet, has no such layer, or has no norm.
        DataError: If there is no image.

    Example:
        >>> from keras import Input, Sequential, layers
        >>> model = Sequential([Input((8, 8, 3)), layers.LayerNormalization(name="norm"), layers.ReLU()])
        >>> (record,) = activation_statistics(model, -np.ones((4, 8, 8, 3)))
        >>> record["layer"], record["relu"], record["before_mean"], record["before_dead"]
        ('norm', 'after', -1.0, 1.0)
    """
    batch_size = whole_number("batch_size", batch_size, error=DataError)
    chosen = norm_calls(model, [layers] if isinstance(layers, str) else layers)
    arrays = _fitting(x, model)
    moments = {name: {"before": _Moments(), "after": _Moments()} for name in chosen}

    def visit(call: Call) -> list[Any]:
        outputs = outputs_of_call(call, batch_statistics)
        if call.name in chosen:
            axis = channel_axis(call.operation)
            moments[call.name]["before"].add(call.inputs[0], axis)
            moments[call.name]["after"].add(outputs[0], axis)
        return outputs

    for start in range(0, len(arrays[0]), batch_size):
        parts = [array[start : start + batch_size] for array in arrays]
        walk(model, [ops.convert_to_tensor(p, t.dtype) for p, t in zip(parts, model.inputs, strict=True)], visit)
    records = []
    for name, (kind, is_norm, relu) in chosen.items():
        record: dict[str, Any] = {"layer": name, "kind": kind, "relu": relu}
        judged = {"before": relu == "before" or (relu == "after" and is_norm), "after": relu in ("after", "within")}
        for side, found in moments[name].items():
            mean, std, dead = found.summary()
            record |= {f"{side}_mean": mean, f"{side}_std": std, f"{side}_dead": dead if judged[side] else None}
        records.append(record)
    return records


def outputs_of_call(call: Call, batch_statistics: bool) -> list[Any]:
    """Return the outputs of a layer as at inference, but of batch norms, if asked, with the statistics of the batch."""
    layer, kwargs = call.operation, dict(call.kwargs)
    own = batch_statistics and takes_batch_statistics(layer)
    if "training" in getattr(layer, "_call_context_args", ()):
        kwargs["training"] = own
    moving = [(weight, ops.copy(weight)) for weight in layer.non_trainable_weights] if own else []
    try:
        return keras.tree.flatten(layer(*call.args, **kwargs))
    finally:
        for weight, value in moving:
            weight.assign(value)


def _fitting(x: Any, model: keras.Model) -> list[np.ndarray]:
    """Return one array for each input of the model, of its shape."""
    try:
        arrays = [to_array(part) for part in in_order(x, graph_of(model))]
    except KeyError:
        names = [tensor.name for tensor in model.inputs]
        raise DataError(f"`x` must hold an array for each of the inputs {names}. Received: {list(x)}.") from None
    if len(arrays) != len(model.inputs):
        raise DataError(f"`x` must be one array for each of the {len(model.inputs)} inputs. Received: {len(arrays)}.")
    for number, tensor in enumerate(model.inputs):
        shape = tuple(tensor.shape[1:])
        if arrays[number].ndim == len(shape) and shape[-1] == 1:
            arrays[number] = arrays[number][..., np.newaxis]
        sides = arrays[number].shape[1:]
        if len(sides) != len(shape) or any(side not in (None, given) for side, given in zip(shape, sides, strict=True)):
            raise DataError(f"`x` must hold images of shape {shape}, as the model takes them. Received: {sides}.")
    if not len(arrays[0]):
        raise DataError("`x` must hold at least one image. Received: none.")
    if len({len(array) for array in arrays}) > 1:
        raise DataError(f"`x` must hold as many images for each input. Received: {[len(array) for array in arrays]}.")
    return arrays


def norm_calls(model: keras.Model, names: Sequence[str] | None = None) -> dict[str, tuple[str, bool, str | None]]:
    """Return the calls of norms, or of the layers called ``names``: their class, if it is a norm, where its ReLU is."""
    check_graph(model)
    calls: list[Call] = []

    def visit(call: Call) -> list[Call]:
        calls.append(call)
        return [call] * len(call.node.outputs)

    walk(model, [None] * len(model.inputs), visit)
    valid = [call.name for call in calls]
    for name in names or ():
        if name not in valid:
            raise TfnormError(unknown("layer", name, valid))
    chosen = [call for call in calls if (_is_norm(call) if names is None else call.name in names)]
    if not chosen:
        raise TfnormError(
            f"The model {model.name!r} has no normalization layers. Name the layers to look at in `layers`."
        )
    return {call.name: (type(call.operation).__name__, _is_norm(call), _relu_beside(call, calls)) for call in chosen}


def _is_norm(call: Call) -> bool:
    return isinstance(call.operation, (*norm_kinds(), layers.UnitNormalization))


def _relu_beside(call: Call, calls: Sequence[Call]) -> str | None:
    """Return whether a ReLU is part of a call, reads its output or gives its input: "within", "after" or "before"."""
    if ends_in_relu(call.operation):
        return "within"
    passing = [call]
    for reached in passing:  # which grows
        for other in calls:
            if any(source is reached for source in other.inputs):
                if _is_relu(other.operation):
                    return "after"
                if isinstance(other.operation, PASSING):
                    passing.append(other)
    source = call.inputs[0]
    while source is not None and isinstance(source.operation, PASSING):
        source = source.inputs[0]
    return "before" if source is not None and ends_in_relu(source.operation) else None


def _is_relu(operation: Any) -> bool:
    if isinstance(operation, layers.ReLU):
        return not operation.negative_slope and not operation.threshold
    if isinstance(operation, layers.Activation):
        return operation.activation in RELU_FUNCTIONS
    return isinstance(operation, (NN.Relu, NN.Relu6))


def ends_in_relu(operation: Any) -> bool:
    """Return whether an operation is a ReLU or a layer with weights whose activation is one."""
    return _is_relu(operation) or getattr(operation, "activation", None) in RELU_FUNCTIONS


def channel_axis(operation: Any) -> int:
    """Return the axis of the channels of what an operation gives; the last one if it says nothing."""
    axis = getattr(operation, "axis", None)
    if isinstance(axis, int):
        return axis
    return 1 if getattr(operation, "data_format", None) == "channels_first" else -1


@dataclass
class _Moments:
    """Count, mean, sum of squares and greatest value of each channel, batch after batch in float64."""

    count: float = 0
    mean: Any = 0.0
    squares: Any = 0.0
    greatest: Any = -np.inf

    def add(self, tensor: Any, axis: int) -> None:
        values = ops.cast(tensor, "float32")
        axes = [i for i in range(len(values.shape)) if i != axis % len(values.shape)]
        mean, variance, greatest = (
            ops.convert_to_numpy(found(values, axis=axes)).astype(np.float64) for found in (ops.mean, ops.var, ops.max)
        )
        count = math.prod(values.shape[i] for i in axes)
        total = self.count + count
        with np.errstate(invalid="ignore"):  # a diverged model has no moments
            # Chan, Golub and LeVeque, 1979: no squares of large numbers are subtracted.
            apart = mean - self.mean
            self.squares = self.squares + variance * count + apart**2 * (self.count * count / total)
            self.mean = self.mean + apart * (count / total)
        self.count, self.greatest = total, np.maximum(self.greatest, greatest)

    def summary(self) -> tuple[float | None, float | None, float | None]:
        """Return mean and standard deviation over all channels, and the share of those never above 0."""
        with np.errstate(invalid="ignore"):
            mean = float(np.mean(self.mean))
            variance = float(np.mean(self.squares / self.count + (self.mean - mean) ** 2))
        if not math.isfinite(variance):
            return None, None, None
        return mean, math.sqrt(variance), float(np.mean(self.greatest <= 0))
