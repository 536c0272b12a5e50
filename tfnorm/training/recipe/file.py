"""Files of settings, such as the ``recipe.toml`` that `tfnorm.recommend` writes and `tfnorm.train` takes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from tfnorm.errors import TfnormError
from tfnorm.files import write_text
from tfnorm.training.recipe.recipes import RECIPES


def is_settings_file(recipe: Any) -> bool:
    """Return whether what is given as a recipe is the name of a file of settings.

    Example:
        >>> is_settings_file("recipe.toml"), is_settings_file("default")
        (True, False)
    """
    return isinstance(recipe, str | Path) and str(recipe).endswith(".toml")


def recipe_of(value: Any) -> Any:
    """Return the recipe of a name, and anything else as it is; a TfnormError says what a file of settings is for."""
    if is_settings_file(value):
        raise TfnormError(f"A file of settings is for one run: tfnorm train --recipe {value}. Name a recipe here.")
    return RECIPES[value] if isinstance(value, str) else value


def read_settings(path: Any) -> dict[str, Any]:
    """Return the settings in a TOML file, by the names of `TrainConfig`, which checks them.

    Raises:
        TfnormError: If there is no such file, or if it is no TOML.
    """
    place = Path(path).expanduser()
    try:
        found = tomllib.loads(place.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise TfnormError(f"The settings in {path} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:
        raise TfnormError(f"{path} is not TOML: {error}. Write lines such as norm = 'gn:4'.") from None
    if "norm" not in found:
        raise TfnormError(f"{path} names no norm. Add a line such as norm = 'gn:4'.")
    return found


def write_settings(path: Path, settings: Mapping[str, Any], comment: str) -> None:
    """Write settings for `read_settings`, below a comment; those that are None are left out."""
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in settings.items()}
    text = tomli_w.dumps({key: value for key, value in plain.items() if value is not None})
    write_text(path, "".join(f"# {line}\n" for line in comment.splitlines()) + text)
