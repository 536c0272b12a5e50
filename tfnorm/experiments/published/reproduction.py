"""Published comparisons trained again: ``reproduce("A", seeds=3).table`` has published numbers beside measured ones."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfnorm.experiments.comparison.result import Comparison
from tfnorm.experiments.engines.choose import check_failures, run_on
from tfnorm.experiments.progress import SweepProgress
from tfnorm.experiments.published.claims import Finding, Measured, arrival, examine
from tfnorm.experiments.published.presets import Preset, load_preset
from tfnorm.experiments.rows import summary_row
from tfnorm.experiments.settings import in_common, shared_settings
from tfnorm.files import write_text
from tfnorm.training.provenance import origins
from tfnorm.training.records import write_json
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
    not trained again, and what was broken off goes on.

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
    planned = preset.plan(seeds=seeds, precision=precision, epochs=epochs, data_dir=data_dir)
    folder = Path(out) if out is not None else default_folder(preset, precision=precision, epochs=epochs)
    runs = [run for row in planned.values() for run in row]
    check_failures(run_on("local", runs, folder, jobs=jobs, progress=progress))
    done = {label: [Run(folder / run.folder) for run in row] for label, row in planned.items()}
    reproduction = Reproduction(preset, done, folder)
    reproduction.save()
    return reproduction


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
        and ``reached`` whether it is at least minus the preset's tolerance.
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
                "reached": bool(measured >= said.accuracy - self.preset.tolerance) if said else None,
                "last_accuracy": summary["last_accuracy"],
                "published_train": said.train_accuracy if said else None,
                "train": _mean([100 * run.history["accuracy"].iloc[-1] for run in runs if run.status == "finished"]),
                "published_misclassified": said.misclassified if said else None,
                "misclassified": summary["misclassified"],
                "seconds": summary["seconds"],
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("row")

    @functools.cached_property
    def findings(self) -> Sequence[Finding]:
        """What became of each claim."""
        rows = {label: _measured(runs, self.preset.epoch) for label, runs in self.comparison.groups.items()}
        return [examine(claim, rows, resolution=self.comparison.one_image) for claim in self.preset.claim]

    def save(self) -> None:
        """Write reproduced.csv, reproduced.json, and all that `Comparison.save` writes."""
        self.comparison.save()
        write_text(self.path / "reproduced.csv", self.table.to_csv())
        records = [run.config for run in self.comparison.runs]
        data = in_common([record["data"] for record in records])
        content = {
            "preset": self.preset.model_dump(mode="json"),
            "settings": shared_settings(records),
            "data": {key: value for key, value in data.items() if key != "data_dir"},
            "origins": origins(records),
            "started": min(record["started"] for record in records),
            "table": json.loads(self.table.reset_index().to_json(orient="records")),
            "claims": [dataclasses.asdict(finding) for finding in self.findings],
            "verdict": self.comparison.verdict,
        }
        write_json(self.path / "reproduced.json", content)


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


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan
