"""The search: one run a trial, chosen by Optuna, scored on one held-out part, with one seed."""

from __future__ import annotations

import gc
import json
import math
import os
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfnorm.datasets import Dataset
from tfnorm.errors import RunError, TfnormError
from tfnorm.experiments.recommend.plan import (
    CANDIDATES,
    LEAST_SEARCHED,
    SEARCH_SEED,
    TEST_SEEDS,
    RecommendPlan,
)
from tfnorm.experiments.recommend.state import RecommendProgress, State
from tfnorm.experiments.rows import value_of
from tfnorm.experiments.sequential import FIRST_LOOK
from tfnorm.metrics.known import recorded_metric
from tfnorm.metrics.metric import Metric
from tfnorm.training.config import TrainConfig
from tfnorm.training.folder import RunFolder
from tfnorm.training.progress import Progress
from tfnorm.training.records import read_json
from tfnorm.training.runs import Run, slug

if TYPE_CHECKING:
    import optuna

FOLDER, JOURNAL, STUDY = "search", "journal.log", "search"
# Runs before the median of earlier ones breaks any off, and the share of the epochs that each run has in any case.
UNPRUNED, WARM_UP = 5, 0.25
# A small space is exhausted when so many trials in a row were tried before.
MOST_REPEATED = 20


@dataclass(frozen=True)
class Trial:
    """A run of the search.

    Args:
        number: Counted from 0.
        state: "finished", "pruned", "diverged", "failed" with a reason, or "broken off".
        settings: What was chosen.
        chosen: The same as the search chooses it.
        value: The metric after its last epoch, in the unit of tables, NaN if there is none.
        epochs: How many it was trained for.
        folder: Of its run, relative to the folder of the recommendation.
        loss: Held-out loss after the last epoch, to tell equal ones apart.
        reason: Why it failed.
    """

    number: int
    state: str
    settings: Mapping[str, Any]
    chosen: Mapping[str, Any]
    value: float
    epochs: int
    folder: str
    loss: float = math.inf
    reason: str = ""


def place_of_run(config: TrainConfig) -> Path:
    """Return the folder of a run of the search: the same setting has the same, so that none is trained twice."""
    mark = zlib.crc32(json.dumps(config.asked(), sort_keys=True).encode())
    return Path(FOLDER) / f"{slug(config.norm)}-{mark:08x}"


def search(plan: RecommendPlan, state: State, data: Dataset, progress: RecommendProgress) -> list[Mapping[str, Any]]:
    """Search until the share of the budget is used, and return the settings to confirm, the best first.

    Raises:
        RunError: If no run ended with a value.
    """
    study = open_study(plan)
    give_back(study)
    if not study.trials:
        first = plan.config({"norm": plan.space.norms[0]}, "search")
        study.enqueue_trial(plan.space.point(first))
    progress.part(FOLDER, state, sum(trial.state.is_finished() for trial in study.trials))
    while _goes_on(plan, state, study):
        _train(plan, study, data, progress)
        state.save()
    found = candidates(plan, trials_of(plan, study))
    if found:
        return found
    reasons = list(dict.fromkeys(trial.reason for trial in trials_of(plan, study) if trial.reason))
    why = f" {reasons[0]}" if reasons else " Try lower learning rates, in another output folder."
    raise RunError(f"No run of the search ended with a value: {len(study.trials)} were begun.{why}")


