"""A study of a person's own loop: what is kept, what is refused, and what it says."""

import html
import json
import math
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from facts import one_says, says

from tfnorm import Study, report
from tfnorm.errors import LockedError, RunError, TfnormError
from tfnorm.experiments.comparison.tables import matrix
from tfnorm.experiments.study.given import history_records
from tfnorm.experiments.study.record import folder_of
from tfnorm.metrics.metric import ACCURACY
from tfnorm.training.lock import run_lock

SPECS = ["bn", "gn:8"]


def filled(folder, values, **about):
    """Return a study of values by spec, one a seed; None for a run that failed."""
    study = Study(folder, **about)
    for spec, seed in study.todo(list(values), seeds=max(map(len, values.values()))):
        if seed >= len(values[spec]):
            continue
        if values[spec][seed] is None:
            study.record_failure(spec, seed, "no memory left")
        else:
            study.record(spec, seed, values[spec][seed])
    return study


def words_of(page):
    """Return the text of a page without its scripts and styles."""
    text = re.sub(r"<(script|style).*?</\1>", "", page.read_text(), flags=re.S)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)))


# What is open


def test_it_gives_each_open_run_once_seed_by_seed(tmp_path):
    study = Study(tmp_path)
    study.record("gn:8", 1, 0.5)
    assert list(study.todo([*SPECS, "My Norm"], seeds=2)) == [
        ("bn", 0), ("gn:8", 0), ("My Norm", 0), ("bn", 1), ("My Norm", 1),
    ]  # fmt: skip
    assert list(study.todo("bn", seeds=[7, 3])) == [("bn", 7), ("bn", 3)]
    study.record_failure("bn", 7, "no memory left")
    assert list(study.todo("bn", seeds=[7, 3])) == [("bn", 3)]


def test_specs_of_the_grammar_are_canonical_and_free_text_keeps_a_folder_of_its_own(tmp_path):
    study = Study(tmp_path)
    specs = ["gn:4+l1=0.0001", "gn-4", "gn 4", "GN-4", "../../x", "a" * 300]
    for spec, seed in study.todo(specs, seeds=1):
        study.record(spec, seed, 0.5)
    assert [run.label for run in study.runs] == ["gn:4+l1=1e-4", *specs[1:]]
    assert list(study.todo(["gn:4+l1=1e-4", *specs[1:]], seeds=1)) == []
    folders = [folder_of(tmp_path, run.label, 0) for run in study.runs]
    assert len({str(folder).lower() for folder in folders}) == 6
    assert all(folder.parent.parent == tmp_path and len(folder.parent.name) < 100 for folder in folders)


def test_a_claim_without_a_record_is_released_by_break_and_by_next(tmp_path):
    study, other = Study(tmp_path), Study(tmp_path)
    for key in study.todo(SPECS, seeds=1):
        assert key not in list(other.todo(SPECS, seeds=1))
        break
    assert list(other.todo(SPECS, seeds=1)) == [("bn", 0), ("gn:8", 0)]
    opened = study.todo(SPECS, seeds=1)
    assert (next(opened), next(opened)) == (("bn", 0), ("gn:8", 0))
    assert list(other.todo(SPECS, seeds=1)) == [("bn", 0)]


def test_what_another_process_works_on_is_not_recorded_here(tmp_path):
    study = Study(tmp_path)
    with run_lock(folder_of(tmp_path, "bn", 0)), pytest.raises(LockedError) as refused:
        study.record("bn", 0, 0.5)
    says(refused, folder_of(tmp_path, "bn", 0), f"pid {os.getpid()}")
    study.record("bn", 0, 0.5)


# Several processes

WORK = """
import sys
from tfnorm import Study
study = Study(sys.argv[1], metric="val_iou")
for spec, seed in study.todo(["bn", "gn:8", "ln"], seeds=int(sys.argv[2])):
    print(spec, seed, flush=True)
    if sys.argv[3] == "wait":
        sys.stdin.read()
    study.record(spec, seed, 0.5 + seed / 10)
assert not {"keras", "tensorflow", "torch", "jax"} & set(sys.modules)
"""


