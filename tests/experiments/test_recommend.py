"""A setting is searched within a budget, confirmed on other images and seeds, and tested once."""

import json
import math
import re
import shutil
import signal
import subprocess
import sys
import zlib
from io import StringIO

import numpy as np
import pytest
from facts import one_says, says
from made_up import MadeUp
from networks import SOON_OVER
from rich.console import Console
from typer.testing import CliRunner

from tfnorm import recommend
from tfnorm.cli import app
from tfnorm.datasets import Dataset, load
from tfnorm.datasets.images import StreamedImages
from tfnorm.errors import DataError, RunError, TfnormError
from tfnorm.experiments.recommend import plan, search
from tfnorm.experiments.recommend.plan import plan_recommendation
from tfnorm.experiments.recommend.space import Space, norms_to_try
from tfnorm.experiments.recommend.state import RecommendProgress, State
from tfnorm.spec import parse
from tfnorm.training.config import TrainConfig, plan_run
from tfnorm.training.data import load_data
from tfnorm.training.recipe.recipes import RECIPES
from tfnorm.training.runs import Run

pytestmark = pytest.mark.filterwarnings("error:Could not write")
BAD = {"norm": "none", "learning_rate": 3.0}


def landscape(config):
    """gn:4 is best with a rate of 0.1, and seeds and settings differ by a little."""
    if config.norm == "none" and config.learning_rate == 3:
        return 0.1
    norm = parse(config.norm)
    at = {"gn": 0.95 - 0.01 * abs((norm.groups or 4) - 4), "bn": 0.93, "none": 0.8}.get(norm.kind, 0.9)
    at -= 0.05 * abs(math.log10(config.learning_rate / 0.1)) + 100 * norm.l1 + 50 * norm.l2
    mark = zlib.crc32(f"{config.norm} {config.learning_rate} {config.batch_size} {config.seed}".encode())
    return float(np.clip(round(at + 0.01 * (mark / 2**32 - 0.5), 4), 0, 1))


@pytest.fixture
def made_up(fake_run, monkeypatch):
    """Return a function that has runs made up; what it returns says which epochs were."""

    def begin(reached=landscape):
        found = MadeUp(fake_run, reached)
        monkeypatch.setattr("tfnorm.training.trainer.train_on", found)
        monkeypatch.setattr(search.gc, "collect", lambda: 0)  # nothing was built
        return found

    return begin


def recommended(out, **arguments):
    arguments = {"baseline": BAD, "runs": 36, "epochs": 4, "out": out, **arguments}
    return recommend(**arguments)


# The whole


def test_a_bad_setting_is_beaten_on_images_and_seeds_of_their_own(made_up, tmp_path):
    trained = made_up()
    found = recommended(tmp_path)
    assert found.better and found.setting["norm"] != "none" and found.setting["learning_rate"] != 3
    says(found.sentence, "Take", found.setting["norm"], "beats your present setting", "points", "never saw")
    says(found.on_test, "400 test images", "used once", "your present setting", "3 seeds")
    parts = {}
    for config, _ in trained.epochs:
        parts.setdefault(config.holdout_part, set()).add(config.seed)
        assert config.holdout == (0.2 if config.holdout_part else 0)
    assert parts["search"] == {1000} and parts["confirmation"] <= set(range(2000, 2020)) and parts[None] == {0, 1, 2}
    confirmed = {p.parent.name for p in tmp_path.glob("confirmation/*/seed-*")}
    assert confirmed == {"yours", "candidate-1", "candidate-2", "candidate-3"}
    assert {p.parent.name for p in tmp_path.glob("test/*/seed-*")} == {"yours", found.name}
    runs = sum(len(list(tmp_path.glob(pattern))) for pattern in ("confirmation/*/seed-*", "test/*/seed-*"))
    assert len(found.trials) == 15 and runs + 15 <= 36
    record = json.loads((tmp_path / "recommendation.json").read_text())
    assert record["sentence"] == found.sentence and record["better"] and record["search"]["seed"] == 1000
    assert record["confirmation"]["values"]["yours"]["2000"] == pytest.approx(10)
    page = (tmp_path / "report.html").read_text()
    one_says(page, found.sentence)
    for name in ("race-table", "test-table", "trials", "slice-learning_rate", "slice-norm", "importance-plot-figure"):
        assert f'id="{name}' in page
    before = len(trained.epochs)
    assert recommended(tmp_path).sentence == found.sentence and len(trained.epochs) == before


