"""The page of a comparison in Chromium: filters, legends, themes, keys, and nothing that leaves the page."""

import math
import re

import numpy as np
import pytest
from facts import says
from pages import until

CALL = "tfnorm compare bn gn:2 ln+l1=1e-4 --seeds 3 --jobs 2"
ACCURACY = {"bn": [0.9, 0.89, 0.91], "gn:2": [0.85, 0.84, 0.86], "ln+l1=1e-4": [0.8, 0.79, 0.82]}
ODD = ("<script>alert(1)</script>", "</script>", "<b>bold</b>", "<a href='javascript:alert(2)'>a</a>", "%{x} $x$ &lt;")


LUMINANCE = {"black": 0.0, "white": 1.0}


@pytest.fixture(scope="module")
def comparison(fake_comparison, tmp_path_factory):
    """Return a comparison on 300 test images, of which the browser has pictures."""
    comparison = fake_comparison(tmp_path_factory.mktemp("chromium"), ACCURACY, images=300, call=CALL)
    images = np.random.default_rng(0).integers(0, 256, (300, 28, 28, 1), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfnorm.experiments.comparison.page.images_of", lambda run: (images, ""))
        comparison.report()
    return comparison


@pytest.fixture(scope="module")
def shared(open_shared_page, comparison):
    return open_shared_page(comparison.path / "report.html", permissions=["clipboard-read", "clipboard-write"])


@pytest.fixture
def page(shared):
    """Return the page as it was opened: a test puts back what it changes, but for the browser of mistakes."""
    shared.select_option("#browser-seed", "0")
    shared.click("#browser-reset")
    shared.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
    return shared


@pytest.fixture(scope="module")
def wrong(comparison):
    """Return, for seed 0, spec to a true value an image that is wrong; and what each predicts."""
    first = {run.label: run for run in comparison.runs if run.seed == 0}
    return {label: run.logits.argmax(1) != run.labels for label, run in first.items()}


def shown(page):
    """Return how many images the browser says it shows, and of how many."""
    words = page.inner_text("#browser-count").split()
    return int(words[0]), int(words[2])


def luminance(channels):
    """Return the relative luminance of WCAG 2 of a colour in 0..255."""
    values = np.array(channels) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def drawn(page, plot):
    """Scroll to a plot and wait until it is drawn."""
    page.locator(f"#{plot}").scroll_into_view_if_needed()
    page.wait_for_selector(f"#{plot}[data-drawn] .main-svg")


def visible(page, plot):
    """Return the names of the visible traces of a plot."""
    return page.evaluate(f"document.getElementById('{plot}').data.filter(t => t.visible !== false).map(t => t.name)")


def curves(page):
    """Return name to x and y of each line and mark among the curves."""
    traces = "document.getElementById('curves-plot').data.filter(t => t.mode !== 'lines')"
    return {name: {"x": x, "y": y} for name, x, y in page.evaluate(f"{traces}.map(t => [t.name, [...t.x], [...t.y]])")}


def test_the_answer_is_above_the_fold(page, comparison):
    answer = page.locator("#answer")
    assert answer.inner_text() == "Use bn." and answer.bounding_box()["y"] < 300
    dots = page.locator(".dot-row .mean")
    assert dots.count() == 3 and dots.last.bounding_box()["y"] < 800
    assert page.locator("main > section").count() == page.locator("#contents a").count() == 9


def test_filters_change_what_is_shown_and_the_counts(page, wrong, comparison):
    masks = list(wrong.values())
    union = np.any(masks, axis=0).sum()
    assert shown(page) == (union, union)
    page.select_option("#browser-wrong", label="all specs")
    assert shown(page) == (np.all(masks, axis=0).sum(), union)
    page.select_option("#browser-wrong", label="gn:2 only")
    only = wrong["gn:2"] & ~wrong["bn"] & ~wrong["ln+l1=1e-4"]
    assert shown(page) == (only.sum(), union)
    for card in page.locator(".card").all():
        marks = [line.get_attribute("class") for line in card.locator("li").all()]
        assert marks == ["right", "wrong", "right"]
    page.select_option("#browser-wrong", label="bn")
    run = next(run for run in comparison.groups["bn"] if run.seed == 0)
    predicted = run.logits.argmax(1)
    true, taken = int(run.labels[wrong["bn"]][0]), int(predicted[wrong["bn"]][0])
    page.select_option("#browser-true", str(true))
    assert shown(page)[0] == (wrong["bn"] & (run.labels == true)).sum()
    page.select_option("#browser-predicted", str(taken))
    page.select_option("#browser-model", label="bn")
    assert shown(page)[0] == (wrong["bn"] & (run.labels == true) & (predicted == taken)).sum() > 0
    page.click("#browser-reset")
    assert shown(page) == (union, union)
    page.select_option("#browser-seed", "2")
    other = [run.logits.argmax(1) != run.labels for run in comparison.runs if run.seed == 2]
    assert shown(page)[0] == np.any(other, axis=0).sum()


def test_mistakes_are_sorted_and_turned_over_page_by_page(page, wrong, comparison):
    def numbers():
        return [int(text.split()[1]) for text in page.locator(".card .where:nth-of-type(1)").all_inner_texts()]

    union = np.flatnonzero(np.any(list(wrong.values()), axis=0))
    page.select_option("#browser-sort", "number")
    assert numbers() == union[:24].tolist()
    page.click("#browser-next")
    assert numbers() == union[24:48].tolist() and page.inner_text("#browser-page").startswith("page 2 of ")
    page.select_option("#browser-sort", "most")
    assert page.inner_text("#browser-page").startswith("page 1 of ")
    sides = [(run, *_predictions(run)) for run in comparison.runs if run.seed == 0]
    most = {i: max(sure[i] for run, classes, sure in sides if classes[i] != run.labels[i]) for i in union}
    assert [most[i] for i in numbers()] == sorted(most.values(), reverse=True)[:24]


def _predictions(run):
    from tfnorm.mistakes import predictions

    classes, sure = predictions(run.logits)
    return classes, np.rint(1000 * sure)


def test_pictures_are_drawn_and_described(page):
    page.locator("#browser-cards").scroll_into_view_if_needed()
    page.wait_for_selector("#browser-cards canvas[data-drawn]")
    canvas = page.locator("#browser-cards canvas").first
    assert canvas.get_attribute("aria-label").startswith("Test image ")
    pixels = canvas.evaluate("c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]")
    assert len(set(pixels)) > 50


def test_a_set_of_the_overlap_and_a_cell_of_the_confusion_show_their_images(page, wrong):
    row = page.locator("#overlap-table tbody tr", has=page.locator(".in >> nth=0")).first
    members = [cell.locator(".in").count() for cell in row.locator("td.member").all()]
    row.locator("button").click()
    masks = [mask if member else ~mask for mask, member in zip(wrong.values(), members, strict=True)]
    assert shown(page)[0] == np.all(masks, axis=0).sum()
    assert page.locator("#browser-wrong").evaluate("s => s.selectedOptions[0].textContent").startswith("exactly ")
    page.locator("#confusion-list button").first.click()
    assert page.input_value("#browser-model") == "0" and page.input_value("#browser-true") != ""
    assert page.input_value("#browser-wrong") == "any"


def test_legend_hides_shows_and_isolates(page):
    drawn(page, "curves-plot")
    all_of_them = visible(page, "curves-plot")
    legend = page.locator("[data-legend=curves-plot] button")
    assert legend.all_inner_texts() == list(ACCURACY)
    legend.first.click()
    until(page, "document.getElementById('curves-plot').data.some(t => t.visible === false)")
    assert legend.first.get_attribute("aria-pressed") == "false"
    assert len(visible(page, "curves-plot")) == len(all_of_them) * 2 // 3
    legend.first.click()
    legend.last.dblclick()
    alone = "(t.visible !== false) === (t.legendgroup === 'ln+l1=1e-4')"
    until(page, f"document.getElementById('curves-plot').data.every(t => {alone})")
    assert [button.get_attribute("aria-pressed") for button in legend.all()] == ["false", "false", "true"]
    legend.last.press("Shift+Enter")
    until(page, "document.getElementById('curves-plot').data.every(t => t.visible !== false)")
    legend.first.press("Shift+Enter")
    assert [button.get_attribute("aria-pressed") for button in legend.all()] == ["true", "false", "false"]
    until(page, f"document.getElementById('curves-plot').data.every(t => {alone.replace('ln+l1=1e-4', 'bn')})")
    legend.first.press("Shift+Enter")
    until(page, "document.getElementById('curves-plot').data.every(t => t.visible !== false)")


def test_curves_change_with_their_controls(page):
    drawn(page, "curves-plot")
    title = "document.getElementById('curves-plot').layout.yaxis.title.text"
    assert page.evaluate(title) == "accuracy (%)"
    everything = len(visible(page, "curves-plot"))
    page.click("#curves-measure button[value=loss]")
    until(page, f"{title} === 'loss without penalty (nats)'")
    best = {name: curve for name, curve in curves(page).items() if name.endswith(", best epoch")}
    assert len(best) == len(ACCURACY)
    filled = page.evaluate(
        "document.getElementById('curves-plot').data.filter(t => t.fill).map(t => [t.name, t.opacity])"
    )
    assert sorted(map(tuple, filled)) == [("test", 0.16)] * 3 + [("training", 0.08)] * 3
    for name, mark in best.items():
        label = name.removesuffix(", best epoch")
        assert mark["y"][0] == curves(page)[f"{label} test"]["y"][mark["x"][0] - 1]
    page.click("#curves-measure button[value=accuracy]")
    until(page, f"{title} === 'accuracy (%)'")
    page.uncheck("#curves-train")
    until(page, f"document.getElementById('curves-plot').data.length === {everything - 6}")
    page.check("#curves-seeds")
    until(page, "document.getElementById('curves-plot').data.some(t => t.name.includes('seed 2'))")
    page.check("#curves-log")
    until(page, f"{title} === 'error (%)' && document.getElementById('curves-plot').layout.yaxis.type === 'log'")
    page.uncheck("#curves-log")
    page.uncheck("#curves-seeds")
    page.check("#curves-train")
    until(page, f"{title} === 'accuracy (%)' && document.getElementById('curves-plot').data.length === {everything}")


def test_every_plot_is_drawn(page):
    for plot in ("curves-plot", "gap-plot", "confusion-plot"):
        drawn(page, plot)
        assert page.locator(f"#{plot}").get_attribute("aria-label")


def test_tables_are_sorted_by_numbers_and_unfolded(page):
    table = page.locator("#results-table")
    specs = table.locator("tbody > tr:first-child > th")
    heading = table.locator("thead th", has_text="accuracy")

    def order():
        return [text.strip(" ▸▾\n\t") for text in specs.all_inner_texts()]

    heading.locator("button").click()
    assert order() == ["bn", "gn:2", "ln+l1=1e-4"] and heading.get_attribute("aria-sort") == "descending"
    heading.locator("button").press("Enter")
    assert order() == ["ln+l1=1e-4", "gn:2", "bn"] and heading.get_attribute("aria-sort") == "ascending"
    unfold = table.locator("button.unfold").first
    links = table.locator("tr.more:not([hidden]) a")
    assert links.count() == 0
    unfold.press("Enter")
    assert links.count() == 3 and unfold.get_attribute("aria-expanded") == "true"
    assert links.first.get_attribute("href") == "ln_l1-1e-4/seed-0/"


def test_keys_reach_everything_and_the_theme_follows_the_system_until_one_is_chosen(open_page, comparison):
    page = open_page(comparison.path / "report.html", color_scheme="dark")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#content"
    seen = []
    for _ in range(90):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.className || document.activeElement.value"
            )
        )
    assert {"unfold", "curves-test", "curves-log", "confusion-model", "bar", "browser-wrong", "browser-next"} <= set(
        seen
    )
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    drawn(page, "curves-plot")
    line = "document.getElementById('curves-plot').data.find(t => t.mode === 'lines+markers').line.color"
    on_dark = page.evaluate(line)
    page.click("#theme")
    assert page.inner_text("#theme") == "◐ Theme: light" and page.evaluate(background) != dark
    until(page, f"{line} !== '{on_dark}'")
    assert page.evaluate(line) == "#0072B2"
    page.reload()
    assert page.inner_text("#theme") == "◐ Theme: light" and page.evaluate(background) != dark
    page.click("#theme")
    page.click("#theme")
    assert page.inner_text("#theme") == "◐ Theme: system" and page.evaluate(background) == dark


