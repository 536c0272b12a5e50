"""Models with one flaw for each rule of `tfnorm.check`, and the same models without it."""

import keras
import numpy as np
from keras import layers

from tfnorm import layers as ours

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 8, 8, 3)).astype("float32")
Y = np.arange(48) % 4
PIXELS = RNG.integers(0, 256, (48, 8, 8, 3)).astype("float32")


def net(
    *middle, before=(), end=(), classes=4, bias=False, width=16, activation=None, kernel=None, dtype=None, pool=True
):
    """Return before, a convolution, middle, global pooling, a dense layer, end."""
    head = [layers.GlobalAveragePooling2D(name="pool"), layers.Dense(classes, activation=activation, name="logits")]
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            *before,
            layers.Conv2D(width, 3, use_bias=bias, kernel_regularizer=kernel, name="conv", dtype=dtype),
            *middle,
            *(head if pool else [layers.Flatten(), head[1]]),
            *end,
        ]
    )


def bn(**options):
    return layers.BatchNormalization(**{"name": "norm", **options})


def relu():
    return layers.ReLU()


def frozen(model, *names):
    for name in names:
        model.get_layer(name).trainable = False
    return model


def weights_frozen():
    model = net(bn(), relu())
    for weight in (model.get_layer("norm").gamma, model.get_layer("norm").beta):
        weight.trainable = False
    return model


