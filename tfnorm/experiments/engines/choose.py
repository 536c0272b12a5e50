"""The engines by name: "local" for processes of this machine, "ray" for a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tfnorm.errors import FailedRunsError
from tfnorm.experiments.engines.local import run_local
from tfnorm.experiments.engines.ray_cluster import run_ray
from tfnorm.experiments.plan import PlannedRun, check_engine


def run_on(
    engine: str,
    runs: Iterable[PlannedRun],
    out: str | Path,
    *,
    address: str | None = None,
    gpus: float = 0.0,
    **options: Any,
) -> dict[Path, str]:
    """Train runs with an engine, "local" for `run_local` or "ray" for `run_ray`."""
    check_engine(engine, address=address, gpus=gpus)
    if engine == "local":
        return run_local(runs, out, **options)
    return run_ray(runs, out, address=address, gpus=gpus, **options)


def check_failures(failures: Mapping[Path, str]) -> None:
    """Raise a FailedRunsError with a line for each run that failed, if any did."""
    if failures:
        raise FailedRunsError("\n".join(f"{place}: {sentence}" for place, sentence in failures.items()))
