"""Muon for convolutional networks: Keras's orthogonalizes matrices alone and leaves convolution kernels to AdamW."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("tfnorm")
class Muon(keras.optimizers.Muon):
    """Keras's Muon, which also orthogonalizes the updates of convolution kernels.

    A kernel (height, width, in, out) is taken as the matrix (height·width·in, out), as its author proposes
    (https://kellerjordan.github.io/posts/muon); the update has the root mean square 0.2 · learning rate an element, as
    in arXiv 2502.16982, so that a learning rate of Adam fits. Depthwise kernels, whose columns do not share inputs,
    and all else that is no matrix (biases, gammas, betas) are left to AdamW, as are layers named in ``exclude_layers``.

    Args:
        learning_rate: A number or a Keras schedule.
        **kwargs: Arguments of `keras.optimizers.Muon`.
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        if len(variable.shape) != 4:
            return bool(super()._should_use_adamw(variable))
        return "depthwise" in variable.path or any(name in variable.path for name in self.exclude_layers)

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        lr = ops.cast(lr, variable.dtype)
        self.assign_add(m, ops.add(gradient, m * (self.momentum - 1)))
        update = ops.add(gradient, self.momentum * m) if self.nesterov else m
        columns = variable.shape[-1]
        matrix = self.zeropower_via_newtonschulz5(ops.reshape(update, (-1, columns)), self.ns_steps)
        self.assign_sub(variable, ops.reshape(self.lr_adjust(lr * matrix), variable.shape))
