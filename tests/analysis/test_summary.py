"""Tables of models of many kinds: graphs, layers, notes, text."""

import json
import math
from fractions import Fraction
from pathlib import Path

import keras
import numpy as np
import pytest
from facts import says
from keras import layers, ops

from tfnorm import build
from tfnorm.analysis import flops, multiply_adds, receptive_field, summary
from tfnorm.analysis.inspect import inspect_architecture
from tfnorm.analysis.plans import plan_layers
from tfnorm.analysis.table import activation_bytes
from tfnorm.errors import TfnormError
from tfnorm.models.architectures import ARCHITECTURES
from tfnorm.models.planner import plan
from tfnorm.spec import parse

UNKNOWN = "receptive field", "`pointwise`"
UNCOUNTED = "multiply-adds"


def chain(*parts, shape=(32, 32, 3)):
    """Return a functional model of layers, or functions, one after the other."""
    image = tensor = keras.Input(shape, name="image")
    for part in parts:
        tensor = part(tensor)
    return keras.Model(image, tensor)


def last(*parts, shape=(32, 32, 3), **options):
    return summary(chain(*parts, shape=shape), **options)[-1]


CASES = [(arch, norm) for arch in ARCHITECTURES for norm in ("bn", "gn:2")]
CASES += [("mnist_7k", norm) for norm in ("none", "ln", "ln:channel", "in", "rms", "frn", "gn:4+ws")]


@pytest.mark.parametrize(
    ("arch", "norm"),
    [
        pytest.param(arch, norm, marks=pytest.mark.matrix if norm == "bn" and arch != "mnist_7k" else [])
        for arch, norm in CASES
    ],
)
def test_a_plan_has_the_rows_of_its_model(arch, norm, built):
    planned = plan_layers(plan(arch, parse(norm)))
    table = summary(built(arch, norm))
    assert {row.name for row in planned} == {row.name for row in table} and len(planned) == len(table)
    for ours in planned:
        theirs = table[ours.name]
        assert ours.trace == theirs.trace, ours.name
        for what in ("parameters", "other_parameters", "multiply_adds", "activation_bytes"):
            assert getattr(ours, what) == getattr(theirs, what), (ours.name, what)
    assert planned.parameters == plan(arch, parse(norm)).trainable_parameters


class OwnCell(layers.Layer):
    state_size = output_size = 4

    def call(self, inputs, states):
        return inputs, states


class Blur(layers.Layer):
    def call(self, inputs):
        return inputs


def test_an_unknown_layer_makes_unknown_what_follows_it_and_nothing_else():
    image = keras.Input((16, 16, 3), name="image")
    side = layers.Conv2D(4, 3, name="side")(image)
    odd = layers.Conv2D(4, 3, name="after")(Blur(name="odd")(image))
    model = keras.Model(image, [layers.Add(name="sum")([side, odd]), layers.GlobalMaxPooling2D(name="pool")(side)])
    table = summary(model)
    assert [row.name for row in table if not row.fields] == ["odd", "after", "sum"]
    assert table["side"].receptive_field == (3, 3) and table["pool"].receptive_field == (16, 16)
    assert len(table.notes) == 2
    says(table.notes[0], *UNKNOWN, "'odd' (Blur)")
    says(table.notes[1], UNCOUNTED, "'odd' (Blur)")
    assert table["odd"].multiply_adds is None and table["after"].multiply_adds == 14 * 14 * 9 * 3 * 4
    assert "unknown" in str(table) and "'odd' (Blur)" in str(table)
    with pytest.warns(UserWarning, match="'odd' \\(Blur\\) are not counted.*all other layers"):
        assert multiply_adds(model) == table.multiply_adds > 0
    assert multiply_adds(model, pointwise=[Blur]) == table.multiply_adds
    known = summary(model, pointwise=[Blur])
    assert known["sum"].receptive_field == (3, 3) and not known.notes and known["odd"].multiply_adds == 0


