"""The page of a sweep in Chromium: heat maps, curves, filters, and nothing that leaves the page."""

import math

import pytest
from pages import until

from tfnorm.reporting import heat_data
from tfnorm.text import format_value

GRID = {
    "settings": {"epochs": 2},
    "grid": {"norm": ["bn", "gn:2"], "l1": [0, 1e-4, 1e-3], "l2": [0, 1e-4], "batch_size": [16, 64], "seeds": 2},
    "exclude": [{"l1": 1e-3, "l2": 1e-4, "norm": "bn"}, {"l1": 1e-3, "l2": 1e-4, "norm": "gn:2"}],
}
ALERT = "Failed: <img src=x onerror=alert(1)></script><script>alert(2)</script>"


def accuracy(config):
    """Return one diverged, one failed and one waiting combination, and one that learnt nothing."""
    if config.norm == "bn" and config.batch_size == 64:
        return 0.1
    if config.norm == "bn+l1=1e-3":
        return {16: math.nan, 64: ALERT}[config.batch_size]
    if config.norm == "gn:2+l1=1e-3":
        return "waiting"
    bonus = 0.01 * ("l1" in config.norm) + 0.002 * ("l2" in config.norm) + 0.03 * (config.batch_size == 64)
    return round(0.92 + bonus + 0.004 * ("gn" in config.norm) + 0.001 * config.seed, 4)


@pytest.fixture(scope="module")
def sweep(fake_sweep, tmp_path_factory):
    sweep = fake_sweep(tmp_path_factory.mktemp("sweep"), GRID, accuracy, images=1000)
    sweep.report()
    return sweep


@pytest.fixture(scope="module")
def page(open_shared_page, sweep):
    """Return the page that most tests share; each puts back what it changes and another reads."""
    return open_shared_page(sweep.path / "report.html", permissions=["clipboard-write"])


def cells(page):
    """Return the texts of the heat map, line by line."""
    lines = page.locator("#heat tbody tr").all()
    return [[" ".join(text.split()) for text in line.locator("td").all_inner_texts()] for line in lines]


def expected(rows, x, y, value, digits):
    """Return the texts of the heat map that `heat_data` describes."""
    import pandas as pd

    table = pd.DataFrame(
        [{**row.values, **row.measures, "norm": row.spec, "status": row.status, "planned": row.planned} for row in rows]
    )
    data = heat_data(table, x, y, value)
    texts = []
    for cell in data.cells.to_dict("records"):
        std = f" ± {cell['std']:.{digits}f}" if cell["std"] == cell["std"] else ""
        std += f" {cell['diverged']:.0f} diverged" if cell["diverged"] else ""
        std += f" {cell['seeds'] - cell['missing']:.0f} of {cell['seeds']:.0f} seeds" if cell["missing"] else ""
        empty = cell["state"] if cell["state"] != "missing" else "no run"
        texts.append(f"{cell['value']:.{digits}f}{std}" if cell["state"] == "finished" else empty)
    headings = [format_value(value) for value in data.xs]
    return headings, [texts[i : i + len(data.xs)] for i in range(0, len(texts), len(data.xs))]


