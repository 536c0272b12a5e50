"""The layers of a planned network as rows, without importing Keras."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from tfnorm.analysis.rows import Row, activation_bytes
from tfnorm.analysis.table import Layers
from tfnorm.analysis.trace import Trace, Window, along, image, joined, mixed, reshaped
from tfnorm.models.planner import LayerPlan, NetworkPlan, Shape
from tfnorm.spec import NormSpec

# They only give what is there another shape.
VIEWS = ("input", "flatten")


def plan_layers(network: NetworkPlan, batch_size: int = 1) -> Layers:
    """Return the layers of a planned network.

    Args:
        network: The plan.
        batch_size: Images a step, for the memory of activations.

    Example:
        >>> from tfnorm.models.planner import plan
        >>> plan_layers(plan("mnist_7k", tfnorm.NormSpec("bn")))["conv2"].receptive_field
        (5, 5)
    """
    traces: dict[str, Trace] = {}
    rows = []
    for layer in network.layers:
        inputs = [traces[name] for name in layer.inputs]
        traces[layer.name] = trace = _trace(layer, inputs, network.spec)
        rows.append(
            Row(
                layer.name,
                layer.kind,
                trace,
                parameters=sum(math.prod(shape) for shape in layer.weights.values()),
                other_parameters=sum(math.prod(shape) for shape in _moving(layer, network.spec)),
                multiply_adds=_multiply_adds(layer),
                activation_bytes=0 if layer.kind in VIEWS else activation_bytes(layer.shape, trace.dtype),
            )
        )
    return Layers(f"{network.arch.name}, {network.spec}", tuple(rows), batch_size)


def _moving(layer: LayerPlan, spec: NormSpec) -> Collection[Shape]:
    """Return the shapes of the weights of a layer that are not trained."""
    return spec.moving_shapes(layer.shape).values() if layer.kind == "norm" else ()


def _trace(layer: LayerPlan, inputs: Sequence[Trace], spec: NormSpec) -> Trace:
    if layer.kind == "input":
        return image(layer.shape, (0, 1))
    if layer.kind == "add":
        return joined(inputs, layer.shape)
    (trace,) = inputs
    if layer.kind in WINDOWS:
        window = WINDOWS[layer.kind](layer.options)
        return along(trace, layer.shape, lambda place, field: window.over(field, layer.shape[place]))
    if layer.kind == "global_pool":
        return mixed(trace, layer.shape, (0, 1), kept=True)
    if layer.kind == "flatten":
        return reshaped(trace, layer.shape)
    context = trace.context or (layer.kind == "norm" and spec.info.whole_image)
    return Trace(layer.shape, trace.fields, trace.places, context=context)


def _convolution(options: dict[str, object]) -> Window:
    return Window(options["kernel"], options["stride"], options["dilation"], options["padding"])  # type: ignore[arg-type]


def _pool(options: dict[str, object]) -> Window:
    return Window(options["size"], options["size"])  # type: ignore[arg-type]


WINDOWS: dict[str, Callable[[dict[str, object]], Window]] = {
    "conv": _convolution,
    "depthwise": _convolution,
    "max_pool": _pool,
    "avg_pool": _pool,
    "subsample": lambda options: Window(1, options["stride"]),  # type: ignore[arg-type]
}


def _multiply_adds(layer: LayerPlan) -> int:
    """Each weight of a kernel is used once for each place of the output."""
    if "kernel" not in layer.weights:
        return 0
    return math.prod(layer.weights["kernel"]) * math.prod(layer.shape[:-1])
