"""The page of a comparison, `report.html`: what it says, from its runs."""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfnorm._version import __version__
from tfnorm.errors import RunError
from tfnorm.experiments.comparison.configuration import configuration
from tfnorm.experiments.comparison.images import test_images
from tfnorm.experiments.comparison.tables import dots, matrix, results
from tfnorm.experiments.rows import run_row
from tfnorm.experiments.settings import Differing, counted, name_of, ranged, reproduction, telling
from tfnorm.experiments.statistics import listed
from tfnorm.experiments.verdict import Answer, answer
from tfnorm.text import signed
from tfnorm.training.provenance import origin_words
from tfnorm.training.runs import Run

if TYPE_CHECKING:
    import numpy as np

    from tfnorm.experiments.comparison.result import Comparison

# Each takes a second or two to load and look at.
MOST_MODELS = 12
IMAGES_LOOKED_AT = 256
# What Keras raises for a file that is cut off or damaged, depending on where.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)
INCOMPARABLE = Answer(
    "These runs cannot say which to use: they are not on the same data.",
    "Below stands what each reached on its own data; differences between them are not those of the norms alone.",
)


@dataclass(frozen=True, eq=False)
class Predicted:
    """The predictions of the runs that have any to compare.

    Args:
        labels: True classes (images,).
        logits: Of each label one array a run, in the order of ``runs``.
        runs: Of each label.
        left_out: A sentence for those without.
    """

    labels: np.ndarray
    logits: Mapping[str, Sequence[np.ndarray]]
    runs: Mapping[str, Sequence[Run]]
    left_out: str


def comparison_page(comparison: Comparison, folder: Path) -> str:
    """Return the page.

    Args:
        comparison: The runs.
        folder: Where the page will be, for its links.
    """
    from tfnorm.reporting.html import render
    from tfnorm.reporting.mistakes import picture_budget, picture_sheets
    from tfnorm.reporting.page_data import curves_page, looks
    from tfnorm.reporting.palette import styles

    groups, table = comparison.groups, comparison.table
    labels = list(groups)
    look = styles(labels)
    histories = comparison.histories
    differing = telling(comparison.differing)
    configs = [run.config for run in comparison.runs]
    begun = min(config["started"] for config in configs)
    curves = curves_page(histories, {label: [run.seed for run in runs] for label, runs in groups.items()})
    gaps = [f"{label} {signed(gap)}" for label, (gap, _) in curves["gap"].items() if gap is not None]
    rows = [
        _numbers(run, history)
        for label, runs in groups.items()
        for run, history in zip(runs, histories[label], strict=True)
    ]
    predicted, reason = comparison.predicted
    of_images = next(iter(predicted.runs.values()))[0] if predicted else comparison.runs[0]
    images, no_images = test_images(of_images)
    mistakes, wrong = mistakes_context(predicted, of_images.config["data"]["class_names"])
    page = functools.partial(
        render,
        "comparison.html.j2",
        title=comparison.title("Comparison"),
        subtitle=_subtitle(comparison),
        footer=f"Page written by tfnorm {__version__}. Runs {origin_words(configs)}; begun {begun}.",
        answer=_answer(comparison, differing),
        verdict=comparison.verdict if comparison.same_data else "",
        about_looks=comparison.about_looks,
        notes=[*comparison.remarks, *(f"These runs differ in more than norm and seed: {each}." for each in differing)],
        several=max(map(len, groups.values())) > 1,
        dots=dots(table, comparison.accuracies, look),
        results=results(table, groups, rows, look, folder, balanced=comparison.unequal),
        curves=curves,
        gap_said=f"{listed(gaps)} points" if gaps else "no run ended with a number",
        labels=labels,
        looks=looks(labels),
        matrix=matrix(labels, comparison.pairs) if comparison.same_data else [],
        **mistakes,
        no_predictions=reason,
        layers=layers_context(groups, images, of_images.config["data"], no_images),
        configuration=configuration(groups),
        reproduction=None if differing else reproduction(comparison.runs),
    )
    text = page(no_images=no_images)
    if images is None or not len(wrong):
        return text
    sheets = picture_sheets(images[wrong], budget=picture_budget(len(text.encode("utf-8", "backslashreplace"))))
    if not sheets.count:
        return page(no_images="with any the page would be larger than 12 MB.")
    mistakes["mistakes"]["sheets"] = sheets.packed()
    return page(no_images="")


