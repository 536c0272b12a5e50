"""How far a recommendation has come, in its folder, and how much of its budget is used."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfnorm.errors import RunError
from tfnorm.experiments.progress import SweepProgress
from tfnorm.experiments.recommend.plan import PLAN, STATE, RecommendPlan
from tfnorm.training.records import read_json, write_json


class RecommendProgress(SweepProgress):
    """Receives the progress events of a recommendation. This one ignores them."""

    def part(self, name: str, state: State, done: int) -> None:
        """Receive that a part begins: "search", "confirmation" or "test"; the state says what is left.

        ``done`` is how many runs the search had already.
        """

    def pruned(self, run: Path, record: Mapping[str, Any]) -> None:
        """Receive that a run of the search was broken off, and the record of its last epoch."""


class State:
    """What is done, and the time that is used; it is kept after each run, so that a kill loses little."""

    def __init__(self, plan: RecommendPlan) -> None:
        self.plan, self.path = plan, plan.folder / STATE
        plan.check_folder()
        write_json(plan.folder / PLAN, {"asked": plan.asked, "call": plan.call})
        found = read_json(self.path) if self.path.exists() else {}
        self.before: float = found.get("seconds", 0.0)
        self.fingerprint: str | None = found.get("data")
        self.candidates: Sequence[Mapping[str, Any]] | None = found.get("candidates")
        self.confirmed: bool = found.get("confirmed", False)
        self.began = time.monotonic()

    def save(self) -> None:
        """Write it to the folder."""
        content = {"seconds": self.used, "data": self.fingerprint, "candidates": self.candidates}
        write_json(self.path, {**content, "confirmed": self.confirmed})

    @property
    def used(self) -> float:
        """Seconds that all calls have taken so far."""
        return self.before + time.monotonic() - self.began

    @property
    def left(self) -> float:
        """Seconds that are left of the budget."""
        return math.inf if self.plan.seconds is None else self.plan.seconds - self.used

    def check_data(self, fingerprint: str) -> None:
        """Raise a RunError if the search began on other data."""
        if self.fingerprint not in (None, fingerprint):
            raise RunError(
                f"The data have changed since the search in {self.plan.folder} began. Restore them, or choose another "
                "output folder."
            )
        self.fingerprint = fingerprint
