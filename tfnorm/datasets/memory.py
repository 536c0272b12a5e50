"""What a process may take of its machine, and checks before images are read that they fit into memory."""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path
from typing import Any

from tfnorm.errors import DataError

try:
    import resource
except ImportError:  # on Windows
    resource = None  # type: ignore[assignment]

# Where Linux says how much memory a container may use, and how much it uses: version 2, then version 1.
_CONTAINERS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
)


def available_memory() -> int | None:
    """Return how many bytes this process can still take, or None if the system does not tell."""
    return min((room for room in (_of_machine(), _of_container(), _of_process()) if room is not None), default=None)


def available_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        return 1024 * (kilobytes["MemAvailable"] + kilobytes.get("SwapFree", 0))
    except (OSError, ValueError, LookupError):
        return None


def _of_container() -> int | None:
    for folder, limit, usage in _CONTAINERS:
        try:
            most, used = (int((folder / name).read_text()) for name in (limit, usage))
            lines = (folder / "memory.stat").read_text().splitlines()
        except (OSError, ValueError):  # no such file, or "max"
            continue
        # Files that were read stay in memory until it is needed for something else.
        cached = sum(int(line.split()[1]) for line in lines if line.startswith(("inactive_file ", "active_file ")))
        return max(0, most - used + cached)
    return None


def _of_process() -> int | None:
    """Return what `ulimit -v` leaves."""
    try:
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return None if limit == resource.RLIM_INFINITY else max(0, limit - pages * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, AttributeError):  # on Windows and macOS
        return None


def size_text(count: float) -> str:
    """Return a number of bytes as a person reads it.

    Example:
        >>> size_text(4_515_840_000), size_text(300_000)
        ('4.2 GiB', '0.3 MiB')
    """
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


def memory_for_images(given: int | None) -> int:
    """Return how many bytes decoded pictures may take: those that are given, or a quarter of what is free."""
    if given is not None:
        return given
    free = available_memory()
    return sys.maxsize if free is None else free // 4


def bytes_of(text: Any) -> int:
    """Return a number of bytes, which a person may write with a unit, such as "500MB" or "2 GiB".

    Raises:
        DataError: If it is not a positive number of bytes.

    Example:
        >>> bytes_of("500MB"), bytes_of("1.5 GiB"), bytes_of(4096)
        (500000000, 1610612736, 4096)
    """
    found = re.fullmatch(r"([\d.]+)\s*([kmgt]?)(i?)b?", str(text).strip().lower())
    try:
        number, prefix, binary = found.groups() if found else ("", "", "")
        count = int(float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix or " "))
    except (ValueError, OverflowError):
        count = 0
    if count <= 0 or isinstance(text, bool):
        raise DataError(f"The memory must be a number of bytes, such as 500MB or 2GB. Received: {text!r}.")
    return count


def check_memory(where: str, images: int, shape: tuple[int, ...]) -> None:
    """Raise a DataError if so many images of a shape do not fit into memory."""
    needed, free = images * math.prod(shape), available_memory()
    if free is None or needed <= free:
        return
    raise DataError(
        f"{where}: {images:,} images of {'x'.join(map(str, shape))} need {size_text(needed)} of memory, and "
        f"{size_text(free)} are free. Use fewer or smaller images, or free some memory."
    )
