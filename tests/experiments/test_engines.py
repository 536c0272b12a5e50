"""Sweeps in processes: the same bits whatever happens to them."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import own_networks
import pandas as pd
import pytest
from facts import one_says, says
from networks import SOON_OVER
from PIL import Image
from rich.console import Console

from tfnorm.cli.sweep_progress import SweepDisplay
from tfnorm.datasets.folder import loading
from tfnorm.datasets.folder.pictures import decode
from tfnorm.errors import RunError, TfnormError
from tfnorm.experiments.comparison.run import compare
from tfnorm.experiments.engines.attempts import Attempts
from tfnorm.experiments.engines.estimate import estimate_seconds, measure, planned_rows
from tfnorm.experiments.engines.local import default_jobs, run_local
from tfnorm.experiments.engines.processes import thread_settings, worker_log
from tfnorm.experiments.engines.worker import with_decoded
from tfnorm.experiments.plan import Plan, PlannedRun
from tfnorm.experiments.progress import SweepProgress
from tfnorm.experiments.sweep.folder import grid_text
from tfnorm.experiments.sweep.grid import plan_grid
from tfnorm.experiments.sweep.run import sweep
from tfnorm.experiments.sweep.sweep import Sweep
from tfnorm.history import read_history
from tfnorm.training.config import TrainConfig
from tfnorm.training.data import load_data
from tfnorm.training.runs import Run, outcome

# As the fixture `swept` has it.
GRID = {"settings": SOON_OVER, "grid": {"norm": ["gn:2", "bn+l1=1e-4"], "seeds": 2}}
FOLDERS = ["gn-2/seed-0", "gn-2/seed-1", "bn_l1-1e-4/seed-0", "bn_l1-1e-4/seed-1"]


class Watcher(SweepProgress):
    """Remembers what it is told."""

    def __init__(self):
        self.told, self.sentences = [], {}

    def sent(self, run, pid):
        self.told.append(("sent", run.parent.name, run.name))

    def interrupted(self, run, sentence):
        self.told.append(("interrupted", run.parent.name, run.name))
        self.sentences[run.parent.name] = sentence


class Killer(Watcher):
    """Kills the process of the runs of one spec, the first few times that it gets one."""

    def __init__(self, spec, times):
        super().__init__()
        self.spec, self.times = spec, times

    def sent(self, run, pid):
        super().sent(run, pid)
        if run.parent.name == self.spec and self.times:
            self.times -= 1
            os.kill(pid, signal.SIGKILL)


class Stopper(Watcher):
    """Is Ctrl-C, after the first epoch."""

    def sent(self, run, pid):
        self.pid = pid

    def epoch_ended(self, run, record):
        raise KeyboardInterrupt


@pytest.fixture
def nearly(swept, tmp_path):
    """Return the folder of the same sweep, but for the second run of each spec."""
    shutil.copytree(swept.path, tmp_path / "sweep")
    for folder in FOLDERS[1::2]:
        shutil.rmtree(tmp_path / "sweep" / folder)
    return tmp_path / "sweep"


def gone(pid):
    """Wait until a process has ended; return whether it has."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


def test_a_sweep_writes_a_table_and_a_record(swept):
    table = swept.table
    assert table["norm"].tolist() == ["gn:2", "bn+l1=1e-4"] and (table["seeds"] == 2).all()
    last = [100 * run.history["val_accuracy"].iloc[-1] for run in swept.runs[:2]]
    assert table["last_accuracy"][0] == pytest.approx(np.mean(last))
    assert table["last_accuracy_low"][0] < np.mean(last) < table["last_accuracy_high"][0]
    assert table["penalty"][0] == 0 < table["penalty"][1]
    assert table["folder"].tolist() == ["gn-2", "bn_l1-1e-4"]
    written = pd.read_csv(swept.path / "table.csv")
    pd.testing.assert_frame_equal(written, table, check_dtype=False)
    content = json.loads((swept.path / "sweep.json").read_text())
    assert (content["schema_version"], content["threads"], content["axes"]) == (1, 1, ["norm"])
    assert [(run["folder"], run["status"]) for run in content["runs"]] == [(folder, "finished") for folder in FOLDERS]
    assert "bn+l1=1e-4" in repr(swept) and "bn+l1=1e-4" in swept._repr_html_()


