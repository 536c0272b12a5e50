"""What a person's own loop hands over, checked: specs, seeds, values, histories, predictions and notes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from tfnorm.errors import SpecError, TfnormError, first_line, whole_number
from tfnorm.experiments.plan import SEEDS_ARE
from tfnorm.metrics.metric import Metric
from tfnorm.mistakes import check_labels
from tfnorm.mistakes.find import are_logits
from tfnorm.ops.arrays import to_array
from tfnorm.spec import NormSpec, format, parse

SHAPES_OF_HISTORY = (
    "a list of one dict an epoch, a dict of one list a measure (as History.history of Keras is), or a DataFrame of one "
    "row an epoch"
)


def canonical(spec: object) -> str:
    """Return a spec as it is written: that of tfnorm's grammar in its canonical form, another text as it is.

    Example:
        >>> canonical("gn:4+l1=0.0001"), canonical("my norm, momentum 0.9")
        ('gn:4+l1=1e-4', 'my norm, momentum 0.9')
    """
    if isinstance(spec, NormSpec):
        return format(spec)
    if not isinstance(spec, str) or not spec.strip() or not spec.isprintable():
        raise TfnormError(f"A spec must be a text in one line, such as 'bn' or 'gn:8'. Received: {spec!r}.")
    try:
        return format(parse(spec))
    except SpecError:
        return spec.strip()


def canonical_specs(specs: str | NormSpec | Iterable[str | NormSpec]) -> list[str]:
    """Return specs as `canonical` writes them, at least one and each once."""
    if isinstance(specs, str | NormSpec):
        specs = [specs]
    if not isinstance(specs, Iterable):
        raise TfnormError(f"`specs` must be a list of specs, such as ['bn', 'gn:8']. Received: specs={specs!r}.")
    labels = [canonical(spec) for spec in specs]
    if not labels:
        raise TfnormError("There is nothing to compare. Give at least one spec, such as 'bn'.")
    for label in labels:
        if labels.count(label) > 1:
            raise TfnormError(f"The spec {label!r} is given twice. Give each once; for repetitions use more seeds.")
    return labels


def chosen_seeds(seeds: int | Sequence[int]) -> list[int]:
    """Return the seeds that a number of them stands for, counted from 0, or those of a list."""
    asked: Any = seeds
    if isinstance(asked, Integral) and not isinstance(asked, bool) and int(asked) > 0:
        return list(range(int(asked)))
    if not isinstance(asked, Iterable) or isinstance(asked, str):
        raise TfnormError(f"`seeds` must be {SEEDS_ARE}. Received: seeds={seeds!r}.")
    chosen = [check_seed(seed) for seed in asked]
    if not chosen or len(set(chosen)) < len(chosen):
        raise TfnormError(f"`seeds` must be different numbers, at least one. Received: seeds={chosen}.")
    return chosen


def check_seed(seed: object) -> int:
    """Return a seed as an int, or raise a TfnormError."""
    return whole_number("seed", seed, least=0)


def check_value(value: object, metric: Metric) -> float:
    """Return the value that was reached as a float, or raise a TfnormError unless it is one finite number.

    Numbers of NumPy and tensors of one number are taken.
    """
    number = _number(value)
    if number is None:
        raise TfnormError(f"`value` must be one number, the {metric.key} that was reached. Received: {value!r:.80}.")
    if not math.isfinite(number):
        raise TfnormError(
            f"`value` must be a finite number. Received: value={number}. If the run failed, say so with "
            "record_failure(spec, seed, why), and it is counted as that."
        )
    _check_share("value", number, metric)
    return number


def _check_share(name: str, number: float, metric: Metric) -> None:
    if metric.percent and not 0 <= number <= 1 and not math.isnan(number):
        raise TfnormError(
            f"{metric.key} is a share of images, from 0 to 1. Received: {name}={number:g}. Divide percent by 100, or "
            "give what is no such share another name with `metric`."
        )


def _number(value: object) -> float | None:
    """Return a number of Python or NumPy, or a tensor that is one, as a float; None for anything else."""
    try:
        array = to_array(value)
        real = array.ndim == 0 and array.dtype.kind in "iuf" and not isinstance(value, str | bytes)
        return float(array) if real else None
    except (TypeError, ValueError, RuntimeError):
        return None


def history_records(history: Any, metric: Metric) -> list[dict[str, Any]]:
    """Return a history as one dict an epoch, with "epoch" counted from 0, or raise a TfnormError.

    Epochs may be numbered by a measure "epoch", from 0 or from 1; else they are numbered in their order.
    """
    rows = _rows(history)
    names = list(rows[0]) if rows else []
    for number, row in enumerate(rows):
        if list(row) != names and set(row) != set(names):
            raise TfnormError(
                f"Each epoch of `history` must have the same measures. Received: {', '.join(names)} in the first, and "
                f"{', '.join(row) or 'none'} in number {number + 1}."
            )
    epochs = _epochs([row.pop("epoch") for row in rows]) if "epoch" in names else list(range(len(rows)))
    records = []
    for epoch, row in zip(epochs, rows, strict=True):
        record: dict[str, Any] = {"epoch": epoch}
        for name, value in row.items():
            measured = math.nan if value is None else _number(value)
            if measured is None:
                raise TfnormError(
                    f"Every measure of `history` must be a number. Received: {name}={value!r:.60} in epoch "
                    f"{epoch + 1}. Leave {name!r} out, or give it in `notes`."
                )
            if name in (metric.key, metric.training):
                _check_share(f"history {name}", measured, metric)
            record[name] = measured
        records.append(record)
    return records


def _plain(value: object) -> float:
    """Return a number of NumPy or of a framework as one of Python, for JSON."""
    number = _number(value)
    if number is None:
        raise TypeError(f"{type(value).__name__} is neither text nor number")
    return number


def _rows(history: Any) -> list[dict[str, Any]]:
    """Return one dict an epoch of a history of any shape that is known."""
    if hasattr(history, "history") and isinstance(history.history, Mapping):  # what fit of Keras returns
        history = history.history
    if hasattr(history, "to_dict") and hasattr(history, "columns"):
        return [_named(row) for row in history.to_dict("records")]
    if isinstance(history, Mapping) and all(_is_list(values) for values in history.values()):
        columns = {name: list(to_array(values)) if hasattr(values, "shape") else list(values)
                   for name, values in _named(history).items()}  # fmt: skip
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise TfnormError(
                "Every measure of `history` must have a number for each epoch. Received: "
                f"{', '.join(f'{count} of {name}' for name, count in lengths.items())}."
            )
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if isinstance(history, Sequence) and not isinstance(history, str | bytes):
        if all(isinstance(row, Mapping) for row in history):
            return [_named(row) for row in history]
    raise TfnormError(f"`history` must be {SHAPES_OF_HISTORY}. Received: {type(history).__name__} {history!r:.60}.")


def _is_list(values: Any) -> bool:
    listed = isinstance(values, Sequence) and not isinstance(values, str | bytes)
    return listed or (hasattr(values, "shape") and len(values.shape) == 1)


def _named(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a dict whose keys are the names of measures, or raise a TfnormError."""
    for name in row:
        if not isinstance(name, str) or name in ("schema_version", "nonfinite"):
            raise TfnormError(f"The measures of `history` must have names. Received: {name!r}. Call it otherwise.")
    return dict(row)


