"""A small model to be watched by callbacks, and what it is trained on."""

import keras
import numpy as np

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (22, 4, 4, 1)).astype("float32")
Y = RNG.integers(0, 3, 22)
VAL = (X[:10], Y[:10])
L1 = keras.regularizers.L1(0.01)


def make_model(regularizer=None, metrics=("accuracy",), optimizer=None, softmax=False, norm=False, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((4, 4, 1)),
            keras.layers.Rescaling(1 / 255),
            *([keras.layers.BatchNormalization()] if norm else []),
            keras.layers.Flatten(),
            keras.layers.Dense(5, activation="relu", kernel_regularizer=regularizer),
            keras.layers.Dense(3, bias_regularizer=regularizer, activation="softmax" if softmax else None),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax)
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss, metrics=list(metrics), **options)
    return model


def fit(model, *callbacks, epochs=2, **options):
    options = {"batch_size": 8, "verbose": 0, "shuffle": False} | options
    return model.fit(X, Y, epochs=epochs, callbacks=list(callbacks), **options)
