"""Histories of several models and seeds as tables of curves.

Histories are a mapping from label to one table a seed, as ``HistoryRecorder.to_frame`` returns: index epoch, counted
from 0, columns ``data_loss``, ``val_data_loss``, ``accuracy``, ``val_accuracy``. Test curves are those of the
validation data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tfnorm.errors import RunError

Histories = Mapping[str, Sequence[pd.DataFrame]]

COLUMNS = ["epoch", "mean", "low", "high", "seeds"]


def checked(histories: Histories, *columns: str) -> dict[str, list[pd.DataFrame]]:
    """Return the tables by label, sorted by epoch and each epoch once.

    Raises:
        RunError: If there is no history, or one lacks a column.
    """
    if not histories:
        raise RunError("There is no history to draw. Pass at least one label with one table.")
    result = {}
    for label, frames in histories.items():
        frames = [frames] if isinstance(frames, pd.DataFrame) else list(frames)
        if not frames:
            raise RunError(f"There is no history of {label!r}. Pass at least one table for each label.")
        for number, frame in enumerate(frames, start=1):
            for column in columns:
                if column not in frame.columns:
                    raise RunError(
                        f"History {number} of {label!r} has no column {column!r}. "
                        f"Received: {', '.join(map(str, frame.columns)) or 'no column'}."
                    )
        result[label] = [frame[~frame.index.duplicated(keep="last")].sort_index() for frame in frames]
    return result


def over_seeds(series: Mapping[tuple[str, ...], Sequence[pd.Series]], keys: Sequence[str]) -> pd.DataFrame:
    """Return mean, low and high over the seeds that have a number, for each epoch (from 1) with any.

    Args:
        series: For each curve one series a seed, by epoch from 0; the curves by what they are called.
        keys: The columns that say what a curve is called.

    Returns:
        The curves below each other: ``keys``, then `COLUMNS`.
    """
    parts = []
    for names, seeds in series.items():
        values = pd.concat(list(seeds), axis=1).sort_index().replace([np.inf, -np.inf], np.nan).dropna(how="all")
        columns = {
            **dict(zip(keys, names, strict=True)),
            "epoch": values.index.to_numpy(dtype=int) + 1,
            "mean": values.mean(axis=1).to_numpy(),
            "low": values.min(axis=1).to_numpy(),
            "high": values.max(axis=1).to_numpy(),
            "seeds": values.count(axis=1).to_numpy(dtype=int),
        }
        if len(values):
            parts.append(pd.DataFrame(columns))
    if parts:
        return pd.concat(parts, ignore_index=True)
    return pd.DataFrame(columns=[*keys, *COLUMNS]).astype({"mean": float})


def diverged(table: pd.DataFrame) -> bool:
    """Return whether the training loss of one seed is not finite in some epoch."""
    return "data_loss" in table.columns and not np.isfinite(table["data_loss"].astype(float)).all()


def count_seeds(frames: Histories) -> tuple[dict[str, int], dict[str, int]]:
    """Return how many seeds each label has, and how many of them diverged."""
    return (
        {label: len(tables) for label, tables in frames.items()},
        {label: sum(map(diverged, tables)) for label, tables in frames.items()},
    )
