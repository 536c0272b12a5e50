"""A contract that every rule keeps: it finds its flaw, says where with numbers, and finds nothing without it."""

import json

import keras
import numpy as np
import pytest
from facts import says
from flawed import FLAWS, X, Y, bn, flawed, net, relu
from keras import layers

from tfnorm import check
from tfnorm import layers as ours
from tfnorm.checks import RULES
from tfnorm.checks.families.constants import LEFT, fitting_momentum
from tfnorm.checks.families.penalties import gradient
from tfnorm.errors import TfnormError


def of_rule(findings, rule):
    return [finding for finding in findings if finding.rule == rule]


def test_every_rule_has_its_flaw_here():
    assert set(FLAWS) == set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_a_flaw_is_found_and_says_what_it_is(rule):
    given, options = flawed(rule)
    before = [keras.ops.convert_to_numpy(weight) for weight in given[0].variables]
    findings = check(*given, **options)
    assert findings.left_out == ()
    (finding, *_) = of_rule(findings, rule)
    assert finding.severity in ("warning", "note") and finding.message.endswith(".") and "\n" not in finding.remedy
    assert finding.paper == RULES[rule].paper and finding.evidence
    json.dumps(findings.to_json())
    for old, weight in zip(before, given[0].variables, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(weight))
    left = check(*given, **options, ignore=[rule])
    assert not of_rule(left, rule) and len(left) < len(findings)


@pytest.mark.parametrize("rule", RULES)
def test_without_the_flaw_nothing_is_found(rule):
    given, options = flawed(rule, 1)
    findings = check(*given, **options)
    assert findings.left_out == () and not of_rule(findings, rule)


@pytest.mark.parametrize("rule", [name for name, rule in RULES.items() if rule.severity == "warning"])
def test_what_was_measured_to_cost_accuracy_is_a_warning(rule):
    given, options = flawed(rule)
    severities = {finding.severity for finding in of_rule(check(*given, **options), rule)}
    # Without labels, what float16 would do in float32, and so on, is a note.
    assert severities == {"note" if rule == "float16-overflow" else "warning"}


def test_a_norm_on_logits_is_a_note():
    (finding,) = of_rule(check(net(relu(), end=[layers.LayerNormalization(), layers.Softmax()])), "norm-on-outputs")
    assert finding.severity == "note" and finding.evidence == {"after_softmax": False, "over_batch": False}


def test_ignoring_a_layer_leaves_the_others():
    model = net(bn(), relu(), layers.Conv2D(8, 3, name="conv2"), bn(name="norm2"), relu(), bias=True)
    (finding,) = of_rule(check(model), "bias-before-norm")
    assert finding.layers == ("conv", "conv2") and finding.evidence == {"layers": 2, "parameters": 24}
    (finding,) = of_rule(check(model, ignore=["bias-before-norm:norm2"]), "bias-before-norm")
    assert finding.layers == ("conv",) and finding.evidence == {"layers": 1, "parameters": 16}
    assert not of_rule(check(model, ignore="bias-before-norm:norm*"), "bias-before-norm")
    with pytest.raises(TfnormError) as caught:
        check(model, ignore=["bias-before-nrm"])
    says(caught, "'bias-before-nrm'", "'bias-before-norm'")


@pytest.mark.parametrize(
    "between",
    [
        lambda: [layers.Conv2D(4, 1)],
        lambda: [layers.Dense(4), layers.Dropout(0.5)],
        lambda: [layers.BatchNormalization(), layers.AveragePooling2D(6)],
    ],
)
def test_pooling_after_linear_layers_of_each_pixel_keeps_beta_alone(between):
    model = net(ours.InstanceNormalization(name="norm"), *between())
    (finding,) = of_rule(check(model), "norm-before-pooling")
    assert finding.layers == ("norm",)
    keras.utils.set_random_seed(1)
    outputs = model.predict(X, verbose=0)
    np.testing.assert_allclose(outputs, outputs[:1].repeat(len(X), 0), atol=1e-4)


@pytest.mark.parametrize(
    "between",
    [lambda: [layers.ReLU()], lambda: [layers.Conv2D(4, 3)], lambda: [layers.Conv2D(4, 1, activation="relu")]],
)
def test_pooling_after_anything_else_does_not(between):
    model = net(ours.InstanceNormalization(name="norm"), *between())
    assert not of_rule(check(model), "norm-before-pooling")
    assert np.ptp(model.predict(X, verbose=0), axis=0).max() > 1e-3


