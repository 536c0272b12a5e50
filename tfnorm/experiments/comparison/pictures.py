"""The pictures of a comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tfnorm import reporting
from tfnorm.errors import RunError
from tfnorm.experiments.comparison.predictions import Predictions, images_of
from tfnorm.experiments.comparison.result import Result
from tfnorm.experiments.verdict import DIFFERENT_DATA
from tfnorm.files import results_come_first, write_whole
from tfnorm.training.runs import slug

PICTURE = "misclassified.png"


class Pictures(Result):
    """A result that can be drawn. Each method draws one picture, and writes it if a path is given.

    A path's ending says in which format: .png, .svg or .pdf.
    """

    def plot_loss(self, path: str | Path | None = None) -> Figure:
        """Draw training and test loss without penalty, all specs together."""
        return reporting.plot_loss(self.histories, title=self.title("Loss"), images=self.images, path=path)

    def plot_accuracy(self, path: str | Path | None = None) -> Figure:
        """Draw training and test accuracy, all specs together, the best epoch marked."""
        return reporting.plot_accuracy(self.histories, title=self.title("Accuracy"), images=self.images, path=path)

    def plot_gap(self, path: str | Path | None = None) -> Figure:
        """Draw training minus test accuracy over the epochs, all specs together."""
        title = self.title("Generalization gap")
        return reporting.plot_gap(self.histories, title=title, images=self.images, path=path)

    def plot_differences(self, path: str | Path | None = None) -> Figure:
        """Draw the difference in test accuracy of every pair of specs with its 95 % interval, the real ones marked.

        Raises:
            RunError: If there is one spec only, or runs are on different data.
        """
        if not self.same_data:
            raise RunError(DIFFERENT_DATA)
        title = self.title("Differences in accuracy")
        return reporting.plot_differences(self.differences, title=title, images=self.images, path=path)

    def plot_confusion(self, path: str | Path | None = None) -> Figure:
        """Draw the confusion matrix of every spec, mean over the seeds that did not diverge.

        Raises:
            RunError: If there are no predictions, or runs were tested on different images.
        """
        found = self._predictions()
        without = [label for label in self.groups if label not in found.logits]
        logits = {**found.logits, **found.by_seed([0], without)}
        return reporting.plot_confusion(
            found.labels,
            {label: logits[label] for label in self.groups},
            found.class_names,
            title=self.title("Confusion of classes"),
            path=path,
        )

    def plot_overlap(self, path: str | Path | None = None) -> Figure:
        """Draw how many test images are wrong under exactly which specs, the models of a seed beside each other.

        Raises:
            RunError: If there are no predictions, or runs were tested on different images.
        """
        found, title = self._predictions(), self.title("Wrong under the same models")
        logits = found.by_seed(list(dict.fromkeys(run.seed for run in self.runs)), list(self.groups))
        return reporting.plot_overlap(found.labels, logits, title=title, images=self.images, path=path)

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
        plots = {"loss": self.plot_loss, "accuracy": self.plot_accuracy, "gap": self.plot_gap}
        plots |= {"differences": self.plot_differences} if self.pairs else {}
        plots |= {"confusion": self.plot_confusion, "overlap": self.plot_overlap} if self.predictions[0] else {}
        for name, plot in plots.items():
            with results_come_first(f"the picture {name}.{format}"):
                plot(self.path / f"{name}.{format}")
        self._save_misclassified(format)

    def _save_misclassified(self, format: str) -> None:
        """Copy the pictures of misclassified images from the runs, or draw them anew in another format."""
        images: dict[str, np.ndarray | None] = {}
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
