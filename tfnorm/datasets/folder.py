"""Read data sets from folders of pictures: train/CLASS/* and test/CLASS/*."""

from __future__ import annotations

import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tfnorm.datasets.checks import make_dataset
from tfnorm.datasets.dataset import Dataset
from tfnorm.datasets.memory import check_memory
from tfnorm.datasets.pictures import Header, Problem, decode, is_picture, pillow_quiet, problem_of, read_header
from tfnorm.datasets.reading import Reading, counted, plural, readable, remarks
from tfnorm.errors import DataError

MOST_NAMED = 20
_NESTED = "in sub-folders of classes"
_LAYOUT = "train/CLASS/*.png and test/CLASS/*.png"
_OTHER_NAMES = {
    "train": ("training", "trainset", "train_set", "train_images"),
    "test": ("testing", "testset", "test_set", "test_images", "val", "valid", "validation", "dev", "eval"),
}


@dataclass(frozen=True)
class _Picture:
    """A file that is to be read.

    Args:
        file: Where it is.
        part: "train" or "test".
        label: Its class's folder.
    """

    file: pathlib.Path
    part: str
    label: str


def load_folder(
    path: pathlib.Path,
    name: str,
    image_size: tuple[int, int] | None = None,
    *,
    skip_damaged: bool = False,
) -> Dataset:
    """Return the data set in a folder with ``train/CLASS/*`` and ``test/CLASS/*``.

    Classes are the sub-folders of train, sorted by name. Every format that Pillow reads by itself is read. Links are
    followed. Hidden files, files of other kinds and sub-folders of classes are left out and counted. If a picture has
    several frames, the first is read. Transparent pictures are laid on white. A photograph that a camera marked as
    lying on its side is turned upright. Pictures with more than 8 bits a channel are refused. The images have one
    channel if every picture is stored as grey values or grey colours of a palette, and three otherwise. Each picture is
    decoded straight into its place in one uint8 array.

    Args:
        path: The folder.
        name: Name of the data set.
        image_size: (height, width) to resize to. By default all pictures must have one size.
        skip_damaged: Whether pictures that cannot be read are left out. If `False`, an error names them.

    Raises:
        DataError: If a folder, a class or a picture is missing, unreadable or does not fit, or if memory is too small.
    """
    classes = _class_folders(path, "train")
    tested = _class_folders(path, "test")
    if strange := [label for label in tested if label not in classes]:
        raise DataError(
            f"{path / 'test'} must hold classes of {path / 'train'} only. Received: {strange[0]!r}, which has no "
            "training images. Remove it or add training images."
        )
    left_out: Counter[str] = Counter()
    pictures = _list_pictures(path, "train", classes, left_out) + _list_pictures(path, "test", tested, left_out)
    left_out.update(_beside(path))
    with pillow_quiet():
        headers, problems = _survey(pictures)
        _check_depth(path, problems)
        size, channels = _common(headers, image_size) if headers else ((1, 1), 1)
        check_memory(str(path), len(headers), (*size, channels), resizable=True)
        counts = Counter(picture.part for picture in headers)
        arrays = {part: np.empty((counts[part], *size, channels), np.uint8) for part in ("train", "test")}
        read: dict[str, list[_Picture]] = {"train": [], "test": []}
        transparent = 0
        for picture in headers:
            done = read[picture.part]
            try:
                arrays[picture.part][len(done)], laid = decode(picture.file, size, channels)
            except Exception as error:
                problems[picture] = problem_of(picture.file, error)
                continue
            done.append(picture)
            transparent += laid
    skipped = _skip(path, pictures, problems, skip_damaged)
    for part, labels in (("train", classes), ("test", tested)):
        if gone := sorted(set(labels) - {picture.label for picture in read[part]}):
            raise DataError(
                f"{path / part / gone[0]} holds no picture that can be read. Replace the damaged ones, or remove the "
                "class."
            )
    # Images that were skipped leave their places empty at the end.
    images = {part: arrays[part][: len(read[part])] for part in arrays}
    labels = {
        part: np.array([classes.index(picture.label) for picture in done], np.int64) for part, done in read.items()
    }
    several = sum(headers[picture].several for done in read.values() for picture in done)
    reading = Reading(
        path=readable(path.resolve()),
        formats=dict(Counter(headers[picture].format for done in read.values() for picture in done)),
        left_out=dict(left_out),
        skipped=tuple(readable(file.relative_to(path)) for file in skipped),
        notes=(
            *_notes(left_out, skipped, transparent, several),
            *remarks(
                (images["train"], labels["train"]),
                (images["test"], labels["test"]),
                lambda part, index: readable(read[part][index].file),
            ),
        ),
    )
    dataset = make_dataset(
        name, str(path), (images["train"], labels["train"]), (images["test"], labels["test"]), classes
    )
    return replace(dataset, reading=reading)