def test_what_a_subclass_computes_is_not_known():
    class Own(layers.Conv2D):
        def call(self, inputs):
            return super().call(inputs) + keras.ops.mean(inputs)

    class Renamed(layers.Conv2D):
        """Has other defaults."""

    table = summary(chain(Own(4, 3, name="own"), Renamed(4, 3, name="renamed")))
    assert not table["own"].fields and len(table.notes) == 2
    says(table.notes[0], *UNKNOWN, "'own' (Own)")
    says(table.notes[1], UNCOUNTED, "'own' (Own)")
    assert summary(chain(Renamed(4, 3, name="renamed")))["renamed"].receptive_field == (3, 3)


ATTENTIONS = {
    # Three projections from 8 to 2 x 4 and one back, products of 10 x 10 queries and keys, and with as many values.
    "multi-head": (lambda x: layers.MultiHeadAttention(2, 4)(x, x), 4 * 10 * 8 * 8 + 2 * 2 * 10 * 10 * 4),
    "named arguments": (
        lambda x: layers.MultiHeadAttention(2, 4)(query=x, value=x, key=x),
        4 * 10 * 8 * 8 + 2 * 2 * 10 * 10 * 4,
    ),
    # Keys and values have one head.
    "grouped": (
        lambda x: layers.GroupQueryAttention(4, 2, 1)(x, x),
        2 * 10 * 8 * 8 + 2 * 10 * 8 * 4 + 2 * 2 * 10 * 10 * 4,
    ),
    "plain": (lambda x: layers.Attention()([x, x]), 10 * 10 * (8 + 8)),
    "with scores": (lambda x: layers.Attention()([x, x], return_attention_scores=True)[0], 10 * 10 * (8 + 8)),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_reads_all_that_it_attends_to(name):
    attend, expected = ATTENTIONS[name]
    row = last(layers.Conv1D(8, 3), attend, shape=(12, 8))
    assert (row.receptive_field, row.local_field, row.multiply_adds) == ((12,), (3,), expected)
    after = last(layers.Conv1D(8, 3), attend, layers.Conv1D(2, 3), shape=(12, 8))
    assert (after.receptive_field, after.local_field) == ((12,), (5,))


def test_attention_of_which_a_part_is_not_known():
    steps = keras.Input((10, 8))
    masked = layers.MultiHeadAttention(2, 4)(steps, steps, use_causal_mask=True)
    row = summary(keras.Model(steps, layers.Dense(3)(masked)))[-2]
    assert "mask" in row.trace.unknown and row.multiply_adds == 4 * 10 * 8 * 8 + 2 * 2 * 10 * 10 * 4
    row = last(lambda x: layers.AdditiveAttention()([x, x]), shape=(10, 8))
    assert row.receptive_field == (10,) and row.multiply_adds is None


@pytest.mark.parametrize(
    ("layer", "width"), [(layers.MultiHeadAttention(2, 4), 16), (layers.GroupQueryAttention(4, 2, 1), 8)]
)
def test_attention_to_another_sequence_by_name_and_by_place(layer, width):
    steps, memory = keras.Input((12, 8)), keras.Input((20, width))
    one, other = layer(steps, memory), layer(key=memory, value=memory, query=steps)
    # Query and output are 8 wide; keys and values come from the width, to 2 heads of 4 or 1 of 4.
    into = 8 if width == 16 else 4
    for output in (one, other):
        table = summary(keras.Model([steps, memory], output))
        assert table[-1].multiply_adds == 2 * 12 * 8 * 8 + 2 * 20 * width * into + 2 * 12 * 20 * 8


def test_queries_that_are_no_image():
    image, facts = keras.Input((16, 8), name="image"), keras.Input((4, 8), name="facts")
    model = keras.Model([image, facts], layers.MultiHeadAttention(2, 4, name="read")(facts, layers.Conv1D(8, 3)(image)))
    assert summary(model, input_name="image")["read"].receptive_field == (16,)


def test_attention_along_one_axis():
    image = keras.Input((3, 10, 8))
    model = keras.Model(image, layers.MultiHeadAttention(2, 4, attention_axes=(2,))(image, image))
    assert summary(model).multiply_adds == 3 * (4 * 10 * 8 * 8 + 2 * 2 * 10 * 10 * 4)
    assert summary(model)[-1].receptive_field == (1, 10) and summary(model)[-1].local_field == (1, 1)


def test_nested_models_and_shared_layers():
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    inner = keras.Sequential([keras.Input((None, None, 3)), shared, layers.MaxPooling2D(2, name="pool")], name="inner")
    image = keras.Input((32, 24, 3), name="image")
    model = keras.Model(image, layers.Flatten(name="flat")(inner(inner(shared(image)))))
    table = summary(model)
    assert [row.name for row in table] == [
        "image",
        "shared",
        "inner/shared (2)",
        "inner/pool",
        "inner/shared (3)",
        "inner/pool (2)",
        "flat",
    ]
    assert [row.receptive_field[0] for row in table] == [1, 3, 5, 6, 10, 12, 12 + 7 * 4]
    assert [row.shape for row in table][2:5] == [(32, 24, 3), (16, 12, 3), (16, 12, 3)]
    assert [row.parameters for row in table] == [0, 84, 0, 0, 0, 0, 0]
    assert table.multiply_adds == 81 * (2 * 32 * 24 + 16 * 12)
    assert table["flat"].receptive_field == (40, 12 + 5 * 4)


def test_several_inputs_and_outputs():
    image, facts = keras.Input((32, 32, 3), name="image"), keras.Input((7,), name="facts")
    features = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(8, 5, name="conv")(image))
    told = layers.Dense(8, name="told")(facts)
    both = layers.Concatenate(name="both")([told, features])
    gated = layers.Multiply(name="gated")([layers.Reshape((1, 1, 8), name="wide")(told), image[..., :1]])
    model = keras.Model({"facts": facts, "image": image}, [both, gated])
    table = summary(model)
    assert table["facts"].fields == table["told"].fields == ()
    assert table["pool"].receptive_field == table["both"].receptive_field == (32, 32)
    other = summary(model, input_name="facts")
    assert not any(row.fields for row in other)
    with pytest.raises(TfnormError) as caught:
        summary(model, input_name="fact")
    says(caught, "'fact'", "'facts'", "facts, image")


