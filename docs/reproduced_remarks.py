"""What the remarks on reproductions may quote of files, for docs/reproduced.py."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS / "results"
BENCHMARKS = DOCS.parent / "benchmarks" / "results"
NOW = ("reproduced.json", "comparison.json")


def taken_up() -> dict[str, dict]:
    """Return name to content of every reproduction in the results."""
    files = sorted(RESULTS.glob("*/reproduced.json"))
    return {file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


def number(value: float | None, digits: int = 2) -> str:
    """Return a number of a table, or a dash for none."""
    return "—" if value is None else f"{value:,.{digits}f}"


def by_norm(content: dict) -> dict[str, dict]:
    """Return norm, without penalties, to that of its rows which was published with the highest accuracy."""
    rows: dict[str, dict] = {}
    for asked, row in zip(content["preset"]["row"], content["table"], strict=True):
        norm = asked["norm"].split("+")[0]
        if norm not in rows or (row["published"] or 0) > (rows[norm]["published"] or 0):
            rows[norm] = row
    return rows


def measured(name: str) -> dict[str, dict[str | int, str]]:
    """Return what the remarks about a reproduction may quote of benchmarks.

    ``seeds``: library to mean and standard deviation over many seeds, library and norm to those of another row, and
    ``number`` to how many; ``jpeg``: JPEG
    quality, or ``given``, to accuracy; ``psnr``: quality to how far its images are from the given ones, in dB;
    ``halved``: accuracy on images of half the side, ``given``, compressed ``once`` and ``twice``; ``cost``: points that
    the ``first`` and the ``second`` compression of these cost and one ``more`` of the whole images, and what the first
    one of the whole images would, ``estimated`` in proportion; ``gain``, of a better recipe: norm to points more than
    under the published one; ``small``, of C: norm to accuracy with depthwise kernels that began as small as Keras's;
    ``before``, of A+ and D+: norm to accuracy without statistics estimated again; ``tried``, of A and D: augmentation
    to norm, and ``all``, to accuracy on held-out images.
    """
    seeds, jpeg, halved = (_benchmark(name) for name in (f"seeds_{name}", "jpeg", "jpeg_halved"))
    mean = {(row["quality"], row["times"]): row["mean"] for row in halved["rows"]}
    given, once, twice = mean[None, 0], mean[75, 1], mean[75, 2]
    whole = {row["quality"]: row["mean"] for row in jpeg["rows"]}
    cost = {"first": given - once, "second": once - twice, "more": whole[None] - whole[75]}
    cost["estimated"] = cost["more"] * cost["first"] / cost["second"]
    before = earlier(name)
    of_seeds = {row["library"]: f"{row['mean']:.2f} ± {row['std']:.2f}" for row in seeds["rows"]}
    for file in sorted(BENCHMARKS.glob(f"seeds_{name}_*.json")):
        for row in _benchmark(file.stem)["rows"]:
            of_seeds[f"{row['library']} {row['norm']}"] = f"{row['mean']:.2f} ± {row['std']:.2f}"
    return {
        "seeds": {**of_seeds, "number": str(seeds["settings"].get("seeds", ""))},
        "jpeg": {row["quality"] or "given": f"{row['mean']:.2f}" for row in jpeg["rows"]},
        "psnr": {row["quality"]: f"{row['psnr_db']:.1f}" for row in jpeg["rows"] if row["quality"]},
        "halved": {"given": f"{given:.2f}", "once": f"{once:.2f}", "twice": f"{twice:.2f}"},
        "cost": {name: f"{points:.{0 if name == 'estimated' else 1}f}" for name, points in cost.items()},
        "small": _accuracies(before.get("small_depthwise_kernels.json", {})),
        "before": _accuracies(before.get("without_recalibration.json", {})),
        "tried": _tried(name[0]),
        "gain": {norm: f"{points:.1f}" for norm, points in _gains(name).items()},
    }


def _gains(name: str) -> dict[str, float]:
    found = taken_up()
    if not name.endswith("+") or name[:-1] not in found:
        return {}
    better, published = (by_norm(found[each]) for each in (name, name[:-1]))
    return {norm: row["measured"] - published[norm]["measured"] for norm, row in better.items() if norm in published}


def _tried(system: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, float]] = {}
    for row in _benchmark(f"recipes_{system}_seeds")["rows"]:
        found.setdefault(row["change"]["augmentation"], {})[row["norm"]] = row["mean"]
    return {
        name: {norm: number(mean) for norm, mean in {**means, "all": statistics.mean(means.values())}.items()}
        for name, means in found.items()
    }


def earlier(name: str) -> dict[str, dict]:
    """Return file to content of what rows were before they were trained otherwise: comparisons with their origins."""
    files = sorted({*(RESULTS / name).glob("*.json")} - {RESULTS / name / now for now in NOW})
    return {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


def _accuracies(content: dict) -> dict[str, str]:
    return {row["spec"].split("+")[0]: number(row["last_accuracy"]) for row in content.get("table", [])}


def _benchmark(name: str) -> dict:
    path = BENCHMARKS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": [], "settings": {}}
