"""Passes for norms with statistics over the last axis: x as (rows, channels), statistics as (rows, 1).

The formulas are those of `tfnorm.ops.tensorflow.columns`, with the bar over a row, and gamma for each of its elements.
"""

from __future__ import annotations

import tensorflow as tf

from tfnorm.ops.tensorflow.columns import product_over_samples, sum_over_samples
from tfnorm.ops.tensorflow.compile import one_pass, passes, total, wide


def slices_pay(x) -> bool:
    """Return whether ``sliced=True`` is faster: where a slice of a row fills a vector register."""
    return x.shape[1] * x.dtype.size >= 256


def _channels(x):
    return tf.cast(tf.shape(x)[1], tf.float32)


def _total(function, *tensors, sliced: bool):
    if sliced:
        return total(function, *tensors, axis=1)[:, None]
    return tf.reduce_sum(function(*map(wide, tensors)), 1, keepdims=True)


@one_pass
def statistics(x, epsilon, *, centered: bool, sliced: bool):
    """Return mean and r."""
    if centered:
        mean = _total(lambda part: part, x, sliced=sliced) / _channels(x)
    else:
        mean = tf.zeros_like(x[:, :1], tf.float32)
    squares = _total(lambda part: tf.square(part - mean), x, sliced=sliced) / _channels(x)
    return mean, tf.math.rsqrt(squares + epsilon)


@one_pass
def _sum(upstream, gamma, *, sliced: bool):
    return _total(lambda g, weight: g * weight, upstream, gamma, sliced=sliced)


@one_pass
def _sum_of_product(x, upstream, mean, gamma, *, sliced: bool):
    return _total(lambda part, g, weight: g * weight * (part - mean), x, upstream, gamma, sliced=sliced)


@one_pass
def _combine(x, upstream, mean, root, gamma, of_g, of_gx):
    b, c = -tf.pow(root, 3) * of_gx / _channels(x), -root * of_g / _channels(x)
    return tf.cast(wide(upstream) * gamma * root + (wide(x) - mean) * b + c, x.dtype)


@passes
def backward(x, upstream, mean, root, gamma, *, centered: bool, sliced: bool):
    """Return the gradients of x, gamma and beta."""
    of_g = _sum(upstream, gamma, sliced=sliced) if centered else tf.zeros_like(mean)
    of_gx = _sum_of_product(x, upstream, mean, gamma, sliced=sliced)
    return (
        _combine(x, upstream, mean, root, gamma, of_g, of_gx),
        product_over_samples(x, upstream, mean, root),
        sum_over_samples(upstream),
    )
