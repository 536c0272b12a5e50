"""Fixtures of the tests of conversions."""

import cases
import pytest
from backends import BACKEND


@pytest.fixture
def unpacked(tmp_path):
    """Return a function that unpacks a case."""
    return lambda case: cases.unpack(case, tmp_path / case)


@pytest.fixture
def not_compiled(monkeypatch):
    """Have norms computed by their formulas: compiling one for each shape takes longer than all the rest."""
    if BACKEND == "tensorflow":
        import tfnorm.ops.tensorflow as fast

        monkeypatch.setattr(fast, "compiles", lambda: False)
