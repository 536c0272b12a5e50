"""Writing and running a LiteRT file, with weights or numbers of 8 bits where they are asked for."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnorm.convert.runtimes.check import Runner
from tfnorm.convert.runtimes.saved_model import serving_function
from tfnorm.convert.runtimes.served import ServedModel, batch_of, explained, missing_operations
from tfnorm.errors import TfnormError
from tfnorm.keras_settings import is_installed

_CALIBRATED = 200  # batches that the ranges of int8 are measured on, at most


def write(served: ServedModel, place: Path) -> None:
    """Write a LiteRT file."""
    with tempfile.TemporaryDirectory() as folder, explained(served):
        archive = keras.export.ExportArchive()
        archive.track(served.model)
        archive.add_endpoint("serve", serving_function(served))
        archive.write_out(folder, verbose=False)
        try:
            content = _converter(served, folder).convert()
        except Exception as error:
            if "tensor list" in str(error):
                raise TfnormError("a recurrent layer needs a fixed number of inputs, such as batch_size=1") from None
            if "NEEDS_FLEX_OPS" not in str(error):
                raise
            converter = _converter(served, folder)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
            content = converter.convert()
            found = ", ".join(missing_operations(error))
            served.notes.append(f"It needs LiteRT's Flex delegate, for operations of TensorFlow: {found}.")
    place.write_bytes(content)


def _converter(served: ServedModel, folder: str) -> Any:
    """Return TensorFlow's converter with the settings that are asked for."""
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    if served.quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if served.quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if served.quantize == "int8" and served.given is not None:
        given, size = served.given, served.batch_size or 1
        batches = max(len(given[0]) // size, 1)
        # Taken evenly: inputs are often sorted by class.
        starts = size * np.linspace(0, batches - 1, min(batches, _CALIBRATED)).astype(int)
        converter.representative_dataset = lambda: (
            dict(zip(served.names, (batch_of(array, start, size) for array in given), strict=True)) for start in starts
        )
    return converter


def runner(served: ServedModel, place: Path) -> tuple[Runner | None, str]:
    """Return a function that runs the file and the name of the program, or None and why there is none."""
    if is_installed("ai_edge_litert") and not any("Flex" in note for note in served.notes):
        from ai_edge_litert.interpreter import Interpreter  # start-up

        program = "ai_edge_litert"
    else:
        Interpreter, program = getattr(getattr(tf, "lite", None), "Interpreter", None), "tf.lite"  # noqa: N806
    if Interpreter is None:
        return None, "no LiteRT interpreter is installed; python -m pip install ai-edge-litert brings one"

    def run(batch: list[np.ndarray]) -> dict[str, np.ndarray]:
        # The batch size of a signature is that of its first call.
        signature = Interpreter(model_content=place.read_bytes()).get_signature_runner()
        return signature(**dict(zip(served.names, batch, strict=True)))

    return run, program
