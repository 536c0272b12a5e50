"""What becomes of a published claim, from the numbers of several seeds."""

import math

import pytest
from facts import says

from tfnorm.experiments.published.claims import Measured, arrival, examine
from tfnorm.experiments.published.comparisons import Claim
from tfnorm.experiments.statistics import paired_differences

FLAT = {0: 1.0, 1: 1.0, 2: 1.0}
STEP = 0.01


def row(accuracy=FLAT, gap=FLAT, epochs=FLAT):
    return Measured(accuracy, gap, epochs)


def seeds(*values):
    return dict(enumerate(values))


def found(kind, rows, others=(), **measured):
    claim = Claim(says="It was said.", kind=kind, rows=rows, others=others)
    return examine(claim, measured, resolution=STEP)


@pytest.mark.parametrize(
    ("a", "b", "outcome"),
    [
        (seeds(99.0, 99.1, 99.2), seeds(98.0, 98.12, 98.19), "holds"),
        (seeds(98.0, 98.12, 98.19), seeds(99.0, 99.1, 99.2), "contradicted"),
        (seeds(99.0, 98.0, 99.2), seeds(98.9, 98.1, 99.1), "not shown"),
        (seeds(99.0), seeds(90.0), "not shown"),
        (seeds(99.0, math.nan), seeds(90.0, 90.0), "not shown"),
    ],
)
def test_better_needs_a_real_difference(a, b, outcome):
    assert found("better", ("a", "b"), a=row(a), b=row(b)).outcome == outcome


def test_better_speaks_of_the_first_row_alone():
    a, b, c = seeds(99.0, 99.1, 99.2), seeds(98.0, 98.12, 98.19), seeds(97.0, 97.12, 97.19)
    finding = found("better", ("a", "b", "c"), a=row(a), b=row(b), c=row(c))
    assert finding.outcome == "holds"
    assert "a minus b: +1.00" in finding.because and "a minus c: +2.00" in finding.because
    assert "b minus c" not in finding.because


def test_only_the_pairs_of_a_claim_are_corrected_for():
    """Of three rows, "a is better than both" makes two comparisons, and b with c none."""
    a, b, c = seeds(99.0, 99.1, 99.2), seeds(98.9, 98.97, 99.06), seeds(98.87, 98.98, 98.99)
    own = paired_differences({"a": a, "b": b, "c": c}, resolution=STEP, pairs=[("a", "b"), ("a", "c")])
    every = paired_differences({"a": a, "b": b, "c": c}, resolution=STEP)
    assert all(d.is_real() for d in own) and not every[1].is_real()
    assert found("better", ("a", "b", "c"), a=row(a), b=row(b), c=row(c)).outcome == "holds"


def test_a_ranking_holds_only_if_every_step_does():
    a, b, c = seeds(99.0, 99.1, 99.2), seeds(98.0, 98.12, 98.19), seeds(98.01, 98.1, 98.2)
    assert found("ranking", ("a", "b", "c"), a=row(a), b=row(b), c=row(c)).outcome == "not shown"
    assert found("ranking", ("b", "a", "c"), a=row(a), b=row(b), c=row(c)).outcome == "contradicted"
    c = seeds(97.0, 97.12, 97.19)
    assert found("ranking", ("a", "b", "c"), a=row(a), b=row(b), c=row(c)).outcome == "holds"


def test_slower_and_smaller_gap_look_at_their_own_numbers():
    late, early = seeds(18.0, 19.0, 18.0), seeds(5.0, 6.0, 5.0)
    assert found("slower", ("a", "b"), a=row(epochs=late), b=row(epochs=early)).outcome == "holds"
    assert found("slower", ("b", "a"), a=row(epochs=late), b=row(epochs=early)).outcome == "contradicted"
    small, large = seeds(0.1, 0.11, 0.12), seeds(1.0, 1.05, 0.99)
    assert found("smaller_gap", ("a", "b"), a=row(gap=small), b=row(gap=large)).outcome == "holds"
    assert found("smaller_gap", ("b", "a"), a=row(gap=small), b=row(gap=large)).outcome == "contradicted"


def test_steadiest_compares_the_ranges_of_each_seed():
    rows = {
        "a 16": row(seeds(99.0, 99.0, 99.0)),
        "a 128": row(seeds(99.1, 99.11, 99.1)),
        "b 16": row(seeds(97.0, 97.1, 97.05)),
        "b 128": row(seeds(99.0, 99.05, 99.0)),
    }
    steady, wide = ("a 16", "a 128"), ("b 16", "b 128")
    claim = Claim(says="?", kind="steadiest", rows=steady, others=(wide,))
    finding = examine(claim, rows, resolution=STEP)
    assert finding.outcome == "holds"
    says(finding.because, "0.10 points")
    assert examine(claim.model_copy(update={"rows": wide, "others": (steady,)}), rows, resolution=STEP).outcome == (
        "contradicted"
    )
    one_image = {name: row(seeds(99.0, 99.0)) for name in steady[:1] + wide[:1]}
    one_image |= {"a 128": row(seeds(99.10, 99.10)), "b 128": row(seeds(99.11, 99.11))}
    assert examine(claim, one_image, resolution=STEP).outcome == "not shown"
    rows["b 16"] = row(seeds(math.nan, math.nan, math.nan))
    assert examine(claim, rows, resolution=STEP).outcome == "not shown"


def test_arrival_is_the_epoch_from_which_accuracy_stays():
    assert arrival([99.0]) == 1
    assert arrival([99.0, 99.05, 99.0]) == 1
    assert arrival([90.0, 99.0, 95.0, 99.0]) == 4
    assert arrival([99.0, 98.0, 97.0, 99.5]) == 4


def test_what_diverged_with_some_seeds_is_not_shown_to_be_better_but_may_have_the_larger_gap():
    lucky, steady = seeds(99.0, 99.1, 99.0, math.nan), seeds(90.0, 90.1, 90.0, 90.1)
    finding = found("better", ("a", "b"), a=row(lucky), b=row(steady))
    assert finding.outcome == "not shown" and "did not diverge" in finding.because
    assert found("better", ("b", "a"), a=row(lucky), b=row(steady)).outcome == "not shown"
    assert found("smaller_gap", ("b", "a"), a=row(gap=lucky), b=row(gap=steady)).outcome == "holds"
    apart = found("better", ("a", "b"), a=row(seeds(99.0)), b=row({5: 90.0}))
    assert "nan" not in apart.because and "share no seed" in apart.because


def test_an_interval_that_leaves_out_0_is_not_beside_a_bare_not_shown():
    rows = {"a": seeds(91.4, 91.6, 91.6), "b": seeds(91.1, 90.9, 91.1), "c": seeds(91.7, 91.7, 91.5)}
    pairs = paired_differences(rows, resolution=STEP, pairs=[("a", "b"), ("a", "c")])
    assert abs(pairs[0].mean) > pairs[0].half_width and not pairs[0].is_real()
    finding = found("better", ("a", "b", "c"), **{label: row(values) for label, values in rows.items()})
    first, second = finding.because.split(";")
    assert "after the correction" in first and "after the correction" not in second
