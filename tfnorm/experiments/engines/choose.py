"""The engines by name: "local" for processes of this machine, "ray" for a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tfnorm.errors import FailedRunsError, TfnormError, unknown
from tfnorm.experiments.engines.local import run_local
from tfnorm.experiments.plan import PlannedRun
from tfnorm.keras_settings import is_installed

ENGINES = ("local", "ray")


def check_engine(engine: str, *, address: str | None = None, gpus: float = 0.0) -> None:
    """Raise a TfnormError if there is no such engine, or if it cannot use an address or GPUs."""
    if engine not in ENGINES:
        raise TfnormError(unknown("engine", engine, ENGINES))
    if engine == "ray" and not is_installed("ray"):
        raise TfnormError("ray is not installed. Run: pip install 'tfnorm[ray]', or use the engine 'local'.")
    if engine == "local" and (address is not None or gpus):
        raise TfnormError("An address and a number of GPUs belong to the engine 'ray'. Received: engine='local'.")


def run_on(
    engine: str,
    runs: Iterable[PlannedRun],
    out: str | Path,
    *,
    address: str | None = None,
    gpus: float = 0.0,
    **options: Any,
) -> dict[Path, str]:
    """Train runs with an engine that `check_engine` accepts: "local" for `run_local`, "ray" for `run_ray`."""
    if engine == "local":
        return run_local(runs, out, **options)
    from tfnorm.experiments.engines.ray_cluster import run_ray  # start-up

    return run_ray(runs, out, address=address, gpus=gpus, **options)


def check_failures(failures: Mapping[Path, str]) -> None:
    """Raise a FailedRunsError with a line for each run that failed, if any did."""
    if failures:
        raise FailedRunsError("\n".join(f"{place}: {sentence}" for place, sentence in failures.items()))
