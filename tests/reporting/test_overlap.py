from itertools import chain, combinations

import numpy as np
import pytest
from facts import says

from tfnorm.errors import RunError
from tfnorm.reporting import colour, overlap_data, plot_overlap

LABELS = np.zeros(8, int)
LOST = np.full((8, 2), np.nan)


def wrong(*images):
    """Return logits that are wrong on these images."""
    return np.eye(2)[np.isin(np.arange(8), images).astype(int)]


def sets(data):
    return {members: images for members, images in data.sets.itertuples(index=False)}


def test_sets_are_of_the_images_that_exactly_their_members_get_wrong():
    data = overlap_data(LABELS, {"a": [wrong(0, 1, 2)], "b": [wrong(1, 2, 3)], "c": [wrong(2, 7)]})
    assert sets(data) == {("a",): 1, ("a", "b"): 1, ("a", "b", "c"): 1, ("b",): 1, ("c",): 1}
    assert data.totals.to_dict() == {"a": 3, "b": 3, "c": 2} and data.seeds == 1
    assert list(data.sets["members"])[:3] == [("a",), ("b",), ("c",)], "of equal sets the smaller first"


def test_means_are_over_seeds_each_seeds_models_beside_each_other():
    data = overlap_data(LABELS, {"a": [wrong(0, 1), wrong(4)], "b": [wrong(0), wrong(4, 5)]})
    assert sets(data) == {("a", "b"): 1.0, ("a",): 0.5, ("b",): 0.5}
    assert data.totals.to_dict() == {"a": 1.5, "b": 1.5} and data.seeds == 2


def test_sets_add_up_to_the_totals():
    rng = np.random.default_rng(0)
    labels, names = rng.integers(0, 5, 300), "abcde"
    found = {name: [rng.normal(size=(300, 5)) for _ in range(3)] for name in names}
    data = overlap_data(labels, found)
    for name in names:
        assert sum(n for members, n in sets(data).items() if name in members) == pytest.approx(data.totals[name])
    every = set(chain.from_iterable(combinations(names, size) for size in range(1, 6)))
    assert set(sets(data)) <= every


def test_a_seed_that_diverged_is_left_out_with_all_its_models():
    data = overlap_data(LABELS, {"a": [wrong(0), wrong(1)], "b": [LOST, wrong(1, 2)], "c": [LOST, LOST]})
    assert sets(data) == {("a", "b"): 1, ("b",): 1}
    assert (data.seeds, data.left_out, data.diverged) == (1, ("c",), 1)
    none = overlap_data(LABELS, {"a": [LOST]})
    assert none.sets.empty and none.seeds == 0 and none.left_out == ("a",)


def test_a_picture_has_a_bar_a_set_and_a_dot_a_member(tmp_path):
    found = {"bn": [wrong(0, 1, 2, 5)], "$x_1$": [wrong(1, 2)], "in": [LOST]}
    figure = plot_overlap(LABELS, found, path=tmp_path / "overlap.png")
    _, head, bars, totals, dots = figure.axes
    assert [bar.get_height() for bar in bars.patches] == [2, 2]
    assert bars.patches[0].get_facecolor() != bars.patches[1].get_facecolor()
    assert [bar.get_width() for bar in totals.patches] == [4, 2]
    assert [text.get_text() for text in dots.get_yticklabels()] == ["bn", "$x_1$"]
    assert sum(line.get_color() == colour("bn") for line in dots.lines) == 2
    says(head.texts[0].get_text(), "one seed", "in: diverged")
    assert figure.get_tightbbox().width <= figure.get_figwidth()


def test_only_the_largest_sets_are_drawn_and_the_others_counted():
    labels = np.zeros(2000, int)
    rng = np.random.default_rng(0)
    found = {name: [np.eye(2)[rng.integers(0, 2, 2000)]] for name in "abcdef"}
    _, head, bars, *_ = plot_overlap(labels, found).axes
    data = overlap_data(labels, found)
    assert len(bars.patches) == 20 < len(data.sets)
    rest = data.sets["images"][20:]
    says(head.texts[0].get_text(), f"{len(rest)} smaller sets", f"{rest.sum():,.0f} images")


@pytest.mark.parametrize(
    ("scores", "facts"),
    [(wrong(), ("no image",)), (LOST, ("no seed",))],
    ids=["right", "lost"],
)
def test_without_a_set_the_picture_says_so(scores, facts):
    ax = plot_overlap(LABELS, {"bn": [scores]}).axes[0]
    (said,) = ax.texts
    says(said.get_text(), *facts)


def test_it_is_drawn_in_the_place_of_given_axes():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_overlap(LABELS, {"bn": [wrong(0)], "ln": [wrong(0, 1)]}, ax=right)
    figure.draw_without_rendering()
    new = [ax for ax in figure.axes if ax not in (left, right)]
    assert len(new) == 4 and all(ax.get_position().x0 > left.get_position().x1 for ax in new)
    with pytest.raises(RunError) as caught:
        plot_overlap(LABELS, {"bn": [wrong(0)]}, ax=figure.add_axes((0, 0, 1, 1)))
    says(caught, "`ax`", "figure.subplots", "add_subplot")
