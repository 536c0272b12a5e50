"""What a sweep will do and how long it will take, before it starts."""

from __future__ import annotations

import os
import queue
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfnorm.experiments.engines.processes import WorkerProcess
from tfnorm.experiments.plan import PlannedRun
from tfnorm.history import read_history
from tfnorm.training.config import TrainConfig
from tfnorm.training.folder import RunFolder


@dataclass(frozen=True)
class PlannedRow:
    """A run as ``--dry-run`` shows it: its trainable parameters, and how many of its epochs are on disk."""

    run: PlannedRun
    parameters: int | None  # None for a model of your own, which is not made yet
    epochs: int
    done: int
    finished: bool


def planned_rows(runs: Sequence[PlannedRun], out: str | Path) -> list[PlannedRow]:
    """Return what is known about runs before they start, without importing Keras."""
    rows, parameters = [], {}
    for run in runs:
        config, folder = run.config, RunFolder(Path(out) / run.folder)
        key = config.arch, config.norm
        if key not in parameters:
            plan = config.plan()
            parameters[key] = None if plan is None else plan.trainable_parameters
        epochs = config.resolved().epochs or 0
        done = min(epochs, len(read_history(folder.history_path))) if folder.history_path.exists() else 0
        rows.append(PlannedRow(run, parameters[key], epochs, done, folder.finished))
    return rows


def estimate_seconds(rows: Sequence[PlannedRow], *, jobs: int, threads: int = 1) -> tuple[float, int]:
    """Estimate how long the unfinished runs take, from a few measured steps.

    Each network is measured with each kind of normalization, at its smallest and its largest batch size: the time of an
    epoch is a constant and a part by batch size between them.

    Returns:
        Seconds with so many jobs at the same time, and how many runs are not among them because they could not be
        measured.
    """
    todo = [row for row in rows if not row.finished]
    kinds: dict[object, dict[int, TrainConfig]] = {}
    for row in todo:
        kinds.setdefault(_cost(row.run), {}).setdefault(row.run.config.batch_size or 1, row.run.config)
    samples = [(kind, size, sizes[size]) for kind, sizes in kinds.items() for size in sorted({min(sizes), max(sizes)})]
    found = measure([config for _, _, config in samples], threads=threads)
    measured = {(kind, size): cost for (kind, size, _), cost in zip(samples, found, strict=True) if cost}
    seconds, unknown_runs = 0.0, 0
    for row in todo:
        kind, size = _cost(row.run), row.run.config.batch_size or 1
        small, large = min(kinds[kind]), max(kinds[kind])
        if (kind, small) not in measured or (kind, large) not in measured:
            unknown_runs += 1
            continue
        (ready, slow), (_, fast) = measured[kind, small], measured[kind, large]
        share = (1 / size - 1 / large) / (1 / small - 1 / large) if small < large else 0.0
        seconds += ready + (fast + (slow - fast) * share) * (row.epochs - row.done)
    return seconds / max(1, min(jobs, len(todo))), unknown_runs


def measure(configs: Sequence[TrainConfig], *, threads: int = 1) -> list[tuple[float, float] | None]:
    """Return the seconds that each configuration needs to get ready and for an epoch, None where it cannot be trained.

    They are measured one after another in a process of its own, as `run_local` would train them.
    """
    found: list[tuple[float, float] | None] = []
    with open(os.devnull, "wb") as nowhere:
        worker = WorkerProcess(threads, nowhere, queue.Queue())
        try:
            for config in configs:
                worker.send({"kind": "measure", "config": config.model_dump(mode="json")})
                event: dict[str, Any] = {"event": "sent"}
                while event and event["event"] not in ("measured", "failed"):
                    _, event = worker.events.get()
                if not event:
                    break
                found.append(tuple(event["values"]) if event["event"] == "measured" else None)
        finally:
            worker.close()
    return found + [None] * (len(configs) - len(found))


def _cost(run: PlannedRun) -> object:
    """Return what decides, besides the batch size, how long an epoch of a run takes."""
    config = run.config
    kind = config.norm.split("+")[0].split(":")[0]
    return config.arch, kind, config.precision, config.augmentation, bool(config.dropout), config.devices
