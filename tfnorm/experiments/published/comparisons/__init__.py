"""Published comparisons as data: what was trained, what was published, and what was claimed. Imports no Keras."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tfnorm.errors import TfnormError, unknown, whole_number
from tfnorm.experiments.plan import Plan, PlannedRun
from tfnorm.spec import format, parse
from tfnorm.training.config import RUNS, TrainConfig, checked
from tfnorm.training.runs import slug

FOLDER = Path(__file__).parent


class Entry(BaseModel):
    """A part of a file of a published comparison."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PublishedResult(Entry):
    """What was published of a row, of one run, with accuracies in percent."""

    accuracy: float  # on the test images
    train_accuracy: float | None = None
    misclassified: int | None = None
    as_written: str | None = None  # the configuration in the words of its source, where ours differ


class PublishedRow(Entry):
    """One configuration."""

    norm: str
    batch_size: int | None = Field(None, ge=1)  # default the recipe's
    seeds: int = Field(3, ge=1)
    published: PublishedResult | None = None  # None for one that a claim needs beside them

    @property
    def label(self) -> str:
        """Spec and batch size, such as "gn:4 batch 16"."""
        return format(parse(self.norm)) + (f" batch {self.batch_size}" if self.batch_size else "")


class Claim(Entry):
    """A claim about the rows. `tfnorm.experiments.published.claims` examines it.

    Args:
        says: The claim, as a sentence.
        kind: "better": the first row than each other; "ranking": each row than the next; "slower": the first row needs
            more epochs than each other; "smaller_gap": the first row's training minus test accuracy than each other's;
            "steadiest": the accuracies of ``rows`` spread less than those of each list in ``others``.
        rows: Labels of rows.
        others: Lists of labels, for "steadiest".
    """

    says: str
    kind: Literal["better", "ranking", "slower", "smaller_gap", "steadiest"]
    rows: tuple[str, ...] = Field(min_length=2)
    others: tuple[tuple[str, ...], ...] = ()


class PublishedComparison(Entry):
    """A published comparison such as "A", or its networks under a better recipe, such as "A+"."""

    name: str
    title: str
    epoch: Literal["last", "best"] = "last"  # whose test accuracy was published; the best is chosen on the test set
    tolerance: float = Field(0.0, ge=0)  # by how many points a faithful mean may stay below the published accuracy
    settings: dict[str, Any]  # arguments of TrainConfig that all rows share
    row: tuple[PublishedRow, ...] = Field(min_length=1)
    claim: tuple[Claim, ...] = ()

    @model_validator(mode="after")
    def _rows_known(self) -> PublishedComparison:
        labels = [row.label for row in self.row]
        named = [label for claim in self.claim for group in (claim.rows, *claim.others) for label in group]
        if wrong := sorted(set(named) - set(labels)):
            raise ValueError(f"no row has the label {wrong[0]!r}; there are {labels}")
        if len(set(labels)) < len(labels):
            raise ValueError(f"two rows have one label, among {labels}")
        return self

    def plan(self, *, seeds: int | None = None, **settings: Any) -> list[PlannedRun]:
        """Return the runs of all rows, each checked. The ``point`` of each has the label of its ``row``.

        Each row has its own number of seeds unless one is given. Settings that are not None replace those of the
        comparison.
        """
        if seeds is not None:
            seeds = whole_number("seeds", seeds)
        given = {key: value for key, value in settings.items() if value is not None}
        planned = []
        for row in self.row:
            values = {**self.settings, **({"batch_size": row.batch_size} if row.batch_size else {}), **given}
            config = checked(TrainConfig, {**values, "norm": row.norm}).resolved()
            config.plan()
            for seed in range(seeds or row.seeds):
                folder = Path(slug(row.label)) / f"seed-{seed}"
                planned.append(PlannedRun(folder, config.model_copy(update={"seed": seed}), {"row": row.label}))
        return planned


def list_published() -> list[str]:
    """Return the names of the published comparisons.

    Example:
        >>> list_published()
        ['A', 'A+', 'B', 'B+', 'C', 'C+', 'D', 'D+', 'E', 'E+']
    """
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@functools.cache
def load_published(name: str) -> PublishedComparison:
    """Return a published comparison by its name, in upper or lower case."""
    word = str(name).upper()
    if word not in list_published():
        raise TfnormError(unknown("published comparison", name, list_published()))
    content: Mapping[str, Any] = tomllib.loads((FOLDER / f"{word}.toml").read_text(encoding="utf-8"))
    return checked(PublishedComparison, {"name": word, **content})


def plan_reproduction(
    name: str, *, out: str | Path | None = None, jobs: int | None = None, seeds: int | None = None, **settings: Any
) -> Plan:
    """Return the checked plan of `tfnorm.reproduce`, which has the same arguments, without importing Keras.

    The default folder names the settings that are not those of the comparison.

    Example:
        >>> str(plan_reproduction("A", precision="bfloat16", seeds=1).folder)
        'runs/reproduce-A-bfloat16'
    """
    published = load_published(name)
    runs = published.plan(seeds=seeds, **settings)
    precision, epochs = settings.get("precision"), settings.get("epochs")
    marks = [mark for mark in (precision, epochs and f"{epochs}-epochs") if mark and mark != "float32"]
    folder = RUNS / "-".join(["reproduce", published.name, *marks])
    return Plan(Path(out) if out is not None else folder, runs, jobs=jobs)
