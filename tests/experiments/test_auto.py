"""Seeds that are added until it is decided: in a comparison, in a study, and what a folder keeps of it."""

import json
import math
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from facts import one_says, says
from matplotlib.text import Text
from networks import SOON_OVER
from typer.testing import CliRunner

import tfnorm
from tfnorm import Study
from tfnorm.cli import app
from tfnorm.datasets import Dataset, load
from tfnorm.errors import FailedRunsError, RunError, TfnormError
from tfnorm.experiments.comparison.comparison import Comparison
from tfnorm.experiments.engines import processes
from tfnorm.experiments.looks import SEEDS
from tfnorm.experiments.plan import plan_comparison
from tfnorm.experiments.sequential import decide, race
from tfnorm.experiments.sweep.grid import plan_grid
from tfnorm.experiments.sweep.sweep import Sweep
from tfnorm.text import signed
from tfnorm.training import trainer
from tfnorm.training.config import TrainConfig
from tfnorm.training.progress import Progress
from tfnorm.training.runs import Run, outcome

IMAGES = 450
LABELS = np.arange(IMAGES) % 10
SPECS = ["bn", "gn:2", "ln"]


def drawn(truth, seeds=20, spread=0.2, seed=1):
    """Return accuracies, 0..1, by spec, of so many seeds, in steps of a test image."""
    rng = np.random.default_rng(seed)
    return {
        spec: np.round((0.98 + (lead + spread * rng.standard_normal(seeds)) / 100) * IMAGES) / IMAGES
        for spec, lead in truth.items()
    }


ONE_WORSE = drawn({"bn": 0.0, "gn:2": 0.0, "ln": -1.5})


def in_percent(values, seeds=20):
    return {spec: dict(enumerate((100 * each[:seeds]).tolist())) for spec, each in values.items()}


class Trained:
    """Writes runs with known accuracies, in place of training them, and counts them."""

    def __init__(self, fake_run, values, data):
        self.fake_run, self.values, self.data = fake_run, values, data
        self.runs, self.stop_after = [], math.inf

    def write(self, config, place, threads):
        if len(self.runs) >= self.stop_after:
            raise KeyboardInterrupt
        reached = float(self.values[config.norm][config.seed])
        logits = np.zeros((IMAGES, 10), "float32")
        logits[np.arange(IMAGES), LABELS] = 6
        logits[: round(IMAGES * (1 - np.nan_to_num(reached))), 9] = 9
        data = {"fingerprint": self.data.fingerprint, "class_names": list(self.data.class_names)}
        machine = {"platform": "Linux", "processor": "a processor", "cores": 2, "threads": threads}
        self.fake_run(place, config, reached, LABELS, logits, data=data, machine=machine)
        self.runs.append((config.norm, config.seed))

    def train_on(self, data, config, place, *, progress, trackers):
        if not (place / "result.json").exists():
            self.write(config, place, trainer_threads())
        return Run(place)


def trainer_threads():
    from tfnorm.training.provenance import threads

    return threads()


@pytest.fixture(scope="module")
def data():
    return load("digits", image_size=28)


@pytest.fixture
def trained(fake_run, data, monkeypatch):
    """Let comparisons write runs with the accuracies of `ONE_WORSE`, or others, and draw no pictures."""
    fake = Trained(fake_run, ONE_WORSE, data)
    monkeypatch.setattr(trainer, "train_on", fake.train_on)
    monkeypatch.setattr(Comparison, "save_pictures", lambda *_, **__: None)
    monkeypatch.setattr(Comparison, "report", lambda *_, **__: None)
    return fake


def compare(out, specs=SPECS, **settings):
    return tfnorm.compare(specs, seeds="auto", out=out, epochs=1, **settings)


def outcomes(comparison):
    return {(pair.first, pair.second): pair.outcome for pair in comparison.pairs}


def counts(comparison):
    return comparison.table["seeds"].to_dict()


# A comparison


