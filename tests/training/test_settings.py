"""Settings of Keras for the whole process have no part in a run, and its record names those that it had."""

import json

import keras
import pytest

from tfnorm.errors import RunError
from tfnorm.keras_settings import settings_now
from tfnorm.models.architectures import ARCHITECTURES, ArchSpec, Conv, GlobalPool
from tfnorm.training import trainer
from tfnorm.training.folder import RunFolder
from tfnorm.training.progress import Progress
from tfnorm.training.runs import outcome
from tfnorm.training.trainer import train

SETTINGS = {
    "floatx": "float16",
    "image_data_format": "channels_first",
    "epsilon": 0.5,
    "dtype_policy": "mixed_float16",
    "max_epochs": 1,
    "max_steps_per_epoch": 1,
}
TINY = ArchSpec("tiny", "one block", (28, 28, 1), (Conv(4), GlobalPool(), Conv(None, 1, parts=(), name="logits")))
ASKED = {"norm": "bn+l1=1e-4", "arch": "tiny", "epochs": 2, "augmentation": "flip_nudge"}


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """Register a network whose graph is traced in a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ARCHITECTURES, "_items", {**ARCHITECTURES._items, "tiny": TINY})
        yield


@pytest.fixture(scope="module")
def data(few_digits):
    return few_digits(64, 32)


@pytest.fixture(scope="module")
def standard(data, tmp_path_factory):
    return train(**ASKED, out=tmp_path_factory.mktemp("standard") / "run", data=data)


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


@pytest.mark.parametrize(("name", "value"), [*SETTINGS.items(), ("floatx", "float64")])
def test_a_setting_changes_no_bit_of_a_run(name, value, standard, data, tmp_path, change):
    change(name, value)
    run = train(**ASKED, out=tmp_path, data=data)
    assert outcome(run.path) == outcome(standard.path)
    found = getattr(keras.config, name)()
    assert getattr(found, "name", found) == value


class _Stop(Progress):
    def epoch_ended(self, run, record):
        raise KeyboardInterrupt


def test_a_run_goes_on_under_other_settings_as_it_began(standard, data, tmp_path, change):
    with pytest.raises(KeyboardInterrupt):
        train(**ASKED, out=tmp_path, data=data, progress=_Stop())
    for name in ("floatx", "dtype_policy"):
        change(name, "float16")
    assert outcome(train(**ASKED, out=tmp_path, data=data).path) == outcome(standard.path)


def test_the_record_names_the_settings_and_a_run_goes_on_only_under_them(data, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(**ASKED, out=tmp_path, data=data, progress=_Stop())
    record = json.loads((tmp_path / "config.json").read_text())
    assert record["keras_settings"] == {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}
    record["keras_settings"]["floatx"] = "float16"
    (tmp_path / "config.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match="floatx.*float16.*float32"):
        train(**ASKED, out=tmp_path, data=data)
    del record["keras_settings"]
    (tmp_path / "config.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match="'keras_settings'"):
        train(**ASKED, out=tmp_path, data=data)


def test_a_checkpoint_in_another_precision_is_refused(data, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(**ASKED, out=tmp_path, data=data, progress=_Stop())
    checkpoints = RunFolder(tmp_path).checkpoints
    done, state, _ = checkpoints.load(RunFolder(tmp_path).read_history())
    halved = {key: value.astype("float16") if value.dtype == "float32" else value for key, value in state.items()}
    checkpoints.forget_after(0)  # of two files for one epoch, either may be taken
    checkpoints.save(done, halved)
    checkpoints.save_best(done, {})
    with pytest.raises(RunError, match="in another precision"):
        train(**ASKED, out=tmp_path, data=data)
