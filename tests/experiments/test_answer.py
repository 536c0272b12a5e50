import math

import pytest
from facts import says

from tfnorm.experiments.findings import Findings
from tfnorm.experiments.statistics import paired_differences
from tfnorm.experiments.verdict import answer

NAN = math.nan


# bn is at most 0.17 points below ln.
ALIKE = {"bn": [90.0, 90.2, 90.1], "ln": [90.1, 90.2, 90.15]}


def ask(values, parameters=None, speed=None, resolution=0.0, guessing=()):
    """Return the answer to accuracies by seed, with 100 parameters and 1,000 images/s for each spec unless told."""
    values = {label: seeds if isinstance(seeds, dict) else dict(enumerate(seeds)) for label, seeds in values.items()}
    pairs = paired_differences(values, resolution=resolution)
    parameters, speed = dict.fromkeys(values, 100) | (parameters or {}), dict.fromkeys(values, 1000.0) | (speed or {})
    return answer(Findings(values, pairs, guessing, resolution, parameters, speed))


def test_one_that_beats_the_others():
    found = ask({"bn": [90.0, 90.1, 90.2], "gn:2": [95.0, 95.2, 95.1], "ln": [80.0, 80.1, 80.3]})
    assert found.picks == ("gn:2",) and found.sentence == "Use gn:2."
    # A snapshot of the whole sentence.
    assert found.reason == "It beats bn and ln by 5.00 to 14.97 points of test accuracy."


def test_its_price_is_told():
    found = ask({"bn": [90.0, 90.1, 90.2], "ln": [95.0, 95.2, 95.1]}, {"bn": 6986, "ln": 41874})
    says(found.reason, "beats bn", "5.00 points", "41,874 trainable parameters", "6,986")
    tied = ask({"bn": [90.0, 90.1, 90.2], "gn:2": [90.1, 90.0, 90.2], "ln": [95.0, 95.2, 95.1]}, {"ln": 200})
    says(tied.reason, "200 trainable parameters", "bn and gn:2", "100")


def test_no_difference_leaves_it_to_size_and_speed():
    small = ask(ALIKE, {"bn": 10}, {"bn": 500.0})
    assert small.picks == ("bn", "ln")
    # Two snapshots of whole sentences.
    assert small.sentence == (
        "No difference in accuracy is shown: take bn for the fewest parameters (10), or ln for the fastest training "
        "(1,000 images/s)."
    )
    assert small.reason == (
        "Accuracy does not decide, so that size and speed do. The best in the mean is ln, with 90.15 %. bn is at most "
        "0.17 points below ln."
    )
    both = ask(ALIKE, {"ln": 200}, {"bn": 1100.0})
    assert both.picks == ("bn",)
    says(both.sentence, "bn", "fewest parameters (100)", "(1,100 images/s)")
    says(both.reason, "bn", "0.17 points below ln")


def test_seeds_that_spread_too_far_leave_nothing_to_size_and_speed():
    found = ask({"bn": [98, 92, 99], "gn": [88, 89, 87], "ln": [88, 91, 89]}, {"gn": 10})
    assert found.picks == ()
    says(found.sentence, "3 seeds", "bn leads ln by 7.00 points")
    assert "22.95" in found.sentence and "±" not in found.sentence
    says(found.reason, "more seeds", "bn", "96.33 %", "gn", "10 trainable parameters", "1,000 images/s")


def test_only_what_is_not_much_below_the_best_is_recommended_for_its_size():
    found = ask(ALIKE | {"gn": [88.0, 91.0, 90.0]}, {"gn": 10, "bn": 50})
    assert found.picks == ("bn",)
    says(found.reason, "gn", "0.50 points below ln")
    apart = {"bn": [90.0, 90.2, 90.1], "ln": [90.3, 90.5, 90.2]}  # 0.23 ± 0.29
    assert ask(apart, {"bn": 10}).picks == ()
    assert ask(apart, {"bn": 10}, resolution=1.0).picks == (), "one image of 100 widens the interval too"
    same = {"bn": [90.0, 91.0, 92.0, 90.0, 91.0], "ln": [90.0, 91.0, 92.0, 90.0, 91.0]}
    assert "0.51 points" in ask(same, {"ln": 10}, resolution=1.0).reason, "one image may be given away"


def test_speeds_within_the_clocks_error_are_alike():
    found = ask(ALIKE, speed={"bn": 970.0})
    assert found.picks == ("bn", "ln")
    says(found.sentence, "bn or ln")
    says(found.reason, "bn", "0.17 points below ln")
    assert "fastest" not in ask(ALIKE, {"bn": 10}, {"bn": 970.0}).sentence


