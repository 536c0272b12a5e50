"""What holds for every picture in every format."""

import functools

import matplotlib
import numpy as np
import pandas as pd
import pytest

from tfnorm.experiments.statistics import paired_differences
from tfnorm.files import plain_style
from tfnorm.reporting import (
    misclassified_data,
    plot_accuracy,
    plot_axis,
    plot_confusion,
    plot_differences,
    plot_gap,
    plot_loss,
    plot_misclassified,
    plot_overlap,
)

LABELS = np.arange(60) % 3
LOGITS = {label: [np.random.default_rng(len(label)).normal(size=(60, 3))] for label in ("gn:2", "a$b_1$")}
CURVE = pd.DataFrame({name: [0.5, 0.6] for name in ("accuracy", "val_accuracy", "data_loss", "val_data_loss")})
TABLE = pd.DataFrame(
    {"norm": ["gn:2", "a$b_1$"], "batch_size": [2, 4], "last_accuracy": [90.0, 91.0], "seeds": 1}
).assign(last_accuracy_low=np.nan, last_accuracy_high=np.nan)
PAIRS = paired_differences({"gn:2": {0: 1.0}, "a$b_1$": {0: 2.0}})
DIFFERENCES = pd.DataFrame([vars(pair) | {"real": pair.is_real()} for pair in PAIRS])
PLOTS = {
    "loss": lambda path: plot_loss({"gn:2": [CURVE], "a$b_1$": [CURVE]}, path=path),
    "accuracy": lambda path: plot_accuracy({"gn:2": [CURVE], "a$b_1$": [CURVE]}, path=path),
    "misclassified": lambda path: plot_misclassified(
        np.zeros((60, 8, 8), "uint8"),
        misclassified_data(LABELS, LOGITS["gn:2"][0], class_names=["a$b_1$", "b", "c"]),
        path=path,
    ),
    "gap": lambda path: plot_gap({"gn:2": [CURVE], "a$b_1$": [CURVE]}, path=path),
    "confusion": lambda path: plot_confusion(LABELS, LOGITS, path=path),
    "overlap": lambda path: plot_overlap(LABELS, LOGITS, path=path),
    "differences": lambda path: plot_differences(DIFFERENCES, path=path),
    "axis": lambda path: plot_axis(TABLE, "batch_size", path=path),
}


# Each picture in one format, and one in all of them; the rest is for the matrix.
FORMATS = [
    pytest.param(name, ending, marks=[] if ending == "svg" or name == "loss" else pytest.mark.matrix)
    for name in PLOTS
    for ending in ("png", "svg", "pdf")
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return a function (name, ending) -> bytes of a picture, which draws each once."""
    folder = tmp_path_factory.mktemp("plain")

    @functools.cache
    def draw(name, ending):
        PLOTS[name](folder / f"{name}.{ending}")
        return (folder / f"{name}.{ending}").read_bytes()

    return draw


@pytest.mark.parametrize(("name", "ending"), FORMATS)
def test_the_same_data_give_the_same_bytes(name, ending, plain, tmp_path):
    PLOTS[name](tmp_path / f"again.{ending}")
    content = plain(name, ending)
    assert (tmp_path / f"again.{ending}").read_bytes() == content
    if ending == "svg":
        assert b"<text" in content and b"a$b_1$" in content and b"<dc:date>" not in content
    if ending == "pdf":
        assert b"/CIDFontType2" in content and b"/Type3" not in content and b"CreationDate" not in content


# What a person may have in a matplotlibrc.
OWN = [
    {"text.usetex": True},
    {"backend": "module://no_such_backend"},
    {"savefig.bbox": "tight", "savefig.dpi": 30, "savefig.transparent": True, "savefig.format": "jpg"},
    {"figure.dpi": 40, "figure.autolayout": True, "figure.figsize": (1, 1)},
    {"axes.formatter.use_locale": True, "axes.formatter.use_mathtext": True, "axes.unicode_minus": False},
    {"path.sketch": (1, 100, 2), "font.size": 40, "axes.titlesize": 90, "lines.linewidth": 9},
    {"axes.facecolor": "black", "text.color": "white", "xtick.color": "white", "axes.grid": True},
    {"svg.fonttype": "path", "pdf.fonttype": 3, "text.parse_math": False},
]


ALL_OF_THEM = functools.reduce(dict.__or__, OWN)


@pytest.mark.parametrize(
    ("name", "own"),
    [*(("loss", own) for own in OWN), *((name, ALL_OF_THEM) for name in ("axis", "differences", "misclassified"))],
    ids=[*(f"loss-{next(iter(own))}" for own in OWN), "axis", "differences", "misclassified"],
)
def test_a_matplotlibrc_changes_no_picture(name, own, plain, tmp_path):
    with matplotlib.rc_context(own):
        before = matplotlib.rcParams.copy()
        PLOTS[name](tmp_path / "own.svg")
        assert matplotlib.rcParams.copy() == before
    assert (tmp_path / "own.svg").read_bytes() == plain(name, "svg")


@pytest.mark.matrix
@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
@pytest.mark.parametrize("own", OWN, ids=lambda own: next(iter(own)))
@pytest.mark.parametrize("name", PLOTS)
def test_no_matplotlibrc_changes_any_picture(name, own, ending, plain, tmp_path):
    with matplotlib.rc_context(own):
        before = matplotlib.rcParams.copy()
        PLOTS[name](tmp_path / f"own.{ending}")
        assert matplotlib.rcParams.copy() == before
    assert (tmp_path / f"own.{ending}").read_bytes() == plain(name, ending)


def test_a_figure_that_is_shown_later_needs_no_latex():
    with matplotlib.rc_context({"text.usetex": True}):
        figure = PLOTS["loss"](None)
        texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
        assert texts and not any(text.get_usetex() for text in texts)


def test_the_fonts_of_a_user_are_kept_and_axes_of_a_user_are_theirs():
    with matplotlib.rc_context({"font.family": ["serif"], "font.serif": ["DejaVu Serif"], "lines.linewidth": 7}):
        with plain_style():
            assert matplotlib.rcParams["font.family"] == ["serif"] and matplotlib.rcParams["lines.linewidth"] == 1.5
        axes = matplotlib.figure.Figure().add_subplot()
        plot_loss({"gn:2": [CURVE]}, ax=axes)
        assert matplotlib.rcParams["lines.linewidth"] == 7
