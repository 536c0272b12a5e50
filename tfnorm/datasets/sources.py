"""Load a data set by name, from an .npz archive or from a folder of pictures."""

from __future__ import annotations

import os
import pathlib
import warnings
from dataclasses import replace
from numbers import Real
from typing import Any

from tfnorm.datasets.dataset import Dataset, check_image_size
from tfnorm.datasets.folder.loading import load_folder, shape_of_folder
from tfnorm.datasets.folder.pictures import FITS
from tfnorm.datasets.given.libraries import library_of, load_library, local_path
from tfnorm.datasets.images import StreamedImages
from tfnorm.datasets.memory import available_memory, bytes_of, size_text
from tfnorm.datasets.named import DATASETS, is_cached, load_known, with_class_names
from tfnorm.datasets.npz import load_npz, shape_of_npz
from tfnorm.datasets.reading import DataWarning, Reading, readable, tally
from tfnorm.errors import DataError, first_line, unknown


def load(
    name_or_path: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: tuple[int, int] | int | None = None,
    resize: int | None = None,
    fit: str = "resize",
    test_share: float | None = None,
    groups: str | os.PathLike[str] | None = None,
    follow_links: bool = False,
    skip_damaged: bool = False,
    memory: int | str | None = None,
    cache: str | os.PathLike[str] | None = None,
    training_only: bool = False,
) -> Dataset:
    """Load a data set.

    ``Dataset.reading`` says what was read from a file or a folder. A warning says what may be a mistake there: files
    that were left out, images of one colour, images that are there twice.

    ``digits`` comes with scikit-learn: values 0..16 are scaled to 0..255 as round(x*255/16), and the 1,797 images are
    split, stratified and always alike (``random_state=0``), into 1,347 for training and 450 for testing.

    ``mnist``, ``fashion_mnist``, ``cifar10`` and ``cifar100`` are read from ``data_dir``, as ``NAME.npz`` or as a
    folder ``NAME/``; without ``data_dir`` from Keras's cache, downloading them when they are not there. With
    ``data_dir`` nothing is downloaded.

    Args:
        name_or_path: A name of ``list_datasets()``, a file ending in .npz with the arrays x_train, y_train, x_test,
            y_test and optionally class_names, or a folder of pictures in ``train/CLASS/`` and ``test/CLASS/``, or in
            ``CLASS/`` alone. Or ``hf:`` or ``tfds:`` and the name or path of a data set of `datasets` or
            `tensorflow_datasets`. A relative path is looked for in the working directory, then in ``data_dir``.
        data_dir: Folder that holds the data sets.
        image_size: (height, width) in pixels to resize to, or one integer for a square. By default the size is kept.
        resize: Side to which training images are resized in place of ``image_size``, for an augmentation that crops
            them; test images are cut off equally on all sides after it. Defaults to ``image_size``.
        fit: How pictures of a folder get their size: "resize" stretches them, "crop" cuts off what is over, "pad" adds
            black. Defaults to "resize".
        test_share: Share of each class to test on, of a folder without ``test/``. Defaults to 0.2 if there is no
            ``train/`` either.
        groups: A CSV file with the columns file and group. Pictures of one group are all for training or all for
            testing, also after `Dataset.hold_out`.
        follow_links: If `True`, symbolic links out of a folder are followed. Defaults to `False`.
        skip_damaged: If `True`, pictures of a folder that are damaged are left out and counted. Defaults to `False`:
            an error names all of them.
        memory: Bytes that the decoded pictures of a folder may take, such as "500MB". If they need more, they are
            decoded whenever they are needed. Defaults to a quarter of the memory that is free.
        cache: A folder for files of decoded pictures, up to 20 GiB, so that no process decodes a picture again.
        training_only: If `True`, test pictures of a folder are not decoded until they are asked for, so that nothing is
            said about them. Defaults to `False`.

    Returns:
        The data set, its images uint8 (images, height, width, channels), arrays or `StreamedImages`.

    Raises:
        DataError: If the data is missing, malformed, too large for the memory or cannot be downloaded.

    Example:
        >>> load("digits")
        Dataset('digits', train=1347, test=450, input_shape=(8, 8, 1), num_classes=10)
    """
    size = None if image_size is None else check_image_size(image_size)
    check_resize(resize, size)
    decoded = size if resize is None else (resize, resize)
    place = find_source(name_or_path, data_dir)
    check_folder_settings(name_or_path, place, fit=fit, test_share=test_share, groups=groups, follow_links=follow_links)
    most = None if memory is None else bytes_of(memory)
    try:
        if library_of(name_or_path):
            dataset = load_library(
                str(name_or_path), decoded, data_dir=data_dir, fit=fit, test_share=test_share, memory=most
            )
        elif place is None:
            dataset = load_known(str(name_or_path), data_dir)
        else:
            known = isinstance(name_or_path, str) and name_or_path in DATASETS
            name = str(name_or_path) if known else readable(place.resolve().name if place.is_dir() else place.stem)
            if place.is_dir():
                dataset = load_folder(
                    place, name, decoded, fit=fit, test_share=test_share, follow_links=follow_links,
                    groups=None if groups is None else pathlib.Path(groups).expanduser(), skip_damaged=skip_damaged,
                    memory=most, cache=None if cache is None else pathlib.Path(cache).expanduser(),
                    training_only=training_only,
                )  # fmt: skip
            else:
                dataset = load_npz(place, name)
                dataset = with_class_names(dataset) if known else dataset
        dataset = dataset if decoded is None else dataset.resize(decoded)
        dataset = dataset if size is None else dataset.crop_test(size)
    except MemoryError as error:
        free = available_memory()
        room = "" if free is None else f" {size_text(free)} are free now."
        raise DataError(
            f"{name_or_path} does not fit into memory ({first_line(error)}).{room} Use fewer or smaller images "
            "(--image-size), or free some memory."
        ) from None
    reading = dataset.reading
    passed_over = pathlib.Path(data_dir or "").expanduser() / name_or_path
    if reading is not None:
        summary = dataset.read_from(reading.path, f" ({tally(reading.formats)})" if reading.formats else "")
        if isinstance(dataset.x_train, StreamedImages):
            summary += " They are read when they are needed, because they need more memory than they may take."
        if resize is not None:
            summary += f" Training images have {resize}x{resize} pixels before an augmentation cuts them."
        if "test_share" in reading.division:
            summary += f" The test images were chosen by test_share={reading.division['test_share']:g} of each class."
        reading = replace(reading, summary=summary)
    elif passed_over.is_dir():
        other = passed_over if passed_over.is_absolute() else f"./{passed_over}"
        note = (
            f"{name_or_path!r} is a data set that tfnorm knows, and it was loaded. Your folder {passed_over} was not "
            f"read. To read it, write {other}."
        )
        reading = Reading(notes=(note,))
    for note in reading.notes if reading else ():
        warnings.warn(note, DataWarning, stacklevel=2)
    return replace(dataset, reading=reading)


