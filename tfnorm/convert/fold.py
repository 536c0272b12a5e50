"""Computing batch norms into the weights of the convolutions beside them, for inference."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from tfnorm import layers as ours
from tfnorm.convert import kinds
from tfnorm.convert.clone import Chain, clone_with, remake
from tfnorm.convert.graph import Graph, Network
from tfnorm.convert.neighbours import removal
from tfnorm.convert.report import Report, warn_of_no_change

Scaling = Callable[[np.ndarray, np.ndarray], np.ndarray]


def fold_batch_norm(model: keras.Model, *, return_report: bool = False) -> keras.Model | tuple[keras.Model, Report]:
    r"""Return the same network, for inference, with batch norms computed into the weights of convolutions.

    At inference a batch norm is the line :math:`s x + t` with :math:`s = \gamma / \sqrt{\sigma^2 + \epsilon}` and
    :math:`t = \beta - s \mu`. The convolution or dense layer before it can do that: the kernel of each output channel
    is multiplied by s, and the bias b becomes s b + t. If no layer before it can, the layer right after it does, over
    its input channels: a dense layer, also after Flatten, or a convolution without padding that is not transposed.

    The layer must have no activation, no activity regularizer and no other reader. Dropout, average pooling and layers
    without effect may stand in between, and maximum pooling if no s is negative. Weight-standardized convolutions
    become plain ones. Weights are computed in float64, and outputs differ by rounding only.

    Args:
        model: A functional or sequential model; it is not changed.
        return_report: Whether to return the report too.

    Returns:
        A new model; with ``return_report`` the pair (model, `Report`), which says why a norm stays.

    Raises:
        TfnormError: If the model has no graph or a `call` of its own, or is not built yet.

    Example:
        >>> old = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3))
        >>> model, report = fold_batch_norm(old, return_report=True)
        >>> len(report.changes), len(report.kept)
        (52, 0)
        >>> print(report.changes[0])
        bn_Conv1: BatchNormalization -> Conv1
    """
    network = Network(model)
    folding = _Folding(network)
    changes, kept = [], []
    for layer in network.everything:
        if isinstance(layer, kinds.BATCH_NORMS):
            target, reason = folding.fold(layer)
            after = network.path(target) if target is not None else ""
            (changes if after else kept).append(network.change(layer, after, note=reason))

    def make(layer):
        if id(layer) in folding.folded:
            return removal(network, layer, folding.folded)
        if id(layer) not in folding.weights:
            return remake(layer)
        standardized = isinstance(layer, ours.WeightStandardizedConv2D)
        config = layer.get_config() | {"use_bias": True}
        if standardized:
            del config["epsilon"]
        return Chain((remake(layer, ours.Conv2D if standardized else None, config),))

    new_model, made = clone_with(model, make)
    for key, weights in folding.weights.items():
        made[key][1].layers[0].set_weights([*weights.kernels, weights.bias])
    if not changes:
        warn_of_no_change("fold_batch_norm", model.name, kept, "no batch norm")
    report = Report(tuple(changes), tuple(kept))
    return (new_model, report) if return_report else new_model


class _Weights:
    """Kernels and bias of a layer in float64, into which norms are computed one after another."""

    def __init__(self, layer: Any) -> None:
        arrays = [np.asarray(array, "float64") for array in layer.get_weights()]
        self.bias = arrays.pop() if layer.use_bias else np.zeros(1)
        self.kernels = arrays
        self.depthwise = type(layer) in (*kinds.DEPTHWISE, *kinds.SEPARABLE)
        if isinstance(layer, ours.WeightStandardizedConv2D):
            self.kernels = [np.asarray(keras.ops.convert_to_numpy(layer.standardized_kernel()), "float64")]

    def then(self, scale: np.ndarray, shift: np.ndarray, scaling: Scaling) -> None:
        """Multiply the outputs by ``scale`` and add ``shift``."""
        self.kernels[-1] = scaling(self.kernels[-1], scale)
        self.bias = self.bias * scale + shift

    def after(self, scale: np.ndarray, shift: np.ndarray) -> None:
        """Multiply the inputs by ``scale`` and add ``shift``, where the inputs are not padded."""
        kernel, *pointwise = self.kernels
        inputs, outputs = kernel.shape[-2:]
        # Input channels of each filter: its own, or those of its group.
        channels = np.arange(inputs)[:, None]
        if not self.depthwise:
            groups = len(scale) // inputs
            channels = channels + inputs * (np.arange(outputs) // (outputs // groups))
        constant = (kernel * shift[channels]).sum(axis=tuple(range(kernel.ndim - 2)))
        constant = constant.reshape(-1) if self.depthwise else constant.sum(axis=0)
        for mixing in pointwise:
            constant = constant @ mixing.reshape(mixing.shape[-2:])
        self.bias = self.bias + constant
        self.kernels = [kernel * scale[channels], *pointwise]


# How the last kernel of each class takes a factor for every output channel.
SCALINGS: dict[type, Scaling] = {
    **dict.fromkeys((*kinds.CONVOLUTIONS, *kinds.SEPARABLE, layers.Dense), lambda kernel, scale: kernel * scale),
    **dict.fromkeys(kinds.TRANSPOSED, lambda kernel, scale: kernel * scale[:, None]),
    **dict.fromkeys(kinds.DEPTHWISE, lambda kernel, scale: kernel * scale.reshape(kernel.shape[-2:])),
}

POOLING = (*kinds.MEANS, *kinds.MAXIMA)


class _Folding:
    """Which batch norms go into which layers, and the weights that result."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.folded: set[int] = set()
        self.weights: dict[int, _Weights] = {}

    def fold(self, norm: Any) -> tuple[Any, str]:
        """Fold a batch norm; return the layer that takes it over, or None, and why none does."""
        if type(norm) not in kinds.BATCH_NORMS:
            return None, "a class of its own"
        if inside := self.network.inside(norm):
            return None, inside
        if _penalized(norm):
            return None, "its outputs are penalized"
        if any(self.network.in_training(*call) for call in self.network.calls(norm)):
            return None, "called with training=True, and so with the statistics of the batch"
        scale, shift = _line(norm)
        before, reason = self._neighbour(norm, self._before)
        after, channels = (None, None) if before is not None else self._neighbour(norm, self._after)
        layer = after if before is None else before
        if layer is None:
            return None, reason
        weights = self.weights.setdefault(id(layer), _Weights(layer))
        if after is None:
            weights.then(scale, shift, SCALINGS[type(layer)])
        else:
            weights.after(scale[channels], shift[channels])
        self.folded.add(id(norm))
        return layer, ""

    def _neighbour(self, norm: Any, find: Callable[[Graph, Any, Any, int], tuple[Any, Any]]) -> tuple[Any, Any]:
        """Return the layer that ``find`` finds at every call of ``norm``, or None, and what else ``find`` returns."""
        found = []
        for graph, node in self.network.calls(norm):
            call, rest = find(graph, node, norm, norm.axis % len(node.outputs[0].shape))
            if call is None:
                return None, rest
            found.append((call, rest))
        layer, rest = found[0][0].operation, found[0][1]
        alike = all(np.array_equal(other, rest) for _, other in found)
        if not alike or {id(call) for call, _ in found} != {id(node) for _, node in self.network.calls(layer)}:
            return None, f"{layer.name!r} is called several times, and not always with this norm"
        return layer, rest

    def _before(self, graph: Graph, node: Any, norm: Any, axis: int) -> tuple[Any, str]:
        """Return the call whose outputs go to ``node`` alone, if it can scale them along ``axis``, or None and why."""
        tensor = node.input_tensors[0]
        maker = graph.maker(tensor)
        if maker is None:
            return None, f"at the start of the model {graph.model.name!r}"
        layer = maker.operation
        if _penalized(layer):
            return None, f"the outputs of {layer.name!r} are penalized"
        passes = self._passes(graph, maker, norm)
        if not passes and type(layer) not in SCALINGS:
            active = kinds.is_idle(layer) and self.network.in_training(graph, maker)
            why = ", which is called with training=True" if active else ""
            return None, f"after {layer.name!r} ({type(layer).__name__}){why}"
        others = [reader.operation.name for reader in graph.readers(tensor) if reader is not node]
        if others:
            return None, f"the output of {layer.name!r} also goes to {', '.join(map(repr, others))}"
        if graph.gives_out(tensor):
            return None, f"the output of {layer.name!r} is an output of the model {graph.model.name!r} too"
        if type(layer) in (*SCALINGS, *POOLING) and axis != kinds.axis_of_channels(layer, len(tensor.shape)):
            return None, f"not over the channels of {layer.name!r}"
        if passes:
            pooled = type(layer) in POOLING
            inner = kinds.axis_of_channels(layer, len(maker.input_tensors[0].shape)) if pooled else axis
            return self._before(graph, maker, norm, inner)
        if not kinds.is_linear(layer):
            return None, f"after the activation of {layer.name!r}"
        if kinds.is_adapted(layer):
            return None, f"{layer.name!r} is quantized or has LoRA weights"
        if _mistakes_its_bias(layer, tensor.shape):
            wide = "may be" if tensor.shape[-1] is None else "are"
            mistake = "Keras on TensorFlow adds its bias along the width"
            return None, f"the outputs of {layer.name!r} {wide} as wide as it has channels, which are first: {mistake}"
        return maker, ""

    def _after(self, graph: Graph, node: Any, norm: Any, axis: int, channels: Any = None) -> tuple[Any, Any]:
        """Return the one call that takes the outputs of ``node``, if it can scale them along ``axis``, or None.

        ``channels`` are those of the norm for each place along the axis, and are returned for that call.
        """
        tensor = node.outputs[0]
        readers = graph.readers(tensor)
        if len(readers) != 1 or graph.gives_out(tensor):
            return None, ""
        if channels is None:
            channels = np.arange(tensor.shape[axis])
        call, layer = readers[0], readers[0].operation
        if type(layer) in (layers.Flatten, layers.Reshape) and len(call.outputs[0].shape) == 2:
            if _penalized(layer) or None in tensor.shape[1:]:
                return None, ""
            return self._after(graph, call, norm, 1, _flattened(layer, tensor.shape, axis, channels))
        pooled = type(layer) in POOLING
        # Zeros that a convolution adds around its input would have to become -t / s. A transposed one gives a pixel
        # the products of fewer inputs at the border and between strides, which no bias can make up for.
        unpadded = type(layer) in (*kinds.CONVOLUTIONS, *kinds.DEPTHWISE, *kinds.SEPARABLE) and (
            layer.padding == "valid" or math.prod(layer.kernel_size) == 1
        )
        scales = (unpadded or type(layer) is layers.Dense) and not kinds.is_adapted(layer)
        scales = scales and not _mistakes_its_bias(layer, call.outputs[0].shape)
        if (scales or pooled) and axis != kinds.axis_of_channels(layer, len(tensor.shape)):
            return None, ""
        if self._passes(graph, call, norm):
            inner = kinds.axis_of_channels(layer, len(call.outputs[0].shape)) if pooled else axis
            return self._after(graph, call, norm, inner, channels)
        return (call if scales else None), channels

    def _passes(self, graph: Graph, node: Any, norm: Any) -> bool:
        """Return whether scaling and shifting the channels before the call ``node`` is the same as after it."""
        layer = node.operation
        if _penalized(layer):
            return False
        if type(layer) in kinds.MAXIMA:
            return bool((_line(norm)[0] >= 0).all())
        idle = kinds.is_idle(layer) and not self.network.in_training(graph, node)
        return type(layer) in kinds.MEANS or idle or id(layer) in self.folded


