import json
import math
import re

import numpy as np
import pytest
from facts import one_says, says

from tfnorm.datasets import load
from tfnorm.errors import RunError
from tfnorm.experiments.comparison.page import comparison_page, layers_context
from tfnorm.experiments.comparison.predictions import images_of
from tfnorm.experiments.comparison.tables import dots, matrix, norm_words
from tfnorm.experiments.statistics import paired_differences
from tfnorm.spec import format, parse

ACCURACY = {"bn": [0.97, 0.96, 0.98], "gn:2": [0.95, 0.955, 0.96], "ln+l1=1e-4": [0.9, math.nan, 0.91]}


def data_of(page, name):
    """Return the JSON that a page holds under a name."""
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.S)[1])


@pytest.fixture(scope="module")
def comparison(fake_comparison, tmp_path_factory):
    return fake_comparison(tmp_path_factory.mktemp("page"), ACCURACY, images=200)


@pytest.fixture(scope="module")
def page(comparison):
    return comparison_page(comparison, comparison.path)


def test_the_answer_and_the_verdict_are_on_it(comparison, page):
    says(re.search(r'<p class="answer" id="answer">([^<]*)<', page)[1], "3 seeds")
    assert comparison.verdict in page


def test_the_browser_holds_every_mistake_of_every_run(comparison, page):
    found = data_of(page, "mistakes-data")
    runs = [(found["specs"][run["spec"]], run["seed"]) for run in found["runs"]]
    assert runs == [(run.label, run.seed) for run in comparison.runs if run.status == "finished"]
    wrong = [run.logits.argmax(1) != run.labels for run in comparison.runs if run.status == "finished"]
    assert found["wrong"] == np.any(wrong, axis=0).sum() and found["images"] == 200
    one_says(page, "ln+l1=1e-4", "seed 1", "diverged")


def test_curves_are_those_of_the_runs(comparison, page):
    curves = data_of(page, "curves-data")
    run = comparison.groups["gn:2"][1]
    drawn = curves["runs"]["gn:2"][1]
    assert drawn["seed"] == 1 and drawn["accuracy"]["test"][-1] == pytest.approx(95.5)
    np.testing.assert_allclose(drawn["loss"]["test"], run.history["val_data_loss"], rtol=1e-4)
    mean = curves["means"]["gn:2"]["accuracy"]["test"]
    assert (mean["epoch"][-1], mean["mean"][-1], mean["low"][-1], mean["high"][-1]) == (20, 95.5, 95.0, 96.0)
    assert curves["best"]["gn:2"][0] == 20


def test_runs_on_other_images_have_no_common_mistakes(fake_comparison, tmp_path):
    from tfnorm.experiments.collect import collect

    fake_comparison(tmp_path / "a", {"bn": [0.9, 0.8]}, images=50)
    fake_comparison(tmp_path / "b", {"ln": [0.9, 0.8]}, images=60, data={"fingerprint": "other"})
    page = comparison_page(collect([tmp_path / "a", tmp_path / "b"], anyway=True), tmp_path)
    one_says(page, "cannot", "same data")
    one_says(page, "different data", "mistakes")
    assert "mistakes-data" not in page
    assert "No ranking is justified" not in page and "differences-table" not in page
    assert re.search(r"(50 to 60) test images", page)
    one_says(page, "fingerprint of the data", "f")


def test_other_settings_are_said_with_the_answer(fake_comparison, tmp_path):
    from tfnorm.experiments.collect import collect

    fake_comparison(tmp_path / "a", {"bn": [0.9, 0.9]})
    fake_comparison(tmp_path / "b", {"ln": [0.9, 0.9]}, settings={"epochs": 30})
    page = comparison_page(collect([tmp_path / "a", tmp_path / "b"], anyway=True), tmp_path)
    said = re.search(r'<p class="answer" id="answer">([^<]*)<', page)[1]
    says(said, "epochs", "2 seeds")
    one_says(page, "2 specs, 4 runs", "20 to 30 epochs", "recipe default")


