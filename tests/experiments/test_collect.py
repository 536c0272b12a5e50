import json
import math
import os
import re
import shutil
from pathlib import Path

import pytest
from facts import says
from matplotlib.text import Text

from tfnorm.cli.printing import print_table
from tfnorm.errors import RunError
from tfnorm.experiments.collect import collect, report
from tfnorm.experiments.comparison.comparison import Comparison
from tfnorm.experiments.verdict import HELD_OUT, SOME_HELD_OUT
from tfnorm.training.records import read_json


@pytest.fixture(scope="module")
def folder(fake_comparison, tmp_path_factory):
    folder = tmp_path_factory.mktemp("collect")
    fake_comparison(folder / "a", {"gn:2": [0.9] * 11, "bn": [0.91, 0.92]}).save()
    fake_comparison(folder / "b", {"ln": [0.8, 0.82]})
    fake_comparison(folder / "longer", {"bn": [0.95, 0.96]}, settings={"epochs": 30})
    fake_comparison(folder / "other", {"bn": [0.5]}, images=60, data={"fingerprint": "0123456789abcdef"})
    return folder


@pytest.fixture
def no_pictures(monkeypatch):
    """Let no pictures be written, which takes longer than all the rest."""
    monkeypatch.setattr(Comparison, "save_pictures", lambda *_: None)


def names(comparison):
    return {label: [run.seed for run in runs] for label, runs in comparison.groups.items()}


def test_a_comparison_stands_as_it_was_written(folder):
    found = collect([folder / "a"])
    assert names(found) == {"gn:2": list(range(11)), "bn": [0, 1]} and list(names(found)) == ["gn:2", "bn"]
    assert found.path == folder / "a" and found.notes == []


def test_runs_of_several_folders(folder):
    found = collect([folder / "a" / "bn", folder / "b", folder / "a" / "gn-2" / "seed-10"])
    assert names(found) == {"bn": [0, 1], "ln": [0, 1], "gn:2": [10]}
    assert str(found.path) == "runs/report"
    twice = collect([folder / "b", folder / "b" / "ln"], out=folder / "out")
    assert names(twice) == {"ln": [0, 1]} and twice.path == folder / "out"


def test_one_run_is_enough(folder):
    assert names(collect([folder / "b" / "ln" / "seed-1"])) == {"ln": [1]}


def test_runs_that_differ_are_refused_and_the_difference_is_said(folder):
    with pytest.raises(RunError) as error:
        collect([folder / "b", folder / "longer"])
    says(error, "epochs", "20", f"{folder}/b/ln/seed-0", "30", f"{folder}/longer/bn/seed-0", "--anyway")
    with pytest.raises(RunError, match=r"fingerprint of the data .*\bf\b.* 0123456789ab…"):
        collect([folder / "b", folder / "other"])


def test_anyway_they_stand_beside_each_other_by_what_differs(folder, no_pictures):
    found = collect([folder / "a" / "bn", folder / "longer", folder / "b"], out=folder / "any", anyway=True)
    assert names(found) == {"bn (epochs 20)": [0, 1], "bn (epochs 30)": [0, 1], "ln (epochs 20)": [0, 1]}
    assert found.table.loc["bn (epochs 30)", "last_accuracy"] == pytest.approx(95.5)
    found.save()
    settings = read_json(found.path / "comparison.json")["settings"]
    assert "epochs" not in settings and "epochs" not in settings["recipe"]  # of which there are two
    assert settings["arch"] == "mnist_7k" and settings["recipe"]["optimizer"] == "sgd"


def test_a_folder_holds_other_files_of_the_same_name(fake_comparison, tmp_path):
    fake_comparison(tmp_path, {"bn": [0.9]})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_bytes("größe".encode("latin-1"))
    assert names(collect([tmp_path])) == {"bn": [0]}


