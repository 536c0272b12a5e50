"""What is exported on JAX and PyTorch gives what Keras gives there, and what cannot be is said."""

import importlib.util
import os
import subprocess
import sys

import pytest
from facts import says

CODE = """
import sys
from pathlib import Path

import tfnorm

model = tfnorm.build(norm="gn:2", seed=0)
folder = Path(sys.argv[1])
for name in ("net.tflite", "net.onnx", "served/"):
    try:
        written = tfnorm.convert.export(model, f"{folder}/{name}")
        print(name, written.outputs[0], written.difference < 1e-4, written.checked)
    except tfnorm.errors.TfnormError as error:
        print(name, error)
if (folder / "net.onnx").exists():
    import keras

    export, fixed = keras.Model.export, [keras.InputSpec("float32", (1, 28, 28, 1), name="image")]
    keras.Model.export = lambda self, path, **options: export(self, path, **{**options, "input_signature": fixed})
    try:
        tfnorm.convert.export(model, folder / "fixed.onnx")
    except tfnorm.errors.TfnormError as error:
        print(error)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "net.onnx"))
    print(session.get_inputs()[0].name, session.get_outputs()[0].name)
"""
ONLY_TENSORFLOW = "net.tflite", "LiteRT", "TensorFlow"


SAYS = {
    "jax": [
        (*ONLY_TENSORFLOW, "JAX"),
        ("net.onnx", "ONNX", "TensorFlow or PyTorch", "JAX"),
        ("served/", "logits (batch, 10) float32", "True", "6 random inputs", "TensorFlow"),
    ],
    "torch": [
        (*ONLY_TENSORFLOW, "PyTorch"),
        ("net.onnx", "logits (batch, 10) float32", "True", "6 random inputs", "onnxruntime"),
        ("served/", "SavedModel", "TensorFlow or JAX", "PyTorch"),
        ("PyTorch", "fixed number of inputs"),
        ("image logits",),
    ],
}


@pytest.mark.parametrize("backend", [pytest.param("jax", marks=pytest.mark.matrix), "torch"])
def test_what_is_written_and_what_is_refused(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed.")
    environment = {**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", f"import tfnorm.errors\n{CODE}", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    for line, facts in zip(done.stdout.splitlines(), SAYS[backend], strict=True):
        says(line, *facts)
