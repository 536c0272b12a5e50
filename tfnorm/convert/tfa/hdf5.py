"""Reading HDF5 as Keras 2 writes it, in Python.

The HDF5 library is not made for files by people you do not know: some of a few changed bytes crash it or keep it busy
for ever. This reader knows what h5py writes unless told otherwise and refuses all else: groups with a symbol table,
numbers in one piece, attributes in the header of their object. It looks at no byte outside the file, follows no loop
and copies nothing, so what a file claims costs no memory.

References:
    The HDF Group, HDF5 File Format Specification, Version 3.0.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

MAGIC = b"\x89HDF\r\n\x1a\n"
# The messages in the header of an object.
SPACE, TYPE, EXTERNAL, LAYOUT, FILTERS, ATTRIBUTE, CONTINUED, TABLE = 0x1, 0x3, 0x7, 0x8, 0xB, 0xC, 0x10, 0x11
NUMBER, FLOAT, STRING, ENUMERATION, VARIABLE = 0, 1, 3, 8, 9  # classes of types
EXPONENTS = {2: 5, 4: 8, 8: 11}  # bits of them in a number of that many bytes
SOFT_LINK = 2
MOST_AXES = 32


class OtherFormError(ValueError):
    """The file is HDF5 in a form that Keras 2 does not write."""


class Hdf5:
    """An HDF5 file in memory.

    Args:
        data: Its bytes.

    Raises:
        ValueError: If it is damaged, and so do all methods of it and its groups.
    """

    def __init__(self, data: bytes) -> None:
        self.raw, self.data = data, memoryview(data)
        self.left = 4 * len(data) + 1_000_000
        self._texts: dict[int, dict[int, tuple[int, int]]] = {}
        if bytes(self.take(0, 8)) != MAGIC:
            raise ValueError("it does not begin as HDF5 does")
        version, offsets, lengths = self.data[8], self.data[13], self.data[14]
        if version > 1 or offsets != 8 or lengths != 8:
            raise OtherFormError(f"version {version} of HDF5")
        start = 24 if version == 0 else 28
        base, _, end = self.unpack("<QQQ", start)
        if base:
            raise OtherFormError("a file within a file")
        if end > len(data):
            raise ValueError(f"it has {len(data)} bytes of {end}")
        (root,) = self.unpack("<Q", start + 40)
        self.root = Group(self, root, "")

    def take(self, start: int, size: int) -> memoryview:
        """Return ``size`` bytes from ``start`` on."""
        if not 0 <= start <= start + size <= len(self.data):
            raise ValueError(f"bytes {start} to {start + size} are beyond its end")
        return self.data[start : start + size]

    def spend(self, size: int) -> None:
        """Count bytes as read. What is read without end, since it is referred to again and again, is damaged."""
        self.left -= size
        if self.left < 0:
            raise ValueError("it refers to the same bytes again and again")

    def unpack(self, form: str, start: int) -> tuple[Any, ...]:
        """Return the numbers of a form, such as "<Q", from ``start`` on."""
        return struct.unpack(form, self.take(start, struct.calcsize(form)))

    def text(self, place: int, size: int) -> str:
        """Return a string."""
        self.spend(size)
        return bytes(self.take(place, size)).rstrip(b"\0").decode("utf-8")

    def short_text(self, start: int, end: int) -> str:
        """Return the string from ``start`` to the first zero, which comes before ``end``."""
        stop = self.raw.find(b"\0", start, end)
        if stop < 0:
            raise ValueError("a name has no end")
        return self.text(start, stop - start)

    def variable_text(self, place: int) -> str:
        """Return a string of any length, which is kept apart from what refers to it."""
        size, heap, wanted = self.unpack("<IQI", place)
        if heap not in self._texts:
            self._texts[heap] = dict(self._read_texts(heap))
        start, held = self._texts[heap].get(wanted, (0, -1))
        if size > held:
            raise ValueError("a text is missing")
        return self.text(start, size)

    def _read_texts(self, heap: int) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield number, place and size of the texts that are kept together."""
        if bytes(self.take(heap, 4)) != b"GCOL":
            raise ValueError("a text is not where it should be")
        (total,) = self.unpack("<Q", heap + 8)
        at, end = heap + 16, heap + total
        while at + 16 <= end:
            index, held = self.unpack("<H6xQ", at)
            if not index:
                break
            self.spend(16)
            yield index, (at + 16, held)
            at += 16 + held + -held % 8


