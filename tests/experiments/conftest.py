"""A sweep that several files look at."""

import pytest

# Large batches, so that an epoch is four steps, and no augmentation, whose graph takes as long again to trace.
GRID = {
    "settings": {"epochs": 1, "batch_size": 359, "augmentation": "none"},
    "grid": {"norm": ["gn:2", "bn+l1=1e-4"], "seeds": 2},
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Return the sweep, trained in one process."""
    from tfnorm import sweep

    return sweep(GRID, out=tmp_path_factory.mktemp("one"), jobs=1)
