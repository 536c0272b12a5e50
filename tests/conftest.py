"""Settings that must be made before Keras is imported, and fixtures that several folders share."""

import functools
import json
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ["MPLBACKEND"] = "Agg"

# The same examples at every run, so that a change is judged by what it changed; the profile "explore" draws new ones.
# A busy machine fails no test.
settings.register_profile(
    "repeatable", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", print_blob=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_configure(config):
    """Record which features work on which backend, if that is asked for."""
    if os.environ.get("TFNORM_RECORD_FEATURES") == "1" and not hasattr(config, "workerinput"):
        from features import Recorder

        config.pluginmanager.register(Recorder(os.environ["KERAS_BACKEND"]))


# They start processes, which take long and wait. They begin first, so that no worker is left alone with one at the end.
SLOW = """
    test_engines test_kill test_ray_engine test_docs_build test_surroundings test_backends test_export_backends
    test_chromium test_chromium_study test_chromium_sweep test_docs test_benchmarks test_reproduce test_stock
""".split()


def pytest_collection_modifyitems(items):
    """Begin with the files of SLOW."""
    items.sort(key=lambda item: item.path.stem not in SLOW)


@pytest.fixture(autouse=True, scope="session")
def _tensors_compare_as_arrays():
    """Let NumPy's assertions take tensors of PyTorch, which need a gradient and refuse to be arrays."""
    if os.environ["KERAS_BACKEND"] != "torch":
        yield
        return
    import numpy as np
    import torch
    from torch.utils import _pytree as tree

    def as_array(value):
        return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value

    def with_arrays(assertion):
        def asserting(*values, **settings):
            return assertion(*tree.tree_map(as_array, values), **settings)

        return functools.wraps(assertion)(asserting)

    names = [name for name in dir(np.testing) if name.startswith("assert_")]
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(np.testing, name, with_arrays(getattr(np.testing, name)))
        yield


@pytest.fixture(autouse=True, scope="module")
def _jax_forgets():
    """Let JAX forget what it compiled for each operation and shape: gigabytes after some thousand tests."""
    yield
    if os.environ["KERAS_BACKEND"] == "jax":
        import jax

        jax.clear_caches()


@pytest.fixture
def seeded():
    """Seed Python, NumPy and the backend, and return a generator of random numbers."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    return np.random.default_rng(0)


@functools.cache
def _build(arch, norm, **arguments):
    from tfnorm import build

    return build(arch, norm=norm, seed=1, **arguments)


@pytest.fixture(scope="session")
def built():
    """Return a function (architecture, spec) -> model that builds each once; do not train or change its models."""
    return _build


@pytest.fixture(scope="session")
def run_python():
    """Return a function that runs code in a fresh interpreter and returns what it printed."""

    def run(code, *arguments):
        done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


WHAT_IT_IMPORTS = """
import contextlib, io, json, sys
from tfnorm.cli import main

found = []
for call in json.loads(sys.argv[1]):
    sys.argv = ["tfnorm", *call]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
    heavy = {"tensorflow", "keras", "pandas", "matplotlib", "jinja2", "plotly", "optuna"}
    found.append((call, code, sorted(heavy & set(sys.modules))))
print(json.dumps(found))
"""


@pytest.fixture(scope="session")
def what_it_imports(run_python):
    """Return a function that makes calls of the command line in a fresh interpreter.

    It returns (call, exit code, heavy packages that are imported by then) for each.
    """
    return lambda calls: [tuple(each) for each in json.loads(run_python(WHAT_IT_IMPORTS, json.dumps(calls)))]


# Of the process alone: getrusage would count the memory of the one it was forked from, too.
PRINT_PEAK = r"""
import pathlib, re, resource, sys
status = pathlib.Path('/proc/self/status')
if status.exists():
    print(1024 * int(re.search(r'VmHWM:\s+(\d+)', status.read_text())[1]))
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024))
"""


@pytest.fixture(scope="session")
def measure_python(run_python):
    """Return a function that runs code in a fresh interpreter and returns what it printed, and its peak bytes."""

    def run(code, *arguments):
        printed, _, peak = run_python(f"{code}\n{PRINT_PEAK}", *arguments).rpartition("\n")
        return printed, int(peak)

    return run


@pytest.fixture(scope="session")
def fake_run():
    """Return a function that writes the folder of a run that was never trained.

    Args:
        place: The folder.
        config: A `TrainConfig`, resolved.
        reached: Last test accuracy, 0..1, NaN for a run that diverged, None for one that is not finished.
        labels: True classes.
        logits: (images, classes).
        data: In place of entries of its record of the data.
        **record: In place of entries of config.json.
    """
    import numpy as np

    from tfnorm.metrics.known import known_metric, metric_record

    def write(place, config, reached, labels, logits, data=None, **record):
        place.mkdir(parents=True)
        classes = [str(number) for number in range(logits.shape[1])]
        data = {
            "name": str(config.dataset), "input_shape": [28, 28, 1], "num_classes": len(classes),
            "class_names": classes,
            "train_images": 10 * len(labels), "test_images": len(labels), "mean": [0.0], "std": [1.0],
            "fingerprint": "f", "data_dir": None, **(data or {}),
        }  # fmt: skip
        record = {
            "schema_version": 1, "asked": config.asked(), "trainable_parameters": 7000, "layers": [],
            "regularized": {}, "initial_kernels": "k", "initial_weights": "w", "data": data,
            "versions": {
                "tfnorm": "0.1.0", "python": "3.11.7", "backend": "tensorflow", "revision": None, "keras": "3.15.1",
                "tensorflow": "2.21.0", "numpy": "2.4.6",
            },
            "machine": {"platform": "Linux", "processor": "a processor", "cores": 2, "threads": 1},
            "keras_settings": {}, "started": "2025-01-01T00:00:00Z", **record,
        }  # fmt: skip
        metric = known_metric(config.metric or "accuracy")[0]
        if config.metric:  # as in folders of earlier versions otherwise
            record["metric"] = metric_record(metric)
        (place / "config.json").write_text(json.dumps(record))
        if reached is None:
            return
        np.savez(place / "predictions.npz", logits=logits, y_true=labels)
        diverged = bool(np.isnan(reached))
        result = {"schema_version": 1, "status": "diverged" if diverged else "finished", "epochs": config.epochs}
        result |= {
            "best_epoch": config.epochs - 1,
            "misclassified": None if diverged else round(len(labels) * (1 - reached)),
        }
        (place / "result.json").write_text(json.dumps(result))
        rest = {
            "loss": 0.2, "data_loss": 0.1, "accuracy": reached + 0.005, "val_loss": 1 - reached, "lr": 0.1,
            "val_data_loss": 1 - reached, "penalty": 0.1, "seconds": 1.5, "images_per_second": 900.0,
        }  # fmt: skip
        lines = []
        for i in range(config.epochs):
            rise = reached * (i + 1) / config.epochs
            measures = {"val_accuracy": rise, metric.key: rise, **rest}
            lines.append(json.dumps({"schema_version": 1, "epoch": i, **measures}))
        (place / "history.jsonl").write_text("\n".join(lines) + "\n")

    return write


@pytest.fixture(scope="session")
def fake_sweep(fake_run):
    """Return a function that writes the folder of a sweep whose runs were never trained, and returns the `Sweep`.

    Args:
        folder: Where.
        grid: As of `tfnorm.experiments.sweep.grid.plan_grid`.
        accuracy: (configuration) -> last test accuracy, NaN for a run that diverged, or a word for one without a
            result: "waiting", or a sentence why it failed.
        images: Of the test set, 10 classes.
    """
    import numpy as np

    from tfnorm.experiments.sweep.folder import GRID, grid_text, write_record
    from tfnorm.experiments.sweep.grid import plan_grid
    from tfnorm.experiments.sweep.sweep import Sweep

    def write(folder, grid, accuracy, images=100):
        planned, failures, rng = plan_grid(grid), {}, np.random.default_rng(0)
        labels = np.arange(images) % 10
        for run in planned:
            reached = accuracy(run.config)
            if isinstance(reached, str):
                failures |= {run.folder: reached} if reached != "waiting" else {}
                continue
            wrong = rng.permutation(images)[: round(images * (1 - np.nan_to_num(reached)))]
            predicted = labels.copy()
            predicted[wrong] = (labels[wrong] + rng.integers(1, 10, len(wrong))) % 10
            logits = rng.normal(size=(images, 10)).astype("float32")
            logits[np.arange(images), predicted] += 6
            fake_run(folder / run.folder, run.config, reached, labels, logits)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / GRID).write_text(grid_text(grid))
        write_record(folder, planned, 1, folder, failures)
        return Sweep(planned, folder, failures=failures)

    return write


@pytest.fixture(scope="session")
def fake_comparison(fake_run):
    """Return a function that writes a comparison's runs, which were never trained, and returns their `Comparison`.

    Args:
        folder: Where, as `tfnorm.compare` would.
        accuracy: Spec to the test accuracy of each seed, see ``fake_run``; wrong images are drawn by it.
        images: Of the test set.
        class_names: Of its classes.
        settings: Of `TrainConfig`.
        **others: Of ``fake_run``.
    """
    import numpy as np

    from tfnorm.experiments.collect import collect
    from tfnorm.experiments.plan import configurations
    from tfnorm.training.runs import slug

    def write(folder, accuracy, images=100, class_names=(*"0123456789",), settings=None, **others):
        rng, classes = np.random.default_rng(0), len(class_names)
        labels = np.arange(images) % classes
        seeds = max(map(len, accuracy.values()))
        data = {"class_names": list(class_names), **others.pop("data", {})}
        for config in configurations(list(accuracy), seeds=seeds, **(settings or {})):
            if config.seed >= len(accuracy[config.norm]):
                continue
            reached = accuracy[config.norm][config.seed]
            wrong = rng.permutation(images)[: round(images * (1 - np.nan_to_num(reached or 0)))]
            predicted = labels.copy()
            predicted[wrong] = (labels[wrong] + rng.integers(1, classes, len(wrong))) % classes
            logits = rng.normal(size=(images, classes)).astype("float32")
            logits[np.arange(images), predicted] += 6
            place = folder / slug(config.norm) / f"seed-{config.seed}"
            fake_run(place, config, reached, labels, logits, data=data, **others)
        return collect([folder / slug(norm) for norm in accuracy], out=folder)

    return write
