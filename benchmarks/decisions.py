"""How often `--seeds auto` decides, how often it is wrong, and how many runs it takes, by simulation.

Run ``python benchmarks/decisions.py`` from the repository; ``--help`` lists the choices. Nothing is trained: accuracies
are drawn around true ones that are known, and `tfnorm.experiments.sequential.race` asks for one after the other, as
`tfnorm.compare` does. Then the methods of `_field.py` decide from the same accuracies. A decision is wrong if it calls
a spec better that is not, or two equivalent that differ by the margin or more. Last come the critical values: how often
bounds of normal values fail at any of many looks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import special

sys.path.insert(0, str(Path(__file__).parent))

import _field
import _measure

from tfnorm.experiments.sequential import FIRST_LOOK, MOST_SEEDS, Pair, critical_values, decide, race

MARGIN, SPREAD, STEP = 0.5, 0.2, 100 / 450
UNEQUAL = (0.1, 0.2, 0.6)
CODES = {"equivalent": _field.EQUIVALENT, "negligible": _field.EQUIVALENT, "undecided": 0, "settled": 0}
Noise = Callable[[np.random.Generator, tuple[int, int, int]], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    return SPREAD * rng.standard_normal(shape)


def unequal(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    return np.resize(UNEQUAL, shape[1])[:, None] * rng.standard_normal(shape)


def drawn_spreads(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Draw the variance of each spec from a scaled inverse chi-square: some spread ten times as much as others."""
    return SPREAD * np.sqrt(3 / rng.chisquare(3, (*shape[:2], 1))) * rng.standard_normal(shape)


