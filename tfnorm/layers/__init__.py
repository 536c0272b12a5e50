"""Normalization layers for Keras 3.

Where Keras has the layer, ours is a subclass with the same weights and configuration. The others follow their papers.
A saved model names the module of each class in it. That is this module for all of them, wherever a class is defined.
"""

from tfnorm import _keras  # noqa: F401 - says what is missing before Keras fails for it
from tfnorm.layers.activation import Activation, ReLU
from tfnorm.layers.convolution import Conv2D, WeightStandardizedConv2D
from tfnorm.layers.create import norm_class as _norm_class
from tfnorm.layers.dropout import Dropout
from tfnorm.layers.image_classifier import ImageClassifier
from tfnorm.layers.normalization.batch_normalization import BatchNormalization
from tfnorm.layers.normalization.filter_response_normalization import TLU, FilterResponseNormalization
from tfnorm.layers.normalization.group_normalization import GroupNormalization
from tfnorm.layers.normalization.instance_normalization import InstanceNormalization
from tfnorm.layers.normalization.keras_2 import (
    BandNormalization,
    ContribInstanceNormalization,
    gelu_of_tensorflow_addons,
    hard_sigmoid_of_keras_2,
)
from tfnorm.layers.normalization.layer_normalization import LayerNormalization
from tfnorm.layers.normalization.rms_normalization import RMSNormalization
from tfnorm.layers.pixel_normalization import Normalization
from tfnorm.norms import NORMS as _NORMS

__all__ = [
    "TLU", "Activation", "BandNormalization", "BatchNormalization", "ContribInstanceNormalization", "Conv2D",
    "Dropout", "FilterResponseNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization",
    "Normalization", "RMSNormalization", "ReLU", "WeightStandardizedConv2D",
]  # fmt: skip

# A norm of the registry that is not imported above is public too.
for _info in _NORMS.values():
    if str(_info.layer).startswith(f"{__name__}."):
        _class = _norm_class(_info)
        globals()[_class.__name__] = _class
        __all__ += [_class.__name__] if _class.__name__ not in __all__ else []

for _saved in (*map(globals().get, __all__), ImageClassifier, gelu_of_tensorflow_addons, hard_sigmoid_of_keras_2):
    _saved.__module__ = __name__
