"""Norm mathematics in `keras.ops`, for every backend.

Each function computes in float32 or better, whatever the input, and returns the input's dtype. For whole numbers, it
returns the dtype that it computed in. Variances are taken in two passes, mean((x - mean(x))^2), since the one-pass form
E[x^2] - E[x]^2 cancels when the mean is large. For the same reason the mean is subtracted before the scale is applied.

In all of them, x is (batch, ..., channels) or has its channels on ``axis``, which counts from 0. Gamma and beta are
(channels,) or None, unless something else is said. Epsilon is added inside the root.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops
from keras.backend import is_float_dtype, result_type, standardize_dtype


def _upcast(x):
    return ops.cast(x, result_type(standardize_dtype(x.dtype), "float32"))


def _is_float(x):
    return is_float_dtype(standardize_dtype(x.dtype))


def _narrowed(out, x):
    """Return ``out`` in the dtype of ``x``, unless that is a dtype of whole numbers."""
    return ops.cast(out, x.dtype) if _is_float(x) else out


def _along(parameter, like, axes: Sequence[int]):
    """Reshape a parameter that spans ``axes`` of ``like`` so that it broadcasts against it."""
    shape = [1] * len(like.shape)
    for axis, size in zip(axes, parameter.shape, strict=True):
        shape[axis] = size
    return ops.cast(ops.reshape(parameter, shape), like.dtype)


def _affine(x, gamma, beta, axes: Sequence[int]):
    if gamma is not None:
        x = x * _along(gamma, x, axes)
    if beta is not None:
        x = x + _along(beta, x, axes)
    return x


def _sizes(x):
    """Return the sizes of ``x`` to reshape to: whole numbers if all but the batch size are known.

    Other runtimes plan ahead only where no size is computed.
    """
    if None in x.shape[1:]:
        return ops.shape(x)
    return (-1 if x.shape[0] is None else x.shape[0], *x.shape[1:])


def moments(x, axes: Sequence[int]):
    """Return mean and biased variance over ``axes``, kept as axes of length 1, in two passes."""
    axes = list(axes)  # Keras on PyTorch takes no range
    mean = ops.mean(x, axis=axes, keepdims=True)
    return mean, ops.mean(ops.square(x - mean), axis=axes, keepdims=True)


def batch_norm(x, gamma, beta, *, axis: int, epsilon: float):
    """Normalize with the statistics of the batch (arXiv 1502.03167).

    Returns:
        The output, and mean and biased variance of the batch as (channels,) in float32 or better.
    """
    wide = _upcast(x)
    axes = [i for i in range(len(x.shape)) if i != axis]
    mean, variance = moments(wide, axes)
    out = _affine((wide - mean) * ops.rsqrt(variance + epsilon), gamma, beta, [axis])
    return _narrowed(out, x), ops.reshape(mean, (-1,)), ops.reshape(variance, (-1,))


def batch_norm_inference(x, gamma, beta, mean, variance, *, axis: int, epsilon: float):
    """Normalize with given statistics, (channels,) each; see `batch_norm`."""
    wide = _upcast(x)
    scale = ops.rsqrt(ops.cast(variance, wide.dtype) + epsilon)
    if gamma is not None:
        scale = scale * ops.cast(gamma, wide.dtype)
    out = _affine(wide - _along(mean, wide, [axis]), scale, beta, [axis])
    return _narrowed(out, x)


def layer_norm(x, gamma, beta, *, axes: Sequence[int], epsilon: float):
    """Normalize each sample over ``axes`` (arXiv 1607.06450); gamma and beta span ``axes`` or are None."""
    wide = _upcast(x)
    mean, variance = moments(wide, axes)
    out = _affine((wide - mean) * ops.rsqrt(variance + epsilon), gamma, beta, axes)
    return _narrowed(out, x)


def group_norm(x, gamma, beta, *, groups: int, axis: int, epsilon: float):
    """Normalize each sample over the pixels and channels of each of ``groups`` groups (arXiv 1803.08494)."""
    wide = _upcast(x)
    sizes = _sizes(x)
    channels = x.shape[axis]
    split = (*sizes[:axis], groups, channels // groups, *sizes[axis + 1 :])
    grouped = ops.reshape(wide, split)
    axes = [i for i in range(1, len(x.shape) + 1) if i != axis]
    mean, variance = moments(grouped, axes)
    out = ops.reshape((grouped - mean) * ops.rsqrt(variance + epsilon), sizes)
    return _narrowed(_affine(out, gamma, beta, [axis]), x)


def rms_norm(x, scale, *, axes: Sequence[int], epsilon: float):
    """Divide by the root mean square over ``axes`` (arXiv 1910.07467); ``scale`` spans ``axes``."""
    wide = _upcast(x)
    power = ops.mean(ops.square(wide), axis=axes, keepdims=True)
    return _narrowed(_affine(wide * ops.rsqrt(power + epsilon), scale, None, axes), x)


def filter_response_norm(x, gamma, beta, *, axis: int, epsilon):
    """Divide each channel by its root mean square over the pixels (arXiv 1911.09737). Epsilon may be a tensor."""
    wide = _upcast(x)
    axes = [i for i in range(1, len(x.shape)) if i != axis]
    power = ops.mean(ops.square(wide), axis=axes, keepdims=True) if axes else ops.square(wide)
    out = wide * ops.rsqrt(power + ops.cast(epsilon, wide.dtype))
    return _narrowed(_affine(out, gamma, beta, [axis]), x)


def relu(x):
    """Return max(x, 0)."""
    return ops.relu(x)


def threshold(x, tau, alpha=None, *, axis: int | None):
    """Return max(x, alpha x + tau), the thresholded linear unit of arXiv 1911.09737.

    Tau and alpha are (channels,), or of the shape of a sample if ``axis`` is None. An alpha of None is 0.
    """
    axes = range(1, len(x.shape)) if axis is None else [axis]
    if alpha is not None:
        wide = _upcast(x)
        return _narrowed(ops.maximum(wide, _affine(wide, alpha, tau, axes)), x)
    x = x if _is_float(x) else _upcast(x)
    return _narrowed(ops.maximum(x, _along(tau, x, axes)), x)  # PyTorch's float64 comes back as float32


def standardize_kernel(kernel, *, epsilon: float):
    """Give each filter of ``kernel`` (height, width, in, out) mean 0 and variance 1 (arXiv 1903.10520)."""
    wide = _upcast(kernel)
    mean, variance = moments(wide, range(len(kernel.shape) - 1))
    return ops.cast((wide - mean) * ops.rsqrt(variance + epsilon), kernel.dtype)
