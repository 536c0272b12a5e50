"""How many multiplications, each with an addition, a Keras layer does for one image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from keras import layers

from tfnorm._keras import OPS, BaseConv, BaseConvTranspose, BaseDepthwiseConv, BaseSeparableConv, is_function
from tfnorm.analysis.calls import ATTENTIONS, attention_inputs, einsum_labels
from tfnorm.analysis.reading import has_known_call, is_known, read_call
from tfnorm.analysis.trace import Shape, Trace
from tfnorm.convert.graph import Call, graph_of, walk

Cost = Callable[[Any, Sequence[Shape], Shape], int | None]


def multiply_adds_of_call(call: Call, output: Shape) -> int | None:
    """Return the multiply-adds of a call for one image, given the shape of its output; None if they are not known."""
    product = next((cost for kind, cost in PRODUCTS_OF_ARGUMENTS if isinstance(call.operation, kind)), None)
    if product is None:
        inputs = attention_inputs(call) if isinstance(call.operation, ATTENTIONS) else call.inputs
        return multiply_adds_of(call.operation, [one.shape for one in inputs], output)
    try:
        return product(call, output)
    except OpenShapeError:
        return None


def multiply_adds_of(layer: Any, inputs: Sequence[Shape], output: Shape) -> int | None:
    """Return the multiply-adds of a layer for one image; None if they are not known.

    Products of matrices count, as in the literature: convolutions, dense, recurrent and attention layers. Biases,
    activations, norms, pooling and sums do not.

    Args:
        layer: A Keras layer or operation.
        inputs: Shapes of its inputs, without the batch axis.
        output: Shape of its output, likewise.
    """
    try:
        if graph_of(layer) is not None:
            return _of_model(layer, inputs)
        for kinds, cost in COSTS:
            if isinstance(layer, kinds) and has_known_call(layer):
                return cost(layer, inputs, output)
    except OpenShapeError:
        return None
    return 0 if is_known(layer) or _multiplies_nothing(layer) else None


def _multiplies_nothing(operation: Any) -> bool:
    """Return whether an operation is one of Keras's functions that multiply no matrices."""
    return is_function(operation) and type(operation).__name__ not in PRODUCTS


# Of matrices, or with kernels, or of functions that Keras does not know.
PRODUCTS = frozenset(
    "AssociativeScan BatchNorm CDist Cond Conv ConvTranspose Correlate Cross DepthwiseConv Dot DotProductAttention "
    "Einsum ElasticTransform FFT FFT2 ForiLoop GaussianBlur IFFT2 IRFFT ISTFT Inner Kron Map Matmul Outer RFFT STFT "
    "SSIM Scan SeparableConv SobelEdges Switch Tensordot VectorizedMap Vdot WhileLoop".split()
)


class OpenShapeError(Exception):
    """A shape with a side of unknown size."""


def _product(shape: Sequence[int | None]) -> int:
    if None in shape:
        raise OpenShapeError
    return math.prod(shape)  # type: ignore[arg-type]


def _places(layer: Any, shape: Shape) -> int:
    """Return the number of pixels of a convolution's input or output."""
    return _product(shape[1:] if layer.data_format == "channels_first" else shape[:-1])


