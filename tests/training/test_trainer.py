import io
import json
import logging.handlers
import random
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from facts import says
from once import filled_once
from rich.console import Console
from stopping import StopAfter

from tfnorm.cli.run_progress import LiveProgress
from tfnorm.convert.recalibrate import recalibrate_batch_norms
from tfnorm.datasets.dataset import Dataset
from tfnorm.errors import RunError, TfnormError
from tfnorm.keras_settings import THREADS
from tfnorm.models.architectures import ARCHITECTURES, Conv, GlobalPool
from tfnorm.training import trainer
from tfnorm.training.config import TrainConfig
from tfnorm.training.progress import Progress
from tfnorm.training.recipe.recipes import RECIPES
from tfnorm.training.runs import Run, slug
from tfnorm.training.trainer import train

FILES = {
    "best.keras",
    "checkpoint",
    "config.json",
    "history.jsonl",
    "misclassified.png",
    "model.keras",
    "predictions.npz",
    "result.json",
}
PLAIN_AT_THE_END = {**RECIPES["default"].model_dump(), "name": "plain at the end", "plain_epochs": 1}
RECALIBRATED = {**RECIPES["default"].model_dump(), "name": "recalibrated", "recalibrate": True}
TIMES = ["seconds", "train_seconds", "images_per_second"]


@pytest.fixture(scope="module")
def data(few_digits):
    """A hundred and sixty digits, enlarged to what mnist_7k takes."""
    return few_digits(128, 32)


class Recorder(Progress):
    def __init__(self):
        self.told = []

    def __getattribute__(self, name):
        if name in ("skipped", "started", "epoch_ended", "finished"):
            return lambda run, *rest: self.told.append(name)
        return super().__getattribute__(name)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    def fill(folder):
        train(norm="gn:2+l1=1e-4", epochs=2, out=folder, data=data)

    return Run(filled_once(tmp_path_factory, "gn", fill))


def test_a_run_writes_its_folder(run):
    assert {path.name for path in run.path.iterdir()} - {".lock"} == FILES
    assert (run.label, run.seed, run.status) == ("gn:2+l1=1e-4", 0, "finished")
    assert list(run.history.index) == [0, 1]
    assert run.logits.shape == (32, 10) and run.labels.shape == (32,)


def test_history_keeps_penalty_and_data_loss_apart(run):
    history = run.history
    np.testing.assert_allclose(history["loss"], history["data_loss"] + history["penalty"], rtol=1e-5)
    np.testing.assert_allclose(history["val_loss"], history["val_data_loss"] + history["val_penalty"], rtol=1e-5)
    assert (history["penalty"] > 0.01).all()
    assert (history["images_per_second"] > 0).all()


def test_config_says_what_was_really_trained(run):
    config = run.config
    norms = [layer for layer in config["layers"] if layer["name"].endswith("_norm")]
    assert [layer["class"] for layer in norms] == ["GroupNormalization"] * 4
    assert {layer["groups"] for layer in norms} == {2}
    assert config["trainable_parameters"] == 6986
    model = run.load_model()
    assert len(config["regularized"]) == len(model.trainable_variables)
    assert config["data"]["fingerprint"] and config["versions"]["keras"] == keras.__version__


def test_predictions_are_those_of_the_saved_model(run, data):
    model = run.load_model()
    logits = model.predict(data.x_test, verbose=0)
    np.testing.assert_allclose(logits, run.logits, atol=1e-4)
    accuracy = np.mean(run.logits.argmax(1) == run.labels)
    evaluated = model.evaluate(data.x_test, data.y_test, verbose=0, return_dict=True)
    assert evaluated["accuracy"] == pytest.approx(accuracy)
    assert evaluated["loss"] == pytest.approx(run.history["val_loss"].iloc[-1], rel=1e-4)
    assert run.history["val_accuracy"].iloc[-1] == pytest.approx(accuracy)
    assert run.result["misclassified"] == round(32 * (1 - accuracy))


def test_a_finished_run_is_not_trained_again(run, data):
    progress = Recorder()
    before = (run.path / "model.keras").stat().st_mtime_ns
    again = train(norm="gn:2+l1=1e-4", epochs=2, out=run.path, data=data, progress=progress)
    assert progress.told == ["skipped"]
    assert (again.path / "model.keras").stat().st_mtime_ns == before


