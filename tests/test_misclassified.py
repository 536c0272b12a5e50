"""The list of misclassified images, and its picture."""

import numpy as np
import pytest
from facts import says

from tfnorm.errors import DataError
from tfnorm.files import save_figure, write_whole
from tfnorm.mistakes import draw_misclassified, find_misclassified

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 60)
LOGITS = RNG.normal(0, 3, (60, 4))
IMAGES = RNG.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)


def softmax(logits):
    powers = np.exp(np.asarray(logits, dtype=np.longdouble))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("select", ["confident", "first"])
def test_matches_a_plain_reference(select):
    probability = softmax(LOGITS)
    wrong = [i for i in range(60) if probability[i].argmax() != LABELS[i]]
    expected = wrong if select == "first" else sorted(wrong, key=lambda i: (-probability[i].max(), i))
    found = find_misclassified(LABELS, LOGITS, n=7, select=select)
    assert (found.total, found.count, len(found)) == (len(wrong), 60, 7)
    assert found.index.tolist() == expected[:7]
    assert found.true.tolist() == LABELS[expected[:7]].tolist()
    assert found.predicted.tolist() == probability[expected[:7]].argmax(axis=1).tolist()
    np.testing.assert_allclose(found.confidence, probability[expected[:7]].max(axis=1).astype(float), rtol=1e-12)


def test_ties_go_by_index():
    found = find_misclassified([1, 1, 1, 1], [[0, 0], [2, 0], [0, 0], [2, 0]])
    assert found.index.tolist() == [1, 3, 0, 2]


def test_huge_logits_do_not_overflow():
    with np.errstate(all="raise", under="ignore"):
        found = find_misclassified([1, 1], [[1e30, -1e30], [1e4, 1e4 - 1]])
    np.testing.assert_allclose(found.confidence, [1.0, 1 / (1 + np.exp(-1.0))])


