"""Weight penalties: Keras's own L1, L2 and L1L2, the norm that is not squared, and sums of them.

PyTorch's weight decay (coupled) adds decay * w to the gradient, which is the penalty decay / 2 * sum(w ** 2):
use ``L2(decay / 2)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

from tfnorm import _keras  # noqa: F401 - says what is missing before Keras fails for it

# isort: split
import keras
from keras import ops
from keras.regularizers import L1, L1L2, L2

from tfnorm.spec import NormSpec

__all__ = ["L1", "L1L2", "L2", "L2Norm", "Sum", "from_spec", "penalty"]


@keras.saving.register_keras_serializable("tfnorm")
class L2Norm(keras.regularizers.Regularizer):
    r"""The Euclidean norm of a tensor, not squared: l2norm * sqrt(sum(w ** 2)).

    Its gradient, l2norm * w / ||w||, has the same length however small w is. At w = 0, where there is no gradient, it
    is taken as 0, so that it is always finite.

    Args:
        l2norm: The factor, at least 0. Defaults to 0.01.

    Example:
        >>> float(L2Norm(0.5)(np.array([3.0, 4.0], "float32")))
        2.5
    """

    def __init__(self, l2norm=0.01):
        if not isinstance(l2norm, Real) or not math.isfinite(l2norm) or l2norm < 0:
            raise ValueError(f"`l2norm` must be a finite number of at least 0. Received: l2norm={l2norm!r}.")
        self.l2norm = float(l2norm)

    def __call__(self, x):
        """Return the penalty of the tensor ``x``, a scalar."""
        # Scaled by the largest element, so that squares neither vanish nor overflow; it cancels, so no gradient
        # flows through it. A tensor of zeros is divided by 1.
        largest = ops.stop_gradient(ops.max(ops.abs(x), initial=0.0))
        safe = ops.where(largest > 0, largest, ops.ones_like(largest))
        total = ops.sum(ops.square(x / safe))
        zero = ops.equal(total, 0)
        # The inner where keeps the root's infinite derivative at 0 out of the gradient.
        root = ops.sqrt(ops.where(zero, ops.ones_like(total), total))
        return self.l2norm * safe * ops.where(zero, ops.zeros_like(root), root)

    def get_config(self):
        """Return the factor."""
        return {"l2norm": self.l2norm}


@keras.saving.register_keras_serializable("tfnorm")
class Sum(keras.regularizers.Regularizer):
    """The sum of several penalties of one tensor.

    Args:
        regularizers: Keras regularizers.
    """

    def __init__(self, regularizers: Sequence):
        self.regularizers = [keras.regularizers.get(regularizer) for regularizer in regularizers]
        if not self.regularizers or None in self.regularizers:
            raise ValueError(f"`regularizers` must hold at least one regularizer. Received: {regularizers!r}.")

    def __call__(self, x):
        """Return the penalty of the tensor ``x``, a scalar."""
        return sum(regularizer(x) for regularizer in self.regularizers)

    def get_config(self):
        """Return the parts."""
        return {"regularizers": [keras.regularizers.serialize(part) for part in self.regularizers]}


def from_spec(spec: NormSpec):
    """Return the regularizer of a spec's penalties, or None if it has none."""
    parts: list = []
    if spec.l1 and spec.l2:
        parts.append(L1L2(l1=spec.l1, l2=spec.l2))
    elif spec.l1:
        parts.append(L1(spec.l1))
    elif spec.l2:
        parts.append(L2(spec.l2))
    if spec.l2norm:
        parts.append(L2Norm(spec.l2norm))
    return Sum(parts) if len(parts) > 1 else next(iter(parts), None)


def penalty(model) -> float:
    """Return the sum of the weight penalties of ``model`` at its present weights, in the unit of its loss."""
    regularized = [weight for weight in model.trainable_variables if weight.regularizer is not None]
    return float(sum(float(ops.convert_to_numpy(weight.regularizer(weight))) for weight in regularized))
