import math

import pandas as pd
import pytest

from tfnorm.compare.answer import answer
from tfnorm.compare.statistics import paired_differences

NAN = math.nan


def ask(values, parameters=None, speed=None):
    """Return the answer to accuracies by seed, with 100 parameters and 1,000 images/s for each spec unless told."""
    rows = {}
    for label, seeds in values.items():
        ended = [value for value in seeds if math.isfinite(value)]
        rows[label] = {
            "last_accuracy": sum(ended) / len(ended) if ended else NAN,
            "parameters": (parameters or {}).get(label, 100),
            "images_per_second": (speed or {}).get(label, 1000.0),
            "diverged": len(seeds) - len(ended),
        }
    pairs = paired_differences({label: dict(enumerate(seeds)) for label, seeds in values.items()})
    return answer(pd.DataFrame.from_dict(rows, orient="index"), pairs)


def test_one_that_beats_the_others():
    found = ask({"bn": [90.0, 90.1, 90.2], "gn:2": [95.0, 95.2, 95.1], "ln": [80.0, 80.1, 80.3]})
    assert found.picks == ("gn:2",) and found.sentence == "Use gn:2."
    assert found.reason == "It beats bn and ln by 5.00 to 14.97 points of test accuracy."


def test_its_price_is_told():
    found = ask({"bn": [90.0, 90.1, 90.2], "ln": [95.0, 95.2, 95.1]}, {"bn": 6986, "ln": 41874})
    assert found.reason == (
        "It beats bn by 5.00 points of test accuracy. It has 41,874 trainable parameters; bn has 6,986."
    )


def test_no_difference_leaves_it_to_size_and_speed():
    noise = {"bn": [90.0, 92.0, 91.0], "ln": [92.0, 90.0, 91.2]}
    small = ask(noise, {"bn": 10}, {"bn": 500.0})
    assert small.picks == ("bn", "ln")
    assert small.sentence == (
        "No difference in accuracy is shown: take bn for the fewest parameters (10), or ln for the fastest training "
        "(1,000 images/s)."
    )
    assert small.reason == (
        "Accuracy does not decide, so that size and speed do. The best in the mean is ln, with 91.07 %."
    )
    both = ask(noise, {"ln": 200}, {"bn": 1100.0})
    assert both.picks == ("bn",)
    assert both.sentence == (
        "No difference in accuracy is shown: take bn, with the fewest parameters (100) and fastest training "
        "(1,100 images/s)."
    )


def test_speeds_within_the_clocks_error_are_alike():
    noise = {"bn": [90.0, 92.0, 91.0], "ln": [92.0, 90.0, 91.2]}
    found = ask(noise, speed={"bn": 970.0})
    assert found.picks == ("bn", "ln") and found.sentence == "No difference in accuracy is shown: take any of them."
    assert "fastest" not in ask(noise, {"bn": 10}, {"bn": 970.0}).sentence


def test_what_is_beaten_is_not_recommended_for_its_size():
    values = {"bn": [95.0, 95.4, 95.2], "gn:2": [95.4, 95.0, 95.3], "ln": [80.0, 80.2, 80.1]}
    found = ask(values, {"ln": 1, "gn:2": 50})
    assert found.picks == ("gn:2",) and found.sentence.startswith("Not ln: take gn:2, with the fewest parameters (50)")


def test_nor_what_is_lower_than_what_is_beaten():
    # bn spreads so widely that nothing is shown to beat it, but its mean is below that of gn:2, which ln beats.
    values = {"bn": [99.14, 98.86, 99.01], "gn:2": [99.10, 99.05, 99.15], "ln": [99.21, 99.17, 99.25]}
    found = ask(values, {"bn": 6986, "gn:2": 6986, "ln": 41874})
    assert found.picks == ("ln",) and found.sentence == "Use ln."
    assert "bn is lower in the mean still, though not shown to be worse." in found.reason


def test_what_diverged_is_left_out():
    found = ask({"none": [99.0, NAN, 99.2], "bn": [90.0, 90.1, 90.2], "ln": [80.0, 80.2, 80.1]})
    assert found.picks == ("bn",) and found.reason.endswith(" none diverged with some seed and is left out.")
    alone = ask({"none": [99.0, NAN], "bn": [90.0, 90.1]})
    assert alone.sentence == "Use bn: it is the only one that never diverged." and alone.picks == ("bn",)
    assert ask({"none": [NAN, NAN], "bn": [NAN, 99.0]}).sentence == "None of them: each diverged with some seed."


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"bn": [99.0], "ln": [10.0]}, "One seed cannot tell which to use: train at least 3."),
        ({"bn": [99.0, 99.1, 99.0]}, "There is nothing to choose from: only bn was trained."),
    ],
)
def test_too_little_justifies_no_answer(values, sentence):
    found = ask(values)
    assert found.sentence == sentence and found.picks == ()
