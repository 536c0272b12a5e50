"""Other methods that decide between specs, as their papers say, over all repetitions of a simulation at once.

Each takes values of shape (repetitions, specs, seeds) and a margin, and returns for each repetition and pair what the
first so many seeds decide: 1 where the first is better, -1 where the second is, 2 where they are equivalent, else 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from scipy import special

FIRST, SECOND, EQUIVALENT = 1, -1, 2
LEVEL = 0.05
RESAMPLES = 200
# One seed for all repetitions, so that those of a row can be drawn in any order.
_RESAMPLING = 7


def pairs_of(specs: int) -> list[tuple[int, int]]:
    """Return the places of all pairs."""
    return list(itertools.combinations(range(specs), 2))


def _decided(low: np.ndarray, high: np.ndarray, margin: float) -> np.ndarray:
    """Return what intervals of the differences decide."""
    inside = (low > -margin) & (high < margin)
    return np.where(inside, EQUIVALENT, np.where(low > 0, FIRST, np.where(high < 0, SECOND, 0)))


def _means(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, variance and paired differences of each pair, without a last axis of seeds for the first two."""
    changes = np.stack([values[:, i] - values[:, j] for i, j in pairs_of(values.shape[1])], axis=1)
    return changes.mean(-1), changes.var(-1, ddof=1), changes


def paired_t(values: np.ndarray, margin: float) -> np.ndarray:
    """Student's paired t test at 5 % with Bonferroni's correction over pairs, and two one-sided tests; one look."""
    n, (mean, variance, _) = values.shape[-1], _means(values)
    level, error = LEVEL / mean.shape[1], np.sqrt(variance / n)
    wide, narrow = (-special.stdtrit(n - 1, tail) * error for tail in (level / 2, level))
    inside = np.abs(mean) + narrow < margin
    return np.where(inside, EQUIVALENT, np.where(np.abs(mean) > wide, np.sign(mean), 0)).astype(int)


def bootstrap(values: np.ndarray, margin: float) -> np.ndarray:
    """Percentile bootstrap of the difference of means, stratified by spec (rliable: Agarwal and others, 2021)."""
    n = values.shape[-1]
    rng = np.random.default_rng(_RESAMPLING)
    found = []
    drawn = [rng.multinomial(n, [1 / n] * n, RESAMPLES) / n for _ in range(values.shape[1])]
    means = [values[:, spec] @ drawn[spec].T for spec in range(values.shape[1])]
    for i, j in pairs_of(values.shape[1]):
        low, high = np.quantile(means[i] - means[j], [LEVEL / 2, 1 - LEVEL / 2], axis=-1)
        found.append(_decided(low, high, margin))
    return np.stack(found, 1)


def probability_of_improvement(values: np.ndarray, margin: float) -> np.ndarray:
    """The share of pairs of runs in which the first wins, better where its bootstrap interval leaves out a half."""
    n = values.shape[-1]
    rng = np.random.default_rng(_RESAMPLING)
    drawn = [rng.multinomial(n, [1 / n] * n, RESAMPLES) / n for _ in range(values.shape[1])]
    found = []
    for i, j in pairs_of(values.shape[1]):
        wins = (np.sign(values[:, i, :, None] - values[:, j, None, :]) + 1) / 2
        chances = np.einsum("rxy,bx,by->rb", wins, drawn[i], drawn[j], optimize=True)
        low, high = np.quantile(chances, [LEVEL / 2, 1 - LEVEL / 2], axis=-1)
        found.append(np.where(low > 0.5, FIRST, np.where(high < 0.5, SECOND, 0)))
    return np.stack(found, 1)


def almost_stochastic_order(values: np.ndarray, margin: float) -> np.ndarray:
    """Almost stochastic order, better where the bound of the violation is below 0.2 (Ulmer and others, 2022).

    The violation is the share of the squared distance of two quantile functions where the better one is below (Dror
    and others, 2019), its bound the bootstrap's upper one at 5 % over the number of pairs.
    """
    n, pairs = values.shape[-1], pairs_of(values.shape[1])
    rng = np.random.default_rng(_RESAMPLING)
    chosen = rng.integers(n, size=(values.shape[1], RESAMPLES, n))
    quantile = -special.ndtri(LEVEL / len(pairs))

    def violation(apart: np.ndarray) -> np.ndarray:
        squares = (apart**2).sum(-1)
        return np.where(squares > 0, (np.minimum(apart, 0) ** 2).sum(-1) / np.where(squares > 0, squares, 1), 0.5)

    ordered = np.sort(values, -1)
    found = []
    for i, j in pairs:
        seen = violation(ordered[:, i] - ordered[:, j])
        again = np.empty((len(values), RESAMPLES))
        for number in range(RESAMPLES):
            one, other = (np.sort(values[:, spec, chosen[spec, number]], -1) for spec in (i, j))
            again[:, number] = violation(one - other)
        bound = quantile * again.std(-1)
        found.append(np.where(seen + bound < 0.2, FIRST, np.where(1 - seen + bound < 0.2, SECOND, 0)))
    return np.stack(found, 1)


