"""The page on performance says what the files of results say, and no more."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
from facts import one_says, says

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))

performance = importlib.import_module("performance")
performance_shortfalls = importlib.import_module("performance_shortfalls")

TIME = {"median_ms": 2.0, "minimum_ms": 1.9, "spread": 0.05}
SIZE = {"median_mib": 40.0, "minimum_mib": 39.0, "maximum_mib": 41.0, "spread": 0.01}


def timed(**medians):
    return {case.replace("_", " "): {**TIME, "median_ms": ms} for case, ms in medians.items()}


ROWS = {
    "layers": {
        "norm": "bn",
        "shape": [64, 32, 32, 32],
        "dtype": "float32",
        "direction": "both",
        "times": {**timed(tfnorm=4.0, keras=8.0, torch=3.0, copy=1.0), "bare copy": {**TIME, "median_ms": 0.5}},
        "ratio": {"tfnorm": 1.0, "keras": 2.0, "torch": 0.75, "copy": 0.25, "bare copy": 0.125},
        "copies": 4.0,
    },
    "training": {
        "arch": "mnist_7k",
        "norm": "gn:2",
        "batch": 64,
        "times": {
            **timed(keras_float32=30.0, tfnorm_float32=20.0, tfnorm_bfloat16=25.0),
            "torch float32 eager": {**TIME, "median_ms": 50.0},
            "torch float32 channels-last": {**TIME, "median_ms": 40.0},
        },
        "ratio": {"keras float32": 1.5, "torch float32": 2.0, "bfloat16 over keras float32": 1.2},
        "best": {"float32": "torch float32 channels-last"},
    },
    "accelerate": {
        "model": "ResNet50V2",
        "batch": 8,
        "input": [64, 64, 3],
        "times": timed(keras=100.0, tfnorm=125.0),
        "ratio": {"keras": 0.8},
    },
    "fold": {
        "model": "ResNet50",
        "batch": 8,
        "input": [224, 224, 3],
        "norms": {"folded": 53, "kept": 1},
        "difference": {"keras": 0.0, "folded": 1.2e-6},
        "times": timed(keras=100.0, folded=80.0),
        "ratio": {"keras": 1.0, "folded": 1.25},
    },
    "families": {
        "family": "VGG",
        "model": "vgg16",
        "input": [64, 64, 3],
        "norms": 3,
        "folded": 2,
        "kept": 1,
        "replaced": 3,
        "difference": {"fold": 1.2e-6, "accelerate": 2e-6, "to_keras": 0.0, "replace": None},
    },
    "scaling": {
        "norm": "gn:4",
        "varied": "batch",
        "points": [
            {
                "size": size,
                "shape": [size, 32, 32, 32],
                "elements": size * 32**3,
                "times": {},
                "ratio": {"keras": ratio},
            }
            for size, ratio in ((8, 0.75), (256, 4.5))
        ],
        "exponent": {"tfnorm": 0.98, "keras": 1.07},
    },
    "memory": {
        "arch": "cifar_residual",
        "norm": "ln",
        "batch": 256,
        "memory": {case: {"step": SIZE, "process": {**SIZE, "median_mib": 900.0}} for case in ("keras", "tfnorm")},
        "ratio": {"tfnorm over keras": 1.25},
    },
    "streaming": {
        "arch": "resnet18",
        "norm": "gn:8",
        "batch": 16,
        "input": [128, 128, 3],
        "times": {case: TIME for case in ("memory", "streamed", "reading, memory", "reading, streamed")},
        "images_per_second": {"memory": 12.0, "streamed": 11.4, "reading, memory": 9e4, "reading, streamed": 450.0},
        "ratio": {"streamed over memory": 0.95},
    },
    "accuracy": {
        "norm": "bn",
        "arch": "mnist_7k",
        "dataset": "digits",
        "mean": {"fast": 99.333, "generic": 99.25},
        "std": {"fast": 0.1, "generic": 0.2},
        "within_one_std": {"fast": True},
    },
}


def record(name):
    return {
        "schema_version": 1,
        "benchmark": name,
        "time": "2026-01-02T03:04:05+00:00",
        "machine": {"processor": "Abacus", "cores": 2, "load": 1.0, "system": "Linux"},
        "versions": {"tensorflow": "2.21.0", "torch": "2.13.0"},
        "settings": {
            **({"seeds": 3, "epochs": 20} if name == "accuracy" else {"rounds": 7}),
            "base": [32, 32, 32, 32],
            "block_bytes": 65536,
            "most": 1e-3,
            "side": 224,
        },
        "rows": [ROWS[name]],
    }


@pytest.fixture
def results(tmp_path):
    for name in ROWS:
        (tmp_path / f"{name}.json").write_text(json.dumps(record(name)))
    return tmp_path


def test_page_is_that_of_the_results():
    assert performance.PAGE.read_text() == performance.page()


def test_pictures_of_the_page_are_there_and_small():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", performance.PAGE.read_text())
    assert pictures
    assert not [name for name in pictures if (ROOT / "docs" / name).stat().st_size > 300_000]


@pytest.mark.parametrize(
    "line",
    [
        "Measured on 2026-01-02 on 2 cores of Abacus (Linux, load 1.0 at the end) with TensorFlow 2.21.0, PyTorch "
        "2.13.0; 7 rounds.",
        "| `bn` | 64x32x32x32 | 4.00 ± 5% | 8.00 ± 5% | 3.00 ± 5% | 2.00 | 0.75 | 4.00 | 62% |",
        "| `mnist_7k` | `gn:2` | 64 | 20.0 ± 5% | 30.0 ± 5% | 40.0 ± 5% (channels-last) | 25.0 ± 5% | – | – |",
        "| `mnist_7k` | `gn:2` | 64 | 1.50 | 1.20 | 2.00 |",
        "| `ResNet50V2` | 64x64x3 | 8 | 125 ± 5% | 100 ± 5% | 0.80 |",
        "| `ResNet50` | 224x224x3 | 8 | 53, 1 | 100 ± 5% | 80.0 ± 5% | 1.25 | 1e-06 |",
        "| VGG | `vgg16` | 64x64x3 | 3 | 2 | 3 | 1e-06 | 2e-06 | 0e+00 | – |",
        "| `gn:4` | batch | 8 … 256 | 0.98 | 1.07 | – | 0.75 … 4.50 | – |",
        "| `bn` | 99.33 ± 0.10 | 99.25 ± 0.20 | yes |",
        "| `cifar_residual` | `ln` | 256 | 40.0 ± 1% | 40.0 ± 1% | – | 1.25 | – | 900 | 900 | – |",
    ],
)
def test_page_shows_the_numbers_of_a_file(line, results):
    assert line in performance.page(results).splitlines()


def test_page_says_how_much_faster_a_bare_copy_is(results):
    says(performance.page(results), "(50% to 50%)")


def test_page_begins_with_the_main_results(results):
    head = performance.page(results).split("## ")[0]
    says(head, "1.50 to 1.50 times", "PyTorch 2.00 to 2.00 times")
    sentences = re.split(r"(?<=\.)\s", head)
    one_says(sentences, "memory", "1.25 to 1.25 times", "stock Keras")
    one_says(sentences, "accelerate`", "0.80 to 0.80 times")
    one_says(sentences, "fold_batch_norm`", "1.25 to 1.25 times")
    (results / "training.json").unlink()
    assert "takes stock Keras" not in performance.page(results)


def test_dropout_has_a_limit_of_its_own():
    assert performance.limit({"norm": "dropout", "direction": "both"}) == 2.0
    assert performance.limit({"norm": "bn", "direction": "both"}) == 2.5
    assert performance.limit({"norm": "dropout", "direction": "forward"}) == 1.0


@pytest.mark.parametrize("name", ROWS)
def test_a_file_that_is_not_there_has_no_section(name, results):
    heading = performance.SECTIONS[name](record(name))[0]
    assert heading in performance.page(results).splitlines()
    (results / f"{name}.json").unlink()
    assert heading not in performance.page(results).splitlines()


def test_ratios_that_miss_their_targets_are_listed(results, monkeypatch):
    found = performance_shortfalls.behind({name: record(name) for name in ROWS})
    assert found == [
        ["accelerate", "`ResNet50V2`, 64x64x3, batch 8", "Keras / tfnorm", "0.80", "1.30"],
        ["scaling", "`gn:4`, 8x32x32x32, float32, forward and backward", "Keras / tfnorm", "0.75", "1.00"],
        ["memory", "`cifar_residual`, `ln`, batch 256", "tfnorm / Keras", "1.25", "1.00"],
    ]
    monkeypatch.setitem(performance_shortfalls.TARGETS, "training", {"torch float32": 3.0})
    assert ["training", "`mnist_7k`, `gn:2`, batch 64", "PyTorch / tfnorm, float32", "2.00", "3.00"] in (
        performance_shortfalls.behind({name: record(name) for name in ROWS})
    )


def test_reasons_follow_the_list(results, monkeypatch):
    assert "No measured ratio misses its target." not in performance.page(results)
    monkeypatch.setattr(performance_shortfalls, "REASONS", "\nThe cost of a call.\n")
    assert performance.page(results).endswith("| 1.25 | 1.00 |\n\nThe cost of a call.\n")