def _mistakes_its_bias(layer: Any, shape: tuple[int | None, ...]) -> bool:
    """Return whether Keras may add the bias of a layer with outputs of ``shape`` along the width, not the channels."""
    first = getattr(layer, "data_format", None) == "channels_first"
    # Its `ops.add` takes what has the size of the last axis for a bias of that axis.
    alike = shape[-1] in (None, shape[1]) and shape[1] != 1
    return first and alike and keras.backend.backend() == "tensorflow"


def _flattened(layer: Any, shape: tuple[int, ...], axis: int, channels: np.ndarray) -> np.ndarray:
    """Return the channel of each number of a tensor of ``shape`` that ``layer`` flattens."""
    places = channels.reshape([-1 if place == axis else 1 for place in range(1, len(shape))])
    each = np.broadcast_to(places, shape[1:])
    if getattr(layer, "data_format", None) == "channels_first":
        each = np.moveaxis(each, 0, -1)
    return each.reshape(-1)


def _penalized(layer: Any) -> bool:
    return getattr(layer, "activity_regularizer", None) is not None


def _line(norm: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the factor and the summand of each channel that a batch norm applies at inference."""
    weights = (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    gamma, beta, mean, variance = (None if w is None else np.asarray(w, "float64") for w in weights)
    scale = 1.0 / np.sqrt(variance + norm.epsilon)
    if gamma is not None:
        scale = scale * gamma
    return scale, (0.0 if beta is None else beta) - mean * scale
