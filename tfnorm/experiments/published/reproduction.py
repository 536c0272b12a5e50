"""Published comparisons trained again: ``reproduce("A", seeds=3).table`` has published numbers beside measured ones."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from tfnorm.experiments.comparison.comparison import Comparison
from tfnorm.experiments.engines.choose import check_failures, run_on
from tfnorm.experiments.plan import Plan
from tfnorm.experiments.progress import SweepProgress
from tfnorm.experiments.published.claims import Finding, Measured, arrival, examine
from tfnorm.experiments.published.comparisons import PublishedComparison, load_published, plan_reproduction
from tfnorm.experiments.rows import mean, summary_row
from tfnorm.experiments.settings import in_common, shared_settings
from tfnorm.files import write_text
from tfnorm.training.provenance import origins
from tfnorm.training.records import write_json
from tfnorm.training.runs import Run


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

    Runs are processes of one thread each, so ``jobs`` has no influence on any result. What is finished in the folder is
    not trained again, and what was broken off goes on.

    Args:
        name: "A" to "E", or "A+" and so on under a better recipe; see `list_published`.
        seeds: The number of seeds of every row. Defaults to the numbers of the comparison.
        precision: "float32" or "bfloat16".
        epochs: Replaces the recipe's, for a try.
        data_dir: The folder that is searched first for the data.
        out: The folder. Defaults to ``runs/reproduce-NAME``.
        jobs: Runs at the same time. Defaults to as many as there are cores and memory for.
        progress: Receives progress events.

    Returns:
        The `Reproduction`.

    Raises:
        TfnormError: If there is no such comparison, or a setting, the data or the folder cannot be used, before
            anything is trained.
        FailedRunsError: If runs could not be trained. The others are kept.
    """
    plan = plan_reproduction(
        name, seeds=seeds, precision=precision, epochs=epochs, data_dir=data_dir, out=out, jobs=jobs
    )
    return run_reproduction(name, plan, progress)


def run_reproduction(name: str, plan: Plan, progress: SweepProgress | None = None) -> Reproduction:
    """Train the runs of a plan of `plan_reproduction`, and write what became of them; see `reproduce`."""
    check_failures(run_on(plan, progress=progress))
    groups: dict[str, list[Run]] = {}
    for run in plan.runs:
        groups.setdefault(run.point["row"], []).append(Run(plan.folder / run.folder))
    reproduction = Reproduction(load_published(name), groups, plan.folder)
    reproduction.save()
    return reproduction


class Reproduction:
    """A published comparison in a folder, and for the label of each row the finished runs that repeat it."""

    def __init__(self, published: PublishedComparison, groups: Mapping[str, Sequence[Run]], path: str | Path) -> None:
        self.published, self.path = published, Path(path)
        self.comparison = Comparison([run for runs in groups.values() for run in runs], path, groups=groups)

    def __repr__(self) -> str:
        return f"Reproduction of {self.published.name} in {str(self.path)!r}\n{self.table.to_string()}"

    def _repr_html_(self) -> str:
        return self.table.to_html()

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """One row a configuration: what was published beside what was measured.

        Accuracies are test accuracies in percent of the epoch that was published, last or best, ``measured`` the mean
        and ``std`` the standard deviation (n - 1) over seeds; ``difference`` is measured minus published, in points,
        and ``reached`` whether it is at least minus the tolerance of the comparison.
        """
        rows = {}
        for row in self.published.row:
            runs = self.comparison.groups[row.label]
            summary, published = summary_row(runs), row.published
            measured = summary[f"{self.published.epoch}_accuracy"]
            rows[row.label] = {
                "as_written": published.as_written if published else None,
                "parameters": summary["parameters"],
                "seeds": summary["seeds"],
                "diverged": summary["diverged"],
                "published": published.accuracy if published else math.nan,
                "measured": measured,
                "std": summary[f"{self.published.epoch}_accuracy_std"],
                "difference": measured - published.accuracy if published else math.nan,
                "reached": bool(measured >= published.accuracy - self.published.tolerance) if published else None,
                "last_accuracy": summary["last_accuracy"],
                "published_train": published.train_accuracy if published else None,
                "train": mean([100 * run.history["accuracy"].iloc[-1] for run in runs if run.status == "finished"]),
                "published_misclassified": published.misclassified if published else None,
                "misclassified": summary["misclassified"],
                "seconds": summary["seconds"],
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("row")

    @functools.cached_property
    def findings(self) -> Sequence[Finding]:
        """What became of each claim."""
        rows = {label: _measured(runs, self.published.epoch) for label, runs in self.comparison.groups.items()}
        return [examine(claim, rows, resolution=self.comparison.one_image) for claim in self.published.claim]

    def save(self) -> None:
        """Write reproduced.csv, reproduced.json, and all that `Comparison.save` writes."""
        self.comparison.save()
        write_text(self.path / "reproduced.csv", self.table.to_csv())
        records = [run.config for run in self.comparison.runs]
        data = in_common([record["data"] for record in records])
        content = {
            "preset": self.published.model_dump(mode="json"),
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