def load_pictures(path: pathlib.Path, size: tuple[int, int], channels: int, *, most: int) -> np.ndarray:
    """Return pictures of a folder and of the folders in it, without labels.

    If there are more than ``most``, they are chosen at even distances in the order of their names.

    Args:
        path: The folder.
        size: (height, width) to resize to.
        channels: 1 for grey values, 3 for colours.
        most: The largest number of pictures.

    Returns:
        uint8 (images, height, width, channels).

    Raises:
        DataError: If there is no picture, or one cannot be read.
    """
    files = sorted(entry for entry in path.rglob("*") if is_picture(entry))
    if not files:
        raise DataError(f"{path} holds no picture, and neither do the folders in it. Give a folder of pictures.")
    chosen = [files[index] for index in np.linspace(0, len(files) - 1, min(most, len(files))).astype(int)]
    pictures = np.empty((len(chosen), *size, channels), np.uint8)
    with pillow_quiet():
        for index, file in enumerate(chosen):
            try:
                pictures[index], _ = decode(file, size, channels)
            except Exception as error:
                raise DataError(
                    f"{file} cannot be read: {problem_of(file, error).reason}. Replace it, or remove it."
                ) from None
    return pictures


def shape_of_folder(path: pathlib.Path) -> tuple[int, int, int, int] | None:
    """Return (images, height, width, 3), as the first picture has them, or None if it cannot be read."""
    files = [file for part in ("train", "test") for file in path.glob(f"{part}/*/*") if is_picture(file)]
    header = read_header(files[0]) if files else None
    return (len(files), *header.size, 3) if isinstance(header, Header) else None


def _class_folders(path: pathlib.Path, part: str) -> list[str]:
    folder = path / part
    if not folder.is_dir():
        raise DataError(
            f"{path} must hold the pictures as {_LAYOUT}. The folder {part}/ is missing. {_layout_hint(path, part)}"
        )
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise DataError(f"{folder} must hold one folder a class. Received none. Lay the pictures out as {_LAYOUT}.")
    return classes


def _layout_hint(path: pathlib.Path, part: str) -> str:
    """Return how to make a missing part out of what is there."""
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    others = [folder.name for folder in folders if folder.name not in _OTHER_NAMES]
    words = (part, *_OTHER_NAMES[part])
    if alike := [name for name in others if name.lower() in words]:
        nearest = min(alike, key=lambda name: words.index(name.lower()))
        return f"There is {nearest}/. If it holds the {part} set, rename it to {part}/."
    if inner := [folder for folder in folders if (folder / part).is_dir()]:
        return f"There is one in {inner[0]}. Give that folder."
    if part == "train" and (classes := [folder.name for folder in folders if _holds_pictures(folder)]):
        first = classes[0]
        return (
            f"There are {', '.join(f'{name}/' for name in classes[:3])}{' and more' if classes[3:] else ''}, which "
            f"look like classes. Move most pictures of each class to train/CLASS/ (such as train/{first}/), and the "
            f"rest, perhaps a fifth, to test/CLASS/ (such as test/{first}/)."
        )
    if part == "test" and not others:
        return "Move a part of each class, perhaps a fifth, from train/CLASS/ to test/CLASS/."
    return "Create it."


def _holds_pictures(folder: pathlib.Path) -> bool:
    return any(is_picture(entry) for entry in folder.iterdir())


def _list_pictures(path: pathlib.Path, part: str, classes: Sequence[str], left_out: Counter[str]) -> list[_Picture]:
    """Return the pictures of a part, class by class, and count what is beside them."""
    found: list[_Picture] = []
    for label in classes:
        folder = path / part / label
        beside: Counter[str] = Counter()
        files = []
        for entry in sorted(folder.iterdir()):
            if is_picture(entry):
                files.append(_Picture(entry, part, label))
            else:
                beside.update(_why_left_out(entry))
        if not files:
            received = counted(beside) or "none"
            raise DataError(
                f"{folder} must hold at least one picture (.png, .jpg, or another format that Pillow reads). "
                f"Received: {received}. "
                + ("Move these up into it." if _NESTED in beside else "Add pictures or remove the class.")
            )
        found += files
        left_out.update(beside)
    return found


def _why_left_out(entry: pathlib.Path) -> dict[str, int]:
    """Return why a file or folder inside a class is not read, and how many files that are."""
    if entry.name.startswith("."):
        return {"hidden": 1}
    if entry.is_dir():
        inside = sum(is_picture(file) for file in entry.rglob("*"))
        return {_NESTED: inside} if inside else {}
    if not entry.exists():
        return {"broken links": 1}
    return {readable(entry.suffix.lower()) or "without extension": 1}


