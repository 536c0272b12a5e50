"""Runs on several devices: what they share, what each computes by itself, and what the record says of it."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from facts import one_says, says

from tfnorm.cli import main
from tfnorm.errors import TfnormError
from tfnorm.experiments.plan import plan_comparison
from tfnorm.training.config import TrainConfig, checked
from tfnorm.training.network.devices import check_devices
from tfnorm.training.predict import evaluation_batch

TOOLS = Path(__file__).parents[1] / "tools"
NORMS = ("gn:4", "ln", "ln:channel", "in", "rms", "frn")


def on(backend, program, *words):
    """Run a program on two devices of a backend, and return the JSON of its last line."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    environment |= {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run([sys.executable, *program, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def check_sum(said):
    """Check that training on two devices came to the same as on one, with a last batch of 5 images too."""
    assert said["apart"] < 2e-5 < 2e-3 < said["came"]
    np.testing.assert_allclose(*said["losses"], rtol=1e-5)


def test_two_devices_of_tensorflow_train_as_one_with_synchronized_batch_norm_and_with_group_norm():
    said = on("tensorflow", [TOOLS / "divided.py"], "gn:4")
    check_sum(said["sync"])
    assert said["bn"]["over devices"] < 1e-5 < 1e-3 < said["bn"]["over batches"]
    says(said["too few"], "devices=3", "2 CPUs", "at most 2")
    says(said["too few images"], "batch of 1", "13 training images", "devices=2")


@pytest.mark.matrix
def test_every_norm_on_two_devices_of_tensorflow_and_each_device_draws_for_itself():
    said = on("tensorflow", [TOOLS / "divided.py"], *NORMS, "and more")
    check_sum(said["sync"])
    for kind in ("bn", "keras"):  # Keras's own layer alone would keep the statistics of the first device
        assert said[kind]["over devices"] < 1e-5 < 1e-3 < said[kind]["over batches"]
    assert len(said["draws differ by"]) == 3 and all(apart[0] > 0 == apart[1] for apart in said["draws differ by"])


@pytest.mark.matrix
def test_two_devices_of_jax_train_as_one_and_draw_as_one():
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    said = on("jax", [TOOLS / "divided.py"], *NORMS, "and more")
    check_sum(said["sync"])
    check_sum(said["drawing"])
    assert said["bn"]["over batches"] < 1e-5 < 1e-3 < said["bn"]["over devices"]
    says(said["too few"], "devices=3", "2 CPUs", "at most 2")


WHOLE_RUNS = """
import json, sys
from pathlib import Path
import keras
import numpy as np

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
import tfnorm
from tfnorm.datasets import load
from tfnorm.datasets.dataset import Dataset
from tfnorm.training.progress import Progress
from tfnorm.training.recipe.recipes import RECIPES

out, tools = map(Path, sys.argv[1:3])
full = load("digits")
data = Dataset("few", full.x_train[:61], full.y_train[:61], full.x_test[:33], full.y_test[:33], full.class_names)
small = {"model": f"{tools}/own_networks.py:one_block", "augmentation": "none", "batch_size": 8}
comparison = tfnorm.compare(["bn", "bn:sync", "gn:4"], seeds=1, epochs=1, devices=2, data=data, out=out / "compared",
    recipe="default", **small)


class Stop(Progress):
    def epoch_ended(self, run, record):
        if record["epoch"] == 0:
            raise KeyboardInterrupt


recipe = RECIPES["default"].model_dump() | {"name": "x", "plain_epochs": 1, "recalibrate": True}
settings = {"norm": "bn:sync", "recipe": recipe, "epochs": 3, "data": data} | small | {"augmentation": "shift"}
whole = tfnorm.train(**settings, devices=2, out=out / "whole")
try:
    tfnorm.train(**settings, devices=2, out=out / "broken", progress=Stop())
except KeyboardInterrupt:
    resumed = tfnorm.train(**settings, devices=2, out=out / "broken")
plain = {**settings, "recipe": recipe | {"dropout": 0.0}, "augmentation": "none"}
plain["model"] = f"{tools}/own_networks.py:undropped"
alone, shared = (tfnorm.train(**plain, devices=count, out=out / f"on-{count}") for count in (1, 2))
weights = [[np.array(each) for each in run.load_model().get_weights()] for run in (alone, shared, whole, resumed)]
print(json.dumps({
    "records": {run.label: run.config["devices"] for run in comparison.runs},
    "asked": comparison.runs[0].config["asked"]["devices"],
    "page": (out / "compared" / "report.html").read_text(),
    "resumed alike": bool(np.array_equal(whole.logits, resumed.logits)) and all(map(np.array_equal, *weights[2:])),
    "losses": [run.history[["loss", "val_loss"]].values.tolist() for run in (alone, shared)],
    "apart": max(float(np.abs(a - b).max()) for a, b in zip(*weights[:2])),
    "recorded alone": "devices" in alone.config or "devices" in alone.config["asked"],
}))
"""