def _convolution(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    # The kernel has the channels of one group only, and each of its weights is used once a pixel.
    return math.prod(layer.kernel.shape) * _places(layer, output)


def _separable(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    kernels = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
    return kernels * _places(layer, output)


def _transposed(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    return math.prod(layer.kernel.shape) * _places(layer, inputs[0])


def _dense(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    return math.prod(layer.kernel.shape) * _product(inputs[0][:-1])


def _einsum(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    # Axes of the input that the kernel does not have: each weight is used once for each of their elements.
    source, kernel = layer.equation.split("->")[0].split(",")
    if "." in source:
        return math.prod(layer.kernel.shape) * _product(inputs[0][: len(inputs[0]) - len(source.replace("...", ""))])
    return math.prod(layer.kernel.shape) * _product(
        [side for label, side in zip(source[1:], inputs[0], strict=True) if label not in kernel]
    )


def _attention(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    inputs = inputs if len(inputs) > 1 else [inputs[0], inputs[0]]
    steps, others = _product(inputs[0][:-1]), _product(inputs[1][:-1])
    places = {"query": steps, "key": others, "value": others, "output": steps}
    projections = sum(math.prod(getattr(layer, f"_{part}_dense").kernel.shape) * n for part, n in places.items())
    rank = len(inputs[1]) + 1  # axes count the batch, shapes do not
    attended = [inputs[1][axis % rank - 1] for axis in layer._attention_axes]
    return projections + layer.num_heads * steps * _product(attended) * (layer.key_dim + layer.value_dim)


def _plain_attention(layer: Any, inputs: Sequence[Shape], output: Shape) -> int | None:
    query, value = inputs[0], inputs[1 if len(inputs) > 1 else 0]
    key = inputs[2] if len(inputs) > 2 else value
    pairs = _product(query[:1]) * _product(value[:1])
    if isinstance(layer, layers.AdditiveAttention) or layer.score_mode != "dot":
        return None
    return pairs * (_product(key[-1:]) + _product(value[-1:]))


def _grouped_attention(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    steps, others = _product(inputs[0][:1]), _product(inputs[1 if len(inputs) > 1 else 0][:1])
    places = {"query": steps, "key": others, "value": others, "output": steps}
    if getattr(layer, "use_gate", False):
        places["gate"] = steps
    projections = sum(math.prod(getattr(layer, f"_{part}_dense").kernel.shape) * n for part, n in places.items())
    return projections + 2 * layer.num_query_heads * steps * others * layer.head_dim


def _convolutional_recurrent(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    kernels = math.prod(layer.cell.kernel.shape) + math.prod(layer.cell.recurrent_kernel.shape)
    state = output[1:] if layer.return_sequences else output
    return kernels * _product(inputs[0][:1]) * _places(layer.cell, state)


def _dot(layer: Any, inputs: Sequence[Shape], output: Shape) -> int:
    axis = layer.axes if isinstance(layer.axes, int) else layer.axes[0]
    return _product(output) * _product([inputs[0][axis % (len(inputs[0]) + 1) - 1]])


def _recurrent(layer: Any, inputs: Sequence[Shape], output: Shape) -> int | None:
    cells = layer.cell.cells if isinstance(layer.cell, layers.StackedRNNCells) else [layer.cell]
    if not all(isinstance(cell, (layers.SimpleRNNCell, layers.GRUCell, layers.LSTMCell)) for cell in cells):
        return None
    kernels = [weight for cell in cells for weight in (cell.kernel, cell.recurrent_kernel)]
    return sum(math.prod(kernel.shape) for kernel in kernels) * _product(inputs[0][:1])


def _bidirectional(layer: Any, inputs: Sequence[Shape], output: Shape) -> int | None:
    parts = [_recurrent(part, inputs, output) for part in (layer.forward_layer, layer.backward_layer)]
    return None if None in parts else sum(parts)


def _time_distributed(layer: Any, inputs: Sequence[Shape], output: Shape) -> int | None:
    one = multiply_adds_of(layer.layer, [inputs[0][1:]], output[1:])
    return None if one is None else one * _product(inputs[0][:1])


def _of_model(model: Any, inputs: Sequence[Shape]) -> int | None:
    costs = []

    def visit(call: Call) -> list[Trace]:
        outputs = read_call(call)
        costs.append(multiply_adds_of_call(call, outputs[0].shape))
        return outputs

    walk(model, [Trace(shape) for shape in inputs], visit)
    return None if None in costs else sum(costs)


def _matmul(call: Call, output: Shape) -> int:
    first = (*call.args, *call.kwargs.values())[0]  # either may be a constant
    return _product(output) * _product(first.shape[-1:])


def _einsum_of_arguments(call: Call, output: Shape) -> int | None:
    operands, result = einsum_labels(call)
    if len(operands) == 1:
        return 0
    if len(operands) > 2:  # it depends on their order
        return None
    sizes: dict[Any, int | None] = {}
    for labels, operand in zip(operands, call.args, strict=True):
        axes = zip(labels[isinstance(operand, Trace) :], operand.shape, strict=True)
        sizes |= {label: side for label, side in axes if side != 1 or label not in sizes}
    batches = {labels[0] for labels, operand in zip(operands, call.args, strict=True) if isinstance(operand, Trace)}
    sizes = {label: side for label, side in sizes.items() if label not in batches}
    return _product(list(sizes.values())) if set(sizes) - set(result) else 0


PRODUCTS_OF_ARGUMENTS = (
    (OPS.Matmul, _matmul),
    (OPS.Einsum, _einsum_of_arguments),
)
COSTS: tuple[tuple[tuple[type, ...], Cost], ...] = (
    ((BaseConv, BaseDepthwiseConv), _convolution),
    ((BaseSeparableConv,), _separable),
    ((BaseConvTranspose,), _transposed),
    ((layers.Dense,), _dense),
    ((layers.EinsumDense,), _einsum),
    ((layers.MultiHeadAttention,), _attention),
    ((layers.GroupQueryAttention,), _grouped_attention),
    ((layers.Attention,), _plain_attention),
    ((layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D), _convolutional_recurrent),
    ((layers.Dot,), _dot),
    ((layers.RNN,), _recurrent),
    ((layers.Bidirectional,), _bidirectional),
    ((layers.TimeDistributed,), _time_distributed),
    ((layers.SpectralNormalization,), lambda layer, inputs, output: multiply_adds_of(layer.layer, inputs, output)),
)
