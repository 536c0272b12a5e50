"""The statistics against published examples and by simulation, and what the verdict says of them."""

import math
import re

import numpy as np
import pytest
from facts import says
from scipy import stats

from tfnorm.errors import TfnormError
from tfnorm.experiments import verdict as words
from tfnorm.experiments.findings import Findings
from tfnorm.experiments.statistics import (
    holm,
    level_of_look,
    look_number,
    mcnemar,
    mean_interval,
    paired_differences,
)
from tfnorm.experiments.verdict import about_looks, pair_sentence

# Student's own example of 1908: hours of sleep gained by ten patients under two drugs (R's data set `sleep`).
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def by_seed(values):
    return dict(enumerate(values))


def verdict(values, *, resolution=0.0, looks=()):
    return words.verdict(Findings(values, paired_differences(values, resolution=resolution, looks=looks)))


def test_paired_test_and_interval_of_students_example():
    [difference] = paired_differences({"first": by_seed(FIRST), "second": by_seed(SECOND)})
    assert difference.mean == pytest.approx(-1.58)
    assert difference.p == pytest.approx(0.002833, abs=5e-7)  # t = -4.0621, 9 degrees of freedom
    low, high = difference.mean - difference.half_width, difference.mean + difference.half_width
    assert (low, high) == pytest.approx((-2.4598858, -0.7001142), abs=1e-6)
    # A snapshot of the whole sentence.
    assert pair_sentence(difference) == "second beats first by 1.58 ± 0.88 points, p = 0.0028"


def test_interval_of_one_sample():
    assert mean_interval(FIRST) == pytest.approx((-0.5297804, 2.0297804), abs=1e-6)  # R: t.test(extra), first group
    assert all(map(math.isnan, [*mean_interval([99.0]), *mean_interval([])]))


def test_mcnemar_of_a_published_table():
    # Fay, 2010, package exact2x2 of R: 21 and 12 agree, 2 and 9 disagree; p = 0.06543.
    counts = mcnemar([True] * 21 + [True] * 2 + [False] * 9, [True] * 21 + [False] * 2 + [True] * 9)
    assert (counts.only_first, counts.only_second) == (2, 9)
    assert counts.p == pytest.approx(0.06543, abs=5e-6)
    assert mcnemar([True, False], [True, False]).p == 1
    with pytest.raises(TfnormError, match="Received: 1 and 2 images"):
        mcnemar([True], [True, False])


def test_holm_of_a_published_example():
    # The four hypotheses of the article "Holm-Bonferroni method": the first and the fourth are rejected at 5 %.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.7, 0.9]) == [1.0, 1.0]


@pytest.mark.parametrize("images", [None, 10_000, 450])
def test_equal_models_are_seldom_called_different(images):
    """Two thousand comparisons of equal models, five seeds: at most 6 % differ at 5 %."""
    rng = np.random.default_rng(1)
    called = 0
    for _ in range(2000):
        a, b = 99 + 0.1 * rng.normal(size=(2, 5))
        if images:
            a, b = (100 * rng.binomial(images, values / 100) / images for values in (a, b))
        [difference] = paired_differences({"a": by_seed(a), "b": by_seed(b)}, resolution=100 / images if images else 0)
        called += difference.is_real()
    assert called <= 0.06 * 2000
    if images != 450:  # where a step is one image the test is more cautious, not blind
        assert called >= 0.035 * 2000


def test_three_equal_models_together():
    rng = np.random.default_rng(2)
    called = 0
    for _ in range(1000):
        values = {label: by_seed(80 + rng.normal(size=5)) for label in "abc"}
        called += any(difference.is_real() for difference in paired_differences(values))
    assert called <= 0.06 * 1000


def test_real_differences_are_found():
    rng = np.random.default_rng(3)
    luck = rng.normal(size=5)  # shared by the seeds' common kernels and order
    values = {"gn:4": by_seed(80.5 + luck), "ln": by_seed(79 + luck + 0.1 * rng.normal(size=5))}
    [difference] = paired_differences(values)
    assert difference.is_real() and difference.mean == pytest.approx(1.5, abs=0.2)
    assert verdict(values).startswith("gn:4 beats ln by 1.")


def test_detectable_is_where_the_call_changes():
    for count in (3, 5, 10):
        changes = np.random.default_rng(count).normal(size=count)
        changes -= changes.mean()
        labels = {"a": by_seed(changes), "b": by_seed(np.zeros(count))}
        [difference] = paired_differences(labels)
        for factor, real in ((0.99, False), (1.01, True)):
            moved = {**labels, "a": by_seed(changes + factor * difference.detectable)}
            assert paired_differences(moved)[0].is_real() is real


