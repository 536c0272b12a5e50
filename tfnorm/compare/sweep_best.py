"""Which combination of a sweep is the best of each norm, and whether the differences between them are real."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfnorm.compare.statistics import Difference, listed, paired_differences, verdict


@dataclass(frozen=True)
class Combination:
    """What the seeds of one combination of a grid reached.

    Args:
        norm: The spec without penalties.
        label: The spec and the other axes, in words.
        accuracies: Seed to test accuracy in percent after the last epoch, NaN for a run that diverged.
        planned: How many seeds it is to have.
    """

    norm: str
    label: str
    accuracies: Mapping[int, float]
    planned: int

    @property
    def finite(self) -> list[float]:
        """The accuracies of the runs that did not diverge."""
        return [value for value in self.accuracies.values() if math.isfinite(value)]

    @property
    def mean(self) -> float:
        """Their mean, NaN for none."""
        return math.fsum(self.finite) / len(self.finite) if self.finite else math.nan

    @property
    def diverged(self) -> bool:
        """Whether a seed did."""
        return len(self.finite) < len(self.accuracies)

    @property
    def complete(self) -> bool:
        """Whether all seeds ended with a number."""
        return len(self.finite) == self.planned


@dataclass(frozen=True)
class Best:
    """The best combination of each norm.

    Args:
        chosen: One a norm, the best in the mean first.
        among: Norm to the number of combinations that it was chosen from.
        pairs: The differences between those, under the names of the norms, corrected over all pairs.
        said: The verdict about them in sentences.
    """

    chosen: Sequence[Combination]
    among: Mapping[str, int]
    pairs: Sequence[Difference]
    said: str

    @property
    def headline(self) -> str:
        """What a reader takes home, in a sentence."""
        if not self.chosen:
            return "No run has ended with an accuracy yet."
        first, rest = self.chosen[0], self.chosen[1:]
        reached = f"{first.mean:.2f} %"
        if not rest:
            many = self.among[first.norm]
            return f"{first.label} reaches {reached}{f', the highest of {many} combinations' if many > 1 else ''}."
        if all(pair.seeds < 2 for pair in self.pairs):
            return f"No ranking is justified by one seed: {first.norm} happens to come out highest, with {reached}."
        beaten = {other.norm for other in rest if self._beats(first, other.norm)}
        equal = [other.norm for other in rest if other.norm not in beaten]
        if not equal:
            return f"{first.norm} is the best: {reached} at its best setting, more than any other at theirs."
        if beaten:
            worse = listed([other.norm for other in rest if other.norm in beaten])
            return (
                f"{first.norm} reaches the most, {reached}: more than {worse}, but not shown to be more than "
                f"{listed(equal)}, each at its best setting."
            )
        low = min(other.mean for other in rest)
        return (
            f"No normalization is shown to be the best: at their best settings they reach {low:.2f} to {reached}, "
            f"{first.norm} the most."
        )

    def _beats(self, first: Combination, norm: str) -> bool:
        """Return whether the first is shown to be better than a norm; one that diverged with some seed never is."""
        return not first.diverged and any(
            {first.norm, norm} == {pair.first, pair.second} and pair.is_real() and pair.better == first.norm
            for pair in self.pairs
        )


def best_of_each(combinations: Sequence[Combination], *, resolution: float = 0.0) -> Best:
    """Choose the best combination of each norm by mean accuracy, and compare them with each other.

    Combinations of which a seed diverged, or is not trained yet, are chosen only where a norm has no other: the mean of
    fewer seeds is more often a lucky one. The accuracies of what was chosen are flattered by the choice, and the
    comparison does not know of it.

    Args:
        combinations: Of all norms.
        resolution: One test image in percent, see `tfnorm.compare.statistics.paired_differences`.
    """
    chosen, among = [], {}
    for norm in dict.fromkeys(combination.norm for combination in combinations):
        ended = [c for c in combinations if c.norm == norm and c.finite]
        pool = [c for c in ended if c.complete] or ended
        if pool:
            chosen.append(max(pool, key=lambda c: c.mean))
            among[norm] = len(pool)
    chosen.sort(key=lambda c: -c.mean)
    values = {combination.norm: combination.accuracies for combination in chosen}
    pairs = paired_differences(values, resolution=resolution)
    return Best(chosen, among, pairs, verdict(values, resolution=resolution))


def warning(best: Best, *, images: str, holdout: bool) -> str:
    """Return what choosing the best of many does to its accuracy, and what to do about it; "" if nothing was chosen.

    Args:
        best: The choice.
        images: Name of the images that the accuracies are of, such as "test set".
        holdout: Whether these were held out from training, so that the test set is untouched.
    """
    total = sum(best.among.values())
    if total == len(best.among):
        return ""
    text = (
        f"Choosing flatters: these accuracies are the highest of {total} combinations, on the {images} they were "
        "chosen by, and the differences look surer than they are."
    )
    if holdout:
        return (
            f"{text} The test set was not touched: train the chosen ones without holdout, on new seeds, to report them."
        )
    return (
        f"{text} For numbers to report, sweep with holdout = 0.2 in [settings], which leaves the test set alone, and "
        "train what was chosen once more without it, on new seeds."
    )