def test_the_file_and_the_line_train_exactly_what_is_recommended(made_up, monkeypatch, tmp_path):
    typed = []
    monkeypatch.setattr("tfnorm.training.trainer.train_planned", lambda planned, progress: typed.append(planned))
    made_up()
    found = recommended(tmp_path / "o", recipe="A", augmentation="none", regularize="kernels")
    line = re.fullmatch(r"tfnorm train --recipe (\S+)", found.command)[1]
    asked = found.plan.config(found.setting, None, 0)
    assert plan_run(recipe=line, out=tmp_path / "again").config.asked() == asked.asked()
    there = {
        Run(p).config["asked"]["seed"]: Run(p).config["asked"] for p in tmp_path.glob(f"o/test/{found.name}/seed-*")
    }
    assert there[0] == asked.asked()
    CliRunner().invoke(app, ["train", "--recipe", line, "--seed", "3", "--out", str(tmp_path / "typed")])
    assert typed[0].config.asked() == found.plan.config(found.setting, None, 3).asked()
    assert plan_run(recipe=line, epochs=7, out=tmp_path / "again").config.epochs == 7  # what is given counts
    own = RECIPES["A"].model_copy(update={"name": "mine", "momentum": 0.8})
    other = recommended(tmp_path / "p", recipe=own)
    assert (
        plan_run(recipe=other.path / "recipe.toml").config.asked() == other.plan.config(other.setting, None, 0).asked()
    )


def test_a_good_setting_is_kept(made_up, tmp_path):
    made_up()
    found = recommended(
        tmp_path, baseline={"norm": "gn:4", "learning_rate": 0.1, "batch_size": 32}, norms=["bn", "none"]
    )
    assert not found.better and found.setting["norm"] == "gn:4"
    says(found.sentence, "Keep yours", "nothing found is")
    says(found.on_test, "your present setting reaches")
    assert {p.parent.name for p in tmp_path.glob("test/*/seed-*")} == {"yours"}
    assert plan_run(recipe=tmp_path / "recipe.toml").config.norm == "gn:4"


@pytest.mark.matrix
def test_what_cannot_be_told_apart_keeps_yours_and_says_how_far_it_is(made_up, tmp_path):
    def noisy(config):
        mark = zlib.crc32(f"{config.norm} {config.seed} {config.learning_rate}".encode())
        return 0.7 + 0.1 * mark / 2**32

    made_up(noisy)
    found = recommended(tmp_path, baseline="bn", margin=0.1)
    assert not found.better
    says(found.sentence, "Keep yours", "not" if "undecided" in found.sentence else "shown to be better", "seeds")


def test_a_setting_that_diverges_counts_as_0(made_up, tmp_path):
    made_up(lambda config: math.nan if config.learning_rate == 3 else landscape(config))
    found = recommended(tmp_path)
    assert found.better and set(found.values["yours"].values()) == {0.0}
    assert {trial.state for trial in found.trials} <= {"finished", "pruned", "diverged"}


def test_a_space_of_two_settings_is_soon_exhausted(made_up, tmp_path):
    trained = made_up()
    fixed = {"batch_size": 32, "learning_rate": 0.1, "dropout": 0, "l1": 0, "l2": 0, "ws": False}
    found = recommended(tmp_path, norms=["bn", "gn:4"], runs=200, **fixed)
    assert len(found.trials) <= 25 and found.setting["norm"] == "gn:4"
    assert len({search.place_of_run(config) for config, _ in trained.epochs if config.holdout_part == "search"}) == 2
    assert {name for name in found.values} == {"yours", "candidate-1", "candidate-2"}


