"""Norm mathematics for the TensorFlow backend: the functions of `tfnorm.ops.generic`, faster.

Each norm is a few passes over its input that XLA compiles, and a gradient written by hand that keeps only the input
and one or two numbers a channel. Statistics are float32 and taken in two passes. `tfnorm.ops.generic` computes what the
passes do not cover: float64, channels on another axis than the last, and a TensorFlow without XLA. It also computes
layers outside of training; see `tfnorm.ops.kernels_for`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf
from keras import ops

from tfnorm.ops import generic
from tfnorm.ops.generic import threshold
from tfnorm.ops.tensorflow import columns, rows
from tfnorm.ops.tensorflow.compile import compiles, shaped_like, wide, with_gradient
from tfnorm.ops.tensorflow.output import Made, normalize, relu, remember

__all__ = [
    "batch_norm", "batch_norm_inference", "filter_response_norm", "group_norm", "layer_norm", "relu", "rms_norm",
    "standardize_kernel", "threshold",
]  # fmt: skip

_DTYPES = (tf.float32, tf.bfloat16, tf.float16)


def _covered(x, axes: Sequence[int]) -> bool:
    """Return whether the passes serve an ``x`` whose weights span ``axes``: the last ones, of known size."""
    last = list(range(len(x.shape) - len(axes), len(x.shape)))
    known = None not in [x.shape[axis] for axis in axes]
    return x.dtype in _DTYPES and list(axes) == last and 0 not in axes and known and 0 not in x.shape and compiles()


def _weight(weight, default: float, sizes: Sequence[int]):
    """Return a weight, or the constant that stands for None, in float32."""
    if weight is None:
        return tf.fill(list(sizes), tf.constant(default, tf.float32))
    # Keras hands out the variable itself; it is read here, outside of the custom gradient, which wants tensors.
    return tf.convert_to_tensor(ops.convert_to_tensor(weight, dtype="float32"))


def _as_columns(x, *, batch: bool = False):
    """Return ``x`` as (samples, pixels, channels); where statistics span the batch it may be one sample."""
    if batch and len(x.shape) == 2:
        return x[None]
    if None not in x.shape[1:]:
        return tf.reshape(x, [-1, math.prod(x.shape[1:-1]), x.shape[-1]])
    sizes = tf.shape(x)
    return tf.reshape(x, tf.stack([sizes[0], tf.reduce_prod(sizes[1:-1]), sizes[-1]]))


def _columns(x, gamma, beta, epsilon, reference, *, groups: int, centered: bool = True):
    """Normalize (samples, pixels, channels) with statistics of each of ``groups``, or of the batch.

    Returns:
        The output, what it was made of, and mean and variance as (samples, channels), without gradients.
    """
    mean, variance, root = columns.statistics(
        tf.stop_gradient(x), tf.stop_gradient(epsilon), groups=groups, centered=centered
    )
    made = Made(x, mean[:, None], root[:, None], gamma[None, None], beta[None, None])

    def backward(upstream, x, gamma, beta, epsilon):
        return columns.backward(x, upstream, mean, root, gamma[None], groups=groups, centered=centered)

    return with_gradient(normalize(made), backward, reference, [x, gamma, beta, epsilon]), made, mean, variance


def _elements(x, gamma, beta, epsilon, reference, *, centered: bool):
    """Normalize each sample of (samples, pixels, channels) with weights (pixels, channels); see `_columns`."""
    mean, _, root = columns.statistics(tf.stop_gradient(x), epsilon, groups=1, centered=centered)
    made = Made(x, mean[:, None], root[:, None], gamma[None], beta[None])

    def backward(upstream, x, gamma, beta):
        return columns.weighted_backward(x, upstream, mean, root, gamma, centered=centered)

    return with_gradient(normalize(made), backward, reference, [x, gamma, beta]), made


def _rows(x, gamma, beta, epsilon, reference, *, centered: bool):
    """Normalize each row of (rows, channels); see `_columns`."""
    options = {"centered": centered, "sliced": rows.slices_pay(x)}
    mean, root = rows.statistics(tf.stop_gradient(x), epsilon, **options)
    made = Made(x, mean, root, gamma[None], beta[None])

    def backward(upstream, x, gamma, beta):
        return rows.backward(x, upstream, mean, root, gamma[None], **options)

    return with_gradient(normalize(made), backward, reference, [x, gamma, beta]), made


def batch_norm(x, gamma, beta, *, axis: int, epsilon: float):
    """Normalize with the statistics of the batch; see `tfnorm.ops.generic.batch_norm`."""
    if not _covered(x, [axis]):
        return generic.batch_norm(x, gamma, beta, axis=axis, epsilon=epsilon)
    gamma, beta = _weight(gamma, 1, x.shape[axis:]), _weight(beta, 0, x.shape[axis:])

    def reference(x, gamma, beta, epsilon):
        return generic.batch_norm(x, gamma, beta, axis=2, epsilon=epsilon)[0]

    samples = _as_columns(x, batch=True)
    y, made, mean, variance = _columns(samples, gamma, beta, tf.constant(epsilon), reference, groups=columns.BATCH)
    # Alike in all samples, of which there may be none.
    moments = _moments(samples, *(tf.reduce_sum(moment[:1], 0) for moment in (mean, variance)))
    return remember(shaped_like(y, x), made), *moments


def _moments(x, mean, variance):
    """Return the batch's mean and variance, (channels,) each, as functions of ``x`` (samples, pixels, channels)."""
    count = tf.cast(tf.size(x) // x.shape[2], tf.float32)

    def of_mean(upstream, x):
        return [tf.cast(tf.broadcast_to(upstream / count, tf.shape(x)), x.dtype)]

    def of_variance(upstream, x):
        return [tf.cast((wide(x) - mean) * (2 * upstream / count), x.dtype)]

    def reference(index):
        return lambda x: tf.reshape(generic.moments(wide(x), [0, 1])[index], [-1])

    return (
        with_gradient(mean, of_mean, reference(0), [x]),
        with_gradient(variance, of_variance, reference(1), [x]),
    )


def batch_norm_inference(x, gamma, beta, mean, variance, *, axis: int, epsilon: float):
    """Normalize with given statistics; see `tfnorm.ops.generic.batch_norm_inference`.

    The output is one fused operation; its gradient is that of the generic formula.
    """
    if not (_covered(x, [axis]) and len(x.shape) > 1):
        return generic.batch_norm_inference(x, gamma, beta, mean, variance, axis=axis, epsilon=epsilon)
    sizes = x.shape[axis:]
    tensors = [x, _weight(gamma, 1, sizes), _weight(beta, 0, sizes)]
    tensors += [_weight(mean, 0, sizes), _weight(variance, 1, sizes)]

    def reference(x, gamma, beta, mean, variance):
        return generic.batch_norm_inference(x, gamma, beta, mean, variance, axis=axis, epsilon=epsilon)

    still = [tf.stop_gradient(tensor) for tensor in tensors]
    y, *_ = tf.raw_ops.FusedBatchNormV3(
        # Four axes go in as they are, so that TensorFlow can join the operation to a convolution before it.
        x=still[0] if len(x.shape) == 4 else _as_columns(still[0], batch=True)[None],
        **dict(zip(("scale", "offset", "mean", "variance"), still[1:], strict=True)),
        epsilon=epsilon,
        is_training=False,
    )

    def backward(upstream, x, gamma, beta, mean, variance):
        root = tf.math.rsqrt(variance + epsilon)
        of_g, of_gx = columns.sums(_as_columns(x, batch=True), _as_columns(upstream, batch=True), mean[None])
        of_g, of_gx = tf.reduce_sum(of_g, 0), tf.reduce_sum(of_gx, 0) * root
        dx = tf.cast(wide(upstream) * (root * gamma), x.dtype)
        return dx, of_gx, of_g, -of_g * root * gamma, -0.5 * of_gx * gamma * tf.square(root)

    # A reshape would keep other runtimes from joining the operation to the convolution before it.
    y = y if len(x.shape) == 4 else shaped_like(y, x)
    return with_gradient(y, backward, reference, tensors)


def layer_norm(x, gamma, beta, *, axes: Sequence[int], epsilon: float):
    """Normalize each sample over ``axes``; see `tfnorm.ops.generic.layer_norm`."""
    axes = sorted(axes)
    if not _covered(x, axes):
        return generic.layer_norm(x, gamma, beta, axes=axes, epsilon=epsilon)

    def reference(x, gamma, beta):
        return generic.layer_norm(x, gamma, beta, axes=range(1, len(x.shape)), epsilon=epsilon)

    return _layer(x, gamma, beta, axes, epsilon, reference, centered=True)


def rms_norm(x, scale, *, axes: Sequence[int], epsilon: float):
    """Divide by the root mean square over ``axes``; see `tfnorm.ops.generic.rms_norm`."""
    axes = sorted(axes)
    if not _covered(x, axes):
        return generic.rms_norm(x, scale, axes=axes, epsilon=epsilon)

    def reference(x, scale, unused):
        return generic.rms_norm(x, scale, axes=range(1, len(x.shape)), epsilon=epsilon)

    return _layer(x, scale, None, axes, epsilon, reference, centered=False)


# Channels that are fewer leave most of a vector register empty.
_ENOUGH_CHANNELS = 32


def _layer(x, gamma, beta, axes, epsilon, reference, *, centered: bool):
    """Normalize over the last axis as rows, over several last axes as samples of pixels and channels."""
    sizes = [x.shape[axis] for axis in axes]
    along = _rows if len(sizes) == 1 else _elements
    if along is _elements:
        # Where the whole sample shares its statistics, any two factors of its size serve as pixels and channels.
        count, channels = math.prod(sizes), sizes[-1]
        if channels < _ENOUGH_CHANNELS:
            channels = max(n for n in range(1, 257) if count % n == 0)
        sizes = [count // channels, channels]
    gamma, beta = (tf.reshape(_weight(weight, default, sizes), sizes) for weight, default in ((gamma, 1), (beta, 0)))
    y, made = along(tf.reshape(x, [-1, *sizes]), gamma, beta, tf.constant(epsilon), reference, centered=centered)
    return remember(shaped_like(y, x), made)


def group_norm(x, gamma, beta, *, groups: int, axis: int, epsilon: float):
    """Normalize each sample over the pixels and channels of each group; see `tfnorm.ops.generic.group_norm`."""
    if not _covered(x, [axis]):
        return generic.group_norm(x, gamma, beta, groups=groups, axis=axis, epsilon=epsilon)
    gamma, beta = _weight(gamma, 1, x.shape[axis:]), _weight(beta, 0, x.shape[axis:])

    def reference(x, gamma, beta, epsilon):
        return generic.group_norm(x, gamma, beta, groups=groups, axis=2, epsilon=epsilon)

    y, made, *_ = _columns(_as_columns(x), gamma, beta, tf.constant(epsilon), reference, groups=groups)
    return remember(shaped_like(y, x), made)


def filter_response_norm(x, gamma, beta, *, axis: int, epsilon):
    """Divide each channel by its root mean square over the pixels; see `tfnorm.ops.generic.filter_response_norm`."""
    if not _covered(x, [axis]):
        return generic.filter_response_norm(x, gamma, beta, axis=axis, epsilon=epsilon)
    channels = x.shape[axis]
    gamma, beta = _weight(gamma, 1, [channels]), _weight(beta, 0, [channels])
    epsilon = ops.convert_to_tensor(epsilon, dtype="float32")

    def reference(x, gamma, beta, epsilon):
        return generic.filter_response_norm(x, gamma, beta, axis=2, epsilon=epsilon)

    # One channel a group.
    y, made, *_ = _columns(_as_columns(x), gamma, beta, epsilon, reference, groups=channels, centered=False)
    return remember(shaped_like(y, x), made)


def standardize_kernel(kernel, *, epsilon: float):
    """Give each filter mean 0 and variance 1; see `tfnorm.ops.generic.standardize_kernel`."""
    kernel = ops.convert_to_tensor(kernel)
    last = len(kernel.shape) - 1
    if not _covered(kernel, [last]):
        return generic.standardize_kernel(kernel, epsilon=epsilon)
    filters = kernel.shape[last]
    return tf.reshape(
        group_norm(tf.reshape(kernel, [1, -1, filters]), None, None, groups=filters, axis=2, epsilon=epsilon),
        kernel.shape,
    )
