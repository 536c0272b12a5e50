"""Read data sets from folders of pictures: train/CLASS/* and test/CLASS/*."""

from __future__ import annotations

import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tfnorm.datasets.checks import make_dataset, remarks
from tfnorm.datasets.dataset import Dataset
from tfnorm.datasets.memory import check_memory
from tfnorm.datasets.pictures import Header, Unreadable, decode, is_picture, read_header
from tfnorm.datasets.reading import Reading, readable, tally
from tfnorm.errors import DataError
from tfnorm.text import counted

MOST_NAMED = 20
_NESTED = "in sub-folders of classes"
_LAYOUT = "train/CLASS/*.png and test/CLASS/*.png"
_OTHER_NAMES = {
    "train": ("training", "trainset", "train_set", "train_images"),
    "test": ("testing", "testset", "test_set", "test_images", "val", "valid", "validation", "dev", "eval"),
}


def load_folder(
    path: pathlib.Path, name: str, image_size: tuple[int, int] | None = None, *, skip_damaged: bool = False
) -> Dataset:
    """Return the data set ``name`` in a folder with ``train/CLASS/*`` and ``test/CLASS/*``.

    Classes are the sub-folders of train, sorted by name. Every format that Pillow reads by itself is read. Links are
    followed. Hidden files, files of other kinds and sub-folders of classes are left out and counted. If a picture has
    several frames, the first is read. Transparent pictures are laid on white. A photograph that a camera marked as
    lying on its side is turned upright. Pictures with more than 8 bits a channel are refused. The images have one
    channel if every picture is stored as grey values or grey colours of a palette, and three otherwise. Each picture is
    decoded straight into its place in one uint8 array. Without ``image_size``, all pictures must have one size.
    """
    parts = {part: _class_folders(path, part) for part in ("train", "test")}
    classes = parts["train"]
    if strange := [label for label in parts["test"] if label not in classes]:
        raise DataError(
            f"{path / 'test'} must hold classes of {path / 'train'} only. Received: {strange[0]!r}, which has no "
            "training images. Remove it or add training images."
        )
    left_out: Counter[str] = Counter()
    pictures = [
        file
        for part, labels in parts.items()
        for label in labels
        for file in _list_class(path / part / label, left_out)
    ]
    _count_beside(path, left_out)
    headers: dict[pathlib.Path, Header] = {}
    problems: dict[pathlib.Path, Unreadable] = {}
    for file in pictures:
        try:
            headers[file] = read_header(file)
        except Unreadable as problem:
            problems[file] = problem
    _check_depth(path, problems)
    size = image_size or _common_size(headers)
    channels = 1 if all(header.grey for header in headers.values()) else 3
    check_memory(str(path), len(headers), (*size, channels), resizable=True)
    images, read = {}, {}
    transparent = 0
    for part in parts:
        files = [file for file in headers if file.parent.parent.name == part]
        images[part] = np.empty((len(files), *size, channels), np.uint8)
        read[part] = []
        for file in files:
            try:
                images[part][len(read[part])], laid = decode(file, size, channels)
            except Unreadable as problem:
                problems[file] = problem
                continue
            read[part].append(file)
            transparent += laid
    skipped = _skip(path, pictures, problems, skip_damaged)
    for part, labels in parts.items():
        if gone := sorted(set(labels) - {file.parent.name for file in read[part]}):
            raise DataError(
                f"{path / part / gone[0]} holds no picture that can be read. Replace the damaged ones, or remove the "
                "class."
            )
    # Images that were skipped leave their places empty at the end.
    train, test = (
        (images[part][: len(files)], np.array([classes.index(file.parent.name) for file in files]))
        for part, files in read.items()
    )
    dataset = make_dataset(name, str(path), train, test, classes)
    shown = [headers[file] for file in (*read["train"], *read["test"])]
    notes = _notes(left_out, skipped, transparent, sum(header.several for header in shown))
    reading = Reading(
        path=readable(path.resolve()),
        formats=dict(Counter(header.format for header in shown)),
        left_out=dict(left_out),
        skipped=tuple(readable(file.relative_to(path)) for file in skipped),
        notes=(*notes, *remarks(dataset, lambda part, index: readable(read[part][index]))),
    )
    return replace(dataset, reading=reading)


