"""Functions that take arrays take tensors of the backend, on PyTorch those that need a gradient."""

import keras
import numpy as np
import pytest
from backends import BACKEND, array, tensor
from keras import layers

from tfnorm import build
from tfnorm.analysis.activations import activation_statistics
from tfnorm.datasets.augment.create import augmentation
from tfnorm.mistakes import draw_misclassified, find_misclassified
from tfnorm.ops.arrays import to_array
from tfnorm.reporting.pictures.confusion import confusion_data
from tfnorm.training.predict import predict_logits

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 60)
LOGITS = RNG.normal(0, 3, (60, 4)).astype("float32")
IMAGES = RNG.uniform(0, 255, (60, 8, 8, 3)).astype("float32")
WRONG = find_misclassified(LABELS, LOGITS)


def model():
    image = keras.Input((8, 8, 3))
    outputs = layers.Dense(4)(layers.GlobalAveragePooling2D()(layers.LayerNormalization(axis=(1, 2, 3))(image)))
    return keras.Model(image, outputs)


def mean_filled(mean):
    layer = augmentation("flip_shift", seed=0, mean=mean)
    return layer.layers[1].fill_value


CALLS = {
    "find_misclassified": (lambda y, x: find_misclassified(y, x).index, LABELS, LOGITS),
    "draw_misclassified": (lambda x: np.asarray(draw_misclassified(x, WRONG).axes[0].images[0].get_array()), IMAGES),
    "confusion_data": (lambda y, x: confusion_data(y, {"a": [x]}).counts["a"], LABELS, LOGITS),
    "activation_statistics": (lambda x: [r["before_mean"] for r in activation_statistics(MODEL, x)], IMAGES),
    "predict_logits": (lambda x: predict_logits(MODEL, x), IMAGES),
    "augmentation": (mean_filled, np.float32([1, 2, 3])),
    "build": (lambda x: build("cifar_plain", mean=x, seed=0).get_layer("pixels").mean, np.float32([1, 2, 3])),
}
MODEL = model()


def attached(value):
    found = tensor(value)
    return found.requires_grad_() if BACKEND == "torch" and found.is_floating_point() else found


@pytest.mark.parametrize("name", CALLS)
def test_tensors_are_taken_as_arrays(name):
    call, *values = CALLS[name]
    np.testing.assert_array_equal(array(call(*map(attached, values))), array(call(*values)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_tensors_of_any_precision_are_arrays(dtype):
    found = to_array(keras.ops.cast(attached(np.float32([0.5, 2.0])), dtype))
    np.testing.assert_array_equal(found, [0.5, 2.0])
