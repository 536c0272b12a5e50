"""The page of a comparison, `report.html`: what it says, from its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfnorm._version import __version__
from tfnorm.compare.answer import Answer, answer
from tfnorm.compare.images import test_images
from tfnorm.compare.page_configuration import configuration
from tfnorm.compare.page_tables import dots, matrix, results, signed
from tfnorm.compare.settings import FINGERPRINT, differing_settings, reproduction
from tfnorm.compare.statistics import listed
from tfnorm.training.runs import Run

if TYPE_CHECKING:
    import numpy as np

    from tfnorm.compare.comparison import Comparison

# Each takes a second or two to load and look at.
MOST_MODELS = 12
IMAGES_LOOKED_AT = 256
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
    from tfnorm.report.html import render
    from tfnorm.report.page_data import curves_page, looks
    from tfnorm.report.palette import styles

    groups, table, pairs = comparison.groups, comparison.table, comparison.pairs
    labels = list(groups)
    look = styles(labels)
    histories = comparison.histories
    differing = differing_settings(comparison.runs)
    other_data = any(each.key == FINGERPRINT for each in differing)
    config = comparison.runs[0].config
    curves = curves_page(histories, {label: [run.seed for run in runs] for label, runs in groups.items()})
    gaps = [f"{label} {signed(gap)}" for label, (gap, _) in curves["gap"].items() if gap is not None]
    rows = [
        _numbers(run, history)
        for label, runs in groups.items()
        for run, history in zip(runs, histories[label], strict=True)
    ]
    predicted, reason = comparison.predicted
    images, no_images = test_images(comparison.runs[0]) if predicted else (None, "")
    return render(
        "comparison.html.j2",
        title=comparison.title("Comparison"),
        subtitle=_subtitle(comparison),
        footer=_footer(config),
        answer=INCOMPARABLE if other_data else answer(table, pairs),
        verdict=comparison.verdict,
        notes=[*comparison.notes, *(f"These runs differ in more than norm and seed: {each}." for each in differing)],
        several=max(map(len, groups.values())) > 1,
        dots=dots(table, comparison.accuracies, look),
        results=results(table, groups, rows, look, folder),
        curves=curves,
        gap_said=f"{listed(gaps)} points" if gaps else "no run ended with a number",
        labels=labels,
        looks=looks(labels),
        matrix=matrix(labels, pairs),
        **mistakes_context(predicted, images, config["data"]["class_names"]),
        no_predictions=reason,
        no_images=no_images,
        layers=layers_context(groups, images),
        configuration=configuration(groups),
        reproduction=None if differing else reproduction(comparison.runs),
    )


def _numbers(run: Run, history: Any) -> dict[str, Any]:
    """Return what the line of one run shows."""
    from tfnorm.compare.comparison import run_row

    speeds = history["images_per_second"].iloc[min(1, len(history) - 1) :]
    return {
        **run_row(run),
        "penalty": float(history["penalty"].iloc[-1]),
        "images_per_second": float(speeds.median()),
    }


def _subtitle(comparison: Comparison) -> str:
    config = comparison.runs[0].config
    asked, data = config["asked"], config["data"]
    tested = "held-out training images" if asked.get("holdout") else "test images"
    specs, runs = counted(len(comparison.groups), "spec"), counted(len(comparison.runs), "run")
    return (
        f"{specs}, {runs} of {counted(asked['epochs'], 'epoch')}, recipe {asked['recipe']['name']}; "
        f"{data['train_images']:,} training and {data['test_images']:,} {tested}"
    )


def counted(number: int, word: str) -> str:
    """Return a number with its word, in the plural if it is one.

    Example:
        >>> counted(1, "run"), counted(1200, "run")
        ('1 run', '1,200 runs')
    """
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _footer(config: Mapping[str, Any]) -> str:
    versions = config["versions"]
    revision = f" ({versions['revision'][:12]})" if versions.get("revision") else ""
    return (
        f"Page written by tfnorm {__version__}. Runs by tfnorm {versions['tfnorm']}{revision}, Keras "
        f"{versions['keras']}, TensorFlow {versions['tensorflow']}, NumPy {versions['numpy']}, Python "
        f"{versions['python']}; {config['machine']['processor']}, begun {config['started']}."
    )


def predictions_of(groups: Mapping[str, Sequence[Run]]) -> tuple[Predicted | None, str]:
    """Return the predictions of the runs that did not diverge, or None and why they cannot be compared."""
    import numpy as np

    labels: np.ndarray | None = None
    logits: dict[str, list[np.ndarray]] = {}
    kept: dict[str, list[Run]] = {}
    without: list[str] = []
    for label, runs in groups.items():
        for run in runs:
            if run.status != "finished" or not run.folder.predictions_path.exists():
                without.append(f"{label} with seed {run.seed}")
                continue
            true, scores = run.labels, run.logits
            if labels is not None and not np.array_equal(true, labels):
                return None, "The runs were tested on different images, so that their mistakes cannot be compared."
            labels = true
            logits.setdefault(label, []).append(scores)
            kept.setdefault(label, []).append(run)
    if labels is None:
        return None, "No run has predictions to look at: each diverged, or its predictions.npz is gone."
    said = f"Without {listed(without)}: diverged, or without predictions." if without else ""
    return Predicted(labels, logits, kept, said), ""


def mistakes_context(
    predicted: Predicted | None,
    images: np.ndarray | None,
    class_names: Sequence[str],
) -> dict[str, Any]:
    """Return what the sections about mistakes show: confusion, overlap, and the images themselves."""
    if predicted is None:
        return {"confusion": None, "overlap": None, "mistakes": None, "left_out": ""}
    from tfnorm.report.mistakes import mistakes_data, picture_sheets
    from tfnorm.report.overlap import overlap_data
    from tfnorm.report.page_data import confusion_page, overlap_rows

    labels = list(predicted.logits)
    flat = [scores for runs in predicted.logits.values() for scores in runs]
    found = mistakes_data(predicted.labels, flat)
    sheets = picture_sheets(images[found.index]) if images is not None and len(found.index) else None
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
    return {
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
            "sheets": sheets.packed() if sheets else None,
            **found.packed(),
        },
        "left_out": predicted.left_out,
    }


def layers_context(groups: Mapping[str, Sequence[Run]], images: np.ndarray | None) -> dict[str, Any]:
    """Return what the layers of the first run of each label hold and pass on, and a note on what is missing."""
    from tfnorm.report.weights import norms_data, weights_data

    specs, gone = [], []
    for label, runs in list(groups.items())[:MOST_MODELS]:
        if not (runs[0].path / "model.keras").exists():
            gone.append(label)
            continue
        from tfnorm.ops import start_quietly

        start_quietly()
        model = runs[0].load_model()
        norms = norms_data(model, images[:IMAGES_LOOKED_AT]) if images is not None else []
        specs.append({"label": label, "seed": runs[0].seed, "weights": weights_data(model), "norms": norms})
    notes = []
    if gone:
        notes.append(f"Without {listed(gone)}: model.keras is not in the run's folder.")
    if len(groups) > MOST_MODELS:
        notes.append(f"Of the first {MOST_MODELS} specs.")
    if images is None and specs:
        notes.append("Without activations, since the test images were not found.")
    return {"specs": specs, "notes": notes, "images": 0 if images is None else min(IMAGES_LOOKED_AT, len(images))}
