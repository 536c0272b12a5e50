"""Which runs a comparison consists of, checked before anything is trained."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from typing import Any

from tfnorm.errors import TfnormError
from tfnorm.spec import NormSpec, format, parse
from tfnorm.training.config import TrainConfig, checked

DEFAULT_SPECS = ("gn:2", "ln", "bn+l1=5e-4")


def configurations(
    specs: Iterable[str | NormSpec] | str | None = None, *, seeds: int | Sequence[int] = 3, **settings: Any
) -> list[TrainConfig]:
    """Return the configuration of each run of a comparison, all of them checked, without importing Keras.

    Args:
        specs: Norm specs; default gn:2, ln and bn+l1=5e-4.
        seeds: How many seeds, counted from 0, or the seeds themselves.
        **settings: Arguments of `TrainConfig` that all runs share.

    Returns:
        Seed by seed, within each spec.

    Example:
        >>> [(c.norm, c.seed) for c in configurations(["bn", "ln"], seeds=2)]
        [('bn', 0), ('bn', 1), ('ln', 0), ('ln', 1)]
    """
    if isinstance(specs, (str, NormSpec)):
        specs = [specs]
    for word, mend in (("seed", "seeds=[7]"), ("norm", "the specs")):
        if word in settings:
            raise TfnormError(f"`{word}` belongs to one run. For a comparison give {mend}.")
    problems: list[str] = []
    labels: list[str] = []
    for spec in DEFAULT_SPECS if specs is None else specs:
        try:
            label = format(parse(spec))
            checked(TrainConfig, {**settings, "norm": label}).plan()
        except TfnormError as error:
            problems.append(str(error))
            continue
        if label in labels:
            problems.append(f"The spec {label!r} is given twice. Give each once; for repetitions use more seeds.")
        labels.append(label)
    if problems:
        raise TfnormError(" ".join(dict.fromkeys(problems)))
    if not labels:
        raise TfnormError("There is nothing to compare. Give at least one norm spec, such as 'bn'.")
    asked: Any = seeds
    if isinstance(asked, numbers.Integral) and not isinstance(asked, bool) and int(asked) > 0:
        chosen = list(range(int(asked)))
    elif isinstance(asked, Iterable) and not isinstance(asked, str):
        chosen = list(asked)
    else:
        raise TfnormError(f"`seeds` must be at least 1, or a list of seeds. Received: seeds={seeds!r}.")
    if not chosen or len(set(chosen)) < len(chosen):
        raise TfnormError(f"`seeds` must be different numbers, at least one. Received: seeds={chosen}.")
    return [
        checked(TrainConfig, {**settings, "norm": label, "seed": seed}).resolved()
        for label in labels
        for seed in chosen
    ]
