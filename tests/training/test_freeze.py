"""Layers that are frozen: which ones, what stays to the bit, and runs that go on across the unfreezing."""

from pathlib import Path

import keras
import numpy as np
import own_networks
import pytest
from facts import says
from keras import layers
from stopping import StopAfter

from tfnorm import compare, train
from tfnorm._keras import names_from_the_start
from tfnorm.datasets.dataset import Dataset
from tfnorm.errors import TfnormError
from tfnorm.training.config import TrainConfig, checked
from tfnorm.training.network.freeze import freeze_until
from tfnorm.training.runs import outcome

FILE = Path(own_networks.__file__)
MODEL = f"{FILE}:plain"


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (24, *own_networks.SHAPE), np.uint8), np.arange(24) % own_networks.CLASSES
    return Dataset("noise", x, y, x[:8], y[:8], tuple("abcd"))


def trained_names(model):
    return [variable.path for variable in model.trainable_variables]


def two_levels():
    """Return a model with a model inside, a layer called twice, and one that holds another and is frozen already."""
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    inner = keras.Model(image, layers.Conv2D(4, 3, padding="same", name="last")(x), name="inner")
    wrapped = layers.TimeDistributed(layers.Dense(4, name="dense"), name="each")
    wrapped.layer.trainable = False
    twice = layers.Dense(4, name="twice")
    inputs = keras.Input((8, 8, 3))
    x = twice(wrapped(layers.Conv2D(4, 1, name="conv")(inner(inputs))))
    x = twice(layers.Dense(4, name="between")(x))
    return keras.Model(inputs, layers.Dense(4, name="head")(layers.GlobalAveragePooling2D(name="pool")(x)))


@pytest.mark.parametrize(
    ("until", "path", "left"),
    [
        ("inner/conv", "inner/conv", ["norm", "last", "conv", "twice", "between", "head"]),
        ("norm", "inner/norm", ["last", "conv", "twice", "between", "head"]),
        ("inner", "inner", ["conv", "twice", "between", "head"]),
        ("twice", "twice", ["between", "head"]),
        ("pool", "pool", ["head"]),
    ],
)
def test_everything_up_to_a_layer_is_frozen_in_the_order_of_the_graph(until, path, left):
    model = two_levels()
    before = trained_names(model)
    frozen = freeze_until(model, until, "net")
    assert frozen.until == path
    assert list(dict.fromkeys(name.split("/")[-2] for name in trained_names(model))) == left
    frozen.thaw()
    assert trained_names(model) == before and not model.get_layer("each").layer.trainable
    later = freeze_until(model, until, "net", epochs=2)
    assert trained_names(model) == before and later.record() == {**frozen.record(), "epochs": 2}
    says(str(later), "first 2 epochs", path, f"{frozen.record()['parameters']:,} parameters")


@pytest.mark.parametrize(
    ("until", "facts"),
    [
        ("hed", ("no layer 'hed'", "Did you mean 'head'?", "tfnorm inspect")),
        ("dense", ("no layer 'dense'", "inside the layer 'each'")),
        ("head", ("Nothing of net is left to train", "'head'", "earlier")),
        ("conv", ()),
    ],
)
def test_layers_that_cannot_be_the_last_frozen_one(until, facts):
    model = two_levels()
    if not facts:  # the model itself has one of this name, and the one inside is meant by its path
        assert freeze_until(model, until, "net").until == "conv"
        return
    with pytest.raises(TfnormError) as caught:
        freeze_until(model, until, "net")
    says(caught, *facts)


def test_a_name_of_several_layers_and_one_before_all_weights():
    inputs = keras.Input((4,))
    parts = [keras.Sequential([keras.Input((4,)), layers.Dense(4, name="same")], name=name) for name in "ab"]
    model = keras.Model(inputs, parts[1](parts[0](layers.Rescaling(2.0, name="scale")(inputs))))
    for until, facts in (("same", ("several layers 'same'", "a/same, b/same")), ("scale", ("No layer", "'scale'"))):
        with pytest.raises(TfnormError) as caught:
            freeze_until(model, until, "net")
        says(caught, *facts)


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"freeze_until": "conv"}, ("`freeze_until` belongs to a `model`", "'conv'", "arch='mnist_7k'")),
        ({"freeze_epochs": 2, "model": MODEL}, ("freeze_epochs=2 without `freeze_until`",)),
        ({"freeze_epochs": 3, "freeze_until": "conv2d", "model": MODEL}, ("freeze_epochs=3 with epochs=3", "in all")),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, facts):
    with pytest.raises(TfnormError) as caught:
        checked(TrainConfig, {"norm": "bn", "epochs": 3, **settings})
    says(caught, *facts)


