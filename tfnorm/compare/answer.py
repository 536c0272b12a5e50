"""Which normalization one should use, as far as the runs justify an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfnorm.compare.statistics import Difference, left_out, listed, without_partner

if TYPE_CHECKING:
    import pandas as pd

# Speeds closer than this are called alike: the clock of a busy machine tells them no better.
SPEED_TOLERANCE = 0.05
# Points of accuracy that one gives away for size and speed, at most.
MEANINGFUL = 0.5


@dataclass(frozen=True)
class Answer:
    """What to use, in words.

    Args:
        sentence: The answer.
        reason: What it rests on, in a sentence or two.
        picks: The specs it names, none where the runs justify no choice.
    """

    sentence: str
    reason: str
    picks: tuple[str, ...] = ()


def answer(table: pd.DataFrame, pairs: Sequence[Difference], *, resolution: float = 0.0) -> Answer:
    """Answer which spec to use, no more firmly than the runs justify.

    A spec that diverged with some seed is never recommended, nor is one that another is shown to beat, nor one whose
    mean is below that of such a one: seeds that spread too far to show it do not speak for it. One that shares fewer
    than 2 seeds with each other one is left out. Where one spec is left, it is the answer. Where several are, size and
    speed decide (images a second of training, alike within 5 %), but only between the best in the mean and those whose
    95 % interval, paired by seed, excludes that they are more than `MEANINGFUL` points, or one test image if that is
    more, below it. Where there are none, the seeds are too few for an answer.

    Args:
        table: `Comparison.table`.
        pairs: `Comparison.pairs`.
        resolution: One test image in percent.
    """
    labels = [str(label) for label in table.index]
    accuracy = dict(zip(labels, map(float, table["last_accuracy"]), strict=True))
    fit = [
        label
        for label, lost in zip(labels, table["diverged"], strict=True)
        if not lost and math.isfinite(accuracy[label])
    ]
    diverged = [label for label in labels if label not in fit]
    lost = f" {listed(diverged)} diverged with some seed and {_are(diverged)} left out." if diverged and fit else ""
    if not fit:
        return Answer(
            "None of them: each diverged with some seed.",
            "A lower learning rate or a penalty may hold them; train again before choosing.",
        )
    if len(labels) == 1:
        return Answer(
            f"There is nothing to choose from: only {fit[0]} was trained.",
            f"It is right on {accuracy[fit[0]]:.2f} % of the test images. Train another spec beside it to compare.",
        )
    if len(fit) == 1:
        return Answer(
            f"Use {fit[0]}: it is the only one that never diverged.",
            f"It is right on {accuracy[fit[0]]:.2f} % of the test images.{lost}",
            (fit[0],),
        )
    differences = [d for d in pairs if d.first in fit and d.second in fit]
    alone = without_partner(fit, differences)
    if len(alone) == len(fit):
        return _too_few(table.loc[fit], differences, lost)
    if alone:
        lost += f" {left_out(alone)}"
        fit = [label for label in fit if label not in alone]
    beaten = {_worse(d) for d in differences if d.is_real()}
    floor = max((accuracy[label] for label in beaten), default=-math.inf)
    kept = [label for label in fit if label not in beaten and accuracy[label] >= floor] or fit
    dropped = [label for label in fit if label not in kept]
    if len(kept) == 1:
        return _winner(kept[0], dropped, differences, table.loc[fit], lost)
    best = max(kept, key=accuracy.__getitem__)
    below = {best: 0.0} | _most_below(best, kept, differences)
    margin = max(MEANINGFUL, resolution)
    close = [label for label in kept if below.get(label, math.inf) <= margin]
    if close == [best]:
        return _cannot_tell(best, table.loc[kept], dropped, differences, lost)
    unsure = [label for label in kept if label not in close]
    rest = f" The best in the mean is {best}, with {accuracy[best]:.2f} %."
    if unsure:
        rest += f" {listed(unsure)} may be more than {margin:.2f} points below it."
    return _by_cost(table.loc[close], best, below, dropped, rest + lost)


def _too_few(fit: pd.DataFrame, differences: Sequence[Difference], lost: str) -> Answer:
    """Answer where no two specs share 2 seeds."""
    best = str(fit["last_accuracy"].idxmax())
    rest = f"{best} was right most often ({fit['last_accuracy'][best]:.2f} %), but with other seeds the order may be "
    rest += f"another.{lost}"
    if not any(d.seeds for d in differences):
        return Answer(
            "No seed is shared, so that these runs cannot tell which to use.",
            f"Differences are paired by seed: train the same seeds with each spec, at least 3. {rest}",
        )
    one = "One common seed" if fit["seeds"].max() > 1 else "One seed"
    return Answer(f"{one} cannot tell which to use: train at least 3.", rest)


def _most_below(best: str, kept: Sequence[str], differences: Sequence[Difference]) -> dict[str, float]:
    """Return how many points others are below the best at most, by the 95 % interval of the difference."""
    found = {}
    for d in differences:
        if best in (d.first, d.second) and d.seeds > 1:
            other, lead = (d.second, d.mean) if d.first == best else (d.first, -d.mean)
            found[other] = max(0.0, lead + d.half_width)
    return {label: found[label] for label in kept if label in found}


def _cannot_tell(
    best: str, kept: pd.DataFrame, dropped: Sequence[str], differences: Sequence[Difference], lost: str
) -> Answer:
    """Answer where others may be too far below the best in the mean for size and speed to decide."""
    labels = [str(label) for label in kept.index]
    leads = [d for d in differences if best in (d.first, d.second) and {d.first, d.second} <= set(labels)]
    leads = [d for d in leads if d.seeds > 1]
    cheapest = min(labels, key=lambda label: (kept["parameters"][label], -kept["images_per_second"][label]))
    which = f"which to use of {_either(labels)}" if dropped else "which to use"
    reason = (
        f"Train more seeds. The best in the mean is {best}, with {kept['last_accuracy'][best]:.2f} %; the cheapest "
        f"meanwhile is {cheapest}, with {int(kept['parameters'][cheapest]):,} trainable parameters and "
        f"{kept['images_per_second'][cheapest]:,.0f} images/s."
    )
    if not leads:
        return Answer(f"Too few common seeds to tell {which}.", reason + lost)
    next_best = min(leads, key=lambda d: abs(d.mean))
    return Answer(
        f"{next_best.seeds} seeds cannot tell {which}: {next_best.better} leads {_worse(next_best)} by "
        f"{abs(next_best.mean):.2f} ± {next_best.half_width:.2f} points.",
        f"{reason}{_worse_than_others(dropped)}{lost}",
    )


def _by_cost(close: pd.DataFrame, best: str, below: Mapping[str, float], dropped: Sequence[str], rest: str) -> Answer:
    """Choose between specs of which none is much below the best in the mean."""
    labels = [str(label) for label in close.index]
    parameters = dict(zip(labels, map(int, close["parameters"]), strict=True))
    speed = dict(zip(labels, map(float, close["images_per_second"]), strict=True))
    fewest, top = min(parameters.values()), max((s for s in speed.values() if math.isfinite(s)), default=math.nan)
    small = [label for label in labels if parameters[label] == fewest]
    fast = [label for label in labels if speed[label] >= (1 - SPEED_TOLERANCE) * top] or labels
    both = [label for label in small if label in fast]
    size, pace = f"fewest parameters ({fewest:,})", f"fastest training ({top:,.0f} images/s)"
    head = f"Not {_either(dropped)}" if dropped else "No difference in accuracy is shown"
    rest += _worse_than_others(dropped)
    if len(both) == len(labels):
        sentence = f"{head}: take {_taken(labels, best, below)[:-1]}."
        return Answer(sentence, f"Accuracy does not decide, and they are equally large and fast.{rest}", tuple(labels))
    if both:
        because = " and ".join(words for words, some in ((size, small), (pace, fast)) if len(some) < len(labels))
        sentence, picks = f"{head}: take {_taken(both, best, below)} with the {because}.", both
    else:
        sentence = (
            f"{head}: take {_taken(small, best, below)} for the {size}, or {_taken(fast, best, below)} for the {pace}."
        )
        picks = [*small, *fast]
    return Answer(sentence, f"Accuracy does not decide, so that size and speed do.{rest}", tuple(picks))


def _taken(labels: Sequence[str], best: str, below: Mapping[str, float]) -> str:
    """Name what to take, and how far it may be below the best in the mean."""
    others = [label for label in labels if label != best]
    if not others:
        return f"{best}, the best in the mean,"
    most = f"at most {max(below[label] for label in others):.2f} points below"
    if best in labels:
        return f"{best}, the best in the mean, or {_either(others)}, {most} it,"
    return f"{_either(others)}, {most} {best}, the best in the mean,"


def _worse_than_others(dropped: Sequence[str]) -> str:
    return f" {listed(dropped)} {_are(dropped)} shown to be worse, or below one that is." if dropped else ""


def _winner(
    best: str, dropped: Sequence[str], differences: Sequence[Difference], fit: pd.DataFrame, lost: str
) -> Answer:
    """Name the one that is left, what it beats and by how much, and what it is only above in the mean."""
    wins = {_worse(d): abs(d.mean) for d in differences if d.is_real() and d.better == best}
    doubtful = [label for label in dropped if label not in wins]
    cost = _its_cost(best, fit) + lost
    if not wins:
        return Answer(f"Use {best}.", f"It is the only one that no other is shown to beat.{cost}", (best,))
    gains = sorted(wins.values())
    by = f"{gains[0]:.2f}" if len(gains) == 1 else f"{gains[0]:.2f} to {gains[-1]:.2f}"
    beats = f"It beats {listed(list(wins))} by {by} points of test accuracy."
    if not doubtful:
        return Answer(f"Use {best}.", beats + cost, (best,))
    return Answer(
        f"Use {best}: it beats {listed(list(wins))}; that it beats {listed(doubtful)} is not shown.",
        f"{beats} {listed(doubtful)} {_are(doubtful)} lower in the mean still, though not shown to be worse.{cost}",
        (best,),
    )


def _its_cost(best: str, fit: pd.DataFrame) -> str:
    """Say how many parameters it has, if another has fewer."""
    parameters = fit["parameters"].astype(int)
    fewest = parameters.min()
    if parameters[best] == fewest:
        return ""
    small = [str(label) for label in parameters.index[parameters == fewest]]
    have = "has" if len(small) == 1 else "have"
    return f" It has {parameters[best]:,} trainable parameters; {listed(small)} {have} {fewest:,}."


def _worse(difference: Difference) -> str:
    return difference.second if difference.better == difference.first else difference.first


def _either(labels: Sequence[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} or {labels[-1]}"


def _are(labels: Sequence[str]) -> str:
    return "is" if len(labels) == 1 else "are"