def test_seeds_are_added_until_each_pair_is_decided_as_the_simulation_does(trained, tmp_path):
    comparison = compare(tmp_path)
    ended = race(in_percent(ONE_WORSE), 0.5, resolution=100 / IMAGES)
    assert counts(comparison) == {spec: len(seeds) for spec, seeds in ended.seen.items()}
    assert len(trained.runs) == sum(map(len, ended.seen.values())) < 40
    assert comparison.pairs == decide(ended.seen, 0.5, resolution=100 / IMAGES).pairs
    assert outcomes(comparison) == {("bn", "gn:2"): "equivalent", ("bn", "ln"): "better", ("gn:2", "ln"): "better"}
    pair = comparison.pairs[0]
    says(comparison.verdict, "bn beats ln by", "gn:2 beats ln by", "bn and gn:2 are equivalent", "margin of 0.50")
    says(comparison.verdict, f"at most {pair.at_most:.2f} points apart")
    says(comparison.answer.sentence, "bn and gn:2 are equivalent", "ln is worse")
    says(comparison.answer.reason, "ln is worse than")
    says(comparison.about_looks, "95 %", "all pairs", "3, 4, ... seeds")
    says(comparison.about_images, IMAGES, "points")
    record = json.loads((tmp_path / "comparison.json").read_text())
    assert {d["margin"] for d in record["differences"]} == {0.5} and 0 < record["error_spent"] < 0.05
    assert [d["outcome"] for d in record["differences"]] == [*outcomes(comparison).values()]
    assert record["differences"][0]["low"] < record["differences"][0]["mean"] < record["differences"][0]["high"]
    assert json.loads((tmp_path / SEEDS).read_text())["families"] == {"": [SPECS]}


@pytest.mark.parametrize("runs", [1, 9, 14])
def test_broken_off_and_resumed_it_ends_the_same(runs, trained, tmp_path):
    whole = compare(tmp_path / "whole")
    asked = list(trained.runs)
    trained.runs.clear()
    trained.stop_after = runs
    with pytest.raises(KeyboardInterrupt):
        compare(tmp_path / "broken")
    trained.stop_after = math.inf
    partial, _ = tfnorm.report(tmp_path / "broken")
    assert partial.families is not None, "looking in between is by the same method"
    again = compare(tmp_path / "broken")
    assert trained.runs == asked
    pd.testing.assert_frame_equal(again.table, whole.table, check_exact=True)
    assert again.pairs == whole.pairs and again.verdict == whole.verdict
    assert compare(tmp_path / "broken").pairs == whole.pairs and trained.runs == asked


def test_the_report_of_the_folder_says_the_same_and_takes_another_margin(trained, tmp_path):
    comparison = compare(tmp_path, margin=0.6)
    again, _ = tfnorm.report(tmp_path)
    assert again.pairs == comparison.pairs and again.verdict == comparison.verdict and again.margin == 0.6
    other, _ = tfnorm.report(tmp_path, margin=3.0)
    assert [(d.low, d.high) for d in other.pairs] == [(d.low, d.high) for d in comparison.pairs]
    assert all(d.ends() == (0.0, d.at_most) and d.at_most < 3 for d in other.pairs if d.outcome == "negligible")
    assert set(outcomes(other).values()) == {"equivalent", "negligible"}
    says(other.verdict, "bn beats ln by", "negligibly", "3.00 points")
    # What is worse by less than matters may still be taken for its size.
    says(other.answer.sentence, "bn, gn:2 and ln are equivalent")


def test_a_smaller_margin_goes_on_and_a_spec_that_is_added_pays_itself(trained, tmp_path):
    trained.values = drawn({"bn": 0.0, "gn:2": 0.1, "ln": 0.0, "in": 0.0}, seed=3)
    first = compare(tmp_path, specs=["bn", "gn:2"])
    before = len(trained.runs)
    finer = compare(tmp_path, specs=["bn", "gn:2"], margin=0.3)
    assert len(trained.runs) > before and counts(finer)["bn"] > counts(first)["bn"]
    compare(tmp_path, specs=["bn", "gn:2", "ln"])
    families = json.loads((tmp_path / SEEDS).read_text())["families"][""]
    assert families == [["bn", "gn:2"], ["ln"]]
    with_ln, _ = tfnorm.report(tmp_path)
    known = {run.label: {} for run in with_ln.runs}
    for run in with_ln.runs:
        known[run.label][run.seed] = 100 * float(trained.values[run.label][run.seed])
    expected = decide(known, 0.5, families=families, resolution=100 / IMAGES).pairs
    for pair, other in zip(with_ln.pairs, expected, strict=True):
        assert (pair.low, pair.high) == pytest.approx((other.low, other.high))
    elsewhere, _ = tfnorm.report(tmp_path, out=tmp_path / "elsewhere")
    assert elsewhere.pairs == with_ln.pairs == tfnorm.report(tmp_path, out=tmp_path / "elsewhere")[0].pairs
    assert json.loads((tmp_path / "elsewhere" / SEEDS).read_text())["families"][""] == families
    # A fixed number of seeds by hand afterwards is charged by the same method.
    by_hand = tfnorm.compare(["bn", "gn:2"], seeds=20, out=tmp_path, epochs=1)
    assert by_hand.families == families and by_hand.pairs[0].seeds == 20