def test_a_gate_reads_everything_and_the_window_stays_visible():
    image = keras.Input((32, 32, 3))
    tensor = layers.Conv2D(8, 3, padding="same")(image)
    gate = layers.Reshape((1, 1, 8))(layers.Dense(8)(layers.GlobalAveragePooling2D()(tensor)))
    tensor = layers.Multiply(name="gated")([tensor, gate])
    table = summary(keras.Model(image, layers.Conv2D(8, 3, padding="same", name="after")(tensor)))
    assert table["gated"].receptive_field == (34, 34) and table["gated"].local_field == (3, 3)
    assert table["after"].receptive_field == (34, 34) and table["after"].local_field == (5, 5)
    says(table, "all (5)", "gate", "squeeze-and-excitation")


NORMS = [
    (layers.BatchNormalization(), False),
    (layers.LayerNormalization(), False),
    (layers.LayerNormalization(axis=[1, 2, 3]), True),
    (layers.LayerNormalization(axis=(-2, -1)), True),
    (layers.RMSNormalization(), False),
    (layers.RMSNormalization(axis=[1, 2, 3]), True),
    (layers.UnitNormalization(axis=1), True),
    (layers.GroupNormalization(1), True),
    (layers.Normalization(mean=0.0, variance=1.0), False),
]


@pytest.mark.parametrize(("norm", "marked"), NORMS, ids=lambda value: type(value).__name__)
def test_norms_with_statistics_over_the_image_are_marked(norm, marked):
    table = summary(chain(layers.Conv2D(4, 3), norm, layers.ReLU(), layers.Conv2D(4, 3)))
    assert [row.whole_image_statistics for row in table] == [False, False, marked, marked, marked]
    assert table[-1].receptive_field == (5, 5)
    assert ("5*" in str(table)) == ("count here" in str(table)) == marked


def test_norms_of_a_single_pixel_are_not_marked():
    pooled = layers.GlobalAveragePooling2D(keepdims=True)
    assert not last(pooled, layers.GroupNormalization(1)).whole_image_statistics
    assert not last(layers.GlobalAveragePooling2D(), layers.LayerNormalization()).whole_image_statistics


