"""The plan of a sweep: the runs of a grid, checked before anything is trained."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfnorm.errors import RunError, unknown
from tfnorm.experiments.plan import Auto, Fingerprint, Plan, check_portable
from tfnorm.experiments.sweep.folder import RECORD, grid_text, is_sweep
from tfnorm.experiments.sweep.grid import adds_seeds, load_grid, plan_grid
from tfnorm.training.config import RUNS
from tfnorm.training.records import read_json

STUDIES = Path(__file__).with_name("studies")


def list_studies() -> list[str]:
    """Return the names of the grids that come with tfnorm.

    Example:
        >>> list_studies()
        ['batch-size', 'groups']
    """
    return sorted(path.stem for path in STUDIES.glob("*.toml"))


def find_grid(name: str | Path) -> Path:
    """Return the file of a grid, given its path or the name of one that comes with tfnorm; else raise a RunError."""
    path = Path(name)
    if path.is_file():
        return path
    if str(name) in list_studies():
        return STUDIES / f"{name}.toml"
    if path.suffix or len(path.parts) > 1:
        raise RunError(f"There is no grid file {path}. Give a TOML file, or one of: {', '.join(list_studies())}.")
    raise RunError(unknown("study", str(name), list_studies()) + " A path to a TOML file works too.")


@dataclass(frozen=True)
class SweepPlan(Plan):
    """The runs of a grid, and how they are trained. A plan is checked when it is made."""

    grid: str = ""  # the text of a TOML file

    def check(self, fingerprint: Fingerprint | None = None, classes: Sequence[str] | None = None) -> None:
        """Raise a RunError if the folder holds a sweep or runs that cannot be taken up; see `Plan.check`."""
        if is_sweep(self.folder):
            begun = read_json(self.folder / RECORD, {"threads": int})["threads"]
            if begun != self.threads:
                raise RunError(
                    f"The sweep in {self.folder} was begun with threads={begun}, and now there are {self.threads}, "
                    f"which changes results. Use threads={begun} or another output folder."
                )
        super().check(fingerprint, classes)


def plan_sweep(grid: str | Path | Mapping[str, Any], *, out: str | Path | None = None, **options: Any) -> SweepPlan:
    """Return the checked plan of a sweep, without importing Keras; see `tfnorm.sweep`. The options are those of `Plan`.

    Raises:
        TfnormError: If the grid, an option or the folder cannot be used.
    """
    if isinstance(grid, Mapping):
        folder, runs = RUNS / "sweep", plan_grid(grid)
        check_portable(runs)
        text = grid_text(grid)
    else:
        file = find_grid(grid)
        folder, runs, text = RUNS / file.stem, load_grid(file), file.read_text(encoding="utf-8-sig")
    auto = Auto() if adds_seeds(tomllib.loads(text)) else None
    return SweepPlan(Path(out) if out is not None else folder, runs, grid=text, auto=auto, **options)
