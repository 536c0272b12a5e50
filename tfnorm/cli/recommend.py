"""The command recommend, and what it shows while it works."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Unpack

import typer
from rich.console import Console

from tfnorm.cli._app import app
from tfnorm.cli.options import DryRun, Margin, settings_as_options, typed_command
from tfnorm.cli.printing import duration, kept_on_ctrl_c, print_page, wide_console
from tfnorm.cli.sweep_progress import SweepDisplay
from tfnorm.errors import TfnormError
from tfnorm.experiments.recommend.plan import (
    CANDIDATES,
    LEAST_SEARCHED,
    TEST_SEEDS,
    RecommendPlan,
    plan_recommendation,
)
from tfnorm.experiments.recommend.space import words_of
from tfnorm.experiments.recommend.state import RecommendProgress, State
from tfnorm.experiments.sequential import FIRST_LOOK
from tfnorm.files import PAGE
from tfnorm.ops import start_quietly
from tfnorm.training.config import SearchSettings


@app.command()
@settings_as_options
def recommend(
    context: typer.Context,
    norms: Annotated[
        list[str] | None,
        typer.Argument(help="Norms to choose from; gn is several numbers of groups. [default: all that fit]"),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC | FILE.toml",
            help="Your present setting: a norm spec, or a file of settings like recipe.toml. [default: bn, for a model "
            "of yours keep, with the recipe's settings]",
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time for all of it, such as 20m or 1h30m. [default: 20m]")
    ] = None,
    runs: Annotated[int | None, typer.Option(help="Runs in all, in place of a time.")] = None,
    margin: Margin = None,
    learning_rate: Annotated[
        str | None,
        typer.Option(metavar="LOW,HIGH | RATE", help="Bounds of the learning rate. [default: by the recipe]"),
    ] = None,
    batch_size: Annotated[
        str | None, typer.Option(metavar="SIZE,SIZE,...", help="Batch sizes to choose from. [default: 16,32,64,128]")
    ] = None,
    dropout: Annotated[
        str | None, typer.Option(metavar="LOW,HIGH | RATE", help="Bounds of the dropout rate. [default: 0,0.3]")
    ] = None,
    l1: Annotated[
        str | None, typer.Option(metavar="FACTOR,...", help="L1 factors to choose from. [default: 0,1e-5,1e-4,1e-3]")
    ] = None,
    l2: Annotated[
        str | None, typer.Option(metavar="FACTOR,...", help="L2 factors to choose from. [default: 0,1e-5,1e-4,1e-3]")
    ] = None,
    ws: Annotated[
        bool | None, typer.Option("--ws/--no-ws", help="Standardize weights always or never. [default: both are tried]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for all files. [default: in runs/]")] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Runs at the same time, in the confirmation and the test; the search has one.")
    ] = None,
    dry_run: DryRun = False,
    **settings: Unpack[SearchSettings],
) -> None:
    """Search norm, penalties, learning rate, batch size and dropout, and confirm what was found against your setting.

    Search, confirmation and test have images of their own. What was interrupted goes on with the same command.

    **Examples**

    `tfnorm recommend --dataset photos --image-size 32 --arch resnet20 --budget 2h`

    `tfnorm recommend bn gn --baseline gn:8+l2=1e-4 --learning-rate 0.01,0.3 --runs 60`

    `tfnorm recommend --model my_net.py:make_model --dataset photos --baseline present.toml`
    """
    plan = plan_recommendation(
        norms or None, baseline=baseline, budget=budget, runs=runs, margin=margin,
        learning_rate=_numbers("learning-rate", learning_rate), batch_size=_numbers("batch-size", batch_size),
        dropout=_numbers("dropout", dropout), l1=_numbers("l1", l1), l2=_numbers("l2", l2), ws=ws, out=out, jobs=jobs,
        call=typed_command(context), **settings,
    )  # fmt: skip
    if dry_run:
        _print_plan(plan)
        return
    start_quietly()
    from tfnorm.experiments.recommend.run import run_recommendation  # start-up

    with (
        kept_on_ctrl_c(),
        RecommendDisplay(Console(stderr=True), plan.folder, "held-out", settings.get("metric")) as progress,
    ):
        found = run_recommendation(plan, progress)
    console = wide_console()
    for line in (found.about_search, found.sentence, found.on_test, f"Train it: {found.command}"):
        console.print(line, soft_wrap=True, highlight=False)
    print_page(found.path / PAGE)


def _numbers(name: str, text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise TfnormError(f"--{name} must be numbers with commas between them. Received: {text!r}.") from None


def _print_plan(plan: RecommendPlan) -> None:
    """Print what would be searched and how long a run takes."""
    from tfnorm.experiments.engines.estimate import measure  # start-up

    console = wide_console()
    share = 100 * plan.share
    yours = plan.config(plan.baseline)
    confirmed, tested = FIRST_LOOK * (1 + CANDIDATES), 2 * len(TEST_SEEDS)
    lines = [
        f"Searched: {plan.space.sentence()}.",
        f"Yours: {words_of(dict(yours))}.",
        f"Images: {share:g} % of the training images score the search, another {share:g} % the confirmation, and both "
        "are trained on the rest; the test images are left alone until the end.",
        f"Runs: at least {LEAST_SEARCHED} to search, {confirmed} to confirm and {tested} on the test set.",
    ]
    with kept_on_ctrl_c(), Console(stderr=True).status("measuring a few steps of your setting"):
        [cost] = measure([plan.config(plan.baseline, "search")])
    if cost is None:
        lines.append("How long a run takes could not be measured. The data must be here for it; see --data-dir.")
    else:
        run = cost[0] + cost[1] * (yours.epochs or 1)
        last = (confirmed + tested) * run / (plan.jobs or 1)
        text = f"A run of your setting takes about {duration(run)}; confirming and testing at least {duration(last)}."
        if plan.seconds is not None:
            searched = int(min(plan.seconds / 2, plan.seconds - last) / run)
            text += f" About {max(LEAST_SEARCHED, searched)} runs are searched."
        lines.append(text)
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)


class RecommendDisplay(SweepDisplay, RecommendProgress):
    """Shows the part that is at work, how many runs it had, and what is left of the budget."""

    state: State | None = None
    name, broken_off = "", 0

    def part(self, name: str, state: State, done: int) -> None:
        """Show that a part begins."""
        self.name, self.state = name, state
        self._lines.images = "test" if name == "test" else "held-out"
        self.planned(0, done, 0)
        self.looked((), 0, 0)
        if name == "confirmation":
            for number, setting in enumerate(state.candidates or (), start=1):
                self._lines.console.print(f"candidate-{number}: {words_of(setting)}", soft_wrap=True, highlight=False)

    def sent(self, run: Path, pid: int) -> None:
        """Show that a run begins; how many will follow is not known in the search."""
        self.waiting += self.name == "search"
        super().sent(run, pid)

    def pruned(self, run: Path, record: Mapping[str, Any]) -> None:
        """Count a run that was broken off."""
        self._end(run)
        self.broken_off += 1
        if self._lines.needed:
            self._lines.write(f"{self._name(run)}: pruned after {record['epoch'] + 1} epochs; {self._counts()}")

    def _counts(self) -> str:
        if self.name != "search" or self.state is None:
            return f"{self.name}: {super()._counts()}{self._left()}"
        number = self.finished_runs + self.failed_runs + self.broken_off + len(self.running)
        return f"search: run {number}, {self.broken_off} pruned{self._left()}"

    def _left(self) -> str:
        if self.state is None or not math.isfinite(left := self.state.left):
            return ""
        return f", {duration(max(0.0, left))} of the budget left"
