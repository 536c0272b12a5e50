"""Models of classes of one's own: functional ones are converted, those that compute something else are refused."""

import re
import warnings

import keras
import numpy as np
import pytest
from accelerating import assert_close, assert_same_variables, randomize
from facts import says
from keras import layers
from tiny import images

from tfnorm import layers as ours
from tfnorm.analysis import summary
from tfnorm.convert import accelerate, fold_batch_norm, insert_norms, replace_norms, to_keras
from tfnorm.errors import TfnormError

CONVERSIONS = {
    "accelerate": accelerate,
    "fold_batch_norm": fold_batch_norm,
    "replace_norms": lambda model: replace_norms(model, "gn:4"),
    "insert_norms": lambda model: insert_norms(model, "bn", where="*head"),
    "to_keras": to_keras,
}
EXACT = ("accelerate", "fold_batch_norm", "to_keras")


def parts(width):
    conv, norm = layers.Conv2D(width, 3, name="conv"), layers.BatchNormalization(name="bn")
    return [conv, norm, layers.ReLU(name="relu"), layers.Dense(width, name="head")]


def graph(width=8):
    x = image = keras.Input((8, 8, 3), name="image")
    for part in parts(width):
        x = part(x)
    return image, x


class Backbone(keras.Model):
    """Made from sizes, with the functional API."""

    def __init__(self, width=8, **kwargs):
        super().__init__(*graph(width), **kwargs)
        self.width = width

    def get_config(self):
        return {"width": self.width, "name": self.name}


class Chain(keras.Sequential):
    def __init__(self, width=8, **kwargs):
        super().__init__([keras.Input((8, 8, 3), name="image"), *parts(width)], **kwargs)


class Named(keras.Model):
    """Keras takes it for one that can be made again from inputs and outputs alone."""

    def __init__(self, *args, temperature=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.temperature = temperature


class Sizes(keras.Model):
    """Keras takes it for one that can be made again from inputs and outputs alone."""

    def __init__(self, *sizes, **kwargs):
        super().__init__(*graph(*sizes), **kwargs)


class Configured(Named):
    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}


def given(kind, name, **settings):
    return kind(*graph(), name=name, **settings)


MODELS = {
    "own arguments": lambda: Backbone(name="net"),
    "sequential": lambda: Chain(name="net"),
    "keyword alone": lambda: given(Named, "net", temperature=7.0),
    "other positions": lambda: Sizes(8, name="net"),
}


