"""What the command line prints."""

import io
import math

import pytest
from rich.console import Console

from tfnorm.compare.live import SweepDisplay
from tfnorm.compare.processes import pass_on
from tfnorm.compare.progress import LiveProgress
from tfnorm.show import print_sweep, print_table


def test_a_spec_that_diverged_has_dashes_and_one_seed_no_deviation(fake_comparison, tmp_path, capsys):
    found = fake_comparison(tmp_path, {"bn": [0.9, 0.8], "gn:2": [0.7], "ln": [math.nan, math.nan]})
    print_table(found)
    lines = capsys.readouterr().out.splitlines()
    bn, gn, ln = (next(line for line in lines if f"│ {spec}" in line) for spec in ("bn", "gn:2", "ln (2 diverged)"))
    assert "85.00 ± 7.07" in bn and "70.00 │" in gn
    assert ln.count(" – ") == 4 and "nan" not in ln and "±" not in ln


def test_a_sweep_on_held_out_images_says_so_and_cuts_its_intervals(fake_sweep, tmp_path, capsys):
    grid = {"settings": {"holdout": 0.2}, "grid": {"norm": ["bn", "ln"], "seeds": 2}}
    reached = {"bn": lambda seed: 0.05 + seed / 2, "ln": lambda seed: math.nan}
    print_sweep(fake_sweep(tmp_path, grid, lambda config: reached[config.norm](config.seed)))
    printed = capsys.readouterr().out
    assert "Held-out results: 4 of 4 runs" in printed and "nan" not in printed
    assert "0.00 to 100.00" in printed


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("display", ["sweep", "run"])
def test_what_was_read_is_shown_as_it_is_written(display, terminal, tmp_path):
    console = Console(file=io.StringIO(), width=60, force_terminal=terminal)
    sentence = "Read 3 images of [bold]cats[/bold] from /a/very/long/path/that/is/wider/than/the/terminal/is."
    with SweepDisplay(console, tmp_path) if display == "sweep" else LiveProgress(console, 1) as shown:
        shown.read([sentence])
        if display == "sweep":  # each process reads the data, and tells it
            pass_on(shown, tmp_path / "bn", {"event": "read", "sentences": [sentence, "Left out: 1 .txt."]})
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
