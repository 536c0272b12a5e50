"""A program that trains on two devices, parts of this machine's processor, and prints what came of it as JSON.

Its arguments are the norms of a network that is trained beside batch normalization. After "and more" come checks that
take longer. For JAX set XLA_FLAGS=--xla_force_host_platform_device_count=2.
"""

import json
import sys

import keras
import numpy as np
from keras import layers

from tfnorm.datasets import Batches, augmentation
from tfnorm.errors import TfnormError
from tfnorm.layers import WeightStandardizedConv2D
from tfnorm.layers.create import norm_layer
from tfnorm.spec import parse
from tfnorm.training.network.devices import check_batches, check_devices, draw_apart, on_devices, on_own_device, spread
from tfnorm.training.watcher import Trained

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
if ON_TENSORFLOW and __name__ == "__main__":
    import tensorflow as tf

    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)

SHAPE, BATCH = (6, 6, 3), 12
# A first batch that two devices share equally, and a last one that they can't.
x = np.random.default_rng(0).integers(0, 256, (BATCH + 5, *SHAPE), "uint8")
y = np.arange(BATCH + 5) % 4
SPECS = [word for word in sys.argv[1:] if word != "and more"]


def norm(spec):
    return norm_layer(parse(spec), momentum=0.5)


def each_norm(batch_norm, devices):
    """Return a network with a branch for each norm, and penalties."""
    image = keras.Input(SHAPE)
    features = WeightStandardizedConv2D(8, 3, kernel_regularizer="l2")(
        layers.Rescaling(1 / 255)(on_own_device(image, devices))
    )
    branches = [norm(spec)(features) for spec in (*SPECS, batch_norm)]
    pooled = layers.GlobalAveragePooling2D()(layers.Activation("tanh")(layers.Concatenate()(branches)))
    return image, layers.Dense(4)(pooled)


def first_norm(layer, devices):
    """Return a network whose first layer normalizes the pixels themselves."""
    image = keras.Input(SHAPE)
    return image, layers.Dense(4)(layers.Flatten()(layer()(on_own_device(image, devices))))


def drawing(_, devices):
    """Return a network with augmentation and dropout."""
    image = keras.Input(SHAPE)
    augmented = on_own_device(augmentation("flip_shift", seed=0)(image), devices)
    return image, layers.Dense(4)(layers.Dropout(0.5, seed=1)(layers.Flatten()(layers.Rescaling(1 / 255)(augmented))))


def values(model):
    return [np.asarray(keras.ops.convert_to_numpy(weight), "float64") for weight in model.weights]


def trained(network, kind, devices):
    """Train for two steps on so many devices; return the model, its weights before and after, and its losses."""
    keras.utils.set_random_seed(0)
    with on_devices(devices):
        model = Trained(*network(kind, devices))
        model.compile(keras.optimizers.SGD(1.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        draw_apart(model)
        before = values(model)
        history = model.fit(
            spread(Batches(x, y, BATCH).stream(), devices),
            validation_data=spread(Batches(x[:5], y[:5], 5).stream(), devices),
            verbose=0,
        ).history
    return model, before, values(model), [history[key][0] for key in ("loss", "val_loss")]


def against_one_device(network, alone, together):
    """Return how far weights are apart after steps on one device and on two, against how far they came, and losses."""
    _, before, one, losses = trained(network, alone, 1)
    _, _, two, others = trained(network, together, 2)
    apart = max(np.abs(a - b).max() for a, b in zip(one, two, strict=True))
    came = min(np.abs(a - b).max() for a, b in zip(one, before, strict=True))
    return {"apart": apart, "came": came, "losses": [losses, others]}


def moving_statistics(layer):
    """Return how far moving statistics of pixels are from what they should be over devices and over batches."""
    model, _, after, _ = trained(first_norm, layer, 2)
    found = {}
    for name, devices in (("over devices", 2), ("over batches", 1)):
        mean, variance = np.zeros(3), np.ones(3)
        for batch in (x[:BATCH], x[BATCH:]):
            parts = np.array_split(batch.astype("float64")[::-1], devices)  # of an odd number the last has one more
            mean = 0.5 * mean + 0.5 * np.mean([part.mean((0, 1, 2)) for part in parts], 0)
            variance = 0.5 * variance + 0.5 * np.mean([part.var((0, 1, 2)) for part in parts], 0)
        at = [len(weight.shape) == 1 and "moving" in weight.path for weight in model.weights].index(True)
        found[name] = max(np.abs(after[at] / mean - 1).max(), np.abs(after[at + 1] / variance - 1).max())
    return found


def refused(call, *arguments):
    try:
        return str(call(*arguments))
    except TfnormError as error:
        return str(error)


if __name__ == "__main__":
    said = {
        "sync": against_one_device(each_norm, "bn", "bn:sync"),
        "bn": moving_statistics(lambda: norm("bn")),
        "too few": refused(check_devices, 3),
        "too few images": refused(check_batches, Batches(x[:13], y[:13], BATCH), 5, 2),
    }
    if "and more" in sys.argv and ON_TENSORFLOW:
        said["keras"] = moving_statistics(lambda: layers.BatchNormalization(momentum=0.5))
        model = trained(drawing, None, 2)[0]
        states = [v.value.values for v in model.non_trainable_variables if v.name == "seed_generator_state"]
        said["draws differ by"] = [(second - first).numpy().tolist() for first, second in states]
    elif "and more" in sys.argv:
        said["drawing"] = against_one_device(drawing, None, None)
    print(json.dumps(said, default=float))
