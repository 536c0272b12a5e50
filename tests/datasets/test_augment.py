import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from augmented import blob, disc_angles, images, run
from backends import BACKEND
from facts import says
from keras import ops
from PIL import Image

from tfnorm.datasets.augment.create import AUGMENTATIONS, augmentation
from tfnorm.datasets.augment.geometry import transform_images
from tfnorm.datasets.augment.layers import (
    Augmentation,
    Cutout,
    RandomAffine,
    RandomFlip,
    RandomGray,
    RandomResizedCrop,
    RandomShift,
)
from tfnorm.datasets.augment.rand_augment import RandAugment
from tfnorm.errors import DataError

NAMES = [name for name in AUGMENTATIONS if name != "none"]


def test_registry():
    names = ["none", "shift", "nudge", "A", "B", "C", "D", "E", "flip_shift", "flip", "flip_nudge", "crop_flip"]
    assert list(AUGMENTATIONS) == names
    assert all(text and "\n" not in text for text in map(str, AUGMENTATIONS.values()))
    assert augmentation("none", seed=0) is None


def mostly(*others):
    """Return a parameter for every preset, ``others`` for the matrix: they are made of the steps of those that stay."""
    return [pytest.param(name, marks=pytest.mark.matrix if name in others else []) for name in NAMES]


class TestEveryPreset:
    @pytest.mark.parametrize(("side", "channels"), [(28, 1), (32, 3)])
    @pytest.mark.parametrize("dtype", ["uint8", "float32"])
    @pytest.mark.parametrize("name", NAMES)
    def test_shape_dtype_range_and_change(self, name, side, channels, dtype):
        x = images(64, side, channels).astype(dtype)
        y = run(augmentation(name, seed=0, mean=[100.5] * channels), x)
        assert y.shape == x.shape and y.dtype == np.float32
        assert y.min() >= 0 and y.max() <= 255 and np.isfinite(y).all()
        assert np.abs(y - x).max() > 20

    @pytest.mark.parametrize("name", NAMES)
    def test_identity_at_inference(self, name):
        x = images()
        assert np.array_equal(run(augmentation(name, seed=0), x, training=False), x.astype("float32"))

    @pytest.mark.parametrize("name", NAMES)
    def test_draws_follow_the_seed(self, name):
        x = images()

        def two_calls(seed):
            layer = augmentation(name, seed=seed)
            return np.stack([run(layer, x), run(layer, x)])

        first = two_calls(1)
        assert np.array_equal(first, two_calls(1))
        assert not np.array_equal(first, two_calls(2)) and not np.array_equal(first[0], first[1])

    @pytest.mark.parametrize("name", mostly("C", "flip", "flip_shift", "nudge"))
    def test_fits_in_a_model_of_unknown_batch_size(self, name):
        x, y = images(10), np.arange(10) % 3
        inputs = keras.Input((32, 32, 3), dtype="uint8")
        head = augmentation(name, seed=0, mean=[125.0, 123.0, 114.0])(inputs)
        assert head.shape == (None, 32, 32, 3) and head.dtype == "float32"
        net = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(head)))
        net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        before = [v.numpy() for v in net.non_trainable_variables]
        net.fit(x, y, batch_size=4, epochs=1, verbose=0)
        after = [v.numpy() for v in net.non_trainable_variables]
        assert any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
        assert net.count_params() == 3 * 3 + 3

    @pytest.mark.parametrize("name", mostly("B"))
    def test_random_state_is_saved_with_the_weights(self, name, tmp_path):
        x = images()

        def model():
            inputs = keras.Input((32, 32, 3))
            return keras.Model(inputs, augmentation(name, seed=5)(inputs))

        straight, resumed = model(), model()
        straight(x, training=True)
        straight.save_weights(tmp_path / "a.weights.h5")
        straight.save(tmp_path / "a.keras")
        expected = [ops.convert_to_numpy(straight(x, training=True)) for _ in range(2)]
        resumed.load_weights(tmp_path / "a.weights.h5")
        loaded = keras.models.load_model(tmp_path / "a.keras")
        for other in (resumed, loaded):
            got = [ops.convert_to_numpy(other(x, training=True)) for _ in range(2)]
            assert np.array_equal(got, expected)

    @pytest.mark.parametrize("name", NAMES)
    def test_config_round_trip(self, name):
        x = images()
        layer = augmentation(name, seed=3, mean=np.array([1.0, 2.0, 3.0]))
        config = keras.saving.serialize_keras_object(layer)
        copy = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
        assert keras.saving.serialize_keras_object(copy)["config"] == config["config"]
        assert np.array_equal(run(copy, x), run(layer, x))

    @pytest.mark.parametrize("name", NAMES)
    def test_pixels_keep_their_precision_under_a_mixed_policy(self, name):
        x = images()
        expected = run(augmentation(name, seed=0), x)
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            got = augmentation(name, seed=0)(x, training=True)
        finally:
            keras.config.set_dtype_policy(policy)
        assert keras.backend.standardize_dtype(got.dtype) == "float32"
        assert np.array_equal(ops.convert_to_numpy(got), expected)


