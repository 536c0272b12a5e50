"""The computed fields of Keras models, against what their outputs respond to."""

import keras
import numpy as np
import pytest
from backends import BACKEND, array, not_on_torch, value_and_gradients
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from keras import layers, ops

from tfnorm import build
from tfnorm.analysis import receptive_field

HEIGHT, WIDTH = 39, 46
ONES = {"kernel_initializer": "ones", "use_bias": False}
# Rounding gives bilinear interpolation on PyTorch taps of 1e-8 besides its own.
INTERPOLATIONS = ["nearest"] if BACKEND == "torch" else ["nearest", "bilinear"]
DEPTHWISE = {"depthwise_initializer": "ones", "use_bias": False}


def _flips_both():
    try:
        ops.flip(np.zeros((1, 2, 2, 1), "float32"), axis=(1, 2))
    except Exception:  # before Keras 3.14, on TensorFlow
        return False
    return True


FLIPS_BOTH = _flips_both()


def responses(model, least):
    """Return, for height and width, a table (pixel, unit): whether the unit's value depends on that row or column.

    All weights are positive, so that no two effects cancel.
    """
    height, width, channels = model.input_shape[1:]
    images = np.zeros((height + width, height, width, channels), "float32")
    images[np.arange(height), np.arange(height)] = 1
    images[height + np.arange(width), :, np.arange(width)] = 1
    outputs = array(model(images)).reshape(height + width, *model.output_shape[1:])
    moved = np.abs(outputs) > least
    return moved[:height].any(axis=(2, 3)), moved[height:].any(axis=(1, 3))


def check(model, least=1e-12, ends=0):
    """Compare every unit's field with its response; return how many units have a field inside the image.

    So many units at the ``ends`` may read less: what lies beyond the edge of a part of the image is padding.
    """
    row, inside = receptive_field(model)[-1], 0
    assert not row.trace.unknown
    # Where images were cropped, a later layer's padding lies inside the image.
    margin = 12 * any(isinstance(layer, layers.Cropping2D) for layer in model.layers)
    for field, seen in zip(row.fields, responses(model, least), strict=True):
        pixels, units = seen.shape
        assert field.length == units
        sizes = []
        for unit in range(units):
            found = np.flatnonzero(seen[:, unit])
            span = field.at(unit)
            if span is None:
                assert not len(found)
                continue
            first, last = span
            sizes.append(last - first + 1)
            if margin <= first and last < pixels - margin and ends <= unit < units - ends:
                inside += 1
                assert (found[0], found[-1]) == (first, last)
            elif len(found):  # what lies beyond the edge is padding, or was cut off
                assert found[0] >= first and found[-1] <= last
        assert not sizes or max(sizes) <= field.size
    return inside


windows = st.fixed_dictionaries(
    {"kernel_size": st.tuples(st.integers(1, 4), st.integers(1, 4)), "padding": st.sampled_from(["same", "valid"])}
)
convolutions = st.builds(
    lambda options, stride, dilation: layers.Conv2D(
        1, **options, strides=stride if dilation == 1 else 1, dilation_rate=dilation, **ONES
    ),
    windows,
    st.integers(1, 3),
    st.integers(1, 3),
)
separable = st.builds(
    lambda options, stride: layers.SeparableConv2D(
        1, **options, strides=stride, pointwise_initializer="ones", **DEPTHWISE
    ),
    windows,
    st.integers(1, 2),
)
depthwise = st.builds(
    lambda options, stride: layers.DepthwiseConv2D(**options, strides=stride, **DEPTHWISE), windows, st.integers(1, 2)
)
pools = st.builds(
    lambda size, stride, padding: layers.AveragePooling2D(size, stride, padding=padding),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from(["same", "valid"]),
)
transposed = st.builds(
    lambda options, stride: layers.Conv2DTranspose(1, **options, strides=stride, **ONES), windows, st.integers(1, 3)
)
margins = st.tuples(st.integers(0, 3), st.integers(0, 3))
moved = st.builds(
    lambda kind, *pairs: kind(pairs), st.sampled_from([layers.ZeroPadding2D, layers.Cropping2D]), margins, margins
)
enlarged = st.builds(
    lambda size, how: layers.UpSampling2D(size, interpolation=how),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.sampled_from(INTERPOLATIONS),
)
resized = st.builds(
    lambda height, width, how: layers.Resizing(height, width, interpolation=how),
    st.integers(20, 60),
    st.integers(20, 60),
    st.sampled_from(INTERPOLATIONS),
)