def compiled(model, loss=None, optimizer="sgd"):
    model.compile(optimizer, loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def two_norms(first, second):
    return net(first, relu(), layers.Conv2D(16, 3, use_bias=False), second, relu())


def stale(mean=0.0, variance=9.0):
    model = net(bn(), relu())
    norm = model.get_layer("norm")
    norm.moving_mean.assign(np.full(16, mean))
    norm.moving_variance.assign(np.full(16, variance))
    return model


def recalibrated():
    from tfnorm.convert.recalibrate import recalibrate_batch_norms

    model = stale()
    recalibrate_batch_norms(model, [X])
    return model


def small_gammas(value):
    model = net(bn(), relu())
    model.get_layer("norm").gamma.assign([value] * 4 + [1.0] * 12)
    return model


def dead(bias):
    model = net(relu(), bias=True)
    model.get_layer("conv").bias.assign(np.full(16, bias))
    return model


L2 = keras.regularizers.L2(1e-4)
PENALTIES = {"gamma_regularizer": L2, "beta_regularizer": L2}
# By rule: a model with the flaw and one without, each with the other arguments of `check`.
FLAWS = {
    "norm-before-pooling": (
        lambda: net(relu(), ours.InstanceNormalization()),
        lambda: net(ours.InstanceNormalization(), relu()),
    ),
    "constant-norm": (
        lambda: net(relu(), layers.GlobalMaxPooling2D(keepdims=True), layers.GroupNormalization(-1), relu()),
        lambda: net(relu(), layers.GlobalMaxPooling2D(keepdims=True), layers.GroupNormalization(4), relu()),
    ),
    "one-channel-groups": (
        lambda: net(layers.GroupNormalization(16), relu()),
        lambda: net(layers.GroupNormalization(8), relu()),
    ),
    "layer-norm-axis": (
        lambda: net(layers.LayerNormalization(epsilon=1e-5), relu()),
        lambda: net(layers.LayerNormalization(epsilon=1e-6), relu()),
    ),
    "layer-norm-size": (
        lambda: net(layers.LayerNormalization(axis=(1, 2, 3)), relu()),
        lambda: net(layers.LayerNormalization(), relu()),
    ),
    "bias-before-norm": (lambda: net(bn(), relu(), bias=True), lambda: net(relu(), bn(), bias=True)),
    "missing-norm": (
        lambda: net(bn(), relu(), layers.Conv2D(8, 3, use_bias=False), relu(), layers.Conv2D(8, 1), bn(name="b")),
        lambda: net(bn(), relu(), layers.Conv2D(8, 3), relu(), layers.Conv2D(8, 1), bn(name="b")),
    ),
    "norm-after-norm": (
        lambda: net(bn(), layers.LayerNormalization(), relu()),
        lambda: net(bn(), relu(), layers.LayerNormalization()),
    ),
    "norm-on-outputs": (
        lambda: net(relu(), end=[layers.Softmax(), bn()]),
        lambda: net(relu(), end=[layers.LayerNormalization()]),
    ),
    "dropout-before-norm": (
        lambda: net(layers.Dropout(0.5), bn(), relu()),
        lambda: net(layers.Dropout(0.0), bn(), relu(), layers.Dropout(0.5)),
    ),
    "penalty-on-norms": (lambda: net(bn(**PENALTIES), relu()), lambda: net(bn(), relu(), kernel=L2)),
    "l2-with-adam": (
        lambda: compiled(net(relu(), kernel=L2), optimizer="adam"),
        lambda: compiled(net(relu(), kernel=L2), optimizer="sgd"),
    ),
    "l2-scale-free": (lambda: net(bn(), relu(), kernel=L2), lambda: net(relu(), bn(), kernel=L2)),
    "penalty-dominates": (
        lambda: (net(bn(), relu(), kernel=keras.regularizers.L1(0.0995)), X, Y),
        lambda: (net(bn(), relu(), kernel=keras.regularizers.L1(1e-5)), X, Y),
    ),
    "mixed-constants": (lambda: two_norms(bn(epsilon=1e-5), bn(name="b")), lambda: two_norms(bn(), bn(name="b"))),
    "slow-statistics": (lambda: (net(bn(), relu()), {"steps": 100}), lambda: (net(bn(), relu()), {"steps": 500})),
    "small-batch": (lambda: (net(bn(), relu()), {"batch_size": 2}), lambda: (net(bn(), relu()), {"batch_size": 8})),
    "float16-epsilon": (
        lambda: net(bn(epsilon=1e-8, dtype="mixed_float16"), relu()),
        lambda: net(bn(epsilon=1e-8, dtype="mixed_bfloat16"), relu()),
    ),
    "norm-in-frozen-part": (
        lambda: frozen(net(bn(), relu()), "conv"),
        lambda: frozen(net(bn(), relu()), "conv", "norm"),
    ),
    "frozen-norm-updates": (weights_frozen, lambda: frozen(net(bn(), relu()), "norm")),
    "two-scalings": (
        lambda: net(relu(), before=[layers.Rescaling(1 / 255), layers.Rescaling(1 / 255)]),
        lambda: net(relu(), before=[layers.Rescaling(1 / 255)]),
    ),
    "input-scale": (
        lambda: (net(relu(), before=[layers.Rescaling(1 / 255)]), PIXELS / 255),
        lambda: (net(relu(), before=[layers.Rescaling(1 / 255)]), PIXELS),
    ),
    "loss-mismatch": (lambda: compiled(net(relu(), activation="softmax")), lambda: compiled(net(relu()))),
    "labels": (lambda: (compiled(net(relu())), X, Y + 1), lambda: (compiled(net(relu())), X, Y)),
    "batch-norm-gap": (lambda: (stale(mean=5.0), X), lambda: (recalibrated(), X)),
    "small-gammas": (lambda: small_gammas(1e-5), lambda: small_gammas(0.5)),
    "dead-units": (lambda: (dead(-100.0), X), lambda: (dead(0.0), X)),
    "float16-overflow": (
        lambda: (net(relu()), X * 1e6),
        lambda: (net(relu()), X),
    ),
}


def flawed(rule, which=0):
    """Return the arguments of `check` for the model of a rule with the flaw, or with 1 for that without it."""
    keras.utils.set_random_seed(0)
    made = FLAWS[rule][which]()
    made = made if isinstance(made, tuple) else (made,)
    options = made[-1] if isinstance(made[-1], dict) else {}
    return made[: len(made) - bool(options)], options
