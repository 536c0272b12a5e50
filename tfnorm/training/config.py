"""What one run is asked to do, checked before anything is loaded."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tfnorm.errors import SpecError, TfnormError, unknown
from tfnorm.keras_settings import chosen_backend, not_synchronized
from tfnorm.models.architectures import ARCHITECTURES
from tfnorm.models.plan import plan
from tfnorm.models.planner import NetworkPlan
from tfnorm.spec import format, parse
from tfnorm.training.recipe.recipes import RECIPES, Recipe, known_augmentation
from tfnorm.training.runs import slug

Model = TypeVar("Model", bound=BaseModel)
# Where runs go unless told.
RUNS = Path("runs")


class TrainConfig(BaseModel):
    """One run.

    Args:
        norm: A norm spec, see `tfnorm.spec`.
        arch: A name from `tfnorm.list_architectures()`.
        dataset: A name from `tfnorm.list_datasets()`, an ``.npz`` file or a folder.
        data_dir: Folder that is looked in first for the data, or None.
        image_size: Side in pixels that images are resized to; default their own, for digits the network's.
        epochs: Passes over the training set; default the recipe's.
        batch_size: Images a step; default the recipe's.
        seed: Of initial weights, data order, dropout and augmentation.
        recipe: A name from `tfnorm.training.recipe.recipes.RECIPES`, or a `Recipe`.
        augmentation: In place of the recipe's, or None.
        learning_rate: In place of the recipe's peak, or None.
        dropout: In place of the recipe's rate or, if that has none, of the architecture's; or None.
        regularize: What penalties reach: "all" trainable variables or "kernels".
        precision: Of activations: "float32" or "bfloat16"; weights, statistics and loss stay float32.
        holdout: Share of the training images that is evaluated on in place of the test set, which is then left alone:
            for choosing anything, an epoch among them. 0 evaluates on the test set.
        patience: Stop when the test accuracy was last exceeded this many epochs ago; default never. A schedule that
            falls over all epochs is cut off before its end.
        skip_damaged: If `True`, damaged pictures of a folder are left out, counted and named in the run's record.
        call: What was called to train the run, as text for its record. It is no setting and changes nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    norm: str
    arch: str = "mnist_7k"
    dataset: str = "digits"
    data_dir: Path | None = None
    image_size: int | None = Field(None, ge=1)
    epochs: int | None = Field(None, ge=1)
    batch_size: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0, lt=2**31)
    recipe: Recipe = Field(default_factory=lambda: RECIPES["default"])
    augmentation: str | None = None
    learning_rate: float | None = Field(None, gt=0)
    dropout: float | None = Field(None, ge=0, lt=1)
    regularize: Literal["all", "kernels"] = "all"
    precision: Literal["float32", "bfloat16"] = "float32"
    holdout: float = Field(0.0, ge=0, lt=1)
    patience: int | None = Field(None, ge=1)
    skip_damaged: bool = False
    call: str | None = None

    @field_validator("norm", mode="before")
    @classmethod
    def _canonical(cls, value: Any) -> str:
        return format(parse(value))

    @field_validator("dataset", mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    @field_validator("arch")
    @classmethod
    def _known(cls, value: str) -> str:
        ARCHITECTURES[value]  # raises for an unknown one
        return value

    @field_validator("recipe", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return RECIPES[value] if isinstance(value, str) else value

    @field_validator("augmentation")
    @classmethod
    def _augmentation_known(cls, value: str | None) -> str | None:
        return None if value is None else known_augmentation(value)

    @model_validator(mode="after")
    def _data_there(self) -> TrainConfig:
        from tfnorm.datasets.sources import check_source

        check_source(self.dataset, data_dir=self.data_dir)
        return self

    def resolved(self) -> TrainConfig:
        """Return the configuration with the recipe's defaults and replacements filled in."""
        epochs, batch_size = self.epochs or self.recipe.epochs, self.batch_size or self.recipe.batch_size
        recipe = self.recipe.model_copy(
            update={
                "epochs": epochs,
                "batch_size": batch_size,
                "augmentation": self.augmentation or self.recipe.augmentation,
                "learning_rate": self.learning_rate or self.recipe.learning_rate,
            }
        )
        return self.model_copy(
            update={
                "epochs": epochs,
                "batch_size": batch_size,
                "recipe": recipe,
                "augmentation": recipe.augmentation,
                "learning_rate": recipe.learning_rate,
                "dropout": recipe.dropout if self.dropout is None else self.dropout,
            }
        )

    def asked(self) -> dict[str, Any]:
        """Return what makes a run this run, as JSON; where the data lie is not part of it, nor what was called.

        Two runs that differ in `SPELLING` alone are the same if their data are, see `RunFolder.check`.
        """
        # Runs from before there was such a setting have none.
        without = {"data_dir", "call"} if self.skip_damaged else {"data_dir", "call", "skip_damaged"}
        return self.resolved().model_dump(mode="json", exclude=without)

    def plan(self) -> NetworkPlan:
        """Return the network's plan for its default input; raises if the spec does not fit network or backend."""
        spec = parse(self.norm)
        if spec.synchronized and (backend := chosen_backend()) != "tensorflow":
            raise SpecError(not_synchronized(backend))
        return plan(self.arch, spec, dropout=self.resolved().dropout)


def default_name(config: TrainConfig) -> str:
    """Return the name of the folder for runs like ``config``: network, data, and a mark of settings not the default.

    Example:
        >>> default_name(TrainConfig(norm="bn")), default_name(TrainConfig(norm="bn", epochs=5))
        ('mnist_7k-digits', 'mnist_7k-digits-...')
    """
    usual = config.model_validate(config.model_dump(include={"norm", "arch", "dataset", "data_dir"}))
    # However a path is written, ``pics``, ``pics/`` and ``/data/pics`` have one name.
    path = Path(config.dataset).expanduser()
    data = path if path.name not in ("", "..") else path.resolve()
    asked = {**config.asked(), "seed": usual.seed}
    name = f"{config.arch}-{slug(data.stem)}"
    if asked == usual.asked():
        return name
    changed = config.resolved().recipe.model_dump(mode="json", exclude_defaults=True, exclude={"title"})

    def marked(dataset: str) -> str:
        mark = json.dumps({**asked, "dataset": dataset, "norm": None, "recipe": changed}, sort_keys=True)
        return f"{name}-{zlib.crc32(mark.encode()):08x}"

    # Earlier versions made the mark of the path as it was written; what they trained goes on where it is.
    earlier = marked(config.dataset)
    return earlier if (RUNS / earlier).is_dir() else marked(data.name)


def checked(kind: type[Model], values: dict[str, Any]) -> Model:
    """Return ``kind(**values)``, with every mistake in one `TfnormError`."""
    try:
        return kind(**values)
    except ValidationError as error:
        raise TfnormError(" ".join(_sentence(kind, mistake) for mistake in error.errors())) from None


def _sentence(kind: type[BaseModel], mistake: Any) -> str:
    cause = mistake.get("ctx", {}).get("error")
    if isinstance(cause, TfnormError):
        return str(cause)
    where = ".".join(str(part) for part in mistake["loc"]) or "config"
    if mistake["type"] == "extra_forbidden":
        return unknown("setting", where, kind.model_fields)
    message = mistake["msg"].removeprefix("Value error, ")
    return f"`{where}`: {message[0].lower()}{message[1:]}. Received: {mistake['input']!r}."
