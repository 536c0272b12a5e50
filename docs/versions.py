"""Put the versions that `make test-versions` tested into docs/results/versions.json, docs/install.md and the README.

Usage: python docs/versions.py .nox/results
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from marks import README, with_text

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "install.md"
TESTED = DOCS / "results" / "versions.json"
ENVIRONMENTS = DOCS.parent / "tests" / "environments" / "environments.toml"
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
PACKAGES = ("keras", *BACKENDS, "numpy", "pandas", "scipy", "plotly", "pillow")


def environments() -> dict[str, dict]:
    """Return the rows of the table, with their settings."""
    return tomllib.loads(ENVIRONMENTS.read_text(encoding="utf-8"))


def results(folder: Path) -> dict[str, dict]:
    """Return the records of the environments that passed."""
    found = {name: folder / f"{name}.json" for name in environments()}
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in found.items() if file.exists()}


def rows(records: dict[str, dict]) -> list[list[str]]:
    """Return the table of tested versions: its heading, and a row an environment."""
    shown = [["environment", "Python", "Keras", "backend", "NumPy", "pandas", "Plotly", "what ran", "result"]]
    for name, settings in environments().items():
        if name not in records:
            shown.append([f"`{name}`", settings["python"], *[""] * 6, "not passed"])
            continue
        record = records[name]
        have = record["packages"]
        backend = settings.get("backend", "tensorflow")
        ran = ", ".join(record["ran"]) + (" (a cut)" if record["cut"] else "")
        shown.append(
            [f"`{name}`", record["python"], have["keras"], f"{BACKENDS[backend]} {have[backend]}"]
            + [have["numpy"], have["pandas"], have["plotly"], ran, "passed"]
        )
    return shown


def page_table(records: dict[str, dict]) -> str:
    """Return the table of docs/install.md, and what its environments are."""
    head, *body = rows(records)
    lines = [head, ["---"] * len(head), *body]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    titles = "\n".join(f"- `{name}`: {settings['title']}." for name, settings in environments().items())
    return f"{table}\n\n{titles}"


def readme_sentence(records: dict[str, dict]) -> str:
    """Return the sentence of the README that names the tested versions."""

    def versions(name: str) -> str:
        found = {record["packages"][name] for record in records.values() if name in record["packages"]}
        ordered = sorted(found, key=lambda version: [int(part) for part in version.split(".") if part.isdigit()])
        return " and ".join(filter(None, (", ".join(ordered[:-1]), ordered[-1])))

    pythons = sorted({settings["python"] for settings in environments().values()}, key=lambda text: int(text[2:]))
    return (
        f"Tested with Python {' and '.join((', '.join(pythons[:-1]), pythons[-1]))}, Keras {versions('keras')}, "
        f"and TensorFlow {versions('tensorflow')}. Colab's versions are among them: [what ran "
        "where](docs/install.md#tested-versions)."
    )


def write(records: dict[str, dict]) -> None:
    """Write the records into the docs, and what follows from them between the marks of README and docs/install.md."""
    kept = {
        name: {
            "python": record["python"],
            "packages": {key: record["packages"][key] for key in PACKAGES if key in record["packages"]},
            "ran": record["ran"],
            "cut": record["cut"],
        }
        for name, record in records.items()
    }
    TESTED.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    README.write_text(with_text("versions", readme_sentence(kept)), encoding="utf-8")
    PAGE.write_text(with_text("versions", page_table(kept), PAGE), encoding="utf-8")


def main(folder: Path) -> None:
    """Print the table; write it into the docs if every environment passed all of its tests with the same wheel."""
    records = results(folder)
    table = rows(records)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    wheels = {record["wheel"] for record in records.values()}
    if len(records) == len(environments()) and len(wheels) == 1 and not any(r["cut"] for r in records.values()):
        write(records)
        print(f"Written to {TESTED.relative_to(DOCS.parent)}, {PAGE.relative_to(DOCS.parent)} and README.md.")
    else:
        print("The docs keep their table: it is written when every environment has passed all of its tests.")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
