"""What each warning of `tfnorm check` costs: small networks on digits with the flaw and without it, seed by seed.

Usage: python benchmarks/checks.py [RULE ...] [--seeds 5] [--name checks]

It writes benchmarks/results/NAME.json, and keeps the rows of rules that are not named.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parent))

import _measure
import keras
import numpy as np
from keras import layers

import tfnorm
from tfnorm.layers import InstanceNormalization

EPOCHS, BATCH = 8, 32
DIGITS = tfnorm.datasets.load("digits")
# Instance norm learns slowly here.
LONG = {"epochs": 20}
# Settings of two images a step.
PAIRS = {"batch": 2, "epochs": 1, "rate": 0.001}
# Settings of 50 steps.
FIFTY = {"epochs": 2, "data": (DIGITS.x_train[:800], DIGITS.y_train[:800])}


def net(*, norm=layers.BatchNormalization, last=None, pooled=(), end=(), scale=(1 / 255,), dropped=None, **convolution):
    """Return two convolutions with norms for 8 x 8 digits; ``last`` is what follows the second one."""

    def block(filters, after):
        dropout = [layers.Dropout(0.5)] if dropped == "before" else []
        late = [layers.Dropout(0.5)] if dropped == "after" else []
        kernel = layers.Conv2D(filters, 3, padding="same", **{"use_bias": norm is None, **convolution})
        usual = [*([] if norm is None else [norm()]), layers.ReLU()]
        return [kernel, *dropout, *(usual if after is None else after), *late]

    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            *map(layers.Rescaling, scale),
            *block(16, None),
            *block(32, last),
            layers.GlobalAveragePooling2D(keepdims=bool(pooled)),
            *([*pooled, layers.Flatten()] if pooled else []),
            layers.Dense(10, kernel_regularizer=convolution.get("kernel_regularizer")),
            *end,
        ]
    )


def quick_norm():
    """Return batch normalization whose momentum fits so few steps."""
    return layers.BatchNormalization(momentum=0.9)


def train(model, *, logits=True, batch=BATCH, epochs=EPOCHS, rate=0.01, data=None):
    """Train a model and return it."""
    x, y = (DIGITS.x_train, DIGITS.y_train) if data is None else data
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    schedule = keras.optimizers.schedules.CosineDecay(rate, epochs * -(-len(x) // batch))
    model.compile(keras.optimizers.Adam(schedule), loss)
    model.fit(x.astype("float32"), y, batch_size=batch, epochs=epochs, verbose=0)
    return model


def accuracy(model, x=DIGITS.x_test, y=DIGITS.y_test) -> float:
    """Return the share of test images that a model gets right, in percent."""
    outputs = keras.ops.convert_to_numpy(model(x.astype("float32"), training=False))
    return 100 * float(np.mean(np.argmax(outputs, axis=1) == y))


def trained(made: Callable[[], keras.Model], **settings) -> float:
    """Return the test accuracy of what is made and trained."""
    return accuracy(train(made(), **settings))


def on_scale(factor: float, **settings) -> float:
    """Return the test accuracy where pixels are multiplied before the model gets them."""
    model = train(net(norm=None, **settings), data=(DIGITS.x_train * factor, DIGITS.y_train))
    return accuracy(model, DIGITS.x_test * factor)


def labelled(share: float) -> float:
    """Return the test accuracy where the labels of training were multiplied by a number."""
    return trained(lambda: net(norm=quick_norm), data=(DIGITS.x_train, DIGITS.y_train * share))


def few_steps(fixed: bool) -> float:
    """Return the test accuracy after 50 steps with momentum 0.99, before or after `Findings.fix`."""
    model = train(net(), **FIFTY)
    if fixed:
        findings = tfnorm.check(model, DIGITS.x_train, DIGITS.y_train)
        model = findings.fix() if findings.warnings else model
    return accuracy(model)


def tuned(frozen_norms: bool) -> float:
    """Return the accuracy of a trained network with a new head for even and odd digits, its convolutions frozen."""
    model = train(usual())
    for layer in model.layers:
        layer.trainable = not frozen_norms and isinstance(layer, layers.BatchNormalization)
    features = model.layers[-2].output
    new = keras.Model(model.inputs[0], layers.Dense(2)(features))
    train(new, data=(DIGITS.x_train[:200], DIGITS.y_train[:200] % 2), batch=2, epochs=2)
    return accuracy(new, DIGITS.x_test, DIGITS.y_test % 2)


def penalized(factor: float) -> float:
    """Return the test accuracy with L1 on all kernels."""
    return trained(lambda: net(norm=quick_norm, kernel_regularizer=keras.regularizers.L1(factor)))


def in_float16(scale: float) -> float:
    """Return the test accuracy in float16 where the first numbers are so large."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return trained(lambda: net(norm=None, scale=(scale,)))
    finally:
        keras.config.set_dtype_policy("float32")


def dead(bias: float) -> float:
    """Return the test accuracy where biases begin so low."""
    return trained(lambda: net(norm=None, bias_initializer=keras.initializers.Constant(bias)))


def spatial():
    """Return instance normalization."""
    return InstanceNormalization()


class Experiment(NamedTuple):
    """What a flaw of a rule costs.

    Args:
        rule: The rule.
        flaw: What is wrong.
        flawed: The run with it.
        remedy: What mends it.
        mended: The run with that.
    """

    rule: str
    flaw: str
    flawed: Callable[[], float]
    remedy: str
    mended: Callable[[], float]


def pooled():
    """Return a network that pools what instance norm has centered."""
    return net(norm=spatial, last=[spatial()])