@pytest.mark.matrix
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_whole_runs_on_two_devices(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    said = on(backend, ["-c", WHOLE_RUNS], str(tmp_path), str(TOOLS))
    of_one = "4 images: those of one device" if backend == "tensorflow" else "8 images: the global batch"
    spans = {"bn": of_one, "bn:sync": "8 images: the global batch", "gn:4": "one image"}
    assert {label: record["statistics_of_norms"] for label, record in said["records"].items()} == spans
    assert {record["images_per_device"] for record in said["records"].values()} == {4}
    assert {record["count"] for record in said["records"].values()} == {2} == {said["asked"]}
    one_says(said["page"], "Several devices", *spans.values())
    assert said["resumed alike"]
    # With statistics of all training images at the end, the same as on one device.
    np.testing.assert_allclose(*said["losses"], rtol=1e-4)
    assert said["apart"] < 1e-4 and not said["recorded alone"]


REFUSED = {
    "not divisible": ({"batch_size": 9, "devices": 2}, ("batch_size=9", "devices=2", "8 or 10")),
    "more than images": ({"batch_size": 2, "devices": 4}, ("batch_size=2", "devices=4", "of 4")),
    "none": ({"devices": 0}, ("`devices`", "0")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_devices_that_cannot_share_a_batch_are_refused(case):
    settings, facts = REFUSED[case]
    with pytest.raises(TfnormError) as caught:
        checked(TrainConfig, {"norm": "bn", **settings})
    says(caught, *facts)


def test_several_devices_are_refused_on_pytorch(monkeypatch):
    monkeypatch.setattr("tfnorm.training.config.chosen_backend", lambda: "torch")
    with pytest.raises(TfnormError) as caught:
        checked(TrainConfig, {"norm": "bn", "devices": 2})
    says(caught, "tensorflow or jax", "devices=2", "backend='torch'")


def test_more_devices_than_there_are_end_the_command_before_training(tmp_path, capsys, monkeypatch):
    found = check_devices(1)
    assert found == ("", ())
    monkeypatch.setattr(
        sys,
        "argv",
        ["tfnorm", "train", "gn:2", "--devices", "64", "--batch-size", "64", "--out", str(tmp_path / "run")],
    )
    with pytest.raises(SystemExit) as stop:
        main()
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1 and not (tmp_path / "run").exists()
    says(said, "devices=64", keras.backend.backend())


def test_a_run_of_one_device_is_the_run_that_it_was(tmp_path):
    assert "devices" not in TrainConfig(norm="bn").asked()
    assert TrainConfig(norm="bn", devices=2).asked()["devices"] == 2


def test_runs_on_a_cluster_get_a_gpu_for_each_device():
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    plan = plan_comparison(["bn"], devices=2, engine="ray")
    assert plan.gpus == 2 and plan_comparison(["bn"], engine="ray").gpus == 0


@pytest.mark.parametrize("images", [3, 10, 257, 450, 10_001])
@pytest.mark.parametrize("devices", [1, 2, 3])
def test_each_device_gets_an_image_of_the_last_batch_of_an_evaluation(images, devices):
    for pixels in (1, 224 * 224, 2000 * 2000):
        size = evaluation_batch(images, pixels, devices)
        assert images % size == 0 or images % size >= devices
