"""Runs that learn from a teacher's answers."""

import json
import shutil
import zipfile

import keras
import numpy as np
import pytest
from keras.distillation import LogitsDistillation

from tfnorm.datasets.dataset import Dataset
from tfnorm.errors import RunError, TfnormError
from tfnorm.experiments.plan import configurations
from tfnorm.experiments.settings import reproduction
from tfnorm.models.builder import build
from tfnorm.training.config import TrainConfig, checked
from tfnorm.training.folder import RunFolder
from tfnorm.training.progress import Progress
from tfnorm.training.recipe.losses import distillation_loss
from tfnorm.training.recipe.recipes import RECIPES
from tfnorm.training.runs import Run, outcome
from tfnorm.training.teacher import teacher_fingerprint
from tfnorm.training.trainer import forget_graph, train

pytestmark = [pytest.mark.matrix, pytest.mark.teacher]  # they train teachers and pupils, which takes long


@pytest.fixture(scope="module")
def data(few_digits):
    """Digits, enlarged to what mnist_7k takes."""
    return few_digits(512, 64)


@pytest.fixture(scope="module")
def teacher(data, tmp_path_factory):
    """The finished run of a small network that is right about nearly all digits."""
    return train(norm="bn", arch="mnist_layered", epochs=6, data=data, out=tmp_path_factory.mktemp("teacher") / "run")


@pytest.fixture(scope="module")
def lied_to(data):
    """The same images with labels that say nothing."""
    wrong = np.random.default_rng(0).permutation(data.y_train)
    return Dataset(data.name, data.x_train, wrong, data.x_test, data.y_test, data.class_names)


@pytest.fixture(scope="module")
def pupil(lied_to, teacher, tmp_path_factory):
    place = tmp_path_factory.mktemp("pupil") / "run"
    return train(norm="bn+l2=1e-3", epochs=6, data=lied_to, teacher=teacher.path, out=place)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_the_loss_is_that_of_keras(temperature, seeded):
    wanted, found = seeded.normal(size=(2, 8, 10)).astype("float32") * 3
    expected = LogitsDistillation(temperature, loss=keras.losses.KLDivergence()).compute_loss(wanted, found)
    assert float(distillation_loss(wanted, found, temperature)) == pytest.approx(float(expected), rel=1e-4)
    assert float(distillation_loss(wanted, wanted, temperature)) == pytest.approx(0, abs=1e-6)


def test_sure_answers_have_a_finite_loss():
    sure = np.float32([[300, 0, -300]])
    assert float(distillation_loss(sure, -sure, 1.0)) == pytest.approx(600)


def test_a_pupil_learns_from_the_teacher_and_not_from_the_labels(teacher, pupil, lied_to, tmp_path):
    alone = train(norm="bn+l2=1e-3", epochs=6, data=lied_to, out=tmp_path / "alone")
    reached = [run.history["val_accuracy"].iloc[-1] for run in (teacher, pupil, alone)]
    assert reached[0] > 0.9 and reached[1] > 0.7 and reached[2] < 0.5


def test_history_has_the_loss_of_labels_and_the_penalty_apart_from_what_is_minimized(pupil):
    last = pupil.history.iloc[-1]
    assert last["loss"] - last["penalty"] < 2 < last["data_loss"], "labels that say nothing have a high loss"
    assert last["val_loss"] == pytest.approx(last["val_data_loss"] + last["val_penalty"], abs=1e-5)
    network = pupil.load_model()
    penalty = sum(float(weight.regularizer(weight)) for weight in network.trainable_variables)
    assert last["val_penalty"] == pytest.approx(penalty, rel=1e-4) and penalty > 0
    assert 0.5 * penalty < last["penalty"] < 2 * penalty