def test_a_branch_that_pooling_cuts_off_is_found_only_if_nothing_else_reads_it():
    inputs = keras.Input((8, 8, 4))
    norm = ours.InstanceNormalization(name="norm")(layers.Conv2D(4, 3, padding="same")(inputs))
    pooled = layers.GlobalAveragePooling2D()(layers.Add()([inputs, norm]))
    assert of_rule(check(keras.Model(inputs, pooled)), "norm-before-pooling")
    both = layers.Concatenate()([pooled, layers.GlobalMaxPooling2D()(norm)])
    assert not of_rule(check(keras.Model(inputs, both)), "norm-before-pooling")


def test_rules_reach_into_nested_models_and_other_layers_names():
    image = keras.Input((8, 8, 3))
    inner = keras.Model(image, ours.InstanceNormalization(name="norm")(layers.Conv2D(4, 3)(image)), name="backbone")
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(inner(inputs))))
    (finding,) = check(model).warnings
    assert finding.layers == ("backbone/norm",)
    fixed = check(model, ignore=["bias-before-norm", "one-channel-groups"]).fix()
    assert not check(fixed).warnings and np.ptp(fixed.predict(X, verbose=0), axis=0).max() > 1e-3


def test_channels_first():
    inputs = keras.Input((3, 8, 8))
    x = layers.GroupNormalization(-1, axis=1, name="norm")(layers.Conv2D(4, 3, data_format="channels_first")(inputs))
    x = layers.GlobalAveragePooling2D(data_format="channels_first")(x)
    assert of_rule(check(keras.Model(inputs, x)), "norm-before-pooling")


@pytest.mark.parametrize("steps", [5, 37, 100, 499])
def test_the_momentum_of_a_fix_forgets_how_it_began(steps):
    assert fitting_momentum(steps) ** steps <= LEFT
    fixed = check(net(bn(), relu()), steps=steps, ignore="bias-before-norm").fix()
    assert fixed.get_layer("norm").momentum == fitting_momentum(steps) and not check(fixed, steps=steps).warnings


def test_the_gradient_is_that_of_the_loss_and_the_penalties():
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(1, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.5))]
    )
    kernel = np.array([[1.0], [-2.0], [0.5]], "float32")
    model.set_weights([kernel])
    x, y = np.eye(3, dtype="float32"), np.zeros((3, 1), "float32")
    np.testing.assert_allclose(gradient(model, x, y, "mse"), np.ravel(2 * kernel / 3 + kernel), rtol=1e-5)
    np.testing.assert_array_equal(model.get_weights()[0], kernel)
    assert not model.compiled


def test_labels_and_losses_that_do_not_fit():
    def loss(name, **options):
        return getattr(keras.losses, name)(**options)

    sparse, binary = (
        loss("SparseCategoricalCrossentropy", from_logits=True),
        loss("BinaryCrossentropy", from_logits=True),
    )
    cases = [
        (4, sparse, Y, ()),
        (4, sparse, Y + 1, ("1 to 4", "0 to 3", "y - 1")),
        (4, sparse, Y - 1, ("-1 to 2",)),
        (4, sparse, Y / 2, ("whole",)),
        (4, sparse, np.eye(4)[Y], ("4 numbers", "argmax")),
        (4, loss("CategoricalCrossentropy", from_logits=True), np.eye(4)[Y], ()),
        (4, loss("CategoricalCrossentropy", from_logits=True), Y, ("SparseCategoricalCrossentropy",)),
        (4, loss("CategoricalCrossentropy", from_logits=True), np.eye(5)[Y], ("5 numbers", "4 outputs")),
        (1, binary, Y % 2, ()),
        (1, binary, Y, ("0 to 3", "0 to 1")),
        (4, "mse", Y / 2.0, ()),
    ]
    for outputs, given, labels, facts in cases:
        model = net(relu(), classes=outputs)
        model.compile("sgd", given)
        found = of_rule(check(model, X, labels, ignore="penalty-dominates"), "labels")
        if facts:
            says(" ".join(map(str, found)), *facts)
        elif given != "mse":
            assert not found, (outputs, labels[:3])
