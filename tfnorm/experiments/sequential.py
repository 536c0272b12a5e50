"""How many seeds it takes: looks at a comparison after every round, with one bound on the error of all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from tfnorm.errors import TfnormError
from tfnorm.experiments.statistics import FURTHEST, Difference, Look, Ordered, seeds_to_decide

# The chance that any statement on any pair after any look is wrong is at most this, and the part of it that waits for
# specs that are added after a look.
ERROR, FOR_LATER = 0.05, 0.2
# Seeds of each spec before the first look, and at most.
FIRST_LOOK, MOST_SEEDS = 3, 20


def enrolled(families: Iterable[Sequence[str]], specs: Iterable[str]) -> list[list[str]]:
    """Return specs in the order in which they came, those that came together in one list.

    Args:
        families: What this returned at the look before; nothing before the first.
        specs: The specs of now. Those that are not there any more keep their share of the error.

    Example:
        >>> enrolled([], ["bn", "ln"]), enrolled([["bn", "ln"]], ["ln", "frn"])
        ([['bn', 'ln']], [['bn', 'ln'], ['frn']])
    """
    found = [list(family) for family in families]
    new = [spec for spec in dict.fromkeys(specs) if not any(spec in family for family in found)]
    if found and len(found[0]) < 2:  # a spec alone was compared with nothing
        found[0] += new
    elif new:
        found.append(new)
    return found


def shares(families: Sequence[Sequence[str]]) -> dict[frozenset[str], float]:
    """Return the chance of a wrong statement that each pair of specs may have, over all looks.

    The specs of the first look have four fifths of the 5 %, in equal parts for each pair (Bonferroni). Those that are
    added pay for it themselves: the first of them have a tenth, those added after that a twentieth, and so on.

    Example:
        >>> {"-".join(sorted(pair)): round(100 * share, 2) for pair, share in shares([["a", "b"], ["c"]]).items()}
        {'a-b': 4.0, 'a-c': 0.25, 'b-c': 0.25}
    """
    found: dict[frozenset[str], float] = {}
    known: list[str] = []
    for number, family in enumerate(families):
        pairs = [frozenset((one, other)) for place, other in enumerate(family) for one in [*known, *family[:place]]]
        part = FOR_LATER / 2**number if number else 1 - FOR_LATER
        found |= {pair: ERROR * part / len(pairs) for pair in pairs}
        known += family
    return found


def spent(families: Sequence[Sequence[str]], looked_at: Mapping[frozenset[str], int]) -> float:
    """Return how much of the 5 % is spent, of pairs that were looked at with so many common seeds.

    Example:
        >>> pair = frozenset(("bn", "ln"))
        >>> [round(100 * spent([["bn", "ln"]], {pair: seeds}), 2) for seeds in (2, 3, 10, 20)]
        [0.0, 0.08, 2.15, 3.53]
    """
    part = shares(families)
    looks = {pair: np.arange(FIRST_LOOK, seeds + 1, dtype=float) for pair, seeds in looked_at.items()}
    return math.fsum(part[pair] * float(np.sum(_weights(seeds))) / _ALL_WEIGHTS for pair, seeds in looks.items())


def _weights(seeds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the relative share of a pair's error that the look at so many seeds takes.

    Of the shapes that were simulated it decides soonest, where the spread is a fifth to four fifths of the margin. The
    first looks have little, since so few seeds show next to nothing with any share.
    """
    after = seeds - FIRST_LOOK + 1
    return after / (8.0**4 + after**4)


# All looks after that add 1e-10 of it.
_ALL_WEIGHTS = float(np.sum(_weights(np.arange(FIRST_LOOK, 10**6, dtype=float))))