def test_an_unknown_layer_is_told_before_training(data, tmp_path):
    with pytest.raises(TfnormError) as caught:
        compare(["keep", "gn:4"], model=MODEL, freeze_until="conv2d_9", data=data, out=tmp_path)
    says(caught, "own_networks.py:plain under 'gn:4'", "no layer 'conv2d_9'", "Did you mean 'conv2d_1'?")
    assert not list(tmp_path.glob("**/config.json"))


def test_a_run_goes_on_to_the_bit_across_the_unfreezing(data, tmp_path):
    settings = {"model": MODEL, "recipe": "finetune", "epochs": 4, "batch_size": 8, "data": data}
    settings |= {"freeze_until": "conv2d_1", "freeze_epochs": 2}
    whole = train("keep", **settings, out=tmp_path / "whole")
    for epoch in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            train("keep", **settings, out=tmp_path / "broken", progress=StopAfter(epoch))
    assert outcome(train("keep", **settings, out=tmp_path / "broken").path) == outcome(whole.path)
    says(whole.config["network"]["notes"][-1], "frozen in the first 2 epochs", "conv2d_1", "3 layers")
    frozen = whole.config["network"]["frozen"]
    assert frozen["until"] == "conv2d_1" and frozen["epochs"] == 2 and frozen["layers"] == 3
    assert whole.config["trainable_parameters"] == sum(map(np.size, whole.load_model().trainable_variables))
    rates = whole.history["lr"]  # each stage has its own rise and fall
    assert rates[1] < rates[0] and rates[3] < rates[2] and rates[0] == pytest.approx(rates[2])


@pytest.fixture
def trained_file(tmp_path):
    """Return the file of a model with weights and statistics that are not those of new layers."""
    with names_from_the_start():
        model = own_networks.plain()
    rng = np.random.default_rng(1)
    model.set_weights([np.abs(rng.normal(size=each.shape)) + 0.1 for each in model.get_weights()])
    model.get_layer("conv2d").trainable = False
    model.save(tmp_path / "trained.keras")
    return tmp_path / "trained.keras"


def same_weights(old, new):
    """Return, for each layer with weights, which of them have the same bits in two models."""
    return {
        layer.name: [np.array_equal(a, b) for a, b in zip(layer.get_weights(), other.get_weights(), strict=True)]
        for layer, other in zip(old.layers, new.layers, strict=True)
        if layer.weights
    }


def test_frozen_layers_keep_every_bit(trained_file, data, tmp_path):
    settings = {"model": trained_file, "recipe": "finetune", "epochs": 1, "batch_size": 8, "data": data}
    run = train("keep", **settings, freeze_until="conv2d_1", out=tmp_path / "run")
    after, before = run.load_model(), keras.models.load_model(trained_file)
    frozen, changed = [True] * 2, [False] * 2
    assert same_weights(before, after) == {
        "conv2d": frozen,
        "batch_normalization": frozen * 2,
        "conv2d_1": frozen,
        "batch_normalization_1": changed * 2,
        "dense": changed,
    }
    assert run.config["network"]["frozen"]["epochs"] is None
    assert run.config["trainable_parameters"] == sum(np.size(each) for each in after.trainable_variables)


def test_frozen_statistics_and_layers_of_a_file_stay_across_a_break(trained_file, data, tmp_path):
    settings = {"model": trained_file, "recipe": "finetune", "epochs": 2, "batch_size": 8, "data": data}
    whole = train("bn:frozen", **settings, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train("bn:frozen", **settings, out=tmp_path / "broken", progress=StopAfter(0))
    assert outcome(train("bn:frozen", **settings, out=tmp_path / "broken").path) == outcome(whole.path)
    after, before = whole.load_model(), keras.models.load_model(trained_file)
    norm = [False, False, True, True]  # gamma and beta are trained
    assert same_weights(before, after) == {
        "conv2d": [True, True],
        "batch_normalization": norm,
        "conv2d_1": [False, False],
        "batch_normalization_1": norm,
        "dense": [False, False],
    }
