"""Models of Keras 2 given to functions of tfnorm: tf_keras has classes of the same names.

tf_keras itself is not installed for the tests. Classes that say they are from its modules stand in for it.
"""

import inspect

import numpy as np
import pytest

import tfnorm.analysis
import tfnorm.callbacks
import tfnorm.convert
import tfnorm.reporting
from tfnorm.errors import TfnormError

X = np.zeros((4, 8, 8, 3), "float32")
FUNCTIONS = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (tfnorm.analysis, tfnorm.convert, tfnorm.reporting)
    for name in module.__all__
    if not inspect.isclass(getattr(module, name)) and "model" in inspect.signature(getattr(module, name)).parameters
}
# What they need besides the model.
ARGUMENTS = {
    "tfnorm.analysis.activation_statistics": {"x": X},
    "tfnorm.convert.export": {"path": "no.tflite"},
    "tfnorm.convert.insert_norms": {"spec": "bn"},
    "tfnorm.convert.load_tfa_model": {"path": "no.h5"},
    "tfnorm.convert.replace_norms": {"spec": "bn"},
}
CALLBACKS = {
    "ActivationStatistics": lambda kind: kind(X),
    "BatchNormRecalibration": lambda kind: kind(X),
    "HistoryRecorder": lambda kind: kind(),
    "MisclassifiedImages": lambda kind: kind(X, np.zeros(4, int)),
    "NormWatch": lambda kind: kind(),
}


def model_of_keras_2(module="tf_keras.src.engine.sequential"):
    """Return an object whose class is called as those of Keras 2 are, and a subclass of one's own."""
    layer = type("Layer", (), {"__module__": module.replace("sequential", "base_layer")})
    sequential = type("Sequential", (layer,), {"__module__": module, "name": "old", "built": True})
    return type("Mine", (sequential,), {"__module__": "__main__"})()


def check(sentence):
    for part in ("Keras 2", "'old'", "model.save(", "load_tfa_model("):
        assert part in sentence


def test_the_functions_are_found():
    assert {"tfnorm.convert.fold_batch_norm", "tfnorm.convert.to_keras", "tfnorm.analysis.flops"} <= set(FUNCTIONS)
    assert set(CALLBACKS) == set(tfnorm.callbacks.__all__) - {"CALLBACKS"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_says_so(name):
    with pytest.raises(TfnormError) as caught:
        FUNCTIONS[name](model=model_of_keras_2(), **ARGUMENTS.get(name, {}))
    check(str(caught.value))


@pytest.mark.parametrize("name", CALLBACKS)
def test_every_callback_says_so(name):
    callback = CALLBACKS[name](getattr(tfnorm.callbacks, name))
    with pytest.raises(TfnormError) as caught:
        callback.set_model(model_of_keras_2())
    check(str(caught.value))


@pytest.mark.parametrize(
    "module", ["keras.src.engine.sequential", "keras.engine.sequential", "tensorflow.python.keras.engine.sequential"]
)
def test_other_homes_of_keras_2(module):
    with pytest.raises(TfnormError) as caught:
        tfnorm.analysis.summary(model_of_keras_2(module))
    check(str(caught.value))