@lru_cache(maxsize=1024)
def critical_values(tail: float, last: int) -> NDArray[np.float64]:
    """Return how many standard errors a bound is away from the mean, after 3, 4, ... and ``last`` seeds.

    The bounds on one side, of normal values of any mean and spread, hold after 3, 4, 5, ... seeds without end, all
    together but for a chance of ``tail``. Each look has its share of that. Looks that share most of their values are
    seldom wrong alone, so that the shares add up to more than the whole; ``benchmarks/decisions.py`` checks by how much
    they may.
    """
    from scipy import special  # start-up

    seeds = np.arange(FIRST_LOOK, last + 1, dtype=float)
    alike = 1 + 4.5 * tail**0.24
    return -special.stdtrit(seeds - 1, tail * alike * _weights(seeds) / _ALL_WEIGHTS)


@dataclass(frozen=True)
class Pair(Ordered):
    """What is known of first minus second, paired by seed, after all looks.

    Args:
        first: A spec.
        second: Another.
        seeds: Number of seeds that both ended with a value with.
        mean: Mean difference, in the unit of the values; NaN without a common seed.
        low: Lower end of the interval of the difference.
        high: Upper end.
        at_most: The largest difference, of either sign, that is not excluded. It may be less than ``low`` and ``high``
            say: see `decide`.
        margin: Differences of this size matter.
        needed: The number of seeds that would probably decide the pair, if mean and spread stay as they are; `None`
            where it is decided, or would take more than 1,000.
        diverged: Those of the two that ended without a value with some seed.
        settled: Whether it stays undecided because one of the two is out.
        lower_is_better: Whether the smaller of two values is the better one.
    """

    first: str
    second: str
    seeds: int
    mean: float
    low: float
    high: float
    at_most: float
    margin: float
    needed: int | None = None
    diverged: tuple[str, ...] = ()
    settled: bool = False
    lower_is_better: bool = False

    def ends(self) -> tuple[float, float]:
        """Return `low` and `high`; of two that are equivalent, what is said of them: that they differ by `at_most`."""
        if not self.is_equivalent():
            return self.low, self.high
        return (0.0 if self.low > 0 else -self.at_most), (0.0 if self.high < 0 else self.at_most)

    def is_significant(self) -> bool:
        """Return whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    @property
    def outcome(self) -> str:
        """What is shown, in a word; "settled" for a pair that stays undecided because one of the two is out."""
        return "settled" if self.settled and super().outcome == "undecided" else super().outcome


#: What is known of two specs: from a fixed number of seeds, or after many looks.
Known = Difference | Pair


@dataclass(frozen=True)
class Decisions:
    """What the values of some specs decide.

    Args:
        pairs: One a pair, in the order of the specs.
        out: The specs of which nobody needs more seeds, each with the one that is shown to beat it, by the most, or ""
            if a run of it ended without a value.
    """

    pairs: Sequence[Pair]
    out: Mapping[str, str]

    @cached_property
    def open(self) -> list[str]:
        """The specs of which more seeds could decide something."""
        undecided = [pair for pair in self.pairs if pair.outcome == "undecided"]
        return list(dict.fromkeys(spec for pair in undecided for spec in (pair.first, pair.second)))


def decide(
    values: Look,
    margin: float,
    *,
    families: Sequence[Sequence[str]] = (),
    resolution: float = 0.0,
    lower_is_better: bool = False,
) -> Decisions:
    """Say of each pair of specs whether one is better, whether they are equivalent, or that neither is shown.

    You may look after any number of seeds, as often as you like, stop when you like, and choose the margin afterwards:
    in at least 95 % of comparisons, all bounds of all pairs hold, after 3, 4, 5, ... seeds in ascending order. They are
    repeated confidence bounds of Student's paired t (Jennison and Turnbull, 1989): each pair has its share of the error
    (`shares`), and each look its share of that. What one look has excluded stays excluded.

    A pair is *better* where its interval leaves out 0. It is *equivalent* where two one-sided bounds, each of the whole
    error of the pair, stay within the margin (Schuirmann, 1987). Both may use the whole error, because no pair can be
    wrong in both ways: it would have to differ by nothing and by the margin (Finner and Strassburger, 2002).

    Assumes that the differences of seeds are independent and roughly normal. Specs may spread differently, and seeds
    may make the values of specs go up and down together. Accuracies move in steps: as in
    `tfnorm.experiments.statistics.paired_differences`, the variance of rounding is added. Where the step is not known,
    the smallest difference of any two values is taken for it, so that seeds that all end alike prove nothing alone.

    Args:
        values: Spec to seed to value. A value that is not finite puts the spec out: its other seeds are the lucky ones.
        margin: Differences of this size matter, in the unit of the values. With 0, none is too small to matter.
        families: The specs in the order in which they came, see `enrolled`. Those that are not there came last.
        resolution: The step of the values: 100 / test images for accuracies in percent; 0 if it is not known.
        lower_is_better: If `True`, the smaller of two values is the better one, as for losses.

    Raises:
        TfnormError: If the margin is not a finite number of at least 0.

    References:
        Jennison and Turnbull, 1989, Journal of the Royal Statistical Society B 51. Schuirmann, 1987, Journal of
        Pharmacokinetics and Biopharmaceutics 15. Finner and Strassburger, 2002, Annals of Statistics 30.
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise TfnormError(f"`margin` must be a finite number of at least 0. Received: margin={margin!r}.")
    specs = list(values)
    part = shares(enrolled(families, specs))
    lost = [spec for spec in specs if not all(map(math.isfinite, values[spec].values()))]
    step = resolution or _smallest_gap(values)
    pairs, spreads = [], []
    for place, first in enumerate(specs):
        for second in specs[place + 1 :]:
            one, other, share = values[first], values[second], part[frozenset((first, second))]
            changes = np.array([one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())], float)
            seeds, mean, low, high, at_most, deviation = _known(changes[np.isfinite(changes)], share, step)
            gone = tuple(spec for spec in (first, second) if spec in lost)
            pair = Pair(first, second, seeds, mean, low, high, at_most, margin, None, gone, False, lower_is_better)
            pairs.append(pair)
            spreads.append((deviation, share))
    beaten = sorted((pair for pair in pairs if pair.outcome == "better"), key=lambda pair: abs(pair.mean))
    out = {pair.worse: pair.better for pair in beaten} | dict.fromkeys(lost, "")
    for place, pair in enumerate(pairs):
        if pair.outcome == "undecided" and {pair.first, pair.second} & out.keys():
            pairs[place] = replace(pair, settled=True)
        elif pair.outcome == "undecided":
            pairs[place] = replace(pair, needed=_needed(pair, *spreads[place]))
    return Decisions(pairs, out)


