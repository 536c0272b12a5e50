"""Receptive fields and multiply-adds of known networks, against published numbers."""

import functools
import math

import pytest
from keras import applications

from tfnorm.analysis import flops, multiply_adds, receptive_field, summary
from tfnorm.analysis.inspect import inspect_architecture

IMAGE = (224, 224, 3)


@functools.cache
def network(name, sides=IMAGE):
    """Return a network of keras.applications without its dense layers."""
    return getattr(applications, name)(weights=None, include_top=False, input_shape=sides)


# Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019,
# doi 10.23915/distill.00021, and the table of their library for images of 224 pixels (github.com/google-research/
# receptive_field): receptive field, effective stride, effective padding. Their networks are those of TF-Slim; the layer
# is the same one in Keras: the last pooling of VGG-16, the last residual block (block4) of ResNet, the last pointwise
# convolution (Conv2d_13_pointwise) of MobileNet. The padding of ResNet differs, since Keras pads before its first
# pooling on both sides.
PUBLISHED = {
    "VGG16": [
        ("block1_conv1", 3, 1, 1),
        ("block1_pool", 6, 2, 2),
        ("block2_pool", 16, 4, 6),
        ("block3_pool", 44, 8, 18),
        ("block4_conv2", 76, 8, 34),
        ("block4_pool", 100, 16, 42),
        ("block5_pool", 212, 32, 90),
    ],
    "ResNet50": [
        ("conv3_block1_1_conv", 35, 8, None),
        ("conv4_block6_out", 291, 16, None),
        ("conv5_block3_out", 483, 32, None),
    ],
    "MobileNet": [
        ("conv1", 3, 2, 0),
        ("conv_pw_2_relu", 11, 4, 2),
        ("conv_pw_6_relu", 59, 16, 14),
        ("conv_pw_11_relu", 219, 16, 94),
        ("conv_pw_13_relu", 315, 32, 126),
    ],
    "InceptionV3": [("mixed10", 1311, 32, 618)],
}  # fmt: skip


def slow(names, *chosen):
    """Return the names, the chosen ones for the matrix: building such a network takes a second."""
    return [pytest.param(name, marks=pytest.mark.matrix if name in chosen else []) for name in names]


@pytest.mark.parametrize("name", slow(PUBLISHED, "InceptionV3", "ResNet50"))
def test_published_receptive_fields_of_keras_applications(name):
    fields = receptive_field(network(name))
    for layer, size, jump, padding in PUBLISHED[name]:
        row = fields[layer]
        assert (row.receptive_field, row.jump) == ((size, size), (jump, jump)), layer
        assert padding is None or row.padding == (padding, padding), layer
        assert row.start == ((size - 2 * row.padding[0]) / 2,) * 2


def test_they_do_not_depend_on_the_size_of_the_image():
    # MobileNet begins with padding "same" and a stride, whose place depends on it: None in the published table too.
    for name, layer, expected in (("VGG16", "block5_pool", (212, 90)), ("MobileNet", "conv_pw_13_relu", (315, None))):
        row = receptive_field(network(name, (None, None, 3)))[layer]
        assert (row.receptive_field[0], row.padding[0]) == expected


# Of a published training of this network (size, receptive field, jump).
CIFAR_PLAIN = {
    "convblock1_conv1": (32, 3, 1),
    "convblock1_conv2": (32, 5, 1),
    "transblock1_conv": (32, 5, 1),
    "transblock1_pool": (16, 6, 2),
    "convblock2_conv1": (16, 10, 2),
    "convblock2_conv2": (16, 14, 2),
    "convblock2_conv3": (16, 18, 2),
    "transblock2_conv": (16, 18, 2),
    "transblock2_pool": (8, 20, 4),
    "convblock3_conv1": (8, 24, 4),
    "convblock3_conv2": (8, 28, 4),
    "convblock3_conv3": (8, 32, 4),
    "global_pool1": (1, 60, 4),
    "logits": (1, 60, 4),
}
# A 3x3 convolution widens the field by twice the jump before it, which is 4 after the second pooling. The publication
# widens by 4 in the third block, as in the second: 24, 28, 32 in place of 28, 36, 44, and so on to the end.
# test_response.py finds 28, 36 and 44 in the gradients.
CORRECTED = {
    "convblock3_conv1": 28,
    "convblock3_conv2": 36,
    "convblock3_conv3": 44,
    "global_pool1": 72,
    "logits": 72,
}


