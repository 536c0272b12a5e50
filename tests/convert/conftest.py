"""Fixtures of the tests of conversions."""

import cases
import pytest
from backends import BACKEND
from features import REFUSED


def pytest_collection_modifyitems(items):
    """Leave out what `load_tfa_model` refuses on PyTorch, but for the test that it does."""
    for item in items if BACKEND == "torch" else ():
        if item.path.match("convert/test_tfa*.py") and item.name != "test_pytorch_is_refused":
            item.add_marker(pytest.mark.skip(reason=REFUSED))


@pytest.fixture
def unpacked(tmp_path):
    """Return a function that unpacks a case."""
    return lambda case: cases.unpack(case, tmp_path / case)


@pytest.fixture
def not_compiled(monkeypatch):
    """Have norms computed by their formulas: compiling one for each shape takes longer than all the rest."""
    if BACKEND == "tensorflow":
        import tfnorm.ops.tensorflow.norms as fast

        monkeypatch.setattr(fast, "compiles", lambda: False)
