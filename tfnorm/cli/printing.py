"""Tables and sentences of the command line, in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from tfnorm.text import interval_text, number, with_spread

# How many characters of a name stand in a line at least, before columns are left out for it.
LEAST_NAME = 20


def wide_console() -> Console:
    """Return a console that shows brackets as they are and does not fold tables where there is no terminal to fit."""
    console = Console(markup=False, emoji=False)
    return console if console.is_terminal else Console(markup=False, emoji=False, width=140)


def fitted_table(
    console: Console,
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    names: Collection[str],
    optional: Sequence[str] = (),
) -> tuple[Table, list[str]]:
    """Return a table that fits a console, and the headings that there was no room for.

    Nothing is cut: two rows that differ in their names never look the same. Where the columns are too wide together,
    headings are folded first, then columns are left out, and names are folded.

    Args:
        console: Where it is to be printed.
        title: Above it.
        headings: Of the columns.
        rows: The cells of each.
        names: The headings of columns of text, on the left of their cells and foldable.
        optional: The headings of columns that may be left out, the least important first.
    """
    shown, left = list(headings), list(optional)
    cells = {heading: [_as_written(row[place], console) for row in rows] for place, heading in enumerate(headings)}
    full = {heading: max(map(cell_len, [heading, *cells[heading]])) for heading in headings}
    widths: dict[str, int | None] = dict.fromkeys(headings)
    while sum(full[heading] + 3 for heading in shown) + 1 > console.width:
        least = {h: max(map(cell_len, [*h.split(), *cells[h]])) for h in shown}
        text = [heading for heading in shown if heading in names]
        room = console.width - 1 - sum(least[h] + 3 for h in shown if h not in names)
        share = room // len(text) - 3 if text else 0
        if not left or all(share >= min(least[heading], LEAST_NAME) for heading in text):
            widths |= {h: max(4, min(least[h], share)) if h in names else least[h] for h in shown}
            break
        shown.remove(left.pop(0))
    table = Table(title=title)
    for heading in shown:
        justify: Literal["left", "right"] = "left" if heading in names else "right"
        table.add_column(heading, justify=justify, width=widths[heading], overflow="fold")
    for place in range(len(rows)):
        table.add_row(*(cells[heading][place] for heading in shown))
    return table, [heading for heading in headings if heading not in shown]


def _as_written(text: str, console: Console) -> str:
    """Return text as the console's stream writes it: where it has no ±, what stands for that may be wider."""
    errors = getattr(console.file, "errors", None) or "strict"
    return text.encode(console.encoding, "replace" if errors == "strict" else errors).decode(
        console.encoding, "surrogateescape"
    )


def _print_fitted(console: Console, table: Table, without: Sequence[str], where: str) -> None:
    """Print a table of `fitted_table` and where the columns are that it has no room for."""
    console.print(table)
    if without:
        console.print(f"No room here for: {', '.join(without)}. {where}", style="dim", soft_wrap=True)


def print_table(comparison: Any) -> None:
    """Print the table of a comparison and its verdict."""
    from tfnorm.experiments.settings import counted

    columns: dict[str, list[str]] = {}
    for spec, row in comparison.table.iterrows():
        diverged = f" ({row['diverged']:.0f} diverged)" if row["diverged"] else ""
        cells = {
            "spec": f"{spec}{diverged}",
            "parameters": f"{row['parameters']:,.0f}",
            "best accuracy %": with_spread(row["best_accuracy"], row["best_accuracy_std"]),
            "last accuracy %": with_spread(row["last_accuracy"], row["last_accuracy_std"]),
            **({"balanced accuracy %": number(row["balanced_accuracy"])} if comparison.unequal else {}),
            "data loss": number(row["test_data_loss"], ".4f"),
            "misclassified": number(row["misclassified"], ".1f"),
            "seconds": f"{row['seconds']:.1f}",
            "images/s": f"{row['images_per_second']:,.0f}",
        }
        for heading, cell in cells.items():
            columns.setdefault(heading, []).append(cell)
    console = wide_console()
    table, without = fitted_table(
        console, comparison.title("Test results"), list(columns), list(zip(*columns.values(), strict=True)),
        names=["spec"],
        optional=["best accuracy %", "images/s", "seconds", "misclassified", "data loss", "parameters"],
    )  # fmt: skip
    _print_fitted(console, table, without, "table.csv and the report have all columns.")
    seeds = comparison.table["seeds"]
    several = f"mean ± standard deviation over {counted(seeds, 'seed')}; "
    spread = several if max(seeds) > 1 else "one seed, which justifies no ranking; "
    console.print(f"{spread}the best epoch is chosen on the images it is tested on, so read the last.", style="dim")
    for note in [*comparison.remarks, comparison.verdict, *filter(None, [comparison.about_looks])]:
        console.print(note, soft_wrap=True, highlight=False)
    console.print(f"Pictures and tables: {comparison.path}", soft_wrap=True)


