"""A mapping from names to things of one kind, with helpful errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from tfnorm.errors import TfnormError, unknown

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """An ordered mapping from names to things of one kind.

    An unknown name raises an error that lists the valid names and the nearest one.

    Args:
        kind: The noun used in messages, such as ``"architecture"``.
        error: The exception class raised for an unknown or repeated name.
        items: The first things, by their names.

    Example:
        >>> norms = Registry("norm")
        >>> norms.add("bn", 1)
        1
        >>> norms["bn"], list(norms)
        (1, ['bn'])
    """

    def __init__(self, kind: str, error: type[TfnormError] = TfnormError, items: Mapping[str, T] | None = None) -> None:
        self.kind = kind
        self._error = error
        self._items = dict(items or {})

    def add(self, name: str, item: T) -> T:
        """Register ``item`` under ``name`` and return it. A name can be taken once only."""
        if name in self._items:
            raise self._error(f"The {self.kind} {name!r} is registered already. Choose another name.")
        self._items[name] = item
        return item

    def __getitem__(self, name: str) -> T:
        """Return the item called ``name``."""
        try:
            return self._items[name]
        except (KeyError, TypeError):
            raise self._error(unknown(self.kind, name, self._items)) from None

    def __contains__(self, name: object) -> bool:
        """Return whether ``name`` is registered (Mapping's own test expects a KeyError)."""
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in the order they were added."""
        return iter(self._items)

    def __len__(self) -> int:
        """Return how many names are registered."""
        return len(self._items)
