"""Files that are damaged, hostile or something else than a model of Keras 2."""

import json
import random
import re
import resource
import zipfile

import cases
import h5py
import keras
import numpy as np
import pytest
from facts import says
from keras import layers

from tfnorm.convert import load_tfa_model
from tfnorm.errors import TfnormError

pytestmark = pytest.mark.addons


def test_no_such_file(tmp_path):
    says(cases.sentence(tmp_path / "no.h5"), tmp_path / "no.h5", "path")
    says(cases.sentence(tmp_path), tmp_path, ".h5 or .keras", "folder", "SavedModel", "model.save('model.h5')")


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95pickle", b"\x89HDF\r\n\x1a\r", b"\n\x89HDF\r\n\x1a"])
def test_wrong_magic(content, tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes(content)
    says(cases.sentence(path), path, ".h5 or .keras", f"{content[:8]!r}", "model.save('model.h5')")


# Each .h5 file is read in a process of its own.
@pytest.mark.parametrize(
    ("file", "parts"), [("model.keras", 20), ("model.h5", 5), pytest.param("model.h5", 20, marks=pytest.mark.matrix)]
)
def test_truncated(file, parts, unpacked):
    path = unpacked("weight_norm-data_init") / file
    whole = path.read_bytes()
    for length in [*range(8, 100, 140 // parts), *range(100, len(whole), len(whole) // parts), len(whole) - 1]:
        path.write_bytes(whole[:length])
        says(cases.sentence(path), path, "damaged", "Copy or save")


@pytest.mark.parametrize(
    ("file", "times"),
    [("model.keras", 80), *(pytest.param("model.h5", times, marks=pytest.mark.matrix) for times in (16, 80))],
)
def test_damaged_bytes(file, times, unpacked):
    """Whatever is changed there is a sentence or a model, never another error, a crash or a wait."""
    path, rng = unpacked("model-frozen") / file, random.Random(0)
    whole, refused = path.read_bytes(), 0
    for _ in range(times):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 4, 16))):
            place = rng.randrange(len(damaged) - 8)
            damaged[place : place + 8] = rng.choice((b"\xff" * 8, bytes(8), rng.randbytes(8)))
        path.write_bytes(damaged)
        try:
            load_tfa_model(path)
        except TfnormError:
            refused += 1
    assert refused > times // 4


def test_bytes_that_stop_the_library(unpacked, monkeypatch):
    """h5py does not come back from these eight bytes: where a newer one does, it may need no process of its own."""
    monkeypatch.setattr("tfnorm.convert.tfa.hdf5.MOST_SECONDS", 2)
    path = unpacked("group_norm-groups_2") / "model.h5"
    damaged = bytearray(path.read_bytes())
    damaged[3049:3057] = b"\xff" * 8
    path.write_bytes(damaged)
    says(cases.sentence(path), path, "HDF5", "Copy or save")


def test_a_name_that_is_no_text(unpacked):
    path = unpacked("group_norm-groups_2") / "model.h5"
    path.write_bytes(path.read_bytes().replace(b"beta:0", b"\xffeta:0"))
    assert re.search(r"'/model_weights/.*' is no text", cases.sentence(path))


def test_a_path_that_leads_outside(unpacked, tmp_path):
    path = unpacked("group_norm-groups_2") / "model.keras"
    inside = cases.entries(path)
    for name in ("../outside", "/outside", "assets/../../outside", "..\\outside", "C:/outside"):
        cases.write(path, {**inside, name: b"x"})
        says(cases.sentence(path), path, f"{name!r}", "outside", "trust", "model.save('model.h5')")
    assert not [found for found in tmp_path.rglob("*outside*")]


def replaced(path, name, make):
    """Replace the gamma of an .h5 file."""
    with h5py.File(path, "r+") as file:
        group = file["model_weights/group_normalization/group_normalization"]
        del group["gamma:0"]
        make(group, "gamma:0")
    return path


def linked(link):
    def make(group, name):
        group[name] = link

    return make