def print_page(page: Path) -> None:
    """Print where a report is, as an address that a terminal opens, if it could be written."""
    if not page.exists():
        return
    wide_console().print(f"Report: {page.resolve().as_uri()}", soft_wrap=True, highlight=False)


def print_layers(layers: Any) -> None:
    """Print a network, layer by layer."""
    wide_console().print(layers)


def print_conversion(report: Any, written: Any) -> None:
    """Print what a conversion did, layer by layer, and what ``written`` says of the file that it wrote."""
    console = wide_console()
    for changes, title in ((report.changes, "Changed"), (report.kept, "Not changed")):
        if not changes:
            continue
        columns = ("layer", "before", "after", "groups", "note")
        shown = [name for name in columns if any(getattr(change, name) for change in changes)]
        rows = [[str(getattr(change, name) or "") for name in shown] for change in changes]
        heading = f"{title}: {len(changes)} layers" if len(changes) > 1 else f"{title}: 1 layer"
        names = [name for name in shown if name != "groups"]
        console.print(fitted_table(console, heading, shown, rows, names=names)[0])
    if report.difference:
        before, after = report.difference
        console.print(
            f"The outputs differed by {before:.1%} of the old ones' size, and after calibration by {after:.1%}.",
            soft_wrap=True,
            highlight=False,
        )
    console.print(str(written), soft_wrap=True, highlight=False, markup=False)


def print_plan(planned: Any, folder: Path, jobs: int, threads: int) -> None:
    """Print what a sweep would train, and how long that takes."""
    from tfnorm.experiments.engines.estimate import estimate_seconds, planned_rows

    rows = planned_rows(planned, folder)
    lines = []
    for row in rows:
        begun = f"{row.done} epochs done" if row.done else "waiting"
        lines.append(
            [str(row.run.folder), f"{row.parameters:,}", str(row.epochs), "finished" if row.finished else begun]
        )
    console = wide_console()
    headings = ["run", "trainable parameters", "epochs", "state"]
    console.print(fitted_table(console, f"{len(rows)} runs in {folder}", headings, lines, names=["run", "state"])[0])
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
    headings = ["parameters", "seeds", "last accuracy %", "95 % interval", "data loss", "penalty", "misclassified"]
    rows = []
    for row in result.table.to_dict("records"):
        several = row["seeds"] > 1
        diverged = f" ({row['diverged']} diverged)" if row["diverged"] else ""
        rows.append(
            [
                *("" if row[axis] is None or row[axis] != row[axis] else f"{row[axis]}" for axis in result.axes),
                f"{row['parameters']:,}",
                f"{row['seeds']}{diverged}",
                with_spread(row["last_accuracy"], row["last_accuracy_std"]),
                interval_text(row["last_accuracy_low"], row["last_accuracy_high"], " to ") if several else "",
                number(row["test_data_loss"], ".4f"),
                number(row["penalty"], ".4f"),
                number(row["misclassified"], ".1f"),
                f"{row['seconds']:.1f}",
            ]
        )
    console = wide_console()
    table, without = fitted_table(
        console, f"{result.images.capitalize()} results: {of_runs}", [*result.axes, *headings, "seconds"], rows,
        names=["norm"],
        optional=["penalty", "seconds", "parameters", "misclassified", "data loss", "95 % interval", "seeds"],
    )  # fmt: skip
    _print_fitted(console, table, without, "table.csv and the report have all columns.")
    console.print("mean ± standard deviation over seeds, and the interval of the mean", style="dim")
    pictures = result.plotted_axes or result.heat_axes
    console.print(f"{'Pictures and tables' if pictures else 'Tables'}: {folder or result.path}", soft_wrap=True)


def print_reproduction(result: Any) -> None:
    """Print the published numbers beside the measured, and what became of the claims."""
    headings = ["row", "parameters", "seeds", f"published, {result.preset.epoch} epoch %", "measured %", "difference"]
    headings.append("misclassified")
    rows = []
    for label, row in result.table.iterrows():
        told = row["published"] == row["published"]
        diverged = f" ({row['diverged']} diverged)" if row["diverged"] else ""
        before = f" ({row['published_misclassified']:.0f} published)" if row["published_misclassified"] else ""
        rows.append(
            [
                f"{label}{diverged}",
                f"{row['parameters']:,}",
                f"{row['seeds']}",
                f"{row['published']:.2f}" if told else "",
                with_spread(row["measured"], row["std"]),
                f"{row['difference']:+.2f}" if told else "",
                number(row["misclassified"], ".1f") + before,
            ]
        )
    console = wide_console()
    table, without = fitted_table(
        console, result.preset.title, headings, rows, names=["row"],
        optional=["misclassified", "parameters", "seeds", "difference"],
    )  # fmt: skip
    _print_fitted(console, table, without, "reproduced.csv has all columns.")
    console.print("published: one run each; measured: mean ± standard deviation over seeds", style="dim")
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
