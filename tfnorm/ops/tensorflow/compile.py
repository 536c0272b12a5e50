"""Compiled passes over a tensor, and gradients made of them."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import record
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext


@functools.cache
def compiles() -> bool:
    """Return whether XLA compiles for this machine. Some builds of TensorFlow come without it."""
    try:
        with tf.init_scope():
            tf.function(lambda x: x + 1.0, jit_compile=True)(tf.zeros([1]))
    except (tf.errors.OpError, NotImplementedError):
        return False
    return True


def records_gradients() -> bool:
    """Return whether a `tf.GradientTape` or a forward accumulator is open, here or around the graph that is traced."""
    return record.could_possibly_record()


def inside_xla() -> bool:
    """Return whether XLA compiles the graph that is being traced, or one around it, as a whole."""
    return not tf.executing_eagerly() and GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


# A layer's passes are compiled for no more shapes than this. Where every batch has another size, compiling would take
# longer than it saves.
MOST_SHAPES = 4
_shapes: weakref.WeakKeyDictionary[Any, set[tuple[int | None, ...]]] = weakref.WeakKeyDictionary()


def worth_compiling(layer: Any, x: Any) -> bool:
    """Return whether to compile the passes of ``layer`` over ``x``: in training, for the first few shapes.

    All sizes but that of the batch must be known when the graph is made. The count is the layer's own, so that a
    network computes the same whatever else the process has done before. Where XLA compiles the whole step
    (``jit_compile=True``), it makes passes of plain operations by itself, for the device that it compiles for.
    """
    shape = tuple(x.shape)
    if not records_gradients() or inside_xla() or None in shape[1:]:
        return False
    shapes = _shapes.setdefault(layer, set())
    if shape not in shapes and len(shapes) < MOST_SHAPES:
        shapes.add(shape)
    return shape in shapes


def one_pass(function: Callable) -> Callable:
    """Compile ``function`` of tensors, so that it reads its arguments once and writes its results once.

    It is traced once for each combination of dtypes, shapes and keyword arguments, and is shared by all layers and
    models. XLA then compiles it once for each size of what the shape leaves open. A pass that another one calls is a
    part of that, and one inside a graph that XLA compiles as a whole is a part of the graph.
    """

    @functools.cache
    def traced(signature, options):
        specs = [tf.TensorSpec(shape, dtype) for shape, dtype in signature]
        # TensorFlow would warn of code that is traced again and again; a partial function has none that it knows.
        whole = functools.partial(_traced_whole, function, dict(options))
        return tf.function(whole, input_signature=specs, jit_compile=True, autograph=False)

    @functools.wraps(function)
    def call(*tensors, **options):
        if _within.get() or inside_xla():
            return function(*tensors, **options)
        signature = tuple((tuple(tensor.shape), tensor.dtype) for tensor in tensors)
        run = traced(signature, tuple(sorted(options.items())))
        return _launch(run, tensors) if launching.get() and not tf.executing_eagerly() else run(*tensors)

    return call


# Whether a pass is being traced, and whether graphs launch passes by an operation of their own (see `memory`).
_within: ContextVar[bool] = ContextVar("within", default=False)
launching: ContextVar[bool] = ContextVar("launching", default=False)


def _traced_whole(function, options, *tensors):
    """Call a pass while it is traced, so that those it calls are parts of it."""
    token = _within.set(True)
    try:
        return function(*tensors, **options)
    finally:
        _within.reset(token)


def _launch(run, tensors):
    """Return what the compiled function ``run`` makes of ``tensors``, by the operation that is made of such a call."""
    concrete = run.get_concrete_function()
    concrete.add_to_graph()
    attributes = {
        name: tf.compat.v1.AttrValue() for name in ("Tconstants", "Targs", "Nresources", "Tresults", "function")
    }
    attributes["Tconstants"].list.SetInParent()
    attributes["Targs"].list.type.extend(tensor.dtype.as_datatype_enum for tensor in tensors)
    attributes["Nresources"].i = 0
    attributes["Tresults"].list.type.extend(output.dtype.as_datatype_enum for output in concrete.outputs)
    attributes["function"].func.name = concrete.name
    launch = tf.compat.v1.get_default_graph().create_op(
        "XlaLaunch", list(tensors), [output.dtype for output in concrete.outputs], attrs=attributes
    )
    for output, known in zip(launch.outputs, concrete.outputs, strict=True):
        output.set_shape(known.shape)
    return tf.nest.pack_sequence_as(concrete.structured_outputs, launch.outputs)


def passes(function: Callable) -> Callable:
    """Compile the passes that ``function`` calls, in one piece for float32 and one by one for 16 bits.

    One piece compiles faster. For 16 bits XLA would put several sums into one loop that it cannot vectorize.
    """
    whole = one_pass(function)

    @functools.wraps(function)
    def call(*tensors, **options):
        run = whole if tensors[0].dtype.size >= 4 else function
        return run(*tensors, **options)

    return call


def with_gradient(output, backward: Callable, reference: Callable, tensors):
    """Return ``output`` as a function of ``tensors`` with a gradient written by hand.

    Only the first derivative is written by hand. Higher ones, and those of forward mode, are those of ``reference``, by
    automatic differentiation.

    Args:
        output: Computed from ``tensors`` behind `tf.stop_gradient`.
        backward: From the output's gradient and ``tensors`` to a gradient for each of them.
        reference: The same function of ``tensors`` in differentiable operations.
        tensors: The arguments that have gradients.
    """

    def slow_gradient(upstream, *tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            result = reference(*tensors)
        return tape.gradient(result, tensors, upstream, unconnected_gradients="zero")

    def gradient(upstream):
        sources = [upstream, *tensors]

        def second(*upstreams):
            with tf.GradientTape() as tape:
                tape.watch(sources)
                gradients = slow_gradient(*sources)
            return tape.gradient(gradients, sources, upstreams, unconnected_gradients="zero")

        return unless_forward(lambda: backward(*sources), second, slow_gradient, sources)

    return unless_forward(lambda: tf.identity(output), gradient, reference, tensors)


def unless_forward(function: Callable, gradient: Callable, plain: Callable, tensors):
    """Return what ``function`` returns, with a gradient of its own; in forward mode what ``plain`` does.

    Forward mode does not take such a gradient for what it is: in a graph it follows the operations of ``function``.

    Args:
        function: Computes results from ``tensors``, without arguments.
        gradient: From a gradient for each result to one for each of ``tensors``.
        plain: The same function, of ``tensors``, in operations that have derivatives.
        tensors: What the results depend on.
    """
    running, forward = True, False

    @tf.custom_gradient
    def run(*tensors):
        def ask(*upstreams):
            nonlocal forward
            if not running:
                return gradient(*upstreams)
            forward = True  # which asks at once, before anything can go back
            return [tf.zeros_like(tensor) for tensor in tensors]

        return function(), ask

    result = run(*tensors)
    running = False
    return plain(*tensors) if forward else result


def shaped_like(y, x):
    """Return ``y`` in the shape of ``x``, as far as that is known."""
    y = tf.reshape(y, tf.shape(x))
    y.set_shape(x.shape)
    return y


def wide(x):
    """Return ``x`` in float32, in which all passes compute."""
    return tf.cast(x, tf.float32)


# Slices that are added in registers before anything is written. XLA for CPUs vectorizes such a sum of slices, and
# does not vectorize a reduction of anything but a plain float32 tensor.
SLICES = 8


def total(function: Callable, *tensors, axis: int):
    """Return the sum over ``axis`` of ``function`` of ``tensors``, float32, without writing the summands.

    The axis is cut into equal slices, which are added first, and a remainder. Where its size is known, neither is
    empty: LiteRT's default delegate does not give 0 for the sum over nothing.
    """
    known = tensors[0].shape[axis]
    size = (tf.shape(tensors[0])[axis] if known is None else known) // SLICES

    def cut(begin, end):
        index = (slice(None),) * axis + (slice(begin, end),)
        return function(*(wide(tensor[index]) for tensor in tensors))

    if known is not None and known < SLICES:
        return tf.reduce_sum(cut(None, None), axis)
    slices = [cut(i * size, (i + 1) * size) for i in range(SLICES)]
    while len(slices) > 1:
        slices = [a + b for a, b in zip(slices[::2], slices[1::2], strict=True)]
    whole = tf.reduce_sum(slices[0], axis)
    if known is not None and known % SLICES == 0:
        return whole
    return whole + tf.reduce_sum(cut(SLICES * size, None), axis)
