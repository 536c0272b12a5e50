"""Put the results of `tfnorm reproduce` into docs/results, one page each; `docs/results.py` has a table of all.

Usage: python docs/reproduced.py FOLDER [--note TEXT]    takes a finished reproduction up
       python docs/reproduced.py                         writes the pages anew

TEXT is a sentence about the data that must stand beside every number. What was found out about a reproduction beyond
its table stands in docs/results/NAME/remarks.md and is taken into its page; what ``{seeds[tfnorm]}``, ``{jpeg[75]}``
and the like stand for there says `measured`.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from reproduced_remarks import RESULTS, by_norm, earlier, measured, number, taken_up

from tfnorm.experiments.published.comparisons import load_published
from tfnorm.training.provenance import backend_words, machine_words, seed_words
from tfnorm.training.recipe.recipes import RECIPES

PICTURES = ("accuracy.png", "loss.png")


def headline(content: dict) -> list[str]:
    """Return a table: configuration, parameters, seeds, published, measured, difference, misclassified."""
    preset = content["preset"]
    # What a better recipe is beside was published with the recipe that it replaces.
    epoch = load_published(preset["name"].removesuffix("+")).epoch
    wrong = "misclassified after the last epoch" if preset["epoch"] == "best" else "misclassified"
    lines = [
        f"| row | parameters | seeds | published, {epoch} epoch | measured | difference | {wrong}, published "
        "| measured |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in content["table"]:
        difference = "" if row["difference"] is None else f"{row['difference']:+.2f}"
        written = f"<br>{row['as_written']}" if row["as_written"] else ""
        wrong = f"{number(row['published_misclassified'], 0)} | {number(row['misclassified'], 0)}"
        lines.append(
            f"| `{row['row']}`{written} | {row['parameters']:,} | {row['seeds']} | {number(row['published'])} "
            f"| {_measured(row)} | {difference} | {wrong} |"
        )
    return lines


def _measured(row: dict) -> str:
    diverged = f" ({row['diverged']} diverged)" if row["diverged"] else ""
    std = "" if row["std"] is None else f" ± {row['std']:.2f}"
    return f"{number(row['measured'])}{std}{diverged}"


def command(content: dict) -> str:
    """Return the command that trained it."""
    preset, settings = content["preset"], content["settings"]
    options = "" if settings["precision"] == "float32" else f" --precision {settings['precision']}"
    if settings["epochs"] != RECIPES[preset["settings"]["recipe"]].epochs:
        options += f" --epochs {settings['epochs']}"
    if [row["seeds"] for row in preset["row"]] != [row["seeds"] for row in content["table"]]:
        options += f" --seeds {content['table'][0]['seeds']}"
    return f"tfnorm reproduce {preset['name']}{options} --data-dir DIR"


def origins_of(content: dict) -> list[dict]:
    """Return what `tfnorm.training.provenance.origins` returned; older results have one origin alone."""
    seeds = max(row["seeds"] for row in content["table"])
    alone = {key: content.get(key) for key in ("versions", "machine")} | {"seeds": list(range(seeds))}
    return content.get("origins") or [alone]


def origin(content: dict) -> str:
    """Return in a paragraph how the numbers came about."""
    settings = content["settings"]
    seeds = sorted({row["seeds"] for row in content["table"]})
    several = f"Mean ± standard deviation over {' or '.join(map(str, seeds))} seeds, counted from 0"
    epochs = f"the {content['preset']['epoch']} of {settings['epochs']} epochs, {settings['precision']}"
    note = f" {content['note']}" if content.get("note") else ""
    if counted_apart(content):
        note += (
            " What is misclassified was counted in a second pass, operation by operation, which in "
            f"{settings['precision']} rounds differently from the compiled one that the accuracy is from."
        )
    return (
        f"{several if seeds[-1] > 1 else 'One seed, 0'}. Test accuracy in percent after {epochs}. "
        f"Written by `{command(content)}` (begun {content['started'][:10]}) {_places(origins_of(content))}.{note}"
    )


def counted_apart(content: dict) -> bool:
    """Return whether the misclassified images of a row are not those that its accuracy leaves."""
    images = content["data"]["test_images"]
    rows = [row for row in content["table"] if row["last_accuracy"] is not None and row["misclassified"] is not None]
    return any(abs(row["misclassified"] - images * (1 - row["last_accuracy"] / 100)) > 0.5 for row in rows)


def _places(found: list[dict]) -> str:
    return "; and ".join(_place(each, several=len(found) > 1) for each in found)


def _place(found: dict, several: bool) -> str:
    """Return where runs were trained; of several places, with the seeds."""
    versions, backend = found["versions"], found["versions"]["backend"]
    packages = ", ".join(f"{name} {versions[name]}" for name in ("python", backend, "keras", "tfnorm"))
    other = "" if backend == "tensorflow" else f", `KERAS_BACKEND={backend}`"
    seeds = f" ({seed_words(found['seeds'])})" if several else ""
    return f"on {machine_words(found['machine'])}, {packages}{other}{seeds}"


def page(name: str, content: dict) -> str:
    """Return the page of one reproduction."""
    preset = content["preset"]
    lines = [
        "<!-- Written by docs/reproduced.py from the files beside it; change those instead. -->",
        "",
        f"# {preset['title']}",
        "",
        *headline(content),
        "",
        origin(content),
        "",
    ]
    if below := _rows(row for row in content["table"] if row["reached"] is False):
        lines += [f"More than {preset['tolerance']} points below the published accuracy: {below}.", ""]
    remarks = RESULTS / name / "remarks.md"
    if remarks.exists():
        lines += [remarks.read_text(encoding="utf-8").strip().format(**measured(name)), ""]
    if content["claims"]:
        lines += ["## What was claimed", ""]
        for claim in content["claims"]:
            lines += [f"- **{claim['says']}** {claim['outcome'].capitalize()}: {claim['because']}"]
        lines += [""]
    lines += ["## The rows against each other", "", content["verdict"], ""]
    for picture in PICTURES:
        lines += [f"![{picture.removesuffix('.png').capitalize()} of all rows]({name}/{picture})", ""]
    for picture in sorted((RESULTS / name).glob("misclassified-*.png")):
        lines += [f"![Misclassified images]({name}/{picture.name})", ""]
    for file, before in earlier(name).items():
        where = f"(begun {before['started'][:10]}) {_places(before['origins'])}"
        lines += [f"What the rows were before is in [{file}]({name}/{file}) {where}.", ""]
    files = " · ".join(f"[{file}]({name}/{file})" for file in ("reproduced.csv", "reproduced.json", "comparison.json"))
    return "\n".join([*lines, f"Files: {files}", ""])


def _rows(rows: Iterable[dict]) -> str:
    return ", ".join(f"`{row['row']}`" for row in rows)


def table_of_norms(folder: str) -> str:
    """Return a table of one row for each norm of each reproduction, the better recipe of the same network beside it."""
    lines = [
        "| | network, data | row | published % | measured % | better recipe % |",
        "|---|---|---|---:|---:|---:|",
    ]
    found = taken_up()
    for name, content in found.items():
        if name.endswith("+"):
            continue
        plus = found.get(f"{name}+", content)
        better = {} if plus is content else by_norm(plus)
        precision, other = (each["settings"]["precision"] for each in (content, plus))
        what = _what(content) + ("" if other == precision else f" (better recipe: {other})")
        links = ", ".join(f"[{one}]({folder}/{one}.md)" for one in (name, f"{name}+") if one in found)
        for norm, row in by_norm(content).items():
            beside = _measured(better[norm]) if norm in better else ""
            numbers = f"{number(row['published'])} | {_measured(row)} | {beside}"
            lines.append(f"| {links} | {what} | `{row['row']}` | {numbers} |")
    picked = (
        "Where a network has several rows with one norm, the table shows the one with the best published accuracy. The "
        "better recipes have no penalties. They were chosen on held-out training images; their pages say where the "
        "test images had a part in it."
    )
    return "\n".join([*lines, "", f"{picked} {_circumstances(found)}"])


def _what(content: dict) -> str:
    settings = content["settings"]
    return f"`{settings['arch']}`, {settings['dataset']}, {settings['precision']}"


def _circumstances(found: dict[str, dict]) -> str:
    """Return what the numbers of all reproductions are, and where they come from."""
    places: dict[str, list[str]] = {}
    for name, content in found.items():
        for each in origins_of(content):
            words = f"{backend_words(each['versions'])}, Keras {each['versions']['keras']}"
            places.setdefault(f"on {machine_words(each['machine'])}, {words}", []).append(name)
    where = [f"{', '.join(dict.fromkeys(names))} {place}" for place, names in places.items()]
    best = [name for name, content in found.items() if content["preset"]["epoch"] == "best"]
    of_best = f" ({', '.join(best)}: the best, as was published)" if best else ""
    notes: dict[str, list[str]] = {}
    for name, content in found.items():
        if content.get("note"):
            notes.setdefault(content["note"], []).append(name)
    seeds = sorted({row["seeds"] for content in found.values() for row in content["table"]} - {1})
    said = (
        f"Published: one run each. Measured: test accuracy after the last epoch{of_best}, mean ± standard deviation "
        f"over {' or '.join(map(str, seeds))} seeds, or without ± of one. "
        f"{'; '.join(where)}."
    )
    return " ".join([said, *(f"{', '.join(names)}: {note}" for note, names in notes.items())])


def take_up(folder: Path, note: str) -> None:
    """Copy a finished reproduction into the results."""
    content = json.loads((folder / "reproduced.json").read_text(encoding="utf-8"))
    target = RESULTS / content["preset"]["name"]
    target.mkdir(parents=True, exist_ok=True)
    for name in ("reproduced.csv", *PICTURES):
        shutil.copy(folder / name, target / name)
    comparison = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    comparison["data"].pop("data_dir", None)
    (target / "comparison.json").write_text(json.dumps(comparison) + "\n", encoding="utf-8")
    for picture in folder.glob("misclassified-*.png"):
        shutil.copy(picture, target / picture.name)
    (target / "reproduced.json").write_text(json.dumps({**content, "note": note}, indent=2) + "\n", encoding="utf-8")


def pages() -> dict[Path, str]:
    """Return path to text of the page of each reproduction."""
    return {RESULTS / f"{name}.md": page(name, content) for name, content in taken_up().items()}


if __name__ == "__main__":
    words = sys.argv[1:]
    note = words.pop(words.index("--note") + 1) if "--note" in words else ""
    folders = [word for word in words if word != "--note"]
    if len(folders) > 1 or any(word.startswith("-") for word in folders):
        sys.exit(__doc__)
    for folder in folders:
        take_up(Path(folder), note)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
