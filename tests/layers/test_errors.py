"""What layers refuse, sentence by sentence."""

import keras
import pytest

from tfnorm.layers import (
    TLU,
    BatchNormalization,
    FilterResponseNormalization,
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
    RMSNormalization,
    WeightStandardizedConv2D,
)
from tfnorm.layers.create import norm_layer
from tfnorm.spec import parse

IMAGES = (None, 6, 5, 32)

WITH_EPSILON = (
    BatchNormalization,
    LayerNormalization,
    GroupNormalization,
    InstanceNormalization,
    RMSNormalization,
    FilterResponseNormalization,
    lambda epsilon: WeightStandardizedConv2D(4, 3, epsilon=epsilon),
)


@pytest.mark.parametrize("epsilon", [0, -1e-3, float("nan")])
@pytest.mark.parametrize("kind", WITH_EPSILON)
def test_epsilon(kind, epsilon):
    with pytest.raises(ValueError) as caught:
        kind(epsilon=epsilon)
    assert str(caught.value) == (
        f"`epsilon` must be positive. Received: epsilon={epsilon}. Keras uses 1e-3, PyTorch 1e-5."
    )


CONSTRUCTIONS = [
    *[
        (
            lambda groups=groups: GroupNormalization(groups),
            f"`groups` must be a positive whole number, or -1 for one channel a group. Received: groups={groups!r}.",
        )
        for groups in (0, -2, True, False, 2.0, "4")
    ],
    *[
        (
            lambda size=size: GroupNormalization(group_size=size),
            f"`group_size` must be a positive whole number. Received: group_size={size!r}.",
        )
        for size in (0, -1, 2.0, "4", True)
    ],
    (
        lambda: GroupNormalization(4, group_size=2),
        "`groups` and `group_size` exclude each other. Received: groups=4, group_size=2. Leave one out.",
    ),
    *[
        (
            lambda momentum=momentum: BatchNormalization(momentum=momentum),
            f"`momentum` must be from 0 to 1. Received: momentum={momentum}.",
        )
        for momentum in (2, -0.1, float("nan"))
    ],
    (lambda: norm_layer(parse("none")), "The spec 'none' has no norm layer."),
    (
        lambda: norm_layer(parse("bn"), convention="pytorch"),
        "Unknown convention 'pytorch'. Did you mean 'torch'? Use one of: keras, torch.",
    ),
]


@pytest.mark.parametrize(("construct", "sentence"), CONSTRUCTIONS)
def test_construction(construct, sentence):
    with pytest.raises(ValueError) as caught:
        construct()
    assert str(caught.value) == sentence


def fixed(word, layer="norm"):
    """Return the sentence for an unknown number of channels."""
    return (
        f"The layer {layer!r} keeps one weight an element of axes {word}, so their sizes must be known. "
        "Received: input shape {shape}. Give the model a fixed input shape there, or normalize over the channel axis."
    )


BUILDS = [
    (
        GroupNormalization(5, name="norm"),
        IMAGES,
        "`groups` must divide the number of channels. Received: groups=5, channels=32 at layer 'norm'. "
        "Use one of 1, 2, 4, 8, 16, 32.",
    ),
    (
        GroupNormalization(64, name="norm"),
        IMAGES,
        "`groups` must divide the number of channels. Received: groups=64, channels=32 at layer 'norm'. "
        "Use one of 1, 2, 4, 8, 16, 32.",
    ),
    (
        GroupNormalization(name="norm"),
        (None, 6, 5, 20),
        "`groups` must divide the number of channels. Received: groups=32, channels=20 at layer 'norm'. "
        "Use one of 1, 2, 4, 5, 10, 20.",
    ),
    (
        GroupNormalization(group_size=3, name="norm"),
        IMAGES,
        "`group_size` must divide the number of channels. Received: group_size=3, channels=32 at layer 'norm'. "
        "Use one of 1, 2, 4, 8, 16, 32.",
    ),
    *[
        (
            layer,
            IMAGES,
            f"`axis` must be the channel axis, not the batch axis 0. Received: axis={layer.axis}.",
        )
        for layer in (
            GroupNormalization(axis=0),
            GroupNormalization(axis=-4),
            InstanceNormalization(axis=0),
            FilterResponseNormalization(axis=0),
        )
    ],
    *[
        (
            LayerNormalization(axis=axis, name="norm"),
            IMAGES,
            f"`axis` must not hold the batch axis 0. Received: axis={shown} at layer 'norm'. "
            "Use BatchNormalization for statistics over the batch.",
        )
        for axis, shown in ((0, "0"), ((0, 1), "[0, 1]"), (-4, "-4"))
    ],
    *[
        (
            kind(axis=axis, name="norm"),
            IMAGES,
            f"`axis` must be from -4 to 3 for an input of 4 axes. Received: axis={axis} at layer 'norm'.",
        )
        for kind in (
            BatchNormalization,
            LayerNormalization,
            GroupNormalization,
            InstanceNormalization,
            RMSNormalization,
            FilterResponseNormalization,
            TLU,
        )
        for axis in (4, -5)
    ],
    (
        LayerNormalization(axis=(1, 7), name="norm"),
        IMAGES,
        "`axis` must be from -4 to 3 for an input of 4 axes. Received: axis=7 at layer 'norm'.",
    ),
    *[
        (kind(name="norm"), (None, 6, 5, None), fixed([3]).format(shape=(None, 6, 5, None)))
        for kind in (
            BatchNormalization,
            LayerNormalization,
            GroupNormalization,
            InstanceNormalization,
            RMSNormalization,
            FilterResponseNormalization,
            TLU,
        )
    ],
    *[
        (kind(axis=(1, 2, 3), name="norm"), (None, None, 5, 8), fixed([1, 2, 3]).format(shape=(None, None, 5, 8)))
        for kind in (LayerNormalization, RMSNormalization)
    ],
    (
        WeightStandardizedConv2D(4, 1, name="conv"),
        (None, 6, 5, 1),
        "Weight standardization needs at least 2 weights a filter. Received: kernel shape (1, 1, 1, 4) at layer "
        "'conv'. Use keras.layers.Conv2D there.",
    ),
    (
        WeightStandardizedConv2D(4, 1, groups=2, name="conv"),
        (None, 6, 5, 2),
        "Weight standardization needs at least 2 weights a filter. Received: kernel shape (1, 1, 1, 4) at layer "
        "'conv'. Use keras.layers.Conv2D there.",
    ),
]


@pytest.mark.parametrize("kind", [GroupNormalization, FilterResponseNormalization])
def test_several_axes_where_one_is_needed(kind):
    with pytest.raises(ValueError) as caught:
        kind(axis=[1, 2], name="norm").build((None, 6, 5, 8))
    assert str(caught.value) == "`axis` must be one integer, the channel axis. Received: axis=[1, 2] at layer 'norm'."


@pytest.mark.parametrize(("layer", "shape", "sentence"), BUILDS)
def test_build(layer, shape, sentence):
    with pytest.raises(ValueError) as caught:
        layer.build(shape)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(("layer", "shape", "sentence"), BUILDS)
def test_the_same_sentence_in_a_functional_model(layer, shape, sentence):
    fresh = type(layer).from_config(layer.get_config())
    with pytest.raises(ValueError) as caught:
        fresh(keras.Input(shape[1:]))
    assert str(caught.value).startswith(sentence)


def test_without_weights_sizes_may_be_unknown():
    layer = LayerNormalization(axis=(1, 2, 3), center=False, scale=False)
    assert layer(keras.Input((None, None, 8))).shape == (None, None, None, 8)
