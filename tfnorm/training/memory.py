"""Memory that runs out while a network is trained, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfnorm.datasets import Dataset
from tfnorm.datasets.memory import available_memory, size_text
from tfnorm.errors import RunError, TfnormError, first_line
from tfnorm.training.config import TrainConfig

# TensorFlow, JAX, PyTorch and the C++ library beneath them have no class of error in common for this.
_WORDS = re.compile(
    r"resource.?exhausted|out of memory|\boom\b|bad_alloc|(can't|cannot|failed to|unable to) allocate", re.IGNORECASE
)


def is_memory_error(error: BaseException) -> bool:
    """Return whether an error of Python or of a backend says that memory ran out.

    Example:
        >>> is_memory_error(MemoryError()), is_memory_error(RuntimeError("RESOURCE_EXHAUSTED: ...")), is_memory_error(
        ...     ValueError("Out of range"))
        (True, True, False)
    """
    return isinstance(error, MemoryError) or bool(_WORDS.search(f"{type(error).__name__} {error}"))


@contextmanager
def memory_in_words(config: TrainConfig, data: Dataset, path: Path) -> Iterator[None]:
    """Turn memory that runs out into a RunError that says what was asked for and what would need less.

    Args:
        config: Of the run, resolved.
        data: What it is trained on.
        path: Its folder.
    """
    try:
        yield
    except TfnormError:
        raise
    except Exception as error:
        if not is_memory_error(error):
            raise
        free = available_memory()
        room = "" if free is None else f" {size_text(free)} are free now."
        raise RunError(
            f"Out of memory in {path}: {config.arch} with {config.norm} was trained on batches of {config.batch_size} "
            f"images of {'x'.join(map(str, data.input_shape))} ({first_line(error)[:200]}).{room} "
            "Use a smaller batch_size (--batch-size) or image_size (--image-size) and another output folder, or free "
            "some memory and repeat the command: it goes on after the last whole epoch."
        ) from error
