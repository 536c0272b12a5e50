import base64
import io

import numpy as np
import pytest
from PIL import Image

from tfnorm.reporting.mistakes import A_SHEET, PAGE_BYTES, mistakes_data, picture_sheets


def opened(address):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def cut(sheets, i):
    """Return picture ``i``, as browser.js cuts it."""
    sheet, place = opened(sheets["sheets"][i // sheets["perSheet"]]), i % sheets["perSheet"]
    top, left = place // sheets["columns"] * sheets["cell"][0], place % sheets["columns"] * sheets["cell"][1]
    return sheet[top : top + sheets["size"][0], left : left + sheets["size"][1]]


def test_the_union_of_mistakes_the_most_confident_first():
    labels = np.array([0, 1, 1, 0])
    sure, unsure, right = [5.0, 0.0], [1.0, 0.0], [0.0, 9.0]
    first = np.array([[9.0, 0.0], unsure, right, [9.0, 0.0]])
    second = np.array([[0.0, 0.5], sure, right, [np.nan, 0.0]])
    found = mistakes_data(labels, [first, second])
    assert found.index.tolist() == [1, 0, 3] and found.true.tolist() == [1, 0, 0]
    assert found.predicted.tolist() == [[0, 0, 0], [0, 1, -1]]
    np.testing.assert_allclose(found.confidence[:, 0], 1 / (1 + np.exp([-1.0, -5.0])))
    assert found.confidence[1, 2] == 0


def test_packed_numbers_come_back():
    logits = np.array([[np.nan, 0.0], [3.0, 0.0]])
    packed = mistakes_data(np.array([0, 1]), [logits]).packed()
    read = {
        key: np.frombuffer(base64.b64decode(packed[key]), kind) for key, kind in (("index", "<u4"), ("true", "<u2"))
    }
    assert read["index"].tolist() == [1, 0] and read["true"].tolist() == [1, 0]
    assert np.frombuffer(base64.b64decode(packed["predicted"][0]), "<u2").tolist() == [0, 65535]
    assert np.frombuffer(base64.b64decode(packed["confidence"][0]), "<u2").tolist() == [953, 0]


def test_no_mistake():
    found = mistakes_data(np.array([0, 1]), [np.eye(2)])
    assert len(found.index) == 0 and found.predicted.shape == (1, 0)


def test_small_grey_pictures_are_exact(seeded):
    images = seeded.integers(0, 256, (A_SHEET + 5, 28, 20, 1), np.uint8)
    sheets = picture_sheets(images)
    assert (sheets["count"], len(sheets["sheets"]), sheets["size"]) == (len(images), 2, (28, 20))
    assert sheets["sheets"][0].startswith("data:image/png;base64,")
    for i in (0, 17, A_SHEET - 1, A_SHEET, A_SHEET + 4):
        np.testing.assert_array_equal(cut(sheets, i), images[i, ..., 0])


def test_colour_pictures_do_not_bleed_into_each_other():
    colours = np.array([[230, 20, 20], [20, 200, 20], [20, 20, 230]], np.uint8)
    images = np.broadcast_to(colours[np.arange(40) % 3][:, None, None], (40, 20, 20, 3))
    sheets = picture_sheets(images)
    assert sheets["sheets"][0].startswith("data:image/webp;base64,") and sheets["cell"] == (32, 32)
    for i in range(40):
        np.testing.assert_allclose(cut(sheets, i).mean((0, 1)), images[i, 0, 0], atol=12)


def test_large_pictures_are_reduced():
    sheets = picture_sheets(np.full((3, 200, 100, 3), 90, np.uint8))
    assert sheets["size"] == (96, 48) and sheets["count"] == 3


def test_pictures_keep_within_the_budget(seeded):
    images = seeded.integers(0, 256, (4 * A_SHEET, 32, 32, 3), np.uint8)  # noise, which nothing compresses
    sheets = picture_sheets(images, budget=600_000)
    assert 0 < sheets["count"] < len(images) and sum(map(len, sheets["sheets"])) <= 600_000
    assert picture_sheets(images, budget=1000)["count"] == 0


@pytest.mark.parametrize(
    ("room", "sheets", "said"),
    [
        (200_000, 2, "the 512 most confident"),
        (0, 0, "Without pictures"),
    ],
)
def test_a_page_has_as_many_pictures_as_it_has_room_for(
    fake_comparison, tmp_path, seeded, monkeypatch, room, sheets, said
):
    comparison = fake_comparison(tmp_path, {"bn": [0.0], "ln": [0.0]}, images=1000)
    images = seeded.integers(0, 256, (1000, 16, 16, 1), np.uint8)
    monkeypatch.setattr("tfnorm.experiments.comparison.page.images_of", lambda run: (None, "None here."))
    without = comparison.report().stat().st_size
    monkeypatch.setattr("tfnorm.experiments.comparison.page.images_of", lambda run: (images, ""))
    whole = comparison.report().read_text()
    assert "Without pictures" not in whole and said not in whole
    limit = without + 10_000 + room
    monkeypatch.setattr("tfnorm.reporting.mistakes.PAGE_BYTES", limit)
    text = comparison.report().read_text()
    assert said in text and len(text.encode()) <= limit < len(whole.encode()) < PAGE_BYTES
    assert (whole.count("data:image/png;base64,"), text.count("data:image/png;base64,")) == (4, sheets)


@pytest.mark.parametrize("channels", [2, 4])
def test_odd_channels_are_shown_as_grey_or_colour(channels):
    images = np.full((2, 8, 8, channels), 50, np.uint8)
    assert cut(picture_sheets(images), 1).shape == ((8, 8) if channels == 2 else (8, 8, 3))