def test_jobs_have_no_part_in_the_result_of_a_comparison_or_a_sweep(swept, tmp_path):
    # Two processes for one spec: neither has a graph from another seed, nor from another spec.
    comparison = compare("bn+l1=1e-4", seeds=2, out=tmp_path, jobs=2, **SOON_OVER)
    for folder in FOLDERS[2:]:
        assert outcome(tmp_path / folder) == outcome(swept.path / folder), folder
    same = swept.table[1:].drop(columns=["norm", "folder", "seconds", "images_per_second"]).reset_index(drop=True)
    # A comparison also says whether a spec learned anything.
    pd.testing.assert_frame_equal(comparison.table.reset_index()[same.columns], same, check_exact=True)
    runs = pd.read_csv(tmp_path / "runs.csv")
    assert runs["record"].tolist() == [str(tmp_path / folder) for folder in FOLDERS[2:]]


def test_a_comparison_with_runs_that_fail_says_which_and_why(tmp_path, monkeypatch):
    failures = {Path(FOLDERS[2]): "It exists."}
    monkeypatch.setattr("tfnorm.experiments.comparison.run.run_on", lambda plan, **_: failures)
    with pytest.raises(RunError) as caught:
        compare("bn+l1=1e-4", seeds=2, out=tmp_path, jobs=1, **SOON_OVER)
    says(caught, FOLDERS[2], "It exists.")


def test_finished_runs_are_left_alone(swept):
    watcher = Watcher()
    assert run_local(Plan(swept.path, swept.planned, jobs=2), progress=watcher) == {}
    assert watcher.told == []


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.matrix)])
def test_a_killed_process_is_replaced_and_a_run_that_cannot_be_written_stops_no_other(swept, nearly, times):
    (nearly / "bn_l1-1e-4/seed-1").write_text("in the way")
    killer = Killer("gn-2", times)
    done = sweep(GRID, out=nearly, jobs=1, progress=killer)
    assert killer.told.count(("sent", "gn-2", "seed-1")) == times + 1
    assert killer.told.count(("interrupted", "gn-2", "seed-1")) == times
    assert list(killer.sentences) == ["gn-2"]
    says(killer.sentences["gn-2"], "SIGKILL")
    assert outcome(nearly / "gn-2/seed-1") == outcome(swept.path / "gn-2/seed-1")

    ((folder, sentence),) = done.failures.items()
    assert str(folder) == "bn_l1-1e-4/seed-1" and "exists" in sentence and "Traceback" not in sentence
    assert done.table["seeds"].tolist() == [2, 1]
    content = json.loads((nearly / "sweep.json").read_text())
    assert [run["status"] for run in content["runs"]] == ["finished"] * 3 + ["failed"]
    assert "1 failed" in repr(done)


@pytest.mark.matrix
def test_ctrl_c_stops_all(swept, nearly):
    stopper = Stopper()
    with pytest.raises(KeyboardInterrupt):
        run_local(Plan(nearly, swept.planned[2:], jobs=1), progress=stopper)
    assert gone(stopper.pid)
    assert len(read_history(nearly / "bn_l1-1e-4/seed-1/history.jsonl")) == 1


@pytest.mark.matrix
def test_a_process_killed_thrice_is_given_up(swept, nearly):
    failures = run_local(Plan(nearly, swept.planned, jobs=1), progress=Killer("gn-2", 3))
    ((folder, sentence),) = failures.items()
    assert str(folder) == "gn-2/seed-1"
    says(sentence, "SIGKILL", "3 tries", "memory", "fewer jobs", nearly / "workers.log")
    assert outcome(nearly / "bn_l1-1e-4/seed-1") == outcome(swept.path / "bn_l1-1e-4/seed-1")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("ended", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.matrix)])
def test_processes_end_with_their_parent_and_ctrl_c_says_what_is_kept(ended, tmp_path):
    grid, out = tmp_path / "grid.toml", tmp_path / "out"
    grid.write_text(grid_text({"settings": {**SOON_OVER, "epochs": 500}, "grid": {"norm": ["none"], "seeds": 1}}))
    lock, history = out / "none" / "seed-0" / ".holder.json", out / "none" / "seed-0" / "history.jsonl"
    call = [sys.executable, "-m", "tfnorm", "sweep", str(grid), "--out", str(out), "--jobs", "1"]
    process = subprocess.Popen(
        call,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs of shells ignore it
    )
    for _ in range(1200):
        if history.exists() and read_history(history):
            break
        time.sleep(0.1)
    worker = json.loads(lock.read_text())["pid"]
    process.send_signal(ended)
    out, err = process.communicate(timeout=30)
    assert gone(worker)
    if ended == signal.SIGINT:
        assert (process.returncode, out) == (130, "")
        says(err.splitlines()[-1], "tfnorm: stopped", "finished epochs", "same command")
        assert "none/seed-0: training starts" in err


