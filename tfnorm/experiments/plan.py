"""Which runs a comparison, a sweep or a reproduction consists of, checked before anything is trained."""

from __future__ import annotations

import importlib.util
import math
import numbers
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

from tfnorm.datasets import Dataset
from tfnorm.datasets.given.own import own_data
from tfnorm.errors import RunError, TfnormError, unknown, whole_number
from tfnorm.experiments.findings import usual_margin
from tfnorm.experiments.looks import families_on_record, remember_families
from tfnorm.experiments.progress import SweepProgress
from tfnorm.experiments.rates import FOLDER, HELD_OUT, Rates, RateSetting, chosen_rates, free_seed, read_rates
from tfnorm.experiments.rows import one_image, value_of
from tfnorm.experiments.sequential import FIRST_LOOK, MOST_SEEDS, Race, check_most_runs, race
from tfnorm.experiments.verdict import states
from tfnorm.files import check_format
from tfnorm.metrics.known import known_metric, split_name
from tfnorm.metrics.metric import Metric
from tfnorm.spec import NormSpec, format, parse
from tfnorm.text import seconds_of
from tfnorm.training.config import RUNS, Settings, TrainConfig, checked, default_name
from tfnorm.training.folder import RunFolder, check_place
from tfnorm.training.progress import Progress
from tfnorm.training.provenance import python_call
from tfnorm.training.provenance import threads as threads_of_process
from tfnorm.training.runs import Run, evaluated_on, shared_metric, slug
from tfnorm.training.tracking import catch_up, check_trackers

DEFAULT_SPECS = ("gn:2", "ln", "bn+l1=5e-4")
ENGINES = ("local", "ray")
SEEDS_ARE = "a number of at least 1, a list of seeds, or 'auto'"
Fingerprint = Callable[[TrainConfig], str | None]


@dataclass(frozen=True)
class PlannedRun:
    """A run that is planned."""

    folder: Path  # relative to the folder of the comparison or sweep
    config: TrainConfig
    point: Mapping[str, Any]  # value of each axis of the grid


@dataclass(frozen=True)
class Auto:
    """How seeds are added until each pair of specs is decided (`tfnorm.experiments.sequential`)."""

    max_runs: int | None = None  # in all; None for 20 of each spec
    until: float = math.inf  # the time of `time.monotonic` after which no round begins

    def seeds(self, specs: int) -> range:
        """Return the seeds that each of so many specs may have, or raise a TfnormError if they are too few."""
        if self.max_runs is None:
            return range(MOST_SEEDS)
        check_most_runs(whole_number("max_runs", self.max_runs), specs)
        return range(self.max_runs - (specs - 1) * FIRST_LOOK)


