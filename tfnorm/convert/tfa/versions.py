"""Which version of Keras 2 brought which class. In an older file, a class of that name is somebody else's."""

from __future__ import annotations

import re


def _since(table: str) -> dict[str, tuple[int, ...]]:
    """Return the version of each name in a table whose lines begin with one."""
    rows = [line.split() for line in table.strip().splitlines()]
    return {name: tuple(map(int, version.split("."))) for version, *names in rows for name in names}


# Standalone Keras up to 2.3 had none of these, tf.keras ("-tf") those up to its number. From 2.4 on both are one.
SINCE = _since(
    """
    2.2.4 LayerNormalization Attention AdditiveAttention Normalization
    2.3 CenterCrop RandomContrast RandomFlip RandomRotation RandomTranslation Rescaling Resizing
    2.4 CategoryEncoding Conv1DTranspose EinsumDense MultiHeadAttention RandomZoom
    2.5 ConvLSTM1D ConvLSTM3D DepthwiseConv1D
    2.8 RandomBrightness UnitNormalization
    2.11 GroupNormalization
    2.13 SpectralNormalization
    """
)
# Activations are functions. The names of those that are not here can mean one thing only. Keras 2 had none of "3".
ACTIVATIONS_SINCE = _since(
    """
    2.4 gelu
    2.13 mish
    3 celu glu hard_shrink hard_silu hard_swish hard_tanh log_sigmoid soft_shrink sparse_plus sparse_sigmoid
    3 sparsemax squareplus tanh_shrink threshold
    """
)
BILINEAR_SINCE = (2, 3)  # TensorFlow 2 takes the centres of pixels, TensorFlow 1 their corners
MASKED_ATTENTION_SINCE = (2, 10)  # before, MultiHeadAttention took no notice of masks
LATEST = (2, 15)


def release(version: str | None) -> tuple[int, ...]:
    """Return the release of tf.keras that has the layers of a version of Keras; the latest if it is not known.

    Example:
        >>> release("2.2.4-tf"), release("2.2.4"), release("2.12.0"), release(None)
        ((2, 2, 4), (2, 0), (2, 12, 0), (2, 15))
    """
    if version is None:
        return LATEST
    numbers = tuple(map(int, re.findall(r"\d+", version)[:3]))
    return numbers if version.endswith("-tf") or numbers >= (2, 4) else (2, 0)