def test_the_speed_that_is_told_is_that_of_the_spec_that_is_named():
    values = ALIKE | {"gn": [90.05, 90.2, 90.1]}
    one = ask(values, {"bn": 10}, {"bn": 1263.0, "ln": 1304.0, "gn": 500.0})
    assert one.picks == ("bn",)
    says(one.sentence, "take bn", "fewest parameters (10)", "(1,263 images/s)")
    two = ask(values, {"gn": 10}, {"bn": 1263.0, "ln": 1304.0, "gn": 500.0})
    says(two.sentence, "gn", "bn or ln", "(1,263 to 1,304 images/s)")


def test_what_is_worse_by_less_than_the_margin_may_be_taken_for_its_size():
    values = {label: by_seed(seeds) for label, seeds in {"bn": [90.0] * 3, "ln": [90.1] * 3, "in": [80.0] * 3}.items()}
    pairs = paired_differences(values, margin=0.5, resolution=0.001)
    assert [d.outcome for d in pairs] == ["negligible", "better", "better"]
    costs = {"parameters": {"bn": 10, "ln": 20, "in": 1}, "speeds": dict.fromkeys(values, 1000.0)}
    found = answer(Findings(values, pairs, **costs))
    assert found.picks == ("bn",)
    says(found.sentence, "bn and ln are equivalent", "in is worse", "take bn")
    says(found.reason, "in is worse than ln by 10.10")
    strict = answer(Findings(values, paired_differences(values, margin=0.05, resolution=0.001), **costs))
    assert strict.picks == ("ln",)


def test_what_is_beaten_is_not_recommended_for_its_size():
    found = ask(ALIKE | {"in": [80.0, 80.2, 80.1]}, {"in": 1, "ln": 50})
    assert found.picks == ("ln",)
    says(found.sentence, "Not in", "ln", "fewest parameters (50)")
    says(found.reason, "in", "worse")
    wide = ask({"bn": [95.0, 96.4, 95.2], "ln": [96.4, 95.0, 95.3], "in": [80.0, 80.2, 80.1]})
    says(wide.sentence, "3 seeds", "bn or ln")
    assert wide.picks == ()


def test_nor_what_is_lower_than_what_is_beaten():
    # bn spreads so widely that nothing is shown to beat it, but its mean is below that of gn:2, which ln beats.
    values = {"bn": [99.14, 98.86, 99.01], "gn:2": [99.10, 99.05, 99.15], "ln": [99.21, 99.17, 99.25]}
    found = ask(values, {"bn": 6986, "gn:2": 6986, "ln": 41874})
    assert found.picks == ("ln",)
    says(found.sentence, "Use ln", "beats gn:2", "bn", "not shown")
    says(found.reason, "bn is lower", "worse")


def test_a_lucky_seed_alone_is_left_out():
    found = ask(ALIKE | {"gn": {0: 99.5}}, {"gn": 1, "bn": 10})
    assert found.picks == ("bn",)
    says(found.reason, "gn", "fewer than 2 seeds")
    two_places = {"a": {0: 90.0, 1: 90.1}, "b": {0: 90.1, 1: 90.1}, "c": {2: 91.0, 3: 91.1}, "d": {2: 80.0, 3: 95.0}}
    assert ask(two_places).picks == (), "c was never compared with a or b"


def test_what_diverged_is_left_out():
    found = ask({"none": [99.0, NAN, 99.2], "bn": [90.0, 90.1, 90.2], "ln": [80.0, 80.2, 80.1]})
    assert found.picks == ("bn",)
    says(found.reason, "none diverged")
    alone = ask({"none": [99.0, NAN], "bn": [90.0, 90.1]})
    assert alone.picks == ("bn",)
    says(alone.sentence, "Use bn", "never diverged")
    says(ask({"none": [NAN, NAN], "bn": [NAN, 99.0]}).sentence, "None of them", "diverged")


@pytest.mark.parametrize(
    ("values", "facts", "remedy"),
    [
        ({"bn": [99.0], "ln": [10.0]}, ("One seed",), "at least 3 seeds"),
        ({"bn": {0: 99.0, 1: 98.0}, "ln": {1: 10.0}}, ("One common seed",), "at least 3 seeds"),
        (
            {"bn": {0: 99.0, 1: 98.0}, "ln": {2: 10.0, 3: 10.1}},
            ("without a common seed",),
            "the same seeds with each spec, at least 3",
        ),
        ({"bn": [99.0, 99.1, 99.0]}, ("nothing", "only bn"), "another spec"),
    ],
)
def test_too_little_justifies_no_answer(values, facts, remedy):
    found = ask(values)
    says(found.sentence, *facts)
    assert remedy in found.reason and found.picks == ()


