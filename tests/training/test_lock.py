"""One process at a time on a run's folder."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tfnorm.errors import RunError
from tfnorm.training.lock import RunLock

HOLDER = """
import sys, time
from tfnorm.training.lock import RunLock
with RunLock(sys.argv[1]):
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
    with pytest.raises(RunError) as refused, RunLock(tmp_path):
        pass
    host = os.uname().nodename
    assert str(refused.value) == (
        f"The run in {tmp_path} is being trained by '-c' (pid {holder.pid} on {host}). "
        "Wait until it ends, or stop it, or choose another output folder."
    )
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with RunLock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()


def test_a_lock_can_be_taken_again_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), RunLock(tmp_path / "new"):
            raise ZeroDivisionError
    with RunLock(tmp_path / "new"), pytest.raises(RunError, match=f"pid {os.getpid()} on"), RunLock(tmp_path / "new"):
        pass


def test_a_file_that_says_nothing_is_no_obstacle(tmp_path):
    (tmp_path / ".lock").write_text("{")
    with RunLock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