def test_a_plan_shows_what_is_finished_and_imports_no_keras(fake_sweep, tmp_path, run_python):
    finished = fake_sweep(tmp_path / "finished", {**GRID, "settings": {"epochs": 1}}, lambda config: 0.5)
    rows = planned_rows(finished.planned, finished.path)
    assert [(row.parameters, row.epochs, row.done, row.finished) for row in rows] == [(6986, 1, 1, True)] * 4
    rows = planned_rows(finished.planned, tmp_path)
    assert [(row.parameters, row.epochs, row.done, row.finished) for row in rows] == [(6986, 1, 0, False)] * 4
    assert [row.parameters for row in planned_rows(plan_grid(GRID), tmp_path)] == [None] * 4  # not made yet
    grid = finished.path / "grid.toml"
    code = (
        "import sys; from tfnorm.cli import main\n"
        "sys.argv = ['tfnorm', 'sweep', sys.argv[1], '--out', sys.argv[2], '--dry-run']\n"
        "try: main()\n"
        "except SystemExit as stop: print('exit', stop.code)\n"
        "print(sorted({'keras', 'tensorflow', 'pandas'} & set(sys.modules)))"
    )
    lines = run_python(code, grid, finished.path).splitlines()
    says(lines[-3], "Nothing")
    assert lines[-2:] == ["exit 0", "[]"]
    assert sum("finished" in line and "6,986" in line for line in lines) == 4


@pytest.mark.matrix
def test_steps_are_measured_in_a_process():
    (bad, good) = measure(
        [plan_grid(GRID)[0].config.model_copy(update={"dataset": "gone.npz"}), plan_grid(GRID)[0].config]
    )
    assert bad is None and good is not None and min(good) > 0


def test_time_is_estimated_between_the_smallest_and_the_largest_batch(tmp_path, monkeypatch):
    asked = []

    def measured(configs, *, threads):
        asked.extend((config.norm, config.batch_size) for config in configs)
        # Getting ready takes 1 second; an epoch 10 seconds, and 80 more divided by the batch size.
        return [None if config.norm == "ln" else (1.0, 10 + 80 / config.batch_size) for config in configs]

    monkeypatch.setattr("tfnorm.experiments.engines.estimate.measure", measured)
    grid = {
        "settings": {"epochs": 2},
        "grid": {"norm": ["bn", "bn+l1=1e-4", "ln"], "batch_size": [8, 2, 4], "seeds": 1},
    }
    rows = planned_rows(plan_grid(grid), tmp_path)
    seconds, unknown = estimate_seconds(rows, jobs=2, threads=1)
    assert asked == [("bn", 2), ("bn", 8), ("ln", 2), ("ln", 8)]
    assert unknown == 3
    assert seconds == pytest.approx(2 * (3 * 1 + 2 * (50 + 30 + 20)) / 2)


def test_mistakes_are_told_before_anything_starts(swept, tmp_path):
    for arguments, facts in (
        ({"jobs": 0}, ("at least 1", "jobs=0")),
        ({"threads": 1.5}, ("at least 1", "threads=1.5")),
        (
            {"threads": 2, "out": swept.path},
            (swept.path, "threads=1", "2", "another output folder"),
        ),
    ):
        with pytest.raises(TfnormError) as caught:
            sweep(GRID, **{"out": tmp_path / "out", **arguments})
        says(caught, *facts)
    other = {**GRID, "settings": {**SOON_OVER, "epochs": 2}}
    with pytest.raises(RunError, match=r"epochs .*\b1\b.*\b2\b") as caught:
        sweep(other, out=swept.path)
    assert len(str(caught.value).splitlines()) == 4
    assert not (tmp_path / "out").exists()


def test_runs_on_other_data_are_no_sweep(swept, nearly):
    path = nearly / "gn-2/seed-0/config.json"
    content = json.loads(path.read_text())
    content["data"]["fingerprint"] = "0" * 16
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match="different data"):
        _ = Sweep(swept.planned, nearly).table


