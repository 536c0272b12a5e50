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
            *([keras.layers.BatchNormalization(name="norm")] if norm else []),
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


class Pairs(keras.utils.PyDataset):
    """Batches of images and classes."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return X[6 * index : 6 * index + 6], Y[6 * index : 6 * index + 6]


class Loader:
    """Batches as a DataLoader of PyTorch gives them: lists of tensors that NumPy does not read as they are."""

    __module__ = "torch.utils.data"

    class Tensor:
        def __init__(self, array):
            self.array, self.shape, self.dtype = array, array.shape, array.dtype

        def detach(self):
            return self

        def cpu(self):
            return self.array

    def __iter__(self):
        return ([self.Tensor(images), self.Tensor(classes)] for images, classes in pairs())

    def __len__(self):
        return 4


def pairs():
    return ((X[i : i + 6], Y[i : i + 6]) for i in range(0, 22, 6))


def streamed(*arrays):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(6)


# Each gives the same images and classes, as positional arguments of a callback.
FORMS = {
    "arrays": lambda: (X, Y),
    "one-hot arrays": lambda: (X, np.eye(3)[Y]),
    "tensors": lambda: (keras.ops.convert_to_tensor(X), keras.ops.convert_to_tensor(Y)),
    "tuple": lambda: ((X, Y),),
    "tuple with weights": lambda: ((X, Y, np.ones(22)),),
    "tf.data": lambda: (streamed(X, Y),),
    "tf.data with weights": lambda: (streamed(X, Y, np.ones(22)),),
    "tf.data, one-hot": lambda: (streamed(X, np.eye(3)[Y]),),
    "tf.data, classes apart": lambda: (streamed(X), Y),
    "PyDataset": lambda: (Pairs(),),
    "generator": lambda: (pairs(),),
    "list": lambda: (list(pairs()),),
    "DataLoader": lambda: (Loader(),),
}


def in_form(form):
    return FORMS[form]()
