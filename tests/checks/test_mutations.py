"""Sound models that are broken at random: each kind of break names the rule that must find it."""

import functools

import keras
import numpy as np
import own_networks
import pytest
from keras import layers

import tfnorm
from tfnorm import check
from tfnorm import layers as ours
from tfnorm.convert.clone import Chain, clone_with, config_of, remake
from tfnorm.convert.graph import Network

LEAST = 0.95
KERNELS = (layers.Conv2D, layers.Dense)


def rebuilt(model, change):
    """Return a copy of a model with what ``change`` makes of layers, which gives None for those that stay."""
    return clone_with(model, lambda layer: change(layer) or remake(layer))[0]


def at(model, chosen, make):
    """Return a copy with another layer in the place of one, with its weights where it has as many."""
    return rebuilt(model, lambda layer: Chain((make(layer),)) if layer is chosen else None)


def chain(model, chosen, *after, before=()):
    """Return a copy with more layers before and after one."""

    def change(layer):
        twin = remake(layer)
        return Chain((*before, twin, *after), twin=twin)

    return rebuilt(model, lambda layer: change(layer) if layer is chosen else None)


def of_kind(model, *kinds):
    return [layer for layer in Network(model).layers if isinstance(layer, kinds)]


def norms(model):
    return of_kind(model, layers.BatchNormalization)


def with_norm(model):
    """Return pairs of a convolution and the batch norm that alone reads it."""
    pairs = []
    for norm in norms(model):
        graph, node = Network(model).calls(norm)[0]
        maker = graph.maker(node.input_tensors[0])
        if maker is not None and isinstance(maker.operation, KERNELS) and len(graph.readers(maker.outputs[0])) == 1:
            pairs.append((maker.operation, norm))
    return pairs


def changed(layer, **settings):
    return remake(layer, config=config_of(layer) | settings)


def drop_norm(model, rng):
    before = [norm for _, norm in with_norm(model) if _then_relu(model, norm)]
    norm = before[rng.integers(len(before))]
    convolutions = {id(layer): layer for layer, each in with_norm(model) if each is norm}

    def change(layer):
        if id(layer) in convolutions:
            return Chain((changed(layer, use_bias=False),))
        return Chain(()) if layer is norm else None

    return rebuilt(model, change)


def _then_relu(model, norm):
    graph, node = Network(model).calls(norm)[0]
    readers = graph.readers(node.outputs[0])
    return bool(readers) and all("relu" in type(reader.operation).__name__.lower() for reader in readers)


def add_bias(model, rng):
    pairs = with_norm(model)
    return at(model, pairs[rng.integers(len(pairs))][0], lambda layer: changed(layer, use_bias=True))


def one(model, rng, make):
    found = norms(model)
    return at(model, found[rng.integers(len(found))], make)


def groups_of_one(model, rng):
    return one(model, rng, lambda norm: layers.GroupNormalization(norm.gamma.shape[0], name=norm.name))


def pixel_weights(model, rng):
    return one(model, rng, lambda norm: layers.LayerNormalization(axis=(1, 2, 3), name=norm.name))


def default_axis(model, rng):
    kinds = layers.BatchNormalization
    return rebuilt(
        model,
        lambda layer: (
            Chain((layers.LayerNormalization(epsilon=1e-5, name=layer.name),)) if isinstance(layer, kinds) else None
        ),
    )


def momentum(model, rng):
    return one(model, rng, lambda norm: changed(norm, momentum=0.5))


def epsilon(model, rng):
    return one(model, rng, lambda norm: changed(norm, epsilon=1e-7))


def norm_twice(model, rng):
    found = norms(model)
    return chain(model, found[rng.integers(len(found))], layers.GroupNormalization(1, name="second"))


def dropout(model, rng):
    found = norms(model)
    return chain(model, found[rng.integers(len(found))], before=[layers.Dropout(0.3, name="dropped")])


def l2_on_gamma(model, rng):
    return one(model, rng, lambda norm: changed(norm, gamma_regularizer="l2"))


def l2_on_kernel(model, rng):
    pairs = with_norm(model)
    return at(model, pairs[rng.integers(len(pairs))][0], lambda layer: changed(layer, kernel_regularizer="l2"))


