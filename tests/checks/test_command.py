"""The command `tfnorm check`: what it prints, and its exit code."""

import json
import sys

import keras
import numpy as np
import pytest
from facts import says
from flawed import bn, net, relu

from tfnorm.cli import main

NET = """\
import keras
from keras import layers


def make(input_shape=(8, 8, 1)):
    inputs = keras.Input(input_shape)
    x = layers.GroupNormalization(-1, name="norm")(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(inputs)))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D(name="pool")(x)))


def sound():
    inputs = keras.Input((12, 12, 1))
    x = layers.ReLU()(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(inputs)))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def five():
    return keras.Model(inputs := keras.Input((8, 8, 1)), layers.Dense(5)(layers.Flatten()(inputs)))


def sized(input_shape, num_classes):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.Dense(num_classes)(layers.Flatten()(layers.Rescaling(1 / 255)(inputs))))
"""


def run(arguments, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tfnorm", "check", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "own_checked.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_checked", raising=False)
    return tmp_path


def test_warnings_exit_with_3_and_name_layer_and_remedy(place, capsys, monkeypatch):
    code, out, err = run(["own_checked.py:make"], capsys, monkeypatch)
    assert (code, err) == (3, "")
    says(out, "norm-before-pooling", "'norm'", "'pool'", "replace_norms", "1607.08022")
    code, out, _ = run(["own_checked.py:make", "--json"], capsys, monkeypatch)
    content = json.loads(out)
    assert code == 3 and content["findings"][0]["layers"] == ["norm"] and content["left_out"] == []
    ignored = ["--ignore", "norm-before-pooling:norm", "--ignore", "one-channel-groups", "--ignore", "bias-before-norm"]
    code, out, _ = run(["own_checked.py:make", *ignored], capsys, monkeypatch)
    assert code == 0 and "nothing found" in out


def test_data_and_settings(place, capsys, monkeypatch):
    code, out, _ = run(["own_checked.py:sound", "--dataset", "digits"], capsys, monkeypatch)
    assert code == 0 and "nothing found" in out
    code, out, _ = run(["own_checked.py:five", "--dataset", "digits"], capsys, monkeypatch)
    assert code == 3
    says(out, "labels", "0 to 9", "0 to 4")
    assert run(["own_checked.py:sized", "--dataset", "digits"], capsys, monkeypatch)[0] == 0
    net(bn(name="norm"), relu()).save("model.keras")
    code, out, _ = run([place, "--batch-size", "2", "--steps", "40"], capsys, monkeypatch)
    assert code == 3
    says(out, "slow-statistics", "40 steps", "small-batch", "2 images", "norm")
    assert run(["model.keras"], capsys, monkeypatch)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["nowhere.keras"], ("'nowhere.keras'",)),
        (["resnet"], ("'resnet'", "applications:")),
        (["own_checked.py:nothing"], ("'nothing'", "make")),
        (["own_checked.py:make", "--ignore", "norm-befor-pooling"], ("'norm-befor-pooling'", "'norm-before-pooling'")),
        (["own_checked.py:make", "--dataset", "nowhere"], ("nowhere",)),
        (["color.keras", "--dataset", "digits"], ("(None, 8, 8, 3)",)),
    ],
)
def test_bad_input_exits_with_2_in_one_sentence(arguments, facts, place, capsys, monkeypatch):
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(10)]).save("color.keras")
    code, out, err = run(arguments, capsys, monkeypatch)
    assert (code, out) == (2, "") and err.startswith("tfnorm: ") and err.count("\n") == 1
    says(err, *facts)


def test_compare_warns_before_it_trains(place):
    from tfnorm.datasets import load
    from tfnorm.experiments.plan import configurations
    from tfnorm.training.network.network import check_networks

    configs = configurations(["in", "gn:2"], seeds=2, model="own_checked.py:make", dataset="digits", epochs=20)
    with pytest.warns(UserWarning) as caught:
        check_networks(configs, load("digits"))
    (sentence,) = [str(each.message) for each in caught]
    says(sentence, "'in'", "norm-before-pooling", "'pool'", "replace_norms")


def test_a_watch_says_each_thing_once(capsys):
    from tfnorm.callbacks import NormWatch
    from tfnorm.errors import TfnormError

    model = net(bn(name="norm"), relu(), kernel=keras.regularizers.L1(1.0))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    watch = NormWatch()
    x, y = np.zeros((8, 8, 8, 3), "float32"), np.arange(8) % 4
    model.fit(x, y, epochs=2, verbose=0, callbacks=[watch])
    out = capsys.readouterr().out
    assert [finding.rule for finding in watch.findings] == ["slow-statistics", "penalty-dominates"]
    assert out.count("slow-statistics") == 1 and out.count("penalty-dominates") == 1
    says(out, "After 2 steps", "more than half")
    model.get_layer("norm").gamma.assign([0.0] * 16)
    quiet = NormWatch(ignore=["slow-statistics", "penalty-dominates"], verbose=False)
    model.fit(x, y, epochs=1, verbose=0, callbacks=[quiet])
    assert [finding.rule for finding in quiet.findings] == ["small-gammas"] and capsys.readouterr().out == ""
    with pytest.raises(TfnormError) as caught:
        NormWatch(ignore=["slow-statistic"])
    says(caught, "'slow-statistic'", "'slow-statistics'")