def test_class_names_are_those_of_a_run_that_did_not_diverge(fake_comparison, tmp_path):
    three = ("cat", "dog", "rat")
    fake_comparison(tmp_path / "a", {"bn": [math.nan]}, class_names=three, data={"fingerprint": "three"})
    fake_comparison(tmp_path / "b", {"ln": [0.9]})
    found = collect([tmp_path / "a", tmp_path / "b"], out=tmp_path / "out", anyway=True)
    texts = {text.get_text() for ax in found.plot_confusion().axes for text in ax.get_xticklabels()}
    assert "9" in texts and "rat" not in texts


@pytest.mark.parametrize(("holdout", "notes"), [(0.0, []), (0.2, [HELD_OUT])])
def test_held_out_images_are_said_to_be_so(fake_comparison, tmp_path, capsys, holdout, notes):
    found = fake_comparison(tmp_path / "[bn]", {"bn": [0.9]}, settings={"holdout": holdout})
    assert found.notes == notes
    print_table(found)
    printed = capsys.readouterr().out
    assert (HELD_OUT in printed) is bool(notes)
    assert f"Pictures and tables: {tmp_path / '[bn]'}" in printed  # brackets are no markup


@pytest.mark.parametrize(("holdout", "word", "other"), [(0.0, "test", "held-out"), (0.2, "held-out", "test")])
def test_pictures_name_the_images_that_were_evaluated_on(fake_comparison, tmp_path, holdout, word, other):
    found = fake_comparison(tmp_path, {"bn": [0.9, 0.8], "ln": [0.7, 0.9]}, settings={"holdout": holdout})
    for draw in (found.plot_loss, found.plot_accuracy, found.plot_gap, found.plot_differences, found.plot_overlap):
        texts = " ".join(text.get_text() for text in draw().findobj(Text))
        assert word in texts and other not in texts.replace("20 % held out", ""), draw


def test_data_that_follow_from_their_name_are_told_once(fake_comparison, tmp_path):
    fake_comparison(tmp_path / "a", {"bn": [0.9]}, settings={"recipe": "B"})
    fake_comparison(tmp_path / "b", {"bn": [0.8]}, settings={"dataset": "mnist"}, data={"fingerprint": "0123"})
    found = collect([tmp_path / "a", tmp_path / "b"], anyway=True)
    assert list(names(found)) == ["bn (recipe B, dataset digits)", "bn (recipe default, dataset mnist)"]
    assert found.pairs == []
    says(found.verdict, "different data")


def test_the_same_run_twice_is_refused(folder, tmp_path):
    shutil.copytree(folder / "b", tmp_path / "copy")
    with pytest.raises(RunError) as error:
        collect([folder / "b", tmp_path / "copy"])
    says(error, f"{folder}/b/ln/seed-0", f"{tmp_path}/copy/ln/seed-0", "Give one")


def test_what_is_not_finished_is_left_out_and_named(fake_comparison, tmp_path):
    found = fake_comparison(tmp_path, {"bn": [0.9, None], "ln": [None]})
    assert names(found) == {"bn": [0]}
    (note,) = found.notes
    says(note, "finished", tmp_path / "bn/seed-1", tmp_path / "ln/seed-0")
    with pytest.raises(RunError) as error:
        collect([tmp_path / "ln"])
    says(error, f"{tmp_path}/ln", "command")


@pytest.mark.parametrize("how", ["damaged", pytest.param("gone", marks=pytest.mark.matrix)])
def test_a_run_whose_configuration_is_lost_is_named(how, fake_comparison, tmp_path, no_pictures):
    fake_comparison(tmp_path, {"bn": [0.9, 0.8], "ln": [0.7]}).save()
    config = tmp_path / "bn" / "seed-0" / "config.json"
    config.write_text("{") if how == "damaged" else config.unlink()
    found, _ = report(str(tmp_path))
    assert names(found) == {"bn": [1], "ln": [0]}
    (note,) = found.notes
    says(note, "configuration", config.parent)


