"""The pictures of a comparison, of runs that were never trained."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from facts import says

from tfnorm import sweep
from tfnorm.errors import DataError, RunError
from tfnorm.experiments.comparison.comparison import Comparison
from tfnorm.experiments.comparison.run import compare
from tfnorm.metrics.metric import ACCURACY

LABELS = np.arange(30) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1)).astype(np.uint8)
ALL = {"loss", "accuracy", "gap", "differences", "confusion", "overlap"}


@pytest.fixture
def fake(tmp_path):
    """Return a function that makes a run of a spec and a seed that gets some images wrong, or diverged for None."""

    def make(label, seed, wrong, images="test"):
        folder = tmp_path / f"{label}-{seed}"
        folder.mkdir()
        (folder / "misclassified.png").write_bytes(b"as it was written")
        (folder / "predictions.npz").touch()
        shown = np.where(np.isin(np.arange(30), wrong or []), (LABELS + 1) % 3, LABELS)
        accuracy = np.nan if wrong is None else 1 - len(wrong) / 30
        names = ("accuracy", "val_accuracy", "data_loss", "val_data_loss")
        data = {"name": "<digits>", "fingerprint": "f", "class_names": ["0", "$1", "_2"], "test_images": 30}
        return SimpleNamespace(
            label=label, seed=seed, status="diverged" if wrong is None else "finished", labels=LABELS, images=images,
            logits=np.eye(3)[shown] * (np.nan if wrong is None else 1), path=folder,
            history=pd.DataFrame({name: [accuracy] for name in names}),
            config={"asked": {"arch": "mnist_7k", "norm": label, "recipe": {}}, "data": data},
            metric=ACCURACY, multi_label=False, folder=SimpleNamespace(predictions_path=folder / "predictions.npz"),
        )  # fmt: skip

    return make


def files(folder):
    return {path.name for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("format", ["png", pytest.param("svg", marks=pytest.mark.matrix)])
def test_every_picture_is_written_in_the_format(format, fake, tmp_path, monkeypatch):
    monkeypatch.setattr("tfnorm.experiments.comparison.comparison.images_of", lambda run: (IMAGES, ""))
    runs = [fake("bn", 0, [1, 2]), fake("bn", 1, [1]), fake("gn:2", 0, [3]), fake("gn:2", 1, [1, 3])]
    Comparison(runs, tmp_path).save_pictures(format)
    wanted = {f"{name}.{format}" for name in ALL | {"misclassified-bn", "misclassified-gn-2"}}
    assert files(tmp_path) == wanted
    copied = (tmp_path / f"misclassified-bn.{format}").read_bytes()
    assert (copied == b"as it was written") is (format == "png")
    assert format != "svg" or b"bn: 2 of 30 test images misclassified" in copied


def test_a_picture_of_mistakes_on_held_out_images_says_so(fake, tmp_path, monkeypatch):
    monkeypatch.setattr("tfnorm.experiments.comparison.comparison.images_of", lambda run: (IMAGES, ""))
    Comparison([fake("bn", 0, [1], images="held-out")], tmp_path).save_pictures("svg")
    assert b"bn: 1 of 30 held-out images misclassified" in (tmp_path / "misclassified-bn.svg").read_bytes()


def test_misclassified_images_that_are_gone_stay_as_they_were_drawn(fake, tmp_path, monkeypatch):
    monkeypatch.setattr("tfnorm.experiments.comparison.comparison.images_of", lambda run: (None, "gone"))
    Comparison([fake("bn", 0, [1])], tmp_path).save_pictures("svg")
    assert files(tmp_path) == {f"{name}.svg" for name in ALL - {"differences"}} | {"misclassified-bn.png"}
    assert (tmp_path / "misclassified-bn.png").read_bytes() == b"as it was written"


@pytest.mark.parametrize("format", [pytest.param("png", marks=pytest.mark.matrix), "svg"])
def test_misclassified_images_are_those_of_the_first_seed_that_has_any(format, fake, tmp_path, monkeypatch):
    monkeypatch.setattr("tfnorm.experiments.comparison.comparison.images_of", lambda run: (IMAGES, ""))
    runs = [fake("bn", 0, None), fake("bn", 1, [1]), fake("bn", 2, [1, 2]), fake("in", 0, None)]
    for run in runs:
        if run.status == "diverged":
            (run.path / "misclassified.png").unlink()
        else:
            (run.path / "misclassified.png").write_bytes(b"seed %d" % run.seed)
    Comparison(runs, tmp_path).save_pictures(format)
    assert {name for name in files(tmp_path) if name.startswith("mis")} == {f"misclassified-bn.{format}"}
    written = (tmp_path / f"misclassified-bn.{format}").read_bytes()
    assert written == b"seed 1" if format == "png" else b"bn: 1 of 30 test images misclassified" in written


def test_the_models_of_a_seed_stand_beside_each_other(fake, tmp_path):
    runs = [fake("bn", 0, None), fake("bn", 1, [1]), fake("gn:2", 1, [1, 3]), fake("gn:2", 0, [5]), fake("in", 0, None)]
    comparison = Comparison(runs, tmp_path)
    _, head, bars, *_ = comparison.plot_overlap().axes
    says(head.texts[0].get_text(), "one seed", "in: diverged", "1 seed")
    assert [bar.get_height() for bar in bars.patches] == [1, 1]
    titles = [ax.get_title(loc="left") for ax in comparison.plot_confusion().axes]
    assert titles[:3] == ["bn: 1 of 30 wrong", "gn:2: 1.5 of 30 wrong", "in: diverged"]


def test_mistakes_on_different_images_are_not_compared(fake, tmp_path):
    first, second = fake("bn", 0, [1]), fake("ln", 0, [1])
    second.labels = LABELS[::-1]
    comparison = Comparison([first, second], tmp_path)
    for plot in (comparison.plot_confusion, comparison.plot_overlap):
        with pytest.raises(RunError, match="different images"):
            plot()
    comparison.save_pictures()
    assert not {"confusion.png", "overlap.png"} & files(tmp_path)


def test_pictures_of_a_sweep_are_written_in_the_format(fake_sweep, tmp_path):
    grid = {"grid": {"norm": ["bn", "gn:2"], "batch_size": [16, 32], "seeds": 2}, "settings": {"epochs": 1}}
    swept = fake_sweep(tmp_path, grid, lambda config: 0.9 + 0.01 * config.seed)
    swept.save(format="svg")
    assert {path.name for path in tmp_path.glob("*.*g")} == {"batch_size.svg", "heat-batch_size-norm.svg"}
    with pytest.raises(DataError, match="Unknown picture format 'gif'"):
        swept.save(format="gif")


@pytest.mark.parametrize("call", [compare, lambda format: sweep("batch-size", format=format)], ids=["compare", "sweep"])
def test_an_unknown_format_is_refused_before_anything_is_done(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        call(format="jpg")
    says(caught, "'jpg'", "'png'", "png, svg, pdf")
    assert not list(tmp_path.iterdir())
