"""Changing the layers of Keras models while keeping their weights."""

from tfnorm.convert.accelerate import accelerate
from tfnorm.convert.stock import to_keras

__all__ = ["accelerate", "to_keras"]