def test_a_lost_configuration_is_found_without_a_list_of_the_runs(fake_comparison, tmp_path):
    fake_comparison(tmp_path, {"bn": [0.9, 0.8]})
    lost = tmp_path / "bn" / "seed-0"
    (lost / "checkpoint").mkdir()
    (lost / "config.json").unlink()
    assert str(lost) in collect(tmp_path).notes[0]


def test_a_damaged_result_is_named_with_what_mends_it_and_the_others_stand(fake_comparison, tmp_path):
    fake_comparison(tmp_path, {"bn": [0.9, 0.8], "ln": [0.7, 0.8]})
    result = tmp_path / "bn" / "seed-0" / "result.json"
    result.write_text(result.read_text()[:40])
    found = collect(tmp_path)
    assert names(found) == {"bn": [1], "ln": [0, 1]}
    assert len(found.notes) == 1 and str(result) in found.notes[0] and "Delete this file alone" in found.notes[0]
    with pytest.raises(RunError, match="Delete this file alone"):
        collect(tmp_path / "bn" / "seed-0")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": 1}', '{"schema_version": 1, "runs": [3]}'])
def test_a_damaged_list_of_runs_is_written_anew(content, fake_comparison, tmp_path, no_pictures):
    fake_comparison(tmp_path, {"bn": [0.9], "ln": [0.7]})
    (tmp_path / "comparison.json").write_text(content)
    found, _ = report(tmp_path)
    assert names(found) == {"bn": [0], "ln": [0]}
    assert len(read_json(tmp_path / "comparison.json")["runs"]) == 2


@pytest.fixture
def closed(monkeypatch):
    """Return a function that closes folders: root may enter all, so that the system's refusal is put in its place."""

    def close(*folders):
        scan = os.scandir

        def refuse(path):
            if Path(path) in folders:
                raise PermissionError(13, "Permission denied", str(path))
            return scan(path)

        monkeypatch.setattr(os, "scandir", refuse)

    return close


def test_runs_whose_folders_cannot_be_entered_are_named_and_counted(fake_comparison, closed, tmp_path):
    fake_comparison(tmp_path, {"bn": [0.9] * 8, "ln": [0.7]})
    shut = [tmp_path / "bn" / f"seed-{seed}" for seed in range(1, 8)]
    closed(*shut)
    found = collect(tmp_path)
    assert names(found) == {"bn": [0], "ln": [0]}
    assert len(found.notes) == 1 and all(str(path) in found.notes[0] for path in shut[:5])
    assert "7 in all" in found.notes[0] and "left out" in found.notes[0]
    with pytest.raises(RunError) as error:
        collect(shut[0])
    assert str(shut[0]) in str(error.value) and "cannot be entered" in str(error.value)


def test_a_config_that_cannot_be_read_closes_its_run_alone(fake_comparison, monkeypatch, tmp_path):
    fake_comparison(tmp_path, {"bn": [0.9, 0.8]})
    shut, read = tmp_path / "bn" / "seed-1" / "config.json", Path.read_bytes

    def refuse(path):
        if path == shut:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    found = collect(tmp_path)
    assert names(found) == {"bn": [0]} and str(shut.parent) in found.notes[0]


def test_links_are_followed_once_and_those_that_lead_nowhere_are_named(fake_comparison, tmp_path):
    fake_comparison(tmp_path / "disk", {"bn": [0.9, 0.8]})
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "bn").symlink_to(tmp_path / "disk" / "bn")
    (runs / "back").symlink_to(runs)
    (runs / "gone").symlink_to(tmp_path / "nowhere")
    found = collect(runs)
    assert names(found) == {"bn": [0, 1]}
    assert len(found.notes) == 1 and str(runs / "gone") in found.notes[0] and "back" not in found.notes[0]


def test_no_folder_at_all():
    with pytest.raises(RunError) as error:
        report([])
    says(error, "no folder", "a run, of a comparison or of many runs")