def test_channels_first_and_permuted_axes():
    first = {"data_format": "channels_first"}
    model = chain(
        layers.Conv2D(8, (3, 5), strides=(2, 1), padding="same", **first),
        layers.MaxPooling2D((2, 3), **first),
        shape=(3, 32, 24),
    )
    table = summary(model)
    assert table[1].receptive_field == (3, 5) and table[2].receptive_field == (5, 7)
    assert table[2].jump == (4, 3) and table[1].multiply_adds == 16 * 24 * 15 * 3 * 8
    turned = last(layers.Conv2D(4, (1, 3)), layers.Permute((2, 1, 3)), layers.Conv2D(4, (5, 1)))
    assert turned.receptive_field == (1, 7)
    across = last(layers.Permute((1, 3, 2)), layers.Conv2D(4, (3, 1)))  # the width has become channels
    assert across.receptive_field == (3, 32)


def test_functions_of_keras_in_the_graph():
    padded = last(lambda x: ops.pad(x, ((0, 0), (2, 1), (0, 0), (0, 0))), layers.Conv2D(4, 3))
    assert (padded.receptive_field, padded.padding, padded.shape) == ((3, 3), (2, 0), (33, 30, 4))
    assert last(lambda x: ops.relu(x * 2 + 1) / 3, layers.Conv2D(4, 3)).receptive_field == (3, 3)
    gate = last(lambda x: x * ops.mean(x, axis=(1, 2), keepdims=True))
    assert (gate.receptive_field, gate.local_field) == ((32, 32), (1, 1))
    assert last(lambda x: ops.mean(x, axis=2)).receptive_field == (1, 32)
    assert last(lambda x: ops.max(x, axis=[1, 2])).receptive_field == (32, 32)
    assert last(lambda x: ops.transpose(x, (0, 2, 1, 3)), layers.Conv2D(2, (3, 1))).receptive_field == (1, 3)
    assert last(lambda x: ops.reshape(x, (-1, 32 * 32 * 3))).receptive_field == (32, 32)
    assert last(lambda x: ops.concatenate([x, x], axis=-1), layers.Conv2D(2, 3)).receptive_field == (3, 3)
    assert last(lambda x: ops.average(x, axis=1)).receptive_field == (32, 1)
    sides = last(lambda x: ops.concatenate([x, x], axis=1))
    says("".join(sides.notes), repr(sides.name), "Concatenate", "receptive field")


FAMILIES = sorted(name for name, module in vars(keras.applications).items() if hasattr(module, "preprocess_input"))


@pytest.mark.parametrize("name", FAMILIES)
def test_what_prepares_images_for_a_network_is_read(name):
    prepare = getattr(keras.applications, name).preprocess_input
    table = summary(chain(prepare, layers.Conv2D(4, 3, padding="same"), layers.Conv2D(4, 3)))
    assert table[-1].receptive_field == (5, 5) and table[-1].start == (1.5, 1.5) and not table.notes
    assert table.multiply_adds == summary(chain(layers.Conv2D(4, 3, padding="same"), layers.Conv2D(4, 3))).multiply_adds


def test_resnet_with_its_preparation_of_images():
    base = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
    model = chain(
        keras.applications.resnet50.preprocess_input, base, layers.GlobalAveragePooling2D(), shape=(64, 64, 3)
    )
    table, expected = summary(model), summary(base)
    assert table["resnet50/conv5_block3_3_conv"].receptive_field == (483, 483) and not table.notes
    assert flops(model) == flops(base) == 2 * expected.multiply_adds


def doubled(part):
    """Return what adds to an image a part of it of the same shape."""
    return lambda x: x + part(x)


