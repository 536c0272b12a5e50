"""What one run is asked to do, checked before anything is loaded."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
import typing
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, Unpack

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticUndefined

from tfnorm.datasets import AUGMENTATIONS, Dataset
from tfnorm.datasets.dataset import Part
from tfnorm.datasets.given.own import GIVEN, OwnData, own_data
from tfnorm.datasets.given.pipeline import Pipeline
from tfnorm.datasets.memory import bytes_of
from tfnorm.datasets.sources import check_folder_settings, check_resize, find_source
from tfnorm.errors import TfnormError, unknown
from tfnorm.keras_settings import chosen_backend
from tfnorm.metrics.known import DEFAULTS, check_name
from tfnorm.models.architectures import ARCHITECTURES
from tfnorm.models.planner import NetworkPlan, plan
from tfnorm.models.sources import Source, source_of
from tfnorm.spec import NormSpec, check_backend, format, parse
from tfnorm.training.folder import OF_DATA, RunFolder, check_place
from tfnorm.training.recipe.file import is_settings_file, read_settings, recipe_of
from tfnorm.training.recipe.recipes import RECIPES, Recipe, known_augmentation
from tfnorm.training.runs import slug
from tfnorm.training.tracking import check_trackers

Model = TypeVar("Model", bound=BaseModel)
Function = TypeVar("Function", bound=Callable[..., Any])
# The folder of all runs, unless another is given.
RUNS = Path("runs")


class TrainConfig(BaseModel):
    """The settings of one run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    norm: str = Field(description="Norm spec, such as gn:4+l1=1e-4.")
    arch: str = Field(default="mnist_7k", description="Architecture; `tfnorm list` shows them.")
    model: Any = Field(
        default=None,
        description="Your own network in place of an architecture: FILE.py:FUNCTION, package.module:FUNCTION, a .keras "
        "file, applications:NAME or kerashub:PRESET.",
    )
    weights: str | None = Field(
        default=None,
        description="Initial weights of the model: imagenet for applications:NAME, fresh for a .keras file.",
    )
    imports: tuple[str, ...] | None = Field(
        default=None, description="Modules or Python files that define layers of your own in a saved model."
    )
    allow_lambda: bool = Field(
        default=False, description="Run the code of Lambda layers in a saved model. Only if you trust it."
    )
    dataset: Any = Field(
        default="digits",
        description="Data set, .npz file, or folder of pictures in train/CLASS and test/CLASS or in CLASS alone; "
        "hf:NAME or tfds:NAME of those libraries; FILE.py:FUNCTION of yours, which gives arrays or batches. In Python "
        "also a pair (train, test) of arrays (x, y), tf.data.Dataset, PyDataset or DataLoader.",
    )
    data_dir: Path | None = Field(default=None, description="Folder searched first for the data, such as mnist.npz.")
    image_size: int | None = Field(
        default=None,
        ge=1,
        description="Resize images to this side, in pixels. By default only digits are, to the network's input.",
    )
    resize: int | None = Field(
        default=None,
        ge=1,
        description="Side of the training images before crop_flip cuts them to `image_size`. By default the same.",
    )
    fit: Literal["resize", "crop", "pad"] = Field(
        default="resize",
        description="How pictures of a folder get the size: resize stretches, crop cuts off, pad adds black.",
    )
    test_share: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Share of each class to test on, of a folder without test/. By default 0.2 if there is no train/ "
        "either.",
    )
    groups: Path | None = Field(
        default=None,
        description="CSV file with the columns file and group: pictures of one patient, video or place stay together.",
    )
    memory: str | None = Field(
        default=None,
        description="Memory for decoded pictures, such as 500MB. Above it they are decoded when they are needed. By "
        "default a quarter of what is free.",
    )
    cache: Path | None = Field(
        default=None, description="Folder for decoded pictures, at most 20 GiB, so that each is decoded only once."
    )
    follow_links: bool = Field(default=False, description="Follow symbolic links out of a folder of pictures.")
    epochs: int | None = Field(default=None, ge=1, description="Passes over the training set. By default the recipe's.")
    batch_size: int | None = Field(
        default=None, ge=1, description="Images per step. By default the recipe's, or what your pipeline gives."
    )
    devices: int = Field(
        default=1,
        ge=1,
        description="GPUs that share each batch, on TensorFlow or JAX. The batch size is that of all together.",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="Seed of the initial weights, the data order, dropout and augmentation."
    )
    recipe: Recipe = Field(
        default_factory=lambda: RECIPES["default"],
        description="Recipe: optimizer, schedule and augmentation; `tfnorm list` shows them. By default "
        "that called default, or own for a model of yours.",
    )
    augmentation: str | None = Field(
        default=None, description="Augmentation. By default the recipe's, or none for a pipeline of yours."
    )
    learning_rate: float | None = Field(default=None, gt=0, description="Peak learning rate. By default the recipe's.")
    freeze_until: str | None = Field(
        default=None,
        description="Layer of the model up to which nothing is trained, itself included, in the order of the graph.",
    )
    freeze_epochs: int | None = Field(
        default=None, ge=1, description="Freeze those layers in the first epochs only, so many. By default in all."
    )
    dropout: float | None = Field(
        default=None, ge=0, lt=1, description="Dropout rate. By default the recipe's, or else the architecture's."
    )
    regularize: Literal["all", "kernels"] = Field(
        default="all", description="Variables that L1 and L2 penalties apply to: all trainable ones, or kernels."
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Type of the activations: float32 or bfloat16. Weights and loss stay float32."
    )
    zero_gamma: bool = Field(
        default=False,
        description="Start each residual unit as its shortcut: the gamma of its last norm is 0 at first (arXiv "
        "1706.02677).",
    )
    holdout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the training images to evaluate on, so that you can choose without using the test set.",
    )
    # Not a setting: `tfnorm.recommend` searches on one part of the held-out images, and confirms on another.
    holdout_part: Part | None = Field(default=None, description="Which of two parts to evaluate on; none trains on it.")
    metric: str | None = Field(
        default=None,
        description="What the verdict is about: accuracy, balanced_accuracy, top_5_accuracy, f1, auc, data_loss, loss, "
        "mean_average_precision (of several labels), or a metric that your model is compiled with. By default "
        "accuracy, or of several labels mean_average_precision.",
    )
    patience: int | None = Field(
        default=None, ge=1, description="Stop after this many epochs without a better metric. By default never."
    )
    skip_damaged: bool = Field(
        default=False, description="Leave out damaged pictures of a folder, and name them in the run's record."
    )
    # Not a setting: it is only recorded.
    call: str | None = Field(default=None, description="The command or the Python call that trains the run.")
    # Not a setting either: the hash of the model's file.
    model_hash: str | None = Field(default=None, description="Hash of the file that makes the model.")
    # Likewise of the file that gives the data.
    data_hash: str | None = Field(default=None, description="Hash of the file that gives the data.")
    # Nor this: it is only recorded.
    rates: dict[str, Any] | None = Field(default=None, description="How a comparison came to its learning rates.")

    _norm = field_validator("norm", mode="before")(lambda value: format(parse(value)))
    _recipe = field_validator("recipe", mode="before")(recipe_of)
    _augmentation = field_validator("augmentation")(known_augmentation)

    @field_validator("memory", mode="before")
    @classmethod
    def _memory(cls, value: Any) -> str | None:
        return None if value is None else str(bytes_of(value))

    @model_validator(mode="before")
    @classmethod
    def _with_source(cls, values: Any) -> Any:
        return values if not isinstance(values, Mapping) else with_source(with_own_data(values))

    @model_validator(mode="after")
    def _metric_known(self) -> TrainConfig:
        if self.metric is not None:
            object.__setattr__(self, "metric", check_name(self.metric, own=self.model is not None))
        return self

    @field_serializer("model")
    def _text(self, model: Source | None) -> str | None:
        return None if model is None else model.portable_text

    @field_serializer("dataset")
    def _text_of_data(self, dataset: str | OwnData) -> str:
        return dataset if isinstance(dataset, str) else dataset.text or GIVEN

    @model_validator(mode="after")
    def _data_there(self) -> TrainConfig:
        place = None if isinstance(self.dataset, OwnData) else find_source(self.dataset, self.data_dir)
        check_resize(self.resize, None if self.image_size is None else (self.image_size, self.image_size))
        settings = {key: getattr(self, key) for key in ("fit", "test_share", "groups", "follow_links")}
        check_folder_settings(str(self.dataset), place, **settings)
        name = self.augmentation or self.recipe.augmentation
        if self.resize is not None and not AUGMENTATIONS[name].crops:
            crops = " or ".join(name for name, preset in AUGMENTATIONS.items() if preset.crops)
            raise TfnormError(
                f"`resize` is the side of images that an augmentation cuts. Received: resize={self.resize} with the "
                f"augmentation {name!r}, which cuts none. Use {crops}, or leave it out."
            )
        return self

    @model_validator(mode="after")
    def _divided(self) -> TrainConfig:
        batch_size = self.batch_size or self.recipe.batch_size
        if rest := batch_size % self.devices:
            fitting = [each for each in (batch_size - rest, batch_size - rest + self.devices) if each]
            raise TfnormError(
                "The devices must be able to share a batch equally. Received: "
                f"batch_size={batch_size} with devices={self.devices}. Use a batch size of "
                f"{' or '.join(map(str, fitting))}."
            )
        if self.devices > 1 and chosen_backend() == "torch":
            raise TfnormError(
                f"Several devices need Keras's backend tensorflow or jax. Received: devices={self.devices} with "
                "backend='torch'. Use one device, or set KERAS_BACKEND."
            )
        return self

    @model_validator(mode="after")
    def _freezes(self) -> TrainConfig:
        if self.freeze_epochs is None:
            return self
        if self.freeze_until is None:
            raise TfnormError(
                f"`freeze_epochs` needs a layer to freeze up to. Received: freeze_epochs={self.freeze_epochs} without "
                "`freeze_until`."
            )
        epochs = self.epochs or self.recipe.epochs
        if self.freeze_epochs >= epochs:
            raise TfnormError(
                f"`freeze_epochs` must be less than the number of epochs. Received: freeze_epochs={self.freeze_epochs} "
                f"with epochs={epochs}. Leave it out to freeze the layers in all."
            )
        return self

    def resolved(self) -> TrainConfig:
        """Return the configuration with the recipe's defaults and replacements filled in.

        What data of a person's own may decide is left open; see `settled`.
        """
        own = isinstance(self.dataset, OwnData) and not self.dataset.are_arrays
        given = {
            key: getattr(self, key) or (None if own and key in OF_DATA else getattr(self.recipe, key))
            for key in REPLACED
        }
        known = {key: value for key, value in given.items() if value is not None}
        dropout = self.recipe.dropout if self.dropout is None and self.model is None else self.dropout
        return self.model_copy(update={**given, "recipe": self.recipe.model_copy(update=known), "dropout": dropout})

    def settled(self, data: Dataset) -> TrainConfig:
        """Return the resolved configuration with what data decide: a pipeline its batch size, and no augmentation."""
        theirs = {"batch_size": data.batch_size, "augmentation": "none"} if isinstance(data, Pipeline) else {}
        found = {key: getattr(self, key) or theirs.get(key, getattr(self.recipe, key)) for key in OF_DATA}
        return self.model_copy(update=found).resolved()

    def asked(self) -> dict[str, Any]:
        """Return what makes a run this run, as JSON: without the place of the data, and without the call.

        Two runs that differ only in `SPELLING` are the same if their data are, see `RunFolder.check`.
        """
        # The name of the model is that of `arch`, because the place of a file does not make another network of it.
        optional = {key for key in OPTIONAL if getattr(self, key) == type(self).model_fields[key].default}
        if self.metric in DEFAULTS.values():  # which follow from the data
            optional.add("metric")
        unseen = {"data_dir", "call", "model", "imports", "allow_lambda", "memory", "cache", "rates"} | optional
        return {**self.resolved().model_dump(mode="json", exclude=unseen), "dataset": str(self.dataset)}

    @property
    def kind(self) -> str:
        """What runs have in common that share a graph: everything but the seed, as text."""
        return self.model_dump_json(exclude={"seed"})

    def plan(self) -> NetworkPlan | None:
        """Return the plan of an architecture for its default input, or None for a model of your own.

        Raises:
            TfnormError: If the spec does not fit network or backend.
        """
        spec = parse(self.norm)
        check_backend(spec, chosen_backend)
        return (
            None
            if self.model is not None
            else plan(self.arch, spec, dropout=self.resolved().dropout, zero_gamma=self.zero_gamma)
        )


