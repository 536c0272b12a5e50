"""What comparisons show, in sentences: the verdict, which spec to use, and the headline of a sweep."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tfnorm.experiments.findings import Findings
from tfnorm.experiments.guessing import Learned
from tfnorm.experiments.sequential import FIRST_LOOK, MOST_SEEDS, Decisions, Known, Pair, Race
from tfnorm.experiments.statistics import FURTHEST, Difference, level_of_look
from tfnorm.metrics.metric import ACCURACY, Metric
from tfnorm.text import counted, is_or_are, listed, p_text, ranged, they_are

DIFFERENT_DATA = "The runs are on different data, so that no difference between them is told."
# The note of `tfnorm.convert.variants.variant` on frozen batch norms of a model that was never trained.
UNTRAINED = "untrained statistics"
STAYING = "norms stay as they were"
# How many pairs are shown one by one while runs are trained.
MOST_STATES = 12
HELD_OUT = "What is called test here are training images that were held out; the test set was left alone."
SOME_HELD_OUT = "What is called test here are for some of the runs training images that were held out."


@dataclass(frozen=True)
class Answer:
    """What to use, in words."""

    sentence: str
    reason: str  # what it rests on, in a sentence or two
    picks: tuple[str, ...] = ()  # the specs it names, none where the runs justify no choice


INCOMPARABLE = Answer(
    "These runs cannot say which to use: they are not on the same data.",
    "Below stands what each reached on its own data; differences between them are not those of the norms alone.",
)


def pair_sentence(d: Known, metric: Metric = ACCURACY) -> str:
    """Return what the difference between two specs says."""
    names = f"{d.first} and {d.second}"
    if d.outcome == "settled":
        return f"{names} are left undecided: one of them is out"
    if isinstance(d, Pair) and d.seeds < FIRST_LOOK:
        return f"{names} have {d.seeds} seeds in common: the first look is at {FIRST_LOOK}"
    if d.seeds < 2:
        what, train = f"share no seed that ended with {metric.value}", "the same seeds with both, at least 3."
        if d.seeds:
            what, train = f"differ by {metric.difference(abs(d.mean))} in one run each", "at least 3 seeds."
        return f"{names} {what}: no ranking is justified. Train {train}"
    if d.is_real():
        little = f", but negligibly: by less than {metric.difference(d.margin)}" if d.is_equivalent() else ""
        return f"{d.better} beats {d.worse} by {_by(d, metric)}{little}"
    if d.is_significant():
        better = f"{d.better}, which is better in the mean, {metric.lost} with other seeds"
        return f"no ranking of {names} is justified: {better}"
    if d.is_equivalent():
        return f"{names} are equivalent: {_apart([d], metric)}"
    if isinstance(d, Pair):
        low, high = (metric.signed(end) for end in d.ends())
        mean = f"{metric.signed(d.mean)}{metric.of_differences}, {low} to {high}"
        return f"{names} are undecided after {d.seeds} seeds ({mean}){_forecast([d])}"
    # Without the interval: it is that of the pair alone, and may leave out 0 where the corrected p shows nothing.
    mean = f"{d.mean:+{metric.pattern}}{metric.of_differences}"
    return (
        f"no difference shown between {names} ({mean}, p {p_text(d.p_adjusted)}): {d.seeds} seeds detect "
        f"only differences over {metric.number(d.detectable)}{_forecast([d])}"
    )


def _by(d: Known, metric: Metric) -> str:
    """Return by how much one spec beats another, with what is known of that."""
    if isinstance(d, Difference):
        return f"{metric.number(abs(d.mean))} ± {metric.difference(d.half_width)}, p {p_text(d.p_adjusted)}"
    least, most = sorted(map(abs, d.ends()))
    interval = "" if d.is_equivalent() else f" ({metric.number(least)} to {metric.number(most)})"
    return f"{metric.difference(abs(d.mean))}{interval}"


def _apart(pairs: Sequence[Known], metric: Metric) -> str:
    """Say how far apart equivalent specs are at most."""
    least, margin = max(d.at_most for d in pairs), pairs[0].margin
    return f"at most {metric.difference(least)} apart, less than the margin of {metric.number(margin)}"


def _forecast(pairs: Sequence[Known]) -> str:
    """Say how many seeds would decide pairs that are not decided, if a margin says what deciding is."""
    asked = [d for d in pairs if d.outcome == "undecided" and (d.margin or isinstance(d, Pair))]
    known = [d.needed for d in asked if d.needed is not None]
    if not asked:
        return ""
    if len(known) < len(asked):
        return f"; to decide would take more than {FURTHEST:,} seeds"
    return f"; about {max(known)} seeds would probably decide"


def about_looks(pairs: Sequence[Known]) -> str:
    """Return what looking costs, in a sentence or more: how this look was tested, or how a next one will be; or ""."""
    if any(isinstance(d, Pair) for d in pairs):
        return (
            f"The intervals hold after {FIRST_LOOK}, {FIRST_LOOK + 1}, ... seeds and for all pairs, together in at "
            "least 95 % of comparisons, so that you may look, stop, add seeds or change the margin as you like."
        )
    tested = [d for d in pairs if isinstance(d, Difference) and d.seeds > 1]
    if not tested:
        return ""
    number, undecided = max(d.look for d in tested), not all(d.is_real() for d in tested)
    now, after, most = (f"{100 * level:.3g} %" for level in (level_of_look(number), level_of_look(number + 1), 0.075))
    if number == 1:
        return undecided * (
            "If you train more seeds, decide now how many. Each look is one more chance to take luck for a "
            f"difference. The next look is therefore tested at {after} in place of 5 %."
        )
    some = "" if all(d.look == number for d in tested) else " some of"
    return (
        f"This is look {number} at{some} these specs, each with other seeds. It is tested at {now} in place of 5 %; "
        f"the p values are raised accordingly. All looks together call equal specs different in at most {most} of "
        "comparisons."
    ) + undecided * f" With more seeds, the next look is tested at {after}."


def about_margin(found: Findings) -> str:
    """Return that equivalence needs a margin, in a sentence, where none is known and no difference is shown; or ""."""
    open_pairs = [d for d in found.pairs if d.seeds > 1 and not d.is_real()]
    if found.metric.percent or found.asked_margin is not None or not open_pairs:
        return ""
    return (
        f"Nothing is called equivalent without a margin. Say with --margin, in Python `margin`, which differences in "
        f"{found.metric.name} do not matter to you."
    )


def about_images(found: Findings, images: int, word: str = "test") -> str:
    """Return what no number of seeds tells, in a sentence; "" where it is not known how many images there are."""
    if not images or not found.metric.is_accuracy or not found.means:
        return ""
    # Agresti and Coull's interval, of which that of 100 % has a width too.
    shares = [(mean * images / 100 + 2) / (images + 4) for mean in found.means.values()]
    moved = 100 * max(1.96 * math.sqrt(share * (1 - share) / (images + 4)) for share in shares)
    return (
        f"Seeds do not tell what other images would: there are {images:,} {word} images, and another {word} set of "
        f"this size would move each accuracy by up to {found.metric.difference(moved)}."
    )


def guessing_notes(known: Mapping[str, Learned | None], metric: Metric = ACCURACY) -> list[str]:
    """Return sentences about the specs that learned nothing, or are right no more often than the largest class.

    Beside another metric than accuracy they name the specs that learned nothing, without accuracies.
    """
    judged = {label: each for label, each in known.items() if each is not None}
    empty = [label for label, each in judged.items() if each.nothing]
    if not metric.is_accuracy:
        fit = "the answers fit the images no better than answers given without looking."
        return [f"{_learned_nothing(empty)}: {fit}"] if empty else []
    low = [label for label, each in judged.items() if not each.nothing and each.accuracy <= each.largest]
    notes = []
    if empty:
        most = max(judged[label].balanced for label in empty)
        notes.append(
            f"{_learned_nothing(empty)}: the answers fit the images no better than answers given without looking "
            f"(balanced accuracy {'up to ' * (len(empty) > 1)}{most:.2f} %, by chance {judged[empty[0]].chance:.2f} %)."
        )
    if empty or low:
        first = judged[(empty or low)[0]]
        same = f"the largest class, {first.largest_class}," if first.unequal else "one and the same class"
        notes.append(f"Always answering {same} is right on {first.largest:.2f} % of the images.")
    if low:
        do = "does" if len(low) == 1 else "do"
        notes.append(f"{they_are(low)} right no more often than that, but {do} not guess. Read the balanced accuracy.")
    return notes


def untrained_statistics(labels: Sequence[str]) -> str:
    """Return a sentence about specs whose frozen batch norms have the statistics of new layers."""
    have = "has" if len(labels) == 1 else "have"
    return (
        f"{listed(labels)} {have} {UNTRAINED}: the frozen batch norms are those of a model that was never trained, "
        "with mean 0 and variance 1."
    )


def norms_that_stay(label: str, note: str) -> str:
    """Return a sentence about a spec that could not change all norms of a model; the note counts them."""
    return f"{label} is a mixture: {note}, because they are inside layers that tfnorm cannot change."


def divided_batches(spans: Mapping[str, str]) -> str:
    """Return a sentence about runs on several devices: which images the statistics of each spec's norms span.

    Example:
        >>> divided_batches({"bn": "4 images: those of one device", "gn:4": "one image", "ln": "one image"})
        'Several devices ... norms span 4 images: those of one device (bn); one image (gn:4 and ln).'
    """
    labels: dict[str, list[str]] = {}
    for label, span in spans.items():
        labels.setdefault(span, []).append(label)
    each = "; ".join(f"{span} ({listed(names)})" for span, names in labels.items())
    return f"Several devices shared each batch. The statistics of the norms span {each}."


def verdict(found: Findings) -> str:
    """Return what the values say, in a sentence or two.

    A spec that diverged with some seeds is called better than no other: its remaining seeds are the lucky ones. One
    that shares fewer than 2 seeds with each other one is left out.
    """
    lost = found.metric.lost
    diverged = [f"{s} {lost} in {n} of {len(found.accuracies[s])} seeds." for s, n in found.lost.items()]
    return " ".join([*_compared(found), *diverged])


def _compared(found: Findings) -> list[str]:
    """Say which differences are real, and which specs are not shown to differ from the best."""
    specs, metric = list(found.means), found.metric
    if not specs:
        return [f"No run ended with {metric.value}, so that there is nothing to compare."]
    if len(specs) == 1:
        return [f"Only {specs[0]} ended with {metric.value}: {metric.text(found.means[specs[0]])}."]
    if any(isinstance(d, Pair) for d in found.pairs):
        return _decided(found.among(specs), metric)
    alone = found.alone(specs)
    if len(alone) == len(specs):
        what, remedy = _too_few(found, specs)
        return [f"No ranking is justified by {what}. {remedy}"]
    kept = [spec for spec in specs if spec not in alone]
    pairs = found.among(kept)
    tested, real = [d for d in pairs if d.seeds > 1], [d for d in pairs if d.is_real()]
    untested = [f"{d.first} with {d.second}" for d in pairs if d.seeds < 2]
    if not real and any(d.is_significant() for d in tested):
        sentences = [f"No ranking is justified: what is better in the mean {metric.lost} with other seeds."]
    elif not real:
        sentences = _alike(kept, tested, metric)
    else:
        sentences = [f"{pair_sentence(d, metric)}." for d in real]
        top = found.best_in_mean([spec for spec in kept if spec not in found.lost] or kept)
        ties = [spec for spec in kept for d in tested if {top[0], spec} == {d.first, d.second} and not d.is_real()]
        others = [spec for spec in ties if spec not in top]
        if len(top) > 1:
            sentences.append(f"{listed(top)} are equal in the mean.")
            if others:
                sentences.append(f"{they_are(others)} not shown to differ from them.")
        elif ties:
            equivalent = [d for d in tested if top[0] in (d.first, d.second) and d.is_equivalent() and not d.is_real()]
            same = [spec for spec in ties if any(spec in (d.first, d.second) for d in equivalent)]
            if same:
                sentences.append(f"{listed([top[0], *same])} are equivalent: {_apart(equivalent, metric)}.")
            if open_ties := [spec for spec in ties if spec not in same]:
                best = f"{top[0]}, the best in the mean, and {listed(open_ties)}"
                left = [d for d in found.among([top[0], *open_ties]) if top[0] in (d.first, d.second)]
                sentences.append(f"No difference shown between {best}{_forecast(left)}.")
    if untested:
        sentences.append(f"Too few common seeds to compare {listed(untested)}.")
    return sentences + _left_alone(alone)


def _decided(pairs: Sequence[Known], metric: Metric) -> list[str]:
    """Say what is decided of each pair after many looks."""
    sentences = [f"{pair_sentence(d, metric)}." for d in pairs if d.is_real()]
    alike = [d for d in pairs if d.is_equivalent()]
    names = list(dict.fromkeys(spec for d in alike for spec in (d.first, d.second)))
    if 2 * len(alike) == len(names) * (len(names) - 1) and alike:
        sentences.append(f"{listed(names)} are equivalent: {_apart(alike, metric)}.")
    else:
        sentences += [f"{pair_sentence(d, metric)}." for d in alike if not d.is_real()]
    sentences += [f"{pair_sentence(d, metric)}." for d in pairs if d.outcome == "undecided"]
    settled = [f"{d.first} with {d.second}" for d in pairs if d.outcome == "settled"]
    if settled:
        sentences.append(f"Left undecided, because one of the two is out: {listed(settled)}.")
    return sentences


def states(found: Mapping[str, Decisions], metric: Metric = ACCURACY) -> list[str]:
    """Return a line for each pair, those that are open last; where there are many, those that are decided are counted.

    Args:
        found: What is decided, by the setting of a sweep; "" in a comparison.
        metric: What it is about.

    Example:
        >>> from tfnorm.experiments.sequential import decide
        >>> states({"": decide({"bn": {0: 98.1, 1: 98.3, 2: 98.2}, "ln": {0: 98.0, 1: 98.4, 2: 97.9}}, margin=0.5)})
        ['bn and ln: open after 3 seeds, +0.10 points, about 5 seeds would probably decide']
    """
    every = [(name, d, decisions.out) for name, decisions in found.items() for d in decisions.pairs]
    every.sort(key=lambda each: each[1].outcome == "undecided")
    shown = every if len(every) <= MOST_STATES else [each for each in every if each[1].outcome == "undecided"]
    lines = [f"{f'{name}: ' if name else ''}{_state(d, out, metric)}" for name, d, out in shown[:MOST_STATES]]
    hidden = len(every) - len(lines)
    return [*lines, f"and {counted([hidden], 'other pair')}"] if hidden else lines


def _state(d: Pair, out: Mapping[str, str], metric: Metric) -> str:
    """Return in a line what is known of a pair."""
    said = "equivalent"
    if d.outcome == "better":
        said = f"{d.better} is better by {_by(d, metric)}"
    elif d.outcome == "negligible":
        said = f"{d.better} is better, but negligibly"
    elif d.outcome == "settled":
        said = f"left open, {listed([spec for spec in (d.first, d.second) if spec in out])} out"
    elif d.outcome == "undecided":
        said = f"open after {counted([d.seeds], 'seed')}"
        if d.seeds >= FIRST_LOOK:
            said += f", {metric.signed(d.mean)}{metric.of_differences}{_forecast([d])}".replace(";", ",")
    return f"{d.first} and {d.second}: {said}"


def notes_on_end(races: Iterable[Race], most_runs: int | None) -> list[str]:
    """Return a sentence about why no more seeds were added though some pair is open, or none."""
    races = list(races)
    if any(race.todo for race in races):
        return ["The time was over before every pair was decided. The same command goes on from here."]
    if not any(race.decisions.open for race in races):
        return []
    limit = f"{MOST_SEEDS} seeds of each spec" if most_runs is None else f"{most_runs} runs"
    return [f"At most {limit} could not decide every pair. A larger --max-runs (`max_runs`) goes on from here."]


def _alike(specs: Sequence[str], tested: Sequence[Known], metric: Metric) -> list[str]:
    """Say of specs of which none is shown to be better which are equivalent, and which are not told apart."""
    undecided = [d for d in tested if not d.is_equivalent()]
    if not undecided:
        return [f"{listed(specs)} are equivalent: {_apart(tested, metric)}."]
    sentences = [f"{pair_sentence(d, metric)}." for d in tested if d.is_equivalent()]
    left = [spec for spec in specs if not sentences or any(spec in (d.first, d.second) for d in undecided)]
    detected = f"{_detected(undecided, metric)}{_forecast(undecided)}"
    return [*sentences, f"No difference shown between {listed(left)}: {detected}."]


def _too_few(found: Findings, specs: Sequence[str]) -> tuple[str, str]:
    """Say what specs have of which no two share 2 seeds that ended with a value, and what to do."""
    seeds = [set(found.accuracies[spec]) for spec in specs]
    if found.lost.keys() & set(specs) and len(set.intersection(*seeds)) > 2:
        lower = "Lower the learning rate" if found.metric.lost == "diverged" else "Mend what made them fail"
        return f"the seeds that did not {found.metric.lose}", f"{lower}, or leave out what {found.metric.lose}s."
    if not any(d.seeds for d in found.among(specs)):
        return "runs without a common seed", "Train the same seeds with each spec, at least 3, as --seeds 3 does."
    common = "common seed" if max(map(len, seeds)) > 1 else "seed"
    return f"one {common}", "Train at least 3 seeds, for example with --seeds 3."


def _detected(pairs: Sequence[Known], metric: Metric) -> str:
    """Say which differences are detected, for each number of seeds that two specs have in common."""
    parts, tested = [], [d for d in pairs if isinstance(d, Difference)]
    for seeds in sorted({d.seeds for d in tested}, reverse=True):
        least = [d.detectable for d in tested if d.seeds == seeds]
        possible = sorted(size for size in least if not metric.percent or size < 100)
        if not possible:
            parts.append(f"{seeds} seeds that spread so far detect no difference at all")
            continue
        low, high = metric.number(possible[0]), metric.number(possible[-1])
        sizes = low if low == high else f"{low} to {high}"
        sizes += metric.of_differences + ("" if low == high else ", depending on the pair")
        rest = "" if len(possible) == len(least) else ", and none at all between pairs that spread too far"
        parts.append(f"{seeds} seeds detect only differences over {sizes}{rest}")
    return ", ".join(parts)


def _left_alone(alone: Sequence[str]) -> list[str]:
    """Say why the specs of `Findings.alone` are left out."""
    if not alone:
        return []
    share = "shares" if len(alone) == 1 else "share"
    return [f"{listed(alone)} {share} fewer than 2 seeds with each of the others and {is_or_are(alone)} left out."]


def _learned_nothing(specs: Sequence[str]) -> str:
    return f"{they_are(specs)} not shown to have learned anything"


def headline(found: Findings, settings: Mapping[str, str], among: Mapping[str, int]) -> str:
    """Return what a reader takes home from the best combination of each norm, in a sentence or two.

    Args:
        found: About the norms, the best in the mean first.
        settings: Norm to the setting that is its best, in words.
        among: Norm to the number of combinations that it was chosen from.
    """
    if not found.means:
        return f"No run has ended with {found.metric.value} yet."
    able = [norm for norm in found.means if norm not in found.guessing]
    empty = [norm for norm in found.means if norm in found.guessing]
    if not able:
        return "None of them: no combination is shown to have learned anything."
    best = _best_norm(found, able, settings, among)
    return f"{best} {_learned_nothing(empty)}." if empty else best


def _best_norm(found: Findings, able: Sequence[str], settings: Mapping[str, str], among: Mapping[str, int]) -> str:
    """Name the best of the norms that learned something, as far as the runs justify that."""
    first, *rest = able
    metric = found.metric
    reached = metric.text(found.means[first])
    if not rest:
        many = among[first]
        of_many = f", the {metric.highest} of {many} combinations" if many > 1 else ""
        return f"{settings[first]} reaches {reached}{of_many}."
    top = found.best_in_mean(able)
    if len(found.alone(able)) == len(able):
        happen = "happens" if len(top) == 1 else "happen"
        return (
            f"No ranking is justified by one seed: {listed(top)} {happen} to come out {metric.highest}, with {reached}."
        )
    beaten = [norm for norm in rest for d in found.among([first, norm]) if d.is_real() and d.better == first]
    equal = [norm for norm in rest if norm not in beaten]
    if not equal:
        return f"{first} is the best: {reached} at its best setting, {metric.more} than any other at theirs."
    if beaten and len(top) > 1:
        better = f"{first} is shown to be better than {listed(beaten)}."
        return f"{listed(top)} reach {metric.most}, {reached} each. {better}"
    if beaten:
        return (
            f"{first} reaches {metric.most}, {reached}: {metric.more} than {listed(beaten)}, but not shown to be "
            f"{metric.more} than {listed(equal)}, each at its best setting."
        )
    none = "No normalization is shown to be the best: at their best settings"
    if len(top) == len(able):
        return f"{none} all of them reach {reached}."
    worst = metric.number(found.means[min(rest, key=found.merit)])
    return f"{none} they reach {worst} to {reached}, {listed(top)} {metric.most}."


def answer(found: Findings) -> Answer:
    """Answer which spec to use, no more firmly than the runs justify.

    A spec that diverged with some seed is never recommended, nor is one that learned nothing. Nor is one that another
    is shown to beat, nor one whose mean is below that of such a one. One that shares fewer than 2 seeds with each other
    one is left out. Where one spec is left, it is the answer. Where several are, size and speed decide (images a second
    of training, alike within 5 %), but only between the best in the mean and those whose 95 % interval, paired by seed,
    excludes that they are more than half a point, or one test image if that is more, below it. Where there are none,
    the seeds are too few for an answer. Where sizes are not known, any of these will do.
    """
    specs, fit, means, lost = list(found.accuracies), found.fit, found.means, found.metric.lost
    diverged = [spec for spec in specs if spec not in found.ended]
    empty = [spec for spec in found.ended if spec not in fit]
    out = []
    if diverged:
        out.append(f"{listed(diverged)} {lost} with some seed and {is_or_are(diverged)} left out.")
    if empty:
        out.append(f"{_learned_nothing(empty)} and {is_or_are(empty)} left out.")
    if not found.ended:
        mend = "A lower learning rate or a penalty may hold them; train again before choosing."
        if lost != "diverged":
            mend = "Mend what made them fail, and train again before choosing."
        return Answer(f"None of them: each {lost} with some seed.", mend)
    if not fit:
        return _answer(
            "None of them: no spec is shown to have learned anything.",
            f"{they_are(empty)} right no more often than answers given without looking at the images.",
            "Check that the labels belong to the images, and train longer or with another learning rate.",
            *out[:-1],
        )
    if len(fit) == 1:
        [only] = fit
        right = f"It is right on {means[only]:.2f} % of the test images."
        if not found.metric.is_accuracy:
            right = f"Its {found.metric.title()} is {found.metric.text(means[only])}."
        if len(specs) == 1:
            right += " Train another spec beside it to compare."
            return Answer(f"There is nothing to choose from: only {only} was trained.", right)
        why = " and ".join([f"never {lost}"] * bool(diverged) + ["learned anything"] * bool(empty))
        return _answer(f"Use {only}: it is the only one that {why}.", right, *out, picks=fit)
    if not found.candidates:
        what, remedy = _too_few(found, fit)
        top = found.best_in_mean(fit)
        right = f"{listed(top)} {'was' if len(top) == 1 else 'were'} right most often ({means[top[0]]:.2f} %), but with"
        if not found.metric.is_accuracy:
            best = f"the {found.metric.highest} {found.metric.title()} ({found.metric.text(means[top[0]])})"
            right = f"{listed(top)} {'has' if len(top) == 1 else 'have'} {best}, but with"
        sentence = f"{what[0].upper()}{what[1:]} cannot tell which to use."
        return _answer(sentence, remedy, f"{right} other seeds the order may be another.", *out)
    out += _left_alone([spec for spec in fit if spec not in found.candidates])
    if len(found.kept) == 1:
        return _winner(found, out)
    if len(found.close) == 1:
        return _cannot_tell(found, out)
    return _by_cost(found, out)


def _answer(sentence: str, *reasons: str, picks: Iterable[str] = ()) -> Answer:
    return Answer(sentence, " ".join(reasons), tuple(picks))


def _winner(found: Findings, out: Sequence[str]) -> Answer:
    """Name the one that is left, what it beats and by how much, and what it is only above in the mean."""
    [best], metric = found.kept, found.metric
    wins = {d.worse: abs(d.mean) for d in found.among(found.candidates) if d.is_real() and d.better == best}
    doubtful = [spec for spec in found.dropped if spec not in wins]
    sentence, reasons = f"Use {best}.", ["It is the only one that no other is shown to beat."]
    if wins:
        low, high = metric.number(min(wins.values())), metric.number(max(wins.values()))
        by = (low if len(wins) == 1 else f"{low} to {high}") + metric.of_differences
        reasons = [f"It beats {listed(list(wins))} by {by} {'of' if metric.percent else 'in'} {metric.title()}."]
    if wins and doubtful:
        sentence = f"Use {best}: it beats {listed(list(wins))}; that it beats {listed(doubtful)} is not shown."
        reasons.append(f"{they_are(doubtful)} {metric.lower} in the mean still, though not shown to be worse.")
    fewest, small = found.fewest(found.candidates) if found.parameters else (0, [best])
    if best not in small:
        has = f"{listed(small)} {'has' if len(small) == 1 else 'have'}"
        reasons.append(f"It has {found.parameters[best]:,} trainable parameters; {has} {fewest:,}.")
    return _answer(sentence, *reasons, *out, picks=[best])


def _best_in_mean(found: Findings) -> str:
    """Name the best in the mean of those that are kept."""
    reached = found.metric.text(found.means[found.top[0]])
    if len(found.top) == 1:
        return f"The best in the mean is {found.top[0]}, with {reached}"
    return f"The best in the mean are {listed(found.top)}, each with {reached}"


def _worse(found: Findings) -> list[str]:
    """Say of each that is dropped by how much it is worse, and than which, or that it is below such a one."""
    sentences, below = [], []
    for spec in found.dropped:
        lost = [d for d in found.among([*found.kept, spec]) if d.outcome == "better" and d.worse == spec]
        if lost:
            most = max(lost, key=lambda d: abs(d.mean))
            sentences.append(f"{spec} is worse than {most.better} by {_by(most, found.metric)}.")
        else:
            below.append(spec)
    if below:
        sentences.append(f"{they_are(below)} {found.metric.below} one that is shown to be worse.")
    return sentences


def _cannot_tell(found: Findings, out: Sequence[str]) -> Answer:
    """Answer where others may be too far below the best in the mean for size and speed to decide."""
    best, kept, metric = found.top[0], found.kept, found.metric
    leads = [d for d in found.among(kept) if best in (d.first, d.second) and d.seeds > 1]
    nearest = min(leads, key=lambda d: abs(d.mean), default=None)
    reason = f"Train more seeds{_forecast([nearest]) if nearest else ''}. {_best_in_mean(found)}"
    if found.parameters:
        cheapest = min(kept, key=lambda spec: (found.parameters[spec], -found.speeds[spec]))
        reason += (
            f"; the cheapest meanwhile is {cheapest}, with {found.parameters[cheapest]:,} trainable parameters and "
            f"{found.speeds[cheapest]:,.0f} images/s"
        )
    reason += "."
    which = f"which to use of {listed(kept, 'or')}" if found.dropped else "which to use"
    if nearest is None:
        return _answer(f"Too few common seeds to tell {which}.", reason, *out)
    lead = f"{nearest.better} leads {nearest.worse} by {metric.difference(abs(nearest.mean))}, and"
    if metric.number(abs(nearest.mean)) == metric.number(0.0):
        lead = f"{nearest.first} and {nearest.second} are equal in the mean"
    elif isinstance(nearest, Difference) and not (metric.percent and nearest.detectable >= 100):
        lead += f" only a lead over {metric.number(nearest.detectable)} would be shown"
    elif isinstance(nearest, Pair) and nearest.seeds >= FIRST_LOOK:
        low, high = sorted(-end if nearest.mean < 0 else end for end in nearest.ends())
        lead += f" {metric.signed(low)} to {metric.signed(high)} is possible"
    else:
        lead += " seeds that spread so far show no difference at all"
    return _answer(f"{nearest.seeds} seeds cannot tell {which}: {lead}.", reason, *_worse(found), *out)


def _by_cost(found: Findings, out: Sequence[str]) -> Answer:
    """Choose between specs of which none is much below the best in the mean."""
    close, best, metric = found.close, found.top[0], found.metric
    head = f"Not {listed(found.dropped, 'or')}" if found.dropped else f"No difference in {metric.name} is shown"
    pairs = [d for d in found.among(close) if d.seeds > 1]
    if pairs and all(d.is_equivalent() for d in pairs):
        worse = f", and {they_are(found.dropped)} worse" if found.dropped else ""
        head = f"{listed(close)} are equivalent, {_apart(pairs, metric)}{worse}"
    fewest, small = found.fewest(close) if found.parameters else (0, close)
    fast = found.fastest(close) if found.parameters else close
    both = [spec for spec in small if spec in fast]
    speeds = [round(found.speeds[s]) for s in both or fast if math.isfinite(found.speeds.get(s, math.nan))] or [0]
    size, pace = f"fewest parameters ({fewest:,})", f"fastest training ({ranged(speeds)} images/s)"
    name = f"{metric.name[0].upper()}{metric.name[1:]}" if metric.of_images else metric.name
    reasons = [f"{name} does not decide, so that size and speed do.", f"{_best_in_mean(found)}."]
    if len(both) == len(close):
        sentence = f"{head}: take {listed(both, 'or')}."
        reasons[0] = f"{name} does not decide, and they are equally large and fast."
        if not found.parameters:
            reasons[0] = f"{name} does not decide, so take what is cheaper for you."
    elif both:
        because = " and ".join(words for words, some in ((size, small), (pace, fast)) if len(some) < len(close))
        sentence = f"{head}: take {listed(both, 'or')} with the {because}."
    else:
        sentence = f"{head}: take {listed(small, 'or')} for the {size}, or {listed(fast, 'or')} for the {pace}."
    picks = both or [*small, *fast]
    for spec in picks:
        if spec != best:
            reasons.append(f"{spec} is at most {metric.difference(found.below[spec])} {metric.below} {best}.")
    if unsure := [spec for spec in found.kept if spec not in close]:
        reasons.append(f"{listed(unsure)} may be more than {metric.difference(found.margin)} {metric.below} {best}.")
    return _answer(sentence, *reasons, *_worse(found), *out, picks=picks)
