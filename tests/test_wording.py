"""How numbers are written."""

import pytest

from tfnorm.text import p_text, signed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "= 1"),
        (0.0501, "= 0.05"),
        (0.05, "= 0.05"),
        (0.04999956, "< 0.05"),
        (0.0494, "= 0.049"),
        (0.018, "= 0.018"),
        (1e-4, "= 0.0001"),
        (9.9e-5, "< 0.0001"),
        (0.0, "< 0.0001"),
    ],
)
def test_a_p_value_below_the_level_is_never_rounded_up_to_it(value, text):
    assert p_text(value) == text


def test_a_level_of_one_s_own():
    assert (p_text(0.00996, level=0.01), p_text(0.0496, level=0.01)) == ("< 0.01", "= 0.05")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.25, "+0.25"), (-1.394, "−1.39"), (0.004, "0.00"), (-0.004, "0.00"), (float("nan"), "–"), (float("inf"), "–")],
)
def test_a_difference_has_a_sign_of_the_width_of_the_plus(value, text):
    assert signed(value) == text