def _answer(comparison: Comparison, differing: Sequence[Differing]) -> Answer:
    """Return the answer, and say with it in what the runs differ besides."""
    if not comparison.same_data:
        return INCOMPARABLE
    found = answer(comparison.table, comparison.pairs, resolution=comparison.one_image)
    if not differing:
        return found
    names = listed([name_of(each.key) for each in differing])
    sentence = f"These runs differ in {names} too: {found.sentence[0].lower()}{found.sentence[1:]}"
    return replace(found, sentence=sentence)


def _numbers(run: Run, history: Any) -> dict[str, Any]:
    """Return what the line of one run shows."""
    speeds = history["images_per_second"].iloc[min(1, len(history) - 1) :]
    return {
        **run_row(run),
        "penalty": float(history["penalty"].iloc[-1]),
        "images_per_second": float(speeds.median()),
    }


def _subtitle(comparison: Comparison) -> str:
    asked, data = ([run.config[part] for run in comparison.runs] for part in ("asked", "data"))
    tested = {"held-out training images" if each.get("holdout") else "test images" for each in asked}
    recipes = list(dict.fromkeys(each["recipe"]["name"] for each in asked))
    most = "at most " if any(each.get("patience") for each in asked) else ""
    return (
        f"{counted([len(comparison.groups)], 'spec')}, {counted([len(asked)], 'run')} of "
        f"{most}{counted([each['epochs'] for each in asked], 'epoch')}, recipe{'s' if len(recipes) > 1 else ''} "
        f"{listed(recipes)}; {ranged(each['train_images'] for each in data)} training and "
        f"{ranged(each['test_images'] for each in data)} {' or '.join(sorted(tested))}"
    )


def predictions_of(groups: Mapping[str, Sequence[Run]]) -> tuple[Predicted | None, str]:
    """Return the predictions of the runs that did not diverge, or None and why they cannot be compared."""
    import numpy as np

    labels: np.ndarray | None = None
    logits: dict[str, list[np.ndarray]] = {}
    kept: dict[str, list[Run]] = {}
    data: str | None = None
    without: dict[str, list[str]] = {}
    for label, runs in groups.items():
        for run in runs:
            reason = _without(run)
            if not reason:
                try:
                    true, scores = run.labels, run.logits
                except RunError:
                    reason = "predictions.npz cannot be read"
            if reason:
                without.setdefault(reason, []).append(f"{label} with seed {run.seed}")
                continue
            fingerprint = run.config["data"]["fingerprint"]
            if labels is not None and (fingerprint != data or not np.array_equal(true, labels)):
                what = "had different data" if fingerprint != data else "were tested on different images"
                return None, f"The runs {what}, so that their mistakes cannot be compared."
            data = fingerprint
            labels = true
            logits.setdefault(label, []).append(scores)
            kept.setdefault(label, []).append(run)
    if labels is None:
        return None, f"No run has predictions to look at. {_said(without)}"
    return Predicted(labels, logits, kept, _said(without)), ""


def _without(run: Run) -> str:
    """Return why a run has no predictions, or "" if they are there."""
    if run.status != "finished":
        return "diverged"
    return "" if run.folder.predictions_path.exists() else "predictions.npz is not in the run's folder"


def _said(without: Mapping[str, Sequence[str]]) -> str:
    """Return a sentence for each reason, with those that it left out."""
    return " ".join(f"Without {listed(labels)}: {reason}." for reason, labels in without.items())


