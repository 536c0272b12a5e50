"""How often each run was tried, and why the failed ones failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfnorm.experiments.plan import Plan, PlannedRun
from tfnorm.experiments.progress import SweepProgress

MOST_TRIES = 3
# Where processes keep decoded pictures while a plan is carried out, so that each machine decodes them once.
DECODED = ".decoded"


class Attempts:
    """Counts the tries of each run, and passes its events on to a progress.

    An event is a mapping: ``event`` is the name of a method of `SweepProgress`, ``values`` are its arguments after the
    run.
    """

    def __init__(self, plan: Plan, progress: SweepProgress) -> None:
        self.plan, self.progress = plan, progress
        self.out, self.trackers = plan.folder, list(plan.trackers)
        self.decoded = plan.folder / DECODED
        self.counts: Counter[Path] = Counter()
        self.failures: dict[Path, str] = {}

    def next_task(self, run: PlannedRun) -> dict[str, Any]:
        """Count one more try of a run, and return the task for a worker."""
        self.counts[run.folder] += 1
        config, folder = run.config.model_dump(mode="json"), str(self.out / run.folder)
        task = {"kind": "train", "config": config, "folder": folder, "trackers": self.trackers}
        return {**task, "decoded": str(self.decoded.resolve())}

    def receive(self, run: PlannedRun, event: Mapping[str, Any]) -> bool:
        """Pass an event of a run on, and return whether the run ended with it."""
        name, values = event["event"], event["values"]
        if name == "failed":
            self.failures[run.folder] = values[0]
        run_first = () if name == "read" else (self.out / run.folder,)
        getattr(self.progress, name)(*run_first, *values)
        return name in ("finished", "failed")

    def more(self) -> list[PlannedRun]:
        """Return the runs to train now that all others have ended, see `Plan.next_round`."""
        return self.plan.next_round(self.progress, self.failures)

    def retry(self, run: PlannedRun, reason: str, remedy: str = "") -> bool:
        """Return whether a run is tried again after its process was lost for a reason. If not, it has failed."""
        if self.counts[run.folder] < MOST_TRIES:
            self.progress.interrupted(self.out / run.folder, f"{reason}; it goes on in another one.")
            return True
        self.receive(run, {"event": "failed", "values": [f"{reason}, in the last of {MOST_TRIES} tries.{remedy}"]})
        return False
