"""Dropout."""

from __future__ import annotations

import keras

from tfnorm.ops import compiles_for


@keras.saving.register_keras_serializable("tfnorm")
class Dropout(keras.layers.Dropout):
    r"""Set elements to 0 at random in training, and scale the others up.

    .. math:: y_i = \begin{cases} 0 & \text{with probability } p \\ x_i / (1 - p) & \text{otherwise} \end{cases}

    At inference the input passes unchanged. The layer differs from `keras.layers.Dropout` in speed, and in which
    elements a seed drops. On TensorFlow the random bits are a hash of the seed, the step and the element's place. They
    are computed inside the multiplication and again in the gradient, and are never stored. The seed's state is the
    parent's, [seed, steps], and moves on by one step at each call in training. Restoring ``model.variables`` resumes
    the sequence exactly.

    The layer computes as the parent does on other backends, with a ``noise_shape``, and on a TensorFlow without XLA.

    Args:
        rate: The share of the elements to drop, from 0 to 1. On TensorFlow it is exact within 2^-32.
        noise_shape: The shape of the mask, with 1 along the axes that share one mask. Defaults to the input's shape.
        seed: A whole number for a reproducible sequence. Defaults to one from Python's random generator.
        **kwargs: Name, dtype and the other arguments of a Keras layer.

    Input and output shape:
        Any.

    Example:
        >>> layer = Dropout(0.5, seed=1)
        >>> sorted(set(np.ravel(layer(np.ones((8, 8), "float32"), training=True)).tolist()))
        [0.0, 2.0]

    References:
        Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, 2014, JMLR 15.
    """

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        if isinstance(noise_shape, list):  # as a loaded configuration has it
            noise_shape = tuple(noise_shape)
        super().__init__(rate, noise_shape=noise_shape, seed=seed, **kwargs)

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        if self.rate == 1:  # which not every TensorFlow takes
            self.seed_generator.next()
            return keras.ops.zeros_like(inputs)
        if self.noise_shape is not None or keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training)
        from tfnorm.ops.tensorflow.compile import compiles  # start-up
        from tfnorm.ops.tensorflow.output import dropout  # start-up

        if not compiles():
            return super().call(inputs, training=training)
        return dropout(inputs, self.seed_generator.next(), rate=self.rate, compiled=compiles_for(self, inputs))
