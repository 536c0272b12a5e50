"""Which combination of a sweep is the best of each norm, and whether the differences between them are real."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tfnorm.experiments.findings import Findings
from tfnorm.experiments.guessing import Learned, learned
from tfnorm.experiments.statistics import Difference, Look, paired_differences
from tfnorm.experiments.verdict import about_looks, guessing_notes, headline, verdict
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
        resolution: One test image in percent.
    """

    chosen: Sequence[Combination]
    among: Mapping[str, int]
    pairs: Sequence[Difference]
    resolution: float = 0.0

    @functools.cached_property
    def findings(self) -> Findings:
        """What their accuracies show, under the names of the norms."""
        guessing = [combination.norm for combination in self.chosen if combination.guesses]
        accuracies = {combination.norm: combination.accuracies for combination in self.chosen}
        return Findings(accuracies, self.pairs, guessing, self.resolution)

    @property
    def headline(self) -> str:
        """What a reader takes home, in a sentence or two."""
        return headline(self.findings, {combination.norm: combination.label for combination in self.chosen}, self.among)

    @property
    def verdict(self) -> str:
        """What the differences say, in sentences."""
        return verdict(self.findings)

    @property
    def notes(self) -> list[str]:
        """Sentences about what learned nothing, and about what looks cost."""
        notes = guessing_notes({combination.norm: combination.learned for combination in self.chosen})
        return [*notes, *filter(None, [about_looks(self.pairs)])]

    @property
    def look(self) -> Look:
        """What is seen here, as a later look has to know it."""
        return {combination.label: combination.accuracies for combination in self.chosen}


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
    return Best(chosen, among, pairs, resolution)


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
