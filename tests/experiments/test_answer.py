import math

import pytest

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
    assert found.reason == "It beats bn and ln by 5.00 to 14.97 points of test accuracy."


def test_its_price_is_told():
    found = ask({"bn": [90.0, 90.1, 90.2], "ln": [95.0, 95.2, 95.1]}, {"bn": 6986, "ln": 41874})
    assert found.reason == (
        "It beats bn by 5.00 points of test accuracy. It has 41,874 trainable parameters; bn has 6,986."
    )
    tied = ask({"bn": [90.0, 90.1, 90.2], "gn:2": [90.1, 90.0, 90.2], "ln": [95.0, 95.2, 95.1]}, {"ln": 200})
    assert tied.reason.endswith(" It has 200 trainable parameters; bn and gn:2 have 100.")


def test_no_difference_leaves_it_to_size_and_speed():
    small = ask(ALIKE, {"bn": 10}, {"bn": 500.0})
    assert small.picks == ("bn", "ln")
    assert small.sentence == (
        "No difference in accuracy is shown: take bn, at most 0.17 points below ln, the best in the mean, for the "
        "fewest parameters (10), or ln, the best in the mean, for the fastest training (1,000 images/s)."
    )
    assert small.reason == (
        "Accuracy does not decide, so that size and speed do. The best in the mean is ln, with 90.15 %."
    )
    both = ask(ALIKE, {"ln": 200}, {"bn": 1100.0})
    assert both.picks == ("bn",)
    assert both.sentence == (
        "No difference in accuracy is shown: take bn, at most 0.17 points below ln, the best in the mean, with the "
        "fewest parameters (100) and fastest training (1,100 images/s)."
    )


def test_seeds_that_spread_too_far_leave_nothing_to_size_and_speed():
    found = ask({"bn": [98, 92, 99], "gn": [88, 89, 87], "ln": [88, 91, 89]}, {"gn": 10})
    assert found.picks == ()
    assert found.sentence.startswith("3 seeds cannot tell which to use: bn leads ln by 7.00 points")
    assert "22.95" in found.sentence and "±" not in found.sentence
    assert found.reason == (
        "Train more seeds. The best in the mean is bn, with 96.33 %; the cheapest meanwhile is gn, with 10 trainable "
        "parameters and 1,000 images/s."
    )


def test_only_what_is_not_much_below_the_best_is_recommended_for_its_size():
    found = ask(ALIKE | {"gn": [88.0, 91.0, 90.0]}, {"gn": 10, "bn": 50})
    assert found.picks == ("bn",) and "gn may be more than 0.50 points below it." in found.reason
    apart = {"bn": [90.0, 90.2, 90.1], "ln": [90.3, 90.5, 90.2]}  # 0.23 ± 0.29
    assert ask(apart, {"bn": 10}).picks == ()
    assert ask(apart, {"bn": 10}, resolution=1.0).picks == (), "one image of 100 widens the interval too"
    same = {"bn": [90.0, 91.0, 92.0, 90.0, 91.0], "ln": [90.0, 91.0, 92.0, 90.0, 91.0]}
    assert "at most 0.51 points" in ask(same, {"ln": 10}, resolution=1.0).sentence, "one image may be given away"


def test_speeds_within_the_clocks_error_are_alike():
    found = ask(ALIKE, speed={"bn": 970.0})
    assert found.picks == ("bn", "ln")
    assert found.sentence == (
        "No difference in accuracy is shown: take ln, the best in the mean, or bn, at most 0.17 points below it."
    )
    assert "fastest" not in ask(ALIKE, {"bn": 10}, {"bn": 970.0}).sentence


def test_what_is_beaten_is_not_recommended_for_its_size():
    found = ask(ALIKE | {"in": [80.0, 80.2, 80.1]}, {"in": 1, "ln": 50})
    assert found.picks == ("ln",)
    assert found.sentence == "Not in: take ln, the best in the mean, with the fewest parameters (50)."
    assert found.reason.endswith(" in is shown to be worse, or below one that is.")
    wide = ask({"bn": [95.0, 96.4, 95.2], "ln": [96.4, 95.0, 95.3], "in": [80.0, 80.2, 80.1]})
    assert wide.sentence.startswith("3 seeds cannot tell which to use of bn or ln: ") and wide.picks == ()


