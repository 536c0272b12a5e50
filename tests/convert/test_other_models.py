"""Models that no conversion can follow."""

import keras
import pytest
from keras import layers

from tfnorm.convert import accelerate, fold_batch_norm, replace_norms, to_keras
from tfnorm.errors import TfnormError


class Own(keras.Model):
    def call(self, x):
        return x


class Wide(keras.Model):
    def __init__(self, width):
        inputs = keras.Input((6,))
        super().__init__(inputs, layers.Dense(width)(inputs), name="wide")


class Chain(keras.Sequential):
    def __init__(self):
        super().__init__([keras.Input((6,)), layers.Dense(2)], name="chain")


class Distilled(keras.Model):
    """Keras takes it for one that can be made again from inputs and outputs alone."""

    def __init__(self, *args, temperature=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.temperature = temperature


def distilled():
    inputs = keras.Input((6,))
    return Distilled(inputs, layers.Dense(2)(inputs), temperature=7.0, name="student")


CONVERSIONS = {
    "accelerate": accelerate,
    "fold_batch_norm": fold_batch_norm,
    "replace_norms": lambda model: replace_norms(model, "gn:8"),
    "to_keras": to_keras,
}


@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_other_models_are_refused(conversion):
    models = {"Own 'mine'": Own(name="mine"), "Wide 'wide'": Wide(3), "Chain 'chain'": Chain()}
    models["Distilled 'student'"] = distilled()
    for words, model in models.items():
        with pytest.raises(TfnormError) as caught:
            CONVERSIONS[conversion](model)
        assert str(caught.value) == (
            f"Only functional and sequential models can be converted. Received: {words}. "
            "Build it with keras.Input and keras.Model(inputs, outputs)."
        )


@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_what_is_no_model_is_refused(conversion):
    for given, sentence in (
        ("net.keras", "A model is needed. Received: 'net.keras'. Open a file with keras.models.load_model."),
        (
            None,
            "Only functional and sequential models can be converted. Received: NoneType. "
            "Build it with keras.Input and keras.Model(inputs, outputs).",
        ),
    ):
        with pytest.raises(TfnormError) as caught:
            CONVERSIONS[conversion](given)
        assert str(caught.value) == sentence
