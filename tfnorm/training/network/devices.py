"""One run on several devices: each has a copy of the network, and computes its part of each batch.

On TensorFlow this is a `tf.distribute.MirroredStrategy`, on JAX a `keras.distribution.DataParallel`. The batch size is
that of all devices together, and images come in the same order as on one device.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from tfnorm.convert.recalibrate import batch_norms
from tfnorm.datasets.batches import EpochBatches
from tfnorm.errors import TfnormError
from tfnorm.ops import on_tensorflow, replicas_in_step, sum_over_replicas
from tfnorm.spec import parse
from tfnorm.training.config import TrainConfig

# Random numbers of the second device start so far from those of the first, and so on.
_APART = 1_000_003


@contextmanager
def on_devices(count: int) -> Iterator[None]:
    """Make and train networks on so many devices inside.

    Raises:
        TfnormError: If the machine has fewer.
    """
    if count == 1:
        yield
        return
    kind, names = check_devices(count)
    if on_tensorflow():
        import tensorflow as tf  # start-up

        with _mirrored(kind, count).scope(), tf.variable_creator_scope(_alike):
            yield
    else:
        with _parallel(names).scope():
            yield


def check_devices(count: int) -> tuple[str, tuple[str, ...]]:
    """Return the kind, "GPU", "TPU" or "CPU", and the names of several devices; nothing for one.

    Raises:
        TfnormError: If there are fewer than ``count``.
    """
    if count == 1:
        return "", ()
    if on_tensorflow():
        import tensorflow as tf  # start-up

        kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
        names = [device.name for device in tf.config.list_logical_devices(kind)]
    else:
        names = keras.distribution.list_devices()
        kind = names[0].partition(":")[0].upper()
    if len(names) < count:
        there = f"{len(names)} {kind}{'s' if len(names) > 1 else ''}"
        mend = "devices=1, or a machine with more" if len(names) == 1 else f"at most {len(names)}"
        raise TfnormError(
            f"A run cannot have more devices than there are. Received: devices={count} with {there} that "
            f"{keras.backend.backend()} sees. Use {mend}."
        )
    return kind, tuple(names[:count])


@functools.cache  # models of runs that share a graph must share it too
def _mirrored(kind: str, count: int) -> Any:
    import tensorflow as tf  # start-up

    return tf.distribute.MirroredStrategy([f"/{kind}:{number}" for number in range(count)])


@functools.cache
def _parallel(names: tuple[str, ...]) -> Any:
    return _WholeBatches(devices=list(names), auto_shard_dataset=False)


class _WholeBatches(keras.distribution.DataParallel):
    """Data parallelism on JAX that gives each device the whole batch, of which `OnOwnDevice` takes its part.

    JAX itself divides only batches that all devices can share equally, and the last one of an epoch may be smaller.
    """

    def get_data_layout(self, data_shape):
        """Return the layout that divides nothing."""
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


def _alike(create: Any, **settings: Any) -> Any:
    """Create a variable whose copies stay alike where a step changes them, such as the statistics of a batch norm.

    Keras would let them drift apart, and keep those of the first device. Here each takes the mean over devices.
    """
    import tensorflow as tf  # start-up

    dtype = settings.get("dtype")
    alone = settings.get("aggregation") in (None, tf.VariableAggregation.NONE) and not settings.get("trainable")
    if alone and dtype is not None and tf.as_dtype(dtype).is_floating:
        settings["aggregation"] = tf.VariableAggregation.MEAN
    return create(**settings)


def check_batches(batches: EpochBatches, tested: int, devices: int) -> None:
    """Raise a TfnormError if a device of TensorFlow would have no image of a batch, which its operations do not take.

    Args:
        batches: Of an epoch.
        tested: Number of test images.
        devices: Number of devices.
    """
    if on_tensorflow() and tested < devices:
        raise TfnormError(f"Each device needs a test image. Received: {tested} test images with devices={devices}.")
    if on_tensorflow() and batches.smallest < devices:
        raise TfnormError(
            f"Each device needs an image of each batch. Received: a last or smallest batch of {batches.smallest}, of "
            f"{batches.images:,} training images in {len(batches)} batches, with devices={devices}. Use another batch "
            "size, or leave out the batch that is not full."
        )


def spread(stream: Any, devices: int) -> Any:
    """Return batches for several devices: on TensorFlow, parts of one size for all, which `own_part` cuts off.

    TensorFlow would give the last batch to as few devices as it takes, and nothing to the others. Sample weights of 1
    are added if there are none. Those of images that fill up a part are no numbers.

    Args:
        stream: Batches as `tfnorm.datasets.Batches.stream` returns them.
        devices: Number of devices.
    """
    if devices == 1 or not on_tensorflow():
        return stream
    import tensorflow as tf  # start-up

    def fill_up(x: Any, y: Any, weights: Any = None) -> Any:
        count = tf.shape(x)[0]
        ends = count * tf.range(devices + 1) // devices
        rows = ends[:-1, None] + tf.range(-(-count // devices))
        own = tf.reshape(rows < ends[1:, None], [-1])
        rows = tf.minimum(tf.reshape(rows, [-1]), count - 1)
        weights = tf.ones([count]) if weights is None else tf.cast(weights, tf.float32)
        return tf.gather(x, rows), tf.gather(y, rows), tf.where(own, tf.gather(weights, rows), math.nan)

    return stream.map(fill_up)


def own_part(batch: Any) -> Any:
    """Return the images of a device, without those that `spread` filled up its part with."""
    if replicas_in_step() == 1:
        return batch
    count = ops.sum(ops.cast(~ops.isnan(batch[2]), "int32"))
    return tuple(part[:count] for part in batch)


def on_own_device(images: Any, devices: int) -> Any:
    """Return a symbolic tensor of images, of which each of several devices of JAX computes its part from here on.

    Operations that JAX can't divide, as some of augmentation, make all devices compute the rest as a whole.
    """
    return OnOwnDevice()(images) if devices > 1 and not on_tensorflow() else images


class OnOwnDevice(keras.layers.Layer):
    """Passes images on so that each device of JAX computes its part of what follows.

    A batch that they can't share equally is computed by each as a whole.
    """

    def call(self, inputs):
        """Return the images."""
        distribution = keras.distribution.distribution()
        if inputs.shape[0] is None or inputs.shape[0] % distribution.num_model_replicas:
            return inputs
        axes = [distribution.batch_dim_name, *[None] * (len(inputs.shape) - 1)]
        layout = keras.distribution.TensorLayout(axes, distribution.device_mesh)
        return keras.distribution.distribute_tensor(inputs, layout)


def shared_loss(loss: Any, images: Any) -> tuple[Any, Any]:
    """Return the loss of a device, with the gradient that it adds to that of all, and the loss of all images.

    Keras takes the mean of the devices' losses. That is the mean over images only if all devices have as many, which
    is not so in the last batch of an epoch. Here the gradient of each counts by the number of its images.

    Args:
        loss: Of the images of a device, divided by the number of devices.
        images: Images of the device.
    """
    replicas = replicas_in_step()
    if replicas == 1:
        return loss, loss
    count = ops.cast(ops.shape(images)[0], loss.dtype)
    weight = replicas * count / sum_over_replicas(count)
    still = ops.stop_gradient(loss)
    return weight * loss + (1 - weight) * still, sum_over_replicas(weight * still)


def draw_apart(model: keras.Model) -> None:
    """Have each device of TensorFlow draw random numbers of its own, for dropout and augmentation.

    Their states differ by a constant from that of the first device, which is the one in a checkpoint.
    """
    for variable in model.non_trainable_variables if on_tensorflow() else ():
        if variable.name == "seed_generator_state":
            copies = getattr(variable.value, "values", ())
            for number, copy in enumerate(copies):
                copy.assign(copies[0] + ops.cast([number * _APART, 0], copy.dtype))


def record_of(network: keras.Model, config: TrainConfig) -> dict[str, Any]:
    """Return how a run on several devices was divided, for ``config.json``; nothing for one device."""
    if config.devices == 1:
        return {}
    kind, _ = check_devices(config.devices)
    alone = on_tensorflow()
    draws = "others on each device, and not those of a run on one" if alone else "those of a run on one device"
    return {
        "devices": {
            "count": config.devices,
            "device_kind": kind,
            "images_per_device": (config.batch_size or 1) // config.devices,
            "statistics_of_norms": statistics_of(network, config),
            "random_numbers": draws,
        }
    }


def statistics_of(network: keras.Model, config: TrainConfig) -> str:
    """Return which images the statistics of a network's norms span, in words."""
    batch, part = config.batch_size or 1, (config.batch_size or 1) // config.devices
    whole = [not on_tensorflow() or norm.synchronized for norm in batch_norms(network)]
    if not whole:
        info = parse(config.norm).info
        return "one image" if info.statistics or info.of_the_model else "no image"
    words = [f"{batch} images: the global batch"] if any(whole) else []
    words += [f"{part} image{'s' if part > 1 else ''}: those of one device"] if not all(whole) else []
    return ", and ".join(words)