UNREAD = {
    "roll": lambda x: ops.roll(x, 3, axis=1),
    "roll flat": lambda x: ops.roll(x, 3),
    "wrap": lambda x: ops.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)), mode="wrap"),
    "mirrored sum": doubled(lambda x: ops.flip(x, axis=2)),
    "flip of the batch": lambda x: ops.flip(x),
    "stack along the batch": lambda x: ops.stack([x, x], axis=0)[0],
    "take": lambda x: ops.take(x, [0, 5, 3], axis=1),
    "sort": lambda x: ops.sort(x, axis=1),
    "cumulative sum": lambda x: ops.cumsum(x, axis=1),
    "einsum of itself": lambda x: ops.einsum("bhwc,bkwc->bhk", x, x)[..., None],
    "diagonal": lambda x: ops.einsum("bhhc->bhc", x)[..., None],
    "points": lambda x: ops.image.affine_transform(x, ops.convert_to_tensor([[1.0, 0, 2, 0, 1, 3, 0, 0]])),
    "products of pixels": lambda x: ops.matmul(x, ops.swapaxes(x, 2, 3)),
}


@pytest.mark.parametrize("name", UNREAD)
def test_what_is_not_followed_is_said_and_the_rest_counted(name):
    table = summary(chain(UNREAD[name], layers.Conv2D(4, 3, padding="same", name="after")))
    assert not table["after"].fields and table["after"].multiply_adds
    assert any("receptive field" in note for note in table.notes)


def test_slices_of_an_image_of_open_size():
    def fields(part):
        return last(part, layers.Conv2D(4, 3), shape=(None, None, 3))

    row = fields(lambda x: x[:, 2::2, :, :2])
    assert (row.receptive_field, row.jump, row.start) == ((5, 3), (2, 1), (4.5, 1.5))
    for part in (lambda x: x[:, -8:], lambda x: x[:, ::-1], lambda x: ops.flip(x, axis=1), lambda x: x[:, -1:]):
        assert "give `input_shape`" in fields(part).trace.unknown
    row = last(lambda x: x[:, 3], layers.Conv1D(4, 3), shape=(8, 9, 2))
    assert (row.receptive_field, row.start, row.shape) == ((1, 3), (3.5, 1.5), (7, 4))


def test_reshaping():
    assert last(layers.Flatten(), layers.Dense(4)).receptive_field == (32, 32)
    assert last(layers.Reshape((32, 32, 3, 1)), layers.Conv3D(2, (3, 1, 2))).receptive_field == (3, 1, 2)
    steps = last(layers.Conv2D(4, 3, 2), layers.Reshape((225, 4), name="steps"))
    says("".join(steps.notes), "'steps' (Reshape)", "receptive field")
    digits = last(layers.Reshape((28, 28, 1)), layers.Conv2D(2, 3), layers.Conv2D(2, 3), shape=(28, 28))
    assert digits.receptive_field == (5, 5)
    doubled = last(layers.UpSampling2D((2, 3)))
    assert (doubled.jump, doubled.receptive_field) == ((Fraction(1, 2), Fraction(1, 3)), (1, 1))
    assert "1/2 x 1/3" in str(summary(chain(layers.UpSampling2D((2, 3)))))


def test_layers_around_layers():
    spectral = layers.SpectralNormalization(layers.Conv2D(4, 3))
    row = last(spectral)
    assert (row.receptive_field, row.multiply_adds) == ((3, 3), 30 * 30 * 27 * 4)
    video = (5, 32, 32, 3)
    body = keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()])
    for part, size in ((layers.Conv2D(4, 3), 3), (body, 32)):
        row = last(layers.TimeDistributed(part), shape=video)
        assert row.receptive_field == (1, size, size)
        assert row.multiply_adds == 5 * 30 * 30 * 27 * 4