def test_logits_that_are_not_finite():
    logits = [[np.nan, 0.0, 1.0], [-np.inf, 0.0, -np.inf], [0.0, np.inf, 0.0], [-np.inf] * 3]
    found = find_misclassified([0, 0, 0, 0], logits)
    assert found.index.tolist() == [1, 2, 0, 3]
    assert found.predicted.tolist() == [1, 1, -1, -1]
    np.testing.assert_array_equal(found.confidence, [1.0, 1.0, np.nan, np.nan])
    assert found.to_frame()["predicted_name"].tolist() == ["1", "1", "none", "none"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("from_logits", [None, False])
def test_probabilities_are_taken_as_they_are(dtype, from_logits):
    probability = softmax(LOGITS).astype(dtype)
    found = find_misclassified(LABELS, probability, n=60, from_logits=from_logits)
    expected = find_misclassified(LABELS, LOGITS, n=60)
    assert found.total == expected.total and sorted(found.index) == sorted(expected.index)
    np.testing.assert_array_equal(found.confidence, probability[found.index].max(axis=1).astype("float64"))
    assert (np.diff(found.confidence) <= 0).all()


def test_probabilities_may_be_said_to_be_logits():
    found = find_misclassified([0], [[0.25, 0.75]], from_logits=True)
    np.testing.assert_allclose(found.confidence, 1 / (1 + np.exp(-0.5)))


def test_probabilities_of_independent_classes():
    found = find_misclassified([0, 0], [[0.25, 0.9], [0.8, 0.9]], from_logits=False)
    assert found.confidence.tolist() == [0.9, 0.9]


def test_one_output_tells_two_classes_apart():
    labels, logits = [1, 1, 0, 0, 1], np.array([[2.0], [-2.0], [1.0], [np.nan], [0.0]])
    found = find_misclassified(labels, logits, from_logits=True, class_names=["no", "yes"])
    assert found.index.tolist() == [1, 2, 4, 3] and found.predicted.tolist() == [0, 1, 0, -1]
    np.testing.assert_allclose(found.confidence, [1 / (1 + np.exp(-2)), 1 / (1 + np.exp(-1)), 0.5, np.nan])
    with np.errstate(invalid="ignore"):
        again = find_misclassified(labels, 1 / (1 + np.exp(-logits)), from_logits=False)
    assert again.index.tolist() == found.index.tolist() and again.predicted.tolist() == found.predicted.tolist()
    np.testing.assert_allclose(again.confidence, found.confidence)


def test_the_title_names_the_images():
    found = find_misclassified([0, 1, 1], [[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    says(found.title("bn"), "bn", "1 of 3 test images")
    says(found.title("gn:2", "held-out"), "gn:2", "1 of 3 held-out images")


def test_frame_has_names():
    frame = find_misclassified([0], [[0.0, 1.0]], class_names=["cat", "dog"]).to_frame()
    assert frame.columns.tolist() == ["index", "true", "predicted", "true_name", "predicted_name", "confidence"]
    assert frame.iloc[0].tolist()[:5] == [0, 0, 1, "cat", "dog"]


def test_labels_in_a_column_or_one_hot_and_no_images():
    one_hot = np.eye(4, dtype="float32")[LABELS]
    assert find_misclassified(one_hot, LOGITS).index.tolist() == find_misclassified(LABELS, LOGITS).index.tolist()
    assert find_misclassified(LABELS[:, None], LOGITS).total == find_misclassified(LABELS, LOGITS).total
    none = find_misclassified(np.zeros(0), np.zeros((0, 3)))
    assert (none.total, none.count, len(none.to_frame())) == (0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "options", "facts"),
    [
        (
            ([0], [[0.0, 1.0]]),
            {"n": 0},
            ("at least 1", "n=0"),
        ),
        (
            ([0], [[0.0, 1.0]]),
            {"select": "frist"},
            ("'frist'", "'first'", "confident, first"),
        ),
        (
            ([0], [0.0, 1.0]),
            {},
            ("`logits`", "(images, classes)", "(2,)"),
        ),
        (
            ([[[1, 0]]], [[0.0, 1.0]]),
            {},
            ("(images,)", "(images, classes)", "(1, 1, 2)"),
        ),
        (
            ([[1, 1]], [[0.0, 1.0]]),
            {},
            ("one class", "[1, 1]", "image 0", "multi-label", "y.argmax(axis=1)"),
        ),
        (
            ([[1, 0, 0]], [[0.0, 1.0]]),
            {},
            ("2 classes", "3 columns"),
        ),
        (
            ([0, 1], [[0.2], [0.7]]),
            {},
            ("from_logits=True or from_logits=False",),
        ),
        (
            ([0], [[-2.0, 3.0]]),
            {"from_logits": False},
            ("0 and 1", "from_logits=False", "-2 to 3", "from_logits=True"),
        ),
        (
            ([1, 0], [[0.0, 1.0]]),
            {},
            ("2 classes", "1 images", "same order"),
        ),
        (([0.5], [[0.0, 1.0]]), {}, ("integers", "0.5")),
        (
            (["cat"], [[0.0, 1.0]]),
            {},
            ("integers", "<U3", "np.unique(y, return_inverse=True)[1]"),
        ),
        (
            ([2], [[0.0, 1.0]]),
            {},
            ("0 and 1", "2 classes", "2 to 2"),
        ),
        (
            ([0], [[0.0, 1.0]]),
            {"class_names": ["a"]},
            ("`class_names`", "2 classes", "1 names"),
        ),
        (
            ([0], [[0.0, 1.0]]),
            {"class_names": "ab"},
            ("`class_names`", "2 classes", "'ab'"),
        ),
    ],
)
def test_errors(arguments, options, facts):
    with pytest.raises(DataError) as error:
        find_misclassified(*arguments, **options)
    says(error, *facts)


def texts(figure):
    return [text.get_text() for text in figure.texts]


def test_ten_images_are_five_rows_of_two(tmp_path):
    found = find_misclassified(LABELS, LOGITS, class_names=["a", "$x_1$", "c", "d"])
    path = tmp_path / "new" / "wrong.png"
    figure = draw_misclassified(IMAGES, found, title="gn:2 — $9 test images", path=path)
    boxes = [axes.get_position() for axes in figure.axes]
    assert (len({round(box.x0, 6) for box in boxes}), len({round(box.y0, 6) for box in boxes})) == (2, 5)
    for axes, index in zip(figure.axes, found.index, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), IMAGES[index, ..., 0])
    shown = texts(figure)
    assert shown[0] == "gn:2 — $9 test images"
    says(shown[1], "10 most confident")
    assert (
        shown.count("actual") == 10 and str(found.index[3]) in shown and f"{100 * found.confidence[0]:.1f} %" in shown
    )
    assert not any(text.get_parse_math() for text in figure.texts)
    assert path.read_bytes()[:4] == b"\x89PNG" and path.stat().st_size > 5000
    assert [file.name for file in path.parent.iterdir()] == ["wrong.png"]


def test_everything_drawn_lies_inside_the_picture():
    names = ["flowering plants with leaves, and more", "b" * 40, "", "d"]
    figure = draw_misclassified(IMAGES, find_misclassified(LABELS, LOGITS, class_names=names), title="title " * 40)
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    width, height = figure.get_size_inches() * figure.dpi
    for text in figure.texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text.get_text()


@pytest.mark.parametrize(
    ("wrong", "facts", "rows"),
    [
        (0, ("6 images", "correctly"), 0),
        (1, ("only one",), 1),
        (3, ("all", "most confident"), 2),
    ],
)
def test_fewer_than_ten(wrong, facts, rows, tmp_path):
    labels = np.arange(6) < wrong
    figure = draw_misclassified(
        IMAGES[:6], find_misclassified(labels, np.tile([1.0, 0.0], (6, 1))), path=tmp_path / "a.svg"
    )
    title, shown = texts(figure)[:2]
    says(title, f"{wrong} of 6")
    says(shown, *facts)
    assert len({round(axes.get_position().y0, 6) for axes in figure.axes}) == rows
    assert (tmp_path / "a.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_colour_grey_and_float_images():
    found = find_misclassified(LABELS[:5], LOGITS[:5] * 0)
    colour = draw_misclassified(np.repeat(IMAGES[:5], 3, axis=3), found)
    assert colour.axes[0].images[0].get_array().shape == (8, 8, 3)
    four = np.concatenate([IMAGES[:5], 0 * np.repeat(IMAGES[:5], 3, axis=3)], axis=3)
    mean = draw_misclassified(four, found).axes[0].images[0].get_array()
    np.testing.assert_array_equal(mean, np.round(IMAGES[found.index[0], ..., 0] / 4))
    assert draw_misclassified(IMAGES[:5, ..., 0], found).axes[0].images[0].get_array().shape == (8, 8)
    pixels = draw_misclassified(IMAGES[:5].astype("float32"), found).axes[0].images[0].get_array()
    np.testing.assert_array_equal(pixels, IMAGES[found.index[0], ..., 0])
    stretched = draw_misclassified(IMAGES[:5] / 255 - 0.5, found).axes[0].images[0].get_array()
    assert (stretched.min(), stretched.max()) == (0, 255)


@pytest.mark.parametrize(
    ("images", "path", "facts"),
    [
        (
            np.zeros((5, 8)),
            None,
            ("`images`", "(images, height, width)", "(5, 8)"),
        ),
        (IMAGES, None, ("`images`", "5 images", "60 images")),
        (IMAGES[:5], "a.gif", (".png, .svg or .pdf", "'a.gif'")),
    ],
)
def test_drawing_errors(images, path, facts):
    with pytest.raises(DataError) as error:
        draw_misclassified(images, find_misclassified(LABELS[:5], LOGITS[:5]), path=path)
    says(error, *facts)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old" and [file.name for file in tmp_path.iterdir()] == ["file"]


def test_few_colours_make_a_smaller_picture(tmp_path):
    figure = draw_misclassified(IMAGES, find_misclassified(LABELS, LOGITS))
    full = save_figure(figure, tmp_path / "full.png").stat().st_size
    assert 1000 < save_figure(figure, tmp_path / "few.png", few_colours=True).stat().st_size < full
