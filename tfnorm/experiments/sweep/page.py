"""The page of a sweep, one HTML file that needs no network."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfnorm.experiments.settings import asked_of, in_common
from tfnorm.experiments.statistics import Difference
from tfnorm.experiments.sweep.best import warning
from tfnorm.experiments.sweep.charts import curves, heat
from tfnorm.experiments.sweep.combination import SHORT
from tfnorm.experiments.sweep.folder import GRID
from tfnorm.experiments.sweep.grid import varied
from tfnorm.experiments.sweep.result import SweepResult
from tfnorm.experiments.sweep.tables import Tables, decision_table, pair_table
from tfnorm.reporting.html import render
from tfnorm.reporting.palette import styles
from tfnorm.table import Table
from tfnorm.text import counted
from tfnorm.training.folder import RunFolder
from tfnorm.training.provenance import origin_words


def sweep_page(sweep: SweepResult, folder: str | Path | None = None) -> str:
    """Return the page of a sweep, whether or not all of its runs are finished.

    Its links start from the folder that it is written to, by default the sweep's own.
    """
    combinations, best = sweep.combinations, sweep.best
    axes = varied([each.values for each in combinations])
    colours = {norm: style.colour for norm, style in styles(each.norm for each in combinations).items()}
    configs = [run.config for run in sweep.runs]
    held = sweep.images == "held-out"
    tables = Tables(sweep, axes, colours, Path(folder) if folder is not None else sweep.path)
    grid = sweep.path / GRID
    return render(
        "sweep.html.j2",
        title=_title(sweep),
        subtitle=_subtitle(sweep, axes),
        footer=f"Trained {origin_words(configs)}." if configs else "No run is finished.",
        images=sweep.images,
        metric=sweep.metric,
        best=best,
        warning=warning(best, images="held-out images" if held else "test set", holdout=held),
        chosen=tables.of_best(best),
        pairs=_pairs(sweep),
        sequential=sweep.auto,
        heat=heat(combinations, axes, sweep.images),
        curves=curves(combinations, axes, colours),
        table=tables.of_all([each for each in combinations if each.runs]),
        norms=list(colours),
        unfinished=_unfinished(sweep),
        shared=_shared(configs, axes),
        grid=grid.read_text(encoding="utf-8-sig") if grid.exists() else None,
        command=f"tfnorm sweep {GRID} --out {shlex.quote(str(sweep.out))} --threads {sweep.threads}",
    )


def _pairs(sweep: SweepResult) -> Table:
    """Return the table of differences: of the best of each norm, or of all specs of each setting that was decided."""
    if sweep.decisions is not None:
        return decision_table(sweep.decisions, sweep.metric)
    return pair_table([pair for pair in sweep.best.pairs if isinstance(pair, Difference)], sweep.metric)


def _title(sweep: SweepResult) -> str:
    asked = sweep.planned[0].config
    network = "several networks" if "arch" in sweep.axes else asked.arch
    return f"Sweep: {network} on {sweep.runs[0].config['data']['name'] if sweep.runs else asked.dataset}"


def _subtitle(sweep: SweepResult, axes: Sequence[str]) -> str:
    many = len(sweep.combinations)
    counts = [
        f"{many} combinations of {', '.join(SHORT.get(axis, axis) for axis in axes)}" if many > 1 else "1 combination",
        f"{counted((each.planned for each in sweep.combinations), 'seed')} each",
        f"{len(sweep.runs)} of {len(sweep.planned)} runs finished",
    ]
    diverged, failed = sum(run.status == "diverged" for run in sweep.runs), len(sweep.failures)
    counts += [f"{diverged} of them diverged"] * bool(diverged) + [f"{failed} failed"] * bool(failed)
    return " · ".join(counts)


def _unfinished(sweep: SweepResult) -> dict[str, Any]:
    """Return the runs that failed, by the reason, and those that wait."""
    failed: dict[str, list[str]] = {}
    for place, sentence in sweep.failures.items():
        failed.setdefault(sentence, []).append(place.as_posix())
    waiting = [
        run.folder.as_posix()
        for run in sweep.planned
        if run.folder not in sweep.failures and not RunFolder(sweep.path / run.folder).finished
    ]
    counts = [(len(sweep.failures), "failed"), (len(waiting), "waiting")]
    summary = " and ".join(f"{count} {word}" for count, word in counts if count)
    runs = "run" if len(sweep.failures) + len(waiting) == 1 else "runs"
    return {"failed": failed, "waiting": waiting, "summary": f"{summary} {runs}" if summary else ""}


def _shared(configs: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> list[tuple[str, str]]:
    """Return the settings that all finished runs share, as they were used."""
    found = []
    for config in configs:
        asked = asked_of(config, configs)
        recipe = {f"recipe: {key}": value for key, value in asked.pop("recipe").items() if key not in asked}
        data = {f"data: {key}": config["data"][key] for key in ("train_images", "test_images", "fingerprint")}
        found.append({**asked, **recipe, **data})
    used = in_common(found or [{}])
    left_out = (*axes, "norm", "seed")
    return [(key, str(value)) for key, value in used.items() if key not in left_out and value is not None]
