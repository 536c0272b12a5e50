"""Folders that are filled once for all workers of pytest-xdist."""

import os
import shutil

from filelock import FileLock


def filled_once(tmp_path_factory, name, fill):
    """Return a folder of this name, which ``fill(folder)`` has filled in one of the workers; do not change it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    done = folder.with_name(f"{name}.done")
    with FileLock(folder.with_name(f"{name}.lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            fill(folder)
            done.touch()
    return folder
