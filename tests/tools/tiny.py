"""Small models, their inputs, and what is in them."""

import functools

import keras
import numpy as np


def array(x):
    """Return a tensor or variable of any backend as float64."""
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float64"))


def runs(function):
    """Return whether Keras, in the version and on the backend that there are, does something at all."""
    try:
        function()
    except Exception:
        return False
    return True


@functools.cache
def channels_first_runs():
    """Return whether this machine convolves images with channels first; TensorFlow does on some processors only."""
    return runs(lambda: keras.layers.Conv2D(1, 1, data_format="channels_first")(np.zeros((1, 1, 2, 2), "float32")))


def images(rng, *shape):
    """Return float32 numbers about 1 that are far from standard."""
    return rng.normal(1, 2, size=shape).astype("float32")


def functional(shape, make, name="net"):
    """Return the functional model of a function, or of one layer."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, make(inputs), name=name)


def all_layers(model):
    """Return the layers of a model and of those inside it."""
    return list(model._flatten_layers(include_self=False))


def one_layer(layer, shape=(4, 5, 12)):
    """Return the model of a layer alone."""
    return functional(shape, layer)
