"""Tables and sentences of the command line, in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tfnorm.wording import interval_text, number, with_spread


def wide_console() -> Console:
    """Return a console that shows brackets as they are and does not fold tables where there is no terminal to fit."""
    console = Console(markup=False, emoji=False)
    return console if console.is_terminal else Console(markup=False, emoji=False, width=140)


def print_table(comparison: Any) -> None:
    """Print the table of a comparison and its verdict."""
    table = Table(title=comparison.title("Test results"))
    for heading in ("spec", "parameters", "best accuracy %", "last accuracy %", "data loss", "misclassified"):
        table.add_column(heading, justify="left" if heading == "spec" else "right")
    table.add_column("seconds", justify="right")
    table.add_column("images/s", justify="right")
    for spec, row in comparison.table.iterrows():
        diverged = f" ({row['diverged']:.0f} diverged)" if row["diverged"] else ""
        table.add_row(
            f"{spec}{diverged}",
            f"{row['parameters']:,.0f}",
            with_spread(row["best_accuracy"], row["best_accuracy_std"]),
            with_spread(row["last_accuracy"], row["last_accuracy_std"]),
            number(row["test_data_loss"], ".4f"),
            number(row["misclassified"], ".1f"),
            f"{row['seconds']:.1f}",
            f"{row['images_per_second']:,.0f}",
        )
    from tfnorm.compare.settings import counted

    console = wide_console()
    console.print(table)
    seeds = comparison.table["seeds"]
    several = f"mean ± standard deviation over {counted(seeds, 'seed')}; "
    spread = several if max(seeds) > 1 else "one seed, which justifies no ranking; "
    console.print(f"{spread}the best epoch is chosen on the images it is tested on, so read the last.", style="dim")
    for note in comparison.notes:
        console.print(note, soft_wrap=True)
    console.print(comparison.verdict, soft_wrap=True, highlight=False)
    console.print(f"Pictures and tables: {comparison.path}", soft_wrap=True)


def print_page(page: Path) -> None:
    """Print where a report is, as an address that a terminal opens, if it could be written."""
    if not page.exists():
        return
    wide_console().print(f"Report: {page.resolve().as_uri()}", soft_wrap=True, highlight=False)


def print_layers(layers: Any) -> None:
    """Print a network, layer by layer."""
    wide_console().print(layers)


def print_conversion(report: Any, target: Path) -> None:
    """Print what a conversion did, layer by layer, and the file that it wrote."""
    console = wide_console()
    for changes, title in ((report.changes, "Changed"), (report.kept, "Not changed")):
        if not changes:
            continue
        table = Table(title=f"{title}: {len(changes)} layers" if len(changes) > 1 else f"{title}: 1 layer")
        columns = ("layer", "before", "after", "groups", "note")
        shown = [name for name in columns if any(getattr(change, name) for change in changes)]
        for name in shown:
            table.add_column(name, justify="right" if name == "groups" else "left")
        for change in changes:
            table.add_row(*(str(getattr(change, name) or "") for name in shown))
        console.print(table)
    if report.difference:
        before, after = report.difference
        console.print(
            f"The outputs differed by {before:.1%} of the old ones' size, and after calibration by {after:.1%}.",
            soft_wrap=True,
            highlight=False,
        )
    console.print(f"Wrote {target}", soft_wrap=True, highlight=False)


def print_plan(planned: Any, folder: Path, jobs: int, threads: int) -> None:
    """Print what a sweep would train, and how long that takes."""
    from tfnorm.compare.estimate import estimate_seconds, planned_rows

    rows = planned_rows(planned, folder)
    table = Table(title=f"{len(rows)} runs in {folder}")
    table.add_column("run")
    for heading in ("trainable parameters", "epochs", "state"):
        table.add_column(heading, justify="left" if heading == "state" else "right")
    for row in rows:
        begun = f"{row.done} epochs done" if row.done else "waiting"
        state = "finished" if row.finished else begun
        table.add_row(str(row.run.folder), f"{row.parameters:,}", str(row.epochs), state)
    console = wide_console()
    console.print(table)
    left = sum(not row.finished for row in rows)
    if not left:
        console.print("Nothing is left to train.")
        return
    with kept_on_ctrl_c(), Console(stderr=True).status("measuring a few steps of each kind of run"):
        seconds, unknown = estimate_seconds(rows, jobs=jobs, threads=threads)
    if unknown == left:
        console.print("How long they take could not be measured. The data must be here for it; see --data-dir.")
        return
    without = f", {unknown} of them not counted because they could not be measured" if unknown else ""
    console.print(
        f"{left} runs are left: about {_duration(seconds)} with {min(jobs, left)} at the same time, from a few "
        f"measured steps{without}.",
        soft_wrap=True,
    )


def _duration(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def print_sweep(result: Any, folder: Path | None = None) -> None:
    """Print the table of a sweep, and where its files are: in ``folder``, by default its own."""
    of_runs = f"{len(result.runs)} of {len(result.planned)} runs in {result.path}"
    table = Table(title=f"{result.images.capitalize()} results: {of_runs}")
    for axis in result.axes:
        table.add_column(axis, justify="left" if axis == "norm" else "right")
    for heading in ("parameters", "seeds", "last accuracy %", "95 % interval", "data loss", "penalty", "misclassified"):
        table.add_column(heading, justify="right")
    table.add_column("seconds", justify="right")
    for row in result.table.to_dict("records"):
        several = row["seeds"] > 1
        diverged = f" ({row['diverged']} diverged)" if row["diverged"] else ""
        table.add_row(
            *("" if row[axis] is None or row[axis] != row[axis] else f"{row[axis]}" for axis in result.axes),
            f"{row['parameters']:,}",
            f"{row['seeds']}{diverged}",
            with_spread(row["last_accuracy"], row["last_accuracy_std"]),
            interval_text(row["last_accuracy_low"], row["last_accuracy_high"], " to ") if several else "",
            number(row["test_data_loss"], ".4f"),
            number(row["penalty"], ".4f"),
            number(row["misclassified"], ".1f"),
            f"{row['seconds']:.1f}",
        )
    console = wide_console()
    console.print(table)
    console.print("mean ± standard deviation over seeds, and the interval of the mean", style="dim")
    pictures = result.plotted_axes or result.heat_axes
    console.print(f"{'Pictures and tables' if pictures else 'Tables'}: {folder or result.path}", soft_wrap=True)


def print_reproduction(result: Any) -> None:
    """Print the published numbers beside the measured, and what became of the claims."""
    table = Table(title=result.preset.title)
    table.add_column("row")
    epoch = result.preset.epoch
    headings = ["parameters", "seeds", f"published, {epoch} epoch %", "measured %", "difference", "misclassified"]
    views = result.views
    if views is not None:
        headings.append(f"over {len(views)} views %")
    for heading in headings:
        table.add_column(heading, justify="right")
    for label, row in result.table.iterrows():
        told = row["published"] == row["published"]
        diverged = f" ({row['diverged']} diverged)" if row["diverged"] else ""
        before = f" ({row['published_misclassified']:.0f} published)" if row["published_misclassified"] else ""
        table.add_row(
            f"{label}{diverged}",
            f"{row['parameters']:,}",
            f"{row['seeds']}",
            f"{row['published']:.2f}" if told else "",
            with_spread(row["measured"], row["std"]),
            f"{row['difference']:+.2f}" if told else "",
            number(row["misclassified"], ".1f") + before,
            *([] if views is None else [with_spread(row["views_accuracy"], row["views_accuracy_std"])]),
        )
    console = wide_console()
    console.print(table)
    console.print("published: one run each; measured: mean ± standard deviation over seeds", style="dim")
    if views is not None:
        console.print(f"over {len(views)} views: logits averaged over {views.description}", style="dim", soft_wrap=True)
    if result.teacher is not None:
        taught = f"all rows learned from {result.teacher.config['asked']['arch']} in {result.teacher.path}"
        console.print(taught, style="dim", soft_wrap=True)
    for finding in result.findings:
        console.print(f"{finding.outcome.upper()}: {finding.says} {finding.because}", soft_wrap=True)
    console.print(f"Pictures and tables: {result.path}", soft_wrap=True)


@contextmanager
def kept_on_ctrl_c() -> Iterator[None]:
    """Say on Ctrl-C that nothing is lost, and exit with 130."""
    try:
        yield
    except KeyboardInterrupt:
        print("tfnorm: stopped; finished epochs are kept, and the same command goes on from there.", file=sys.stderr)
        raise SystemExit(130) from None