def test_rounding_is_not_taken_for_certainty():
    """Three seeds that all differ by one image of 450 prove nothing; by twenty images they do."""
    step = 100 / 450
    a = by_seed([98, 98, 98])
    one, twenty = (by_seed([98 + count * step] * 3) for count in (1, 20))
    assert not paired_differences({"a": a, "b": one}, resolution=step)[0].is_real()
    assert paired_differences({"a": a, "b": twenty}, resolution=step)[0].is_real()
    [same] = paired_differences({"a": a, "b": a})
    assert same.p == 1 and not same.is_real()


def test_one_seed_ranks_nothing():
    values = {"bn": {0: 78.66}, "gn:4": {0: 78.2}, "ln": {0: 78.0}}
    assert all(not difference.is_real() for difference in paired_differences(values))
    # A snapshot of the whole sentence.
    assert verdict(values) == (
        "No ranking is justified by one seed. Train at least 3 seeds, for example with --seeds 3."
    )
    assert "no ranking is justified" in pair_sentence(paired_differences(values)[0])
    apart = {"bn": by_seed([90.0, 91.0]), "ln": {2: 80.0, 3: 81.0}}
    says(verdict(apart), "No ranking", "without a common seed", "at least 3", "--seeds 3")
    says(verdict(apart | {"ln": {1: 80.0, 2: 81.0}}), "No ranking", "one common seed")


def test_seeds_that_diverged_are_not_called_missing():
    nan = math.nan
    says(
        verdict({"bn": by_seed([90.0, nan, nan]), "ln": by_seed([91.0, 91.1, 91.0])}),
        "No ranking",
        "Lower the learning rate",
        "bn diverged in 2 of 3 seeds",
    )


def test_a_spec_with_one_common_seed_is_left_out_of_the_verdict():
    values = {"bn": by_seed([90.0, 90.2, 90.1]), "ln": by_seed([90.1, 90.2, 90.15])}
    said = verdict(values)
    more = verdict(values | {"gn": {0: 99.5}, "in": {0: 9.5}})
    assert more.startswith(said)
    says(more, "gn and in", "fewer than 2 seeds")


def test_pairs_without_common_seeds_are_named():
    pair = [90.0, 90.3]
    values = {"a": by_seed(pair), "b": by_seed([90.1, 90.1]), "c": {2: 90.0, 3: 90.1}, "d": {2: 90.0, 3: 90.2}}
    said = verdict(values)
    says(said, "a, b, c and d", "2 seeds", "a with c, a with d, b with c and b with d")


def test_three_runs_of_one_network_are_not_told_apart():
    """Three labels on runs of one and the same network: what the spread of seeds alone gives."""
    accuracies = np.random.default_rng(4).normal(78.3, 0.35, size=(3, 3))
    values = {label: by_seed(row) for label, row in zip(["bn", "gn:4", "ln"], accuracies, strict=True)}
    says(verdict(values, resolution=0.01), "No difference", "bn, gn:4 and ln", "3 seeds")


def test_only_common_seeds_and_finite_values_are_paired():
    values = {"a": {0: 1.0, 1: 2.0, 2: 4.0, 3: math.nan}, "b": {1: 1.0, 2: 2.0, 3: 3.0, 5: 9.0}}
    [difference] = paired_differences(values)
    assert (difference.seeds, difference.mean) == (2, 1.5)


def test_verdict_names_the_equals_of_the_best():
    rng = np.random.default_rng(5)
    luck = 0.1 * rng.normal(size=(3, 5))
    means = {"bn": 90.0, "gn:4": 90.01, "ln": 80.0}
    values = {label: by_seed(mean + row) for (label, mean), row in zip(means.items(), luck, strict=True)}
    said = verdict(values)
    assert "bn beats ln by" in said and "gn:4 beats ln by" in said
    assert "No difference shown between" in said
    says(verdict({"bn": {0: 98.0}, "ln": {}}), "Only bn", "98.00 %")


