"""What is installed with tfnorm: the ranges that it asks for, its wheel and its source archive."""

import email
import importlib
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tfnorm import __version__
from tfnorm.keras_settings import OLDEST

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BASE = {requirement.name: requirement for requirement in map(Requirement, PROJECT["dependencies"])}
EXTRAS = {extra: [Requirement(text) for text in texts] for extra, texts in PROJECT["optional-dependencies"].items()}
ENVIRONMENTS = tomllib.loads((ROOT / "tests/environments/environments.toml").read_text())


def pinned(file):
    """Return the exact versions in a file, by the names in lower case."""
    requirements = [Requirement(line) for line in (ROOT / file).read_text().splitlines() if line[:1] not in ("#", "")]
    assert all(str(requirement.specifier).startswith("==") for requirement in requirements), file
    return {requirement.name.lower(): str(requirement.specifier)[2:] for requirement in requirements}


# Ranges.


def test_no_backend_is_installed_unless_it_is_asked_for():
    assert not {"tensorflow", "tensorflow-cpu", "jax", "torch"} & set(BASE)
    (tensorflow,), (gpu,) = EXTRAS["tensorflow"], EXTRAS["gpu"]
    assert tensorflow.specifier == gpu.specifier and gpu.extras == {"and-cuda"}


def test_the_oldest_environment_has_the_lower_bounds():
    bounds = {name: requirement.specifier for name, requirement in BASE.items()}
    bounds["tensorflow"] = EXTRAS["tensorflow"][0].specifier
    oldest = pinned("tests/environments/oldest.txt")
    assert set(oldest) == set(bounds)
    for name, specifier in bounds.items():
        (bound,) = specifier
        assert bound.operator == ">=" and Version(bound.version) == Version(oldest[name]), name


def test_what_is_checked_at_run_time_is_what_is_asked_for():
    asked = {"keras": BASE["keras"].specifier, "tensorflow": EXTRAS["tensorflow"][0].specifier}
    assert asked == {name: SpecifierSet(f">={'.'.join(map(str, oldest))}") for name, oldest in OLDEST.items()}


@pytest.mark.parametrize("file", ["requirements.txt", "tests/environments/colab.txt"])
def test_exact_versions_lie_in_the_ranges(file):
    versions = pinned(file)
    for requirement in [*BASE.values(), *EXTRAS["tensorflow"]]:
        if file.endswith("colab.txt") and requirement.name in ("filelock", "tomli-w"):  # not in its list
            continue
        assert requirement.specifier.contains(versions[requirement.name]), requirement
    if file == "requirements.txt":
        assert set(versions) == {*BASE, "tensorflow"}


# Environments.


def test_environments_have_every_python_that_is_said_to_be_supported():
    minors = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)}
    assert {row["python"] for row in ENVIRONMENTS.values()} == minors
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert {f"3.{minor}" for minor in range(30) if f"3.{minor}.0" in allowed} == minors


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_can_be_made(name):
    row = ENVIRONMENTS[name]
    for file in [*row.get("constraints", []), *filter(None, [row.get("present")])]:
        assert pinned(file)
    assert set(row.get("extras", [])) <= set(EXTRAS)
    assert ("present" in row) != bool({"tensorflow", "jax", "torch"} & set(row.get("extras", []))), "one backend"
    assert set(row.get("without", [])) <= set(pinned(row["present"]) if "present" in row else [])


# The table of tested versions.


