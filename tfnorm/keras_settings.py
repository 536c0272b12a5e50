"""Settings of Keras for the whole process: those that tfnorm computes with, and the file that holds the user's.

The check that Keras and its backend are installed is here too, since a setting of Keras names the backend.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tfnorm.errors import TfnormError, unknown

#: The names of Keras's backends that can train, by their packages.
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}

#: The oldest Keras and TensorFlow that tfnorm works with.
OLDEST = {"keras": (3, 12), "tensorflow": (2, 19)}
# The names that they have on PyPI. The version of a build with another name is not checked.
_DISTRIBUTIONS = {
    "keras": ("keras", "keras-nightly"),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tf-nightly", "tf-nightly-cpu", "tensorflow-rocm"),
}

#: Keras's settings unless a person changes them.
STANDARD: dict[str, Any] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
    "max_epochs": None,
    "max_steps_per_epoch": None,
}
#: The environment variable that sets the number of threads of each backend.
THREADS = {"tensorflow": "TF_NUM_INTRAOP_THREADS", "jax": "NPROC", "torch": "OMP_NUM_THREADS"}
_CHOICES = {"floatx": ("float16", "float32", "float64"), "image_data_format": ("channels_last", "channels_first")}

# The settings belong to the process, so that threads share one change of them.
_lock = threading.Lock()
_users = 0
_before: dict[str, Any] = {}


@contextmanager
def standard_settings(policy: Any = "float32") -> Iterator[None]:
    """Have Keras compute with its standard settings, and restore those of the caller afterwards.

    Without this, a ``keras.json`` or ``keras.config.set_floatx`` changes what a network is, or in which precision its
    metrics are counted. ``policy`` is the dtype policy of new layers, of which Keras keeps one for each thread.
    """
    global _users, _before
    from keras import config  # start-up

    own_policy = config.dtype_policy()
    with _lock:
        if not _users:
            _before = settings_now()
            _set(STANDARD)
        _users += 1
    try:
        config.set_dtype_policy(policy)
        yield
    finally:
        config.set_dtype_policy(own_policy)
        with _lock:
            _users -= 1
            if not _users:
                _set(_before)


def settings_now() -> dict[str, Any]:
    """Return the present values of the settings in `STANDARD` that this version of Keras has."""
    from keras import config  # start-up

    return {name: getattr(config, name)() for name in STANDARD if hasattr(config, f"set_{name}")}


def _set(settings: dict[str, Any]) -> None:
    from keras import config  # start-up

    for name, value in settings.items():
        if hasattr(config, f"set_{name}"):
            getattr(config, f"set_{name}")(value)


def keras_json() -> Path:
    """Return the file that Keras reads its settings from."""
    home = os.environ.get("KERAS_HOME")
    if home is None:
        user = os.path.expanduser("~")
        home = os.path.join(user if os.access(user, os.W_OK) else "/tmp", ".keras")
    return Path(os.path.expanduser(os.path.join(home, "keras.json")))


def chosen_backend() -> str:
    """Return the name of the backend that Keras computes with, or would compute with. Keras is not imported."""
    if "keras" in sys.modules:
        from keras import backend  # start-up

        return backend.backend()
    return os.environ.get("KERAS_BACKEND") or _read(keras_json()).get("backend", "tensorflow")


def check_keras_settings() -> None:
    """Raise a TfnormError if Keras cannot be imported, is too old, or would ignore the file that sets its settings.

    Keras raises errors that do not name the file, and ignores a file that is no JSON. Once Keras is imported, only
    versions are checked. Keras itself is not imported.
    """
    _check_version("keras", "Keras")
    if "keras" not in sys.modules:
        _check_file()
    if chosen_backend() == "tensorflow":
        _check_version("tensorflow", "TensorFlow")


def _check_file() -> None:
    """Raise a TfnormError if the file or the environment asks for what Keras cannot do."""
    settings = _read(keras_json())
    for key, valid in _CHOICES.items():
        if settings.get(key, valid[0]) not in valid:
            raise TfnormError(f"{unknown(key, settings[key], valid)} {_where(key)}")
    if not isinstance(settings.get("epsilon", 1e-7), float):
        raise TfnormError(
            f"`epsilon` must be a number with a decimal point, such as 1e-7. Received: {settings['epsilon']!r}. "
            f"{_where('epsilon')}"
        )
    backend = chosen_backend()
    # Keras on NumPy takes its kernels from JAX.
    if backend not in (*BACKENDS, "numpy", "openvino") or (backend == "numpy" and not is_installed("jax")):
        raise TfnormError(unknown_backend(backend))
    if not is_installed(backend):
        raise TfnormError(_missing_backend(backend, "backend" in settings))


def _missing_backend(backend: str, in_file: bool) -> str:
    """Return the sentence for a backend that is not installed: which are, and what to type."""
    if os.environ.get("KERAS_BACKEND"):
        asks, mend = "KERAS_BACKEND asks for", "set the variable to"
    elif in_file:
        asks, mend = f"The key 'backend' in {keras_json()} asks for", "change the key to"
    else:
        asks, mend = "Unless KERAS_BACKEND names another, Keras computes with", "set KERAS_BACKEND to"
    there = [package for package in BACKENDS if package != backend and is_installed(package)]
    otherwise = f", or {mend} {' or '.join(there)}, which {'is' if len(there) == 1 else 'are'}" if there else ""
    return f"{asks} {backend!r}, which is not installed. Type: {_install(backend)}{otherwise}."


def _check_version(package: str, title: str) -> None:
    """Raise a TfnormError if a package is missing or older than in `OLDEST`."""
    oldest = ".".join(map(str, OLDEST[package]))
    version = _version(package)
    if not is_installed(package):
        raise TfnormError(
            f"{title} is not installed. tfnorm needs {title} {oldest} or newer. Type: {_install(package)}"
        )
    numbers = re.match(r"(\d+)\.(\d+)", version or "")
    if numbers and tuple(map(int, numbers.groups())) < OLDEST[package]:
        raise TfnormError(
            f"tfnorm needs {title} {oldest} or newer. Found: {title} {version}. Type: {_install(package, '--upgrade ')}"
        )


def _version(package: str) -> str | None:
    """Return the version of an imported or installed package, or None if nothing says it."""
    imported: str | None = getattr(sys.modules.get(package), "__version__", None)
    if imported is not None:
        return imported
    from importlib.metadata import PackageNotFoundError, version  # start-up

    for name in _DISTRIBUTIONS[package]:
        with suppress(PackageNotFoundError):
            return version(name)
    return None


def _install(package: str, how: str = "") -> str:
    oldest = f">={'.'.join(map(str, OLDEST[package]))}" if package in OLDEST else ""
    return f'pip install {how}"{package}{oldest}"'


def unknown_backend(backend: Any) -> str:
    """Return the sentence for a backend that cannot train, which names the place that it was asked for in."""
    if os.environ.get("KERAS_BACKEND"):
        return unknown("KERAS_BACKEND", backend, BACKENDS)
    return f"{unknown('backend', backend, BACKENDS)} {_where('backend')}"


def _where(key: str) -> str:
    return f"The key {key!r} is in {keras_json()}: change it there, or delete the file."


def is_installed(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _read(path: Path) -> dict[str, Any]:
    """Return the contents of a keras.json, nothing if there is none."""
    if not os.path.exists(path):
        return {}
    mend = "Mend it, or delete it: Keras then writes a new one."
    try:
        text = path.read_bytes().decode()
        # Another process that creates the file right now has not filled it yet.
        settings = json.loads(text) if text.strip() else {}
    except OSError as error:
        raise TfnormError(
            f"Keras's settings {path} cannot be read: {error.strerror}. Have the rights of the file changed, or set "
            "KERAS_HOME to another folder."
        ) from None
    except ValueError as error:  # among them a byte order mark
        raise TfnormError(f"Keras's settings {path} are no JSON, so that Keras ignores them: {error}. {mend}") from None
    if not isinstance(settings, dict):
        raise TfnormError(
            f"Keras's settings {path} must be a JSON object, such as {{}}. Received: {text.strip()[:40]}. {mend}"
        )
    return settings