def test_a_run_that_diverged_puts_its_spec_out_with_a_sentence(trained, tmp_path):
    trained.values = {**drawn({"bn": 0.0, "gn:2": 0.0, "ln": 5.0})}
    trained.values["ln"][1] = math.nan
    comparison = compare(tmp_path)
    assert counts(comparison)["ln"] == 3 < counts(comparison)["bn"]
    assert outcomes(comparison) == {("bn", "gn:2"): "equivalent", ("bn", "ln"): "settled", ("gn:2", "ln"): "settled"}
    says(comparison.verdict, "ln diverged in 1 of 3 seeds", "one of the two is out", "bn with ln")
    says(comparison.answer.reason, "ln diverged")


def test_seeds_that_all_end_alike(trained, tmp_path):
    trained.values = {"bn": np.full(20, 0.98), "gn:2": np.full(20, 0.98)}
    comparison = compare(tmp_path, specs=["bn", "gn:2"])
    assert counts(comparison) == {"bn": 4, "gn:2": 4} or len(trained.runs) < 16
    says(comparison.verdict, "bn and gn:2 are equivalent")


def test_the_runs_or_the_time_are_spent(trained, tmp_path, monkeypatch):
    trained.values = drawn({"bn": 0.0, "gn:2": 0.5, "ln": 0.25}, spread=0.9)
    comparison = compare(tmp_path / "runs", max_runs=11)
    assert len(trained.runs) == 9, "another round would be three more"
    assert set(outcomes(comparison).values()) == {"undecided"}
    says(comparison.verdict, "bn and gn:2 are undecided after 3 seeds", "seeds would probably decide")
    one_says(comparison.notes, "11 runs", "--max-runs")
    more = compare(tmp_path / "runs", max_runs=14)
    assert len(trained.runs) == 12 and counts(more) == dict.fromkeys(SPECS, 4)
    clock = iter(range(0, 10_000, 30))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    timed = compare(tmp_path / "time", budget="1m")
    assert 3 <= counts(timed)["bn"] < 20
    one_says(timed.notes, "time", "same command")
    assert not [note for note in compare(tmp_path / "whole", margin=9.0).notes if "from here" in note]


def test_the_page_and_the_picture_have_intervals_over_all_looks(fake_comparison, tmp_path):
    values = {"bn": ONE_WORSE["bn"][:12], "gn:2": ONE_WORSE["gn:2"][:12], "ln": ONE_WORSE["ln"][:5]}
    comparison = fake_comparison(tmp_path, {spec: each.tolist() for spec, each in values.items()}, images=IMAGES)
    (tmp_path / SEEDS).write_text(json.dumps({"schema_version": 1, "families": {"": [SPECS]}}))
    page = comparison.report().read_text()
    one_says(page, "any number of seeds", "all pairs", "95 %")
    alike = comparison.pairs[0]
    one_says(page, "equivalent")
    one_says(page, f"at most {alike.at_most:.2f} apart, 12 seeds")
    better = comparison.pairs[1]
    interval = f"({signed(better.low)} to {signed(better.high)})"
    assert better.outcome == "better"
    one_says(page, f"{interval}, 5 seeds")
    [axes] = comparison.plot_differences().axes
    says(" ".join(text.get_text() for text in axes.texts), interval)
    one_says([text.get_text() for text in axes.figure.findobj(Text)], "all looks", "margin of 0.5")


class Told(Progress):
    def __init__(self):
        self.told = []

    def looked(self, states, runs, epochs):
        self.told.append((list(states), runs, epochs))


def test_the_state_of_each_pair_is_told_after_each_round(trained, tmp_path):
    told = Told()
    comparison = compare(tmp_path, progress=told)
    (first, *between, last) = told.told
    says(first[0][0], "bn and gn:2", "open after 0 seeds")
    assert first[1:] == (9, 9) and last[1:] == (0, 0)
    one_says(between[0][0], "bn and gn:2", "open", "3 seeds")
    one_says(last[0], "bn and gn:2", "equivalent")
    one_says(last[0], "bn is better", "bn and ln")
    assert sum(runs for _, runs, _ in told.told) == len(comparison.runs)