def test_without_any_value_there_is_a_sentence(made_up, tmp_path):
    made_up(lambda config: math.nan)
    with pytest.raises(RunError) as caught:
        recommended(tmp_path)
    says(caught, "No run of the search", "15", "lower learning rates")


def test_runs_below_the_median_are_broken_off_and_told_as_that(made_up, tmp_path):
    trained = made_up()
    found = recommended(tmp_path, runs=80, epochs=8)
    pruned = [trial for trial in found.trials if trial.state == "pruned"]
    assert pruned and all(2 <= trial.epochs < 8 for trial in pruned)
    for trial in pruned:
        folder = tmp_path / trial.folder
        assert (
            not (folder / "result.json").exists()
            and len((folder / "history.jsonl").read_text().splitlines()) == trial.epochs
        )
        assert max(e for config, e in trained.epochs if search.place_of_run(config).as_posix() == trial.folder) < 8 - 1
    assert not {json.dumps(trial.settings) for trial in pruned} & {
        json.dumps(dict(c)) for c in found.contest.settings.values()
    }
    says(found.about_search, f"{len(pruned)} pruned")
    one_says((tmp_path / "report.html").read_text(), "pruned")


# What goes on


class Stop(RecommendProgress):
    """Breaks off after so many epochs."""

    def __init__(self, epochs):
        self.left = epochs

    def epoch_ended(self, run, record):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_it_goes_on_as_if_it_had_not_been_stopped_and_trains_nothing_twice(made_up, tmp_path):
    made_up()
    whole = recommended(tmp_path / "whole")
    trained = made_up()
    for number, epochs in enumerate((3, 10, 31, 22, 30)):  # in the search, and then in the confirmation
        with pytest.raises(KeyboardInterrupt):
            recommended(tmp_path / "parts", progress=Stop(epochs))
        journal = tmp_path / "parts" / "search" / "journal.log"
        journal.with_name("journal.log.lock").touch()  # as a process that was killed while it wrote leaves them
        with journal.open("ab") as file:
            file.write(b'{"op_code": 4, "tru' if number % 2 else b"")
    found = recommended(tmp_path / "parts")
    assert [trial.settings for trial in found.trials] == [trial.settings for trial in whole.trials]
    assert [trial.value for trial in found.trials] == [trial.value for trial in whole.trials]
    assert found.sentence == whole.sentence and found.values == whole.values
    once = [(json.dumps(config.asked(), sort_keys=True), epoch) for config, epoch in trained.epochs]
    assert len(once) == len(set(once))
    with pytest.raises(RunError) as caught:
        recommended(tmp_path / "parts", l1=0.1)
    says(caught, "other space", "another output folder")


