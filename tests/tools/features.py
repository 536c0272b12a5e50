"""Which tests show that a feature works on a backend of Keras, and the record of those that passed.

With TFNORM_RECORD_FEATURES=1, a session of pytest writes how many tests of each feature passed on which backend into
docs/backends.json; `python docs/backends.py` makes the table of docs/backends.md from it.
"""

import json
from collections import Counter
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")
#: Why tests that only TensorFlow can pass are left out on the others.
ALONE = "of Keras's TensorFlow backend alone"
#: Why tests of what tfnorm refuses on a backend are left out there.
REFUSED = "refused on this backend, which a test of its own shows"
RECORD = Path(__file__).parents[2] / "docs" / "backends.json"

#: Feature to the beginnings of the names of its tests.
FEATURES = {
    "Layers and penalties": ("tests/layers/", "tests/test_regularizers.py"),
    "Networks: `build` and `fit`": ("tests/models/",),
    "Data: arrays, `.npz`, folders of images, augmentation": ("tests/datasets/",),
    "`tf.data`, where TensorFlow is installed": (
        "tests/callbacks/test_every_callback.py::test_tf_data",
        "tests/callbacks/test_every_callback.py::TestContract::test_several_steps",
        "tests/models/test_image_classifier.py::test_data_that_shuffle",
    ),
    "Training, going on bit for bit": ("tests/training/", "tests/test_backends.py::test_runs_learn"),
    "A comparison killed with `kill -9`": ("tests/training/test_kill.py::test_killed",),
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
    "Comparisons and sweeps": ("tests/experiments/",),
    "Runs in several processes (`--jobs`)": ("tests/experiments/test_engines.py",),
    "Ray": ("tests/experiments/test_ray_engine.py",),
    "16-bit precision": (
        "tests/layers/test_contract.py::test_mixed_precision",
        "tests/layers/test_numerics.py::test_float16",
        "tests/training/test_trainer.py::test_bfloat16",
    ),
    "TensorFlow's fast kernels": ("tests/ops/",),
    "Export to what each backend can write": ("tests/test_export.py", "tests/test_export_backends.py"),
}


def features_of(name):
    """Return the features that a test is of."""
    return [feature for feature, starts in FEATURES.items() if name.startswith(starts)]


class Recorder:
    """A plugin of pytest that counts the tests that passed, by backend and feature."""

    def __init__(self, backend):
        self.backend, self.counts = backend, {}

    def pytest_runtest_logreport(self, report):
        """Count a test; one that names a backend in its parameters is of that one."""
        words = report.nodeid.partition("[")[2].rstrip("]").split("-")
        backend = next((word for word in words if word in BACKENDS), self.backend)
        if report.failed:
            outcome = "failed"
        elif report.skipped and ALONE in str(report.longrepr):
            outcome = "tensorflow only"
        elif report.skipped and REFUSED in str(report.longrepr):
            outcome = "refused"
        elif report.when == "call" and report.passed:
            outcome = "passed"
        else:
            return
        for feature in features_of(report.nodeid):
            self.counts.setdefault((backend, feature), Counter())[outcome] += 1

    def pytest_sessionfinish(self):
        """Add the counts of this backend to the record; those of a feature that ran replace the ones before."""
        record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
        for (backend, feature), counts in self.counts.items():
            if backend == self.backend:  # a test of another in a process of its own is counted in the other's session
                record.setdefault(backend, {})[feature] = {outcome: counts[outcome] for outcome in sorted(counts)}
        for backend, features in record.items():
            record[backend] = {feature: counts for feature, counts in features.items() if feature in FEATURES}
        RECORD.write_text(as_text(record))


def as_text(record):
    """Return the record as JSON, a line for each backend and feature."""
    blocks = []
    for backend in BACKENDS:
        features = sorted(record.get(backend, {}).items())
        lines = ",\n".join(f"  {json.dumps(feature)}: {json.dumps(counts)}" for feature, counts in features)
        blocks.append(f' "{backend}": {{\n{lines}\n }}')
    return "{\n" + ",\n".join(blocks) + "\n}\n"
