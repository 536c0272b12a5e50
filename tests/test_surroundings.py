"""Where a person runs the command line: encodings, closed streams, settings of notebooks, marks in files."""

import codecs
import io
import os
import subprocess
import sys
import warnings

import pytest
from facts import says
from rich.console import Console

from tfnorm.cli import run_progress as lines
from tfnorm.cli.run_progress import LiveProgress
from tfnorm.cli.sweep_progress import SweepDisplay
from tfnorm.datasets.sources import is_here
from tfnorm.experiments.sweep.grid import load_grid
from tfnorm.training.records import read_json

TFNORM = [sys.executable, "-m", "tfnorm"]
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def answer(arguments, **environment):
    """Run the command line in a process of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHONIO", "PYTHONUTF8", "LC_"))}
    return subprocess.run([*TFNORM, *map(str, arguments)], capture_output=True, env={**kept, **environment})


@pytest.fixture(scope="module")
def trained(fake_comparison, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "résumé"
    fake_comparison(folder, {"bn": [0.9, 0.91], "ln": [0.8, 0.82]})
    return folder


NOT_INSTALLED = "module://not_installed.backend"


@pytest.mark.parametrize(
    ("encoding", "backend"),
    [
        ("ascii", NOT_INSTALLED),
        pytest.param("latin-1", NOT_INSTALLED, marks=pytest.mark.matrix),
        pytest.param("ascii", "nonsense", marks=pytest.mark.matrix),
    ],
)
def test_tables_are_printed_in_any_encoding_and_a_backend_for_pictures_is_no_matter(
    encoding, backend, trained, tmp_path
):
    done = answer(["report", trained, "--out", tmp_path / "out"], PYTHONIOENCODING=encoding, MPLBACKEND=backend)
    assert (done.returncode, done.stderr) == (0, b"")
    spread = b"90.50 \xb1 0.71" if encoding == "latin-1" else b"90.50 +/- 0.71"
    assert spread in done.stdout and b"bn beats ln by" in done.stdout
    assert "±".encode() in (tmp_path / "out" / "report.html").read_bytes()
    assert (tmp_path / "out" / "loss.png").exists()


NOWHERE = {"HOME": "/proc/none", "MPLCONFIGDIR": "", "XDG_CACHE_HOME": "/proc/none", "XDG_CONFIG_HOME": "/proc/none"}


def test_a_locale_without_the_letters_of_a_folder_and_no_home_directory(trained, tmp_path):
    out = tmp_path / "Ergebnisse für alle"
    done = answer(["report", trained, "--out", os.fsencode(out).decode("utf-8")], **C_LOCALE, **NOWHERE)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    assert f"Pictures and tables: {out}".encode() in done.stdout
    assert b"90.50 +/- 0.71" in done.stdout and b"bn beats ln by" in done.stdout
    assert "±".encode() in (out / "report.html").read_bytes()


def test_the_cache_of_keras_is_looked_for_without_a_home_directory(monkeypatch):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as where neither HOME nor the user is known
    assert not is_here("mnist")


@pytest.fixture(scope="module")
def help_as_ever():
    return answer(["--help"]).stdout.decode()


@pytest.mark.parametrize(
    "columns", ["0", "abc", *(pytest.param(width, marks=pytest.mark.matrix) for width in ("3", "-5", "100000"))]
)
def test_a_width_that_no_text_fits_in_is_passed_over(columns, help_as_ever):
    assert answer(["--help"], COLUMNS=columns).stdout.decode() == help_as_ever


@pytest.mark.parametrize(
    "closed",
    [">&-", "| head -1"]
    + [pytest.param(closed, marks=pytest.mark.matrix) for closed in ("<&- >&- 2>&-", "<&-", "2>&-", "2>&1 | head -1")],
)
def test_closed_streams_end_in_no_traceback(closed, tmp_path):
    script = f"'{sys.executable}' -m tfnorm list {closed}"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], capture_output=True, cwd=tmp_path)
    assert done.returncode in (0, 1) and done.stderr == b""


def test_an_error_that_cannot_be_said_ends_as_one(tmp_path):
    wrong = subprocess.run(["bash", "-c", f"'{sys.executable}' -m tfnorm compare nope >&- 2>&-"], cwd=tmp_path)
    assert wrong.returncode == 2


class Broken(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("display", [LiveProgress, SweepDisplay])
def test_a_log_that_nobody_reads_any_more_ends_no_training(display, tmp_path):
    console = Console(file=Broken(), width=100)
    run = tmp_path / "bn" / "seed-0"
    shown = display(console, 2) if display is LiveProgress else display(console, tmp_path)
    with shown:
        if display is SweepDisplay:
            shown.planned(1, 1, 2)
            shown.sent(run, 1)
        shown.started(run, 2, 10)
        shown.epoch_ended(run, {"epoch": 0, "loss": 0.5, "val_accuracy": 0.5})
        shown.finished(run, {"status": "finished", "epochs": 1, "val_accuracy": 0.5})


@pytest.fixture
def clock(monkeypatch):
    """Return a list with the time, which stands still until a test moves it."""
    now = [100.0]
    monkeypatch.setattr(lines.time, "monotonic", lambda: now[0])
    return now


def test_a_comparison_without_a_terminal_writes_a_line_an_epoch_or_every_ten_seconds(clock, tmp_path):
    console = Console(file=io.StringIO(), width=200)
    run, other = tmp_path / "gn-2" / "seed-0", tmp_path / "bn" / "seed-0"
    with LiveProgress(console, 6) as display:
        display.started(run, 3, 10)
        for epoch in range(3):
            clock[0] += 6
            display.stepped(run, epoch, 5)
            display.epoch_ended(run, {"epoch": epoch, "loss": 0.5, "val_accuracy": 0.75})
        display.finished(run, {"status": "finished", "epochs": 3, "val_accuracy": 0.75})
        display.started(other, 3, 10)
        clock[0] += 60
        display.stepped(other, 0, 5)
    # A snapshot of whole lines.
    assert console.file.getvalue().splitlines() == [
        "gn-2/seed-0: training starts, 3 epochs of 10 steps",
        "gn-2/seed-0: epoch 2 of 3, loss 0.5000, test accuracy 75.00 %; about 0:24 minutes left",
        "gn-2/seed-0: finished after 3 epochs, test accuracy 75.00 %; about 0:18 minutes left",
        "bn/seed-0: epoch 1 of 3, step 5 of 10",
    ]


def test_a_sweep_without_a_terminal_writes_epochs_too(clock, tmp_path):
    console = Console(file=io.StringIO(), width=200)
    with SweepDisplay(console, tmp_path, "held-out") as display:
        display.planned(2, 0, 4)
        for name in ("a", "b"):
            display.sent(tmp_path / name, 1)
            display.started(tmp_path / name, 2, 10)
        clock[0] += 30
        display.epoch_ended(tmp_path / "a", {"epoch": 0, "loss": 0.25, "val_accuracy": 0.5})
        display.epoch_ended(tmp_path / "b", {"epoch": 0, "loss": 0.25, "val_accuracy": 0.5})
    starts, ends = console.file.getvalue().splitlines()
    says(starts, "a: ", "2 epochs", "10 steps")
    says(ends, "a: ", "epoch 1 of 2", "0.2500", "50.00 %", "2 at work", "0 waiting", "0 finished", "1:30 minutes")


@pytest.mark.parametrize(("variable", "value"), [("TERM", "dumb"), ("JPY_PARENT_PID", "1")])
def test_terminals_that_cannot_be_drawn_over_get_lines(variable, value, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    assert not lines.Lines(Console(force_terminal=True)).needed
    monkeypatch.setenv(variable, value)
    assert lines.Lines(Console(force_terminal=True)).needed
    assert lines.Lines(Console(file=io.StringIO())).needed


def test_files_may_begin_with_a_byte_order_mark(tmp_path):
    grid = tmp_path / "grid.toml"
    grid.write_bytes(codecs.BOM_UTF8 + b"[grid]\nnorm = ['bn', 'ln']\n")
    assert {run.config.norm for run in load_grid(grid)} == {"bn", "ln"}
    result = tmp_path / "result.json"
    result.write_bytes(codecs.BOM_UTF8 + b'{"schema_version": 1, "status": "finished"}')
    assert read_json(result)["status"] == "finished"


def test_a_picture_that_fails_costs_no_result(trained, tmp_path, monkeypatch):
    from tfnorm.experiments.collect import collect

    def fail(*_, **__):
        raise RuntimeError("latex could not be found")

    comparison = collect([trained], out=tmp_path / "out")
    monkeypatch.setattr("tfnorm.reporting.plot_gap", fail)
    monkeypatch.setattr("tfnorm.experiments.comparison.page.comparison_page", fail)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        comparison.save()
    said = [str(warning.message) for warning in caught if "latex" in str(warning.message)]
    assert len(said) == 2 and "gap.png" in said[0] and "report.html" in said[1]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"table.csv", "runs.csv", "comparison.json", "loss.png", "overlap.png"} <= names
    assert not {"gap.png", "report.html"} & names
