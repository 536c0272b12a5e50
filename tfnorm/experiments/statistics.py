"""Which differences between normalizations are real, and which are the luck of a seed: the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from tfnorm.errors import TfnormError

CONFIDENCE = 0.95
# No forecast of how many seeds it takes goes further.
FURTHEST = 1000
# What the accuracies were when a verdict was shown before: label to seed to accuracy in percent.
Look = Mapping[str, Mapping[int, float]]


class Ordered:
    """Two specs, of which one has the better mean, and what is shown of the difference; see `Difference`."""

    first: str
    second: str
    seeds: int
    mean: float  # of first minus second
    at_most: float
    margin: float
    needed: int | None
    diverged: tuple[str, ...]
    lower_is_better: bool

    @property
    def better(self) -> str:
        """The one with the larger mean, or with the smaller one where lower is better."""
        return self.first if (self.mean < 0 if self.lower_is_better else self.mean > 0) else self.second

    @property
    def worse(self) -> str:
        """The other one."""
        return self.second if self.better == self.first else self.first

    def ends(self) -> tuple[float, float]:
        """Return the ends of the interval of the difference."""
        raise NotImplementedError

    def is_significant(self) -> bool:
        """Return whether a difference is shown between the seeds that did not diverge."""
        raise NotImplementedError

    def is_real(self) -> bool:
        """Return whether the difference is shown: a spec that diverged with some seed is better than no other."""
        return self.is_significant() and self.better not in self.diverged

    def is_equivalent(self) -> bool:
        """Return whether the two are shown to differ by less than the margin, and neither diverged with any seed."""
        return self.at_most < self.margin and not self.diverged

    @property
    def outcome(self) -> str:
        """What is shown, in a word.

        "better" if one is, "equivalent" if they differ by less than the margin, "negligible" if both is true; if none
        is, "undecided".
        """
        if self.is_equivalent():
            return "negligible" if self.is_real() else "equivalent"
        return "better" if self.is_real() else "undecided"


@dataclass(frozen=True)
class Difference(Ordered):
    """First minus second, paired by seed.

    Args:
        first: A spec.
        second: Another.
        seeds: Number of seeds that both have.
        mean: Mean difference, in the unit of the values.
        half_width: Of the 95 % interval around the mean; NaN for one seed.
        p: Two-sided p value of Student's paired test; NaN for one seed.
        p_adjusted: The same after Holm's correction over all pairs, and for earlier looks (see `level_of_look`).
        detectable: The smallest mean difference that counts as real whatever the other pairs show (Bonferroni), given
            the spread seen and the number of pairs with at least 2 common seeds; NaN for one seed. Beside other real
            differences a smaller one may do.
        look: 1 for the first time that the pair is compared, 2 after it was compared with other seeds, and so on.
        diverged: Those of the two that diverged with some seed.
        lower_is_better: Whether the smaller of two values is the better one.
        margin: Differences of this size matter.
        at_most: The largest difference, of either sign, that is not excluded (Bonferroni), by one-sided bounds at the
            level of the look; NaN for one seed.
        needed: The number of seeds that would probably decide the pair at the next look, if mean and spread stay as
            they are; `None` without a margin, or where it would take more than 1,000.
    """

    first: str
    second: str
    seeds: int
    mean: float
    half_width: float
    p: float
    p_adjusted: float
    detectable: float
    look: int = 1
    diverged: tuple[str, ...] = ()
    lower_is_better: bool = False
    margin: float = 0.0
    at_most: float = math.nan
    needed: int | None = None

    def ends(self) -> tuple[float, float]:
        """Return the ends of the 95 % interval."""
        return self.mean - self.half_width, self.mean + self.half_width

    def is_significant(self) -> bool:
        """Return whether p is below 5 % over all pairs together, for the seeds that did not diverge."""
        return self.p_adjusted < 1 - CONFIDENCE


def mean_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the ends of Student's interval for the mean, NaN for fewer than 2 values.

    Assumes that values of different seeds are independent and roughly normal; with few seeds nothing can check the
    latter.

    Args:
        values: One a seed.
        confidence: Of the interval.

    Example:
        >>> low, high = mean_interval([99.1, 99.3, 99.2])
        >>> round(low, 2), round(high, 2)
        (98.95, 99.45)
    """
    from scipy import special  # start-up

    n = len(values)
    if n < 2:
        return math.nan, math.nan
    mean = math.fsum(values) / n
    std = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = float(special.stdtrit(n - 1, (1 + confidence) / 2)) * std / math.sqrt(n)
    return mean - half, mean + half


