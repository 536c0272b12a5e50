"""Folders with one folder a class: which pictures are to test on, which belong together, which links are followed."""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from facts import says
from PIL import Image, ImageOps

from tfnorm.datasets import DataWarning, load
from tfnorm.datasets.folder.groups import with_groups
from tfnorm.datasets.folder.listing import list_folder
from tfnorm.datasets.splits import split_off
from tfnorm.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::tfnorm.datasets.DataWarning")


def noisy(path, seed, size=(6, 5), **save):
    """Write a picture that cannot be mistaken for another; size is (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path, **save)
    return path


def write(root, **classes):
    """Write so many pictures of each class."""
    seed = 0
    for label, count in classes.items():
        for number in range(count):
            noisy(root / label / f"{number:03}.png", seed)
            seed += 1
    return root


@pytest.fixture
def photos(tmp_path):
    return write(tmp_path / "photos", cat=20, dog=10)


def refused(function, *args, **kwargs):
    with pytest.raises(DataError) as caught:
        function(*args, **kwargs)
    return str(caught.value)


def sides(listing):
    return [{listing.names[row] for row in listing.part(part)} for part in ("train", "test")]


def csv(path, groups, header="file,group"):
    path.write_text("\n".join([header, *(f"{name},{group}" for name, group in groups.items())]))
    return path


# Division


@pytest.mark.parametrize(("given", "share"), [({}, 0.2), ({"test_share": 0.3}, 0.3)])
def test_each_class_gives_its_share_always_the_same(photos, given, share):
    data = load(photos, **given)
    assert data.class_names == ("cat", "dog") and data.name == "photos"
    assert np.bincount(data.y_test).tolist() == [20 * share, 10 * share]
    assert len(data.x_train) + len(data.x_test) == 30
    pixels = {image.tobytes() for image in (*data.x_train, *data.x_test)}
    assert len(pixels) == 30 and load(photos, **given).fingerprint == data.fingerprint
    record = json.loads(json.dumps(data.describe()))["reading"]["division"]
    assert record == {"test_share": share, "seed": 0, "train": len(data.x_train), "test": len(data.x_test)}
    says(data.reading.summary, f"test_share={share:g}")


def test_the_division_of_this_version_is_that_of_every_other(photos):
    test = sides(list_folder(photos).divided(0.2))[1]
    assert {name for name in test if name.startswith("dog")} == {"dog/006.png", "dog/007.png"}


def test_train_and_test_are_not_divided(tmp_path):
    write(tmp_path / "a" / "train", cat=4, dog=4)
    text = refused(load, tmp_path / "a")
    says(text, "test/", "test_share=0.2", "--test-share 0.2")
    assert len(load(tmp_path / "a", test_share=0.25).x_test) == 2
    write(tmp_path / "a" / "test", cat=1, dog=1)
    says(refused(load, tmp_path / "a", test_share=0.25), "test/", "test_share=0.25", "Leave it out")
    assert "division" not in load(tmp_path / "a").describe()["reading"]


def test_a_class_with_one_picture(photos):
    write(photos, emu=1)
    says(refused(load, photos), photos, "test_share=0.2", "'emu' has", "only one", "Add images", "remove the class")
    write(photos, ant=1)
    says(refused(load, photos), "'ant' and 'emu' have")


@pytest.mark.parametrize(("share", "word"), [(0.03, "None"), (0.97, "All")])
def test_a_share_that_leaves_a_class_nothing_on_one_side(photos, share, word):
    says(refused(load, photos, test_share=share), f"test_share={share}", word, "'dog'", "10 images", "0.1 to 0.9")


def test_a_share_that_is_none(photos):
    for share in (0, 1, -0.5, True, "0.2"):
        says(refused(load, photos, test_share=share), "`test_share`", "above 0 and below 1", f"{share!r}")


@pytest.mark.parametrize("setting", [{"test_share": 0.2}, {"fit": "crop"}, {"follow_links": True}])
def test_settings_of_folders_are_refused_elsewhere(setting, tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.zeros((2, 2, 2)))
    for name in ("digits", tmp_path / "a.npz"):
        says(refused(load, name, **setting), f"`{next(iter(setting))}`", "folder of pictures", "Leave it out")


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (lambda root: root.rename(root.parent / "cat").rename(root), ()),
        (lambda root: (root / "cat").rename(root / "Training"), ("Training/", "rename", "train/")),
        (lambda root: write(root / "cat" / "train", x=1), ("train/ or test/ in", "photos/cat", "Give that folder")),
        (lambda root: root.rename(root.parent / "a") and (root.parent / "a"), ()),
    ],
)
def test_folders_that_are_hardly_classes(photos, change, facts):
    change(photos)
    root = photos if photos.exists() else photos.parent / "a"
    if facts:
        says(refused(load, root), root, "one folder a class", *facts)
    else:
        assert len(load(root).x_train) == 24


def test_one_folder_around_the_classes(photos):
    says(refused(load, photos.parent), "photos/ alone", "cat/ and more", f"give {photos}")


def test_classes_may_be_called_valid_and_test_set(tmp_path):
    write(tmp_path / "seals", valid=5, invalid=5, eval=5)
    assert load(tmp_path / "seals").class_names == ("eval", "invalid", "valid")


def test_damaged_pictures_are_skipped_before_the_division(photos):
    bad = [photos / "cat/003.png", photos / "dog/zzz.png"]
    (photos / "dog/zzz.png").write_bytes(b"")
    bad[0].write_bytes(bad[0].read_bytes()[:-25])
    says(refused(load, photos), "2 of 31", *bad)
    data = load(photos, skip_damaged=True)
    for path in bad:
        path.unlink()
    assert load(photos).fingerprint == data.fingerprint
    assert data.describe()["reading"]["skipped"] == ["cat/003.png", "dog/zzz.png"]


def test_a_listing_opens_no_picture_and_its_fingerprint_follows_names_sizes_and_sides(photos):
    for file in photos.rglob("*.png"):
        file.write_bytes(b"x" * 10)
    prints = [list_folder(photos).fingerprint, list_folder(photos).divided(0.2).fingerprint]
    prints.append(list_folder(photos).divided(0.3).fingerprint)
    (photos / "cat/000.png").write_bytes(b"x" * 11)
    prints.append(list_folder(photos).fingerprint)
    (photos / "cat/000.png").rename(photos / "cat/0.png")
    prints.append(list_folder(photos).fingerprint)
    (photos / "dog").rename(photos / "emu")
    prints.append(list_folder(photos).fingerprint)
    assert len(set(prints)) == len(prints) and prints[-1] == list_folder(photos).fingerprint


# Groups


def of_patients(listing, size=3):
    """Return groups of neighbouring pictures; each class has its own."""
    return {name: f"{name[:3]}-{int(name[4:7]) // size}" for name in listing.names}


def test_groups_stay_on_one_side(photos, tmp_path):
    listing = list_folder(photos)
    groups = of_patients(listing)
    file = csv(tmp_path / "g.csv", groups)
    train, test = sides(with_groups(listing, file).divided(0.2))
    assert not {groups[name] for name in train} & {groups[name] for name in test}
    assert 3 <= sum(name.startswith("cat") for name in test) <= 5
    assert 1 <= sum(name.startswith("dog") for name in test) <= 3
    data = load(photos, groups=file)
    assert len(data.x_test) == len(test) and data.fingerprint == load(photos, groups=file).fingerprint
    record = data.describe()["reading"]["division"]
    assert record["groups"] == str(file) and record["number_of_groups"] == 11 and record["test_share"] == 0.2


def test_images_that_are_held_out_keep_groups_whole_too(photos, tmp_path):
    file = csv(tmp_path / "g.csv", of_patients(list_folder(photos), 2))
    data = load(photos, groups=file)
    held = data.hold_out(0.25)
    group_of = {image.tobytes(): group for image, group in zip(data.x_train, data.groups, strict=True)}
    train, test = ({group_of[image.tobytes()] for image in images} for images in (held.x_train, held.x_test))
    assert train and test and not train & test and set(held.groups) == train


def test_groups_of_one_picture_divide_as_well_as_none(photos, tmp_path):
    listing = list_folder(photos)
    divided = with_groups(listing, csv(tmp_path / "g.csv", {name: name for name in listing.names})).divided(0.2)
    assert np.bincount(divided.labels[divided.part("test")]).tolist() == [4, 2]


@pytest.mark.parametrize("seed", range(20))
def test_whole_groups_are_held_out_whatever_their_sizes(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 300)
    groups = [f"g{number}" for number in rng.integers(0, rng.integers(6, 40), 300)]
    kept, held = split_off(labels, 0.2, ("a", "b", "c"), groups)
    assert sorted([*kept, *held]) == list(range(300))
    assert not {groups[row] for row in kept} & {groups[row] for row in held}
    assert set(labels[kept]) == set(labels[held]) == {0, 1, 2} and 0.1 < len(held) / 300 < 0.35


def test_large_groups_still_leave_each_class_something_to_test_on():
    labels = np.repeat([0, 1], [100, 100])
    groups = [*["a"] * 50, *["b"] * 50, *map(str, range(100))]
    kept, held = split_off(labels, 0.2, ("cat", "dog"), groups)
    assert np.bincount(labels[held]).tolist() == [50, 20]


def test_a_class_in_one_group_cannot_be_divided(photos, tmp_path):
    groups = {name: "p7" if name.startswith("dog") else name for name in list_folder(photos).names}
    text = refused(load, photos, groups=csv(tmp_path / "g.csv", groups))
    says(text, "'dog'", "one group", "'p7'", "remove the class")
    entangled = {name: "p7" if name[4:] < "001" else "p8" for name in list_folder(photos).names}
    entangled["dog/001.png"] = "p9"
    assert load(photos, groups=csv(tmp_path / "g.csv", entangled)) is not None
    # Two of three groups would be needed, and each two have all of a class.
    with pytest.raises(ValueError, match="'(cat|dog|emu)'.*without dividing a group"):
        split_off(np.array([0, 1, 1, 2, 2, 0]), 0.3, ("cat", "dog", "emu"), list("aabbcc"))


def test_a_group_that_spans_classes_is_kept_together_and_said(photos, tmp_path):
    groups = {name: name[4:] for name in list_folder(photos).names}
    with pytest.warns(DataWarning, match="several classes: 10 of 20, such as '000.png' in 'cat' and 'dog'"):
        data = load(photos, groups=csv(tmp_path / "g.csv", groups))
    assert set(data.y_test) == {0, 1}


def test_a_group_on_both_sides_of_given_parts_is_refused(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / "a" / part, cat=3, dog=3)
    listing = list_folder(tmp_path / "a")
    own = {name: name for name in listing.names}
    assert load(tmp_path / "a", groups=csv(tmp_path / "g.csv", own)).groups is not None
    shared = own | {"train/cat/000.png": "p7", "test/dog/001.png": "p7"}
    text = refused(load, tmp_path / "a", groups=csv(tmp_path / "g.csv", shared))
    says(text, "train/ or in test/", "1", "'p7'")


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        ("", ("file and group", "empty file", "file,group")),
        ("picture,group\ncat/000.png,1", ("'picture'", "without 'file'")),
        ("file;group\ncat/000.png;1", ("'file;group'", "file,group")),
        ("file,group\ncat/000.png,\n", ("line 2", "'cat/000.png'", "group ''")),
        ("file,group\ncat/000.png,1\ncat/000.png,2\n", ("'cat/000.png'", "'1' and '2'")),
        ("file,group\ncat/000.png,1\n", ("lacks 29 of 30", "'cat/001.png'")),
        ("file,group\nphotos/cat/000.png,1\n", ("lacks 30 of 30", "It names 'photos/cat/000.png'")),
    ],
)
def test_a_file_of_groups_that_says_something_else(photos, tmp_path, content, facts):
    file = tmp_path / "g.csv"
    file.write_text(content)
    says(refused(load, photos, groups=file), file, *facts)


def test_files_of_groups_may_be_written_in_several_ways(photos, tmp_path):
    names = list_folder(photos).names
    ways = {names[0]: f"./{names[0]}", names[1]: str(photos / names[1]), names[2]: names[2].replace("/", "\\")}
    file = tmp_path / "g.csv"
    lines = [f"1,{ways.get(name, name)},p{number % 5}" for number, name in enumerate(names)]
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(["age,file,group", *lines]).encode())
    assert set(with_groups(list_folder(photos), file).groups) == {f"p{number}" for number in range(5)}
    says(refused(load, photos, groups=tmp_path / "none.csv"), tmp_path / "none.csv", "CSV file", "Correct the path")


# Duplicates


def test_pictures_on_both_sides_are_counted_and_named(tmp_path):
    write(tmp_path / "train", cat=3, dog=3)
    for part, label, name, seed in (("test", "cat", "a", 0), ("test", "dog", "b", 4), ("test", "dog", "c", 99)):
        noisy(tmp_path / part / label / f"{name}.png", seed)
    with pytest.warns(DataWarning, match="training images too: 2 .*a.png, .*b.png"):
        data = load(tmp_path)
    found = data.describe()["reading"]["on_both_sides"]
    assert [Path(name).name for name in found] == ["a.png", "b.png"]


# Links


def test_links_out_of_the_folder_are_followed_when_told(photos, tmp_path):
    outside = noisy(tmp_path / "elsewhere" / "x.png", 77)
    (photos / "cat" / "x.png").symlink_to(outside)
    (photos / "emu").symlink_to(write(tmp_path / "more", emu=5) / "emu")
    (photos / "cat" / "inner.png").symlink_to(photos / "dog" / "000.png")
    (photos / "cat" / "circle").symlink_to(photos / "cat")
    with pytest.warns(DataWarning, match="2 links out of the folder.*--follow-links"):
        data = load(photos)
    assert data.class_names == ("cat", "dog") and len(data.x_train) + len(data.x_test) == 31
    assert data.reading.left_out == {"links out of the folder": 2, "links in a circle": 1}
    followed = load(photos, follow_links=True)
    assert followed.class_names == ("cat", "dog", "emu") and len(followed.x_train) + len(followed.x_test) == 37
    alone = tmp_path / "alone"
    for label in ("cat", "dog"):
        (alone / label).mkdir(parents=True)
        for number in range(5):
            (alone / label / f"{number}.png").symlink_to(photos / label / f"{number:03}.png")
    says(refused(load, alone), alone / "cat", "5 links out of the folder", "--follow-links")
    assert len(load(alone, follow_links=True).x_test) == 2


def test_parts_that_are_links_out_of_the_folder(photos, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "train").symlink_to(photos)
    (root / "test").symlink_to(photos)
    says(refused(load, root), "train/ is a link out of it", "--follow-links")
    assert len(load(root, follow_links=True).x_test) == 30
    (tmp_path / "other").symlink_to(photos)
    assert len(load(tmp_path / "other").x_train) == 24, "the folder itself may be a link"


# Sizes


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (7, 9)])
def test_fits(tmp_path, shape):
    for place in ("a/1", "a/2", "b/1", "b/2"):
        noisy(tmp_path / f"{place}.png", hash(place) % 100, size=shape)
    image = Image.open(tmp_path / "a/1.png")
    expected = {
        "resize": image.resize((24, 16), Image.Resampling.BILINEAR),
        "crop": ImageOps.fit(image, (24, 16), Image.Resampling.BILINEAR),
        "pad": ImageOps.pad(image, (24, 16), Image.Resampling.BILINEAR),
    }
    for fit, picture in expected.items():
        data = load(tmp_path, image_size=(16, 24), fit=fit, test_share=0.5)
        found = {each.tobytes() for each in (*data.x_train, *data.x_test)}
        assert data.input_shape == (16, 24, 3) and np.asarray(picture).tobytes() in found, fit
    says(refused(load, tmp_path, image_size=8, fit="fill"), "'fill'", "resize, crop, pad")


def test_resize_is_the_size_of_training_images_alone(photos):
    data, plain = load(photos, image_size=4, resize=8), load(photos, image_size=8)
    assert data.x_train.shape[1:] == (8, 8, 3) and data.x_test.shape[1:] == data.input_shape == (4, 4, 3)
    np.testing.assert_array_equal(data.x_train, plain.x_train)
    np.testing.assert_array_equal(data.x_test, plain.x_test[:, 2:6, 2:6])
    assert data.describe()["train_size"] == [8, 8] and "train_size" not in plain.describe()
    says(data.reading.summary, "4x4 pixels", "Training images have 8x8 pixels")
    held = data.hold_out(0.25)
    assert held.x_train.shape[1:3] == (8, 8) and held.x_test.shape[1:3] == (4, 4)
    digits = load("digits", image_size=8, resize=12)
    assert digits.x_train.shape[1:] == (12, 12, 1) and digits.input_shape == (8, 8, 1)
    for wrong in ({"resize": 4, "image_size": 8}, {"resize": 4}):
        says(refused(load, photos, **wrong), "`resize`", "resize=4", "`image_size`")


# What people have


def messy(root):
    """Write a folder with twenty special files in two classes, and return how many pictures it has."""
    write(root, cat=6, dog=6)
    rng = np.random.default_rng(5)

    def image(mode="RGB", size=(20, 30)):
        pixels = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        return pixels.convert(mode)

    exif = Image.Exif()
    exif[0x0112] = 6
    cat, dog = root / "cat", root / "dog"
    image("L").save(cat / "grey.png")
    image("1").save(cat / "black and white.png")
    image().quantize(16).save(cat / "palette.png")
    image("RGBA").save(cat / "alpha.png")
    image("LA").save(cat / "grey alpha.png")
    image("CMYK").save(cat / "cmyk.jpg")
    image("CMYK").save(cat / "cmyk.tif")
    Image.fromarray(rng.integers(0, 65536, (9, 8), dtype=np.uint16)).save(cat / "sixteen.png")
    Image.fromarray(rng.integers(0, 65536, (9, 8), dtype=np.uint16)).save(cat / "sixteen.tif")
    image().save(cat / "turned.jpg", exif=exif)
    image().save(dog / "photo.webp")
    image().quantize(8).save(dog / "animated.gif", save_all=True, append_images=[image().quantize(8)])
    image().save(dog / "old.bmp")
    image().save(dog / "ümläut ✓.JPEG")
    image().quantize(8).save(dog / "clear.gif", transparency=0)
    image(size=(1, 300)).save(dog / "thin.png")
    noisy(dog / "nested" / "deeper" / "inside.png", 50)
    for name in (".DS_Store", "Thumbs.db", "notes.txt"):
        (dog / name).write_bytes(b"x")
    (root / "empty").mkdir()
    return 12 + 17


def bomb(path):
    """Write a PNG whose header says that it has 60,000 x 60,000 pixels."""
    content = bytearray(noisy(path, 3).read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


@pytest.mark.parametrize("fit", ["resize", "crop", "pad"])
def test_a_folder_of_twenty_messy_files(tmp_path, fit):
    root = tmp_path / "messy"
    count = messy(root)
    data = load(root, image_size=16, fit=fit)
    assert len(data.x_train) + len(data.x_test) == count and data.input_shape == (16, 16, 3)
    assert data.class_names == ("cat", "dog") and set(data.y_test) == {0, 1}
    assert data.reading.left_out == {"hidden": 2, ".txt": 1, "empty folders": 1}
    says(" ".join(data.reading.notes), "white", "upper 8", "first was read")


def test_what_is_damaged_empty_or_absurdly_large_is_all_named_and_skipped(tmp_path):
    root = tmp_path / "messy"
    count = messy(root)
    cut = noisy(root / "dog" / "cut.jpg", 7, size=(40, 40))
    cut.write_bytes(cut.read_bytes()[:600])
    (root / "cat" / "empty.png").write_bytes(b"")
    (root / "cat" / "text.jpg").write_text("not a picture")
    bomb(root / "cat" / "bomb.png")
    text = refused(load, root, image_size=16)
    says(text, f"4 of {count + 4} pictures", "--skip-damaged")
    lines = {Path(line.split(": ")[0]).name: line for line in text.splitlines()[1:]}
    assert set(lines) == {"cut.jpg", "empty.png", "text.jpg", "bomb.png"}
    says(lines["empty.png"], "empty")
    says(lines["bomb.png"], "too large", "3,600 megapixels")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = load(root, image_size=16, skip_damaged=True)
    assert len(data.x_train) + len(data.x_test) == count
    skipped = data.describe()["reading"]["skipped"]
    assert sorted(map(os.path.basename, skipped)) == ["bomb.png", "cut.jpg", "empty.png", "text.jpg"]