def test_nor_what_is_lower_than_what_is_beaten():
    # bn spreads so widely that nothing is shown to beat it, but its mean is below that of gn:2, which ln beats.
    values = {"bn": [99.14, 98.86, 99.01], "gn:2": [99.10, 99.05, 99.15], "ln": [99.21, 99.17, 99.25]}
    found = ask(values, {"bn": 6986, "gn:2": 6986, "ln": 41874})
    assert found.picks == ("ln",)
    assert found.sentence == "Use ln: it beats gn:2; that it beats bn is not shown."
    assert "bn is lower in the mean still, though not shown to be worse." in found.reason


def test_a_lucky_seed_alone_is_left_out():
    found = ask(ALIKE | {"gn": {0: 99.5}}, {"gn": 1, "bn": 10})
    assert found.picks == ("bn",)
    assert found.reason.endswith(" gn shares fewer than 2 seeds with each of the others and is left out.")
    two_places = {"a": {0: 90.0, 1: 90.1}, "b": {0: 90.1, 1: 90.1}, "c": {2: 91.0, 3: 91.1}, "d": {2: 80.0, 3: 95.0}}
    assert ask(two_places).picks == (), "c was never compared with a or b"


def test_what_diverged_is_left_out():
    found = ask({"none": [99.0, NAN, 99.2], "bn": [90.0, 90.1, 90.2], "ln": [80.0, 80.2, 80.1]})
    assert found.picks == ("bn",) and found.reason.endswith(" none diverged with some seed and is left out.")
    alone = ask({"none": [99.0, NAN], "bn": [90.0, 90.1]})
    assert alone.sentence == "Use bn: it is the only one that never diverged." and alone.picks == ("bn",)
    assert ask({"none": [NAN, NAN], "bn": [NAN, 99.0]}).sentence == "None of them: each diverged with some seed."


@pytest.mark.parametrize(
    ("values", "sentence", "remedy"),
    [
        ({"bn": [99.0], "ln": [10.0]}, "One seed cannot tell which to use.", "at least 3 seeds"),
        ({"bn": {0: 99.0, 1: 98.0}, "ln": {1: 10.0}}, "One common seed cannot tell which to use.", "at least 3 seeds"),
        (
            {"bn": {0: 99.0, 1: 98.0}, "ln": {2: 10.0, 3: 10.1}},
            "Runs without a common seed cannot tell which to use.",
            "the same seeds with each spec, at least 3",
        ),
        ({"bn": [99.0, 99.1, 99.0]}, "There is nothing to choose from: only bn was trained.", "another spec"),
    ],
)
def test_too_little_justifies_no_answer(values, sentence, remedy):
    found = ask(values)
    assert found.sentence == sentence and remedy in found.reason and found.picks == ()


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
    assert "bn and ln are equal in the mean" in found.sentence and "0.00" not in found.sentence
    assert "The best in the mean are bn and ln" in found.reason
    same = {"bn": [90.0, 90.0, 90.0], "ln": [90.0, 90.0, 90.0]}
    for parameters, picks in (({}, ("bn", "ln")), ({"ln": 10}, ("ln",)), ({"bn": 10}, ("bn",))):
        found = ask(same, parameters, resolution=0.1)
        assert found.picks == picks
        assert "equal" in found.sentence and "the best in the mean" not in found.sentence
    mixed = ask(same | {"gn": [89.9, 89.9, 90.0]}, {"gn": 10}, resolution=0.01)
    assert mixed.picks == ("gn",) and "below bn, in the mean equal to ln," in mixed.sentence
    assert "best in the mean are bn and ln" in mixed.reason
    assert "bn and ln were right most often" in ask({"bn": [90.0], "ln": [90.0], "gn": [89.0]}).reason


def test_what_learned_nothing_is_not_recommended():
    alike = {"bn": [95.0, 95.0, 95.0], "ln": [95.0, 95.0, 95.0]}
    found = ask(alike, guessing=["bn", "ln"])
    assert found.picks == () and found.sentence.startswith("None of them")
    one = ask(ALIKE, {"bn": 10}, guessing=["bn"])
    assert one.picks == ("ln",) and "only one that learned anything" in one.sentence
    several = ask(ALIKE | {"gn": [99.0, 99.1, 99.0]}, {"bn": 10, "ln": 20}, guessing=["gn"])
    assert several.picks == ("bn",) and "gn is not shown to have learned anything" in several.reason
    lost = ask(ALIKE | {"gn": [99.0, NAN, 99.0]}, guessing=["bn"])
    assert lost.picks == ("ln",) and "never diverged and learned anything" in lost.sentence
    assert ask({"bn": [95.0, 95.0]}, guessing=["bn"]).sentence.startswith("None of them")