def friedman(values: np.ndarray, margin: float) -> np.ndarray:
    """F-race: Friedman's test of the ranks by seed, then Conover's of each pair (irace: López-Ibáñez and others, 2016).

    Only from 5 seeds on, as in irace. For two specs it is Wilcoxon's signed-rank test, with its normal approximation.
    """
    repetitions, specs, n = values.shape
    if n < 5:
        return np.zeros((repetitions, len(pairs_of(specs))), int)
    if specs == 2:
        change = values[:, 0] - values[:, 1]
        ranks = _ranks(np.abs(change)) * np.sign(change)
        spread = np.sqrt((ranks**2).sum(-1))
        score = np.divide(ranks.sum(-1), spread, out=np.zeros(repetitions), where=spread > 0)
        return np.where(np.abs(score) > -special.ndtri(LEVEL / 2), np.sign(score), 0).astype(int)[:, None]
    ranks = _ranks(values.transpose(0, 2, 1)).transpose(0, 2, 1)
    sums, squares = ranks.sum(-1), (ranks**2).sum((1, 2))
    centre = n * specs * (specs + 1) ** 2 / 4
    spread = squares - centre
    between = ((sums - n * (specs + 1) / 2) ** 2).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(spread > 0, (specs - 1) * between / spread, 0.0)
        real = special.chdtrc(specs - 1, statistic) < LEVEL
        within = 2 * n * spread * (1 - statistic / (n * (specs - 1))) / ((n - 1) * (specs - 1))
    least = -special.stdtrit((n - 1) * (specs - 1), LEVEL / 2) * np.sqrt(np.maximum(within, 0))
    apart = np.stack([sums[:, i] - sums[:, j] for i, j in pairs_of(specs)], 1)
    return np.where(real[:, None] & (np.abs(apart) > least[:, None]), np.sign(apart), 0).astype(int)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks along the last axis, ties with their mean."""
    above = (values[..., :, None] > values[..., None, :]).sum(-1)
    equal = (values[..., :, None] == values[..., None, :]).sum(-1)
    return above + (equal + 1) / 2


def rope(values: np.ndarray, margin: float) -> np.ndarray:
    """Bayesian t test with a region of practical equivalence (baycomp: Benavoli and others, 2017), where 95 % are sure.

    Runs of different seeds share no data by design, so that the correlation of the "correlated t test" is 0.
    """
    n, (mean, variance, _) = values.shape[-1], _means(values)
    error = np.sqrt(np.maximum(variance, 1e-12) / n)
    below, above = (special.stdtr(n - 1, (edge - mean) / error) for edge in (-margin, margin))
    sure = 1 - LEVEL
    return np.where(above - below > sure, EQUIVALENT, np.where(1 - above > sure, FIRST, np.where(below > sure, -1, 0)))


METHODS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "paired t": paired_t,
    "bootstrap": bootstrap,
    "improvement": probability_of_improvement,
    "aso": almost_stochastic_order,
    "friedman": friedman,
    "rope": rope,
}


def fixed(method: str, values: np.ndarray, margin: float, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what a method decides after so many seeds of each spec, and the number of runs."""
    found = METHODS[method](values[..., :seeds], margin)
    return found, np.full(len(values), values.shape[1] * seeds)


def looked(method: str, values: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what a method decides if it is asked after every seed until each pair is decided, and the runs.

    It is asked first after 3 seeds, irace's after 5. What is decided stays, and what is worse is dropped, as in tfnorm.
    """
    first = 5 if method == "friedman" else 3
    repetitions, specs, most = values.shape
    pairs = pairs_of(specs)
    found = np.zeros((repetitions, len(pairs)), int)
    runs = np.full(repetitions, specs * first)
    out = np.zeros((repetitions, specs), bool)
    active = np.arange(repetitions)
    for seeds in range(first, most + 1):
        now = METHODS[method](values[active, :, :seeds], margin)
        for place, (i, j) in enumerate(pairs):
            still = (found[active, place] == 0) & ~out[active, i] & ~out[active, j]
            found[active, place] = np.where(still, now[:, place], found[active, place])
        for place, (i, j) in enumerate(pairs):
            out[:, j] |= found[:, place] == FIRST
            out[:, i] |= found[:, place] == SECOND
        needed = np.zeros((repetitions, specs), bool)
        for place, (i, j) in enumerate(pairs):
            still = (found[:, place] == 0) & ~out[:, i] & ~out[:, j]
            needed[:, i] |= still
            needed[:, j] |= still
        active = np.flatnonzero(needed.any(1))
        if not len(active) or seeds == most:
            break
        runs += needed.sum(1)
    return found, runs