def check_resize(resize: int | None, size: tuple[int, int] | None) -> None:
    """Raise a DataError unless images of ``resize`` pixels a side can be cut to ``size``."""
    if resize is not None and (size is None or min(check_image_size(resize)) < max(size)):
        given = None if size is None else size[0] if size[0] == size[1] else size
        raise DataError(
            "`resize` is the side of training images before they are cut to `image_size`, which must be given and not "
            f"be larger. Received: resize={resize}, image_size={given}. For 64 pixels, give 72 and 64."
        )


def check_folder_settings(name: Any, place: pathlib.Path | None, **settings: Any) -> None:
    """Raise a DataError if settings are not those of folders, or if they belong to none.

    ``place`` is what `find_source` returned for ``name``, and the settings are fit, test_share, groups and follow_links
    of `load`. Data sets of other libraries have the first two, too.
    """
    fit, share, groups = settings["fit"], settings["test_share"], settings["groups"]
    if fit not in FITS:
        raise DataError(unknown("fit", fit, FITS))
    if share is not None and (isinstance(share, bool) or not isinstance(share, Real) or not 0 < share < 1):
        raise DataError(f"`test_share` must be above 0 and below 1. Received: test_share={share!r}. Use 0.2.")
    if groups is not None and not pathlib.Path(groups).expanduser().is_file():
        raise DataError(f"`groups` must be a CSV file. There is no {groups}. Correct the path.")
    allowed = ("fit", "test_share") if library_of(name) else ()
    given = {key: value for key, value in settings.items() if value not in (None, False, "resize")}
    wrong = [key for key in given if key not in allowed]
    if wrong and (place is None or not place.is_dir()):
        what = place or ("a known data set" if name in DATASETS else name)
        raise DataError(
            f"`{wrong[0]}` is for a folder of pictures. Received: {wrong[0]}={given[wrong[0]]!s} with {what}. Leave it "
            "out."
        )


