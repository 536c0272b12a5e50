"""Which combination of a sweep is the best of each norm, and whether the differences between them are real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tfnorm.experiments.findings import Findings
from tfnorm.experiments.sequential import Known, decide
from tfnorm.experiments.statistics import Look, paired_differences
from tfnorm.experiments.sweep.combination import Combination
from tfnorm.experiments.verdict import about_looks, guessing_notes, headline, verdict
from tfnorm.metrics.metric import ACCURACY, Metric


@dataclass(frozen=True)
class Best:
    """The best combination of each norm. The best in the mean comes first, those that learned nothing come last."""

    chosen: Sequence[Combination]
    among: Mapping[str, int]  # norm to the number of combinations that its best was chosen from
    pairs: Sequence[Known]  # between the chosen ones, under the names of the norms, corrected over all pairs
    resolution: float = 0.0  # one test image in percent
    metric: Metric = ACCURACY  # what the runs are about

    @cached_property
    def findings(self) -> Findings:
        """What their accuracies show, under the names of the norms."""
        accuracies = {each.norm: each.accuracies for each in self.chosen}
        guessing = [each.norm for each in self.chosen if each.guesses]
        return Findings(accuracies, self.pairs, guessing, self.resolution, metric=self.metric)

    @property
    def headline(self) -> str:
        """The result, in a sentence or two."""
        return headline(self.findings, {each.norm: each.label for each in self.chosen}, self.among)

    @property
    def verdict(self) -> str:
        """What the differences say, in sentences."""
        return verdict(self.findings)

    @property
    def notes(self) -> list[str]:
        """Sentences about what learned nothing, and about what looks cost."""
        notes = guessing_notes({each.norm: each.learned for each in self.chosen}, self.metric)
        return [*notes, *filter(None, [about_looks(self.pairs)])]


def best_of_each(
    combinations: Sequence[Combination],
    *,
    resolution: float = 0.0,
    looks: Sequence[Look] = (),
    margin: float = 0.0,
    auto: bool = False,
) -> Best:
    """Choose the best combination of each norm by mean accuracy, or another metric, and compare them with each other.

    A combination with a seed that diverged or is not trained yet is chosen only if the norm has no other: the mean of
    fewer seeds is more often a lucky one. The same holds for one that is not shown to have learned anything. The choice
    flatters the accuracies of the chosen ones, and the comparison does not correct for it. Earlier looks have the
    accuracies by the labels of combinations. With ``auto``, seeds were added until it was decided
    (`tfnorm.experiments.sequential`).
    """
    chosen, among = [], {}
    metric = combinations[0].metric if combinations else ACCURACY
    for norm in dict.fromkeys(combination.norm for combination in combinations):
        ended = [c for c in combinations if c.norm == norm and c.finite]
        pool = [c for c in ended if c.complete] or ended
        if pool:
            ranked = sorted(pool, key=lambda c: -metric.sign * c.mean)
            chosen.append(next((c for c in ranked if not c.guesses), ranked[0]))
            among[norm] = len(pool)
    chosen.sort(key=lambda c: (c.guesses, -metric.sign * c.mean))
    values = {c.norm: c.accuracies for c in chosen}
    how: Any = {"margin": margin, "resolution": resolution, "lower_is_better": metric.sign < 0}
    if auto:
        return Best(chosen, among, decide(values, **how).pairs, resolution, metric)
    before = [{c.norm: look[c.label] for c in chosen if c.label in look} for look in looks]
    return Best(chosen, among, paired_differences(values, looks=before, **how), resolution, metric)


def warning(best: Best, *, images: str, holdout: bool) -> str:
    """Return the warning that choosing the best of many flatters its accuracy, or "" if there was no choice."""
    total = sum(best.among.values())
    if total == len(best.among):
        return ""
    values = "accuracies" if best.metric.is_accuracy else "values"
    text = (
        f"Choosing flatters: these {values} are the {best.metric.highest} of {total} combinations, on the {images} "
        "they were chosen by, and the differences look surer than they are."
    )
    if holdout:
        return (
            f"{text} The test set was not touched: train the chosen ones without holdout, on new seeds, to report them."
        )
    return (
        f"{text} For numbers to report, sweep with holdout = 0.2 in [settings], which leaves the test set alone, and "
        "train what was chosen once more without it, on new seeds."
    )
