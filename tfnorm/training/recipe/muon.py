"""Muon for convolutional networks. Keras's own Muon leaves convolution kernels to AdamW."""

from __future__ import annotations

import math
import re
from typing import Any

import keras
from keras import ops

from tfnorm import _keras


@keras.saving.register_keras_serializable("tfnorm")
class Muon(_keras.Muon):
    """Muon that also orthogonalizes the updates of convolution kernels.

    A kernel (height, width, in, out) is treated as the matrix (height·width·in, out), as Muon's author proposes
    (https://kellerjordan.github.io/posts/muon). The step is scaled as in arXiv 2502.16982: the root mean square of its
    elements is about ``rms_rate`` times the learning rate, so that a learning rate of Adam fits.

    AdamW updates everything else: depthwise kernels, whose columns share no inputs ("depthwise" is in their path);
    variables that are not matrices (biases, gammas, betas); and layers whose path matches a regular expression of
    ``exclude_layers``. Name grouped convolutions there too, because their variables look like those of others.

    Args:
        learning_rate: A number or a Keras schedule.
        **kwargs: Arguments of `keras.optimizers.Muon`.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(),
        ...                           keras.layers.Dense(2, name="classes")])
        >>> model.compile(Muon(0.02, exclude_layers=["classes"]), "mse")
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        if len(variable.shape) != 4:
            return bool(super()._should_use_adamw(variable))
        return any(re.search(name, variable.path) for name in ("depthwise", *self.exclude_layers))

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        *inputs, columns = variable.shape
        rows = math.prod(inputs)
        gradient = ops.cast(gradient, variable.dtype)
        self.assign_add(m, ops.add(gradient, m * (self.momentum - 1)))
        update = ops.add(gradient, self.momentum * m) if self.nesterov else m
        matrix = self.zeropower_via_newtonschulz5(ops.reshape(update, (rows, columns)), self.ns_steps)
        scale = 1.0 if self.rms_rate is None else self.rms_rate * math.sqrt(max(rows, columns))
        self.assign_sub(variable, ops.reshape(ops.cast(lr, variable.dtype) * scale * matrix, variable.shape))
