"""The pictures of a comparison."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfnorm.errors import RunError
from tfnorm.experiments.settings import counted
from tfnorm.experiments.statistics import listed
from tfnorm.files import results_come_first, write_whole
from tfnorm.training.runs import slug

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

    from tfnorm.experiments.comparison.page import Predicted
    from tfnorm.experiments.statistics import Difference
    from tfnorm.training.runs import Run

PICTURE = "misclassified.png"


class Pictures(ABC):
    """The pictures of runs that belong together: each method draws one, and writes it if a path is given.

    A path's ending says in which format: .png, .svg or .pdf.
    """

    runs: list[Run]
    path: Path

    @property
    @abstractmethod
    def groups(self) -> Mapping[str, list[Run]]:
        """The runs of each label."""

    @property
    @abstractmethod
    def histories(self) -> Mapping[str, list[pd.DataFrame]]:
        """The history of each run of each label."""

    @property
    @abstractmethod
    def pairs(self) -> Sequence[Difference]:
        """The differences between labels, one a pair."""

    @property
    def images(self) -> str:
        """Word for the images that were evaluated on: "test", or "held-out" for those held out from training."""
        return "held-out" if self.runs and all(run.images == "held-out" for run in self.runs) else "test"

    def title(self, what: str) -> str:
        """Return ``what`` with network, data and number of seeds."""
        networks = listed(list(dict.fromkeys(run.config["asked"]["arch"] for run in self.runs)))
        data = listed(list(dict.fromkeys(run.config["data"]["name"] for run in self.runs)))
        seeds = [len(group) for group in self.groups.values()]
        return f"{what}: {networks} on {data}, {counted(seeds, 'seed')}"

    def plot_loss(self, path: str | Path | None = None) -> Figure:
        """Draw training and test loss without penalty, all specs together."""
        from tfnorm.reporting import plot_loss

        return plot_loss(self.histories, title=self.title("Loss"), images=self.images, path=path)

    def plot_accuracy(self, path: str | Path | None = None) -> Figure:
        """Draw training and test accuracy, all specs together, the best epoch marked."""
        from tfnorm.reporting import plot_accuracy

        return plot_accuracy(self.histories, title=self.title("Accuracy"), images=self.images, path=path)

    def plot_gap(self, path: str | Path | None = None) -> Figure:
        """Draw training minus test accuracy over the epochs, all specs together."""
        from tfnorm.reporting import plot_gap

        return plot_gap(self.histories, title=self.title("Generalization gap"), images=self.images, path=path)

    def plot_differences(self, path: str | Path | None = None) -> Figure:
        """Draw the difference in test accuracy of every pair of specs with its 95 % interval, the real ones marked.

        Raises:
            RunError: If there is one spec only, or runs are on different data.
        """
        if not self.pairs and len(self.groups) > 1:
            raise RunError("The runs are on different data, so that no difference between them is told.")
        from tfnorm.reporting import plot_differences

        return plot_differences(self.pairs, title=self.title("Differences in accuracy"), images=self.images, path=path)

    def plot_confusion(self, path: str | Path | None = None) -> Figure:
        """Draw the confusion matrix of every spec, mean over the seeds that did not diverge.

        Raises:
            RunError: If there are no predictions, or runs were tested on different images.
        """
        from tfnorm.reporting import plot_confusion

        labels, logits = self._predictions()
        nothing = _nothing(logits)
        seen = {label: list(logits.get(label, {}).values()) or [nothing] for label in self.groups}
        told = (run for label, runs in self.groups.items() for run in runs if run.seed in logits.get(label, {}))
        names = next(told).config["data"]["class_names"]
        return plot_confusion(labels, seen, names, title=self.title("Confusion of classes"), path=path)

    def plot_overlap(self, path: str | Path | None = None) -> Figure:
        """Draw how many test images are wrong under exactly which specs, the models of a seed beside each other.

        Raises:
            RunError: If there are no predictions, or runs were tested on different images.
        """
        from tfnorm.reporting import plot_overlap

        labels, logits = self._predictions()
        nothing = _nothing(logits)
        seeds = dict.fromkeys(run.seed for runs in self.groups.values() for run in runs)
        seen = {label: [logits.get(label, {}).get(seed, nothing) for seed in seeds] for label in self.groups}
        return plot_overlap(
            labels, seen, title=self.title("Wrong under the same models"), images=self.images, path=path
        )

    @functools.cached_property
    def predicted(self) -> tuple[Predicted | None, str]:
        """The predictions of the runs that did not diverge, or None and why there are none to compare."""
        from tfnorm.experiments.comparison.page import predictions_of

        return predictions_of(self.groups)

    def _predictions(self) -> tuple[np.ndarray, dict[str, dict[int, np.ndarray]]]:
        """Return true classes, and for each label with a run that did not diverge its logits by seed."""
        predicted, reason = self.predicted
        if predicted is None:
            raise RunError(reason)
        return predicted.labels, {
            label: {run.seed: scores for run, scores in zip(runs, predicted.logits[label], strict=True)}
            for label, runs in predicted.runs.items()
        }

    def save_pictures(self, format: str = "png") -> None:
        """Write each picture, and one a spec of the images that its first seed with finite logits misclassifies.

        What cannot be drawn is left out: differences of one spec, and mistakes of runs on different images. Where the
        test images are not on this machine, misclassified ones stay the .png that was written with the run. A picture
        that fails is a warning, and the others are written.
        """
        plots = {"loss": self.plot_loss, "accuracy": self.plot_accuracy, "gap": self.plot_gap}
        if self.pairs:
            plots["differences"] = self.plot_differences
        if self.predicted[0] is not None:
            plots |= {"confusion": self.plot_confusion, "overlap": self.plot_overlap}
        for name, plot in plots.items():
            with results_come_first(f"the picture {name}.{format}"):
                plot(self.path / f"{name}.{format}")
        self._save_misclassified(format)

    def _save_misclassified(self, format: str) -> None:
        """Copy the pictures of misclassified images from the runs, or draw them anew in another format."""
        from tfnorm.experiments.comparison.images import test_images

        images: dict[str, np.ndarray | None] = {}
        for label, runs in self.groups.items():
            run = next((run for run in runs if (run.path / PICTURE).exists()), None)
            if run is None:
                continue
            data = run.config["data"]["fingerprint"]
            path = self.path / f"misclassified-{slug(label)}.{format}"
            if format != "png" and data not in images:
                images[data] = test_images(run)[0]
            found = images.get(data)
            with results_come_first(f"the picture {path.name}"):
                if found is None:
                    write_whole(path.with_suffix(".png"), (run.path / PICTURE).read_bytes())
                else:
                    _draw_misclassified(run, found, path)


def _nothing(logits: Mapping[str, Mapping[int, np.ndarray]]) -> np.ndarray:
    """Return what stands for the logits of a run without any."""
    import numpy as np

    return np.full_like(next(iter(next(iter(logits.values())).values())), np.nan)


def _draw_misclassified(run: Run, images: np.ndarray, path: Path) -> None:
    """Draw the images that a run gets wrong, as it did itself."""
    from tfnorm.reporting import misclassified_data, plot_misclassified

    names = run.config["data"]["class_names"]
    found = misclassified_data(run.labels, run.logits, class_names=names, from_logits=True)
    plot_misclassified(images, found, title=found.title(run.label, run.images), path=path)