def test_a_switch_turns_augmentation_off_while_a_model_trains():
    x = images()
    layer = augmentation("shift", seed=0, switch=True)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    call = keras.ops.convert_to_numpy
    assert not np.array_equal(call(model(x, training=True)), x)
    layer.turn(False)
    np.testing.assert_array_equal(call(model(x, training=True)), x)
    layer.turn(True)
    assert not np.array_equal(call(model(x, training=True)), x)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.on is not None and augmentation("shift", seed=0).on is None


# Affine


def test_rotation_turns_by_up_to_its_limit_both_ways():
    angles, radius, _, _ = disc_angles(run(RandomAffine(rotation=5, seed=0), blob(2000, 12)))
    assert np.abs(angles).max() <= 5.01 and angles.max() > 4.8 and angles.min() < -4.8
    assert np.abs(radius - 12).max() < 0.05
    assert angles.std() == pytest.approx(5 / np.sqrt(3), rel=0.05) and abs(angles.mean()) < 0.3


@pytest.mark.parametrize(("name", "limit"), [("D", 7), ("A", 5)])
def test_presets_turn_by_their_angle(name, limit):
    # On the horizontal axis a horizontal shear moves nothing.
    angles = disc_angles(run(augmentation(name, seed=0), blob(2000, 12)))[0]
    assert np.abs(angles).max() <= limit + 0.01 and np.abs(angles).max() > 0.95 * limit


def test_shear_moves_along_x_in_proportion_to_y():
    _, _, across, down = disc_angles(run(RandomAffine(shear=5, seed=0), blob(2000, 0, 12)))
    most = 12 * np.tan(np.radians(5))
    assert np.abs(across).max() <= most + 0.01 and across.max() > 0.95 * most and across.min() < -0.95 * most
    assert np.abs(down - 12).max() < 0.05


def test_zoom_scales_the_distance_from_the_centre():
    _, radius, _, _ = disc_angles(run(RandomAffine(zoom=0.08, seed=0), blob(2000, 10)))
    assert radius.min() > 9.15 and radius.max() < 10.85 and radius.min() < 9.3 and radius.max() > 10.7


def test_translation_is_a_fraction_of_the_side():
    _, _, across, down = disc_angles(run(RandomAffine(translation=0.1, seed=0), blob(2000, 0)))
    for moved in (across, down):
        assert np.abs(moved).max() <= 4.11 and np.abs(moved).max() > 3.9
    assert abs(np.corrcoef(across, down)[0, 1]) < 0.1


def test_affine_probability_leaves_the_others_untouched():
    x = np.repeat(images(1), 4000, axis=0)
    changed = (run(RandomAffine(rotation=15, probability=0.25, seed=0), x) != x).any((1, 2, 3))
    assert changed.mean() == pytest.approx(0.25, abs=0.025)
    assert np.array_equal(run(RandomAffine(rotation=15, probability=0, seed=0), x), x.astype("float32"))
    assert np.array_equal(run(RandomAffine(seed=0), x), x.astype("float32"))


def test_affine_fill():
    x = np.full((50, 9, 9, 1), 200, "uint8")
    assert run(RandomAffine(rotation=45, seed=0), x).min() == 0
    assert run(RandomAffine(rotation=45, fill_value=100, seed=0), x).min() == pytest.approx(100)
    for mode in ("nearest", "reflect", "wrap"):
        assert np.allclose(run(RandomAffine(rotation=45, fill_mode=mode, seed=0), x), 200, atol=1e-3)


# Flip, shift, cutout, to grey


def test_flip_share_and_exactness():
    x = np.repeat(images(1), 4000, axis=0)
    y = run(RandomFlip(probability=0.2, seed=0), x)
    flipped = (y == x[:, :, ::-1]).all((1, 2, 3))
    assert ((y == x).all((1, 2, 3)) ^ flipped).all() and flipped.mean() == pytest.approx(0.2, abs=0.025)


