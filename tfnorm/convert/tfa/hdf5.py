"""What is in an HDF5 file of Keras 2, as h5py reads it in a process of its own.

The HDF5 library is not made for files by people you do not know. Eight changed bytes have it go on for ever, others
have it take gigabytes, and no call stops it: see `test_bytes_that_stop_the_library`. So a second process reads the
headers, with limits on its time and memory. It reads no numbers. It says where in the file they are, and only what
lies in the file in one piece is taken from there.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

try:
    import resource
except ImportError:  # on Windows
    resource = None  # type: ignore[assignment]

MAGIC = b"\x89HDF\r\n\x1a\n"
MOST_SECONDS, MOST_MEMORY = 10, 1 << 30  # of the second process
MOST_WAIT = 300  # seconds until it is given up, on a machine that is busy with other work


class OtherFormError(ValueError):
    """The file is HDF5 in a form that Keras 2 does not write."""


class Hdf5:
    """The groups, texts and numbers of a file, all paths of which are in ``found``.

    A damaged file is a ValueError. The methods raise it, or an `OtherFormError`, for the part that they are asked for.
    """

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        self.found = _described(path)
        self._at("")

    def texts(self, path: str) -> dict[str, list[str]]:
        """Return the attributes of a group by name: a list of strings each, empty where it holds something else."""
        return self._at(path).get("texts", {})

    def array(self, path: str) -> np.ndarray:
        """Return the numbers at a path, as a view into the file."""
        found = self._at(path)
        if "dtype" not in found:
            raise ValueError(f"there are no numbers at {'/' + path!r}")
        dtype, shape, stored = np.dtype(found["dtype"]), tuple(found["shape"]), found["stored"]
        claimed = math.prod(shape) * dtype.itemsize
        if not claimed:
            return np.empty(shape, dtype)
        start = found["start"] or 0
        if claimed > stored or not 0 < start <= start + claimed <= len(self.data):
            raise ValueError(f"{'/' + path!r} claims {claimed} bytes and stores {stored}")
        return np.frombuffer(self.data, dtype, math.prod(shape), start).reshape(shape)

    def arrays(self, path: str) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the path within a group, and the numbers, of all arrays in it."""
        for each in self.found:
            if each.startswith(f"{path}/") and "texts" not in self._at(each):
                yield each.removeprefix(f"{path}/"), self.array(each)

    def _at(self, path: str) -> dict[str, Any]:
        found = self.found.get(path)
        if found is None:
            self._at(path.rpartition("/")[0])  # which may be damaged itself
            raise ValueError(f"there is no {'/' + path!r}")
        if "other" in found:
            raise OtherFormError(f"{'/' + path!r} {found['other']}")
        if "damaged" in found:
            raise ValueError(found["damaged"])
        return found


def _described(path: Path) -> dict[str, Any]:
    """Return what each path in a file leads to, as a second process finds it."""
    places = os.pathsep.join(filter(None, sys.path))
    try:
        answer = subprocess.run(
            [sys.executable, "-P", "-m", __name__, str(path), str(MOST_SECONDS)],
            env=os.environ | {"PYTHONPATH": places, "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=MOST_WAIT,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"the HDF5 library was not done with it after {MOST_WAIT} seconds") from None
    if answer.returncode < 0:
        raise ValueError("the HDF5 library stopped at it")
    if answer.returncode:
        raise RuntimeError(answer.stderr.decode(errors="replace").strip().rpartition("\n")[2])
    return json.loads(answer.stdout)


# In the second process.


@contextlib.contextmanager
def _damage(found: dict[str, Any], path: str) -> Iterator[None]:
    """Note at a path what the library raises, which for a damaged file may be anything."""
    try:
        yield
    except Exception as error:
        found[path] = {"damaged": str(error) or type(error).__name__}


def _describe_group(group: h5py.Group, path: str, found: dict[str, Any], seen: set[int]) -> None:
    address = h5py.h5o.get_info(group.id).addr
    if address in seen:
        raise ValueError(f"the group {'/' + path!r} is in it twice")
    seen.add(address)
    if not all(isinstance(name, str) for name in (*group, *group.attrs)):
        raise ValueError(f"a name in {'/' + path!r} is no text")
    found[path] = {"texts": {name: _texts(group, name) for name in group.attrs}}
    for name in group:
        inner = f"{path}/{name}" if path else name
        with _damage(found, inner):
            if type(group.get(name, getlink=True)) is not h5py.HardLink:
                found[inner] = {"other": "leads elsewhere"}
            elif isinstance(part := group[name], h5py.Group):
                _describe_group(part, inner, found, seen)
            else:
                found[inner] = _array(part)


def _texts(group: h5py.Group, name: str) -> list[str]:
    attribute = group.attrs.get_id(name)
    size = math.prod(attribute.shape) * attribute.dtype.itemsize
    if attribute.dtype.kind not in "SO" or size > os.path.getsize(group.file.filename):
        return []
    values = np.asarray(group.attrs[name]).reshape(-1).tolist()
    return [value.decode() if isinstance(value, bytes) else value for value in values if isinstance(value, bytes | str)]


def _array(array: Any) -> dict[str, Any]:
    """Return where the numbers of a data set are, or why they are not taken."""
    if not isinstance(array, h5py.Dataset):
        return {"other": "is neither a group nor an array"}
    made = array.id.get_create_plist()
    if made.get_external_count():
        return {"other": "has its numbers in another file"}
    if made.get_layout() != h5py.h5d.CONTIGUOUS or made.get_nfilters():
        return {"other": "is virtual, in pieces or packed"}
    if array.dtype.kind not in "biuf":
        return {"other": "holds no numbers"}
    if array.id.get_type() != h5py.h5t.py_create(array.dtype, logical=True):
        return {"other": "holds numbers of a type that NumPy does not have"}
    place = {"start": array.id.get_offset(), "stored": array.id.get_storage_size()}
    return {"dtype": array.dtype.str, "shape": array.shape, **place}


def _main(path: str, seconds: str) -> None:
    for kind, most in (("CPU", int(seconds)), ("AS", MOST_MEMORY), ("CORE", 0)):
        with contextlib.suppress(AttributeError, ValueError, OSError):  # not every system has each limit
            resource.setrlimit(getattr(resource, f"RLIMIT_{kind}"), (most, most))
    found: dict[str, Any] = {}
    with _damage(found, ""), h5py.File(path, "r", locking=False) as file:
        _describe_group(file, "", found, set())
    print(json.dumps(found))


if __name__ == "__main__":
    _main(*sys.argv[1:])
