"""Which combination of a sweep is the best of each norm, and whether the differences between them are real."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tfnorm.experiments.comparison.guessing import Learned, guessing_notes, learned
from tfnorm.experiments.statistics import (
    Difference,
    Look,
    about_looks,
    best_in_mean,
    is_or_are,
    listed,
    paired_differences,
    verdict,
)
from tfnorm.training.runs import Run


@dataclass(frozen=True)
class Combination:
    """What the seeds of one combination of a grid reached.

    Args:
        norm: The spec without penalties.
        label: The spec and the other axes, in words.
        accuracies: Seed to test accuracy in percent after the last epoch, NaN for a run that diverged.
        planned: How many seeds it is to have.
        runs: Its finished runs.
    """

    norm: str
    label: str
    accuracies: Mapping[int, float]
    planned: int
    runs: Sequence[Run] = field(default=(), compare=False, repr=False)

    @functools.cached_property
    def learned(self) -> Learned | None:
        """What the predictions say besides their accuracy, None without any."""
        return learned(self.runs)

    @property
    def guesses(self) -> bool:
        """Whether it is not shown to have learned anything."""
        return self.learned is not None and self.learned.nothing

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
        chosen: One a norm, the best in the mean first, but those that learned nothing last.
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
        able = [combination for combination in self.chosen if not combination.guesses]
        if not able:
            return "None of them: no combination is shown to have learned anything."
        empty = [combination.norm for combination in self.chosen if combination.guesses]
        without = f" {listed(empty)} {is_or_are(empty)} not shown to have learned anything." if empty else ""
        return self._of_those_that_learned(able) + without

    def _of_those_that_learned(self, chosen: Sequence[Combination]) -> str:
        first, rest = chosen[0], chosen[1:]
        reached = f"{first.mean:.2f} %"
        if not rest:
            many = self.among[first.norm]
            return f"{first.label} reaches {reached}{f', the highest of {many} combinations' if many > 1 else ''}."
        top = best_in_mean({combination.norm: combination.mean for combination in chosen})
        norms = {combination.norm for combination in chosen}
        if all(pair.seeds < 2 for pair in self.pairs if {pair.first, pair.second} <= norms):
            happen = "happens" if len(top) == 1 else "happen"
            return f"No ranking is justified by one seed: {listed(top)} {happen} to come out highest, with {reached}."
        beaten = {other.norm for other in rest if self._beats(first, other.norm)}
        equal = [other.norm for other in rest if other.norm not in beaten]
        if not equal:
            return f"{first.norm} is the best: {reached} at its best setting, more than any other at theirs."
        if beaten:
            worse = listed([other.norm for other in rest if other.norm in beaten])
            if len(top) > 1:
                return f"{listed(top)} reach the most, {reached} each. {first.norm} is shown to be better than {worse}."
            return (
                f"{first.norm} reaches the most, {reached}: more than {worse}, but not shown to be more than "
                f"{listed(equal)}, each at its best setting."
            )
        low = f"{min(other.mean for other in rest):.2f}"
        if len(top) == len(chosen):
            return f"No normalization is shown to be the best: at their best settings all of them reach {reached}."
        return (
            f"No normalization is shown to be the best: at their best settings they reach {low} to {reached}, "
            f"{listed(top)} the most."
        )

    @property
    def notes(self) -> list[str]:
        """Sentences about what learned nothing, and about what looks cost."""
        told = guessing_notes({combination.norm: combination.learned for combination in self.chosen})
        return [*told, *filter(None, [about_looks(self.pairs)])]

    @property
    def look(self) -> Look:
        """What is seen here, as a later look has to know it."""
        return {combination.label: combination.accuracies for combination in self.chosen}

    def _beats(self, first: Combination, norm: str) -> bool:
        """Return whether the first is shown to be better than a norm; one that diverged with some seed never is."""
        return not first.diverged and any(
            {first.norm, norm} == {pair.first, pair.second} and pair.is_real() and pair.better == first.norm
            for pair in self.pairs
        )


def best_of_each(combinations: Sequence[Combination], *, resolution: float = 0.0, looks: Sequence[Look] = ()) -> Best:
    """Choose the best combination of each norm by mean accuracy, and compare them with each other.

    Combinations of which a seed diverged, or is not trained yet, are chosen only where a norm has no other: the mean of
    fewer seeds is more often a lucky one. The same holds for those that are not shown to have learned anything. The
    accuracies of what was chosen are flattered by the choice, and the comparison does not know of it.

    Args:
        combinations: Of all norms.
        resolution: One test image in percent, see `tfnorm.experiments.statistics.paired_differences`.
        looks: What was shown before, by the labels of combinations, the oldest first.
    """
    chosen, among = [], {}
    for norm in dict.fromkeys(combination.norm for combination in combinations):
        ended = [c for c in combinations if c.norm == norm and c.finite]
        pool = [c for c in ended if c.complete] or ended
        if pool:
            ranked = sorted(pool, key=lambda c: -c.mean)
            chosen.append(next((c for c in ranked if not c.guesses), ranked[0]))
            among[norm] = len(pool)
    chosen.sort(key=lambda c: (c.guesses, -c.mean))
    values = {combination.norm: combination.accuracies for combination in chosen}
    before = [{c.norm: look[c.label] for c in chosen if c.label in look} for look in looks]
    pairs = paired_differences(values, resolution=resolution, looks=before)
    return Best(chosen, among, pairs, verdict(values, resolution=resolution, looks=before))


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
