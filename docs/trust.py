"""Write the tables of docs/trust.md from benchmarks/results/decisions.json, which `benchmarks/decisions.py` wrote.

Usage: python docs/trust.py
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from marks import with_texts
from performance_cells import Record, table

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "trust.md"
RECORD = DOCS.parent / "benchmarks" / "results" / "decisions.json"

METHODS = {
    "tfnorm": "**tfnorm**",
    "paired t": "paired t test and two one-sided tests",
    "bootstrap": "stratified bootstrap (rliable)",
    "improvement": "probability of improvement (rliable)",
    "aso": "almost stochastic order (deep-significance)",
    "friedman": "Friedman's test (irace)",
    "rope": "Bayesian t test with a margin (baycomp)",
}
# Rows that the methods of others are shown on, with short names.
SHOWN = {
    "all equal": "equal",
    "one worse by the margin": "worse by 0.5",
    "one worse by 0.6": "worse by 0.6",
    "one worse by 1.0": "worse by 1.0",
    "spreads 0.1, 0.2 and 0.6: equal": "unequal spreads: equal",
    "spreads 0.1, 0.2 and 0.6: one worse by the margin": "unequal spreads: worse by 0.5",
}


def results() -> Record:
    """Return what the benchmark wrote."""
    return json.loads(RECORD.read_text(encoding="utf-8"))


def characteristic(rows: Iterable[Record]) -> str:
    """Return a table of how often the race decides, with how many runs, and how often it is wrong."""
    cells = (
        [
            row["row"],
            f"{row['decided']:.1f} %",
            f"{row['runs']:.1f} of {20 * row['specs']}",
            f"{row['wrong_percent']:.1f} %",
        ]
        for row in rows
    )
    return "\n".join(table(["the truth", "pairs decided", "runs", "comparisons with anything wrong"], cells)).rstrip()


def field(record: Record) -> str:
    """Return a table of the methods of others, in each cell what is wrong, and the runs and what is decided."""
    found = {(row["method"], row["seeds"], row["row"]): row for row in record["rows"]}

    def cell(row: Record) -> str:
        wrong = f"{row['wrong_percent']:.1f} %"
        wrong = f"**{wrong}**" if row["wrong_at_least"] > 5 else wrong
        return f"{wrong} ({row['runs']:.0f} runs, {row['decided']:.0f} %)"

    lines = []
    for method, seeds in dict.fromkeys((row["method"], row["seeds"]) for row in record["rows"]):
        asked = f"after {seeds} seeds" if seeds else "after every seed"
        lines.append([f"{METHODS[method]}, {asked}", *(cell(found[method, seeds, name]) for name in SHOWN)])
    return "\n".join(table(["", *SHOWN.values()], lines)).rstrip()


def page() -> str:
    """Return the whole page, with its tables."""
    record = results()
    own = [row for row in record["rows"] if row["method"] == "tfnorm"]
    groups = {name: [row for row in own if row["group"] == name] for name in ("target", "valid", "broken")}
    tables = {**{name: characteristic(rows) for name, rows in groups.items()}, "field": field(record)}
    return with_texts(tables, PAGE)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Wrote {PAGE.name}.")