def test_the_command_can_be_copied(page):
    page.locator("#configuration button.copy").first.click()
    until(page, "document.querySelector('#configuration button.copy').textContent !== 'Copy'")
    assert page.evaluate("navigator.clipboard.readText()") == CALL


def test_a_phone_scrolls_down_only(open_page, comparison):
    page = open_page(comparison.path / "report.html", phone=True)
    assert page.locator("#answer").bounding_box()["y"] < 300
    assert page.locator(".dot-row .mean").last.bounding_box()["y"] < 844
    for plot in ("curves-plot", "confusion-plot"):
        drawn(page, plot)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("document.querySelector('#results .scroll').scrollWidth") > 390
    for cell in page.locator("#results-table tbody > tr:first-child > td:nth-child(2)").all():
        box = cell.bounding_box()  # the accuracy stands where it is seen without scrolling
        assert "±" in cell.inner_text() and 0 < box["x"] and box["x"] + box["width"] <= 390


def test_printed_it_keeps_its_colours_and_fits_the_paper(open_page, fake_comparison, tmp_path):
    accuracy = {f"gn:size=4+ws+l1={i}e-4": [0.9, 0.8, 0.85] for i in range(1, 6)} | {"bn": [0.7, math.nan, 0.6]}
    page = open_page(fake_comparison(tmp_path, accuracy).report(), color_scheme="dark")
    page.wait_for_selector("head > script:nth-of-type(2)", state="attached")  # plotly.js
    ink = "getComputedStyle(document.body).color"
    dark = page.evaluate(ink)
    page.set_viewport_size({"width": 702, "height": 1000})  # A4 within margins of 12 mm
    page.emulate_media(media="print")
    for element in (".dot-row .mean", ".dot-row .interval", ".swatch", ".overlap .in", ".bar i", ".matrix td"):
        style = f"getComputedStyle(document.querySelector('{element}'))"
        assert page.evaluate(f"{style}.printColorAdjust") == "exact"
    for table in ("#results-table", "#differences-table", "#overlap-table"):
        box = page.locator(table).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 702, table
    page.wait_for_selector(".modebar", state="hidden")
    broken = "getComputedStyle(document.querySelector('.lead')).breakInside"
    assert page.evaluate(broken) == "avoid"
    names = page.locator("#results-table tbody > tr:first-child > th").all_inner_texts()
    assert len({"".join(name.split()) for name in names}) == len(accuracy)
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    drawn = "[...document.querySelectorAll('.plot')].map(each => each.querySelector('.main-svg')?.clientWidth ?? 0)"
    assert {*page.evaluate(drawn)} == {680}, "those that were never seen too, before the event ends"
    assert page.evaluate(ink) != dark
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(ink) == dark


