"""RandAugment, against Pillow where it has the operation."""

import numpy as np
import pytest
from augmented import blob, disc_angles, images, run
from backends import array, tensor

from tfnorm.datasets.augment.create import augmentation
from tfnorm.datasets.augment.rand_augment import (
    OPERATIONS,
    RandAugment,
    apply_operations,
    auto_contrast,
    equalize,
    smooth,
)


def operation(name, x, sign=1.0, magnitude=9):
    n = len(x)
    code = np.full(n, OPERATIONS.index(name), "int32")
    return array(apply_operations(*map(tensor, (x.astype("float32"), code, np.full(n, sign, "float32"))), magnitude))


def pillow(function, x):
    from PIL import Image

    return np.stack([np.asarray(function(Image.fromarray(i if i.shape[-1] == 3 else i[..., 0]))) for i in x])


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("name", "enhancer"),
    [("brightness", "Brightness"), ("color", "Color"), ("contrast", "Contrast"), ("sharpness", "Sharpness")],
)
def test_enhancements_are_pillows(name, enhancer, sign):
    from PIL import ImageEnhance

    x = images(4)
    expected = pillow(lambda image: getattr(ImageEnhance, enhancer)(image).enhance(1 + sign * 0.27), x)
    # Pillow rounds its blurred, grey and mean images to whole numbers first.
    assert np.abs(operation(name, x, sign) - expected).max() <= 1.6


def test_posterize_solarize_and_auto_contrast_are_pillows():
    from PIL import ImageOps

    x = images(4) // 2 + 30
    assert np.array_equal(operation("posterize", x), pillow(lambda i: ImageOps.posterize(i, 7), x))
    assert np.array_equal(operation("posterize", x, magnitude=30), pillow(lambda i: ImageOps.posterize(i, 4), x))
    assert np.array_equal(operation("solarize", x, magnitude=15), pillow(lambda i: ImageOps.solarize(i, 128), x))
    assert np.abs(operation("auto_contrast", x) - pillow(ImageOps.autocontrast, x)).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_equalize_is_pillows(channels):
    from PIL import ImageOps

    rng = np.random.default_rng(0)
    x = np.clip(rng.normal(90, 25, (6, 32, 32, channels)), 0, 255).astype("uint8")
    x[1, ..., 0] = 7  # one value
    x[2] = np.where(x[2] > 90, 200, 10)  # two values
    x[3, 0, 0] = 255
    expected = pillow(ImageOps.equalize, x).reshape(x.shape)
    assert np.array_equal(operation("equalize", x), expected)


def test_small_helpers():
    x = np.full((2, 5, 5, 1), 50, "float32")
    assert np.array_equal(array(auto_contrast(tensor(x))), x)
    assert np.array_equal(array(equalize(tensor(x))), x)
    x[0, 2, 2] = 63
    smoothed = array(smooth(tensor(x)))
    assert smoothed[0, 2, 2, 0] == pytest.approx(55) and smoothed[0, 1, 1, 0] == pytest.approx(51)
    assert np.array_equal(smoothed[1], x[1])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_geometric_operations_move_by_torchvisions_amounts(sign):
    angle, _, _, _ = disc_angles(operation("rotate", blob(1, 12), sign))
    assert angle[0] == pytest.approx(sign * 9, abs=0.05)
    for name, expected in (("translate_x", (150 / 331 * 0.3 * 41, 0)), ("translate_y", (0, 150 / 331 * 0.3 * 41))):
        _, _, across, down = disc_angles(operation(name, blob(1, 0), sign))
        assert (across[0], down[0]) == pytest.approx((sign * expected[0], sign * expected[1]), abs=0.02)
    _, _, across, down = disc_angles(operation("shear_x", blob(1, 0, 10), sign))
    assert (across[0], down[0]) == pytest.approx((sign * 0.9, 10), abs=0.05)
    _, _, across, down = disc_angles(operation("shear_y", blob(1, 10, 0), sign))
    assert (across[0], down[0]) == pytest.approx((10, sign * 0.9), abs=0.05)


def test_identity_changes_nothing_and_operations_do_not_mix():
    x = images(len(OPERATIONS))
    assert np.array_equal(operation("identity", x), x.astype("float32"))
    code = np.arange(len(OPERATIONS), dtype="int32")
    sign = np.ones(len(code), "float32")
    together = array(apply_operations(*map(tensor, (x.astype("float32"), code, sign)), 9))
    for index, name in enumerate(OPERATIONS):
        assert np.allclose(together[index], operation(name, x[index : index + 1])[0], atol=1e-4), name


def test_rand_augment_changes_its_share_of_the_images():
    x = np.repeat(images(1, 16), 3000, axis=0)
    changed = (run(augmentation("E", seed=0), x) != x).any((1, 2, 3))
    # An image keeps its pixels if both operations are the identity.
    assert changed.mean() == pytest.approx(0.25 * (1 - 1 / 14**2), abs=0.025)
    assert np.array_equal(run(RandAugment(probability=0, seed=0), x[:5]), x[:5].astype("float32"))
