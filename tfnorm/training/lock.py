"""One process at a time on a run's folder."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import IO

from tfnorm.errors import LockedError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt


# What says that another process holds a lock, and not that there are no locks.
HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)


class RunLock:
    """Holds a folder for this process, within a ``with`` statement.

    The lock is the operating system's on the open file ``.lock``, so that it ends with the process, however that ends.
    The file says who holds it and stays behind, since deleting it would let two processes lock two files of one name.

    Args:
        folder: The run's folder; it is made if it does not exist.

    Raises:
        LockedError: On entering, if another process holds the folder; says which.
        OSError: If the file system has no locks.

    Example:
        >>> with RunLock(folder / "run"):
        ...     sorted(path.name for path in (folder / "run").iterdir())
        ['.lock']
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / ".lock"
        self._file: IO[str] | None = None

    def __enter__(self) -> RunLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115 - stays open while the lock is held
        try:
            _lock(file)
        except OSError as error:
            holder = _holder(file)
            file.close()
            if error.errno not in HELD:
                raise OSError(error.errno, f"The folder cannot be locked ({error.strerror})", str(self.path)) from None
            raise LockedError(
                f"The run in {self.path.parent} is being trained by {holder}. "
                "Wait until it ends, or stop it, or choose another output folder."
            ) from None
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "name": Path(sys.argv[0]).name, "host": socket.gethostname()}))
        file.flush()
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _lock(file: IO[str]) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        file.seek(1_000_000)  # beyond the text, which others must be able to read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]


def _holder(file: IO[str]) -> str:
    """Return name, pid and host of the process that wrote the file."""
    file.seek(0)
    try:
        who = json.loads(file.read())
        return f"{who['name']!r} (pid {who['pid']} on {who['host']})"
    except (ValueError, KeyError, TypeError):
        return "another process"
