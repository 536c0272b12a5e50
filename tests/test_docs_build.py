"""The documentation is built as `make docs` builds it, and names everything that is public."""

import os
import subprocess
import sys
import zlib
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("", ".analysis", ".callbacks", ".checks", ".convert", ".datasets", ".layers", ".regularizers", ".reporting")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the folder with the pages; warnings are errors."""
    folder = tmp_path_factory.mktemp("html")
    makefile = (ROOT / "Makefile").read_text()
    assert "-m sphinx -W --keep-going -b html docs " in makefile
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", str(folder)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def described(folder):
    """Return the Python names that the pages describe, from the inventory that Sphinx writes for other projects."""
    content = (folder / "objects.inv").read_bytes().split(b"\n", 4)[4]
    lines = zlib.decompress(content).decode().splitlines()
    return {line.split(" ", 1)[0] for line in lines if " py:" in line}


def public_names():
    """Yield each public name with its package."""
    for package in PACKAGES:
        for name in import_module(f"tfnorm{package}").__all__:
            yield f"tfnorm{package}.{name}"


def test_every_public_name_is_described(built):
    packages = {f"tfnorm{package}" for package in PACKAGES} - {"tfnorm", "tfnorm.reporting"}
    assert set(public_names()) - described(built) == packages | {"tfnorm.__version__"}


def test_pages_need_no_network(built):
    pages = sorted(built.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for start in ('src="http', 'src="//', '<link rel="stylesheet" type="text/css" href="http'):
            assert start not in text, page.name


def test_formulas_are_mathml(built):
    page = (built / "norms.html").read_text(encoding="utf-8")
    assert page.count('<div class="formula"><math') >= 8
    assert "$$" not in page and "\\frac" not in page
