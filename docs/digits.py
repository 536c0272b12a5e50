"""Put the results of `make compare`, and a picture of their page, into docs/results/digits and into the README.

Usage: python docs/digits.py runs/mnist_7k-digits
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))

from readme import README, with_table

from tfnorm.training.provenance import machine_words

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS / "results" / "digits"
PICTURES = ("accuracy.png", "loss.png", "misclassified-gn-2.png")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1280, 800
# How far the picture reaches below the last line of the answer, in pixels.
BELOW = 14


def readme_table() -> str:
    """Return the README's table and its origin, from the committed results."""
    table = pd.read_csv(RESULTS / "table.csv", index_col="spec")
    origin = json.loads((RESULTS / "origin.json").read_text())
    lines = [
        "| spec | trainable parameters | test accuracy, last epoch | test loss, no penalty | misclassified of 450 |",
        "|---|---|---|---|---|",
    ]
    for spec, row in table.iterrows():
        lines.append(
            f"| `{spec}` | {int(row['parameters']):,} | {row['last_accuracy']:.2f} ± {row['last_accuracy_std']:.2f} % "
            f"| {row['test_data_loss']:.3f} | {row['misclassified']:.1f} |"
        )
    lines += [
        "",
        f"Mean ± standard deviation over {table['seeds'].iloc[0]} seeds, 20 epochs, network `mnist_7k`, 1,347 training "
        f"and 450 test images; written by `make compare` on {origin['machine']} ({version_words(origin)}). The "
        "same machine gives the same numbers again; another kind of processor rounds differently, which turns single "
        "images. Its verdict:",
        "",
        f"> {json.loads((RESULTS / 'comparison.json').read_text())['verdict']}",
    ]
    return "\n".join(lines)


def version_words(origin: dict) -> str:
    """Return the versions of an origin.json that `write_origin` wrote."""
    return ", ".join(f"{name} {origin['versions'][name]}" for name in ("python", "tensorflow", "keras"))


def open_browser(play: Playwright) -> Browser:
    """Return an installed Chromium, or end with a sentence if there is none."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit("The picture of the report needs Chromium: apt-get install chromium. Nothing was changed.")
    return play.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])


def draw_report(folder: Path) -> bytes:
    """Return a picture of the top of the page of ``folder``, down to what is said below its dots."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.exit("The picture of the report needs playwright: pip install playwright. Nothing was changed.")
    from tfnorm.experiments.collect import collect

    with tempfile.TemporaryDirectory() as place, sync_playwright() as play:
        browser = open_browser(play)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(collect([folder]).report(Path(place) / "report.html").resolve().as_uri())
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


def main(folder: Path) -> None:
    """Copy the results of ``folder``, draw its page and rewrite the README between its marks."""
    picture = draw_report(folder)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in ("table.csv", "comparison.json", *PICTURES):
        shutil.copy(folder / name, RESULTS / name)
    (RESULTS / "report.png").write_bytes(picture)
    write_origin(folder, RESULTS)
    README.write_text(with_table("digits", readme_table()), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
