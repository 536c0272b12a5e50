"""The networks of tfnorm as PyTorch modules, for the benchmarks."""

from __future__ import annotations

import torch
import torch.fx
from torch import nn
from torch.nn import functional

from tfnorm.models.planner import LayerPlan, NetworkPlan


class _Subtract(nn.Module):
    """Pixels to float32 with mean 0 and standard deviation 1."""

    def __init__(self, mean, std) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1) * 255)

    def forward(self, x):
        return (x.float() - self.mean) / self.std


class _WholeLayerNorm(nn.Module):
    """Layer normalization over channels, height and width, with a weight each."""

    def __init__(self, shape) -> None:
        super().__init__()
        height, width, channels = shape
        self.shape = (channels, height, width)
        self.weight, self.bias = nn.Parameter(torch.ones(self.shape)), nn.Parameter(torch.zeros(self.shape))

    def forward(self, x):
        return functional.layer_norm(x, self.shape, self.weight, self.bias)


def _norm(layer: LayerPlan, network: NetworkPlan) -> nn.Module:
    spec, channels = network.spec, layer.shape[-1]
    if spec.kind == "bn":
        return nn.BatchNorm2d(channels)
    if spec.kind == "gn":
        return nn.GroupNorm(spec.groups or channels // spec.group_size, channels)
    if spec.kind == "in":
        return nn.InstanceNorm2d(channels, affine=True)
    if spec.kind == "ln" and not spec.variant:
        return _WholeLayerNorm(layer.shape)
    raise ValueError(f"No PyTorch module stands for the norm {spec.kind!r}; use bn, gn, ln or in.")


def _module(layer: LayerPlan, network: NetworkPlan) -> nn.Module | None:
    options, shapes = layer.options, {before.name: before.shape for before in network.layers}
    if layer.kind == "normalization":
        return _Subtract(network.arch.mean, network.arch.std)
    if layer.kind == "conv":
        if options["stride"] > 1 or options["standardized"]:
            raise ValueError(f"The convolution {layer.name!r} has no exact counterpart in PyTorch here.")
        return nn.Conv2d(
            shapes[layer.inputs[0]][-1],
            options["filters"],
            options["kernel"],
            padding=options["padding"],
            dilation=options["dilation"],
            bias=options["bias"],
        )
    if layer.kind == "norm":
        return _norm(layer, network)
    if layer.kind == "dense":
        return nn.Linear(shapes[layer.inputs[0]][-1], layer.shape[0])
    makers = {
        "relu": lambda: nn.ReLU(),
        "dropout": lambda: nn.Dropout(options["rate"]),
        "max_pool": lambda: nn.MaxPool2d(options["size"]),
        "avg_pool": lambda: nn.AvgPool2d(options["size"]),
        "global_pool": lambda: nn.AdaptiveAvgPool2d(1),
        "flatten": lambda: nn.Flatten(),
    }
    if layer.kind in makers:
        return makers[layer.kind]()
    if layer.kind in ("input", "add"):
        return None
    raise ValueError(f"No PyTorch module stands for layers of the kind {layer.kind!r}.")


class TorchNetwork(nn.Module):
    """A planned network; takes (batch, channels, height, width) pixels from 0 to 255."""

    def __init__(self, network: NetworkPlan) -> None:
        super().__init__()
        self.steps = [(layer.name, layer.kind, layer.inputs) for layer in network.layers]
        modules = {layer.name: _module(layer, network) for layer in network.layers}
        self.parts = nn.ModuleDict({name: module for name, module in modules.items() if module is not None})

    def forward(self, x):
        values = {}
        for name, kind, inputs in self.steps:
            if kind == "input":
                values[name] = x
            elif kind == "add":
                values[name] = values[inputs[0]] + values[inputs[1]]
            else:
                values[name] = self.parts[name](values[inputs[0]])
        return values[self.steps[-1][0]]


def torch_network(network: NetworkPlan) -> nn.Module:
    """Return a PyTorch module of the same layers and as many trainable parameters.

    Raises:
        ValueError: If a layer has no exact counterpart.
    """
    # Traced to plain code, which lets go of each value after its last use, as a module written by hand does.
    module = torch.fx.symbolic_trace(TorchNetwork(network))
    found = sum(parameter.numel() for parameter in module.parameters())
    if found != network.trainable_parameters:
        raise ValueError(f"The PyTorch network has {found} parameters instead of {network.trainable_parameters}.")
    return module
