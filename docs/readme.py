"""The tables of the README and of pages that scripts write between two marks."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def with_table(name: str, table: str, page: Path = README) -> str:
    """Return the text of a page with a table between the marks ``name: begin`` and ``name: end``."""
    marked = re.compile(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", re.DOTALL)
    return marked.sub(lambda match: f"{match[1]}\n{table}\n\n{match[2]}", page.read_text(encoding="utf-8"))
