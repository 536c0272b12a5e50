"""Writes files and folders, among them pictures, whole or not at all."""

from __future__ import annotations

import functools
import io
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

from tfnorm.errors import DataError, first_line, unknown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The page of a comparison or a sweep, in its folder.
PAGE = "report.html"
PICTURE_FORMATS = ("png", "svg", "pdf")
DOTS_PER_INCH = 150
Drawing = ParamSpec("Drawing")


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that a reader sees either the old contents or all the new ones, even after a crash."""
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text in UTF-8 with `write_whole`. Parts of names that are not UTF-8 are escaped."""
    write_whole(path, text.encode("utf-8", "backslashreplace"))


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the name of a temporary file to write. At the end it replaces ``path``, or is deleted if an error occurs.

    If it cannot be written, the ``filename`` of the OSError is ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give the name of a folder to fill, which takes the place of ``path`` at the end, or is deleted if that fails.

    Where ``path`` is a link, the folder that it points to is replaced.
    """
    given, path = path, Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        yield temporary
        old = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(temporary, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(given)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def results_come_first(what: str) -> Iterator[None]:
    """Turn an error in the drawing inside into a warning that names ``what``, so that it never costs a result."""
    try:
        yield
    except Exception as error:
        warnings.warn(
            f"Could not write {what}: {type(error).__name__}: {first_line(error)}. All results are kept. "
            "When you have mended that, `tfnorm report` writes the pictures and the page again.",
            stacklevel=3,
        )


def check_picture_path(path: str | os.PathLike[str]) -> Path:
    """Return ``path``, or raise a DataError if its ending names no picture format."""
    path = Path(path)
    if path.suffix.lower()[1:] not in PICTURE_FORMATS:
        raise DataError(f"A picture's file name must end in .png, .svg or .pdf. Received: {path.name!r}.")
    return path


def check_format(format: str) -> str:
    """Return ``format``, or raise a DataError if it is not one of `PICTURE_FORMATS`."""
    if format not in PICTURE_FORMATS:
        raise DataError(unknown("picture format", format, PICTURE_FORMATS))
    return format


@contextmanager
def plain_style() -> Iterator[None]:
    """Draw with Matplotlib's default style and the user's fonts, whatever else the user's matplotlibrc says.

    A setting such as ``text.usetex`` would have LaTeX read the names of classes, would fail where LaTeX is not
    installed, and would change sizes that were chosen to fit. Class names may need a font that the user has set.
    """
    import matplotlib  # start-up
    from matplotlib import style  # start-up

    rc = matplotlib.rcParams
    fonts = {"font.family": rc["font.family"], "font.sans-serif": rc["font.sans-serif"], "font.serif": rc["font.serif"]}
    with style.context(["default", fonts]):
        yield


def in_plain_style(draw: Callable[Drawing, Figure]) -> Callable[Drawing, Figure]:
    """Have a function draw its figure in `plain_style`, unless it draws on the user's own axes (``ax``)."""

    @functools.wraps(draw)
    def drawn(*arguments: Drawing.args, **settings: Drawing.kwargs) -> Figure:
        if settings.get("ax") is not None:
            return draw(*arguments, **settings)
        import matplotlib  # start-up

        late = matplotlib.rcParams["text.usetex"]
        with plain_style():
            figure = draw(*arguments, **settings)
            if late:  # labels of ticks are made when a figure is first drawn, which may be outside
                figure.draw_without_rendering()
        return figure

    return drawn


def save_figure(figure: Figure, path: str | os.PathLike[str], *, few_colours: bool = False) -> Path:
    """Write a figure whole to ``path`` (.png, .svg or .pdf), at 150 dots per inch. Missing folders are made.

    The same figure gives the same bytes. Text in a .svg is text, and a .pdf holds its fonts.

    ``few_colours`` keeps 256 colours in a .png: a third of the size, and no visible change in a plot of curves.
    """
    from matplotlib import rc_context  # start-up

    path = check_picture_path(path)
    kind = path.suffix.lower()[1:]
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}[kind]
    buffer = io.BytesIO()
    with plain_style(), rc_context({"svg.fonttype": "none", "svg.hashsalt": "tfnorm", "pdf.fonttype": 42}):
        figure.savefig(buffer, format=kind, dpi=DOTS_PER_INCH, metadata=undated)
    if kind == "png" and few_colours:
        from PIL import Image  # start-up

        picture = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        picture.save(buffer, format="png", optimize=True, dpi=(DOTS_PER_INCH, DOTS_PER_INCH))
    write_whole(path, buffer.getvalue())
    return path
