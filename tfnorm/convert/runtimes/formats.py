"""The formats that models are exported to, and what can be checked of an export before Keras is imported."""

from __future__ import annotations

import os
from pathlib import Path

from tfnorm.errors import DataError, TfnormError, unknown, whole_number
from tfnorm.keras_settings import BACKENDS, chosen_backend, is_installed

#: What the formats are called, by Keras's names of them.
FORMATS = {"litert": "LiteRT", "onnx": "ONNX", "tf_saved_model": "SavedModel"}
ENDINGS = {".tflite": "litert", ".onnx": "onnx", "/": "tf_saved_model"}
ENDINGS_TEXT = ".tflite for LiteRT, in .onnx for ONNX, or in / for a folder with a SavedModel"
#: How a LiteRT file can be made smaller.
QUANTIZED = ("int8", "float16", "dynamic")

# What TensorFlow and Keras write into the folder of a SavedModel.
_OF_SAVED_MODELS = {"saved_model.pb", "variables", "assets", "assets.extra", "fingerprint.pb", "keras_metadata.pb"}

# What each backend needs to write each format. Where a backend is missing, it cannot write the format.
_NEEDS: dict[str, dict[str, tuple[str, ...]]] = {
    "litert": {"tensorflow": ()},
    "onnx": {"tensorflow": ("onnx", "tf2onnx"), "torch": ("onnx", "onnxscript")},
    "tf_saved_model": {"tensorflow": (), "jax": ("tensorflow",)},
}


def export_format(path: str | os.PathLike[str]) -> str | None:
    """Return Keras's name of the format that a name's ending stands for, or None if it stands for none.

    Example:
        >>> export_format("net.tflite"), export_format("served/"), export_format("net.keras")
        ('litert', 'tf_saved_model', None)
    """
    text = os.fspath(path)
    if text.endswith(("/", os.sep)):
        return ENDINGS["/"]
    return ENDINGS.get(Path(text).suffix.lower())


def check_export(
    path: str | os.PathLike[str],
    *,
    batch_size: int | None = None,
    quantize: str | None = None,
    calibrated: bool = False,
    overwrite: bool = False,
) -> str:
    """Return the format of an export, or raise a `TfnormError` if it is known not to be possible.

    The arguments are those of `tfnorm.convert.export`; ``calibrated`` says whether it has representative inputs.
    """
    form = export_format(path)
    if form is None:
        raise DataError(f"The name must end in {ENDINGS_TEXT}. Received: {os.fspath(path)!r}.")
    if batch_size is not None:
        whole_number("batch_size", batch_size)
    if quantize is not None and quantize not in QUANTIZED:
        raise TfnormError(unknown("quantization", quantize, QUANTIZED))
    if quantize and form != "litert":
        raise TfnormError(f"Only LiteRT files are quantized. Received: {quantize!r} for {os.fspath(path)!r}.")
    if quantize == "int8" and not calibrated:
        raise TfnormError(
            "int8 needs about 100 inputs like those to come. Give them as `representative` or with --representative."
        )
    _check_place(path, form, overwrite)
    _check_backend(form)
    return form


def _check_place(path: str | os.PathLike[str], form: str, overwrite: bool) -> None:
    place, folder = Path(path), form == "tf_saved_model"
    kind, other = ("folder", "file") if folder else ("file", "folder")
    if place.is_file() if folder else place.is_dir():
        raise DataError(f"The new {kind} {str(place)!r} is a {other}. Give another name.")
    if folder and place.name in ("", ".."):
        raise DataError(f"The folder of a SavedModel needs a name of its own. Received: {os.fspath(path)!r}.")
    held = {entry.name for entry in place.iterdir()} if place.is_dir() else set()
    if held and "saved_model.pb" not in held:
        raise DataError(f"The folder {str(place)!r} holds something else than a SavedModel. Give another name.")
    if strange := sorted(held - _OF_SAVED_MODELS):
        raise DataError(f"The folder {str(place)!r} holds {strange[0]!r} beside a SavedModel. Give another name.")
    if (held if folder else place.exists()) and not overwrite:
        raise DataError(f"The {kind} {str(place)!r} exists. Give another name, or --force to write over it.")


def _check_backend(form: str) -> None:
    """Raise a `TfnormError` if Keras's backend, or a package that it needs, cannot write a format."""
    backend = chosen_backend()
    needs = _NEEDS[form]
    if backend not in needs:
        able = " or ".join(BACKENDS[name] for name in needs)
        raise TfnormError(
            f"{FORMATS[form]} is written by {able}. Received: the backend {BACKENDS.get(backend, backend)}. A .keras "
            "file opens on every backend: save the model, and export it in a process with KERAS_BACKEND=tensorflow."
        )
    missing = [name for name in needs[backend] if not is_installed(name)]
    if missing:
        raise TfnormError(missing_packages(form, missing))


def missing_packages(form: str, missing: list[str]) -> str:
    """Return the sentence for packages that are not installed."""
    return f"To write {FORMATS[form]}, install {' and '.join(missing)}: python -m pip install {' '.join(missing)}"
