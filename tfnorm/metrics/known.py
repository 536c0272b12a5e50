"""The metrics that a run can be about by their name, and what is on record of one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tfnorm.errors import TfnormError, unknown
from tfnorm.metrics.metric import ACCURACY, DIGITS, Metric

ONE_LABEL, SEVERAL_LABELS = "one class each", "several labels each"
_LOSS = Metric("val_loss", "loss", "min", percent=False, decimals=DIGITS)
_SCORE = replace(_LOSS, direction="max", bounds=(0.0, 1.0))
_SHARE = ACCURACY
# Each with the labels that images may have.
KNOWN: Mapping[str, tuple[Metric, tuple[str, ...]]] = {
    "accuracy": (ACCURACY, (ONE_LABEL,)),
    "balanced_accuracy": (replace(_SHARE, key="val_balanced_accuracy", name="balanced accuracy"), (ONE_LABEL,)),
    "top_5_accuracy": (replace(_SHARE, key="val_top_5_accuracy", name="top-5 accuracy"), (ONE_LABEL,)),
    "f1": (replace(_SCORE, key="val_f1", name="F1"), (ONE_LABEL, SEVERAL_LABELS)),
    "auc": (replace(_SCORE, key="val_auc", name="AUC"), (ONE_LABEL, SEVERAL_LABELS)),
    "mean_average_precision": (
        replace(_SCORE, key="val_mean_average_precision", name="mean average precision"),
        (SEVERAL_LABELS,),
    ),
    "data_loss": (replace(_LOSS, key="val_data_loss", name="data loss"), (ONE_LABEL, SEVERAL_LABELS)),
    "loss": (_LOSS, (ONE_LABEL, SEVERAL_LABELS)),
}
#: Those that a run is about if nothing is said: they follow from the labels alone.
DEFAULTS = {ONE_LABEL: "accuracy", SEVERAL_LABELS: "mean_average_precision"}
DIRECTIONS = ("max", "min")
_TOP = re.compile(r"top_([1-9]\d*)_accuracy")


def known_metric(name: str) -> tuple[Metric, tuple[str, ...]] | None:
    """Return the metric of a name and the labels that images may have, or None for a name that tfnorm does not know.

    Example:
        >>> known_metric("top_3_accuracy")[0].title(), known_metric("my_score")
        ('test top-3 accuracy', None)
    """
    if top := _TOP.fullmatch(name):
        return replace(_SHARE, key=f"val_{name}", name=f"top-{top[1]} accuracy"), (ONE_LABEL,)
    return KNOWN.get(name)


def places_of(name: str) -> int | None:
    """Return k for "top_k_accuracy", None for another name."""
    top = _TOP.fullmatch(name)
    return int(top[1]) if top else None


def check_name(name: str, *, own: bool) -> str:
    """Return the name of a metric as it is recorded: without "val_", and without a direction that is known.

    Args:
        name: A name of `KNOWN`, or one that a model is compiled with, which may end in ":max" or ":min".
        own: Whether there is a model of one's own, which may be compiled with others.

    Raises:
        TfnormError: If there can be no such metric, or its direction is another.

    Example:
        >>> check_name("val_loss", own=False), check_name("my_score:max", own=True)
        ('loss', 'my_score:max')
    """
    plain, direction = split_name(name.strip().removeprefix("val_"))
    if direction not in (None, *DIRECTIONS):
        raise TfnormError(f"{unknown('direction', direction, DIRECTIONS)} Received: metric={name!r}.")
    found = known_metric(plain)
    if found is None:
        if not plain or not plain.isprintable():
            raise TfnormError(f"`metric` must be a name, such as 'accuracy' or 'f1'. Received: metric={name!r}.")
        if not own:
            more = "" if direction is None else " A direction belongs to a metric of your own model."
            raise TfnormError(f"{unknown('metric', plain, KNOWN)}{more}")
        return plain if direction is None else f"{plain}:{direction}"
    if direction not in (None, found[0].direction):
        better = "Higher" if found[0].direction == "max" else "Lower"
        raise TfnormError(f"{better} is better for {plain!r}. Received: metric={name!r}. Leave the direction out.")
    return plain


def split_name(name: str) -> tuple[str, str | None]:
    """Return a name without its direction, and the direction or None.

    Example:
        >>> split_name("my_score:min"), split_name("f1")
        (('my_score', 'min'), ('f1', None))
    """
    plain, colon, direction = name.rpartition(":")
    return (plain, direction) if colon else (name, None)


def own_metric(name: str, direction: str, *, percent: bool = False) -> Metric:
    """Return a metric that a model was compiled with."""
    decimals = 2 if percent else DIGITS
    return replace(_LOSS, key=f"val_{name}", name=name, direction=direction, percent=percent, decimals=decimals)


def metric_record(metric: Metric) -> dict[str, Any]:
    """Return a metric as ``config.json`` has it."""
    return {"name": metric.key.removeprefix("val_"), "direction": metric.direction, "percent": metric.percent}


def recorded_metric(record: Mapping[str, Any] | None) -> Metric:
    """Return the metric on record; the accuracy where there is none, as in folders of earlier versions."""
    if record is None:
        return ACCURACY
    found = known_metric(record["name"])
    return found[0] if found else own_metric(record["name"], record["direction"], percent=bool(record.get("percent")))


def metric_shown(name: str | None, record: Mapping[str, Any]) -> Metric:
    """Return the metric to show of an epoch while runs are trained, given what was asked for and the epoch's record."""
    if name is None:
        name = next((default for default in DEFAULTS.values() if f"val_{default}" in record), "accuracy")
    plain, direction = split_name(name)
    found = known_metric(plain)
    return found[0] if found else own_metric(plain, direction or "max")
