"""What is on record of one run of a person's own loop, in its folder.

::

    predictions.npz   logits and classes of the test images, if they were given
    history.jsonl     one line per epoch, if it was given
    record.json       written last: a run that has it is recorded, and it says which of the others belong to it

Each is written whole, so that a process that is killed between two of them leaves an open run.
"""

from __future__ import annotations

import functools
import os
import platform
import sys
import time
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfnorm._version import __version__
from tfnorm.errors import RunError, SpecError
from tfnorm.files import whole_file, write_whole
from tfnorm.history import SCHEMA_VERSION, encode_record
from tfnorm.spec import format, parse
from tfnorm.training.folder import RunFolder
from tfnorm.training.records import Needed, read_json, write_json
from tfnorm.training.runs import Run, fingerprint, slug

if TYPE_CHECKING:
    import pandas as pd

RECORD = "record.json"
NEEDED: Needed = {
    "spec": str, "seed": int, "status": str, "value": (int, float, type(None)), "why": str, "notes": str,
    "epochs": (int, type(None)), "images": (int, type(None)), "started": str, "recorded_at": (int, float),
    "versions": {"python": str, "tfnorm": str}, "machine": str,
}  # fmt: skip
LONGEST_NAME = 60
# Whose versions are noted if they are loaded.
FRAMEWORKS = ("keras", "tensorflow", "torch", "jax")


def folder_of(study: Path, spec: str, seed: int) -> Path:
    """Return the folder of a run. Free text has a mark of its own, so that no two specs share a folder.

    Example:
        >>> str(folder_of(Path("s"), "gn:4", 0)), str(folder_of(Path("s"), "gn-4", 0))
        ('s/gn-4/seed-0', 's/gn-4-c46258d6/seed-0')
    """
    try:
        own = format(parse(spec)) == spec
    except SpecError:
        own = False
    name = slug(spec) if own else f"{slug(spec)[:LONGEST_NAME]}-{zlib.crc32(spec.encode()):08x}"
    return study / name / f"seed-{seed}"


class StudyRun(Run):
    """One recorded run of a study, read from its folder ``path``: what `Comparison` needs of a `Run`."""

    def __init__(self, path: str | Path, study: str, metric: str, margin: float | None) -> None:
        self.folder = RunFolder(path)
        self.path = self.folder.path
        content = read_json(self.path / RECORD, NEEDED)
        if content["status"] not in ("finished", "failed") or (content["value"] is None) != (
            content["status"] == "failed"
        ):
            raise RunError(
                f"The file {self.path / RECORD} is damaged: its status is {content['status']!r} and its value "
                f"{content['value']!r}. {_again(self.path)}"
            )
        self.content = content
        self.recorded: float | None = content["value"]
        self.without_predictions = content["images"] is None
        self.result = {"status": content["status"], "misclassified": content.get("misclassified")}
        self.config = {
            "asked": {
                "norm": content["spec"], "seed": content["seed"], "recipe": {}, "metric": metric, "margin": margin,
            },
            "data": {
                "name": study, "fingerprint": "", "test_images": content["images"],
                "class_names": [str(number) for number in range(content.get("classes") or 0)],
            },
            **{key: content[key] for key in ("started", "versions", "machine", "why", "notes")},
        }  # fmt: skip

    @property
    def images(self) -> str:
        """Word for the images that were evaluated on."""
        return "test"

    @functools.cached_property
    def history(self) -> pd.DataFrame:
        """One row per epoch with the measures that were recorded; no row and no column without a history.

        Raises:
            RunError: If the file is damaged, or epochs are missing.
        """
        import pandas as pd  # start-up

        epochs = self.content["epochs"]
        if epochs is None:
            return pd.DataFrame(index=pd.Index([], name="epoch"))
        records = self.folder.read_history()
        if len(records) != epochs:
            raise RunError(
                f"The history of the run in {self.path} has {len(records)} of its {epochs} epochs. Restore "
                f"{self.folder.history_path.name} from a copy. {_again(self.path)}"
            )
        return pd.DataFrame(records).drop(columns="schema_version").set_index("epoch")

    @functools.cached_property
    def _predictions(self) -> tuple[np.ndarray, np.ndarray]:
        path = self.folder.predictions_path
        if self.without_predictions:
            raise RunError(f"No predictions were recorded of {self.label} with seed {self.seed}.")
        try:
            with np.load(path, allow_pickle=False) as arrays:
                logits, labels = arrays["logits"], arrays["y_true"]
            if fingerprint([logits, labels]) == self.content["predictions"]:
                return logits, labels
            reason = "it is not the one that was recorded"
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            reason = str(error)
        raise RunError(f"The file {path} cannot be read: {reason}. Restore it from a copy. {_again(self.path)}")

    @property
    def record(self) -> str:
        """Where everything about the run is: its folder."""
        return str(self.path)


def _again(path: Path) -> str:
    return f"Without one, delete the folder {path}, and the study offers that run again."


def write_record(
    path: Path,
    *,
    spec: str,
    seed: int,
    value: float | None,
    why: str = "",
    history: list[dict[str, Any]] | None = None,
    predictions: tuple[np.ndarray, np.ndarray] | None = None,
    notes: str = "",
    started: float,
) -> None:
    """Write what is known of a run into its folder, the record last. The folder must be held."""
    folder = RunFolder(path)
    folder.tidy()
    content: dict[str, Any] = {
        "spec": spec, "seed": seed, "status": "failed" if value is None else "finished", "value": value, "why": why,
        "notes": notes, "epochs": None, "images": None,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)), "recorded_at": time.time(),
        "versions": _versions(), "machine": _machine(),
    }  # fmt: skip
    if predictions is not None:
        logits, labels = predictions
        content |= {"images": len(labels), "classes": logits.shape[1], "predictions": fingerprint([logits, labels])}
        right = (logits.argmax(1) == labels) & ~np.isnan(logits).any(axis=1)
        content["misclassified"] = int(len(labels) - right.sum())
        with whole_file(folder.predictions_path) as temporary:
            np.savez(temporary, logits=logits, y_true=labels)
    if history:
        content["epochs"] = len(history)
        lines = [encode_record({"schema_version": SCHEMA_VERSION, **record}) for record in history]
        write_whole(folder.history_path, b"".join(lines))
    write_json(path / RECORD, content)


def _versions() -> dict[str, str]:
    loaded = {name: getattr(sys.modules.get(name), "__version__", None) for name in FRAMEWORKS}
    found = {name: str(version) for name, version in loaded.items() if version}
    return {"python": platform.python_version(), "tfnorm": __version__, **found}


def _machine() -> str:
    from tfnorm.training.provenance import machine_words, processor_name  # start-up

    return machine_words({"cores": os.cpu_count(), "processor": processor_name()})
