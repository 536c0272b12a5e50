"""Write docs/results.md from the committed results.

Usage: python docs/results.py [FOLDER]

FOLDER is that of a finished `tfnorm sweep groups`, which is taken up first.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))

import comparisons
import performance
import reproduced
from reproduced_remarks import BENCHMARKS, DOCS, RESULTS

from tfnorm.training.provenance import machine_words

PAGE = DOCS / "results.md"

TOP = """<!-- Written by docs/results.py from docs/results and benchmarks/results; change those instead. -->

# Results

The results of tfnorm's own commands, with the files that the numbers come from. Accuracies are those of the test set
after the last epoch: mean ± standard deviation over the seeds, and the 95 % interval of the mean by Student's t
distribution. With few seeds that differ a lot, the interval can go beyond 100 %, because the t distribution has no
upper limit. [Is a difference real?](tutorial.md#is-a-difference-real) explains how to read the numbers.
"""

COMPARISON = """## {title}

{what}

{table}

> {verdict}

Measured on {origin}.
Files: [table.csv](results/{name}/table.csv), [comparison.json](results/{name}/comparison.json) with every
epoch of every run, [origin.json](results/{name}/origin.json).

![The top of the report](results/{name}/report.png)

![Test and training accuracy of all models](results/{name}/accuracy.png)
"""

STANDARD = """`make compare` trains the network `mnist_7k` on scikit-learn's digits for 20 epochs. The same machine
gives the same numbers again. Another kind of processor rounds differently, which changes single images."""

SMALL_BATCHES = """This is the example of the README: the network `mnist_layered` on the same digits, in their own 8 x 8
pixels, with 2 images in a batch, for 10 epochs. The batches of the recipe have 32 images, so the learning rate is a
sixteenth of the recipe's.

The example shows what a difference looks like. We looked for a setting with a clear one: this is not the first that we
tried. Its p value is therefore more optimistic than that of a comparison that is planned before anything is trained."""

GROUPS = """## How many groups

`tfnorm sweep groups --jobs 2` trains the network of the standard comparison on the same data for 10 epochs.

{table}

Measured on {origin}.
Files: [table.csv](results/groups/table.csv), [runs.csv](results/groups/runs.csv) with each seed,
[origin.json](results/groups/origin.json).

![Test accuracy against the number of groups, with 95 % intervals](results/groups/groups.png)
"""

PUBLISHED = """## Published comparisons

`tfnorm reproduce` trains five [published comparisons](experiments.md#published-comparisons) again, and trains their
networks under better recipes (with a plus). Each has a page with every row, the claims, what is known about the reasons
if a published accuracy is not reached, pictures and files. The published code of E built batch norm in all three rows.

{table}

```{{toctree}}
:hidden:

{pages}
```
"""

PICTURES = """## Receptive fields and activations

[Analysis](analysis.md) shows the receptive fields of VGG-16 over a photograph, and the activations of a network during
training. `python docs/analysis.py` draws both.

## Speed and memory

`make bench` measures these files and writes [Performance](performance.md) from them. Only `accuracy_mnist.json` comes
from `python benchmarks/accuracy.py --dataset mnist --epochs 3 --name accuracy_mnist --data-dir DIR`:

{speed}

## Recipes, seeds and JPEG

The pages of the published comparisons quote these files. `benchmarks/recipes.py`, `benchmarks/seeds.py` and
`benchmarks/jpeg.py` write them:

{others}
"""


def accuracy_table(path: Path) -> str:
    """Return a table of a comparison or sweep, one row a spec."""
    table = pd.read_csv(path)
    lines = [
        "| spec | parameters | seeds | test accuracy, % | 95 % interval | test loss, no penalty | misclassified |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in table.rename(columns={"norm": "spec"}).to_dict("records"):
        lines.append(
            f"| `{row['spec']}` | {row['parameters']:,} | {row['seeds']} "
            f"| {row['last_accuracy']:.2f} ± {row['last_accuracy_std']:.2f} "
            f"| {row['last_accuracy_low']:.2f} to {row['last_accuracy_high']:.2f} "
            f"| {row['test_data_loss']:.3f} | {row['misclassified']:.1f} |"
        )
    return "\n".join(lines)


def origin_words(name: str) -> str:
    """Return machine, versions and date of results."""
    origin = json.loads((RESULTS / name / "origin.json").read_text(encoding="utf-8"))
    return f"{origin['machine']}, {comparisons.version_words(origin)}, {origin['started'][:10]}"


def take_up_groups(folder: Path) -> None:
    """Copy the tables and the picture of a finished study of groups into the results."""
    if not (folder / "groups.png").exists():
        sys.exit(f"There is no groups.png in {folder}. Give the folder of a finished `tfnorm sweep groups`.")
    for name in ("table.csv", "groups.png"):
        shutil.copy(folder / name, RESULTS / "groups" / name)
    runs = pd.read_csv(folder / "runs.csv").drop(columns="record")  # a path of the machine that trained
    runs.to_csv(RESULTS / "groups" / "runs.csv", index=False)
    comparisons.write_origin(folder, RESULTS / "groups")


def benchmark_list(speed: bool) -> str:
    """Return a line for each file of measurements, with its date and machine: those of `make bench`, or the others."""
    lines = []
    for path in sorted(BENCHMARKS.glob("*.json")):
        if (path.stem in performance.SECTIONS) != speed or path.stem.startswith("decisions"):  # those of docs/trust.md
            continue
        made = json.loads(path.read_text(encoding="utf-8"))
        places = made["settings"].get("trained") or [machine_words(made["machine"])]
        lines.append(f"- [{path.name}](../benchmarks/results/{path.name}): {made['time'][:10]}, {'; '.join(places)}")
    return "\n".join(lines)


def comparison(name: str, title: str, what: str) -> str:
    """Return the section on a comparison."""
    table = accuracy_table(RESULTS / name / "table.csv")
    verdict, origin = comparisons.verdict(name), origin_words(name)
    return COMPARISON.format(name=name, title=title, what=what, table=table, verdict=verdict, origin=origin)


def page() -> str:
    """Return the text of docs/results.md."""
    standard = comparison("digits", "The standard comparison", STANDARD)
    small = comparison("small-batches", "Small batches", SMALL_BATCHES)
    groups = GROUPS.format(table=accuracy_table(RESULTS / "groups" / "table.csv"), origin=origin_words("groups"))
    published = PUBLISHED.format(
        table=reproduced.table_of_norms("results"), pages="\n".join(f"results/{name}" for name in reproduced.taken_up())
    )
    rest = PICTURES.format(speed=benchmark_list(True), others=benchmark_list(False))
    return "\n".join((TOP, standard, small, groups, published, rest))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    for folder in sys.argv[1:]:
        take_up_groups(Path(folder))
    PAGE.write_text(page(), encoding="utf-8")