def test_sequences():
    assert last(layers.Conv1D(4, 3), layers.LSTM(5), shape=(20, 6)).receptive_field == (20,)
    both = last(layers.Conv1D(4, 3), layers.Bidirectional(layers.GRU(5, return_sequences=True)), shape=(20, 6))
    assert (both.receptive_field, both.local_field, both.shape) == ((20,), (3,), (18, 10))
    assert both.multiply_adds == 2 * 18 * 15 * (4 + 5)
    assert last(layers.LSTM(5), shape=(20, 6)).multiply_adds == 20 * 20 * (6 + 5)
    assert last(layers.Embedding(9, 4), layers.Conv1D(2, 3), shape=(20,)).receptive_field == (3,)
    assert last(layers.EinsumDense("abc,cd->abd", (None, 7)), layers.Conv1D(2, 3), shape=(20, 6)).receptive_field == (
        3,
    )
    mixing = last(layers.EinsumDense("abc,bd->adc", (7, None)), shape=(20, 6))
    assert (mixing.receptive_field, mixing.multiply_adds) == ((20,), 20 * 7 * 6)
    assert last(layers.Softmax(axis=1), shape=(20, 6)).receptive_field == (20,)


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float32", 4), ("bfloat16", 2), ("float8_e4m3fn", 1), ("int64", 8), ("uint8", 1), ("bool", 1)],
)
def test_bytes_of_types(dtype, size):
    assert activation_bytes((3, 5), dtype) == 15 * size


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.RNN(layers.StackedRNNCells([layers.LSTMCell(4), OwnCell()]), name="odd"), (5, 8)),
    ],
)
def test_cells_of_unknown_cost(layer, shape):
    row = last(layer, shape=shape)
    assert row.multiply_adds is None
    assert any(UNCOUNTED in note and f"'odd' ({row.kind})" in note for note in row.notes)


def test_multiply_adds_of_functions():
    matrix = np.ones((3, 5), "float32")
    row = last(lambda x: ops.matmul(x, matrix))
    assert (row.receptive_field, row.multiply_adds) == ((1, 1), 32 * 32 * 3 * 5)
    row = last(lambda x: ops.einsum("bhwc,cd->bhwd", x, matrix))
    assert (row.receptive_field, row.multiply_adds) == ((1, 1), 32 * 32 * 3 * 5)
    row = last(lambda x: ops.einsum("bhwc,hk->bkwc", x, np.ones((32, 7), "float32")))
    assert (row.receptive_field, row.multiply_adds) == ((32, 1), 32 * 32 * 3 * 7)
    row = last(lambda x: layers.Dot((2, 2))([x, x]), shape=(10, 8))
    assert row.multiply_adds == 10 * 10 * 8 and "other places" in row.trace.unknown
    row = last(lambda x: layers.Dot(1)([x, x]), shape=(10, 8))
    assert (row.receptive_field, row.multiply_adds) == ((10,), 10 * 8 * 8)
    assert last(lambda x: ops.einsum("bhwc,bhwc->bc", x, x)).multiply_adds == 32 * 32 * 3
    assert last(lambda x: ops.einsum("bhwc,c->bhwc", x, np.ones(3, "float32"))).multiply_adds == 0
    for subscripts in ("...c,cd->...d", "b...c,cd->b...d", "...wc,cd->...wd", "...c,cd"):
        row = last(lambda x, subscripts=subscripts: ops.einsum(subscripts, x, matrix))
        assert (row.receptive_field, row.multiply_adds) == ((1, 1), 32 * 32 * 3 * 5)
    assert last(lambda x: ops.einsum("...c,...c->...", x, np.ones((1, 32, 3), "float32"))).multiply_adds == 32 * 32 * 3
    row = last(lambda x: ops.matmul(np.ones((7, 10), "float32"), x), shape=(10, 8))
    assert (row.receptive_field, row.multiply_adds) == ((10,), 7 * 10 * 8)
    assert last(lambda x: ops.sort(x, axis=1)).multiply_adds == 0


@pytest.mark.parametrize("sequences", [False, True])
def test_multiply_adds_of_convolutional_recurrence(sequences):
    row = last(layers.ConvLSTM2D(4, 3, return_sequences=sequences, name="odd"), shape=(5, 16, 12, 3))
    # Four gates, each with a kernel for the input and one for the state.
    assert row.multiply_adds == 5 * 14 * 10 * 9 * (3 + 4) * 16 and row.trace.unknown


