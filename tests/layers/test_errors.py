"""What layers refuse, sentence by sentence."""

import keras
import pytest
from facts import says

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
    says(caught, f"epsilon={epsilon}", "positive", "1e-3", "1e-5")


CONSTRUCTIONS = [
    *[
        (
            lambda groups=groups: GroupNormalization(groups),
            ("positive whole number", "-1", f"groups={groups!r}"),
        )
        for groups in (0, -2, True, False, 2.0, "4")
    ],
    *[
        (
            lambda size=size: GroupNormalization(group_size=size),
            ("positive whole number", f"group_size={size!r}"),
        )
        for size in (0, -1, 2.0, "4", True)
    ],
    (
        lambda: GroupNormalization(4, group_size=2),
        ("groups=4, group_size=2", "Leave one out"),
    ),
    *[
        (
            lambda momentum=momentum: BatchNormalization(momentum=momentum),
            ("from 0 to 1", f"momentum={momentum}"),
        )
        for momentum in (2, -0.1, float("nan"))
    ],
    (lambda: norm_layer(parse("none")), ("'none'", "no norm layer")),
    (
        lambda: norm_layer(parse("bn"), convention="pytorch"),
        ("'pytorch'", "'torch'", "keras, torch"),
    ),
]


@pytest.mark.parametrize(("construct", "facts"), CONSTRUCTIONS)
def test_construction(construct, facts):
    with pytest.raises(ValueError) as caught:
        construct()
    says(caught, *facts)


def fixed(word, shape, layer="norm"):
    """Return what must be said of an unknown number of channels."""
    return repr(layer), f"axes {word}", str(shape), "fixed input shape"


BUILDS = [
    (
        GroupNormalization(5, name="norm"),
        IMAGES,
        ("groups=5", "channels=32", "'norm'", "1, 2, 4, 8, 16, 32"),
    ),
    (
        GroupNormalization(64, name="norm"),
        IMAGES,
        ("groups=64", "channels=32", "'norm'", "1, 2, 4, 8, 16, 32"),
    ),
    (
        GroupNormalization(name="norm"),
        (None, 6, 5, 20),
        ("groups=32", "channels=20", "'norm'", "1, 2, 4, 5, 10, 20"),
    ),
    (
        GroupNormalization(group_size=3, name="norm"),
        IMAGES,
        ("group_size=3", "channels=32", "'norm'", "1, 2, 4, 8, 16, 32"),
    ),
    *[
        (
            layer,
            IMAGES,
            ("channel axis", f"axis={layer.axis}"),
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
            ("batch axis 0", f"axis={shown}", "'norm'", "BatchNormalization"),
        )
        for axis, shown in ((0, "0"), ((0, 1), "[0, 1]"), (-4, "-4"))
    ],
    *[
        (
            kind(axis=axis, name="norm"),
            IMAGES,
            ("-4 to 3", f"axis={axis}", "'norm'"),
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
        ("-4 to 3", "axis=7", "'norm'"),
    ),
    *[
        (kind(name="norm"), (None, 6, 5, None), fixed([3], (None, 6, 5, None)))
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
        (kind(axis=(1, 2, 3), name="norm"), (None, None, 5, 8), fixed([1, 2, 3], (None, None, 5, 8)))
        for kind in (LayerNormalization, RMSNormalization)
    ],
    (
        WeightStandardizedConv2D(4, 1, name="conv"),
        (None, 6, 5, 1),
        ("at least 2 weights", "(1, 1, 1, 4)", "'conv'", "keras.layers.Conv2D"),
    ),
    (
        WeightStandardizedConv2D(4, 1, groups=2, name="conv"),
        (None, 6, 5, 2),
        ("at least 2 weights", "(1, 1, 1, 4)", "'conv'", "keras.layers.Conv2D"),
    ),
]


@pytest.mark.parametrize("kind", [GroupNormalization, FilterResponseNormalization])
def test_several_axes_where_one_is_needed(kind):
    with pytest.raises(ValueError) as caught:
        kind(axis=[1, 2], name="norm").build((None, 6, 5, 8))
    says(caught, "one integer", "axis=[1, 2]", "'norm'")


@pytest.mark.parametrize(("layer", "shape", "facts"), BUILDS)
def test_build(layer, shape, facts):
    with pytest.raises(ValueError) as caught:
        layer.build(shape)
    says(caught, *facts)


@pytest.mark.parametrize(("layer", "shape", "facts"), BUILDS)
def test_the_same_sentence_in_a_functional_model(layer, shape, facts):
    fresh = type(layer).from_config(layer.get_config())
    with pytest.raises(ValueError) as caught:
        fresh(keras.Input(shape[1:]))
    says(caught, *facts)


def test_without_weights_sizes_may_be_unknown():
    layer = LayerNormalization(axis=(1, 2, 3), center=False, scale=False)
    assert layer(keras.Input((None, None, 8))).shape == (None, None, None, 8)
