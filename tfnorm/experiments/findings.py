"""What values by seed show of several specs: which ended, which are beaten, and which are left to choose from."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tfnorm.experiments.sequential import Known
from tfnorm.experiments.statistics import Look
from tfnorm.metrics.metric import ACCURACY, Metric

# Speeds closer than this are called alike: the clock of a busy machine tells them no better.
SPEED_TOLERANCE = 0.05
# Points of accuracy that one gives away for size and speed, at most.
MEANINGFUL = 0.5


def usual_margin(metric: Metric, resolution: float = 0.0) -> float:
    """Return which differences matter if nobody says so: half a point, or one test image; 0 for what is no share."""
    return max(MEANINGFUL, resolution) if metric.percent else 0.0


@dataclass(frozen=True)
class Findings:
    """The facts that `tfnorm.experiments.verdict` puts into words, each worked out once."""

    accuracies: Look  # spec to seed to value in the unit of tables, not finite where the run diverged
    pairs: Sequence[Known]  # between all specs
    guessing: Collection[str] = ()  # the specs that are not shown to have learned anything
    resolution: float = 0.0  # one test image in percent, 0 where values move in no steps
    parameters: Mapping[str, int] = field(default_factory=dict)  # the number of trainable ones; none if not known
    speeds: Mapping[str, float] = field(default_factory=dict)  # images a second of training; none if not known
    metric: Metric = ACCURACY  # what the values are of
    asked_margin: float | None = None  # which differences matter, if somebody says so

    @cached_property
    def means(self) -> dict[str, float]:
        """The mean of the values that are numbers, for each spec that has any."""
        values = {spec: [v for v in seeds.values() if math.isfinite(v)] for spec, seeds in self.accuracies.items()}
        return {spec: float(np.mean(finite)) for spec, finite in values.items() if finite}

    @cached_property
    def lost(self) -> dict[str, int]:
        """With how many seeds each spec diverged, for those that did with any."""
        counts = {spec: sum(not math.isfinite(v) for v in seeds.values()) for spec, seeds in self.accuracies.items()}
        return {spec: count for spec, count in counts.items() if count}

    @cached_property
    def ended(self) -> list[str]:
        """The specs that ended with a value with every seed."""
        return [spec for spec in self.means if spec not in self.lost]

    @cached_property
    def fit(self) -> list[str]:
        """Those of them that learned something."""
        return [spec for spec in self.ended if spec not in self.guessing]

    def among(self, specs: Collection[str]) -> list[Known]:
        """Return the differences between some specs."""
        return [d for d in self.pairs if d.first in specs and d.second in specs]

    def alone(self, specs: Collection[str]) -> list[str]:
        """Return those that share fewer than 2 seeds with each other one, so that nothing can be said of them."""
        paired = {spec for d in self.among(specs) if d.seeds > 1 for spec in (d.first, d.second)}
        return [spec for spec in specs if spec not in paired]

    def best_in_mean(self, specs: Collection[str]) -> list[str]:
        """Return the specs of the best mean, several where they are equal in the decimals that are written."""
        best = self.metric.number(self.metric.best_of(self.means[spec] for spec in specs))
        return [spec for spec in specs if self.metric.number(self.means[spec]) == best]

    def merit(self, spec: str) -> float:
        """Return a spec's mean as a number of which more is better."""
        return self.metric.sign * self.means[spec]

    @cached_property
    def candidates(self) -> list[str]:
        """The fit specs that can be compared; none where no two of them share 2 seeds."""
        alone = self.alone(self.fit)
        return [spec for spec in self.fit if spec not in alone]

    @cached_property
    def kept(self) -> list[str]:
        """The candidates that no other is shown to beat, but for those whose mean is worse than that of a beaten one.

        What is shown to be worse by less than the margin counts as not beaten. Seeds that spread too far to show that a
        spec is worse do not speak for it.
        """
        beaten = {d.worse for d in self.among(self.candidates) if d.outcome == "better"}
        floor = max(map(self.merit, beaten), default=-math.inf)
        kept = [spec for spec in self.candidates if spec not in beaten and self.merit(spec) >= floor]
        return kept or self.candidates

    @cached_property
    def dropped(self) -> list[str]:
        """The other candidates."""
        return [spec for spec in self.candidates if spec not in self.kept]

    @cached_property
    def top(self) -> list[str]:
        """The best in the mean of those that are kept, the very best first."""
        best = max(self.kept, key=self.merit)
        return sorted(self.best_in_mean(self.kept), key=lambda spec: spec != best)

    @cached_property
    def margin(self) -> float:
        """How much one gives away for size and speed, at most: of another metric than a share, nothing is known."""
        return usual_margin(self.metric, self.resolution) if self.asked_margin is None else self.asked_margin

    @cached_property
    def below(self) -> dict[str, float]:
        """How much worse each kept spec is than the best at most, by the interval of that pair, if any.

        Of specs that are shown to be equivalent it is no more than the largest difference that is not excluded.
        """
        best = self.top[0]
        found = {best: 0.0}
        for d in self.among(self.kept):
            if best in (d.first, d.second) and d.seeds > 1:
                other, sign = (d.second, self.metric.sign) if d.first == best else (d.first, -self.metric.sign)
                low, high = d.ends()
                most = max(0.0, high if sign > 0 else -low)
                found[other] = min(most, d.at_most) if d.is_equivalent() else most
        return found

    @cached_property
    def close(self) -> list[str]:
        """The kept specs that are at most the margin worse than the best."""
        return [spec for spec in self.kept if self.below.get(spec, math.inf) <= self.margin]

    def fewest(self, specs: Sequence[str]) -> tuple[int, list[str]]:
        """Return the least number of parameters of some specs, and which have it."""
        fewest = min(self.parameters[spec] for spec in specs)
        return fewest, [spec for spec in specs if self.parameters[spec] == fewest]

    def fastest(self, specs: Sequence[str]) -> list[str]:
        """Return the specs that are as fast as the fastest of some, as far as a clock can tell."""
        fastest = max((self.speeds[spec] for spec in specs if math.isfinite(self.speeds[spec])), default=math.nan)
        return [s for s in specs if self.speeds[s] >= (1 - SPEED_TOLERANCE) * fastest] or list(specs)
