"""Networks of a person, each small, of every kind that tfnorm takes."""

import keras
from keras import layers

SHAPE, CLASSES = (8, 8, 3), 4


def plain(input_shape=SHAPE, num_classes=CLASSES):
    inputs = keras.Input(input_shape)
    x = inputs
    for filters in (8, 12):
        x = layers.Conv2D(filters, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(num_classes)(x))


def with_norm(norm=layers.BatchNormalization, num_classes=CLASSES):
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(8, 3)(inputs)
    x = layers.ReLU()(norm(name="norm1")(x))
    x = layers.Conv2D(12, 3)(x)
    x = layers.ReLU()(norm(name="norm2")(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(num_classes)(x))


def sequential():
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(CLASSES),
        ]
    )


def nested():
    image = keras.Input(SHAPE)
    features = layers.BatchNormalization()(layers.Conv2D(8, 3)(image))
    backbone = keras.Model(image, layers.ReLU()(features), name="backbone")
    inputs = keras.Input(SHAPE)
    x = layers.LayerNormalization()(layers.Conv2D(8, 3)(backbone(inputs)))
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


def shared():
    convolution, norm = layers.Conv2D(8, 3, padding="same"), layers.BatchNormalization()
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(8, 1)(inputs)
    for _ in range(2):
        x = layers.ReLU()(norm(convolution(x)))
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


def residual():
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(inputs)
    for _ in range(2):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        y = layers.Conv2D(8, 3, padding="same", use_bias=False)(y)
        x = x + y
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


class OwnClass(keras.Model):
    """A functional model whose class has an ``__init__`` of its own."""

    def __init__(self, filters=8, num_classes=CLASSES):
        inputs = keras.Input(SHAPE)
        self_made = layers.BatchNormalization()(layers.Conv2D(filters, 3)(inputs))
        x = layers.GlobalAveragePooling2D()(layers.ReLU()(self_made))
        super().__init__(inputs, layers.Dense(num_classes)(x))


@keras.saving.register_keras_serializable("own")
class Scale(layers.Layer):
    """A layer of one's own, whose configuration has no penalty."""

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=shape[-1:], initializer="random_normal")

    def call(self, inputs):
        return inputs * self.scale


def custom_layer():
    inputs = keras.Input(SHAPE)
    x = layers.BatchNormalization()(Scale()(layers.Conv2D(8, 3)(inputs)))
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(layers.ReLU()(x))))


NETWORKS = {
    each.__name__: each for each in (plain, with_norm, sequential, nested, shared, residual, OwnClass, custom_layer)
}


def one_block():
    """Return a network of the digits whose graph is traced in a moment, for tests of what is not about the network."""
    inputs = keras.Input((8, 8, 1))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, strides=2)(layers.Rescaling(1 / 255)(inputs))))
    x = layers.Dropout(0.1)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(10)(x))


def undropped():
    """Return the same without what is random."""
    inputs = keras.Input((8, 8, 1))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, strides=2)(layers.Rescaling(1 / 255)(inputs))))
    return keras.Model(inputs, layers.Dense(10)(layers.Flatten()(x)))
