"""Which combination of a sweep is the best of each norm, and whether the differences between them are real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tfnorm.experiments.findings import Findings
from tfnorm.experiments.statistics import Difference, Look, paired_differences
from tfnorm.experiments.sweep.combination import Combination
from tfnorm.experiments.verdict import about_looks, guessing_notes, headline, verdict


@dataclass(frozen=True)
class Best:
    """The best combination of each norm.

    Args:
        chosen: One combination for each norm. The best in the mean comes first, those that learned nothing come last.
        among: Norm to the number of combinations that its best was chosen from.
        pairs: The differences between the chosen ones, under the names of the norms, corrected over all pairs.
        resolution: One test image in percent.
    """

    chosen: Sequence[Combination]
    among: Mapping[str, int]
    pairs: Sequence[Difference]
    resolution: float = 0.0

    @cached_property
    def findings(self) -> Findings:
        """What their accuracies show, under the names of the norms."""
        guessing = [combination.norm for combination in self.chosen if combination.guesses]
        accuracies = {combination.norm: combination.accuracies for combination in self.chosen}
        return Findings(accuracies, self.pairs, guessing, self.resolution)

    @property
    def headline(self) -> str:
        """The result, in a sentence or two."""
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
        """The accuracies of this look, for the record of looks."""
        return {combination.label: combination.accuracies for combination in self.chosen}


def best_of_each(combinations: Sequence[Combination], *, resolution: float = 0.0, looks: Sequence[Look] = ()) -> Best:
    """Choose the best combination of each norm by mean accuracy, and compare them with each other.

    A combination with a seed that diverged or is not trained yet is chosen only if the norm has no other: the mean of
    fewer seeds is more often a lucky one. The same holds for one that is not shown to have learned anything. The choice
    flatters the accuracies of the chosen ones, and the comparison does not correct for it.

    Args:
        combinations: The combinations of all norms.
        resolution: One test image in percent, see `tfnorm.experiments.statistics.paired_differences`.
        looks: The accuracies of earlier looks, by the labels of combinations, the oldest first.
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
    """Return the warning that choosing the best of many flatters its accuracy, or "" if there was no choice.

    Args:
        best: The choice.
        images: Name of the images that the accuracies are measured on, such as "test set".
        holdout: Whether these images were held out from training, so that the test set is untouched.
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
