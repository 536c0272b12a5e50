"""The table of what works on which backend is what the tests recorded."""

import importlib.util
import json
from pathlib import Path

from features import FEATURES, RECORD, Recorder

PAGE = RECORD.with_name("backends.md")
spec = importlib.util.spec_from_file_location("docs_backends", RECORD.with_name("backends.py"))
backends = importlib.util.module_from_spec(spec)
spec.loader.exec_module(backends)


def test_the_table_is_that_of_the_record():
    page = PAGE.read_text(encoding="utf-8")
    assert backends.written(page, json.loads(RECORD.read_text())) == page


def test_each_feature_is_that_of_some_test():
    root = Path(__file__).parents[1]
    for feature, starts in FEATURES.items():
        for start in starts:
            file, _, test = start.partition("::")
            found = [
                place for place in root.glob("tests/**/*.py") if place.relative_to(root).as_posix().startswith(file)
            ]
            assert found and any(f"def {test}" in place.read_text() for place in found), (feature, start)


def test_a_feature_with_a_failure_says_so(tmp_path, monkeypatch):
    import features

    class Report:
        def __init__(self, name, outcome):
            self.nodeid, self.when = name, "call"
            self.passed, self.failed = outcome == "passed", outcome == "failed"

    monkeypatch.setattr(features, "RECORD", tmp_path / "record.json")
    recorder = Recorder("tensorflow")
    for name, outcome in (
        ("tests/layers/test_a.py::test_a[bn]", "passed"),
        ("tests/test_backends.py::test_divergence[torch]", "failed"),
        ("tests/test_backends.py::test_divergence[jax]", "passed"),
    ):
        recorder.pytest_runtest_logreport(Report(name, outcome))
    recorder.pytest_sessionfinish()
    record = json.loads(features.RECORD.read_text())
    assert record == {
        "Layers and penalties": {"tensorflow": {"passed": 1, "failed": 0}},
        "Divergence, found at its step": {
            "torch": {"passed": 0, "failed": 1}, "jax": {"passed": 1, "failed": 0},
        },
    }  # fmt: skip
    lines = backends.table(record).splitlines()
    assert "| Layers and penalties | 1 test | not tested | not tested |" in lines
    assert "| Divergence, found at its step | not tested | 1 test | 1 of 1 tests fail |" in lines