# In processes


class InAThread:
    """What the pool of processes needs of one; it trains at once, and dies when it is told to."""

    made: list["InAThread"] = []

    def __init__(self, fake, deaths, threads, log, events):
        self.fake, self.deaths, self.events, self.kind, self.kinds = fake, deaths, events, "", 0
        self.process = self
        self.pid = len(InAThread.made)
        self.made.append(self)

    def send(self, task):
        config = TrainConfig.model_validate(task["config"]).resolved()
        if self.deaths and self.deaths[0] == (config.norm, config.seed):
            self.deaths.pop(0)
            self.events.put((self, {}))
            return
        if config.norm == "in":
            self.events.put((self, {"event": "failed", "values": ["No memory."]}))
            return
        self.fake.write(config, processes.Path(task["folder"]), 1)
        reached = {"status": "finished", "epochs": 1, "val_accuracy": 0.5}
        for event, values in (("started", [1, 4]), ("epoch_ended", [{"epoch": 0}]), ("finished", [reached])):
            self.events.put((self, {"event": event, "values": values}))

    def terminate(self):
        pass

    def close(self):
        pass

    def wait(self):
        return -9


@pytest.fixture
def in_threads(trained, monkeypatch):
    """Let processes be threads that write runs; the list that is returned says with which of them one dies."""
    deaths, InAThread.made = [], []
    monkeypatch.setattr(processes, "WorkerProcess", lambda *how: InAThread(trained, deaths, *how))
    return deaths


@pytest.mark.parametrize("jobs", [1, 2, 7])
def test_jobs_and_processes_that_die_have_no_part_in_the_end(jobs, trained, in_threads, tmp_path):
    here = compare(tmp_path / "here")
    in_threads += [("gn:2", 1), ("bn", 3), ("bn", 3)]
    other = compare(tmp_path / "jobs", jobs=jobs)
    assert not in_threads
    assert len(InAThread.made) <= jobs + 3, "processes wait for the next round"
    pd.testing.assert_frame_equal(other.table, here.table, check_exact=True)
    assert other.pairs == here.pairs and other.verdict == here.verdict


def test_a_run_that_fails_ends_its_comparison_with_a_sentence(trained, in_threads, tmp_path):
    with pytest.raises(FailedRunsError) as caught:
        compare(tmp_path, specs=["bn", "in"], jobs=2)
    says(caught, "in/seed-0", "No memory.")
    assert {spec for spec, _ in trained.runs} == {"bn"} and len(trained.runs) == 3


# A sweep


def test_each_setting_of_a_sweep_is_decided_by_itself(trained, in_threads, tmp_path, monkeypatch):
    monkeypatch.setattr(Sweep, "plot", lambda *_, **__: None)
    monkeypatch.setattr(Sweep, "plot_heat", lambda *_, **__: None)
    grid = {"settings": {"epochs": 1}, "grid": {"norm": ["bn", "ln"], "batch_size": [32, 64], "seeds": "auto"}}
    done = tfnorm.sweep(grid, out=tmp_path, jobs=2)
    ended = race(in_percent({spec: ONE_WORSE[spec] for spec in ("bn", "ln")}), 0.5, resolution=100 / IMAGES)
    seeds = len(ended.seen["bn"])
    assert done.table["seeds"].tolist() == [seeds] * 4 and len(trained.runs) == 4 * seeds < 80
    names = ["batch size 32", "batch size 64"]
    assert list(done.decisions) == names
    assert [[pair.outcome for pair in done.decisions[name].pairs] for name in names] == [["better"]] * 2
    says(done.best.headline, "bn", "the best")
    again, page = tfnorm.report(tmp_path)
    assert again.decisions == done.decisions and again.best.pairs == done.best.pairs
    one_says(page.read_text(), "bn is better")
    one_says(page.read_text(), f"{seeds} seeds each", f"{4 * seeds} of {4 * seeds} runs finished")
    families = json.loads((tmp_path / SEEDS).read_text())["families"]
    assert families == dict.fromkeys(["batch_size-32", "batch_size-64"], [["bn", "ln"]])
    record = json.loads((tmp_path / "sweep.json").read_text())
    assert record["auto"] and [each["setting"] for each in record["decisions"]] == names
    wide, _ = tfnorm.report(tmp_path, margin=9.0)
    assert {pair.outcome for found in wide.decisions.values() for pair in found.pairs} == {"negligible"}
    trained.runs.clear()
    assert tfnorm.sweep(grid, out=tmp_path).decisions == done.decisions and trained.runs == []


