"""What runs predicted on the test images, and the images themselves."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tfnorm.datasets import DataWarning
from tfnorm.datasets.given.own import last_read
from tfnorm.datasets.images import Images
from tfnorm.datasets.sources import is_here, load
from tfnorm.errors import RunError, TfnormError
from tfnorm.text import listed
from tfnorm.training.folder import READING
from tfnorm.training.runs import Run

SEVERAL_LABELS = (
    "These images have several labels each, or none, so that none is right or wrong as a whole: there are no "
    "confusions of classes, no misclassified images and no test of common mistakes."
)


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of the runs that have any to compare."""

    labels: np.ndarray  # true classes (images,)
    logits: Mapping[str, Sequence[np.ndarray]]  # spec to an array for each of its runs
    runs: Mapping[str, Sequence[Run]]
    left_out: str  # a sentence for the runs without

    @property
    def class_names(self) -> Sequence[str]:
        """The names of the classes."""
        return next(iter(self.runs.values()))[0].config["data"]["class_names"]

    def by_seed(self, seeds: Sequence[int], specs: Sequence[str]) -> dict[str, list[np.ndarray]]:
        """Return the logits of each spec with each seed; NaN where there are none."""
        nothing = np.full_like(next(iter(self.logits.values()))[0], np.nan)
        found = {
            (spec, run.seed): scores
            for spec, runs in self.runs.items()
            for run, scores in zip(runs, self.logits[spec], strict=True)
        }
        return {spec: [found.get((spec, seed), nothing) for seed in seeds] for spec in specs}


def predictions_of(groups: Mapping[str, Sequence[Run]]) -> tuple[Predictions | None, str]:
    """Return the predictions of the runs that did not diverge, or None and why they cannot be compared."""
    labels: np.ndarray | None = None
    logits: dict[str, list[np.ndarray]] = {}
    kept: dict[str, list[Run]] = {}
    without: dict[str, list[str]] = {}
    data = ""
    if any(run.multi_label for runs in groups.values() for run in runs):
        return None, SEVERAL_LABELS
    for spec, runs in groups.items():
        for run in runs:
            reason = "" if run.status == "finished" else run.status
            if not reason:
                try:
                    true, scores = run.labels, run.logits
                except RunError:
                    there = run.folder.predictions_path.exists()
                    reason = "predictions.npz " + ("cannot be read" if there else "is not in the run's folder")
                    if getattr(run, "without_predictions", False):
                        reason = "no predictions were recorded"
            if reason:
                without.setdefault(reason, []).append(f"{spec} with seed {run.seed}")
                continue
            fingerprint = run.config["data"]["fingerprint"]
            if labels is not None and (fingerprint != data or not np.array_equal(true, labels)):
                what = "had different data" if fingerprint != data else "were tested on different images"
                return None, f"The runs {what}, so that their mistakes cannot be compared."
            data, labels = fingerprint, true
            logits.setdefault(spec, []).append(scores)
            kept.setdefault(spec, []).append(run)
    if labels is None:
        return None, f"No run has predictions to look at. {without_words(without)}"
    return Predictions(labels, logits, kept, without_words(without)), ""


def without_words(without: Mapping[str, Sequence[str]]) -> str:
    """Return a sentence for each reason, with what is left out for it."""
    return " ".join(f"Without {listed(names)}: {reason}." for reason, names in without.items())


def images_of(run: Run) -> tuple[Images | None, str]:
    """Return the images that a run was tested on, uint8 (images, height, width, channels), and "".

    Where they are not on this machine, return None and a sentence that says why. Nothing is downloaded.
    """
    asked, data = run.config["asked"], run.config["data"]
    if "dataset" not in asked:
        return None, "the study of your own loop keeps predictions and no images."
    folder, size = data.get("data_dir"), tuple(data["input_shape"][:2])
    how = {key: asked[key] for key in READING if key in asked}
    if groups := data.get("reading", {}).get("division", {}).get("groups"):
        how["groups"] = groups  # its path from everywhere
    why = []
    # The name may be a path seen from another folder than this one.
    for source in filter(None, dict.fromkeys([asked["dataset"], data.get("reading", {}).get("path")])):
        try:
            own = last_read(source) if "own" in data else None
            if own is None and "own" in data:
                why.append(f"The images come from {data['own']}, which a report does not ask again.")
                continue
            if own is None and not is_here(source, data_dir=folder):
                why.append(f"{source} is not on this machine.")
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)
                found = own.resize(size) if own else load(source, data_dir=folder, image_size=size, **how)
            if asked.get("holdout"):
                found = found.hold_out(asked["holdout"], asked.get("holdout_part"))
        except (TfnormError, OSError) as error:
            why.append(str(error))
            continue
        if found.fingerprint == data["fingerprint"]:
            return found.x_test, ""
        why.append(f"The data found as {source} are not those that the runs had.")
    return None, why[0]
