"""Which normalization one should use, as far as the runs justify an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfnorm.experiments.statistics import Difference, best_in_mean, is_or_are, left_out, listed, without_partner

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

    A spec that diverged with some seed is never recommended, nor is one that learned nothing. Nor is one that another
    is shown to beat, nor one whose mean is below that of such a one: seeds that spread too far to show it do not speak
    for it. One that shares fewer than 2 seeds with each other one is left out. Where one spec is left, it is the
    answer. Where several are, size and speed decide (images a second of training, alike within 5 %), but only between
    the best in the mean and those whose 95 % interval, paired by seed, excludes that they are more than `MEANINGFUL`
    points, or one test image if that is more, below it. Where there are none, the seeds are too few for an answer.

    Args:
        table: `Comparison.table`.
        pairs: `Comparison.pairs`.
        resolution: One test image in percent.
    """
    labels = [str(label) for label in table.index]
    accuracy = dict(zip(labels, map(float, table["last_accuracy"]), strict=True))
    # None where there are no predictions to judge by.
    guessing = [label for label, known in zip(labels, table["learned"], strict=True) if known is False]
    ended = [
        label
        for label, lost in zip(labels, table["diverged"], strict=True)
        if not lost and math.isfinite(accuracy[label])
    ]
    fit = [label for label in ended if label not in guessing]
    diverged, empty = (
        [label for label in labels if label not in ended],
        [label for label in ended if label not in fit],
    )
    if not ended:
        return Answer(
            "None of them: each diverged with some seed.",
            "A lower learning rate or a penalty may hold them; train again before choosing.",
        )
    if not fit:
        return _nothing_learned(empty, diverged)
    lost = f" {listed(diverged)} diverged with some seed and {is_or_are(diverged)} left out." if diverged else ""
    if empty:
        are = is_or_are(empty)
        lost += f" {listed(empty)} {are} not shown to have learned anything and {are} left out."
    if len(labels) == 1:
        return Answer(
            f"There is nothing to choose from: only {fit[0]} was trained.",
            f"It is right on {accuracy[fit[0]]:.2f} % of the test images. Train another spec beside it to compare.",
        )
    if len(fit) == 1:
        why = " and ".join(["never diverged"] * bool(diverged) + ["learned anything"] * bool(empty))
        return Answer(
            f"Use {fit[0]}: it is the only one that {why}.",
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
    beaten = {d.worse for d in differences if d.is_real()}
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
    top = sorted(best_in_mean({label: accuracy[label] for label in kept}), key=lambda label: label != best)
    rest = f" {_best_said(top, accuracy[best])}."
    if unsure:
        rest += f" {listed(unsure)} may be more than {margin:.2f} points below{' it' if len(top) == 1 else f' {best}'}."
    return _by_cost(table.loc[close], top, below, dropped, rest + lost)


def _nothing_learned(empty: Sequence[str], diverged: Sequence[str]) -> Answer:
    """Answer where no spec that ended is shown to do better than guessing."""
    lost = f" {listed(diverged)} diverged with some seed." if diverged else ""
    return Answer(
        "None of them: no spec is shown to have learned anything.",
        f"{listed(empty)} {is_or_are(empty)} right no more often than answers given without looking at the images. "
        f"Check that the labels belong to the images, and train longer or with another learning rate.{lost}",
    )


def _best_said(top: Sequence[str], accuracy: float) -> str:
    """Name the best in the mean."""
    if len(top) == 1:
        return f"The best in the mean is {top[0]}, with {accuracy:.2f} %"
    return f"The best in the mean are {listed(top)}, each with {accuracy:.2f} %"


def _too_few(fit: pd.DataFrame, differences: Sequence[Difference], lost: str) -> Answer:
    """Answer where no two specs share 2 seeds."""
    means = {str(label): float(value) for label, value in fit["last_accuracy"].items()}
    top = best_in_mean(means)
    was = "was" if len(top) == 1 else "were"
    rest = f"{listed(top)} {was} right most often ({means[top[0]]:.2f} %), but with other seeds the order may be "
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
    top = best_in_mean({label: float(kept["last_accuracy"][label]) for label in labels})
    reason = (
        f"Train more seeds. {_best_said(top, kept['last_accuracy'][best])}; the cheapest "
        f"meanwhile is {cheapest}, with {int(kept['parameters'][cheapest]):,} trainable parameters and "
        f"{kept['images_per_second'][cheapest]:,.0f} images/s."
    )
    if not leads:
        return Answer(f"Too few common seeds to tell {which}.", reason + lost)
    return Answer(
        f"{_lead(min(leads, key=lambda d: abs(d.mean)), which)}.", f"{reason}{_worse_than_others(dropped)}{lost}"
    )


def _lead(nearest: Difference, which: str) -> str:
    """Say how far the best is ahead of the next one, and what so many seeds would show."""
    seeds = f"{nearest.seeds} seeds cannot tell {which}"
    if f"{abs(nearest.mean):.2f}" == "0.00":
        return f"{seeds}: {nearest.first} and {nearest.second} are equal in the mean"
    lead = f"{seeds}: {nearest.better} leads {nearest.worse} by {abs(nearest.mean):.2f} points"
    if nearest.detectable >= 100:
        return f"{lead}, and seeds that spread so far show no difference at all"
    return f"{lead}, and only a lead over {nearest.detectable:.2f} would be shown"


def _by_cost(
    close: pd.DataFrame, top: Sequence[str], below: Mapping[str, float], dropped: Sequence[str], rest: str
) -> Answer:
    """Choose between specs of which none is much below the best in the mean."""
    labels = [str(label) for label in close.index]
    parameters = dict(zip(labels, map(int, close["parameters"]), strict=True))
    speed = dict(zip(labels, map(float, close["images_per_second"]), strict=True))
    fewest, fastest = min(parameters.values()), max((s for s in speed.values() if math.isfinite(s)), default=math.nan)
    small = [label for label in labels if parameters[label] == fewest]
    fast = [label for label in labels if speed[label] >= (1 - SPEED_TOLERANCE) * fastest] or labels
    both = [label for label in small if label in fast]
    size, pace = f"fewest parameters ({fewest:,})", f"fastest training ({fastest:,.0f} images/s)"
    head = f"Not {_either(dropped)}" if dropped else "No difference in accuracy is shown"
    rest += _worse_than_others(dropped)
    if len(both) == len(labels):
        sentence = f"{head}: take {_taken(labels, top, below)[:-1]}."
        return Answer(sentence, f"Accuracy does not decide, and they are equally large and fast.{rest}", tuple(labels))
    if both:
        because = " and ".join(words for words, some in ((size, small), (pace, fast)) if len(some) < len(labels))
        sentence, picks = f"{head}: take {_taken(both, top, below)} with the {because}.", both
    else:
        sentence = (
            f"{head}: take {_taken(small, top, below)} for the {size}, or {_taken(fast, top, below)} for the {pace}."
        )
        picks = [*small, *fast]
    return Answer(sentence, f"Accuracy does not decide, so that size and speed do.{rest}", tuple(picks))


def _taken(labels: Sequence[str], top: Sequence[str], below: Mapping[str, float]) -> str:
    """Name what to take, and how far it may be below the best in the mean, of which there may be several."""
    best, *tied = top
    others = [label for label in labels if label != best]
    name = f"{best}, in the mean equal to {listed(tied)}," if tied else f"{best}, the best in the mean,"
    if not others:
        return name
    most = f"at most {max(below[label] for label in others):.2f} points below"
    if best not in labels:
        if set(others) <= set(tied):
            return f"{_either(others)}, in the mean equal to {best} and {most} it,"
        return f"{_either(others)}, {most} {name}"
    if set(others) == set(tied):
        return f"{_either(labels)}, equal in the mean,"
    return f"{name} or {_either(others)}, {most} it,"


def _worse_than_others(dropped: Sequence[str]) -> str:
    return f" {listed(dropped)} {is_or_are(dropped)} shown to be worse, or below one that is." if dropped else ""


def _winner(
    best: str, dropped: Sequence[str], differences: Sequence[Difference], fit: pd.DataFrame, lost: str
) -> Answer:
    """Name the one that is left, what it beats and by how much, and what it is only above in the mean."""
    wins = {d.worse: abs(d.mean) for d in differences if d.is_real() and d.better == best}
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
        f"{beats} {listed(doubtful)} {is_or_are(doubtful)} lower in the mean still, though not shown to be worse."
        f"{cost}",
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


def _either(labels: Sequence[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} or {labels[-1]}"
