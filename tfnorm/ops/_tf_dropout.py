"""Dropout in one compiled pass, which draws its bits where it uses them."""

from __future__ import annotations

import tensorflow as tf

from tfnorm.ops._tf_compile import one_pass


def _mix(bits):
    """Scramble uint32: a bijection that flips each bit of the result with probability 1/2 where one bit changes.

    The constants are those of "lowbias32", found by search for the least bias of this form
    (https://nullprogram.com/blog/2018/07/31/).
    """
    bits = tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.constant(16, tf.uint32)))
    bits = bits * tf.constant(0x7FEB352D, tf.uint32)
    bits = tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.constant(15, tf.uint32)))
    bits = bits * tf.constant(0x846CA68B, tf.uint32)
    return tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.constant(16, tf.uint32)))


@one_pass
def _drop(x, seed, *, rate: float):
    seed = tf.bitcast(tf.cast(seed, tf.int64), tf.uint32)  # (2, 2): low and high half of each number
    stream, step = tf.unstack(_mix(seed[:, 0] + _mix(seed[:, 1])), num=2)
    step = _mix(step + stream)
    places = tf.bitcast(tf.range(tf.size(x)), tf.uint32)
    bits = _mix(tf.bitwise.bitwise_xor(_mix(places + stream), step))
    kept = bits >= tf.constant(round(rate * 2**32), tf.uint32)
    wide = x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
    return tf.cast(tf.where(kept, wide / (1.0 - rate), tf.zeros([], wide.dtype)), x.dtype)


def dropout(x, seed, *, rate: float):
    r"""Set elements of ``x`` to 0 with probability ``rate``, and divide the others by 1 - rate.

    .. math:: y_i = x_i m_i / (1 - p), \quad dx_i = dy_i m_i / (1 - p), \quad m_i = [h_i \ge 2^{32} p]

    with h a hash of the seed and the element's place, 32 bits an element: the rate is exact within 2^-32. The gradient
    draws the same bits again, so that nothing is kept for it; it is linear, and right to any order.

    Args:
        x: Any float tensor.
        seed: Two whole numbers.
        rate: From 0 to 1, without 1.
    """

    @tf.custom_gradient
    def masked(x):
        return _drop(x, seed, rate=rate), masked

    y = tf.reshape(masked(tf.reshape(x, [-1])), tf.shape(x))
    y.set_shape(x.shape)
    return y