def shifted(image, dy, dx, mode, fill):
    height, width = image.shape[:2]
    widths = ((height, height), (width, width), (0, 0))
    if mode == "constant":
        padded = np.stack([np.pad(image[..., c], widths[:2], constant_values=f) for c, f in enumerate(fill)], axis=-1)
    else:
        padded = np.pad(image, widths, mode={"nearest": "edge", "reflect": "symmetric"}[mode])
    return padded[height + dy : 2 * height + dy, width + dx : 2 * width + dx]


@pytest.mark.parametrize("mode", ["constant", "nearest", "reflect"])
def test_shift_is_one_of_the_whole_pixel_shifts_each_as_likely(mode):
    n = 4000
    image = images(1, 8)[0].astype("float32")
    fill = [10.5, 20.5, 30.5]
    y = run(RandomShift(translation=0.25, fill_mode=mode, fill_value=fill, seed=0), np.repeat(image[None], n, axis=0))
    counts = {
        (dy, dx): int((y == shifted(image, dy, dx, mode, fill)).all((1, 2, 3)).sum())
        for dy in range(-2, 3)
        for dx in range(-2, 3)
    }
    assert sum(counts.values()) == n
    # Chi-squared with 24 degrees of freedom: 52 is beyond its 99.9th percentile.
    assert sum((count - n / 25) ** 2 / (n / 25) for count in counts.values()) < 52


def test_flip_shift_moves_by_up_to_four_pixels_of_32():
    layer = augmentation("flip_shift", seed=0, mean=[1.0, 2.0, 3.0])
    x = np.full((500, 32, 32, 3), 9, "uint8")
    y = run(layer, x)
    outside = y == np.array([1, 2, 3], "float32")
    assert (outside | (y == 9)).all()
    rows, columns = outside[..., 0].all(2).sum(1), outside[..., 0].all(1).sum(1)
    assert set(rows) == set(columns) == {0, 1, 2, 3, 4}


def test_flip_nudge_moves_by_up_to_two_pixels_of_32_and_mirrors_the_border():
    image = images(1, 32)[0].astype("float32")
    y = run(augmentation("flip_nudge", seed=0), np.repeat(image[None], 600, axis=0))
    ways = [(flip, dy, dx) for flip in (1, -1) for dy in range(-2, 3) for dx in range(-2, 3)]
    moved = [shifted(image[:, ::flip], dy, dx, "reflect", 0) for flip, dy, dx in ways]
    counts = [(y == there).all((1, 2, 3)).sum() for there in moved]
    assert sum(counts) == 600 and min(counts) > 0


def test_flip_mirrors_half_of_the_images():
    x = images(1000, 8)
    y = run(augmentation("flip", seed=0), x)
    same, mirrored = ((y == there).all((1, 2, 3)) for there in (x, x[:, :, ::-1]))
    assert (same ^ mirrored).all() and 420 < mirrored.sum() < 580


def test_cutout_fills_one_whole_square():
    x = images(3000, 20)
    y = run(Cutout(size=16, probability=0.5, fill_value=[0.25, 0.5, 0.75], seed=0), x)
    hole = (y == np.array([0.25, 0.5, 0.75], "float32")).all(-1)
    assert np.array_equal(y[~hole], x[~hole])
    cut = hole.any((1, 2))
    assert cut.mean() == pytest.approx(0.5, abs=0.03)
    assert (hole[cut].sum((1, 2)) == 256).all()
    assert (hole.any(2)[cut].sum(1) == 16).all() and (hole.any(1)[cut].sum(1) == 16).all()
    tops, lefts = hole.any(2)[cut].argmax(1), hole.any(1)[cut].argmax(1)
    places = np.bincount(tops * 5 + lefts, minlength=25)
    assert len(places) == 25 and places.min() > 0.5 * cut.sum() / 25


@pytest.mark.parametrize("name", ["B", "C"])
def test_cutout_presets_fill_with_the_mean_or_mid_grey(name):
    x = np.zeros((400, 32, 32, 1), "uint8")
    for mean, value in ((33.3, 33.3), (None, 127.5), ([40.0], 40.0)):
        y = run(augmentation(name, seed=0, mean=mean), x)
        hole = np.isclose(y, value)
        assert (hole | (y == 0)).all()
        assert set(hole.sum((1, 2, 3))) == {0, 256}


