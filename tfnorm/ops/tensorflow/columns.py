r"""Passes for norms with statistics over pixels: x as (samples, pixels, channels), statistics as (samples, channels).

Forward, with statistics that are averaged over the channels of a group or over the samples of the batch:

.. math:: y = (x - \mu) r \gamma + \beta, \quad \mu = \overline{x}, \quad r = (\overline{(x - \mu)^2} + \epsilon)^{-1/2}

Backward, with :math:`\hat x = (x - \mu) r`, g the gradient of y, and the bar over what shares the statistics:

.. math::
    dx = r (\gamma g - \overline{\gamma g} - \hat x \, \overline{\gamma g \hat x}), \quad
    d\gamma = \sum g \hat x, \quad d\beta = \sum g, \quad
    d\epsilon = -\tfrac12 \sum r^2 \gamma g \hat x

Norms that subtract no mean have :math:`\mu = 0` and lack the term :math:`\overline{\gamma g}`.
"""

from __future__ import annotations

import tensorflow as tf

from tfnorm.ops.tensorflow.compile import one_pass, passes, total, wide

BATCH = 0  # in the place of a number of groups: statistics over the batch


def _shared(means, groups: int):
    """Average (samples, channels) over the batch or over each group, and repeat the result to its old shape."""
    samples, channels = tf.unstack(tf.shape(means))
    if groups == BATCH:
        return tf.broadcast_to(tf.reduce_mean(means, 0, keepdims=True), [samples, channels])
    split = [samples, groups, channels // groups]
    averages = tf.reduce_mean(tf.reshape(means, split), 2, keepdims=True)
    return tf.reshape(tf.broadcast_to(averages, split), [samples, channels])


def _pixels(x):
    return tf.cast(tf.shape(x)[1], tf.float32)


@one_pass
def _mean(x, *, groups: int):
    # Summed from each sample's first pixel, so that a large mean does not round the sum.
    first = wide(x[:, :1])  # without pixels, none
    return _shared(tf.reduce_sum(first, 1) + total(lambda part: part - first, x, axis=1) / _pixels(x), groups)


@one_pass
def _variance(x, mean, epsilon, *, groups: int):
    squares = total(lambda part: tf.square(part - mean[:, None]), x, axis=1)
    squares = _shared(squares / _pixels(x), groups)
    return squares, tf.math.rsqrt(squares + epsilon)


@passes
def statistics(x, epsilon, *, groups: int, centered: bool):
    """Return mean, variance and r."""
    mean = _mean(x, groups=groups) if centered else tf.zeros(tf.gather(tf.shape(x), [0, 2]))
    return mean, *_variance(x, mean, epsilon, groups=groups)


@one_pass
def _sum(upstream):
    return total(lambda g: g, upstream, axis=1)


@one_pass
def _sum_of_product(x, upstream, mean):
    return total(lambda part, g: g * (part - mean[:, None]), x, upstream, axis=1)


@passes
def sums(x, upstream, mean):
    """Return the sums over pixels of g and of g (x - mean)."""
    return _sum(upstream), _sum_of_product(x, upstream, mean)


@one_pass
def _terms(of_g, of_gx, root, gamma, pixels, *, groups: int, centered: bool):
    """Return a, b and c of dx = a g + b (x - mean) + c, and the gradients of gamma, beta and epsilon."""
    of_gx = of_gx * root
    weighted = gamma * of_gx
    b = -tf.square(root) * _shared(weighted / pixels, groups)
    c = -root * _shared(gamma * of_g / pixels, groups) if centered else tf.zeros_like(root)
    d_epsilon = -0.5 * tf.reduce_sum(tf.square(root) * weighted)
    return root * gamma, b, c, tf.reduce_sum(of_gx, 0), tf.reduce_sum(of_g, 0), d_epsilon


@one_pass
def _combine(x, upstream, mean, a, b, c):
    dx = wide(upstream) * a[:, None] + (wide(x) - mean[:, None]) * b[:, None] + c[:, None]
    return tf.cast(dx, x.dtype)


@passes
def backward(x, upstream, mean, root, gamma, *, groups: int, centered: bool):
    """Return the gradients of x, gamma, beta and epsilon, gamma (1, channels)."""
    parts = sums(x, upstream, mean)
    a, b, c, *small = _terms(*parts, root, gamma, _pixels(x), groups=groups, centered=centered)
    return _combine(x, upstream, mean, a, b, c), *small


@one_pass
def _weighted_sum(upstream, gamma):
    return total(lambda g, weight: g * weight, upstream, gamma[None], axis=1)


@one_pass
def _weighted_sum_of_product(x, upstream, mean, gamma):
    return total(lambda part, g, weight: g * weight * (part - mean[:, None]), x, upstream, gamma[None], axis=1)


@one_pass
def _weighted_terms(of_g, of_gx, root, pixels, *, centered: bool):
    b = -tf.pow(root, 3) * _shared(of_gx / pixels, 1)
    return b, -root * _shared(of_g / pixels, 1) if centered else tf.zeros_like(root)


@one_pass
def _weighted_combine(x, upstream, mean, root, gamma, b, c):
    dx = wide(upstream) * gamma * root[:, None] + (wide(x) - mean[:, None]) * b[:, None] + c[:, None]
    return tf.cast(dx, x.dtype)


@one_pass
def sum_over_samples(upstream):
    """Return the gradient of a beta that each sample meets once."""
    return total(lambda g: g, upstream, axis=0)


@one_pass
def product_over_samples(x, upstream, mean, root):
    """Return the gradient of a gamma that each sample meets once. Mean and r broadcast against x."""
    return total(lambda part, g, m, r: g * (part - m) * r, x, upstream, mean, root, axis=0)


@passes
def weighted_backward(x, upstream, mean, root, gamma, *, centered: bool):
    """Return the gradients of x, gamma and beta, gamma (pixels, channels) and one group."""
    of_g, of_gx = _weighted_sum(upstream, gamma), _weighted_sum_of_product(x, upstream, mean, gamma)
    b, c = _weighted_terms(of_g, of_gx, root, _pixels(x), centered=centered)
    return (
        _weighted_combine(x, upstream, mean, root, gamma, b, c),
        product_over_samples(x, upstream, mean[:, None], root[:, None]),
        sum_over_samples(upstream),
    )
