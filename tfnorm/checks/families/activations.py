"""Rules on what the layers give for some images: dead units and channels, numbers that 16 bits do not hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from tfnorm.analysis.activations import channel_axis, ends_in_relu, outputs_of_call
from tfnorm.checks.finding import Found
from tfnorm.checks.subject import Subject
from tfnorm.convert.graph import Call, graph_of, in_order, walk

# The largest number of float16.
LARGEST = 65504.0
# Shares of the channels of a layer: so many are worth a note, and with so many nothing gets through.
SOME, ALL = 0.5, 0.95


def look(subject: Subject) -> Iterator[Found]:
    """Find ReLUs that give 0 for all images, and channels that are the same for all."""
    dead: dict[str, float] = {}
    constant: dict[str, float] = {}
    for call, value in _values(subject):
        rank = len(value.shape)
        axes = tuple(place for place in range(rank) if place != channel_axis(call.operation) % rank)
        if rank < 2 or value.shape[channel_axis(call.operation)] < 2:
            continue
        if ends_in_relu(call.operation):
            share = float(np.mean(value.max(axis=axes) <= 0))
            dead |= {call.name: share} if share > SOME else {}
        elif call.operation.weights if isinstance(call.operation, keras.Layer) else False:
            share = float(np.mean(np.ptp(value, axis=axes) == 0))
            constant |= {call.name: share} if share > SOME else {}
    for what, found in (("give 0", dead), ("give one number", constant)):
        if found:
            worst = max(found, key=lambda name: found[name])
            nothing = found[worst] >= ALL
            yield Found(
                list(found),
                f"{found[worst]:.0%} of the channels of {worst!r} {what} for every pixel of these images"
                f"{': nothing gets through' if nothing else ''}. In {len(found)} layers more than half do.",
                "keras.layers.BatchNormalization() before the ReLU, or a smaller learning rate",
                {"layers": len(found), "largest_share": found[worst], "shares": found},
                "" if nothing else "note",
            )


def overflow(subject: Subject) -> Iterator[Found]:
    """Find activations that float16 does not hold."""
    found = {}
    for call, value in _values(subject):
        largest = float(np.max(np.abs(value), initial=0.0))
        if largest > LARGEST or not np.isfinite(largest):
            found[call.name] = (largest, getattr(call.operation, "compute_dtype", ""))
    if found:
        names = list(found)
        half = any(dtype == "float16" for _, dtype in found.values())
        yield Found(
            names,
            f"The outputs of {len(names)} layers are larger than {LARGEST:g}, where float16 ends: {names[0]!r} reaches "
            f"{found[names[0]][0]:.3g}.",
            "scale the inputs, or use mixed_bfloat16, which has the range of float32",
            {"layers": len(names), "largest": found[names[0]][0]},
            "" if half else "note",
        )


def _values(subject: Subject) -> Iterator[tuple[Call, np.ndarray]]:
    """Yield each call with what it gives for the first batch, at inference. A value is let go at the next call."""
    if subject.data is None or subject.network is None:
        return
    kept: list[tuple[Call, np.ndarray]] = []

    def visit(call: Call) -> list[Any]:
        outputs = outputs_of_call(call, batch_statistics=False)
        if len(outputs) == 1 and keras.backend.is_float_dtype(keras.backend.standardize_dtype(outputs[0].dtype)):
            if subject.counts(call.name):
                kept.append((call, ops.convert_to_numpy(ops.cast(outputs[0], "float32"))))
        return outputs

    inputs = in_order(subject.data.batches[0][0], graph_of(subject.model))
    values = [ops.convert_to_tensor(part, t.dtype) for part, t in zip(inputs, subject.model.inputs, strict=True)]
    walk(subject.model, values, visit)
    yield from kept
