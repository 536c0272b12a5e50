"""The page of a sweep: ``write_sweep_page(sweep)`` writes ``report.html``, one file that needs no network."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfnorm.experiments.settings import asked_of, in_common
from tfnorm.experiments.sweep.best import warning
from tfnorm.experiments.sweep.curves import curves
from tfnorm.experiments.sweep.folder import GRID
from tfnorm.experiments.sweep.rows import SHORT, CombinationRow, varied
from tfnorm.experiments.sweep.tables import Tables, pair_table
from tfnorm.files import PAGE, write_text
from tfnorm.text import format_value
from tfnorm.training.provenance import origin_words

if TYPE_CHECKING:
    from tfnorm.experiments.sweep.result import Sweep

STOPS = 17  # of the colour scale


def write_sweep_page(sweep: Sweep, path: str | Path | None = None) -> Path:
    """Write the page of a sweep and return where it is.

    Args:
        sweep: The sweep, whether or not all of its runs are finished.
        path: The file; default ``report.html`` in the sweep's folder.
    """
    path = Path(path) if path is not None else sweep.path / PAGE
    write_text(path, sweep_page(sweep, path.parent))
    return path


def sweep_page(sweep: Sweep, folder: str | Path | None = None) -> str:
    """Return the page of a sweep, as HTML.

    It reads the records and histories of the runs, and the predictions of the best combination of each norm.

    Args:
        sweep: The sweep.
        folder: Where the page will lie, which its links start from; default the sweep's folder.
    """
    from tfnorm.reporting.html import render
    from tfnorm.reporting.palette import styles

    folder = Path(folder) if folder is not None else sweep.path
    rows = sweep.rows
    axes = varied([row.values for row in rows])
    colours = {norm: style.colour for norm, style in styles(str(row.values["norm"]) for row in rows).items()}
    ended = [run for row in rows for run in row.ended]
    config = ended[0].config if ended else {}
    held = sweep.images == "held-out"
    best = sweep.best
    table = Tables(sweep, axes, colours, folder)
    grid = sweep.path / GRID
    return render(
        "sweep.html.j2",
        title=_title(sweep, config),
        subtitle=_subtitle(sweep, rows, axes),
        footer=f"Trained {origin_words(run.config for run in ended)}." if ended else "No run is finished.",
        note=sweep.note,
        images=sweep.images,
        best=best,
        warning=warning(best, images="held-out images" if held else "test set", holdout=held),
        chosen=table.of_best(best, rows),
        pairs=pair_table(best.pairs),
        heat=_heat(rows, axes, sweep.images),
        curves=curves(rows, axes, colours),
        table=table.of_all([row for row in rows if row.ended]),
        norms=list(colours),
        unfinished=_unfinished(sweep),
        shared=_shared([run.config for run in ended], axes),
        grid=grid.read_text(encoding="utf-8-sig") if grid.exists() else None,
        command=f"tfnorm sweep {GRID} --out {shlex.quote(str(sweep.out))} --threads {sweep.threads}",
    )


def _title(sweep: Sweep, config: Mapping[str, Any]) -> str:
    asked = sweep.planned[0].config
    network = "several networks" if "arch" in sweep.axes else asked.arch
    return f"Sweep: {network} on {config['data']['name'] if config else asked.dataset}"


def _subtitle(sweep: Sweep, rows: Sequence[CombinationRow], axes: Sequence[str]) -> str:
    seeds = max(row.combination.planned for row in rows)
    runs = [run for row in rows for run in row.ended]
    over = ", ".join(SHORT.get(key, key) for key in axes)
    counts = [
        "1 combination" if len(rows) == 1 else f"{len(rows)} combinations of {over}",
        "1 seed each" if seeds == 1 else f"{seeds} seeds each",
        f"{len(runs)} of {len(sweep.planned)} runs finished",
    ]
    diverged, failed = sum(run.status == "diverged" for run in runs), len(sweep.failures)
    counts += [f"{diverged} of them diverged"] * bool(diverged) + [f"{failed} failed"] * bool(failed)
    return " · ".join(counts)


def _heat(rows: Sequence[CombinationRow], axes: Sequence[str], images: str) -> dict[str, Any] | None:
    """Return what the heat maps are drawn from, or None if fewer than two axes have several values."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    from tfnorm.reporting.pictures.axis import NAMES
    from tfnorm.reporting.pictures.heat import STATES, VALUES, ordered

    keys = [key for key in axes if len({row.values[key] for row in rows}) > 1]
    if len(keys) < 2:
        return None
    values = {key: ordered([row.values[key] for row in rows if row.values[key] is not None]) for key in keys}
    first = ("l1", "l2") if {"l1", "l2"} <= set(keys) else ("batch_size", "norm")
    x, y = first if set(first) <= set(keys) else (keys[1], keys[0])
    return {
        "axes": [{"key": k, "name": NAMES.get(k, k), "values": [format_value(v) for v in values[k]]} for k in keys],
        "x": x,
        "y": y,
        "measures": [
            {"key": key, "name": name.replace("test", images), "more": more, "digits": digits}
            for key, (name, more, digits) in VALUES.items()
        ],
        "states": {state: text.replace("\n", " ") for state, text in STATES.items()},
        "scale": [to_hex(colormaps["cividis"](i / (STOPS - 1))) for i in range(STOPS)],
        "rows": [
            {
                "at": [None if row.values[k] is None else values[k].index(row.values[k]) for k in keys],
                "measures": [row.measures.get(k) for k in VALUES],
                "std": row.measures.get("last_accuracy_std"),
                "seeds": len(row.ended),
                "planned": row.combination.planned,
                "diverged": row.measures.get("diverged", 0),
                "status": row.status,
                "label": row.combination.label,
            }
            for row in rows
        ],
    }


def _unfinished(sweep: Sweep) -> dict[str, Any]:
    """Return the runs that failed, by their sentence, and those that wait."""
    from tfnorm.training.folder import RunFolder

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
    used = in_common([_used({**config, "asked": asked_of(config, configs)}) for config in configs] or [{}])
    own = (*axes, "norm", "seed")
    return [(key, str(value)) for key, value in used.items() if key not in own and value is not None]


def _used(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run."""
    asked = dict(config["asked"])
    recipe = {f"recipe: {key}": value for key, value in asked.pop("recipe").items() if key not in asked}
    data = {f"data: {key}": config["data"][key] for key in ("train_images", "test_images", "fingerprint")}
    return {**asked, **recipe, **data}
