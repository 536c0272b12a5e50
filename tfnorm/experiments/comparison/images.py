"""The test images of a run, found again from what it says of its data."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from tfnorm.errors import TfnormError

if TYPE_CHECKING:
    import numpy as np

    from tfnorm.training.runs import Run


def test_images(run: Run) -> tuple[np.ndarray | None, str]:
    """Return the images that a run was tested on, uint8 (images, height, width, channels), or why there are none.

    Nothing is downloaded.

    Args:
        run: A run; its configuration says where the data were.

    Returns:
        The images and "", or None and a sentence.
    """
    from tfnorm.datasets import DataWarning
    from tfnorm.datasets.sources import is_here, load

    asked, data = run.config["asked"], run.config["data"]
    height, width, _ = data["input_shape"]
    why = []
    # The name may be a path seen from another folder than this one.
    for source in filter(None, dict.fromkeys([asked["dataset"], data.get("reading", {}).get("path")])):
        try:
            if not is_here(source, data_dir=data.get("data_dir")):
                why.append(f"{source} is not on this machine.")
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)
                found = load(
                    source,
                    data_dir=data.get("data_dir"),
                    image_size=(height, width),
                    skip_damaged=asked.get("skip_damaged", False),
                )
            found = found.hold_out(asked["holdout"]) if asked.get("holdout") else found
        except (TfnormError, OSError) as error:
            why.append(str(error))
            continue
        if found.fingerprint == data["fingerprint"]:
            return found.x_test, ""
        why.append(f"The data found as {source} are not those that the runs had.")
    return None, why[0]
