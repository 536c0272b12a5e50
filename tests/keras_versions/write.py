"""Write a model of tfnorm's layers, and what it returns, under the installed version of Keras: write.py FOLDER."""

import sys
from pathlib import Path

import keras
import numpy as np

from tfnorm import layers
from tfnorm.layers.image_classifier import ImageClassifier


def make():
    """Return a model with one of each layer whose configuration goes through Keras's."""
    inputs = outputs = keras.Input((6, 6, 4))
    for layer in (
        layers.Conv2D(4, 3, padding="same", kernel_initializer="he_normal", name="conv"),
        layers.BatchNormalization(gamma_initializer="glorot_uniform", name="bn"),
        layers.WeightStandardizedConv2D(4, 3, padding="same", activity_regularizer="l2", name="ws"),
        layers.LayerNormalization(axis=(1, 2, 3), name="ln"),
        layers.ReLU(name="relu"),
        layers.GroupNormalization(2, gamma_regularizer="l2", name="gn"),
        layers.Dropout(0.5, noise_shape=(None, 1, 1, None), seed=1, name="dropout"),
        layers.InstanceNormalization(name="in"),
        layers.Activation("relu", name="activation"),
        layers.RMSNormalization(axis=(1, 2, 3), name="rms"),
        layers.FilterResponseNormalization(name="frn"),
        layers.TLU(name="tlu"),
        layers.Normalization(mean=0.5, variance=2.0, name="pixels"),
    ):
        outputs = layer(outputs)
    outputs = keras.layers.Dense(3, name="logits")(keras.layers.GlobalAveragePooling2D()(outputs))
    return ImageClassifier(inputs, outputs, name="network")


def images():
    """Return the images that the outputs are of."""
    return np.linspace(-3, 5, 2 * 6 * 6 * 4).reshape(2, 6, 6, 4).astype("float32") ** 2


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    keras.utils.set_random_seed(3)
    model = make()
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(weight + keras.random.uniform(weight.shape, 0.1, 0.4))
    model.save(folder / f"{keras.__version__}.keras")
    np.save(folder / f"{keras.__version__}.npy", model.predict(images(), verbose=0))