def test_another_title_of_the_recipe_makes_no_other_run(run, data):
    recipe = {**RECIPES["default"].model_dump(), "title": "said in other words"}
    before = (run.path / "model.keras").stat().st_mtime_ns
    train(norm="gn:2+l1=1e-4", epochs=2, recipe=recipe, out=run.path, data=data)
    assert (run.path / "model.keras").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arch", "norm", "recipe"),
    [
        pytest.param("tiny", "bn+l1=5e-4", "default", marks=pytest.mark.matrix),
        pytest.param("mnist_7k", "bn+l1=5e-4", "default", marks=pytest.mark.matrix),
        pytest.param("mnist_7k", "gn:2", PLAIN_AT_THE_END, marks=pytest.mark.matrix),
        pytest.param("mnist_7k", "bn", "A+", marks=pytest.mark.matrix),
    ],
)
def test_a_broken_off_run_ends_as_if_undisturbed(data, tmp_path, arch, norm, recipe):
    settings = {"norm": norm, "arch": arch, "recipe": recipe, "epochs": 3, "data": data}
    whole = train(**settings, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(**settings, out=tmp_path / "broken", progress=StopAfter(1))
    progress = Recorder()
    resumed = train(**settings, out=tmp_path / "broken", progress=progress)
    assert progress.told.count("epoch_ended") == 1
    assert resumed.history.drop(columns=TIMES).equals(whole.history.drop(columns=TIMES))
    np.testing.assert_array_equal(resumed.logits, whole.logits)
    for a, b in zip(whole.load_model().get_weights(), resumed.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_broken_off_after_its_last_epoch_ends_as_if_undisturbed_and_tells_its_accuracy(data, tmp_path):
    settings = {"norm": "bn", "arch": "tiny", "recipe": RECALIBRATED, "epochs": 1, "data": data}
    whole = train(**settings, out=tmp_path / "bn" / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(**settings, out=tmp_path / "bn" / "broken", progress=StopAfter(0))
    console = Console(file=io.StringIO(), width=200)
    with LiveProgress(console, 1) as progress:
        resumed = train(**settings, out=tmp_path / "bn" / "broken", progress=progress)
    accuracy = 100 * whole.history["val_accuracy"].iloc[-1]
    told = f"bn/broken: finished after 1 epochs, test accuracy {accuracy:.2f} %"
    assert told in console.file.getvalue().splitlines()
    np.testing.assert_array_equal(resumed.logits, whole.logits)


def test_a_run_goes_on_only_with_its_backend_versions_and_accelerator(data, tmp_path, monkeypatch):
    settings = {"norm": "none", "arch": "tiny", "epochs": 2, "data": data, "out": tmp_path}
    for variable in THREADS.values():
        monkeypatch.delenv(variable, raising=False)
    with monkeypatch.context() as there:
        there.setattr("tfnorm.training.provenance.accelerator_name", lambda: "a GPU")
        with pytest.raises(KeyboardInterrupt):
            train(**settings, progress=StopAfter(0))
    assert json.loads((tmp_path / "config.json").read_text())["machine"]["accelerator"] == "a GPU"
    with pytest.raises(RunError, match="accelerator .*a GPU.* none"):
        train(**settings)
    monkeypatch.setattr("tfnorm.training.provenance.accelerator_name", lambda: "a GPU")
    monkeypatch.setattr("tfnorm.training.provenance.threads", lambda: 3)
    with pytest.raises(RunError, match="threads .*all.* 3"):
        train(**settings)
    monkeypatch.setattr("tfnorm.training.provenance.threads", lambda: None)
    assert train(**settings).status == "finished"


def test_the_last_epochs_can_go_without_augmentation(data, tmp_path):
    def losses(plain, augmentation="shift"):
        recipe = {**PLAIN_AT_THE_END, "plain_epochs": plain}
        settings = {"norm": "none", "arch": "tiny", "recipe": recipe, "augmentation": augmentation, "epochs": 2}
        return train(**settings, data=data, out=tmp_path / f"{augmentation}-{plain}").history["loss"].tolist()

    augmented, last_plain, plain = losses(0), losses(1), losses(2)
    assert augmented[0] == last_plain[0] != plain[0]
    assert augmented[1] != last_plain[1]
    np.testing.assert_allclose(plain, losses(0, "none"), rtol=1e-5)


@pytest.mark.matrix
def test_batch_norms_can_end_with_statistics_of_images_as_they_are(data, tmp_path):
    plain = train(norm="bn", recipe="default", epochs=2, data=data, out=tmp_path / "plain")
    again = train(norm="bn", recipe=RECALIBRATED, epochs=2, data=data, out=tmp_path / "again")
    # Nothing of the training changes, and the last epoch is evaluated with the new statistics.
    training = ["loss", "accuracy", "data_loss", "penalty"]
    assert again.history[training].equals(plain.history[training])
    assert again.history["val_loss"][0] == plain.history["val_loss"][0]
    model = plain.load_model()
    recalibrate_batch_norms(model, [data.x_train])
    for ours, expected in zip(again.load_model().weights, model.weights, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)
    expected, _ = model.evaluate(data.x_test, data.y_test, verbose=0)
    assert again.history["val_loss"][1] == pytest.approx(expected, rel=1e-4)
    assert expected != pytest.approx(plain.history["val_loss"][1], rel=1e-2)


@pytest.mark.matrix
def test_norms_without_moving_statistics_have_nothing_to_recalibrate(data, tmp_path):
    logits = [
        train(norm="gn:2", arch="tiny", recipe=recipe, epochs=1, data=data, out=tmp_path / str(index)).logits
        for index, recipe in enumerate(["default", RECALIBRATED])
    ]
    np.testing.assert_array_equal(*logits)


def test_a_loss_that_is_no_number_ends_the_run_as_diverged(data, tmp_path):
    settings = {"norm": "none", "arch": "tiny", "epochs": 4, "learning_rate": 1e20, "augmentation": "none"}
    run = train(**settings, out=tmp_path, data=data)
    assert run.status == "diverged"
    assert len(run.history) == run.result["diverged_at_epoch"] + 1 < 4
    # Four steps an epoch; the first update breaks the weights, so that the second step's loss is no number.
    assert run.result["diverged_at_step"] // 4 == run.result["diverged_at_epoch"]
    assert run.result["diverged_at_step"] > 0
    with pytest.raises(RunError, match="no best.keras .*diverged"):
        run.load_model(best=True)


def test_a_last_step_that_spoils_the_weights_ends_the_run_as_diverged(data, tmp_path):
    settings = {"norm": "none", "arch": "tiny", "epochs": 1, "batch_size": 128, "learning_rate": 1e25}
    run = train(**settings, augmentation="none", out=tmp_path, data=data)
    assert (run.status, run.result["diverged_at_epoch"], run.result["diverged_at_step"]) == ("diverged", 0, 1)


def test_images_of_four_channels(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (24, 28, 28, 4)).astype("uint8"), np.arange(24) % 3
    four = Dataset("four", x, y, x, y, ("a", "b", "c"))
    run = train(norm="bn", arch="tiny", epochs=1, augmentation="none", out=tmp_path, data=four)
    assert run.status == "finished" and (tmp_path / "misclassified.png").exists()


def test_a_run_leaves_the_random_state_of_its_caller_alone(data, tmp_path):
    random.seed(5)
    np.random.seed(5)
    expected = random.Random(5).random(), np.random.RandomState(5).rand()
    train(norm="none", arch="tiny", epochs=1, out=tmp_path, data=data)
    assert (random.random(), np.random.rand()) == expected


def test_bfloat16_activations_keep_float32_weights(run_in_bfloat16):
    run, _ = run_in_bfloat16
    model = run.load_model()
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.get_layer("conv2").compute_dtype == "bfloat16"
    assert run.logits.dtype == np.float32


def check_predictions_are_those_of_the_history(run):
    logits = run.logits.astype("float64")
    loss = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(logits)), run.labels])
    assert loss == pytest.approx(run.history["val_data_loss"].iloc[-1], rel=1e-6)