def test_many_specs_and_a_dozen_classes_on_a_phone(open_page, fake_comparison, tmp_path):
    accuracy = {f"gn:{groups}+l1={i}e-5": [0.7 + 0.01 * i, 0.72 + 0.01 * i] for i in range(1, 10) for groups in (1, 4)}
    names = [*(f"{'n' * 119}{i}" for i in range(5)), *(f"class {i}" for i in range(7))]
    page = open_page(fake_comparison(tmp_path, accuracy, class_names=names).report(), phone=True)
    assert page.locator(".dot-row .mean").count() == 12 and "12 of 18" in page.inner_text("body")
    assert page.locator(".dot-label").first.inner_text() == "gn:4+l1=9e-5"
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.locator("#browser-cards").scroll_into_view_if_needed()
    card = page.locator(".card").first
    assert card.locator("li").count() == 13 and card.locator("li").last.inner_text() == "and 6 more"
    drawn(page, "confusion-plot")
    assert page.locator("#confusion-plot .annotation").count() == 0  # no room for numbers


def test_text_of_others_is_text(open_page, fake_comparison, tmp_path):
    folder = tmp_path / "<b>a & b's #1?"
    comparison = fake_comparison(
        folder, {"bn": [0.5, 0.6], "ln": [0.4, 0.5]}, class_names=ODD, data={"name": "<img src=x onerror=alert(3)>"},
        machine={"platform": ODD[0], "processor": ODD[1], "cores": 2, "threads": None},
        layers=[{"name": ODD[0], "class": ODD[2], "shape": [1], "rate": 0.5}],
    )  # fmt: skip
    for run, label in zip(comparison.runs, [ODD[0]] * 2 + [ODD[3]] * 2, strict=True):
        run.config["asked"]["norm"] = label
    comparison = type(comparison)(comparison.runs, folder, notes=[ODD[0]])
    page = open_page(comparison.report())
    for plot in ("curves-plot", "gap-plot", "confusion-plot"):
        drawn(page, plot)
    assert page.locator("[data-legend=curves-plot] button").all_inner_texts() == [ODD[0], ODD[3]]
    assert page.locator("#results-table tbody th a").first.get_attribute("href").startswith(("bn", "ln"))
    classes = page.locator("#browser-true option").all_inner_texts()
    assert classes == ["all", *ODD]
    # What plotly.js draws has neither tags nor links of its own, and names at an axis are cut.
    texts = page.locator("#confusion-plot .ytick text").all_text_contents()
    cut = [name if len(name) <= 16 else f"{name[:15]}…" for name in ODD]
    assert sorted(texts) == sorted(cut) and page.locator("#confusion-plot a[href]").count() == 0
    plot = page.locator("#confusion-plot .nsewdrag").first
    box = plot.bounding_box()
    plot.hover(position={"x": 0.3 * box["width"], "y": 0.5 * box["height"]})
    label = page.locator("#confusion-plot .hoverlayer .hovertext")
    assert label.text_content().startswith(f"{ODD[2]}taken for {ODD[1]}")
    assert page.locator("#confusion-plot text tspan[style*=bold]").count() == 0
    page.locator("#curves-plot .scatterlayer .point").first.hover(force=True)
    assert page.locator("#curves-plot .hoverlayer .hovertext").first.text_content().startswith(f"{ODD[0]}, ")
    assert page.locator(".notice").first.inner_text() == ODD[0]
    for summary in page.locator("#configuration summary").all():
        summary.click()
    assert ODD[2] in page.locator("#configuration").inner_text()


