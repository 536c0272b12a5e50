import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from facts import says
from PIL import Image

from tfnorm.datasets import DataWarning, load
from tfnorm.datasets.folder.pictures import coded_bits
from tfnorm.errors import DataError

# Pictures of one colour are all that most of these tests need.
pytestmark = pytest.mark.filterwarnings("ignore::tfnorm.datasets.DataWarning")


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


@pytest.mark.parametrize(
    "suffix",
    ["png", "jpg", "jpeg", "jfif", "bmp", "gif", "webp", "tif", "TIFF", "ppm", "tga", "jp2", "ico", "dib", "pcx"],
)
def test_formats(folder, suffix):
    size = (16, 16) if suffix == "ico" else (4, 3)
    picture(folder / "train" / "cat" / f"2.{suffix}", 99, size=size)
    data = load(folder, image_size=(3, 4))
    assert len(data.x_train) == 3 and abs(int(data.x_train[1, 0, 0, 0]) - 99) <= 2
    assert sum(data.reading.formats.values()) == 5 and not data.reading.left_out


@pytest.mark.parametrize(("mode", "color"), [("RGB", (1, 2, 3)), ("RGBA", (1, 2, 3, 255))])
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


def test_hidden_and_other_files_and_empty_folders_are_passed_over(folder):
    (folder / "train" / ".git").mkdir()
    (folder / "train" / "README.txt").write_text("x")
    (folder / "train" / "emu" / "inner").mkdir(parents=True)
    (folder / "train" / "emu" / "Thumbs.db").write_text("x")
    for name in (".hidden.png", "notes.txt", "Thumbs.db", "desktop.ini"):
        (folder / "train" / "cat" / name).write_text("x")
    (folder / "train" / "cat" / "nothing").mkdir()
    data = load(folder)
    assert data.x_train[:, 0, 0, 0].tolist() == [10, 20] and data.class_names == ("cat", "dog")
    assert data.reading.left_out == {"hidden": 4, ".txt": 1, "empty folders": 3}


def test_pictures_in_sub_folders_belong_to_the_class(folder):
    picture(folder / "train" / "cat" / "more" / "deep" / "1.png", 30)
    picture(folder / "test" / "dog" / "again" / "3.png", 40)
    data = load(folder)
    assert data.x_train[:, 0, 0, 0].tolist() == [10, 30, 20] and data.y_train.tolist() == [0, 0, 1]
    assert data.x_test[:, 0, 0, 0].tolist() == [10, 20, 40] and data.reading.left_out == {}


def test_image_size_resizes_mixed_sizes(folder):
    picture(folder / "train" / "cat" / "2.png", 50, size=(9, 9))
    data = load(folder, image_size=(5, 6))
    assert data.input_shape == (5, 6, 1) and data.x_train[1].tolist() == [[[50]] * 6] * 5


def test_mixed_sizes(folder):
    first, other = folder / "train" / "cat" / "1.png", picture(folder / "test" / "dog" / "2.png", size=(9, 8))
    says(message(folder), first, "3x4", other, "8x9", "image_size=32", "--image-size 32")


# What a picture shows: three transparent pixels on the left, three of its own colour on the right.
CLEAR = np.array([[0, 0, 0, 1, 1, 1]] * 2, bool)


def transparent(path, mode, how):
    """Write a picture whose shape is in its opacity alone: black, or a grey of 40, and clear on the left."""
    alpha = Image.fromarray(np.where(CLEAR, 255, 0).astype("uint8"))
    image = Image.new("RGB" if mode == "RGBA" else "L", (6, 2), 40)
    if how == "alpha":
        image.putalpha(alpha)
        image.save(path)
    elif how == "palette":  # one of its colours is clear
        image = Image.fromarray(np.where(CLEAR, 1, 0).astype("uint8"))
        image.putpalette([40, 40, 40, 40, 40, 40])
        image.save(path, transparency=0)
    else:  # one grey is clear
        Image.fromarray(np.where(CLEAR, 40, 7).astype("uint8")).convert(mode).save(path, transparency=how)


