"""Sphinx configuration: pages in MyST Markdown, API pages from the docstrings."""

from tfnorm._version import __version__

project = "tfnorm"
version = release = __version__
copyright = "the tfnorm contributors"  # noqa: A001 - Sphinx's name
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
html_theme = "furo"
html_title = f"tfnorm {version}"
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_mock_imports: list[str] = []
default_role = "code"
