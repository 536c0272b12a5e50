"""Whether what was claimed of published rows holds when they are trained again, several times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfnorm.experiments.published.comparisons import Claim
from tfnorm.experiments.rows import mean
from tfnorm.experiments.statistics import Difference, paired_differences

BySeed = Mapping[int, float]
# Within how many points of its last epoch's accuracy a run counts as having arrived.
ARRIVED = 0.1


@dataclass(frozen=True)
class Measured:
    """The numbers of one row that claims are examined on, by seed; NaN for a run that diverged."""

    accuracy: BySeed  # on the test images, in percent
    gap: BySeed  # training minus test accuracy after the last epoch, in points
    epochs: BySeed  # see `arrival`


@dataclass(frozen=True)
class Finding:
    """What became of a claim."""

    says: str
    outcome: str  # "holds", "contradicted", or "not shown" where the seeds cannot tell
    because: str  # the numbers, in a sentence or more


def arrival(accuracies: Sequence[float]) -> int:
    """Return the first epoch, from 1, from which on accuracies in percent stay within 0.1 points of the last or above.

    Example:
        >>> arrival([90.0, 98.0, 97.0, 98.0, 98.05])
        4
    """
    below = [i for i, value in enumerate(accuracies) if not value >= accuracies[-1] - ARRIVED]
    return min(below[-1] + 2, len(accuracies)) if below else 1


def examine(claim: Claim, rows: Mapping[str, Measured], *, resolution: float) -> Finding:
    """Return what the rows say of a claim.

    Every comparison is paired by seed and corrected over the pairs of the claim
    (`tfnorm.experiments.statistics.paired_differences`), so that one seed shows nothing.
    """
    if claim.kind == "steadiest":
        return _steadiest(claim, rows, resolution)
    what, unit, step = {
        "slower": ("epochs", "epochs", 1.0),
        "smaller_gap": ("gap", "points of gap", resolution),
    }.get(claim.kind, ("accuracy", "points", resolution))
    values = {label: getattr(rows[label], what) for label in claim.rows}
    first, *others = claim.rows
    ranked = claim.kind == "ranking"
    pairs = list(zip(claim.rows, others, strict=False)) if ranked else [(first, other) for other in others]
    sign = -1 if claim.kind == "smaller_gap" else 1
    found = paired_differences(values, resolution=step, pairs=pairs)
    # Only for accuracies is more better. There, a row that diverged with some seeds is not better than another.
    real = [d.is_real() if what == "accuracy" else d.is_significant() for d in found]
    because = "; ".join(_sentence(d, shown, unit) for d, shown in zip(found, real, strict=True)) + "."
    contradicted = any(shown and sign * d.mean < 0 for d, shown in zip(found, real, strict=True))
    held = all(shown and sign * d.mean > 0 for d, shown in zip(found, real, strict=True))
    return _found(claim, held, contradicted, because)


def _sentence(d: Difference, shown: bool, unit: str) -> str:
    if not d.seeds:
        return f"{d.first} and {d.second} share no seed that ended with a number"
    if d.seeds < 2:
        return f"{d.first} minus {d.second}: {d.mean:+.2f} {unit} in one run each"
    if shown:
        real = "real"
    elif d.is_significant():
        real = "better, but only with the seeds that did not diverge"
    else:  # the interval is that of the pair alone
        real = "not shown" + (" after the correction for all pairs" if abs(d.mean) > d.half_width else "")
    return f"{d.first} minus {d.second}: {d.mean:+.2f} ± {d.half_width:.2f} {unit} over {d.seeds} seeds, {real}"


def _steadiest(claim: Claim, rows: Mapping[str, Measured], resolution: float) -> Finding:
    """Compare the ranges of the accuracies of groups of rows, paired by the seeds that all rows have."""
    groups = [claim.rows, *claim.others]
    every = [rows[label].accuracy for group in groups for label in group]
    seeds = [s for s in every[0] if all(math.isfinite(values.get(s, math.nan)) for values in every)]
    if not seeds:
        return Finding(claim.says, "not shown", "No seed was trained to the end with all of these rows.")
    spreads: dict[str, dict[int, float]] = {}
    for group in groups:
        reached = {seed: [rows[label].accuracy[seed] for label in group] for seed in seeds}
        spreads[group[0]] = {seed: max(values) - min(values) for seed, values in reached.items()}
    means = {label: mean(list(values.values())) for label, values in spreads.items()}
    because = "; ".join(f"{label} and the like: {m:.2f} points between most and least" for label, m in means.items())
    pairs = [(claim.rows[0], group[0]) for group in claim.others]
    # A difference of two ranges is rounded as four accuracies are, not two.
    found = paired_differences(spreads, resolution=math.sqrt(2) * resolution, pairs=pairs)
    held = bool(found) and all(d.is_real() and d.mean < 0 for d in found)
    contradicted = any(d.is_real() and d.mean > 0 for d in found)
    return _found(claim, held, contradicted, f"{because}; mean of {len(seeds)} seeds.")


def _found(claim: Claim, held: bool, contradicted: bool, because: str) -> Finding:
    return Finding(claim.says, "contradicted" if contradicted else "holds" if held else "not shown", because)
