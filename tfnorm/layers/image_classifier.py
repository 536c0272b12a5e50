"""The model that `tfnorm.build` returns. It is here so that Keras opens it where `tfnorm.layers` is imported."""

from __future__ import annotations

import functools
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from tfnorm._keras import portable

LOOKED_AT = 32
PIXELS = "pixels"
# Pixels that fit the model have about the standard deviation that it divides them by.
_SMALL, _LARGE = 0.1, 100.0


def _looking(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of `keras.Model` that looks at the first batch of ``x``."""

    @functools.wraps(method)
    def looking(self: ImageClassifier, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        return method(self, self.watched(x), *args, **kwargs)

    return looking


@keras.saving.register_keras_serializable("tfnorm")
class ImageClassifier(keras.Model):
    """A functional `keras.Model` for images, with two additions.

    - If its layers compute in float16, `compile` scales the loss, as for a model that was made under the policy
      "mixed_float16". Keras does not save the policy of a model.
    - It checks that images fit the layer that standardizes their pixels. If the first batch of `fit`, `evaluate`,
      `predict` or one of the methods for single batches does not, a warning says so, once for each model.
    """

    _has_looked = False

    @keras.Model.dtype_policy.getter
    def dtype_policy(self) -> Any:
        """The policy of a layer in mixed float16, if there is one."""
        policies = [layer.dtype_policy for layer in self._flatten_layers(include_self=False)]
        return next((policy for policy in policies if policy.name == "mixed_float16"), self._dtype_policy)

    fit = _looking(keras.Model.fit)
    evaluate = _looking(keras.Model.evaluate)
    predict = _looking(keras.Model.predict)
    train_on_batch = _looking(keras.Model.train_on_batch)
    test_on_batch = _looking(keras.Model.test_on_batch)
    predict_on_batch = _looking(keras.Model.predict_on_batch)

    def get_config(self) -> dict[str, Any]:
        return portable(super().get_config())

    def watched(self, x: Any) -> Any:
        """Return ``x``, which Keras takes as data, wrapped so that `look` sees its first batch."""
        if self._has_looked:
            return x
        if isinstance(x, keras.utils.PyDataset):
            return x if x.use_multiprocessing else _Watched(x, self.look)
        if isinstance(x, types.GeneratorType):
            return _watched_batches(x, self.look)
        if "tensorflow" in sys.modules and isinstance(x, sys.modules["tensorflow"].data.Dataset):
            return _watched_dataset(x, self.look)
        self.look(x)
        return x

    def look(self, x: Any) -> None:
        """Warn if images do not fit the layer that standardizes their pixels. Only the first call looks."""
        x = _only(x)
        if self._has_looked or not hasattr(x, "shape"):
            return
        self._has_looked = True
        layer = next((layer for layer in self.layers if layer.name == PIXELS), None)
        images = np.asarray(keras.ops.convert_to_numpy(x[:LOOKED_AT]), "float64")
        sentence = _misfit(images, layer, self.input_shape[1:]) if layer is not None and images.size else None
        if sentence:
            warnings.warn(sentence, stacklevel=4)


# An .h5 file names the class of a model without its package.
keras.saving.get_custom_objects()["ImageClassifier"] = ImageClassifier


def _misfit(images: np.ndarray, layer: keras.Layer, shape: tuple[int, ...]) -> str | None:
    """Return what is wrong with images (batch, height, width, channels) for a layer that standardizes pixels."""
    probe = np.stack([np.zeros(shape), np.ones(shape)]).astype("float32")
    zero, one = keras.ops.convert_to_numpy(layer(probe)).astype("float64").reshape(2, -1, shape[-1])[:, 0]
    if not (one > zero).all():
        return None  # another layer than that of `build`
    std = 1 / (one - zero)
    mean = -zero * std
    low, high = images.min(), images.max()
    if np.abs(images).max() < _SMALL * std.min() and (images % 1).any():
        what, mend = "so small that they all look the same to this model", "as they were before they were scaled"
    elif max(high - mean.min(), mean.max() - low) > _LARGE * std.max():
        what, mend = "much larger than this model expects", "scaled as it expects them"
    else:
        return None
    return (
        f"The pixels of the first batch lie between {low:.5g} and {high:.5g}, which is {what}: it subtracts "
        f"{mean.mean():.3g} from each pixel and divides by {std.mean():.3g}. Give the images {mend}, or tell "
        "tfnorm.build the scale of yours: pixel_max=255 for raw images, pixel_max=1 for images divided by 255, or the "
        "`mean` and `std` of your pixels."
    )


def _images_of(batch: Any) -> Any:
    return _only(keras.utils.unpack_x_y_sample_weight(batch)[0])


def _only(x: Any) -> Any:
    """Return the one input of a model that Keras lets one put into a list or a dictionary."""
    if isinstance(x, (list, tuple, dict)) and len(x) == 1:
        return next(iter(x.values())) if isinstance(x, dict) else x[0]
    return x


class _Watched(keras.utils.PyDataset):
    """A `keras.utils.PyDataset` whose batches are shown to ``look``."""

    def __init__(self, inner: keras.utils.PyDataset, look: Callable[[Any], None]) -> None:
        super().__init__(workers=inner.workers, max_queue_size=inner.max_queue_size)
        self.inner, self.look = inner, look
        self.on_epoch_begin, self.on_epoch_end = inner.on_epoch_begin, inner.on_epoch_end

    @property
    def num_batches(self) -> int | None:
        return self.inner.num_batches

    def __getitem__(self, index: int) -> Any:
        batch = self.inner[index]
        self.look(_images_of(batch))
        return batch


def _watched_batches(batches: Iterator[Any], look: Callable[[Any], None]) -> Iterator[Any]:
    for batch in batches:
        look(_images_of(batch))
        yield batch


def _watched_dataset(dataset: Any, look: Callable[[Any], None]) -> Any:
    """Return a `tf.data.Dataset` of the same batches in the same order.

    Reading the first batch ahead would move on the random state of a dataset that shuffles.
    """
    import tensorflow as tf  # start-up

    if not isinstance(_images_of(dataset.element_spec), tf.TensorSpec):
        return dataset

    def shown(images: Any) -> Any:
        return tf.numpy_function(lambda array: look(array) is None, [images], tf.bool)

    @tf.autograph.experimental.do_not_convert
    def watch(number: Any, batch: Any) -> Any:
        done = tf.cond(number == 0, lambda: shown(_images_of(batch)), lambda: True)
        with tf.control_dependencies([done]):
            return tf.nest.map_structure(tf.identity, batch)

    return dataset.enumerate().map(watch)
