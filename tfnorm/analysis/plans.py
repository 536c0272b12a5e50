"""The layers of a planned network as rows, without importing Keras."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tfnorm.analysis.table import Layers, Row, activation_bytes
from tfnorm.analysis.trace import Trace, Window, along, image, joined, mixed, reshaped
from tfnorm.models.planner import LayerPlan, NetworkPlan
from tfnorm.spec import NormSpec

# They only give what is there another shape.
VIEWS = ("input", "flatten")
WINDOWS = ("conv", "depthwise", "max_pool", "avg_pool", "subsample")


def plan_layers(network: NetworkPlan, batch_size: int = 1) -> Layers:
    """Return the layers of a planned network, with the memory of activations of ``batch_size`` images.

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
        moving = network.spec.moving_shapes(layer.shape).values() if layer.kind == "norm" else ()
        # Each weight of a kernel is used once for each place of the output.
        uses = math.prod(layer.weights["kernel"]) * math.prod(layer.shape[:-1]) if "kernel" in layer.weights else 0
        rows.append(
            Row(
                layer.name,
                layer.kind,
                trace,
                parameters=sum(math.prod(shape) for shape in layer.weights.values()),
                other_parameters=sum(math.prod(shape) for shape in moving),
                multiply_adds=uses,
                activation_bytes=0 if layer.kind in VIEWS else activation_bytes(layer.shape, trace.dtype),
            )
        )
    return Layers(f"{network.arch.name}, {network.spec}", tuple(rows), batch_size)


def _trace(layer: LayerPlan, inputs: Sequence[Trace], spec: NormSpec) -> Trace:
    if layer.kind == "input":
        return image(layer.shape, (0, 1))
    if layer.kind == "add":
        return joined(inputs, layer.shape)
    (trace,) = inputs
    if layer.kind in WINDOWS:
        options = layer.options
        size = options.get("kernel") or options.get("size", 1)  # the places between those of a pool are as its size
        window = Window(size, options.get("stride", size), options.get("dilation", 1), options.get("padding", "valid"))
        return along(trace, layer.shape, lambda place, field: window.over(field, layer.shape[place]))
    if layer.kind == "global_pool":
        return mixed(trace, layer.shape, (0, 1), kept=True)
    if layer.kind == "flatten":
        return reshaped(trace, layer.shape)
    context = trace.context or (layer.kind == "norm" and spec.info.whole_image)
    return Trace(layer.shape, trace.fields, trace.places, context=context)
