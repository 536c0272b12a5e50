"""Rules on the numbers that norms are given: epsilon, momentum, images a batch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from tfnorm._keras import renorms
from tfnorm.checks.finding import Found, several
from tfnorm.checks.subject import Subject
from tfnorm.convert.kinds import norm_kinds
from tfnorm.layers.normalization.batch_normalization import takes_batch_statistics
from tfnorm.text import counted

# What is left of the first moving statistics, 0 and 1, after 500 steps of Keras's momentum.
LEFT = 0.99**500
# Images that the error of batch normalization rises below, in figure 4 of Wu and He, 2018.
FEW = 8
# The smallest number of float16 with all its digits, and the smallest at all.
NORMAL, SMALLEST = 2.0**-14, 2.0**-24


def mixed(subject: Subject) -> Iterator[Found]:
    """Find norms of one kind with different constants."""
    of_kinds: dict[str, Counter[tuple[tuple[str, float], ...]]] = {}
    odd: dict[tuple[str, tuple[tuple[str, float], ...]], list[str]] = {}
    for name, layer in subject.layers:
        if isinstance(layer, norm_kinds()):
            known = {key: getattr(layer, key, None) for key in ("epsilon", "momentum")}
            key = tuple((word, float(value)) for word, value in known.items() if value is not None)
            kind = type(layer).__name__
            of_kinds.setdefault(kind, Counter())[key] += 1
            odd.setdefault((kind, key), []).append(name)
    for kind, counts in of_kinds.items():
        if len(counts) > 1:
            (usual, _), *others = counts.most_common()
            rest = [name for key, _ in others for name in odd[kind, key]]
            words = "; ".join(
                f"{', '.join(f'{word}={value:g}' for word, value in key)} ({count})"
                for key, count in counts.most_common()
            )
            yield Found(
                rest,
                f"The norms of the class {kind} do not have the same constants: {words}. Keras has epsilon 1e-3 and "
                "momentum 0.99, PyTorch 1e-5 and 0.9 (written 0.1).",
                f"{kind}({', '.join(f'{word}={value:g}' for word, value in usual)})",
                {"settings": [dict(key) | {"layers": count} for key, count in counts.most_common()]},
            )


def slow(subject: Subject) -> Iterator[Found]:
    """Find momenta too large for the steps that are planned."""
    if subject.steps is None:
        return
    slow = {}
    for name, layer in subject.batch_norms:
        if takes_batch_statistics(layer) and layer.momentum**subject.steps > LEFT:
            slow[name] = layer.momentum
    if slow:
        momentum = max(slow.values())
        left = momentum**subject.steps
        yield Found(
            list(slow),
            f"After {subject.steps} steps with momentum {momentum:g}, {left:.1%} of the moving statistics of "
            f"{several(slow, 'batch norm')} are still those that they began with, 0 and 1: the network may test far "
            "worse than it trains.",
            f"keras.layers.BatchNormalization(momentum={fitting_momentum(subject.steps):g})",
            {"steps": subject.steps, "momentum": momentum, "left": left},
        )


def fitting_momentum(steps: int) -> float:
    """Return the largest momentum of 2 digits, at most 0.9, that forgets how it began in so many steps.

    Example:
        >>> fitting_momentum(100), fitting_momentum(20)
        (0.9, 0.77)
    """
    return min(0.9, math.floor(100 * LEFT ** (1 / max(steps, 1))) / 100)


def few_images(subject: Subject) -> Iterator[Found]:
    """Find batch norms that share no statistics, and get few images each."""
    if subject.batch_size is None or subject.batch_size >= FEW:
        return
    names = [
        name
        for name, layer in subject.batch_norms
        if takes_batch_statistics(layer) and not layer.synchronized and not renorms(layer)
    ]
    if names:
        seen = [norm.seen for norm in subject.norms if norm.over_batch and norm.seen is not None]
        least = {} if not seen else {"numbers": subject.batch_size * min(seen)}
        yield Found(
            names,
            f"The statistics of {several(names, 'batch norm')} are taken over "
            f"{counted([subject.batch_size], 'image')} on each device: they are noisy in training, and differ from "
            "those at inference.",
            "model = tfnorm.convert.replace_norms(model, 'gn:8')",
            {"batch_size": subject.batch_size, **least},
        )


def float16_epsilon(subject: Subject) -> Iterator[Found]:
    """Find epsilons that float16 does not hold, in layers that compute in it."""
    names = {
        name: layer.epsilon
        for name, layer in subject.layers
        if isinstance(layer, norm_kinds()) and layer.compute_dtype == "float16" and layer.epsilon < NORMAL
    }
    if names:
        least = min(names.values())
        zero = " It becomes 0." if least < SMALLEST else ""
        yield Found(
            list(names),
            f"The epsilon of {several(names, 'norm')}, {least:g}, is below {NORMAL:.2g}, the smallest number that "
            f"float16 holds with all digits.{zero} Keras and tfnorm compute in float32, other runtimes may not.",
            "epsilon=1e-3",
            {"epsilon": least, "smallest": NORMAL, "layers": len(names)},
        )