def test_the_heat_map_shows_any_two_axes_as_heat_data_says_and_bright_is_better(page, sweep):
    def headings():
        return page.locator("#heat thead th").all_inner_texts()

    first = (headings(), cells(page))
    assert first == expected(sweep.combinations, "l1", "l2", "last_accuracy", 2)
    assert cells(page)[1][2] == "no run"

    page.get_by_role("combobox", name="down", exact=True).select_option("batch size (images)")
    page.get_by_role("combobox", name="normalization", exact=True).select_option("bn")
    kept = [row for row in sweep.combinations if row.values["norm"] == "bn"]
    assert (headings(), cells(page)) == expected(kept, "l1", "batch_size", "last_accuracy", 2)
    assert [line[2] for line in cells(page)] == ["diverged", "failed"]

    # An axis that is chosen for both changes places, and what was fixed is free again.
    page.get_by_role("combobox", name="across", exact=True).select_option("batch size (images)")
    assert page.get_by_role("combobox", name="down", exact=True).locator("option:checked").inner_text() == "L1 factor"
    page.get_by_role("combobox", name="down", exact=True).select_option("normalization")
    page.get_by_role("combobox", name="value", exact=True).select_option("test loss without penalty (nats)")
    assert (headings(), cells(page)) == expected(sweep.combinations, "batch_size", "norm", "test_data_loss", 4)

    # Bright is better, and its text is readable.
    page.get_by_role("combobox", name="value", exact=True).select_option(index=0)

    def look():
        styles = page.locator("#heat td button").evaluate_all(
            "all => all.map(e => [e.textContent, e.style.background, e.style.color])"
        )
        return {text: (background, colour) for text, background, colour in styles}

    accuracy_of = look()
    best = max(accuracy_of, key=lambda text: float(text[:5]))
    worst = min(accuracy_of, key=lambda text: float(text[:5]))
    assert accuracy_of[best] == ("rgb(254, 232, 56)", "rgb(0, 0, 0)")
    assert accuracy_of[worst] == ("rgb(0, 34, 78)", "rgb(255, 255, 255)")
    page.get_by_role("combobox", name="value", exact=True).select_option("test loss without penalty (nats)")
    loss = look()
    assert loss[min(loss, key=float)] == ("rgb(254, 232, 56)", "rgb(0, 0, 0)")

    page.get_by_role("combobox", name="across", exact=True).select_option("L1 factor")
    page.get_by_role("combobox", name="down", exact=True).select_option("L2 factor")
    page.get_by_role("combobox", name="value", exact=True).select_option(index=0)
    assert (headings(), cells(page)) == first


@pytest.mark.matrix
def test_seeds_that_are_short_are_the_best_only_where_there_are_no_others(open_page, fake_sweep, tmp_path):
    grid = {"grid": {"norm": ["bn", "ln"], "l1": [0, 1e-4], "batch_size": [16, 64], "seeds": 3}}

    def reached(config):
        spec = (config.norm, config.batch_size)
        if spec in {("bn+l1=1e-4", 16), ("bn", 64), ("bn+l1=1e-4", 64)} and config.seed:
            return "waiting"
        if spec == ("ln", 64) or (spec == ("ln+l1=1e-4", 64) and config.seed == 1):
            return math.nan if config.seed else "waiting"
        return 0.9 + 0.05 * ("l1" in config.norm) + config.seed / 100

    sweep = fake_sweep(tmp_path, grid, reached)
    page = open_page(sweep.report())
    wanted = [["91.00 ± 1.00", "95.00 1 of 3 seeds"], ["96.00 ± 1.00", "96.00 ± 1.41 1 diverged"]]
    assert cells(page) == expected(sweep.combinations, "batch_size", "norm", "last_accuracy", 2)[1] == wanted


