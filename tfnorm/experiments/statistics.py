"""Which differences between normalizations are real, and which are the luck of a seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tfnorm.errors import TfnormError
from tfnorm.text import p_text

CONFIDENCE = 0.95
# What the accuracies were when a verdict was shown before: label to seed to accuracy in percent.
Look = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class Summary:
    """Mean of one normalization over seeds.

    Args:
        seeds: Number of values.
        mean: Their mean.
        std: Their standard deviation (n - 1); NaN for one value.
        low: Lower end of the interval for the mean; NaN for one value.
        high: Upper end.
    """

    seeds: int
    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
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

    def is_significant(self) -> bool:
        """Return whether p is below 5 % over all pairs together, for the seeds that did not diverge."""
        return self.p_adjusted < 1 - CONFIDENCE

    def is_real(self) -> bool:
        """Return whether the difference is shown: a spec that diverged with some seed is better than no other."""
        return self.is_significant() and self.better not in self.diverged

    @property
    def better(self) -> str:
        """The one with the larger mean."""
        return self.first if self.mean > 0 else self.second

    @property
    def worse(self) -> str:
        """The other one."""
        return self.second if self.better == self.first else self.first

    def __str__(self) -> str:
        if not self.seeds:
            return (
                f"{self.first} and {self.second} share no seed that ended with an accuracy: no ranking is justified. "
                "Train the same seeds with both, at least 3."
            )
        if self.seeds < 2:
            return (
                f"{self.first} and {self.second} differ by {abs(self.mean):.2f} points in one run each: "
                "no ranking is justified. Train at least 3 seeds."
            )
        if self.is_real():
            by = f"{abs(self.mean):.2f} ± {self.half_width:.2f} points"
            return f"{self.better} beats {self.worse} by {by}, p {p_text(self.p_adjusted)}"
        if self.is_significant():
            return (
                f"no ranking of {self.first} and {self.second} is justified: {self.better}, which is better in the "
                "mean, diverged with other seeds"
            )
        # Without the interval: it is that of the pair alone, and may leave out 0 where the corrected p shows nothing.
        found = f"{self.mean:+.2f} points, p {p_text(self.p_adjusted)}"
        return (
            f"no difference shown between {self.first} and {self.second} ({found}): "
            f"{self.seeds} seeds detect only differences over {self.detectable:.2f}"
        )


def summarize(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Summary:
    """Return mean, standard deviation and Student's interval for the mean.

    Assumes that values of different seeds are independent and roughly normal; with few seeds nothing can check the
    latter.

    Args:
        values: One a seed.
        confidence: Of the interval.

    Example:
        >>> s = summarize([99.1, 99.3, 99.2])
        >>> round(s.mean, 2), round(s.low, 2), round(s.high, 2)
        (99.2, 98.95, 99.45)
    """
    from scipy import special

    n = len(values)
    if n == 0:
        raise TfnormError("There is nothing to summarize. Give at least one value.")
    mean = math.fsum(values) / n
    if n == 1:
        return Summary(1, mean, math.nan, math.nan, math.nan)
    std = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = float(special.stdtrit(n - 1, (1 + confidence) / 2)) * std / math.sqrt(n)
    return Summary(n, mean, std, mean - half, mean + half)


def paired_differences(
    values: Mapping[str, Mapping[int, float]],
    *,
    resolution: float = 0.0,
    pairs: Sequence[tuple[str, str]] | None = None,
    looks: Sequence[Look] = (),
) -> list[Difference]:
    """Compare every pair of normalizations on the seeds that both have.

    Student's paired t test, two-sided. Assumes that the differences of seeds are independent and roughly normal. The
    same seed gives both runs the same initial kernels and data order, which takes their share of the luck out. It says
    whether training again would show the difference again, on this test set; it says nothing of other test images.

    Accuracies move in steps, of one image. Where few seeds give nearly the same difference, their spread is too small
    by that rounding, so that its variance, a sixth of the squared step for a difference, is added: never less
    cautious, and without effect where the spread is wider than an image.

    Args:
        values: Spec to seed to value, such as test accuracy in percent. Values that are not finite are left out.
        resolution: The step of the values: 100 / test images for accuracies in percent.
        pairs: Which pairs to compare; default all.
        looks: What was shown before, the oldest first. A pair that was compared with other seeds before is tested at
            the level of its `look_number`, and its p values say so. Its interval is that of one look.

    Returns:
        One `Difference` a pair, in the order of the specs or of ``pairs``, with 95 % intervals; 5 % is the level over
        these pairs together (Holm, 1979) at the first look.

    References:
        Student, 1908, Biometrika 6. Holm, 1979, Scandinavian Journal of Statistics 6.
    """
    from scipy import special  # a hundredth of the time that scipy.stats takes for a number

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
            found.append(Difference(first, second, n, mean, math.nan, math.nan, math.nan, math.nan, diverged=lost))
            continue
        look = look_number(values, first, second, looks)
        level = level_of_look(look)
        variance = math.fsum((change - mean) ** 2 for change in changes) / (n - 1) + resolution**2 / 6
        error = math.sqrt(variance / n)
        p = 2 * float(special.stdtr(n - 1, -abs(mean) / error)) if error else float(mean == 0)
        half = float(special.stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * error
        strictest = float(special.stdtrit(n - 1, 1 - level / 2 / tested)) * error
        found.append(Difference(first, second, n, mean, half, p, math.nan, strictest, look, lost))
    costs = [d.p * (level_of_look(1) / level_of_look(d.look)) for d in found if not math.isnan(d.p)]
    adjusted = iter(holm(costs))
    return [d if math.isnan(d.p) else replace(d, p_adjusted=next(adjusted)) for d in found]


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
    """Return how many times a pair has been compared, this one included.

    The same seeds again are the same look. A look at fewer than 2 common seeds tested nothing, and one that saw another
    accuracy with a seed was at other runs.

    Args:
        values: What is compared now.
        first: A spec.
        second: Another.
        looks: What was shown before, the oldest first.

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