def test_bfloat16_predictions_are_those_that_the_history_evaluated(run_in_bfloat16):
    check_predictions_are_those_of_the_history(run_in_bfloat16[0])


@pytest.mark.matrix
def test_bfloat16_predictions_of_a_residual_network_are_those_that_the_history_evaluated(data, tmp_path):
    run = train(norm="bn", arch="cifar_residual", epochs=1, precision="bfloat16", out=tmp_path, data=data)
    check_predictions_are_those_of_the_history(run)


@pytest.mark.matrix
def test_nothing_is_said_of_graphs_that_several_kinds_of_runs_trace(few_digits, tmp_path):
    said = logging.handlers.BufferingHandler(1000)
    logging.getLogger("tensorflow").addHandler(said)
    few = few_digits(64, 301)  # test images in two batches of other sizes
    for norm in ("none", "bn", "gn:2", "gn:4"):
        train(norm=norm, epochs=1, out=tmp_path / norm[-1], data=few)
    logging.getLogger("tensorflow").removeHandler(said)
    assert not [record.getMessage() for record in said.buffer if "retracing" in record.getMessage()]


def test_slug_is_safe_for_shells():
    assert slug("gn:2+l1=5e-4") == "gn-2_l1-5e-4"
    assert json.dumps(slug("a/b c")) == '"a-b-c"'


def test_run_repr_names_it(run):
    assert repr(Run(run.path)) == f"Run({str(run.path)!r}, gn:2+l1=1e-4, seed 0, finished)"


