"""The page of a recommendation, ``report.html``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tfnorm.experiments.recommend.confirm import Contest
from tfnorm.experiments.recommend.plan import YOURS
from tfnorm.experiments.recommend.result import RECIPE, Recommendation, mean_and_spread
from tfnorm.experiments.recommend.search import Trial
from tfnorm.experiments.recommend.space import words_of
from tfnorm.reporting.html import link, render
from tfnorm.reporting.palette import colour
from tfnorm.table import Cell, Column, Table
from tfnorm.text import format_value
from tfnorm.training.provenance import origin_words

NAMES = {
    "norm": "norm", "ws": "weight standardization", "l1": "L1 penalty", "l2": "L2 penalty",
    "learning_rate": "learning rate", "batch_size": "batch size", "dropout": "dropout",
}  # fmt: skip
OUTCOMES = {
    "better": "better", "negligible": "better, but negligibly", "equivalent": "equivalent", "settled": "left open",
    "undecided": "not decided",
}  # fmt: skip
GREY, BLUE = "#8a8f98", "#0072b2"


def recommendation_page(result: Recommendation) -> str:
    """Return the page."""
    contest, metric = result.contest, result.metric
    runs = contest.every
    sizes = runs[0].config["data"]
    return render(
        "recommend.html.j2",
        title=f"Recommendation: {runs[0].config['asked']['arch']} on {sizes['name'].split(',')[0]}",
        subtitle=f"{len(result.trials)} runs searched · {len(runs)} to confirm · {round(result.seconds / 60)} minutes",
        footer=f"Trained {origin_words([run.config for run in runs])}.",
        result=result,
        words={name: result.words(name) for name in contest.settings},
        race=_race(result),
        points=_points(result),
        tested=_contest_table(result.test, result),
        importance=_importance(result),
        slices=_slices(result),
        trials=_trials(result),
        facts=[
            ("trained on, in search and confirmation", f"{sizes['train_images']:,} training images"),
            ("search scored on", f"{result.search_images:,} other training images, with one seed"),
            ("confirmation scored on", f"{sizes['test_images']:,} others again, with other seeds"),
            ("margin", metric.difference(contest.margin)),
            ("searched", result.plan.space.sentence()),
        ],
        recipe=(result.path / RECIPE).read_text(encoding="utf-8"),
    )


def _contest_table(contest: Contest, result: Recommendation) -> Table:
    """Return a row for each setting of a contest: its seeds and what they reached."""
    metric, images = result.metric, "test" if contest.part is None else "held-out"
    columns = {
        "setting": Column("setting"), "seeds": Column("seeds", ".0f", "Runs"),
        "mean": Column(metric.heading(images), metric.pattern, f"{metric.moment[0].upper()}{metric.moment[1:]}"),
    }  # fmt: skip
    rows = []
    for name, seeds in contest.values().items():
        center, spread = mean_and_spread(seeds.values())
        lost = sum(run.status != "finished" for run in contest.runs[name])
        config = result.plan.config(contest.settings[name])
        note = "yours" if name == YOURS else "take this" if name == result.name else ""
        rows.append(
            {
                "setting": Cell(result.words(name), note=note, colour=colour(config.norm)),
                "seeds": Cell(str(len(seeds)), len(seeds), f"{lost} diverged" if lost else ""),
                "mean": columns["mean"].cell(center, spread),
            }
        )
    return Table(columns, rows)


def _race(result: Recommendation) -> Table:
    """Return the same for the confirmation, with the difference to the present setting."""
    table, metric = _contest_table(result.contest, result), result.metric
    columns = {
        **table.columns,
        "difference": Column(f"minus yours{metric.of_differences and ', points'}", metric.pattern),
        "outcome": Column("shown"),
    }
    for name, row in zip(result.contest.settings, table.rows, strict=True):
        if name == YOURS or not isinstance(row, dict):
            continue
        pair = result.against_yours[name]
        sign = 1 if pair.first == name else -1
        low, high = result.ends(name)
        note = f"{metric.signed(low)} to {metric.signed(high)}" if math.isfinite(pair.low) else ""
        row["difference"] = Cell(metric.signed(sign * pair.mean), sign * pair.mean, note)
        shown = OUTCOMES[pair.outcome]
        row["outcome"] = Cell(shown.replace("better", "worse") if pair.better == YOURS else shown)
    return Table(columns, table.rows)


def _points(result: Recommendation) -> dict[str, Any]:
    """Return the figure of the race: a point a seed, a row a setting."""
    traces, hover = [], f"%{{y}}, %{{text}}: %{{x:{result.metric.pattern}}}<extra></extra>"
    for name, seeds in result.values.items():
        label = "yours" if name == YOURS else name.replace("-", " ")
        norm = result.plan.config(result.contest.settings[name]).norm
        traces.append(
            {
                "x": list(seeds.values()), "y": [label] * len(seeds), "name": label, "mode": "markers",
                "marker": {"size": 10, "opacity": 0.65, "color": colour(norm)},
                "text": [f"seed {seed}" for seed in seeds], "hovertemplate": hover,
            }
        )  # fmt: skip
    axis = {"title": {"text": result.metric.axis(f"held-out {result.metric.name}")}}
    return {"data": traces, "layout": {"xaxis": axis, "yaxis": {"autorange": "reversed"}, "margin": {"l": 90}}}


def _importance(result: Recommendation) -> dict[str, Any] | None:
    """Return the figure of how much each setting matters, None if it is not known."""
    found = sorted(result.importance.items(), key=lambda pair: pair[1])
    if not found:
        return None
    bars = {
        "type": "bar", "orientation": "h", "y": [NAMES[key] for key, _ in found], "x": [100 * v for _, v in found],
        "marker": {"color": BLUE}, "hovertemplate": "%{y}: %{x:.0f} %<extra></extra>",
    }  # fmt: skip
    return {
        "data": [bars],
        "layout": {"xaxis": {"title": {"text": "share of the variance (%)"}, "rangemode": "tozero"}},
    }


def _slices(result: Recommendation) -> list[dict[str, Any]]:
    """Return a figure for each searched setting: what each run reached against it."""
    space, metric = result.plan.space, result.metric
    title = {"title": {"text": metric.axis(f"held-out {metric.name}")}}
    found = []
    for key in [*space.choices, *space.ranges]:
        known = [trial for trial in result.trials if key in trial.chosen and math.isfinite(trial.value)]
        traces = [_points_of([t for t in known if t.state == "finished"], key, "finished", {"color": BLUE, "size": 8})]
        hollow = {"color": GREY, "size": 7, "symbol": "circle-open"}
        traces.append(_points_of([t for t in known if t.state != "finished"], key, "broken off", hollow))
        axis: dict[str, Any] = {"title": {"text": NAMES[key]}}
        if key in space.choices:
            axis |= {"type": "category", "categoryarray": [_text(v) for v in space.choices[key]]}
        elif key == "learning_rate":
            axis |= {"type": "log", "dtick": "D2"}
        figure = {"data": traces, "layout": {"xaxis": axis, "yaxis": title}}
        found.append({"key": key, "name": NAMES[key], "figure": figure})
    return found


def _points_of(trials: Sequence[Trial], key: str, name: str, marker: Mapping[str, Any]) -> dict[str, Any]:
    values = [trial.chosen[key] for trial in trials]
    return {
        "x": [v if key in ("learning_rate", "dropout") else _text(v) for v in values],
        "y": [trial.value for trial in trials], "name": name, "mode": "markers", "marker": dict(marker),
        "text": [words_of(trial.settings) for trial in trials], "hovertemplate": "%{text}<br>%{y:.2f}<extra></extra>",
    }  # fmt: skip


def _text(value: Any) -> str:
    return {True: "with", False: "without"}[value] if isinstance(value, bool) else format_value(value)


def _trials(result: Recommendation) -> Table:
    """Return the table of all runs of the search."""
    metric = result.metric
    columns = {
        "run": Column("run", ".0f"), "setting": Column("setting"), "state": Column("ended"),
        "epochs": Column("epochs", ".0f", "Trained"),
        "value": Column(metric.heading("held-out"), metric.pattern, "After the last epoch that was trained"),
    }  # fmt: skip
    rows = [
        {
            "run": columns["run"].cell(trial.number),
            "setting": Cell(words_of(trial.settings), href=link(trial.folder), colour=colour(trial.settings["norm"])),
            "state": Cell(trial.state, note=trial.reason[:160]),
            "epochs": columns["epochs"].cell(trial.epochs),
            "value": columns["value"].cell(trial.value),
        }
        for trial in result.trials
    ]
    return Table(columns, rows)
