"""The comparison that `tfnorm.compare` returns: its numbers, its pictures, and its files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tfnorm import reporting
from tfnorm.datasets.images import Images
from tfnorm.errors import RunError
from tfnorm.experiments.comparison import page
from tfnorm.experiments.comparison.predictions import Predictions, images_of
from tfnorm.experiments.comparison.result import Result
from tfnorm.experiments.looks import RECORD, looks_json, remember_families
from tfnorm.experiments.rows import run_row, value_of
from tfnorm.experiments.sequential import FIRST_LOOK
from tfnorm.experiments.settings import calls_of, in_common, shared_settings
from tfnorm.experiments.verdict import DIFFERENT_DATA
from tfnorm.files import PAGE, check_format, results_come_first, write_text, write_whole
from tfnorm.reporting.pictures.curves import LOSSES
from tfnorm.table import frame_of
from tfnorm.training.records import write_json
from tfnorm.training.runs import Run, slug

PICTURE = "misclassified.png"


class Comparison(Result):
    """Runs of one network with several normalizations.

    Each ``plot_`` method draws one picture, and writes it if a path is given. The path's ending says in which format:
    .png, .svg or .pdf.

    Args:
        runs: Finished runs.
        path: The folder that tables and pictures are written to.
        groups: Label to the runs that differ in the seed alone; default by norm spec.
        notes: Sentences that its page shows on top, such as which runs were left out.
        metric: What the verdict is about, see `tfnorm.metrics.metric.metric_of`. Default: what the runs are about,
            which must be the same for all.
        margin: The largest difference that does not matter, in points for metrics in percent, else in the unit of the
            metric. Default: half a point, or one test image if that is more; none for metrics that are not in percent.

    Attributes:
        groups: The runs of each spec, in the order given.
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
        if self.families is not None:
            looked_at = [spec for d in self.pairs if d.seeds >= FIRST_LOOK for spec in (d.first, d.second)]
            remember_families(self.path, {"": looked_at}, {"": self.families})
        write_text(self.path / "table.csv", self.table.to_csv())
        rows = [run_row(run, self.metric) for run in self.runs]
        write_text(self.path / "runs.csv", frame_of(rows).to_csv(index=False))
        configs = [run.config for run in self.runs]
        about = {} if self.metric.is_accuracy else {"metric": self.metric.key, "direction": self.metric.direction}
        content = {
            **about,
            "calls": calls_of(self.runs),
            "settings": shared_settings(configs),
            "data": in_common([config["data"] for config in configs]),
            "margin": self._margin,
            "error_spent": self.error_spent,
            "verdict": self.verdict,
            "table": json.loads(self.table.reset_index().to_json(orient="records")),
            "differences": json.loads(self.differences.to_json(orient="records")),
            "looks": looks_json([*self.looks, self.accuracies]),
            "runs": [self._run_json(run) for run in self.runs],
        }
        write_json(self.path / RECORD, content)
        self.save_pictures(format)
        with results_come_first(f"the page {PAGE}"):
            self.report()

    def _run_json(self, run: Run) -> dict[str, Any]:
        """Return what the record of the comparison says of a run; nothing of what its loop did not record."""
        place = str(run.path.relative_to(self.path)) if run.path.is_relative_to(self.path) else str(run.path)
        record: dict[str, Any] = {"spec": run.label, "seed": run.seed, "status": run.status, "path": place}
        record |= {key: run.config[key] for key in ("trainable_parameters", "initial_kernels") if key in run.config}
        if self.is_study:
            value = value_of(run, self.metric)
            record["value"] = value / self.metric.scale if math.isfinite(value) else None
        if (curve := run.history.get(self.metric.key)) is not None:
            name = "test_accuracy" if self.metric.is_accuracy else self.metric.key
            record[f"{name}_by_epoch"] = [float(value) if math.isfinite(value) else None for value in curve]
        return record

    def report(self, path: str | Path | None = None) -> Path:
        """Write the page about all of it, one file that opens without a network, and return where it is.

        Args:
            path: Default report.html in the folder.
        """
        path = self.path / PAGE if path is None else Path(path)
        write_text(path, page.comparison_page(self, path.parent))
        return path

    def plot_loss(self, path: str | Path | None = None) -> Figure:
        """Draw training and test loss without penalty, all specs together."""
        if self.is_study:
            found = self.histories_with("loss", "val_loss") or self.histories_with("loss")
            title, losses = self.title("Loss"), ("loss", "val_loss")
            return reporting.plot_loss(found, title=title, images=self.images, losses=losses, path=path)
        return reporting.plot_loss(self.histories, title=self.title("Loss"), images=self.images, path=path)

    def plot_accuracy(self, path: str | Path | None = None) -> Figure:
        """Draw training and test accuracy, or the metric, all specs together, the best epoch marked."""
        metric = self.metric
        found = self.histories_with(metric.key)
        title = self.title(f"{metric.name[0].upper()}{metric.name[1:]}" if metric.of_images else metric.name)
        return reporting.plot_accuracy(found, title=title, images=self.images, path=path, metric=metric)

    def plot_gap(self, path: str | Path | None = None) -> Figure:
        """Draw training minus test accuracy over the epochs, all specs together."""
        title, metric = self.title("Generalization gap"), self.metric
        found = self.histories_with(metric.key, metric.training)
        return reporting.plot_gap(found, title=title, images=self.images, path=path, metric=metric)

    def plot_differences(self, path: str | Path | None = None) -> Figure:
        """Draw the difference in test accuracy of every pair of specs with its 95 % interval, the real ones marked.

        Raises:
            RunError: If there is one spec only, or runs are on different data.
        """
        if not self.same_data:
            raise RunError(DIFFERENT_DATA)
        title, metric = self.title(f"Differences in {self.metric.name}"), self.metric
        return reporting.plot_differences(self.differences, title=title, images=self.images, path=path, metric=metric)

    def plot_confusion(self, path: str | Path | None = None) -> Figure:
        """Draw the confusion matrix of every spec, mean over the seeds that did not diverge.

        Raises:
            RunError: If there are no predictions, or runs were tested on different images.
        """
        found = self._predictions()
        without = [label for label in self.groups if label not in found.logits]
        logits = {**found.logits, **found.by_seed([0], without)}
        logits = {label: logits[label] for label in self.groups}
        title = self.title("Confusion of classes")
        names, reason = found.class_names, self._without_logits
        return reporting.plot_confusion(found.labels, logits, names, title=title, without=reason, path=path)

    def plot_overlap(self, path: str | Path | None = None) -> Figure:
        """Draw how many test images are wrong under exactly which specs, the models of a seed beside each other.

        Raises:
            RunError: If there are no predictions, or runs were tested on different images.
        """
        found, title = self._predictions(), self.title("Wrong under the same models")
        logits = found.by_seed(list(dict.fromkeys(run.seed for run in self.runs)), list(self.groups))
        images, without = self.images, self._without_logits
        return reporting.plot_overlap(found.labels, logits, title=title, images=images, without=without, path=path)

    @property
    def _without_logits(self) -> str:
        """Why a spec has no logits: of a study's runs some failed, and others were recorded without any."""
        return "no predictions" if self.is_study else "diverged"

    def _can_draw(self, curves: str) -> bool:
        """Return whether the histories have what a picture of curves needs."""
        metric, losses = self.metric, ("loss", "val_loss") if self.is_study else LOSSES
        if curves == "loss":
            return metric.key not in losses and bool(self.histories_with(losses[0]))
        if curves == "gap":
            return bool(metric.training) and bool(self.histories_with(metric.key, metric.training))
        return bool(self.histories_with(metric.key))

    def _predictions(self) -> Predictions:
        found, reason = self.predictions
        if found is None:
            raise RunError(reason)
        return found

    def save_pictures(self, format: str = "png") -> None:
        """Write each picture, and one a spec of the images that its first seed with finite logits misclassifies.

        What cannot be drawn is left out: differences of one spec, and mistakes of runs on different images. Where the
        test images are not on this machine, misclassified ones stay the .png that was written with the run. A picture
        that fails is a warning, and the others are written.
        """
        plots = {"loss": self.plot_loss, self.metric.slot: self.plot_accuracy, "gap": self.plot_gap}
        plots = {name: plot for name, plot in plots.items() if self._can_draw(name)}
        plots |= {"differences": self.plot_differences} if self.pairs else {}
        plots |= {"confusion": self.plot_confusion, "overlap": self.plot_overlap} if self.predictions[0] else {}
        for name, plot in plots.items():
            with results_come_first(f"the picture {name}.{format}"):
                plot(self.path / f"{name}.{format}")
        images: dict[str, Images | None] = {}
        for label, runs in self.groups.items():
            run = next((run for run in runs if (run.path / PICTURE).exists()), None)
            if run is None:
                continue
            data = run.config["data"]["fingerprint"]
            path = self.path / f"misclassified-{slug(label)}.{format}"
            if format != "png" and data not in images:
                images[data] = images_of(run)[0]
            found = images.get(data)
            with results_come_first(f"the picture {path.name}"):
                if found is None:
                    write_whole(path.with_suffix(".png"), (run.path / PICTURE).read_bytes())
                else:
                    names = run.config["data"]["class_names"]
                    wrong = reporting.misclassified_data(run.labels, run.logits, class_names=names, from_logits=True)
                    reporting.plot_misclassified(found, wrong, title=wrong.title(run.label, run.images), path=path)