def test_a_spec_that_diverged_wins_nothing_and_is_named():
    nan = math.nan
    says(verdict({"bn": {0: nan}}), "No run", "bn diverged in 1 of 1 seeds")
    says(verdict({"bn": {0: 98.0}, "ln": {0: nan}}), "Only bn", "98.00 %", "ln diverged in 1 of 1 seeds")
    steady = by_seed(np.array([97.0, 97.1, 97.05, 96.9, 97.0]))
    lucky = {0: 98.9, 1: 98.8, 2: nan, 3: nan, 4: nan}
    says(verdict({"none": lucky, "gn:2": steady}, resolution=0.01), "No ranking", "none diverged in 3 of 5 seeds")
    worse = {0: 90.0, 1: 90.1, 2: 89.9, 3: 90.05, 4: nan}
    said = verdict({"none": worse, "gn:2": steady}, resolution=0.01)
    assert said.startswith("gn:2 beats none by 7.")
    says(said, "none diverged in 1 of 5 seeds")


def test_each_number_of_seeds_detects_its_own_differences():
    alike = {seed: 99 + 0.1 * (seed % 3) for seed in range(10)}
    other = {seed: 99 + 0.1 * (seed % 2) for seed in range(10)}
    said = verdict({"bn": alike, "gn:2": other, "ln": {0: 98.0, 1: 99.5}})
    pairs = {d.seeds: d for d in paired_differences({"bn": alike, "gn:2": other})}
    says(said, "No difference", "bn, gn:2 and ln")
    assert re.search(r"10 seeds .*\b0\.\d\d points, 2 seeds .*\b[12]\d\.\d\d points", said)
    assert pairs[10].detectable < 0.3


def test_two_seeds_far_apart_detect_nothing():
    said = verdict({"bn": {0: 10.0, 1: 90.0}, "ln": {0: 80.0, 1: 30.0}})
    says(said, "No difference", "bn and ln", "2 seeds", "no difference at all")


def first_seeds(values, count):
    return {label: {seed: value for seed, value in seeds.items() if seed < count} for label, seeds in values.items()}


@pytest.mark.parametrize(
    ("looks", "specs"),
    [
        *[((3,), 2), ((3, 5, 10), 3), (tuple(range(3, 11)), 2)],
        *(pytest.param(*case, marks=pytest.mark.matrix) for case in [((3,), 3), ((3, 5, 10), 2)]),
        pytest.param(tuple(range(3, 11)), 3, marks=pytest.mark.matrix),
    ],
)
def test_equal_models_stay_equal_however_often_one_looks(specs, looks):
    """A thousand comparisons that stop as soon as a difference is shown: with seeds added, at most 7.5 % stop."""
    rng, called = np.random.default_rng(5), 0
    for _ in range(1000):
        values = {label: by_seed(map(float, rng.normal(98, 0.2, max(looks)).round(2))) for label in "abc"[:specs]}
        before = []
        for count in looks:
            seen = first_seeds(values, count)
            if any(d.is_real() for d in paired_differences(seen, resolution=0.01, looks=before)):
                called += 1
                break
            before.append(seen)
    # Two standard deviations of what a thousand draws tell.
    assert called <= 1000 * (0.075 if len(looks) > 1 else 0.05) + 2 * math.sqrt(1000 * 0.075 * 0.925)


def test_levels_of_all_looks_stay_together_below_the_promise():
    assert level_of_look(1) == pytest.approx(0.05)
    assert sum(level_of_look(number) for number in range(1, 60)) == pytest.approx(0.075)


def test_the_same_seeds_again_are_the_same_look():
    ten = {"a": by_seed(np.arange(10.0)), "b": by_seed(np.arange(10.0) % 3)}
    three, five = first_seeds(ten, 3), first_seeds(ten, 5)
    assert look_number(ten, "a", "b", []) == 1
    assert look_number(ten, "a", "b", [three]) == 2
    assert look_number(ten, "a", "b", [three, ten]) == look_number(ten, "a", "b", [three, three, ten, five]) == 2
    assert look_number(ten, "a", "b", [three, five]) == 3
    assert look_number(three, "a", "b", [three, five, ten]) == 1
    assert paired_differences(ten, looks=[ten]) == paired_differences(ten)


def test_what_was_no_look_at_these_runs_does_not_count():
    ten = {"a": by_seed(np.arange(10.0)), "b": by_seed(np.arange(10.0) % 3)}
    three = first_seeds(ten, 3)
    other = {"a": {0: 5.0, 1: 5.0, 2: 5.0}, "b": three["b"]}
    for look in (other, first_seeds(ten, 1), {"a": three["a"]}, {"c": three["a"], "b": three["b"]}, {}):
        assert look_number(ten, "a", "b", [look]) == 1
    # A spec that is added is compared for the first time; the others are not looked at again.
    wider = ten | {"c": by_seed(np.arange(10.0) ** 0.5)}
    assert [d.look for d in paired_differences(wider, looks=[ten])] == [1, 1, 1]
    assert [d.look for d in paired_differences(wider, looks=[three])] == [2, 1, 1]


