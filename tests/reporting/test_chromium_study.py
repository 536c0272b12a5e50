"""The page of a study in Chromium: curves of its metric, with what its histories have and no more."""

import numpy as np
import pytest

from tfnorm import Study


@pytest.fixture
def study_page(open_page, tmp_path):
    """Return a function that opens the page of a study with these histories by spec, one for each seed, or none."""

    def opened(histories, **about):
        study = Study(tmp_path / "study", **about)
        for spec, each in histories.items():
            for seed, history in enumerate(each):
                scores = np.random.default_rng(seed).normal(size=(30, 3))
                study.record(spec, seed, 0.5 + seed / 100, history, scores, np.arange(30) % 3)
        return open_page(study.comparison().report())

    return opened


def names(page, plot):
    page.locator(f"#{plot}").scroll_into_view_if_needed()
    page.wait_for_selector(f"#{plot}[data-drawn] .main-svg")
    return page.evaluate(f"document.getElementById('{plot}').data.map(t => t.name)")


def test_curves_of_a_metric_and_of_the_loss(study_page):
    curve = {"loss": [2, 1], "val_loss": [3, 2], "iou": [0.2, 0.6], "val_iou": [0.1, 0.5]}
    page = study_page(
        {"bn": [curve, None], "gn:8": [None, None], "ln": [{"val_iou": [0.2, 0.4]}, curve]}, metric="val_iou"
    )
    assert page.locator("#curves-measure button").all_inner_texts() == ["val_iou", "loss"]
    found = names(page, "curves-plot")
    assert {"bn val_iou", "ln val_iou", "bn iou", "ln iou"} <= set(found)
    boxes = page.locator("#curves label.check")
    assert boxes.all_inner_texts()[:2] == ["val_iou (solid)", "iou (dashed)"]
    assert not [name for name in found if name.startswith("gn:8")]
    axis = "document.getElementById('curves-plot').layout.yaxis.title.text"
    assert page.evaluate(axis) == "val_iou"
    page.check("#curves-seeds")
    page.wait_for_function("document.getElementById('curves-plot').data.some(t => t.name === 'ln val_iou, seed 1')")
    page.click("#curves-measure button[value=loss]")
    page.wait_for_function(f"{axis} === 'loss'")
    assert boxes.all_inner_texts()[:2] == ["val_loss (solid)", "loss (dashed)"]
    page.check("#curves-log")
    page.wait_for_function("document.getElementById('curves-plot').layout.yaxis.type === 'log'")
    assert set(names(page, "gap-plot")) >= {"bn gap", "ln gap"}
    assert page.evaluate("document.getElementById('gap-plot').layout.yaxis.title.text") == "gap"
    assert page.locator("#browser-cards .card").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(
    ("history", "plots"),
    [
        (None, []),
        ({"val_loss": [2, 1]}, ["curves-plot"]),
        ({"loss": [2, 1], "val_loss": [3, 1]}, ["curves-plot", "gap-plot"]),
    ],
)
def test_a_page_has_the_plots_that_there_are_numbers_for(history, plots, study_page):
    page = study_page({"bn": [history], "ln": [history]}, metric="val_loss", direction="min")
    there = [plot for plot in ("curves-plot", "gap-plot") if page.locator(f"#{plot}").count()]
    assert there == plots
    if there:  # no box for curves that there are none of
        shown = page.locator("#curves label.check:visible").all_inner_texts()
        assert ("loss (dashed)" in shown) == ("loss" in history) and "val_loss (solid)" in shown
    for plot in plots:
        assert names(page, plot)
    assert page.locator("#confusion-plot").count() == 1
