"""What the layers of a trained network hold and pass on: weights, and activations before and after its norms."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from tfnorm.analysis.activations import activation_statistics
from tfnorm.errors import TfnormError
from tfnorm.reporting.html import rounded

NEAR_ZERO = 1e-3
MOST_BINS = 40


def weights_data(model: Any) -> list[dict[str, Any]]:
    """Return how the values of each trainable variable of a model are distributed.

    Returns:
        One record a variable, from the first layer to the last: ``layer`` and ``weight`` (such as "conv1" and
        "kernel"), ``shape``, ``mean``, ``std``, ``near_zero`` (the share of values below 0.001 in absolute value),
        ``low`` and ``high`` (ends of the histogram) and ``counts`` (of its bins). Of a variable that holds a number
        that is not finite, all but the first three are None.
    """
    records = []
    for variable in model.trainable_variables:
        values = ops.convert_to_numpy(variable).astype(np.float64).ravel()
        layer, _, weight = variable.path.rpartition("/")
        record: dict[str, Any] = {"layer": layer, "weight": weight, "shape": list(variable.shape)}
        record |= dict.fromkeys(("mean", "std", "near_zero", "low", "high", "counts"))
        if np.isfinite(values).all() and len(values):
            # As many bins as show so many values without being noise.
            counts, edges = np.histogram(values, int(np.clip(2 * len(values) ** (1 / 3), 4, MOST_BINS)))
            mean, std, low, high = rounded([values.mean(), values.std(), edges[0], edges[-1]])
            near_zero = float(np.mean(np.abs(values) < NEAR_ZERO))
            record |= {"mean": mean, "std": std, "near_zero": round(near_zero, 5), "low": low, "high": high}
            record["counts"] = counts.tolist()
        records.append(record)
    return records


def norms_data(model: Any, images: np.ndarray) -> list[dict[str, Any]]:
    """Return the `activation_statistics` of a model, as at inference, with five digits; none for one without norms."""
    try:
        found = activation_statistics(model, images, batch_size=len(images), batch_statistics=False)
    except TfnormError:  # nothing to look at
        return []
    return [
        {key: rounded([value])[0] if isinstance(value, float) else value for key, value in record.items()}
        for record in found
    ]