def about_looks(pairs: Sequence[Difference]) -> str:
    """Return what looking costs, in a sentence or more: how this look was tested, or how a next one will be; or ""."""
    tested = [d for d in pairs if d.seeds > 1]
    if not tested:
        return ""
    number, open_ = max(d.look for d in tested), not all(d.is_real() for d in tested)
    now, after, most = (f"{100 * level:.3g} %" for level in (level_of_look(number), level_of_look(number + 1), 0.075))
    if number == 1:
        if not open_:
            return ""
        return (
            "If you train more seeds, decide now how many. Each look is one more chance to take luck for a "
            f"difference. The next look is therefore tested at {after} in place of 5 %."
        )
    some = "" if all(d.look == number for d in tested) else " some of"
    text = (
        f"This is look {number} at{some} these specs, each with other seeds. It is tested at {now} in place of 5 %; "
        f"the p values are raised accordingly. All looks together call equal specs different in at most {most} of "
        "comparisons."
    )
    return f"{text} With more seeds, the next look is tested at {after}." if open_ else text


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
    from scipy import stats

    if len(first_wrong) != len(second_wrong):
        raise TfnormError(
            "Both models must have been tested on the same images. "
            f"Received: {len(first_wrong)} and {len(second_wrong)} images."
        )
    pairs = list(zip(first_wrong, second_wrong, strict=True))
    first, second = sum(bool(a) and not b for a, b in pairs), sum(bool(b) and not a for a, b in pairs)
    p = float(stats.binomtest(first, first + second, 0.5).pvalue) if first + second else 1.0
    return ErrorCounts(first, second, p)


def verdict(values: Mapping[str, Mapping[int, float]], *, resolution: float = 0.0, looks: Sequence[Look] = ()) -> str:
    """Return what the values say, in a sentence or two.

    A spec that diverged with some seeds is called better than no other: its remaining seeds are the lucky ones. One
    that shares fewer than 2 seeds with each other one is left out.

    Args:
        values: Spec to seed to test accuracy in percent, not finite where the run diverged.
        resolution: See `paired_differences`.
        looks: See there too.
    """
    lost = {label: sum(not math.isfinite(v) for v in seeds.values()) for label, seeds in values.items()}
    notes = [f"{label} diverged in {n} of {len(values[label])} seeds" for label, n in lost.items() if n]
    unfit = {label for label, n in lost.items() if n}
    return " ".join([_said(values, unfit, resolution, looks), *(f"{n}." for n in notes)])


def _said(values: Mapping[str, Mapping[int, float]], unfit: set[str], resolution: float, looks: Sequence[Look]) -> str:
    kept = {label: [v for v in seeds.values() if math.isfinite(v)] for label, seeds in values.items()}
    kept = {label: seeds for label, seeds in kept.items() if seeds}
    if not kept:
        return "No run ended with an accuracy, so that there is nothing to compare."
    means = {label: math.fsum(seeds) / len(seeds) for label, seeds in kept.items()}
    best = max([label for label in means if label not in unfit] or list(means), key=means.__getitem__)
    if len(kept) == 1:
        return f"Only {best} ended with an accuracy: {means[best]:.2f} %."
    differences = paired_differences({label: values[label] for label in kept}, resolution=resolution, looks=looks)
    alone = without_partner(list(kept), differences)
    if len(alone) == len(kept):
        return f"No ranking is justified by {_too_few(values, differences)}"
    kept = {label: seeds for label, seeds in kept.items() if label not in alone}
    able = [label for label in kept if label not in unfit] or list(kept)
    among = [d for d in differences if {d.first, d.second} <= set(kept)]
    sentences = _of_pairs(list(kept), best_in_mean({label: means[label] for label in able}), among)
    return " ".join([*sentences, left_out(alone)] if alone else sentences)


