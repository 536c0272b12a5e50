"""Runs on a person's own pipelines: their bits, their record, going on after a break, and what is refused before."""

import io
import shutil
from pathlib import Path

import numpy as np
import own_data
import pytest
from backends import tensorflow_only
from facts import one_says, says
from stopping import StopAfter

from tfnorm import compare, sweep, train
from tfnorm.datasets.dataset import Dataset
from tfnorm.errors import DataError, RunError, TfnormError
from tfnorm.experiments.comparison.predictions import images_of
from tfnorm.experiments.engines.worker import Reporter, Worker
from tfnorm.experiments.plan import plan_comparison
from tfnorm.training.config import plan_run
from tfnorm.training.runs import Run

FILE = Path(own_data.__file__)
SOON = {"arch": "tiny", "epochs": 2, "seed": 1}


def weights(run):
    return [array.tobytes() for array in run.load_model().get_weights()]


def test_a_run_on_a_function_goes_on_bit_for_bit_and_refuses_another_file(tmp_path):
    file = shutil.copy(FILE, tmp_path / "some_data.py")
    settings = {**SOON, "dataset": f"{file}:pydataset"}
    whole = train("bn", **settings, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train("bn", **settings, out=tmp_path / "broken", progress=StopAfter(0))
    plan_run("bn", **settings, out=tmp_path / "broken")
    assert weights(train("bn", **settings, out=tmp_path / "broken")) == weights(whole)
    asked, data = whole.config["asked"], whole.config["data"]
    assert (asked["dataset"], data["own"]) == ("some_data.py:pydataset",) * 2 and len(asked["data_hash"]) == 64
    assert (asked["batch_size"], asked["recipe"]["batch_size"], asked["augmentation"]) == (32, 32, "none")
    assert data["pipeline"]["batches"] == 3 and "went_on" not in whole.config
    one_says(data["reading"]["notes"], "The order of the training images is that of your pipeline")
    images, why = images_of(whole)
    assert why == "" and len(images) == 40
    with Path(file).open("a") as opened:
        opened.write("\n")
    with pytest.raises(RunError) as caught:
        plan_run("bn", **settings, out=tmp_path / "broken")
    says(caught, "files of the data some_data.py:pydataset", "have changed", "Restore", "another output folder")


class Told(StopAfter):
    """Keeps what was read."""

    def __init__(self, epoch=None):
        super().__init__(epoch)
        self.sentences = []

    def read(self, sentences):
        self.sentences += sentences


@tensorflow_only
def test_a_pipeline_with_weights_that_shuffles_says_what_it_does(tmp_path):
    settings = {**SOON, "dataset": own_data.weighted_that_shuffles, "out": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        train("bn+l2=1e-2", **settings, progress=StopAfter(0))
    told = Told()
    run = train("bn+l2=1e-2", **settings, progress=told)
    one_says(told.sentences, "shuffles by itself", "after 1 epoch", "without a break")
    assert run.config["went_on"] == [1]
    logits = np.asarray(run.logits, "float64")
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(40), run.labels]
    factors = np.linspace(0.5, 2, 40)
    last = run.history.iloc[-1]
    assert last["val_data_loss"] == pytest.approx(np.mean(losses * factors), rel=1e-5)
    assert last["val_loss"] - last["val_data_loss"] == pytest.approx(last["val_penalty"], rel=1e-4)
    assert last["val_penalty"] > 0.01 * last["val_loss"]
    assert last["val_accuracy"] == pytest.approx(np.mean(logits.argmax(axis=1) == run.labels))


def objects(folder=None):
    return own_data.pydataset("train", 0), own_data.few()[1]


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"batch_size": 16}, ("32 images", "batch_size=16", "--batch-size")),
        ({"holdout": 0.2}, ("holdout=0.2", "cannot be divided")),
        ({"image_size": 32}, ("28x28", "image_size=32")),
        ({"image_size": 28, "resize": 32, "augmentation": "crop_flip"}, ("`resize`", "resize=32", "own_data.py")),
        ({"test_share": 0.3}, ("`test_share`", "folder of pictures", "own_data.py:pydataset")),
    ],
)
def test_what_a_pipeline_decides_itself_is_refused_before_training(settings, facts, tmp_path):
    with pytest.raises(TfnormError) as caught:
        train("bn", **SOON, dataset=f"{FILE}:pydataset", out=tmp_path / "run", **settings)
    says(caught, *facts)
    assert not (tmp_path / "run" / "config.json").exists()


def test_objects_stay_in_this_process(tmp_path):
    for begin in (
        lambda: compare("bn", dataset=objects(), jobs=2, out=tmp_path / "runs"),
        lambda: compare("bn", dataset=objects(), engine="ray", out=tmp_path / "runs"),
        lambda: sweep({"grid": {"norm": "bn"}, "settings": {"dataset": objects()}}, out=tmp_path / "runs"),
    ):
        with pytest.raises(TfnormError) as caught:
            begin()
        says(caught, "'your data'", "other process", "dataset='my_data.py:make'", "without `jobs`")
    assert not (tmp_path / "runs").exists()


