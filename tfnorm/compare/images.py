"""The test images of a run, found again from what it says of its data."""

from __future__ import annotations

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
    from tfnorm.datasets.load import is_here, load

    asked, data = run.config["asked"], run.config["data"]
    height, width, _ = data["input_shape"]
    try:
        if not is_here(asked["dataset"], data_dir=data.get("data_dir")):
            return None, f"{asked['dataset']} is not on this machine."
        found = load(asked["dataset"], data_dir=data.get("data_dir"), image_size=(height, width))
        found = found.hold_out(asked["holdout"]) if asked.get("holdout") else found
    except (TfnormError, OSError) as error:
        return None, str(error)
    if found.fingerprint != data["fingerprint"]:
        return None, f"The data found as {asked['dataset']} are not those that the runs had."
    return found.x_test, ""