def test_a_later_look_is_stricter_and_says_so():
    rng = np.random.default_rng(3)
    values = {"a": by_seed(rng.normal(98.35, 0.2, 5)), "b": by_seed(rng.normal(98, 0.2, 5))}
    [first], [second] = paired_differences(values), paired_differences(values, looks=[first_seeds(values, 3)])
    assert (second.mean, second.half_width, second.p) == (first.mean, first.half_width, first.p)
    assert second.p_adjusted == pytest.approx(min(1.0, 4 * first.p_adjusted))
    assert second.detectable > first.detectable
    moved = values["a"] | {}
    by = second.detectable - second.mean
    for factor, real in ((0.999, False), (1.001, True)):
        shifted = {seed: value + second.mean * (factor - 1) + factor * by for seed, value in moved.items()}
        found = {"a": shifted, "b": values["b"]}
        assert paired_differences(found, looks=[first_seeds(found, 3)])[0].is_real() is real
    said = about_looks([second])
    assert "look 2" in said and "1.25 %" in said and "7.5 %" in said


def test_what_more_seeds_cost_is_said_before_they_are_trained():
    equal = {"a": by_seed([1.0, 2.0, 3.0]), "b": by_seed([2.0, 1.0, 3.0])}
    assert "1.25 %" in about_looks(paired_differences(equal))
    apart = {"a": by_seed([1.0, 1.1, 1.2]), "b": by_seed([9.0, 9.2, 9.1])}
    assert about_looks(paired_differences(apart)) == ""
    assert about_looks(paired_differences({"a": {0: 1.0}, "b": {0: 2.0}})) == "" == about_looks([])


def test_what_seeds_detect_is_told_of_every_pair_not_of_the_widest_alone():
    close, wide = [90.0, 90.1, 90.05], [90.0, 95.0, 85.0]
    values = {"a": by_seed(close), "b": by_seed([90.1, 90.0, 90.1]), "c": by_seed(wide)}
    sizes = [f"{d.detectable:.2f}" for d in paired_differences(values)]
    assert float(sizes[0]) < 1 < 10 < float(sizes[1])
    said = verdict(values)
    says(said, f"{sizes[0]} to {max(sizes, key=float)} points")
    values["c"] = by_seed([0.0, 99.0, 50.0])
    says(verdict(values), "none at all")


def test_sentences_of_one_pair_never_contradict_themselves():
    nan = math.nan
    [apart] = paired_differences({"bn": {0: 90.0}, "ln": {1: 91.5}})
    assert "nan" not in pair_sentence(apart) and "share no seed" in pair_sentence(apart)
    steady, lucky = by_seed([97.0, 97.1, 97.05]), {0: 98.9, 1: 98.8, 2: 98.9, 3: nan}
    [found] = paired_differences({"none": lucky, "gn:2": steady})
    assert found.is_significant() and not found.is_real() and found.better == "none"
    sentence = pair_sentence(found)
    assert "beats" not in sentence and "no ranking" in sentence and "none" in sentence
    assert verdict({"none": lucky, "gn:2": steady}).startswith("No ranking is justified")


def test_the_verdict_names_no_best_where_means_are_equal():
    close = Findings({"a": {0: 90.004}, "b": {0: 90.0}, "c": {0: 89.99}}, [])
    assert close.best_in_mean(["a", "b", "c"]) == ["a", "b"]
    values = {
        "bn": by_seed([90.0, 90.2, 90.1]), "ln": by_seed([90.1, 90.0, 90.2]), "in": by_seed([80.0, 80.1, 80.2]),
        "gn": by_seed([90.0, 90.1, 90.0]),
    }  # fmt: skip
    said = verdict(values)
    says(said, "bn and ln", "equal", "gn")
    assert "best in the mean" not in said


def told(values, margin=0.5, **settings):
    pairs = paired_differences(values, margin=margin, **settings)
    return words.verdict(Findings(values, pairs)), pairs


def around(mean, spread, seeds):
    """Return values of which mean and standard deviation are exactly these."""
    values = np.arange(seeds) - (seeds - 1) / 2
    return by_seed((mean + spread * values / values.std(ddof=1)).tolist())


