"""Published comparisons trained again: ``reproduce("A", seeds=3).table`` has published numbers beside measured ones."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfnorm.errors import RunError
from tfnorm.experiments.comparison.result import Comparison
from tfnorm.experiments.engines.choose import check_failures, run_on
from tfnorm.experiments.plan import PlannedRun
from tfnorm.experiments.progress import SweepProgress
from tfnorm.experiments.published.claims import Finding, Measured, arrival, examine
from tfnorm.experiments.published.presets import TEACHER, Preset, load_preset
from tfnorm.experiments.rows import summary_row
from tfnorm.experiments.settings import in_common, shared_settings
from tfnorm.files import write_text
from tfnorm.ops import start_quietly, use_deterministic_operations
from tfnorm.training.config import TrainConfig
from tfnorm.training.data import load_data
from tfnorm.training.folder import RunFolder, read_json, write_json
from tfnorm.training.predict import VIEWS, Views, recorded_views, views_accuracy
from tfnorm.training.provenance import origins
from tfnorm.training.runs import Run

if TYPE_CHECKING:
    import pandas as pd


def default_folder(preset: Preset, *, precision: str | None = None, epochs: int | None = None) -> Path:
    """Return where the runs go unless told, with a mark of settings that are not the preset's.

    Example:
        >>> str(default_folder(load_preset("A"), precision="bfloat16"))
        'runs/reproduce-A-bfloat16'
    """
    marks = [mark for mark in (precision, epochs and f"{epochs}-epochs") if mark and mark != "float32"]
    return Path("runs") / "-".join(["reproduce", preset.name, *marks])


def plan_in(
    folder: Path, preset: Preset, *, seeds: int | None = None, **settings: Any
) -> tuple[dict[str, list[PlannedRun]], PlannedRun | None]:
    """Return label to runs, and the run of the teacher, or None if the preset has none.

    Before the teacher of ``folder`` is trained, the others are planned as if there was none.

    Raises:
        RunError: If the folder has runs that were not taught, and the preset has a teacher.
    """
    teacher = preset.plan_teacher(**settings)
    if teacher is not None and RunFolder(folder / teacher.folder).finished:
        settings = {**settings, "teacher": folder / teacher.folder}
    planned = preset.plan(seeds=seeds, **settings)
    if teacher is not None:
        for run in (run for row in planned.values() for run in row):
            config = RunFolder(folder / run.folder).config_path
            if config.exists() and "teacher" not in read_json(config, {"asked": {}})["asked"]:
                raise RunError(
                    f"The run in {config.parent} had no teacher, and those of {preset.name} have one now. "
                    "Choose another output folder."
                )
    return planned, teacher


def reproduce(
    name: str,
    *,
    seeds: int | None = None,
    precision: str | None = None,
    epochs: int | None = None,
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
    jobs: int | None = None,
    progress: SweepProgress | None = None,
) -> Reproduction:
    """Train a published comparison again with its own recipe, and write what became of its numbers and claims.

    Runs are processes of one thread each, so that ``jobs`` has no part in any result. What is finished in the folder is
    not trained again, and what was broken off goes on. Where the preset has a teacher, it is trained first, in the
    folder ``teacher``; where it has views, all networks are tested with these too, last.

    Args:
        name: "A" to "E", or "A+" and so on under a better recipe; see `presets.list_presets`.
        seeds: Of every row, in place of the preset's numbers.
        precision: "float32" or "bfloat16".
        epochs: In place of the recipe's, for a try.
        data_dir: Folder that is looked in first for the data.
        out: The folder; default ``runs/reproduce-NAME``.
        jobs: Runs at the same time; default as many as there are cores and memory for.
        progress: Is told what happens.

    Returns:
        The `Reproduction`.

    Raises:
        TfnormError: If there is no such comparison, or a setting, the data or the folder cannot be used, before
            anything is trained.
        FailedRunsError: If runs could not be trained; the others are kept.
    """
    preset = load_preset(name)
    settings = {"precision": precision, "epochs": epochs, "data_dir": data_dir}
    folder = Path(out) if out is not None else default_folder(preset, precision=precision, epochs=epochs)
    planned, teacher = plan_in(folder, preset, seeds=seeds, **settings)
    if teacher is not None:
        check_failures(run_on("local", [teacher], folder, jobs=1, progress=progress))
        planned, _ = plan_in(folder, preset, seeds=seeds, **settings)
    runs = [run for row in planned.values() for run in row]
    check_failures(run_on("local", runs, folder, jobs=jobs, progress=progress))
    done = {label: [Run(folder / run.folder) for run in row] for label, row in planned.items()}
    reproduction = Reproduction(preset, done, folder)
    reproduction.comparison.save()  # it needs no data, and is kept whatever becomes of the views
    if preset.views is not None:
        _test_with_views(reproduction.comparison.runs, preset.views, runs[0].config, progress or SweepProgress())
    reproduction.save()
    return reproduction


def _test_with_views(runs: Sequence[Run], views: str, config: TrainConfig, progress: SweepProgress) -> None:
    """Have the accuracy with views of all finished runs on record; ``config`` says where the data are."""
    missing = [run for run in runs if run.status == "finished" and recorded_views(run, views) is None]
    if missing:
        start_quietly()
        use_deterministic_operations()
        data = load_data(config)
        for run in missing:
            progress.tested_with_views(run.path, len(VIEWS[views]), views_accuracy(run, views, data))


class Reproduction:
    """A published comparison and the runs that repeat it.

    Args:
        preset: What was published.
        groups: Label of each row to its finished runs.
        path: The folder.
    """

    def __init__(self, preset: Preset, groups: Mapping[str, Sequence[Run]], path: str | Path) -> None:
        self.preset, self.path = preset, Path(path)
        self.comparison = Comparison([run for runs in groups.values() for run in runs], path, groups=groups)

    def __repr__(self) -> str:
        return f"Reproduction of {self.preset.name} in {str(self.path)!r}\n{self.table.to_string()}"

    def _repr_html_(self) -> str:
        return self.table.to_html()

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """One row a configuration: what was published beside what was measured.

        Accuracies are test accuracies in percent of the epoch that was published, last or best, ``measured`` the mean
        and ``std`` the standard deviation (n - 1) over seeds; ``difference`` is measured minus published, in points,
        and ``reached`` whether it is at least minus the preset's tolerance, and the aim reached if the preset has one.
        If it has views, ``views_accuracy`` and ``views_accuracy_std`` are the test accuracy with logits averaged over
        these, after the last epoch, and ``views_reached`` whether that reaches the aim.
        """
        import pandas as pd

        rows = {}
        for row in self.preset.row:
            runs = self.comparison.groups[row.label]
            summary, said = summary_row(runs), row.published
            measured = summary[f"{self.preset.epoch}_accuracy"]
            rows[row.label] = {
                "as_written": said.as_written if said else None,
                "parameters": summary["parameters"],
                "seeds": summary["seeds"],
                "diverged": summary["diverged"],
                "published": said.accuracy if said else math.nan,
                "measured": measured,
                "std": summary[f"{self.preset.epoch}_accuracy_std"],
                "difference": measured - said.accuracy if said else math.nan,
                "reached": self._reached(measured, said.accuracy if said else None),
                **self._with_views(runs),
                "last_accuracy": summary["last_accuracy"],
                "published_train": said.train_accuracy if said else None,
                "train": _mean([100 * run.history["accuracy"].iloc[-1] for run in runs if run.status == "finished"]),
                "published_misclassified": said.misclassified if said else None,
                "misclassified": summary["misclassified"],
                "seconds": summary["seconds"],
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("row")

    def _with_views(self, runs: Sequence[Run]) -> dict[str, Any]:
        import pandas as pd

        if self.preset.views is None:
            return {}
        found = pd.Series(_accuracies(_seen(self.preset.views, runs)), dtype="float64")
        mean, std = found.mean(skipna=False), found.std(skipna=False)
        aim = self.preset.aim
        return {
            "views_accuracy": mean,
            "views_accuracy_std": std,
            "views_reached": None if aim is None else bool(mean >= aim),
        }

    def _views_record(self, name: str) -> dict[str, Any]:
        """Return what the views are, the accuracy with each seed, and by what, on what and when they were computed."""
        seen = {label: _seen(name, runs) for label, runs in self.comparison.groups.items()}
        records = [record for row in seen.values() for record in row if record is not None]
        return {
            "number": len(VIEWS[name]),
            "of": VIEWS[name].description,
            "accuracies": {label: _accuracies(row) for label, row in seen.items()},
            "origins": origins(records),
            "started": min((record["started"] for record in records), default=None),
        }

    def _reached(self, measured: float, published: float | None) -> bool | None:
        bars = [self.preset.aim, None if published is None else published - self.preset.tolerance]
        given = [bar for bar in bars if bar is not None]
        return all(measured >= bar for bar in given) if given else None

    @functools.cached_property
    def teacher(self) -> Run | None:
        """The run whose network taught all others, None if they learned from the labels."""
        return None if self.preset.teacher is None else Run(self.path / TEACHER)

    @property
    def views(self) -> Views | None:
        """How the networks were looked at once more, None if they were not."""
        return None if self.preset.views is None else VIEWS[self.preset.views]

    @functools.cached_property
    def findings(self) -> Sequence[Finding]:
        """What became of each claim."""
        rows = {label: _measured(runs, self.preset.epoch) for label, runs in self.comparison.groups.items()}
        return [examine(claim, rows, resolution=self.comparison.one_image) for claim in self.preset.claim]

    def save(self) -> None:
        """Write reproduced.csv and reproduced.json, beside what `Comparison.save` writes."""
        write_text(self.path / "reproduced.csv", self.table.to_csv())
        records = [run.config for run in self.comparison.runs]
        data = in_common([record["data"] for record in records])
        content = {
            "preset": self.preset.model_dump(mode="json"),
            "settings": shared_settings(records),
            "data": {key: value for key, value in data.items() if key != "data_dir"},
            **({"teacher": _taught_by(self.teacher)} if self.teacher else {}),
            **({} if self.preset.views is None else {"views": self._views_record(self.preset.views)}),
            "origins": origins(records),
            "started": min(record["started"] for record in records),
            "table": json.loads(self.table.reset_index().to_json(orient="records")),
            "claims": [dataclasses.asdict(finding) for finding in self.findings],
            "verdict": self.comparison.verdict,
        }
        write_json(self.path / "reproduced.json", content)


def _seen(views: str, runs: Sequence[Run]) -> list[dict[str, Any] | None]:
    """Return the record with views and seed, one a finished run; None where it was not computed."""
    found = [(run.seed, recorded_views(run, views)) for run in runs if run.status == "finished"]
    return [None if record is None else {**record, "asked": {"seed": seed}} for seed, record in found]


def _accuracies(records: Sequence[dict[str, Any] | None]) -> list[float | None]:
    return [None if record is None else record["accuracy"] for record in records]


def _measured(runs: Sequence[Run], epoch: str) -> Measured:
    """Return what claims are examined on; a run that diverged has no number."""
    accuracy, gap, epochs = {}, {}, {}
    for run in runs:
        history = run.history
        test = 100 * history["val_accuracy"]
        ended = run.status == "finished"
        accuracy[run.seed] = float(test.max() if epoch == "best" else test.iloc[-1]) if ended else math.nan
        gap[run.seed] = float(100 * history["accuracy"].iloc[-1] - test.iloc[-1]) if ended else math.nan
        epochs[run.seed] = float(arrival(list(test))) if ended else math.nan
    return Measured(accuracy, gap, epochs)


def _taught_by(teacher: Run) -> dict[str, Any]:
    asked = teacher.config["asked"]
    return {
        **{key: asked[key] for key in ("arch", "norm", "epochs", "seed")},
        "recipe": asked["recipe"]["name"],
        "parameters": teacher.config["trainable_parameters"],
        "accuracy": 100 * float(teacher.history["val_accuracy"].iloc[-1]),
    }


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan
