"""Keras's settings for a whole process, and the file that sets them."""

import importlib.util
import json
import os
import subprocess
import sys
import threading

import keras
import pytest
from facts import says

from tfnorm.errors import TfnormError
from tfnorm.keras_settings import STANDARD, check_keras_settings, settings_now, standard_settings, unknown_backend


@pytest.fixture(autouse=True)
def restored():
    """Restore the settings of Keras."""
    before, policy = settings_now(), keras.config.dtype_policy()
    yield
    for name, value in before.items():
        getattr(keras.config, f"set_{name}")(value)
    keras.config.set_dtype_policy(policy)


OTHERS = {
    "floatx": "float64",
    "epsilon": 0.25,
    "image_data_format": "channels_first",
    "max_epochs": 3,
    "max_steps_per_epoch": 2,
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_setting_is_the_standard_one_inside_and_the_callers_afterwards(name):
    getattr(keras.config, f"set_{name}")(OTHERS[name])
    with standard_settings():
        assert settings_now()[name] == STANDARD[name]
    assert settings_now()[name] == OTHERS[name]


def test_the_policy_is_the_one_asked_for_inside_and_the_callers_afterwards():
    keras.config.set_dtype_policy("mixed_float16")
    with standard_settings():
        assert keras.config.dtype_policy().name == "float32"
        with standard_settings("mixed_bfloat16"):
            assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert keras.config.dtype_policy().name == "float32"
    assert keras.config.dtype_policy().name == "mixed_float16"


def test_settings_are_restored_after_an_error():
    keras.config.set_floatx("float16")
    with pytest.raises(KeyError), standard_settings():
        raise KeyError
    assert keras.config.floatx() == "float16"


def test_threads_whose_work_overlaps_restore_the_settings_of_the_caller():
    keras.config.set_floatx("float16")
    inside, done = threading.Event(), threading.Event()
    seen = []

    def first():
        with standard_settings():
            inside.set()
            done.wait(60)
            seen.append(keras.config.floatx())

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(60)
    with standard_settings():
        pass
    seen.append(keras.config.floatx())  # the other is still at work
    done.set()
    thread.join()
    assert seen == ["float32", "float32"]
    assert keras.config.floatx() == "float16"


# The file.


@pytest.fixture
def before_keras(monkeypatch, tmp_path):
    """Return a function that checks a keras.json as if Keras were not imported yet."""
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def check(content):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (tmp_path / "keras.json").write_bytes(data)
        check_keras_settings()

    check.path = tmp_path / "keras.json"
    return check


SOUND = {"floatx": "float64", "epsilon": 1e-7, "backend": "tensorflow", "image_data_format": "channels_first"}


@pytest.mark.parametrize("content", [SOUND, {}, {"image_dim_ordering": "tf"}, b"", b" \n"], ids=str)
def test_a_file_that_keras_heeds_is_taken(content, before_keras):
    before_keras(content)


def test_no_file_is_needed(before_keras):
    check_keras_settings()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"backend": "theano"}, ["backend", "theano", "tensorflow, jax, torch"]),
        ({"backend": ["torch"]}, ["backend", "['torch']", "tensorflow, jax, torch"]),
        ({"floatx": "float"}, ["floatx", "'float'", "float16, float32, float64"]),
        ({"floatx": 32}, ["floatx", "32", "float16, float32, float64"]),
        ({"image_data_format": "first"}, ["image_data_format", "'first'", "channels_last, channels_first"]),
        ({"epsilon": 1}, ["epsilon", "1", "1e-7"]),
        ({"epsilon": "1e-7"}, ["epsilon", "'1e-7'"]),
        (b'{"floatx": "float32",}', ["JSON", "delete"]),
        (b'\xef\xbb\xbf{"floatx": "float32"}', ["JSON", "BOM", "delete"]),
        ('{"floatx": "float32"}'.encode("utf-16"), ["JSON", "delete"]),
        (b'{"backend": "torch"', ["JSON", "delete"]),
        (b'["torch"]', ["JSON object", "torch"]),
    ],
    ids=str,
)
def test_what_is_wrong_with_the_file_is_said_in_a_sentence_that_names_it(content, words, before_keras):
    with pytest.raises(TfnormError) as caught:
        before_keras(content)
    sentence = str(caught.value)
    assert "\n" not in sentence and "KERAS_BACKEND" not in sentence
    for word in [str(before_keras.path), *words]:
        assert word in sentence


