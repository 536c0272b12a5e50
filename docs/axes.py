"""Draw docs/results/norms/axes.svg, the numbers that share one mean and variance: ``python docs/axes.py``.

The view is that of figure 2 of Wu and He (arXiv 1803.08494), with the axes of images as Keras has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tfnorm.reporting.palette import FAMILIES

FILE = Path(__file__).parent / "results" / "norms" / "axes.svg"
IMAGES, CHANNELS, PIXELS = 4, 6, 6  # cells of a block, from front to back, left to right, top to bottom
SIDE, DEPTH, RISE = 15, 9, 7  # of a cell, in units of the picture
WIDTH, HEIGHT = 205, 224  # of a panel
REST, EDGE, INK = "#ECEEF1", "#9AA3AD", "#1F2933"
TITLE, TEXT = 15, 10.5  # font sizes
Point = tuple[float, float]


@dataclass(frozen=True)
class Panel:
    """One norm.

    Attributes:
        spec: How it is written.
        family: Whose colour it has.
        shared: Whether a cell (image, channel, pixel) is one of those that share their statistics.
        over: The axes that are averaged over, in words.
        weights: Which gammas and betas there are.
        axes: What the block's axes are: downwards, to the right, into the depth.
    """

    spec: str
    family: str
    shared: Callable[[int, int, int], bool]
    over: str
    weights: str
    axes: tuple[str, str, str] = ("H, W", "C", "N")


PANELS = (
    Panel("bn", "bn", lambda n, c, p: c == CHANNELS - 1, "N, H, W", "γ, β: C"),
    Panel("ln", "ln", lambda n, c, p: n == 0, "H, W, C", "γ, β: H × W × C"),
    Panel("gn:1", "gn", lambda n, c, p: n == 0, "H, W, C", "γ, β: C"),
    Panel("gn:2", "gn", lambda n, c, p: n == 0 and c >= CHANNELS // 2, "H, W, half of C", "γ, β: C"),
    Panel("in", "in", lambda n, c, p: n == 0 and c == CHANNELS - 1, "H, W", "γ, β: C"),
    Panel("ln:channel", "ln", lambda n, c, p: n == 0 and p == 0, "C", "γ, β: C"),
    Panel("rms", "rms", lambda n, c, p: n == 0 and p == 0, "C, no mean", "γ: C"),
    Panel("frn", "frn", lambda n, c, p: n == 0 and c == CHANNELS - 1, "H, W, no mean", "γ, β, τ: C"),
    Panel("+ws", "none", lambda o, i, k: o == 0, "kernel and inputs", "no γ, no β", ("kernel", "inputs", "filters")),
)


def place(across: float, down: float, back: float) -> Point:
    """Return where a corner of a cell is drawn, from the upper left corner of the front."""
    return across * SIDE + back * DEPTH, down * SIDE - back * RISE


def faces(image: int, channel: int, pixel: int) -> Iterable[tuple[Point, ...]]:
    """Yield the corners of each face of a cell that can be seen."""
    across, down, back = channel, pixel, image
    if image == 0:
        corners = ((0, 0), (1, 0), (1, 1), (0, 1))
        yield tuple(place(across + x, down + y, 0) for x, y in corners)
    if pixel == 0:
        corners = ((0, 0), (1, 0), (1, 1), (0, 1))
        yield tuple(place(across + x, 0, back + z) for x, z in corners)
    if channel == CHANNELS - 1:
        corners = ((0, 0), (1, 0), (1, 1), (0, 1))
        yield tuple(place(CHANNELS, down + y, back + z) for z, y in corners)


def path(cells: Iterable[tuple[int, int, int]], fill: str) -> str:
    """Return all visible faces of some cells as one element."""
    drawn = ["M" + "L".join(f"{x:g} {y:g}" for x, y in face) + "Z" for cell in cells for face in faces(*cell)]
    return f'<path d="{"".join(drawn)}" fill="{fill}"/>'


def text(x: float, y: float, words: str, *, size: float = TEXT, style: str = "") -> str:
    """Return words that are centred on ``x``."""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" {style}>{words}</text>'


def draw(panel: Panel) -> str:
    """Return the block of a panel with its words; its upper left corner is at 0, 0."""
    cells = list(product(range(IMAGES), range(CHANNELS), range(PIXELS)))
    top, left = 48 + IMAGES * RISE, 44
    width, height = CHANNELS * SIDE, PIXELS * SIDE
    down, across, back = panel.axes
    far = place(CHANNELS, 0, IMAGES / 2)
    return "".join(
        (
            text(WIDTH / 2, 24, panel.spec, size=TITLE, style='font-weight="bold" font-family="monospace"'),
            f'<g transform="translate({left} {top})">',
            f'<g stroke="{EDGE}" stroke-width="0.6" stroke-linejoin="round">',
            path([cell for cell in cells if not panel.shared(*cell)], REST),
            path([cell for cell in cells if panel.shared(*cell)], FAMILIES[panel.family]),
            "</g>",
            text(width / 2, height + 15, across),
            text(-10, height / 2, down, style=f'transform="rotate(-90 -10 {height / 2:g})"'),
            text(far[0] + 8, height + far[1] + 9, back, style='text-anchor="start"'),
            "</g>",
            text(WIDTH / 2, top + height + 36, f"over {panel.over}"),
            text(WIDTH / 2, top + height + 51, panel.weights),
        )
    )


def picture(columns: int = 3) -> str:
    """Return the whole picture."""
    rows = -(-len(PANELS) // columns)
    panels = "".join(
        f'<g transform="translate({index % columns * WIDTH} {index // columns * HEIGHT})">{draw(panel)}</g>\n'
        for index, panel in enumerate(PANELS)
    )
    size = f"{columns * WIDTH} {rows * HEIGHT}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-family="sans-serif" fill="{INK}" '
        f'text-anchor="middle">\n<title>The axes that each normalization averages over</title>\n'
        f'<rect width="100%" height="100%" rx="6" fill="white"/>\n{panels}</svg>\n'
    )


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(picture(), encoding="utf-8")