def test_multiply_adds_of_convolutions():
    assert last(layers.Conv2D(8, 3, groups=2), shape=(32, 32, 4)).multiply_adds == 30 * 30 * 9 * 2 * 8
    assert last(layers.DepthwiseConv2D(3, 2, depth_multiplier=2)).multiply_adds == 15 * 15 * 9 * 3 * 2
    assert last(layers.SeparableConv2D(8, 3)).multiply_adds == 30 * 30 * (9 * 3 + 3 * 8)
    assert last(layers.Conv2DTranspose(8, 3, 2)).multiply_adds == 32 * 32 * 9 * 3 * 8
    assert last(layers.Dense(8)).multiply_adds == 32 * 32 * 3 * 8
    assert flops(chain(layers.Dense(8))) == 2 * 32 * 32 * 3 * 8


def test_activation_memory_counts_outputs_in_their_precision():
    model = chain(
        layers.Conv2D(8, 3, name="conv"),
        layers.ReLU(name="relu"),
        layers.Flatten(name="flat"),
        layers.Dense(5, name="dense"),
    )
    table = summary(model, batch_size=4)
    assert [row.activation_bytes for row in table] == [0, 4 * 7200, 4 * 7200, 0, 20]
    assert table.activation_bytes == 4 * (2 * 4 * 7200 + 20)
    half = summary(build("mnist_7k", precision="bfloat16", compile=False))
    assert half["conv1"].activation_bytes == 2 * 26 * 26 * 8 and half["logits"].activation_bytes == 40


def test_activation_memory_is_near_what_a_training_step_takes():
    file = Path(__file__).parents[2] / "benchmarks" / "results" / "memory.json"
    for row in json.loads(file.read_text())["rows"]:
        estimate = inspect_architecture(row["arch"], row["norm"], batch_size=row["batch"]).activation_bytes / 2**20
        measured = {library: found["step"]["median_mib"] / estimate for library, found in row["memory"].items()}
        assert 0.7 < measured["torch"] < 1.1, row["arch"]  # joins no layers
        assert 0.4 < measured["tfnorm"] < measured["torch"], row["arch"]


def test_frozen_layers_hold_other_parameters():
    model = chain(layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization(name="norm"))
    model.get_layer("conv").trainable = False
    table = summary(model)
    assert [(row.parameters, row.other_parameters) for row in table] == [(0, 0), (0, 112), (8, 8)]


def test_where_padding_depends_on_the_size_of_the_image():
    def residual(sides):
        image = keras.Input((*sides, 3))
        main = layers.Conv2D(4, 3, strides=2, padding="same")(image)
        return receptive_field(keras.Model(image, layers.Add()([main, layers.Conv2D(4, 1, strides=2)(image)])))[-1]

    assert (residual((32, 33)).start, residual((32, 33)).padding) == ((1.5, 0.5), (0, 1))
    unknown = residual((None, None))
    assert (unknown.receptive_field, unknown.start, unknown.padding) == ((3, 3), (None, None), (None, None))


@pytest.mark.parametrize("kind", [layers.Resizing, layers.UpSampling2D])
def test_an_interpolation_that_is_not_known(kind):
    sizes = (4, 4) if kind is layers.Resizing else (2,)
    table = summary(chain(kind(*sizes, interpolation="gaussian", name="odd")))
    says(table["odd"].trace.unknown, "interpolation 'gaussian'")
    says(str(table), f"'odd' ({kind.__name__})", "receptive field")


def test_an_open_input():
    model = chain(
        layers.Conv2D(4, 3, 2, padding="same", name="conv"), layers.GlobalAveragePooling2D(), shape=(None, None, 3)
    )
    table = summary(model)
    assert table["conv"].receptive_field == (3, 3) and table["conv"].start == (None, None)
    assert table[-1].receptive_field == (math.inf, math.inf)
    says("".join(table.notes), "Multiply-adds", "activations", "`input_shape`")
    assert "all" in str(table) and "?" in str(receptive_field(model))
    assert math.isinf(table.to_frame()["receptive_field_height"].iloc[-1])
    with pytest.raises(TfnormError) as caught:
        flops(model)
    assert str(caught.value) == table.notes[0]
    closed = summary(model, input_shape=(32, 64, 3))
    assert closed["conv"].shape == (16, 32, 4) and closed.multiply_adds == 16 * 32 * 27 * 4 and not closed.notes
    assert closed[-1].receptive_field == (33, 65)
    assert multiply_adds(model, input_shape=(32, 64, 3)) == closed.multiply_adds


