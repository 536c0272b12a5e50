"""Write the table of docs/backends.md from docs/backends.json, which the tests write."""

import json
import sys
from pathlib import Path

from marks import with_text

HERE = Path(__file__).parent
PAGE = HERE / "backends.md"
sys.path.insert(0, str(HERE.parent / "tests" / "tools"))
NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


def cell(counts):
    """Return what is said of a feature on a backend."""
    passed, failed, alone = (counts.get(outcome, 0) for outcome in ("passed", "failed", "tensorflow only"))
    if failed:
        return f"{failed} of {passed + failed} tests fail"
    if counts.get("refused"):
        return "refused"
    if passed:
        return f"{passed} test{'' if passed == 1 else 's'}" + (f", {alone} TensorFlow's alone" if alone else "")
    return "TensorFlow's alone" if alone else "not tested"


def table(record):
    """Return the table, in the order of the features."""
    from features import FEATURES

    lines = [f"| | {' | '.join(NAMES.values())} |", "|---" * (len(NAMES) + 1) + "|"]
    for feature in FEATURES:
        cells = [cell(record.get(backend, {}).get(feature, {})) for backend in NAMES]
        lines.append(f"| {feature} | {' | '.join(cells)} |")
    return "\n".join(lines)


def written():
    """Return the page with the table of the record in it."""
    return with_text("backends", table(json.loads((HERE / "backends.json").read_text())), PAGE)


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