@pytest.mark.parametrize("name", ["nowhere", "empty", "file"])
def test_a_folder_without_runs(name, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(RunError) as error:
        collect([tmp_path / name])
    place = tmp_path / name
    facts = {"empty": "no run", "file": "is a file"}.get(name, "no folder")
    says(error, facts, place, "a run, of a comparison or of many runs")


def test_another_programs_config_is_no_run(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    with pytest.raises(RunError, match="no run"):
        collect([tmp_path])


def test_the_report_writes_what_a_comparison_does(folder, tmp_path):
    comparison, page = report([folder / "a", folder / "b"], out=tmp_path / "new")
    assert page == tmp_path / "new" / "report.html" and comparison.path == tmp_path / "new"
    assert {"report.html", "table.csv", "runs.csv", "comparison.json", "loss.png"} <= {
        path.name for path in page.parent.iterdir()
    }
    links = re.findall(r'<a href="([^"#][^"]*)">seed', page.read_text())
    assert [(page.parent / link).resolve() for link in links] == [run.path for run in comparison.runs]


def test_a_sweep_gets_the_page_of_a_sweep(fake_sweep, tmp_path):
    grid = {"settings": {"epochs": 2}, "grid": {"norm": ["bn", "ln"], "batch_size": [16, 64]}}
    fake_sweep(tmp_path, grid, lambda config: 0.9)
    sweep, page = report([tmp_path])
    assert type(sweep).__name__ == "Sweep" and page == tmp_path / "report.html"
    _, elsewhere = report([tmp_path], out=tmp_path / "out")
    assert elsewhere == tmp_path / "out" / "report.html" and elsewhere.exists()


def test_runs_on_held_out_and_on_test_images_are_not_all_said_to_be_held_out(fake_comparison, tmp_path):
    fake_comparison(tmp_path / "a", {"bn": [0.9]})
    fake_comparison(tmp_path / "b", {"bn": [0.8]}, settings={"holdout": 0.3})
    found = collect([tmp_path / "a", tmp_path / "b"], anyway=True)
    assert SOME_HELD_OUT in found.notes and HELD_OUT not in found.notes


def test_looks_are_kept_in_the_folder_and_counted(fake_comparison, tmp_path, no_pictures):
    accuracies = {"bn": [0.97, 0.96, 0.98, 0.97, 0.99], "ln": [0.9, 0.97, 0.96, 0.98, 0.97]}
    parts = {
        seeds: [tmp_path / spec / f"seed-{seed}" for spec in accuracies for seed in range(seeds)] for seeds in (3, 5)
    }
    fake_comparison(tmp_path, accuracies)

    def look(seeds):
        found = collect(parts[seeds], out=tmp_path)
        found.save()
        return found

    first, again = look(3), look(3)
    assert first.pairs == again.pairs and first.pairs[0].look == 1
    assert len(read_json(tmp_path / "comparison.json")["looks"]) == 1
    assert "1.25 %" in first.about_looks
    second = look(5)
    assert second.pairs[0].look == 2 and "look 2" in second.about_looks
    assert second.about_looks in (tmp_path / "report.html").read_text()
    assert look(5).pairs == second.pairs and look(3).pairs == first.pairs
    # A page elsewhere knows of the looks that the runs' own folder remembers.
    assert collect(parts[5], out=tmp_path / "elsewhere").pairs == second.pairs
    (tmp_path / "comparison.json").write_text("{")
    assert look(5).pairs[0].look == 1


def test_looks_that_cannot_be_read_stop_nothing(fake_comparison, tmp_path, no_pictures):
    fake_comparison(tmp_path, {"bn": [0.9, 0.8], "ln": [0.7, 0.8]}).save()
    content = json.loads((tmp_path / "comparison.json").read_text())
    for looks in (3, [3], [{"bn": 3}], [{"bn": {"x": 1}}], None):
        (tmp_path / "comparison.json").write_text(json.dumps({**content, "looks": looks}))
        assert collect(tmp_path).looks == [], looks
