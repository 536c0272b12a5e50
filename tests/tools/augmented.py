"""Images to augment, and how they have moved."""

import numpy as np
from keras import ops


def images(n=8, side=32, channels=3):
    return np.random.default_rng(0).integers(0, 256, (n, side, side, channels)).astype("uint8")


def run(layer, x, training=True):
    return ops.convert_to_numpy(layer(x, training=training))


def disc_angles(x):
    """Angle, degrees counter-clockwise from right, of the centre of mass of each image about the image's centre."""
    side = x.shape[1]
    axis = np.arange(side) - (side - 1) / 2
    mass = x[..., 0].sum((1, 2))
    across = (x[..., 0] * axis[None, None, :]).sum((1, 2)) / mass
    down = (x[..., 0] * axis[None, :, None]).sum((1, 2)) / mass
    return np.degrees(np.arctan2(-down, across)), np.hypot(across, down), across, down


def blob(n, dx, dy=0.0, side=41):
    """Return n images of a Gaussian blob at (dx to the right, dy down) of the centre."""
    axis = np.arange(side) - (side - 1) / 2
    one = 200 * np.exp(-((axis[None, :] - dx) ** 2 + (axis[:, None] - dy) ** 2) / 8)
    return np.repeat(one[None, ..., None], n, axis=0).astype("float32")
