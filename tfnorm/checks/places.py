"""Where the model is that `tfnorm.check` is given by name. Imports no Keras."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tfnorm.errors import TfnormError
from tfnorm.models.sources import Source, source_of


def place_of_model(model: Any) -> str | Source:
    """Return the file that a text means, of a model or in the folder of a finished run, or what makes the model.

    Raises:
        TfnormError: If there is none.
    """
    text = os.fspath(model) if isinstance(model, os.PathLike) else model
    if not isinstance(text, str):
        return source_of(text)
    if Path(text).is_dir():
        text = str(Path(text) / "model.keras")
        if not Path(text).is_file():
            raise TfnormError(f"There is no file {text!r}. Give the folder of a finished run, or a .keras file.")
    if not text.endswith((".keras", ".h5")):
        return source_of(text)
    if not Path(text).is_file():
        raise TfnormError(f"There is no file {text!r}. Give the name of a saved model.")
    return text
