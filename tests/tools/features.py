"""Which tests show that a feature works on a backend of Keras, and the record of those that passed.

With TFNORM_RECORD_FEATURES=1, a session of pytest writes how many tests of each feature passed on which backend into
docs/backends.json; `python docs/backends.py` makes the table of docs/backends.md from it.
"""

import json
from collections import Counter
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")
RECORD = Path(__file__).parents[2] / "docs" / "backends.json"

#: Feature to the beginnings of the names of its tests.
FEATURES = {
    "Layers and penalties": ("tests/layers/", "tests/test_regularizers.py"),
    "Networks: `build` and `fit`": ("tests/models/",),
    "Data: arrays, `.npz`, folders of images, augmentation": ("tests/datasets/",),
    "Training without TensorFlow, going on bit for bit": ("tests/test_backends.py::test_runs_learn",),
    "A comparison killed with `kill -9`": ("tests/training/test_kill.py::test_killed",),
    "Teachers": ("tests/test_backends.py::test_a_run_learns",),
    "Divergence, found at its step": ("tests/test_backends.py::test_divergence",),
    "Callbacks": ("tests/callbacks/",),
    "`accelerate`, `to_keras`, `replace_norms`, `fold_batch_norm`": (
        "tests/convert/test_accelerate",
        "tests/convert/test_stock",
        "tests/convert/test_replace",
        "tests/convert/test_fold",
        "tests/test_backends.py::test_a_converted_model",
    ),
    "Models of tensorflow-addons": ("tests/convert/test_tfa",),
    "Analysis": ("tests/analysis/",),
    "Misclassified images": ("tests/test_misclassified.py",),
    "Sweeps with `--jobs`": ("tests/compare/test_engines.py",),
    "TensorFlow's fast kernels": ("tests/ops/",),
    "Export to SavedModel, LiteRT and ONNX": ("tests/test_export.py",),
}


def features_of(name):
    """Return the features that a test is of."""
    return [feature for feature, starts in FEATURES.items() if name.startswith(starts)]


class Recorder:
    """A plugin of pytest that counts the tests that passed, by feature and backend."""

    def __init__(self, backend):
        self.backend, self.passed, self.failed = backend, Counter(), Counter()

    def pytest_runtest_logreport(self, report):
        """Count a test; one that names a backend in its parameters is of that one."""
        words = report.nodeid.partition("[")[2].rstrip("]").split("-")
        backend = next((word for word in words if word in BACKENDS), self.backend)
        if report.when == "call" and report.passed:
            self.passed.update((feature, backend) for feature in features_of(report.nodeid))
        elif report.failed:
            self.failed.update((feature, backend) for feature in features_of(report.nodeid))

    def pytest_sessionfinish(self):
        """Add the counts to the record; those of a feature and backend that ran replace the ones before."""
        record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
        for feature, backend in {*self.passed, *self.failed}:
            key = feature, backend
            record.setdefault(feature, {})[backend] = {"passed": self.passed[key], "failed": self.failed[key]}
        RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
