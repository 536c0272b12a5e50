"""Read data sets from folders of pictures: train/CLASS/* and test/CLASS/*."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfnorm.datasets.checks import make_dataset
from tfnorm.datasets.dataset import Dataset
from tfnorm.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
_LAYOUT = "train/CLASS/*.png and test/CLASS/*.png"
_ORIENTATION = 0x0112  # of EXIF; 5 to 8 are those turned by a quarter
_WIDE_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def load_folder(path: pathlib.Path, name: str, image_size: tuple[int, int] | None = None) -> Dataset:
    """Return the data set in a folder with ``train/CLASS/*`` and ``test/CLASS/*``.

    Classes are the sub-folders of train, sorted by name. Hidden files and files of other kinds are passed over, links
    are followed, of a moving GIF the first picture counts, transparency is dropped, and a photograph that a camera
    marked as lying on its side is turned upright. The images have one channel if every picture is stored as grey
    values or grey colours of a palette, else three. Each is decoded straight into its place in one uint8 array.

    Args:
        path: The folder.
        name: Name of the data set.
        image_size: (height, width) to resize to; by default all pictures must have one size.

    Raises:
        DataError: If a folder, a class or a picture is missing, unreadable or does not fit.
    """
    classes = _class_folders(path, "train")
    tested = _class_folders(path, "test")
    if strange := [label for label in tested if label not in classes]:
        raise DataError(
            f"{path / 'test'} must hold classes of {path / 'train'} only. Received: {strange[0]!r}, which has no "
            "training images. Remove it or add training images."
        )
    parts = {"train": _list_files(path, "train", classes), "test": _list_files(path, "test", tested)}
    size, channels = _survey([file for files in parts.values() for file, _ in files], image_size)
    arrays = {}
    for part, files in parts.items():
        images = np.empty((len(files), *size, channels), np.uint8)
        for index, (file, _) in enumerate(files):
            images[index] = _decode(file, size, channels)
        labels = np.array([classes.index(label) for _, label in files], np.int64)
        arrays[part] = images, labels
    return make_dataset(name, str(path), arrays["train"], arrays["test"], classes)


def shape_of_folder(path: pathlib.Path) -> tuple[int, int, int, int] | None:
    """Return (images, height, width, 3), as the first picture has them, None if there is no picture to be opened."""
    from PIL import Image

    files = [file for part in ("train", "test") for file in path.glob(f"{part}/*/*")]
    files = [file for file in files if file.suffix.lower() in EXTENSIONS]
    for file in files[:1]:
        try:
            with Image.open(file) as image:
                return len(files), image.height, image.width, 3
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None
    return None


def _class_folders(path: pathlib.Path, part: str) -> list[str]:
    folder = path / part
    if not folder.is_dir():
        raise DataError(f"{path} must hold the pictures as {_LAYOUT}. The folder {part}/ is missing. Create it.")
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise DataError(f"{folder} must hold one folder a class. Received none. Lay the pictures out as {_LAYOUT}.")
    return classes


def _list_files(path: pathlib.Path, part: str, classes: Sequence[str]) -> list[tuple[pathlib.Path, str]]:
    found = []
    for label in classes:
        folder = path / part / label
        files = sorted(
            entry
            for entry in folder.iterdir()
            if entry.suffix.lower() in EXTENSIONS and not entry.name.startswith(".") and entry.is_file()
        )
        if not files:
            raise DataError(
                f"{folder} must hold at least one picture ({', '.join(EXTENSIONS)}). Received none. "
                "Add pictures or remove the class."
            )
        found += [(file, label) for file in files]
    return found


def _survey(files: Sequence[pathlib.Path], image_size: tuple[int, int] | None) -> tuple[tuple[int, int], int]:
    """Return the common (height, width) and the number of channels, from the headers alone."""
    from PIL import Image

    first: tuple[pathlib.Path, tuple[int, int]] | None = None
    channels = 1
    for file in files:
        try:
            with Image.open(file) as image:
                size, mode, grey = _upright_size(image), image.mode, _is_grey(image)
        except Exception as error:
            raise _unreadable(file, error) from error
        if mode in _WIDE_MODES:
            raise DataError(
                f"{file} must have 8 bits a channel. Received: mode {mode!r}. "
                "Convert it, choosing how its values map to 0..255."
            )
        if not grey:
            channels = 3
        if first is None:
            first = file, size
        elif image_size is None and size != first[1]:
            raise DataError(
                f"All pictures must have one size. Received: {first[0]} is {first[1][0]}x{first[1][1]} and {file} is "
                f"{size[0]}x{size[1]} (height x width). Give a size to resize them to, for example image_size=32 "
                "(--image-size 32)."
            )
    if first is None:
        raise DataError(f"There must be at least one picture. Received none. Lay them out as {_LAYOUT}.")
    return image_size or first[1], channels


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (height, width) as the picture is meant to be looked at."""
    sides = (image.height, image.width)
    return sides[::-1] if image.getexif().get(_ORIENTATION, 1) > 4 else sides


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA")


def _decode(file: pathlib.Path, size: tuple[int, int], channels: int) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            ImageOps.exif_transpose(image, in_place=True)
            picture = image.convert("L" if channels == 1 else "RGB")
    except Exception as error:
        raise _unreadable(file, error) from error
    if (picture.height, picture.width) != size:
        picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(*size, channels)


def _unreadable(file: pathlib.Path, error: Exception) -> DataError:
    # Pillow names the path again, or an object's address, which no test could compare.
    reason = "permission denied" if isinstance(error, PermissionError) else "it is damaged or of another kind"
    return DataError(f"{file} cannot be read as a picture: {reason}. Replace or remove it.")
