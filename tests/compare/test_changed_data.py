"""Runs whose data have changed since."""

from pathlib import Path

import numpy as np
import pytest

from tfnorm.compare.configurations import configurations
from tfnorm.compare.engines import run_local
from tfnorm.compare.grid import plan_grid
from tfnorm.datasets import load
from tfnorm.errors import RunError
from tfnorm.training.data import fingerprints


def write(path, images):
    x = np.arange(images * 64, dtype="uint8").reshape(images, 8, 8, 1)
    y = np.arange(images) % 2
    np.savez(path, x_train=x, y_train=y, x_test=x[:10], y_test=y[:10])


def test_runs_on_data_that_have_changed_are_refused_before_anything_is_trained(fake_run, tmp_path):
    file = tmp_path / "mine.npz"
    write(file, 20)
    planned = plan_grid({"settings": {"dataset": str(file)}, "grid": {"norm": ["bn", "gn:2"], "seeds": 1}})
    done, logits = planned[0], np.zeros((10, 2), "float32")
    record = {"fingerprint": load(str(file)).fingerprint}
    fake_run(tmp_path / "out" / done.folder, done.config.resolved(), 0.5, np.arange(10) % 2, logits, data=record)
    assert run_local([done], tmp_path / "out") == {}
    write(file, 30)
    begun = []
    with pytest.raises(RunError, match="fingerprint of the data is .* there and .* now") as error:
        run_local(planned, tmp_path / "out", jobs=1, before=lambda: begun.append(1))
    assert str(Path("out") / done.folder) in str(error.value) and not begun
    file.unlink()
    assert run_local([done], tmp_path / "out") == {}, "finished runs do without their data"


@pytest.mark.parametrize("cached", [False, True])
def test_data_are_loaded_once_and_never_downloaded(cached, tmp_path, monkeypatch):
    loads = []
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("tfnorm.training.data.load_data", lambda config: loads.append(config) or load("digits"))
    if cached:
        (tmp_path / "datasets").mkdir()
        (tmp_path / "datasets" / "mnist.npz").touch()
    fingerprint = fingerprints()
    configs = configurations(["bn", "ln"], seeds=2, dataset="mnist")
    assert {fingerprint(config) for config in configs} == {load("digits").fingerprint if cached else None}
    assert len(loads) == cached
