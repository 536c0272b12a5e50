"""tfnorm on the other backends of Keras, in processes of their own: the backend is chosen when Keras is imported."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json, sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == "tensorflow" else super().find_spec(name, path, target)

sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
from pathlib import Path
import keras
import numpy as np
from tfnorm import compare
from tfnorm.datasets import load
from tfnorm.datasets.dataset import Dataset
from tfnorm.errors import TfnormError
from tfnorm.layers import BatchNormalization
from tfnorm.training.progress import Progress
from tfnorm.training.recipe.recipes import RECIPES
from tfnorm.training.trainer import train

class Stop(Progress):
    def epoch_ended(self, run, record):
        if record["epoch"] == 1:
            raise KeyboardInterrupt

full, out = load("digits", image_size=28), Path(sys.argv[1])
np.savez(out / "digits.npz", x_train=full.x_train[:99], y_train=full.y_train[:99], x_test=full.x_test[:9],
         y_test=full.y_test[:9])
for part in ("train", "test"):
    for number in range(4):
        place = out / "pictures" / part / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(place, full.x_train[number])
read, seen = load(out / "digits.npz"), load(f"{out}/pictures/")
data = Dataset("digits", full.x_train[:128], full.y_train[:128], full.x_test[:32], full.y_test[:32], full.class_names)
recipe = {**RECIPES["A+"].model_dump(), "name": "x", "plain_epochs": 1, "recalibrate": True, "batch_size": 32}
settings = {"norm": "bn+l1=1e-4", "recipe": recipe, "epochs": 3, "data": data}
whole = train(**settings, out=out / "whole")
try:
    train(**settings, out=out / "broken", progress=Stop())
except KeyboardInterrupt:
    resumed = train(**settings, out=out / "broken")
second = train(**settings, seed=1, out=out / "second")  # in the graph of the first
alone = train(**{**settings, "recipe": {**recipe, "recalibrate": False}}, seed=1, out=out / "alone")  # in its own
weights = [
    [keras.ops.convert_to_numpy(weight) for weight in run.load_model().trainable_weights] for run in (second, alone)
]
wild = train(norm="none", epochs=4, learning_rate=1e38, augmentation="none", out=out / "wild", data=data)
refused = []
calls = [lambda: BatchNormalization(synchronized=True)]
if keras.backend.backend() == "torch":  # on JAX the spec is the same as "bn"
    calls.append(lambda: compare(["bn", "bn:sync"], out=out / "refused"))
for call in calls:
    try:
        call()
    except TfnormError as error:
        refused.append(str(error))
print(json.dumps({
    "refused": refused,
    "nothing trained": not (out / "refused").exists(),
    "losses": [run.history["loss"].tolist() for run in (whole, resumed)],
    "resumed alike": bool(np.array_equal(whole.logits, resumed.logits)),
    "weights alike": list(map(np.array_equal, *weights)),
    "training losses": [run.history["loss"].tolist() for run in (second, alone)],
    "validation losses": [run.history["val_loss"].tolist() for run in (second, alone)],
    "seeds differ": not np.array_equal(whole.logits, second.logits),
    "loaded": bool(np.allclose(whole.load_model().predict(data.x_test, verbose=0), whole.logits, atol=1e-3)),
    "versions": whole.config["versions"],
    "read": bool((read.x_train == full.x_train[:99]).all() and (seen.x_test == seen.x_train).all()),
    "diverged": [wild.status, wild.result["diverged_at_epoch"], wild.result["diverged_at_step"]],
}))
"""

CONVERSIONS = """
import json
import keras
import numpy as np
from keras import layers
from tfnorm import convert

keras.utils.set_random_seed(0)
x, y = np.random.default_rng(0).normal(size=(16, 2, 2, 3)).astype("float32"), np.zeros((16, 2), "float32")
parts = [layers.Conv2D(4, 1), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.5), layers.Flatten()]
model = keras.Sequential([keras.Input((2, 2, 3)), *parts, layers.Dense(2)])
model.compile("adam", "mse")
model.fit(x, y, verbose=0)
functions = {
    "accelerate": convert.accelerate,
    "to_keras": convert.to_keras,
    "replace_norms": lambda model: convert.replace_norms(model, "gn:2"),
    "fold_batch_norm": convert.fold_batch_norm,
}

def values(model):
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in model.variables + model.optimizer.variables]

def kept(trained, other):
    before = values(other)
    trained.fit(x, y, verbose=0)
    return all(map(np.array_equal, before, values(other)))

said = {}
for name, function in functions.items():
    new = function(model)
    said[name] = [kept(new, model), kept(model, new), kept(new, model)]
print(json.dumps(said))
"""


# Tracing takes JAX a minute; `make test-backends` runs the tests of training on it too.
BACKENDS = (pytest.param("jax", marks=pytest.mark.matrix), "torch")


def on(backend, program, *words):
    """Run a program on a backend and return the JSON of its last line."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "KERAS_TORCH_DEVICE": "cpu"}
    environment |= {"OMP_NUM_THREADS": "1"}  # threads that wait for each other take a core each
    done = subprocess.run([sys.executable, "-c", program, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=BACKENDS)
def there(request, tmp_path_factory):
    """Return what `PROGRAM` said on a backend."""
    return {"backend": request.param, **on(request.param, PROGRAM, str(tmp_path_factory.mktemp(request.param)))}


def test_runs_learn_go_on_where_they_were_broken_off_and_share_graphs(there):
    whole, resumed = there["losses"]
    assert resumed == whole and whole[2] < whole[1] < whole[0]
    assert there["resumed alike"] and there["loaded"] and there["seeds differ"]
    shared, alone = there["training losses"]
    assert shared == alone and all(there["weights alike"]) and len(there["weights alike"]) > 4


def test_the_last_epoch_is_evaluated_with_statistics_estimated_again(there):
    recalibrated, moving = there["validation losses"]  # of runs that are alike but for that
    assert recalibrated[:2] == moving[:2]
    assert recalibrated[2] != pytest.approx(moving[2], rel=1e-2)


def test_a_run_says_its_backend_and_needs_no_tensorflow_for_arrays_archives_and_pictures(there):
    assert there["versions"]["backend"] == there["backend"] and there["versions"][there["backend"]]
    assert "tensorflow" not in there["versions"] and there["read"]


def test_divergence_is_found_at_its_step(there):
    status, epoch, step = there["diverged"]
    assert status == "diverged" and step // 4 == epoch and step > 0


@pytest.mark.matrix  # `make test-backends` runs all of tests/convert there
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_converted_model_and_the_one_it_is_from_are_trained_in_turn(backend):
    for conversion, unchanged in on(backend, CONVERSIONS).items():
        assert unchanged == [True, True, True], conversion


def test_what_is_of_tensorflow_alone_says_so_before_anything_is_trained(there):
    said, backend = there["refused"], there["backend"]
    assert len(said) == (2 if backend == "torch" else 1) and all(
        "bn:sync" in each and f"backend={backend!r}" in each for each in said
    )
    assert there["nothing trained"]