@dataclass
class Kind:
    """The type of numbers or strings.

    Attributes:
        category: Its class.
        size: Bytes of one.
        dtype: Of numbers, NumPy's type.
    """

    category: int
    size: int
    dtype: np.dtype | None


class Object:
    """A group or an array.

    Args:
        file: The file.
        address: Where its header is.
        name: Its path.
    """

    def __init__(self, file: Hdf5, address: int, name: str) -> None:
        self.file = file
        self.address = address
        self.name = name
        if bytes(file.take(address, 4)) == b"OHDR":
            raise OtherFormError(f"{name or 'the file'!r} in the newer form of HDF5")
        version, count, size = file.unpack("<BxH4xI", address)
        if version != 1:
            raise ValueError(f"there is no object at {name!r}")
        self.messages = list(self._read_messages(count, address + 16, size))

    def _read_messages(self, count: int, start: int, size: int) -> Iterator[tuple[int, int, int]]:
        """Yield type, place and size of each message; ``count`` keeps blocks that refer to each other from a loop."""
        blocks = [(start, size)]
        while blocks:
            at, size = blocks.pop(0)
            end = at + size
            while at + 8 <= end and count > 0:
                self.file.spend(8)
                kind, length, flags = self.file.unpack("<HHB", at)
                self.file.take(at + 8, length)
                if flags & 2:
                    raise OtherFormError(f"{self.name!r} with a type of its own")
                if kind == CONTINUED:
                    blocks.append(self.file.unpack("<QQ", at + 8))
                else:
                    yield kind, at + 8, length
                at += 8 + length
                count -= 1

    def find(self, kind: int) -> tuple[int, int] | None:
        """Return place and size of the first message of a kind, or None."""
        return next(((place, size) for each, place, size in self.messages if each == kind), None)

    def _shape(self, place: int) -> tuple[int, ...]:
        version, rank, _, last = self.file.unpack("<BBBB", place)
        if version not in (1, 2) or rank > MOST_AXES or (version == 2 and last == 2):
            raise ValueError(f"the shape of {self.name!r} cannot be read")
        return self.file.unpack(f"<{rank}Q", place + (8 if version == 1 else 4))

    def _kind(self, place: int) -> Kind:
        first, bits, size = self.file.unpack("<BB2xI", place)
        category, order = first & 15, ">" if bits & 1 else "<"
        if category == ENUMERATION:  # a bool is one
            return Kind(NUMBER, size, self._kind(place + 8).dtype)
        if category == NUMBER and size in (1, 2, 4, 8):
            return Kind(NUMBER, size, np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}"))
        if category == FLOAT and EXPONENTS.get(size) == self.file.data[place + 13]:
            return Kind(FLOAT, size, np.dtype(f"{order}f{size}"))
        if category == STRING or (category == VARIABLE and bits & 15 == 1 and size == 16):
            return Kind(category, size, None)
        raise OtherFormError(f"{self.name!r} holds neither numbers nor strings")