def test_the_evaluation_and_the_network_are_those_of_a_run_without_a_teacher(pupil, data):
    assert pupil.config["trainable_parameters"] == 6_986
    network, last = pupil.load_model(), pupil.history.iloc[-1]
    logits = network.predict(data.x_test, verbose=0)
    loss = keras.losses.sparse_categorical_crossentropy(data.y_test, logits, from_logits=True)
    assert float(keras.ops.mean(loss)) == pytest.approx(last["val_data_loss"], rel=1e-3)
    assert np.allclose(logits, pupil.logits, atol=1e-4)
    with np.load(sorted((pupil.path / "checkpoint").glob("epoch-*"))[-1]) as state:
        kernels = [state[name].shape for name in state.files if name.endswith("conv1/kernel")]
    assert kernels == [(3, 3, 1, 8)], "the teacher's weights are in no checkpoint"


def test_smoothed_targets_have_no_part(data, teacher, tmp_path):
    recipe = {**RECIPES["default"].model_dump(), "name": "smoothed", "label_smoothing": 0.5, "epochs": 1}
    plain = {**recipe, "label_smoothing": 0.0}
    first, second = (
        train(norm="bn", data=data, teacher=teacher.path, recipe=each, out=tmp_path / str(i))
        for i, each in enumerate((recipe, plain))
    )
    clocks = ["seconds", "train_seconds", "images_per_second"]
    assert first.history.drop(columns=clocks).equals(second.history.drop(columns=clocks))


class Stop(Progress):
    """Breaks a run off after its first epoch."""

    def epoch_ended(self, run, record):
        raise KeyboardInterrupt


def test_a_broken_off_run_ends_as_if_undisturbed(data, teacher, tmp_path):
    settings = {"norm": "bn", "epochs": 2, "data": data, "teacher": teacher.path}
    whole = train(**settings, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(**settings, out=tmp_path / "broken", progress=Stop())
    assert outcome(train(**settings, out=tmp_path / "broken").path) == outcome(whole.path)


def test_another_teacher_makes_another_run_and_another_place_does_not(pupil, teacher, lied_to, data, tmp_path):
    shutil.copytree(teacher.path, tmp_path / "moved")
    settings = {"norm": "bn+l2=1e-3", "epochs": 6, "data": lied_to, "out": pupil.path}
    assert train(**settings, teacher=tmp_path / "moved" / "model.keras").path == pupil.path
    other = train(norm="ln", arch="mnist_layered", epochs=1, data=data, out=tmp_path / "other")
    with pytest.raises(RunError, match="teacher is '[0-9a-f]{16}' there and '[0-9a-f]{16}' now"):
        train(**settings, teacher=other.path)
    with pytest.raises(RunError, match="teacher is '[0-9a-f]{16}' there and None now"):
        train(**settings)


def test_the_fingerprint_is_that_of_the_network_and_not_of_the_file(data, tmp_path):
    settings = {"norm": "bn", "epochs": 1, "data": data}
    first = train(**settings, out=tmp_path / "first").path / "model.keras"
    keras.optimizers.SGD()  # names are numbered through
    forget_graph()
    second = train(**settings, out=tmp_path / "second").path / "model.keras"
    known = teacher_fingerprint(first)
    assert first.read_bytes() != second.read_bytes() and teacher_fingerprint(second) == known
    other = train(**settings, seed=1, out=tmp_path / "other").path / "model.keras"
    assert teacher_fingerprint(other) != known
    model = keras.saving.load_model(first, compile=False)
    model.weights[-1].assign_add(model.weights[-1] + 1)
    model.save(tmp_path / "changed.keras")
    assert teacher_fingerprint(tmp_path / "changed.keras") != known


def test_what_is_no_teacher_is_refused_before_anything_is_written(data, tmp_path):
    def refused(place, error=TfnormError):
        with pytest.raises(error) as caught:
            train(norm="bn", epochs=1, data=data, teacher=place, out=tmp_path / "out")
        assert not (tmp_path / "out" / "config.json").exists()
        return str(caught.value)

    assert "There is no teacher at " in refused(tmp_path / "none.keras")
    assert "a folder without a finished run" in refused(tmp_path)
    (tmp_path / "text.keras").write_text("no zip")
    assert "cannot be read as a .keras file" in refused(tmp_path / "text.keras", RunError)
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", "")
    assert "cannot be read as a .keras file" in refused(tmp_path / "empty.keras", RunError)
    build("mnist_layered", norm="bn", num_classes=3, compile=False).save(tmp_path / "three.keras")
    assert "returns (None, 3). A teacher for these data must take (None, 28, 28, 1)" in refused(
        tmp_path / "three.keras"
    )
    build("cifar_plain", norm="bn", compile=False).save(tmp_path / "colour.keras")
    assert "takes (None, 32, 32, 3)" in refused(tmp_path / "colour.keras")
    layers = [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
    keras.Sequential(layers).save(tmp_path / "sure.keras")
    assert "as probabilities are. A teacher must return logits" in refused(tmp_path / "sure.keras")
    diverged = train(norm="none", epochs=1, learning_rate=1e38, augmentation="none", data=data, out=tmp_path / "wild")
    assert "a run that diverged" in refused(diverged)
    assert "values that are no numbers" in refused(diverged.path / "model.keras")
    assert "There is no teacher at ~nobody-here/a" in refused("~nobody-here/a")


def test_a_run_whose_model_is_gone_is_no_teacher(teacher, tmp_path):
    shutil.copytree(teacher.path, tmp_path / "run")
    (tmp_path / "run" / "model.keras").unlink()
    with pytest.raises(TfnormError, match="is finished, but its model.keras is gone. Train it again."):
        checked(TrainConfig, {"norm": "bn", "teacher": tmp_path / "run"})


def test_a_teacher_that_saw_held_out_images_is_refused(teacher):
    with pytest.raises(TfnormError, match="was trained with holdout=0.0, so that it has seen images that holdout=0.2"):
        checked(TrainConfig, {"norm": "bn", "teacher": teacher, "holdout": 0.2})


def test_the_next_seed_learns_from_the_file_as_it_is_then(teacher, data, tmp_path):
    shutil.copy(teacher.path / "model.keras", tmp_path / "teacher.keras")
    settings = {"norm": "bn", "epochs": 1, "data": data, "teacher": tmp_path / "teacher.keras"}
    train(**settings, out=tmp_path / "0")
    build("mnist_layered", norm="bn", compile=False).save(tmp_path / "teacher.keras")
    second = train(**settings, seed=1, out=tmp_path / "1")
    forget_graph()
    assert outcome(second.path) == outcome(train(**settings, seed=1, out=tmp_path / "alone").path)


def test_a_comparison_with_a_teacher_says_how_to_repeat_it(fake_comparison, teacher, tmp_path):
    settings = {"teacher": teacher.path, "epochs": 2}
    runs = fake_comparison(tmp_path, {"bn": [0.9], "ln": [0.8]}, settings=settings, teacher=str(teacher.path)).runs
    found = reproduction(runs)
    assert f"--teacher {teacher.path}" in found.text
    assert found.note == f"{teacher.path} is the teacher's file on that machine."
    assert [config.asked() for config in configurations(["bn", "ln"], seeds=1, **settings)] == [
        run.config["asked"] for run in runs
    ]


def test_old_runs_without_the_setting_go_on(tmp_path):
    config = checked(TrainConfig, {"norm": "bn"}).resolved()
    assert "teacher" not in config.asked()
    folder = RunFolder(tmp_path)
    recorded = json.loads(json.dumps(config.asked()))
    del recorded["recipe"]["temperature"]
    data = {"fingerprint": "f", "class_names": ["a"]}
    folder.config_path.write_text(json.dumps({"schema_version": 1, "asked": recorded, "data": data}))
    folder.check(config.asked())


def test_any_keras_model_of_logits_can_teach(data, tmp_path):
    layers = [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential(layers).save(tmp_path / "linear.keras")
    run = train(norm="bn", epochs=1, data=data, teacher=tmp_path / "linear.keras", out=tmp_path / "run")
    assert Run(run.path).config["teacher"] == str(tmp_path / "linear.keras")
