"""Data of a person's own, in every form, of a few digits; the order of batches is that of tfnorm's arrays."""

import functools

import keras
import numpy as np

from tfnorm.datasets import epoch_order, load

BATCH = 32


@functools.cache
def few():
    """Return (training images, labels), (test images, labels)."""
    data = load("digits", image_size=28)
    return (data.x_train[:96], data.y_train[:96]), (data.x_test[:40], data.y_test[:40])


def arrays():
    return few()


class Ordered(keras.utils.PyDataset):
    """The batches that arrays would give under a seed; it counts epochs by its hook, as one does with Keras."""

    def __init__(self, x, y, seed, **settings):
        super().__init__(**settings)
        self.x, self.y, self.seed, self.epoch = x, y, seed, 0

    def __len__(self):
        return -(-len(self.x) // BATCH)

    def __getitem__(self, index):
        rows = epoch_order(len(self.x), self.seed, self.epoch)[index * BATCH : (index + 1) * BATCH]
        return self.x[rows], self.y[rows]

    def on_epoch_end(self):
        self.epoch += 1


def pydataset(split, seed):
    return Ordered(*few()[0], seed) if split == "train" else few()[1]


def threaded(split, seed):
    return Ordered(*few()[0], seed, workers=2) if split == "train" else few()[1]


class Order:
    """A sampler of PyTorch that is told the epoch."""

    def __init__(self, count, seed):
        self.count, self.seed, self.epoch = count, seed, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return self.count

    def __iter__(self):
        return iter(epoch_order(self.count, self.seed, self.epoch).tolist())


def _torch(pair, **settings):
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    return DataLoader(TensorDataset(*(torch.tensor(np.array(each)) for each in pair)), batch_size=BATCH, **settings)


def dataloader(split, seed):
    train, test = few()
    return _torch(train, sampler=Order(len(train[0]), seed)) if split == "train" else _torch(test)


def loader_that_shuffles(split):
    train, test = few()
    return _torch(train, shuffle=True) if split == "train" else _torch(test)


def one_epoch(seed, epoch):
    """Yield the batches of an epoch."""
    order, (x, y) = epoch_order(len(few()[0][0]), seed, epoch), few()[0]
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        yield x[rows], y[rows]


def generator(seed):
    """Return a function that returns a fresh generator of each epoch, and the test images."""
    return functools.partial(one_epoch, seed), few()[1]


def tf_data(split):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(few()[split == "test"]).batch(BATCH)


def tf_data_that_shuffles(split, seed):
    import tensorflow as tf

    train, test = (tf.data.Dataset.from_tensor_slices(each) for each in few())
    return train.shuffle(96, seed=seed).batch(BATCH) if split == "train" else test.batch(BATCH)


def weighted(split):
    """Return a list of batches with weights."""
    x, y = few()[split == "test"]
    weights = np.linspace(0.5, 2, len(x), dtype="float32")
    return [(x[at : at + BATCH], y[at : at + BATCH], weights[at : at + BATCH]) for at in range(0, len(x), BATCH)]


def weighted_that_shuffles(split, seed):
    """Return the batches of `weighted` as tf.data, those to train on in an order that tf.data draws."""
    import tensorflow as tf

    parts = [np.concatenate(part) for part in zip(*weighted(split), strict=True)]
    data = tf.data.Dataset.from_tensor_slices(tuple(parts))
    return (data.shuffle(96, seed=seed) if split == "train" else data).batch(BATCH)


def folder(place):
    """Write the images as a folder of PNG files, in the order of their numbers, and return it."""
    from PIL import Image

    for part, (images, labels) in zip(("train", "test"), few(), strict=True):
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            file = place / part / str(label) / f"{number:04d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(file)
    return place


def tf_data_that_draws(split):
    """Return images that become darker by chance, without a seed of their own."""
    import tensorflow as tf

    def darker(image, label):
        return tf.cast(image, tf.float32) * tf.random.uniform([], 0.5, 1), label

    data = tf_data("train").unbatch().map(darker).shuffle(20) if split == "train" else tf_data("test").unbatch()
    return data.batch(BATCH)