def work(folder, seeds, how="go", code=WORK):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code, str(folder), str(seeds), how], **pipes)


def test_processes_share_one_study_without_doubling_work_and_a_dead_one_is_taken_over(tmp_path):
    stuck = work(tmp_path, 5, "wait")
    assert stuck.stdout.readline() == "bn 0\n"
    two = [work(tmp_path, 5), work(tmp_path, 5)]
    done = [process.communicate(timeout=300)[0].split("\n")[:-1] for process in two]
    assert [process.returncode for process in two] == [0, 0]
    together = [line for lines in done for line in lines]
    assert len(together) == 14 == len(set(together)) and "bn 0" not in together
    study = Study(tmp_path, metric="val_iou")
    assert list(study.todo(["bn", "gn:8", "ln"], seeds=5)) == []
    os.kill(stuck.pid, signal.SIGKILL)
    stuck.wait()
    stuck.stdin.close(), stuck.stdout.close()
    assert list(study.todo(["bn", "gn:8", "ln"], seeds=5)) == [("bn", 0)]


def test_a_run_that_another_leaves_during_the_loop_is_taken_over(tmp_path):
    study, other = Study(tmp_path), Study(tmp_path)
    held = other.todo("bn", seeds=1)
    assert next(held) == ("bn", 0)
    found = []
    for key in study.todo(SPECS, seeds=1):
        found.append(key)
        held.close()
        study.record(*key, 0.5)
    assert found == [("gn:8", 0), ("bn", 0)]


KILLED = """
import os, signal, sys
import numpy as np
from tfnorm import Study

left = int(sys.argv[2])

def counted(function):
    def call(*arguments, **settings):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return function(*arguments, **settings)
    return call

if sys.argv[3] == "cut":
    for name in ("fsync", "replace", "unlink", "mkdir", "open"):
        setattr(os, name, counted(getattr(os, name)))
study = Study(sys.argv[1])
for spec, seed in study.todo(["bn", "gn:8"], seeds=1):
    scores = np.eye(3)[[0, 1, 2, 0]] * (5 + seed)
    study.record(spec, seed, 0.75, [{"val_accuracy": 0.75, "loss": 1.0}], scores, [0, 1, 2, 1], {"seed": seed})
    print(spec, flush=True)
print("end", left, flush=True)
"""


def killed_at(folder, writes):
    process = work(folder, writes, "cut", KILLED)
    printed = process.communicate(timeout=300)[0].split()
    return process.returncode, printed


def check_whole(study, recorded):
    """Check that a study holds the runs that were recorded and whole, and perhaps one more, whole too."""
    found = {run.label: run for run in study.runs}
    assert set(recorded) <= set(found) and len(found) <= len(recorded) + 1
    for run in found.values():
        assert run.recorded == 0.75 and run.logits.shape == (4, 3) and len(run.history) == 1
        assert run.labels.tolist() == [0, 1, 2, 1] and run.result["misclassified"] == 1


# Some of all writes, so that both runs and the file of the study are cut; each of them takes half a minute and more.
@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.matrix)])
def test_killed_between_any_two_writes_it_loses_at_most_the_record_being_written(step, tmp_path):
    code, printed = killed_at(tmp_path / "whole", 10_000)
    writes = 10_000 - int(printed[-1])
    assert code == 0 and writes > 20
    for cut in range(0, writes, step):
        folder = tmp_path / str(cut)
        code, printed = killed_at(folder, cut)
        assert code == -signal.SIGKILL
        study = Study(folder)
        recorded = [word for word in printed if word != "end"]
        check_whole(study, recorded)
        for spec, seed in study.todo(SPECS, seeds=1):
            assert spec not in recorded
            study.record(spec, seed, 0.75, [{"loss": 1.0}], np.eye(3)[[0, 1, 2, 0]] * 5, [0, 1, 2, 1])
        check_whole(study, SPECS)
        assert not list(folder.rglob("*.tmp*"))


