"""The same network with each normalization, trained under identical conditions."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfnorm.compare.statistics import Difference, mcnemar, paired_differences, summarize, verdict
from tfnorm.errors import RunError, TfnormError, unknown
from tfnorm.files import write_whole
from tfnorm.spec import NormSpec, format, parse
from tfnorm.training.config import TrainConfig, checked
from tfnorm.training.runs import SCHEMA_VERSION, Run, RunFolder, slug, write_json

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from tfnorm.datasets import Dataset
    from tfnorm.training.progress import Progress

DEFAULT_SPECS = ("gn:2", "ln", "bn+l1=5e-4")


def configurations(
    specs: Iterable[str | NormSpec] | str | None = None, *, seeds: int | Sequence[int] = 3, **settings: Any
) -> list[TrainConfig]:
    """Return the configuration of each run of a comparison, all of them checked, without importing Keras.

    Args:
        specs: Norm specs; default gn:2, ln and bn+l1=5e-4.
        seeds: How many seeds, counted from 0, or the seeds themselves.
        **settings: Arguments of `TrainConfig` that all runs share.

    Returns:
        Seed by seed, within each spec.

    Example:
        >>> [(c.norm, c.seed) for c in configurations(["bn", "ln"], seeds=2)]
        [('bn', 0), ('bn', 1), ('ln', 0), ('ln', 1)]
    """
    if isinstance(specs, (str, NormSpec)):
        specs = [specs]
    for word, mend in (("seed", "seeds=[7]"), ("norm", "the specs")):
        if word in settings:
            raise TfnormError(f"`{word}` belongs to one run. For a comparison give {mend}.")
    problems: list[str] = []
    labels: list[str] = []
    for spec in DEFAULT_SPECS if specs is None else specs:
        try:
            label = format(parse(spec))
            checked(TrainConfig, {**settings, "norm": label}).plan()
        except TfnormError as error:
            problems.append(str(error))
            continue
        if label in labels:
            problems.append(f"The spec {label!r} is given twice. Give each once; for repetitions use more seeds.")
        labels.append(label)
    if problems:
        raise TfnormError(" ".join(dict.fromkeys(problems)))
    if not labels:
        raise TfnormError("There is nothing to compare. Give at least one norm spec, such as 'bn'.")
    if isinstance(seeds, (bool, str, float)) or (isinstance(seeds, int) and seeds < 1):
        raise TfnormError(f"`seeds` must be at least 1, or a list of seeds. Received: seeds={seeds!r}.")
    numbers = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not numbers or len(set(numbers)) < len(numbers):
        raise TfnormError(f"`seeds` must be different numbers, at least one. Received: seeds={numbers}.")
    return [
        checked(TrainConfig, {**settings, "norm": label, "seed": seed}).resolved()
        for label in labels
        for seed in numbers
    ]


def compare(
    specs: Iterable[str | NormSpec] | str | None = None,
    *,
    seeds: int | Sequence[int] = 3,
    out: str | Path | None = None,
    resume: bool = True,
    data: Dataset | None = None,
    progress: Progress | None = None,
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
        progress: Is told what happens.
        **settings: Arguments of `tfnorm.training.config.TrainConfig` that all runs share: arch, dataset, data_dir,
            image_size, epochs, batch_size, recipe, augmentation, learning_rate, dropout, regularize, precision.

    Returns:
        The `Comparison`.

    Raises:
        TfnormError: If a spec, a setting, the data or the folder cannot be used, before anything is trained.

    Example:
        >>> comparison = compare(["bn", "ln"], seeds=1, epochs=1, out=folder)
        >>> comparison.table.index.tolist()
        ['bn', 'ln']
    """
    planned = configurations(specs, seeds=seeds, **settings)
    from tfnorm.training.trainer import default_name, forget_graph, load_data, train

    folder = Path(out) if out is not None else Path("runs") / default_name(planned[0])
    pairs = [(folder / slug(config.norm) / f"seed-{config.seed}", config) for config in planned]
    for place, config in pairs:
        if not resume and RunFolder(place).config_path.exists():
            raise RunError(f"The folder {folder} holds runs already. Choose another one, or resume.")
        RunFolder(place).check(config.asked())
    data = data or load_data(planned[0])
    for place, config in pairs:
        RunFolder(place).check(config.asked(), data.fingerprint)
    try:
        runs = [train(config, out=place, data=data, progress=progress) for place, config in pairs]
    finally:
        forget_graph()
    comparison = Comparison(runs, folder)
    comparison.save()
    return comparison


