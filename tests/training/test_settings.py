"""Settings of Keras for the whole process have no part in a run, and its record names those that it had."""

import json
import shutil

import keras
import pytest
from once import filled_once
from stopping import StopAfter

from tfnorm.errors import RunError
from tfnorm.keras_settings import settings_now
from tfnorm.training import trainer
from tfnorm.training.folder import RunFolder
from tfnorm.training.runs import Run, outcome
from tfnorm.training.trainer import train

SETTINGS = {
    "floatx": "float16",
    "image_data_format": "channels_first",
    "epsilon": 0.5,
    "dtype_policy": "mixed_float16",
    "max_epochs": 1,
    "max_steps_per_epoch": 1,
}
ASKED = {"norm": "bn+l1=1e-4", "arch": "tiny", "epochs": 2, "augmentation": "flip_nudge"}


@pytest.fixture(scope="module")
def data(few_digits):
    return few_digits(64, 32)


@pytest.fixture(scope="module")
def standard(data, tmp_path_factory):
    return Run(filled_once(tmp_path_factory, "standard", lambda folder: train(**ASKED, out=folder, data=data)))


@pytest.fixture
def broken_off(data, tmp_path, tmp_path_factory):
    """Return the folder of a run that was broken off after its first epoch."""

    def fill(folder):
        with pytest.raises(KeyboardInterrupt):
            train(**ASKED, out=folder, data=data, progress=StopAfter(0))

    shutil.copytree(filled_once(tmp_path_factory, "broken-off", fill), tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def change():
    """Return a function that changes a setting of Keras; all are restored at the end, and no graph is left to share."""
    before, policy = settings_now(), keras.config.dtype_policy()

    def change(name, value):
        trainer.forget_graph()
        getattr(keras.config, f"set_{name}")(value)

    yield change
    keras.config.set_dtype_policy(policy)
    for name, value in before.items():
        change(name, value)


EACH_ALONE = [{name: value} for name, value in [*SETTINGS.items(), ("floatx", "float64")]]


@pytest.mark.parametrize(
    "settings", [SETTINGS, *(pytest.param(alone, marks=pytest.mark.matrix) for alone in EACH_ALONE)]
)
def test_settings_change_no_bit_of_a_run(settings, standard, data, tmp_path, change):
    for name, value in settings.items():
        change(name, value)
    run = train(**ASKED, out=tmp_path, data=data)
    assert outcome(run.path) == outcome(standard.path)
    for name, value in settings.items():
        found = getattr(keras.config, name)()
        assert getattr(found, "name", found) == value


@pytest.mark.matrix
def test_a_run_goes_on_under_other_settings_as_it_began(standard, data, broken_off, change):
    for name in ("floatx", "dtype_policy"):
        change(name, "float16")
    assert outcome(train(**ASKED, out=broken_off, data=data).path) == outcome(standard.path)


def test_the_record_names_the_settings_and_a_run_goes_on_only_under_them(data, broken_off):
    record = json.loads((broken_off / "config.json").read_text())
    assert record["keras_settings"] == {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}
    record["keras_settings"]["floatx"] = "float16"
    (broken_off / "config.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match="floatx.*float16.*float32"):
        train(**ASKED, out=broken_off, data=data)
    del record["keras_settings"]
    (broken_off / "config.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match="'keras_settings'"):
        train(**ASKED, out=broken_off, data=data)


def test_a_checkpoint_in_another_precision_is_refused(data, broken_off):
    checkpoints = RunFolder(broken_off).checkpoints
    done, state, _ = checkpoints.load(RunFolder(broken_off).read_history())
    halved = {key: value.astype("float16") if value.dtype == "float32" else value for key, value in state.items()}
    checkpoints.forget_after(0)  # of two files for one epoch, either may be taken
    checkpoints.save(done, halved)
    checkpoints.save_best(done, {})
    with pytest.raises(RunError, match="in another precision"):
        train(**ASKED, out=broken_off, data=data)
