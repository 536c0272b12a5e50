"""A new model without what was found, where a conversion mends it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

from tfnorm.checks.families.constants import fitting_momentum
from tfnorm.checks.finding import Finding
from tfnorm.checks.subject import Subject
from tfnorm.convert.clone import Made, clone_with, config_of, remake
from tfnorm.convert.graph import Network
from tfnorm.convert.kinds import BATCH_NORMS
from tfnorm.convert.recalibrate import recalibrate_batch_norms
from tfnorm.convert.replace import replace_norms
from tfnorm.errors import TfnormError


def mend(findings: Iterable[Finding], subject: Subject) -> tuple[keras.Model, list[Finding], list[Finding]]:
    """Return a new model, the findings that are mended in it, and those that are left.

    Raises:
        TfnormError: If none can be mended, or if the model has no graph.
    """
    findings = list(findings)
    mended = [each for each in findings if each.rule in MENDS]
    left = [each for each in findings if each not in mended]
    if not mended or subject.network is None:
        what = ", ".join(dict.fromkeys(each.rule for each in findings)) or "nothing"
        raise TfnormError(f"No conversion mends what was found: {what}. Follow the remedies of the findings.")
    model = subject.model
    replaced: set[str] = set()
    for rule, step in MENDS.items():  # in an order in which none undoes another
        of_rule = [each for each in mended if each.rule == rule]
        names = [name for each in of_rule for name in each.layers if name not in replaced]
        if names or (of_rule and step is _recalibrated):
            model = step(model, names, subject)
        replaced |= set(names) if isinstance(step, functools.partial) else set()
    if left:
        rules = ", ".join(dict.fromkeys(each.rule for each in left))
        warnings.warn(f"No conversion mends {rules}: follow the remedies of these findings.", stacklevel=4)
    return model, mended, left


def _replaced(spec: str, model: Any, names: Sequence[str], subject: Subject) -> Any:
    return replace_norms(model, spec, where=names)


def _with_momentum(model: Any, names: Sequence[str], subject: Subject) -> Any:
    wanted = {id(layer) for layer in _layers(model, names)}
    new = {"momentum": fitting_momentum(subject.steps or 1)}
    return _copy(model, lambda layer: remake(layer, config=config_of(layer) | new) if id(layer) in wanted else None)[0]


def _frozen(model: Any, names: Sequence[str], subject: Subject) -> Any:
    wanted = {id(layer) for layer in _layers(model, names)}
    copy, made = _copy(model)
    for key in wanted & set(made):
        made[key][1].trainable = False
    return copy


def _recalibrated(model: Any, names: Sequence[str], subject: Subject) -> Any:
    copy, _ = _copy(model)
    recalibrate_batch_norms(copy, [inputs for inputs, _ in subject.data.batches])  # type: ignore[union-attr]
    return copy


MENDS: dict[str, Callable[[Any, Sequence[str], Subject], Any]] = {
    "norm-before-pooling": functools.partial(_replaced, "gn:1"),
    "constant-norm": functools.partial(_replaced, "gn:1"),
    "norm-on-outputs": functools.partial(_replaced, "none"),
    "norm-after-norm": functools.partial(_replaced, "none"),
    "slow-statistics": _with_momentum,
    "norm-in-frozen-part": _frozen,
    "frozen-norm-updates": _frozen,
    "batch-norm-gap": _recalibrated,
}


def _layers(model: Any, names: Sequence[str]) -> list[Any]:
    network = Network(model)
    found = [layer for layer in network.everything if isinstance(layer, BATCH_NORMS) and network.path(layer) in names]
    for layer in found:
        if why := network.inside(layer):
            raise TfnormError(f"{network.path(layer)!r} is {why}, which no conversion changes. Mend it in its class.")
    return found


def _copy(model: Any, make: Callable[[Any], Any] = lambda layer: None) -> tuple[Any, Made]:
    return clone_with(model, lambda layer: make(layer) or remake(layer))