@pytest.mark.parametrize("source", ["plan", "model"])
def test_the_published_table_of_cifar_plain(source, built):
    table = inspect_architecture("cifar_plain") if source == "plan" else summary(built("cifar_plain", "bn"))
    for layer, (size, field, jump) in CIFAR_PLAIN.items():
        row = table[layer]
        assert row.shape[:2] == (size, size)
        assert row.jump == (jump, jump)
        assert row.receptive_field == (CORRECTED.get(layer, field),) * 2


def test_where_the_published_table_of_cifar_plain_parts_from_the_recurrence():
    steps = [
        (3, 1),
        (3, 1),
        (1, 1),
        (2, 2),
        (3, 1),
        (3, 1),
        (3, 1),
        (1, 1),
        (2, 2),
        (3, 1),
        (3, 1),
        (3, 1),
        (8, 1),
        (1, 1),
    ]
    published, field, jump, parted = list(CIFAR_PLAIN.values()), 1, 1, []
    for (kernel, stride), (name, (_, given, _)) in zip(steps, CIFAR_PLAIN.items(), strict=True):
        if field + (kernel - 1) * jump != given:
            parted.append((name, (given - field) / (kernel - 1)))
        field, jump = given, jump * stride
    # Only three rows do not follow from the one before them, and each of those takes the jump to be 2 where it is 4.
    assert parted == [("convblock3_conv1", 2.0), ("convblock3_conv2", 2.0), ("convblock3_conv3", 2.0)]
    assert published[-1] == (1, 60, 4)


# Papers' counts of multiply-adds for one image of 224 pixels, within 2 %; the dense layers, of 2 million or less, are
# left out here (VGG-16's too, as in the paper).
MULTIPLY_ADDS = {
    "VGG16": 15.3e9,  # He et al., 2015, arXiv 1512.03385, section 4.1
    "ResNet50": 3.8e9,  # the same, table 1
    "MobileNet": 569e6,  # Howard et al., 2017, arXiv 1704.04861, table 4
    "MobileNetV2": 300e6,  # Sandler et al., 2018, arXiv 1801.04381, table 4
    "EfficientNetB0": 0.39e9,  # Tan and Le, 2019, arXiv 1905.11946, table 2
}


@pytest.mark.parametrize("name", slow(MULTIPLY_ADDS, "MobileNetV2", "ResNet50"))
def test_published_multiply_adds(name):
    model = network(name)
    counted = multiply_adds(model)
    assert math.isclose(counted, MULTIPLY_ADDS[name], rel_tol=0.02)
    assert flops(model) == 2 * counted
    table = summary(model)
    assert table.parameters + table.other_parameters == model.count_params()


def test_multiply_adds_of_a_model_with_an_open_input():
    # Howard et al., 2019, arXiv 1905.02244, table 3: 56 million.
    model = applications.MobileNetV3Small(weights=None, input_shape=(None, None, 3))
    assert math.isclose(multiply_adds(model, input_shape=IMAGE), 56e6, rel_tol=0.02)


def test_gates_are_told_apart_from_windows():
    row = receptive_field(network("EfficientNetB0"))["top_activation"]
    assert row.local_field == (851, 851) and row.receptive_field == (1043, 1043)
    assert row.receptive_field[0] > 224


LAYERS = ["ConvNeXtTiny", "EfficientNetB0", "InceptionV3", "MobileNetV2", "ResNet50"]


@pytest.mark.parametrize("name", slow(LAYERS, "InceptionV3", "MobileNetV2", "ResNet50"))
def test_every_layer_of_keras_applications_is_known(name):
    model = network(name)
    table = summary(model)
    assert not table.notes
    assert all(row.fields and row.multiply_adds is not None for row in table)
    if name != "ConvNeXtTiny":  # which has models inside
        assert [row.name for row in table] == [layer.name for layer in model.layers]
        assert [row.shape for row in table] == [tuple(layer.output.shape[1:]) for layer in model.layers]
