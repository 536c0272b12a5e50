"""Writing and running a TensorFlow SavedModel."""

from __future__ import annotations

import functools
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfnorm.convert.runtimes.check import Runner, tensors_of
from tfnorm.convert.runtimes.served import ServedModel, explained
from tfnorm.ops import screen_closed


def write(served: ServedModel, place: Path) -> None:
    """Write a SavedModel whose ``serve`` is called as the model is."""
    with explained(served):
        if keras.backend.backend() != "tensorflow":
            signature = [served.structure]
            served.model.export(str(place), format="tf_saved_model", verbose=False, input_signature=signature)
            return
        archive = keras.export.ExportArchive()
        archive.track(served.model)
        # Keras's `export` leaves a dropout that was called with training=True on, which `predict` does not.
        serve = functools.partial(served.model.__call__, training=False)
        archive.add_endpoint("serve", serve, input_signature=[served.structure])
        archive.write_out(str(place), verbose=False)


def runner(served: ServedModel, place: Path) -> tuple[Runner | None, str]:
    """Return a function that runs the file, and the name of the program."""
    with screen_closed():
        opened = tf.saved_model.load(str(place))

    def run(batch: list[np.ndarray]) -> dict[str, np.ndarray]:
        results = served.named(opened.serve(served.packed(tensors_of(batch))))
        return {name: result.numpy() for name, result in results.items()}

    return run, "TensorFlow"


def serving_function(served: ServedModel) -> tf.types.experimental.PolymorphicFunction:
    """Return a TensorFlow function from the inputs, by name, to a dictionary of the outputs."""
    specs = [tf.TensorSpec(s.shape, s.dtype, name) for s, name in zip(served.specs, served.names, strict=True)]

    def serve(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        # An identity for each: a tensor that is an output twice, or an input too, would lose a name.
        return {name: tf.identity(result, name) for name, result in served(tensors).items()}

    return tf.function(serve, input_signature=specs, autograph=False)
