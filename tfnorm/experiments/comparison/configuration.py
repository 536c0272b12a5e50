"""The configuration of the runs of a comparison, as its page shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tfnorm.convert.report import Change
from tfnorm.experiments import settings
from tfnorm.experiments.settings import CLASSES, FINGERPRINT
from tfnorm.metrics.metric import Metric
from tfnorm.text import DASH
from tfnorm.training.runs import Run


def configuration(groups: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """Return what was called, what all specs share and what differs, and everything of the first run of each."""
    all_runs = [run for runs in groups.values() for run in runs]
    calls = settings.calls_of(all_runs)
    recorded = all(run.config.get("call") for run in all_runs)
    first = {label: runs[0] for label, runs in groups.items()}
    facts = [_facts(run, list(first.values())) for run in first.values()]
    shared, differing = [], []
    for key in dict.fromkeys(key for each in facts for key in each):
        values = [each.get(key, DASH) for each in facts]
        if len(set(values)) == 1:
            shared.append((key, values[0]))
        else:
            most = max(map(values.count, values))
            cells = [{"text": value, "odd": values.count(value) < most} for value in values]
            differing.append({"key": key, "cells": cells})
    return {
        "calls": calls,
        "note": settings.note_on_calls(all_runs) if calls else "",
        "settings": "" if recorded else _json(settings.shared_settings([run.config for run in all_runs])),
        "rates": settings.rates_in_words(groups),
        "searched": _searched(first),
        "labels": list(groups),
        "shared": shared,
        "differing": differing,
        "files": [
            {"label": label, "changes": changes_of(run), "layers": _layers(run), "text": _json(run.config)}
            for label, run in first.items()
        ],
    }


def _searched(first: Mapping[str, Run]) -> dict[str, Any] | None:
    """Return what each spec reached with each learning rate that was tried, or None where none were."""
    records = {label: run.config.get("rates", {}) for label, run in first.items()}
    metric = next(iter(first.values())).metric
    tried = list(dict.fromkeys(rate for record in records.values() for rate in record.get("tried", ())))
    rows = []
    for label, record in records.items() if tried else ():
        reached = dict(zip(record.get("tried", ()), record.get("reached", ()), strict=True))
        chosen = first[label].config["asked"]["learning_rate"]
        cells = [{"text": _reached(reached, rate, metric), "odd": rate == chosen and rate in reached} for rate in tried]
        rows.append({"label": label, "cells": cells})
    found = {"heading": metric.heading("held-out"), "tried": [f"{rate:g}" for rate in tried], "rows": rows}
    return found if tried else None


def _reached(reached: Mapping[float, float | None], rate: float, metric: Metric) -> str:
    if rate not in reached:
        return DASH
    value = reached[rate]
    return metric.lost if value is None else metric.number(value)


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False)


def _facts(run: Run, runs: Sequence[Run]) -> dict[str, str]:
    """Return everything that was set or found for a run among others, name to value, but for its layers."""
    config = run.config
    asked, data, versions = settings.settings_of(run, runs), config["data"], config["versions"]
    asked = {key: value for key, value in asked.items() if key not in (FINGERPRINT, CLASSES)}
    kinds = [layer["class"] for layer in config["layers"]]
    norms = [kind for kind in kinds if "Normalization" in kind and kind != "Normalization"]  # that of the pixels
    facts: dict[str, Any] = {
        "trainable parameters": f"{config['trainable_parameters']:,}",
        "norm layers": f"{len(norms)} {norms[0]}" if norms else "none",
        "variables with a penalty": len(config["regularized"]),
        **({"layers changed by the spec": len(config["network"]["changes"])} if "network" in config else {}),
        **{key: value for key, value in asked.items() if not key.startswith("recipe ")},
        **{key: value for key, value in asked.items() if key.startswith("recipe ")},
        **{key: value for key, value in config.get("devices", {}).items() if key != "count"},
        **({"dataset": f"{given}, given to Python"} if (given := settings.given_data(config)) else {}),
        "metric": run.metric.column,
        "training images": f"{data['train_images']:,}",
        "test images": f"{data['test_images']:,}",
        "image": " × ".join(map(str, data["input_shape"])),
        "classes": data["num_classes"],
        FINGERPRINT: data["fingerprint"][:16],
        "first seed's initial kernels": config["initial_kernels"],
        **{name: value for name, value in versions.items() if name != "revision"},
        "git revision": versions.get("revision") and versions["revision"][:16],
        **config["machine"],
    }
    return {key.replace("_", " "): DASH if value is None else str(value) for key, value in facts.items()}


def changes_of(run: Run) -> list[str]:
    """Return a line for each layer of a model of one's own that the spec changed or left, and the notes on it."""
    network = run.config.get("network")
    if network is None:
        return []
    lines = [str(Change(**each)) for each in (*network["changes"], *network["kept"])]
    return [*(lines or ["The model is as it was made."]), *network["notes"]]


def _layers(run: Run) -> list[dict[str, str]]:
    """Return the layers that were built: name, class, output and the arguments that say what it does."""
    return [
        {
            "name": layer["name"],
            "kind": layer["class"],
            "shape": " × ".join(map(str, layer["shape"])),
            "arguments": ", ".join(f"{k}={v}" for k, v in layer.items() if k not in ("name", "class", "shape")),
        }
        for layer in run.config["layers"]
    ]