def load_pictures(path: pathlib.Path, size: tuple[int, int], channels: int, *, most: int) -> np.ndarray:
    """Return pictures of a folder and of the folders in it: uint8 (images, height, width, channels), without labels.

    If there are more than ``most``, they are chosen at even distances in the order of their names. A DataError says if
    there is none, or if one cannot be read.
    """
    files = sorted(entry for entry in path.rglob("*") if is_picture(entry))
    if not files:
        raise DataError(f"{path} holds no picture, and neither do the folders in it. Give a folder of pictures.")
    chosen = [files[index] for index in np.linspace(0, len(files) - 1, min(most, len(files))).astype(int)]
    pictures = np.empty((len(chosen), *size, channels), np.uint8)
    for index, file in enumerate(chosen):
        try:
            pictures[index], _ = decode(file, size, channels)
        except Unreadable as problem:
            raise DataError(f"{file} cannot be read: {problem}. Replace it, or remove it.") from None
    return pictures


def shape_of_folder(path: pathlib.Path) -> tuple[int, int, int, int] | None:
    """Return (images, height, width, 3), as the first picture has them, or None if it cannot be read."""
    files = [file for part in ("train", "test") for file in path.glob(f"{part}/*/*") if is_picture(file)]
    try:
        return (len(files), *read_header(files[0]).size, 3) if files else None
    except Unreadable:
        return None


def _class_folders(path: pathlib.Path, part: str) -> list[str]:
    folder = path / part
    if not folder.is_dir():
        raise DataError(
            f"{path} must hold the pictures as {_LAYOUT}. The folder {part}/ is missing. {_layout_hint(path, part)}"
        )
    classes = [entry.name for entry in _folders(folder)]
    if not classes:
        raise DataError(f"{folder} must hold one folder a class. Received none. Lay the pictures out as {_LAYOUT}.")
    return classes