def _beside(path: pathlib.Path) -> Mapping[str, int]:
    """Return how many pictures lie outside of the classes, by where."""
    found: dict[str, int] = {}
    for part in ("train", "test"):
        found[f"in {part}/ itself"] = sum(is_picture(entry) for entry in (path / part).iterdir())
    for folder in path.iterdir():
        if folder.name.lower() in (*_OTHER_NAMES["train"], *_OTHER_NAMES["test"]) and folder.is_dir():
            found[f"in {folder.name}/"] = sum(is_picture(entry) for entry in folder.rglob("*"))
    return {place: count for place, count in found.items() if count}


def _survey(pictures: Sequence[_Picture]) -> tuple[dict[_Picture, Header], dict[_Picture, Problem]]:
    """Return what the headers of pictures say, and which of them cannot be read."""
    read = {picture: read_header(picture.file) for picture in pictures}
    headers = {picture: header for picture, header in read.items() if isinstance(header, Header)}
    return headers, {picture: problem for picture, problem in read.items() if isinstance(problem, Problem)}


def _check_depth(path: pathlib.Path, problems: Mapping[_Picture, Problem]) -> None:
    """Raise a DataError that counts the pictures with more than 8 bits a channel."""
    deep = [(picture.file, problem) for picture, problem in problems.items() if problem.deep]
    if deep:
        file, problem = deep[0]
        others = f" The same holds for {plural(len(deep) - 1, 'other picture')} in {path}." if deep[1:] else ""
        raise DataError(
            f"{file} must have 8 bits a channel. Received: {problem.reason}.{others} "
            f"Convert {'them' if others else 'it'}, choosing how {'their' if others else 'its'} values map to 0..255."
        )


def _common(headers: Mapping[_Picture, Header], image_size: tuple[int, int] | None) -> tuple[tuple[int, int], int]:
    """Return the common (height, width) and the number of channels."""
    first, size = next((picture.file, header.size) for picture, header in headers.items())
    if image_size is None:
        for picture, header in headers.items():
            if header.size != size:
                raise DataError(
                    f"All pictures must have one size. Received: {first} is {size[0]}x{size[1]} and {picture.file} is "
                    f"{header.size[0]}x{header.size[1]} (height x width). Give a size to resize them to, for example "
                    "image_size=32 (--image-size 32)."
                )
    return image_size or size, 1 if all(header.grey for header in headers.values()) else 3


def _skip(
    path: pathlib.Path, pictures: Sequence[_Picture], problems: Mapping[_Picture, Problem], skip_damaged: bool
) -> list[pathlib.Path]:
    """Return the pictures to leave out, or raise a DataError that names all that cannot be read."""
    ordered = [(picture.file, problems[picture]) for picture in pictures if picture in problems]
    refused = [(file, each) for file, each in ordered if not (skip_damaged and each.skippable)]
    if not refused:
        return [file for file, _ in ordered]
    words = "Or leave out what cannot be read with skip_damaged=True (--skip-damaged)."
    leave = f" {words}" if not skip_damaged and any(problem.skippable for _, problem in refused) else ""
    if len(refused) == 1:
        file, problem = refused[0]
        raise DataError(f"{file} cannot be read as a picture: {problem.reason}. Replace or remove it.{leave}")
    lines = [f"{file}: {problem.reason}" for file, problem in refused[:MOST_NAMED]]
    if refused[MOST_NAMED:]:
        lines.append(f"and {len(refused) - MOST_NAMED:,} more")
    first = f"{len(refused):,} of {len(pictures):,} pictures in {path} cannot be read. Replace or remove them.{leave}"
    raise DataError("\n".join([first, *lines]))


def _notes(left_out: Mapping[str, int], skipped: Sequence[pathlib.Path], transparent: int, several: int) -> list[str]:
    """Return sentences about how pictures were read."""
    notes = []
    if set(left_out) - {"hidden"}:
        notes.append(
            f"Left out: {counted(left_out)}. If you want some of these to be read, put them into train/CLASS/ or "
            "test/CLASS/, in a format that Pillow reads."
        )
    if skipped:
        names = ", ".join(readable(file) for file in skipped[:3])
        notes.append(
            f"Skipped, because they cannot be read: {plural(len(skipped), 'picture')} ({names}"
            f"{' and more' if skipped[3:] else ''})."
        )
    if transparent:
        notes.append(
            f"With transparent places, which became white: {plural(transparent, 'picture')}. If white hides what they "
            "show, lay them on another colour yourself."
        )
    if several:
        notes.append(f"With several frames, of which the first was read: {plural(several, 'picture')}.")
    return notes