def test_damaged_files_are_named_on_it(fake_comparison, tmp_path):
    comparison = fake_comparison(tmp_path, {"bn": [0.9, 0.8], "ln": [0.9, 0.7]})
    first, *_, last = comparison.runs
    whole = (first.path / "predictions.npz").read_bytes()
    (first.path / "predictions.npz").write_bytes(whole[: len(whole) // 2])
    (last.path / "predictions.npz").unlink()
    (first.path / "model.keras").write_bytes(b"PK")
    page = comparison_page(comparison, tmp_path)
    one_says(page, "bn", "seed 0", "predictions.npz")
    one_says(page, "ln", "seed 1", "predictions.npz", "folder")
    one_says(page, "Without bn", "model.keras")
    with pytest.raises(RunError, match=r"predictions.npz .* Delete result.json"):
        first.logits  # noqa: B018


def test_runs_without_predictions_keep_the_rest(fake_comparison, tmp_path):
    comparison = fake_comparison(tmp_path, {"bn": [0.9, 0.8], "ln": [0.9, 0.7]})
    for run in comparison.runs:
        (run.path / "predictions.npz").unlink()
    page = comparison_page(comparison, tmp_path)
    one_says(page, "No run", "predictions")
    assert 'id="curves-data"' in page


def test_everything_may_diverge(fake_comparison, tmp_path):
    page = comparison_page(fake_comparison(tmp_path, {"bn": [math.nan] * 2, "ln": [math.nan] * 2}), tmp_path)
    one_says(page, "None of them", "diverged")


def test_test_images_are_those_of_the_run_or_a_sentence(fake_comparison, tmp_path):
    digits = load("digits", image_size=28)
    held = digits.hold_out(0.25)
    there = {"input_shape": [28, 28, 1]}
    found = fake_comparison(
        tmp_path / "a", {"bn": [0.9]}, data={**there, "fingerprint": held.fingerprint}, settings={"holdout": 0.25}
    )
    images, reason = images_of(found.runs[0])
    np.testing.assert_array_equal(images, held.x_test)
    assert reason == ""
    other = fake_comparison(tmp_path / "b", {"bn": [0.9]}, data=there).runs[0]
    images, reason = images_of(other)
    assert images is None
    says(reason, "digits")


def test_nothing_is_downloaded_for_a_page(fake_comparison, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "empty"))
    run = fake_comparison(tmp_path / "a", {"bn": [0.9]}, settings={"dataset": "mnist"}).runs[0]
    images, reason = images_of(run)
    assert images is None
    says(reason, "mnist", "this machine")
    (tmp_path / "data").mkdir()
    run.config["data"]["data_dir"] = str(tmp_path / "data")
    images, reason = images_of(run)
    assert images is None and "must hold mnist.npz" in reason
    run.config["asked"]["dataset"] = "gone.npz"
    says(images_of(run)[1], "gone.npz")


def test_layers_of_the_networks_are_on_it(tmp_path, fake_comparison, built):
    comparison = fake_comparison(tmp_path, {"none": [0.9], "ln+l1=1e-4": [0.9]})
    for label, runs in comparison.groups.items():
        built("mnist_7k", label).save(runs[0].path / "model.keras")
    page = comparison_page(comparison, tmp_path)
    none, ln = data_of(page, "layers-data")
    assert none["label"] == "none" and none["norms"] == []  # the images of these runs cannot be found
    kernel = ln["weights"][0]
    assert (kernel["layer"], kernel["weight"], kernel["shape"]) == ("conv1", "kernel", [3, 3, 1, 8])
    assert sum(kernel["counts"]) == 72 and kernel["low"] < 0 < kernel["high"] and kernel["std"] > 0
    one_says(page, "activations", "digits")


def test_activations_are_those_of_runs_with_these_images(tmp_path, fake_comparison, built):
    found = load("digits", image_size=28)
    data = {"fingerprint": found.fingerprint, "input_shape": [28, 28, 1]}
    runs = [
        *fake_comparison(tmp_path / "a", {"bn": [0.9]}, data=data).runs,
        *fake_comparison(tmp_path / "b", {"ln": [0.9]}, data=data | {"fingerprint": "other"}).runs,
    ]
    for run in runs:
        built("mnist_7k", run.label).save(run.path / "model.keras")
    layers = layers_context({run.label: [run] for run in runs}, found.x_test, data, "")
    assert [len(spec["norms"]) > 0 for spec in layers["specs"]] == [True, False]
    (note,) = layers["notes"]
    says(note, "activations of ln", "images")


def test_pairs_are_shown_both_ways_round():
    rows = matrix(["a", "b"], paired_differences({"a": {0: 90.0, 1: 90.2}, "b": {0: 95.0, 1: 95.1}}))
    assert rows[0]["cells"][0] is None and rows[0]["cells"][1]["text"] == "−4.95"
    assert rows[0]["cells"][1]["outcome"] == "worse," and rows[1]["cells"][0]["outcome"] == "better,"
    assert rows[1]["cells"][0]["text"] == "+4.95" and rows[1]["cells"][0]["depth"] > 0
    alike = matrix(["a", "b"], paired_differences({"a": {0: 90.0, 1: 95.0}, "b": {0: 95.0, 1: 90.0}}))
    assert alike[0]["cells"][1]["outcome"] == "not shown," and alike[0]["cells"][1]["depth"] == 0
    alone = matrix(["a", "b"], paired_differences({"a": {0: 90.0}, "b": {0: 95.0}}))
    assert alone[0]["cells"][1] | {"half": "one seed", "outcome": "", "p": ""} == alone[0]["cells"][1]


def test_dots_stand_on_one_scale(comparison):
    found = dots(comparison)
    means = [row["mean"] for row in found["rows"]]
    assert means[0] > means[1] > means[2] and all(0 <= place <= 100 for place in means)
    assert [len(row["seeds"]) for row in found["rows"]] == [3, 3, 2]
    for row in found["rows"]:
        left, width = row["interval"]
        assert left <= row["mean"] <= left + width + 0.01
    assert 2 <= len(found["ticks"]) <= 7


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("none", ("none", "")),
        ("bn:sync+l2=1e-4", ("batch, over all replicas", "L2 1e-4")),
        (
            "gn:size=4+ws+l1=1e-4+l2norm=2e-4",
            ("group, 4 channels a group, standardized kernels", "L1 1e-4, L2 norm 2e-4"),
        ),
        ("ln:channel", ("layer, each pixel", "")),
        ("<b>", ("<b>", "")),
    ],
)
def test_specs_in_words(label, words):
    assert norm_words(label) == words


