import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "README.md" and blocks(page)], ids=str)
def test_python_blocks_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(page):
        exec(compile(block, str(page), "exec"), names)  # noqa: S102 - our own pages


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    missing = [t for t in targets if not t.startswith("http") and not (page.parent / t).exists()]
    assert not missing


def test_readme_table_is_that_of_the_results():
    place = importlib.util.spec_from_file_location("digits", ROOT / "docs" / "digits.py")
    digits = importlib.util.module_from_spec(place)
    place.loader.exec_module(digits)
    assert digits.readme_table() in (ROOT / "README.md").read_text()


def test_pictures_of_the_readme_are_small():
    pictures = [p for p in (ROOT / "docs").rglob("*") if p.suffix in (".png", ".svg", ".jpg")]
    assert pictures
    assert not [p.name for p in pictures if p.stat().st_size > 300_000]