@pytest.mark.parametrize(
    ("suffix", "mode", "how"),
    [
        ("png", "RGBA", "alpha"),
        ("png", "LA", "alpha"),
        ("webp", "RGBA", "alpha"),
        ("tif", "RGBA", "alpha"),
        ("png", "P", "palette"),
        ("gif", "P", "palette"),
        ("png", "L", 7),
        ("png", "RGB", (7, 7, 7)),
    ],
)
def test_what_is_transparent_is_laid_on_white_and_said(tmp_path, suffix, mode, how):
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            (tmp_path / part / label).mkdir(parents=True)
            transparent(tmp_path / part / label / f"1.{suffix}", mode, how)
    with pytest.warns(DataWarning, match="transparent places.* white: 4 pictures"):
        data = load(tmp_path)
    shown = data.x_train[0, ..., 0]
    assert (shown[~CLEAR] == 255).all() and np.abs(shown[CLEAR].astype(int) - 40).max() <= 2


def test_opaque_alpha_changes_nothing_and_is_not_worth_a_word(folder):
    picture(folder / "train" / "cat" / "2.png", (1, 2, 3, 255), mode="RGBA")
    data = load(folder)
    assert data.x_train[1, 0, 0].tolist() == [1, 2, 3] and not any("white" in note for note in data.reading.notes)


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "tif"), ("CMYK", "jpg"), ("YCbCr", "tif")])
def test_other_colours_become_rgb(folder, mode, suffix):
    image = Image.new("RGB", (4, 3), (200, 40, 10)).convert(mode)
    image.save(folder / "train" / "cat" / f"2.{suffix}")
    assert np.abs(load(folder).x_train[1, 0, 0].astype(int) - [200, 40, 10]).max() <= 4


def test_colours_that_pillow_cannot_convert_are_no_damage(noise, monkeypatch):
    def convert(image, mode):
        raise ValueError("conversion from LAB to RGB not supported")  # that of some versions of Pillow

    monkeypatch.setattr(Image.Image, "convert", convert)
    text = message(noise, skip_damaged=True)
    assert "LAB" in text and "damaged" not in text