ELSEWHERE = {
    "a link": linked(h5py.SoftLink("/model_weights/group_normalization/group_normalization/beta:0")),
    "another file": linked(h5py.ExternalLink("other.h5", "/secret")),
    "numbers in another file": lambda group, name: group.create_dataset(
        name, (6,), "f4", external=[("/etc/passwd", 0, 24)]
    ),
    "packed": lambda group, name: group.create_dataset(name, data=np.ones(6, "f4"), compression="gzip"),
    "strings": lambda group, name: group.create_dataset(name, data=[b"a"] * 6),
    "virtual": lambda group, name: group.create_virtual_dataset(name, h5py.VirtualLayout((6,), "f4")),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_weights_that_are_elsewhere(case, unpacked):
    path = replaced(unpacked("group_norm-groups_2") / "model.h5", case, ELSEWHERE[case])
    says(cases.sentence(path), path, "Keras", "'/model_weights")


@pytest.fixture
def no_memory():
    """Fail a test that takes much more memory than before."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


def test_ten_gigabytes_in_a_header(unpacked, no_memory):
    path = unpacked("group_norm-groups_2") / "model.h5"
    replaced(path, "", lambda group, name: group.create_dataset(name, (2_500_000_000,), "f4"))
    assert path.stat().st_size < 100_000
    says(
        cases.sentence(path),
        path,
        "'/model_weights/group_normalization/group_normalization/gamma:0'",
        "10000000000 bytes",
        "0",
        "Copy or save",
    )


def test_ten_gigabytes_in_the_description(unpacked, no_memory):
    path = unpacked("weight_norm-dense") / "model.keras"
    cases.changed(path, lambda found: found[1]["config"]["layer"]["config"].update(units=2_500_000_000))
    says(
        cases.sentence(path),
        path,
        "'weight_normalization'",
        "g (2500000000,), kernel (4, 2500000000), initialized ()",
        "layers/weight_normalization/vars/0 (3,)",
        "layers/weight_normalization/vars/1 (4, 3)",
        "layers/weight_normalization/vars/2 ()",
        "Give the model",
    )


def test_ten_gigabytes_of_means(unpacked, no_memory):
    path = unpacked("keras-adapted") / "model.keras"
    cases.changed(path, lambda found: found[0]["config"].update(batch_input_shape=[None, 4, 5, 2_500_000_000]))
    says(cases.sentence(path), path, "normalization", "2500000000 means", "Save it again")


@pytest.mark.parametrize("packed", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_an_archive_that_claims_too_much(packed, unpacked, no_memory):
    path = unpacked("group_norm-groups_2") / "model.keras"
    entries = cases.entries(path)
    size = 30_000_000 if packed == zipfile.ZIP_DEFLATED else 10_000_000_000
    with zipfile.ZipFile(path, "w", packed) as archive:
        for name, content in entries.items():
            if name == "config.json" and packed == zipfile.ZIP_DEFLATED:
                with archive.open(name, "w") as file:
                    file.write(bytes(size))
            else:
                archive.writestr(name, content)
        if packed == zipfile.ZIP_STORED:
            archive.getinfo("config.json").file_size = size
            archive._didModify = True
    with zipfile.ZipFile(path) as archive:
        stored = archive.getinfo("config.json").compress_size
    says(cases.sentence(path), path, "config.json", f"{size} bytes", stored, "model.save('model.h5')")


def test_a_file_of_keras_3(tmp_path):
    model = keras.Sequential([keras.Input((4, 5, 6)), layers.GroupNormalization(2)])
    model.save(tmp_path / "new.keras")
    model.save_weights(tmp_path / "new.weights.h5")
    path = tmp_path / "new.keras"
    says(cases.sentence(path), path, f"Keras {keras.__version__}", "keras.saving.load_model")


def test_an_archive_without_a_model(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")
    says(cases.sentence(path), path, "config.json, model.weights.h5", "model.save('model.keras')")


def test_hdf5_without_a_model(tmp_path):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.ones(3)
    says(cases.sentence(path), path, "Keras 2", "images", "model.save", "model.save_weights")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda config: config.pop("class_name"), "'class_name'"),
        (lambda config: config["config"].update(layers=3), "'int' object is not iterable"),
        (lambda config: config["config"]["layers"].append({}), "'class_name'"),
    ],
)
def test_a_description_that_makes_no_sense(change, reason, unpacked):
    path = unpacked("group_norm-groups_2") / "model.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    weights = path.with_name("old.h5")
    says(cases.sentence(weights, model=path), weights, reason, "Save it again")


def test_a_subclassed_model_is_refused(unpacked):
    path = unpacked("group_norm-groups_2") / "model.json"
    config = json.loads(path.read_text())
    config["class_name"] = "Mine"
    path.write_text(json.dumps(config))
    says(cases.sentence(path.with_name("old.h5"), model=path), "Mine", "Keras 3", "`model`")