def _known(changes: NDArray[np.float64], share: float, step: float) -> tuple[int, float, float, float, float, float]:
    """Return what differences tell: their number, mean, `low`, `high` and `at_most` of `Pair`, and their deviation.

    Args:
        changes: In the order of the seeds.
        share: Of the error, over all looks.
        step: What values are multiples of.
    """
    count, infinite = len(changes), math.inf
    mean = float(changes.mean()) if count else math.nan
    if count < FIRST_LOOK:
        return count, mean, -infinite, infinite, infinite, math.nan
    seeds = np.arange(1, count + 1)
    # The mean is subtracted so that squares do not cancel.
    sums = np.cumsum(changes - mean)
    squares = np.cumsum((changes - mean) ** 2) - sums**2 / seeds
    means = (mean + sums / seeds)[FIRST_LOOK - 1 :]
    variances = (np.maximum(squares, 0)[1:] / seeds[:-1] + step**2 / 6)[FIRST_LOOK - 2 :]
    errors = np.sqrt(variances / seeds[FIRST_LOOK - 1 :])
    ends = []
    for tail in (share / 2, share):
        away = critical_values(tail, max(FURTHEST, count))[: len(means)] * errors
        low, high = float((means - away).max()), float((means + away).min())
        # Some look was one of the 5 %, or the values are not what is assumed: only the last counts.
        if not low <= mean <= high:
            low, high = float(mean - away[-1]), float(mean + away[-1])
        ends.append((low, high))
    (low, high), (least, most) = ends
    return count, mean, low, high, max(most, -least), math.sqrt(variances[-1])


