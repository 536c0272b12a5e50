"""What the command line prints."""

import io
import math
from pathlib import Path

import pytest
from facts import says
from rich.console import Console

import tfnorm.cli._streams  # noqa: F401, registers what the command line writes in place of letters
from tfnorm.cli.printing import fitted_table, print_sweep, print_table
from tfnorm.cli.run_progress import LiveProgress
from tfnorm.cli.sweep_progress import SweepDisplay
from tfnorm.experiments.engines.attempts import Attempts
from tfnorm.experiments.plan import Plan, PlannedRun
from tfnorm.table import Cell, Column, Table
from tfnorm.training.config import TrainConfig


def test_a_spec_that_diverged_has_dashes_and_one_seed_no_deviation(fake_comparison, tmp_path, capsys):
    found = fake_comparison(tmp_path, {"bn": [0.9, 0.8], "gn:2": [0.7], "ln": [math.nan, math.nan]})
    print_table(found)
    lines = capsys.readouterr().out.splitlines()
    bn, gn, ln = (next(line for line in lines if f"│ {spec}" in line) for spec in ("bn", "gn:2", "ln"))
    assert "85.00 ± 7.07" in bn and "70.00 │" in gn
    assert "2 (2 diverged)" in ln and ln.count(" – ") == 4 and "nan" not in ln and "±" not in ln


def test_a_sweep_on_held_out_images_says_so_and_cuts_its_intervals(fake_sweep, tmp_path, capsys):
    grid = {"settings": {"holdout": 0.2}, "grid": {"norm": ["bn", "ln"], "seeds": 2}}
    reached = {"bn": lambda seed: 0.05 + seed / 2, "ln": lambda seed: math.nan}
    print_sweep(fake_sweep(tmp_path, grid, lambda config: reached[config.norm](config.seed)))
    printed = capsys.readouterr().out
    says(printed, "Held-out", "4 of 4 runs")
    assert "nan" not in printed
    assert "0.00–100.00" in printed


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("display", ["sweep", "run"])
def test_what_was_read_is_shown_as_it_is_written(display, terminal, tmp_path):
    console = Console(file=io.StringIO(), width=60, force_terminal=terminal)
    sentence = "Read 3 images of [bold]cats[/bold] from /a/very/long/path/that/is/wider/than/the/terminal/is."
    with SweepDisplay(console, tmp_path) if display == "sweep" else LiveProgress(console, 1) as shown:
        shown.read([sentence])
        if display == "sweep":  # each process reads the data, and sends what it read
            run = PlannedRun(Path("bn"), TrainConfig(norm="bn"), {})
            event = {"event": "read", "values": [[sentence, "Left out: 1 .txt."]]}
            assert not Attempts(Plan(tmp_path, [run]), shown).receive(run, event)
    written = console.file.getvalue()
    assert written.count(sentence) == 1 and ("Left out: 1 .txt." in written) == (display == "sweep")


def test_the_display_names_the_images_that_are_evaluated_on(tmp_path):
    console = Console(file=io.StringIO(), width=140)
    with SweepDisplay(console, tmp_path, "held-out") as display:
        display.planned(1, 0, 1)
        display.sent(tmp_path / "bn", 1)
        assert [column.header for column in display.render().renderables[1].columns][3] == "held-out accuracy %"
        display.finished(tmp_path / "bn", {"status": "finished", "epochs": 1, "val_accuracy": 0.5})
    assert "bn, held-out accuracy 50.00 %" in console.file.getvalue()


def made(headings, rows):
    """Return a table of texts whose first column alone is no number."""
    columns = {heading: Column(heading, None if place == 0 else "") for place, heading in enumerate(headings)}
    return Table(columns, [dict(zip(headings, map(Cell, row), strict=True)) for row in rows])


def printed(table, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
@pytest.mark.parametrize("name", ["bn+l1={}e-4", "gn:size=4+ws+l1=1e-4+l2={}e-4 (batch size 128, learning rate 0.1)"])
def test_no_width_makes_two_rows_look_the_same_or_cuts_a_number(width, name):
    rows = [[name.format(i), "6,850", f"9{i}.00 ± 0.12", f"8{i}.00 ± 0.34", "0.1987", "20.0"] for i in range(3)]
    headings = ["spec", "parameters", "best accuracy %", "last accuracy %", "data loss", "misclassified"]
    console = Console(file=io.StringIO(), width=width)
    optional = ["best accuracy %", "misclassified", "data loss", "parameters"]
    table, without = fitted_table(console, "Results", made(headings, rows), optional=optional)
    text = printed(table, width)
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    accuracy = len(headings) - len(without) - 1 - sum(h not in without for h in headings[4:])
    folded: list[str] = []
    for line in cells:
        if line[accuracy]:  # the first line of a row
            folded.append("")
        folded[-1] += line[0].replace(" ", "")
    assert folded == [row[0].replace(" ", "") for row in rows]
    for row in rows:
        assert row[3] in text
        assert (row[2] in text) is ("best accuracy %" not in without)
    assert set(without) <= {"best accuracy %", "misclassified", "data loss", "parameters"}
    assert without == [heading for heading in headings if heading in without]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("errors", ["strict", "replace", "tfnorm.plain"])
def test_what_stands_for_a_letter_that_an_encoding_lacks_leaves_columns_where_they_are(encoding, errors):
    written = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
    console = Console(file=written, width=140)
    rows = [["bn", "95.00 ± 0.12"], ["gn:2 – café", "94.00"]]
    console.print(fitted_table(console, "R", made(["spec", "accuracy %"], rows))[0])
    written.flush()
    lines = written.buffer.getvalue().decode(encoding).splitlines()[1:]
    assert len(lines) > 4 and len({len(line.rstrip()) for line in lines}) == 1


def test_a_wide_terminal_leaves_nothing_out():
    table, without = fitted_table(
        Console(file=io.StringIO(), width=140), "R", made(["spec", "a %"], [["bn", "1"]]), optional=["a %"]
    )
    assert without == [] and [column.header for column in table.columns] == ["spec", "a %"]