def heavy_tails(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    return SPREAD * rng.standard_t(3, shape)


def in_steps(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    return normal(rng, shape)  # rounded with the truth, in `simulated`


def collapsing(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    return normal(rng, shape) - 20.0 * (rng.random(shape) < 0.1)


def one_collapses(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    lost = rng.random(shape) < 0.1
    lost[:, :-1] = False
    return normal(rng, shape) - 20.0 * lost


def by_seed(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Half of the variance is that of the seed, the same for all specs."""
    common = rng.standard_normal((shape[0], 1, shape[2]))
    return SPREAD * np.sqrt(0.5) * (common + rng.standard_normal(shape))


def lopsided(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Exponential, with the long tail below: most runs are good, some are bad."""
    return SPREAD * (1 - rng.standard_exponential(shape))


def lopsided_unequal(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    return np.resize(UNEQUAL, shape[1])[:, None] * (1 - rng.standard_exponential(shape))


class Row(NamedTuple):
    """A truth to decide about; ``truth`` are points of accuracy of each spec."""

    name: str
    noise: Noise
    truth: tuple[float, ...]
    group: str  # "target", "valid", or "broken" where an assumption is


EQUAL, WORSE = (0.0, 0.0, 0.0), (0.0, 0.0, -MARGIN)
BETTER = (0.0, 0.0, MARGIN)
NOISES = {
    "spreads 0.1, 0.2 and 0.6": unequal,
    "spreads drawn at random, some very large": drawn_spreads,
    "heavy tails": heavy_tails,
    "steps of 0.22": in_steps,
    "every tenth run collapses": collapsing,
    "every tenth run of the last spec collapses": one_collapses,
    "half of the variance belongs to the seed": by_seed,
    "lopsided": lopsided,
}
ROWS = [
    Row("all equal", normal, EQUAL, "target"),
    Row("one worse by 0.3", normal, (0.0, 0.0, -0.3), "target"),
    Row("one worse by the margin", normal, WORSE, "target"),
    Row("one worse by 0.6", normal, (0.0, 0.0, -0.6), "target"),
    Row("one worse by 1.0", normal, (0.0, 0.0, -1.0), "target"),
    Row("a margin between each and the next", normal, (0.0, -MARGIN, -2 * MARGIN), "target"),
    Row("2 specs, equal", normal, (0.0, 0.0), "target"),
    Row("2 specs, one worse by the margin", normal, (0.0, -MARGIN), "target"),
    Row("8 specs, all equal", normal, (0.0,) * 8, "target"),
    Row("8 specs, four worse by the margin", normal, (0.0,) * 4 + (-MARGIN,) * 4, "target"),
    *(
        Row(f"{noise}: {what}", function, truth, "valid")
        for noise, function in NOISES.items()
        for what, truth in (("equal", EQUAL), ("one worse by the margin", WORSE), ("one better by the margin", BETTER))
    ),
    *(
        Row(f"lopsided, spreads 0.1, 0.2 and 0.6: {what}", lopsided_unequal, truth, "broken")
        for what, truth in (("equal", EQUAL), ("one worse by the margin", WORSE), ("one better by the margin", BETTER))
    ),
]
FIELD = ["all equal", "one worse by the margin", "one worse by 0.6", "one worse by 1.0"] + [
    f"{noise}: {what}"
    for noise in ("spreads 0.1, 0.2 and 0.6", "heavy tails")
    for what in ("equal", "one worse by the margin")
]
LINE = "{row}, {method} {seeds}: {decided:.1f} % decided in {runs:.1f} runs, {wrong_percent:.2f} % wrong"
# The bootstraps of others take long.
FIELD_REPETITIONS = 500
# Method, and the number of seeds of each spec, or 0 where it is asked after every seed until each pair is decided.
ASKED = [(method, seeds) for method in _field.METHODS for seeds in (10, 0)]


def simulated(row: Row, repetitions: int, seed: int) -> np.ndarray:
    """Return accuracies of shape (repetitions, specs, seeds)."""
    rng = np.random.default_rng(seed)
    values = 98 + np.array(row.truth)[:, None] + row.noise(rng, (repetitions, len(row.truth), MOST_SEEDS))
    return np.round(values / STEP) * STEP if row.noise is in_steps else values


def raced(values: np.ndarray, resolution: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what the race decides of each pair of each repetition, and the runs."""
    names = [f"spec {number}" for number in range(values.shape[1])]
    found, runs = [], []
    for accuracies in values.tolist():
        known = {name: dict(enumerate(seeds)) for name, seeds in zip(names, accuracies, strict=True)}
        seen = race(known, MARGIN, resolution=resolution).seen
        found.append([code(pair) for pair in decide(seen, MARGIN, resolution=resolution).pairs])
        runs.append(sum(map(len, seen.values())))
    return np.array(found), np.array(runs)


def code(pair: Pair) -> int:
    """Return what is decided of a pair as `_field` says it."""
    return CODES.get(pair.outcome, _field.FIRST if pair.better == pair.first else _field.SECOND)


def wrongs(found: np.ndarray, truth: tuple[float, ...]) -> np.ndarray:
    """Return whether each repetition decides anything wrong."""
    wrong = np.zeros(len(found), bool)
    for place, (i, j) in enumerate(_field.pairs_of(len(truth))):
        apart, of = truth[i] - truth[j], found[:, place]
        wrong |= (abs(of) == 1) & (of != np.sign(apart))
        wrong |= (of == _field.EQUIVALENT) & (abs(apart) >= MARGIN - 1e-9)
    return wrong


def lower_bound(wrong: int, of: int) -> float:
    """Return the exact lower 95 % bound of a share (Clopper and Pearson)."""
    return float(special.betaincinv(wrong, of - wrong + 1, 0.05)) if wrong else 0.0


def told(row: Row, found: np.ndarray, runs: np.ndarray, method: str = "tfnorm", seeds: int = 0) -> dict[str, object]:
    """Return a row of the results, shares in percent; a pair of which one is beaten needs no other decision."""
    wrong, of = int(wrongs(found, row.truth).sum()), len(found)
    decided = (found != 0) | settled(found, len(row.truth))
    return {
        "method": method,
        "seeds": seeds,
        "row": row.name,
        "group": row.group,
        "specs": len(row.truth),
        "repetitions": of,
        "runs": round(float(runs.mean()), 2),
        "decided": round(100 * float(decided.mean()), 2),
        "wrong": wrong,
        "wrong_percent": round(100 * wrong / of, 3),
        "wrong_at_least": round(100 * lower_bound(wrong, of), 3),
    }


def settled(found: np.ndarray, specs: int) -> np.ndarray:
    """Return which pairs have a spec that is beaten."""
    pairs = _field.pairs_of(specs)
    out = np.zeros((len(found), specs), bool)
    for place, (i, j) in enumerate(pairs):
        out[:, j] |= found[:, place] == _field.FIRST
        out[:, i] |= found[:, place] == _field.SECOND
    return np.stack([out[:, i] | out[:, j] for i, j in pairs], 1)


def crossings(tails: list[float], repetitions: int, looks: int = 80) -> list[dict[str, float]]:
    """Return how often the upper bounds of normal values fail at any look, beside how often they may."""
    rng, ever, size = np.random.default_rng(11), dict.fromkeys(tails, 0), 25_000
    count = np.arange(1, looks + 1)
    for _ in range(-(-repetitions // size)):
        values = rng.standard_normal((size, looks))
        sums = values.cumsum(1)
        variance = ((values**2).cumsum(1) - sums**2 / count)[:, 1:] / count[:-1]
        scores = (sums / np.sqrt(count))[:, FIRST_LOOK - 1 :] / np.sqrt(variance[:, FIRST_LOOK - 2 :])
        for tail in tails:
            critical = critical_values(tail, looks)
            ever[tail] += int((scores > critical).any(1).sum() + (scores < -critical).any(1).sum())
    drawn = 2 * size * -(-repetitions // size)
    return [{"tail": tail, "failed": failed / drawn} for tail, failed in ever.items()]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000, help="of each row (default: 2000)")
    parser.add_argument("--paths", type=int, default=1_000_000, help="for the critical values (default: 1000000)")
    parser.add_argument("--rows", nargs="+", choices=[row.name for row in ROWS], metavar="ROW", help="only these")
    parser.add_argument("--name", default="decisions", help="of the file of results (default: decisions)")
    chosen = parser.parse_args(arguments)
    _measure.at_least(parser, chosen, "repetitions", 1)
    rows = []
    for number, row in enumerate(ROWS):
        if chosen.rows and row.name not in chosen.rows:
            continue
        values = simulated(row, chosen.repetitions, seed=number)
        rows.append(told(row, *raced(values, STEP if row.noise is in_steps else 0.0)))
        print(LINE.format(**rows[-1]))
        some = values[:FIELD_REPETITIONS]
        for method, seeds in ASKED if row.name in FIELD else []:
            asked = _field.fixed(method, some, MARGIN, seeds) if seeds else _field.looked(method, some, MARGIN)
            rows.append(told(row, *asked, method, seeds))
            print(LINE.format(**rows[-1]))
    bounds = crossings([0.05, 0.02, 0.04 / 3, 0.02 / 3, 0.002, 0.0007, 0.0002], chosen.paths)
    for each in bounds:
        print(f"bounds that may fail in {each['tail']:.4%} of comparisons fail in {each['failed']:.4%}")
    settings = {"repetitions": chosen.repetitions, "margin": MARGIN, "spread": SPREAD, "most_seeds": MOST_SEEDS}
    path = _measure.write(chosen.name, rows, **settings)
    _measure.write(f"{chosen.name}_bounds", bounds, paths=chosen.paths)
    print(f"Wrote {path.name}.")


if __name__ == "__main__":
    main()