@pytest.mark.matrix
def test_the_time_that_is_used_is_kept(made_up, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("tfnorm.experiments.recommend.state.time.monotonic", lambda: now[0])

    class Slow(Stop):
        def epoch_ended(self, run, record):
            now[0] += 5
            super().epoch_ended(run, record)

    made_up()
    time = {"runs": None, "budget": "20m"}
    with pytest.raises(KeyboardInterrupt):
        recommended(tmp_path, progress=Slow(70), **time)
    used = json.loads((tmp_path / "state.json").read_text())["seconds"]
    assert 0 < used <= 350
    now[0] = 10_000.0
    found = recommended(tmp_path, progress=Slow(10**9), **time)
    # Half of the time for the search, of which the run at the time of the kill is forgotten; then at least one look.
    assert 25 <= len(found.trials) <= 60 and found.seconds < 1300
    assert min(len(seeds) for seeds in found.values.values()) >= 3


# Images


def numbered(images, first=0):
    """Return images that say their number, and labels."""
    numbers = np.arange(first, first + images)
    return (numbers[:, None, None, None] % 256 * np.ones((1, 4, 4, 1))).astype("uint8"), numbers % 4


def never(row):
    raise AssertionError("a test image was read")


@pytest.fixture
def sealed():
    x, y = numbered(200)
    return Dataset(
        "sealed", x, y, StreamedImages(never, np.arange(40), (4, 4, 1)), np.arange(40) % 4, ("a", "b", "c", "d")
    )


def test_search_and_confirmation_have_images_of_their_own_and_train_on_the_same_others(sealed):
    one, other = (sealed.hold_out(0.2, part) for part in ("search", "confirmation"))
    rows = [[int(image[0, 0, 0]) for image in images] for images in (one.x_train, one.x_test, other.x_test)]
    assert sorted(sum(rows, [])) == list(range(200)) and len(rows[1]) == len(rows[2]) == 40
    np.testing.assert_array_equal(one.x_train, other.x_train)
    for data in (one, other):
        assert np.bincount(data.y_test).tolist() == [10] * 4
    assert one.fingerprint == sealed.hold_out(0.2, "search").fingerprint != other.fingerprint
    assert one.mean == other.mean
    with pytest.raises(DataError) as caught:
        sealed.hold_out(0.5, "search")
    says(caught, "below 0.5", "0.5")


def test_groups_are_in_one_part_alone(sealed):
    groups = tuple(f"{number // 5}" for number in range(200))
    data = Dataset(
        "grouped", sealed.x_train, sealed.y_train, sealed.x_test, sealed.y_test, sealed.class_names, groups=groups
    )
    parts = [data.hold_out(0.2, part) for part in ("search", "confirmation")]
    of = [{groups[int(i[0, 0, 0])] for i in images} for images in (parts[0].x_train, parts[0].x_test, parts[1].x_test)]
    assert not (of[0] & of[1] or of[0] & of[2] or of[1] & of[2])


def test_no_test_image_is_read_before_the_end(sealed, made_up, tmp_path):
    made_up()
    with pytest.raises(AssertionError, match="a test image was read"):  # where the test begins
        recommended(tmp_path, data=sealed, arch="mnist_layered")
    assert (tmp_path / "confirmation" / "yours").exists() and not (tmp_path / "test").exists()
    assert json.loads((tmp_path / "state.json").read_text())["confirmed"]


def test_no_test_picture_is_decoded_before_the_end(made_up, tmp_path, monkeypatch):
    from PIL import Image

    from tfnorm.datasets.folder import loading

    rng = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 3)):
        for kind in ("cat", "dog"):
            (tmp_path / "pets" / part / kind).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 255, (28, 28), dtype="uint8")
                Image.fromarray(pixels).save(tmp_path / "pets" / part / kind / f"{number}.png")
    decoded, real = [], loading.decode
    monkeypatch.setattr(
        loading, "decode", lambda path, *rest, **more: decoded.append(path) or real(path, *rest, **more)
    )

    class Seen(RecommendProgress):
        def part(self, name, state, done):
            tested = {path.name for path in decoded if "test" in path.parts}
            assert not tested and decoded, name

    made_up()
    recommended(tmp_path / "out", dataset=tmp_path / "pets", progress=Seen())
    assert sum("test" in path.parts for path in decoded) == 6
    config = TrainConfig(norm="bn", dataset=str(tmp_path / "pets"), holdout=0.2)
    says(load(tmp_path / "pets").reading.summary, "6 test images")
    assert load_data(config).fingerprint == load(tmp_path / "pets").hold_out(0.2).fingerprint
    shutil.rmtree(tmp_path / "pets" / "test" / "cat")
    assert load(tmp_path / "pets", training_only=True).x_test[:].shape == (3, 28, 28, 1)


# What is searched