def test_a_grid_says_what_its_seeds_may_be():
    with pytest.raises(TfnormError) as caught:
        plan_grid({"grid": {"norm": "bn", "seeds": "all"}})
    says(caught, "seeds", "'all'", "auto")


# What is refused, and what is shown before


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"seeds": "some"}, ["seeds='some'", "auto"]),
        ({"max_runs": 20}, ["max_runs", "seeds=3", "auto"]),
        ({"budget": "5m"}, ["budget", "seeds=3", "auto"]),
        ({"seeds": "auto", "budget": "20"}, ["budget='20'", "'20m'"]),
        ({"seeds": "auto", "budget": 20}, ["budget=20", "'20m'"]),
        ({"seeds": "auto", "max_runs": 8}, ["9 runs", "8 runs", "3 seeds"]),
        ({"seeds": "auto", "max_runs": 0.5}, ["max_runs=0.5"]),
        ({"seeds": "auto", "margin": -1}, ["margin=-1", "at least 0"]),
        ({"margin": math.nan}, ["margin=nan"]),
        ({"margin": "0.5"}, ["margin='0.5'"]),
        ({"seeds": "auto", "metric": "loss"}, ["loss", "margin"]),
    ],
)
def test_mistakes_are_told_before_anything_starts(settings, facts, tmp_path):
    with pytest.raises(TfnormError) as caught:
        plan_comparison(SPECS, out=tmp_path, **settings)
    says(caught, *facts)
    assert not list(tmp_path.iterdir())


def test_a_metric_that_the_labels_decide_needs_a_margin_before_anything_is_trained(trained, tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (24, 28, 28, 1)).astype("uint8"), rng.integers(0, 2, (24, 3))
    several = Dataset("several", images[:16], labels[:16], images[16:], labels[16:], list("abc"), multi_label=True)
    with pytest.raises(TfnormError) as caught:
        compare(tmp_path, data=several)
    says(caught, "mean average precision", "margin")
    assert not trained.runs and not list(tmp_path.iterdir())


def test_a_damaged_record_is_told_with_its_remedy(tmp_path):
    (tmp_path / SEEDS).write_text('{"schema_version": 1')
    with pytest.raises(RunError) as caught:
        plan_comparison(SPECS, seeds="auto", out=tmp_path)
    says(caught, tmp_path / SEEDS, "damaged", "copy", "first")


def test_a_dry_run_says_what_comes_first_and_what_is_the_most(tmp_path, monkeypatch):
    measured = lambda rows, **_: (60.0, 0)  # noqa: E731
    monkeypatch.setattr("tfnorm.experiments.engines.estimate.estimate_seconds", measured)
    result = CliRunner().invoke(app, ["compare", "bn", "ln", "--seeds", "auto", "--out", str(tmp_path), "--dry-run"])
    says(
        result.output.replace("\n", " "),
        "6 runs are left",
        "at most 40 runs in all",
        "first",
        "All 40 runs",
        "7 minutes",
    )
    limited = ["compare", "bn", "ln", "--seeds", "auto", "--max-runs", "12", "--out", str(tmp_path), "--dry-run"]
    says(CliRunner().invoke(app, limited).output.replace("\n", " "), "at most 12 runs")


# A study


def test_a_study_asks_for_the_same_runs_and_decides_the_same(trained, tmp_path):
    comparison = compare(tmp_path / "compare")
    study = Study(tmp_path / "study")
    asked = []
    logits = np.full((IMAGES, 10), 5.0)
    for spec, seed in study.todo(SPECS, seeds="auto"):
        asked.append((spec, seed))
        study.record(spec, seed, float(ONE_WORSE[spec][seed]), predictions=logits, labels=LABELS)
    assert asked == trained.runs
    found = study.comparison()
    assert found.pairs == comparison.pairs and found.verdict == comparison.verdict
    assert json.loads((tmp_path / "study" / SEEDS).read_text())["families"] == {"": [SPECS]}
    assert list(study.todo(SPECS, seeds="auto")) == []