@st.composite
def branches(draw):
    """Return two convolutions without stride, for paths that meet again."""
    return tuple(
        layers.Conv2D(1, draw(st.integers(1, 5)), padding="same", dilation_rate=draw(st.integers(1, 2)), **ONES)
        for _ in range(2)
    )


steps = convolutions | separable | depthwise | pools | transposed | moved | enlarged | resized | branches()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(steps, min_size=1, max_size=4), st.booleans())
def test_units_respond_to_their_field_and_to_nothing_else(parts, joined):
    image = tensor = keras.Input((HEIGHT, WIDTH, 1))
    try:
        for part in parts:
            if isinstance(part, tuple):
                paths = [part[0](tensor), part[1](layers.Activation("linear")(tensor))]
                tensor = layers.Concatenate()(paths) if joined else layers.Add()(paths)
            else:
                tensor = part(tensor)
    except ValueError:  # an image cropped or convolved to nothing
        assume(False)
    assume(min(tensor.shape[1:3]) > 0)
    check(keras.Model(image, tensor))


def block(tensor, stride):
    """Return a residual block of strided convolutions, whose shortcut reads one pixel."""
    main = layers.Conv2D(2, 3, stride, padding="same", **ONES)(tensor)
    main = layers.Conv2D(2, 3, padding="same", **ONES)(main)
    return layers.Add()([main, layers.Conv2D(2, 1, stride, **ONES)(tensor)])


def test_residual_blocks():
    image = keras.Input((63, 63, 1))
    model = keras.Model(image, block(block(image, 2), 2))
    assert receptive_field(model)[-1].receptive_field == (19, 19)
    assert check(model) > 10


def test_an_encoder_and_decoder():
    image = keras.Input((48, 48, 1))
    fine = layers.Conv2D(2, 3, padding="same", **ONES)(image)
    coarse = layers.Conv2D(2, 3, padding="same", **ONES)(layers.AveragePooling2D(2)(fine))
    back = layers.Conv2DTranspose(2, 2, 2, **ONES)(coarse)
    model = keras.Model(image, layers.Conv2D(1, 3, padding="same", **ONES)(layers.Concatenate()([fine, back])))
    (row,) = [receptive_field(model)[-1]]
    assert (row.receptive_field, row.jump, row.padding) == ((10, 10), (1, 1), (5, 5))
    assert check(model) > 40


@pytest.mark.parametrize(
    "interpolation",
    ["bilinear", "bicubic", *(pytest.param(f"lanczos{size}", marks=not_on_torch) for size in (3, 5))],
)
@pytest.mark.parametrize("side", [60, 90, 30, 20, 45])
def test_interpolations(interpolation, side):
    image = keras.Input((60, 60, 1))
    assert check(keras.Model(image, layers.Resizing(side, side, interpolation=interpolation)(image)), least=1e-6) > 10


@not_on_torch
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("side", [90, 30, 25, 45])
def test_the_mean_of_an_area(side, antialias):
    image = keras.Input((60, 60, 1))
    layer = layers.Resizing(side, side, interpolation="area", antialias=antialias)
    assert check(keras.Model(image, layer(image))) == 2 * side


@not_on_torch
def test_enlarging_by_areas():
    image = keras.Input((5, 6, 1))
    assert check(keras.Model(image, layers.UpSampling2D((2, 3), interpolation="area")(image))) == 28


@pytest.mark.parametrize("side", [20, 25, 90])
def test_antialiasing_widens_the_kernel(side):
    image = keras.Input((60, 60, 1))
    model = keras.Model(image, layers.Resizing(side, side, interpolation="bilinear", antialias=True)(image))
    assert check(model) > 10


@pytest.mark.skipif(not hasattr(layers, "AdaptiveAveragePooling2D"), reason="Keras has it from 3.14 on")
@pytest.mark.parametrize("side", [6, 7, 13])
def test_adaptive_pooling(side):
    image = keras.Input((39, 39, 1))
    assert check(keras.Model(image, layers.AdaptiveAveragePooling2D(side)(image))) == 2 * side


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("size", "stride", "extra"), [(3, 2, 0), (3, 2, 1), (4, 2, 1), (5, 3, 2), (2, 3, 1)])
def test_output_padding_of_transposed_convolutions(padding, size, stride, extra):
    image = keras.Input((20, 20, 1))
    layer = layers.Conv2DTranspose(1, size, stride, padding=padding, output_padding=extra, **ONES)
    assert check(keras.Model(image, layer(image))) > 10


