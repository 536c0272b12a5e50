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


class Unreadable(Exception):
    """Why a picture cannot be read, whether it may be skipped for that, and whether it has too many bits."""

    def __init__(self, reason: str, *, skippable: bool = True, deep: bool = False) -> None:
        super().__init__(reason)
        self.skippable, self.deep = skippable, deep


def _formats() -> list[str]:
    """Return the formats that are read."""
    from PIL import Image  # start-up

    Image.init()
    return [kind for kind in Image.OPEN if kind not in _NOT_READ]


def is_picture(entry: pathlib.Path) -> bool:
    """Return whether a file has the ending of a picture that is read, and is not hidden."""
    from PIL import Image  # start-up

    kind = Image.registered_extensions().get(entry.suffix.lower())
    return kind in Image.OPEN and kind not in _NOT_READ and not entry.name.startswith(".") and entry.is_file()


@contextmanager
def _opened(file: pathlib.Path) -> Iterator[Image.Image]:
    """Open a picture. Whatever goes wrong is raised as `Unreadable`, and what Pillow warns of is not said."""
    from PIL import Image  # start-up

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            with Image.open(file, formats=_formats()) as image:
                yield image
    except (Unreadable, MemoryError):
        raise
    except PermissionError:
        raise Unreadable("permission denied", skippable=False) from None
    except Image.DecompressionBombError as error:
        pixels = re.search(r"(\d+) pixels", str(error))
        size = f" ({int(pixels[1]) / 1e6:,.0f} megapixels)" if pixels else ""
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise Unreadable(f"too large{size}; Pillow reads up to {most:,.0f} megapixels") from None
    except Exception as error:
        if isinstance(error, ValueError) and "conversion" in str(error):
            raise Unreadable(f"Pillow cannot turn its colours into RGB ({error})", skippable=False) from None
        # Pillow names the path again, or an object's address, which no test could compare.
        empty = file.exists() and not file.stat().st_size
        raise Unreadable("it is empty" if empty else "it is damaged or of another kind") from None


def read_header(file: pathlib.Path) -> Header:
    """Return what the header of a picture says, or raise `Unreadable`."""
    with _opened(file) as image:
        wide = image.mode in ("I", "F") or image.mode.startswith("I;")
        if wide or _is_deep(image, file):
            mode = f"mode {image.mode!r}"
            more = f"more, which Pillow would cut off ({image.format}, {mode})"
            raise Unreadable(mode if wide else more, skippable=False, deep=True)
        size = (image.height, image.width)
        upright = size[::-1] if image.getexif().get(_ORIENTATION, 1) > 4 else size
        several = image.format != "MPO" and getattr(image, "is_animated", False)
        return Header(upright, _is_grey(image), image.format or "?", several)


def _is_deep(image: Image.Image, file: pathlib.Path) -> bool:
    """Return whether a picture in colour has more than 8 bits a channel, which Pillow cuts to 8."""
    if image.format == "TIFF":  # its planes may be stored apart, which Pillow misreads
        return bool(np.max(image.tag_v2.get(_BITS_PER_SAMPLE, 8)) > 8)
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


def coded_bits(data: bytes) -> int:
    """Return the bits a channel of JPEG 2000, from its marker of the image's size, or of AVIF, from its settings."""
    size, settings = data.find(b"\xff\x4f\xff\x51") + 42, data.find(b"av1C") + 6
    if 42 <= size < len(data):
        return 1 + (data[size] & 0x7F)
    return 10 if 6 <= settings < len(data) and data[settings] & 0x40 else 8


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La")


def decode(file: pathlib.Path, size: tuple[int, int], channels: int) -> tuple[np.ndarray, bool]:
    """Return a picture (height, width, channels), and whether it was transparent and laid on white.

    It raises `Unreadable` if the picture cannot be read.
    """
    from PIL import Image, ImageOps  # start-up

    with _opened(file) as image:
        ImageOps.exif_transpose(image, in_place=True)
        clear = image.convert("RGBA") if image.has_transparency_data else None
        laid = clear is not None and clear.getextrema()[3][0] < 255
        picture = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear) if laid else image
        picture = picture.convert("L" if channels == 1 else "RGB").resize(size[::-1], Image.Resampling.BILINEAR)
        return np.asarray(picture).reshape(*size, channels), laid
