"""Tests of the built wheel beside other versions of what it needs: `make test-versions` runs them.

Each table of tests/environments/environments.toml is an environment. ``nox -s "versions(colab)"`` makes and tests one;
``-- --cut`` after it runs the part that CI has time for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
ENVIRONMENTS = tomllib.loads((ROOT / "tests/environments/environments.toml").read_text(encoding="utf-8"))
RESULTS = ROOT / ".nox" / "results"
TESTS = ["tests/layers", "tests/models", "tests/callbacks", "tests/convert", "tests/training"]
TESTS += ["tests/analysis/test_summary.py", "tests/experiments/test_collect.py", "tests/reporting/test_html.py"]
TESTS += ["tests/test_cli.py", "tests/test_keras_versions.py"]
# A step and a file of every layer, and what else is quick; the notebooks compare.
CUT = ["tests/layers/test_contract.py::test_a_training_step", "tests/layers/test_contract.py::test_save_and_load"]
CUT += ["tests/models/test_planner.py", "tests/models/test_settings.py", "tests/models/test_kerashub.py"]
CUT += ["tests/callbacks/test_batch_norm_recalibration.py", "tests/test_keras_versions.py"]
CUT_NOTEBOOKS = ["notebooks/01_quickstart.ipynb", "notebooks/06_your_network.ipynb"]
DATA = "from tfnorm.datasets import load; data = load('digits', image_size=28); x, y = data.x_train, data.y_train"
COMPARE = ["compare", "gn:2", "ln", "bn+l1=5e-4", "--epochs", "1", "--seeds", "2"]

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["versions"]
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True
nox.options.download_python = "never"

# pyenv puts the interpreters that are not its active one nowhere on the path.
pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *map(str, sorted(pyenv.glob("versions/*/bin")))])


@nox.session
@nox.parametrize(["python", "name"], [nox.param(row["python"], name, id=name) for name, row in ENVIRONMENTS.items()])
def versions(session: nox.Session, name: str) -> None:
    """Install the wheel into an environment, and run tests and a comparison there."""
    session.notify("table")
    row, cut = ENVIRONMENTS[name], "--cut" in session.posargs
    result = RESULTS / f"{name}.json"
    result.unlink(missing_ok=True)
    wheel = built_wheel(session)
    constraints = [option for file in row.get("constraints", []) for option in ("--constraint", file)]
    session.env.update(
        KERAS_BACKEND=row.get("backend", "tensorflow"),
        TF_CPP_MIN_LOG_LEVEL="2",
        PYTHONSAFEPATH="1",  # without it `python -m tfnorm` takes the tfnorm of this folder
    )
    place = Path(session.create_tmp()).resolve()
    tools = ["--requirement", "tests/environments/tools.txt", *constraints]
    ran = []
    if "present" in row:
        install_by_the_cell(session, row, place)
        ran.append("the cells for Colab")
        session.install("--no-deps", "--reinstall-package", "tfnorm", str(wheel))
        session.install(*tools)
    else:  # in one call: uv keeps no package for the sake of one that is there already
        session.install("pip", f"tfnorm[{','.join(row['extras'])}] @ {wheel.as_uri()}", *tools)
    session.run("python", "-m", "pip", "check")
    ran.append("`pip check`")
    with session.chdir(place):
        where = output(session, "import tfnorm; print(tfnorm.__file__)")
        if Path(session.virtualenv.location).resolve() not in Path(where).parents:
            session.error(f"The tests would run another tfnorm than the wheel's: {where}.")
        if not cut:
            shutil.rmtree("compared", ignore_errors=True)  # of the last time, which would be taken up
            session.run("tfnorm", *COMPARE, "--out", "compared")
            if not (place / "compared" / "report.html").is_file():
                session.error(f"The comparison wrote no report.html into {place / 'compared'}.")
            ran.append("`tfnorm compare`")
    ran.append(f"{pytest(session, place, *(CUT if cut else row.get('tests', TESTS)))} tests")
    if row.get("notebooks"):
        books = CUT_NOTEBOOKS if cut else ["notebooks"]
        ran.append(f"{pytest(session, place, '--nbmake', *books)} notebooks")
    record = {
        "python": output(session, "import platform; print(platform.python_version())"),
        "packages": packages(session),
        "ran": ran,
        "cut": cut,
        "wheel": hashlib.sha256(wheel.read_bytes()).hexdigest(),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


@nox.session(venv_backend="none", default=False)
def table(session: nox.Session) -> None:
    """Print the table of tested versions; write it into the docs once every environment has passed."""
    session.run(sys.executable, "docs/versions.py", str(RESULTS))


def built_wheel(session: nox.Session) -> Path:
    """Return the wheel that `make dist` has built."""
    wheels = list((ROOT / "dist").glob("tfnorm-*.whl"))
    if len(wheels) != 1:
        session.error(f"One wheel is needed in {ROOT / 'dist'}. Found: {len(wheels)}. Type: make dist")
    return wheels[0]


def install_by_the_cell(session: nox.Session, row: dict, place: Path) -> None:
    """Do what docs/install.md says for Colab, in an environment like it, and see that no package there changes.

    pip takes what git has committed.
    """
    lines = (ROOT / row["present"]).read_text(encoding="utf-8").splitlines()
    there = [line for line in lines if line and line[0] != "#" and line.partition("==")[0] not in row["without"]]
    session.run_install("uv", "pip", "uninstall", "--quiet", "tfnorm", external=True)
    session.install("pip", *there)
    before = packages(session)
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    install, code = re.search(r"^!pip ([^\n]*)$.*?^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL).groups()
    session.run("python", "-m", "pip", *install.replace("REPOSITORY", ROOT.as_uri()).split())
    after = packages(session)
    changed = [f"{name} {before[name]} became {after.get(name)}" for name in before if after.get(name) != before[name]]
    # filelock is in Colab, but as a part of packages that this environment is without. tomli-w needs no other package.
    if changed or set(after) - set(before) - {"filelock", "tomli_w"} != {"tfnorm"}:
        more = ", ".join(sorted(set(after) - set(before)))
        session.error(f"Installing tfnorm must change nothing else. Changed: {changed}. New: {more}.")
    with session.chdir(place):
        session.run("python", "-c", f"{DATA}\n{code}")


def pytest(session: nox.Session, place: Path, *arguments: str) -> int:
    """Run pytest and return how many tests passed."""
    report = place / "report.xml"
    workers = ["--numprocesses=auto", "--maxprocesses=4", "--dist=worksteal"]
    session.run("pytest", "--quiet", "-m", "not matrix and not tfa", *workers, f"--junit-xml={report}", *arguments)
    counts = ElementTree.parse(report).getroot()[0].attrib
    return int(counts["tests"]) - int(counts["skipped"])


def packages(session: nox.Session) -> dict[str, str]:
    """Return the installed packages with their versions."""
    listed = session.run("python", "-m", "pip", "list", "--format=json", silent=True, stderr=subprocess.DEVNULL)
    return {entry["name"]: entry["version"] for entry in json.loads(listed)}


def output(session: nox.Session, code: str) -> str:
    """Return what Python code prints."""
    return session.run("python", "-c", code, silent=True, stderr=subprocess.DEVNULL).strip()
