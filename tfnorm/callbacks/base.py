"""The base class of the callbacks."""

from __future__ import annotations

from typing import Any

import keras

from tfnorm.errors import check_keras_3


class Callback(keras.callbacks.Callback):
    """A callback that can be copied and pickled without its model, and refuses a model of Keras 2."""

    def set_model(self, model: Any) -> None:
        """Take the model that is trained."""
        check_keras_3(model)  # Keras 2 takes a callback of Keras 3 and calls it
        super().set_model(model)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of."""
        return {**self.__dict__, "_model": None}