def one_pixel():
    """Return a network with instance norm after its pooling."""
    return net(norm=quick_norm, pooled=[spatial()])


def usual(**settings):
    """Return the network without a flaw."""
    return net(norm=quick_norm, **settings)


def bare_norm():
    """Return layer normalization without weights."""
    return layers.LayerNormalization(center=False, scale=False)


def softmax():
    """Return softmax."""
    return layers.Softmax()


def groups():
    """Return group normalization."""
    return layers.GroupNormalization(8)


def run(made, **settings):
    """Return a call that trains what is made, and tests it."""
    return lambda: trained(made, **settings)


#: Runs that several rows share.
SOUND = run(usual)
PLAIN = functools.partial(on_scale, 1.0)


def fixed(made, **settings):
    """Return a call of the same with what `Findings.fix` makes of it."""
    return run(lambda: tfnorm.check(made()).fix(), **settings)


EXPERIMENTS = [
    Experiment(
        "norm-before-pooling", "instance norm right before global average pooling", run(pooled, **LONG),
        "`fix()`: gn:1 there", fixed(pooled, **LONG),
    ),
    Experiment(
        "constant-norm", "instance norm of one pixel, after the pooling", run(one_pixel),
        "`fix()`: gn:1 there", fixed(one_pixel),
    ),
    Experiment(
        "norm-on-outputs", "batch norm after softmax",
        run(lambda: usual(end=[softmax(), quick_norm()]), logits=False),
        "softmax alone", run(lambda: usual(end=[softmax()]), logits=False),
    ),
    Experiment(
        "norm-on-outputs", "layer norm on logits", run(lambda: usual(end=[bare_norm()])), "logits alone", SOUND
    ),
    Experiment(
        "norm-after-norm", "layer norm right after batch norm",
        run(lambda: usual(last=[quick_norm(), layers.LayerNormalization(), layers.ReLU()])),
        "batch norm alone", SOUND,
    ),
    Experiment(
        "dropout-before-norm", "dropout 0.5 right before each batch norm", run(lambda: usual(dropped="before")),
        "dropout 0.5 after the ReLU", run(lambda: usual(dropped="after")),
    ),
    Experiment("penalty-dominates", "L1 of 0.0995", lambda: penalized(0.0995), "L1 of 1e-4", lambda: penalized(1e-4)),
    Experiment(
        "slow-statistics", "50 steps with momentum 0.99", run(net, **FIFTY), "momentum 0.9", run(usual, **FIFTY)
    ),
    Experiment(
        "norm-in-frozen-part", "batch norms train behind frozen convolutions, 2 images a step", lambda: tuned(False),
        "batch norms frozen, too", lambda: tuned(True),
    ),
    Experiment(
        "two-scalings", "two layers Rescaling(1/255)", lambda: on_scale(1.0, scale=(1 / 255, 1 / 255)),
        "one", PLAIN,
    ),
    Experiment(
        "input-scale", "pixels divided by 255 before the model does it", lambda: on_scale(1 / 255),
        "pixels from 0 to 255", PLAIN,
    ),
    Experiment(
        "input-scale", "pixels from 0 to 255, no scaling", lambda: on_scale(1.0, scale=()),
        "Rescaling(1/255)", PLAIN,
    ),
    Experiment(
        "loss-mismatch", "softmax, and a loss of logits", run(lambda: usual(end=[softmax()])),
        "a loss of probabilities", run(lambda: usual(end=[softmax()]), logits=False),
    ),
    Experiment(
        "loss-mismatch", "logits, and a loss of probabilities", run(usual, logits=False), "a loss of logits", SOUND
    ),
    Experiment(
        "labels", "labels divided by 255, as the pixels were", lambda: labelled(1 / 255),
        "numbers of classes", SOUND,
    ),
    Experiment(
        "batch-norm-gap", "50 steps with momentum 0.99", lambda: few_steps(False),
        "`fix()`: recalibrated", lambda: few_steps(True),
    ),
    Experiment(
        "dead-units", "ReLUs that give 0 for all images: biases of -5", lambda: dead(-5.0),
        "biases of 0", PLAIN,
    ),
    Experiment(
        "float16-overflow", "float16, pixels up to 65,000", lambda: in_float16(255.0),
        "pixels up to 1", lambda: in_float16(1 / 255),
    ),
    Experiment(
        "small-batch", "batch norm with 2 images a step", run(usual, **PAIRS),
        "gn:8", run(lambda: net(norm=groups), **PAIRS),
    ),
]  # fmt: skip


@functools.cache
def reached(call: Callable[[], float], seed: int) -> float:
    """Return the accuracy of a run with a seed."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    return round(call(), 2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is asked for, and write the file after each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rules", nargs="*")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--name", default="checks")
    chosen = parser.parse_args(arguments)
    _measure.at_least(parser, chosen, "seeds", 2)
    path = _measure.RESULTS / f"{chosen.name}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    for each in EXPERIMENTS:
        if chosen.rules and each.rule not in chosen.rules:
            continue
        values: dict[str, list[float]] = {"flawed": [], "mended": []}
        for seed in range(chosen.seeds):
            for key in values:
                values[key].append(reached(getattr(each, key), seed))
        row = {"rule": each.rule, "flaw": each.flaw, "remedy": each.remedy, **values}
        print(json.dumps(row), flush=True)
        rows = [old for old in rows if (old["rule"], old["flaw"]) != (each.rule, each.flaw)] + [row]
        _measure.write(chosen.name, rows, seeds=chosen.seeds, epochs=EPOCHS, images=len(DIGITS.x_train))


if __name__ == "__main__":
    main()
