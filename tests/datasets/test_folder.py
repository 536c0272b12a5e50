import numpy as np
import pytest
from PIL import Image

from tfnorm.datasets import load
from tfnorm.errors import DataError


def picture(path, color=0, size=(4, 3), mode="L"):
    """Write a picture of one colour; size is (width, height) as Pillow has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pets"
    for part in ("train", "test"):
        picture(root / part / "cat" / "1.png", 10)
        picture(root / part / "dog" / "1.png", 20)
    return root


def message(path, **kwargs):
    with pytest.raises(DataError) as caught:
        load(path, **kwargs)
    return str(caught.value)


def test_classes_and_files_are_sorted(folder):
    picture(folder / "train" / "ant" / "z.png", 30)
    picture(folder / "train" / "cat" / "0.PNG", 5)
    data = load(folder)
    assert data.name == "pets" and data.class_names == ("ant", "cat", "dog") and data.input_shape == (3, 4, 1)
    assert data.x_train[:, 0, 0, 0].tolist() == [30, 5, 10, 20] and data.y_train.tolist() == [0, 1, 1, 2]
    assert data.y_test.tolist() == [1, 2] and data.x_train.dtype == np.uint8


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "gif", "webp"])
def test_formats(folder, suffix):
    picture(folder / "train" / "cat" / f"2.{suffix}", 99)
    data = load(folder)
    assert len(data.x_train) == 3 and abs(int(data.x_train[1, 0, 0, 0]) - 99) <= 2


@pytest.mark.parametrize(("mode", "color"), [("RGB", (1, 2, 3)), ("RGBA", (1, 2, 3, 9))])
def test_one_colour_picture_makes_three_channels(folder, mode, color):
    picture(folder / "test" / "dog" / "2.png", color, mode=mode)
    data = load(folder)
    assert data.input_shape == (3, 4, 3) and data.x_train[0, 0, 0].tolist() == [10, 10, 10]
    assert data.x_test[2, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(("suffix", "mode", "channels"), [("png", "LA", 1), ("gif", "L", 1), ("gif", "RGB", 3)])
def test_stored_with_opacity_or_a_palette(folder, suffix, mode, channels):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    image = Image.fromarray(grey).convert("RGB" if mode == "RGB" else "L")
    if mode == "RGB":
        image.putpixel((0, 0), (200, 10, 10))
    image = image.convert("LA") if mode == "LA" else image.quantize(16)
    image.save(folder / "train" / "cat" / f"2.{suffix}")
    data = load(folder)
    assert data.input_shape == (3, 4, channels)
    np.testing.assert_allclose(data.x_train[1, ..., -1][1:], grey[1:], atol=2)


def test_a_photograph_is_turned_upright(folder):
    picture(folder / "train" / "cat" / "2.jpg")
    lying = np.zeros((8, 6), np.uint8)
    lying[:, 3:] = 240
    upright = Image.fromarray(np.rot90(lying))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to look at it
    upright.save(folder / "train" / "cat" / "2.jpg", exif=exif, quality=95)
    data = load(folder, image_size=(8, 6))
    np.testing.assert_allclose(data.x_train[1, ..., 0], lying, atol=12)


def test_black_and_white_is_grey(folder):
    picture(folder / "train" / "cat" / "2.png", 1, mode="1")
    data = load(folder)
    assert data.input_shape == (3, 4, 1) and data.x_train[1].max() == 255


def test_hidden_and_other_files_are_passed_over_and_links_followed(folder, tmp_path):
    (folder / "train" / ".git").mkdir()
    (folder / "train" / "README.txt").write_text("x")
    (folder / "train" / "cat" / ".hidden.png").write_text("x")
    (folder / "train" / "cat" / "notes.txt").write_text("x")
    elsewhere = picture(tmp_path / "elsewhere" / "a.png", 77)
    (folder / "train" / "cat" / "2.png").symlink_to(elsewhere)
    (folder / "train" / "emu").symlink_to(elsewhere.parent)
    data = load(folder)
    assert data.x_train[:, 0, 0, 0].tolist() == [10, 77, 20, 77] and data.class_names == ("cat", "dog", "emu")


def test_image_size_resizes_mixed_sizes(folder):
    picture(folder / "train" / "cat" / "2.png", 50, size=(9, 9))
    data = load(folder, image_size=(5, 6))
    assert data.input_shape == (5, 6, 1) and data.x_train[1].tolist() == [[[50]] * 6] * 5


def test_mixed_sizes(folder):
    first, other = folder / "train" / "cat" / "1.png", picture(folder / "test" / "dog" / "2.png", size=(9, 8))
    assert message(folder) == (
        f"All pictures must have one size. Received: {first} is 3x4 and {other} is 8x9 (height x width). "
        "Give a size to resize them to, for example image_size=32 (--image-size 32)."
    )


def test_unreadable_picture(folder):
    bad = folder / "train" / "cat" / "2.png"
    sentence = f"{bad} cannot be read as a picture: it is damaged or of another kind. Replace or remove it."
    bad.write_bytes(b"not a picture")
    assert message(folder) == sentence
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (3, 4), dtype=np.uint8)).save(bad)
    bad.write_bytes(bad.read_bytes()[:-25])
    assert message(folder) == sentence


def test_sixteen_bits(folder):
    bad = folder / "train" / "cat" / "2.png"
    Image.fromarray(np.full((3, 4), 40000, np.uint16)).save(bad)
    assert message(folder) == (
        f"{bad} must have 8 bits a channel. Received: mode 'I;16'. Convert it, choosing how its values map to 0..255."
    )


@pytest.mark.parametrize("part", ["train", "test"])
def test_missing_part(folder, part):
    (folder / part).rename(folder / "other")
    assert message(folder) == (
        f"{folder} must hold the pictures as train/CLASS/*.png and test/CLASS/*.png. "
        f"The folder {part}/ is missing. Create it."
    )


def test_no_classes(folder):
    (folder / "test").rename(folder / "other")
    (folder / "test").mkdir()
    picture(folder / "test" / "1.png")
    assert message(folder) == (
        f"{folder / 'test'} must hold one folder a class. Received none. "
        "Lay the pictures out as train/CLASS/*.png and test/CLASS/*.png."
    )


@pytest.mark.parametrize("part", ["train", "test"])
def test_empty_class(folder, part):
    (folder / part / "dog" / "1.png").rename(folder / part / "dog" / "1.tiff")
    assert message(folder) == (
        f"{folder / part / 'dog'} must hold at least one picture (.png, .jpg, .jpeg, .bmp, .gif, .webp). "
        "Received none. Add pictures or remove the class."
    )


def test_test_class_without_training_images(folder):
    picture(folder / "test" / "emu" / "1.png")
    assert message(folder) == (
        f"{folder / 'test'} must hold classes of {folder / 'train'} only. Received: 'emu', which has no training "
        "images. Remove it or add training images."
    )
