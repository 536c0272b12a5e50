"""The table of what works on which backend is what the tests recorded."""

import importlib.util
import json
import sys
from pathlib import Path

import features
from features import ALONE, FEATURES, RECORD, Recorder, as_text

PAGE = RECORD.with_name("backends.md")
sys.path.append(str(RECORD.parent))
spec = importlib.util.spec_from_file_location("docs_backends", RECORD.with_name("backends.py"))
backends = importlib.util.module_from_spec(spec)
spec.loader.exec_module(backends)


def test_the_table_is_that_of_the_record():
    assert backends.written() == PAGE.read_text(encoding="utf-8")


def test_each_feature_is_that_of_some_test():
    root = Path(__file__).parents[1]
    for feature, starts in FEATURES.items():
        for start in starts:
            file, _, test = start.partition("::")
            test = test.rpartition("::")[2]
            found = [
                place for place in root.glob("tests/**/*.py") if place.relative_to(root).as_posix().startswith(file)
            ]
            assert found and any(f"def {test}" in place.read_text() for place in found), (feature, start)


def test_the_record_has_a_line_for_each_backend_and_feature():
    text = RECORD.read_text(encoding="utf-8")
    assert as_text(json.loads(text)) == text


class Report:
    def __init__(self, name, outcome, reason=""):
        self.nodeid, self.when, self.longrepr = name, "setup" if outcome == "skipped" else "call", reason
        self.passed, self.failed, self.skipped = (outcome == each for each in ("passed", "failed", "skipped"))


def recorded(backend, *reports):
    recorder = Recorder(backend)
    for report in reports:
        recorder.pytest_runtest_logreport(Report(*report))
    recorder.pytest_sessionfinish()
    return json.loads(features.RECORD.read_text())


def test_what_ran_replaces_what_was_there_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "RECORD", tmp_path / "record.json")
    layer, step = "tests/layers/test_a.py::test_a[bn]", "tests/test_backends.py::test_runs_learn"
    features.RECORD.write_text(json.dumps({"jax": {"A feature of before": {"passed": 1}}}))
    recorded("tensorflow", (layer, "passed"), (f"{step}[torch]", "failed"), (f"{step}[jax]", "passed"))
    recorded("jax", ("tests/ops/test_a.py::test_a", "skipped", f"('a.py', 3, 'Skipped: {ALONE}')"))
    opened = "tests/convert/test_tfa.py::test_a"
    recorded("torch", (f"{opened}[1]", "skipped", f"Skipped: {features.REFUSED}"), (opened, "passed"))
    others = (layer, "skipped", "Skipped: for another reason"), (layer, "skipped", ALONE)
    record = recorded("jax", (layer, "failed"), (layer, "passed"), *others, (f"{step}[jax]", "passed"))
    name = "Training, going on bit for bit"
    assert record == {
        "tensorflow": {"Layers and penalties": {"passed": 1}},
        "jax": {
            "Layers and penalties": {"failed": 1, "passed": 1, "tensorflow only": 1},
            name: {"passed": 1},
            "TensorFlow's fast kernels": {"tensorflow only": 1},
        },
        "torch": {"Models of tensorflow-addons": {"passed": 1, "refused": 1}},
    }
    lines = backends.table(record).splitlines()
    assert "| Layers and penalties | 1 test | 1 of 2 tests fail | not tested |" in lines
    assert f"| {name} | not tested | 1 test | not tested |" in lines
    record["jax"]["Layers and penalties"].pop("failed")
    assert "| Layers and penalties | 1 test | 1 test, 1 TensorFlow's alone | not tested |" in backends.table(record)
    assert "| Models of tensorflow-addons | not tested | not tested | refused |" in lines
    assert "| TensorFlow's fast kernels | not tested | TensorFlow's alone | not tested |" in lines
