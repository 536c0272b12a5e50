"""One process at a time on a run's folder."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tfnorm.errors import LockedError, RunError
from tfnorm.training.records import read_json, write_json


@contextmanager
def run_lock(folder: str | Path, *, wait: float = 0.0) -> Iterator[None]:
    """Hold a run's folder for this process, within a ``with`` statement.

    Another process that holds it is waited for so many seconds.

    The lock is the operating system's, so that it ends with the process, however that ends. The file ``.holder.json``
    says who holds it: some versions of filelock empty the locked file itself, and others delete it.

    Raises:
        LockedError: If another process holds the folder; the sentence names it.
        OSError: If the folder cannot be made or locked.

    Example:
        >>> with run_lock(folder / "run"):
        ...     sorted(path.name for path in (folder / "run").iterdir())
        ['.holder.json', '.lock']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # A generator that holds it may be closed by another thread than the one that began it.
    lock, holder = FileLock(folder / ".lock", thread_local=False), folder / ".holder.json"
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        try:
            who = read_json(holder, {"name": str, "pid": int, "host": str})
            process = f"{who['name']!r} (pid {who['pid']} on {who['host']})"
        except RunError:
            process = "another process"
        raise LockedError(
            f"The run in {folder} is being trained by {process}. "
            "Wait until it ends, or stop it, or choose another output folder."
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"The folder cannot be locked ({reason})", str(folder / ".lock")) from None
    try:
        write_json(holder, {"pid": os.getpid(), "name": Path(sys.argv[0]).name, "host": socket.gethostname()})
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