def test_a_backend_that_is_not_installed_is_asked_for_by_the_file(before_keras, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found(name) if name == "keras" else None)
    with pytest.raises(TfnormError, match="'backend'.*'jax', which is not installed") as caught:
        before_keras({"backend": "jax"})
    assert str(before_keras.path) in str(caught.value) and "KERAS_BACKEND" not in str(caught.value)


def test_a_backend_that_is_not_installed_is_asked_for_by_the_variable(before_keras, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found(name) if name == "keras" else None)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(TfnormError, match="KERAS_BACKEND asks for 'jax', which is not installed"):
        before_keras({"backend": "theano"})  # which the variable overrules


def test_a_backend_for_inference_is_left_to_those_who_do_not_train(before_keras):
    before_keras({"backend": "numpy"})
    assert str(before_keras.path) in unknown_backend("numpy")


def test_a_file_that_cannot_be_read(before_keras):
    before_keras.path.mkdir()
    with pytest.raises(TfnormError, match="cannot be read") as caught:
        check_keras_settings()
    assert str(before_keras.path) in str(caught.value) and "KERAS_HOME" in str(caught.value)


def test_nothing_is_checked_once_keras_is_imported(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text("{")
    check_keras_settings()


# What is installed.


def without(*packages):
    """Return code after which packages cannot be imported."""
    return "import sys; " + "; ".join(f"sys.modules[{package!r}] = None" for package in packages)


def with_versions(folder, **versions):
    """Return an environment in which installed packages say that they have other versions."""
    for name, version in versions.items():
        place = folder / f"{name}-{version}.dist-info"
        place.mkdir()
        (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def last_line(code, **environment):
    """Run Python code that must fail, and return the last line of what it says and its exit code."""
    surroundings = {**os.environ, **environment}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=surroundings)
    return answer.stderr.splitlines()[-1], answer.returncode


COMMAND = "sys.argv = ['tfnorm', *{!r}]; from tfnorm.cli import main; main()"
USES = ["import tfnorm; tfnorm.build()", "import tfnorm; tfnorm.train", "import tfnorm.callbacks"]
USES += ["from tfnorm.layers import GroupNormalization", "from tfnorm.regularizers import L2Norm"]
USES += ["from tfnorm.convert import to_keras", "from tfnorm.analysis import summary"]
USES += ["from tfnorm.datasets import Batches"]


@pytest.mark.parametrize("use", USES)
def test_without_a_backend_every_use_says_what_to_install(use, tmp_path):
    said, _ = last_line(f"{without('tensorflow', 'jax', 'torch')}\n{use}", KERAS_HOME=str(tmp_path), KERAS_BACKEND="")
    assert said.startswith("tfnorm.errors.TfnormError: ")
    for fact in ("'tensorflow', which is not installed", 'pip install "tensorflow>=2.19"'):
        assert fact in said
    assert "set KERAS_BACKEND to" not in said, "there is no other"


def test_without_keras_one_sentence_says_so():
    said, _ = last_line(f"{without('keras')}\nfrom tfnorm.convert import to_keras")
    says(said, "Keras 3.12", 'pip install "keras>=3.12"')


@pytest.mark.parametrize(
    "arguments",
    [["train", "bn"], pytest.param(["compare", "bn"], marks=pytest.mark.matrix), ["compare", "bn", "--jobs", "2"]],
)
def test_without_a_backend_the_command_line_says_what_to_install(arguments, tmp_path):
    command = COMMAND.format([*arguments, "--out", str(tmp_path / "run")])
    said, code = last_line(f"{without('tensorflow')}\n{command}", KERAS_HOME=str(tmp_path), KERAS_BACKEND="")
    assert code == 2 and said.startswith("tfnorm: ")
    assert 'pip install "tensorflow>=2.19"' in said and "set KERAS_BACKEND to jax" in said
    assert not (tmp_path / "run").exists()


def test_a_backend_that_is_asked_for_and_missing_names_those_that_are_there(before_keras, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name in ("tensorflow", "torch") else found(name)
    )
    with pytest.raises(TfnormError, match='pip install "torch".* jax') as caught:
        before_keras({"backend": "torch"})
    assert str(before_keras.path) in str(caught.value)


OLD = {
    "keras": (
        "3.11.3",
        ("Keras 3.12", "Keras 3.11.3", 'pip install --upgrade "keras>=3.12"'),
    ),
    "tensorflow": (
        "2.18.1",
        ("TensorFlow 2.19", "TensorFlow 2.18.1", 'pip install --upgrade "tensorflow>=2.19"'),
    ),
}


TRAIN = "import sys; " + COMMAND.format(["train", "bn", "--out", "run"])
OLD_USES = [
    ("keras", USES[0]),
    ("tensorflow", TRAIN),
    *(pytest.param(*case, marks=pytest.mark.matrix) for case in [("keras", TRAIN), ("tensorflow", USES[0])]),
]


@pytest.mark.parametrize(("package", "use"), OLD_USES, ids=lambda value: value if value in OLD else None)
def test_a_version_that_is_too_old_is_named_before_it_is_imported(package, use, tmp_path):
    version, facts = OLD[package]
    said, code = last_line(use, **with_versions(tmp_path, **{package: version}))
    says(said, *facts)
    assert code == (2 if "argv" in use else 1)


@pytest.mark.parametrize("version", ["2.19.0", "2.20.0rc0", "2.22.0-dev20261101", "3.0"])
def test_versions_that_are_new_enough_are_taken(version, before_keras, monkeypatch, tmp_path):
    monkeypatch.setattr("tensorflow.__version__", version)
    before_keras({})


def test_an_imported_keras_is_asked_for_its_version(monkeypatch):
    monkeypatch.setattr(keras, "__version__", "3.10.0")
    with pytest.raises(TfnormError, match="Found: Keras 3.10.0"):
        check_keras_settings()


def test_help_needs_nothing_installed():
    heavy = without("keras", "tensorflow", "jax", "torch")
    answer = subprocess.run([sys.executable, "-c", f"{heavy}\n{COMMAND.format(['--help'])}"], capture_output=True)
    assert answer.returncode == 0 and b"compare" in answer.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["train", "bn"], marks=pytest.mark.matrix),
        pytest.param(["sweep", "batch-size"], marks=pytest.mark.matrix),
        ["compare", "bn", "--jobs", "1"],
    ],
)
def test_the_command_line_prints_the_sentence(arguments, tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "theano"}')
    environment = {**os.environ, "KERAS_HOME": str(tmp_path)}
    del environment["KERAS_BACKEND"]
    command = [sys.executable, "-m", "tfnorm", *arguments, "--out", str(tmp_path / "run")]
    answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert answer.returncode == 2 and "Traceback" not in answer.stderr
    (sentence,) = [line for line in answer.stderr.splitlines() if line.startswith("tfnorm:")]
    assert "'theano'" in sentence and str(tmp_path / "keras.json") in sentence
    assert not (tmp_path / "run" / "workers.log").exists()


def test_help_needs_no_sound_file(tmp_path):
    (tmp_path / "keras.json").write_text("{")
    command = [sys.executable, "-m", "tfnorm", "list"]
    answer = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "KERAS_HOME": str(tmp_path)})
    assert answer.returncode == 0
