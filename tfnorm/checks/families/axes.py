"""Rules on what statistics are taken over: single numbers, groups of one channel, axes that are not meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keras import layers

from tfnorm._keras import OPS, BaseGlobalPooling
from tfnorm.checks.finding import Found, several
from tfnorm.checks.subject import Subject, has_kernel, idle, size, where
from tfnorm.convert.graph import Call
from tfnorm.convert.kinds import BATCH_NORMS, CONVOLUTIONS, is_linear
from tfnorm.layers import InstanceNormalization

# PyTorch's epsilon, which Keras's layers have where somebody wrote it.
TORCH_EPSILON = 1e-5
# Above this share of all parameters the gammas and betas of pixels are most of the model.
MOST = 0.5
# What adds or joins numbers of the same pixel.
_POINTWISE = (layers.Add, layers.Average, layers.Subtract, layers.Concatenate, OPS.Add, OPS.Subtract, OPS.Concatenate)


def pooled(subject: Subject) -> Iterator[Found]:
    """Find norms whose output has the mean beta in every channel, and is reduced to that mean."""
    for norm in subject.norms:
        if not (norm.centers and norm.per_channel) or norm.over_batch or norm.seen == 1:
            continue
        pool = _pool_after(subject, norm.call)
        if pool is not None:
            yield Found(
                [norm.name],
                f"{norm.name!r} gives every channel of every image the mean beta, and {pool.name!r} keeps nothing but "
                "that mean: the features are the same for all images, so that nothing can be learned from them.",
                f"model = tfnorm.convert.replace_norms(model, 'gn:1', where={where([norm.name])})",
                {"numbers": norm.seen},
            )


def _pool_after(subject: Subject, call: Call) -> Call | None:
    """Return the global average pooling that all that reads a call leads to, through what is linear in each pixel."""
    readers = subject.readers(call)
    if not readers or subject.gives_out(call):
        return None
    found = [
        reader if _averages(reader) else _pool_after(subject, reader) if _keeps_means(reader) else None
        for reader in readers
    ]
    return None if any(each is None for each in found) else found[0]


def _averages(call: Call) -> bool:
    """Return whether a call takes the mean over all pixels."""
    operation, shape = call.operation, call.node.input_tensors[0].shape
    if isinstance(operation, BaseGlobalPooling):
        return "Average" in type(operation).__name__
    if isinstance(operation, OPS.Mean):
        axis = operation.axis if isinstance(operation.axis, list | tuple) else [operation.axis]
        return (
            None not in axis and len(shape) > 2 and {each % len(shape) for each in axis} >= {*range(1, len(shape) - 1)}
        )
    pooling = isinstance(operation, (layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D))
    return pooling and operation.padding == "valid" and tuple(operation.pool_size) == _pixels(operation, shape)


def _pixels(operation: Any, shape: Any) -> tuple[Any, ...]:
    return tuple(shape[2:] if operation.data_format == "channels_first" else shape[1:-1])


def _keeps_means(call: Call) -> bool:
    """Return whether the mean over pixels of what a call gives depends on the means of what it gets alone."""
    operation: Any = call.operation
    if idle(operation) or isinstance(operation, (*BATCH_NORMS, *_POINTWISE)):
        return True
    if isinstance(operation, layers.Dense):
        return is_linear(operation)
    if not isinstance(operation, CONVOLUTIONS) or not is_linear(operation):
        return False
    return set(operation.kernel_size) == {1} and set(operation.strides) == {1}


def constant(subject: Subject) -> Iterator[Found]:
    """Find norms that see one number at a time, and make it beta."""
    for norm in subject.norms:
        if norm.centers and not norm.over_batch and norm.seen == 1:
            yield Found(
                [norm.name],
                f"{norm.name!r} takes its statistics over one number, because its inputs have the shape "
                f"{norm.shape}: its output is beta, whatever the image.",
                f"model = tfnorm.convert.replace_norms(model, 'gn:1', where={where([norm.name])})",
                {"numbers": 1, "shape": list(norm.shape)},
            )


def lone_channels(subject: Subject) -> Iterator[Found]:
    """Find group norms whose groups have one channel."""
    for norm in subject.norms:
        grouped = isinstance(norm.layer, layers.GroupNormalization) and not isinstance(
            norm.layer, InstanceNormalization
        )
        if grouped and norm.grouped == 1 and norm.seen != 1:
            channels = norm.shape[norm.layer.axis]
            yield Found(
                [norm.name],
                f"The {channels} groups of {norm.name!r} leave one channel in each, which makes it instance "
                "normalization: how strong a channel is beside the others is lost.",
                "tfnorm.layers.GroupNormalization(group_size=8)",
                {"groups": channels, "channels_a_group": 1},
            )


def default_axis(subject: Subject) -> Iterator[Found]:
    """Find layer norms of each pixel in networks that are otherwise PyTorch's."""
    epsilons = {getattr(norm.layer, "epsilon", None) for norm in subject.norms}
    if epsilons != {TORCH_EPSILON}:
        return
    for norm in subject.norms:
        image = len(norm.shape) == 4 and set(norm.shape[1:3]) != {1}
        here = isinstance(norm.layer, layers.LayerNormalization) and norm.axes == (len(norm.shape) - 1,)
        before = subject.before(norm.call)
        wide = (
            before is not None and isinstance(before.operation, CONVOLUTIONS) and {*before.operation.kernel_size} != {1}
        )
        if image and here and wide and has_kernel(before):
            yield Found(
                [norm.name],
                f"{norm.name!r} normalizes each pixel over its channels (axis=-1, Keras's default). All norms here "
                "have PyTorch's epsilon, 1e-5, and PyTorch's LayerNorm((C, H, W)) normalizes the whole image.",
                "tfnorm.layers.LayerNormalization(axis=(1, 2, 3), epsilon=1e-5)",
                {"axes": list(norm.axes), "epsilon": TORCH_EPSILON},
            )


def pixel_weights(subject: Subject) -> Iterator[Found]:
    """Find layer norms with a weight for each pixel, which fix the size of images or are most of the model."""
    norms = [norm for norm in subject.norms if isinstance(norm.layer, layers.LayerNormalization)]
    spatial = [norm for norm in norms if len(norm.shape) > 2 and len(norm.axes) == len(norm.shape) - 1]
    own = {id(weight): weight for norm in spatial for weight in norm.layer.weights}
    held, total = (sum(size(weight) for weight in each) for each in (own.values(), subject.model.weights))
    if held:
        share = held / total
        most = f", {share:.0%} of all parameters" if share > MOST else ""
        yield Found(
            list(dict.fromkeys(norm.name for norm in spatial)),
            f"The weights of {several(spatial, 'layer norm')} are a gamma and a beta for each pixel and channel: "
            f"{held:,} numbers{most}. The model takes images of one size.",
            "model = tfnorm.convert.replace_norms(model, 'gn:1')",
            {"parameters": held, "share": share, "norms": len(spatial)},
        )
