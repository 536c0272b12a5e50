"""Tables and sentences of the command line, in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import rich.table
from rich.cells import cell_len
from rich.console import Console

from tfnorm.experiments.engines.local import default_jobs
from tfnorm.experiments.plan import Plan, PlannedRun
from tfnorm.experiments.verdict import states
from tfnorm.ops import start_quietly
from tfnorm.table import Cell, Column, Table, cells_of, table_of
from tfnorm.text import counted, listed

# How many characters of a name stand in a line at least, before columns are left out for it.
LEAST_NAME = 20
# What is printed of a change.
CHANGE = ("layer", "before", "after", "groups", "note")


def wide_console() -> Console:
    """Return a console that shows brackets as they are and does not fold tables where there is no terminal to fit."""
    console = Console(markup=False, emoji=False)
    return console if console.is_terminal else Console(markup=False, emoji=False, width=140)


def fitted_table(
    console: Console, title: str, table: Table, *, optional: Sequence[str] = ()
) -> tuple[rich.table.Table, list[str]]:
    """Return a table that fits a console, and the headings that there was no room for.

    Nothing is cut: two rows that differ in their names never look the same. Where the columns are too wide together,
    headings are folded first, then those of ``optional`` are left out in its order, and columns of text are folded.
    """
    headings = {key: column.title.replace("\u00ad", "") for key, column in table.columns.items()}
    cells = {key: [_as_written(_cell_text(row.get(key, Cell(""))), console) for row in table.rows] for key in headings}
    text = [key for key, column in table.columns.items() if not column.numeric]
    shown, left = list(headings), [key for key in optional if key in headings]
    full = {key: max(map(cell_len, [heading, *cells[key]])) for key, heading in headings.items()}
    widths: dict[str, int | None] = dict.fromkeys(headings)
    while sum(full[key] + 3 for key in shown) + 1 > console.width:
        least = {key: max(map(cell_len, [*headings[key].split(), *cells[key]])) for key in shown}
        names = [key for key in shown if key in text]
        room = console.width - 1 - sum(least[key] + 3 for key in shown if key not in text)
        share = room // len(names) - 3 if names else 0
        if not left or all(share >= min(least[key], LEAST_NAME) for key in names):
            widths |= {key: max(4, min(least[key], share)) if key in text else least[key] for key in shown}
            break
        shown.remove(left.pop(0))
    drawn = rich.table.Table(title=title)
    for key in shown:
        justify: Literal["left", "right"] = "left" if key in text else "right"
        drawn.add_column(headings[key], justify=justify, width=widths[key], overflow="fold")
    for place in range(len(table.rows)):
        drawn.add_row(*(cells[key][place] for key in shown))
    return drawn, [heading for key, heading in headings.items() if key not in shown]


def _cell_text(cell: Cell) -> str:
    note = cell.note if cell.note.startswith(("±", "(")) else f"({cell.note})"
    return f"{cell.text} {note}" if cell.note else cell.text


def _as_written(text: str, console: Console) -> str:
    """Return text as the console's stream writes it: where it has no ±, what stands for that may be wider."""
    errors = getattr(console.file, "errors", None) or "strict"
    return text.encode(console.encoding, "replace" if errors == "strict" else errors).decode(
        console.encoding, "surrogateescape"
    )


def _print_fitted(title: str, table: Table, optional: Sequence[str] = (), where: str = "") -> Console:
    """Print a table as far as it fits, and where the columns are that there is no room for; return the console."""
    console = wide_console()
    drawn, without = fitted_table(console, title, table, optional=optional)
    console.print(drawn)
    if without:
        console.print(f"No room here for: {', '.join(without)}. {where}", style="dim", soft_wrap=True)
    return console