def _epochs(given: Sequence[Any]) -> list[int]:
    """Return the numbers of epochs, counted from 0, given such counted from 0 or from 1."""
    epochs = [_number(epoch) for epoch in given]
    whole = [int(epoch) for epoch in epochs if epoch is not None and epoch == math.floor(epoch)]
    if len(whole) < len(given) or whole != sorted(set(whole)) or whole[0] < 0:
        raise TfnormError(
            f"'epoch' in `history` must be whole numbers that rise. Received: {str(list(given)):.60}. Leave 'epoch' "
            "out to have the epochs numbered in their order."
        )
    return whole if whole[0] == 0 else [epoch - 1 for epoch in whole]


def check_predictions(predictions: Any, labels: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Return logits, float32 (images, classes), and classes, int64 (images,), or raise a TfnormError.

    Probabilities come back as their logarithms, which are logits of the same probabilities. None if neither is given.
    """
    if predictions is None and labels is None:
        return None
    if predictions is None or labels is None:
        given, lacking = ("labels", "predictions") if predictions is None else ("predictions", "labels")
        raise TfnormError(f"`{given}` need `{lacking}` of the same images. Received: {given} alone. Give both or none.")
    try:
        scores = to_array(predictions)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TfnormError(f"`predictions` must be an array (images, classes). Received: {first_line(error)}.") from None
    if scores.ndim != 2 or scores.shape[1] < 2 or not len(scores) or scores.dtype.kind not in "iuf":
        raise TfnormError(
            "`predictions` must be logits or probabilities of shape (images, classes), with a column for each of at "
            f"least 2 classes. Received: shape {scores.shape} of {scores.dtype}. Leave them out where there are none."
        )
    classes = check_labels(labels, len(scores), scores.shape[1])
    scores = scores.astype(np.float32)
    rows = scores[np.isfinite(scores).all(axis=1)]
    kind = are_logits(scores.astype(np.float64))
    if kind is None and len(rows):
        raise TfnormError(
            "`predictions` from 0 to 1 must be probabilities that add up to 1 for each image. Received: a row that "
            f"adds up to {rows.sum(axis=1).min():.3g}. Give logits, or divide each row by its sum."
        )
    if kind is False:
        with np.errstate(divide="ignore"):
            scores = np.log(np.maximum(scores, 0))
    return scores, classes


def check_notes(notes: Any) -> str:
    """Return notes, a text or what JSON has, as a text; "" for none."""
    if notes is None or isinstance(notes, str):
        return notes or ""
    try:
        return json.dumps(notes, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise TfnormError(
            f"`notes` must be a text, or a dict of texts and numbers. Received: {first_line(error)}."
        ) from None