def test_of_several_frames_the_first_is_read_and_said(folder):
    frames = [Image.new("L", (4, 3), color) for color in (60, 200)]
    frames[0].save(folder / "train" / "cat" / "2.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "train" / "cat" / "3.tif", save_all=True, append_images=frames[1:])
    data = load(folder)
    assert data.x_train[1:3, 0, 0, 0].tolist() == [60, 60]
    assert any("first was read: 2 pictures" in note for note in data.reading.notes)


def test_what_is_left_out_is_counted_and_said(folder):
    cat = folder / "train" / "cat"
    for name in ("1.heic", "2.HEIC", "notes.txt", "README", ".hidden.png"):
        (cat / name).write_text("x")
    (cat / "gone.png").symlink_to(folder / "nowhere.png")
    picture(folder / "train" / "loose.png")
    picture(folder / "loose.png")
    picture(folder / "val" / "cat" / "1.png")
    with pytest.warns(DataWarning, match="^Left out: ") as caught:
        data = load(folder)
    expected = {
        ".heic": 2, ".txt": 1, "without extension": 1, "hidden": 1, "broken links": 1, "in train/ itself": 1,
        "in the folder itself": 1, "in val/": 1,
    }  # fmt: skip
    assert data.reading.left_out == expected and len(data.x_train) == 2
    said = next(str(each.message) for each in caught if "Left out" in str(each.message))
    assert all(f"{count} {place}" in said for place, count in expected.items())


def test_hidden_files_alone_are_counted_without_a_word(folder):
    (folder / "train" / "cat" / ".DS_Store").write_text("x")
    data = load(folder)
    assert data.reading.left_out == {"hidden": 1} and not any("Left out" in note for note in data.reading.notes)


def test_what_was_read_is_in_the_record(folder, monkeypatch):
    picture(folder / "train" / "cat" / "2.jpg", 30)
    monkeypatch.chdir(folder.parent)
    data = load("pets")
    record = data.describe()["reading"]
    assert record["path"] == str(folder) and record["formats"] == {"PNG": 4, "JPEG": 1}
    for fact in ("3 training and 2 test images", "4 PNG, 1 JPEG", "3x4 pixels", "1 channel", "2 classes", str(folder)):
        assert fact in data.reading.summary


def noisy(path, seed=0, size=(6, 5)):
    """Write a picture that cannot be mistaken for another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def noise(tmp_path):
    """Return a folder in which nothing is remarkable."""
    root = tmp_path / "noise"
    for seed, place in enumerate(["train/a", "train/b", "test/a", "test/b"]):
        noisy(root / place / "0.png", seed)
    return root


def test_what_is_sound_is_not_warned_of(noise):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(noise).reading.notes == ()


def test_pictures_of_one_colour_are_counted_and_one_is_named(noise):
    picture(noise / "train" / "b" / "1.png", (9, 8, 7), size=(5, 6), mode="RGB")
    with pytest.warns(DataWarning, match="of one colour.*1 of 5") as caught:
        load(noise)
    assert len(caught) == 1 and str(noise / "train" / "b" / "1.png") in str(caught[0].message)


@pytest.mark.parametrize(
    ("place", "facts"),
    [
        ("train/a/copy.png", ("earlier", "1 of 5")),
        ("test/a/copy.png", ("training images", "1")),
        ("train/b/copy.png", ("another class", "1")),
    ],
)
def test_pictures_that_are_there_twice_are_counted(noise, place, facts):
    noisy(noise / place, 0)
    with pytest.warns(DataWarning) as caught:
        load(noise)
    (warning,) = caught
    says(warning.message, *facts, "copy.png")


def damage(path, how):
    """Spoil a picture."""
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-25])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "foreign":
        path.write_bytes(b"not a picture")
    else:  # a checksum that does not match
        path.write_bytes(path.read_bytes()[:60] + b"xx" + path.read_bytes()[62:])


@pytest.mark.parametrize("how", ["cut", "empty", "foreign", "flipped"])
def test_a_damaged_picture_is_named_with_the_remedies(noise, how):
    bad = noisy(noise / "train" / "a" / "1.png", 7)
    damage(bad, how)
    text = message(noise)
    says(text, bad, "picture")
    assert ("empty" in text) == (how == "empty")
    says(text, "Replace or remove", "--skip-damaged", "skip_damaged=True")


def test_all_damaged_pictures_of_both_parts_are_named_at_once(noise):
    bad = [noisy(noise / place, 9) for place in ("train/a/1.png", "train/b/1.png", "test/b/1.png", "test/a/1.jpg")]
    for path, how in zip(bad, ["cut", "foreign", "empty", "cut"], strict=True):
        damage(path, how)
    text = message(noise)
    assert "4 of 8 pictures" in text and all(str(path) in text for path in bad)


def test_many_damaged_pictures_are_all_named(noise):
    bad = [noise / "train" / "a" / f"{number + 100}.png" for number in range(45)]
    for path in bad:
        path.write_bytes(b"x")
    text = message(noise)
    assert "45 of 49 pictures" in text and all(f"{path}: it is damaged" in text for path in bad)


def test_what_is_behind_a_sound_header_is_named_with_the_rest(noise):
    damage(noisy(noise / "train" / "a" / "1.png", 9), "foreign")
    damage(noisy(noise / "train" / "b" / "1.png", 8, size=(9, 9)), "cut")
    says(message(noise), "2 of 6 pictures", noise / "train/a/1.png", noise / "train/b/1.png")


@pytest.mark.parametrize("how", ["cut", "empty", "foreign"])
def test_damaged_pictures_are_skipped_when_asked_for(noise, how):
    for place in ("train/a/1.png", "test/b/00.png"):
        damage(noisy(noise / place, 9), how)
    noisy(noise / "train" / "a" / "2.png", 5)
    with pytest.warns(DataWarning, match="Skipped.*2 pictures"):
        data = load(noise, skip_damaged=True)
    for path in (noise / "train" / "a" / "1.png", noise / "test" / "b" / "00.png"):
        path.unlink()
    without = load(noise)
    assert data.fingerprint == without.fingerprint and without.reading.skipped == ()
    assert list(data.reading.skipped) == [os.path.join("train", "a", "1.png"), os.path.join("test", "b", "00.png")]
    assert data.describe()["reading"]["skipped"] == list(data.reading.skipped)


def test_a_class_of_which_nothing_is_left_is_refused(noise):
    damage(noise / "test" / "b" / "0.png", "cut")
    assert str(noise / "test" / "b") in message(noise, skip_damaged=True)


def test_a_too_large_picture_is_called_so(noise, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    Image.new("1", (500, 500)).save(noise / "train" / "a" / "scan.png")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        text = message(noise, image_size=5)
        assert "scan.png" in text and "too large" in text and "megapixels" in text and "damaged or" not in text
        Image.new("1", (400, 400)).save(noise / "train" / "a" / "scan.png")  # Pillow warns of it, but reads it
        assert len(load(noise, image_size=5).x_train) == 3
    assert not [each for each in caught if issubclass(each.category, Image.DecompressionBombWarning)]


def png16(kind, channels):
    """Return a PNG of 16 bits a channel; ``kind`` is its colour type."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    values = (np.arange(3 * 4 * channels).reshape(3, 4, channels) * 100).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 4, 3, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff16(apart):
    """Return a TIFF in colour of 16 bits a channel, its planes together or apart."""
    raw = (np.arange(36, dtype="<u2") * 1000).tobytes()
    end = 8 + 2 + 10 * 12 + 4
    places = [end + 6 + 24 + 24 * plane for plane in range(3)] if apart else []
    strips = [(273, 4, 3, end + 6), (279, 4, 3, end + 18)] if apart else [(273, 4, 1, end + 6), (279, 4, 1, len(raw))]
    entries = [(256, 3, 1, 4), (257, 3, 1, 3), (258, 3, 3, end), (259, 3, 1, 1), (262, 3, 1, 2), (277, 3, 1, 3)]
    entries += [(278, 3, 1, 3), (284, 3, 1, 2 if apart else 1), *strips]
    content = b"II*\0" + struct.pack("<IH", 8, 10) + b"".join(struct.pack("<HHII", *each) for each in sorted(entries))
    content += struct.pack("<I3H", 0, 16, 16, 16)
    return content + (struct.pack("<6I", *places, 24, 24, 24) if apart else b"") + raw


def jpeg2000(bits):
    """Return a JPEG 2000 that says it has so many bits a channel."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3)).save(buffer, "JPEG2000")
    content = bytearray(buffer.getvalue())
    content[content.find(b"\xff\x4f\xff\x51") + 42] = bits - 1
    return bytes(content)


DEEP = {
    "RGB.png": lambda: png16(2, 3),
    "LA.png": lambda: png16(4, 2),
    "RGBA.png": lambda: png16(6, 4),
    "together.tif": lambda: tiff16(False),
    "binary.ppm": lambda: b"P6 4 3 65535\n" + bytes(72),
    "plain.ppm": lambda: b"P3 4 3 1023\n" + b"1000 " * 36,
    "12.jp2": lambda: jpeg2000(12),
}
NO_SCALE = {
    "apart.tif": lambda: tiff16(True),
    "float.tif": lambda: _float_tiff(),
}


def _float_tiff():
    buffer = io.BytesIO()
    Image.fromarray(np.ones((3, 4), np.float32)).save(buffer, "TIFF")
    return buffer.getvalue()


@pytest.mark.parametrize("skip_damaged", [False, True])
@pytest.mark.parametrize("name", NO_SCALE)
def test_values_of_no_known_scale_are_refused(folder, name, skip_damaged):
    bad = folder / "test" / "cat" / name
    bad.write_bytes(NO_SCALE[name]())
    text = message(folder, skip_damaged=skip_damaged)
    says(text, bad, "8 or 16 bits", "0..255")
    (folder / "train" / "dog" / name).write_bytes(NO_SCALE[name]())
    says(message(folder), "1 other picture")


@pytest.mark.parametrize("name", DEEP)
def test_of_more_than_eight_bits_in_colour_the_upper_eight_are_read_and_that_is_said(folder, name):
    (folder / "train" / "cat" / "2.x").with_suffix(os.path.splitext(name)[1]).write_bytes(DEEP[name]())
    with pytest.warns(DataWarning, match="upper 8 were read: 1 picture.*highest value became"):
        data = load(folder)
    assert len(data.x_train) == 3
    if name == "RGB.png":  # 0, 100, 200, ... of 65535
        assert data.x_train[1, 0].ravel().tolist() == [value >> 8 for value in range(0, 1200, 100)]


GREY = np.array([[0, 255, 256, 40_000], [65_535, 1, 511, 512], [30_000, 50_000, 20_000, 10_000]], np.uint16)


@pytest.mark.parametrize("suffix", ["png", "tif", "jp2", "pgm", "plain.pgm"])
def test_of_sixteen_grey_bits_the_upper_eight_are_read(folder, suffix):
    file = folder / "train" / "cat" / f"2.{suffix}"
    if suffix == "pgm":
        file.write_bytes(b"P5 4 3 65535\n" + GREY.astype(">u2").tobytes())
    elif suffix == "plain.pgm":
        file.write_text("P2 4 3 65535\n" + " ".join(map(str, GREY.ravel())))
    else:
        Image.fromarray(GREY).save(file, **({"irreversible": False} if suffix == "jp2" else {}))
    with pytest.warns(DataWarning, match="1 picture. Their highest value became 255 of 255"):
        data = load(folder)
    assert data.input_shape == (3, 4, 1)
    np.testing.assert_array_equal(data.x_train[1, ..., 0], GREY >> 8)


def test_sixteen_bits_are_read_whatever_else_is_special_about_them(folder):
    cat = folder / "train" / "cat"
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(GREY).save(cat / "2.png", exif=exif)
    Image.fromarray(GREY).save(cat / "3.png", transparency=40_000)
    Image.fromarray(GREY).save(cat / "4.tif", tiffinfo={262: 0})  # white is 0
    assert Image.open(cat / "4.tif").tag_v2[262] == 0
    data = load(folder)
    high = GREY >> 8
    np.testing.assert_array_equal(data.x_train[1, ..., 0], high[::-1, ::-1])
    np.testing.assert_array_equal(data.x_train[2, ..., 0], np.where(GREY == 40_000, 255, high))
    np.testing.assert_array_equal(data.x_train[3, ..., 0], 255 - high)


@pytest.mark.parametrize("suffix", ["tif", "png", "jpg", "webp"])
def test_the_common_size_is_that_of_upright_pictures(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    for place in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / place).mkdir(parents=True)
        Image.new("RGB", (8, 4)).save(tmp_path / place / f"1.{suffix}", exif=exif)
    assert load(tmp_path).input_shape == (8, 4, 3)


@pytest.mark.parametrize(("flags", "bits"), [(0x0C, 8), (0x4C, 10), (0x6C, 10)])
def test_avif_says_whether_it_has_more_than_eight_bits(flags, bits):
    settings = bytes([0x81, 0, flags, 0])  # of a file that Pillow wrote, and with the bits of 10 and of 12
    assert coded_bits(b"ftypavif" + b"av1C" + settings) == bits and coded_bits(b"av1C") == 8


@pytest.mark.parametrize(
    ("name", "content"), [("8.jp2", lambda: jpeg2000(8)), ("255.ppm", lambda: b"P6 4 3 255\n" + bytes(36))]
)
def test_eight_bits_a_channel_are_read_in_those_formats_too(folder, name, content):
    (folder / "train" / "cat" / name).write_bytes(content())
    assert len(load(folder).x_train) == 3


def test_sixteen_bit_bmp_has_five_bits_a_channel(folder):
    header = struct.pack("<IiiHHIIiiII", 40, 4, 3, 1, 16, 0, 24, 2835, 2835, 0, 0)
    content = b"BM" + struct.pack("<IHHI", 14 + len(header) + 24, 0, 0, 14 + len(header)) + header + b"\xff\x7f" * 12
    (folder / "train" / "cat" / "2.bmp").write_bytes(content)
    assert load(folder).x_train[1].min() == 255


@pytest.mark.parametrize("part", ["train", "test"])
def test_missing_part(folder, part):
    (folder / part).rename(folder / "other")
    says(message(folder), folder, "train/CLASS/*.png", "test/CLASS/*.png", f"{part}/", "Create")


def test_no_classes(folder):
    (folder / "test").rename(folder / "other")
    (folder / "test").mkdir()
    picture(folder / "test" / "1.png")
    says(message(folder), folder / "test", "none", "train/CLASS/*.png", "test/CLASS/*.png")


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_without_a_picture_that_is_read(folder, part):
    dog = folder / part / "dog"
    (dog / "1.png").rename(dog / "1.heic")
    (dog / "2.heic").write_text("x")
    says(message(folder), dog, "2 .heic", "Add pictures", "remove the class")


def test_test_class_without_training_images(folder):
    picture(folder / "test" / "emu" / "1.png")
    says(message(folder), folder / "test", folder / "train", "'emu'", "Remove")


@pytest.mark.parametrize(
    ("renamed", "other", "facts"),
    [
        ("test", "val", ("val/", "rename", "test/")),
        ("test", "valid", ("valid/", "rename", "test/")),
        ("test", "Test", ("Test/", "rename", "test/")),
        ("train", "Train", ("Train/", "rename", "train/")),
        ("train", "training", ("training/", "rename", "train/")),
    ],
)
def test_a_part_of_another_name_is_recognized(folder, renamed, other, facts):
    (folder / renamed).rename(folder / f"{other}-")
    (folder / f"{other}-").rename(folder / other)
    if (folder / renamed).is_dir():
        pytest.skip("names differ in their capitals alone, which this file system does not tell apart")
    says(message(folder), *facts)


def test_a_folder_around_the_parts_is_recognized(folder):
    assert str(folder) in message(folder.parent)


def test_a_training_set_alone_is_told_how_to_get_a_test_set(folder):
    (folder / "test").rename(folder.parent / "elsewhere")
    text = message(folder)
    says(text, "test/", "each class", "train/CLASS/", "--test-share 0.2")
