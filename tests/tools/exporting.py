"""Models outside of Python: what each runtime gives for them."""

import contextlib
import inspect
import io
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

INTERPRETERS = ("tf.lite", "ai_edge_litert")
# Older versions of Keras export two formats by themselves.
HAS_LITERT = "litert" in inspect.getsource(keras.Model.export)

# A saved model is read without tfnorm, in a process that has not traced it.
_SERVE = """
import sys
import numpy as np
import tensorflow as tf

arrays = np.load(sys.argv[2])
models = {name: tf.saved_model.load(f"{sys.argv[1]}/{name}") for name in arrays}
outputs = {name: models[name].serve(tf.constant(arrays[name])).numpy() for name in arrays}
assert "tfnorm" not in sys.modules
np.savez(sys.argv[3], **outputs)
"""


def difference(found, expected):
    """Return the largest difference as a share of the largest output; infinite where something is no number.

    Outputs below 1e-5 may be rounding alone: an instance norm over one pixel gives 0, and so does what follows it. They
    are a share of 1e-2, so that a difference of 1e-6 is one of 1e-4.
    """
    if np.shape(found) != np.shape(expected) or not np.isfinite(found).all():
        return np.inf
    largest = np.abs(expected).max()
    return float(np.abs(found - expected).max() / (largest if largest > 1e-5 else 1e-2))


@contextlib.contextmanager
def quietly():
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def signature(shape):
    """Return what Keras's export takes for inputs of ``shape``, whose batch may be None."""
    return [keras.InputSpec(shape=shape, dtype="float32", name="image")]


def exported(model, path, form, shape, **options):
    """Have Keras export ``model`` to ``path``, for inputs of ``shape``, whose batch may be None."""
    with quietly():
        model.export(str(path), format=form, input_signature=signature(shape), **options)
    return path


def litert_content(model, shape, **options):
    """Return ``model`` as a LiteRT file of Keras, for inputs of ``shape``, whose batch may be None."""
    import tensorflow as tf

    if HAS_LITERT:
        with tempfile.TemporaryDirectory() as folder:
            return exported(model, Path(folder, "model.tflite"), "litert", shape, **options).read_bytes()
    run = tf.function(lambda x: model(x, training=False), input_signature=[tf.TensorSpec(shape, tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([run.get_concrete_function()], model)
    for name, value in options.items():
        setattr(converter, name, value)
    return converter.convert()


def run_litert(content, x, runtime="tf.lite"):
    """Return the outputs of a LiteRT file, with the delegate that the interpreter takes by itself."""
    if runtime == "tf.lite":
        import tensorflow as tf

        interpreter = tf.lite.Interpreter(model_content=content)
    else:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=content)
    (entry,) = interpreter.get_input_details()
    if tuple(entry["shape"]) != x.shape:
        interpreter.resize_tensor_input(entry["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(entry["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def run_onnx(model, x, folder, open_batch=True):
    """Return the outputs of ``model`` exported to ONNX; its images must be all that it asks for."""
    file = exported(model, folder / "model.onnx", "onnx", (None if open_batch else len(x), *x.shape[1:]), verbose=False)
    return run_onnx_file(file, x)


def run_onnx_file(file, x):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    return session.run(None, {entry.name: x})[0]


def run_saved_model(model, x, folder, open_batch=True):
    """Return the outputs of ``model`` exported to a SavedModel."""
    import tensorflow as tf

    shape = (None if open_batch else len(x), *x.shape[1:])
    served = tf.saved_model.load(str(exported(model, folder / "saved", "tf_saved_model", shape, verbose=False)))
    return served.serve(tf.constant(x)).numpy()


def run_frozen(model, x):
    """Return the outputs of ``model`` as a graph in which nothing but plain operations and constants is left."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    run = tf.function(lambda x: model(x, training=False), input_signature=[tf.TensorSpec([None, *x.shape[1:]])])
    graph = convert_variables_to_constants_v2(run.get_concrete_function()).graph.as_graph_def()
    assert not {node.op for node in graph.node if "Partitioned" in node.op}
    again = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    entry = next(node.name for node in graph.node if node.op == "Placeholder")
    pruned = again.prune(f"{entry}:0", "Identity:0")
    return pruned(tf.constant(x)).numpy()


def run_elsewhere(models, inputs, folder):
    """Return the outputs of saved models that one other process reads; ``models`` and ``inputs`` by name."""
    for name, model in models.items():
        exported(model, folder / name, "tf_saved_model", (None, *inputs[name].shape[1:]), verbose=False)
    np.savez(folder / "inputs.npz", **inputs)
    paths = [str(folder), str(folder / "inputs.npz"), str(folder / "outputs.npz")]
    done = subprocess.run([sys.executable, "-c", _SERVE, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outputs = np.load(folder / "outputs.npz")
    return {name: outputs[name] for name in models}


def expected(model, x):
    """Return what ``model`` gives in Python."""
    return keras.ops.convert_to_numpy(model(x, training=False))


def differences(model, x, folder, batches=(True, False)):
    """Return the share of the largest output that each format, runtime and batch size differs by; x[:1] for one.

    ``batches`` says whether the batch is left open.
    """
    found = {}
    for open_batch, form in itertools.product(batches, ("litert", "onnx", "tf_saved_model")):
        images = x if open_batch else x[:1]
        right, batch = expected(model, images), "open" if open_batch else 1
        if form == "litert":
            content = litert_content(model, (None if open_batch else 1, *x.shape[1:]))
            for runtime in INTERPRETERS:
                found[runtime, batch] = difference(run_litert(content, images, runtime), right)
        else:
            run = run_onnx if form == "onnx" else run_saved_model
            found[form, batch] = difference(run(model, images, folder, open_batch), right)
    return found
