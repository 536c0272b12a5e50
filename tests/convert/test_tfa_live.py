"""The fixtures once more, written now by tensorflow-addons in an environment of its own.

The environment is made in ``.venv-tfa`` from requirements-tfa.txt, which takes a minute or two the first time. Set
TFNORM_NO_TFA=1 to leave this test out where there is no network.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cases
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv-tfa"
REQUIREMENTS = ROOT / "requirements-tfa.txt"


def interpreter():
    """Return a Python that tensorflow-addons has a wheel for, or None."""
    if sys.version_info < (3, 12):
        return sys.executable
    return next(filter(None, map(shutil.which, ("python3.11", "python3.10"))), None)


def run(*command):
    """Run a command, and fail the test with what it printed if it fails."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        pytest.fail(
            f"{' '.join(map(str, command[1:]))} failed:\n{(done.stdout + done.stderr)[-3000:]}\n"
            "This test installs requirements-tfa.txt into .venv-tfa. Set TFNORM_NO_TFA=1 to leave it out."
        )


@pytest.fixture(scope="session")
def addons():
    """Return the Python of an environment with tensorflow-addons, which is made if there is none."""
    if os.environ.get("TFNORM_NO_TFA") == "1":
        pytest.skip("TFNORM_NO_TFA=1 is set")
    python = interpreter()
    if python is None:
        pytest.skip("tensorflow-addons needs Python 3.11 or older, and none is installed")
    stamp = ENVIRONMENT / "requirements-tfa.txt"
    with open(REQUIREMENTS) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be making it
        if not stamp.exists() or stamp.read_bytes() != REQUIREMENTS.read_bytes():
            run(python, "-m", "venv", "--clear", ENVIRONMENT)
            pip = (ENVIRONMENT / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
            run(*pip, "-r", REQUIREMENTS)
            stamp.write_bytes(REQUIREMENTS.read_bytes())
    return ENVIRONMENT / "bin" / "python"


@pytest.mark.matrix
def test_what_tensorflow_addons_writes_today(addons, tmp_path):
    fresh = tmp_path / "fresh"
    run(addons, cases.HERE / "write_fixtures.py", fresh)
    assert cases.found(fresh) == [case for case in cases.found() if "/" not in case]
    wrong = []
    for case in cases.found(fresh):
        folder = cases.unpack(case, tmp_path / case, fresh)
        kept = cases.unpack(case, tmp_path / "kept" / case)
        for file in cases.files(case, fresh):
            difference = cases.largest_difference(cases.load(folder, file), folder)
            if not difference < 1e-5:
                wrong.append(f"{case} {file}: {difference}")
        # The archives in the repository are those that the script writes.
        for letter in "xy":
            for new, old in zip(flat(cases.arrays(folder, letter)), flat(cases.arrays(kept, letter)), strict=True):
                np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-4, err_msg=case)
    assert wrong == []


def flat(values):
    """Return one array or several as a list."""
    if isinstance(values, dict):
        return list(values.values())
    return values if isinstance(values, list) else [values]
