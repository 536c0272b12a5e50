"""What holds for every picture in every format."""

import numpy as np
import pandas as pd
import pytest

from tfnorm.compare.statistics import paired_differences
from tfnorm.report import plot_axis, plot_confusion, plot_differences, plot_gap, plot_loss, plot_overlap

LABELS = np.arange(60) % 3
LOGITS = {label: [np.random.default_rng(len(label)).normal(size=(60, 3))] for label in ("gn:2", "a$b_1$")}
CURVE = pd.DataFrame({name: [0.5, 0.6] for name in ("accuracy", "val_accuracy", "data_loss", "val_data_loss")})
TABLE = pd.DataFrame(
    {"norm": ["gn:2", "a$b_1$"], "batch_size": [2, 4], "last_accuracy": [90.0, 91.0], "seeds": 1}
).assign(last_accuracy_low=np.nan, last_accuracy_high=np.nan)
PLOTS = {
    "loss": lambda path: plot_loss({"gn:2": [CURVE], "a$b_1$": [CURVE]}, path=path),
    "gap": lambda path: plot_gap({"gn:2": [CURVE], "a$b_1$": [CURVE]}, path=path),
    "confusion": lambda path: plot_confusion(LABELS, LOGITS, path=path),
    "overlap": lambda path: plot_overlap(LABELS, LOGITS, path=path),
    "differences": lambda path: plot_differences(paired_differences({"gn:2": {0: 1.0}, "a$b_1$": {0: 2.0}}), path=path),
    "axis": lambda path: plot_axis(TABLE, "batch_size", path=path),
}


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
@pytest.mark.parametrize("name", PLOTS)
def test_the_same_data_give_the_same_bytes(name, ending, tmp_path):
    first, second = tmp_path / f"1.{ending}", tmp_path / f"2.{ending}"
    PLOTS[name](first)
    PLOTS[name](second)
    assert first.read_bytes() == second.read_bytes()
    content = first.read_bytes()
    if ending == "svg":
        assert b"<text" in content and b"a$b_1$" in content and b"<dc:date>" not in content
    if ending == "pdf":
        assert b"/CIDFontType2" in content and b"/Type3" not in content and b"CreationDate" not in content