class Group(Object):
    """A group."""

    @cached_property
    def attributes(self) -> dict[str, list[str]]:
        """The strings among the attributes, each a list of one or more."""
        found = {}
        for kind, place, size in self.messages:
            if kind == ATTRIBUTE:
                name, values = self._attribute(place, size)
                found[name] = values
        return found

    def _attribute(self, place: int, size: int) -> tuple[str, list[str]]:
        version, *sizes = self.file.unpack("<BxHHH", place)
        if version not in (1, 2, 3):
            raise ValueError(f"an attribute of {self.name!r} cannot be read")
        places = [place + (9 if version == 3 else 8)]
        for length in sizes:
            places.append(places[-1] + (length + -length % 8 if version == 1 else length))
        name = self.file.text(places[0], sizes[0])
        if self.file.data[places[1]] & 15 not in (STRING, VARIABLE):
            return name, []
        kind, count = self._kind(places[1]), math.prod(self._shape(places[2]))
        if places[3] + count * kind.size > place + size:
            raise ValueError(f"the attribute {name!r} claims more bytes than there are")
        read = self.file.variable_text if kind.category == VARIABLE else lambda at: self.file.text(at, kind.size)
        return name, [read(places[3] + index * kind.size) for index in range(count)]

    @cached_property
    def entries(self) -> dict[str, int]:
        """The addresses of what is in the group, by name."""
        found = self.find(TABLE)
        if found is None:
            raise OtherFormError(f"{self.name or 'the file'!r} in the newer form of HDF5")
        tree, heap = self.file.unpack("<QQ", found[0])
        if bytes(self.file.take(heap, 4)) != b"HEAP":
            raise ValueError(f"the names in {self.name!r} are not where they should be")
        size, _, names = self.file.unpack("<QQQ", heap + 8)
        entries = {}
        for at in self._symbols(tree, set()):
            self.file.spend(40)
            offset, address, cached = self.file.unpack("<QQI", at)
            name = self.file.short_text(names + offset, names + size)
            if cached == SOFT_LINK:
                raise OtherFormError(f"{self.name + '/' + name!r} leads elsewhere")
            entries[name] = address
        return entries

    def _symbols(self, address: int, seen: set[int]) -> Iterator[int]:
        """Yield the places of the entries in the tree at an address."""
        if address in seen:
            raise ValueError(f"the group {self.name!r} refers to itself")
        seen.add(address)
        sign = bytes(self.file.take(address, 4))
        if sign == b"TREE":
            kind, _, count = self.file.unpack("<BBH", address + 4)
            if kind:
                raise ValueError(f"the group {self.name!r} cannot be read")
            for index in range(count):
                (child,) = self.file.unpack("<Q", address + 32 + 16 * index)
                yield from self._symbols(child, seen)
        elif sign == b"SNOD":
            (count,) = self.file.unpack("<H", address + 6)
            yield from (address + 8 + 40 * index for index in range(count))
        else:
            raise ValueError(f"the group {self.name!r} cannot be read")

    def __contains__(self, name: str) -> bool:
        """Return whether there is a group or array of a name in it."""
        return name in self.entries

    def __getitem__(self, path: str) -> Group:
        """Return the group at a path."""
        group = self
        for name in path.split("/"):
            group = Group(self.file, group._address(name), f"{group.name}/{name}")
        return group

    def _address(self, name: str) -> int:
        if name not in self.entries:
            raise ValueError(f"there is no {name!r} in {self.name or 'the file'!r}")
        return self.entries[name]

    def array(self, path: str) -> np.ndarray:
        """Return the numbers at a path, as a view into the file."""
        *groups, name = path.split("/")
        group = self["/".join(groups)] if groups else self
        return Numbers(self.file, group._address(name), f"{group.name}/{name}").read()

    def walk(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield path and numbers of all arrays in it."""
        seen = set()
        waiting: list[tuple[str, int]] = [("", self.address)]
        while waiting:
            path, address = waiting.pop()
            if address in seen:
                raise ValueError(f"{path!r} is in it twice")
            seen.add(address)
            found = Group(self.file, address, path)
            if found.find(TABLE):
                waiting += [(f"{path}/{name}", inner) for name, inner in reversed(found.entries.items())]
            else:
                yield path[1:], Numbers(self.file, address, path).read()


class Numbers(Object):
    """An array."""

    def read(self) -> np.ndarray:
        """Return the numbers."""
        space, kind, layout = (self.find(each) for each in (SPACE, TYPE, LAYOUT))
        if not (space and kind and layout):
            raise ValueError(f"there are no numbers at {self.name!r}")
        shape, numbers = self._shape(space[0]), self._kind(kind[0])
        if numbers.dtype is None:
            raise OtherFormError(f"{self.name!r} holds no numbers")
        version, form = self.file.unpack("<BB", layout[0])
        if self.find(EXTERNAL):
            raise OtherFormError(f"{self.name!r} has its numbers in another file")
        if version != 3 or form > 1 or self.find(FILTERS):
            raise OtherFormError(f"{self.name!r} in pieces or packed")
        claimed = math.prod(shape) * numbers.size
        if not claimed:
            return np.empty(shape, numbers.dtype)
        if form == 0:
            (stored,) = self.file.unpack("<H", layout[0] + 2)
            place = layout[0] + 4
        else:
            place, stored = self.file.unpack("<QQ", layout[0] + 2)
        if claimed > stored or place + stored > len(self.file.data):
            held = max(min(stored, len(self.file.data) - place), 0)
            raise ValueError(f"{self.name!r} claims {claimed} bytes and stores {held}")
        return np.frombuffer(self.file.take(place, claimed), numbers.dtype).reshape(shape)
