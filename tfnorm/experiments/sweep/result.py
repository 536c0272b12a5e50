"""Many runs from a grid: ``tfnorm.sweep("grid.toml", jobs=2).table``; the file is that of `grid`."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfnorm.errors import RunError, unknown
from tfnorm.experiments.looks import LOOKS, look_of, looks_json, looks_on_record
from tfnorm.experiments.plan import PlannedRun
from tfnorm.experiments.rows import run_row, summary_row
from tfnorm.experiments.statistics import Look
from tfnorm.experiments.sweep.best import Best, best_of_each
from tfnorm.experiments.sweep.folder import GRID, check_threads, grid_text, run_states
from tfnorm.experiments.sweep.grid import AXES, PENALTIES, load_grid, plan_grid
from tfnorm.experiments.sweep.rows import CombinationRow, sweep_rows, varied
from tfnorm.files import PAGE, check_format, results_come_first, write_text
from tfnorm.spec import parse
from tfnorm.training.folder import RunFolder, write_json
from tfnorm.training.runs import Run, check_same_data, evaluated_on

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from tfnorm.experiments.progress import SweepProgress

PLOTTED = ("batch_size", "learning_rate", "dropout", "epochs")
STUDIES = Path(__file__).with_name("studies")


def list_studies() -> list[str]:
    """Return the names of the grids that come with tfnorm.

    Example:
        >>> list_studies()
        ['batch-size', 'groups']
    """
    return sorted(path.stem for path in STUDIES.glob("*.toml"))


def find_grid(name: str | Path) -> Path:
    """Return the file of a grid: a path, or the name of one that comes with tfnorm.

    Raises:
        RunError: If it is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    if str(name) in list_studies():
        return STUDIES / f"{name}.toml"
    if path.suffix or len(path.parts) > 1:
        raise RunError(f"There is no grid file {path}. Give a TOML file, or one of: {', '.join(list_studies())}.")
    raise RunError(unknown("study", str(name), list_studies()) + " A path to a TOML file works too.")


def default_folder(grid: str | Path) -> Path:
    """Return where a grid's runs go unless told: ``runs/`` and the file's name."""
    return Path("runs") / find_grid(grid).stem


def sweep(
    grid: str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    jobs: int | None = None,
    threads: int = 1,
    engine: str = "local",
    address: str | None = None,
    gpus: float = 0.0,
    trackers: str | Sequence[str] = (),
    progress: SweepProgress | None = None,
    format: str = "png",
) -> Sweep:
    """Train all runs of a grid, several at the same time, and write a table.

    A run that is finished in the folder is not trained again, and one that was broken off goes on. A run that fails
    does not stop the others.

    Args:
        grid: A TOML file (see `tfnorm.experiments.sweep.grid`), a name of `list_studies`, or the same as a mapping.
        out: The folder; default ``runs/`` and the file's name, for a mapping ``runs/sweep``.
        jobs: Runs at the same time, without influence on any result; default as many as there are cores and memory for.
        threads: Threads that each computes with, which has some: TensorFlow adds up in another order.
        engine: "local" for processes of this machine, or "ray" for a cluster.
        address: Of the cluster; see `tfnorm.experiments.engines.ray_cluster.run_ray`.
        gpus: For each run on the cluster.
        trackers: "tensorboard", "wandb" or both, which follow each run.
        progress: Is told what happens.
        format: Of the pictures: "png", "svg" or "pdf".

    Returns:
        The `Sweep`.

    Raises:
        TfnormError: If the grid, a number or the folder cannot be used, before anything is trained.
    """
    from tfnorm.experiments.engines.choose import check_engine, run_on
    from tfnorm.training.tracking import check_trackers

    check_format(format)
    trackers = check_trackers(trackers)
    check_engine(engine, address=address, gpus=gpus)
    runs = plan_grid(grid) if isinstance(grid, Mapping) else load_grid(find_grid(grid))
    folder = Path(out) if out is not None else Path("runs/sweep") if isinstance(grid, Mapping) else default_folder(grid)
    check_threads(folder, threads)
    begun = Sweep(runs, folder, threads=threads)
    text = grid_text(grid) if isinstance(grid, Mapping) else find_grid(grid).read_text(encoding="utf-8-sig")
    failures = run_on(
        engine, runs, folder, address=address, gpus=gpus,
        jobs=jobs, threads=threads, trackers=trackers, progress=progress, before=lambda: begun.begin(text),
    )  # fmt: skip
    done = Sweep(runs, folder, threads=threads, failures=failures)
    done.save(format=format)
    return done