def find_source(
    name_or_path: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None
) -> pathlib.Path | None:
    """Return the .npz file or the folder of a data set, or None for one that Keras or another library has.

    It raises a DataError if there is plainly no such data set. Nothing is read.
    """
    folder = None if data_dir is None else pathlib.Path(data_dir).expanduser()
    if folder is not None and not folder.is_dir():
        kind = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"`data_dir` must be a folder. Received: {folder}, which {kind}. Create it or name another.")
    if library_of(name_or_path):
        local_path(str(name_or_path), folder)
        return None
    if isinstance(name_or_path, str) and name_or_path in DATASETS:
        if folder is None or name_or_path == "digits":
            return None
        places = folder / f"{name_or_path}.npz", folder / name_or_path
        return next((place for place in places if place.exists()), None)
    if not isinstance(name_or_path, str | os.PathLike) or not str(name_or_path):
        raise DataError(
            f"A data set must be a name, an .npz file or a folder. Received: {name_or_path!r}. "
            f"Use one of: {', '.join(DATASETS)}."
        )
    path = pathlib.Path(name_or_path).expanduser()
    if not path.exists() and folder is not None and (folder / path).exists():
        path = folder / path
    if path.is_dir():
        return path
    if path.is_file():
        if path.suffix.lower() == ".npz":
            return path
        raise DataError(
            f"A data file must be an .npz archive. Received: {path}. "
            "Save the arrays x_train, y_train, x_test, y_test with numpy.savez."
        )
    if path.suffix or len(path.parts) > 1 or path.is_absolute():
        raise DataError(
            f"A data set must be a name, an .npz file or a folder. There is no {path}. "
            f"Correct the path or use one of: {', '.join(DATASETS)}."
        )
    raise DataError(unknown("data set", str(name_or_path), DATASETS) + " A path to an .npz file or a folder works too.")


def stored_shape(
    name: str | os.PathLike[str], *, data_dir: str | os.PathLike[str] | None = None
) -> tuple[int, int, int, int] | None:
    """Return (images, height, width, channels) of a data set as it is stored, or None if its files do not say.

    Only headers are read. For a folder, the first picture gives the size, and the channels are three.

    Example:
        >>> stored_shape("digits")
        (1797, 8, 8, 1)
    """
    place = find_source(name, data_dir)
    if place is None:
        return None if library_of(name) else DATASETS[str(name)].shape
    return shape_of_folder(place) if place.is_dir() else shape_of_npz(place)


def is_here(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> bool:
    """Return whether `load` finds a data set, or says what is wrong with it, without downloading anything."""
    if library_of(name):
        return local_path(name, data_dir) is not None
    return data_dir is not None or name not in DATASETS or is_cached(name)
