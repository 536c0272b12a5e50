"""A comparison that is killed goes on as if nothing had happened."""

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from networks import SOON_OVER

from tfnorm.errors import RunError
from tfnorm.history import append_line, encode_record, read_history
from tfnorm.training.config import TrainConfig
from tfnorm.training.folder import RunFolder
from tfnorm.training.runs import Run
from tfnorm.training.trainer import train

place = importlib.util.spec_from_file_location("kill", Path(__file__).with_name("kill.py"))
kill = importlib.util.module_from_spec(place)
place.loader.exec_module(kill)


@pytest.mark.matrix
def test_killed_at_random_moments_is_bit_identical(tmp_path):
    assert kill.compare(["gn:2", "bn"], seeds=2, epochs=3, moments=6, seed=1, folder=tmp_path) == []


KILLED = """
import json, os, signal, sys
from tfnorm.experiments.comparison.run import compare
from tfnorm.training.progress import Progress

class Kill(Progress):
    def epoch_ended(self, run, record):
        os.kill(os.getpid(), signal.SIGKILL)

compare("bn+l1=5e-4", seeds=1, out=sys.argv[1], progress=Kill(), **json.loads(sys.argv[2]))
"""


def test_killed_after_an_epoch_it_goes_on_bit_identical(tmp_path):
    settings = {**SOON_OVER, "epochs": 3}
    command = [sys.executable, "-c", KILLED, tmp_path / "killed", json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True)
    killed, whole = (tmp_path / name / "bn_l1-5e-4" / "seed-0" for name in ("killed", "whole"))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(read_history(killed / "history.jsonl")) == 1
    for place in (killed, whole):
        train("bn+l1=5e-4", out=place, **settings)
    assert kill.outcomes(tmp_path / "killed") == kill.outcomes(tmp_path / "whole") != {}


def fake(fake_run, place, epochs):
    """Write a run of so many epochs that was never trained."""
    config = TrainConfig(norm="bn", epochs=epochs).resolved()
    fake_run(place, config, 0.9, np.zeros(2, int), np.zeros((2, 10), "float32"))
    return RunFolder(place)


def test_the_comparison_of_outcomes_sees_a_bit(tmp_path, fake_run):
    for name, bit in (("a", 0.0), ("b", 1e-45)):
        run = fake(fake_run, tmp_path / name / "bn" / "seed-0", 1)
        run.checkpoints.save_best(1, {"w": np.zeros(1, "float32")})
        run.checkpoints.save(1, {"w": np.array([bit], "float32")})
    a, b = kill.outcomes(tmp_path / "a"), kill.outcomes(tmp_path / "b")
    assert [key for key in a if a[key] != b[key]] == ["bn/seed-0 state"]


@pytest.fixture
def run(tmp_path):
    """Return a run of three epochs, two of whose checkpoints are kept."""
    folder = RunFolder(tmp_path)
    for epoch in range(3):
        append_line(folder.history_path, encode_record({"schema_version": 1, "epoch": epoch, "loss": 1 / (epoch + 1)}))
        folder.checkpoints.save(epoch + 1, {"w": np.full(2, epoch + 1, "float32")})
    return folder


def test_a_history_cut_at_any_byte_has_a_checkpoint_that_it_reaches(run):
    whole = run.history_path.read_bytes()
    for size in range(len(whole) + 1):
        run.history_path.write_bytes(whole[:size])
        lines = whole[:size].count(b"\n")
        checkpoint = run.checkpoints.load(run.read_history())
        assert (checkpoint and checkpoint[0]) == {0: None, 1: None, 2: 2, 3: 3}[lines]
        for epoch in (lines, lines + 1):
            append_line(run.history_path, encode_record({"schema_version": 1, "epoch": epoch}))
        assert [record["epoch"] for record in read_history(run.history_path)] == list(range(lines + 2))


def test_a_history_damaged_within_is_refused(run):
    lines = run.history_path.read_bytes().split(b"\n")
    run.history_path.write_bytes(b"\n".join([lines[0], lines[1][:-3], *lines[2:]]))
    with pytest.raises(RunError, match="Line 2 of .* is damaged"):
        run.checkpoints.load(run.read_history())


def test_a_finished_run_without_its_whole_history_says_so(tmp_path, fake_run):
    run = fake(fake_run, tmp_path / "run", 3)
    assert len(Run(run.path).history) == 3
    run.history_path.write_bytes(run.history_path.read_bytes()[:-1])
    with pytest.raises(RunError, match="2 of its 3 epochs.*delete result.json"):
        _ = Run(run.path).history
    assert json.loads(run.result_path.read_text())["status"] == "finished"