def test_values_outside_the_space_are_left_out_of_the_first_point():
    space = Space(("bn", "gn:4"), learning_rate=(0.01, 1.0), dropout=(0.0, 0.3))
    config = TrainConfig(norm="gn:4+ws+l2=1e-4", learning_rate=3, batch_size=32, dropout=0.1).resolved()
    assert space.point(config) == {"norm": "gn:4", "ws": True, "l1": 0.0, "l2": 1e-4, "batch_size": 32, "dropout": 0.1}
    fixed = Space(("bn",), (True,), (0.0,), (1e-4,), (0.1, 0.1), (8,))
    assert fixed.choices == fixed.ranges == {}
    assert fixed.settings({}) == {"norm": "bn+ws+l2=1e-4", "learning_rate": 0.1, "batch_size": 8}
    assert Space(("keep",), (True,), (0.0,), (1e-4,)).settings({})["norm"] == "keep+l2=1e-4"


def test_norms_that_do_not_fit_are_left_out_unless_they_are_asked_for():
    def fits(norm):
        return "" if norm in ("bn", "gn:2", "gn:4") else f"{norm} does not fit."

    assert norms_to_try(None, fits, own_model=False) == ("bn", "gn:2", "gn:4")
    assert norms_to_try(["gn"], fits, own_model=True) == ("gn:2", "gn:4")
    assert norms_to_try("bn", fits, own_model=False) == ("bn",)
    for norms, fact in ((["ln"], "ln does not fit."), (["bn", "bn"], "twice"), ([], "nothing to search")):
        with pytest.raises(TfnormError) as caught:
            norms_to_try(norms, fits, own_model=False)
        says(caught, fact)


def test_candidates_are_the_best_of_each_spec_and_none_is_yours(tmp_path):
    at = plan_recommendation(baseline="bn", out=tmp_path)
    reached = [
        ("bn", 0.1, 99),
        ("gn:4", 0.1, 97),
        ("gn:4", 0.2, 98),
        ("ln", 0.1, 96),
        ("in", 0.1, 98),
        ("gn:2", 0.1, 90),
    ]
    trials = [
        search.Trial(i, "finished", {"norm": norm, "learning_rate": rate}, {}, value, 4, "x", loss=0.1 * i)
        for i, (norm, rate, value) in enumerate(reached)
    ]
    trials.append(search.Trial(9, "pruned", {"norm": "none"}, {}, 99.9, 1, "x"))
    found = search.candidates(at, trials)
    assert [(each["norm"], each["learning_rate"]) for each in found] == [("gn:4", 0.2), ("in", 0.1), ("ln", 0.1)]


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ({"budget": "soon"}, ("budget", "'soon'", "20m")),
        ({"runs": 22}, ("at least 23", "runs=22")),
        ({"learning_rate": (0.1, 0.01)}, ("learning_rate", "lower one first")),
        ({"learning_rate": 0}, ("learning_rate", "above 0")),
        ({"dropout": (0, 1)}, ("dropout", "below 1")),
        ({"batch_size": [16, 16]}, ("batch_size", "different")),
        ({"batch_size": 0.5}, ("batch_size", "whole")),
        ({"l1": "1e-4"}, ("l1", "numbers", "'1e-4'")),
        ({"l2": [-1]}, ("l2", "at least 0")),
        ({"norms": ["bn+l1=1e-4"]}, ("no penalty", "'bn+l1=1e-4'", "`l1`")),
        ({"norms": ["gm"]}, ("'gm'", "Did you mean 'gn'?")),
        ({"norms": ["gn:3"]}, ("groups", "3")),
        ({"holdout": 0.5}, ("holdout", "below 0.5")),
        ({"margin": -1}, ("margin", "-1")),
        ({"jobs": 0}, ("jobs", "0")),
        ({"seed": 1}, ("seed", "one run")),
        ({"epoch": 1}, ("epoch", "epochs")),
        ({"baseline": {"learning_rate": 3}}, ("baseline", "no norm")),
        ({"baseline": {"norm": "bn", "dataset": "mnist"}}, ("baseline", "mnist", "digits")),
        ({"baseline": {"norm": "bn", "arch": "resnet20"}}, ("baseline", "resnet20")),
        ({"baseline": {"norm": "bn", "rate": 3}}, ("Unknown setting 'rate'",)),
        ({"recipe": "own.toml"}, ("own.toml", "tfnorm train --recipe")),
        ({"baseline": "nowhere.toml"}, ("nowhere.toml", "cannot be read")),
        ({"model": lambda: None, "dropout": 0.1}, ("dropout", "own architectures")),
        ({"model": lambda: None, "jobs": 2}, ("jobs",)),
    ],
)
def test_what_cannot_be_searched_is_said_in_a_sentence(arguments, facts, tmp_path):
    with pytest.raises(TfnormError) as caught:
        recommend(**{"out": tmp_path / "out", **arguments})
    says(caught, *facts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("text", "fact"), [("norm = ", "not TOML"), ("epochs = 3", "names no norm")])