def _goes_on(plan: RecommendPlan, state: State, study: optuna.Study) -> bool:
    """Return whether another run is searched.

    Half of the budget is left for what confirms, and more where the first look and the test take longer.
    """
    ended = [trial for trial in study.trials if trial.state.is_finished() and trial.state.name != "FAIL"]
    failed = sum("reason" in trial.user_attrs for trial in study.trials)
    if failed >= LEAST_SEARCHED + len(ended):
        return False
    places = [trial.user_attrs["folder"] for trial in ended]
    if len(places) > MOST_REPEATED and {*places[-MOST_REPEATED:]} <= {*places[:-MOST_REPEATED]}:
        return False
    if len(ended) < LEAST_SEARCHED:
        return True
    if plan.searched_runs is not None and len(ended) >= plan.searched_runs:
        return False
    if plan.seconds is None:
        return True
    seconds = [trial.user_attrs["seconds"] for trial in ended if "seconds" in trial.user_attrs]
    needed = (FIRST_LOOK * (1 + CANDIDATES) + 2 * len(TEST_SEEDS)) * max(seconds, default=0.0) / (plan.jobs or 1)
    return state.used < plan.seconds / 2 and state.left > needed


def open_study(plan: RecommendPlan) -> optuna.Study:
    """Return the study of a folder, whose journal may end in the middle of a line that a killed process wrote."""
    with _quiet():
        import optuna  # start-up
        from optuna.storages import JournalStorage  # start-up
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock  # start-up

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path = plan.folder / FOLDER / JOURNAL
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not (lines := path.read_bytes()).endswith(b"\n"):
            path.write_bytes(lines[: lines.rfind(b"\n") + 1])
        # The folder is locked as a whole, so that this lock can only be that of a killed process.
        path.with_name(f"{JOURNAL}.lock").unlink(missing_ok=True)
        backend = JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path)))
        config = plan.config({"norm": plan.space.norms[0]}, "search")
        least = max(1, round(WARM_UP * (config.epochs or 1)), config.freeze_epochs or 0)
        return optuna.create_study(
            storage=JournalStorage(backend), study_name=STUDY, load_if_exists=True, direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=least),
        )  # fmt: skip


def give_back(study: optuna.Study) -> None:
    """Let the trials of a killed process fail, and have their settings tried next: their runs go on."""
    import optuna  # start-up

    for trial in study.trials:
        if trial.state == optuna.trial.TrialState.RUNNING:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params)


def _train(plan: RecommendPlan, study: optuna.Study, data: Dataset, progress: RecommendProgress) -> None:
    """Train the run of one more trial."""
    import keras  # start-up
    import optuna  # start-up

    from tfnorm.training.trainer import forget_graph, train_on  # start-up

    states = optuna.trial.TrialState
    tried = sum(trial.state != states.FAIL and trial.state != states.WAITING for trial in study.trials)
    with _quiet():
        # A sampler for each trial, so that a search that was killed goes on as if it had not been.
        study.sampler = optuna.samplers.TPESampler(seed=SEARCH_SEED + tried)
        trial = study.ask()
        setting = plan.space.suggest(trial)
    config = plan.config(setting, "search")
    place = place_of_run(config)
    folder = RunFolder(plan.folder / place)
    trial.set_user_attr("settings", setting)
    trial.set_user_attr("folder", place.as_posix())
    watch = _Watch(trial, progress, config.epochs or 1)
    if not folder.finished:
        progress.sent(folder.path, os.getpid())
        try:
            train_on(data, config, folder.path, progress=watch)
        except optuna.TrialPruned:
            progress.pruned(folder.path, watch.record)
            _tell(study, trial, states.PRUNED, folder)
            return
        except TfnormError as error:
            progress.failed(folder.path, str(error))
            trial.set_user_attr("reason", str(error))
            _tell(study, trial, states.FAIL, folder)
            return
        finally:
            forget_graph()
            keras.backend.clear_session()
            gc.collect()
    run = Run(folder.path)
    watch.report(folder.read_history(), run.metric)
    value = run.metric.sign * value_of(run, run.metric)
    if math.isfinite(value):
        _tell(study, trial, states.COMPLETE, folder, value)
    else:  # the sampler takes it for worse than all others that went as far
        trial.set_user_attr("diverged", True)
        _tell(study, trial, states.PRUNED, folder)


