"""Activity regularizers, which penalize outputs, in converted models."""

import keras
import pytest
from backends import array
from facts import says
from keras import layers
from tiny import functional, images

from tfnorm.convert import fold_batch_norm, insert_norms, replace_norms

PENALTY = keras.regularizers.L1(0.01)


def penalty(model, x):
    """Return the penalty on the outputs of the layers of a model, an image."""
    model(x)
    return float(sum(model.losses))


def penalty_of(outputs):
    """Return the penalty on the outputs of one layer, whose sum Keras divides by the batch since 3.14."""
    return penalty(layers.Identity(activity_regularizer=PENALTY), outputs)


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_inserted_norms_leave_the_penalty_on_what_goes_on(activation, seeded):
    x = images(seeded, 16, 8, 8, 3)

    def make(inputs):
        conv = layers.Conv2D(4, 3, activation=activation, activity_regularizer=PENALTY, name="conv")
        return layers.Dense(2)(layers.GlobalAveragePooling2D()(conv(inputs)))

    model = functional((8, 8, 3), make)
    new = insert_norms(model, "bn", where="conv", calibrate=x)
    assert penalty(new, x) == pytest.approx(penalty(model, x), rel=1e-4)
    assert new.get_layer("conv").activity_regularizer is None
    assert isinstance(model.get_layer("conv").activity_regularizer, keras.regularizers.L1)


def test_thresholded_units_keep_the_penalty_of_their_relu(seeded):
    def make(inputs):
        norm = layers.BatchNormalization()(layers.Conv2D(4, 3)(inputs))
        return layers.ReLU(activity_regularizer=PENALTY, name="relu")(norm)

    new = replace_norms(functional((8, 8, 3), make), "frn")
    x = images(seeded, 2, 8, 8, 3)
    outputs = array(new(x))
    assert type(new.get_layer("relu")).__name__ == "TLU"
    assert penalty(new, x) == pytest.approx(penalty_of(outputs), rel=1e-5)


def test_without_the_norm_its_penalty_is_on_what_takes_its_place(seeded):
    def make(inputs):
        x = layers.Conv2D(4, 3, name="conv")(inputs)
        return layers.ReLU()(layers.BatchNormalization(activity_regularizer=PENALTY, name="norm")(x))

    new = replace_norms(functional((8, 8, 3), make), "none")
    x = images(seeded, 2, 8, 8, 3)
    before = array(new.get_layer("conv")(x))
    assert penalty(new, x) == pytest.approx(penalty_of(before), rel=1e-5)


def of_the_convolution(inputs):
    x = layers.Conv2D(4, 3, activity_regularizer=PENALTY, name="conv")(inputs)
    return layers.BatchNormalization(name="norm")(x)


def of_the_norm(inputs):
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    return layers.BatchNormalization(activity_regularizer=PENALTY, name="norm")(x)


def in_between(inputs):
    x = layers.ActivityRegularization(0.01, name="between")(layers.Conv2D(4, 3, name="conv")(inputs))
    return layers.ReLU()(layers.BatchNormalization(name="norm")(x))


def after_it(inputs):
    x = layers.BatchNormalization(name="norm")(layers.ReLU(name="relu")(inputs))
    return layers.Dense(2)(layers.ActivityRegularization(0.01)(x))


def after_pooling(inputs):
    x = layers.BatchNormalization(name="norm")(layers.ReLU(name="relu")(inputs))
    return layers.Dense(2)(layers.AveragePooling2D(2, activity_regularizer=PENALTY)(x))


@pytest.mark.parametrize(
    ("make", "facts"),
    [
        (of_the_convolution, ("outputs of 'conv'",)),
        (of_the_norm, ("outputs", "penalized")),
        (in_between, ("outputs of 'between'",)),
        (after_it, ("'relu' (ReLU)",)),
        (after_pooling, ("'relu' (ReLU)",)),
    ],
)
def test_norms_with_penalized_outputs_beside_them_are_not_folded(make, facts, seeded):
    model = functional((8, 8, 3), make)
    model.get_layer("norm").moving_mean.assign(seeded.normal(size=model.get_layer("norm").moving_mean.shape))
    new, report = fold_batch_norm(model, return_report=True)
    (kept,) = report.kept
    says(kept.note, *facts)
    assert not report.changes
    x = images(seeded, 2, 8, 8, 3)
    assert penalty(model, x) > 0 and penalty(new, x) == pytest.approx(penalty(model, x), rel=1e-5)


def test_a_penalty_after_the_layer_that_takes_the_norm_over_is_the_same(seeded):
    def make(inputs):
        x = layers.BatchNormalization(name="norm")(layers.ReLU()(inputs))
        return layers.Dense(2, activity_regularizer=PENALTY)(x)

    model = functional((6,), make)
    model.get_layer("norm").moving_mean.assign(seeded.normal(size=6))
    new, report = fold_batch_norm(model, return_report=True)
    x = images(seeded, 2, 6)
    assert len(report.changes) == 1 and penalty(new, x) == pytest.approx(penalty(model, x), rel=1e-5)