def test_files_that_are_no_settings_are_refused(text, fact, tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(text)
    for call in (lambda: plan_run(recipe=file), lambda: plan_recommendation(baseline=file)):
        with pytest.raises(TfnormError) as caught:
            call()
        says(caught, file, fact)


def test_without_optuna_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(plan.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TfnormError) as caught:
        recommend(budget="nonsense")
    says(caught, "optuna", "pip install 'tfnorm[search]'")


def test_a_metric_that_is_no_share_needs_a_margin(tmp_path):
    with pytest.raises(TfnormError) as caught:
        plan_recommendation(metric="data_loss", out=tmp_path)
    says(caught, "margin", "--margin")
    assert plan_recommendation(metric="data_loss", margin=0.01, out=tmp_path).margin == 0.01


def test_default_folders_differ_by_what_is_searched():
    given = [
        {},
        {"norms": ["bn"]},
        {"l1": 0},
        {"baseline": "ln"},
        {"baseline": {"norm": "ln", "epochs": 3}},
        {"epochs": 3},
    ]
    assert len({plan_recommendation(**each).folder for each in given}) == len(given)


# The command line


@pytest.mark.matrix
def test_the_display_says_what_is_left_and_what_was_broken_off(made_up, tmp_path):
    from tfnorm.cli.recommend import RecommendDisplay

    made_up()
    written = StringIO()
    with RecommendDisplay(Console(file=written), tmp_path, "held-out") as progress:
        recommended(tmp_path, runs=40, budget="1h", epochs=8, norms=["bn"], progress=progress)
    lines = written.getvalue().splitlines()
    one_says(lines, "search/bn", "held-out accuracy")
    one_says(lines, "pruned after", "of the budget left")
    one_says(lines, "candidate-1:", "bn")
    one_says(lines, "yours", "candidate-1")


# Real models


def compiled():
    import keras
    from own_networks import one_block

    model = one_block()
    model.compile(keras.optimizers.Adam(0.002), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_a_model_of_ones_own_is_asked_which_norms_and_rates_suit_it(made_up, tmp_path):
    at = plan_recommendation(["keep", "gn"], model=compiled, out=tmp_path / "plan", runs=23)
    data = load_data(at.config(at.baseline, "search"))
    found = at.fitted(data)
    assert at.space.norms == ("keep", *(f"gn:{groups}" for groups in (2, 4, 8, 16, 32)))  # until it is made
    assert found.space.norms == ("keep", "gn:2", "gn:4") and found.space.dropout is None
    assert found.space.learning_rate == pytest.approx((0.000067, 0.02)) and found.space.ws == (False, True)
    with pytest.raises(TfnormError) as caught:
        plan_recommendation(["gn:8"], model=compiled, out=tmp_path / "plan").fitted(data)
    says(caught, "'gn:8'", "8 groups", "fewer")
    made_up(lambda config: landscape(config.model_copy(update={"norm": config.norm.replace("keep", "bn")})))
    done = recommend(
        ["keep", "gn:2"], model=compiled, baseline={"norm": "keep", "learning_rate": 9}, runs=23, out=tmp_path / "o"
    )
    says(done.command, "tfnorm train --recipe")  # its file can be named
    asked = plan_run(recipe=tmp_path / "o" / "recipe.toml").config.asked()
    assert asked == done.plan.config(done.setting, None, 0).asked()


@pytest.mark.matrix
def test_arrays_that_are_given_are_left_for_you_to_give_again(made_up, tmp_path):
    made_up()
    pair = tuple((*numbered(count),) for count in (200, 40))
    found = recommended(tmp_path, dataset=pair, arch="mnist_layered", image_size=8)
    says(found.command, "tfnorm.train(recipe=", "dataset=...")
    asked = plan_run(recipe=tmp_path / "recipe.toml", dataset=pair).config.asked()
    assert asked == found.plan.config(found.setting, None, 0).asked()


# Real runs


def test_runs_are_trained_and_broken_off_in_this_process(tiny, monkeypatch, tmp_path):
    import optuna

    monkeypatch.setattr(search, "_goes_on", lambda plan, state, study: len(study.trials) < 4)
    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda trial: trial.number == 1)
    whole = load("digits", image_size=28)
    rows = slice(None, 200)
    data = Dataset("few", whole.x_train[rows], whole.y_train[rows], whole.x_test, whole.y_test, whole.class_names)
    settings = {"arch": "tiny", "epochs": 2, "augmentation": "none", "batch_size": 40, "l1": 0, "dropout": 0}
    at = plan_recommendation(["bn", "gn:2"], **settings, data=data, runs=23, out=tmp_path)
    state = State(at)
    found = search.search(at, state, load_data(at.config(at.baseline, "search"), data), RecommendProgress())
    trials = search.trials_of(at, search.open_study(at))
    assert [(trial.state, trial.epochs) for trial in trials] == [("finished", 2), ("pruned", 1), *[("finished", 2)] * 2]
    for trial in trials:
        history = (tmp_path / trial.folder / "history.jsonl").read_text().splitlines()
        assert 100 * json.loads(history[-1])["val_accuracy"] == pytest.approx(trial.value)
        config = json.loads((tmp_path / trial.folder / "config.json").read_text())
        assert (config["data"]["train_images"], config["data"]["test_images"]) == (120, 40)
        assert config["asked"]["seed"] == 1000 and config["asked"]["holdout_part"] == "search"
    assert found and all(each in [trial.settings for trial in trials] for each in found)


KILLED = """
import json, os, signal, sys
from tfnorm import recommend
from tfnorm.experiments.recommend.state import RecommendProgress

class Kill(RecommendProgress):
    left = int(sys.argv[2])

    def epoch_ended(self, run, record):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

print(recommend(out=sys.argv[1], progress=Kill(), **json.loads(sys.argv[3])).sentence)
"""


@pytest.mark.matrix
def test_killed_again_and_again_it_ends_as_if_it_had_been_left_alone(tmp_path):
    settings = {**SOON_OVER, "epochs": 2, "runs": 24, "baseline": BAD, "norms": ["bn", "gn:2"]}

    def call(folder, epochs, **more):
        words = [sys.executable, "-c", KILLED, str(folder), str(epochs), json.dumps({**settings, **more})]
        return subprocess.run(words, capture_output=True, text=True)

    whole = call(tmp_path / "whole", 10**6)
    assert whole.returncode == 0, whole.stderr
    for epochs in (2, 5, 20, 9):
        assert call(tmp_path / "parts", epochs).returncode == -signal.SIGKILL
    again = call(tmp_path / "parts", 10**6)
    assert again.stdout == whole.stdout != "", again.stderr
    records = [json.loads((tmp_path / name / "recommendation.json").read_text()) for name in ("whole", "parts")]
    for key in ("confirmation", "test", "search", "words", "better"):
        assert records[0][key] == records[1][key]
    processes = call(tmp_path / "jobs", 10**6, jobs=2)
    assert processes.returncode == 0 and re.match("Take|Keep", processes.stdout), processes.stderr
