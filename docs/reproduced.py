"""Put the results of `tfnorm reproduce` into docs/results, one page each, and into the README.

Usage: python docs/reproduced.py FOLDER [--note TEXT]    takes a finished reproduction up
       python docs/reproduced.py                         writes the pages and the README anew

TEXT is a sentence about the data that must stand beside every number.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS / "results"
README = DOCS.parent / "README.md"
PICTURES = ("accuracy.png", "loss.png")


def taken_up() -> dict[str, dict]:
    """Return name to content of every reproduction in the results."""
    files = sorted(RESULTS.glob("*/reproduced.json"))
    return {file.parent.name: json.loads(file.read_text()) for file in files}


def headline(content: dict) -> list[str]:
    """Return a table's rows: configuration, seeds, published, measured, misclassified."""
    lines = []
    for row in content["table"]:
        published = "—" if row["published"] is None else f"{row['published']:.2f}"
        difference = "" if row["difference"] is None else f"{row['difference']:+.2f}"
        std = "" if row["std"] is None else f" ± {row['std']:.2f}"
        written = f"<br>{row['as_written']}" if row["as_written"] else ""
        wrong = f"{_number(row['published_misclassified'])} | {_number(row['misclassified'])}"
        lines.append(
            f"| `{row['row']}`{written} | {row['parameters']:,} | {row['seeds']} | {published} "
            f"| {row['measured']:.2f}{std} | {difference} | {wrong} |"
        )
    return lines


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:,.1f}".removesuffix(".0")


def origin(name: str, content: dict) -> str:
    """Return in a paragraph how the numbers came about."""
    settings, versions, machine = content["settings"], content["versions"], content["machine"]
    seeds = sorted({row["seeds"] for row in content["table"]})
    several = " or ".join(map(str, seeds))
    note = f" {content['note']}" if content.get("note") else ""
    command = f"tfnorm reproduce {content['preset']['name']}"
    packages = ", ".join(f"{package} {versions[package]}" for package in ("python", "tensorflow", "keras", "tfnorm"))
    return (
        f"Mean ± standard deviation over {several} seed{'s' if seeds[-1] > 1 else ''}, test accuracy in percent of the "
        f"{content['preset']['epoch']} epoch of {settings['epochs']}, {settings['precision']}; written by `{command}` "
        f"(begun {content['started'][:10]}) on {machine['cores']} cores of {machine['processor']}, {packages}.{note}"
    )


def page(name: str, content: dict) -> str:
    """Return the page of one reproduction."""
    preset = content["preset"]
    epoch = preset["epoch"]
    lines = [
        f"# {preset['title']}",
        "",
        f"| row | parameters | seeds | published, {epoch} epoch | measured | difference | misclassified, published "
        "| measured |",
        "|---|---|---|---|---|---|---|---|",
        *headline(content),
        "",
        origin(name, content),
        "",
        "## What was claimed",
        "",
    ]
    for claim in content["claims"]:
        lines += [f"- **{claim['says']}** {claim['outcome'].capitalize()}: {claim['because']}"]
    lines += ["", f"The verdict over all rows: {content['verdict']}", ""]
    missed = [row["row"] for row in content["table"] if row["reached"] is False]
    if missed:
        rows = ", ".join(f"`{row}`" for row in missed)
        lines += [f"More than {preset['tolerance']} points below the published accuracy: {rows}.", ""]
    for picture in PICTURES:
        lines += [f"![{picture.removesuffix('.png').capitalize()} of all rows]({name}/{picture})", ""]
    for picture in sorted((RESULTS / name).glob("misclassified-*.png")):
        lines += [f"![Misclassified images]({name}/{picture.name})", ""]
    return "\n".join(lines)


def readme_table() -> str:
    """Return the README's table of all reproductions."""
    lines = [
        "| published comparison | row | seeds | published % | measured % |",
        "|---|---|---|---|---|",
    ]
    for name, content in taken_up().items():
        for row in content["table"]:
            if row["published"] is not None:
                std = "" if row["std"] is None else f" ± {row['std']:.2f}"
                lines.append(
                    f"| [{name}](docs/results/{name}.md) | `{row['row']}` | {row['seeds']} | {row['published']:.2f} "
                    f"| {row['measured']:.2f}{std} |"
                )
    return "\n".join(lines)


def take_up(folder: Path, note: str) -> None:
    """Copy a finished reproduction into the results."""
    content = json.loads((folder / "reproduced.json").read_text())
    target = RESULTS / content["preset"]["name"]
    target.mkdir(parents=True, exist_ok=True)
    for name in ("reproduced.csv", "comparison.json", *PICTURES):
        shutil.copy(folder / name, target / name)
    for picture in folder.glob("misclassified-*.png"):
        shutil.copy(picture, target / picture.name)
    (target / "reproduced.json").write_text(json.dumps({**content, "note": note}, indent=2) + "\n")


def write() -> None:
    """Write every page, and the README between its marks."""
    for name, content in taken_up().items():
        (RESULTS / f"{name}.md").write_text(page(name, content))
    text = README.read_text()
    marked = re.compile(r"(<!-- reproduced: begin -->\n).*?(<!-- reproduced: end -->)", re.DOTALL)
    README.write_text(marked.sub(lambda match: f"{match[1]}\n{readme_table()}\n\n{match[2]}", text))


if __name__ == "__main__":
    words = sys.argv[1:]
    note = words.pop(words.index("--note") + 1) if "--note" in words else ""
    folders = [word for word in words if word != "--note"]
    if len(folders) > 1 or any(word.startswith("-") for word in folders):
        sys.exit(__doc__)
    for folder in folders:
        take_up(Path(folder), note)
    write()