def freeze_half(model, rng):
    broken = rebuilt(model, lambda layer: None)
    kernels = of_kind(broken, *KERNELS)
    for layer in kernels[: max(len(kernels) // 2, 1)]:
        layer.trainable = False
    return broken


def of_pool(model, *after, before=()):
    (pool,) = of_kind(model, layers.GlobalAveragePooling2D)
    return chain(model, pool, *after, before=before)


def instance_before_pooling(model, rng):
    return of_pool(model, before=[ours.InstanceNormalization(name="instance")])


def instance_after_pooling(model, rng):
    return of_pool(model, layers.GroupNormalization(-1, name="instance"))


def on_logits(model, rng):
    last = [layer for layer in of_kind(model, *KERNELS)][-1]
    return chain(model, last, layers.LayerNormalization(name="on_logits"), layers.Softmax(name="softmax"))


def softmax_and_logits(model, rng):
    last = [layer for layer in of_kind(model, *KERNELS)][-1]
    broken = chain(model, last, layers.Softmax(name="softmax"))
    broken.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return broken


def scaled_twice(model, rng):
    first = next(layer for layer in Network(model).layers if not isinstance(layer, keras.Model))
    return chain(model, first, before=[layers.Rescaling(1 / 255, name="one"), layers.Rescaling(1 / 255, name="two")])


MUTATIONS = {
    drop_norm: "missing-norm",
    add_bias: "bias-before-norm",
    groups_of_one: "one-channel-groups",
    pixel_weights: "layer-norm-size",
    default_axis: "layer-norm-axis",
    momentum: "mixed-constants",
    epsilon: "mixed-constants",
    norm_twice: "norm-after-norm",
    dropout: "dropout-before-norm",
    l2_on_gamma: "penalty-on-norms",
    l2_on_kernel: "l2-scale-free",
    freeze_half: "norm-in-frozen-part",
    instance_before_pooling: "norm-before-pooling",
    instance_after_pooling: "constant-norm",
    on_logits: "norm-on-outputs",
    softmax_and_logits: "loss-mismatch",
    scaled_twice: "two-scalings",
}


def sound():
    """Return a small network of convolutions, norms and ReLUs, without anything to say of."""
    inputs = keras.Input((16, 16, 3))
    x = inputs
    for number, filters in enumerate((8, 12, 16)):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"norm{number}")(x))
    return keras.Model(inputs, layers.Dense(10, name="logits")(layers.GlobalAveragePooling2D()(x)))


def residual():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for stride in (1, 2):
        y = layers.Conv2D(16, 3, stride, padding="same", use_bias=False)(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same", use_bias=False)(y))
        x = layers.BatchNormalization()(layers.Conv2D(16, 1, stride, use_bias=False)(x))
        x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def nested():
    inputs = keras.Input((16, 16, 3))
    x = residual_body(inputs)
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def residual_body(inputs):
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    body = keras.Model(image, x, name="body")
    x = layers.Conv2D(8, 3, use_bias=False)(body(inputs))
    return layers.ReLU()(layers.BatchNormalization()(x))


def mobile():
    return keras.applications.MobileNet(
        weights=None, input_shape=(64, 64, 3), alpha=0.25, classes=10, classifier_activation=None
    )


def resnet20():
    return tfnorm.build("resnet20", norm="bn", seed=0, compile=False)


BASES = (sound, residual, nested, own_networks.residual, resnet20, mobile)


@functools.cache
def base(make):
    keras.utils.set_random_seed(0)
    return make()


def fires(mutation, make, seed):
    broken = mutation(base(make), np.random.default_rng(seed))
    return any(finding.rule == MUTATIONS[mutation] for finding in check(broken))


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_model_is_found(mutation):
    rules = {finding.rule for finding in check(base(sound))}
    assert MUTATIONS[mutation] not in rules and fires(mutation, sound, 1)


@pytest.mark.matrix
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_nearly_all_broken_models_are_found(mutation):
    found, total = 0, 0
    for make in BASES:
        before = {finding.rule for finding in check(base(make))}
        for seed in range(4):
            try:
                broken = mutation(base(make), np.random.default_rng(seed))
            except (ValueError, IndexError):
                continue  # this model has no place for it
            after = [finding for finding in check(broken) if finding.rule == MUTATIONS[mutation]]
            known = [finding for finding in check(base(make)) if finding.rule == MUTATIONS[mutation]]
            found += [set(each.layers) for each in after] != [set(each.layers) for each in known]
            total += 1
            assert after or MUTATIONS[mutation] not in before
    assert total >= 8 and found >= LEAST * total, f"{found} of {total}"


@pytest.mark.parametrize("make", [sound, *(pytest.param(each, marks=pytest.mark.matrix) for each in BASES[1:])])
def test_sound_models_have_no_warnings(make):
    findings = check(base(make))
    assert findings.warnings == [] and findings.left_out == ()