@dataclass(frozen=True)
class Plan:
    """All runs of a comparison, a sweep or a reproduction, and how to train them. A plan is checked when it is made.

    Raises:
        TfnormError: If one of them cannot be used.
        RunError: If ``folder`` is a file, or if it holds a run of another configuration or number of threads. The error
            has a sentence for each such run.
    """

    folder: Path  # of all files
    runs: Sequence[PlannedRun]  # finished or not
    here: bool = False  # whether they are trained one after another in this process; `jobs` is not used
    jobs: int | None = None  # runs at the same time; by default as many as there are cores and memory for
    threads: int | None = 1  # of each run; None stands for as many as there are cores
    engine: str = "local"  # "local" for processes of this machine, or "ray" for a cluster
    address: str | None = None  # of the Ray cluster; by default the one that runs on this machine
    gpus: float = 0.0  # of each run on a Ray cluster; if it is 0, those of runs on several devices
    data: Dataset | None = None  # if they are in memory already; only for runs in this process
    trackers: Sequence[str] = ()  # names of those that follow each run
    format: str = "png"  # of the pictures: "png", "svg" or "pdf"
    search: Plan | None = None  # runs on held-out images, trained first, that the learning rates are chosen by
    margin: float | None = None  # differences of this size matter; None for the usual margin of the metric
    auto: Auto | None = None  # if seeds are added until it is decided: the runs are all that there may be then

    def __post_init__(self) -> None:
        check_format(self.format)
        object.__setattr__(self, "trackers", check_trackers(self.trackers))
        if self.engine not in ENGINES:
            raise TfnormError(unknown("engine", self.engine, ENGINES))
        if self.engine == "ray" and importlib.util.find_spec("ray") is None:
            raise TfnormError("ray is not installed. Run: pip install 'tfnorm[ray]', or use the engine 'local'.")
        if self.engine != "ray" and (self.address is not None or self.gpus):
            raise TfnormError("An address and a number of GPUs belong to the engine 'ray'. Received: engine='local'.")
        devices = max(run.config.devices for run in self.runs)
        if self.engine == "ray" and devices > 1 and not self.gpus:
            object.__setattr__(self, "gpus", float(devices))
        if self.engine == "ray" and self.gpus < devices > 1:
            raise TfnormError(
                f"Each run needs a GPU for each of its devices. Received: gpus={self.gpus:g} with devices={devices}. "
                f"Use gpus={devices}, or leave it out."
            )
        for name, number in (("jobs", self.jobs), ("threads", self.threads)):
            if number is not None:
                whole_number(name, number)
        if self.data is not None and not self.here:
            raise TfnormError(
                "`data` stays in this process. With `jobs` or a cluster, name a data set, a file or FILE.py:FUNCTION."
            )
        known = known_metric(split_name(self.metric or "accuracy")[0])
        check_margin(self.margin, known[0] if known and self.auto is not None else None)
        if not self.here:
            check_portable(self.runs)
        self.check()
        if self.auto is not None:
            self.races()  # reads what is on record

    @property
    def finished(self) -> list[PlannedRun]:
        """The runs that are finished."""
        return [run for run in self.runs if RunFolder(self.folder / run.folder).finished]

    @property
    def todo(self) -> list[PlannedRun]:
        """The runs to train next: all that are not finished, or those of one round where seeds are added."""
        if self.auto is not None:
            return self._asked(self.races())
        return [run for run in self.runs if not RunFolder(self.folder / run.folder).finished]

    @property
    def epochs(self) -> int:
        """Epochs of all runs together, finished or not; of the finished ones where seeds are added."""
        return _epochs(self.runs if self.auto is None else self.finished)

    @property
    def images(self) -> str:
        """Word for the images that are evaluated on: "test", or "held-out" for those held out from training."""
        return evaluated_on(self.runs[0].config.holdout)

    @property
    def metric(self) -> str | None:
        """What the runs are about, if it is said."""
        return self.runs[0].config.metric

    def check(self, fingerprint: Fingerprint | None = None, classes: Sequence[str] | None = None) -> None:
        """Raise a RunError with a sentence for each folder whose run cannot be taken up.

        Args:
            fingerprint: See `tfnorm.training.data.fingerprints`. It is called only for folders that hold a run. By
                default the data are left for a later check.
            classes: Names of the classes, if the data are loaded.
        """
        check_place(self.folder)
        problems = []
        for run in self.runs:
            folder = RunFolder(self.folder / run.folder)
            try:
                known = fingerprint(run.config) if fingerprint and folder.config_path.exists() else None
                folder.check(run.config.asked(), known, classes, early=fingerprint is None)
                folder.check_threads(self.threads)
            except RunError as error:
                problems.append(str(error))
        if problems:
            raise RunError("\n".join(problems))

    def begin(self, progress: SweepProgress, fingerprint: Fingerprint) -> list[PlannedRun]:
        """Return the runs to train first, once the data of all are checked too. Send finished runs to the trackers."""
        self.check(fingerprint)
        finished, todo = self.finished, self.todo if self.auto is None else self.next_round(progress)
        for run in finished:
            catch_up(self.folder / run.folder, self.trackers)
        progress.planned(len(todo), len(finished), _epochs(todo))
        return todo

    def keep_method(self) -> None:
        """Keep in the folder that seeds are added until it is decided, if they are, before the first run."""
        if self.auto is not None:
            remember_families(self.folder, {})

    def next_round(self, progress: Progress, without: Container[Path] = ()) -> list[PlannedRun]:
        """Return the runs of the next round where seeds are added; none if it is decided, or the time is over.

        What is decided by now is told to the progress, and it is kept in the folder that it was looked at.

        Args:
            progress: Receives progress events.
            without: Folders of runs that failed.
        """
        if self.auto is None:
            return []
        races = self.races()
        if looked := {name: list(each.seen) for name, each in races.items() if each.looked}:
            remember_families(self.folder, looked)
        begun = all(each.looked for each in races.values())
        over = begun and time.monotonic() >= self.auto.until
        todo = [] if over else [run for run in self._asked(races) if run.folder not in without]
        metric = shared_metric(list(self._ended.values())[:1])
        lines = states({name: each.decisions for name, each in races.items()}, metric)
        progress.looked(lines, len(todo), _epochs(todo))
        return todo

    def races(self) -> dict[str, Race]:
        """Return how far the seeds have come: of the one comparison, "", or of each combination of a sweep's others."""
        auto, ended = self.auto or Auto(), self._ended
        ended |= {run.folder: Run(self.folder / run.folder) for run in self.finished if run.folder not in ended}
        runs = list(ended.values())
        metric = shared_metric(runs)
        if runs:
            check_margin(self.margin, metric)
        resolution = one_image(runs, metric)
        margin = usual_margin(metric, resolution) if self.margin is None else self.margin
        families = families_on_record([self.folder]) or {}
        found = {}
        for name, specs in self._groups.items():
            values = {
                spec: {seed: value_of(ended[run.folder], metric) for seed, run in runs.items() if run.folder in ended}
                for spec, runs in specs.items()
            }
            found[name] = race(
                values, margin, seeds=auto.seeds(len(specs)), most_runs=auto.max_runs,
                families=families.get(name, ()), resolution=resolution, lower_is_better=metric.sign < 0,
            )  # fmt: skip
        return found

    @cached_property
    def _ended(self) -> dict[Path, Run]:
        """The finished runs that were read so far."""
        return {}

    @cached_property
    def _groups(self) -> dict[str, dict[str, dict[int, PlannedRun]]]:
        """The runs by what differs besides spec and seed, by spec and by seed."""
        groups: dict[str, dict[str, dict[int, PlannedRun]]] = {}
        for run in self.runs:
            name = "/".join(run.folder.parts[1:-1])
            groups.setdefault(name, {}).setdefault(run.config.norm, {})[run.config.seed] = run
        return groups

    def _asked(self, races: Mapping[str, Race]) -> list[PlannedRun]:
        return [self._groups[name][spec][seed] for name, each in races.items() for spec, seed in each.todo]