def test_gray_share_and_value():
    x = images(4000, 4)
    y = run(RandomGray(probability=0.15, seed=0), x)
    changed = (y != x).any((1, 2, 3))
    assert changed.mean() == pytest.approx(0.15, abs=0.02)
    expected = (x[changed] @ np.array([0.2989, 0.587, 0.114]))[..., None]
    assert np.allclose(y[changed], expected, atol=1e-3) and np.array_equal(y[~changed], x[~changed])


def test_gray_leaves_one_channel_alone():
    x = images(50, 4, 1)
    assert np.array_equal(run(RandomGray(probability=1, seed=0), x), x.astype("float32"))


# Crops


def rectangles(n, shape, **settings):
    """Return top, left, height and width that were drawn for n images (height, width), as integers."""
    layer = RandomResizedCrop(seed=0, **settings)
    return np.stack([ops.convert_to_numpy(each) for each in layer._rectangles(n, *shape)]).astype(int)


@pytest.mark.parametrize("shape", [(64, 64), (40, 96)])
def test_crops_have_the_areas_the_ratios_and_the_places_that_are_allowed(shape):
    height, width = shape
    top, left, tall, wide = rectangles(4000, shape)
    assert min(top.min(), left.min()) == 0 and (top + tall).max() == height and (left + wide).max() == width
    area, ratio = tall * wide / (height * width), wide / tall
    assert 0.07 < area.min() < 0.1 and 0.9 < area.max() / (1 if height == width else 40 * 54 / (40 * 96)) <= 1
    # The sides are whole pixels.
    assert 0.65 < ratio.min() < 0.78 and 1.28 < ratio.max() < 1.5
    if height == width:
        # Half of the areas below the middle, but for those that did not fit and were drawn again.
        assert 0.48 < (area < 0.54).mean() < 0.62 and abs(np.log(ratio).mean()) < 0.01
    free = (height - tall) > 8
    assert (top / np.maximum(height - tall, 1))[free].mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("shape", "expected"),
    # Neither the whole area nor anything near it has an allowed ratio: the largest that has, in the middle.
    [((10, 100), (0, 43, 10, 13)), ((100, 10), (43, 0, 13, 10)), ((50, 60), (0, 0, 50, 60))],
)
def test_where_no_draw_fits_the_largest_allowed_part_of_the_middle_is_taken(shape, expected):
    found = rectangles(50, shape, area=(0.999, 1.0), ratio=(3 / 4, 4 / 3))
    assert {tuple(each) for each in found.T} >= {expected}
    assert shape == (50, 60) or {tuple(each) for each in found.T} == {expected}


@pytest.mark.parametrize(("side", "size"), [(40, None), (72, (33, 47))])
def test_crops_are_resized_as_pillow_does_it(side, size):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (12, side, side, 1)).astype("float32")
    y = run(RandomResizedCrop(size=size, seed=3), x)
    layer = RandomResizedCrop(size=size, seed=3)
    top, left, tall, wide = (ops.convert_to_numpy(each) for each in layer._rectangles(12, side, side))
    new = size or (side, side)
    assert y.shape == (12, *new, 1)
    for index in range(12):
        box = left[index], top[index], left[index] + wide[index], top[index] + tall[index]
        part = Image.fromarray(x[index, ..., 0]).crop(tuple(map(int, box)))
        expected = part.resize(new[::-1], Image.Resampling.BILINEAR)
        np.testing.assert_allclose(y[index, ..., 0], np.asarray(expected), atol=0.02)


def test_a_crop_of_larger_images_takes_their_middle_at_inference():
    x = images(6, 24)
    layer = augmentation("crop_flip", seed=0, size=(16, 20))
    assert run(layer, x).shape == (6, 16, 20, 3)
    np.testing.assert_array_equal(run(layer, x, training=False), x[:, 4:20, 2:22].astype("float32"))
    inside = keras.Input((None, None, 3))
    assert layer(inside).shape == (None, 16, 20, 3)
    switched = augmentation("crop_flip", seed=0, size=(16, 20), switch=True)
    assert not np.array_equal(run(switched, x), x[:, 4:20, 2:22])
    switched.turn(False)
    np.testing.assert_array_equal(run(switched, x), x[:, 4:20, 2:22].astype("float32"))


def test_arguments_of_crops():
    says(message(RandomResizedCrop, area=(0, 1), seed=0), "`area`", "(0.0, 1.0)")
    says(message(RandomResizedCrop, ratio=(2, 1), seed=0), "`ratio`", "(2.0, 1.0)")
    says(message(RandomResizedCrop, size=(0, 4), seed=0), "`size`", "at least 1")
    says(message(augmentation("crop_flip", seed=0, size=(48, 48)), images()), "32x32", "(48, 48)", "resize")
    assert [name for name, preset in AUGMENTATIONS.items() if preset.crops] == ["crop_flip"]