def test_what_a_killed_process_left_is_not_taken_for_the_new_record(tmp_path):
    study = Study(tmp_path)
    study.record("bn", 0, 0.5, [{"loss": 2.0}], np.eye(2), [0, 0])
    (folder_of(tmp_path, "bn", 0) / "record.json").unlink()
    study.record("bn", 0, 0.25)
    [run] = study.runs
    assert run.history.empty and run.result["misclassified"] is None
    with pytest.raises(RunError) as refused:
        _ = run.logits
    says(refused, "bn", "seed 0")
    comparison = study.comparison()
    says(comparison.predictions[1], "no predictions were recorded", "bn with seed 0")


# What is refused

A_STUDY = {"metric": "val_iou", "direction": "max", "margin": 0.5}


@pytest.mark.parametrize(
    ("about", "facts"),
    [
        ({"metric": ""}, ["metric=''", "'val_accuracy'"]),
        ({"metric": 3}, ["metric=3"]),
        ({"direction": "up"}, ["direction", "'up'", "max", "min"]),
        ({"metric": "val_accuracy", "direction": "min"}, ["'val_accuracy'", "direction='min'"]),
        ({"metric": "val_loss"}, ["'val_loss'", "Lower", "direction='min'"]),
        ({"margin": -1}, ["margin=-1"]),
        ({"margin": math.nan}, ["margin=nan"]),
        ({"margin": "half"}, ["margin='half'"]),
    ],
)
def test_arguments_of_a_study(about, facts, tmp_path):
    with pytest.raises(TfnormError) as refused:
        Study(tmp_path, **about)
    says(refused, *facts)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changed", [{"metric": "val_dice"}, {"direction": "min"}, {"margin": 0.1}, {"metric": "val_accuracy"}]
)
def test_a_study_that_is_opened_as_another_is_refused(changed, tmp_path):
    Study(tmp_path, **A_STUDY)
    with pytest.raises(RunError) as refused:
        Study(tmp_path, **{**A_STUDY, **changed})
    [(key, value)] = changed.items()
    says(refused, tmp_path, f"{key} is {A_STUDY[key]!r} there and {value!r} now", "metric='val_iou'", "direction='max'")
    assert (
        repr(Study(tmp_path, **A_STUDY)) == f"Study({str(tmp_path)!r}, metric='val_iou', direction='max', margin=0.5)"
    )


def test_folders_that_are_none_of_a_study(tmp_path, fake_comparison):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="which is a file"):
        Study(tmp_path / "file")
    other = fake_comparison(tmp_path / "c", {"bn": [0.9]})
    (other.path / "comparison.json").write_text("{}")
    with pytest.raises(RunError) as refused:
        Study(other.path)
    says(refused, other.path, "comparison.json", "another folder")
    with pytest.raises(RunError) as refused:
        Study(tmp_path / "new").comparison()
    says(refused, tmp_path / "new", "record(spec, seed, value)")