def check_margin(margin: float | None, metric: Metric | None = None) -> None:
    """Raise a TfnormError unless a margin is a number of at least 0, or None where the metric has a usual one."""
    if margin is None and metric is not None and not metric.percent:
        raise TfnormError(
            f"A decision needs a margin for {metric.name}, which is not in percent. Give the largest difference that "
            "does not matter to you, in its own unit, with --margin, in Python `margin`."
        )
    number = isinstance(margin, numbers.Real) and not isinstance(margin, bool)
    if margin is not None and not (number and 0 <= margin < math.inf):
        raise TfnormError(f"`margin` must be a finite number of at least 0. Received: margin={margin!r}.")


def check_portable(runs: Iterable[PlannedRun]) -> None:
    """Raise a TfnormError if another process could not make the model of a run, or read its data."""
    for run in runs:
        for source in (run.config.model, run.config.dataset):
            if getattr(source, "text", "") is None:
                raise TfnormError(f"{source.why_no_text} Or train without `jobs`, in this process.")


def _epochs(runs: Iterable[PlannedRun]) -> int:
    return sum(run.config.resolved().epochs or 0 for run in runs)


def plan_comparison(
    specs: Iterable[str | NormSpec] | str | None = None,
    *,
    seeds: int | Sequence[int] | str = 3,
    out: str | Path | None = None,
    resume: bool = True,
    data: Dataset | None = None,
    jobs: int | None = None,
    engine: str = "local",
    address: str | None = None,
    trackers: str | Sequence[str] = (),
    format: str = "png",
    learning_rate: RateSetting = None,
    margin: float | None = None,
    max_runs: int | None = None,
    budget: str | None = None,
    call: str | None = None,
    **settings: Unpack[Settings],
) -> Plan:
    """Return the checked plan of a comparison, without importing Keras; see `tfnorm.compare` for the arguments.

    ``call`` is the command or the Python call for the record of each run. By default it is that of `tfnorm.compare`.

    Raises:
        TfnormError: If a spec, a setting or the folder cannot be used.
    """
    if (own := own_data(settings.get("dataset", ""))) is not None:
        settings["dataset"] = own  # once for all runs
    if specs is not None:
        specs = [specs] if isinstance(specs, str | NormSpec) else list(specs)
    call = call or python_call(
        "tfnorm.compare", specs, seeds=seeds, out=out, data=data, jobs=jobs,
        engine=None if engine == "local" else engine, address=address, trackers=trackers or None,
        learning_rate=learning_rate, margin=margin, max_runs=max_runs, budget=budget, **settings,
    )  # fmt: skip
    rates = read_rates(learning_rate)
    chosen, auto = read_seeds(seeds, len(DEFAULT_SPECS if specs is None else specs), max_runs, budget)
    asked = configurations(specs, seeds=chosen, learning_rate=learning_rate, **settings)
    configs = [each.model_copy(update={"call": call}) for each in asked]
    runs = [PlannedRun(Path(slug(each.norm)) / f"seed-{each.seed}", each, {"norm": each.norm}) for each in configs]
    if out is not None:
        folder = Path(out)
    else:  # one for each set of rates, whatever the order of specs
        first = configs[0] if not rates.mark else configurations(configs[0].norm, seeds=1, **settings)[0]
        folder = RUNS / default_name(first, **rates.mark)
    here = jobs is None and engine == "local"
    options: dict[str, Any] = {
        "here": here, "jobs": jobs, "threads": threads_of_process() if here else 1, "engine": engine,
        "address": address, "data": data, "format": format,
    }  # fmt: skip
    search = Plan(folder, _search(configs, rates), **options) if rates.tried else None
    runs = with_chosen_rates(runs, search)
    plan = Plan(folder, runs, trackers=trackers, search=search, margin=margin, auto=auto, **options)
    if not resume and any(RunFolder(folder / run.folder).config_path.exists() for run in runs):
        raise RunError(f"The folder {folder} holds runs already. Choose another one, or resume.")
    return plan