class Sweep:
    """The runs of a grid.

    Args:
        planned: All of them.
        path: The folder.
        threads: Threads that each was trained with.
        failures: Folder to sentence, for those that failed.
        out: The folder as the command that repeats the sweep names it; default ``path``.
        note: What a reader has to know of the runs, a sentence.
    """

    def __init__(
        self,
        planned: Sequence[PlannedRun],
        path: str | Path,
        *,
        threads: int = 1,
        failures: Mapping[Path, str] | None = None,
        out: str | Path | None = None,
        note: str = "",
    ) -> None:
        self.planned, self.path, self.threads = list(planned), Path(path), threads
        self.failures, self.out, self.note = dict(failures or {}), Path(out or path), note
        self._table: pd.DataFrame | None = None

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"Sweep of {len(self.planned)} runs{failed} in {str(self.path)!r}\n{self.table.to_string()}"

    def _repr_html_(self) -> str:
        return self.table.to_html()

    @functools.cached_property
    def axes(self) -> list[str]:
        """Norm, and whatever else differs between runs, seeds aside."""
        values = {key: {json.dumps(run.point.get(key)) for run in self.planned} for key in AXES}
        return [key for key in AXES if key == "norm" or len(values[key]) > 1]

    @property
    def images(self) -> str:
        """Word for the images that were evaluated on: "test", or "held-out" for those held out from training."""
        return evaluated_on(self.planned[0].config.holdout)

    @property
    def runs(self) -> list[Run]:
        """The finished runs, in the order of the grid."""
        return [run for _, group in self._groups for run in group]

    @functools.cached_property
    def _groups(self) -> list[tuple[PlannedRun, list[Run]]]:
        """The finished runs of each combination that has any, beside its first planned one."""
        groups: dict[Path, tuple[PlannedRun, list[Run]]] = {}
        for run in self.planned:
            if RunFolder(self.path / run.folder).finished:
                groups.setdefault(run.folder.parent, (run, []))[1].append(Run(self.path / run.folder))
        return list(groups.values())

    @property
    def table(self) -> pd.DataFrame:
        """One row a combination that has a finished run: its axes, then as in `Comparison.table`, then its folder."""
        if self._table is None:
            import pandas as pd

            groups = self._groups
            self._check_data(groups)
            rows = []
            for planned, runs in groups:
                rows.append({**self.values(planned), **summary_row(runs), "folder": planned.folder.parent.as_posix()})
            self._table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=[*self.axes, "folder"])
        return self._table

    @functools.cached_property
    def rows(self) -> list[CombinationRow]:
        """The combinations, finished or not, in the order of the grid."""
        return sweep_rows(self)

    @functools.cached_property
    def looks(self) -> list[Look]:
        """What the folder says was shown before, by the labels of combinations, the oldest first."""
        return looks_on_record(self.path / LOOKS)

    @functools.cached_property
    def best(self) -> Best:
        """The best combination of each norm, and what is known of the differences between them."""
        finished = self.runs
        image = 100 / finished[0].config["data"]["test_images"] if finished else 0.0
        return best_of_each([row.combination for row in self.rows], resolution=image, looks=self.looks)

    def values(self, planned: PlannedRun) -> dict[str, Any]:
        """Return the value of each axis for a planned run."""
        values = {**planned.config.model_dump(mode="json"), **planned.point, "norm": planned.config.norm}
        return {key: values.get(key) for key in self.axes}

    def _check_data(self, groups: Sequence[tuple[PlannedRun, list[Run]]]) -> None:
        """Raise a RunError if a file of data changed between two runs."""
        alike: dict[object, list[Run]] = {}
        for planned, runs in groups:
            config = planned.config
            alike.setdefault((config.image_size, config.dataset == "digits" and config.arch), []).extend(runs)
        for runs in alike.values():
            check_same_data(runs)

    def begin(self, grid: str) -> None:
        """Note the runs, the number of threads and the text of the grid before the first run."""
        write_text(self.path / GRID, grid)
        self._note()

    def _note(self, **more: Any) -> None:
        content = {"threads": self.threads, "axes": self.axes, "out": str(self.out), **more, "runs": run_states(self)}
        write_json(self.path / "sweep.json", content)

    def save(self, *, format: str = "png") -> None:
        """Write sweep.json and what `export` does.

        Args:
            format: Of the pictures: "png", "svg" or "pdf".

        Raises:
            DataError: If the format is another.
        """
        check_format(format)
        self._note(table=json.loads(self.table.to_json(orient="records")))
        self.export(format=format)

    def export(self, folder: str | Path | None = None, *, format: str = "png") -> Path:
        """Write table.csv, runs.csv, a picture for each axis of numbers, heat maps and report.html.

        Args:
            folder: Where to; default the sweep's.
            format: Of the pictures: "png", "svg" or "pdf".

        Returns:
            Where the page is.

        Raises:
            DataError: If the format is another.
        """
        import pandas as pd

        check_format(format)
        folder = self.path if folder is None else Path(folder)
        self._remember_look(folder)
        write_text(folder / "table.csv", self.table.to_csv(index=False))
        rows = [{**self.values(planned), **run_row(run)} for planned, group in self._groups for run in group]
        write_text(folder / "runs.csv", pd.DataFrame(rows).to_csv(index=False))
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
        """Keep in the folder of a page what is about to be shown there, and count what was shown there before."""
        self.looks = [*self.looks, *looks_on_record(folder / LOOKS)] if folder != self.path else self.looks
        self.__dict__.pop("best", None)
        if any(pair.seeds > 1 for pair in self.best.pairs):
            write_json(folder / LOOKS, {"looks": looks_json([*self.looks, look_of(self.best.look)])})

    @property
    def plotted_axes(self) -> list[str]:
        """Axes of numbers with more than one value among the finished runs, and "groups" if those of gn differ."""
        table = self.table.dropna(subset=["last_accuracy"]) if len(self.table) else self.table
        axes = [key for key in PLOTTED if key in self.axes and table[key].nunique() > 1]
        specs = [parse(label) for label in table["norm"]]
        return axes + (["groups"] if len({spec.groups for spec in specs if spec.groups}) > 1 else [])

    def plot(self, axis: str, path: str | Path | None = None) -> Figure:
        """Draw the test accuracy after the last epoch against an axis, one curve for each of everything else.

        Args:
            axis: One of `plotted_axes`.
            path: Where to write the picture, or None.
        """
        from tfnorm.reporting import plot_axis

        others = [key for key in self.axes if key not in ("norm", axis, *PENALTIES)]
        return plot_axis(self.table, axis, others, images=self.images, path=path)

    @property
    def heat_axes(self) -> list[tuple[str, str]]:
        """The pairs of axes that `save` draws heat maps of: the penalties' factors, and norm with each other axis."""
        ended = [row.values for row in self.rows if row.combination.finite]
        axes = [key for key in varied(ended) if len({values[key] for values in ended}) > 1]
        factors = [PENALTIES] if set(PENALTIES) <= set(axes) else []
        return factors + [(key, "norm") for key in axes if "norm" in axes and key != "norm"]

    def plot_heat(self, x: str, y: str, path: str | Path | None = None, *, value: str = "last_accuracy") -> Figure:
        """Draw a heat map of two axes; see `tfnorm.reporting.pictures.heat.plot_heat`.

        Args:
            x: The horizontal axis: one of `axes`, "l1", "l2" or "groups".
            y: The vertical one.
            path: Where to write the picture, or None.
            value: What is drawn.
        """
        import pandas as pd

        from tfnorm.reporting import plot_heat

        rows = [
            {**row.values, **row.measures, "norm": row.spec, "status": row.status, "planned": row.combination.planned}
            for row in self.rows
        ]
        return plot_heat(pd.DataFrame(rows), x, y, value, images=self.images, path=path)

    def report(self, path: str | Path | None = None) -> Path:
        """Write the page of the sweep, ``report.html`` in its folder unless told, and return where it is."""
        from tfnorm.experiments.sweep.page import write_sweep_page

        return write_sweep_page(self, path)
