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

import digits
import performance
import reproduced
from reproduced_remarks import BENCHMARKS, DOCS, RESULTS

from tfnorm.training.provenance import machine_words

PAGE = DOCS / "results.md"

TOP = """<!-- Written by docs/results.py from docs/results and benchmarks/results; change those instead. -->

# Results

What the commands of these pages gave, with the files that the numbers were read from. Accuracies are those of the test
set after the last epoch, mean ± standard deviation over the seeds, with the 95 % interval of the mean by Student's t
distribution. It passes 100 % where seeds are few and spread: it knows nothing of that end.
[Is a difference real?](tutorial.md#is-a-difference-real) says how to read them.
"""

DIGITS = """## The standard comparison

`make compare`: network `mnist_7k`, scikit-learn's digits, 20 epochs.

{table}

> {verdict}

On {origin}.
Files: [table.csv](results/digits/table.csv), [comparison.json](results/digits/comparison.json) with every epoch of
every run, [origin.json](results/digits/origin.json).

![Test and training accuracy of the three models](results/digits/accuracy.png)

![Test and training loss of the three models](results/digits/loss.png)
"""

GROUPS = """## How many groups

`tfnorm sweep groups --jobs 2`: the same network and data, 10 epochs.

{table}

On {origin}.
Files: [table.csv](results/groups/table.csv), [runs.csv](results/groups/runs.csv) with each seed,
[origin.json](results/groups/origin.json).

![Test accuracy against the number of groups, with 95 % intervals](results/groups/groups.png)
"""

PUBLISHED = """## Published comparisons

`tfnorm reproduce` trains five [published comparisons](experiments.md#published-comparisons) again, and their networks
under better recipes (with a plus). Those that were trained so far, each with a page of table, claims, pictures, files:

{table}

```{{toctree}}
:hidden:

{pages}
```
"""

PICTURES = """## Receptive fields and activations

[Analysis](analysis.md) has the receptive fields of VGG-16 over a photograph, and the activations of a network over its
training, both drawn by `python docs/analysis.py`.

## Speed and memory

[Performance](performance.md) is written by `make bench` from these files, all but `accuracy_mnist.json` measured by it
(that one by `python benchmarks/accuracy.py --dataset mnist --epochs 3 --name accuracy_mnist --data-dir DIR`):

{speed}

## Recipes, seeds and JPEG

What the pages of the published comparisons quote, written by `benchmarks/recipes.py`, `benchmarks/seeds.py` and
`benchmarks/jpeg.py`:

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
    return f"{origin['machine']}, {digits.version_words(origin)}, {origin['started'][:10]}"


def take_up_groups(folder: Path) -> None:
    """Copy the tables and the picture of a finished study of groups into the results."""
    if not (folder / "groups.png").exists():
        sys.exit(f"There is no groups.png in {folder}. Give the folder of a finished `tfnorm sweep groups`.")
    for name in ("table.csv", "groups.png"):
        shutil.copy(folder / name, RESULTS / "groups" / name)
    runs = pd.read_csv(folder / "runs.csv").drop(columns="record")  # a path of the machine that trained
    runs.to_csv(RESULTS / "groups" / "runs.csv", index=False)
    digits.write_origin(folder, RESULTS / "groups")


def benchmark_list(speed: bool) -> str:
    """Return a line for each file of measurements, with its date and machine: those of `make bench`, or the others."""
    lines = []
    for path in sorted(BENCHMARKS.glob("*.json")):
        if (path.stem in performance.SECTIONS) != speed:
            continue
        made = json.loads(path.read_text(encoding="utf-8"))
        places = made["settings"].get("trained") or [machine_words(made["machine"])]
        lines.append(f"- [{path.name}](../benchmarks/results/{path.name}): {made['time'][:10]}, {'; '.join(places)}")
    return "\n".join(lines)


def page() -> str:
    """Return the text of docs/results.md."""
    standard = DIGITS.format(
        table=accuracy_table(RESULTS / "digits" / "table.csv"),
        verdict=json.loads((RESULTS / "digits" / "comparison.json").read_text(encoding="utf-8"))["verdict"],
        origin=origin_words("digits"),
    )
    groups = GROUPS.format(table=accuracy_table(RESULTS / "groups" / "table.csv"), origin=origin_words("groups"))
    published = PUBLISHED.format(
        table=reproduced.table_of_all("results"), pages="\n".join(f"results/{name}" for name in reproduced.taken_up())
    )
    rest = PICTURES.format(speed=benchmark_list(True), others=benchmark_list(False))
    return "\n".join((TOP, standard, groups, published, rest))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    for folder in sys.argv[1:]:
        take_up_groups(Path(folder))
    PAGE.write_text(page(), encoding="utf-8")
