"""A Keras convnet as a PyTorch module with the same weights, for the benchmarks."""

from __future__ import annotations

import keras
import torch
from keras import layers
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval


class _Padded(nn.Module):
    """A convolution with Keras's padding "same", which puts the odd pixel after the image."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x):
        sides = zip(x.shape[-2:], self.convolution.kernel_size, self.convolution.stride, strict=True)
        totals = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size, kernel, stride in sides]
        return self.convolution(functional.pad(x, [n for t in reversed(totals) for n in (t // 2, t - t // 2)]))


def _tensor(weight) -> torch.Tensor:
    return torch.tensor(keras.ops.convert_to_numpy(weight))


def _convolution(layer) -> nn.Module:
    kernel = _tensor(layer.kernel)
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    kernel = kernel.permute(2, 3, 0, 1) if depthwise else kernel.permute(3, 2, 0, 1)
    outputs, inputs = kernel.shape[:2]
    groups = outputs if depthwise else layer.groups
    module = nn.Conv2d(inputs * groups, outputs, layer.kernel_size, layer.strides, groups=groups, bias=layer.use_bias)
    module.weight.data = kernel.contiguous()
    if layer.use_bias:
        module.bias.data = _tensor(layer.bias)
    return _Padded(module) if layer.padding == "same" else module


def _norm(layer) -> nn.BatchNorm2d:
    module = nn.BatchNorm2d(layer.moving_mean.shape[0], eps=layer.epsilon)
    module.weight.data, module.bias.data = _tensor(layer.gamma), _tensor(layer.beta)
    module.running_mean, module.running_var = _tensor(layer.moving_mean), _tensor(layer.moving_variance)
    return module


def _dense(layer) -> nn.Module:
    module = nn.Linear(*layer.kernel.shape)
    module.weight.data, module.bias.data = _tensor(layer.kernel).T.contiguous(), _tensor(layer.bias)
    return module


def _module(layer) -> nn.Module | None:
    """Return the module of a layer, or None for an addition."""
    if isinstance(layer, layers.ReLU):
        return nn.ReLU() if layer.max_value is None else nn.Hardtanh(0.0, float(layer.max_value))
    if isinstance(layer, layers.Activation) and layer.activation is keras.activations.relu:
        return nn.ReLU()
    if isinstance(layer, layers.ZeroPadding2D):
        return nn.ZeroPad2d([size for sides in reversed(layer.padding) for size in sides])
    if isinstance(layer, layers.MaxPooling2D):
        return nn.MaxPool2d(layer.pool_size, layer.strides)
    makers = {
        layers.Conv2D: _convolution,
        layers.DepthwiseConv2D: _convolution,
        layers.BatchNormalization: _norm,
        layers.Dense: _dense,
        layers.GlobalAveragePooling2D: lambda layer: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        layers.Add: lambda layer: None,
    }
    if type(layer) not in makers:
        raise ValueError(f"No PyTorch module stands for the layer {layer.name!r} ({type(layer).__name__}).")
    return makers[type(layer)](layer)


class TorchGraph(nn.Module):
    """The network of a Keras model for images (batch, channels, height, width), at inference.

    Args:
        model: Of convolutions, batch norms, ReLU, additions, padding, pooling and dense layers, each called once.
        fuse: Whether PyTorch fuses each batch norm with the convolution before it.
    """

    def __init__(self, model: keras.Model, *, fuse: bool = False) -> None:
        super().__init__()
        self.steps: list[tuple[str, list[str]]] = []
        self.parts = nn.ModuleDict()
        for layer in keras.Model(model.inputs, model.outputs).layers:  # a sequential model leaves its input out
            before = [node._keras_history.operation.name for node in layer._inbound_nodes[0].input_tensors]
            if isinstance(layer, layers.InputLayer):
                self.start = layer.name
                continue
            module = _module(layer)
            if fuse and isinstance(module, nn.BatchNorm2d):
                convolution = self.parts[before[0]]
                padded = isinstance(convolution, _Padded)
                fused = fuse_conv_bn_eval((convolution.convolution if padded else convolution).eval(), module.eval())
                self.parts[before[0]] = _Padded(fused) if padded else fused
                module = nn.Identity()
            if module is not None:
                self.parts[layer.name] = module
            self.steps.append((layer.name, before))
        self.eval()

    def forward(self, x):
        """Return the outputs of the last layer."""
        values = {self.start: x}
        for name, before in self.steps:
            inputs = [values[source] for source in before]
            values[name] = self.parts[name](*inputs) if name in self.parts else inputs[0] + inputs[1]
        return values[name]
