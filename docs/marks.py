"""What scripts write between two marks of the README or of a page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def with_text(name: str, text: str, page: Path = README) -> str:
    """Return the whole page with ``text`` between the marks ``name: begin`` and ``name: end``."""
    return between(name, text, page.read_text(encoding="utf-8"))


def between(name: str, text: str, page: str) -> str:
    """Return the text of a page with ``text`` between the marks ``name: begin`` and ``name: end``."""
    marked = re.compile(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", re.DOTALL)
    return marked.sub(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", page)


def with_texts(texts: Mapping[str, str], page: Path) -> str:
    """Return the whole page with each of ``texts`` between the marks of its name."""
    whole = page.read_text(encoding="utf-8")
    for name, text in texts.items():
        whole = between(name, text, whole)
    return whole