def paired_differences(
    values: Mapping[str, Mapping[int, float]],
    *,
    resolution: float = 0.0,
    pairs: Sequence[tuple[str, str]] | None = None,
    looks: Sequence[Look] = (),
    lower_is_better: bool = False,
    margin: float = 0.0,
) -> list[Difference]:
    """Compare every pair of normalizations on the seeds that both have.

    Student's paired t test, two-sided. Assumes that the differences of seeds are independent and roughly normal. The
    same seed gives both runs the same initial kernels and data order, which takes their share of the luck out. It says
    whether training again would show the difference again, on this test set; it says nothing of other test images.

    Accuracies move in steps, of one image. Where few seeds give nearly the same difference, their spread is too small
    by that rounding, so that its variance, a sixth of the squared step for a difference, is added: never less
    cautious, and without effect where the spread is wider than an image.

    Two specs are equivalent where two one-sided tests exclude that they differ by the margin (Schuirmann, 1987), with
    Bonferroni's correction over pairs. At most 5 % of comparisons call specs equivalent that differ by the margin.

    Args:
        values: Spec to seed to value, such as test accuracy in percent. Values that are not finite are left out.
        resolution: The step of the values: 100 / test images for accuracies in percent.
        pairs: Which pairs to compare; default all.
        looks: What was shown before, the oldest first. A pair that was compared with other seeds before is tested at
            the level of its `look_number`, and its p values say so. Its interval is that of one look.
        lower_is_better: If `True`, the smaller of two values is the better one, as for losses.
        margin: Differences of this size matter, in the unit of the values; 0 if none is too small to matter.

    Returns:
        One `Difference` a pair, in the order of the specs or of ``pairs``, with 95 % intervals; 5 % is the level over
        these pairs together (Holm, 1979) at the first look.

    References:
        Student, 1908, Biometrika 6. Holm, 1979, Scandinavian Journal of Statistics 6. Schuirmann, 1987, Journal of
        Pharmacokinetics and Biopharmaceutics 15.
    """
    # `scipy.stats` takes a hundred times as long for a number.
    from scipy import special  # start-up

    labels = list(values)
    if pairs is None:
        pairs = [(a, b) for i, a in enumerate(labels) for b in labels[i + 1 :]]
    changed = [list(_changes(values, *pair).values()) for pair in pairs]
    tested = sum(len(changes) > 1 for changes in changed)
    found = []
    for (first, second), changes in zip(pairs, changed, strict=True):
        n = len(changes)
        mean = math.fsum(changes) / n if n else math.nan
        lost = tuple(label for label in (first, second) if not all(map(math.isfinite, values[label].values())))
        if n < 2:
            no = math.nan
            found.append(Difference(first, second, n, mean, no, no, no, no, 1, lost, lower_is_better, margin))
            continue
        look = look_number(values, first, second, looks)
        level = level_of_look(look)
        variance = math.fsum((change - mean) ** 2 for change in changes) / (n - 1) + resolution**2 / 6
        error = math.sqrt(variance / n)
        p = 2 * float(special.stdtr(n - 1, -abs(mean) / error)) if error else float(mean == 0)
        half = float(special.stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * error
        strictest = float(special.stdtrit(n - 1, 1 - level / 2 / tested)) * error
        at_most = abs(mean) + float(special.stdtrit(n - 1, 1 - level / tested)) * error
        needed = None
        if margin:
            tail = level_of_look(look + 1) / tested
            two_sided, one_sided = (_quantiles(of)[n - 1 :] for of in (tail / 2, tail))
            needed = seeds_to_decide(mean, math.sqrt(variance), n, two_sided, one_sided, margin)
        of_seeds, of_margin = (half, p, math.nan, strictest, look, lost, lower_is_better), (margin, at_most, needed)
        found.append(Difference(first, second, n, mean, *of_seeds, *of_margin))
    costs = [d.p * (level_of_look(1) / level_of_look(d.look)) for d in found if not math.isnan(d.p)]
    adjusted = iter(holm(costs))
    return [d if math.isnan(d.p) else replace(d, p_adjusted=next(adjusted)) for d in found]


def seeds_to_decide(
    mean: float, deviation: float, seeds: int, two_sided: Any, one_sided: Any, margin: float
) -> int | None:
    """Return the least number of seeds, beyond so many, that would decide a pair whose mean and deviation stay.

    Args:
        mean: Of the differences.
        deviation: Of the differences, their standard deviation.
        seeds: Their number.
        two_sided: How many standard errors a mean must be away from 0, with one seed more, two more, and so on.
        one_sided: The same of a mean and the margin, on the side of 0.
        margin: Differences of this size matter.
    """
    import numpy as np  # start-up

    more = np.arange(seeds + 1, seeds + 1 + len(one_sided))
    errors, lead = deviation / np.sqrt(more), abs(mean)
    decided = more[(lead + one_sided * errors < margin) | (lead > two_sided * errors)]
    return int(decided[0]) if len(decided) else None


@lru_cache(maxsize=64)
def _quantiles(tail: float) -> Any:
    """Return Student's quantiles of a tail for 2, 3, ... seeds."""
    import numpy as np  # start-up
    from scipy import special  # start-up

    return -special.stdtrit(np.arange(1, FURTHEST), tail)


def _changes(values: Look, first: str, second: str) -> dict[int, float]:
    """Return first minus second for the seeds that both have a number of."""
    one, other = values.get(first, {}), values.get(second, {})
    changes = {seed: one[seed] - other[seed] for seed in one if seed in other}
    return {seed: change for seed, change in changes.items() if math.isfinite(change)}


def level_of_look(number: int) -> float:
    """Return the level that the differences of a look are tested at, the first counted as 1.

    Whoever looks, trains more seeds and looks again has several chances to take luck for a difference. The first look
    has the level of 5 %. All later ones share another 2.5 %: each takes half of what is left. Equal specs are thus
    called different in at most 7.5 % of comparisons, however many looks there are.

    Example:
        >>> [round(100 * level_of_look(number), 3) for number in (1, 2, 3)]
        [5.0, 1.25, 0.625]
    """
    level = 1 - CONFIDENCE
    return level if number == 1 else level / 2**number


def look_number(values: Look, first: str, second: str, looks: Sequence[Look]) -> int:
    """Return how many times a pair of specs has been compared, this one included, after looks, the oldest first.

    The same seeds again are the same look. A look at fewer than 2 common seeds tested nothing, and one that saw another
    accuracy with a seed was at other runs.

    Example:
        >>> three = {"bn": {0: 9.0, 1: 9.1, 2: 9.2}, "ln": {0: 9.1, 1: 9.3, 2: 9.0}}
        >>> two = {spec: {seed: seeds[seed] for seed in (0, 1)} for spec, seeds in three.items()}
        >>> look_number(three, "bn", "ln", [two]), look_number(three, "bn", "ln", [two, three, three])
        (2, 2)
    """
    now, before = set(_changes(values, first, second)), []
    for look in looks:
        seeds = set(_changes(look, first, second))
        same = all(
            look[label][seed] == values[label][seed] for label in (first, second) for seed in seeds & set(values[label])
        )
        if len(seeds) < 2 or not same or seeds in before:
            continue
        if seeds == now:
            break
        before.append(seeds)
    return len(before) + 1


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected so that the chance of any false positive among them stays at the level.

    Holm's step-down procedure (1979); it assumes nothing about how the tests depend on each other.

    Example:
        >>> holm([0.01, 0.04, 0.03, 0.005])
        [0.03, 0.06, 0.06, 0.02]
    """
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted


@dataclass(frozen=True)
class ErrorCounts:
    """On how many test images two trained models disagree about being right.

    Args:
        only_first: Images that the first gets wrong and the second right.
        only_second: Images that the second gets wrong and the first right.
        p: Two-sided p value of McNemar's exact test.
    """

    only_first: int
    only_second: int
    p: float


def mcnemar(first_wrong: Sequence[bool], second_wrong: Sequence[bool]) -> ErrorCounts:
    """Compare the errors of two trained models on the same images: McNemar's exact test.

    Assumes that images are drawn independently. It speaks of these two trained models on other images of the kind; it
    says nothing of what training again with another seed would give.

    Args:
        first_wrong: Whether the first model is wrong, an image each.
        second_wrong: The same of the second model, on the same images in the same order.

    Example:
        >>> mcnemar([True] * 2 + [False] * 9, [False] * 2 + [True] * 9).only_second
        9

    References:
        McNemar, 1947, Psychometrika 12.
    """
    from scipy import stats  # start-up

    if len(first_wrong) != len(second_wrong):
        raise TfnormError(
            "Both models must have been tested on the same images. "
            f"Received: {len(first_wrong)} and {len(second_wrong)} images."
        )
    pairs = list(zip(first_wrong, second_wrong, strict=True))
    first, second = sum(bool(a) and not b for a, b in pairs), sum(bool(b) and not a for a, b in pairs)
    p = float(stats.binomtest(first, first + second, 0.5).pvalue) if first + second else 1.0
    return ErrorCounts(first, second, p)
