"""What several files look at: a network that is soon trained, and a sweep."""

import pytest
from networks import SOON_OVER, tiny_registered
from once import filled_once

GRID = {"settings": SOON_OVER, "grid": {"norm": ["gn:2", "bn+l1=1e-4"], "seeds": 2}}


@pytest.fixture(scope="module")
def tiny():
    """Let runs of this process ask for the architecture "tiny"."""
    with tiny_registered():
        yield


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    """Return the sweep, trained in one process."""
    from tfnorm import sweep
    from tfnorm.experiments.sweep.grid import plan_grid
    from tfnorm.experiments.sweep.sweep import Sweep

    def fill(folder):
        assert sweep(GRID, out=folder, jobs=1).failures == {}

    return Sweep(plan_grid(GRID), filled_once(tmp_path_factory, "swept", fill))
