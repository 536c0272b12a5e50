"""What the callbacks have in common."""

from __future__ import annotations

from typing import Any

import keras

from tfnorm.errors import check_keras_3


class Keras3Callback(keras.callbacks.Callback):
    """A callback that says so where it is given to a model of Keras 2, which takes it and calls it."""

    def set_model(self, model: Any) -> None:
        """Take the model that is trained."""
        check_keras_3(model)
        super().set_model(model)
