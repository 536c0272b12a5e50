"""A network whose graph is traced in a moment, for tests of what is not about the network."""

import contextlib
from pathlib import Path

import pytest

from tfnorm.models.architectures import ARCHITECTURES, ArchSpec, Conv, GlobalPool

TINY = ArchSpec(
    "tiny", "one block", (28, 28, 1), (Conv(4), GlobalPool(), Conv(None, 1, parts=(), name="logits")), dropout=0.1
)
# Those for photographs are slow to build, and resnet18 has every kind of layer that they have.
SMALL = [name for name in ARCHITECTURES if name not in ("resnet18", "resnet50")]
#: Settings of a run that is soon over, for tests of what is not about the run, in any process: an epoch is four steps,
#: and there is no augmentation, whose graph takes as long again to trace.
SOON_OVER = {
    "model": f"{Path(__file__).with_name('own_networks.py')}:one_block",
    "recipe": "default",
    "epochs": 1,
    "batch_size": 359,
    "augmentation": "none",
}


@contextlib.contextmanager
def tiny_registered():
    """Register `TINY` as "tiny" for as long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ARCHITECTURES, "_items", {**ARCHITECTURES._items, "tiny": TINY})
        yield
