"""Put a finished comparison, and a picture of the top of its report, into docs/results/NAME.

Usage: python docs/comparisons.py NAME FOLDER

NAME is ``digits`` for what `make compare` trains, or ``small-batches`` for the example of the README, whose output the
script then writes into the README. FOLDER is the folder of the comparison.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))

from marks import README, with_text

import tfnorm
from tfnorm.training.provenance import machine_words

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

RESULTS = Path(__file__).resolve().parent / "results"
PICTURES = {"digits": ("accuracy.png", "loss.png", "misclassified-gn-2.png"), "small-batches": ("accuracy.png",)}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Narrow, so that the words can be read in a README; two pixels for one, so that they are sharp.
WIDTH, HEIGHT, SCALE = 880, 800, 2
# How far the picture reaches below the last line of the answer, in pixels.
BELOW = 14
# What the README's example prints of the table.
COLUMNS = ["last_accuracy", "last_accuracy_std", "misclassified"]


def verdict(name: str) -> str:
    """Return the verdict of a comparison in the results."""
    return json.loads((RESULTS / name / "comparison.json").read_text(encoding="utf-8"))["verdict"]


def example_output() -> str:
    """Return what the README's example prints."""
    table = pd.read_csv(RESULTS / "small-batches" / "table.csv", index_col="spec")
    return f"```text\n{table[COLUMNS].round(2)}\n\n{verdict('small-batches')}\n```"


def version_words(origin: dict) -> str:
    """Return the versions of an origin.json that `write_origin` wrote."""
    return ", ".join(f"{name} {origin['versions'][name]}" for name in ("python", "tensorflow", "keras"))


def open_browser(play: Playwright) -> Browser:
    """Return an installed Chromium, or end with a sentence if there is none."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit("The picture of the report needs Chromium: apt-get install chromium. Nothing was changed.")
    return play.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])


def draw_report(report: Path) -> bytes:
    """Return a picture of the top of a report, down to the note below its dots."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.exit("The picture of the report needs playwright: pip install playwright. Nothing was changed.")
    with sync_playwright() as play:
        browser = open_browser(play)
        size = {"width": WIDTH, "height": HEIGHT}
        page = browser.new_page(viewport=size, color_scheme="light", device_scale_factor=SCALE)
        page.goto(report.resolve().as_uri())
        note = page.locator(".dot-note").bounding_box()
        height = note["y"] + note["height"] + BELOW
        picture = page.screenshot(clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
        browser.close()
    return picture


def write_origin(folder: Path, results: Path) -> None:
    """Write where and when the first of the runs in ``folder`` was trained to origin.json in ``results``."""
    config = json.loads(min(folder.glob("*/seed-0/config.json")).read_text())
    machine = machine_words(config["machine"])
    origin = {"versions": config["versions"], "machine": machine, "started": config["started"]}
    (results / "origin.json").write_text(json.dumps(origin, indent=2) + "\n")


def main(name: str, folder: Path) -> None:
    """Write the tables and pictures of ``folder`` again, and take them into the results."""
    comparison, report = tfnorm.report(folder)
    picture = draw_report(report)
    results = RESULTS / name
    results.mkdir(parents=True, exist_ok=True)
    for file in ("table.csv", "comparison.json", *PICTURES[name]):
        shutil.copy(folder / file, results / file)
    (results / "report.png").write_bytes(picture)
    write_origin(folder, results)
    if name == "digits":
        for kind in ("gap", "differences", "confusion", "overlap"):
            getattr(comparison, f"plot_{kind}")(RESULTS / "plots" / f"{kind}.png")
    else:
        README.write_text(with_text("example", example_output()), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in PICTURES:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]))