def test_a_study_without_a_margin_adds_no_seeds_and_one_kept_is_taken_again(tmp_path):
    plain = Study(tmp_path / "plain", metric="val_iou")
    assert plain.margin is None
    with pytest.raises(TfnormError) as caught:
        plain.todo(SPECS, seeds="auto")
    says(caught, "val_iou", "margin")
    Study(tmp_path / "kept", metric="val_iou", margin=0.02)
    assert Study(tmp_path / "kept", metric="val_iou").margin == 0.02
    assert Study(tmp_path / "accuracy").margin == 0.5
    with pytest.raises(TfnormError, match="9 runs"):
        Study(tmp_path / "accuracy").todo(SPECS, seeds="auto", max_runs=5)


def test_a_run_that_failed_puts_its_spec_out_and_one_that_is_left_out_ends_the_loop(tmp_path):
    study = Study(tmp_path, metric="val_iou", margin=0.1)
    for spec, seed in study.todo(["bn", "gn:8", "mine"], seeds="auto"):
        if spec == "mine" and seed == 2:
            study.record_failure(spec, seed, "no memory left")
        else:
            study.record(spec, seed, 0.8 + 0.01 * ((seed + len(spec)) % 2))
    found = study.comparison()
    assert found.table["seeds"]["mine"] == 3 <= found.table["seeds"]["bn"]
    says(found.verdict, "mine failed in 1 of 3 seeds", "equivalent")
    other = Study(tmp_path / "other", metric="val_iou", margin=0.1)
    given = [
        other.record(*key, 0.5) or key if key != ("bn", 1) else key for key in other.todo(["bn", "ln"], seeds="auto")
    ]
    assert len(given) == 6, "each of the first round once"


WORK = """
import sys, time
from tfnorm import Study
study = Study(sys.argv[1], metric="val_iou", margin=0.04)
for spec, seed in study.todo(["bn", "gn:8"], seeds="auto"):
    print(spec, seed, flush=True)
    if sys.argv[2] == "hold":
        sys.stdin.read()
    study.record(spec, seed, 0.8 + 0.013 * ((7 * seed + len(spec)) % 3))
"""


def test_processes_wait_for_the_others_at_the_end_of_a_round_and_take_over_from_the_dead(tmp_path):
    def work(how):
        call = [sys.executable, "-c", WORK, str(tmp_path), how]
        return subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    held = work("hold")
    assert held.stdout.readline() == "bn 0\n"
    others = [work("go"), work("go")]
    study = Study(tmp_path, metric="val_iou", margin=0.04)
    for _ in range(600):
        if len(study.runs) == 5:
            break
        time.sleep(0.1)
    assert len(study.runs) == 5 and all(other.poll() is None for other in others), "they wait for bn with seed 0"
    held.kill()
    held.communicate()
    done = [other.stdout.read() for other in others]
    assert [other.wait() for other in others] == [0, 0]
    given = "".join(done).split("\n")[:-1]
    assert len(given) == len(set(given)) == len(study.runs) > 6 and "bn 0" in given
    assert list(study.todo(["bn", "gn:8"], seeds="auto")) == []


# Really trained


@pytest.mark.matrix
def test_killed_and_resumed_and_in_two_processes_the_table_is_identical(tmp_path):
    settings = {**SOON_OVER, "seeds": "auto", "margin": 8.0, "max_runs": 24}
    whole = tfnorm.compare(["gn:2", "bn"], out=tmp_path / "whole", jobs=2, **settings)
    clocks = ["seconds", "images_per_second"]
    call = [sys.executable, "-m", "tfnorm", "compare", "gn:2", "bn", "--seeds", "auto", "--margin", "8"]
    call += ["--max-runs", "24", "--out", str(tmp_path / "killed"), "--jobs", "1"]
    for name, value in SOON_OVER.items():
        call += [f"--{name.replace('_', '-')}", str(value)]
    moments = iter([4, 7])
    for runs in moments:
        process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list((tmp_path / "killed").glob("*/*/result.json"))) < runs:
            time.sleep(0.05)
        process.kill()
        process.wait()
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
    killed, _ = tfnorm.report(tmp_path / "killed")
    pd.testing.assert_frame_equal(killed.table.drop(columns=clocks), whole.table.drop(columns=clocks), check_exact=True)
    assert killed.verdict == whole.verdict and killed.pairs == whole.pairs
    for run in whole.runs:
        place = run.path.relative_to(whole.path)
        assert outcome(killed.path / place) == outcome(whole.path / place)