def heard(conversion, model):
    """Return what a conversion gives and the sentences that it warns with."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's about tensors of PyTorch
        new = conversion(model)
    assert all(warning.filename == __file__ for warning in caught)
    return new, [str(warning.message) for warning in caught]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_a_class_with_its_own_arguments(kind, conversion, seeded):
    model = randomize(MODELS[kind](), seeded)
    model.get_layer("conv").trainable = False
    new, sentences = heard(CONVERSIONS[conversion], model)
    (sentence,) = sentences
    assert f"'net' ({type(model).__name__})" in sentence and "class" in sentence
    assert type(new) is (keras.Sequential if kind == "sequential" else type(keras.Model(model.inputs, model.outputs)))
    assert new.name == "net" and not new.get_layer("conv").trainable
    assert new.get_layer("conv").kernel.path == model.get_layer("conv").kernel.path
    x = images(seeded, 2, 8, 8, 3)
    if conversion in EXACT:
        assert_close(new(x), model(x))
    names = [type(layer).__module__.split(".")[0] for layer in new.layers if "Norm" in type(layer).__name__]
    expected = {"fold_batch_norm": [], "to_keras": ["keras"], "insert_norms": ["keras", "tfnorm"]}
    assert names == expected.get(conversion, ["tfnorm"])


@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_nested_and_shared(conversion, seeded):
    backbone = Backbone(name="backbone")
    image = keras.Input((8, 8, 3))
    middle = keras.Model(image, backbone(image), name="middle")
    first, second = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    model = randomize(keras.Model([first, second], layers.Add()([middle(first), backbone(second)])), seeded)
    new, sentences = heard(CONVERSIONS[conversion], model)
    assert len(sentences) == 1 and "'backbone' (Backbone)" in sentences[0]
    assert new.get_layer("backbone") is new.get_layer("middle").get_layer("backbone")
    x = [images(seeded, 2, 8, 8, 3) for _ in range(2)]
    if conversion in EXACT:
        assert_close(new(x), model(x))
    if conversion == "accelerate":
        assert type(new.get_layer("backbone").get_layer("bn")) is ours.BatchNormalization
        assert [w.path for w in new.weights] == [w.path for w in model.weights]
    if conversion == "fold_batch_norm":
        assert not [v.path for v in new.variables if "/bn/" in v.path]


def test_every_frame(seeded):
    clip = keras.Input((3, 8, 8, 3))
    model = randomize(keras.Model(clip, layers.TimeDistributed(Backbone())(clip)), seeded)
    new, sentences = heard(accelerate, model)
    assert len(sentences) == 1 and "(Backbone)" in sentences[0]
    x = images(seeded, 2, 3, 8, 8, 3)
    assert_close(new(x), model(x))
    assert type(new.layers[-1].layer.get_layer("bn")) is ours.BatchNormalization


def test_summary():
    assert summary(Backbone())["bn"].receptive_field == (3, 3)


def test_a_compiled_model_goes_on(seeded, not_compiled):
    class Task(Backbone):
        def compile(self, optimizer="auto", **settings):
            settings.setdefault("loss", "mse")
            super().compile("adam" if optimizer == "auto" else optimizer, **settings)

    model = randomize(Task(), seeded)
    model.compile(metrics=["mae"])
    x, y = images(seeded, 4, 8, 8, 3), images(seeded, 4, 6, 6, 8)
    model.train_on_batch(x, y)
    new, sentences = heard(accelerate, model)
    assert "(Task)" in sentences[0] and "compile" in sentences[0]
    assert_same_variables(new.optimizer.variables, model.optimizer.variables)
    model.reset_metrics()  # not every Keras does
    np.testing.assert_allclose(new.train_on_batch(x, y), model.train_on_batch(x, y), rtol=1e-4)


def test_methods_that_are_lost_are_named():
    class Trained(Backbone):
        def train_step(self, data):
            return {"loss": 7.0}

        def fit(self, *args, **kwargs):
            return super().fit(*args, **kwargs)

    _, (sentence,) = heard(accelerate, Trained())
    assert "fit, train_step" in sentence


def test_weights_that_are_lost_are_named(seeded):
    class Weighted(Backbone):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.noise = self.add_weight(name="noise")

    _, sentences = heard(accelerate, Weighted(name="net"))
    assert len(sentences) == 2 and "weights" in sentences[1] and "'net' (Weighted)" in sentences[1]
    plain = given(keras.Model, "plain")
    plain.noise = keras.Variable(1.0)
    _, (sentence,) = heard(accelerate, plain)
    assert "weights" in sentence and "'plain'" in sentence


def test_a_class_that_can_be_made_again_is_kept(seeded):
    class Weighted(keras.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.noise = self.add_weight(name="noise")

    model = given(Configured, "student", temperature=7.0)
    new, sentences = heard(accelerate, model)
    assert sentences == [] and type(new) is Configured and new.temperature == 7.0
    model = given(Weighted, "weighted")
    model.noise.assign(3.0)
    new, sentences = heard(accelerate, model)
    assert sentences == [] and type(new) is Weighted and float(new.noise) == 3.0 and new.noise is not model.noise


# What is refused.


class Own(keras.Model):
    def call(self, x):
        return x


class Doubled(Backbone):
    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class DoubledChain(keras.Sequential):
    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


class DoubledOutside(Backbone):
    def __call__(self, *args, **kwargs):
        return 2 * super().__call__(*args, **kwargs)

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_a_call_of_ones_own_is_refused(conversion):
    chain = DoubledChain([keras.Input((8, 8, 3)), layers.Dense(8, name="head")], name="chain")
    for model in (Doubled(name="net"), DoubledOutside(name="net"), chain):
        with pytest.raises(TfnormError) as caught:
            CONVERSIONS[conversion](model)
        for words in (type(model).__name__, repr(model.name), "`call`", "keras.Model(model.inputs, model.outputs)"):
            assert words in str(caught.value)


@pytest.mark.parametrize("kind", [Doubled, DoubledOutside])
@pytest.mark.parametrize("conversion", EXACT)
def test_a_call_of_ones_own_inside_a_model_stays(conversion, kind, seeded):
    image = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="last")(layers.Dense(4, name="outer")(kind(name="net")(image)))
    model = randomize(keras.Model(image, x), seeded)
    new, sentences = heard(CONVERSIONS[conversion], model)
    assert sentences == [] and type(new.get_layer("net")) is kind
    assert type(new.get_layer("net").get_layer("bn")) is layers.BatchNormalization
    x = images(seeded, 2, 8, 8, 3)
    assert_close(new(x), model(x))


def test_a_norm_inside_a_call_of_ones_own_is_named():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, Doubled(name="net")(image), name="outer")
    with pytest.raises(TfnormError, match=r"net/bn.*'net' \(Doubled\)"):
        replace_norms(model, "gn:4")
    for conversion in (accelerate, fold_batch_norm):
        _, (sentence,) = heard(conversion, model)
        says(sentence, conversion.__name__, "net/bn", "'net' (Doubled)")


@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_other_models_are_refused(conversion):
    class Either(keras.Model):
        pass

    class Sibling(Either):
        def call(self, x):
            return x

    models = [Own(name="mine"), Sibling(name="mine")]
    given(Either, "functional")  # which makes Keras's class of functional models a base of both
    for model in models:
        with pytest.raises(TfnormError) as caught:
            CONVERSIONS[conversion](model)
        says(caught, f"{type(model).__name__} 'mine'", "keras.Input", "keras.Model(inputs, outputs)")


@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_what_is_no_model_is_refused(conversion):
    for given, facts in (
        ("net.keras", ("'net.keras'", "keras.models.load_model")),
        (
            None,
            ("NoneType", "keras.Input", "keras.Model(inputs, outputs)"),
        ),
    ):
        with pytest.raises(TfnormError) as caught:
            CONVERSIONS[conversion](given)
        says(caught, *facts)


# What changes nothing says why.


def stack(*parts):
    return keras.Sequential([keras.Input((8, 8, 4)), *parts], name="net")


class OwnNorm(layers.BatchNormalization):
    pass


UNCHANGED = {
    "no norms": (accelerate, lambda: stack(layers.Dense(2)), "the model 'net' has no norm"),
    "ours": (accelerate, lambda: stack(ours.BatchNormalization(name="bn")), "bn.*tfnorm already"),
    "a class": (accelerate, lambda: stack(OwnNorm(name="bn")), "bn.*a class of its own"),
    "settings": (accelerate, lambda: stack(layers.BatchNormalization(name="bn", epsilon=0.0)), "bn.*settings"),
    "nothing to fold": (fold_batch_norm, lambda: stack(layers.Dense(2)), "the model 'net' has no batch norm"),
    "not foldable": (
        fold_batch_norm,
        lambda: stack(*(part for _ in range(9) for part in (layers.ReLU(), layers.BatchNormalization()))),
        r"after 're_lu\w*' \(ReLU\) \(and 8 more like it\)",
    ),
}


@pytest.mark.parametrize("case", UNCHANGED)
def test_what_changes_nothing_says_why(case):
    conversion, make, why = UNCHANGED[case]
    model = make()
    new, (sentence,) = heard(conversion, model)
    assert new is not model
    says(sentence, conversion.__name__)
    assert re.search(why, sentence, re.IGNORECASE)


def test_the_report_of_accelerate():
    image = keras.Input((8, 8, 3))
    x = layers.TimeDistributed(layers.LayerNormalization(name="ln"), name="rows")(Backbone(name="backbone")(image))
    x = Doubled(name="net")(layers.Conv2DTranspose(3, 3, name="up")(x))
    x = layers.BatchNormalization(name="odd", epsilon=0.0)(x)
    model = keras.Model(image, x)
    new, report = accelerate(model, return_report=True)
    assert [(change.layer, change.after) for change in report.changes] == [
        ("backbone/bn", "BatchNormalization"),
        ("backbone/relu", "ReLU"),
        ("rows/ln", "LayerNormalization"),
    ]
    assert [change.layer for change in report.kept] == ["net/bn", "odd"]
    says(report.kept[0].note, "inside", "'net' (Doubled)")
    says(report.kept[1].note, "settings")
    assert type(new.get_layer("rows").layer) is ours.LayerNormalization


def test_what_changes_something_says_nothing():
    for conversion in (accelerate, fold_batch_norm):
        assert heard(conversion, stack(layers.Dense(2), layers.BatchNormalization()))[1] == []
