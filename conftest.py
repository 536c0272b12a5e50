"""What the examples in docstrings may use without saying so."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest


@pytest.fixture(autouse=True)
def _names_of_examples(request, tmp_path):
    """Give the examples in docstrings ``np``, ``tfnorm`` and an empty ``folder``."""
    if isinstance(request.node, pytest.DoctestItem):
        import numpy as np

        import tfnorm

        request.getfixturevalue("doctest_namespace").update(np=np, tfnorm=tfnorm, folder=tmp_path)