GOOD = {"spec": "bn", "seed": 0, "value": 0.5}
BAD = {
    "NaN": ({"value": math.nan}, ["value=nan", "record_failure(spec, seed, why)"]),
    "infinite": ({"value": np.float32("inf")}, ["value=inf", "record_failure"]),
    "text": ({"value": "0.5"}, ["'0.5'", "one number"]),
    "True": ({"value": True}, ["True", "one number"]),
    "None": ({"value": None}, ["None", "one number"]),
    "two numbers": ({"value": [0.3, 0.5]}, ["[0.3, 0.5]", "one number"]),
    "percent": ({"value": 93.5}, ["val_accuracy", "value=93.5", "100"]),
    "empty spec": ({"spec": "  "}, ["'  '", "'bn'"]),
    "spec of lines": ({"spec": "a\nb"}, [r"'a\nb'"]),
    "negative seed": ({"seed": -1}, ["seed=-1", "0"]),
    "seed of a half": ({"seed": 0.5}, ["seed=0.5"]),
    "history of numbers": ({"history": [1.0, 2.0]}, ["list", "DataFrame", "dict"]),
    "history of text": ({"history": "loss"}, ["'loss'", "DataFrame"]),
    "history of lengths": ({"history": {"loss": [1, 2], "val_loss": [1]}}, ["2 of loss", "1 of val_loss"]),
    "history of other measures": ({"history": [{"loss": 1}, {"lose": 1}]}, ["loss", "lose", "number 2"]),
    "history of words": ({"history": [{"loss": "low"}]}, ["loss='low'", "epoch 1", "notes"]),
    "history of percent": ({"history": {"accuracy": [1], "val_accuracy": [93]}}, ["val_accuracy=93", "100"]),
    "history without names": ({"history": [{1: 2.0}]}, ["1", "names"]),
    "epochs": ({"history": {"epoch": [3, 3], "loss": [1, 2]}}, ["[3, 3]", "epoch"]),
    "labels alone": ({"labels": [0, 1]}, ["labels", "predictions"]),
    "predictions alone": ({"predictions": np.eye(2)}, ["labels", "predictions"]),
    "predicted classes": ({"predictions": [0, 1], "labels": [0, 1]}, ["(images, classes)", "(2,)"]),
    "predictions of pixels": ({"predictions": np.zeros((2, 4, 4, 3)), "labels": [0, 1]}, ["(2, 4, 4, 3)"]),
    "one output": ({"predictions": [[0.3], [2.0]], "labels": [0, 1]}, ["(2, 1)", "2 classes"]),
    "other images": ({"predictions": np.eye(3), "labels": [0, 1]}, ["2", "3 images"]),
    "other classes": ({"predictions": np.eye(2), "labels": [0, 2]}, ["0 and 1", "2"]),
    "shares that add up to no 1": ({"predictions": [[0.2, 0.3]], "labels": [1]}, ["0.5", "logits", "1"]),
    "notes": ({"notes": {"model": object()}}, ["notes", "object"]),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_recorded_is_refused_with_a_sentence_and_nothing_is_kept(bad, tmp_path):
    given, facts = BAD[bad]
    study = Study(tmp_path)
    with pytest.raises(TfnormError) as refused:
        study.record(**{**GOOD, **given})
    says(refused, *facts)
    assert not list(tmp_path.rglob("record.json"))


def test_a_run_that_is_recorded_is_not_recorded_again(tmp_path):
    study = filled(tmp_path, {"bn": [0.5, None]})
    place = folder_of(tmp_path, "bn", 0)
    for again in (lambda: study.record("bn", 0, 0.6), lambda: study.record_failure("bn", 0, "late")):
        with pytest.raises(RunError) as refused:
            again()
        says(refused, "bn with seed 0", "0.5", "delete the folder", place)
    with pytest.raises(RunError) as refused:
        study.record("bn", 1, 0.6)
    says(refused, "bn with seed 1", "failed", "no memory left")
    assert [run.recorded for run in study.runs] == [0.5, None]


def test_predictions_of_another_shape_than_those_before(tmp_path):
    study = Study(tmp_path)
    study.record("bn", 0, 0.5, predictions=np.eye(3) * 4, labels=[0, 1, 2])
    with pytest.raises(TfnormError) as refused:
        study.record("bn", 1, 0.5, predictions=np.eye(4) * 4, labels=[0, 1, 2, 3])
    says(refused, "(4, 4)", "(3, 3)", folder_of(tmp_path, "bn", 0))


@pytest.mark.parametrize(
    ("specs", "seeds", "facts"),
    [
        ([], 3, ["'bn'"]),
        (["bn", "bn"], 3, ["'bn'", "twice"]),
        (["gn:4+l1=1e-4", "gn:4+l1=0.0001"], 3, ["'gn:4+l1=1e-4'", "twice"]),
        (5, 3, ["specs=5"]),
        (SPECS, 0, ["seeds=0"]),
        (SPECS, "all", ["seeds='all'", "auto"]),
        (SPECS, [1, 1], ["[1, 1]"]),
        (SPECS, [-1], ["seed=-1"]),
    ],
)
def test_what_there_is_nothing_to_do_of(specs, seeds, facts, tmp_path):
    with pytest.raises(TfnormError) as refused:
        Study(tmp_path).todo(specs, seeds)
    says(refused, *facts)


def test_notes_may_be_numbers_of_numpy(tmp_path):
    study = Study(tmp_path)
    study.record("bn", 0, 0.5, notes={"rate": np.float32(0.5), "steps": np.int64(3)})
    assert json.loads(study.runs[0].config["notes"]) == {"rate": 0.5, "steps": 3}


def test_a_failure_needs_a_reason(tmp_path):
    study = Study(tmp_path)
    with pytest.raises(TfnormError, match="why=''"):
        study.record_failure("bn", 0, "")
    study.record_failure("bn", 0, MemoryError("on the GPU"))
    assert study.runs[0].config["why"] == "MemoryError: on the GPU"


@pytest.mark.parametrize("name", ["record.json", "history.jsonl"])
def test_a_damaged_record_is_left_out_and_said_and_not_trained_again(name, tmp_path):
    study = Study(tmp_path)
    for spec in SPECS:
        study.record(spec, 0, 0.5, [{"loss": 1.0}])
    file = folder_of(tmp_path, "bn", 0) / name
    file.write_bytes(file.read_bytes()[:-20])
    comparison = study.comparison()
    assert list(comparison.groups) == ["gn:8"] and list(study.todo(SPECS, seeds=1)) == []
    one_says(comparison.remarks, file.parent, "delete the folder", "copy")


# What is taken


@pytest.mark.parametrize(
    "history",
    [
        [{"loss": 2, "val_loss": np.float32(3)}, {"val_loss": None, "loss": np.array(1.0)}],
        {"loss": [2, 1], "val_loss": (3, math.nan)},
        {"loss": np.array([2, 1]), "val_loss": np.array([3, math.nan])},
        pd.DataFrame({"loss": [2, 1], "val_loss": [3, math.nan]}),
        type("History", (), {"history": {"loss": [2.0, 1.0], "val_loss": [3.0, math.nan]}})(),
        {"epoch": [1, 2], "loss": [2, 1], "val_loss": [3, math.nan]},
    ],
    ids=["dicts", "lists", "arrays", "frame", "keras", "numbered"],
)
def test_histories_of_every_shape(history, tmp_path):
    study = Study(tmp_path)
    study.record("bn", 0, 0.5, history)
    [run] = study.runs
    pd.testing.assert_frame_equal(
        run.history,
        pd.DataFrame({"loss": [2.0, 1.0], "val_loss": [3.0, math.nan]}, index=pd.Index([0, 1], name="epoch")),
        check_like=True,
    )


def test_epochs_may_be_numbered_from_0_or_1():
    assert [[r["epoch"] for r in history_records({"epoch": e, "loss": e}, ACCURACY)] for e in ([0, 5], [5, 10])] == [
        [0, 5],
        [4, 9],
    ]


def test_probabilities_keep_their_confidence(tmp_path):
    study, shares = Study(tmp_path), np.array([[0.7, 0.3], [0.0, 1.0], [0.6, 0.4]])
    study.record("bn", 0, 0.5, predictions=shares, labels=np.eye(2)[[1, 1, 0]])
    [run] = study.runs
    np.testing.assert_allclose(np.exp(run.logits), shares, atol=1e-6)
    assert run.labels.tolist() == [1, 1, 0] and run.result["misclassified"] == 1


# What it says


def test_a_study_of_accuracies_reads_as_a_comparison(tmp_path):
    study = filled(tmp_path, {"bn": [0.9, 0.91, 0.905], "gn:8": [0.8, 0.815, 0.808]})
    comparison = study.comparison()
    assert comparison.table["last_accuracy"].round(2).to_dict() == {"bn": 90.5, "gn:8": 80.77}
    says(comparison.verdict, "bn beats gn:8 by 9.73", "points")
    says(comparison.answer.sentence, "Use bn")
    says(comparison.answer.reason, "points of test accuracy")


@pytest.mark.parametrize(("direction", "better", "worse"), [("max", "gn:8", "bn"), ("min", "bn", "gn:8")])
def test_the_direction_decides_which_is_better(direction, better, worse, tmp_path):
    values = {"bn": [0.3, 0.31, 0.305], "gn:8": [0.5, 0.512, 0.508], "ln": [0.4, 0.3, 0.5]}
    comparison = filled(tmp_path, values, metric="val_error", direction=direction).comparison()
    says(comparison.verdict, f"{better} beats {worse} by 0.2017")
    assert comparison.findings.top == [better] and comparison.findings.kept[0] == better
    assert worse not in comparison.findings.kept
    cells = {row["label"]: row["cells"] for row in matrix(["bn", "gn:8", "ln"], comparison.pairs, comparison.metric)}
    assert cells[better][["bn", "gn:8"].index(worse)]["outcome"] == "better,"
    row = comparison.differences.set_index(["first", "second"]).loc[("bn", "gn:8")]
    assert row["mean"] == pytest.approx(-0.2017, abs=1e-3) and row["real"]


def test_the_best_epoch_is_the_lowest_where_lower_is_better(tmp_path):
    study = Study(tmp_path, metric="val_loss", direction="min")
    curve = [0.9, 0.3, 0.5]
    study.record("bn", 0, 0.5, {"val_loss": curve, "loss": [1, 1, 1]})
    comparison = study.comparison()
    assert comparison.table.loc["bn", "best_val_loss"] == 0.3 and comparison.table.loc["bn", "last_val_loss"] == 0.5
    study = Study(tmp_path / "max", metric="val_dice")
    study.record("bn", 0, 0.5, {"val_dice": curve})
    assert study.comparison().table.loc["bn", "best_val_dice"] == 0.9


def test_failed_runs_are_counted_and_no_spec_with_one_is_recommended(tmp_path):
    values = {"bn": [0.9, 0.91, None], "gn:8": [0.8, 0.815, 0.808]}
    comparison = filled(tmp_path, values, metric="val_iou").comparison()
    assert comparison.table["failed"].to_dict() == {"bn": 1, "gn:8": 0}
    says(comparison.verdict, "bn failed in 1 of 3 seeds")
    assert "diverge" not in comparison.verdict + comparison.answer.sentence + comparison.answer.reason
    assert comparison.answer.picks == ("gn:8",)
    says(filled(tmp_path / "all", {"bn": [None], "ln": [None]}).comparison().verdict, "No run ended", "bn failed")


def test_a_report_of_another_metric_has_no_word_of_accuracy_and_no_unit(tmp_path):
    rng = np.random.default_rng(0)
    study = Study(tmp_path / "unet", metric="val_iou")
    for spec, seed in study.todo(["bn", "my $norm_1$"], seeds=3):
        if (spec, seed) == ("bn", 2):
            study.record_failure(spec, seed, "no <memory> left")
            continue
        value = {"bn": 0.8, "my $norm_1$": 0.7}[spec] + 0.01 * rng.normal()
        curve = value * np.linspace(0.5, 1, 4)
        history = {"loss": 1 - curve, "val_loss": 1.1 - curve, "iou": curve + 0.01, "val_iou": curve}
        study.record(spec, seed, value, history if seed else None, notes={"rate": 0.1})
    comparison, page = report(study.path)
    text = words_of(page)
    levels = re.sub(r"\b(95|5|[\d.]+) % (interval|of comparisons)|(at|of) [\d.]+ %", "", text)
    for word in ("accuracy", "%", "points", "diverged", "nats"):
        assert word not in levels, word
    for words in ("test images", "(solid) training", "training (dashed)", "Training minus"):
        assert words not in text, words
    says(text, "val_iou (solid)", "iou (dashed)")
    one_says(page.read_text(), "val_iou", "as it was recorded")
    says(text, "val_iou, higher is better", "no <memory> left", "bn with seed 2", '{"rate": 0.1}', "iou minus val_iou")
    names = {path.name for path in study.path.iterdir() if path.is_file() and path.name != ".lock"}
    tables = {"table.csv", "runs.csv", "comparison.json", "report.html", "study.json"}
    assert names == tables | {"loss.png", "metric.png", "gap.png", "differences.png"}
    assert "accuracy" not in "".join((study.path / name).read_text() for name in tables - {"report.html"})
    runs = json.loads((study.path / "comparison.json").read_text())["runs"]
    assert [run["value"] is None for run in runs] == [run["status"] == "failed" for run in runs]
    figure = comparison.plot_accuracy().axes[0]
    assert figure.get_ylabel() == "val_iou" and "accuracy" not in figure.get_title(loc="left")
    assert comparison.plot_differences().axes[0].get_xlabel() == "difference in val_iou, as it was recorded"


def test_a_study_of_three_specs_five_seeds_and_ten_thousand_predictions_makes_a_report(tmp_path):
    rng, labels = np.random.default_rng(0), np.arange(10_000) % 10
    study = Study(tmp_path)
    for spec, seed in study.todo(["bn", "gn:8", "ln"], seeds=5):
        scores = rng.normal(size=(10_000, 10)).astype("float32")
        scores[np.arange(10_000), labels] += {"bn": 4.0, "gn:8": 3.0, "ln": 3.1}[spec]
        right = float((scores.argmax(1) == labels).mean())
        study.record(spec, seed, right, predictions=scores, labels=labels)
    comparison = study.comparison()
    page = comparison.report()
    found = json.loads(re.search(r'id="mistakes-data">(.*?)</script>', page.read_text(), re.S)[1])
    assert found["images"] == 10_000 and len(found["runs"]) == 15 and found["sheets"] is None
    one_says(page.read_text(), "Without pictures", "study")
    wrong = {run.seed: run.logits.argmax(1) != labels for run in comparison.groups["bn"]}
    other = {run.seed: run.logits.argmax(1) != labels for run in comparison.groups["ln"]}
    errors = comparison.errors("bn", "ln")
    assert errors.loc[3, "only_first"] == np.sum(wrong[3] & ~other[3]) and len(errors) == 5
    assert comparison.one_image == 0.01
    assert comparison.table.loc["bn", "misclassified"] == np.mean([each.sum() for each in wrong.values()])


def test_nothing_of_it_imports_a_framework(tmp_path, run_python):
    code = """
import sys
from tfnorm import Study
assert not {"pandas", "matplotlib"} & set(sys.modules)
study = Study(sys.argv[1], metric="val_iou")
for spec, seed in study.todo(["bn", "gn:8"], seeds=1):
    study.record(spec, seed, 0.5, {"val_iou": [0.5]}, [[3.0, 0.0]], [0])
study.comparison().save()
print(sorted({"keras", "tensorflow", "torch", "jax"} & set(sys.modules)))
"""
    assert run_python(code, tmp_path) == "[]"


def test_a_study_has_a_report_by_itself_and_elsewhere(tmp_path, fake_comparison):
    filled(tmp_path / "s", {"bn": [0.9], "ln": [0.8]})
    other = fake_comparison(tmp_path / "c", {"bn": [0.9]})
    with pytest.raises(RunError) as refused:
        report([tmp_path / "s", other.path])
    says(refused, tmp_path / "s", "study", "alone")
    _, page = report(tmp_path / "s", out=tmp_path / "out")
    assert page == tmp_path / "out" / "report.html" and page.exists() and not (tmp_path / "s" / "report.html").exists()


def test_a_spec_without_predictions_is_not_said_to_have_diverged(tmp_path):
    study = Study(tmp_path)
    study.record("bn", 0, 0.5, predictions=np.eye(3) * 4, labels=[0, 1, 0])
    study.record("ln", 0, 0.5)
    comparison = study.comparison()
    titles = [axes.get_title(loc="left") for axes in comparison.plot_confusion().axes]
    assert "ln: no predictions" in titles and "bn: 1 of 3 wrong" in titles
    texts = [text.get_text() for axes in comparison.plot_overlap().axes for text in axes.texts]
    one_says(texts, "without ln", "no predictions")
    with pytest.raises(RunError) as refused:
        comparison.errors("bn", "ln")
    says(refused, "ln", "seed 0", "predictions")


def test_a_history_of_the_validation_accuracy_alone_is_drawn(tmp_path):
    study = Study(tmp_path / "study")
    for spec in ("bn", "ln"):
        study.record(spec, 0, 0.75, {"val_accuracy": [0.5, 0.75]})
        study.record(spec, 1, 0.75, {"val_accuracy": [0.5, 0.75], "accuracy": [0.75, 1.0]})
    comparison, page = report(study.path)
    assert (study.path / "accuracy.png").exists() and "curves-plot" in page.read_text()
    assert comparison.table["best_accuracy"].to_dict() == {"bn": 75.0, "ln": 75.0}
