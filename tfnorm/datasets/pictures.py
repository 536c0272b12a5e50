"""One picture in a file, read with Pillow: what its header says, its pixels, and why it cannot be read."""

from __future__ import annotations

import pathlib
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

# Pillow opens these, but cannot read them by itself: it starts other programs, or looks for plugins that draw them.
_NOT_READ = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
_ORIENTATION = 0x0112  # of EXIF; 5 to 8 are those turned by a quarter
_BITS_PER_SAMPLE = 258  # of TIFF
_DEEP_MODES = ("I", "F")
# What Pillow calls values of 16 bits that it cuts to 8; "BGR;16", without a byte order, has 5 or 6 bits a colour.
_DEEP_RAW = re.compile(r";16[BLN]$")
_HEADER_BYTES = 1 << 20


@dataclass(frozen=True)
class Header:
    """What a picture's header says: upright (height, width), whether it is grey, its format, and if it has frames."""

    size: tuple[int, int]
    grey: bool
    format: str
    several: bool


@dataclass(frozen=True)
class Problem:
    """Why a picture cannot be read, whether it may be skipped for that, and whether it has too many bits."""

    reason: str
    skippable: bool = True
    deep: bool = False


def _extensions() -> frozenset[str]:
    """Return the endings of files that are read."""
    from PIL import Image  # start-up

    known = Image.registered_extensions()
    return frozenset(ending for ending, kind in known.items() if kind in Image.OPEN and kind not in _NOT_READ)


def _formats() -> tuple[str, ...]:
    from PIL import Image  # start-up

    Image.init()
    return tuple(kind for kind in Image.OPEN if kind not in _NOT_READ)


def is_picture(entry: pathlib.Path) -> bool:
    """Return whether a file has the ending of a picture that is read, and is not hidden."""
    return entry.suffix.lower() in _extensions() and not entry.name.startswith(".") and entry.is_file()


@contextmanager
def pillow_quiet() -> Iterator[None]:
    """Keep what Pillow warns of to itself: sizes and broken metadata of pictures that are read all the same."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def read_header(file: pathlib.Path) -> Header | Problem:
    """Return what the header of a picture says, or why the picture cannot be read."""
    from PIL import Image  # start-up

    try:
        with Image.open(file, formats=_formats()) as image:
            if _is_deep(image, file):
                return Problem(_depth_words(image), skippable=False, deep=True)
            several = image.format != "MPO" and bool(getattr(image, "is_animated", False))
            return Header(_upright_size(image), _is_grey(image), image.format or "?", several)
    except Exception as error:
        return problem_of(file, error)


def _is_deep(image: Image.Image, file: pathlib.Path) -> bool:
    """Return whether a picture has more than 8 bits a channel, which Pillow cuts to 8 in colour."""
    if image.mode in _DEEP_MODES or image.mode.startswith("I;"):
        return True
    if image.format == "TIFF":  # its planes may be stored apart, which Pillow misreads
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, 8)
        return max(bits if isinstance(bits, tuple) else (bits,)) > 8
    if image.format in ("JPEG2000", "AVIF"):
        with file.open("rb") as opened:
            return coded_bits(opened.read(_HEADER_BYTES)) > 8
    for codec, _, _, arguments, *_ in getattr(image, "tile", ()):
        raw, *others = arguments if isinstance(arguments, tuple) else (arguments,)
        if codec == "SGI16" or _DEEP_RAW.search(str(raw)):
            return True
        if codec in ("ppm", "ppm_plain") and others and others[0] > 255:
            return True
    return False


def _depth_words(image: Image.Image) -> str:
    wide = image.mode in _DEEP_MODES or image.mode.startswith("I;")
    return f"mode {image.mode!r}" if wide else f"more, which Pillow would cut off ({image.format}, mode {image.mode!r})"


def coded_bits(data: bytes) -> int:
    """Return the bits a channel of JPEG 2000, from its marker of the image's size, or of AVIF, from its settings."""
    size, settings = data.find(b"\xff\x4f\xff\x51") + 42, data.find(b"av1C") + 6
    if 42 <= size < len(data):
        return 1 + (data[size] & 0x7F)
    return 10 if 6 <= settings < len(data) and data[settings] & 0x40 else 8


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (height, width) of the picture when it is turned upright."""
    sides = (image.height, image.width)
    return sides[::-1] if image.getexif().get(_ORIENTATION, 1) > 4 else sides


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La")


def problem_of(file: pathlib.Path, error: Exception) -> Problem:
    """Return in a few words why a picture cannot be read."""
    from PIL import Image  # start-up

    if isinstance(error, PermissionError):
        return Problem("permission denied", skippable=False)
    if isinstance(error, MemoryError):
        raise error
    if isinstance(error, ValueError) and "conversion" in str(error):
        return Problem(f"Pillow cannot turn its colours into RGB ({error})", skippable=False)
    if isinstance(error, Image.DecompressionBombError):
        pixels = re.search(r"(\d+) pixels", str(error))
        size = f" ({int(pixels[1]) / 1e6:,.0f} megapixels)" if pixels else ""
        return Problem(f"too large{size}; Pillow reads up to {2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6:,.0f} megapixels")
    # Pillow names the path again, or an object's address, which no test could compare.
    try:
        empty = not file.stat().st_size
    except OSError:
        empty = False
    return Problem("it is empty" if empty else "it is damaged or of another kind")


def decode(file: pathlib.Path, size: tuple[int, int], channels: int) -> tuple[np.ndarray, bool]:
    """Return a picture (height, width, channels), and whether it was transparent and laid on white."""
    from PIL import Image, ImageOps  # start-up

    with Image.open(file, formats=_formats()) as image:
        ImageOps.exif_transpose(image, in_place=True)
        mode, laid = "L" if channels == 1 else "RGB", False
        if image.has_transparency_data:
            clear = image.convert("RGBA")
            laid = clear.getextrema()[3][0] < 255
        if laid:
            picture = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert(mode)
        else:
            picture = image.convert(mode)
    if (picture.height, picture.width) != size:
        picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(*size, channels), laid
