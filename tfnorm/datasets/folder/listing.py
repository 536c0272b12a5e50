"""The pictures of a folder: their paths, classes and sides. No picture is opened."""

from __future__ import annotations

import hashlib
import pathlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from tfnorm.datasets.folder.pictures import is_picture
from tfnorm.datasets.reading import readable, tally
from tfnorm.datasets.splits import split_off
from tfnorm.errors import DataError

LAYOUT = "train/CLASS/*.png and test/CLASS/*.png"
# The share of each class to test on, where nothing else says which pictures these are.
TEST_SHARE = 0.2
LINKS_OUT = "links out of the folder"
_OTHER_NAMES = {
    "train": ("training", "trainset", "train_set", "train_images"),
    "test": ("testing", "testset", "test_set", "test_images", "val", "valid", "validation", "dev", "eval"),
}
_EMPTY = "empty folders"
# What systems put beside pictures; they are as good as hidden.
_OF_THE_SYSTEM = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")


@dataclass(frozen=True, eq=False)
class Listing:
    """The pictures of a folder, in the order of their names, training before test pictures.

    Args:
        root: The folder.
        names: The path of each picture in the folder, with "/".
        labels: The label of each picture, int64.
        classes: The names of the classes.
        in_test: Whether each is to test on, or None until they are divided.
        left_out: How many files were passed over, by their extension or by where they are.
        division: How they were divided, and the file of the groups, for the record.
        groups: The group of each picture, or None.
    """

    root: pathlib.Path
    names: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    in_test: np.ndarray | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    division: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.names)

    def file(self, index: int) -> pathlib.Path:
        """Return the path of a picture."""
        return self.root / self.names[index]

    def class_folder(self, name: str) -> pathlib.Path:
        """Return the folder of the class, and of the side, that a picture is in."""
        parts = name.split("/")
        return self.root.joinpath(*parts[: 2 if parts[0] in ("train", "test") else 1])

    def part(self, part: str) -> np.ndarray:
        """Return the indices of the pictures of "train" or "test"; they must be divided."""
        if self.in_test is None:
            raise ValueError("The pictures are not divided yet.")
        return np.flatnonzero(self.in_test == (part == "test"))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of names, sizes in bytes, labels, classes and sides; no picture is opened."""
        digest = hashlib.sha256(repr(self.classes).encode("utf-8", "surrogateescape"))
        sides = [None] * len(self) if self.in_test is None else self.in_test.tolist()
        for index, (name, label, side) in enumerate(zip(self.names, self.labels.tolist(), sides, strict=True)):
            line = f"{name}\0{self.file(index).stat().st_size}\0{label}\0{side}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def without(self, names: Collection[str]) -> Listing:
        """Return the listing without some pictures."""
        rows = [index for index, name in enumerate(self.names) if name not in names]
        return replace(
            self,
            names=tuple(self.names[row] for row in rows),
            labels=self.labels[rows],
            in_test=None if self.in_test is None else self.in_test[rows],
            groups=None if self.groups is None else tuple(self.groups[row] for row in rows),
        )

    def divided(self, share: float | None) -> Listing:
        """Return the listing with a part of each class to test on, the same each time; groups stay whole.

        Raises:
            DataError: If a class would have no picture on one side, or if a group is on both sides already.
        """
        if self.in_test is not None:
            _check_sides(self)
            return self
        share = TEST_SHARE if share is None else share
        try:
            kept, held = split_off(self.labels, share, self.classes, self.groups)
        except ValueError as error:
            raise DataError(
                f"{self.root} cannot be divided into pictures to train and to test on. Received: test_share={share:g}"
                f"{'' if self.groups is None else ' with groups'}. {error}"
            ) from None
        in_test = np.zeros(len(self), bool)
        in_test[held] = True
        division = {"test_share": share, "seed": 0, "train": len(kept), "test": len(held)}
        return replace(self, in_test=in_test, division={**self.division, **division})


def list_folder(path: pathlib.Path, *, test_share: float | None = None, follow_links: bool = False) -> Listing:
    """Return the pictures in ``train/CLASS/`` and ``test/CLASS/``, or in ``CLASS/`` alone, which `divided` divides.

    Classes are the folders at that place, sorted by name. What lies in their sub-folders belongs to them. Hidden files,
    those that systems leave, files of other kinds and empty folders are passed over and counted. Links out of the
    folder are followed if ``follow_links``.

    Raises:
        DataError: If there is no picture, if a class has none, or if the folder looks laid out in another way.
    """
    walk = _Walk(path, follow_links)
    has = {part: walk.is_followed(path / part) for part in ("train", "test")}
    if test_share is not None and has["test"]:
        raise DataError(
            f"{path} has a folder test/, and `test_share` chooses pictures where there is none. Received: "
            f"test_share={test_share:g}. Leave it out, or rename test/."
        )
    beside = dict.fromkeys([path, *(path / part for part in has if has[part])])
    if any(has.values()):
        for part in has:
            if not has[part] and (part == "train" or test_share is None):
                raise DataError(
                    f"{path} must hold the pictures as {LAYOUT}. The folder {part}/ is missing. "
                    f"{_layout_hint(walk, path, part)}"
                )
        parts = {part: walk.classes(path / part) for part in has if has[part]}
    else:
        _check_classes_alone(walk, path)
        parts = {"": walk.classes(path)}
    classes = tuple(next(iter(parts.values())))
    if strange := [label for label in parts.get("test", ()) if label not in classes]:
        raise DataError(
            f"{path / 'test'} must hold classes of {path / 'train'} only. Received: {strange[0]!r}, which has no "
            "training images. Remove it or add training images."
        )
    names, labels, in_test = [], [], []
    for part, found in parts.items():
        for label, files in found.items():
            names += [file.relative_to(path).as_posix() for file in files]
            labels += [classes.index(label)] * len(files)
            in_test += [part == "test"] * len(files)
    walk.count_beside(beside)
    return Listing(
        path, tuple(names), np.array(labels, np.int64), classes,
        np.array(in_test) if "test" in parts else None, dict(walk.left_out),
    )  # fmt: skip


class _Walk:
    """Goes through the folders below ``root``, and counts what is passed over."""

    def __init__(self, root: pathlib.Path, follow_links: bool) -> None:
        self.root, self.follow_links = root.resolve(), follow_links
        self.left_out: Counter[str] = Counter()

    def is_followed(self, entry: pathlib.Path) -> bool:
        """Return whether an entry is a folder that is read."""
        return entry.is_dir() and not self.leads_out(entry)

    def leads_out(self, entry: pathlib.Path) -> bool:
        """Return whether an entry is a link out of the folder, and such links are not followed."""
        if self.follow_links or not entry.is_symlink():
            return False
        try:
            return not entry.resolve().is_relative_to(self.root)
        except (OSError, RuntimeError):  # a link to itself
            return True

    def folders(self, path: pathlib.Path) -> list[pathlib.Path]:
        """Return the folders in a folder that are read, by name."""
        return sorted(entry for entry in path.iterdir() if not entry.name.startswith(".") and self.is_followed(entry))

    def classes(self, path: pathlib.Path) -> dict[str, list[pathlib.Path]]:
        """Return the pictures of each class in a folder."""
        found = {}
        out = 0
        for entry in sorted(path.iterdir()):
            if entry.name.startswith(".") or not entry.is_dir():
                continue
            if self.leads_out(entry):
                out += 1
                continue
            beside: Counter[str] = Counter()
            files = sorted(self.pictures(entry, beside), key=lambda file: file.parts)
            others = {kind: count for kind, count in beside.items() if kind not in ("hidden", _EMPTY)}
            if not files and others:
                more = "Give --follow-links if you want them to be read" if LINKS_OUT in others else "Add pictures"
                raise DataError(
                    f"{entry} must hold at least one picture (.png, .jpg, or another format that Pillow reads). "
                    f"Received: {tally(others)}. {more}, or remove the class."
                )
            self.left_out += beside
            if files:
                found[entry.name] = files
            else:
                self.left_out[_EMPTY] += 1
        self.left_out += Counter({LINKS_OUT: out})
        if not found:
            links = f", and {out:,} {LINKS_OUT}. Give --follow-links if you want them to be read" if out else ""
            raise DataError(
                f"{path} must hold one folder of pictures a class. Received: none{links}. Lay the pictures out as "
                f"{LAYOUT}, or as CLASS/*.png."
            )
        return found

    def pictures(
        self, folder: pathlib.Path, beside: Counter[str], above: tuple[pathlib.Path, ...] = ()
    ) -> Iterator[pathlib.Path]:
        """Yield the pictures in a folder and in those in it, and count in ``beside`` what is passed over."""
        above = (*above, folder.resolve())
        empty = True
        for entry in folder.iterdir():
            if entry.name.startswith(".") or entry.name.lower() in _OF_THE_SYSTEM:
                beside["hidden"] += 1
                continue
            empty = False
            if not entry.exists():
                beside["broken links"] += 1
            elif self.leads_out(entry):
                beside[LINKS_OUT] += 1
            elif entry.is_dir():
                if entry.is_symlink() and entry.resolve() in above:
                    beside["links in a circle"] += 1
                else:
                    yield from self.pictures(entry, beside, above)
            elif is_picture(entry):
                yield entry
            else:
                beside[readable(entry.suffix.lower()) or "without extension"] += 1
        beside[_EMPTY] += empty and len(above) > 1

    def count_beside(self, places: Collection[pathlib.Path]) -> None:
        """Count the pictures outside of the classes, by where they are."""
        for place in places:
            where = "in the folder itself" if place.resolve() == self.root else f"in {place.name}/ itself"
            self.left_out[where] += sum(map(is_picture, place.iterdir()))
        if len(places) > 1:
            root = next(iter(places))
            for folder in self.folders(root):
                if folder.name.lower() in (*_OTHER_NAMES["train"], *_OTHER_NAMES["test"]):
                    found = sum(1 for _ in self.pictures(folder, Counter()))
                    self.left_out[f"in {folder.name}/"] += found
        self.left_out = +self.left_out  # without zeros


def _layout_hint(walk: _Walk, path: pathlib.Path, part: str) -> str:
    """Return how to make a missing part out of what is there."""
    if walk.leads_out(path / part):
        return "It is a link out of the folder. Give --follow-links if you want it to be read."
    folders = walk.folders(path)
    others = {folder.name.lower(): folder.name for folder in folders if folder.name not in _OTHER_NAMES}
    for word in (part, *_OTHER_NAMES[part]):
        if word in others:
            return f"There is {others[word]}/. If it holds the {part} set, rename it to {part}/."
    if part == "test" and not others:
        return (
            "Move a part of each class, perhaps a fifth, from train/CLASS/ to test/CLASS/. Or let tfnorm choose it "
            "with test_share=0.2 (--test-share 0.2)."
        )
    return "Create it."


def _check_classes_alone(walk: _Walk, path: pathlib.Path) -> None:
    """Raise a DataError if the folders of a folder are hardly its classes."""
    folders = walk.folders(path)
    must = f"{path} must hold the pictures as {LAYOUT}, or one folder a class."
    for part in ("train", "test"):
        if walk.leads_out(path / part):
            raise DataError(
                f"{must} Its folder {part}/ is a link out of it. Give --follow-links if you want it to be read."
            )
    for folder in folders:
        if folder.name.lower() in ("train", *_OTHER_NAMES["train"]):
            raise DataError(
                f"{must} There is {folder.name}/. If it holds the train set, rename it to train/, and that of the test "
                "set to test/."
            )
    inner = [folder for folder in folders if any(walk.is_followed(folder / part) for part in ("train", "test"))]
    if inner:
        raise DataError(f"{must} There is train/ or test/ in {inner[0]}. Give that folder.")
    if len(folders) == 1 and (classes := walk.folders(folders[0])):
        raise DataError(
            f"{must} Received: {folders[0].name}/ alone, with {classes[0].name}/{' and more' if classes[1:] else ''} "
            f"in it. If these are the classes, give {folders[0]}."
        )


def _check_sides(listing: Listing) -> None:
    """Raise a DataError if a group has pictures in train/ and in test/."""
    if listing.groups is None:
        return
    sides = ({listing.groups[row] for row in listing.part(part)} for part in ("train", "test"))
    if both := sorted(set.intersection(*sides)):
        raise DataError(
            f"{listing.root}: a group must be in train/ or in test/. In both: {len(both):,}, such as {both[0]!r}. Move "
            "their pictures to one side, or give one folder a class without train/ and test/, which tfnorm divides."
        )


def common_groups(listing: Listing) -> list[str]:
    """Return a sentence if groups have pictures of several classes, which may be numbers that mean two things."""
    if listing.groups is None:
        return []
    classes: dict[str, set[int]] = {}
    for group, label in zip(listing.groups, listing.labels.tolist(), strict=True):
        classes.setdefault(group, set()).add(label)
    several = sorted(group for group, labels in classes.items() if len(labels) > 1)
    if not several:
        return []
    first = [listing.classes[label] for label in sorted(classes[several[0]])]
    return [
        f"Groups with pictures of several classes: {len(several):,} of {len(classes):,}, such as {several[0]!r} in "
        f"{first[0]!r} and {first[1]!r}. If these are two groups of one name, give them two names."
    ]