def _needed(pair: Pair, deviation: float, share: float) -> int | None:
    """Return `Pair.needed` of an undecided pair, given the deviation of its differences and its share of the error."""
    if pair.seeds < FIRST_LOOK:
        return FIRST_LOOK
    after = pair.seeds + 1 - FIRST_LOOK
    two_sided, one_sided = (critical_values(of, max(FURTHEST, pair.seeds))[after:] for of in (share / 2, share))
    return seeds_to_decide(pair.mean, deviation, pair.seeds, two_sided, one_sided, pair.margin)


def _smallest_gap(values: Look) -> float:
    """Return the smallest difference between two values that differ, 0 if there are none."""
    known = np.unique([value for seeds in values.values() for value in seeds.values() if math.isfinite(value)])
    return float(np.min(np.diff(known), initial=math.inf)) if len(known) > 1 else 0.0


@dataclass(frozen=True)
class Race:
    """How far the seeds of a comparison have come.

    Args:
        decisions: What is decided, after the last complete round.
        todo: The runs that the next look waits for, as spec and seed; empty at the end.
        seen: The values that it has asked for so far and got.
    """

    decisions: Decisions
    todo: Sequence[tuple[str, int]]
    seen: Look

    @property
    def looked(self) -> bool:
        """Whether the first look has been taken."""
        return all(len(seeds) >= FIRST_LOOK for seeds in self.seen.values())


def check_most_runs(runs: int, specs: int) -> None:
    """Raise a TfnormError if so many runs are too few for the first look at so many specs."""
    if runs < FIRST_LOOK * specs:
        raise TfnormError(
            f"The first look is at {FIRST_LOOK} seeds of each of the {specs} specs, {FIRST_LOOK * specs} runs. "
            f"Received: at most {runs} runs."
        )


def race(
    values: Look,
    margin: float,
    *,
    seeds: Sequence[int] = range(MOST_SEEDS),
    most_runs: int | None = None,
    families: Sequence[Sequence[str]] = (),
    resolution: float = 0.0,
    lower_is_better: bool = False,
) -> Race:
    """Say which runs to train next, until each pair is decided or the seeds are used up.

    The first look is at 3 seeds of each spec. After each look, every spec that could still be told from another, or
    shown to be equivalent, is trained with one more seed: a spec that another is shown to beat is out. A look counts
    values of complete rounds only. So the end is the same in whatever order runs finish, and however often the race is
    interrupted. Values that it did not ask for count at the end.

    Args:
        values: Spec to seed to value, of all specs, also of those without any run.
        margin: As for `decide`, as are the others.
        seeds: At most these, at least 3, in ascending order.
        most_runs: The most runs that it asks for, at least 3 of each spec; `None` for no limit but the seeds.
        families: As for `decide`.
        resolution: As for `decide`.
        lower_is_better: As for `decide`.

    Raises:
        TfnormError: If the margin is not a finite number of at least 0, or if there are too few seeds or runs for the
            first look.

    Example:
        >>> race({"bn": {0: 98.1, 1: 98.3}, "ln": {0: 97.0, 1: 97.1, 2: 97.2}}, margin=0.5).todo
        [('bn', 2)]
    """
    if len(seeds) < FIRST_LOOK:
        raise TfnormError(f"The first look is at {FIRST_LOOK} seeds. Received: {len(seeds)} seeds at most.")
    if most_runs is not None:
        check_most_runs(most_runs, len(values))

    def look(at: Look) -> Decisions:
        return decide(at, margin, families=families, resolution=resolution, lower_is_better=lower_is_better)

    seen: dict[str, dict[int, float]] = {spec: {} for spec in values}
    found, running = look(seen), list(values)
    for number in range(FIRST_LOOK, len(seeds) + 1):
        due = [(spec, seed) for seed in seeds[:number] for spec in running if seed not in seen[spec]]
        if most_runs is not None and sum(map(len, seen.values())) + len(due) > most_runs:
            break
        if todo := [(spec, seed) for spec, seed in due if seed not in values[spec]]:
            return Race(found, todo, seen)
        for spec, seed in due:
            seen[spec][seed] = values[spec][seed]
        found = look(seen)
        running = found.open
        if not running:
            break
    return Race(look(values), [], seen)
