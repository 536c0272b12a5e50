"""A network whose graph is traced in a moment, for tests of what is not about the network."""

import contextlib

import pytest

from tfnorm.models.architectures import ARCHITECTURES, ArchSpec, Conv, GlobalPool

TINY = ArchSpec(
    "tiny", "one block", (28, 28, 1), (Conv(4), GlobalPool(), Conv(None, 1, parts=(), name="logits")), dropout=0.1
)
# Those for photographs are slow to build, and resnet18 has every kind of layer that they have.
SMALL = [name for name in ARCHITECTURES if name not in ("resnet18", "resnet50")]


@contextlib.contextmanager
def tiny_registered():
    """Register `TINY` as "tiny" for as long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ARCHITECTURES, "_items", {**ARCHITECTURES._items, "tiny": TINY})
        yield