def _too_few(values: Mapping[str, Mapping[int, float]], differences: Sequence[Difference]) -> str:
    """Say how few seeds two specs have in common at most, and what to do."""
    if any(not math.isfinite(value) for seeds in values.values() for value in seeds.values()):
        shared = set.intersection(*(set(seeds) for seeds in values.values()))
        if len(shared) > 2:
            return "the seeds that did not diverge. Lower the learning rate, or leave out what diverges."
    if not any(d.seeds for d in differences):
        return "runs without a common seed. Train the same seeds with each spec, at least 3, as --seeds 3 does."
    common = "common seed" if any(len(seeds) > 1 for seeds in values.values()) else "seed"
    return f"one {common}. Train at least 3 seeds, for example with --seeds 3."


def best_in_mean(means: Mapping[str, float]) -> list[str]:
    """Return the labels of the highest mean; several where they are equal in the two decimals that are written.

    Example:
        >>> best_in_mean({"bn": 95.001, "ln": 94.0, "gn:2": 94.999})
        ['bn', 'gn:2']
    """
    highest = f"{max(means.values()):.2f}"
    return [label for label, mean in means.items() if f"{mean:.2f}" == highest]


def _of_pairs(kept: Sequence[str], best: Sequence[str], differences: Sequence[Difference]) -> list[str]:
    """Say which differences are real, and which specs are not shown to differ from the best."""
    tested = [d for d in differences if d.seeds > 1]
    untested = [f"{d.first} with {d.second}" for d in differences if d.seeds < 2]
    rest = [f"Too few common seeds to compare {listed(untested)}."] if untested else []
    real = [d for d in tested if d.is_real()]
    if not real and any(d.is_significant() for d in tested):
        return ["No ranking is justified: what is better in the mean diverged with other seeds.", *rest]
    if not real:
        return [f"No difference shown between {listed(kept)}: {_detected(tested)}.", *rest]
    sentences = [f"{d}." for d in real]
    equal = [label for label in kept for d in tested if {best[0], label} == {d.first, d.second} and not d.is_real()]
    others = [label for label in equal if label not in best]
    if len(best) > 1:
        sentences.append(f"{listed(best)} are equal in the mean.")
        if others:
            sentences.append(f"{listed(others)} {is_or_are(others)} not shown to differ from them.")
    elif equal:
        sentences.append(f"No difference shown between {best[0]}, the best in the mean, and {listed(equal)}.")
    return [*sentences, *rest]


def _detected(tested: Sequence[Difference]) -> str:
    """Say which differences so many seeds detect, for each number of seeds that two specs have in common."""
    found: dict[int, list[float]] = {}
    for d in tested:
        found.setdefault(d.seeds, []).append(d.detectable)
    return ", ".join(f"{seeds} seeds {_detect(found[seeds])}" for seeds in sorted(found, reverse=True))


def _detect(least: Sequence[float]) -> str:
    """Say which differences are detected, whose least size is another for each pair."""
    told = sorted(size for size in least if size < 100)
    if not told:
        return "that spread so far detect no difference at all"
    low, high = f"{told[0]:.2f}", f"{told[-1]:.2f}"
    text = (
        f"detect only differences over {low} points"
        if low == high
        else (f"detect only differences over {low} to {high} points, depending on the pair")
    )
    return text if len(told) == len(least) else f"{text}, and none at all between pairs that spread too far"


def without_partner(labels: Sequence[str], differences: Sequence[Difference]) -> list[str]:
    """Return the labels that share fewer than 2 seeds with each other one, so that nothing can be said of them."""
    paired = {label for d in differences if d.seeds > 1 for label in (d.first, d.second)}
    return [label for label in labels if label not in paired]


def left_out(alone: Sequence[str]) -> str:
    """Say why the labels of `without_partner` are left out.

    Example:
        >>> left_out(["gn:2"])
        'gn:2 shares fewer than 2 seeds with each of the others and is left out.'
    """
    share = "shares" if len(alone) == 1 else "share"
    return f"{listed(alone)} {share} fewer than 2 seeds with each of the others and {is_or_are(alone)} left out."


def listed(labels: Sequence[str]) -> str:
    """Return labels as in a sentence.

    Example:
        >>> listed(["bn"]), listed(["bn", "gn:2", "ln"])
        ('bn', 'bn, gn:2 and ln')
    """
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"


def is_or_are(labels: Sequence[str]) -> str:
    """Return the verb that goes with so many labels."""
    return "is" if len(labels) == 1 else "are"