@pytest.mark.matrix
def test_runs_of_two_seeds_share_a_graph_and_nothing_else(data, tmp_path, monkeypatch):
    settings = {"norm": "bn+l1=1e-4", "arch": "tiny", "epochs": 2, "data": data}
    trainer.forget_graph()
    train(**settings, seed=0, out=tmp_path / "first")
    (first,) = trainer._graphs.values()
    train(**{**settings, "norm": "none", "epochs": 1}, out=tmp_path / "between")
    shared = train(**settings, seed=1, out=tmp_path / "shared")
    assert len(trainer._graphs) == 2 and list(trainer._graphs.values())[-1] is first
    monkeypatch.setattr(trainer, "MOST_BYTES_OF_GRAPHS", 1000)
    trainer.forget_graph()
    train(**{**settings, "norm": "none", "epochs": 1}, seed=1, out=tmp_path / "before")
    alone = train(**settings, seed=1, out=tmp_path / "alone")
    assert len(trainer._graphs) == 1
    assert shared.history.drop(columns=TIMES).equals(alone.history.drop(columns=TIMES))
    for a, b in zip(shared.load_model().get_weights(), alone.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert shared.load_model().get_layer("conv1_dropout").seed == alone.load_model().get_layer("conv1_dropout").seed
    np.testing.assert_array_equal(shared.logits, alone.logits)


# Objects are counted, since the memory of a process moves by more than a graph takes.
LEFT_BEHIND = """
import gc, sys
from tensorflow.python.framework.func_graph import FuncGraph
from tfnorm.datasets import load
from tfnorm.cli.run_progress import LiveProgress
from tfnorm.datasets.dataset import Dataset
from tfnorm.training.trainer import forget_graph, train

full = load("digits", image_size=28)
data = Dataset("digits", full.x_train[:64], full.y_train[:64], full.x_test[:32], full.y_test[:32], full.class_names)

def graphs_after(spec):
    train(spec, epochs=1, batch_size=32, data=data, out=f"{sys.argv[1]}/{spec}")
    forget_graph()
    gc.collect()
    return sum(isinstance(each, FuncGraph) for each in gc.get_objects())

first = graphs_after("gn:2")  # with what is traced once for all networks
print(first, graphs_after("gn:2+l1=1e-4"), graphs_after("gn:2+l2=1e-4"))
"""


@pytest.mark.matrix
def test_a_run_leaves_no_graph_behind(tmp_path, run_python):
    first, *later = map(int, run_python(LEFT_BEHIND, tmp_path).split())
    assert later == [first, first]


GROWTH = """
import gc, sys
import numpy as np
from tfnorm.cli.run_progress import LiveProgress
from tfnorm.datasets.dataset import Dataset
from tfnorm.training.trainer import train

x, y = np.random.default_rng(0).integers(0, 256, (128, 28, 28, 1)).astype("uint8"), np.arange(128) % 4
data = Dataset("t", x, y, x[:32], y[:32], (*"abcd",))
for i in range(40):
    train(["bn", "gn:2", "ln", "in"][i % 4], data=data, epochs=1, seed=i, batch_size=32, out=f"{sys.argv[1]}/{i}")
    gc.collect()
    if i in (11, 39):
        print(int(open("/proc/self/statm").read().split()[1]) * 4096 // 2**20)
"""


@pytest.mark.matrix
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_grows_little_with_runs_that_take_turns(tmp_path, run_python):
    early, late = map(int, run_python(GROWTH, tmp_path).split())
    assert late - early < 28 * 2  # MB in 28 runs; 28 MB a run it once was


def test_the_norm_can_be_the_first_argument(run, data):
    again = train("gn:2+l1=1e-4", epochs=2, out=run.path, data=data)
    assert again.result == run.result
    with pytest.raises(TfnormError) as error:
        train("gn:2", norm="bn", data=data)
    says(error, "'gn:2'", "norm='bn'")


def test_an_architecture_is_known_by_the_name_that_it_was_registered_under(monkeypatch):
    monkeypatch.setattr(ARCHITECTURES, "_items", dict(ARCHITECTURES._items))
    ARCHITECTURES.add(
        "narrow", replace(ARCHITECTURES["mnist_7k"], blocks=(Conv(4), GlobalPool(), Conv(None, 1, parts=())))
    )
    config = TrainConfig(norm="bn", arch="narrow", dataset="digits")
    assert config.arch == "narrow" and config.plan().trainable_parameters == 36 + 8 + 40


def test_a_run_on_other_data_is_refused(run, data):
    other = Dataset("digits", data.x_train[::-1], data.y_train[::-1], data.x_test, data.y_test, data.class_names)
    with pytest.raises(RunError, match="fingerprint of the data"):
        train(norm="gn:2+l1=1e-4", epochs=2, out=run.path, data=other)


def test_a_difference_is_told_once_and_short(run, data):
    with pytest.raises(RunError) as error:
        train(norm="gn:2+l1=1e-4", epochs=3, out=run.path, data=data)
    says(error, run.path, "epochs", "2", "3", "another output folder")
    assert str(error.value).count("epochs") == 1 and "seed" not in str(error.value).replace(str(run.path), "")
