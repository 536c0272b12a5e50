"""The comparison that `tfnorm.compare` returns: its numbers, its pictures, and its files."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from tfnorm.experiments.comparison import page
from tfnorm.experiments.comparison.pictures import Pictures
from tfnorm.experiments.looks import RECORD, look_of, looks_json
from tfnorm.experiments.rows import run_row
from tfnorm.experiments.settings import calls_of, in_common, shared_settings
from tfnorm.files import PAGE, check_format, results_come_first, write_text
from tfnorm.training.records import write_json


class Comparison(Pictures):
    """Runs of one network with several normalizations.

    Args:
        runs: Finished runs.
        path: The folder that tables and pictures are written to.
        groups: Label to the runs that differ in the seed alone; default by norm spec.
        notes: Sentences that its page shows on top, such as which runs were left out.
    """

    def __repr__(self) -> str:
        return f"Comparison of {len(self.groups)} normalizations in {str(self.path)!r}\n{self.table.to_string()}"

    def _repr_html_(self) -> str:
        return self.table.to_html()

    def save(self, *, format: str = "png") -> None:
        """Write report.html, table.csv, runs.csv, comparison.json and the pictures; see `save_pictures`.

        Args:
            format: Of the pictures: "png", "svg" or "pdf".

        Raises:
            DataError: If the format is another.
        """
        check_format(format)
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / "table.csv", self.table.to_csv())
        write_text(self.path / "runs.csv", pd.DataFrame(map(run_row, self.runs)).to_csv(index=False))
        runs = [
            {
                "spec": run.label,
                "seed": run.seed,
                "status": run.status,
                "path": str(run.path.relative_to(self.path)) if run.path.is_relative_to(self.path) else str(run.path),
                "trainable_parameters": run.config["trainable_parameters"],
                "initial_kernels": run.config["initial_kernels"],
                "test_accuracy_by_epoch": [
                    None if pd.isna(value) else float(value) for value in run.history["val_accuracy"]
                ],
            }
            for run in self.runs
        ]
        configs = [run.config for run in self.runs]
        content = {
            "calls": calls_of(self.runs),
            "settings": shared_settings(configs),
            "data": in_common([config["data"] for config in configs]),
            "verdict": self.verdict,
            "table": json.loads(self.table.reset_index().to_json(orient="records")),
            "differences": json.loads(self.differences.to_json(orient="records")),
            "looks": looks_json([*self.looks, look_of(self.accuracies)]),
            "runs": runs,
        }
        write_json(self.path / RECORD, content)
        self.save_pictures(format)
        with results_come_first(f"the page {PAGE}"):
            self.report()

    def report(self, path: str | Path | None = None) -> Path:
        """Write the page about all of it, one file that opens without a network, and return where it is.

        Args:
            path: Default report.html in the folder.
        """
        path = self.path / PAGE if path is None else Path(path)
        write_text(path, page.comparison_page(self, path.parent))
        return path
