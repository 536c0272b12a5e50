"""Put the results of `make compare` into docs/results/digits and into the README.

Usage: python docs/digits.py runs/mnist_7k-digits
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pandas as pd

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS / "results" / "digits"
README = DOCS.parent / "README.md"
PICTURES = ("accuracy.png", "loss.png", "misclassified-gn-2.png")


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
    versions = ", ".join(f"{name} {origin['versions'][name]}" for name in ("python", "tensorflow", "keras"))
    lines += [
        "",
        f"Mean ± standard deviation over {table['seeds'].iloc[0]} seeds, 20 epochs, network `mnist_7k`, 1,347 training "
        f"and 450 test images; written by `make compare` on {origin['machine']} ({versions}). Its verdict:",
        "",
        f"> {json.loads((RESULTS / 'comparison.json').read_text())['verdict']}",
    ]
    return "\n".join(lines)


def main(folder: Path) -> None:
    """Copy the results of ``folder`` and rewrite the README between its marks."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in ("table.csv", "comparison.json", *PICTURES):
        shutil.copy(folder / name, RESULTS / name)
    config = json.loads(next(folder.glob("*/seed-0/config.json")).read_text())
    machine = f"{config['machine']['cores']} cores of {config['machine']['processor']}"
    origin = {"versions": config["versions"], "machine": machine, "started": config["started"]}
    (RESULTS / "origin.json").write_text(json.dumps(origin, indent=2) + "\n")
    text = README.read_text()
    marked = re.compile(r"(<!-- digits: begin -->\n).*?(<!-- digits: end -->)", re.DOTALL)
    README.write_text(marked.sub(lambda match: f"{match[1]}\n{readme_table()}\n\n{match[2]}", text))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
