"""Which normalization one should use, as far as the runs justify an answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfnorm.compare.statistics import Difference, listed

if TYPE_CHECKING:
    import pandas as pd

# Speeds closer than this are called alike: the clock of a busy machine tells them no better.
SPEED_TOLERANCE = 0.05


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


def answer(table: pd.DataFrame, pairs: Sequence[Difference]) -> Answer:
    """Answer which spec to use, no more firmly than the runs justify.

    A spec that diverged with some seed is never recommended, nor is one that another is shown to beat, nor one whose
    mean is below that of such a one: seeds that spread too far to show it do not speak for it. Where one spec is left,
    it is the answer. Where several are, accuracy does not decide between them, and size and speed do: the one with the
    fewest parameters and the fastest (in images a second of training, alike within 5 %). One seed justifies no answer.

    Args:
        table: `Comparison.table`.
        pairs: `Comparison.pairs`.
    """
    labels = [str(label) for label in table.index]
    accuracy = dict(zip(labels, map(float, table["last_accuracy"]), strict=True))
    fit = [
        label
        for label, lost in zip(labels, table["diverged"], strict=True)
        if not lost and math.isfinite(accuracy[label])
    ]
    left_out = [label for label in labels if label not in fit]
    lost = f" {listed(left_out)} diverged with some seed and {_are(left_out)} left out." if left_out and fit else ""
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
    if all(d.seeds < 2 for d in differences):
        best = max(fit, key=accuracy.__getitem__)
        return Answer(
            "One seed cannot tell which to use: train at least 3.",
            f"{best} was right most often ({accuracy[best]:.2f} %), but with other seeds the order may be another."
            f"{lost}",
        )
    beaten = {_worse(d) for d in differences if d.is_real()}
    floor = max((accuracy[label] for label in beaten), default=-math.inf)
    kept = [label for label in fit if label not in beaten and accuracy[label] >= floor] or fit
    dropped = [label for label in fit if label not in kept]
    if len(kept) == 1:
        reason = _why_it_beats(kept[0], dropped, differences) + _its_cost(kept[0], table.loc[fit])
        return Answer(f"Use {kept[0]}.", reason + lost, (kept[0],))
    best = max(kept, key=accuracy.__getitem__)
    return _by_cost(table.loc[kept], dropped, f" The best in the mean is {best}, with {accuracy[best]:.2f} %.{lost}")


def _by_cost(kept: pd.DataFrame, dropped: Sequence[str], rest: str) -> Answer:
    """Choose between specs that accuracy does not tell apart."""
    labels = [str(label) for label in kept.index]
    parameters = dict(zip(labels, map(int, kept["parameters"]), strict=True))
    speed = dict(zip(labels, map(float, kept["images_per_second"]), strict=True))
    fewest, top = min(parameters.values()), max((s for s in speed.values() if math.isfinite(s)), default=math.nan)
    small = [label for label in labels if parameters[label] == fewest]
    fast = [label for label in labels if speed[label] >= (1 - SPEED_TOLERANCE) * top] or labels
    both = [label for label in small if label in fast]
    size, pace = f"fewest parameters ({fewest:,})", f"fastest training ({top:,.0f} images/s)"
    head = f"Not {_either(dropped)}" if dropped else "No difference in accuracy is shown"
    told = "Accuracy"
    if dropped:
        told = f"{listed(dropped)} {_are(dropped)} shown to be worse, or below one that is. Between the others accuracy"
    if len(both) == len(labels):
        return Answer(
            f"{head}: take {_either(labels)}." if dropped else f"{head}: take any of them.",
            f"{told} does not decide, and they are equally large and fast.{rest}",
            tuple(labels),
        )
    if both:
        because = " and ".join(words for words, some in ((size, small), (pace, fast)) if len(some) < len(labels))
        sentence, picks = f"{head}: take {_either(both)}, with the {because}.", both
    else:
        sentence = f"{head}: take {_either(small)} for the {size}, or {_either(fast)} for the {pace}."
        picks = [*small, *fast]
    return Answer(sentence, f"{told} does not decide, so that size and speed do.{rest}", tuple(picks))


def _why_it_beats(best: str, dropped: Sequence[str], differences: Sequence[Difference]) -> str:
    """Say what the one that is left beats, by how much, and what it is only above in the mean."""
    wins = {_worse(d): abs(d.mean) for d in differences if d.is_real() and d.better == best}
    doubtful = [label for label in dropped if label not in wins]
    if not wins:
        return "It is the only one that no other is shown to beat."
    gains = sorted(wins.values())
    by = f"{gains[0]:.2f}" if len(gains) == 1 else f"{gains[0]:.2f} to {gains[-1]:.2f}"
    beats = f"It beats {listed(list(wins))} by {by} points of test accuracy."
    if doubtful:
        beats += f" {listed(doubtful)} {_are(doubtful)} lower in the mean still, though not shown to be worse."
    return beats


def _its_cost(best: str, fit: pd.DataFrame) -> str:
    """Say how many parameters it has, if another has fewer."""
    parameters = fit["parameters"].astype(int)
    if parameters[best] == parameters.min():
        return ""
    return f" It has {parameters[best]:,} trainable parameters; {parameters.idxmin()} has {parameters.min():,}."


def _worse(difference: Difference) -> str:
    return difference.second if difference.better == difference.first else difference.first


def _either(labels: Sequence[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} or {labels[-1]}"


def _are(labels: Sequence[str]) -> str:
    return "is" if len(labels) == 1 else "are"