def test_arrays_are_ordered_and_augmented_as_ever(tmp_path):
    plan = plan_comparison(["bn", "ln"], seeds=2, dataset=own_data.few(), out=tmp_path)
    assert {(run.config.batch_size, run.config.augmentation) for run in plan.runs} == {(32, "shift")}
    assert len({id(run.config.dataset) for run in plan.runs}) == 1
    assert type(plan.runs[0].config.dataset.load()) is Dataset
    open_ = plan_comparison("bn", seeds=1, dataset=own_data.arrays, out=tmp_path).runs[0].config
    assert (open_.batch_size, open_.augmentation) == (None, None)
    assert open_.settled(open_.dataset.load()).batch_size == 32


def test_wrong_data_are_said_without_tensorflow_and_with_exit_code_2(what_it_imports, tmp_path):
    (tmp_path / "my_data.py").write_text("def make():\n    pass\n")
    calls = [
        ["compare", "bn", "--dataset", f"{tmp_path}/{name}", "--out", str(tmp_path / "runs")]
        for name in ("my_data.py", "my_data.py:mak", "nowhere.py:make")
    ]
    calls += [["train", "bn", "--dataset", "no_such.module:make"], ["train", "bn", "--dataset", "hf:./nowhere"]]
    assert [(code, heavy) for _, code, heavy in what_it_imports(calls)] == [(2, [])] * 5


@pytest.mark.matrix
def test_every_form_in_the_same_order_gives_the_same_bits(tmp_path):
    import datasets
    from PIL import Image

    settings = {**SOON, "augmentation": "none", "epochs": 2}
    features = datasets.Features(
        {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=[str(number) for number in range(10)])}
    )
    stored = {
        part: datasets.Dataset.from_dict(
            {"picture": [Image.fromarray(image[..., 0]) for image in x], "kind": y.tolist()}, features=features
        )
        for part, (x, y) in zip(("train", "test"), own_data.few(), strict=True)
    }
    datasets.DatasetDict(stored).save_to_disk(str(tmp_path / "stored"))
    forms = {
        "arrays": {"dataset": own_data.few(), "batch_size": 32},
        "function of arrays": {"dataset": f"{FILE}:arrays", "batch_size": 32},
        "hf": {"dataset": f"hf:{tmp_path / 'stored'}", "batch_size": 32},
        **{form: {"dataset": f"{FILE}:{form}"} for form in ("pydataset", "dataloader", "generator")},
    }
    found = {form: weights(train("bn", **settings, **how, out=tmp_path / form)) for form, how in forms.items()}
    assert all(bits == found["arrays"] for bits in found.values()), {k: v == found["arrays"] for k, v in found.items()}
    # A folder orders its pictures by class and name: arrays in that order give its bits.
    folder = own_data.folder(tmp_path / "folder")
    order = [np.argsort(y, kind="stable") for _, y in own_data.few()]
    sorted_arrays = tuple((x[rows], y[rows]) for (x, y), rows in zip(own_data.few(), order, strict=True))
    pair = [
        weights(train("bn", **settings, dataset=each, batch_size=32, out=tmp_path / name))
        for name, each in (("of folder", folder), ("sorted", sorted_arrays))
    ]
    assert pair[0] == pair[1]


@pytest.mark.matrix
def test_processes_import_a_function_by_its_path_and_the_page_has_its_images(tmp_path):
    model = f"{FILE.with_name('own_networks.py')}:plain"
    settings = {"model": model, "recipe": "default", "epochs": 1, "dataset": f"{FILE}:dataloader"}
    _, epoch = Worker(Reporter(io.StringIO())).measure(plan_run("bn", **settings, out=tmp_path / "none").config)
    assert epoch > 0
    comparison = compare(["bn", "gn:2"], **settings, seeds=2, jobs=2, out=tmp_path)
    runs = [Run(path.parent) for path in sorted(tmp_path.rglob("result.json"))]
    assert len(runs) == 4 and len({run.config["data"]["fingerprint"] for run in runs}) == 1
    one_says(comparison.remarks, "order", "your pipeline (DataLoader)", "32")
    page = (tmp_path / "report.html").read_text()
    assert "order of the training images is that of your pipeline" in page and "data:image" in page


@pytest.mark.matrix
def test_objects_are_compared_in_this_process(tmp_path):
    comparison = compare(["bn", "ln"], arch="tiny", seeds=2, epochs=1, dataset=objects(), out=tmp_path)
    assert comparison.table["seeds"].tolist() == [2, 2]
    one_says(comparison.remarks, "shuffles by itself", "specs may see other orders")
    with pytest.raises(DataError) as caught:
        compare("bn", arch="tiny", seeds=1, dataset=objects(), learning_rate=[0.1, 0.2], out=tmp_path / "rates")
    says(caught, "cannot be divided")