def _tell(study: optuna.Study, trial: optuna.Trial, state: Any, folder: RunFolder, value: float | None = None) -> None:
    records = folder.read_history()
    trial.set_user_attr("epochs", len(records))
    trial.set_user_attr("seconds", sum(record.get("seconds", 0.0) for record in records))
    if records:
        trial.set_user_attr("loss", float(records[-1].get("val_data_loss", math.inf)))
    study.tell(trial, value, state=state)


class _Watch(Progress):
    """Reports the metric of each epoch to Optuna, ends a run that is worse than the median, and passes events on."""

    def __init__(self, trial: optuna.Trial, progress: RecommendProgress, epochs: int) -> None:
        self.trial, self.progress, self.epochs = trial, progress, epochs
        for name in ("skipped", "started", "stepped", "finished"):
            setattr(self, name, getattr(progress, name))
        self.reported: set[int] = set()
        self.record: Mapping[str, Any] = {}

    def report(self, records: list[dict[str, Any]], metric: Metric) -> None:
        """Report the epochs that are not yet."""
        for record in records:
            if (epoch := record["epoch"]) not in self.reported:
                self.trial.report(metric.sign * metric.scale * record.get(metric.key, math.nan), epoch)
                self.reported.add(epoch)

    def epoch_ended(self, run: Path, record: Mapping[str, Any]) -> None:
        """Pass it on, and report it; a run is not pruned after its last epoch, nor where it diverged."""
        import optuna  # start-up

        self.progress.epoch_ended(run, record)
        self.record, folder = record, RunFolder(run)
        self.report(folder.read_history(), recorded_metric(read_json(folder.config_path).get("metric")))
        goes_on = record["epoch"] + 1 < self.epochs and math.isfinite(record.get("loss", 0.0))
        if goes_on and self.trial.should_prune():
            raise optuna.TrialPruned


def trials_of(plan: RecommendPlan, study: optuna.Study) -> list[Trial]:
    """Return what became of each trial of a study."""
    found = []
    for trial in study.trials:
        attributes, state = trial.user_attrs, trial.state.name
        word = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}.get(state, "broken off")
        word = "diverged" if attributes.get("diverged") else word
        if "settings" not in attributes or (state == "FAIL" and "reason" not in attributes):
            continue  # broken off, and tried again under another number
        last = trial.value if state == "COMPLETE" else trial.intermediate_values.get(trial.last_step or 0, math.nan)
        sign = _metric_of(plan.folder / attributes["folder"]).sign
        found.append(
            Trial(
                trial.number,
                word,
                attributes["settings"],
                trial.params,
                sign * (math.nan if last is None else last),
                attributes.get("epochs", 0),
                attributes["folder"],
                attributes.get("loss", math.inf),
                attributes.get("reason", ""),
            )  # fmt: skip
        )
    return found


def _metric_of(place: Path) -> Metric:
    folder = RunFolder(place)
    return recorded_metric(read_json(folder.config_path).get("metric") if folder.config_path.exists() else None)


def candidates(plan: RecommendPlan, trials: list[Trial]) -> list[Mapping[str, Any]]:
    """Return the best settings that differ in the spec, from each other; without the present one of the person."""
    yours = plan.config(plan.baseline, "search").asked()
    ended = [trial for trial in trials if trial.state == "finished"]
    sign = _metric_of(plan.folder / ended[0].folder).sign if ended else 1
    found: dict[str, Mapping[str, Any]] = {}
    for trial in sorted(ended, key=lambda trial: (-sign * trial.value, trial.loss)):
        if plan.config(trial.settings, "search").asked() != yours:
            found.setdefault(trial.settings["norm"], trial.settings)
    return list(found.values())[:CANDIDATES]


def importance(study: optuna.Study) -> dict[str, float]:
    """Return the share of the variance of the values that each searched setting explains, by functional ANOVA."""
    import optuna  # start-up

    try:
        with _quiet():
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    except (ValueError, RuntimeError):  # too few runs, or all with one value
        return {}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings of Optuna, such as on experimental parts, to itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="optuna")
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield
