"""Draw the pictures of docs/plots.md from a comparison: ``python docs/plots.py [runs/mnist_7k-digits]``."""

import sys
from pathlib import Path

from tfnorm.experiments.collect import collect

FOLDER = Path(__file__).resolve().parent / "results" / "plots"


def main(runs: Path) -> None:
    """Draw the pictures of the comparison in ``runs`` that docs/results/digits does not have."""
    comparison = collect([runs])
    comparison.plot_gap(FOLDER / "gap.png")
    comparison.plot_differences(FOLDER / "differences.png")
    comparison.plot_confusion(FOLDER / "confusion.png")
    comparison.plot_overlap(FOLDER / "overlap.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/mnist_7k-digits"))
