"""Trains a sweep of 24 runs in one process, in two, and on a Ray cluster, and compares them bit by bit.

Run ``python tests/experiments/identical.py``; the tests beside it do the same with less to train.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tfnorm import sweep
from tfnorm.training.runs import outcome

GRID = {
    "settings": {"epochs": 2, "batch_size": 256, "augmentation": "none"},
    "grid": {"norm": ["bn", "gn:2", "ln", "in"], "l1": [0, 1e-4], "seeds": 3},
}
WAYS = {"one": {"jobs": 1}, "two": {"jobs": 2}, "ray": {"engine": "ray", "address": "local"}}


def main() -> None:
    """Print what differs; exit 1 if anything does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder that keeps the runs; default: none is kept")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = chosen.out or Path(temporary)
        done = {}
        for name, options in WAYS.items():
            done[name] = sweep(GRID, out=out / name, **options)
            print(f"{name}: {len(done[name].runs)} runs, {len(done[name].failures)} failed", flush=True)
        differing = 0
        first = done["one"]
        clocks = ["seconds", "images_per_second"]
        for name in ("two", "ray"):
            alike = [outcome(first.path / r.folder) == outcome(out / name / r.folder) for r in first.planned]
            tables = first.table.drop(columns=clocks).equals(done[name].table.drop(columns=clocks))
            print(f"one and {name}: {sum(alike)} of {len(alike)} runs bit-identical, tables equal: {tables}")
            differing += len(alike) - sum(alike) + (not tables)
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