REFUSED = [
    (
        lambda: summary(chain(layers.ReLU()), input_shape=(16, 16, 3)),
        ("`input_shape`", "(32, 32, 3)", "(16, 16, 3)"),
    ),
    (
        lambda: summary(chain(layers.ReLU(), shape=(None, None, 3)), input_shape=(16, 16)),
        ("`input_shape`", "(None, None, 3)", "(16, 16)"),
    ),
    (
        lambda: summary(chain(layers.ReLU()), batch_size=0),
        ("at least 1", "batch_size=0"),
    ),
    (
        lambda: summary(chain(layers.ReLU()), pointwise=["ReLU"]),
        ("`pointwise`", "[MyLayer]", "('ReLU',)"),
    ),
    (
        lambda: receptive_field(keras.Sequential([layers.ReLU()], name="later")),
        ("'later'", "keras.Input"),
    ),
    (
        lambda: summary(Subclass(name="own")),
        ("Subclass 'own'", "keras.Model(inputs, outputs)"),
    ),
    (
        lambda: summary("mnist_7k"),
        ("'mnist_7k'", "keras.models.load_model"),
    ),
    (
        lambda: summary(chain(layers.ReLU(name="relu")))["relo"],
        ("'relo'", "'relu'", "image, relu"),
    ),
]  # fmt: skip


class Subclass(keras.Model):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(("make", "facts"), REFUSED)
def test_refused(make, facts):
    with pytest.raises(TfnormError) as caught:
        make()
    says(caught, *facts)


def test_a_model_that_computes_something_else_than_its_graph_is_not_known():
    class Twice(keras.Model):
        def call(self, inputs):
            return super().call(super().call(inputs))

    class Chain(keras.Sequential):
        def call(self, inputs):
            return super().call(super().call(inputs))

    image = keras.Input((32, 32, 3))
    convolution = layers.Conv2D(3, 3, padding="same")
    for inner in (Twice(image, convolution(image), name="own"), Chain([image, convolution], name="own")):
        with pytest.raises(TfnormError, match="'own' has a `call` or `__call__` of its own"):
            summary(inner)
        outer = summary(chain(inner))
        says(outer.notes[0], *UNKNOWN, f"'own' ({type(inner).__name__})")


def test_tables_as_text_frame_and_html(built):
    table = summary(built("mnist_7k", "bn"), batch_size=64)
    lines = str(table).splitlines()
    assert lines[0].strip() == "mnist_7k"
    (line,) = [line for line in lines if line.split()[:1] == ["conv2"]]
    assert line.split() == "conv2 Conv2D 24 x 24 x 16 5 1 1,152 0 663,552 2.36".split()
    assert lines[-2].split() == "total 6,986 120 1,082,048 19.9".split()
    assert repr(table) == str(table)
    frame = table.to_frame()
    assert frame.loc["conv2", "receptive_field_width"] == 5 and frame["parameters"].sum() == 6986
    assert frame.loc["conv2", "activation_bytes"] == 24 * 24 * 16 * 4
    assert list(frame.index) == [row.name for row in table] and len(table) == len(frame)
    page = table._repr_html_()
    assert page.count("<tr") == len(table) + 2 and "activations (MB, 64 images)" in page
    fields = receptive_field(built("mnist_7k", "bn"))
    (line,) = [line for line in str(fields).splitlines() if line.split()[:1] == ["max_pool1"]]
    assert line.split() == "max_pool1 MaxPooling2D 12 x 12 x 16 6 2 3 0".split()
    assert "total" not in str(fields) and "total" not in fields._repr_html_()


def test_markup_in_names_is_text():
    image = keras.Input((4, 4, 3))
    table = summary(keras.Model(image, layers.ReLU(name="a[b]<i>")(image), name="[red]"))
    assert "a[b]<i>" in str(table) and str(table).splitlines()[0].strip() == "[red]"
    assert "a[b]&lt;i&gt;" in table._repr_html_()