def test_two_one_sided_tests_of_a_known_mean_and_spread():
    # t(7) at 5 % is 1.8946 one-sided: 0.1 + 1.8946 * 0.3 / sqrt(8) = 0.3010.
    values = {"bn": around(90.1, 0.3, 8), "ln": by_seed([90.0] * 8)}
    said, [pair] = told(values)
    assert pair.at_most == pytest.approx(0.30096, abs=1e-5) and pair.is_equivalent() and not pair.is_real()
    says(said, "bn and ln are equivalent", "at most 0.30 points", "margin of 0.50")
    assert not told(values, 0.3)[1][0].is_equivalent() and told(values, 0.302)[1][0].is_equivalent()
    looked = told(values, looks=[first_seeds(values, 4)])[1][0]
    assert looked.at_most > pair.at_most, "a later look is stricter"
    with_three = told(values | {"gn": by_seed([95.0] * 8)})[1][0]
    assert with_three.at_most > pair.at_most, "so is a test of three pairs"
    assert "equivalent" not in verdict(values), "nothing is without a margin"


def test_what_is_better_by_less_than_the_margin_is_negligible():
    said, [pair] = told({"bn": around(90.2, 0.1, 8), "ln": by_seed([90.0] * 8)})
    assert pair.is_real() and pair.is_equivalent()
    says(said, "bn beats ln by 0.20", "negligibly", "less than 0.50 points")


def test_what_diverged_is_equivalent_to_nothing():
    lost = around(90.0, 0.1, 8) | {8: math.nan}
    said, [pair] = told({"bn": lost, "ln": by_seed([90.0] * 8)})
    assert not pair.is_equivalent() and "equivalent" not in said


def test_undecided_pairs_say_how_many_seeds_would_decide():
    values = {"bn": around(90.1, 0.4, 3), "ln": by_seed([90.0] * 3)}
    said, [pair] = told(values)
    says(said, "No difference shown", "3 seeds", f"about {pair.needed} seeds")
    # At the next look, which is tested at 1.25 %: two one-sided tests of 0.1 with this many seeds.
    for seeds, decided in ((pair.needed - 1, False), (pair.needed, True)):
        quantile = stats.t.ppf(1 - 0.0125, seeds - 1)
        assert bool(0.1 + quantile * 0.4 / math.sqrt(seeds) < 0.5) is decided
    far = {"bn": by_seed([90.0, 10.0, 40.0]), "ln": by_seed([10.0, 90.0, 40.2])}
    says(told(far)[0], "more than 1,000 seeds")


def test_equivalent_pairs_are_told_apart_from_undecided_ones():
    values = {
        "bn": around(90.0, 0.1, 6),
        "ln": by_seed([90.0] * 6),
        "gn": by_seed([80.0, 99.0, 85.0, 95.0, 90.0, 92.0]),
    }
    said, _ = told(values)
    says(said, "bn and ln are equivalent", "No difference shown between bn, ln and gn", "6 seeds")
    winner = {"bn": around(90.0, 0.1, 6), "ln": by_seed([90.02] * 6), "gn": around(80.0, 0.1, 6)}
    said, _ = told(winner)
    says(said, "bn beats gn", "ln beats gn", "ln and bn are equivalent")
    assert "No difference" not in said


def test_specs_that_differ_by_the_margin_are_seldom_called_equivalent():
    rng, wrong = np.random.default_rng(6), 0
    for _ in range(1000):
        values = {"a": by_seed(rng.normal(90, 0.3, 6)), "b": by_seed(rng.normal(90, 0.3, 6))}
        values["c"] = by_seed(rng.normal(90.5, 0.3, 6))
        wrong += any(d.is_equivalent() and d.second == "c" for d in paired_differences(values, margin=0.5))
    assert wrong <= 0.05 * 1000


def test_what_seeds_cannot_tell():
    found = Findings({"bn": by_seed([98.0]), "ln": by_seed([99.0])}, [])
    said = words.about_images(found, 450)
    # 1.96 * sqrt(p (1 - p) / n), with two right and two wrong images added (Agresti and Coull).
    says(said, "450 test images", "1.41 points")
    says(words.about_images(Findings({"bn": by_seed([100.0])}, []), 450, "held-out"), "held-out", "0.61 points")
    assert words.about_images(found, 0) == "" == words.about_images(Findings({}, []), 450)
