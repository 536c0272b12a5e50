"""Errors that a user can correct, and their sentences."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable
from numbers import Integral

# TensorFlow, JAX, PyTorch and the C++ library beneath them have no class of error in common for this.
_NO_MEMORY = re.compile(
    r"resource.?exhausted|out of memory|\boom\b|bad_alloc|(can't|cannot|failed to|unable to) allocate", re.IGNORECASE
)


class TfnormError(ValueError):
    """Base of every error that the input causes. The command line prints it and exits 2."""


class SpecError(TfnormError):
    """A norm specification that cannot be read or does not fit the network."""


class ArchitectureError(TfnormError):
    """A network that cannot be built as asked."""


class DataError(TfnormError):
    """Data that is missing, malformed or does not fit the network."""


class RunError(TfnormError):
    """A run folder that cannot be used as asked."""


class FailedRunsError(RunError):
    """Runs of a comparison that could not be trained. The other runs are kept. The command line exits 1."""


class LockedError(RunError):
    """A run folder that another process works on."""


# The packages of the classes of Keras 2: in tf_keras, in Keras itself before 3, and in TensorFlow before 2.6. From 2.13
# on there is a package "src" between "keras" and "engine".
KERAS_2 = ("tf_keras.", "keras.engine.", "tensorflow.python.keras.")


def check_keras_3(model: object) -> None:
    """Raise a `TfnormError` if ``model`` is one of Keras 2, whose classes have the same names. Imports no Keras."""
    if any(kind.__module__.replace(".src.", ".").startswith(KERAS_2) for kind in type(model).__mro__):
        name = getattr(model, "name", type(model).__name__)
        raise TfnormError(
            f"A model of Keras 3 is needed. Received: {type(model).__name__} {name!r} of Keras 2, as tf_keras and "
            "TF_USE_LEGACY_KERAS=1 make it. Save it with model.save('model.h5') and open it with "
            "tfnorm.convert.load_tfa_model('model.h5'), which gives the same model in Keras 3."
        )


def disk_sentence(error: OSError) -> str:
    """Return the sentence for a file that cannot be read or written.

    Example:
        >>> print(disk_sentence(OSError(30, "Read-only file system", "runs/bn")))
        Read-only file system: 'runs/bn'. Choose another folder.
    """
    where = f": {str(error.filename)!r}" if error.filename else ""
    earlier = "the same command goes on from what is written."
    remedies = {
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG): f" Free some space there; {earlier}",
        (errno.ENOTDIR, errno.EEXIST, errno.EROFS): " Choose another folder.",
        (errno.EISDIR,): " Move that folder elsewhere, or choose another place.",
        (errno.EACCES, errno.EPERM): " Choose another folder, or have its rights changed.",
    }
    mend = next((text for numbers, text in remedies.items() if error.errno in numbers), "")
    return f"{error.strerror or error}{where}.{mend}"


def is_memory_error(error: BaseException) -> bool:
    """Return whether an error of Python or of a backend says that memory ran out.

    Example:
        >>> is_memory_error(MemoryError()), is_memory_error(RuntimeError("RESOURCE_EXHAUSTED: ...")), is_memory_error(
        ...     ValueError("Out of range"))
        (True, True, False)
    """
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(f"{type(error).__name__} {error}"))


def first_line(error: Exception) -> str:
    r"""Return what an error of another library says first, without its full stop, to be quoted within a sentence.

    Example:
        >>> first_line(ValueError("No such layer.\nStack: ...")), first_line(KeyError())
        ('No such layer', 'KeyError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def whole_number(name: str, value: object, least: int = 1, *, error: type[TfnormError] = TfnormError) -> int:
    """Return an argument as an int, or raise ``error`` unless it is a whole number of at least ``least``.

    Numbers of NumPy are taken; True and 1.0 are not.

    Example:
        >>> whole_number("seeds", 0)
        Traceback (most recent call last):
        tfnorm.errors.TfnormError: `seeds` must be an integer of at least 1. Received: seeds=0.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise error(f"`{name}` must be an integer of at least {least}. Received: {name}={value!r}.")
    return int(value)


def nearest(word: object, valid: Iterable[str]) -> str | None:
    """Return the valid word closest in spelling to ``word``, or None if none is close.

    Example:
        >>> nearest("gm", ["bn", "gn", "ln"])
        'gn'
    """
    matches = difflib.get_close_matches(str(word).lower(), list(valid), n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown(kind: str, received: object, valid: Iterable[str]) -> str:
    """Return the sentence for an unknown name: the nearest valid one and all of them.

    Example:
        >>> unknown("norm", "gm", ["bn", "gn"])
        "Unknown norm 'gm'. Did you mean 'gn'? Use one of: bn, gn."
    """
    valid = list(valid)
    guess = nearest(received, valid)
    hint = f" Did you mean {guess!r}?" if guess else ""
    return f"Unknown {kind} {received!r}.{hint} Use one of: {', '.join(valid)}."