@pytest.mark.matrix
def test_long_and_many_class_names_on_a_phone(open_page, fake_comparison, tmp_path):
    names = [*(f"{'n' * 119}{i}" for i in range(5)), *(f"class {i}" for i in range(45))]
    page = open_page(fake_comparison(tmp_path, {"bn": [0.5, 0.4]}, class_names=names).report(), phone=True)
    drawn(page, "confusion-plot")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for button in page.locator("#confusion-list button").all():
        box = button.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    ticks = page.locator("#confusion-plot .ytick text").all_text_contents()
    assert ticks[:2] == ["nnnnnnn…nnnnnnn0", "nnnnnnn…nnnnnnn3"] and len(ticks) <= 20
    assert page.locator("#confusion-plot .nsewdrag").first.bounding_box()["width"] > 180


def test_one_run_alone_and_names_that_differ_at_their_end_are_cut_in_the_middle(open_page, fake_comparison, tmp_path):
    names = ["a rather long name of one", "a rather long name of two", "short"]
    comparison = fake_comparison(tmp_path, {"bn": [0.9]}, class_names=names, settings={"epochs": 1})
    page = open_page(comparison.report())
    drawn(page, "curves-plot")
    says(page.inner_text("#answer"), "only bn")
    assert page.locator("#differences").count() == 0 and shown(page) == (10, 10)
    drawn(page, "confusion-plot")
    ticks = page.locator("#confusion-plot .ytick text").all_text_contents()
    assert ticks == ["a rathe…e of one", "a rathe…e of two", "short"]


