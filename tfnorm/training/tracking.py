"""Trackers of runs: TensorBoard and Weights & Biases, each an optional extra of the package."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfnorm.errors import TfnormError
from tfnorm.history import read_history
from tfnorm.registry import Registry
from tfnorm.text import they_are
from tfnorm.training.records import read_json, write_json


class TensorBoard:
    """Writes the history to ``tensorboard/train`` and ``tensorboard/test`` in the run's folder.

    A measure has the same tag in both, so that ``tensorboard --logdir runs`` draws them together. A resumed run writes
    its earlier epochs again, so that no epoch is there twice.

    Args:
        run: The run's folder.
        description: The content of its ``config.json``.
        records: The history records of the epochs that are done.
    """

    package = "tensorboard"

    def __init__(self, run: Path, description: Mapping[str, Any], records: Iterable[Mapping[str, Any]] = ()) -> None:
        from tensorboard.summary import Writer  # start-up

        self._folder = run / "tensorboard"
        shutil.rmtree(self._folder, ignore_errors=True)
        self._writers = {part: Writer(str(self._folder / part)) for part in ("train", "test")}
        for record in records:
            self.log(record)

    @staticmethod
    def followed(run: Path) -> bool:
        """Return whether the run in a folder was followed to its end."""
        return (run / "tensorboard" / "finished").exists()

    def log(self, record: Mapping[str, Any]) -> None:
        """Write an epoch's scalars."""
        for key, value in _measures(record).items():
            part = "test" if key.startswith("val_") else "train"
            self._writers[part].add_scalar(key.removeprefix("val_"), value, record["epoch"])
        for writer in self._writers.values():
            writer.flush()

    def finish(self, result: Mapping[str, Any]) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
        (self._folder / "finished").touch()


class WandB:
    """Logs the history to Weights & Biases, in the project "tfnorm" or ``$WANDB_PROJECT``.

    ``WANDB_MODE=offline`` keeps everything in ``wandb/`` in the run's folder, for ``wandb sync``. A resumed run goes on
    as the same run there. Its address is in ``tracking.json``. The arguments are those of `TensorBoard`.
    """

    package = "wandb"

    def __init__(self, run: Path, description: Mapping[str, Any], records: Iterable[Mapping[str, Any]] = ()) -> None:
        import wandb  # start-up

        asked = description["asked"]
        self._place = place = run / "tracking.json"
        identity = read_json(place, {"id": str})["id"] if place.exists() else uuid.uuid4().hex[:12]
        write_json(place, {"id": identity, "url": None})
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "tfnorm"),
                dir=str(run),
                id=identity,
                resume="allow",
                name=f"{asked['norm']} seed {asked['seed']}",
                group=f"{asked['arch']} on {description['data']['name']}",
                config=dict(description),
                reinit="finish_previous",
                settings=wandb.Settings(silent=True, console="off", disable_git=True, x_disable_stats=True),
            )
        except wandb.errors.Error as error:
            raise TfnormError(
                f"Weights & Biases cannot follow the run in {run}: {error} Run `wandb login`, or set "
                "WANDB_MODE=offline and send it later with `wandb sync`."
            ) from None
        self._noted = {"id": identity, "url": None if self._run.offline else self._run.url}
        write_json(place, self._noted)
        for record in records:
            if record["epoch"] >= self._run.step:  # a crash may have prevented some from being sent
                self.log(record)

    @staticmethod
    def followed(run: Path) -> bool:
        """Return whether the run in a folder was followed to its end."""
        place = run / "tracking.json"
        return place.exists() and bool(read_json(place).get("finished"))

    def log(self, record: Mapping[str, Any]) -> None:
        """Log an epoch's measures; its number is the step."""
        self._run.log(_measures(record), step=record["epoch"], commit=True)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Add the result to the summary and end the run there."""
        self._run.summary.update(dict(result))
        self._run.finish()
        write_json(self._place, {**self._noted, "finished": True})


Tracker = TensorBoard | WandB
TRACKERS: Registry[type[Tracker]] = Registry("tracker")
TRACKERS.add("tensorboard", TensorBoard)
TRACKERS.add("wandb", WandB)


def check_trackers(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of trackers, or raise a TfnormError if one is unknown or its package is not installed.

    Example:
        >>> check_trackers([])
        ()
    """
    if isinstance(names, str):
        names = [names]
    missing = [name for name in names if importlib.util.find_spec(TRACKERS[name].package) is None]
    if missing:
        raise TfnormError(f"{they_are(missing)} not installed. Run: pip install 'tfnorm[{','.join(missing)}]'")
    return tuple(names)


def catch_up(run: Path, names: Sequence[str]) -> None:
    """Send a finished run to the trackers that have not followed it to its end."""
    for name in names:
        if not TRACKERS[name].followed(run):
            tracker = TRACKERS[name](run, read_json(run / "config.json"), read_history(run / "history.jsonl"))
            tracker.finish(read_json(run / "result.json"))


def _measures(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a history record."""
    return {
        key: float(value)
        for key, value in record.items()
        if key not in ("schema_version", "epoch") and isinstance(value, int | float) and math.isfinite(value)
    }