def print_table(comparison: Any) -> None:
    """Print the table of a comparison, which spec to use, and the verdict."""
    from tfnorm.experiments.comparison.tables import results  # start-up

    metric = comparison.metric
    console = _print_fitted(
        comparison.title("Test results"),
        results(comparison, comparison.path).pick(
            "spec", "parameters", "seeds", metric.best, metric.last, "balanced_accuracy", "test_data_loss",
            "misclassified", "seconds", "images_per_second",
        ),
        [metric.best, "images_per_second", "seconds", "misclassified", "test_data_loss", "parameters"],
        "table.csv and the report have all columns.",
    )  # fmt: skip
    seeds = comparison.table["seeds"]
    several = f"mean ± standard deviation over {counted(seeds, 'seed')}; "
    spread = several if max(seeds) > 1 else "one seed, which justifies no ranking; "
    of_last = f"{metric.title()} is that of the last epoch, since the best is chosen on the images it is tested on."
    console.print(spread + (f"{metric.name} {metric.moment}" if comparison.is_study else of_last), style="dim")
    console.print(comparison.answer.sentence, style="bold", soft_wrap=True, highlight=False)
    for note in [*comparison.remarks, comparison.verdict, comparison.about_looks, comparison.about_images]:
        if note:
            console.print(note, soft_wrap=True, highlight=False)
    console.print(f"Pictures and tables: {comparison.path}", soft_wrap=True)


def print_page(page: Path) -> None:
    """Print where a report is, as an address that a terminal opens, if it could be written."""
    if page.exists():
        wide_console().print(f"Report: {page.resolve().as_uri()}", soft_wrap=True, highlight=False)


def print_conversion(report: Any, written: Any) -> None:
    """Print what a conversion did, layer by layer, and what ``written`` says of the file that it wrote."""
    console = print_changes(report)
    if report.difference:
        before, after = report.difference
        text = f"The outputs differed by {before:.1%} of the old ones' size, and after calibration by {after:.1%}."
        console.print(text, soft_wrap=True, highlight=False)
    console.print(str(written), soft_wrap=True, highlight=False, markup=False)


def print_changes(report: Any, titles: tuple[str, str] = ("Changed", "Not changed")) -> Console:
    """Print a table of the layers that a report says are changed, and one of those that stay."""
    console = wide_console()
    columns = {name: Column(name, ".0f" if name == "groups" else None) for name in CHANGE}
    for changes, title in zip((report.changes, report.kept), titles, strict=True):
        if changes:
            records = [{name: value for name in CHANGE if (value := getattr(change, name))} for change in changes]
            shown = [name for name in CHANGE if any(name in record for record in records)]
            _print_fitted(f"{title}: {counted([len(changes)], 'layer')}", table_of(columns, records).pick(*shown))
    return console


def print_variants(plan: Plan) -> None:
    """Print what each spec changes in a model of one's own, which is made for it; nothing for an architecture."""
    if all(run.config.model is None for run in plan.runs):
        return
    start_quietly()
    from tfnorm.training.data import load_data  # start-up
    from tfnorm.training.network.network import check_networks  # start-up
    from tfnorm.training.provenance import count_trainable  # start-up

    data = load_data(plan.runs[0].config, plan.data)
    for label, network in check_networks((run.config for run in plan.runs), data).items():
        print(f"{label}: {count_trainable(network.model):,} trainable parameters")
        if network.variant is not None:
            print_changes(network.variant)
            print("".join(f"note: {note}\n" for note in network.variant.notes))