def test_a_cell_lists_its_combinations_by_keyboard_too_and_rows_are_sorted_and_unfolded(page):
    shown = page.locator("#all tbody:visible")
    everything = page.locator("#all tbody").count()
    assert page.locator("#shown").inner_text() == f"all {everything} combinations"
    cell = page.locator("#heat td button").first
    assert cell.get_attribute("aria-label").startswith("L1 factor 0, L2 factor 0: ")
    cell.focus()
    page.keyboard.press("Enter")
    assert cell.get_attribute("aria-pressed") == "true"
    assert shown.count() == 4 and page.locator("#shown").inner_text() == f"4 of {everything} combinations"
    page.get_by_role("button", name="Only L1 factor 0, L2 factor 0. Show all again.").click()
    assert shown.count() == everything and cell.get_attribute("aria-pressed") == "false"

    page.locator("#filter-norm").select_option("gn:2")
    assert shown.count() == 8
    page.get_by_role("searchbox", name="Contains").fill("Batch Size 64 l1=1e-4")
    assert shown.first.locator("tr:first-child td").all_inner_texts()[1:4] == ["1e-4", "0", "64"]
    assert page.locator("#shown").inner_text() == f"2 of {everything} combinations"
    page.get_by_role("searchbox", name="Contains").fill("no such thing")
    assert shown.count() == 0 and page.locator("#shown").inner_text() == f"0 of {everything} combinations"

    # All again, sorted, and unfolded to linked runs.
    page.get_by_role("searchbox", name="Contains").fill("")
    page.locator("#filter-norm").select_option("")
    page.locator("#all thead").get_by_role("button", name="test accuracy").click()
    first = page.locator("#all tbody").first.locator("tr:first-child")
    assert first.locator("td").all_inner_texts()[:4] == ["96.65 ± 0.07", "1e-4", "1e-4", "64"]
    page.locator("#all .unfold").first.click()
    links = page.locator("#all tbody").first.locator("tr.more:visible a")
    assert links.all_inner_texts() == ["seed 0", "seed 1"]
    assert links.first.get_attribute("href") == "gn-2_l1-1e-4_l2-1e-4/batch_size-64/seed-0"


def traces(page):
    """Return name to heights of the curves that are drawn."""
    page.locator("#curve").scroll_into_view_if_needed()
    until(page, "document.getElementById('curve').dataset.drawn === 'true'")
    return page.evaluate(
        "Object.fromEntries(document.getElementById('curve').data"
        ".filter(t => t.mode === 'lines+markers' && t.visible !== false).map(t => [t.name, t.y]))"
    )


def test_curves_follow_the_choice_of_axis_setting_and_legend(page, sweep):
    first = traces(page)
    assert list(first) == ["bn", "gn:2"] and [f"{y:.2f}" for y in first["gn:2"]] == ["93.65", "96.65"]
    assert page.locator("#curve-note").inner_text() == "bn at L1 1e-4, L2 1e-4; gn:2 at L1 1e-4, L2 1e-4."
    controls = page.locator("#curve-controls")
    controls.get_by_role("combobox", name="L1", exact=True).select_option("0")
    until(page, "document.getElementById('curve').data.find(t => t.name === 'gn:2').y[1] < 95.8")
    assert page.locator("#curve-note").inner_text() == "bn at L1 0, L2 1e-4; gn:2 at L1 0, L2 1e-4."

    legend = page.get_by_role("group", name="Show or hide").get_by_role("button", name="bn")
    legend.click()
    until(page, "document.getElementById('curve').data[0].visible === false")
    assert list(traces(page)) == ["gn:2"] and legend.get_attribute("aria-pressed") == "false"

    controls.get_by_role("combobox", name="against", exact=True).select_option("L1 factor")
    until(page, "document.getElementById('curve').layout.xaxis.title.text === 'L1 factor'")
    assert len(traces(page)["gn:2"]) == 2


def test_a_page_for_phones_and_dark_rooms(open_page, sweep):
    page = open_page(sweep.path / "report.html", phone=True, color_scheme="dark")
    for section in page.locator("main > section").all():
        section.scroll_into_view_if_needed()
    traces(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    answer = page.locator(".answer").bounding_box()
    assert answer["y"] + answer["height"] < 844
    for cell in page.locator("#best tbody > tr:first-child > td:nth-child(2)").all():
        box = cell.bounding_box()  # the accuracy stands where it is seen without scrolling
        assert "±" in cell.inner_text() and 0 < box["x"] and box["x"] + box["width"] <= 390
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(int(number) for number in background[4:-1].split(",")) < 150


def test_sentences_are_text_and_the_grid_is_copied(page, sweep):
    assert ALERT in page.locator("#unfinished").inner_text()
    button = page.locator("#settings").get_by_role("button", name="Copy").nth(1)
    button.click()
    until(page, "[...document.querySelectorAll('#settings .copy')].some(b => b.textContent !== 'Copy')")
    assert page.locator("#settings code").last.inner_text() == (sweep.path / "grid.toml").read_text()