def test_a_lead_is_told_with_what_would_be_shown_and_never_with_an_interval_that_shows_it():
    """The interval of a pair by itself may leave out 0 where the correction for all pairs shows nothing."""
    values = {"bn": [93.0, 94.0, 94.2], "ln": [90.7, 91.0, 90.2], "gn": [90.5, 91.1, 90.0], "in": [89.0, 92.0, 90.0]}
    pairs = {frozenset((d.first, d.second)): d for d in paired_differences({k: by_seed(v) for k, v in values.items()})}
    nearest = pairs[frozenset(("bn", "ln"))]
    assert abs(nearest.mean) > nearest.half_width and not nearest.is_real()
    found = ask(values)
    assert f"bn leads ln by {nearest.mean:.2f} points" in found.sentence and "±" not in found.sentence
    assert f"{nearest.detectable:.2f}" in found.sentence and nearest.detectable > nearest.mean


def by_seed(values):
    return dict(enumerate(values))


def test_equal_means_have_no_leader():
    spread = {"bn": [90.0, 94.0, 92.0], "ln": [94.0, 90.0, 92.0]}
    found = ask(spread)
    says(found.sentence, "bn and ln", "equal")
    assert "0.00" not in found.sentence
    says(found.reason, "bn and ln")
    same = {"bn": [90.0, 90.0, 90.0], "ln": [90.0, 90.0, 90.0]}
    for parameters, picks in (({}, ("bn", "ln")), ({"ln": 10}, ("ln",)), ({"bn": 10}, ("bn",))):
        found = ask(same, parameters, resolution=0.1)
        assert found.picks == picks
        says(found.reason, "bn and ln", "90.00 %")
    mixed = ask(same | {"gn": [89.9, 89.9, 90.0]}, {"gn": 10}, resolution=0.01)
    assert mixed.picks == ("gn",)
    says(mixed.reason, "points below bn", "bn and ln")
    says(ask({"bn": [90.0], "ln": [90.0], "gn": [89.0]}).reason, "bn and ln")


def test_what_learned_nothing_is_not_recommended():
    alike = {"bn": [95.0, 95.0, 95.0], "ln": [95.0, 95.0, 95.0]}
    found = ask(alike, guessing=["bn", "ln"])
    assert found.picks == () and found.sentence.startswith("None of them")
    one = ask(ALIKE, {"bn": 10}, guessing=["bn"])
    assert one.picks == ("ln",)
    says(one.sentence, "only", "learned")
    several = ask(ALIKE | {"gn": [99.0, 99.1, 99.0]}, {"bn": 10, "ln": 20}, guessing=["gn"])
    assert several.picks == ("bn",)
    says(several.reason, "gn", "learned")
    lost = ask(ALIKE | {"gn": [99.0, NAN, 99.0]}, guessing=["bn"])
    assert lost.picks == ("ln",)
    says(lost.sentence, "never diverged", "learned")
    assert ask({"bn": [95.0, 95.0]}, guessing=["bn"]).sentence.startswith("None of them")


def test_equivalent_specs_are_called_so_and_chosen_by_their_size():
    values = {label: by_seed(seeds) for label, seeds in ALIKE.items()}
    pairs = paired_differences(values, margin=0.5)
    assert pairs[0].is_equivalent()
    found = answer(Findings(values, pairs, parameters={"bn": 10, "ln": 20}, speeds=dict.fromkeys(values, 1000.0)))
    assert found.picks == ("bn",)
    says(found.sentence, "bn and ln are equivalent", f"at most {pairs[0].at_most:.2f} points apart", "take bn", "(10)")
    says(found.reason, f"bn is at most {pairs[0].at_most:.2f} points below ln")


def test_what_verdict_calls_equivalent_the_answer_does_not_call_open():
    """One-sided bounds of a pair alone are tighter than its two-sided interval."""
    values = {"bn": by_seed([90.0, 90.3, 90.0, 90.3]), "ln": by_seed([90.3, 90.2, 90.25, 90.3])}
    [pair] = paired_differences(values, margin=0.3)
    lead = abs(pair.mean)
    margin = (lead + pair.half_width + pair.at_most) / 2  # between the two
    [pair] = paired_differences(values, margin=margin)
    assert pair.at_most < margin < lead + pair.half_width
    found = Findings(values, [pair])
    assert found.below["bn"] == pair.at_most


def test_a_lead_that_is_not_shown_says_how_many_seeds_it_would_take():
    values = {"bn": by_seed([95.0, 96.0, 94.0]), "ln": by_seed([94.0, 93.5, 94.2])}
    pairs = paired_differences(values, margin=0.5)
    says(answer(Findings(values, pairs)).reason, "more seeds", f"about {pairs[0].needed} seeds")
