"""One process at a time on a run's folder."""

import json
import os
import signal
import subprocess
import sys

import pytest
from facts import says

from tfnorm.errors import RunError
from tfnorm.training.lock import run_lock

HOLDER = """
import sys, time
from tfnorm.training.lock import run_lock
with run_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Return another process that holds the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_by_name_and_pid_until_the_first_is_killed(holder, tmp_path):
    with pytest.raises(RunError) as refused, run_lock(tmp_path):
        pass
    host = os.uname().nodename
    says(refused, tmp_path, "'-c'", f"pid {holder.pid} on {host}", "another output folder")
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with run_lock(tmp_path):
        assert json.loads((tmp_path / ".holder.json").read_text())["pid"] == os.getpid()


def test_a_lock_can_be_taken_again_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), run_lock(tmp_path / "new"):
            raise ZeroDivisionError
    with run_lock(tmp_path / "new"), pytest.raises(RunError, match=f"pid {os.getpid()} on"), run_lock(tmp_path / "new"):
        pass


def test_files_that_a_killed_process_left_are_no_obstacle(tmp_path):
    (tmp_path / ".lock").write_text("{")
    (tmp_path / ".holder.json").write_text("{")
    with run_lock(tmp_path):
        assert json.loads((tmp_path / ".holder.json").read_text())["pid"] == os.getpid()
