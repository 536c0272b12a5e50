"""The same network with each normalization, trained under identical conditions."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfnorm.errors import RunError, TfnormError, unknown
from tfnorm.experiments.comparison.guessing import Learned, guessing_notes, learned
from tfnorm.experiments.comparison.pictures import Pictures
from tfnorm.experiments.looks import earlier_looks, look_of, looks_json
from tfnorm.experiments.plan import PlannedRun, configurations
from tfnorm.experiments.progress import SweepProgress
from tfnorm.experiments.rows import run_row, summary_row
from tfnorm.experiments.settings import FINGERPRINT, Differing, differing_settings, in_common, shared_settings
from tfnorm.experiments.statistics import Difference, Look, about_looks, mcnemar, paired_differences, verdict
from tfnorm.files import PAGE, check_format, results_come_first, write_text
from tfnorm.spec import NormSpec
from tfnorm.training.folder import RunFolder
from tfnorm.training.provenance import threads
from tfnorm.training.records import write_json
from tfnorm.training.runs import Run, check_same_data, slug

if TYPE_CHECKING:
    import pandas as pd

    from tfnorm.datasets import Dataset
    from tfnorm.training.progress import Progress

SOME_HELD_OUT = "What is called test here are for some of the runs training images that were held out."
HELD_OUT = "What is called test here are training images that were held out; the test set was left alone."


def compare(
    specs: Iterable[str | NormSpec] | str | None = None,
    *,
    seeds: int | Sequence[int] = 3,
    out: str | Path | None = None,
    resume: bool = True,
    data: Dataset | None = None,
    jobs: int | None = None,
    engine: str = "local",
    address: str | None = None,
    trackers: str | Sequence[str] = (),
    progress: Progress | None = None,
    format: str = "png",
    **settings: Any,
) -> Comparison:
    """Train one network with each normalization and each seed, and write tables and pictures.

    All runs of a seed start from the same convolution kernels and see the same images in the same order. A run that
    is finished in the folder is not trained again.

    Args:
        specs: Norm specs; default gn:2, ln and bn+l1=5e-4.
        seeds: How many seeds, counted from 0, or the seeds themselves.
        out: The folder; default ``runs/ARCH-DATASET``, with a mark of the settings that are not the default.
        resume: Whether runs in the folder are taken up; False refuses a folder that holds runs.
        data: The data, if it is loaded already.
        jobs: Runs at the same time, each in a process of one thread; default one after another in this process, with
            all its threads, which may differ in the last digits.
        engine: "local", or "ray" for a cluster; see `tfnorm.experiments.sweep.result.sweep`.
        address: Of the cluster.
        trackers: "tensorboard", "wandb" or both, which follow each run.
        progress: Is told what happens; with ``jobs`` a `tfnorm.experiments.progress.SweepProgress`.
        format: Of the pictures: "png", "svg" or "pdf".
        **settings: Arguments of `tfnorm.training.config.TrainConfig` that all runs share: arch, dataset, data_dir,
            image_size, epochs, batch_size, recipe, augmentation, learning_rate, dropout, regularize, precision,
            holdout, patience, skip_damaged.

    Returns:
        The `Comparison`.

    Raises:
        TfnormError: If a spec, a setting, the data or the folder cannot be used, before anything is trained.

    Example:
        >>> comparison = compare(["bn", "ln"], seeds=1, epochs=1, out=folder)
        >>> comparison.table.index.tolist()
        ['bn', 'ln']
    """
    check_format(format)
    planned = configurations(specs, seeds=seeds, **settings)
    from tfnorm.experiments.engines.choose import check_failures, run_on
    from tfnorm.experiments.plan import Plan, check_engine
    from tfnorm.training.config import default_name
    from tfnorm.training.tracking import check_trackers

    trackers = check_trackers(trackers)
    check_engine(engine, address=address)
    folder = Path(out) if out is not None else Path("runs") / default_name(planned[0])
    runs = [
        PlannedRun(Path(slug(config.norm)) / f"seed-{config.seed}", config, {"norm": config.norm}) for config in planned
    ]
    if not resume and any(RunFolder(folder / run.folder).config_path.exists() for run in runs):
        raise RunError(f"The folder {folder} holds runs already. Choose another one, or resume.")
    here = jobs is None and engine == "local"
    Plan(folder, runs, threads=threads() if here else 1)
    if here:
        _train_here(runs, folder, data, trackers, progress)
    else:
        if data is not None:
            raise TfnormError("`data` stays in this process. With `jobs` or a cluster, name a data set or a file.")
        watcher = progress if isinstance(progress, SweepProgress) else None
        check_failures(run_on(engine, runs, folder, address=address, jobs=jobs, trackers=trackers, progress=watcher))
    finished = [Run(folder / run.folder) for run in runs]
    check_same_data(finished)
    comparison = Comparison(finished, folder)
    comparison.save(format=format)
    return comparison


def _train_here(
    runs: Sequence[PlannedRun],
    folder: Path,
    data: Dataset | None,
    trackers: Sequence[str],
    progress: Progress | None,
) -> None:
    """Train runs one after another in this process."""
    from tfnorm.training.trainer import forget_graph, load_data, train_on

    data = load_data(runs[0].config, data)
    if progress is not None:
        progress.read(data.sentences)
    for run in runs:
        RunFolder(folder / run.folder).check(run.config.asked(), data.fingerprint, data.class_names)
    try:
        for before, run in zip([None, *runs], runs, strict=False):
            if before is not None and before.config.norm != run.config.norm:
                forget_graph()  # no run that follows has it
            train_on(data, run.config, folder / run.folder, progress=progress, trackers=trackers)
    finally:
        forget_graph()


class Comparison(Pictures):
    """Runs of one network with several normalizations.

    Args:
        runs: Finished runs.
        path: The folder that tables and pictures are written to.
        groups: Label to the runs that differ in the seed alone; default by norm spec.
        notes: Sentences that its page shows on top, such as which runs were left out.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        path: str | Path,
        *,
        groups: Mapping[str, Sequence[Run]] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.runs = list(runs)
        self.path = Path(path)
        self.notes = list(notes)
        held_out = [bool(run.config["asked"].get("holdout")) for run in self.runs]
        if any(held_out):
            self.notes.append(HELD_OUT if all(held_out) else SOME_HELD_OUT)
        self._given = groups

    def __repr__(self) -> str:
        return f"Comparison of {len(self.groups)} normalizations in {str(self.path)!r}\n{self.table.to_string()}"

    def _repr_html_(self) -> str:
        return self.table.to_html()

    @property
    def groups(self) -> Mapping[str, list[Run]]:
        """The runs of each spec, in the order given."""
        groups: dict[str, list[Run]] = {label: list(runs) for label, runs in (self._given or {}).items()}
        for run in self.runs if self._given is None else ():
            groups.setdefault(run.label, []).append(run)
        return groups

    @property
    def histories(self) -> Mapping[str, list[pd.DataFrame]]:
        """The history of each run of each spec."""
        return {label: [run.history for run in runs] for label, runs in self.groups.items()}

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """One row a spec.

        Accuracies are test accuracies in percent, mean and standard deviation (n - 1) over seeds, and for the last
        epoch the 95 % interval of the mean. The best epoch is chosen on the test set, so that it flatters; the last is
        the honest number. Runs that diverged have no part in them, and are counted under ``diverged``.

        ``balanced_accuracy`` is the mean over the classes of the share of their test images that is recognized, in
        percent, and ``learned`` whether the answers are shown to depend on the images (`guessing`);
        both are empty without predictions.
        """
        import pandas as pd

        rows = {label: summary_row(runs) | _learned_row(self.learned[label]) for label, runs in self.groups.items()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("spec")

    @functools.cached_property
    def learned(self) -> Mapping[str, Learned | None]:
        """What the predictions of each spec say besides their accuracy, None without any."""
        return {label: learned(runs) for label, runs in self.groups.items()}

    @property
    def unequal(self) -> bool:
        """Whether the classes of the test images differ so much in size that accuracies need balanced ones beside."""
        return any(known is not None and known.unequal for known in self.learned.values())

    @property
    def remarks(self) -> list[str]:
        """Sentences that belong to every table: the notes, and what is known of specs that learned nothing."""
        return [*self.notes, *(guessing_notes(self.learned) if self.same_data else ())]

    @functools.cached_property
    def looks(self) -> Sequence[Look]:
        """What the folder says was shown before, the oldest first; see `tfnorm.experiments.statistics.look_number`."""
        return earlier_looks(self.path, self.runs)

    @property
    def about_looks(self) -> str:
        """What it costs to look at these runs again with more seeds, or what earlier looks have cost; "" if nothing."""
        return about_looks(self.pairs)

    @functools.cached_property
    def accuracies(self) -> Mapping[str, Mapping[int, float]]:
        """Spec to seed to test accuracy in percent after the last epoch, NaN for a run that diverged."""
        return {
            label: {
                run.seed: 100 * run.history["val_accuracy"].iloc[-1] if run.status == "finished" else math.nan
                for run in runs
            }
            for label, runs in self.groups.items()
        }

    @functools.cached_property
    def one_image(self) -> float:
        """One test image in percent, the step in which accuracies move."""
        return 100 / self.runs[0].config["data"]["test_images"]

    @functools.cached_property
    def differing(self) -> Sequence[Differing]:
        """In what the runs differ besides norm and seed, nothing unless they were compared anyway."""
        return differing_settings(self.runs)

    @property
    def same_data(self) -> bool:
        """Whether all runs had the same data."""
        return all(each.key != FINGERPRINT for each in self.differing)

    @functools.cached_property
    def pairs(self) -> Sequence[Difference]:
        """The differences of `differences`, one a pair; none between runs on different data."""
        if not self.same_data:
            return []
        return paired_differences(self.accuracies, resolution=self.one_image, looks=self.looks)

    @functools.cached_property
    def differences(self) -> pd.DataFrame:
        """One row a pair of specs: the difference in points of test accuracy, paired by seed, and whether it is real.

        See `tfnorm.experiments.statistics.paired_differences` for the columns and the assumptions.
        """
        import pandas as pd

        columns = [field.name for field in dataclasses.fields(Difference)]
        table = pd.DataFrame([dataclasses.asdict(difference) for difference in self.pairs], columns=columns)
        return table.assign(real=[d.is_real() for d in self.pairs], said=[str(d) for d in self.pairs])

    @property
    def verdict(self) -> str:
        """What the runs say in words: which differences are real, and which cannot be told."""
        if not self.same_data:
            return "The runs are on different data, so that no difference between them is told."
        return verdict(self.accuracies, resolution=self.one_image, looks=self.looks)

    def errors(self, first: str, second: str) -> pd.DataFrame:
        """Compare the errors of two specs on the same test images, one row a seed.

        McNemar's exact test, see `statistics.mcnemar`: it speaks of the two trained models of a seed.

        Args:
            first: A spec of the comparison.
            second: Another.

        Returns:
            Columns only_first, only_second (images that only this one gets wrong) and p, by seed; without seeds with
            which one of the two diverged.

        Raises:
            TfnormError: If a spec is not part of the comparison.
        """
        import pandas as pd

        for label in (first, second):
            if label not in self.groups:
                raise TfnormError(unknown("spec of this comparison", label, self.groups))
        wrong = {
            label: {
                run.seed: run.logits.argmax(1) != run.labels for run in self.groups[label] if run.status == "finished"
            }
            for label in (first, second)
        }
        rows = {
            seed: dataclasses.asdict(mcnemar(wrong[first][seed].tolist(), wrong[second][seed].tolist()))
            for seed in wrong[first]
            if seed in wrong[second]
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("seed")

    def save(self, *, format: str = "png") -> None:
        """Write report.html, table.csv, runs.csv, comparison.json and the pictures; see `save_pictures`.

        Args:
            format: Of the pictures: "png", "svg" or "pdf".

        Raises:
            DataError: If the format is another.
        """
        import pandas as pd

        check_format(format)
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / "table.csv", self.table.to_csv())
        write_text(self.path / "runs.csv", pd.DataFrame(map(run_row, self.runs)).to_csv(index=False))
        records = json.loads(self.table.reset_index().to_json(orient="records"))
        runs = [
            {
                "spec": run.label,
                "seed": run.seed,
                "status": run.status,
                "path": str(run.path.relative_to(self.path)) if run.path.is_relative_to(self.path) else str(run.path),
                "trainable_parameters": run.config["trainable_parameters"],
                "initial_kernels": run.config["initial_kernels"],
                "test_accuracy_by_epoch": [
                    None if pd.isna(value) else float(value) for value in run.history["val_accuracy"]
                ],
            }
            for run in self.runs
        ]
        configs = [run.config for run in self.runs]
        content = {
            "settings": shared_settings(configs),
            "data": in_common([config["data"] for config in configs]),
            "verdict": self.verdict,
            "table": records,
            "differences": json.loads(self.differences.to_json(orient="records")),
            "looks": looks_json([*self.looks, look_of(self.accuracies)]),
            "runs": runs,
        }
        write_json(self.path / "comparison.json", content)
        self.save_pictures(format)
        with results_come_first(f"the page {PAGE}"):
            self.report()

    def report(self, path: str | Path | None = None) -> Path:
        """Write the page about all of it, one file that opens without a network, and return where it is.

        Args:
            path: Default report.html in the folder.
        """
        from tfnorm.experiments.comparison.page import comparison_page

        path = self.path / PAGE if path is None else Path(path)
        write_text(path, comparison_page(self, path.parent))
        return path


def _learned_row(known: Learned | None) -> dict[str, Any]:
    """Return what the table says of the predictions of a spec."""
    if known is None:
        return {"balanced_accuracy": math.nan, "learned": None}
    return {"balanced_accuracy": known.balanced, "learned": not known.nothing}