@pytest.mark.parametrize("rank", [1, 3])
def test_other_numbers_of_axes(rank):
    convolution, pool, grow = (getattr(layers, f"{name}{rank}D") for name in ("Conv", "AveragePooling", "UpSampling"))
    sides = (24, 21, 18)[:rank]
    image = keras.Input((*sides, 1))
    tensor = convolution(1, (3, 2, 1)[:rank], padding="same", **ONES)(image)
    tensor = convolution(1, 3, **ONES)(grow(2)(pool(2)(tensor)))
    model = keras.Model(image, tensor)
    row = receptive_field(model)[-1]
    batch = np.zeros((sum(sides), *sides, 1), "float32")
    start = 0
    for axis, side in enumerate(sides):
        for pixel in range(side):
            batch[(start + pixel, *(slice(None),) * axis, pixel)] = 1
        start += side
    outputs = array(model(batch)) > 0
    for axis, (side, field) in enumerate(zip(sides, row.fields, strict=True)):
        seen = outputs[sum(sides[:axis]) :][:side].any(axis=tuple(i for i in range(1, rank + 2) if i != axis + 1))
        for unit in range(3, field.length - 3):
            found = np.flatnonzero(seen[:, unit])
            assert (found[0], found[-1]) == field.at(unit)


def test_causal_convolutions_read_the_past():
    image = keras.Input((40, 1))
    tensor = layers.Conv1D(1, 3, padding="causal", dilation_rate=4, **ONES)(image)
    model = keras.Model(image, layers.Conv1D(1, 2, 2, padding="causal", **ONES)(tensor))
    (field,) = receptive_field(model)[-1].fields
    impulses = array(model(np.eye(40, dtype="float32")[..., None]))[..., 0] > 0
    for unit in range(6, 20):
        found = np.flatnonzero(impulses[:, unit])
        assert (found[0], found[-1]) == field.at(unit)
    assert field.size == 10


def channels_stacked(x):
    return ops.stack([x[..., 0], x[..., -1]], axis=-1)


def even(x):
    return x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]