def test_threads_and_jobs(monkeypatch):
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "NPROC")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE", raising=False)
    assert {thread_settings(3)[name] for name in names} == {"3"}
    assert thread_settings(3)["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert default_jobs(10_000) == 1 <= default_jobs(1)


def test_lines_without_a_terminal_and_the_table_with_one(tmp_path):
    text = io.StringIO()
    with SweepDisplay(Console(file=text, width=100), tmp_path) as display:
        display.planned(3, 1, 6)
        for name in "abc":
            display.sent(tmp_path / name, 1)
            display.started(tmp_path / name, 2, 10)
        display.stepped(tmp_path / "a", 0, 5)
        display.epoch_ended(tmp_path / "a", {"epoch": 0, "val_accuracy": 0.5})
        Console(file=text, width=100).print(display.render())
        display.finished(tmp_path / "a", {"status": "finished", "val_accuracy": 0.75})
        display.interrupted(tmp_path / "b", "Why.")
        display.failed(tmp_path / "c", "Because.")
        Console(file=text, width=100).print(display.render())
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    says(lines[0], "1 of 4 runs")
    says(lines[1], "3 at work", "0 waiting", "1 finished", "0 failed")
    assert any("│ a " in line and "2 of 2" in line and "50.00" in line for line in lines)
    one_says(lines, "2 of 4", "a", "75.00 %")
    one_says(lines, "interrupted: b", "Why.")
    one_says(lines, "failed: c", "Because.")
    one_says(lines, "0 at work", "1 waiting", "2 finished", "1 failed", "a: 75.00 %")


def test_a_finished_run_can_be_read(swept):
    assert all(isinstance(run, Run) and run.status == "finished" for run in swept.runs)


@pytest.mark.matrix
def test_a_process_is_replaced_after_some_kinds_of_runs_and_changes_no_result(swept, nearly, monkeypatch):
    monkeypatch.setattr("tfnorm.experiments.engines.processes.MOST_KINDS", 1)

    class Processes(Watcher):
        pids: dict[str, int] = {}

        def sent(self, run, pid):
            self.pids[run.parent.name] = pid

    watcher = Processes()
    assert not run_local(Plan(nearly, swept.planned, jobs=1), progress=watcher)
    assert len(set(watcher.pids.values())) == 2
    for folder in FOLDERS[1::2]:
        assert outcome(nearly / folder) == outcome(swept.path / folder)


def test_two_commands_in_one_folder_share_the_log_and_only_one_deletes_it(tmp_path):
    with worker_log(tmp_path), worker_log(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
    with worker_log(tmp_path) as log:
        log.write(b"an error")
    assert (tmp_path / "workers.log").read_bytes() == b"an error"


@pytest.fixture
def pictures(tmp_path):
    """Return a folder of 20 grey pictures of two classes."""
    rng = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for number in range(10):
            picture = Image.fromarray(rng.integers(0, 256, (8, 8)).astype("uint8"))
            picture.save(tmp_path / "pictures" / label / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def decoded(monkeypatch):
    """Return a list that grows by each picture that is decoded."""
    found = []
    monkeypatch.setattr(loading, "decode", lambda *how: found.append(how) or decode(*how))
    return found


@pytest.mark.filterwarnings("ignore::tfnorm.datasets.DataWarning")
def test_all_processes_of_a_machine_decode_a_picture_once(pictures, decoded, tmp_path):
    config = TrainConfig(norm="bn", dataset=str(pictures))
    task = Attempts(Plan(tmp_path / "out", [PlannedRun(Path("run"), config, {})]), SweepProgress()).next_task
    for memory in (None, "1kB"):  # as if each were another process
        asked = with_decoded(config, task(PlannedRun(Path("run"), config, {}))["decoded"])
        data = load_data(asked.model_copy(update={"memory": memory}))
        assert data.x_train[:].shape == (16, 8, 8, 1)
    assert len(decoded) == 20


@pytest.mark.filterwarnings("ignore::tfnorm.datasets.DataWarning")
def test_models_are_checked_on_the_pictures_that_processes_share(pictures, decoded, tmp_path, monkeypatch):
    def as_a_process(plan, **_):
        task = Attempts(plan, SweepProgress()).next_task(plan.runs[0])
        load_data(with_decoded(plan.runs[0].config, task["decoded"]))
        return {Path("bn/seed-0"): "It was not trained."}

    monkeypatch.setattr("tfnorm.experiments.engines.choose.run_local", as_a_process)
    with pytest.raises(TfnormError, match="not trained"):
        compare("bn", model=own_networks.plain, dataset=pictures, seeds=1, out=tmp_path / "out", jobs=1)
    assert len(decoded) == 20 and not (tmp_path / "out/.decoded").exists()
