"""Tensors of any library as NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np


def to_array(value: Any) -> np.ndarray:
    """Return a tensor of any library, or what NumPy takes, as an array."""
    if hasattr(value, "detach"):  # PyTorch's, which may need gradients or lie on an accelerator
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":  # which NumPy does not have
            value = value.float()
    return np.asarray(value)
