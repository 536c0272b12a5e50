"""The sweep that `tfnorm.sweep` returns: its numbers, its pictures and its files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tfnorm.experiments.looks import LOOKS, looks_json, looks_on_record
from tfnorm.experiments.rows import run_row
from tfnorm.experiments.sweep.folder import read_record, write_record
from tfnorm.experiments.sweep.grid import PENALTIES, axis_values, varied
from tfnorm.experiments.sweep.page import sweep_page
from tfnorm.experiments.sweep.result import SweepResult
from tfnorm.files import PAGE, check_format, results_come_first, write_text
from tfnorm.reporting.pictures.axis import plot_axis
from tfnorm.reporting.pictures.heat import plot_heat
from tfnorm.spec import parse
from tfnorm.table import frame_of
from tfnorm.training.records import write_json

PLOTTED = ("batch_size", "learning_rate", "dropout", "epochs")


class Sweep(SweepResult):
    """The runs of a grid.

    Args:
        planned: All runs.
        path: The folder of the sweep.
        threads: Threads that each run was trained with.
        failures: The folder of each failed run with the reason.
        out: The folder in the command that repeats the sweep. Defaults to ``path``.
        auto: Whether seeds are added until it is decided. Then the planned runs are all that there may be.
        margin: The largest difference that does not matter, see `tfnorm.sweep`.
    """

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"Sweep of {len(self.planned)} runs{failed} in {str(self.path)!r}\n{self.table.to_string()}"

    def _repr_html_(self) -> str:
        return self.table.to_html()

    def save(self, *, format: str = "png") -> None:
        """Write sweep.json and what `export` does.

        Args:
            format: The format of the pictures: "png", "svg" or "pdf".

        Raises:
            DataError: If the format is another.
        """
        check_format(format)
        table = json.loads(self.table.to_json(orient="records"))
        more: dict[str, Any] = {"table": table, "auto": self.auto, "margin": self.margin}
        if self.decisions is not None:
            more["decisions"] = [
                {"setting": name, **dataclasses.asdict(pair), "outcome": pair.outcome}
                for name, found in self.decisions.items()
                for pair in found.pairs
            ]
        write_record(self.path, self.planned, self.threads, self.out, self.failures, **more)
        self.export(format=format)

    def export(self, folder: str | Path | None = None, *, format: str = "png") -> Path:
        """Write table.csv, runs.csv, a picture for each axis of numbers, heat maps and report.html.

        Args:
            folder: Where to write them. Defaults to the sweep's folder.
            format: The format of the pictures: "png", "svg" or "pdf".

        Returns:
            Where the page is.

        Raises:
            DataError: If the format is another.
        """
        check_format(format)
        folder = self.path if folder is None else Path(folder)
        self._remember_look(folder)
        write_text(folder / "table.csv", self.table.to_csv(index=False))
        rows = [
            {**axis_values(planned, self.axes), **run_row(run, self.metric)}
            for planned, combination in self._groups
            for run in combination.runs
        ]
        write_text(folder / "runs.csv", frame_of(rows).to_csv(index=False))
        for axis in self.plotted_axes:
            with results_come_first(f"the picture {axis}.{format}"):
                self.plot(axis, folder / f"{axis}.{format}")
        for x, y in self.heat_axes:
            with results_come_first(f"the picture heat-{x}-{y}.{format}"):
                self.plot_heat(x, y, folder / f"heat-{x}-{y}.{format}")
        with results_come_first(f"the page {PAGE}"):
            self.report(folder / PAGE)
        return folder / PAGE

    def _remember_look(self, folder: Path) -> None:
        """Record in the folder of a page what the page is about to show, and count what was shown there before."""
        if folder != self.path:
            self.looks = [*self.looks, *looks_on_record(folder / LOOKS)]
            self.__dict__.pop("best", None)
        if any(pair.seeds > 1 for pair in self.best.pairs):
            look = {combination.label: combination.accuracies for combination in self.best.chosen}
            write_json(folder / LOOKS, {"looks": looks_json([*self.looks, look])})

    @property
    def plotted_axes(self) -> list[str]:
        """The axes of numbers with several values among the finished runs, and "groups" if those of gn differ."""
        ended = [combination for combination in self.combinations if combination.finite]
        values = {axis: {each.values.get(axis) for each in ended} - {None} for axis in PLOTTED}
        values["groups"] = {parse(each.spec).groups for each in ended} - {None}
        return [axis for axis in (*PLOTTED, "groups") if len(values[axis]) > 1]

    def plot(self, axis: str, path: str | Path | None = None) -> Figure:
        """Draw the metric after the last epoch against an axis, one curve for each of everything else.

        Args:
            axis: One of `plotted_axes`.
            path: Where to write the picture, or None.
        """
        others = [key for key in self.axes if key not in ("norm", axis, *PENALTIES)]
        return plot_axis(self.table, axis, others, images=self.images, metric=self.metric, path=path)

    @property
    def heat_axes(self) -> list[tuple[str, str]]:
        """The pairs of axes that `save` draws heat maps of: the penalties' factors, and norm with each other axis."""
        ended = [combination.values for combination in self.combinations if combination.finite]
        axes = [axis for axis in varied(ended) if len({values[axis] for values in ended}) > 1]
        factors = [PENALTIES] if set(PENALTIES) <= set(axes) else []
        return factors + [(axis, "norm") for axis in axes if "norm" in axes and axis != "norm"]

    def plot_heat(self, x: str, y: str, path: str | Path | None = None, *, value: str | None = None) -> Figure:
        """Draw a heat map of two axes; see `tfnorm.reporting.pictures.heat.plot_heat`.

        Args:
            x: The horizontal axis: one of `axes`, "l1", "l2" or "groups".
            y: The vertical axis.
            path: Where to write the picture, or None.
            value: What is drawn. Defaults to the metric.
        """
        rows = [
            {**each.values, **each.measures, "norm": each.spec, "status": each.status, "planned": each.planned}
            for each in self.combinations
        ]
        return plot_heat(frame_of(rows), x, y, value, images=self.images, metric=self.metric, path=path)

    def report(self, path: str | Path | None = None) -> Path:
        """Write the page of the sweep, one file that opens without a network, and return where it is.

        Args:
            path: The file. Defaults to report.html in the sweep's folder.
        """
        path = self.path / PAGE if path is None else Path(path)
        write_text(path, sweep_page(self, path.parent))
        return path


def open_sweep(folder: str | Path) -> Sweep:
    """Return the sweep in a folder, whether or not all of its runs are finished, or its data still there.

    Args:
        folder: The folder that `tfnorm.sweep` wrote.

    Raises:
        RunError: If it holds no sweep, or one that cannot be read.
    """
    return Sweep(**read_record(Path(folder)))
