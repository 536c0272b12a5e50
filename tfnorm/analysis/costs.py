"""How many multiplications, each with an addition, a Keras layer does for one image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from keras import layers

from tfnorm._keras import OPS, BaseConv, BaseConvTranspose, BaseDepthwiseConv, BaseSeparableConv, is_function
from tfnorm.analysis.calls import ATTENTIONS, attention_inputs, einsum_labels
from tfnorm.analysis.reading import has_known_call, is_known, read_call
from tfnorm.analysis.trace import Shape, Trace, without_batch
from tfnorm.convert.graph import Call, graph_of, walk

Cost = Callable[[Any, Sequence[Shape], Shape], int]


class UnknownCostError(Exception):
    """A layer that is not known, or a shape with a side of unknown size."""


def multiply_adds_of_call(call: Call, output: Shape) -> int | None:
    """Return the multiply-adds of a call for one image, given the shape of its output; None if they are not known.

    Products of matrices count, as in the literature: convolutions, dense, recurrent and attention layers. Biases,
    activations, norms, pooling and sums do not. Shapes are without the batch axis.
    """
    try:
        return _of_call(call, output)
    except UnknownCostError:
        return None


def _of_call(call: Call, output: Shape) -> int:
    if isinstance(call.operation, OPS.Matmul):
        first = (*call.args, *call.kwargs.values())[0]  # either may be a constant
        return _product(output) * _product(first.shape[-1:])
    if isinstance(call.operation, OPS.Einsum):
        return _einsum_of_arguments(call)
    inputs = attention_inputs(call) if isinstance(call.operation, ATTENTIONS) else call.inputs
    return _of_layer(call.operation, [one.shape for one in inputs], output)


def _of_layer(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    if graph_of(layer) is not None:
        return _of_model(layer, inputs)
    for kinds, cost in COSTS:
        if isinstance(layer, kinds) and has_known_call(layer):
            return cost(layer, inputs, output)
    if is_known(layer) or (is_function(layer) and type(layer).__name__ not in PRODUCTS):
        return 0
    raise UnknownCostError


# Of matrices, or with kernels, or of functions that Keras does not know.
PRODUCTS = frozenset(
    "AssociativeScan BatchNorm CDist Cond Conv ConvTranspose Correlate Cross DepthwiseConv Dot DotProductAttention "
    "Einsum ElasticTransform FFT FFT2 ForiLoop GaussianBlur IFFT2 IRFFT ISTFT Inner Kron Map Matmul Outer RFFT STFT "
    "SSIM Scan SeparableConv SobelEdges Switch Tensordot VectorizedMap Vdot WhileLoop".split()
)


def _product(shape: Sequence[int | None]) -> int:
    if None in shape:
        raise UnknownCostError
    return math.prod(shape)  # type: ignore[arg-type]


def _places(layer: Any, shape: Shape) -> int:
    """Return the number of pixels of a convolution's input or output."""
    return _product(shape[1:] if layer.data_format == "channels_first" else shape[:-1])


def _kernels(layer: Any, *names: str) -> int:
    return sum(math.prod(getattr(layer, name).shape) for name in names)


