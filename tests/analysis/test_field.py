"""The calculus along one axis, against sets of pixels written out unit by unit."""

import dataclasses
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfnorm.analysis.field import Field, merged, same_padding

FAR = 480  # units that the reference keeps to either side of unit 0; three steps from unit 4 reach unit 421 at most

windows = st.tuples(st.just("window"), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.integers(-2, 4))
transposed = st.tuples(
    st.just("transposed"), st.integers(1, 5), st.integers(1, 3), st.integers(1, 2), st.integers(0, 3)
)
repeats = st.tuples(st.just("resampled"), st.integers(1, 4), st.integers(1, 4))


def step(field, action):
    """Return the field after a step of the calculus."""
    kind, *numbers = action
    if kind == "resampled":
        old, new = numbers
        return field.resampled(old, new, lambda unit: [unit * old // new, unit * old // new + 1])
    size, stride, dilation, before = numbers
    return getattr(field, kind)(size, stride, dilation, before=before)


def spelled_out(pixels, action):
    """Return the same from sets of pixels: a unit reads what the units that it is connected to read."""
    kind, *numbers = action
    result = {}
    for unit in range(-FAR, FAR):
        if kind == "window":
            size, stride, dilation, before = numbers
            inputs = [unit * stride - before + dilation * tap for tap in range(size)]
        elif kind == "transposed":
            size, stride, dilation, before = numbers
            taken = [unit + before - dilation * tap for tap in range(size)]
            inputs = [place // stride for place in taken if place % stride == 0]
        else:
            old, new = numbers
            inputs = [unit * old // new, unit * old // new + 1]
        if all(i in pixels for i in inputs):
            result[unit] = set().union(*(pixels[i] for i in inputs))
    return result


@settings(max_examples=60, deadline=None)
@given(st.lists(windows | transposed | repeats, min_size=1, max_size=3))
def test_every_unit_reads_what_it_is_connected_to(actions):
    field, pixels = Field(), {i: {i} for i in range(-FAR, FAR)}
    for action in actions:
        field, pixels = step(field, action), spelled_out(pixels, action)
    near = {unit: found for unit, found in pixels.items() if abs(unit) <= 4}
    assert len(near) == 9
    for unit, found in near.items():
        assert field.at(unit) == ((min(found), max(found)) if found else None)
    sizes = [max(found) - min(found) + 1 for found in pixels.values() if found]
    assert field.size == max(sizes, default=0)


@settings(max_examples=60, deadline=None)
@given(st.lists(windows, min_size=1, max_size=4))
def test_a_chain_of_windows_has_the_closed_form(actions):
    field, size, jump = Field(), 1, 1
    for action in actions:
        field = step(field, action)
        _, kernel, stride, dilation, _ = action
        size, jump = size + dilation * (kernel - 1) * jump, jump * stride
    assert (field.size, field.jump) == (size, jump)
    assert field.start == -field.padding + size / 2


def test_jumps_are_fractions_after_doubling():
    field = Field(length=8).transposed(4, 2, before=1, length=16)
    assert (field.jump, field.size, field.length) == (Fraction(1, 2), 2, 16)
    assert [field.at(unit) for unit in range(4)] == [(-1, 0), (0, 1), (0, 1), (1, 2)]
    assert field.window(2, 2).jump == 1


def test_a_transposed_window_smaller_than_its_stride_leaves_units_that_read_nothing():
    field = Field(length=8).transposed(1, 3)
    assert [field.at(unit) for unit in range(4)] == [(0, 0), None, None, (1, 1)]
    assert (field.size, field.window(3).size, field.at(1)) == (1, 1, None)
    nothing = field.window(1, 3, before=-1)
    assert (nothing.size, nothing.start, nothing.padding) == (0, None, None)
    assert merged([nothing, Field()]).size == 1


def test_reading_all_units():
    field = Field(length=32).window(3, before=1, length=32).window(2, 2, length=16)
    whole = field.gathered()
    assert (whole.size, whole.jump, whole.length, whole.padding) == (4 + 15 * 2, 2, 1, 1)
    assert whole.gathered() == whole
    enlarged = Field(length=3).transposed(3, 2, before=1, length=6).gathered()
    assert (enlarged.at(0), enlarged.jump) == ((0, 3), Fraction(1, 2))
    unknown = Field().window(3).gathered()
    assert (unknown.size, unknown.start, unknown.padding) == (math.inf, None, None)


def test_branches_count_from_the_first_to_the_last_pixel():
    start = Field(length=32)
    wide, narrow = start.window(5, before=2, length=32), start.window(1, length=32)
    assert merged([narrow, wide]) == wide
    shifted = start.window(3, before=3, length=32)
    both = merged([shifted, start.window(3, before=0, length=32)])
    assert (both.size, both.at(0), both.length) == (6, (-3, 2), 32)
    slow, fast = start.window(3, 2, length=16), start.window(2, 4, length=16)
    assert merged([slow, fast]) == slow  # they drift apart: the larger counts
    lost = dataclasses.replace(shifted, placed=False)
    assert merged([lost, narrow]) == lost


def test_a_gate_reaches_all_units_and_stays_apart():
    path = Field(length=16).window(3, before=1, length=16)
    gated = merged([path, path.gathered()])
    assert (gated.local, gated.size, gated.reach, gated.jump) == (3, 18, (-1, 16), 1)
    after = gated.window(3, before=1, length=16)
    assert (after.local, after.size) == (5, 18)
    assert after.gathered().size == 20
    assert merged([after, path]).reach == (-1, 16)


def test_what_lies_apart_from_what_all_units_reach_widens_the_field():
    path = Field(length=16).window(3, before=1, length=16)
    row = Field(length=16).window(1, before=-2, length=1)  # the third pixel alone
    both = merged([path, row])
    assert (both.local, both.reach, both.size) == (3, (2, 2), 15)  # the last unit reads from pixel 2 to 16
    assert merged([dataclasses.replace(path, length=None), row]).size == math.inf


def test_single_units_join_to_one():
    first, second = Field(length=8).gathered(), Field(length=8).window(3, 2, before=1, length=4).gathered()
    both = merged([first, second])
    assert (both.at(0), both.length, both.reach) == ((-1, 7), 1, None)


@pytest.mark.parametrize(
    ("length", "size", "stride", "dilation", "expected"),
    [
        (224, 3, 2, 1, (0, True)),
        (225, 3, 2, 1, (1, True)),
        (32, 3, 1, 2, (2, True)),
        (None, 3, 1, 1, (1, True)),
        (None, 1, 2, 1, (0, True)),
        (None, 2, 2, 1, (0, True)),
        (None, 3, 2, 1, (0, False)),
        (None, 7, 2, 1, (2, False)),
        (5, 2, 3, 1, (0, True)),
    ],
)
def test_padding_same_is_that_of_tensorflow(length, size, stride, dilation, expected):
    assert same_padding(length, size, stride, dilation) == expected
