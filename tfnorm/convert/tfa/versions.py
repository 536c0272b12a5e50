"""Which version of Keras 2 brought which class. In an older file, a class of that name is somebody else's."""

from __future__ import annotations

import re

# Standalone Keras up to 2.3 had none of these, tf.keras ("-tf") those up to its number. From 2.4 on both are one.
SINCE: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("LayerNormalization", "Attention", "AdditiveAttention", "Normalization"), (2, 2, 4)),
    **dict.fromkeys(
        """
        CenterCrop RandomContrast RandomFlip RandomRotation RandomTranslation Rescaling Resizing
        """.split(),
        (2, 3),
    ),
    **dict.fromkeys(
        "CategoryEncoding Conv1DTranspose EinsumDense MultiHeadAttention RandomZoom".split(),
        (2, 4),
    ),
    **dict.fromkeys("ConvLSTM1D ConvLSTM3D DepthwiseConv1D".split(), (2, 5)),
    **dict.fromkeys("RandomBrightness UnitNormalization".split(), (2, 8)),
    "GroupNormalization": (2, 11),
    "SpectralNormalization": (2, 13),
}
# Activations are functions. The names of those that are not here can mean one thing only.
ACTIVATIONS_SINCE: dict[str, tuple[int, ...]] = {
    "gelu": (2, 4),
    "mish": (2, 13),
    # Keras 2 had none of these.
    **dict.fromkeys(
        """
        celu glu hard_shrink hard_silu hard_swish hard_tanh log_sigmoid soft_shrink sparse_plus sparse_sigmoid
        sparsemax squareplus tanh_shrink threshold
        """.split(),
        (3,),
    ),
}
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
