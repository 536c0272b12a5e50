import keras
import numpy as np
import pytest
from facts import says
from keras import layers

from tfnorm.analysis import receptive_field
from tfnorm.errors import DataError, TfnormError
from tfnorm.reporting import plot_receptive_field, receptive_data


def chain(*parts, shape=(32, 24, 3)):
    return keras.Sequential([keras.Input(shape), *parts])


PLAIN = chain(
    layers.Conv2D(4, 3, padding="same", name="conv1"),
    layers.MaxPooling2D(2, name="pool"),
    layers.Conv2D(4, (3, 5), padding="same", name="conv2"),
    layers.ReLU(name="relu"),
    layers.GlobalAveragePooling2D(name="whole"),
)


def test_boxes_are_the_fields_of_the_middle_units():
    data = receptive_data(PLAIN)
    assert data.shape == (32, 24)
    assert data.boxes["layer"].tolist() == ["conv1", "pool", "conv2"]
    edges = ["row", "column", "top", "left", "bottom", "right"]
    assert data.boxes[edges].to_numpy().tolist() == [
        [16, 12, 15, 11, 18, 14],
        [8, 6, 15, 11, 19, 15],
        [8, 6, 13, 7, 21, 19],
    ]
    assert not data.boxes["gated"].any()
    chosen = receptive_data(receptive_field(PLAIN), ["relu", "whole"])
    assert chosen.boxes[edges].to_numpy().tolist() == [[8, 6, 13, 7, 21, 19], [0, 0, -3, -5, 35, 29]]


def test_six_layers_are_spread_over_a_deep_model():
    deep = chain(*(layers.Conv2D(1, 3, padding="same", name=f"conv{i}") for i in range(1, 12)))
    assert receptive_data(deep).boxes["layer"].tolist() == [f"conv{i}" for i in (1, 3, 5, 7, 9, 11)]


def test_a_picture(tmp_path):
    figure = plot_receptive_field(PLAIN, layers=["conv1", "conv2", "whole"], path=tmp_path / "fields.png")
    assert (tmp_path / "fields.png").stat().st_size > 5000
    (ax,) = figure.axes
    assert [patch.get_bbox().extents.tolist() for patch in ax.patches] == [
        [11, 15, 14, 18],
        [7, 13, 19, 21],
        [-5, -3, 29, 35],
    ]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "conv1: 3 x 3",
        "conv2: 8 x 12",
        "whole: 38 x 34",
    ]
    (picture,) = ax.images
    assert picture.get_array().shape == (32, 24, 3) and picture.get_extent() == [0, 24, 32, 0]
    assert ax.get_xlim()[0] < -5 and ax.get_ylim()[0] > 35


def test_what_is_larger_than_the_picture_is_said():
    wide = chain(
        layers.Conv2D(1, 81, padding="same", name="conv"), layers.GlobalAveragePooling2D(keepdims=True, name="gate")
    )
    (ax,) = plot_receptive_field(wide, layers=["conv"]).axes
    (entry,) = ax.get_legend().get_texts()
    says(entry.get_text(), "conv", "81 x 81", "larger")
    image = keras.Input((32, 24, 3))
    tensor = layers.Conv2D(4, 3, padding="same")(image)
    gated = layers.Multiply(name="gated")([tensor, layers.GlobalAveragePooling2D(keepdims=True)(tensor)])
    (ax,) = plot_receptive_field(keras.Model(image, gated), layers=["gated"]).axes
    (entry,) = ax.get_legend().get_texts()
    says(entry.get_text(), "gated", "3 x 3", "whole image")


@pytest.mark.parametrize("shape", [(50, 24), (50, 70, 1), (9, 12, 3)])
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_images_are_cut_and_resized(shape, kind):
    image = np.zeros(shape, kind)
    image[: shape[0] // 2] = 255 if kind == "uint8" else 1
    (picture,) = plot_receptive_field(PLAIN, image).axes[0].images
    pixels = np.asarray(picture.get_array())
    assert pixels.shape[:2] == (32, 24) and pixels[0].min() == 255 and pixels[-1].max() == 0


def test_an_open_input():
    model = chain(layers.Conv2D(4, 3, name="conv"), shape=(None, None, 3))
    with pytest.raises(DataError) as caught:
        receptive_data(model)
    says(caught, "height", "width", "`input_shape`")
    assert receptive_data(model, input_shape=(8, 8, 3)).boxes["top"].tolist() == [3]


class Odd(layers.Layer):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(
    ("make", "facts"),
    [
        (
            lambda: receptive_data(chain(layers.Conv1D(4, 3), shape=(20, 3))),
            ("height and width", "('steps',)"),
        ),
        (
            lambda: receptive_data(chain(Odd(name="odd")), ["odd"]),
            ("'odd'", "before"),
        ),
        (
            lambda: receptive_data(chain(layers.ReLU())),
            ("more than one pixel",),
        ),
        (
            lambda: plot_receptive_field(PLAIN, np.zeros((4, 4, 2))),
            ("`image`", "(height, width, 3)", "(4, 4, 2)"),
        ),
        (
            lambda: plot_receptive_field(PLAIN, path="fields.gif"),
            (".png, .svg or .pdf", "'fields.gif'"),
        ),
    ],
)
def test_refused(make, facts):
    with pytest.raises(DataError) as caught:
        make()
    says(caught, *facts)


def test_an_unknown_layer():
    with pytest.raises(TfnormError, match="'conv'.*'conv[12]'"):
        receptive_data(PLAIN, ["conv"])
