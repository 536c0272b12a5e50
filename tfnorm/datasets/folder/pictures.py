"""One picture, a file or its bytes, read with Pillow: what its header says, its pixels, and why it cannot be read."""

from __future__ import annotations

import io
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
# Tags of TIFF.
_WIDTH, _HEIGHT, _BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANES = 256, 257, 258, 262, 284
# Formats whose grey values of more than 8 bits Pillow gives whole, and the modes it has for them.
_WHOLE = {"PNG": ("I", "I;16"), "PPM": ("I",), "TIFF": ("I;16", "I;16B"), "JPEG2000": ("I;16",)}
FITS = ("resize", "crop", "pad")
# What Pillow calls values of 16 bits that it cuts to 8; "BGR;16", without a byte order, has 5 or 6 bits a colour.
_DEEP_RAW = re.compile(r";16[BLN]$")
_HEADER_BYTES = 1 << 20


@dataclass(frozen=True)
class Header:
    """What a picture's header says.

    Upright (height, width), whether it is grey, its format, if it has frames, and if it has more than 8 bits a channel.
    """

    size: tuple[int, int]
    grey: bool
    format: str
    several: bool
    deep: bool


@dataclass(frozen=True)
class Decoded:
    """A picture (height, width, channels), uint8, and whether it was transparent and laid on white."""

    pixels: np.ndarray
    laid: bool


class Unreadable(Exception):
    """Why a picture cannot be read, whether it may be skipped for that, and whether it has bits that cannot be read."""

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
def quietly() -> Iterator[None]:
    """Let Pillow warn of nothing. It is not for threads: enter it before they start."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@contextmanager
def _opened(file: pathlib.Path | bytes) -> Iterator[Image.Image]:
    """Open a picture. Whatever goes wrong is raised as `Unreadable`."""
    from PIL import Image  # start-up

    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=_formats()) as image:
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
        empty = not file if isinstance(file, bytes) else file.exists() and not file.stat().st_size
        raise Unreadable("it is empty" if empty else "it is damaged or of another kind") from None


def read_header(file: pathlib.Path | bytes) -> Header:
    """Return what the header of a picture says, or raise `Unreadable`."""
    with _opened(file) as image:
        wide = image.mode in ("I", "F") or image.mode.startswith("I;")
        known = image.mode in _WHOLE.get(image.format or "", ()) if wide else not _has_planes(image)
        if not known:
            kind = "numbers that no scale is known of" if wide else "planes apart, which Pillow misreads"
            raise Unreadable(f"{kind} ({image.format}, mode {image.mode!r})", skippable=False, deep=True)
        deep = wide or _is_deep(image, file)  # before EXIF is asked for, which loads a PNG and forgets how it is stored
        size = (image.height, image.width)
        if image.format == "TIFF":  # which newer versions of Pillow have turned already
            size = (image.tag_v2.get(_HEIGHT, size[0]), image.tag_v2.get(_WIDTH, size[1]))
        upright = size[::-1] if image.getexif().get(_ORIENTATION, 1) > 4 else size
        several = image.format != "MPO" and getattr(image, "is_animated", False)
        return Header(upright, _is_grey(image), image.format or "?", several, deep)


def _has_planes(image: Image.Image) -> bool:
    """Return whether the channels of a TIFF with more than 8 bits each are stored apart."""
    if image.format != "TIFF":
        return False
    bits, planes = image.tag_v2.get(_BITS_PER_SAMPLE, 8), image.tag_v2.get(_PLANES, 1)
    return bool(np.max(bits) > 8 and planes != 1 and len(image.getbands()) > 1)


def _is_deep(image: Image.Image, file: pathlib.Path | bytes) -> bool:
    """Return whether a picture in colour has more than 8 bits a channel, of which Pillow reads the upper 8."""
    if image.format == "TIFF":
        return bool(np.max(image.tag_v2.get(_BITS_PER_SAMPLE, 8)) > 8)
    if image.format in ("JPEG2000", "AVIF"):
        with io.BytesIO(file) if isinstance(file, bytes) else file.open("rb") as opened:
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
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")


def decode(file: pathlib.Path | bytes, size: tuple[int, int], channels: int, fit: str = "resize") -> Decoded:
    """Return a picture in a size and a number of channels; the same file always gives the same bits.

    Args:
        file: The picture.
        size: (height, width) in pixels.
        channels: 1 or 3.
        fit: How it gets that size: "resize" stretches it, "crop" scales it to cover the size and cuts off what is over
            on both sides, and "pad" scales it to lie inside and adds black on both sides.

    Raises:
        Unreadable: If it cannot be read.
    """
    from PIL import Image, ImageOps  # start-up

    bilinear = Image.Resampling.BILINEAR
    with _opened(file) as opened:
        image: Image.Image = opened
        if image.mode.startswith("I"):
            image = _upper_bits(image)
        ImageOps.exif_transpose(image, in_place=True)
        clear = image.convert("RGBA") if image.has_transparency_data else None
        laid = clear is not None and clear.getextrema()[3][0] < 255
        picture = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear) if laid else image
        picture = picture.convert("L" if channels == 1 else "RGB")
        if fit == "crop":
            picture = ImageOps.fit(picture, size[::-1], bilinear)
        elif fit == "pad":
            picture = ImageOps.pad(picture, size[::-1], bilinear)
        else:
            picture = picture.resize(size[::-1], bilinear)
        return Decoded(np.asarray(picture).reshape(*size, channels), bool(laid))


def _upper_bits(image: Image.Image) -> Image.Image:
    """Return the upper 8 bits of a grey picture of more, as Pillow reads those in colour."""
    from PIL import Image  # start-up

    tags = getattr(image, "tag_v2", {})
    bits = int(np.max(tags.get(_BITS_PER_SAMPLE, 16)))
    values = np.asarray(image).astype(np.uint32)
    upper = (values >> (bits - 8)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:  # white is 0, which Pillow heeds for 8 bits alone
        upper = 255 - upper
    made = Image.fromarray(upper)
    clear = image.info.get("transparency")
    if isinstance(clear, int):  # the one value that is transparent
        made.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    made.getexif().update(image.getexif())
    return made