def _folders(path: pathlib.Path) -> list[pathlib.Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _layout_hint(path: pathlib.Path, part: str) -> str:
    """Return how to make a missing part out of what is there."""
    folders = _folders(path)
    others = {folder.name.lower(): folder.name for folder in folders if folder.name not in _OTHER_NAMES}
    for word in (part, *_OTHER_NAMES[part]):
        if word in others:
            return f"There is {others[word]}/. If it holds the {part} set, rename it to {part}/."
    if inner := [folder for folder in folders if (folder / part).is_dir()]:
        return f"There is one in {inner[0]}. Give that folder."
    classes = [folder.name for folder in folders if any(map(is_picture, folder.iterdir()))]
    if part == "train" and classes:
        first = classes[0]
        return (
            f"There are {', '.join(f'{name}/' for name in classes[:3])}{' and more' if classes[3:] else ''}, which "
            f"look like classes. Move most pictures of each class to train/CLASS/ (such as train/{first}/), and the "
            f"rest, perhaps a fifth, to test/CLASS/ (such as test/{first}/)."
        )
    if part == "test" and not others:
        return "Move a part of each class, perhaps a fifth, from train/CLASS/ to test/CLASS/."
    return "Create it."


def _list_class(folder: pathlib.Path, left_out: Counter[str]) -> list[pathlib.Path]:
    """Return the pictures of a class, and count what is beside them."""
    files = []
    beside: Counter[str] = Counter()
    for entry in sorted(folder.iterdir()):
        if is_picture(entry):
            files.append(entry)
        elif entry.name.startswith("."):
            beside["hidden"] += 1
        elif entry.is_dir():
            beside[_NESTED] += sum(map(is_picture, entry.rglob("*")))
        elif not entry.exists():
            beside["broken links"] += 1
        else:
            beside[readable(entry.suffix.lower()) or "without extension"] += 1
    beside = +beside  # without zeros
    if not files:
        raise DataError(
            f"{folder} must hold at least one picture (.png, .jpg, or another format that Pillow reads). "
            f"Received: {tally(beside) or 'none'}. "
            + ("Move these up into it." if _NESTED in beside else "Add pictures or remove the class.")
        )
    left_out.update(beside)
    return files


def _count_beside(path: pathlib.Path, left_out: Counter[str]) -> None:
    """Count the pictures outside of the classes, by where they are."""
    places = {f"in {part}/ itself": (path / part).iterdir() for part in ("train", "test")}
    for folder in path.iterdir():
        if folder.name.lower() in (*_OTHER_NAMES["train"], *_OTHER_NAMES["test"]) and folder.is_dir():
            places[f"in {folder.name}/"] = folder.rglob("*")
    for place, entries in places.items():
        if count := sum(map(is_picture, entries)):
            left_out[place] = count


def _check_depth(path: pathlib.Path, problems: Mapping[pathlib.Path, Unreadable]) -> None:
    """Raise a DataError that counts the pictures with more than 8 bits a channel."""
    deep = [file for file, problem in problems.items() if problem.deep]
    if deep:
        others = f" The same holds for {counted([len(deep) - 1], 'other picture')} in {path}." if deep[1:] else ""
        raise DataError(
            f"{deep[0]} must have 8 bits a channel. Received: {problems[deep[0]]}.{others} "
            f"Convert {'them' if others else 'it'}, choosing how {'their' if others else 'its'} values map to 0..255."
        )


def _common_size(headers: Mapping[pathlib.Path, Header]) -> tuple[int, int]:
    """Return the common (height, width) of all pictures, if there are any."""
    first, size = next(((file, header.size) for file, header in headers.items()), (None, (1, 1)))
    for file, header in headers.items():
        if header.size != size:
            raise DataError(
                f"All pictures must have one size. Received: {first} is {size[0]}x{size[1]} and {file} is "
                f"{header.size[0]}x{header.size[1]} (height x width). Give a size to resize them to, for example "
                "image_size=32 (--image-size 32)."
            )
    return size


def _skip(
    path: pathlib.Path, pictures: Sequence[pathlib.Path], problems: Mapping[pathlib.Path, Unreadable], allowed: bool
) -> list[pathlib.Path]:
    """Return the pictures to leave out, or raise a DataError that names all that cannot be read."""
    unread = [file for file in pictures if file in problems]
    refused = [file for file in unread if not (allowed and problems[file].skippable)]
    if not refused:
        return unread
    leave = ""
    if any(problems[file].skippable for file in refused):
        leave = " Or leave out what cannot be read with skip_damaged=True (--skip-damaged)."
    if len(refused) == 1:
        raise DataError(
            f"{refused[0]} cannot be read as a picture: {problems[refused[0]]}. Replace or remove it.{leave}"
        )
    lines = [f"{len(refused):,} of {len(pictures):,} pictures in {path} cannot be read. Replace or remove them.{leave}"]
    lines += [f"{file}: {problems[file]}" for file in refused[:MOST_NAMED]]
    if refused[MOST_NAMED:]:
        lines.append(f"and {len(refused) - MOST_NAMED:,} more")
    raise DataError("\n".join(lines))


def _notes(left_out: Mapping[str, int], skipped: Sequence[pathlib.Path], transparent: int, several: int) -> list[str]:
    """Return sentences about how pictures were read."""
    notes = []
    if set(left_out) - {"hidden"}:
        notes.append(
            f"Left out: {tally(left_out)}. If you want some of these to be read, put them into train/CLASS/ or "
            "test/CLASS/, in a format that Pillow reads."
        )
    if skipped:
        names = ", ".join(readable(file) for file in skipped[:3])
        notes.append(
            f"Skipped, because they cannot be read: {counted([len(skipped)], 'picture')} ({names}"
            f"{' and more' if skipped[3:] else ''})."
        )
    if transparent:
        notes.append(
            f"With transparent places, which became white: {counted([transparent], 'picture')}. If white hides what "
            "they show, lay them on another colour yourself."
        )
    if several:
        notes.append(f"With several frames, of which the first was read: {counted([several], 'picture')}.")
    return notes
