"""What the runs of a comparison show: their tables, the differences between them, and what is said of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from tfnorm.datasets.given.pipeline import not_as_without_a_break
from tfnorm.errors import RunError, TfnormError, unknown
from tfnorm.experiments import verdict as words
from tfnorm.experiments.comparison.predictions import SEVERAL_LABELS, Predictions, predictions_of
from tfnorm.experiments.findings import Findings, usual_margin
from tfnorm.experiments.guessing import Learned, learned
from tfnorm.experiments.looks import earlier_looks, families_on_record, places_of
from tfnorm.experiments.rows import accuracies_of, one_image, summary_row, value_of, without_missing
from tfnorm.experiments.sequential import Known, Pair, decide, enrolled, spent
from tfnorm.experiments.settings import (
    FINGERPRINT,
    Differing,
    differing_settings,
    distinguishing,
    name_of,
    rates_in_words,
)
from tfnorm.experiments.statistics import Difference, Look, mcnemar, paired_differences
from tfnorm.metrics.metric import Metric
from tfnorm.reporting.pictures.curves import histories_with
from tfnorm.text import counted, listed
from tfnorm.training.runs import Run, shared_metric


def network_notes(run: Run) -> Sequence[str]:
    """Return what is true of the model of a run, if it is one of your own."""
    return run.config.get("network", {}).get("notes", ())


def is_untrained(run: Run) -> bool:
    """Return whether frozen batch norms of a run have the statistics of new layers, as those of an architecture."""
    if "network" in run.config:
        return words.UNTRAINED in network_notes(run)
    return "trainable_parameters" in run.config and run.label.startswith("bn:frozen")


class Result:
    """The numbers of runs of one network with several normalizations; see `tfnorm.Comparison` for the arguments."""

    def __init__(
        self,
        runs: Sequence[Run],
        path: str | Path,
        *,
        groups: Mapping[str, Sequence[Run]] | None = None,
        notes: Sequence[str] = (),
        metric: Metric | None = None,
        margin: float | None = None,
    ) -> None:
        self.runs = list(runs)
        self.path = Path(path)
        self._margin = margin
        self._metric = metric or shared_metric(self.runs)
        self.notes = list(notes)
        held_out = [bool(run.config["asked"].get("holdout")) for run in self.runs]
        if any(held_out):
            self.notes.append(words.HELD_OUT if all(held_out) else words.SOME_HELD_OUT)
        untrained = list(dict.fromkeys(run.label for run in self.runs if is_untrained(run)))
        if untrained:
            self.notes.append(words.untrained_statistics(untrained))
        staying = {run.label: note for run in self.runs for note in network_notes(run) if note.endswith(words.STAYING)}
        self.notes += [words.norms_that_stay(label, note) for label, note in staying.items()]
        spans = {
            run.label: run.config["devices"]["statistics_of_norms"] for run in self.runs if "devices" in run.config
        }
        if spans:
            self.notes.append(words.divided_batches(spans))
        self.groups: dict[str, list[Run]] = {label: list(members) for label, members in (groups or {}).items()}
        for run in self.runs if groups is None else ():
            self.groups.setdefault(run.label, []).append(run)
        if any("rates" in run.config for run in self.runs):
            self.notes.append(rates_in_words(self.groups))

    @property
    def images(self) -> str:
        """Word for the images that were evaluated on: "test", or "held-out" for those held out from training."""
        return "held-out" if self.runs and all(run.images == "held-out" for run in self.runs) else "test"

    @cached_property
    def metric(self) -> Metric:
        """What the comparison is about, with as many decimals as its values need."""
        return self._metric.fitted(value_of(run, self._metric) for run in self.runs)

    @property
    def is_study(self) -> bool:
        """Whether the runs are those of a person's own loop, of which only what was recorded is known."""
        return bool(self.runs) and all(hasattr(run, "recorded") for run in self.runs)

    def title(self, what: str) -> str:
        """Return ``what`` with network, data and number of seeds."""
        seeds = counted([len(group) for group in self.groups.values()], "seed")
        data = listed(list(dict.fromkeys(run.config["data"]["name"] for run in self.runs)))
        if self.is_study:
            return f"{what}: {data}, {seeds}"
        networks = listed(list(dict.fromkeys(run.config["asked"]["arch"] for run in self.runs)))
        return f"{what}: {networks} on {data}, {seeds}"

    def histories_with(self, *columns: str) -> dict[str, list[pd.DataFrame]]:
        """Return the histories that have some columns, by spec; a spec without any is left out."""
        return histories_with(self.histories, *columns)

    @property
    def histories(self) -> Mapping[str, list[pd.DataFrame]]:
        """The history of each run of each spec."""
        return {label: [run.history for run in runs] for label, runs in self.groups.items()}

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a spec.

        Accuracies are test accuracies in percent, mean and standard deviation (n - 1) over seeds, and for the last
        epoch the 95 % interval of the mean. The best epoch is chosen on the test set, so that it flatters; the last is
        the honest number. Runs that diverged have no part in them, and are counted under ``diverged``, or those of a
        study that failed under ``failed``. Where the comparison is about another metric, its name stands in place of
        "accuracy" in the names of the columns, and values are in its own unit.

        ``balanced_accuracy`` is the mean over the classes of the share of their test images that is recognized, in
        percent, and ``learned`` whether the answers are shown to depend on the images
        (`tfnorm.experiments.guessing`); both are empty without predictions.
        """
        rows = {}
        for label, runs in self.groups.items():
            known = self.learned[label]
            balanced = {"balanced_accuracy": known.balanced if known else math.nan}
            rows[label] = {
                **summary_row(runs, self.metric),
                **(balanced if self.metric.is_accuracy else {}),
                "learned": not known.nothing if known else None,
            }
        table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("spec")
        return without_missing(table, self.metric) if self.is_study else table

    @cached_property
    def learned(self) -> Mapping[str, Learned | None]:
        """What the predictions of each spec say besides their accuracy, None without any."""
        return {label: learned(runs) for label, runs in self.groups.items()}

    @property
    def unequal(self) -> bool:
        """Whether the classes of the test images differ so much in size that accuracies need balanced ones beside."""
        return self.metric.is_accuracy and any(known is not None and known.unequal for known in self.learned.values())

    @cached_property
    def predictions(self) -> tuple[Predictions | None, str]:
        """The predictions of the runs that did not diverge, or None and why there are none to compare."""
        return predictions_of(self.groups)

    @cached_property
    def looks(self) -> Sequence[Look]:
        """What the folder says was shown before, the oldest first; see `tfnorm.experiments.statistics.look_number`."""
        return earlier_looks(self.path, self.runs)

    @cached_property
    def accuracies(self) -> Mapping[str, Mapping[int, float]]:
        """Spec to seed to test accuracy in percent, or value of the metric; NaN for a run that diverged or failed."""
        return {label: accuracies_of(runs, self._metric) for label, runs in self.groups.items()}

    @cached_property
    def one_image(self) -> float:
        """One test image in percent, the step in which accuracies move; 0 for a metric that moves in none."""
        return one_image(self.runs, self.metric)

    @property
    def margin(self) -> float:
        """The largest difference that does not matter, in points or in the unit of the metric; 0 if none is known."""
        return usual_margin(self.metric, self.one_image) if self._margin is None else self._margin

    @cached_property
    def families(self) -> Sequence[Sequence[str]] | None:
        """The specs that were looked at until it was decided, see `tfnorm.experiments.sequential`; None for others."""
        found = families_on_record(places_of(self.path, self.runs))
        return None if found is None else found.get("", ())

    @property
    def error_spent(self) -> float | None:
        """How much of the 5 % all looks have spent, a share; None for a fixed number of seeds."""
        if self.families is None:
            return None
        seeds = {frozenset((d.first, d.second)): d.seeds for d in self.pairs}
        return spent(enrolled(self.families, self.groups), seeds)

    @cached_property
    def differing(self) -> Sequence[Differing]:
        """In what the runs differ besides norm and seed, nothing unless they were compared anyway."""
        return differing_settings(self.runs)

    @property
    def same_data(self) -> bool:
        """Whether all runs had the same data."""
        return all(each.key != FINGERPRINT for each in self.differing)

    @cached_property
    def pairs(self) -> Sequence[Known]:
        """The differences of `differences`, one a pair; none between runs on different data."""
        if not self.same_data:
            return []
        if self.families is not None:
            return decide(
                self.accuracies,
                self.margin,
                families=self.families,
                resolution=self.one_image,
                lower_is_better=self.metric.sign < 0,
            ).pairs
        return paired_differences(
            self.accuracies,
            resolution=self.one_image,
            looks=self.looks,
            lower_is_better=self.metric.sign < 0,
            margin=self.margin,
        )

    @cached_property
    def differences(self) -> pd.DataFrame:
        """One row a pair of specs: the difference in points of test accuracy, paired by seed, and whether it is real.

        Of another metric the differences are in its own unit.

        See `tfnorm.experiments.statistics.paired_differences` for the columns and the assumptions, or, where seeds were
        added until it was decided, `tfnorm.experiments.sequential.Pair`; ``low`` and ``high`` of specs that are
        equivalent are the most by which they differ. ``sentence`` says it in words.
        """
        kind = Difference if self.families is None else Pair
        left_out = ("lower_is_better", "settled")
        columns = [field.name for field in dataclasses.fields(kind) if field.name not in left_out]
        table = pd.DataFrame([dataclasses.asdict(difference) for difference in self.pairs], columns=columns)
        table = table.rename(columns={"diverged": self.metric.lost})
        if self.families is not None:
            table["low"], table["high"] = ([d.ends()[end] for d in self.pairs] for end in (0, 1))
        sentences = [words.pair_sentence(d, self.metric) for d in self.pairs]
        shown: dict[str, list[Any]] = {"real": [d.is_real() for d in self.pairs]}
        shown |= {"equivalent": [d.is_equivalent() for d in self.pairs], "outcome": [d.outcome for d in self.pairs]}
        return table.assign(**shown, sentence=sentences)

    @cached_property
    def findings(self) -> Findings:
        """The facts that `verdict` and `answer` say."""
        guessing = [label for label, known in self.learned.items() if known is not None and known.nothing]
        sizes: dict[str, Any] = {}
        speeds: dict[str, Any] = {}
        if not self.is_study:
            sizes, speeds = (
                dict(zip(self.groups, self.table[key], strict=True)) for key in ("parameters", "images_per_second")
            )
        asked = self.accuracies, self.pairs, guessing, self.one_image, sizes, speeds, self.metric, self._margin
        return Findings(*asked)

    @property
    def verdict(self) -> str:
        """What the runs say in words: which differences are real, and which cannot be told."""
        return words.verdict(self.findings) if self.same_data else words.DIFFERENT_DATA

    @property
    def answer(self) -> words.Answer:
        """Which spec to use, with what else the runs differ in."""
        if not self.same_data:
            return words.INCOMPARABLE
        found = words.answer(self.findings)
        if not self.differing:
            return found
        names = listed([name_of(each.key) for each in distinguishing(self.differing)])
        sentence = f"These runs differ in {names} too: {found.sentence[0].lower()}{found.sentence[1:]}"
        return dataclasses.replace(found, sentence=sentence)

    @property
    def about_looks(self) -> str:
        """What it costs to look at these runs again with more seeds, or what earlier looks have cost; "" if nothing.

        And that equivalence needs a margin, where there is none.
        """
        return " ".join(filter(None, [words.about_looks(self.pairs), words.about_margin(self.findings)]))

    @property
    def remarks(self) -> list[str]:
        """Sentences that belong to every table: the notes, and what is known of specs that learned nothing."""
        of_pipelines = [
            note for run in self.runs for note in run.config.get("data", {}).get("pipeline", {}).get("notes", ())
        ]
        breaks = [
            f"{run.label} with seed {run.seed}: {not_as_without_a_break(epochs)}"
            for run in self.runs
            for epochs in run.config.get("went_on", ())
        ]
        return [
            *dict.fromkeys([*of_pipelines, *breaks]),
            *self.notes,
            *(words.guessing_notes(self.learned, self.metric) if self.same_data else ()),
        ]

    @property
    def about_images(self) -> str:
        """How far other test images would move the accuracies, which no number of seeds tells; "" if not known."""
        images = self.runs[0].config["data"]["test_images"] if self.same_data and not self.is_study else 0
        return words.about_images(self.findings, images or 0, self.images)

    def errors(self, first: str, second: str) -> pd.DataFrame:
        """Compare the errors of two specs on the same test images, one row a seed.

        McNemar's exact test, see `tfnorm.experiments.statistics.mcnemar`: it speaks of the two trained models of a
        seed.

        Returns:
            Columns only_first, only_second (images that only this one gets wrong) and p, by seed; without seeds with
            which one of the two diverged.

        Raises:
            TfnormError: If a spec is not part of the comparison, or images have several labels.
        """
        if any(run.multi_label for run in self.runs):
            raise RunError(SEVERAL_LABELS)
        for label in (first, second):
            if label not in self.groups:
                raise TfnormError(unknown("spec of this comparison", label, self.groups))
        one, other = (
            {run.seed: run.logits.argmax(1) != run.labels for run in self.groups[label] if run.status == "finished"}
            for label in (first, second)
        )
        both = [seed for seed in one if seed in other]
        rows = {seed: dataclasses.asdict(mcnemar(one[seed].tolist(), other[seed].tolist())) for seed in both}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("seed")
