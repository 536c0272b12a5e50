"""Runs whose data have changed since, and runs whose data are called otherwise now."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from facts import says

from tfnorm.datasets import load
from tfnorm.errors import RunError
from tfnorm.experiments.collect import collect
from tfnorm.experiments.comparison.configuration import configuration
from tfnorm.experiments.comparison.predictions import images_of
from tfnorm.experiments.engines.local import run_local
from tfnorm.experiments.plan import Plan, configurations
from tfnorm.experiments.settings import shared_settings
from tfnorm.experiments.sweep.grid import plan_grid
from tfnorm.training.config import TrainConfig, default_name
from tfnorm.training.data import fingerprints, load_data
from tfnorm.training.folder import RunFolder
from tfnorm.training.runs import Run

# Images that are made of ramps repeat.
pytestmark = pytest.mark.filterwarnings("ignore::tfnorm.datasets.DataWarning")


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
    assert run_local(Plan(tmp_path / "out", [done])) == {}
    write(file, 30)
    begun = []
    with pytest.raises(RunError, match="fingerprint of the data") as error:
        run_local(Plan(tmp_path / "out", planned, jobs=1), before=lambda: begun.append(1))
    assert str(Path("out") / done.folder) in str(error.value) and not begun
    file.unlink()
    assert run_local(Plan(tmp_path / "out", [done])) == {}, "finished runs do without their data"


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


@pytest.fixture
def pets(tmp_path, monkeypatch):
    """Write the same pictures as a file and as a folder, twice each, and go there."""
    from PIL import Image

    rng = np.random.default_rng(0)
    arrays = {}
    for part, images in (("train", 8), ("test", 4)):
        x = rng.integers(0, 256, (images, 8, 8, 1), "uint8")
        arrays |= {f"x_{part}": x, f"y_{part}": np.arange(images) // (images // 2)}
        for index, (image, label) in enumerate(zip(x, arrays[f"y_{part}"], strict=True)):
            place = tmp_path / "pets" / part / f"class{label}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(place / f"{index:03}.png")
    np.savez(tmp_path / "pets.npz", **arrays, class_names=["class0", "class1"])
    shutil.copytree(tmp_path / "pets", tmp_path / "elsewhere" / "copy")
    shutil.copy(tmp_path / "pets.npz", tmp_path / "elsewhere" / "copy.npz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


OTHER_WAYS = {
    "a slash at the end": "pets/",
    "this folder": "./pets",
    "up and down": "elsewhere/../pets",
    "a copy": "elsewhere/copy",
    "a file": "pets.npz",
    "a file here": "./pets.npz",
    "a copy of the file": "elsewhere/copy.npz",
}


@pytest.fixture
def trained(fake_run):
    """Return a function that writes a run on data that are called by a name."""

    def write(place, norm="bn", seed=0, **settings):
        config = TrainConfig(norm=norm, seed=seed, epochs=1, **settings).resolved()
        data = load_data(config).describe()
        labels = np.arange(4) // 2
        fake_run(place, config, 0.5, labels, np.eye(2, dtype="float32")[labels], data=data)
        return config

    return write


@pytest.mark.parametrize("way", [*OTHER_WAYS, "an absolute path", "from another folder", "of the same size"])
def test_the_same_data_called_otherwise_are_the_same(way, pets, trained, monkeypatch):
    trained(pets / "out/bn/seed-0", dataset="pets")
    settings = {"dataset": OTHER_WAYS.get(way, "pets")}
    if way == "an absolute path":
        settings = {"dataset": str(pets / "pets")}
    elif way == "from another folder":
        monkeypatch.chdir("elsewhere")
        settings = {"dataset": os.path.join("..", "pets")}
    elif way == "of the same size":
        settings = {"dataset": "pets", "image_size": 8, "skip_damaged": True}
    grid = plan_grid({"settings": {**settings, "epochs": 1}, "grid": {"norm": "bn", "seeds": 1}})
    assert run_local(Plan(pets / "out", grid)) == {}, "it is finished"
    config = grid[0].config
    folder, data = RunFolder(pets / "out/bn/seed-0"), load_data(config)
    folder.check(config.asked(), early=True)
    folder.check(config.asked(), data.fingerprint, data.class_names)


@pytest.mark.parametrize("way", ["another folder", "another file", "other names", "changed on the spot"])
def test_other_data_are_refused_whatever_they_are_called(way, pets, trained):
    trained(pets / "out/bn/seed-0", dataset="pets")
    name = {"another file": "elsewhere/copy.npz", "changed on the spot": "pets"}.get(way, "elsewhere/copy")
    if way == "other names":
        for part in ("train", "test"):
            (pets / name / part / "class1").rename(pets / name / part / "dog")
    elif way == "another file":
        write(pets / name, 12)
    else:
        shutil.copy(pets / "pets/train/class0/000.png", pets / name / "train/class0/more.png")
    config = TrainConfig(norm="bn", epochs=1, dataset=name).resolved()
    folder, data = RunFolder(pets / "out/bn/seed-0"), load_data(config)
    with pytest.raises(RunError) as caught:
        folder.check(config.asked(), data.fingerprint, data.class_names)
    facts = ("class 1", "'class1'", "'dog'") if way == "other names" else ("fingerprint of the data",)
    says(caught, *facts)


def test_data_that_cannot_be_read_are_not_taken_for_others(pets, trained):
    trained(pets / "out", dataset="pets")
    config = TrainConfig(norm="bn", epochs=1, dataset="./pets").resolved()
    with pytest.raises(RunError, match="dataset .*'pets'.*'./pets'"):
        RunFolder(pets / "out").check(config.asked(), None)


def test_two_known_names_are_refused_before_anything_is_loaded(pets, trained):
    trained(pets / "out", dataset="digits")
    with pytest.raises(RunError, match="dataset .*'digits'.*'mnist'"):
        RunFolder(pets / "out").check(TrainConfig(norm="bn", epochs=1, dataset="mnist").asked(), early=True)


@pytest.mark.parametrize("way", OTHER_WAYS.values())
def test_runs_of_both_spellings_stand_on_one_page(way, pets, trained):
    for seed, (one, other) in enumerate([("pets", way), (way, "pets")]):
        trained(pets / f"r/bn/{seed}", "bn", seed, dataset=one)
        trained(pets / f"r/gn/{seed}", "gn:2", seed, dataset=other)
    found = collect(pets / "r")
    assert [len(runs) for runs in found.groups.values()] == [2, 2] and found.same_data and not found.differing
    assert shared_settings([run.config for run in found.runs])["dataset"] == "pets"
    page = configuration(found.groups)
    assert ("dataset", "pets") in page["shared"] and not any(row["key"] == "dataset" for row in page["differing"])


def test_runs_on_other_data_are_told_apart_by_what_they_are_called(pets, trained):
    write(pets / "other.npz", 12)
    for place, name in (("a", "pets"), ("b", "./pets/"), ("c", "other.npz")):
        trained(pets / "r" / place, "bn", ord(place), dataset=name)
    with pytest.raises(RunError) as caught:
        collect(pets / "r")
    says(caught, "dataset", "pets", "other.npz")
    assert "./pets/" not in str(caught.value)
    groups = collect(pets / "r", anyway=True).groups
    assert {label: len(runs) for label, runs in groups.items()} == {"bn (dataset pets)": 2, "bn (dataset other.npz)": 1}


def test_classes_of_other_names_are_not_the_same_data(pets, trained):
    trained(pets / "r/a", "bn", 0, dataset="pets")
    for part in ("train", "test"):
        (pets / "elsewhere/copy" / part / "class1").rename(pets / "elsewhere/copy" / part / "dog")
    trained(pets / "r/b", "bn", 1, dataset="elsewhere/copy")
    with pytest.raises(RunError, match="names of the classes"):
        collect(pets / "r")


def test_images_are_found_from_another_folder(pets, trained, monkeypatch):
    trained(pets / "run", dataset="pets")
    monkeypatch.chdir("elsewhere")
    images, why = images_of(Run(pets / "run"))
    assert why == "" and np.array_equal(images, load(pets / "pets").x_test)
    (pets / "pets").rename(pets / "gone")
    assert images_of(Run(pets / "run"))[0] is None


@pytest.mark.parametrize("settings", [{}, {"epochs": 3}])
def test_default_folders_follow_the_data_and_not_their_spelling(settings, pets):
    def name(dataset):
        return default_name(TrainConfig(norm="bn", dataset=dataset, **settings))

    here = name("pets")
    assert {name(way) for way in ("pets/", "./pets", str(pets / "pets"), pets / "pets")} == {here}
    assert name("./pets.npz") == name("pets.npz") == name(str(pets / "pets.npz"))
    assert name("pets/.") == here and name("elsewhere/..").startswith(f"mnist_7k-{pets.name}")


def test_marks_of_default_folders_are_those_of_earlier_versions(pets):
    assert default_name(TrainConfig(norm="bn", epochs=5)) == "mnist_7k-digits-ac0ab62a"
    assert default_name(TrainConfig(norm="bn", epochs=5, dataset="pets.npz")) == "mnist_7k-pets-50d97389"


def test_skipped_pictures_are_a_setting_that_older_runs_do_not_have(pets, trained):
    (pets / "pets/train/class0/zzz.png").write_bytes(b"x")
    config = trained(pets / "run", dataset="pets", skip_damaged=True)
    assert config.asked()["skip_damaged"] is True and "skip_damaged" not in TrainConfig(norm="bn").asked()
    record = json.loads((pets / "run/config.json").read_text())["data"]
    assert record["reading"]["skipped"] == [os.path.join("train", "class0", "zzz.png")]
    assert record["fingerprint"] == load("pets.npz").fingerprint


@pytest.mark.skipif(os.name != "posix", reason="other systems have no names that are not text")
def test_results_are_written_whatever_bytes_a_name_has(fake_comparison, tmp_path):
    place = tmp_path / os.fsdecode(b"caf\xe9")
    found = fake_comparison(place / "runs", {"bn": [0.5, 0.6], "ln": [0.5, 0.4]}, settings={"dataset": "digits"})
    for run in found.runs:
        run.config["asked"]["dataset"] = str(place)
    found.save()
    assert b"caf\\udce9" in (place / "runs/report.html").read_bytes() and (place / "runs/runs.csv").exists()
