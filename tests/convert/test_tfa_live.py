"""The fixtures once more, written now by tensorflow-addons in the environment that `make test-tfa` installs."""

import subprocess
from pathlib import Path

import cases
import numpy as np
import pytest

PYTHON = Path(__file__).resolve().parents[2] / ".venv-tfa" / "bin" / "python"


@pytest.mark.tfa
def test_what_tensorflow_addons_writes_today(tmp_path):
    fresh = tmp_path / "fresh"
    command = [PYTHON, cases.HERE / "write_fixtures.py", fresh]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
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
