"""Settings that must be made before Keras is imported, and fixtures that several folders share."""

import functools
import os
import subprocess
import sys

import pytest
from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ["MPLBACKEND"] = "Agg"

# The same examples at every run, so that a change is judged by what it changed; the profile "explore" draws new ones.
settings.register_profile("repeatable", derandomize=True, database=None)
settings.register_profile("explore", print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture
def seeded():
    """Seed Python, NumPy and the backend, and return a generator of random numbers."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    return np.random.default_rng(0)


@functools.cache
def _build(arch, norm, **arguments):
    from tfnorm import build

    return build(arch, norm=norm, seed=1, **arguments)


@pytest.fixture(scope="session")
def built():
    """Return a function (architecture, spec) -> model that builds each once; do not train or change its models."""
    return _build


@pytest.fixture(scope="session")
def run_python():
    """Return a function that runs code in a fresh interpreter and returns what it printed."""

    def run(code, *arguments):
        done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