def test_numbers_of_the_confusion_are_read_on_their_colours(page):
    plot = "document.getElementById('confusion-plot')"
    ink = "getComputedStyle(document.body).color"
    drawn(page, "confusion-plot")
    seen = set()
    for theme in ("dark", "light"):
        page.emulate_media(color_scheme=theme)
        for minus in ("1", ""):
            page.select_option("#confusion-other", minus)
            until(
                page, f"{plot}.data[0].colorscale.length === {3 if minus else 2} && {plot}.layout.font.color === {ink}"
            )
            check_numbers(page, plot)
            seen.add((minus, page.evaluate(ink)))
    assert len(seen) == 4


def check_numbers(page, plot):
    heat = page.evaluate(
        f"(({{ z, zmin, zmax, colorscale }}) => [z.map(r => [...r]), zmin, zmax, colorscale])({plot}.data[0])"
    )
    values, low, high, scale = heat
    notes = page.evaluate(f"{plot}.layout.annotations.map(a => [a.x, a.y, a.font.color])")
    places, colours = zip(
        *((place, [int(v) for v in re.findall(r"\d+", colour)]) for place, colour in scale), strict=True
    )
    seen = 0
    for x, y, ink in notes:
        if x == y:
            continue
        share = (values[y][x] - low) / (high - low)
        background = luminance([np.interp(share, places, channel) for channel in zip(*colours, strict=True)])
        assert (max(background, LUMINANCE[ink]) + 0.05) / (min(background, LUMINANCE[ink]) + 0.05) > 4.5
        seen += 1
    assert seen > 20


def test_an_old_browser_says_why_there_are_no_plots(open_page, comparison):
    page = open_page(comparison.path / "report.html", script="delete window.DecompressionStream")
    box = page.locator("#curves-plot")
    box.scroll_into_view_if_needed()
    box.get_by_text("cannot unpack the plots").wait_for()
    assert page.locator("#browser-cards .card").count() > 0


@pytest.mark.matrix
def test_all_diverged(open_page, fake_comparison, tmp_path):
    page = open_page(fake_comparison(tmp_path, {"bn": [math.nan], "ln": [math.nan]}).report())
    says(page.inner_text("#answer"), "None of them", "diverged")
    drawn(page, "curves-plot")
