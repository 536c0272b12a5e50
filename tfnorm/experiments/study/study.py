"""A study: the runs of a person's own training loop, in any framework, kept and compared. Imports no Keras."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tfnorm.errors import LockedError, RunError, TfnormError
from tfnorm.experiments.findings import usual_margin
from tfnorm.experiments.looks import families_on_record, remember_families
from tfnorm.experiments.plan import Auto, check_margin, read_seeds
from tfnorm.experiments.rows import accuracies_of, one_image
from tfnorm.experiments.sequential import race
from tfnorm.experiments.study import given
from tfnorm.experiments.study.record import RECORD, StudyRun, folder_of, write_record
from tfnorm.metrics.metric import Metric, metric_of
from tfnorm.spec import NormSpec
from tfnorm.training.folder import RunFolder, check_place
from tfnorm.training.lock import run_lock
from tfnorm.training.records import Needed, read_json, write_json

if TYPE_CHECKING:
    import numpy as np

    from tfnorm.experiments.comparison.comparison import Comparison

STUDY = "study.json"
NEEDED: Needed = {"metric": str, "direction": str, "margin": (int, float, type(None))}
# How long to wait for another process that opens the same study, and between two looks at a round of seeds that others
# are at work on, in seconds.
PATIENCE, BETWEEN_LOOKS = 60.0, 0.5


class Study:
    """The runs of your own training loop, kept in a folder.

    It says which runs are open, keeps what you record of each, and compares them as `tfnorm.compare` does: tables,
    statistics, a verdict, pictures and a page. It works with any framework, and imports none.

    What is recorded is on the disk when the call returns. Several processes, on several machines if they share the
    folder, can work on one study: each takes what no other has. If one is killed, it loses the run that it was
    training, and another process takes that over.

    Args:
        folder: The folder of the study. It is made if it does not exist.
        metric: What the verdict is about: its name in your histories. "val_accuracy" is a share from 0 to 1, shown in
            percent. Any other name stands for numbers without a unit.
        direction: "max" if higher is better, "min" if lower is better, as it must be for a loss.
        margin: The largest difference that does not matter to you, in the unit of differences: points for
            "val_accuracy", the metric's own unit otherwise. It is kept with the study. Default: what is kept, else 0.5
            for "val_accuracy" and none for others, so that no specs are called equivalent.

    Attributes:
        path: The folder.
        metric: As given.
        direction: As given.
        margin: As given or kept; None if there is none.

    Raises:
        TfnormError: If an argument cannot be used, or the folder holds a study with other ones.

    Example:
        >>> study = Study(folder / "study", metric="val_iou")
        >>> for spec, seed in study.todo(["bn", "gn:8"], seeds=2):
        ...     study.record(spec, seed, {"bn": 0.8, "gn:8": 0.7}[spec] + 0.01 * seed)
        >>> study.comparison().table["last_val_iou"].round(3).to_dict()
        {'bn': 0.805, 'gn:8': 0.705}
    """

    def __init__(
        self, folder: str | Path, metric: str = "val_accuracy", direction: str = "max", margin: float | None = None
    ) -> None:
        self.path = Path(folder)
        self._about = metric_of(metric, direction)
        check_margin(margin)
        self.metric: str = self._about.key
        self.direction: str = direction
        self.margin: float | None = None if margin is None else float(margin)
        self._claims: dict[tuple[str, int], float] = {}  # what this process holds, and since when
        check_place(self.path)
        self._open()

    def __repr__(self) -> str:
        return f"Study({str(self.path)!r}, metric={self.metric!r}, direction={self.direction!r}, margin={self.margin})"

    def _open(self) -> None:
        """Write what the study is about, or check that it is the same as before."""
        file = self.path / STUDY
        if self.margin is None:
            kept = read_json(file, NEEDED)["margin"] if file.exists() else usual_margin(self._about) or None
            self.margin = kept
        now = {"metric": self.metric, "direction": self.direction, "margin": self.margin}
        if not file.exists():
            others = [name for name in ("config.json", "comparison.json", "sweep.json") if (self.path / name).exists()]
            if others:
                raise RunError(f"The folder {self.path} holds other results: {others[0]}. Choose another folder.")
            with run_lock(self.path, wait=PATIENCE):
                RunFolder(self.path).tidy()
                if not file.exists():
                    write_json(file, now)
        there = read_json(file, NEEDED)
        differing = [
            f"{key} is {there[key]!r} there and {value!r} now" for key, value in now.items() if there[key] != value
        ]
        if differing:
            same = ", ".join(f"{key}={there[key]!r}" for key in now)
            raise RunError(
                f"The study in {self.path} is about something else: {'; '.join(differing)}. Open it with {same}, or "
                "choose another folder."
            )

    def todo(
        self,
        specs: str | NormSpec | Iterable[str | NormSpec],
        seeds: int | Sequence[int] | Literal["auto"] = 3,
        max_runs: int | None = None,
    ) -> Iterator[tuple[str, int]]:
        """Return an iterator of the runs that are still open, seed by seed, and within each spec by spec.

        Each run that it gives is claimed for this process until you ask for the next: no other process gets it
        meanwhile. Record it before, or it is open again. Runs that another process works on are left to it, and taken
        over if it ends without recording them while this loop goes on.

        Args:
            specs: What to compare, such as ["bn", "gn:8"]. A spec may be any text. One of tfnorm's grammar comes back
                in its canonical form.
            seeds: Number of seeds, counted from 0, or a list of seeds. Or "auto": 3 seeds of each spec, then one after
                the other until each pair is decided, as in `tfnorm.compare`. Whoever finds that others train the last
                runs of a round waits for them. A run that you don't record ends the loop with its round.
            max_runs: With seeds="auto", the most runs in all. Default: 20 of each spec.

        Raises:
            TfnormError: If the specs or the seeds cannot be used, or there is no margin for seeds="auto".
        """
        labels = given.canonical_specs(specs)
        most, auto = read_seeds(seeds, len(labels), max_runs)
        if auto is None:
            return self._claim([(spec, seed) for seed in given.chosen_seeds(most) for spec in labels])
        check_margin(self.margin, self._about)
        return self._rounds(labels, auto)

    def _rounds(self, labels: Sequence[str], auto: Auto) -> Iterator[tuple[str, int]]:
        """Give the runs of one round after the other."""
        while todo := self._look(labels, auto):
            yield from self._claim(todo, wait=True)
            if not all((folder_of(self.path, *key) / RECORD).exists() for key in todo):
                return  # this loop left one out

    def _look(self, labels: Sequence[str], auto: Auto) -> Sequence[tuple[str, int]]:
        """Return the runs that the next look waits for, and keep what was looked at."""
        places = {spec: folder_of(self.path, spec, 0).parent.glob(f"*/{RECORD}") for spec in labels}
        runs = {spec: [self._read(path.parent) for path in sorted(paths)] for spec, paths in places.items()}
        with_images = [run for each in runs.values() for run in each if not run.without_predictions]
        found = race(
            {spec: accuracies_of(each, self._about) for spec, each in runs.items()},
            self.margin or 0.0,
            seeds=auto.seeds(len(labels)),
            most_runs=auto.max_runs,
            families=(families_on_record([self.path]) or {}).get("", ()),
            resolution=one_image(with_images, self._about),
            lower_is_better=self._about.sign < 0,
        )
        remember_families(self.path, {"": labels} if found.looked else {})
        return found.todo

    def _claim(self, wanted: Sequence[tuple[str, int]], *, wait: bool = False) -> Iterator[tuple[str, int]]:
        """Give those of some runs that are open and held by no other process, each once.

        Those that others hold and leave are taken over as long as there is another to give, or, with ``wait``, until
        all are recorded or were given here.
        """
        left, found = list(wanted), True
        while left and (found or wait):
            if not found:
                time.sleep(BETWEEN_LOOKS)
            found = False
            for key in list(left):
                path = folder_of(self.path, *key)
                if (path / RECORD).exists():
                    left.remove(key)
                    continue
                try:
                    with run_lock(path):
                        left.remove(key)  # each once, so that a loop that skips one ends
                        if (path / RECORD).exists():
                            continue
                        found, self._claims[key] = True, time.time()
                        try:
                            yield key
                        finally:
                            self._claims.pop(key, None)
                except LockedError:
                    continue

    def record(
        self,
        spec: str | NormSpec,
        seed: int,
        value: float,
        history: Any = None,
        predictions: Any = None,
        labels: Any = None,
        notes: Any = None,
    ) -> None:
        """Keep what a run reached. It is on the disk when this returns.

        Args:
            spec: The spec of the run.
            seed: Its seed.
            value: The value of the metric that the verdict is about, for example after the last epoch.
            history: The measures of each epoch, if you have them: a list of dicts, a dict of lists, a DataFrame, or
                what ``fit`` of Keras returns. The curves of the page are drawn from the metric, its training
                counterpart (without ``val_``), "loss" and "val_loss".
            predictions: Logits or probabilities of the test images, (images, classes), if it is about classes.
            labels: The true classes of the same images, integers (images,) or one-hot rows. With predictions and
                labels there are confusions, McNemar's test and the list of mistakes.
            notes: A text, or a dict of texts and numbers, to be shown with the run.

        Raises:
            TfnormError: If something given cannot be used; nothing is recorded then.
            RunError: If the run is recorded already.
            LockedError: If another process works on the run.
        """
        self._write(
            spec,
            seed,
            value=given.check_value(value, self._about),
            history=None if history is None else given.history_records(history, self._about),
            predictions=given.check_predictions(predictions, labels),
            notes=given.check_notes(notes),
        )

    def record_failure(self, spec: str | NormSpec, seed: int, why: object) -> None:
        """Keep that a run failed. A spec that failed with some seed is called better than no other.

        Args:
            spec: The spec of the run.
            seed: Its seed.
            why: The reason, in words, or the error itself.

        Raises:
            TfnormError: If something given cannot be used.
            RunError: If the run is recorded already.
            LockedError: If another process works on the run.
        """
        words = f"{type(why).__name__}: {why}".rstrip(": ") if isinstance(why, BaseException) else why
        if not isinstance(words, str) or not words.strip():
            raise TfnormError(f"`why` must say why the run failed, in words. Received: why={why!r}.")
        self._write(spec, seed, value=None, why=words.strip())

    def _write(self, spec: str | NormSpec, seed: int, **content: Any) -> None:
        key = given.canonical(spec), given.check_seed(seed)
        path = folder_of(self.path, *key)
        with nullcontext() if key in self._claims else run_lock(path):
            if (path / RECORD).exists():
                there = self._read(path)
                was = f"it failed: {there.config['why']}" if there.recorded is None else f"value {there.recorded:g}"
                raise RunError(
                    f"{key[0]} with seed {key[1]} is recorded already, {was}. To record it again, delete the folder "
                    f"{path} first."
                )
            self._check_alike(content.get("predictions"))
            write_record(path, spec=key[0], seed=key[1], started=self._claims.get(key, time.time()), **content)

    def _check_alike(self, predictions: tuple[np.ndarray, np.ndarray] | None) -> None:
        """Raise a TfnormError unless predictions have the shape of those that are recorded already."""
        if predictions is None:
            return
        for file in self.path.glob(f"*/*/{RECORD}"):
            try:
                there = read_json(file)
            except RunError:  # said where the comparison leaves it out
                continue
            shape = there.get("images"), there.get("classes")
            if shape[0] is None:
                continue
            if shape != predictions[0].shape:
                raise TfnormError(
                    "`predictions` must be of the same test images and classes for every run. Received: shape "
                    f"{predictions[0].shape}; those recorded in {file.parent} have {shape}."
                )
            return

    def _read(self, path: Path) -> StudyRun:
        return StudyRun(path, self.path.resolve().name, self.metric, self.margin)

    @property
    def runs(self) -> list[StudyRun]:
        """The runs that are recorded, those of the spec that was recorded first in front, by seed.

        Raises:
            RunError: If a record cannot be read.
        """
        return self._ordered([self._read(path.parent) for path in sorted(self.path.glob(f"*/*/{RECORD}"))])

    @staticmethod
    def _ordered(runs: Sequence[StudyRun]) -> list[StudyRun]:
        first: dict[str, float] = {}
        for run in runs:
            at = run.content["recorded_at"]
            first[run.label] = min(at, first.get(run.label, at))
        return sorted(runs, key=lambda run: (first[run.label], run.label, run.seed))

    def comparison(self, out: str | Path | None = None, margin: float | None = None) -> Comparison:
        """Return the comparison of what is recorded: tables, statistics, verdict, pictures and page.

        ``save`` of it writes them all. A record that cannot be read is left out, and the page says so.

        Args:
            out: The folder that it writes to. Default: that of the study.
            margin: In place of that of the study, which is kept.

        Raises:
            RunError: If nothing is recorded yet.
        """
        runs, damaged, opened = [], [], []
        for path in sorted(self.path.glob("*/seed-*")):
            if not (path / RECORD).exists():
                opened.append(str(path.relative_to(self.path)))
                continue
            try:
                run = self._read(path)
                _ = run.history
                runs.append(run)
            except RunError as error:
                damaged.append(f"Left out, because it cannot be read: {error}")
        if not runs:
            begun = f"Nothing is recorded yet in the study {self.path}. Record a run with record(spec, seed, value)."
            raise RunError("\n".join(damaged) or begun)
        from tfnorm.experiments.comparison.comparison import Comparison  # start-up

        notes = [*([f"Not recorded yet, and left out: {', '.join(opened)}."] if opened else []), *damaged]
        with_classes = next((run for run in runs if not run.without_predictions), runs[0])
        for run in runs:
            run.config["data"] = with_classes.config["data"]
        return Comparison(
            self._ordered(runs),
            self.path if out is None else out,
            notes=notes,
            metric=self._recorded,
            margin=self.margin if margin is None else margin,
        )

    @property
    def _recorded(self) -> Metric:
        return replace(self._about, moment="as it was recorded", lost="failed")


def is_study(folder: str | Path) -> bool:
    """Return whether a folder holds a study."""
    return (Path(folder) / STUDY).is_file()


def open_study(folder: str | Path) -> Study:
    """Return the study in a folder, as it was opened first.

    Raises:
        RunError: If its file cannot be read.
    """
    there = read_json(Path(folder) / STUDY, NEEDED)
    return Study(folder, there["metric"], there["direction"], there["margin"])
