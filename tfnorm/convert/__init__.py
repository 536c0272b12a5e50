"""Changing the layers of Keras models while keeping their weights."""

from tfnorm.convert.stock import to_keras

__all__ = ["to_keras"]
