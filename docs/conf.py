"""Sphinx configuration: pages in MyST Markdown, API pages from the docstrings."""

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

from tfnorm._version import __version__

project = "tfnorm"
version = release = __version__
copyright = "the tfnorm contributors"  # noqa: A001 - Sphinx's name
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"tfnorm {version}"
html_static_path = ["_static"]
html_css_files = ["tfnorm.css"]
html_math_renderer = "mathml"
exclude_patterns = ["_build", "results/*/remarks.md"]
autodoc_mock_imports = ["ray"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
default_role = "code"
python_maximum_signature_line_length = 100


def _inline(writer, node):
    """Write a formula in a line as MathML, which browsers show without a script and without a network."""
    writer.body.append(convert(node.astext()))
    raise SkipNode


def _block(writer, node):
    """Write a formula on a line of its own."""
    writer.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise SkipNode


def setup(app):
    """Let Sphinx write formulas as MathML."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