@pytest.fixture
def versions(monkeypatch):
    """Return docs/versions.py."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("versions")


@pytest.fixture
def copied(versions, tmp_path, monkeypatch):
    """Return docs/versions.py, which writes into copies."""
    for name in ("README", "PAGE", "TESTED"):
        copy = tmp_path / getattr(versions, name).name
        copy.write_bytes(getattr(versions, name).read_bytes())
        monkeypatch.setattr(versions, name, copy)
    monkeypatch.setattr(versions, "DOCS", tmp_path / "docs")
    (tmp_path / "results").mkdir()
    return versions


def write_result(folder, name, **others):
    """Write the record of an environment that passed."""
    row = ENVIRONMENTS[name]
    packages = {name: "1.2.3" for name in ("keras", "tensorflow", "numpy", "pandas", "plotly")}
    packages |= {row.get("backend", "tensorflow"): "4.5.6"}
    record = {"python": f"{row['python']}.9", "packages": packages, "ran": ["7 tests"], "cut": False, "wheel": "w"}
    (folder / f"{name}.json").write_text(json.dumps({**record, **others}))


def test_pages_name_the_versions_that_were_tested(versions):
    records = json.loads(versions.TESTED.read_text())
    assert list(records) == list(ENVIRONMENTS), "run `make test-versions`"
    for name, record in records.items():
        row = ENVIRONMENTS[name]
        assert record["python"].startswith(f"{row['python']}.") and not record["cut"]
        for file in row.get("constraints", []):
            there = {package: version for package, version in pinned(file).items() if package in record["packages"]}
            assert there and there.items() <= record["packages"].items(), f"test {name} again"
    assert f"\n{versions.readme_sentence(records)}\n" in versions.README.read_text()
    assert f"\n{versions.page_table(records)}\n" in versions.PAGE.read_text()


def test_the_table_is_written_once_every_environment_has_passed(copied, tmp_path, capsys):
    before = copied.README.read_text(), copied.PAGE.read_text(), copied.TESTED.read_text()
    first, *others = ENVIRONMENTS
    for name in others:
        write_result(tmp_path / "results", name)
    copied.main(tmp_path / "results")
    out = capsys.readouterr().out
    assert re.search(rf"`{first}` .* not passed", out) and out.count("7 tests") == len(others)
    for wrong in ({"cut": True}, {"wheel": "another"}):
        write_result(tmp_path / "results", first, **wrong)
        copied.main(tmp_path / "results")
    assert before == (copied.README.read_text(), copied.PAGE.read_text(), copied.TESTED.read_text())
    write_result(tmp_path / "results", first)
    copied.main(tmp_path / "results")
    assert capsys.readouterr().out.count("README.md") == 1
    records = json.loads(copied.TESTED.read_text())
    assert {record["packages"]["keras"] for record in records.values()} == {"1.2.3"}
    assert "Keras 1.2.3" in copied.README.read_text() and "| 1.2.3 | TensorFlow 4.5.6 |" in copied.PAGE.read_text()


# Wheel and source archive.


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Return the names of the files in the wheel and in the source archive, and the wheel's metadata."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as opened:
        inside = set(opened.namelist())
        (metadata,) = [opened.read(name).decode() for name in inside if name.endswith("dist-info/METADATA")]
    with tarfile.open(source) as opened:
        below = {name.partition("/")[2] for name in opened.getnames()}
    return inside, below, email.message_from_string(metadata)


def test_every_file_of_the_package_is_in_both_archives(archives):
    wheel, source, _ = archives
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tfnorm").rglob("*") if path.is_file()}
    package = {name for name in package if "__pycache__" not in name}
    assert {"tfnorm/reporting/templates/report.js", "tfnorm/experiments/published/comparisons/A+.toml"} <= package
    assert "tfnorm/experiments/sweep/studies/groups.toml" in package
    assert {name for name in wheel if name.startswith("tfnorm/")} == package
    assert package <= source and {"pyproject.toml", "README.md", "LICENSE", "tests/test_packaging.py"} <= source


def test_nothing_that_was_made_is_in_the_source_archive(archives):
    _, source, _ = archives
    made = re.compile(r"^(\.venv|\.nox|dist|build|runs|docs/_build)(/|$)|__pycache__|\.egg-info")
    assert not [name for name in source if made.search(name)]


def test_the_metadata_is_complete(archives):
    metadata = archives[2]
    assert metadata["Version"] == __version__
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    assert metadata["Summary"] and metadata["Keywords"] and metadata.get_all("Classifier")
    assert metadata["Description-Content-Type"] == "text/markdown"
    asked = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
    assert {str(requirement) for requirement in asked if requirement.marker is None} == set(map(str, BASE.values()))


def test_the_description_has_no_link_that_leads_nowhere_on_pypi(archives):
    description = archives[2].get_payload()
    assert description.lstrip().startswith("# tfnorm\n")
    links = re.findall(r"\]\(([^)]*)\)", description)
    links += re.findall(r"^\[[^\]]*\]: (.*)$", description, re.MULTILINE)
    assert links and not [link for link in links if not link.startswith("https://")]
    assert "Installation covers GPUs" in description.replace("\n", " ")  # the words of a link stay


@pytest.mark.parametrize("file", ["noxfile.py", "Makefile"])
def test_paths_of_tests_are_there(file):
    text = (ROOT / file).read_text()
    paths = re.findall(r"\b(?:tests|notebooks)/[\w/]+\.(?:py|ipynb|toml|txt)\b", text)
    paths += [f"tests/{name}" for group in re.findall(r"addprefix tests/,([\w ]+)\)", text) for name in group.split()]
    assert paths and [path for path in paths if not (ROOT / path).exists()] == []