def read_seeds(
    seeds: int | Sequence[int] | str, specs: int, max_runs: int | None = None, budget: str | None = None
) -> tuple[int | Sequence[int], Auto | None]:
    """Return the seeds that each of so many specs may have, and how they are added, None for a number or a list.

    The time of the budget begins.
    """
    if not isinstance(seeds, str):
        for name, value in (("max_runs", max_runs), ("budget", budget)):
            if value is not None:
                raise TfnormError(f"`{name}` belongs to seeds='auto'. Received: {name}={value!r} and seeds={seeds!r}.")
        return seeds, None
    if seeds != "auto":
        raise TfnormError(f"`seeds` must be {SEEDS_ARE}. Received: seeds={seeds!r}.")
    seconds = read_budget(budget)
    auto = Auto(max_runs, math.inf if seconds is None else time.monotonic() + seconds)
    return auto.seeds(specs), auto


def read_budget(budget: str | None) -> float | None:
    """Return the seconds of a time such as "20m", or raise a TfnormError; `None` for none."""
    seconds = seconds_of(budget) if isinstance(budget, str) else None
    if budget is not None and seconds is None:
        raise TfnormError(f"`budget` must be a time, such as '20m', '90s' or '1h30m'. Received: budget={budget!r}.")
    return seconds


def configurations(
    specs: Iterable[str | NormSpec] | str | None = None,
    *,
    seeds: int | Sequence[int] = 3,
    learning_rate: RateSetting = None,
    **settings: Unpack[Settings],
) -> list[TrainConfig]:
    """Return the configuration of each run of a comparison, all of them checked, without importing Keras.

    They come spec by spec, and within each seed by seed. The arguments are those of `tfnorm.compare`. Where a
    learning rate is to be chosen from several, they have the first one.

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
    asked: Any = seeds
    if isinstance(asked, numbers.Integral) and not isinstance(asked, bool) and int(asked) > 0:
        chosen = list(range(int(asked)))
    elif isinstance(asked, Iterable) and not isinstance(asked, str):
        chosen = list(asked)
    else:
        raise TfnormError(f"`seeds` must be {SEEDS_ARE}. Received: seeds={seeds!r}.")
    if not chosen or len(set(chosen)) < len(chosen):
        raise TfnormError(f"`seeds` must be different numbers, at least one. Received: seeds={chosen}.")
    rates = read_rates(learning_rate)
    rates.check(labels)
    return [
        checked(
            TrainConfig,
            {**settings, "norm": label, "seed": seed, "learning_rate": rates.of(label), "rates": rates.record},
        ).resolved()
        for label in labels
        for seed in chosen
    ]


def with_chosen_rates(runs: Sequence[PlannedRun], search: Plan | None) -> list[PlannedRun]:
    """Return the runs of a comparison with the rates that its search has chosen so far, and how, for the record."""
    if search is None:
        return list(runs)
    places: dict[str, dict[float, Path]] = {}
    for each in search.runs:
        places.setdefault(each.config.norm, {})[each.point["learning_rate"]] = search.folder / each.folder
    chosen = chosen_rates(places)
    found = []
    for run in runs:
        rate, record = chosen.get(run.config.norm, (run.config.learning_rate, run.config.rates))
        update = {"learning_rate": rate, "rates": record}
        found.append(replace(run, config=run.config.model_copy(update=update).resolved()))
    return found


def _search(configs: Sequence[TrainConfig], rates: Rates) -> list[PlannedRun]:
    """Return the runs that the rates of a comparison are chosen by: each spec with each rate, with another seed."""
    if any(config.holdout for config in configs):
        raise TfnormError(
            "With `holdout`, the comparison is evaluated on held-out training images, which learning rates must not be "
            "chosen on, too. Leave `holdout` out, or give each spec one rate."
        )
    seed = free_seed(config.seed for config in configs)
    runs = []
    for config in {config.norm: config for config in configs}.values():
        for rate in rates.tried:
            asked = {"seed": seed, "holdout": HELD_OUT, "learning_rate": rate}
            place = Path(FOLDER) / f"{slug(config.norm)}_learning_rate-{slug(f'{rate:g}')}" / f"seed-{seed}"
            point = {"norm": config.norm, "learning_rate": rate}
            runs.append(PlannedRun(place, config.model_copy(update=asked).resolved(), point))
    return runs
