"""A file that says which pictures belong together, such as those of one patient."""

from __future__ import annotations

import csv
import pathlib
import posixpath
from dataclasses import replace

from tfnorm.datasets.folder.listing import Listing
from tfnorm.errors import DataError

COLUMNS = ("file", "group")


def with_groups(listing: Listing, path: pathlib.Path) -> Listing:
    """Return the listing with the group of each picture, as a CSV file with the columns file and group has them.

    Args:
        listing: The pictures.
        path: The CSV file. Its paths are those in the folder of the pictures; other columns are passed over.

    Raises:
        DataError: If the file cannot be read, or if it does not say one group for each picture.
    """
    groups = _read(path, listing.root)
    lacking = [name for name in listing.names if name not in groups]
    if lacking:
        there = f" It names {next(iter(groups))!r}, for example." if groups else " It names none."
        raise DataError(
            f"{path} must have a group for each picture in {listing.root}. It lacks {len(lacking):,} of "
            f"{len(listing):,}, such as {lacking[0]!r}.{there if len(lacking) == len(listing) else ''} Add a line for "
            "each, with its path in the folder."
        )
    found = tuple(groups[name] for name in listing.names)
    division = {"groups": str(path.resolve()), "number_of_groups": len(set(found))}
    return replace(listing, groups=found, division=division)


def _read(path: pathlib.Path, root: pathlib.Path) -> dict[str, str]:
    """Return the group of each path."""
    must = f"{path} must be a CSV file with the columns {' and '.join(COLUMNS)}"
    groups: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as opened:
            lines = csv.DictReader(opened)
            if lacking := [name for name in COLUMNS if name not in (lines.fieldnames or ())]:
                found = ", ".join(map(repr, lines.fieldnames or ())) or "an empty file"
                raise DataError(f"{must}. Received: {found}, without {lacking[0]!r}. Write a first line file,group.")
            for line in lines:
                name, group = ((line[column] or "").strip() for column in COLUMNS)
                if not name or not group:
                    raise DataError(
                        f"{must}, and a value in both. Received in line {lines.line_num}: file {name!r}, group "
                        f"{group!r}. Fill it in."
                    )
                name = _inside(name, root)
                if groups.setdefault(name, group) != group:
                    raise DataError(
                        f"{path} must have one group for each picture. Received for {name!r}: {groups[name]!r} and "
                        f"{group!r}. Remove one of them."
                    )
    except OSError as error:
        raise DataError(f"{must}. It cannot be read: {error.strerror or error}. Correct the path.") from None
    except csv.Error as error:
        raise DataError(f"{must}. Line {lines.line_num} cannot be read: {error}. Correct it.") from None
    return groups


def _inside(name: str, root: pathlib.Path) -> str:
    """Return a path as `Listing.names` has it."""
    given = pathlib.Path(name)
    if given.is_absolute():
        for folder in (root.absolute(), root.resolve()):
            if given.is_relative_to(folder):
                return given.relative_to(folder).as_posix()
    return posixpath.normpath(name.replace("\\", "/"))
