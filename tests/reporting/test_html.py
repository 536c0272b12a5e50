import gzip
import html
import json
import re
from base64 import b64decode

import numpy as np
import pytest
from jinja2 import UndefinedError

from tfnorm.reporting.html import TEMPLATES, embed, inline_plotly, link, render, rounded

ODD = "</script><script>alert('x')</script>&amp;\u2028\u2029<!--"


def test_embedded_data_cannot_end_its_script_and_comes_back():
    value = {ODD: [ODD, np.float64(1.5), np.arange(2), float("nan"), np.float32("inf"), None, True], 3: (1, 2)}
    text = str(embed(value))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {ODD: [ODD, 1.5, [0, 1], None, None, None, True], "3": [1, 2]}


def test_what_json_lacks_is_refused():
    with pytest.raises(TypeError, match="JSON has no set"):
        embed({"labels": {1, 2}})


def test_plotly_is_inside_whole():
    from plotly.offline import get_plotlyjs

    assert gzip.decompress(b64decode(str(inline_plotly()))).decode() == get_plotlyjs()


@pytest.mark.parametrize(
    ("address", "linked"),
    [
        ("https://wandb.ai/a/b", "https://wandb.ai/a/b"),
        ("http://localhost:6006/", "http://localhost:6006/"),
        ("gn-2/seed-0/", "gn-2/seed-0/"),
        ("../my runs/50%#1?/", "../my%20runs/50%25%231%3F/"),
        ("javascript:alert(1)", "javascript%3Aalert%281%29"),
        ("JavaScript:alert(1)", "JavaScript%3Aalert%281%29"),
        ("data:text/html,x", "data%3Atext/html%2Cx"),
        ("", None),
    ],
)
def test_links_run_no_script(address, linked):
    assert link(address) == linked


def test_numbers_are_short():
    assert rounded(np.array([0.123456789, 1e-9, np.nan, 98.76543])) == [0.12346, 1e-09, None, 98.765]


def test_a_page_escapes_and_misses_nothing():
    page = render("base.html.j2", title=ODD, subtitle=ODD, footer=ODD)
    assert ODD not in page and page.count(html.escape(ODD).replace("&#x27;", "&#39;")) == 4
    with pytest.raises(UndefinedError, match="'footer' is undefined"):
        render("base.html.j2", title="a", subtitle="b")


def test_a_page_may_load_nothing():
    page = render("base.html.j2", title="a", subtitle="b", footer="c")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none';") and "http" not in policy and "*" not in policy
    assert re.findall(r'(?:src|href)="(?!#)([^"]*)"', page) == ["data:,"]


@pytest.mark.parametrize("path", sorted(TEMPLATES.iterdir()), ids=lambda path: path.name)
def test_templates_escape_by_themselves(path):
    text = path.read_text()
    assert "|safe" not in text.replace(" ", "") and "autoescape" not in text
    if path.suffix == ".js":
        # Text of others is set as text; the pages have no HTML that is made of it.
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)
        assert "</script" not in text and "<!--" not in text
