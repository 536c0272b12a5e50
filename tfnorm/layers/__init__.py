"""Normalization layers for Keras 3.

Where Keras has the layer, ours is a subclass with the same weights and configuration; the others follow their paper.
"""

from tfnorm import _check  # noqa: F401 - says what is missing before Keras fails for it
from tfnorm.layers.activation import Activation, ReLU
from tfnorm.layers.convolution import Conv2D
from tfnorm.layers.dropout import Dropout
from tfnorm.layers.image_classifier import ImageClassifier as _ImageClassifier  # noqa: F401 - Keras opens files with it
from tfnorm.layers.normalization.batch_normalization import BatchNormalization
from tfnorm.layers.normalization.filter_response_normalization import TLU, FilterResponseNormalization
from tfnorm.layers.normalization.group_normalization import GroupNormalization
from tfnorm.layers.normalization.instance_normalization import InstanceNormalization
from tfnorm.layers.normalization.keras_2 import BandNormalization, ContribInstanceNormalization
from tfnorm.layers.normalization.layer_normalization import LayerNormalization
from tfnorm.layers.normalization.rms_normalization import RMSNormalization
from tfnorm.layers.pixel_normalization import Normalization
from tfnorm.layers.weight_standardization import WeightStandardizedConv2D

__all__ = [
    "TLU",
    "Activation",
    "BandNormalization",
    "BatchNormalization",
    "ContribInstanceNormalization",
    "Conv2D",
    "Dropout",
    "FilterResponseNormalization",
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "Normalization",
    "RMSNormalization",
    "ReLU",
    "WeightStandardizedConv2D",
]
