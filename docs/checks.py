"""Write the tables of docs/checks.md from benchmarks/results/checks.json, which `benchmarks/checks.py` wrote.

Usage: python docs/checks.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent))

from marks import with_texts
from performance_cells import Record, origin, table

from tfnorm.checks.registry import RULES
from tfnorm.text import signed

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "checks.md"
RECORD = DOCS.parent / "benchmarks" / "results" / "checks.json"


def results() -> Record:
    """Return what the benchmark wrote."""
    return json.loads(RECORD.read_text(encoding="utf-8"))


def cost(row: Record) -> tuple[float, float]:
    """Return by how many points a flaw lowers the accuracy, and the half width of the 95 % interval, paired by seed."""
    lost = np.subtract(row["mended"], row["flawed"])
    half = stats.t.ppf(0.975, len(lost) - 1) * np.std(lost, ddof=1) / np.sqrt(len(lost))
    return float(np.mean(lost)), float(half)


def costs(row: Record) -> bool:
    """Return whether the interval of what a flaw costs has no zero in it."""
    lost, half = cost(row)
    return lost > half


def measured(rows: list[Record]) -> str:
    """Return a table of what flaws cost."""
    cells = []
    for row in rows:
        lost, half = cost(row)
        reached = [f"{np.mean(row[key]):.1f} %" for key in ("flawed", "mended")]
        points = f"{signed(lost, 1).lstrip('+')} ± {half:.1f}"
        cells.append([f"`{row['rule']}`", row["flaw"], row["remedy"], *reached, points])
    titles = ["rule", "flaw", "in place of it", "accuracy with it", "without", "points lost"]
    return "\n".join(table(titles, cells, 3)).rstrip()


def unmeasured(rows: list[Record]) -> set[str]:
    """Return the warnings that no experiment is there for."""
    return {name for name, rule in RULES.items() if rule.severity == "warning"} - {row["rule"] for row in rows}


def listed() -> str:
    """Return a table of all rules."""
    cells = []
    for name, rule in RULES.items():
        paper = f"[{rule.paper}](https://arxiv.org/abs/{rule.paper})" if rule.paper else ""
        cells.append([f"[`{name}`](#{name})", rule.severity, rule.title, "data" if rule.needs == "data" else "", paper])
    return "\n".join(table(["rule", "", "what it finds", "needs", "arXiv"], cells, 5)).rstrip()


def page() -> str:
    """Return the whole page, with its tables."""
    record = results()
    order = {name: number for number, name in enumerate(RULES)}
    rows = sorted(record["rows"], key=lambda row: order[row["rule"]])
    tables = {
        "rules": listed(),
        "measured": measured([row for row in rows if costs(row)]),
        "notes": measured([row for row in rows if not costs(row)]),
        "origin": "\n".join(origin(record)).strip(),
    }
    if missing := [f"`{name}`" for name in RULES if name in unmeasured(rows)]:
        tables["measured"] += f"\n\nNot measured yet: {', '.join(missing)}."
    return with_texts(tables, PAGE)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Wrote {PAGE.name}.")