def mistakes_context(
    predicted: Predicted | None, class_names: Sequence[str]
) -> tuple[dict[str, Any], np.ndarray | Sequence[int]]:
    """Return what the sections about mistakes show: confusion, overlap, and the images, still without pictures.

    Returns:
        What the template names, and the positions in the test set of the images whose pictures ``mistakes["sheets"]``
        may have.
    """
    if predicted is None:
        return {"confusion": None, "overlap": None, "mistakes": None, "left_out": ""}, ()
    from tfnorm.reporting.mistakes import mistakes_data
    from tfnorm.reporting.page_data import confusion_page, overlap_rows
    from tfnorm.reporting.pictures.overlap import overlap_data

    labels = list(predicted.logits)
    flat = [scores for runs in predicted.logits.values() for scores in runs]
    found = mistakes_data(predicted.labels, flat)
    runs = [{"spec": labels.index(label), "seed": run.seed} for label, kept in predicted.runs.items() for run in kept]
    common = set.intersection(*({run.seed for run in kept} for kept in predicted.runs.values()))
    side_by_side = {
        label: [
            scores
            for run, scores in zip(predicted.runs[label], predicted.logits[label], strict=True)
            if run.seed in common
        ]
        for label in labels
    }
    overlap = overlap_data(predicted.labels, side_by_side) if common else None
    context: dict[str, Any] = {
        "confusion": confusion_page(predicted.labels, predicted.logits, class_names),
        "overlap": overlap
        and {
            "rows": overlap_rows(overlap),
            "totals": dict(overlap.totals),
            "seeds": overlap.seeds,
            "sets": len(overlap.sets),
            "pattern": "{:,.0f}" if overlap.seeds == 1 else "{:,.1f}",
        },
        "mistakes": {
            "classes": class_names,
            "images": len(predicted.labels),
            "wrong": len(found.index),
            "specs": labels,
            "runs": runs,
            "sheets": None,
            **found.packed(),
        },
        "left_out": predicted.left_out,
    }
    return context, found.index


def layers_context(
    groups: Mapping[str, Sequence[Run]], images: np.ndarray | None, data: Mapping[str, Any], no_images: str
) -> dict[str, Any]:
    """Return what the layers of the first run of each label hold and pass on, and notes on what is missing.

    Args:
        groups: The runs by label.
        images: Test images, if they were found.
        data: What the configuration says of the data that they are of; the activations of other runs are left out.
        no_images: Why there are none.
    """
    from tfnorm.reporting.weights import norms_data, weights_data

    specs: list[dict[str, Any]] = []
    missing: dict[str, list[str]] = {}
    for label, runs in list(groups.items())[:MOST_MODELS]:
        if not (runs[0].path / "model.keras").exists():
            missing.setdefault("model.keras is not in the run's folder", []).append(label)
            continue
        from tfnorm.ops import start_quietly

        start_quietly()
        try:
            model = runs[0].load_model()
        except UNREADABLE:
            missing.setdefault("model.keras cannot be read", []).append(label)
            continue
        norms: list[Any] = []
        own = runs[0].config["data"]
        if images is not None and all(own[key] == data[key] for key in ("fingerprint", "input_shape")):
            norms = norms_data(model, images[:IMAGES_LOOKED_AT])
        elif images is not None:
            missing.setdefault("their test images are others", []).append(f"the activations of {label}")
        specs.append({"label": label, "seed": runs[0].seed, "weights": weights_data(model), "norms": norms})
    notes = [_said(missing)] if missing else []
    if len(groups) > MOST_MODELS:
        notes.append(f"Of the first {MOST_MODELS} specs.")
    if images is None and specs:
        notes.append(f"Without activations: {no_images}")
    return {"specs": specs, "notes": notes, "images": 0 if images is None else min(IMAGES_LOOKED_AT, len(images))}