def _einsum(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    # Each weight is used once for each element of the axes of the input that the kernel does not have.
    source, kernel = layer.equation.split("->")[0].split(",")
    if "." in source:
        return _kernels(layer, "kernel") * _product(inputs[0][: len(inputs[0]) - len(source.replace("...", ""))])
    others = [side for label, side in zip(source[1:], inputs[0], strict=True) if label not in kernel]
    return _kernels(layer, "kernel") * _product(others)


def _attention(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    query, value, _ = inputs
    steps, others = _product(query[:-1]), _product(value[:-1])
    places = {"query": steps, "key": others, "value": others, "output": steps}
    if getattr(layer, "use_gate", False):
        places["gate"] = steps
    projections = sum(_kernels(getattr(layer, f"_{part}_dense"), "kernel") * n for part, n in places.items())
    if isinstance(layer, layers.GroupQueryAttention):
        return projections + 2 * layer.num_query_heads * steps * others * layer.head_dim
    attended = _product([value[without_batch(axis, len(value))] for axis in layer._attention_axes])
    return projections + layer.num_heads * steps * attended * (layer.key_dim + layer.value_dim)


def _plain_attention(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    if isinstance(layer, layers.AdditiveAttention) or layer.score_mode != "dot":
        raise UnknownCostError
    query, value, key = inputs
    return _product(query[:1]) * _product(value[:1]) * (_product(key[-1:]) + _product(value[-1:]))


def _convolutional_recurrent(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    state = output[1:] if layer.return_sequences else output
    return _kernels(layer.cell, "kernel", "recurrent_kernel") * _product(inputs[0][:1]) * _places(layer.cell, state)


def _dot(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    axis = layer.axes if isinstance(layer.axes, int) else layer.axes[0]
    return _product(output) * _product([inputs[0][without_batch(axis, len(inputs[0]))]])


def _recurrent(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    cells = layer.cell.cells if isinstance(layer.cell, layers.StackedRNNCells) else [layer.cell]
    if not all(isinstance(cell, (layers.SimpleRNNCell, layers.GRUCell, layers.LSTMCell)) for cell in cells):
        raise UnknownCostError
    return sum(_kernels(cell, "kernel", "recurrent_kernel") for cell in cells) * _product(inputs[0][:1])


def _bidirectional(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    return sum(_recurrent(part, inputs, output) for part in (layer.forward_layer, layer.backward_layer))


def _time_distributed(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    return _of_layer(layer.layer, [inputs[0][1:]], output[1:]) * _product(inputs[0][:1])


def _of_model(model: Any, inputs: Sequence[Shape]) -> int:
    costs = []

    def visit(call: Call) -> list[Trace]:
        outputs = read_call(call)
        costs.append(_of_call(call, outputs[0].shape))
        return outputs

    walk(model, [Trace(shape) for shape in inputs], visit)
    return sum(costs)


def _einsum_of_arguments(call: Call) -> int:
    operands, result = einsum_labels(call)
    if len(operands) == 1:
        return 0
    if len(operands) > 2:  # it depends on their order
        raise UnknownCostError
    sizes: dict[Any, int | None] = {}
    for labels, operand in zip(operands, call.args, strict=True):
        axes = zip(labels[isinstance(operand, Trace) :], operand.shape, strict=True)
        sizes |= {label: side for label, side in axes if side != 1 or label not in sizes}
    batches = {labels[0] for labels, operand in zip(operands, call.args, strict=True) if isinstance(operand, Trace)}
    sizes = {label: side for label, side in sizes.items() if label not in batches}
    return _product(list(sizes.values())) if set(sizes) - set(result) else 0


COSTS: tuple[tuple[tuple[type, ...], Cost], ...] = (
    # The kernel has the channels of one group only, and each of its weights is used once a pixel.
    ((BaseConv, BaseDepthwiseConv), lambda layer, inputs, output: _kernels(layer, "kernel") * _places(layer, output)),
    (
        (BaseSeparableConv,),
        lambda layer, inputs, output: _kernels(layer, "depthwise_kernel", "pointwise_kernel") * _places(layer, output),
    ),
    ((BaseConvTranspose,), lambda layer, inputs, output: _kernels(layer, "kernel") * _places(layer, inputs[0])),
    ((layers.Dense,), lambda layer, inputs, output: _kernels(layer, "kernel") * _product(inputs[0][:-1])),
    ((layers.EinsumDense,), _einsum),
    ((layers.MultiHeadAttention, layers.GroupQueryAttention), _attention),
    ((layers.Attention,), _plain_attention),
    ((layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D), _convolutional_recurrent),
    ((layers.Dot,), _dot),
    ((layers.RNN,), _recurrent),
    ((layers.Bidirectional,), _bidirectional),
    ((layers.TimeDistributed,), _time_distributed),
    ((layers.SpectralNormalization,), lambda layer, inputs, output: _of_layer(layer.layer, inputs, output)),
)