@pytest.mark.parametrize("shape", [(17, 40, 1), (96, 80, 3), (33, 25, 4)])
@pytest.mark.parametrize("name", NAMES)
def test_every_preset_runs_on_any_size(name, shape):
    x = np.random.default_rng(0).integers(0, 256, (5, *shape)).astype("uint8")
    y = run(augmentation(name, seed=0), x)
    assert y.shape == x.shape and 0 <= y.min() and y.max() <= 255


# Errors


def message(function, *args, **kwargs):
    with pytest.raises(DataError) as caught:
        function(*args, **kwargs)
    return str(caught.value)


def test_bad_arguments():
    says(
        message(augmentation, "Z", seed=0),
        "'Z'",
        "none, shift, nudge, A, B, C, D, E, flip_shift, flip, flip_nudge, crop_flip",
    )
    says(
        message(augmentation, "flipshift", seed=0),
        "'flipshift'",
        "'flip_shift'",
        "none, shift, nudge, A, B, C, D, E, flip_shift, flip, flip_nudge, crop_flip",
    )
    for seed in (-1, 1.5, None, True):
        says(message(augmentation, "A", seed=seed), "at least 0", f"seed={seed!r}")
    for mean in (-1.0, 300, "x", [[1.0]], [], float("nan")):
        says(message(augmentation, "B", seed=0, mean=mean), "0..255", f"mean={mean!r}", "Pass")
    says(message(RandomAffine, rotation=-1, seed=0), "0..180", "rotation=-1")
    says(message(Cutout, size=0, seed=0), "at least 1", "size=0")
    says(message(RandAugment, operations=0, seed=0), "at least 1", "operations=0")
    says(message(RandomShift, fill_mode="mirror", seed=0), "'mirror'", "constant, nearest, reflect")


def test_what_does_not_fit_the_images_is_refused_when_built():
    says(message(augmentation("B", seed=0), images(1, 8, 1)), "size=16", "8x8", "image_size", "'shift'")
    says(message(augmentation("C", seed=0, mean=[1.0, 2.0, 3.0]), images(1, 28, 1)), "3 values", "1 channels", "mean")
    says(
        message(augmentation("A", seed=0), np.zeros((4, 28, 28))),
        "(batch, height, width, channels)",
        "(4, 28, 28)",
        "missing axes",
    )
    assert isinstance(augmentation("A", seed=0), Augmentation)


@pytest.mark.matrix  # TestEveryPreset loads what it saves, in its own process
def test_saved_models_load_in_a_fresh_process(tmp_path):
    for name in NAMES:
        inputs = keras.Input((32, 32, 3))
        keras.Model(inputs, augmentation(name, seed=5)(inputs)).save(tmp_path / f"{name}.keras")
    code = (
        "import sys, pathlib, keras, tfnorm.datasets.augment.layers\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    print(path.stem, keras.models.load_model(path).layers[-1].name)"
    )
    result = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert result.stdout.split("\n")[:-1] == [f"{name} augmentation_{name}" for name in sorted(NAMES)], result.stderr


@pytest.mark.skipif(BACKEND != "torch", reason="only PyTorch resamples images in a way of ours")
@pytest.mark.parametrize("fill_mode", ["constant", "nearest", "reflect", "wrap"])
def test_images_are_resampled_as_keras_does(fill_mode, seeded, monkeypatch):
    x = seeded.uniform(0, 255, (8, 13, 17, 3)).astype("float32")
    turns = [ops.convert_to_tensor(seeded.normal(mean, 0.3, 8), "float32") for mean in (1, 0, 0, 1)]
    shifts = [ops.convert_to_tensor(seeded.normal(0, 9, 8), "float32") for _ in range(2)]
    found = {}
    for backend in ("torch", "tensorflow"):  # our way and Keras's
        monkeypatch.setattr(keras.backend, "backend", lambda backend=backend: backend)
        found[backend] = ops.convert_to_numpy(
            transform_images(ops.convert_to_tensor(x), tuple(turns), *shifts, fill_mode, 7.0)
        )
    assert np.abs(found["torch"] - x).mean() > 20
    np.testing.assert_allclose(found["torch"], found["tensorflow"], atol=0.02)
