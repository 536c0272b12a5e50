"""What converters and runtimes say when they fail, as one sentence."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from tfnorm.convert.runtimes.formats import FORMATS, missing_packages
from tfnorm.convert.runtimes.served import ServedModel
from tfnorm.errors import TfnormError, first_line


@contextmanager
def explained(served: ServedModel, cannot: str = "be written as") -> Iterator[None]:
    """Turn whatever a converter, or what runs its file, raises into a sentence."""
    form = FORMATS[served.form]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except OSError:
        raise
    except ImportError as error:
        missing = re.findall(r"`?pip install ([\w-]+)", str(error)) or [error.name or first_line(error)]
        raise TfnormError(missing_packages(served.form, missing)) from error
    except Exception as error:
        if quantized := served.quantized_layers():
            raise TfnormError(
                f"{form} does not have what model.quantize made of the layers {', '.join(quantized)} "
                f"({cause_of(error)}). Export the model as it was before, for example with quantize='int8' to a "
                ".tflite file."
            ) from error
        raise TfnormError(
            f"The model {served.model.name!r} cannot {cannot} {form}: {cause_of(error)}. Another format may do."
        ) from error


def missing_operations(error: Exception) -> list[str]:
    """Return the operations that TensorFlow's converter says it cannot write."""
    return sorted(set(re.findall(r"'tf\.(\w+)' op is neither", str(error))))


def cause_of(error: Exception) -> str:
    """Return what a converter's error says, without the places in its graph."""
    if found := missing_operations(error):
        return f"it has no operations for {', '.join(found)}"
    text = re.sub(r"\x1b\[\d*m|\{\{.*?\}\} ?", "", str(error))  # colours, and nodes of a graph
    lines = [re.sub(r"^.*\berror: ", "", line).strip() for line in text.splitlines()]
    places = ("loc(", "<unknown>", "Exception encountered")
    lines = [line for line in lines if line and not line.startswith(places)] or [type(error).__name__]
    return lines[0].rstrip(".")[:300]