class Comparison:
    """Runs of one network with several normalizations.

    Args:
        runs: Finished runs.
        path: The folder that tables and pictures are written to.
    """

    def __init__(self, runs: Sequence[Run], path: str | Path) -> None:
        self.runs = list(runs)
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Comparison of {len(self.groups)} normalizations in {str(self.path)!r}\n{self.table.to_string()}"

    def _repr_html_(self) -> str:
        return self.table.to_html()

    @property
    def groups(self) -> Mapping[str, list[Run]]:
        """The runs of each spec, in the order given."""
        groups: dict[str, list[Run]] = {}
        for run in self.runs:
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
        the honest number.
        """
        import pandas as pd

        rows = {label: summary_row(runs) for label, runs in self.groups.items()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("spec")

    @functools.cached_property
    def accuracies(self) -> Mapping[str, Mapping[int, float]]:
        """Spec to seed to test accuracy in percent after the last epoch, of the runs that did not diverge."""
        return {
            label: {run.seed: 100 * run.history["val_accuracy"].iloc[-1] for run in runs if run.status == "finished"}
            for label, runs in self.groups.items()
        }

    @functools.cached_property
    def _one_image(self) -> float:
        """One test image in percent, the step in which accuracies move."""
        return 100 / len(self.runs[0].labels)

    @functools.cached_property
    def differences(self) -> pd.DataFrame:
        """One row a pair of specs: the difference in points of test accuracy, paired by seed, and whether it is real.

        See `tfnorm.compare.statistics.paired_differences` for the columns and the assumptions.
        """
        import pandas as pd

        found = paired_differences(self.accuracies, resolution=self._one_image)
        columns = [field.name for field in dataclasses.fields(Difference)]
        table = pd.DataFrame([dataclasses.asdict(difference) for difference in found], columns=columns)
        return table.assign(real=[difference.is_real() for difference in found], said=[str(d) for d in found])

    @property
    def verdict(self) -> str:
        """What the runs say in words: which differences are real, and which cannot be told."""
        return verdict(self.accuracies, resolution=self._one_image)

    def errors(self, first: str, second: str) -> pd.DataFrame:
        """Compare the errors of two specs on the same test images, one row a seed.

        McNemar's exact test, see `tfnorm.compare.statistics.mcnemar`: it speaks of the two trained models of a seed.

        Args:
            first: A spec of the comparison.
            second: Another.

        Returns:
            Columns only_first, only_second (images that only this one gets wrong) and p, by seed.

        Raises:
            TfnormError: If a spec is not part of the comparison.
        """
        import pandas as pd

        for label in (first, second):
            if label not in self.groups:
                raise TfnormError(unknown("spec of this comparison", label, self.groups))
        wrong = {
            label: {run.seed: run.logits.argmax(1) != run.labels for run in self.groups[label]}
            for label in (first, second)
        }
        rows = {
            seed: dataclasses.asdict(mcnemar(wrong[first][seed].tolist(), wrong[second][seed].tolist()))
            for seed in wrong[first]
            if seed in wrong[second]
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("seed")

    def save(self) -> None:
        """Write table.csv, comparison.json, loss.png, accuracy.png and a misclassified picture a spec."""
        import pandas as pd

        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / "table.csv", self.table.to_csv().encode())
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
        shared = {key: value for key, value in self.runs[0].config["asked"].items() if key not in ("norm", "seed")}
        content = {
            "settings": shared,
            "data": self.runs[0].config["data"],
            "verdict": self.verdict,
            "table": records,
            "differences": json.loads(self.differences.to_json(orient="records")),
            "runs": runs,
        }
        write_json(self.path / "comparison.json", {"schema_version": SCHEMA_VERSION, **content})
        self.plot_loss(self.path / "loss.png")
        self.plot_accuracy(self.path / "accuracy.png")
        for label, group in self.groups.items():
            picture = group[0].path / "misclassified.png"
            if picture.exists():
                write_whole(self.path / f"misclassified-{slug(label)}.png", picture.read_bytes())

    def _title(self, what: str) -> str:
        config = self.runs[0].config
        seeds = max(len(group) for group in self.groups.values())
        over = "1 seed" if seeds == 1 else f"{seeds} seeds"
        return f"{what}: {config['asked']['arch']} on {config['data']['name']}, {over}"

    def plot_loss(self, path: str | Path | None = None) -> Figure:
        """Draw training and test loss without penalty, all specs together."""
        from tfnorm.report import plot_loss

        return plot_loss(self.histories, title=self._title("Loss"), path=path)

    def plot_accuracy(self, path: str | Path | None = None) -> Figure:
        """Draw training and test accuracy, all specs together, the best epoch marked."""
        from tfnorm.report import plot_accuracy

        return plot_accuracy(self.histories, title=self._title("Accuracy"), path=path)


def summary_row(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what a table says of runs that differ in the seed alone; see `Comparison.table`."""
    import pandas as pd

    histories = [run.history for run in runs]
    accuracies = [100 * history["val_accuracy"] for history in histories]
    best, last = pd.Series([a.max() for a in accuracies]), pd.Series([a.iloc[-1] for a in accuracies])
    # The first epoch's time holds the tracing of the graph.
    speeds = pd.Series(
        [history["images_per_second"].iloc[min(1, len(history) - 1) :].median() for history in histories]
    )
    wrong = pd.Series([run.result["misclassified"] for run in runs], dtype="float64")
    interval = summarize(list(last))
    return {
        "parameters": runs[0].config["trainable_parameters"],
        "seeds": len(runs),
        "best_accuracy": best.mean(),
        "best_accuracy_std": best.std(),
        "last_accuracy": last.mean(),
        "last_accuracy_std": last.std(),
        "last_accuracy_low": interval.low,
        "last_accuracy_high": interval.high,
        "test_data_loss": pd.Series([history["val_data_loss"].iloc[-1] for history in histories]).mean(),
        "penalty": pd.Series([history["penalty"].iloc[-1] for history in histories]).mean(),
        "misclassified": wrong.mean(),
        "seconds": pd.Series([history["seconds"].sum() for history in histories]).mean(),
        "images_per_second": speeds.median(),
        "diverged": sum(run.status == "diverged" for run in runs),
    }
