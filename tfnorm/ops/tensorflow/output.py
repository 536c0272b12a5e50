r"""The last pass of a norm, and the ReLU and the dropout that may follow it, in one.

A norm writes :math:`y = (x - \mu) r \gamma + \beta`. A ReLU or a dropout after it would read y again. Instead, inside a
graph, y carries the tensors that it was made of (`Made`), and the next step is computed from these,
:math:`z = \max(y, 0) \, m / (1 - p)` in one pass. TensorFlow then drops the operation that wrote y, if nothing else
reads it. Gradients are those of the separate steps, and the gradients of the steps in between can be asked for. If two
masks follow each other and nothing needs the first alone, only their product is multiplied.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from tfnorm.ops.tensorflow.compile import one_pass, shaped_like, unless_forward, wide

_MADE = "_tfnorm_made"
_DROPPED = "_tfnorm_dropped"


@dataclasses.dataclass(frozen=True)
class Made:
    """The tensors that a norm's output was made of: x, and mean, r, gamma and beta that broadcast against it."""

    x: Any
    mean: Any
    root: Any
    gamma: Any
    beta: Any
    relu: bool = False

    def still(self):
        """Return the tensors, cut off from gradients."""
        return [tf.stop_gradient(t) for t in (self.x, self.mean, self.root, self.gamma, self.beta)]


def normalize(made: Made):
    """Return y."""
    return _finish(*made.still(), _no_seed(), relu=False, rate=0.0)


def remember(y, made: Made):
    """Return ``y``, which from now on knows what it was made of, if it is part of a graph."""
    if tf.is_symbolic_tensor(y):
        setattr(y, _MADE, made)
    return y


def relu(x):
    """Return max(x, 0), for a norm's output in one pass with the norm."""
    made = getattr(x, _MADE, None)
    if made is None or made.relu:
        return tf.nn.relu(x)
    made = dataclasses.replace(made, relu=True)

    def gradient(upstream):
        upstream, seed, rate = getattr(upstream, _DROPPED, (upstream, _no_seed(), 0.0))
        return _masked(made, upstream, seed, rate)

    def run():
        return shaped_like(_finish(*made.still(), _no_seed(), relu=True, rate=0.0), x)

    return remember(unless_forward(run, gradient, tf.nn.relu, [x]), made)


def dropout(x, seed, *, rate: float, compiled: bool = True):
    r"""Set elements of ``x`` to 0 with probability ``rate``, and divide the others by 1 - rate.

    .. math:: y_i = x_i m_i / (1 - p), \quad dx_i = dy_i m_i / (1 - p), \quad m_i = [h_i \ge 2^{32} p]

    with h a hash of the seed and the element's place, 32 bits an element: the rate is exact within 2^-32. The gradient
    draws the same bits again, so that nothing is kept for it; it is linear, and right to any order.

    Args:
        x: Any float tensor; a norm's output, or its ReLU's, is dropped in one pass with the norm.
        seed: Two whole numbers.
        rate: From 0 to 1, without 1.
        compiled: Whether in a compiled pass; the same elements are dropped either way.
    """
    made = getattr(x, _MADE, None)
    drop = _drop if compiled else _drop.__wrapped__

    @tf.custom_gradient
    def masked(x):
        y = shaped_like(drop(tf.reshape(x, [-1]), seed, rate=rate), x)
        return y, masked

    if made is None:
        return masked(x)

    def gradient(upstream):
        dropped = masked(upstream)
        if made.relu and tf.is_symbolic_tensor(dropped):
            # So that the ReLU's gradient may take both masks at once.
            setattr(dropped, _DROPPED, (upstream, seed, rate))
        return dropped

    def run():
        return shaped_like(_finish(*made.still(), seed, relu=made.relu, rate=rate), x)

    return unless_forward(run, gradient, masked, [x])


def _masked(made: Made, upstream, seed, rate: float):
    """Return ``upstream`` where y is positive and is not dropped, else 0. It is linear, and so its own gradient."""

    @tf.custom_gradient
    def masked(upstream):
        flat = tf.reshape(upstream, tf.shape(made.x))
        return shaped_like(_mask(flat, *made.still(), seed, rate=rate), upstream), masked

    return masked(upstream)


def _no_seed():
    return tf.zeros([2], tf.int64)


def _folded(bits, places: int):
    """Return uint32 ``bits`` with their upper ones laid over the lower ones."""
    return tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.constant(places, tf.uint32)))


def _mix(bits):
    """Scramble uint32: a bijection that flips each bit of the result with probability 1/2 where one bit changes.

    The constants are those of "lowbias32", found by search for the least bias of this form
    (https://nullprogram.com/blog/2018/07/31/).
    """
    bits = _folded(bits, 16)
    bits = bits * tf.constant(0x7FEB352D, tf.uint32)
    bits = _folded(bits, 15)
    bits = bits * tf.constant(0x846CA68B, tf.uint32)
    return _folded(bits, 16)


def _kept(x, seed, rate: float):
    """Return which elements of ``x`` stay: a hash of seed and place, one round with a key before and one within."""
    seed = tf.bitcast(tf.cast(seed, tf.int64), tf.uint32)  # (2, 2): low and high half of each number
    stream, step = tf.unstack(_mix(seed[:, 0] + _mix(seed[:, 1])), num=2)
    first = _mix(step + stream)
    second = _mix(first + tf.constant(0x9E3779B9, tf.uint32))
    places = tf.bitcast(tf.reshape(tf.range(tf.size(x)), tf.shape(x)), tf.uint32)
    bits = tf.bitwise.bitwise_xor(places, first)
    bits = _folded(bits, 16)
    bits = bits * tf.constant(0x7FEB352D, tf.uint32)
    bits = _folded(bits, 15) + second
    bits = bits * tf.constant(0x846CA68B, tf.uint32)
    return bits >= tf.constant(round(rate * 2**32), tf.uint32)


def _scaled(kept, x, rate: float):
    return tf.where(kept, x / (1.0 - rate), tf.zeros([], x.dtype))


@one_pass
def _drop(x, seed, *, rate: float):
    inner = x if x.dtype == tf.float64 else wide(x)
    return tf.cast(_scaled(_kept(x, seed, rate), inner, rate), x.dtype)


def _normalized(x, mean, root, gamma, beta):
    return (wide(x) - mean) * root * gamma + beta


@one_pass
def _finish(x, mean, root, gamma, beta, seed, *, relu: bool, rate: float):
    y = _normalized(x, mean, root, gamma, beta)
    if relu:
        y = tf.nn.relu(y)
    if rate:
        y = _scaled(_kept(x, seed, rate), y, rate)
    return tf.cast(y, x.dtype)


@one_pass
def _mask(upstream, x, mean, root, gamma, beta, seed, *, rate: float):
    kept = _normalized(x, mean, root, gamma, beta) > 0
    if rate:
        kept = tf.logical_and(kept, _kept(x, seed, rate))
    return tf.cast(_scaled(kept, wide(upstream), rate), upstream.dtype)
