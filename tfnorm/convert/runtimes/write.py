"""Writing a Keras model as a file that runs without Keras: LiteRT, ONNX, SavedModel."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfnorm.convert.graph import check_built
from tfnorm.convert.runtimes.check import difference
from tfnorm.convert.runtimes.formats import FORMATS, check_export
from tfnorm.convert.runtimes.served import Port, ServedModel
from tfnorm.errors import TfnormError, check_keras_3
from tfnorm.files import whole_file, whole_folder
from tfnorm.ops import screen_closed

#: The largest difference of outputs from Keras's, as a share of the largest output, that is not an error. Rounding adds
#: up in deep networks, to 1e-4 at most in what was measured; a file that is wrong is off by far more.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Args:
        path: The file, or the folder of a SavedModel.
        format: "LiteRT", "ONNX" or "SavedModel".
        size: In bytes, of all files together.
        inputs: What it takes.
        outputs: What it gives.
        difference: The largest difference of an output from Keras's, as a share of the largest output; None if it was
            not measured.
        checked: On which inputs, and by which program, it was measured; or why it was not.
        notes: What was changed on the way, a sentence each.
    """

    path: Path
    format: str
    size: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    difference: float | None
    checked: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"input: {port}" for port in self.inputs] + [f"output: {port}" for port in self.outputs]
        lines += self.notes
        if self.difference is None:
            lines.append(f"Not compared with Keras: {self.checked}.")
        else:
            lines.append(f"Largest difference from Keras: {self.difference:.1e} of the largest output, {self.checked}.")
        lines.append(f"Wrote {self.path}: {self.format}, {self.size:,} bytes")
        return "\n".join(lines)


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    batch_size: int | None = None,
    quantize: str | None = None,
    representative: Any = None,
    overwrite: bool = False,
    check: bool = True,
) -> Exported:
    """Write a model for inference outside of Keras, and compare its outputs with Keras's.

    The ending of ``path`` names the format: .tflite is LiteRT (TensorFlow Lite), .onnx is ONNX, and text that ends in
    "/", which a `pathlib.Path` leaves out, is a folder with a TensorFlow SavedModel. Inputs and outputs have the names
    of their layers. Dropout and batch norm compute as at inference.

    LiteRT is written on TensorFlow, a SavedModel on TensorFlow or JAX, ONNX on TensorFlow or PyTorch. Layers that
    compute in 16 bits compute in float32 in LiteRT and ONNX files.

    Args:
        model: Any built Keras model; it is not changed. A model without a graph must have one input.
        path: What to write; missing folders are made. It is written whole or not at all.
        batch_size: How many inputs the file takes at a time; None for any number.
        quantize: For LiteRT. "float16" halves the file; "dynamic" keeps weights in 8 bits and computes with floats;
            "int8" computes in 8 bits where LiteRT can, and needs ``representative``. Inputs and outputs stay floats.
        representative: Inputs such as will come, as the model takes them: an array (inputs, ...), or a list or a
            dictionary of arrays for several inputs. The check uses them too. Defaults to random numbers.
        overwrite: Whether to write over a file or SavedModel. A folder that holds other files too is refused.
        check: Whether to run the file and compare, if the program for it is installed.

    Returns:
        What was written.

    Raises:
        TfnormError: If the model or the backend does not allow the export, a package is missing, the path is taken,
            or the outputs, where nothing is quantized, differ from Keras's by more than 1e-3 of the largest one.

    Example:
        >>> written = export(tfnorm.build(norm="gn:2", seed=0), folder / "net.tflite")
        >>> print(written.inputs[0], written.outputs[0], written.difference < 1e-4, sep=", ")
        image (batch, 28, 28, 1) float32, logits (batch, 10) float32, True
    """
    check_keras_3(model)
    if not isinstance(model, keras.Layer):
        raise TfnormError(
            f"A Keras model is needed, such as keras.models.load_model gives. Received: {type(model).__name__}."
        )
    given = representative is not None
    form = check_export(path, batch_size=batch_size, quantize=quantize, calibrated=given, overwrite=overwrite)
    check_built(model)
    served = ServedModel(model, form, batch_size, quantize, representative)
    # Each needs packages that the others do not.
    module = import_module(f"tfnorm.convert.runtimes.{form.removeprefix('tf_')}")
    place = Path(path)
    with (whole_folder if form == "tf_saved_model" else whole_file)(place) as temporary:
        with screen_closed():
            module.write(served, temporary)
        inputs, outputs = served.ports()
        found, how = difference(served, temporary, module.runner) if check else (None, "you asked not to")
        if found is not None and not (quantize or served.quantized_layers() or found <= TOLERANCE):
            shares = f"differ by {found:.1e} of the largest one"
            what = shares if np.isfinite(found) else "have another shape, or are not finite"
            raise TfnormError(
                f"The {FORMATS[form]} file does not give what Keras gives: outputs {what}, {how}. Nothing was "
                "written. With check=False, --no-check on the command line, it is written nevertheless."
            )
        size = sum(file.stat().st_size for file in [temporary, *temporary.rglob("*")] if file.is_file())
    return Exported(place, FORMATS[form], size, inputs, outputs, found, how, tuple(served.notes))
