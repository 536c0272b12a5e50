"""The page of a comparison, `report.html`: what it says, from its runs."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfnorm._version import __version__
from tfnorm.datasets.images import Images, select
from tfnorm.errors import RunError
from tfnorm.experiments.comparison.configuration import configuration
from tfnorm.experiments.comparison.predictions import Predictions, images_of, without_words
from tfnorm.experiments.comparison.result import Result
from tfnorm.experiments.comparison.tables import dots, matrix, results
from tfnorm.experiments.settings import distinguishing
from tfnorm.ops import start_quietly
from tfnorm.reporting.html import render
from tfnorm.reporting.mistakes import mistakes_data, picture_budget, picture_sheets
from tfnorm.reporting.page_data import confusion_page, curves_page, looks, overlap_page
from tfnorm.reporting.pictures.curves import LOSSES
from tfnorm.text import counted, listed, ranged
from tfnorm.training.provenance import origin_words
from tfnorm.training.runs import Run

# Each takes a second or two to load and look at.
MOST_MODELS = 12
IMAGES_LOOKED_AT = 256


def comparison_page(result: Result, folder: Path) -> str:
    """Return the page, with links from the folder where it will be."""
    groups, labels = result.groups, list(result.groups)
    begun = min(run.config["started"] for run in result.runs)
    metric = result.metric
    differing = [f"These runs differ in more than norm and seed: {each}." for each in distinguishing(result.differing)]
    losses = ("loss", "val_loss") if result.is_study else LOSSES
    seeds = {label: [run.seed for run in runs] for label, runs in groups.items()}
    curves = curves_page(result.histories, seeds, metric, losses)
    gaps = [f"{label} {metric.signed(gap)}" for label, (gap, _) in curves["gap"].items() if gap is not None]
    predictions, reason = result.predictions
    of_images = next(iter(predictions.runs.values()))[0] if predictions else result.runs[0]
    images, no_images = images_of(of_images)
    mistakes, wrong = mistakes_context(predictions, of_images.config["data"]["class_names"])
    page = functools.partial(
        render,
        "comparison.html.j2",
        title=result.title("Comparison"),
        subtitle=_subtitle(result),
        footer=f"Page written by tfnorm {__version__}. Runs {_origin(result)}; begun {begun}.",
        metric=metric,
        about=f"{metric.title()[0].upper()}{metric.title()[1:]}" if metric.of_images else metric.title(),
        study=_study_context(result) if result.is_study else None,
        answer=result.answer,
        verdict=result.verdict if result.same_data else "",
        about_looks=result.about_looks,
        about_images=result.about_images,
        notes=[*result.remarks, *differing],
        several=max(map(len, groups.values())) > 1,
        dots=dots(result),
        results=results(result, folder),
        curves=curves,
        gap_text=f"{listed(gaps)}{metric.of_differences}" if gaps else "no run ended with a number",
        labels=labels,
        looks=looks(labels),
        matrix=matrix(labels, result.pairs, metric) if result.same_data else [],
        sequential=result.families is not None,
        **mistakes,
        no_predictions=reason,
        layers=None if result.is_study else layers_context(groups, images, of_images.config["data"], no_images),
        configuration=None if result.is_study else configuration(groups),
    )
    text = page(no_images=no_images)
    if images is None or not len(wrong):
        return text
    sheets = picture_sheets(
        select(images, np.asarray(wrong)), budget=picture_budget(len(text.encode("utf-8", "backslashreplace")))
    )
    if not sheets["count"]:
        return page(no_images="with any the page would be larger than 12 MB.")
    mistakes["mistakes"]["sheets"] = sheets
    return page(no_images="")


def _origin(result: Result) -> str:
    """Return where the runs were trained, in words."""
    configs = [run.config for run in result.runs]
    if not result.is_study:
        return origin_words(configs)
    places = dict.fromkeys(f"Python {each['versions']['python']} on {each['machine']}" for each in configs)
    return f"of your own loop, with {listed(list(places))}"


def _study_context(result: Result) -> dict[str, Any]:
    """Return the facts about a study, and what was noted of its runs and their failures."""
    metric = result.metric
    better = "lower is better" if metric.sign < 0 else "higher is better"
    facts = {"metric": f"{metric.key}, {better}", "margin": result.margin or "none", "folder": str(result.path)}
    notes = []
    for run in result.runs:
        said = [run.config[key] for key in ("why", "notes") if run.config.get(key)]
        notes += [{"run": f"{run.label} with seed {run.seed}", "text": each} for each in said]
    return {"facts": list(facts.items()), "notes": notes}


def _subtitle(result: Result) -> str:
    if result.is_study:
        specs, runs = counted([len(result.groups)], "spec"), counted([len(result.runs)], "run")
        return f"{specs}, {runs} of your own training loop; {result.metric.key}"
    asked, data = ([run.config[part] for run in result.runs] for part in ("asked", "data"))
    tested = {"held-out training images" if each.get("holdout") else "test images" for each in asked}
    recipes = list(dict.fromkeys(each["recipe"]["name"] for each in asked))
    most = "at most " if any(each.get("patience") for each in asked) else ""
    return (
        f"{counted([len(result.groups)], 'spec')}, {counted([len(asked)], 'run')} of "
        f"{most}{counted([each['epochs'] for each in asked], 'epoch')}, recipe{'s' if len(recipes) > 1 else ''} "
        f"{listed(recipes)}; {ranged(each['train_images'] for each in data)} training and "
        f"{ranged(each['test_images'] for each in data)} {' or '.join(sorted(tested))}"
    )


def mistakes_context(
    predictions: Predictions | None, class_names: Sequence[str]
) -> tuple[dict[str, Any], np.ndarray | Sequence[int]]:
    """Return what the sections about mistakes show, and the positions of the test images to show in "sheets"."""
    if predictions is None:
        return {"confusion": None, "overlap": None, "mistakes": None, "left_out": ""}, ()
    labels = list(predictions.logits)
    found = mistakes_data(predictions.labels, [scores for runs in predictions.logits.values() for scores in runs])
    runs = [{"spec": labels.index(label), "seed": run.seed} for label, kept in predictions.runs.items() for run in kept]
    common = set.intersection(*({run.seed for run in kept} for kept in predictions.runs.values()))
    seeds = [run.seed for run in predictions.runs[labels[0]] if run.seed in common]
    context: dict[str, Any] = {
        "confusion": confusion_page(predictions.labels, predictions.logits, class_names),
        "overlap": overlap_page(predictions.labels, predictions.by_seed(seeds, labels)) if seeds else None,
        "mistakes": {
            "classes": class_names,
            "images": len(predictions.labels),
            "wrong": len(found.index),
            "specs": labels,
            "runs": runs,
            "sheets": None,
            **found.packed(),
        },
        "left_out": predictions.left_out,
    }
    return context, found.index


def layers_context(
    groups: Mapping[str, Sequence[Run]], images: Images | None, data: Mapping[str, Any], no_images: str
) -> dict[str, Any]:
    """Return what the layers of the first run of each label hold and pass on, and notes on what is missing.

    Activations need test images, and a run that had the same ``data``; ``no_images`` says why there are none.
    """
    specs: list[dict[str, Any]] = []
    missing: dict[str, list[str]] = {}
    for label, runs in list(groups.items())[:MOST_MODELS]:
        if not (runs[0].path / "model.keras").exists():
            missing.setdefault("model.keras is not in the run's folder", []).append(label)
            continue
        start_quietly()
        from tfnorm.reporting.weights import norms_data, weights_data  # start-up

        try:
            model = runs[0].load_model()
        except RunError:
            missing.setdefault("model.keras cannot be read", []).append(label)
            continue
        norms: list[Any] = []
        own = runs[0].config["data"]
        if images is not None and all(own[key] == data[key] for key in ("fingerprint", "input_shape")):
            norms = norms_data(model, images[:IMAGES_LOOKED_AT])
        elif images is not None:
            missing.setdefault("their test images are others", []).append(f"the activations of {label}")
        specs.append({"label": label, "seed": runs[0].seed, "weights": weights_data(model), "norms": norms})
    notes = [without_words(missing)] if missing else []
    if len(groups) > MOST_MODELS:
        notes.append(f"Of the first {MOST_MODELS} specs.")
    if images is None and specs:
        notes.append(f"Without activations: {no_images}")
    return {"specs": specs, "notes": notes, "images": 0 if images is None else min(IMAGES_LOOKED_AT, len(images))}