def test_nine_runs_of_ten_thousand_images_stay_under_12_mb(fake_comparison, tmp_path, monkeypatch, seeded):
    noise = seeded.integers(0, 256, (10_000, 32, 32, 3), np.uint8)  # the worst case: nothing compresses
    monkeypatch.setattr("tfnorm.experiments.comparison.page.images_of", lambda run: (noise, ""))
    accuracy = {spec: [0.5, 0.5, 0.5] for spec in ("bn", "gn:2", "ln")}
    comparison = fake_comparison(tmp_path, accuracy, images=10_000)
    page = comparison_page(comparison, tmp_path)
    found = data_of(page, "mistakes-data")
    assert found["wrong"] > 9_000 and 1_000 < found["sheets"]["count"] < found["wrong"]
    assert len(page.encode()) < 12e6
    assert re.search(r"Pictures of the [\d,]+ ", page)


@pytest.mark.matrix
def test_two_hundred_runs_fit_into_two_gigabytes(fake_comparison, tmp_path, measure_python):
    accuracy = {format(parse(f"gn:{2 ** (i % 3)}+l1={i + 1}e-5")): [0.9] * 5 for i in range(40)}
    fake_comparison(tmp_path, accuracy, images=1000)
    code = (
        "import sys; from tfnorm.experiments.collect import collect; "
        "print(len(collect([sys.argv[1]]).report().read_bytes()))"
    )
    size, peak = measure_python(code, tmp_path)
    assert int(size) < 12e6 and peak < 2e9


def test_epochs_that_patience_may_save_are_at_most(fake_comparison, tmp_path):
    for settings, said in (({"patience": 2}, "1 run of at most 20 epochs"), ({}, "1 run of 20 epochs")):
        found = fake_comparison(tmp_path / f"{len(settings)}", {"bn": [0.9]}, settings=settings)
        assert said in comparison_page(found, found.path)