def print_plan(plan: Plan) -> None:
    """Print what a sweep would train, and how long that takes."""
    from tfnorm.experiments.engines.estimate import estimate_seconds, planned_rows  # start-up

    threads = plan.threads or 1
    jobs = plan.jobs or default_jobs(threads, plan.runs)
    searched = plan.search.runs if plan.search is not None else ()
    first = plan.runs if plan.auto is None else [*plan.finished, *plan.todo]
    rows = planned_rows([*searched, *first], plan.folder)
    columns = {
        "run": Column("run"), "parameters": Column("trainable parameters", ",.0f"), "rate": Column("learning rate"),
        "epochs": Column("epochs", ".0f"), "state": Column("state"),
    }  # fmt: skip
    records = []
    for row in rows:
        state = "finished" if row.finished else f"{row.done} epochs done" if row.done else "waiting"
        records.append(
            {
                "run": row.run.folder, "parameters": row.parameters, "rate": _rate_of(row.run, plan),
                "epochs": row.epochs, "state": state,
            }
        )  # fmt: skip
    console = _print_fitted(f"{len(rows)} runs in {plan.folder}", table_of(columns, records))
    if not all(row.finished for row in rows[: len(searched)]):
        rates = listed([f"{rate:g}" for rate in dict.fromkeys(run.config.learning_rate for run in searched)])
        chosen = f"The learning rate of each spec is chosen from {rates} on held-out training images first."
        console.print(chosen, soft_wrap=True)
    left = sum(not row.finished for row in rows)
    if not left:
        console.print("Nothing is left to train.")
        return
    most = len(plan.runs) if plan.auto is None or plan.auto.max_runs is None else plan.auto.max_runs
    if plan.auto is not None:
        then = "These come first. Then seeds are added until each pair of specs is decided"
        console.print(f"{then}: at most {most} runs in all.", soft_wrap=True)
    with kept_on_ctrl_c(), Console(stderr=True).status("measuring a few steps of each kind of run"):
        seconds, unknown = estimate_seconds(rows, jobs=jobs, threads=threads)
    if unknown == left:
        console.print("How long they take could not be measured. The data must be here for it; see --data-dir.")
        return
    without = f", {unknown} of them not counted because they could not be measured" if unknown else ""
    console.print(
        f"{left} runs are left: about {duration(seconds)} with {min(jobs, left)} at the same time, from a few "
        f"measured steps{without}.",
        soft_wrap=True,
    )
    if plan.auto is not None:
        others = duration(seconds * (most - len(first) + left) / left)
        console.print(f"All {most} runs would take about {others}.", soft_wrap=True)


def _rate_of(run: PlannedRun, plan: Plan) -> str:
    """Return the learning rate of a planned run, as far as it is known."""
    config = run.config
    if plan.search is not None and config.rates is None and "learning_rate" not in run.point:
        return "chosen first"
    return f"recipe {config.recipe.name}" if config.learning_rate is None else f"{config.learning_rate:g}"


def duration(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def print_sweep(result: Any, folder: Path | None = None) -> None:
    """Print the table of a sweep, and where its files are: in ``folder``, by default its own."""
    from tfnorm.experiments.rows import measure_cells, measures  # start-up

    metric = result.metric
    keys = ("parameters", "seeds", "last_accuracy", "interval", "test_data_loss", "penalty", "misclassified", "seconds")
    columns = {**{axis: Column(axis) for axis in result.axes}, **measures(*keys, images=result.images, metric=metric)}
    rows = [measure_cells(columns, row, metric=metric) for row in result.table.to_dict("records")]
    console = _print_fitted(
        f"{result.images.capitalize()} results: {len(result.runs)} of {len(result.planned)} runs in {result.path}",
        Table(columns, rows),
        ["penalty", "seconds", "parameters", "misclassified", "test_data_loss", "interval", "seeds"],
        "table.csv and the report have all columns.",
    )
    console.print("mean ± standard deviation over seeds, and the interval of the mean", style="dim")
    for line in states(result.decisions, metric) if result.decisions is not None else ():
        console.print(line, soft_wrap=True, highlight=False)
    pictures = result.plotted_axes or result.heat_axes
    console.print(f"{'Pictures and tables' if pictures else 'Tables'}: {folder or result.path}", soft_wrap=True)


def print_reproduction(result: Any) -> None:
    """Print the published numbers beside the measured, and what became of the claims."""
    from tfnorm.experiments.rows import measures  # start-up

    columns = {
        "row": Column("row"),
        **measures("parameters", "seeds"),
        "published": Column(f"published, {result.published.epoch} epoch %", ".2f"),
        "measured": Column("measured %", ".2f", spread="std"),
        "difference": Column("difference", "+.2f"),
        **measures("misclassified"),
    }
    rows = []
    for row in result.table.reset_index().to_dict("records"):
        cells = cells_of(columns, row)
        notes = {"seeds": (row["diverged"], "diverged"), "misclassified": (row["published_misclassified"], "published")}
        for key, (count, word) in notes.items():
            if count and count == count:
                cells[key] = columns[key].cell(row[key], note=f"{count:.0f} {word}")
        rows.append(cells)
    console = _print_fitted(
        result.published.title,
        Table(columns, rows),
        ["misclassified", "parameters", "seeds", "difference"],
        "reproduced.csv has all columns.",
    )
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
