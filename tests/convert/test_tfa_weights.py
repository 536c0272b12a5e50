"""Weights of tensorflow-addons for a model that is given, and the page about them."""

import re

import cases
import h5py
import keras
import numpy as np
import pytest
from facts import says
from keras import layers

from tfnorm import layers as ours
from tfnorm.convert import load_tfa_model

pytestmark = pytest.mark.addons


def sequential(*made, shape=(4, 5, 6)):
    return keras.Sequential([keras.Input(shape), *made])


def shared():
    one, two = keras.Input((4, 5, 6)), keras.Input((4, 5, 6))
    norm, conv = layers.GroupNormalization(3), layers.Conv2D(6, 1)
    x, y = conv(norm(one)), norm(conv(two))
    return keras.Model([one, two], [layers.Subtract()([x, y]), norm(x)])


def nested():
    inner = keras.Sequential([layers.Conv2D(6, 1), layers.GroupNormalization(2), layers.BatchNormalization()])
    inputs = keras.Input((4, 5, 6))
    x = layers.SpectralNormalization(layers.Conv2D(6, 3, padding="same"))(inputs)
    x = layers.Add()([x, inner(inner(x))])
    middle = keras.Model(inputs, layers.Conv2D(6, 1)(x), name="middle")
    inputs = keras.Input((4, 5, 6))
    return keras.Model(inputs, layers.GroupNormalization(-1)(middle(layers.Conv2D(6, 1)(inputs))))


GIVEN = {
    "group_norm-groups_2": lambda: sequential(layers.GroupNormalization(2)),
    "instance_norm-default": lambda: sequential(ours.InstanceNormalization()),
    "filter_response_norm-learned_epsilon": lambda: sequential(ours.FilterResponseNormalization(learned_epsilon=True)),
    "tlu-affine": lambda: sequential(ours.TLU(axis=None, affine=True)),
    "weight_norm-data_init": lambda: sequential(layers.Conv2D(3, 3, activation="relu")),
    "spectral_norm-default": lambda: sequential(layers.SpectralNormalization(layers.Conv2D(3, 3, activation="relu"))),
    "model-shared": shared,
}


@pytest.mark.parametrize("file", ["old.h5", "new.weights.h5"])
@pytest.mark.parametrize("case", GIVEN)
def test_weights_for_a_model_that_is_given(case, file, unpacked):
    folder, model = unpacked(case), GIVEN[case]()
    assert load_tfa_model(folder / file, model=model) is model
    assert cases.largest_difference(model, folder) < 1e-5


@pytest.mark.parametrize("version", ["", "0.21/"])
def test_weights_for_nested_models_that_are_given(version, unpacked):
    folder, model = unpacked(f"{version}model-nested"), nested()
    load_tfa_model(folder / "new.weights.h5", model=model)
    assert cases.largest_difference(model, folder) < 1e-5


def test_weights_that_do_not_say_what_they_belong_to(unpacked):
    path = unpacked("model-nested") / "old.h5"
    says(cases.sentence(path, model=nested()), path, "'middle'", "`model`", "model.to_json")


def test_weights_of_another_model(unpacked):
    folder = unpacked("group_norm-groups_2")
    old, new = folder / "old.h5", folder / "new.weights.h5"
    other = sequential(layers.Conv2D(3, 3, name="conv"))
    says(
        cases.sentence(old, model=other),
        old,
        "'group_normalization'",
        "kernel (3, 3, 6, 3), bias (3,)",
        "gamma (6,), beta (6,)",
        "Give the model",
    )
    says(cases.sentence(new, model=other), new, "'conv'", "kernel (3, 3, 6, 3), bias (3,)", "none", "Give the model")
    longer = sequential(layers.GroupNormalization(2, name="one"), layers.GroupNormalization(2, name="two"))
    says(cases.sentence(old, model=longer), old, "2 layers", "one, two", "group_normalization", "Give the model")
    shorter = sequential(layers.ReLU())
    says(
        cases.sentence(new, model=shorter),
        new,
        "layers/group_normalization/vars/0",
        "layers/group_normalization/vars/1",
        "Give the model",
    )
    before = other.get_weights()
    cases.sentence(old, model=other)
    for array, same in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, same)


def test_weights_in_another_order(unpacked):
    path = unpacked("group_norm-groups_2") / "old.h5"
    with h5py.File(path, "r+") as file:
        group = file["group_normalization"]
        group.attrs["weight_names"] = group.attrs["weight_names"][::-1]
    says(
        cases.sentence(path, model=sequential(layers.GroupNormalization(2))),
        path,
        "'group_normalization'",
        "gamma (6,), beta (6,)",
        "beta (6,), gamma (6,)",
        "Give the model",
    )


@pytest.mark.parametrize("file", ["old.h5", "new.weights.h5"])
def test_weights_without_a_model(file, unpacked):
    path = unpacked("tlu-affine") / file
    says(cases.sentence(path), path, "Pass `model`", "to_json")


def test_the_page_about_it(unpacked, tmp_path, monkeypatch):
    folder = unpacked("group_norm-groups_2")
    (folder / "model.h5").rename(tmp_path / "old.h5")
    (folder / "old.h5").rename(tmp_path / "weights.h5")
    monkeypatch.chdir(tmp_path)
    page = (cases.HERE.parents[1] / "docs" / "tensorflow-addons.md").read_text()
    names, blocks = {}, re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "docs/tensorflow-addons.md", "exec"), names)  # noqa: S102 - our own page
        assert cases.largest_difference(names["model"], folder) < 1e-5