# Functions of images, between two convolutions.
BACKWARDS = ("backwards", "backwards in steps", "ellipsis")
FUNCTIONS = {
    "every second row": lambda x: x[:, ::2],
    "a window": lambda x: x[:, 3:-2, 1::3],
    "from the end": lambda x: x[:, -20:, :40],
    "backwards": lambda x: x[:, ::-1],
    "backwards in steps": lambda x: x[:, 30:4:-2, ::-3],
    "ellipsis": lambda x: x[:, 2:, ..., ::-1],
    "a new axis": lambda x: x[:, None, 4:][:, 0],
    "channels": lambda x: channels_stacked(x),
    "rows stacked": lambda x: ops.stack([even(x)[:, 0::2, ..., 0], even(x)[:, 1::2, ..., 0]], axis=-1)[:, :, 1:],
    "focus": lambda x: ops.concatenate([even(x)[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=-1),
    "split channels": lambda x: ops.split(x, 2, axis=-1)[1],
    "split rows": lambda x: ops.split(x, [4, x.shape[1] - 1], axis=1)[1],
    "unstack": lambda x: ops.stack(ops.unstack(x, axis=-1), axis=-1),
    "flip rows": lambda x: ops.flip(x, axis=1),
    "flip both": lambda x: ops.flip(x, axis=(1, 2)) if FLIPS_BOTH else ops.flip(ops.flip(x, axis=1), axis=2),
    "flip channels": lambda x: ops.flip(x, axis=-1),
    "roll channels": lambda x: ops.roll(x, 1, axis=-1),
    "resize": lambda x: ops.image.resize(x, (50, 21)),
    "resize nearest": lambda x: ops.image.resize(x, (17, 61), interpolation="nearest"),
    "resize smoothly": lambda x: ops.image.resize(x, (17, 20), antialias=True),
    "repeat": lambda x: ops.repeat(x, 2, axis=2),
    "einsum": lambda x: ops.einsum("bhwc,cd->bhwd", x, np.ones((x.shape[-1], 3), "float32")),
    "einsum with dots": lambda x: ops.einsum("...c,cd->...d", x, np.ones((x.shape[-1], 3), "float32")),
    "einsum turned": lambda x: ops.einsum("bhwc->bwhc", x),
    "matmul": lambda x: ops.matmul(x, np.ones((x.shape[-1], 3), "float32")),
    "swapped": lambda x: ops.swapaxes(x, 1, 2),
    "moved": lambda x: ops.moveaxis(ops.moveaxis(x, -1, 1), 1, 3),
    "functions": lambda x: ops.sqrt(ops.maximum(ops.square(x), 0.0)) + ops.log1p(ops.relu(x)),
}
if BACKEND == "torch":  # whose tensors take no negative steps
    FUNCTIONS = {name: function for name, function in FUNCTIONS.items() if name not in BACKWARDS}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_images(name):
    image = keras.Input((HEIGHT, WIDTH, 1))
    tensor = FUNCTIONS[name](layers.Conv2D(2, 3, **ONES)(image))
    model = keras.Model(image, layers.Conv2D(1, (2, 3), **ONES)(tensor))
    turned = name in ("einsum turned", "swapped")
    if turned:  # height and width of the image stay its first and second axis
        model = keras.Model(image, ops.swapaxes(model.output, 1, 2))
    assert check(model, 1e-5 if "smoothly" in name else 1e-12) > 10


def test_a_row_that_is_added_to_all_rows():
    image = keras.Input((HEIGHT, WIDTH, 1))
    tensor = layers.Conv2D(1, 3, **ONES)(image)
    model = keras.Model(image, tensor + tensor[:, 4:5])
    rows = [np.flatnonzero(seen) for seen in responses(model, 1e-12)[0].T]
    assert receptive_field(model)[-1].receptive_field == (max(row[-1] - row[0] + 1 for row in rows), 3)


def test_repeated_units_of_fields_that_differ():
    image = keras.Input((HEIGHT, WIDTH, 1))
    tensor = layers.Conv2D(1, 2, **ONES)(layers.UpSampling2D(3)(image))
    assert check(keras.Model(image, layers.Conv2D(1, 2, **ONES)(ops.repeat(tensor, 2, axis=1)))) > 100


# Rounding gives the smooth change of size taps of 1e-7 besides its own, which sums after it would show.
EXACT = [name for name in FUNCTIONS if name != "resize smoothly"]


@pytest.mark.matrix
@pytest.mark.parametrize("first", EXACT)
@pytest.mark.parametrize("second", EXACT)
def test_functions_one_after_the_other(first, second):
    image = keras.Input((HEIGHT, WIDTH, 1))
    tensor = FUNCTIONS[first](layers.Conv2D(2, 3, 2, **ONES)(layers.UpSampling2D(3)(image)))
    tensor = FUNCTIONS[second](layers.Conv2D(2, 2, **ONES)(tensor))
    turns = sum(name in ("einsum turned", "swapped") for name in (first, second))
    tensor = ops.swapaxes(tensor, 1, 2) if turns == 1 else tensor
    model = keras.Model(image, layers.Conv2D(1, (2, 3), **ONES)(tensor))
    check(model, 1e-5, ends=6)


def gradient_box(model, layer):
    """Return first and last row and column in which the gradient of a layer's centre is not zero, over some images."""
    part = keras.Model(model.inputs, model.get_layer(layer).output)
    images = np.random.default_rng(0).uniform(0, 255, (2, *model.input_shape[1:])).astype("float32")

    def centre(images):
        outputs = part(images, training=False)
        return outputs[:, outputs.shape[1] // 2, outputs.shape[2] // 2]

    touched = np.abs(value_and_gradients(centre, [images])[1][0]).max(axis=(0, 3)) > 0
    rows, columns = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
    return (rows[0], rows[-1]), (columns[0], columns[-1])


@pytest.mark.parametrize(
    ("arch", "side", "names"),
    [
        pytest.param(
            "cifar_plain",
            64,
            ["convblock3_conv1", "convblock3_conv2", "convblock3_conv3"],
            marks=pytest.mark.matrix,
        ),
        pytest.param("cifar_dilated", 80, ["conv9"], marks=pytest.mark.matrix),
        pytest.param("cifar_residual", 64, ["residual2_add"], marks=pytest.mark.matrix),
    ],
)
def test_gradients_of_networks_end_where_the_field_ends(arch, side, names, seeded):
    model = build(arch, seed=1, input_shape=(side, side, 3), dropout=0.0, compile=False)
    table = receptive_field(model)
    for name in names:
        for field, found in zip(table[name].fields, gradient_box(model, name), strict=True):
            first, last = field.at(field.length // 2)
            assert first > 0 and last < side - 1
            assert (first, last) == found, name
