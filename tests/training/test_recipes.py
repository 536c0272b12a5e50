import math
from typing import get_args

import keras
import numpy as np
import pytest
from facts import says

import tfnorm
from tfnorm.errors import TfnormError
from tfnorm.training.config import TrainConfig, checked
from tfnorm.training.recipe.recipes import RECIPES, Initializer, Recipe


def rates(recipe, steps_per_epoch=10, epochs=10):
    schedule = recipe.make_schedule(steps_per_epoch, epochs)
    return np.array([float(schedule(step)) for step in range(steps_per_epoch * epochs)])


def test_one_cycle_rises_to_the_peak_and_falls_to_nothing():
    values = rates(Recipe(name="x", learning_rate=0.5, schedule="one_cycle", warmup=0.3, final=1e-4))
    assert values[0] == pytest.approx(0.02)
    assert values.max() == pytest.approx(0.5) and values.argmax() == 30
    assert (np.diff(values[:31]) > 0).all() and (np.diff(values[30:]) < 0).all()
    assert values[-1] < 0.002


def test_step_schedule_is_the_published_one_of_network_a():
    values = rates(RECIPES["A"], steps_per_epoch=5, epochs=6)
    expected = np.repeat([0.1, 0.01, 0.001], 10)
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_cosine_and_constant():
    assert Recipe(name="x", learning_rate=0.3).make_schedule(5, 5) == 0.3
    values = rates(Recipe(name="x", learning_rate=0.3, schedule="cosine", final=0))
    assert values[0] == pytest.approx(0.3) and values[50] == pytest.approx(0.15)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_makes_its_optimizer(name):
    recipe = RECIPES[name]
    optimizer = recipe.make_optimizer(10, recipe.epochs)
    # "own" is for a model that is compiled; one that is not gets this.
    assert type(optimizer).__name__.lower() == {"own": "sgd"}.get(recipe.optimizer, recipe.optimizer)
    if recipe.optimizer == "sgd":
        assert (optimizer.momentum, optimizer.nesterov) == (recipe.momentum, recipe.nesterov)


def test_the_rate_of_what_is_left_to_adam_is_a_share_of_muon_s():
    muon = Recipe(name="x", learning_rate=0.02, optimizer="muon", adam_ratio=0.1).make_optimizer(10, 2)
    muon.build([gamma := keras.Variable(np.ones(3, "float32"), name="gamma")])
    muon.apply([keras.ops.array([1.0, -2.0, 3.0])])
    # Adam's first step is the learning rate's size, whatever the gradient's.
    np.testing.assert_allclose(keras.ops.convert_to_numpy(gamma), [0.998, 1.002, 0.998], rtol=1e-5)


def test_recipes_refuse_what_an_optimizer_would_ignore():
    with pytest.raises(TfnormError, match="nesterov.*sgd.*adam"):
        checked(Recipe, {"name": "x", "learning_rate": 1, "optimizer": "adam", "nesterov": True})
    with pytest.raises(TfnormError, match="weight_decay.*adamw and muon"):
        checked(Recipe, {"name": "x", "learning_rate": 1, "weight_decay": 1e-4})
    with pytest.raises(TfnormError, match="adam_ratio.*muon.*sgd"):
        checked(Recipe, {"name": "x", "learning_rate": 1, "adam_ratio": 0.1})


def test_config_is_canonical_and_resolved():
    config = checked(TrainConfig, {"norm": "GN:2 + L1=0.0005", "recipe": "D"}).resolved()
    assert config.norm == "gn:2+l1=5e-4"
    assert (config.epochs, config.batch_size, config.augmentation) == (25, 128, "D")
    config = checked(TrainConfig, {"norm": "bn", "epochs": 2, "learning_rate": 0.5}).resolved()
    assert (config.epochs, config.recipe.epochs, config.recipe.learning_rate) == (2, 2, 0.5)
    assert checked(TrainConfig, config.model_dump()) == config


def test_dropout_is_the_config_s_or_the_recipe_s_or_the_architecture_s():
    recipe = {"name": "x", "learning_rate": 0.1, "dropout": 0.3}

    def rates(**settings):
        config = checked(TrainConfig, {"norm": "bn", "recipe": recipe, **settings})
        assert config.plan() == config.resolved().plan()
        return {layer.options["rate"] for layer in config.plan().layers if layer.kind == "dropout"}

    assert rates() == {0.3}
    assert rates(dropout=0.2) == {0.2}
    assert rates(dropout=0.0) == set()
    assert rates(recipe="A") == {0.05}


MINE = {"name": "mine", "learning_rate": 0.1}


@pytest.mark.parametrize("name", get_args(Initializer))
def test_every_initializer_of_a_recipe_makes_kernels(name):
    model = tfnorm.build(norm="none", kernel_initializer=name, seed=0, compile=False)
    kernels = [layer.get_weights()[0] for layer in model.layers if hasattr(layer, "kernel")]
    assert kernels and all(kernel.std() > 0 for kernel in kernels)


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        ({"norm": "bn", "epochs": 0}, ("`epochs`", "1", "0")),
        ({"norm": "bn", "epoch": 1}, ("'epoch'", "'epochs'")),
        ({"norm": "bn", "arch": "mnist_7"}, ("'mnist_7'", "'mnist_7k'")),
        (
            {"norm": "bn", "recipe": "F"},
            ("'F'", "default, own, finetune, A, B, C, D, E, A+, B+, C+, D+, E+"),
        ),
        ({"norm": "bn", "augmentation": "shft"}, ("'shft'", "'shift'")),
        ({"norm": "bn", "precision": "float8"}, ("`precision`", "'float32' or 'bfloat16'")),
        ({"norm": "bn", "learning_rate": math.inf}, ("`learning_rate`", "finite", "inf")),
        ({"norm": "bn", "recipe": MINE | {"augmentation": "shft"}}, ("'shft'",)),
        ({"norm": "bn", "recipe": MINE | {"kernel_initializer": "he"}}, ("`recipe.kernel_initializer`",)),
        ({"norm": "bn", "recipe": MINE | {"learning_rate": math.nan}}, ("`recipe.learning_rate`",)),
        ({"norm": "zn", "epochs": -1}, ("'zn'", "character 1")),
        ({"norm": "zn", "epochs": -1}, ("`epochs`", "-1")),
    ],
)
def test_bad_settings_get_sentences(values, facts):
    with pytest.raises(TfnormError) as error:
        checked(TrainConfig, values)
    says(error, *facts)
