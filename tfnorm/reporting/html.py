"""Pages of HTML that are one file each: templates with everything escaped, data as JSON, plotly.js inside."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import math
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from tfnorm.table import Cell

TEMPLATES = Path(__file__).with_name("templates")
# Characters that end a script element or a line of JavaScript, as JSON writes them.
UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def render(template: str, **context: Any) -> str:
    """Return the page of a file of ``templates/``. A name that is missing is an error, and all text is escaped."""
    return _environment().get_template(template).render(**context)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "no_cell": Cell(""),
        "embed": embed,
        "inline_plotly": inline_plotly,
        "include_source": lambda name: Markup((TEMPLATES / name).read_text(encoding="utf-8")),  # noqa: S704 - files of this package
    }
    return environment


def embed(value: Any) -> Markup:
    r"""Return a value as JSON that may stand in ``<script type="application/json">``.

    Numbers that are not finite become null, numpy's numbers and arrays lists and numbers, other keys strings.

    Example:
        >>> print(embed({"name": "</script>", "accuracy": float("nan")}))
        {"name":"\u003c/script\u003e","accuracy":null}
    """
    text = json.dumps(_plain(value), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for character, escaped in UNSAFE.items():
        text = text.replace(character, escaped)
    return Markup(text)  # noqa: S704 - escaped above


def _plain(value: Any) -> Any:
    """Return a value that JSON has."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"JSON has no {type(value).__name__}. Received: {value!r}.")


@functools.cache
def inline_plotly() -> Markup:
    """Return plotly.js, compressed with gzip, as base64 text: a third of its size; report.js unpacks it when needed."""
    packed = gzip.compress(get_plotlyjs().encode(), compresslevel=9, mtime=0)
    return Markup(base64.b64encode(packed).decode())  # noqa: S704 - base64 has no markup


def link(address: str) -> str | None:
    """Return an address that may stand in a link: of the web, or a path with its odd characters escaped; else None.

    Example:
        >>> link("https://wandb.ai/x"), link("a b/#1"), link("javascript:alert(1)")
        ('https://wandb.ai/x', 'a%20b/%231', 'javascript%3Aalert%281%29')
    """
    if urllib.parse.urlsplit(address).scheme in ("http", "https"):
        return address
    return urllib.parse.quote(address.replace("\\", "/"), errors="surrogateescape") or None


def rounded(values: Iterable[float]) -> list[float | None]:
    """Return numbers with five significant digits, those that are not finite as None: a page of them is smaller.

    Example:
        >>> rounded([0.123456789, float("inf")])
        [0.12346, None]
    """
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in map(float, values)]
