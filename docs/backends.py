"""Write the table of docs/backends.md from docs/backends.json, which the tests write."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "tools"))
BEGIN, END = "<!-- backends: begin -->", "<!-- backends: end -->"
NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


def cell(counts):
    """Return what is said of a feature on a backend."""
    if not counts:
        return "not tested"
    if counts["failed"]:
        return f"{counts['failed']} of {counts['passed'] + counts['failed']} tests fail"
    return f"{counts['passed']} test{'' if counts['passed'] == 1 else 's'}"


def table(record):
    """Return the table, in the order of the features."""
    from features import FEATURES

    lines = [f"| | {' | '.join(NAMES.values())} |", "|---" * (len(NAMES) + 1) + "|"]
    for feature in FEATURES:
        cells = [cell(record.get(feature, {}).get(backend)) for backend in NAMES]
        lines.append(f"| {feature} | {' | '.join(cells)} |")
    return "\n".join(lines)


def written(page, record):
    """Return a page with the table of a record in it."""
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{table(record)}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    place = HERE / "backends.md"
    record = json.loads((HERE / "backends.json").read_text())
    place.write_text(written(place.read_text(), record))