def with_own_data(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the `OwnData` of the data set, if it is a person's own, and the hash of its file.

    Raises:
        TfnormError: If there are no such data, or if the file is another one than that of the hash.
    """
    given = values.get("dataset", TrainConfig.model_fields["dataset"].default)
    data = own_data(given)
    if data is None:
        return {**values, "dataset": str(given)}
    if values.get("data_hash") not in (None, data.fingerprint):
        raise TfnormError(
            f"The file of the data {data.name!r} has changed since this command began. Start it again with the new "
            "one, or restore the old one."
        )
    return {**values, "dataset": data, "data_hash": data.fingerprint or None}


def with_source(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the `Source` of the model, if one is given, and its name as ``arch``.

    Raises:
        TfnormError: If there is no such model or architecture, or if settings of architectures are given for a model.
    """
    default, given = TrainConfig.model_fields["arch"].default, values.get("model")
    arch = values.get("arch", default)
    recipe = values.get("recipe") or ("default" if given is None else "own")
    if given is None:
        ARCHITECTURES[arch]  # raises for an unknown one
        for key in OF_A_MODEL:
            if values.get(key):
                raise TfnormError(f"`{key}` belongs to a `model`. Received: {key}={values[key]!r} with arch={arch!r}.")
        if recipe == "own":
            raise TfnormError(f"The recipe 'own' belongs to a `model`. Received: recipe='own' with arch={arch!r}.")
        return {**values, "recipe": recipe}
    source = source_of(given, **{key: values[key] for key in OF_MODEL if values.get(key) is not None})
    name = source.short_name
    for key, allowed in (_OF_ARCHITECTURES | {"arch": (default, name)}).items():
        if values.get(key, allowed[0]) not in allowed:
            raise TfnormError(
                f"`{key}` is a setting of tfnorm's own architectures. Received: {key}={values[key]!r} with the model "
                f"{name!r}. Set it in your model."
            )
    if values.get("model_hash") not in (None, source.fingerprint):
        raise TfnormError(
            f"The files of the model {name!r} have changed since this command began. Start it again with the new ones, "
            "or restore the old ones."
        )
    made = {"model": source, "arch": name, "model_hash": source.fingerprint or None, "imports": source.imports or None}
    return {**values, **made, "recipe": recipe}


# What is in the configuration and no setting.
ONLY_RECORDED = ("call", "model_hash", "data_hash", "rates", "holdout_part")
# Settings that say how a model of one's own is opened, and all that need one.
OF_MODEL = ("weights", "imports", "allow_lambda")
OF_A_MODEL = (*OF_MODEL, "freeze_until")
# Settings that are recorded only where they are set, because the names of default folders depend on the record.
OPTIONAL = (
    "skip_damaged", "weights", "model_hash", "data_hash", "freeze_until", "freeze_epochs", "metric", "zero_gamma",
    "resize", "fit", "test_share", "groups", "follow_links", "devices", "holdout_part",
)  # fmt: skip
# Settings that a model of one's own does not have, with the values that say nothing.
_OF_ARCHITECTURES: dict[str, tuple[Any, ...]] = {
    "dropout": (None,),
    "precision": ("float32", None),
    "zero_gamma": (False,),
}
# Settings of a recipe that the setting of the same name replaces.
REPLACED = ("epochs", "batch_size", "augmentation", "learning_rate")


class SearchSettings(TypedDict, total=False):
    """The settings that all runs of a search share, for editors and type checkers; `TrainConfig` explains them."""

    arch: str
    model: Any
    weights: str | None
    imports: str | Sequence[str] | None
    allow_lambda: bool
    dataset: Any
    data_dir: str | Path | None
    image_size: int | None
    resize: int | None
    fit: Literal["resize", "crop", "pad"]
    test_share: float | None
    groups: str | Path | None
    memory: int | str | None
    cache: str | Path | None
    follow_links: bool
    epochs: int | None
    devices: int
    recipe: str | Recipe
    augmentation: str | None
    freeze_until: str | None
    freeze_epochs: int | None
    regularize: Literal["all", "kernels"]
    precision: Literal["float32", "bfloat16"]
    zero_gamma: bool
    holdout: float
    metric: str | None
    patience: int | None
    skip_damaged: bool


class Settings(SearchSettings, total=False):
    """The settings that all runs of a comparison share.

    The learning rate is not among them, because each spec may have its own.
    """

    batch_size: int | None
    dropout: float | None


class RunSettings(Settings, total=False):
    """The settings of one run."""

    norm: str | NormSpec
    seed: int
    learning_rate: float | None


def with_settings(function: Function) -> Function:
    """Show each setting in the signature of a function, and in its docstring in place of the line on ``**settings``."""
    signature, names, types = inspect.signature(function), settings_of(function), typing.get_type_hints(RunSettings)
    *own, settings = signature.parameters.values()
    shown = [
        settings.replace(name=n, kind=settings.KEYWORD_ONLY, default=default_of(n), annotation=types[n]) for n in names
    ]
    function.__signature__ = signature.replace(parameters=[*own, *shown])  # type: ignore[attr-defined]
    text = inspect.getdoc(function) or ""
    function.__doc__ = re.sub(r" {4}\*\*settings: .*\n", lambda _: _entries(names), text)
    return function


def settings_of(function: Callable[..., Any]) -> list[str]:
    """Return the names of the settings that a function takes as ``**settings``, in the order of `TrainConfig`."""
    [types] = typing.get_args(typing.get_type_hints(function)["settings"])
    return [name for name in TrainConfig.model_fields if name in typing.get_type_hints(types)]


def default_of(name: str) -> Any:
    """Return the default of a setting as a person writes it.

    Example:
        >>> default_of("arch"), default_of("epochs")
        ('mnist_7k', None)
    """
    default = TrainConfig.model_fields[name].get_default(call_default_factory=True)
    return None if isinstance(default, Recipe) or default is PydanticUndefined else default


def description_of(name: str) -> str:
    """Return what a setting is, in a sentence or two."""
    return TrainConfig.model_fields[name].description or ""


def _entries(names: Iterable[str]) -> str:
    """Return the entries of a docstring for settings, a line or more for each."""
    entries = ""
    for name in names:
        default = default_of(name)
        usual = "" if default is None else f" Defaults to {default!r}."
        entries += textwrap.fill(f"    {name}: {description_of(name)}{usual}", 116, subsequent_indent=" " * 8) + "\n"
    return entries


TrainConfig.__doc__ = f"{TrainConfig.__doc__}\n\nArgs:\n{_entries(typing.get_type_hints(RunSettings))}"


def checked(kind: type[Model], values: Mapping[str, Any]) -> Model:
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
        return unknown("setting", where, [name for name in kind.model_fields if name not in ONLY_RECORDED])
    message = mistake["msg"].removeprefix("Value error, ")
    return f"`{where}`: {message[0].lower()}{message[1:]}. Received: {mistake['input']!r}."


@dataclass(frozen=True)
class RunPlan:
    """A run that is planned and checked: its settings resolved, its data if they are in memory, and its trackers."""

    config: TrainConfig
    folder: Path
    data: Dataset | None = None
    trackers: tuple[str, ...] = ()


def plan_run(
    config: TrainConfig | Mapping[str, Any] | NormSpec | str | None = None,
    *,
    out: str | Path | None = None,
    data: Dataset | None = None,
    trackers: str | Sequence[str] = (),
    call: str | None = None,
    **settings: Unpack[RunSettings],
) -> RunPlan:
    """Return a checked plan of one run, without importing Keras; see `tfnorm.train` for the arguments.

    Raises:
        TfnormError: If the configuration, a tracker or the folder cannot be used.
    """
    if isinstance(config, NormSpec | str):
        if "norm" in settings:
            raise TfnormError(f"The norm is given twice. Received: {str(config)!r} and norm={settings['norm']!r}.")
        config = {"norm": config}
    if not isinstance(config, TrainConfig | Mapping | None):
        raise TfnormError(
            f"The configuration must be a norm spec such as 'gn:4', a TrainConfig or a mapping. Received: {config!r}."
        )
    given, recipe = dict(config or {}), settings.get("recipe")
    if is_settings_file(recipe):
        given = {**read_settings(recipe), **given}
        settings = {key: value for key, value in settings.items() if key != "recipe"}  # type: ignore[assignment]
    config = checked(TrainConfig, {**given, "call": given.get("call") or call, **settings}).resolved()
    config.plan()
    trackers = check_trackers(trackers)
    out = Path(out or RUNS / default_name(config) / slug(config.norm) / f"seed-{config.seed}")
    check_place(out)
    if data is None:
        RunFolder(out).check(config.asked(), early=True)
    return RunPlan(config, out, data, trackers)


def default_name(config: TrainConfig, **more: Any) -> str:
    """Return the name of the folder for runs like ``config``: network, data, and a mark of settings not the default.

    ``more`` are settings beside those of ``config``.

    Example:
        >>> default_name(TrainConfig(norm="bn")), default_name(TrainConfig(norm="bn", epochs=5))
        ('mnist_7k-digits', 'mnist_7k-digits-...')
    """
    network = {"arch": config.arch} if config.model is None else {"model": config.model, "weights": config.weights}
    usual = TrainConfig(norm=config.norm, **network, dataset=config.dataset, data_dir=config.data_dir)
    # However a path is written, ``pics``, ``pics/`` and ``/data/pics`` have one name.
    path = Path(config.dataset.name if str(config.dataset) == GIVEN else str(config.dataset)).expanduser()
    data = path if path.name not in ("", "..") else path.resolve()
    asked = {**config.asked(), "seed": usual.seed}
    name = f"{slug(config.arch)}-{slug(data.stem)}"
    if asked == usual.asked() and not more:
        return name
    changed = config.resolved().recipe.model_dump(mode="json", exclude_defaults=True, exclude={"title"})
    for key in ("model_hash", "data_hash"):  # so that the folder is found, and refused, after a file has changed
        asked.pop(key, None)
    mark = json.dumps({**asked, "dataset": data.name, "norm": None, "recipe": changed, **more}, sort_keys=True)
    return f"{name}-{zlib.crc32(mark.encode()):08x}"
